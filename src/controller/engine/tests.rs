//! The engine against an API server of a few lines: moments that a real one cannot be made to have.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::iter;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::seen::drop_superseded;
use super::{Decided, Done, Engine, Input, Late, Prompts, SCHEMA_SETTLES, Settling};
use crate::controller::approval::{self, Sent, condition};
use crate::controller::confirm::Current;
use crate::controller::events::Events;
use crate::controller::gate::{Gate, Refusal};
use crate::controller::leader::Leadership;
use crate::controller::metrics::Metrics;
use crate::controller::moment::{Clock, Moment};
use crate::controller::nodes::{self, Concern};
use crate::controller::policies::{Snapshot, Version};
use crate::controller::record::Recorder;
use crate::controller::server::Readiness;
use crate::controller::skew::Skew;
use crate::controller::watch::Seen;
use crate::controller::{Config, Error, Log};
use crate::policy::{Compiled, Kind, ServedPolicy, Settings, SignerPattern};
use crate::request::CsrObject;
use crate::review::{Approvals, Facts, Holder, NodeFact, Review, review};

const SIGNER: &str = "example.com/x";

impl Engine {
    fn input(&mut self, input: Input) {
        self.take_in(&mut vec![input]);
    }
}

/// A client whose calls `answer` answers, with a status and a body.
fn client<F>(mut answer: impl FnMut(Request<Body>) -> F + Send + 'static) -> Client
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answer = answer(request);
        async {
            let (status, body) = answer.await;
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

/// A client that no call is expected of.
fn unused() -> Client {
    client(|request| async move { panic!("{request:?}") })
}

/// An engine with one policy, that has seen all there is.
fn engine(client: Client, leadership: Leadership) -> Engine {
    let config = Config {
        settings: Settings { managed_signers: vec![SignerPattern::new(SIGNER).unwrap()], ..Settings::default() },
        kubeconfig: None,
        context: None,
        listen: SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        policy_settle: Duration::ZERO,
        event_namespace: "default".to_owned(),
        no_opinion_events: true,
        lease: None,
        instance: "a".to_owned(),
        log: Log::new().unwrap(),
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let (events, _) = Events::unwritten(Arc::clone(&metrics));
    let recorder = Recorder { metrics: Arc::clone(&metrics), events, no_opinion_events: true };
    let gate = Arc::new(Gate::new(leadership));
    let mut engine = Engine::new(&config, client, gate, metrics, recorder, Readiness::default(), Prompts::default());
    engine.input(Input::Skew(Skew::None));
    for kind in Kind::ALL {
        engine.input(Input::Policy(kind, Seen::Restarted));
        if kind == Kind::CSRPolicy {
            engine.input(Input::Policy(kind, Seen::Listed(policy())));
        }
        engine.input(Input::Policy(kind, Seen::Synced));
    }
    list(&mut engine, []);
    assert_eq!(engine.not_ready(), None);
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    engine
}

/// An object as the API server serves it, at this generation and version.
fn served(kind: Kind, name: &str, version: i64, spec: &Value) -> ServedPolicy {
    let metadata = json!({ "name": name, "uid": name, "generation": version, "resourceVersion": version.to_string() });
    let object = json!({ "apiVersion": "countersign.dev/v1alpha1", "metadata": metadata, "spec": spec });
    ServedPolicy::new(kind, serde_json::from_value(object).unwrap())
}

/// The policy of [`engine`], at this version, with the subjects that it allows.
fn policy_with(version: i64, subject: Option<Value>) -> ServedPolicy {
    let mut spec = json!({
        "match": { "signerNames": [SIGNER], "requestors": [{ "users": ["*"] }] },
        "allow": { "usages": { "allowed": ["client auth"] }, "expirationSeconds": { "max": 3600 } },
    });
    if let Some(subject) = subject {
        spec["allow"]["subject"] = subject;
    }
    served(Kind::CSRPolicy, "all", version, &spec)
}

fn policy() -> ServedPolicy {
    policy_with(1, None)
}

/// A guardrail that counts what is approved under these signers.
fn counting(signers: &[&str]) -> Input {
    let spec = json!({ "match": { "signerNames": signers }, "limits": { "node": { "maxPerHour": 1 } } });
    Input::Policy(Kind::CSRGuardrail, Seen::Changed(served(Kind::CSRGuardrail, "rate", 1, &spec)))
}

/// A request that does not decode, and so is denied, with these conditions.
fn request(name: &str, conditions: &Value) -> Value {
    json!({
        "metadata": { "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "1" },
        "spec": { "request": "", "signerName": SIGNER, "username": "amy", "usages": ["client auth"] },
        "status": { "conditions": conditions },
    })
}

fn object(value: Value) -> CsrObject {
    serde_json::from_value(value).unwrap()
}

fn pending_value(name: &str) -> Value {
    request(name, &json!([]))
}

fn pending(name: &str) -> CsrObject {
    object(pending_value(name))
}

fn request_with(name: &str, condition: &str) -> Value {
    request(name, &json!([{ "type": condition }]))
}

fn denied(name: &str) -> CsrObject {
    object(request_with(name, "Denied"))
}

fn list(engine: &mut Engine, objects: impl IntoIterator<Item = CsrObject>) {
    engine.input(Input::Request(Seen::Restarted));
    for object in objects {
        engine.input(Input::Request(Seen::Listed(object.into())));
    }
    engine.input(Input::Request(Seen::Synced));
}

/// The decision about `object`.
fn decided(engine: &Engine, object: CsrObject) -> Decided {
    let set = Arc::clone(engine.policies.set());
    let review = review(&set, &object.signing_request(), &Facts::default());
    Decided { filed: object.into(), review: Arc::new(review), at: Timestamp::UNIX_EPOCH, set }
}

/// The answer comes.
fn sent(engine: &mut Engine, decided: Decided, sent: Sent) {
    let request = decided.filed.whole().map(|object| Box::new(object.signing_request()));
    engine.done(Done::Sent { name: decided.filed.name().to_owned(), decided, request, sent });
}

/// Reviews what is due under `name`, and takes in what comes of it.
async fn review_now(engine: &mut Engine, name: &str) {
    engine.queue.push(name.into(), "amy");
    engine.work();
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
}

/// Whether the watch of requests was told to start over.
fn lists_again(engine: &Engine) -> bool {
    engine.prompts.restart_requests.notified().now_or_never().is_some()
}

/// Whether no name waits for anything.
fn is_idle(engine: &Engine) -> bool {
    engine.queue.is_empty() && engine.queue.next_wake().is_none()
}

#[tokio::test]
async fn a_replica_that_does_not_lead_keeps_no_name_of_what_is_decided_or_gone() {
    let mut engine = engine(unused(), Leadership::never());
    for seen in [Seen::Changed(denied("a").into()), Seen::Deleted(pending("a").into())] {
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        assert!(!engine.work() && !engine.queue.is_empty());
        engine.input(Input::Request(seen));
        assert!(is_idle(&engine));
    }
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    list(&mut engine, [denied("a")]);
    assert!(is_idle(&engine));
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    list(&mut engine, []);
    assert!(is_idle(&engine));
}

#[tokio::test]
async fn a_decision_that_fails_when_its_request_is_gone_leaves_nothing() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    engine.input(Input::Request(Seen::Deleted(pending("a").into())));
    sent(&mut engine, decided, Sent::Failed(Error::Answer("one")));
    assert!(is_idle(&engine));
}

#[tokio::test]
async fn an_answer_that_is_owed_is_waited_for_though_its_request_is_decided() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    engine.input(Input::Request(Seen::Changed(denied("a").into())));
    assert!(engine.queue.next_wake().is_some_and(|at| at > Instant::now()));
}

#[tokio::test]
async fn what_became_of_a_decision_is_found_out_however_often_that_fails() {
    let (written, answers) = (Arc::new(Mutex::new(json!({}))), Arc::new(AtomicUsize::new(0)));
    let api = {
        let (written, answers) = (Arc::clone(&written), Arc::clone(&answers));
        client(move |request| {
            assert_eq!(request.method(), Method::GET);
            let refusals = [401, 403, 429, 500];
            let answer = match refusals.get(answers.fetch_add(1, Ordering::Relaxed)) {
                Some(status) => (*status, json!({})),
                None => (200, written.lock().unwrap().clone()),
            };
            async { answer }
        })
    };
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    *written.lock().unwrap() = request("a", &json!([condition(&decided.review, decided.at)]));
    sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    // The watch brings it first.
    engine.input(Input::Request(Seen::Changed(denied("a").into())));
    let counted = |engine: &Engine| {
        let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
        engine.metrics.encode().unwrap().contains(&line)
    };
    for _ in 0..4 {
        review_now(&mut engine, "a").await;
        assert!(!counted(&engine));
    }
    review_now(&mut engine, "a").await;
    assert!(counted(&engine));
    assert!(is_idle(&engine) && engine.unanswered.is_empty());
    assert_eq!(answers.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_is_seen_while_stopping_holds_back_what_was_not_sent() {
    let (asked, answer, written) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let api = {
        let (asked, answer, written) = (Arc::clone(&asked), Arc::clone(&answer), Arc::clone(&written));
        client(move |request| {
            let reads = request.method() == Method::GET;
            if request.uri().path().ends_with("/approval") {
                written.fetch_add(1, Ordering::Relaxed);
            }
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            async move {
                if reads {
                    asked.notify_one();
                    answer.notified().await;
                }
                (404, json!({ "kind": "Status", "code": 404 }))
            }
        })
    };
    let (sender, inputs) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let mut engine = engine(api.clone(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    // A decision that rests on a Node, which is read once more before it is sent.
    let decided = decided(&engine, pending("a"));
    let node = Some(NodeFact { name: "w".to_owned(), node: None });
    let decided = Decided { review: Arc::new(Review { node, ..(*decided.review).clone() }), ..decided };
    let (gate, revision) = (Arc::clone(&engine.gate), engine.gate.revision());
    engine.flight.depart("uid-of-a");
    engine.calls.push(Box::pin(async move {
        let sent =
            approval::send(api, gate, Arc::new(pending("a")), Arc::clone(&decided.review), decided.at, revision).await;
        Done::Sent { name: "a".to_owned(), decided, request: None, sent }
    }));
    let engine = tokio::spawn(engine.run(inputs, stop.clone()));
    asked.notified().await;
    stop.cancel();
    tokio::task::yield_now().await;
    sender.send(Input::Policy(Kind::CSRPolicy, Seen::Deleted(policy()))).await.unwrap();
    // Until it was taken in.
    let _ = tokio::time::timeout(Duration::from_secs(2), sender.reserve()).await;
    answer.notify_one();
    engine.await.unwrap();
    assert_eq!(written.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_does_not_say_which_request_it_is_is_neither_taken_in_nor_decided() {
    let whole = request("a", &json!([]));
    let without = |field: &str| {
        let mut value = whole.clone();
        value["metadata"].as_object_mut().unwrap().remove(field);
        value
    };
    for odd in [json!({}), without("name"), without("uid"), without("resourceVersion"), request("b", &json!([]))] {
        let (answers, decisions) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let api = {
            let (odd, whole, answers, decisions) =
                (odd.clone(), whole.clone(), Arc::clone(&answers), Arc::clone(&decisions));
            client(move |request| {
                let answer = if request.method() == Method::PATCH {
                    decisions.fetch_add(1, Ordering::Relaxed);
                    (200, request_with("a", "Denied"))
                } else if answers.fetch_add(1, Ordering::Relaxed) == 0 {
                    (200, odd.clone())
                } else {
                    (200, whole.clone())
                };
                async { answer }
            })
        };
        let mut engine = engine(api, Leadership::always());
        // As a watch brings it that does not say more.
        engine.input(Input::Request(Seen::Changed(object(without("uid")).into())));
        review_now(&mut engine, "a").await;
        let names = engine.pending.names();
        assert_eq!(names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a"], "{odd}");
        assert!(engine.queue.next_wake().is_some(), "{odd}");
        // It is read once more, and then decided.
        review_now(&mut engine, "a").await;
        assert_eq!((answers.load(Ordering::Relaxed), decisions.load(Ordering::Relaxed)), (2, 0), "{odd}");
        review_now(&mut engine, "a").await;
        assert_eq!((answers.load(Ordering::Relaxed), decisions.load(Ordering::Relaxed)), (2, 1), "{odd}");
        assert!(engine.pending.names().is_empty() && is_idle(&engine), "{odd}");
    }
}

/// A request that is too large to be held, and does not decode.
fn large(version: &str) -> Value {
    let mut value = request("a", &json!([]));
    value["metadata"]["resourceVersion"] = json!(version);
    value["spec"]["request"] = json!(STANDARD.encode(" ".repeat(20_000)));
    value
}

/// An API server that answers each read with the next of these, the last one again and again, and takes every decision.
fn serving(found: Vec<(u16, Value)>) -> (Client, Arc<Mutex<Vec<Value>>>) {
    let decisions = Arc::new(Mutex::new(Vec::new()));
    let (written, mut reads) = (Arc::clone(&decisions), 0);
    let api = client(move |request| {
        let answer = found.get(reads).or(found.last()).cloned().unwrap_or_default();
        reads += usize::from(request.method() == Method::GET);
        let written = Arc::clone(&written);
        async move {
            if request.method() == Method::GET {
                return answer;
            }
            let body: Value = serde_json::from_slice(&request.into_body().collect_bytes().await.unwrap()).unwrap();
            written.lock().unwrap().push(body.clone());
            (200, body)
        }
    });
    (api, decisions)
}

/// An API server that answers everything with what is `found` then.
fn showing(found: &Arc<Mutex<Value>>) -> Client {
    let found = Arc::clone(found);
    client(move |_| {
        let found = found.lock().unwrap().clone();
        async { (200, found) }
    })
}

/// The versions that decisions were sent about.
fn versions(decisions: &Mutex<Vec<Value>>) -> Vec<String> {
    let decisions = decisions.lock().unwrap();
    decisions.iter().map(|body| body["metadata"]["resourceVersion"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_too_large_to_hold_is_read_when_its_turn_comes_and_decided_as_it_was_read() {
    let (api, decisions) = serving(vec![(500, json!({})), (200, large("2"))]);
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(object(large("1")).into())));
    assert!(engine.pending.get("a").unwrap().1.filed.whole().is_none());
    review_now(&mut engine, "a").await;
    assert!(engine.queue.next_wake().is_some(), "it is read again later");
    review_now(&mut engine, "a").await;
    assert!(engine.pending.get("a").unwrap().1.filed.whole().is_none() && versions(&decisions).is_empty());
    let sent = engine.calls.next().await.unwrap();
    engine.done(sent);
    assert_eq!(versions(&decisions), ["2"]);
    assert!(engine.pending.names().is_empty() && is_idle(&engine) && engine.flight.is_empty());
}

#[tokio::test]
async fn what_was_read_is_read_again_if_it_may_not_be_decided_when_it_comes() {
    let (api, decisions) = serving(vec![(200, large("1"))]);
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(object(large("1")).into())));
    engine.work();
    engine.gate.advance();
    let read = engine.calls.next().await.unwrap();
    engine.done(read);
    assert!(engine.flight.is_empty() && !engine.queue.is_empty());
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    engine.stopping = true;
    engine.work();
    assert!(engine.flight.is_empty());
    engine.stopping = false;
    review_now(&mut engine, "a").await;
    while versions(&decisions).is_empty() {
        let done = engine.calls.next().await.unwrap();
        engine.done(done);
    }
    assert_eq!(versions(&decisions), ["1"]);
}

#[tokio::test]
async fn of_a_large_request_that_is_another_one_now_nothing_is_decided_before_that_is_read() {
    let mut other = large("2");
    other["metadata"]["uid"] = json!("another");
    let mut decided = large("3");
    decided["status"]["conditions"] = json!([{ "type": "Denied" }]);
    for (found, left) in [((200, other), vec!["another"]), ((200, decided), vec![]), ((404, json!({})), vec![])] {
        let (api, decisions) = serving(vec![found]);
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(object(large("1")).into())));
        review_now(&mut engine, "a").await;
        let pending = engine.pending.get("a").map(|(_, entry)| entry.filed.uid().to_owned());
        assert_eq!(pending.iter().collect::<Vec<_>>(), left.iter().collect::<Vec<_>>());
        assert_eq!(is_idle(&engine), left.is_empty());
        assert!(versions(&decisions).is_empty() && engine.flight.is_empty());
    }
}

/// What a kubelet asks for.
fn node_request() -> Value {
    let mut value = pending_value("a");
    value["spec"]["username"] = json!("system:node:w");
    value["spec"]["groups"] = json!(["system:nodes"]);
    value
}

#[tokio::test]
async fn what_is_listed_again_as_it_was_is_not_reviewed_again() {
    let listed = |engine: &mut Engine, value: Value| {
        list(engine, [object(value)]);
        assert_eq!(engine.pending.names().len(), 1);
        engine.queue.pop().is_some()
    };
    for value in [pending_value("a"), large("1")] {
        let mut engine = engine(unused(), Leadership::never());
        assert!(listed(&mut engine, value.clone()) && !listed(&mut engine, value.clone()));
        for (field, other) in [("resourceVersion", "2"), ("uid", "another")] {
            let mut changed = value.clone();
            changed["metadata"][field] = json!(other);
            assert!(listed(&mut engine, changed.clone()) && !listed(&mut engine, changed), "{field}");
        }
        assert!(listed(&mut engine, value.clone()));
        // What came of its review may depend on what else is there.
        engine.pending.get_mut("a").unwrap().holder = Some(Holder::new(SIGNER, "w"));
        assert!(listed(&mut engine, value.clone()) && !listed(&mut engine, value.clone()));
        engine.pending.get_mut("a").unwrap().concern = Concern::of(&object(node_request()).signing_request());
        assert!(engine.pending.get("a").unwrap().1.concern.is_some() && listed(&mut engine, value));
    }
}

#[tokio::test]
async fn what_is_too_large_to_hold_is_not_read_as_often_as_a_node_changes() {
    let mut engine = engine(unused(), Leadership::never());
    for (value, at_once) in [(pending_value("a"), true), (large("1"), false)] {
        list(&mut engine, [object(value)]);
        engine.queue.pop();
        engine.pending.get_mut("a").unwrap().concern = Concern::of(&object(node_request()).signing_request());
        engine.review_concerned(&nodes::Change::All);
        assert_eq!(engine.queue.pop().is_some(), at_once);
        let waits = engine.queue.next_wake();
        assert_eq!(waits.is_some(), !at_once);
        engine.review_concerned(&nodes::Change::All);
        assert_eq!(engine.queue.next_wake(), waits);
        list(&mut engine, []);
    }
}

#[tokio::test]
async fn each_reason_to_leave_a_request_alone_is_said_once() {
    let mut engine = engine(unused(), Leadership::always());
    let mut value = pending_value("a");
    value["spec"]["request"] = json!(STANDARD.encode(include_str!("../../../benches/requests/p256.pem")));
    engine.input(Input::Request(Seen::Changed(object(value).into())));
    let mut held = json!({
        "metadata": { "name": "all", "uid": "all", "generation": 1, "resourceVersion": "1" },
        "spec": {
            "match": { "signerNames": [SIGNER], "requestors": [{ "users": ["*"] }] },
            "allow": { "subject": { "commonName": { "allowed": ["nobody"] } } },
            "onViolation": "LeavePending",
        },
    });
    for generation in 1..7 {
        held["metadata"]["generation"] = json!(generation);
        let policy = ServedPolicy::new(Kind::CSRPolicy, serde_json::from_value(held.clone()).unwrap());
        for seen in [Seen::Changed(policy.clone()), Seen::Deleted(policy)] {
            engine.input(Input::Policy(Kind::CSRPolicy, seen));
            engine.gate.confirm(engine.gate.revision(), Moment::now());
            engine.work();
            assert!(engine.queue.is_empty() && engine.flight.is_empty());
        }
    }
    let metrics = engine.metrics.encode().unwrap();
    let lines = metrics.lines().filter(|line| line.contains("decisions_total{decision=\"NoOpinion\""));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
    assert_eq!(counts.sum::<u32>(), 2);
}

#[tokio::test]
async fn policies_that_change_without_end_do_not_keep_others_from_being_decided() {
    let (api, decisions) = serving(vec![]);
    let mut engine = engine(api, Leadership::always());
    engine.settling = Settling::new(Duration::from_millis(100));
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let began = Instant::now();
    while versions(&decisions).is_empty() && began.elapsed() < Duration::from_secs(5) {
        let mut changed = policy();
        changed.object.generation = Some(2 + i64::try_from(began.elapsed().as_millis()).unwrap());
        engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(changed)));
        engine.gate.confirm(engine.gate.revision(), Moment::now());
        engine.work();
        if let Ok(Some(done)) = tokio::time::timeout(Duration::from_millis(20), engine.calls.next()).await {
            engine.done(done);
        }
    }
    let took = began.elapsed();
    assert_eq!(versions(&decisions), ["1"]);
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_was_decided_is_none() {
    let mut other = request_with("a", "Denied");
    other["metadata"]["uid"] = json!("another");
    let odd =
        [json!({}), json!([]), json!({ "kind": "Status" }), pending_value("a"), request_with("a", "Approved"), other];
    for odd in odd {
        let found = request("a", &json!([]));
        let api = {
            let odd = odd.clone();
            client(move |request| {
                let answer = if request.method() == Method::PATCH { odd.clone() } else { found.clone() };
                async { (200, answer) }
            })
        };
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        review_now(&mut engine, "a").await;
        assert!(!engine.unanswered.is_empty() && engine.pending.get("a").is_some(), "{odd}");
        assert!(engine.metrics.encode().unwrap().contains("operation=\"deny\""), "{odd}");
        // It was not written, and is decided again.
        review_now(&mut engine, "a").await;
        assert!(engine.unanswered.is_empty() && !engine.queue.is_empty(), "{odd}");
    }
}

#[tokio::test]
async fn what_became_of_a_decision_is_found_out_though_that_about_an_earlier_request_is_open_too() {
    let found = Arc::new(Mutex::new(json!({})));
    let mut engine = engine(showing(&found), Leadership::always());
    let mut earlier = request("a", &json!([]));
    earlier["metadata"]["uid"] = json!("earlier");
    let (earlier, later) = (decided(&engine, object(earlier)), decided(&engine, pending("a")));
    *found.lock().unwrap() = request("a", &json!([condition(&later.review, later.at)]));
    sent(&mut engine, later, Sent::Unanswered(Error::Timeout(8)));
    sent(&mut engine, earlier, Sent::Unanswered(Error::Timeout(8)));
    engine.queue.push("a".into(), "amy");
    engine.work();
    while let Some(done) = engine.calls.next().await {
        engine.done(done);
    }
    let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
    assert!(engine.metrics.encode().unwrap().contains(&line));
    assert!(engine.unanswered.is_empty() && is_idle(&engine) && engine.flight.is_empty());
}

#[tokio::test]
async fn what_was_approved_is_listed_again_when_the_clock_was_set_and_it_is_counted() {
    let mut engine = engine(unused(), Leadership::never());
    engine.clock = Clock::that_was_set();
    engine.tick();
    assert!(!lists_again(&engine) && engine.not_ready().is_none());

    assert!(engine.counted.need(&[SignerPattern::All]));
    let mut value = request("a", &json!([{ "type": "Approved", "lastTransitionTime": Timestamp::now() }]));
    value["spec"]["username"] = json!("system:node:w");
    value["spec"]["groups"] = json!(["system:nodes"]);
    let approved = object(value);
    list(&mut engine, [approved.clone()]);
    // By a clock that is ahead it was approved long ago.
    engine.counted.expire(Timestamp::now() + SignedDuration::from_hours(2));
    engine.tick();
    assert!(!lists_again(&engine) && engine.counted.known().is_some_and(Approvals::is_empty));
    engine.clock = Clock::that_was_set();
    engine.tick();
    assert!(lists_again(&engine) && engine.not_ready().is_some_and(|(gate, _)| gate == "requests"));
    list(&mut engine, [approved]);
    assert!(engine.not_ready().is_none() && engine.counted.known().is_some_and(|approvals| approvals.len() == 1));
}

#[tokio::test]
async fn what_the_watch_brings_of_a_decision_without_an_answer_is_recorded_though_its_request_is_gone_then() {
    for last in [Seen::Changed as fn(_) -> _, Seen::Deleted as fn(_) -> _] {
        let mut engine = engine(unused(), Leadership::always());
        let decided = decided(&engine, pending("a"));
        let mut written = request("a", &json!([condition(&decided.review, decided.at)]));
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
        // Another under its name says nothing about it.
        written["metadata"]["uid"] = json!("another");
        engine.input(Input::Request(Seen::Changed(object(written.clone()).into())));
        let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}}");
        let counted = |engine: &Engine| engine.metrics.encode().unwrap().contains(&format!("{line} 1"));
        assert!(!counted(&engine) && engine.unanswered.len() == 1);
        written["metadata"]["uid"] = json!("uid-of-a");
        engine.input(Input::Request(last(object(written.clone()).into())));
        assert!(counted(&engine) && engine.unanswered.is_empty());
        engine.input(Input::Request(Seen::Deleted(object(written).into())));
        assert!(counted(&engine) && is_idle(&engine));
    }
}

#[tokio::test]
async fn a_request_that_leaves_no_room_for_a_decision_keeps_no_others_waiting() {
    for (status, message, category, at_least) in [
        (500, "etcdserver: request is too large", "too-large", 590),
        (413, "limit is 3145728", "too-large", 590),
        (422, "it is invalid", "invalid", 0),
    ] {
        let api =
            client(move |_| async move { (status, json!({ "kind": "Status", "code": status, "message": message })) });
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        review_now(&mut engine, "a").await;
        assert!(engine.unanswered.is_empty() && engine.pending.get("a").is_some(), "{status}");
        let wait = engine.queue.next_wake().unwrap() - Instant::now();
        assert!(wait > Duration::from_secs(at_least), "{wait:?}");
        assert!(!engine.flight.is_failing(), "{status}");
        let line = format!("api_errors_total{{category=\"{category}\",operation=\"deny\"}} 1");
        assert!(engine.metrics.encode().unwrap().contains(&line), "{status}");
    }
}

/// It was decided otherwise in the meantime; the watch is quicker than the answer about the next decision, or slower.
#[tokio::test]
async fn a_decision_that_lands_after_it_was_looked_for_is_recorded_whatever_becomes_of_the_next_one() {
    for (next, watch_first, large) in
        [(409, true, false), (409, false, false), (429, true, false), (429, true, true), (404, true, false)]
    {
        let found = Arc::new(Mutex::new((200, pending_value("a"))));
        let api = {
            let found = Arc::clone(&found);
            client(move |call| {
                let failed = (next, json!({ "kind": "Status", "code": next }));
                let answer = if call.method() == Method::PATCH { failed } else { found.lock().unwrap().clone() };
                async { answer }
            })
        };
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let first = decided(&engine, pending("a"));
        let review = Review { reason: "it was another policy then".to_owned(), ..(*first.review).clone() };
        let first = Decided { review: Arc::new(review), ..first };
        let mut written = request("a", &json!([condition(&first.review, first.at)]));
        written["metadata"]["resourceVersion"] = json!("2");
        if large {
            // What is held of it in outline tells nothing of its conditions.
            written["spec"]["request"] = json!(STANDARD.encode("x".repeat(10_000)));
        }
        sent(&mut engine, first, Sent::Unanswered(Error::Timeout(8)));
        review_now(&mut engine, "a").await;
        assert!(engine.unanswered.is_empty() && engine.late.len() == 1);
        engine.queue.push("a".into(), "amy");
        engine.work();
        let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
        let counted = |engine: &Engine| engine.metrics.encode().unwrap().contains(&line);
        *found.lock().unwrap() = if next == 404 { (404, json!({})) } else { (200, written.clone()) };
        let last = if next == 404 { Seen::Deleted as fn(_) -> _ } else { Seen::Changed as fn(_) -> _ };
        if watch_first {
            engine.input(Input::Request(last(object(written.clone()).into())));
        }
        // The next one may be what it has.
        assert!(!counted(&engine), "{next}");
        let done = engine.calls.next().await.unwrap();
        engine.done(done);
        if large {
            review_now(&mut engine, "a").await;
        }
        assert!(counted(&engine), "{next}");
        assert!(engine.late.is_empty() && is_idle(&engine), "{next}");
        engine.input(Input::Request(Seen::Deleted(object(written).into())));
        assert!(counted(&engine), "{next}");
        assert!(engine.unanswered.is_empty(), "{next}");
    }
}

/// Two decisions in the same words: the first is not answered, the second is what the request has.
#[tokio::test]
async fn a_decision_whose_answer_comes_after_the_watch_is_recorded_once() {
    let api = client(|call| {
        let is_sent = call.method() == Method::PATCH;
        async move { (200, if is_sent { request_with("a", "Denied") } else { pending_value("a") }) }
    });
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let first = decided(&engine, pending("a"));
    let written = request("a", &json!([condition(&first.review, first.at)]));
    sent(&mut engine, first, Sent::Unanswered(Error::Timeout(8)));
    review_now(&mut engine, "a").await;
    engine.queue.push("a".into(), "amy");
    engine.work();
    engine.input(Input::Request(Seen::Changed(object(written).into())));
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
    let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
    assert!(engine.metrics.encode().unwrap().contains(&line));
    assert!(engine.late.is_empty() && engine.unanswered.is_empty() && is_idle(&engine));
}

/// Two decisions in the same words were not answered; one of them lands while the other is looked for.
#[tokio::test]
async fn what_the_watch_brings_while_it_is_looked_for_is_recorded_once() {
    for late in [1, 2] {
        let found = Arc::new(Mutex::new(pending_value("a")));
        let mut engine = engine(showing(&found), Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        for _ in 0..late {
            let decided = decided(&engine, pending("a"));
            sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
        }
        let written = request("a", &json!([condition(&decided(&engine, pending("a")).review, Timestamp::UNIX_EPOCH)]));
        found.lock().unwrap().clone_from(&written);
        engine.queue.push("a".into(), "amy");
        engine.work();
        engine.input(Input::Request(Seen::Changed(object(written).into())));
        for _ in 0..late {
            let done = engine.calls.next().await.unwrap();
            engine.done(done);
        }
        let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
        assert!(engine.metrics.encode().unwrap().contains(&line));
        assert!(engine.late.is_empty() && engine.unanswered.is_empty() && engine.flight.is_empty());
    }
}

/// It is looked at once more, and nothing of it stays where that cannot be.
#[tokio::test]
async fn a_decision_that_may_have_landed_is_kept_as_long_as_its_request() {
    let is_late = |engine: &Engine| engine.late.len() == 1 && engine.unanswered.is_empty();
    let late = |leadership| {
        let mut engine = engine(client(|_| async { (200, pending_value("a")) }), leadership);
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let decided = decided(&engine, pending("a"));
        let written = request("a", &json!([condition(&decided.review, decided.at)]));
        let late = Late { decided: decided.clone(), looked_for: true };
        engine.late.insert("uid-of-a".to_owned(), vec![late]);
        // Its look says what became of it.
        list(&mut engine, [pending("b")]);
        assert!(is_late(&engine));
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let found = Sent::Found(Box::new(pending("a")));
        engine.done(Done::Sent { name: "a".to_owned(), decided, request: None, sent: found });
        assert!(is_late(&engine));
        (engine, object(written))
    };
    for gone in [vec![], vec![denied("a")], vec![object(node_request())]] {
        let (mut engine, _) = late(Leadership::always());
        let stays = gone.iter().any(|object| object.settled().is_none());
        list(&mut engine, gone);
        assert_eq!(is_late(&engine), stays);
        engine.input(Input::Request(Seen::Deleted(pending("a").into())));
        assert!(engine.late.is_empty() && engine.unanswered.is_empty());
    }
    // Nobody else records it, whoever leads.
    let (mut engine, written) = late(Leadership::never());
    engine.input(Input::Request(Seen::Changed(written.into())));
    assert!(engine.late.is_empty() && engine.unanswered.is_empty() && denials(&engine) == 1);
}

#[tokio::test]
async fn a_decision_that_lands_after_it_was_looked_for_is_recorded_when_the_next_one_meets_it() {
    let (found, patches) = (Arc::new(Mutex::new(pending_value("a"))), Arc::new(AtomicUsize::new(0)));
    let api = {
        let (found, patches) = (Arc::clone(&found), Arc::clone(&patches));
        client(move |call| {
            let failed = |code: u16| (code, json!({ "kind": "Status", "code": code }));
            let answer = if call.method() == Method::PATCH {
                failed(if patches.fetch_add(1, Ordering::Relaxed) == 0 { 504 } else { 409 })
            } else {
                (200, found.lock().unwrap().clone())
            };
            async { answer }
        })
    };
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    // It is not answered, and then it is not there.
    review_now(&mut engine, "a").await;
    let first = engine.unanswered["a"][0].clone();
    let mut written = request("a", &json!([condition(&first.review, first.at)]));
    written["metadata"]["resourceVersion"] = json!("2");
    review_now(&mut engine, "a").await;
    engine.queue.push("a".into(), "amy");
    engine.work();
    // While the next one is on its way, the first is written, and the watch says so before the answer comes.
    found.lock().unwrap().clone_from(&written);
    engine.input(Input::Request(Seen::Changed(object(written).into())));
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
    let line = format!("decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} 1");
    assert!(engine.metrics.encode().unwrap().contains(&line));
    assert!(engine.unanswered.is_empty() && is_idle(&engine) && patches.load(Ordering::Relaxed) == 2);
}

/// Whoever may write policies changes again and again for which signers approvals are counted.
#[tokio::test]
async fn requests_are_listed_again_once_however_often_what_is_counted_changes() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(counting(&["example.com/nobody-manages-it"]));
    assert!(engine.not_ready().is_none() && !lists_again(&engine) && engine.counted.known().is_none());
    engine.input(counting(&[SIGNER]));
    assert!(engine.not_ready().is_some() && lists_again(&engine) && engine.counted.known().is_none());
    let approved = || {
        let mut approved = request_with("w", "Approved");
        approved["spec"]["username"] = json!("system:node:w");
        approved["spec"]["groups"] = json!(["system:nodes"]);
        object(approved)
    };
    list(&mut engine, [approved()]);
    for change in [&["example.com/*"][..], &[SIGNER], &["example.com/nobody-manages-it"], &[SIGNER, "example.com/y"]] {
        engine.input(counting(change));
        assert!(engine.not_ready().is_none() && !lists_again(&engine), "{change:?}");
        // Also what is approved while nothing is counted is known once something is.
        assert_eq!(engine.counted.known().map(Approvals::len), Some(1), "{change:?}");
    }
}

/// How many denials are recorded.
fn denials(engine: &Engine) -> u64 {
    let series = format!("countersign_decisions_total{{decision=\"Deny\",policy=\"\",signer=\"{SIGNER}\"}} ");
    let text = engine.metrics.encode().unwrap();
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
}

/// An engine in which a denial of `a` was not there when it was looked for, and the next one, in the same words, is on its
/// way; and `a` with that denial.
async fn with_the_next_on_its_way(api: Client) -> (Engine, Value) {
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let first = decided(&engine, pending("a"));
    let mut written = request("a", &json!([condition(&first.review, first.at)]));
    written["metadata"]["resourceVersion"] = json!("2");
    sent(&mut engine, first, Sent::Unanswered(Error::Timeout(8)));
    review_now(&mut engine, "a").await;
    engine.queue.push("a".into(), "amy");
    engine.work();
    assert!(engine.late.len() == 1 && engine.flight.is_about("uid-of-a"));
    (engine, written)
}

/// An API server that refuses each decision with `status`, and where `found` is what there is.
fn refusing(status: u16, found: &Arc<Mutex<Value>>) -> Client {
    let found = Arc::clone(found);
    client(move |call| {
        let refused = (status, json!({ "kind": "Status", "code": status }));
        let answer = if call.method() == Method::PATCH { refused } else { (200, found.lock().unwrap().clone()) };
        async { answer }
    })
}

/// The first lands while the next one, in the same words, is on its way, which is not answered either.
#[tokio::test]
async fn of_two_decisions_without_an_answer_the_one_that_landed_is_recorded_once() {
    for lease_lost in [false, true] {
        let found = Arc::new(Mutex::new(pending_value("a")));
        let (mut engine, mut written) = with_the_next_on_its_way(refusing(504, &found)).await;
        let brought = |engine: &mut Engine, written: &Value| {
            found.lock().unwrap().clone_from(written);
            engine.input(Input::Request(Seen::Changed(object(written.clone()).into())));
        };
        if !lease_lost {
            brought(&mut engine, &written);
        }
        let done = engine.calls.next().await.unwrap();
        engine.done(done);
        if lease_lost {
            engine.gate = Arc::new(Gate::new(Leadership::never()));
            brought(&mut engine, &written);
            engine.gate = Arc::new(Gate::new(Leadership::always()));
            engine.gate.confirm(engine.gate.revision(), Moment::now());
        }
        assert_eq!(denials(&engine), 1, "{lease_lost}");
        // Something else about it changes, as when the certificate is issued.
        written["metadata"]["resourceVersion"] = json!("3");
        brought(&mut engine, &written);
        assert_eq!(denials(&engine), 1, "{lease_lost}");
        engine.queue.push("a".into(), "amy");
        engine.work();
        while let Some(done) = engine.calls.next().await {
            engine.done(done);
        }
        assert_eq!(denials(&engine), 1, "{lease_lost}");
        assert!(engine.unanswered.is_empty() && engine.late.is_empty() && engine.flight.is_empty());
    }
}

/// It was written and is deleted before its call fails, or the look at it does.
#[tokio::test]
async fn what_the_watch_has_shown_of_a_decision_on_its_way_is_recorded_though_nothing_else_tells() {
    for (sent, ours, looked_for) in [(504, true, false), (500, true, false), (504, false, false), (504, true, true)] {
        let api = client(move |call| {
            let code = if call.method() == Method::PATCH { sent } else { 404 };
            async move { (code, json!({ "kind": "Status", "code": code })) }
        });
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let first = decided(&engine, pending("a"));
        // The time of what is sent again is that of the first.
        engine.late.insert("uid-of-a".to_owned(), vec![Late { decided: first.clone(), looked_for: false }]);
        if looked_for {
            engine.late.clear();
            engine.unanswered.insert("a".to_owned(), vec![first.clone()]);
            engine.queue.push("a".into(), "amy");
        }
        engine.work();
        assert!(engine.flight.is_about("uid-of-a"));
        let at = if ours { first.at } else { first.at + SignedDuration::from_secs(1) };
        let written = object(request("a", &json!([condition(&first.review, at)])));
        for seen in [Seen::Changed, Seen::Deleted] {
            engine.input(Input::Request(seen(written.clone().into())));
        }
        assert_eq!(denials(&engine), 0, "{sent} {ours} {looked_for}");
        while let Some(done) = engine.calls.next().await {
            engine.done(done);
        }
        assert_eq!(denials(&engine), u64::from(ours), "{sent} {ours} {looked_for}");
        assert!(engine.flight.is_empty() && engine.late.is_empty() && engine.unanswered.is_empty() == ours);
    }
}

/// It was looked for, and lands before its request is deleted and filed again, while the next decision is on its way.
#[tokio::test]
async fn what_the_watch_has_shown_of_an_earlier_decision_is_recorded_when_the_next_finds_another_request() {
    let found = Arc::new(Mutex::new(pending_value("a")));
    let api = refusing(409, &found);
    let (mut engine, written) = with_the_next_on_its_way(api).await;
    found.lock().unwrap()["metadata"] = json!({ "name": "a", "uid": "another", "resourceVersion": "9" });
    for seen in [Seen::Changed, Seen::Deleted] {
        engine.input(Input::Request(seen(object(written.clone()).into())));
    }
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
    assert_eq!(denials(&engine), 1);
    assert!(engine.late.is_empty() && engine.unanswered.is_empty() && engine.flight.is_empty());
}

/// What became of an earlier request's decision is found out while this one's is on its way again.
#[tokio::test]
async fn what_a_look_at_another_request_shows_of_a_decision_on_its_way_is_recorded_once() {
    let api = client(|call| {
        let is_sent = call.method() == Method::PATCH;
        async move { (200, if is_sent { request_with("a", "Denied") } else { pending_value("a") }) }
    });
    let (mut engine, written) = with_the_next_on_its_way(api).await;
    let mut earlier = pending_value("a");
    earlier["metadata"]["uid"] = json!("earlier");
    let decided = decided(&engine, object(earlier));
    let sent = Sent::Found(Box::new(object(written)));
    engine.done(Done::Sent { name: "a".to_owned(), decided, request: None, sent });
    assert_eq!(denials(&engine), 0);
    while let Some(done) = engine.calls.next().await {
        engine.done(done);
    }
    assert_eq!(denials(&engine), 1);
}

/// The answer did not come, and the watch says that the request was pending when it went.
#[tokio::test]
async fn of_a_request_that_was_deleted_before_it_was_decided_nothing_is_left() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    assert_eq!(engine.unanswered.len(), 1);
    engine.input(Input::Request(Seen::Deleted(pending("a").into())));
    assert!(engine.unanswered.is_empty() && is_idle(&engine));
}

/// Nobody else knows of it.
#[tokio::test]
async fn what_was_written_without_an_answer_is_recorded_by_who_wrote_it_though_another_leads_now() {
    for last in [Seen::Changed as fn(_) -> _, Seen::Deleted as fn(_) -> _] {
        let mut engine = engine(unused(), Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let decided = decided(&engine, pending("a"));
        let written = object(request("a", &json!([condition(&decided.review, decided.at)])));
        sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
        engine.gate = Arc::new(Gate::new(Leadership::never()));
        engine.input(Input::Request(last(written.into())));
        assert_eq!(denials(&engine), 1);
        assert!(engine.unanswered.is_empty() && engine.late.is_empty() && is_idle(&engine));
    }
}

/// What is held of it does not tell what it has.
#[tokio::test]
async fn what_was_written_about_a_large_request_is_recorded_though_another_leads_now() {
    for (shown_first, stays) in [(false, true), (true, true), (false, false)] {
        let mut engine = engine(unused(), Leadership::always());
        engine.input(Input::Request(Seen::Changed(object(large("1")).into())));
        let decided = decided(&engine, object(large("1")));
        let mut written = large("2");
        written["status"]["conditions"] = json!([condition(&decided.review, decided.at)]);
        let found = if stays { (200, written.clone()) } else { (404, json!({ "kind": "Status", "code": 404 })) };
        engine.client = serving(vec![found]).0;
        engine.flight.depart("uid-of-a");
        engine.gate = Arc::new(Gate::new(Leadership::never()));
        let shown = Input::Request(Seen::Changed(object(written.clone()).into()));
        let mut shown = Some(shown);
        if shown_first {
            engine.input(shown.take().unwrap());
        }
        let request = Some(Box::new(object(large("1")).signing_request()));
        let sent = Sent::Unanswered(Error::Timeout(8));
        engine.done(Done::Sent { name: "a".to_owned(), decided, request, sent });
        if let Some(shown) = shown {
            engine.input(shown);
        }
        if !stays {
            engine.input(Input::Request(Seen::Deleted(object(written).into())));
        }
        let until = Instant::now() + Duration::from_secs(10);
        while !engine.unanswered.is_empty() && Instant::now() < until {
            engine.queue.wake();
            engine.tick();
            while let Some(done) = engine.calls.next().await {
                engine.done(done);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(denials(&engine), u64::from(stays));
        assert!(engine.unanswered.is_empty() && engine.late.is_empty() && is_idle(&engine), "{shown_first} {stays}");
    }
}

#[tokio::test]
async fn no_more_is_looked_for_without_leading_than_may_be_on_its_way() {
    let mut engine = engine(client(|_| std::future::pending()), Leadership::never());
    for number in 0..100 {
        let name = format!("a-{number}");
        let open = decided(&engine, pending(&name));
        engine.unanswered.insert(name, vec![open]);
    }
    engine.tick();
    engine.tick();
    assert!(engine.flight.is_full() && engine.calls.len() == 16, "{}", engine.calls.len());
}

/// Two looks at one request are on their way when the lease runs out, and neither is answered.
#[tokio::test]
async fn what_the_watch_has_shown_is_recorded_though_nobody_leads_any_more_when_looks_fail() {
    for first in [0, 1] {
        let api = client(|_| async { (504, json!({ "kind": "Status", "code": 504 })) });
        let mut engine = engine(api, Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let open = [0, 16].map(|later| {
            let one = decided(&engine, pending("a"));
            Decided { at: one.at + SignedDuration::from_secs(later), ..one }
        });
        let written = object(request("a", &json!([condition(&open[first].review, open[first].at)])));
        engine.unanswered.insert("a".to_owned(), open.to_vec());
        engine.queue.push("a".into(), "amy");
        engine.work();
        assert_eq!(engine.late["uid-of-a"].len(), 2);
        engine.input(Input::Request(Seen::Changed(written.into())));
        engine.gate = Arc::new(Gate::new(Leadership::never()));
        while let Some(done) = engine.calls.next().await {
            engine.done(done);
        }
        assert_eq!(denials(&engine), 1, "{first}");
    }
}

/// Another replica sent the same in the same second: what was certainly not written here is not ours.
#[tokio::test]
async fn what_was_refused_is_not_recorded_though_the_watch_shows_the_same() {
    let api = client(|_| async { (429, json!({ "kind": "Status", "code": 429 })) });
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    engine.work();
    // A condition has whole seconds.
    let theirs = request("a", &json!([condition(&decided(&engine, pending("a")).review, Timestamp::now())]));
    engine.input(Input::Request(Seen::Changed(object(theirs).into())));
    while let Some(done) = engine.calls.next().await {
        engine.done(done);
    }
    assert_eq!(denials(&engine), 0);
}

/// The CRDs were older for a while, which no consistent read has seen.
#[tokio::test]
async fn after_another_schema_was_seen_a_read_must_show_what_is_in_memory() {
    const SCHEMA: &str = "/openapi/v3/right";
    for seen in [false, true] {
        let mut engine = engine(unused(), Leadership::never());
        engine.right_schema = (Some(SCHEMA.to_owned()), Instant::now().checked_sub(SCHEMA_SETTLES * 2).unwrap());
        if seen {
            engine.input(Input::Skew(Skew::Older("it does not know a field".to_owned())));
            engine.input(Input::Skew(Skew::None));
        }
        engine.gate.doubt();
        engine.policies.reads(true);
        let versions =
            engine.policies.held().map(|held| (held.object.name.clone(), Version::from(&held.object))).collect();
        engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(7, None))));
        let snapshot = |versions| Snapshot { versions, resource_version: "6".to_owned() };
        let none = BTreeMap::new();
        let right = Some(SCHEMA.to_owned());
        let (policies, guardrails) = (snapshot(versions), snapshot(none));
        let current = Current { since: Moment::now(), policies, guardrails, skew: Skew::None, right };
        engine.confirmed(current);
        assert_eq!(engine.gate.confirmed_ago().is_some(), !seen);
    }
}

/// What was read while a change settles is read once more then.
#[tokio::test]
async fn what_is_read_before_a_change_has_settled_confirms_nothing() {
    for settle in [Duration::ZERO, Duration::from_secs(60)] {
        let mut engine = engine(unused(), Leadership::never());
        engine.settling = Settling::new(settle);
        engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(7, None))));
        let versions = engine.policies.held().map(|held| (held.object.name.clone(), Version::from(&held.object)));
        let policies = Snapshot { versions: versions.collect(), resource_version: "7".to_owned() };
        let guardrails = Snapshot { versions: BTreeMap::new(), resource_version: "7".to_owned() };
        let current = Current { since: Moment::now(), policies, guardrails, skew: Skew::None, right: None };
        engine.confirmed(current);
        assert_eq!(engine.gate.confirmed_ago().is_some(), settle.is_zero());
    }
}

/// What it looked at first, such as whether the CRD is being deleted, is older than what settled meanwhile.
#[tokio::test]
async fn what_began_to_be_read_before_a_change_confirms_nothing_when_that_has_settled() {
    let settle = Duration::from_secs(1);
    // How long ago the read began, and what changed came.
    for (read, changed, confirms) in [(2, 4, true), (2, 3, true), (2, 2, false), (3, 2, false), (3, 1, false)] {
        let mut engine = engine(client(|_| std::future::pending()), Leadership::always());
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(7, None))));
        engine.settling = Settling::new(settle);
        engine.settling.changed(ago(changed), ago(changed));
        engine.gate.doubt();
        engine.confirm(Duration::ZERO);
        let read = Current { since: Moment::that_was(Duration::from_secs(read)), ..current(&engine) };
        engine.confirmed(read);
        assert_eq!(engine.may_decide(), confirms);
        assert_ne!(engine.confirming, confirms, "otherwise it is read again");
    }
}

/// What this replica sent never arrived; whoever led in the meantime has decided it in the same words, and recorded that.
#[tokio::test]
async fn what_another_leader_decided_in_the_same_words_is_not_recorded_here() {
    for watch_first in [false, true] {
        let mut engine = engine(unused(), Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        let ours = decided(&engine, pending("a"));
        let theirs = request("a", &json!([condition(&ours.review, ours.at + SignedDuration::from_secs(16))]));
        let theirs = Input::Request(Seen::Changed(object(theirs).into()));
        let unanswered = Sent::Unanswered(Error::Timeout(8));
        if watch_first {
            engine.flight.depart("uid-of-a");
            engine.gate = Arc::new(Gate::new(Leadership::never()));
            engine.input(theirs);
            sent(&mut engine, ours, unanswered);
        } else {
            sent(&mut engine, ours, unanswered);
            engine.gate = Arc::new(Gate::new(Leadership::never()));
            engine.input(theirs);
        }
        assert_eq!(denials(&engine), 0);
        // Nor is it said to be unknown what became of it.
        assert!(engine.unanswered.is_empty() && engine.late.is_empty() && engine.flight.is_empty());
    }
}

/// An API server that shows each request as pending, and answers each decision so; and how many there were.
fn deciding(decision: impl Fn(&str) -> (u16, Value) + Send + 'static) -> (Client, Arc<AtomicUsize>) {
    let decisions = Arc::new(AtomicUsize::new(0));
    let number = Arc::clone(&decisions);
    let api = client(move |call| {
        let name = call.uri().path().split('/').nth(5).unwrap();
        let answer = if call.method() == Method::PATCH {
            number.fetch_add(1, Ordering::Relaxed);
            decision(name)
        } else {
            (200, pending_value(name))
        };
        async { answer }
    });
    (api, decisions)
}

/// The API server did not say what became of many, and is well again: it is not asked about all of them first.
#[tokio::test]
async fn what_was_looked_at_in_vain_is_decided_before_others_are_looked_at() {
    let (api, decisions) = deciding(|name| (200, request_with(name, "Denied")));
    let mut engine = engine(api, Leadership::always());
    for number in 0..100 {
        let name = format!("a{number}");
        engine.input(Input::Request(Seen::Changed(pending(&name).into())));
        let decided = decided(&engine, pending(&name));
        sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    }
    // What failed comes again.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    // They fail for so long that one waits for the one before.
    engine.flight.fails_since(Duration::from_secs(5));
    engine.work();
    assert_eq!(engine.calls.len(), 1);
    let until = Instant::now() + Duration::from_secs(2);
    while engine.flight.is_failing() && Instant::now() < until {
        while let Some(done) = engine.calls.next().await {
            engine.done(done);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        engine.work();
    }
    assert_eq!((engine.flight.is_failing(), decisions.load(Ordering::Relaxed)), (false, 1));
}

/// Whoever may change a request, or the Node that it is about, chooses how often that is.
#[tokio::test]
async fn what_changes_again_and_again_is_not_tried_before_its_time() {
    let busy = json!({ "kind": "Status", "code": 429, "details": { "retryAfterSeconds": 30 } });
    let (api, decisions) = deciding(move |_| (429, busy.clone()));
    let mut engine = engine(api, Leadership::always());
    for version in 1..=10 {
        let mut changed = pending_value("a");
        changed["metadata"]["resourceVersion"] = json!(version.to_string());
        engine.input(Input::Request(Seen::Changed(object(changed).into())));
        engine.pending.get_mut("a").unwrap().concern = Concern::of(&object(node_request()).signing_request());
        engine.review_concerned(&nodes::Change::All);
        take_in_all(&mut engine).await;
    }
    assert_eq!(decisions.load(Ordering::Relaxed), 1);
    let wait = engine.queue.next_wake().unwrap() - Instant::now();
    assert!(wait > Duration::from_secs(25), "{wait:?}");
}

/// Nor does it while its decision is on its way: the first of these is tried again at once, and the next ones are not.
#[tokio::test]
async fn what_is_another_one_whenever_it_is_decided_is_tried_with_patience() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    engine.queue.pop();
    for version in 2..=10 {
        let mut changed = pending_value("a");
        changed["metadata"]["resourceVersion"] = json!(version.to_string());
        let decided = decided(&engine, pending("a"));
        sent(&mut engine, decided, Sent::Found(Box::new(object(changed.clone()))));
        engine.input(Input::Request(Seen::Changed(object(changed).into())));
        assert_eq!(engine.queue.pop().is_some(), version == 2, "{version}");
        let wait = engine.queue.next_wake().map(|at| at - Instant::now());
        assert_eq!(wait.is_some_and(|wait| wait > Duration::from_millis(500)), version > 2, "{version}: {wait:?}");
    }
}

/// Nor is what was not answered forgotten, or what comes after it held up by that.
#[tokio::test]
async fn what_was_not_answered_is_looked_at_whatever_has_its_name_now() {
    let unanswered = || {
        let mut engine = engine(unused(), Leadership::always());
        engine.input(Input::Request(Seen::Changed(pending("a").into())));
        engine.queue.pop();
        let decided = decided(&engine, pending("a"));
        sent(&mut engine, decided, Sent::Unanswered(busy()));
        assert!(engine.unanswered.len() == 1 && engine.queue.waits("a"));
        engine
    };
    let another = |mut value: Value| {
        value["metadata"]["uid"] = json!("another");
        object(value)
    };
    // Decided by somebody else already.
    let mut engine = unanswered();
    engine.input(Input::Request(Seen::Changed(another(request_with("a", "Approved")).into())));
    assert!(engine.unanswered.len() == 1 && engine.queue.waits("a"));
    // Filed after a list without it.
    let mut engine = unanswered();
    list(&mut engine, []);
    assert!(engine.unanswered.len() == 1 && engine.queue.waits("a"));
    engine.input(Input::Request(Seen::Changed(another(pending_value("a")).into())));
    assert!(engine.unanswered.len() == 1 && !engine.queue.waits("a") && engine.queue.is_in_line("a"));
    // Its turn does not come without the lease, and looks have a pace all the same.
    engine.gate = Arc::new(Gate::new(Leadership::never()));
    let decided = engine.unanswered.remove("a").unwrap().remove(0);
    sent(&mut engine, decided, Sent::Unanswered(busy()));
    let wait = engine.queue.next_wake().unwrap() - Instant::now();
    assert!(engine.queue.waits("a") && engine.queue.is_in_line("a") && wait > Duration::from_secs(25), "{wait:?}");
}

/// An API server that has too much to do is sent less; one whose answer about a Node does not come is not.
#[tokio::test]
async fn a_node_that_cannot_be_read_in_time_holds_up_no_others() {
    for (error, is_busy) in [(Error::Timeout(8), false), (busy(), true)] {
        let (mut engine, _) = of_one_node();
        list(&mut engine, [object(kubelets("a"))]);
        // Half of what may be on its way at first, and this one.
        for index in 0..9 {
            engine.flight.depart(&format!("{index}"));
        }
        let decided = decided(&engine, object(kubelets("a")));
        sent(&mut engine, decided, Sent::NodeUnread(error));
        assert_eq!(engine.flight.is_full(), is_busy);
    }
}

/// An API server that has too much to do, and says for how long.
fn busy() -> Error {
    let status = json!({ "kind": "Status", "code": 429, "details": { "retryAfterSeconds": 30 } });
    Error::Api(kube::Error::Api(Box::new(serde_json::from_value::<Status>(status).unwrap())))
}

/// What was filed again under a name has not failed, and answers about the one before do not hold it up.
#[tokio::test]
async fn what_is_filed_again_waits_for_nothing_that_the_one_before_met() {
    let again = || {
        let mut again = pending_value("a");
        again["metadata"]["uid"] = json!("another");
        object(again)
    };
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    engine.queue.pop();
    let before = decided(&engine, pending("a"));
    sent(&mut engine, before, Sent::Failed(busy()));
    let wait = engine.queue.next_wake().unwrap() - Instant::now();
    assert!(wait > Duration::from_secs(25), "{wait:?}");
    // Its watch missed that it was deleted.
    let before = decided(&engine, pending("a"));
    engine.input(Input::Request(Seen::Changed(again().into())));
    assert_eq!((engine.queue.next_wake(), engine.queue.pop().as_deref()), (None, Some("a")));
    // It fails by itself, and another answer about the one before comes late.
    let it = decided(&engine, again());
    sent(&mut engine, it, Sent::Failed(Error::Timeout(8)));
    sent(&mut engine, before, Sent::Failed(busy()));
    let wait = engine.queue.next_wake().unwrap() - Instant::now();
    assert!(wait < Duration::from_secs(2), "{wait:?}");
}

/// That it counts no more is no reason to send it again at once.
#[tokio::test]
async fn an_approval_whose_node_is_not_what_it_was_waits_though_it_counts_no_more() {
    for why in [Sent::NodeUnread(Error::Timeout(8)), Sent::NodeChanged(None)] {
        let (mut engine, _) = of_one_node();
        engine.input(counting(&[SIGNER]));
        list(&mut engine, [object(kubelets("a"))]);
        let holder = Holder::new(SIGNER, "worker-1.example.com");
        engine.pending.get_mut("a").unwrap().holder = Some(holder);
        engine.counted.send("uid-of-a", holder, Timestamp::now());
        assert_eq!(engine.queue.pop().as_deref(), Some("a"));
        let decided = decided(&engine, object(kubelets("a")));
        sent(&mut engine, decided, why);
        assert_eq!(engine.counted.known().map(Approvals::len), Some(0));
        assert!(engine.queue.is_empty() && engine.queue.next_wake().is_some_and(|at| at > Instant::now()));
    }
}

/// What took too long may take as long again.
#[tokio::test]
async fn what_was_too_late_to_be_sent_is_tried_again_at_once_and_then_with_patience() {
    let mut engine = engine(client(|_| std::future::pending()), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    engine.queue.pop();
    for at_once in [true, false] {
        let decided = decided(&engine, pending("a"));
        sent(&mut engine, decided, Sent::Refused(Refusal::NotFresh));
        assert!(engine.confirming);
        assert_eq!(engine.queue.pop().is_some(), at_once);
        assert_eq!(engine.queue.next_wake().is_some(), !at_once);
    }
}

/// Without the lease looks follow no requestor's turn.
#[tokio::test]
async fn what_was_looked_at_without_leading_comes_in_its_turn() {
    for (leadership, expected) in [(Leadership::always(), ["a", "b"]), (Leadership::never(), ["b", "a"])] {
        let mut engine = engine(unused(), leadership);
        let first = decided(&engine, pending("a"));
        for name in ["b", "a"] {
            engine.input(Input::Request(Seen::Changed(pending(name).into())));
        }
        engine.late.insert("uid-of-a".to_owned(), vec![Late { decided: first.clone(), looked_for: true }]);
        let found = Sent::Found(Box::new(pending("a")));
        engine.done(Done::Sent { name: "a".to_owned(), decided: first, request: None, sent: found });
        assert_eq!([(); 2].map(|()| engine.queue.pop().unwrap().to_string()), expected);
    }
}

/// While they fail, one request is tried when its time has come, and not whenever something may be sent.
#[tokio::test]
async fn one_request_is_not_tried_before_its_time() {
    let busy = json!({ "kind": "Status", "code": 503, "details": { "retryAfterSeconds": 30 } });
    let (api, decisions) = deciding(move |_| (503, busy.clone()));
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    engine.flight.fails_since(Duration::from_secs(5));
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        engine.work();
        if let Ok(Some(done)) = tokio::time::timeout(Duration::from_millis(10), engine.calls.next()).await {
            engine.done(done);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(decisions.load(Ordering::Relaxed), 1);
}

/// Each decision is written, and the watch says so after the answer was lost.
#[tokio::test]
async fn what_the_watch_shows_written_ends_the_pace() {
    let mut engine = engine(unused(), Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    let decided = decided(&engine, pending("a"));
    let written = object(request("a", &json!([condition(&decided.review, decided.at)])));
    sent(&mut engine, decided, Sent::Unanswered(Error::Timeout(8)));
    assert!(engine.flight.is_failing());
    engine.input(Input::Request(Seen::Changed(written.into())));
    assert!(!engine.flight.is_failing() && denials(&engine) == 1);
}

/// The same decision under the same policies has the same time, and another under others, though they say the same.
#[tokio::test]
async fn a_decision_that_is_sent_again_has_the_time_of_the_first() {
    let found = Arc::new(Mutex::new(pending_value("a")));
    let (mut engine, _) = with_the_next_on_its_way(refusing(504, &found)).await;
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
    let times = |engine: &Engine| -> Vec<Timestamp> { engine.unanswered["a"].iter().map(|one| one.at).collect() };
    assert_eq!(times(&engine), [Timestamp::UNIX_EPOCH]);
    review_now(&mut engine, "a").await;
    assert!(engine.unanswered.is_empty() && engine.late["uid-of-a"].len() == 1);
    engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(2, None))));
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    review_now(&mut engine, "a").await;
    assert!(times(&engine)[0] > Timestamp::UNIX_EPOCH);
}

/// Nothing is waited for that nobody would take in.
#[tokio::test]
async fn a_consistent_read_ends_with_the_engine_and_none_begins_while_it_stops() {
    let reads = Arc::new(());
    let api = {
        let reads = Arc::clone(&reads);
        client(move |_| {
            let read = Arc::clone(&reads);
            async move {
                let () = std::future::pending().await;
                drop(read);
                (200, json!({}))
            }
        })
    };
    let mut stopping = engine(api.clone(), Leadership::always());
    stopping.stopping = true;
    stopping.confirm(Duration::ZERO);
    assert!(!stopping.confirming && stopping.calls.is_empty());
    let mut reading = engine(api, Leadership::always());
    reading.confirm(Duration::ZERO);
    let until = Instant::now() + Duration::from_secs(2);
    while Arc::strong_count(&reads) < 3 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(reading.confirming && Arc::strong_count(&reads) > 2);
    drop((stopping, reading));
    while Arc::strong_count(&reads) > 1 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(Arc::strong_count(&reads), 1);
}

/// The end comes while one call takes long, and another decision was not there when it was looked for.
#[tokio::test]
async fn at_the_end_what_is_on_its_way_is_given_up_so_that_it_can_be_told() {
    let slow = client(|_| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        (200, request_with("b", "Denied"))
    });
    let mut engine = engine(slow, Leadership::always());
    for name in ["a", "b"] {
        engine.input(Input::Request(Seen::Changed(pending(name).into())));
    }
    let late = decided(&engine, pending("a"));
    engine.late.insert("uid-of-a".to_owned(), vec![Late { decided: late, looked_for: false }]);
    engine.queue.forget("a");
    engine.work();
    assert!(engine.flight.is_about("uid-of-b"));
    let (_sender, mut inputs) = mpsc::channel(1);
    let began = Instant::now();
    engine.drain(&mut inputs).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(engine.flight.is_empty() && engine.late["uid-of-a"].len() == 1);
    assert_eq!(engine.unanswered["b"].iter().map(|one| one.filed.uid()).collect::<Vec<_>>(), ["uid-of-b"]);
}

/// Expressions that take as long to compile as may be, or some.
fn expressions(number: usize) -> Value {
    let expression = |index| format!(r"csr.dnsNames.all(d, d.matches('^{index}\\pL{{2}}$'))");
    let validation = |index| json!({ "name": format!("v-{index}"), "expression": expression(index), "message": "no" });
    (0..number).map(validation).collect()
}

/// Whoever may write one policy changes it faster than all of them can be read, or than it can be compiled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_faster_than_it_can_be_read_does_not_keep_others_from_being_decided() {
    const SCHEMA: &str = "/openapi/v3/right";
    let (now, sent) = (Arc::new(AtomicI64::new(1)), Arc::new(Notify::new()));
    let there = Arc::new(Mutex::new(BTreeMap::<String, Value>::new()));
    let api = {
        let (now, sent, there) = (Arc::clone(&now), Arc::clone(&sent), Arc::clone(&there));
        client(move |call| {
            let (sent, path) = (Arc::clone(&sent), call.uri().path().to_owned());
            let (now, items) = {
                let there = there.lock().unwrap();
                (now.load(Ordering::SeqCst), there.values().cloned().collect::<Value>())
            };
            async move {
                // As over a network, each call takes several steps.
                for _ in 0..2 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let list = |kind: &str, items: Value| json!({ "kind": kind, "metadata": { "resourceVersion": now.to_string() }, "items": items });
                let answer = if path.ends_with("/approval") {
                    sent.notify_one();
                    request_with("a", "Denied")
                } else if path.ends_with("/csrpolicies") {
                    tokio::time::sleep(Duration::from_millis(80)).await;
                    list("CSRPolicyList", items)
                } else if path.ends_with("/csrguardrails") {
                    list("CSRGuardrailList", json!([]))
                } else if path == "/openapi/v3" {
                    json!({ "paths": { "apis/countersign.dev/v1alpha1": { "serverRelativeURL": SCHEMA } } })
                } else {
                    let resource = |kind: Kind| json!({ "name": kind.plural(), "verbs": ["create"] });
                    json!({ "resources": Kind::ALL.map(resource) })
                };
                (200, answer)
            }
        })
    };
    let several = Duration::from_millis(2_500);
    for (long_right, heavy, all_take) in
        [(true, 0, Duration::ZERO), (false, 0, Duration::ZERO), (true, 6, Duration::ZERO), (true, 6, several)]
    {
        let mut policy = policy();
        if heavy > 0 {
            policy.object.spec.as_mut().unwrap()["allow"]["validations"] = expressions(heavy);
        }
        let began = Instant::now();
        let compiled = Compiled::new(&policy.object);
        let compiled_in = began.elapsed();
        assert!(compiled.is_ready(), "{:?}", compiled.problems());
        let pause = if heavy > 0 { compiled_in / 3 } else { Duration::from_millis(20) };
        // So many that it takes so long to compile each of them once.
        let number = all_take.as_millis() / compiled_in.as_millis().max(1);
        let others = (1..=number).map(|number| format!("costly-{number}"));
        let mut names = iter::once("all".to_owned()).chain(others).cycle();
        *there.lock().unwrap() = BTreeMap::new();
        let _ = sent.notified().now_or_never();
        let mut engine = engine(api.clone(), Leadership::always());
        let since = if long_right { SCHEMA_SETTLES + Duration::from_secs(1) } else { Duration::ZERO };
        engine.right_schema = (Some(SCHEMA.to_owned()), Instant::now().checked_sub(since).unwrap());
        // What takes long is taken in within twice that time, however slow the machine is.
        engine.settling = Settling::new(if heavy > 0 { Duration::from_secs(1) } else { Duration::ZERO });
        engine.gate.doubt();
        let (sender, inputs) = mpsc::channel(256);
        let stop = CancellationToken::new();
        let running = tokio::spawn(engine.run(inputs, stop.clone()));
        sender.send(Input::Request(Seen::Changed(pending("a").into()))).await.unwrap();
        let changes = async {
            loop {
                let name = names.next().unwrap();
                let changed = {
                    let mut there = there.lock().unwrap();
                    let version = now.fetch_add(1, Ordering::SeqCst) + 1;
                    let changed = served(Kind::CSRPolicy, &name, version, policy.object.spec.as_ref().unwrap());
                    let metadata = json!({ "name": name, "uid": changed.object.uid, "generation": version, "resourceVersion": version.to_string() });
                    there.insert(name, json!({ "metadata": metadata, "spec": changed.object.spec }));
                    changed
                };
                sender.send(Input::Policy(Kind::CSRPolicy, Seen::Changed(changed))).await.unwrap();
                tokio::time::sleep(pause).await;
            }
        };
        let limit = Duration::from_secs(if long_right { 60 } else { 1 });
        let is_decided = tokio::select! {
            () = changes => unreachable!(),
            decided = tokio::time::timeout(limit, sent.notified()) => decided.is_ok(),
        };
        // Soon after a change of the schema what is read must be what is in memory.
        assert_eq!(is_decided, long_right, "compiled in {compiled_in:?}");
        stop.cancel();
        running.await.unwrap();
    }
}

/// A moment after which policies change without end, and go on to.
fn changes_without_end() -> Settling {
    let (mut settling, now) = (Settling::new(Duration::from_millis(100)), Instant::now());
    for ago in (0..50).rev() {
        let then = now.checked_sub(Duration::from_millis(ago * 100)).unwrap();
        settling.changed(then, then);
    }
    assert!(settling.until(now).is_none());
    settling
}

/// What a consistent read brings that shows just what is in memory.
fn current(engine: &Engine) -> Current {
    let of = |kind: Kind| {
        let held = engine.policies.held().filter(|held| held.object.kind == kind);
        let versions = held.map(|held| (held.object.name.clone(), Version::from(&held.object))).collect();
        Snapshot { versions, resource_version: "7".to_owned() }
    };
    let (policies, guardrails) = (of(Kind::CSRPolicy), of(Kind::CSRGuardrail));
    Current { since: Moment::now(), policies, guardrails, skew: Skew::None, right: None }
}

/// The next change is there already, and would make all that was reviewed come to nothing.
#[tokio::test]
async fn decisions_have_their_turn_under_policies_that_change_without_end() {
    let mut engine = engine(client(|_| std::future::pending()), Leadership::always());
    engine.confirmed(current(&engine));
    assert!(engine.turn_until.is_none());
    engine.settling = changes_without_end();
    engine.confirmed(current(&engine));
    assert!(engine.turn_until.is_some_and(|until| until > Instant::now()));
    engine.end_turn();
    assert!(engine.turn_until.is_none(), "nothing is left to decide");

    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    engine.turn_until = Some(Instant::now() + Duration::from_secs(2));
    let (sender, inputs) = mpsc::channel(1);
    let changed = || Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(2, None)));
    sender.send(changed()).await.unwrap();
    let (stop, began) = (CancellationToken::new(), Instant::now());
    let running = tokio::spawn(engine.run(inputs, stop.clone()));
    sender.send(changed()).await.unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    stop.cancel();
    running.await.unwrap();
}

/// Otherwise memory would always be behind where there is more to take in than there is time between.
#[tokio::test]
async fn a_consistent_read_is_compared_with_what_was_there_when_it_came() {
    let mut engine = engine(client(|_| std::future::pending()), Leadership::always());
    let gate = Arc::clone(&engine.gate);
    let mut current = current(&engine);
    let changed = policy_with(2, None);
    current.policies.versions.insert("all".to_owned(), Version::from(&changed.object));
    gate.doubt();
    engine.done(Done::Confirmed(Ok(current)));
    let (sender, inputs) = mpsc::channel(1);
    sender.send(Input::Policy(Kind::CSRPolicy, Seen::Changed(changed))).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(engine.run(inputs, stop.clone()));
    let began = Instant::now();
    while gate.confirmed_ago().is_none() {
        assert!(began.elapsed() < Duration::from_secs(5), "it was compared before");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn nothing_is_decided_before_what_was_seen_is_in_force() {
    let mut engine = engine(unused(), Leadership::always());
    engine.policies.see(Kind::CSRPolicy, Seen::Changed(policy_with(2, None)));
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    assert!(!engine.may_decide());
    engine.policies.put_together();
    assert!(engine.may_decide());
}

/// The CRD is looked at beside it.
#[tokio::test]
async fn a_schema_that_was_seen_while_a_read_was_under_way_is_newer() {
    for seen in [false, true] {
        let mut engine = engine(client(|_| std::future::pending()), Leadership::always());
        engine.gate.doubt();
        engine.confirm(Duration::ZERO);
        let current = current(&engine);
        if seen {
            engine.input(Input::Skew(Skew::Older("it does not know a field".to_owned())));
        }
        engine.confirmed(current);
        assert_eq!(engine.gate.confirmed_ago().is_some(), !seen);
        assert_eq!(engine.not_ready().is_some(), seen);
    }
}

#[test]
fn of_changes_that_follow_one_another_only_the_last_is_compiled() {
    let changed = |name: &str, version| {
        let served = served(Kind::CSRPolicy, name, version, &json!(policy().object.spec));
        Input::Policy(Kind::CSRPolicy, Seen::Changed(served))
    };
    let guardrail = |version| {
        Input::Policy(Kind::CSRGuardrail, Seen::Changed(served(Kind::CSRGuardrail, "a", version, &json!({}))))
    };
    let gone = || Input::Policy(Kind::CSRPolicy, Seen::Deleted(policy()));
    let mut received = vec![
        changed("a", 1),
        changed("b", 2),
        guardrail(3),
        Input::Request(Seen::Changed(pending("a").into())),
        changed("a", 4),
        changed("a", 5),
        gone(),
        guardrail(6),
        changed("b", 7),
        changed("a", 8),
    ];
    drop_superseded(&mut received);
    let kept: Vec<String> = received
        .iter()
        .map(|input| match input {
            Input::Policy(_, Seen::Changed(served)) => served.resource_version.clone(),
            Input::Policy(_, Seen::Deleted(_)) => "gone".to_owned(),
            _ => "request".to_owned(),
        })
        .collect();
    assert_eq!(kept, ["2", "request", "5", "gone", "6", "7", "8"]);
}

#[tokio::test]
async fn what_the_watch_brings_twice_before_the_answer_is_recorded_once() {
    for last in [Seen::Changed, Seen::Deleted] {
        let api = client(|call| {
            let is_sent = call.method() == Method::PATCH;
            async move { (200, if is_sent { request_with("a", "Denied") } else { pending_value("a") }) }
        });
        let (mut engine, mut written) = with_the_next_on_its_way(api).await;
        engine.input(Input::Request(Seen::Changed(object(written.clone()).into())));
        written["metadata"]["resourceVersion"] = json!("3");
        engine.input(Input::Request(last(object(written).into())));
        assert_eq!(denials(&engine), 0);
        let done = engine.calls.next().await.unwrap();
        engine.done(done);
        assert_eq!(denials(&engine), 1);
        assert!(engine.late.is_empty() && engine.unanswered.is_empty() && is_idle(&engine));
    }
}

#[tokio::test]
async fn what_a_list_brings_before_the_answer_is_recorded_when_that_comes() {
    let found = Arc::new(Mutex::new(pending_value("a")));
    let api = refusing(409, &found);
    let (mut engine, written) = with_the_next_on_its_way(api).await;
    found.lock().unwrap().clone_from(&written);
    list(&mut engine, [object(written)]);
    let done = engine.calls.next().await.unwrap();
    engine.done(done);
    assert_eq!(denials(&engine), 1);
    assert!(engine.late.is_empty() && engine.unanswered.is_empty() && is_idle(&engine));
}

#[tokio::test]
async fn decisions_that_fail_again_and_again_hold_no_more_than_one() {
    let api = client(|call| {
        let is_sent = call.method() == Method::PATCH;
        async move { if is_sent { (500, json!({ "kind": "Status", "code": 500 })) } else { (200, pending_value("a")) } }
    });
    let mut engine = engine(api, Leadership::always());
    engine.input(Input::Request(Seen::Changed(pending("a").into())));
    for _ in 0..10 {
        engine.gate.confirm(engine.gate.revision(), Moment::now());
        engine.flight.came_through();
        // It is sent, and looked for.
        review_now(&mut engine, "a").await;
        review_now(&mut engine, "a").await;
    }
    let late = engine.late.values().flatten();
    assert_eq!(late.map(|one| one.decided.filed.whole().is_some()).collect::<Vec<_>>(), [false]);
    // In other words each time.
    for at in 0..20 {
        let mut decided = decided(&engine, pending("a"));
        Arc::make_mut(&mut decided.review).reason = at.to_string();
        engine.late.get_mut("uid-of-a").unwrap().push(Late { decided: decided.clone(), looked_for: true });
        let found = Sent::Found(Box::new(pending("a")));
        engine.done(Done::Sent { name: "a".to_owned(), decided, request: None, sent: found });
    }
    let last = &engine.late["uid-of-a"].last().unwrap().decided.review.reason;
    assert_eq!((engine.late["uid-of-a"].len(), last.as_str()), (super::answers::MOST_LATE, "19"));
}

/// A node's request for its client certificate.
fn kubelets(name: &str) -> Value {
    let mut value = node_request();
    value["metadata"]["name"] = json!(name);
    value["metadata"]["uid"] = json!(format!("uid-of-{name}"));
    value["metadata"]["creationTimestamp"] = json!(Timestamp::now());
    value["spec"]["username"] = json!("system:node:worker-1.example.com");
    value["spec"]["request"] = json!(STANDARD.encode(include_str!("../../../tests/corpus/clients/kubelet-client.csr")));
    value["spec"]["expirationSeconds"] = json!(3600);
    value
}

/// A policy that approves these.
fn permitting_kubelets() -> Input {
    let subject = json!({ "commonName": { "from": "Requestor" }, "organizations": { "required": ["system:nodes"] } });
    Input::Policy(Kind::CSRPolicy, Seen::Changed(policy_with(2, Some(subject))))
}

/// An engine that may approve `a` and `b` of one node, of which one may be approved in an hour once that is counted. The
/// approval of `a` is answered 504, and nobody sees it written.
fn of_one_node() -> (Engine, Arc<Mutex<Vec<String>>>) {
    let approved = Arc::new(Mutex::new(Vec::new()));
    let api = {
        let approved = Arc::clone(&approved);
        client(move |call| {
            let name = if call.uri().path().contains("/certificatesigningrequests/a") { "a" } else { "b" };
            let answer = match *call.method() {
                Method::PATCH if name == "a" => (504, json!({ "kind": "Status", "code": 504 })),
                Method::PATCH => (200, request_with(name, "Approved")),
                _ => (200, kubelets(name)),
            };
            if call.method() == Method::PATCH {
                approved.lock().unwrap().push(name.to_owned());
            }
            async { answer }
        })
    };
    let mut engine = engine(api, Leadership::always());
    engine.input(permitting_kubelets());
    engine.work();
    (engine, approved)
}

async fn take_in_all(engine: &mut Engine) {
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    engine.work();
    while let Ok(Some(done)) = tokio::time::timeout(Duration::from_millis(50), engine.calls.next()).await {
        engine.done(done);
    }
}

#[tokio::test]
async fn an_approval_that_may_still_land_counts() {
    let (mut engine, approved) = of_one_node();
    engine.input(counting(&[SIGNER]));
    list(&mut engine, [object(kubelets("a"))]);
    take_in_all(&mut engine).await;
    assert_eq!(*approved.lock().unwrap(), ["a"]);
    engine.input(Input::Request(Seen::Changed(object(kubelets("b")).into())));
    // It is looked for, and not there.
    review_now(&mut engine, "a").await;
    let counted = |engine: &Engine| engine.counted.known().map(Approvals::len);
    assert_eq!((engine.late.len(), counted(&engine)), (1, Some(1)));
    take_in_all(&mut engine).await;
    // Reviewed again, it is not approved.
    engine.input(Input::Policy(Kind::CSRPolicy, Seen::Changed(policy())));
    take_in_all(&mut engine).await;
    assert_eq!(counted(&engine), Some(1));
    engine.input(permitting_kubelets());
    take_in_all(&mut engine).await;
    assert!(!approved.lock().unwrap().contains(&"b".to_owned()));
    // Decided otherwise, it was not approved.
    engine.late.clear();
    engine.unanswered.clear();
    let mut denied = kubelets("a");
    denied["status"]["conditions"] = json!([{ "type": "Denied" }]);
    engine.input(Input::Request(Seen::Changed(object(denied).into())));
    take_in_all(&mut engine).await;
    assert!(approved.lock().unwrap().contains(&"b".to_owned()));
}

#[tokio::test]
async fn an_approval_on_its_way_counts_once_anything_does() {
    let (mut engine, approved) = of_one_node();
    list(&mut engine, [object(kubelets("a"))]);
    engine.gate.confirm(engine.gate.revision(), Moment::now());
    engine.work();
    // It is sent, and its answer takes its time.
    let answer = engine.calls.next().await.unwrap();
    assert_eq!(*approved.lock().unwrap(), ["a"]);
    engine.input(counting(&[SIGNER]));
    list(&mut engine, [object(kubelets("a")), object(kubelets("b"))]);
    take_in_all(&mut engine).await;
    assert_eq!(*approved.lock().unwrap(), ["a"]);
    drop(answer);
}
