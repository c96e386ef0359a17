//! The API server is gone, does not answer, or has forgotten what was watched: nothing is lost, nobody is kept
//! busy meanwhile, and decisions go on within ten seconds of its return. `COUNTERSIGN_OUTAGE` says for how many
//! seconds it is gone (5 unless it is set).

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Call, Fault, Options, eventually};

use super::decisions::policy;
use super::faults::{Bench, Case, POLICIES, REQUESTS};
use super::kills::Sets;
use super::ledger::{Asks, Ledger};
use super::{Controller, LIMIT, anyhow_if};

/// Within what time of the return of the API server there is to be a decision.
const RECOVERED: Duration = Duration::from_secs(10);

fn outage() -> Duration {
    let seconds = std::env::var("COUNTERSIGN_OUTAGE").ok().and_then(|number| number.parse().ok()).unwrap_or(5);
    Duration::from_secs(seconds)
}

/// Files requests five times a second until it is `over`.
fn load(ledger: &Ledger, name: &str, over: &AtomicBool) {
    for number in (0..).take_while(|_| !over.load(Ordering::SeqCst)) {
        ledger.file(&format!("{name}-r{number}"), &format!("example.com/{name}"), Asks::of(number));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One controller that calls the API server itself, and one behind a proxy that counts its calls.
struct Outages<'a> {
    bench: &'a Bench,
    ledger: &'a Ledger,
    direct: &'a Controller,
    case: &'a Case<'a>,
}

impl Outages<'_> {
    /// The API server is away from `begin` to `end`.
    fn run(&self, what: &str, lasts: Duration, begin: impl FnOnce(), end: impl FnOnce()) {
        begin();
        let since = Instant::now();
        let before = self.direct.running.processor_time().unwrap();
        std::thread::sleep(lasts);
        let used = self.direct.running.processor_time().unwrap().saturating_sub(before);
        let calls = self.case.proxy.calls_since(since, |_| true).len();
        let took = since.elapsed();
        end();
        let returned = eventually("the API server is back", LIMIT, || {
            let (status, answer) = self.bench.api.call("GET", "/readyz", None)?;
            anyhow_if(status == 200, &answer.to_string()).map(|()| Instant::now())
        });
        let returned = returned.unwrap();
        let mut recovered = Vec::new();
        for name in ["direct", "proxied"] {
            let decided = eventually("there is a decision", LIMIT, || {
                let next = self.ledger.decided_since(&format!("{name}-r"), returned);
                next.ok_or_else(|| std::io::Error::other("there is none").into())
            });
            let decided = decided.unwrap_or_else(|error| panic!("{what}, {name}: {error:#}\n{}", self.story()));
            recovered.push(decided - returned);
        }
        let busy = used.as_secs_f64() / took.as_secs_f64().max(1.0);
        let rate = f64::from(u32::try_from(calls).unwrap()) / took.as_secs_f64().max(1.0);
        println!(
            "{what} for {took:.0?}: decisions {:.1?} and {:.1?} after its return; meanwhile {:.1} % of a processor and {rate:.1} \
             calls a second",
            recovered[0],
            recovered[1],
            busy * 100.0
        );
        assert!(recovered.iter().all(|took| *took < RECOVERED), "{what}: {recovered:?}\n{}", self.story());
        assert!(busy < 0.1, "{what}: {used:?} of {took:?}\n{}", self.story());
        assert!(calls < 12 + usize::try_from(took.as_secs()).unwrap() * 10, "{what}: {calls}\n{}", self.story());
    }

    fn story(&self) -> String {
        format!("{}\n--\n{}", self.direct.log(), self.case.story())
    }
}

#[test]
fn an_api_server_that_was_away_finds_everything_decided_soon_and_nobody_busy() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    let ledger = Ledger::start(&bench);
    let own: Value = serde_json::from_str(&policy("direct", "example.com/direct", Value::Null)).unwrap();
    bench.api.must("POST", POLICIES, Some(&own)).unwrap();
    let options = ["--managed-signer=example.com/direct", "--lease-name=direct", "--policy-settle=0s"];
    let direct = bench.cluster.start_replica("direct", &options);
    direct.is_ready();
    let case = Case::start(&bench, "proxied", &["--lease-name=proxied"]);
    case.is_approved(&case.file("before"));
    let outages = Outages { bench: &bench, ledger: &ledger, direct: &direct, case: &case };
    let plane = &bench.cluster.plane;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Sets(&over);
        for name in ["direct", "proxied"] {
            let (ledger, over) = (&ledger, &over);
            scope.spawn(move || load(ledger, name, over));
        }
        std::thread::sleep(Duration::from_secs(3));
        let restart = || plane.restart_api_server().unwrap();
        outages.run("restarted", Duration::ZERO, || plane.kill_api_server(), restart);
        std::thread::sleep(Duration::from_secs(2));
        outages.run("gone", outage(), || plane.kill_api_server(), restart);
        std::thread::sleep(Duration::from_secs(2));
        let signal = |signal: &str| plane.signal_api_server(signal).unwrap();
        outages.run("stopped", outage(), || signal("STOP"), || signal("CONT"));
    });
    ledger.balances(LIMIT, || outages.story());
    // At most one try a second for an object, whatever happened.
    let mut tries = BTreeMap::<String, Vec<Instant>>::new();
    for call in case.proxy.calls().iter().filter(|call| call.decides().is_some()) {
        tries.entry(call.about().to_owned()).or_default().push(call.at);
    }
    for (name, tries) in &tries {
        let shortest = tries.windows(2).map(|two| two[1] - two[0]).min();
        assert!(shortest.is_none_or(|wait| wait > Duration::from_millis(900)), "{name}: {shortest:?}");
    }
    let again = tries.values().filter(|tries| tries.len() > 1).count();
    let (names, permitted, forbidden) = ledger.filed();
    println!(
        "outages: {} requests, {permitted} approved and {forbidden} denied; {again} of {} decisions were tried again",
        names.len(),
        tries.len()
    );
}

#[test]
fn decisions_that_cannot_be_written_are_tried_slowly_and_all_come_through_soon_after() {
    let bench = Bench::start();
    let case = Case::start(&bench, "writes", &["--leader-elect=false", "--policy-settle=0s"]);
    case.is_approved(&case.file("before"));
    let refused = case.proxy.inject(|call| call.decides().is_some(), Fault::Answer(500, None));
    let since = Instant::now();
    let before = case.controller.running.processor_time().unwrap();
    let names: Vec<String> = (0..200).map(|number| case.file(&number.to_string())).collect();
    // Until the longest wait has come.
    let lasts = outage().clamp(Duration::from_secs(8), Duration::from_secs(20));
    std::thread::sleep(lasts.saturating_sub(since.elapsed()));
    let tries = case.proxy.calls_since(since, |call| call.decides().is_some()).len();
    let (took, used) = (since.elapsed(), case.controller.running.processor_time().unwrap().saturating_sub(before));
    drop(refused);
    let mended = Instant::now();
    for name in &names {
        case.is_approved(name);
    }
    let recovered = mended.elapsed();
    println!(
        "writes: 200 requests, {tries} tries and {used:.1?} of a processor in {took:.0?}; all decided {recovered:.1?} after"
    );
    assert!(recovered < RECOVERED, "{recovered:?}\n{}", case.story());
    // Each once or twice within the first two seconds, then ten a second; without that, half as many again and more.
    let most = 450 + 10 * usize::try_from(took.as_secs()).unwrap();
    assert!((100..most).contains(&tries), "{tries}\n{}", case.story());
    assert!(used < took / 5, "{used:?}");
}

#[test]
fn policies_that_went_with_their_crds_permit_nothing_and_new_ones_do() {
    let bench = Bench::start();
    let case = Case::start(&bench, "recreated", &["--leader-elect=false", "--policy-settle=0s"]);
    case.is_approved(&case.file("before"));
    let admin = &bench.cluster.admin;
    admin.run(&["delete", "-f", "crds"]).unwrap();
    let noticed = eventually("it notices", LIMIT, || {
        let answer = case.controller.http("/readyz")?;
        anyhow_if(answer.contains("the CRDs are not installed"), &answer)
    });
    noticed.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
    let names: Vec<String> = (0..5).map(|number| case.file(&format!("without-{number}"))).collect();
    case.is_pending_after(&names[0], Duration::from_secs(3));
    admin.run(&["apply", "--server-side", "--force-conflicts", "-f", "crds"]).unwrap();
    // They are there again, and what they permitted is not: it says so.
    for name in &names {
        bench.cluster.event(name, "NoOpinion", "no policy speaks about this signer");
    }
    case.is_pending_after(&names[0], Duration::from_secs(1));
    let created = eventually("policies are served again", LIMIT, || case.try_create_policy());
    created.unwrap();
    let since = Instant::now();
    for name in &names {
        case.is_approved(name);
    }
    println!("recreated: decided {:.1?} after the policy was applied again", since.elapsed());
    assert!(since.elapsed() < RECOVERED, "{}", case.story());
}

/// Waits until the log says that the API server has answered so.
fn is_told(case: &Case, operation: &str, answer: &str) {
    let expired = eventually("it hears that what it watched is forgotten", LIMIT, || {
        let log = case.controller.log();
        anyhow_if(log.lines().any(|line| line.contains(answer) && line.contains(operation)), "it does not")
    });
    expired.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
}

#[test]
fn a_watch_under_which_etcd_was_compacted_begins_with_a_complete_list() {
    let bench = Bench::with(&Options { without_watch_cache: true, ..Options::default() });
    let plane = &bench.cluster.plane;

    // At connect: what the watch goes on from is forgotten meanwhile.
    let case = Case::start(&bench, "connect", &["--leader-elect=false", "--policy-settle=0s"]);
    case.is_approved(&case.file("before"));
    std::thread::sleep(Duration::from_millis(1500));
    let reopened = |call: &Call| call.watches("certificatesigningrequests") && call.path.contains("&resourceVersion=");
    let held = case.proxy.inject(reopened, Fault::Hold);
    // The watch may be opened again before the next line runs.
    let since = Instant::now();
    let ended = case.proxy.inject_times(|call| call.watches("certificatesigningrequests"), Fault::End, 1);
    let again = eventually("it watches again", LIMIT, || {
        anyhow_if(!case.proxy.calls_since(since, reopened).is_empty(), "it does not")
    });
    again.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
    let name = case.file("during");
    plane.compact_etcd().unwrap();
    drop((held, ended));
    let since = Instant::now();
    case.is_approved(&name);
    println!("compacted at connect: decided after {:.1?}", since.elapsed());
    assert!(since.elapsed() < RECOVERED, "{}", case.story());
    is_told(&case, "watch-requests", "410");
    drop(case);

    // In the stream: the API server does not keep up with etcd, which forgets what it did not fetch. The last of
    // that is that the policy is gone.
    let case = Case::start(&bench, "stream", &["--leader-elect=false", "--policy-settle=0s"]);
    case.is_approved(&case.file("before"));
    let key = super::base64(b"/registry/countersign.dev/csrpolicies/stream");
    let stored = plane.etcd("/v3/kv/range", &json!({ "key": key })).unwrap();
    let value = stored["kvs"][0]["value"].as_str().unwrap().to_owned();
    plane.signal_api_server("STOP").unwrap();
    for _ in 0..800 {
        plane.etcd("/v3/kv/put", &json!({ "key": key, "value": value })).unwrap();
    }
    plane.etcd("/v3/kv/deleterange", &json!({ "key": key })).unwrap();
    plane.compact_etcd().unwrap();
    plane.signal_api_server("CONT").unwrap();
    // The events that it still gets are without what they replaced, so that it ends the watch with an error.
    is_told(&case, "watch-policies", "PrevKv=nil");
    let name = case.file("without");
    case.is_pending_after(&name, Duration::from_secs(3));
    case.create_policy();
    let since = Instant::now();
    case.is_approved(&name);
    println!("compacted in the stream: decided {:.1?} after the policy was there again", since.elapsed());
    assert!(since.elapsed() < RECOVERED, "{}", case.story());
}

/// The name of this test, as `isolated` runs it.
const VANISHED: &str = "cluster::outages::connections_whose_other_side_vanished_without_a_word_are_given_up";

#[test]
fn connections_whose_other_side_vanished_without_a_word_are_given_up() {
    // A network of its own, in which packets can be dropped without harm to others.
    testbed::isolated(VANISHED, |_| Ok(()), |_| vanish()).unwrap();
}

fn vanish() -> testbed::Result<()> {
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).status()?;
        anyhow_if(status.success(), &format!("{program} failed"))
    };
    // kube-apiserver does not start without one.
    run("ip", &["route", "add", "default", "dev", "node0"])?;
    let bench = Bench::start();
    let plane = &bench.cluster.plane;
    bench.api.must("POST", POLICIES, Some(&serde_json::from_str(&policy("own", "example.com/own", Value::Null))?))?;
    let options = ["--managed-signer=example.com/own", "--policy-settle=0s"];
    let controller = bench.cluster.start_replica("vanished", &options);
    controller.is_ready();
    let manifest = |what: &str| Bench::manifest(what, "example.com/own");
    let is_approved = |what: &str, since: Instant| {
        // The connections of earlier calls may be dead, too.
        let api = plane.api()?;
        eventually(&format!("{what} is approved"), LIMIT * 4, || {
            let csr = api.must("GET", &format!("{REQUESTS}/{what}"), None)?;
            anyhow_if(csr["status"]["conditions"][0]["type"] == "Approved", &controller.log())
        })?;
        let took = since.elapsed();
        println!("{what}: decided after {took:.1?}");
        anyhow_if(took < RECOVERED, &format!("{what}: {took:?}\n{}", controller.log()))
    };
    bench.api.must("POST", REQUESTS, Some(&manifest("there")))?;
    is_approved("there", Instant::now())?;
    let port = plane.port().to_string();
    let iptables = |action: &str| {
        run("iptables", &[action, "OUTPUT", "--protocol", "tcp", "--source-port", &port, "--jump", "DROP"])
    };
    // The API server stays, and so do connections that are not idle for too long. One brings it a request all the same; its
    // answer and what the watch brings are lost until TCP repeats them, or the connection is given up.
    iptables("--append")?;
    std::thread::scope(|scope| {
        scope.spawn(|| bench.api.call("POST", REQUESTS, Some(&manifest("network-gone"))));
        std::thread::sleep(outage());
        iptables("--delete")?;
        is_approved("network-gone", Instant::now())
    })?;
    // Nobody hears that the API server is gone, and the new one knows nothing of the connections to the old: the
    // kernel would go on closing them.
    iptables("--append")?;
    run("ss", &["--kill", "state", "established", "sport", "=", &format!(":{port}")])?;
    plane.kill_api_server();
    std::thread::sleep(outage());
    iptables("--delete")?;
    plane.restart_api_server()?;
    eventually("the API server is back", LIMIT, || bench.cluster.admin.run(&["get", "--raw", "/readyz"]))?;
    let returned = Instant::now();
    plane.api()?.must("POST", REQUESTS, Some(&manifest("vanished")))?;
    is_approved("vanished", returned)
}
