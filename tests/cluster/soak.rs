//! Twenty requests a second while policies and guardrails come, change and go: `COUNTERSIGN_SOAK` says for how
//! many seconds (10 unless it is set). Every approval must have been permitted by what was in force, every request
//! is decided once in the end, and memory does not grow.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::eventually;

use super::decisions::{guardrail, policy};
use super::faults::{Bench, GUARDRAILS, POLICIES, forbids};
use super::kills::Sets;
use super::ledger::{Asks, Ledger, version};
use super::races::{Random, WINDOW};
use super::{Controller, LIMIT};

/// The first is signed by kube-controller-manager, too.
const SIGNERS: [&str; 6] = [
    "kubernetes.io/kube-apiserver-client",
    "example.com/soak1",
    "example.com/soak2",
    "example.com/soak3",
    "example.com/soak4",
    "example.com/soak5",
];
/// From one request to the next.
const PERIOD: Duration = Duration::from_millis(50);

fn soak() -> Duration {
    let seconds = std::env::var("COUNTERSIGN_SOAK").ok().and_then(|number| number.parse().ok()).unwrap_or(10);
    Duration::from_secs(seconds)
}

/// What is in force for a signer. Whatever does not permit leaves pending, so that in the end each request gets
/// the one right decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Permits,
    /// No policy.
    Nothing,
    /// A policy for another group.
    Narrow,
    /// A policy, and a guardrail that nothing satisfies.
    Guarded,
}

fn name(signer: usize) -> String {
    format!("soak{signer}")
}

fn own_policy(signer: usize, state: State) -> Value {
    let mut own: Value = serde_json::from_str(&policy(&name(signer), SIGNERS[signer], Value::Null)).unwrap();
    if state == State::Narrow {
        own["spec"]["onViolation"] = json!("LeavePending");
        own["spec"]["allow"]["subject"]["organizations"] = json!({ "allowed": ["nobody"] });
    }
    own
}

/// Brings a signer from one state to another, by one change of one object at a time.
fn change(bench: &Bench, signer: usize, from: State, to: State) {
    let (policy, guardrail_path) = (format!("{POLICIES}/{}", name(signer)), format!("{GUARDRAILS}/{}", name(signer)));
    let must = |method: &str, path: &str, body: Option<&Value>| drop(bench.api.must(method, path, body).unwrap());
    if from == State::Guarded {
        must("DELETE", &guardrail_path, None);
    }
    match (from, to) {
        (State::Nothing, State::Nothing) => {}
        (_, State::Nothing) => must("DELETE", &policy, None),
        (State::Nothing, _) => must("POST", POLICIES, Some(&own_policy(signer, to))),
        _ => {
            let mut own = own_policy(signer, to);
            let now = bench.api.must("GET", &policy, None).unwrap();
            own["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
            must("PUT", &policy, Some(&own));
        }
    }
    if to == State::Guarded {
        let mut own: Value = serde_json::from_str(&guardrail(&name(signer), &forbids())).unwrap();
        own["spec"]["match"] = json!({ "signerNames": [SIGNERS[signer]] });
        own["spec"]["onViolation"] = json!("LeavePending");
        must("POST", GUARDRAILS, Some(&own));
    }
}

/// What permits and what forbids for each signer, as the API server wrote it.
#[derive(Default)]
struct Timeline {
    /// By version: when it was seen, of which kind, for which signer, and whether it now permits.
    changes: BTreeMap<u64, (Instant, bool, String, bool)>,
}

impl Timeline {
    fn follow(bench: &Bench) -> Arc<Mutex<Self>> {
        let timeline = Arc::new(Mutex::new(Self::default()));
        for path in [POLICIES, GUARDRAILS] {
            // As long as any soak: what came between two watches would be missing.
            let watch = format!("{path}?watch=true&timeoutSeconds=14400");
            // A CRD that is new is refused for a moment.
            let lines = eventually("it is served", LIMIT, || bench.api.watch(&watch)).unwrap();
            let (timeline, is_policy) = (Arc::clone(&timeline), path == POLICIES);
            std::thread::spawn(move || {
                for (at, line) in lines {
                    let object = &line["object"];
                    let gone = line["type"] == "DELETED";
                    let narrow = object["spec"]["allow"]["subject"]["organizations"]["allowed"] == json!(["nobody"]);
                    let permits = if is_policy { !gone && !narrow } else { gone };
                    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    timeline.lock().unwrap().changes.insert(version(object), (at, is_policy, name, permits));
                }
            });
        }
        timeline
    }

    /// Since when the signer called `name` was forbidden what was approved as `version`, if it was.
    fn forbidden_since(&self, name: &str, version: u64) -> Option<Instant> {
        let (mut by_policy, mut by_guardrail) = (None, None);
        for (at, is_policy, _, permits) in
            self.changes.range(..version).map(|(_, change)| change).filter(|c| c.2 == name)
        {
            let forbidden = if *is_policy { &mut by_policy } else { &mut by_guardrail };
            // A status that is written changes nothing.
            *forbidden = if *permits { None } else { forbidden.or(Some(*at)) };
        }
        match (by_policy, by_guardrail) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

/// Memory in KiB and processor time of the controller, every second.
struct Sample {
    at: Instant,
    memory: u64,
    processor: Duration,
}

fn sample(controller: &Controller) -> Sample {
    Sample {
        at: Instant::now(),
        memory: controller.running.memory().unwrap(),
        processor: controller.running.processor_time().unwrap(),
    }
}

#[test]
fn nothing_is_approved_that_was_not_permitted_while_policies_change_for_long() {
    let bench = Bench::start();
    bench.cluster.may_approve(&["example.com/*", SIGNERS[0]]);
    let timeline = Timeline::follow(&bench);
    let ledger = Ledger::start(&bench);
    let mut states = [State::Permits; SIGNERS.len()];
    for signer in 0..SIGNERS.len() {
        change(&bench, signer, State::Nothing, State::Permits);
    }
    let managed = format!("--managed-signer={}", SIGNERS[0]);
    let options = ["--managed-signer=example.com/*", &managed, "--leader-elect=false", "--policy-settle=1s"];
    let controller = bench.cluster.start_replica("soak", &options);
    controller.is_ready();

    let lasts = soak();
    let (begin, over) = (Instant::now(), AtomicBool::new(false));
    let (mut samples, mut changes) = (vec![sample(&controller)], 0);
    std::thread::scope(|scope| {
        let _over = Sets(&over);
        scope.spawn(|| {
            for number in 0_usize.. {
                let due = begin + PERIOD * u32::try_from(number).unwrap();
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let signer = number % SIGNERS.len();
                // One in ten asks for what nobody may have.
                let asks = if number % 10 == 9 { Asks::Forbidden } else { Asks::Permitted };
                ledger.file(&format!("{}-{number}", name(signer)), SIGNERS[signer], asks);
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                ledger.clear("soak");
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let mut random = Random::new("soak");
        let mut next = Instant::now();
        while begin.elapsed() < lasts {
            if Instant::now() >= next {
                let signer = usize::try_from(random.wait(6).as_millis()).unwrap();
                let all = [State::Permits, State::Nothing, State::Narrow, State::Guarded];
                // Permitted every second time, so that there is something to approve.
                let to = if states[signer] == State::Permits {
                    all[1 + usize::try_from(random.wait(3).as_millis()).unwrap()]
                } else {
                    State::Permits
                };
                change(&bench, signer, std::mem::replace(&mut states[signer], to), to);
                changes += 1;
                next = Instant::now() + Duration::from_millis(1500) + random.wait(3000);
            }
            std::thread::sleep(Duration::from_millis(50));
            if samples.last().is_none_or(|last| last.at.elapsed() > Duration::from_secs(1)) {
                samples.push(sample(&controller));
            }
        }
    });
    samples.push(sample(&controller));
    for (signer, state) in states.into_iter().enumerate().filter(|(_, state)| *state != State::Permits) {
        change(&bench, signer, state, State::Permits);
    }
    ledger.balances(LIMIT, || controller.log());

    let decisions = ledger.decisions();
    let timeline = timeline.lock().unwrap();
    let (mut late, mut latest, mut waits) = (0, Duration::ZERO, Vec::new());
    for decision in decisions.iter().filter(|decision| decision.asks == Asks::Permitted) {
        let signer = decision.name.split('-').next().unwrap();
        if let Some(since) = timeline.forbidden_since(signer, decision.version) {
            let by = decision.at.saturating_duration_since(since);
            assert!(by < WINDOW, "{} was approved {by:?} after it was forbidden\n{}", decision.name, controller.log());
            late += 1;
            latest = latest.max(by);
        }
        waits.push(decision.at.saturating_duration_since(decision.filed));
    }
    waits.sort();
    let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
    let used = last.processor.saturating_sub(first.processor).as_secs_f64() / (last.at - first.at).as_secs_f64();
    let peak = |from: usize, to: usize| {
        let part = &samples[samples.len() * from / 10..samples.len() * to / 10];
        part.iter().map(|sample| sample.memory).max().unwrap_or_default()
    };
    let (early, end) = (peak(2, 5), peak(7, 10));
    println!(
        "soak: {lasts:.0?}, {} requests and {changes} changes; {} approved, {late} of them after it was forbidden, by at \
         most {latest:.1?}; {} denied; decided after {:.0?} (median); {:.1} % of a processor; resident at most {early} KiB \
         from 20 % to 50 % of the time, {end} KiB in the last 30 %",
        decisions.len(),
        waits.len(),
        decisions.len() - waits.len(),
        waits[waits.len() / 2],
        used * 100.0
    );
    assert!(latest < Duration::from_secs(2), "{latest:?}\n{}", controller.log());
    assert!(end < early + early / 5 + 4096, "from {early} KiB to {end} KiB\n{}", controller.log());
    assert!(used < 0.5, "{used}");
}
