//! Races on the real API server: whatever changes while a request is under review, no approval rests on
//! what is no longer in force. Where a moment matters a proxy holds the others up; where numbers matter
//! `COUNTERSIGN_RACES` says how many (50 unless it is set).

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use testbed::{Api, Call, Fault, eventually};

use super::decisions::policy;
use super::faults::{Bench, Case, GUARDRAILS, POLICIES, REQUESTS, forbids};
use super::{Controller, LIMIT, Request, anyhow_if};

/// The longest time after a revocation in which an approval that was on its way may still be written:
/// ten seconds from the consistent read, and the eight that a call may take.
pub(super) const WINDOW: Duration = Duration::from_secs(18);

/// A signer that kube-controller-manager signs for.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// How many of each race are run.
fn races() -> usize {
    std::env::var("COUNTERSIGN_RACES").ok().and_then(|number| number.parse().ok()).unwrap_or(50)
}

/// Numbers that differ from run to run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(what: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap() | 1;
        println!("{what}: seed {seed}");
        Self(seed)
    }

    /// From 0 up to `max` milliseconds.
    pub(super) fn wait(&mut self, max: u64) -> Duration {
        self.below(Duration::from_millis(max))
    }

    /// From half of `middle` up to half as much again.
    fn around(&mut self, middle: Duration) -> Duration {
        middle / 2 + self.below(middle)
    }

    fn below(&mut self, max: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % u64::try_from(max.as_micros()).unwrap())
    }
}

/// Somebody who saw everything, in the order of the API server.
struct Witness(Arc<Mutex<Vec<Event>>>);

#[derive(Clone)]
struct Event {
    at: Instant,
    change: String,
    object: Value,
}

impl Event {
    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// When the API server wrote it, in an order that holds for all objects: all are in one etcd.
    fn version(&self) -> u64 {
        self.object["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse().unwrap_or_default()
    }

    fn has(&self, condition: &str) -> bool {
        let conditions = self.object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|given| given["type"] == condition)
    }
}

impl Witness {
    fn start(api: &Api) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        for path in [REQUESTS, POLICIES, GUARDRAILS] {
            let lines = api.watch(&format!("{path}?watch=true")).unwrap();
            let events = Arc::clone(&events);
            std::thread::spawn(move || {
                for (at, mut line) in lines {
                    let change = line["type"].as_str().unwrap_or_default().to_owned();
                    events.lock().unwrap().push(Event { at, change, object: line["object"].take() });
                }
            });
        }
        Self(events)
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// The deletion of this object, with what it had come to by then.
    #[track_caller]
    fn deletion(&self, object: &Value) -> Event {
        let uid = &object["metadata"]["uid"];
        let deletes = |event: &&Event| event.change == "DELETED" && event.object["metadata"]["uid"] == *uid;
        let seen = eventually("the watch brings the deletion", LIMIT, || {
            let events = self.0.lock().unwrap();
            let found = events.iter().rev().find(deletes).cloned();
            found.ok_or_else(|| std::io::Error::other("it does not").into())
        });
        seen.unwrap()
    }

    /// For each signer when what permitted it was first revoked: its policy deleted or changed, or a
    /// guardrail created. Objects and signers share their names.
    fn revocations(&self) -> BTreeMap<String, Event> {
        let mut first = BTreeMap::<String, Event>::new();
        for event in self.events() {
            let changed = event.object["metadata"]["generation"].as_u64().unwrap_or_default() > 1;
            let revokes = match (event.kind(), event.change.as_str()) {
                ("CSRPolicy", "DELETED") | ("CSRGuardrail", "ADDED") => true,
                ("CSRPolicy", "MODIFIED") => changed,
                _ => false,
            };
            if revokes {
                let signer = format!("example.com/{}", event.name());
                let earlier = first.get(&signer).is_none_or(|other| event.version() < other.version());
                if earlier {
                    first.insert(signer, event);
                }
            }
        }
        first
    }

    /// Asserts that no approval was written after what permitted it was revoked, but for those on their
    /// way within the window. How many approvals there are, how many of those were late, and how late.
    fn judge(&self) -> (usize, usize, Duration) {
        let revoked = self.revocations();
        let (mut approved, mut late, mut latest) = (BTreeMap::new(), 0, Duration::ZERO);
        for event in self.events().iter().filter(|event| event.kind() == "CertificateSigningRequest") {
            if event.has("Approved") {
                let uid = event.object["metadata"]["uid"].as_str().unwrap().to_owned();
                approved.entry(uid).or_insert_with(|| event.clone());
            }
        }
        for event in approved.values() {
            let signer = event.object["spec"]["signerName"].as_str().unwrap();
            let Some(revocation) = revoked.get(signer).filter(|revocation| event.version() > revocation.version())
            else {
                continue;
            };
            let by = event.at.saturating_duration_since(revocation.at);
            late += 1;
            latest = latest.max(by);
            assert!(by < WINDOW, "{} was approved {by:?} after its revocation", event.name());
        }
        (approved.len(), late, latest)
    }
}

/// One controller without a proxy for every signer of `example.com`.
fn controller(bench: &Bench, options: &[&str]) -> Controller {
    let own = ["--managed-signer=example.com/*", "--leader-elect=false", "--policy-settle=0s"];
    let options: Vec<&str> = own.iter().chain(options).copied().collect();
    let controller = bench.cluster.start_replica(&format!("replica-{}", options.len()), &options);
    controller.is_ready();
    controller
}

fn create_policy(bench: &Bench, name: &str) {
    let policy: Value = serde_json::from_str(&policy(name, &format!("example.com/{name}"), Value::Null)).unwrap();
    bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
}

/// Waits for a condition of a request.
#[track_caller]
pub(super) fn decided(bench: &Bench, name: &str) -> String {
    let since = Instant::now();
    loop {
        if let Some(condition) = bench.conditions(name).pop() {
            return condition;
        }
        assert!(since.elapsed() < LIMIT, "{name} is pending");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first request is deleted about when its approval is written: later if the last one had none yet, sooner if it had.
#[test]
fn no_request_is_approved_in_place_of_another_under_its_name() {
    let bench = Bench::start();
    let signers = [CLIENT, "example.com/swaps"];
    bench.cluster.may_approve(&signers);
    for (name, signer) in [("signed", signers[0]), ("unsigned", signers[1])] {
        let policy: Value = serde_json::from_str(&policy(name, signer, Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    }
    let running = controller(&bench, &[&format!("--managed-signer={CLIENT}")]);
    bench.file("canary", CLIENT);
    let signed = eventually("somebody signs", LIMIT, || {
        let canary = bench.api.must("GET", &format!("{REQUESTS}/canary"), None)?;
        anyhow_if(!canary["status"]["certificate"].is_null(), &canary.to_string())
    });
    signed.unwrap();
    let witness = Witness::start(&bench.api);
    let [good, bad] =
        ["/CN=good", "/CN=bad/O=kubeadm:cluster-admins"].map(|subject| Request::new("", subject).manifest());
    let (total, refused) = (races(), refused_decisions(&bench));
    let (raced, swapped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (bench, witness, raced, swapped, good, bad) = (&bench, &witness, &raced, &swapped, &good, &bad);
            scope.spawn(move || {
                let name = format!("swapped-{worker}");
                let path = format!("{REQUESTS}/{name}");
                let named = |manifest: &Value| {
                    let mut manifest = manifest.clone();
                    manifest["metadata"]["name"] = json!(name);
                    manifest["spec"]["signerName"] = json!(signers[worker % 2]);
                    manifest
                };
                let (good, bad) = (named(good), named(bad));
                let (mut random, mut aim) = (Random::new("swaps"), Duration::from_millis(2));
                while raced.load(Ordering::SeqCst) < total {
                    assert!(swapped.fetch_add(1, Ordering::SeqCst) < 10 * total, "most come too late to be a race");
                    // The controller is as fast as the answer to who files it, so that the deletion cannot wait for that.
                    let first = std::thread::scope(|scope| {
                        let filed = scope.spawn(|| bench.api.must("POST", REQUESTS, Some(&good)).unwrap());
                        std::thread::sleep(random.around(aim));
                        delete_once_there(bench, &path, || filed.is_finished());
                        filed.join().unwrap()
                    });
                    bench.api.must("POST", REQUESTS, Some(&bad)).unwrap();
                    assert_eq!(decided(bench, &name), "Denied");
                    bench.api.must("DELETE", &path, None).unwrap();
                    if witness.deletion(&first).has("Approved") {
                        aim = (aim * 4 / 5).max(Duration::from_micros(10));
                    } else {
                        raced.fetch_add(1, Ordering::SeqCst);
                        aim = aim * 5 / 4;
                    }
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let events = witness.events();
    let others: Vec<&Event> =
        events.iter().filter(|event| event.object["spec"]["request"] == bad["spec"]["request"]).collect();
    let approved =
        others.iter().filter(|event| event.has("Approved") || !event.object["status"]["certificate"].is_null()).count();
    let seen = others.iter().filter(|event| event.change == "DELETED").count();
    let refused = refused_decisions(&bench) - refused;
    println!(
        "swaps: {swapped:?} under one name, {raced:?} before the first request was approved; {refused} decisions were \
         refused by the API server, {approved} of the others approved"
    );
    assert_eq!(approved, 0, "{}", running.log());
    assert_eq!(seen, swapped.into_inner());
    assert!(refused > 0, "no approval came too late");
}

/// Deletes what somebody files meanwhile.
#[track_caller]
fn delete_once_there(bench: &Bench, path: &str, filed: impl Fn() -> bool) {
    loop {
        let filed = filed();
        let (status, answer) = bench.api.call("DELETE", path, None).unwrap();
        if status == 200 {
            return;
        }
        assert!(status == 404 && !filed, "{status} {answer}");
    }
}

/// How many decisions the API server refused so far, since what they are about is gone or is another.
fn refused_decisions(bench: &Bench) -> u64 {
    let metrics = bench.api.must("GET", "/metrics", None).unwrap();
    let lines = metrics.as_str().unwrap().lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("subresource=\"approval\"")
            && ["code=\"404\"", "code=\"409\""].iter().any(|code| line.contains(code))
    });
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn no_approval_outlives_what_permitted_it() {
    let bench = Bench::start();
    let running = controller(&bench, &[]);
    let witness = Witness::start(&bench.api);
    let mut random = Random::new("revocations");
    let total = races();
    for round in 0..total {
        let name = format!("r{round}");
        let signer = format!("example.com/{name}");
        create_policy(&bench, &name);
        let canary = format!("{name}-canary");
        bench.file(&canary, &signer);
        assert_eq!(decided(&bench, &canary), "Approved", "{}", running.log());
        let at = random.wait(15);
        let waits: Vec<Duration> = (0..3).map(|_| random.wait(8)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(at);
                match round % 3 {
                    0 => bench.api.must("DELETE", &format!("{POLICIES}/{name}"), None).unwrap(),
                    1 => {
                        let narrower = json!({ "spec": { "allow": { "subject": { "organizations": { "allowed": ["nobody"] } } } } });
                        bench.api.must("PATCH", &format!("{POLICIES}/{name}"), Some(&narrower)).unwrap()
                    }
                    _ => {
                        let mut guardrail: Value =
                            serde_json::from_str(&super::decisions::guardrail(&name, &forbids())).unwrap();
                        guardrail["spec"]["match"] = json!({ "signerNames": [signer] });
                        bench.api.must("POST", GUARDRAILS, Some(&guardrail)).unwrap()
                    }
                };
            });
            for (number, wait) in waits.iter().enumerate() {
                std::thread::sleep(*wait);
                bench.file(&format!("{name}-{number}"), &signer);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        for number in 0..3 {
            bench.api.must("DELETE", &format!("{REQUESTS}/{name}-{number}"), None).unwrap();
        }
        if round % 3 != 0 {
            bench.api.must("DELETE", &format!("{POLICIES}/{name}"), None).unwrap();
        }
        if round % 3 == 2 {
            bench.api.must("DELETE", &format!("{GUARDRAILS}/{name}"), None).unwrap();
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    let revocations = witness.revocations().len();
    let (approved, late, latest) = witness.judge();
    println!(
        "revocations: {revocations}, among {} requests, of which {approved} were approved, {late} of them after the \
         revocation and by at most {latest:.1?}",
        total * 4
    );
    assert_eq!(revocations, total);
    assert!(approved > total && approved < total * 4, "{approved} of {} are no race", total * 4);
    // In the ordinary case the watch brings the revocation at once.
    assert!(latest < Duration::from_secs(2), "{latest:?}\n{}", running.log());
}

#[test]
fn a_controller_that_was_stopped_through_a_change_approves_nothing_under_what_was_before() {
    let bench = Bench::start();
    let running = controller(&bench, &[]);
    let witness = Witness::start(&bench.api);
    let mut random = Random::new("stops");
    let short = (races() / 5).max(4);
    // Some stops are longer than any approval may rest on what was read before.
    let stops = std::iter::repeat_n(Duration::from_millis(300), short).chain([Duration::from_secs(12); 2]);
    for (round, stop) in stops.enumerate() {
        let name = format!("s{round}");
        let signer = format!("example.com/{name}");
        create_policy(&bench, &name);
        let canary = format!("{name}-canary");
        bench.file(&canary, &signer);
        assert_eq!(decided(&bench, &canary), "Approved");
        let at = random.wait(30);
        let continued = std::thread::scope(|scope| {
            let stopped = scope.spawn(|| {
                std::thread::sleep(at);
                running.running.signal("STOP").unwrap();
                bench.api.must("DELETE", &format!("{POLICIES}/{name}"), None).unwrap();
                std::thread::sleep(stop);
                running.running.signal("CONT").unwrap();
                Instant::now()
            });
            for number in 0..10 {
                bench.file(&format!("{name}-{number}"), &signer);
                std::thread::sleep(Duration::from_millis(2));
            }
            stopped.join().unwrap()
        });
        std::thread::sleep(Duration::from_millis(500));
        // What was sent before the stop, or rests on a read that is not too old, the judge counts.
        let late = (0..10).filter(|number| !bench.conditions(&format!("{name}-{number}")).is_empty());
        let events = witness.events();
        let approvals = events.iter().filter(|event| event.change == "MODIFIED" && event.has("Approved"));
        let after =
            approvals.filter(|event| event.name().starts_with(&format!("{name}-")) && event.at > continued).count();
        println!("stopped for {stop:?}: {} of 10 approved, {after} of them after it went on", late.count());
        assert!(stop < Duration::from_secs(10) || after == 0, "{}", running.log());
    }
    let (approved, late, latest) = witness.judge();
    println!("stops: {}, {approved} approved, {late} after the revocation and by at most {latest:.1?}", short + 2);
}

#[test]
fn two_replicas_that_both_believe_they_lead_decide_everything_once() {
    let bench = Bench::start();
    create_policy(&bench, "both");
    let replicas = [controller(&bench, &[]), controller(&bench, &["--no-opinion-events=true"])];
    let (total, refused) = (races(), refused_decisions(&bench));
    let names: Vec<String> = (0..total).map(|number| format!("both-{number}")).collect();
    for name in &names {
        bench.file(name, "example.com/both");
    }
    for name in &names {
        assert_eq!(decided(&bench, name), "Approved");
        assert_eq!(bench.conditions(name).len(), 1);
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut lines = BTreeMap::<String, usize>::new();
    for line in replicas.iter().flat_map(Controller::decisions) {
        *lines.entry(line["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for name in &names {
        assert_eq!(lines.get(name), Some(&1), "{name}");
    }
    let decided: Vec<usize> = replicas.iter().map(|replica| replica.decisions().len()).collect();
    let refused = refused_decisions(&bench) - refused;
    println!(
        "two leaders: {total} requests, decided by one and the other {decided:?}, {refused} were refused to the second"
    );
    assert!(refused > 0, "one was always too late to decide anything");
}

#[test]
fn an_approver_of_the_opposite_opinion_is_never_contradicted() {
    let bench = Bench::start();
    create_policy(&bench, "opposed");
    let running = controller(&bench, &[]);
    let total = races();
    let (mut denied, mut lost, mut longest) = (0, 0, 12);
    let mut random = Random::new("approvers");
    for number in 0..total {
        let manifest = Bench::manifest(&format!("opposed-{number}"), "example.com/opposed");
        let mut csr = bench.api.must("POST", REQUESTS, Some(&manifest)).unwrap();
        std::thread::sleep(random.wait(longest));
        let path = format!("{REQUESTS}/opposed-{number}/approval");
        csr["status"] = json!({ "conditions": [{ "type": "Denied", "status": "True", "reason": "No" }] });
        // Whoever was the first waits longer, so that neither always is.
        match bench.api.call("PUT", &path, Some(&csr)).unwrap() {
            (200, _) => (denied, longest) = (denied + 1, (longest * 2).min(1_000)),
            (409, _) => (lost, longest) = (lost + 1, (longest / 2).max(1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(denied + lost, total);
    std::thread::sleep(Duration::from_secs(2));
    let conditions: Vec<Vec<String>> =
        (0..total).map(|number| bench.conditions(&format!("opposed-{number}"))).collect();
    assert!(conditions.iter().all(|conditions| conditions.len() == 1), "{conditions:?}");
    let approved = conditions.iter().filter(|conditions| conditions[0] == "Approved").count();
    assert_eq!((approved, total - approved), (lost, denied));
    assert_eq!(running.decisions().iter().filter(|line| line["decision"] == "Approve").count(), approved);
    println!("opposite opinions: {total} requests, {approved} approved here, {denied} denied by the other");
    assert!(denied > 0 && lost > 0, "one of them was always the first");
}

#[test]
fn a_policy_applied_before_its_guardrail_approves_nothing_that_the_guardrail_forbids() {
    let bench = Bench::start();
    let settling = ["--managed-signer=example.com/*", "--leader-elect=false", "--policy-settle=3s"];
    let running = bench.cluster.start_replica("settling", &settling);
    running.is_ready();
    let mut random = Random::new("settling");
    let rounds = (races() / 16).clamp(3, 20);
    for round in 0..rounds {
        let name = format!("g{round}");
        let signer = format!("example.com/{name}");
        let request = format!("{name}-request");
        bench.file(&request, &signer);
        create_policy(&bench, &name);
        std::thread::sleep(random.wait(2500));
        let mut guardrail: Value = serde_json::from_str(&super::decisions::guardrail(&name, &forbids())).unwrap();
        guardrail["spec"]["match"] = json!({ "signerNames": [signer] });
        bench.api.must("POST", GUARDRAILS, Some(&guardrail)).unwrap();
        assert_eq!(decided(&bench, &request), "Denied", "{}", running.log());
    }
    println!("settling: {rounds} policies applied before their guardrails, and nothing approved between");
}

/// A case in which the next approval needs a new connection, and no new consistent read.
fn placed<'a>(bench: &'a Bench, name: &str) -> Case<'a> {
    let case = Case::start(bench, name, &["--leader-elect=false", "--policy-settle=0s"]);
    case.is_approved(&case.file("before"));
    case
}

/// Waits until an approval of `name` has reached the proxy.
#[track_caller]
pub(super) fn is_sent(case: &Case, name: &str) {
    let sent = eventually("an approval is sent", LIMIT, || anyhow_if(!case.sent(name).is_empty(), "none is"));
    sent.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
}

#[test]
fn an_approval_that_is_refused_for_now_is_not_repeated_after_a_revocation() {
    let bench = Bench::start();
    for (name, fault) in [
        ("again-429", Fault::Answer(429, Some(2))),
        ("again-503", Fault::Answer(503, None)),
        ("again-504", Fault::Answer(504, None)),
        ("again-reset", Fault::Reset),
    ] {
        let case = placed(&bench, name);
        let refused = case.proxy.inject(Call::approves, fault);
        let request = case.file("request");
        is_sent(&case, &request);
        case.delete_policy();
        std::thread::sleep(Duration::from_millis(500));
        drop(refused);
        let (since, sent) = (Instant::now(), case.sent(&request).len());
        std::thread::sleep(Duration::from_secs(4));
        let repeated = case.proxy.calls_since(since, |call| call.approves() && call.about() == request);
        assert!(repeated.is_empty(), "{sent} were sent before, {} after\n{}", repeated.len(), case.story());
        assert_eq!(bench.conditions(&request), [""; 0]);
    }
}

#[test]
fn an_approval_that_waits_for_a_connection_is_not_sent_after_a_revocation() {
    let bench = Bench::start();
    for (name, by_guardrail) in [("waits-policy", false), ("waits-guardrail", true)] {
        let case = placed(&bench, name);
        let held = case.proxy.hold_connections();
        let request = case.file("request");
        std::thread::sleep(Duration::from_millis(700));
        if by_guardrail {
            case.create_guardrail(&forbids());
        } else {
            case.delete_policy();
        }
        // The watches are open, and bring it.
        std::thread::sleep(Duration::from_millis(700));
        drop(held);
        std::thread::sleep(Duration::from_secs(4));
        assert!(case.sent(&request).is_empty(), "{}", case.story());
        let expected: &[&str] = if by_guardrail { &["Denied"] } else { &[] };
        assert_eq!(bench.conditions(&request), expected, "{}", case.story());
    }
}

#[test]
fn an_approval_on_its_way_is_given_up_and_reviewed_again() {
    let bench = Bench::start();
    for (name, by_guardrail) in [("held-policy", false), ("held-guardrail", true)] {
        let case = placed(&bench, name);
        let held = case.proxy.inject(Call::approves, Fault::Hold);
        let request = case.file("request");
        is_sent(&case, &request);
        if by_guardrail {
            case.create_guardrail(&forbids());
        } else {
            case.delete_policy();
        }
        std::thread::sleep(Duration::from_secs(10));
        drop(held);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(case.sent(&request).len(), 1, "{}", case.story());
        let expected: &[&str] = if by_guardrail { &["Denied"] } else { &[] };
        assert_eq!(bench.conditions(&request), expected, "{}", case.story());
    }
}

#[test]
fn an_approval_that_arrives_after_a_swap_approves_neither() {
    let bench = Bench::start();
    let case = placed(&bench, "swap");
    // Made before, since a call is not waited for long.
    let mut hostile = Request::new("", "/CN=bad/O=kubeadm:cluster-admins").manifest();
    hostile["spec"]["signerName"] = json!(case.signer);
    let held = case.proxy.inject(Call::approves, Fault::Hold);
    let request = case.file("request");
    is_sent(&case, &request);
    bench.api.must("DELETE", &format!("{REQUESTS}/{request}"), None).unwrap();
    hostile["metadata"]["name"] = json!(request);
    bench.api.must("POST", REQUESTS, Some(&hostile)).unwrap();
    drop(held);
    assert_eq!(decided(&bench, &request), "Denied", "{}", case.story());
    let answers: Vec<Option<u16>> = case.sent(&request).iter().map(|call| call.answer).collect();
    assert_eq!(answers, [Some(409)]);
}
