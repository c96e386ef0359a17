//! `kill -9` of the leader at random moments under load, alone and with a second replica: every request is
//! decided as it must be, once, and none is lost. `COUNTERSIGN_KILLS` says how many kills of each kind there
//! are (3 unless it is set); eight run at a time, each with a lease and a signer of its own.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::eventually;

use super::Controller;
use super::decisions::policy;
use super::faults::{Bench, POLICIES};
use super::ledger::{Asks, Ledger};
use super::races::Random;

/// How many of each kind are killed at the same time.
const LANES: usize = 8;
/// A lease that its holder did not give back is free after fifteen seconds, and looked at each second; but many
/// controllers start at the same time here.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// How many requests are filed one after the other while the leader is killed.
const BURST: usize = 20;
/// What the killed one had sent is written by then.
const ON_ITS_WAY: Duration = Duration::from_millis(300);

fn kills() -> usize {
    std::env::var("COUNTERSIGN_KILLS").ok().and_then(|number| number.parse().ok()).unwrap_or(3)
}

/// A lease, a signer, a policy and one or two replicas.
struct Lane<'a> {
    bench: &'a Bench,
    ledger: &'a Ledger,
    name: String,
    signer: String,
    /// Those that run, the one that has run longest first.
    running: Vec<Controller>,
    /// The logs of those that were killed.
    killed: Vec<Controller>,
    started: usize,
}

impl<'a> Lane<'a> {
    fn start(bench: &'a Bench, ledger: &'a Ledger, name: String, replicas: usize) -> Self {
        let signer = format!("example.com/{name}");
        let policy: Value = serde_json::from_str(&policy(&name, &signer, Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
        let mut lane = Self { bench, ledger, name, signer, running: Vec::new(), killed: Vec::new(), started: 0 };
        for _ in 0..replicas {
            lane.start_one();
        }
        lane
    }

    fn start_one(&mut self) {
        self.started += 1;
        let options = [
            format!("--managed-signer={}", self.signer),
            format!("--lease-name={}", self.name),
            "--policy-settle=0s".to_owned(),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let controller = self.bench.cluster.start_replica(&format!("{}-{}", self.name, self.started), &options);
        self.running.push(controller);
    }

    /// Files requests until it is `over`, and deletes those that were decided.
    fn file(ledger: &Ledger, name: &str, signer: &str, over: &AtomicBool) {
        let mut random = Random::new(name);
        for number in 0.. {
            if over.load(Ordering::SeqCst) {
                return;
            }
            ledger.file(&format!("{name}-r{number}"), signer, Asks::of(number));
            ledger.clear(&format!("{name}-r"));
            std::thread::sleep(random.wait(600));
        }
    }

    /// Kills the one that leads at some moment of its work, and starts another. How long it took until the next
    /// decision.
    fn kill(&mut self, random: &mut Random) -> Duration {
        let leads = eventually("one of them leads", TAKEN_OVER, || {
            self.running.iter().position(Controller::leads).ok_or_else(|| std::io::Error::other("none does").into())
        });
        let leader = leads.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story()));
        // Half of them soon after it began to lead, among what waited for it.
        let within = if random.wait(2) < Duration::from_millis(1) { 300 } else { 2_500 };
        std::thread::sleep(random.wait(within));
        let leader = self.running.remove(leader);
        let killed = std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..BURST {
                    let name = format!("{}-r-burst{}-{number}", self.name, self.started);
                    self.ledger.file(&name, &self.signer, Asks::of(number));
                }
            });
            std::thread::sleep(random.wait(100));
            leader.running.signal("KILL").unwrap();
            Instant::now()
        });
        self.killed.push(leader);
        self.start_one();
        let prefix = format!("{}-r", self.name);
        let decided = eventually("there is a decision", TAKEN_OVER, || {
            let next = self.ledger.decided_since(&prefix, killed + ON_ITS_WAY);
            next.ok_or_else(|| std::io::Error::other("there is none").into())
        });
        decided.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story())) - killed
    }

    fn story(&self) -> String {
        let all = self.killed.iter().chain(&self.running);
        all.map(Controller::log).collect::<Vec<String>>().join("\n--\n")
    }

    /// How often each request is in the logs as decided.
    fn logged(&self) -> BTreeMap<String, usize> {
        let mut logged = BTreeMap::new();
        for line in self.killed.iter().chain(&self.running).flat_map(Controller::decisions) {
            *logged.entry(line["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        logged
    }
}

/// Sets a flag when it is dropped, also by a panic.
pub(super) struct Sets<'a>(pub(super) &'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_leader_that_is_killed_at_any_moment_leaves_nothing_wrong_twice_or_lost() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    let ledger = Ledger::start(&bench);
    let total = kills();
    let lanes = total.min(LANES);
    let run = |index: usize| {
        let mut lane = Lane::start(&bench, &ledger, format!("lane{index}"), index % 2 + 1);
        let (name, signer) = (lane.name.clone(), lane.signer.clone());
        let over = AtomicBool::new(false);
        let took: Vec<Duration> = std::thread::scope(|scope| {
            let _over = Sets(&over);
            scope.spawn(|| Lane::file(&ledger, &name, &signer, &over));
            let mut random = Random::new(&name);
            (index / 2..total).step_by(lanes).map(|_| lane.kill(&mut random)).collect()
        });
        (lane, took)
    };
    let run = &run;
    let ended: Vec<(Lane, Vec<Duration>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..lanes * 2).map(|index| scope.spawn(move || run(index))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    ledger.balances(TAKEN_OVER * 2, || ended.iter().map(|(lane, _)| lane.story()).collect());

    let (names, permitted, forbidden) = ledger.filed();
    let mut logged = BTreeMap::<String, usize>::new();
    for (lane, _) in &ended {
        logged.extend(lane.logged());
    }
    let twice: Vec<_> = logged.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?} are in the logs more than once");
    // What a kill cut off between the answer and the log is missing there.
    let missing = names.iter().filter(|name| !logged.contains_key(*name)).count();
    println!("kills: {permitted} requests approved and {forbidden} denied, {missing} of them in no log");
    for (what, replicas) in [("alone", 1), ("with a second replica", 2)] {
        let of_kind = ended.iter().enumerate().filter(|(index, _)| index % 2 + 1 == replicas);
        let mut took: Vec<Duration> = of_kind.flat_map(|(_, (_, took))| took.iter().copied()).collect();
        took.sort();
        assert_eq!(took.len(), total, "{what}");
        println!(
            "kills {what}: {total}, until the next decision {:.1?} (median), {:.1?} (longest)",
            took[total / 2],
            took[total - 1]
        );
    }
    // Each kill leaves at most those that were on their way at that moment.
    assert!(missing <= total * 2 * 16, "{missing} are in no log");
}
