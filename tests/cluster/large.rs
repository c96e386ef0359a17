//! A request that is too large to be held is read again when its turn comes. Whatever becomes of that read, nothing is
//! approved but what was reviewed, and it is decided once it can be read.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::{Call, Fault, eventually};

use super::faults::{Bench, Case, REQUESTS};
use super::races::decided;
use super::{LIMIT, Request, anyhow_if};

/// Whether it reads one request.
fn reads(call: &Call) -> bool {
    call.method == "GET" && call.path.starts_with(&format!("{REQUESTS}/"))
}

/// The same request after more line ends than are held.
fn large(mut manifest: Value) -> Value {
    let pem = STANDARD.decode(manifest["spec"]["request"].as_str().unwrap()).unwrap();
    manifest["spec"]["request"] = json!(STANDARD.encode([&[b'\n'; 12_000], &*pem].concat()));
    manifest
}

impl Case<'_> {
    /// What every policy of these tests permits.
    fn good(&self, name: &str) -> Value {
        large(Bench::manifest(name, &self.signer))
    }

    /// What none permits, under the same name.
    fn hostile(&self, name: &str) -> Value {
        let mut manifest = Request::new(name, "/CN=bad/O=kubeadm:cluster-admins").manifest();
        manifest["spec"]["signerName"] = json!(self.signer);
        large(manifest)
    }

    fn create(&self, manifest: &Value) {
        self.bench.api.must("POST", REQUESTS, Some(manifest)).unwrap();
    }
}

/// None came sooner than this after the one before.
#[track_caller]
fn are_apart(case: &Case, calls: &[Call], at_least: f64) {
    for two in calls.windows(2) {
        let wait = (two[1].at - two[0].at).as_secs_f64();
        assert!(wait > at_least, "tried again after {wait:.2} s\n{}", case.story());
    }
}

#[test]
fn a_large_request_that_cannot_be_read_is_tried_with_patience_and_decided_once_it_can_be() {
    let body = |text: &str| Fault::Body(text.to_owned());
    let other = Bench::manifest("other", "example.com/other").to_string();
    let table: &[(&str, (Fault, u64))] = &[
        ("read-403", (Fault::Answer(403, None), 6)),
        ("read-429", (Fault::Answer(429, Some(3)), 6)),
        ("read-503", (Fault::Answer(503, None), 6)),
        ("read-reset", (Fault::Reset, 6)),
        ("read-hangs", (Fault::Hang, 12)),
        ("read-empty", (body("{}"), 6)),
        ("read-cut", (body(&other[..40]), 6)),
        ("read-other-name", (body(&other), 6)),
    ];
    let bench = Bench::start();
    bench.each(table, |case, (fault, seconds)| {
        case.is_approved(&case.file("before"));
        let injected = case.proxy.inject(reads, fault.clone());
        let since = Instant::now();
        let name = format!("{}-large", case.name);
        case.create(&case.good(&name));
        // It keeps nobody else waiting.
        case.is_approved(&case.file("beside"));
        case.is_pending_after(&name, Duration::from_secs(*seconds));
        let tries = case.proxy.calls_since(since, reads);
        assert!(tries.len() > 1, "{}", case.story());
        are_apart(case, &tries, if matches!(fault, Fault::Answer(429, _)) { 3.0 } else { 0.9 });
        drop(injected);
        case.is_approved(&name);
        case.is_recorded_once(&name);
    });
}

#[test]
fn an_answer_that_shows_another_request_in_place_of_a_large_one_approves_neither() {
    let table = [("other-uid", "uid"), ("other-version", "resourceVersion")];
    let bench = Bench::start();
    bench.each(&table, |case, field| {
        case.is_approved(&case.file("before"));
        let unread = case.proxy.inject(reads, Fault::Answer(500, None));
        let name = format!("{}-large", case.name);
        case.create(&case.hostile(&name));
        let mut answer = bench.api.must("GET", &format!("{REQUESTS}/{name}"), None).unwrap();
        answer["spec"]["request"] = case.good(&name)["spec"]["request"].clone();
        answer["metadata"][*field] = json!("1");
        let injected = case.proxy.inject(reads, Fault::Body(answer.to_string()));
        drop(unread);
        std::thread::sleep(Duration::from_secs(8));
        let sent = case.sent(&name);
        assert!(!sent.is_empty() && sent.iter().all(|call| matches!(call.answer, Some(409 | 422))), "{}", case.story());
        are_apart(case, &sent, 0.9);
        assert_eq!(bench.conditions(&name), [""; 0], "{}", case.story());
        drop(injected);
        assert_eq!(decided(&bench, &name), "Denied", "{}", case.story());
    });
}

#[test]
fn a_large_request_that_is_decided_or_another_one_while_it_is_read_is_not_approved() {
    let table = [
        ("swapped-before", (true, Fault::Hold)),
        ("swapped-after", (true, Fault::HoldAnswer)),
        ("decided-before", (false, Fault::Hold)),
        ("decided-after", (false, Fault::HoldAnswer)),
    ];
    let bench = Bench::start();
    bench.each(&table, |case, (swapped, fault)| {
        case.is_approved(&case.file("before"));
        let name = format!("{}-large", case.name);
        let path = format!("{REQUESTS}/{name}");
        // Made before, since a call is not waited for long.
        let hostile = case.hostile(&name);
        let held = case.proxy.inject(reads, fault.clone());
        let since = Instant::now();
        case.create(&case.good(&name));
        let read = eventually("it is read", LIMIT, || {
            anyhow_if(!case.proxy.calls_since(since, reads).is_empty(), "it is not")
        });
        read.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
        if *swapped {
            bench.api.must("DELETE", &path, None).unwrap();
            case.create(&hostile);
        } else {
            let mut csr = bench.api.must("GET", &path, None).unwrap();
            csr["status"] = json!({ "conditions": [{ "type": "Denied", "status": "True", "reason": "No" }] });
            bench.api.must("PUT", &format!("{path}/approval"), Some(&csr)).unwrap();
        }
        // The watch brings it.
        std::thread::sleep(Duration::from_millis(700));
        drop(held);
        assert_eq!(decided(&bench, &name), "Denied", "{}", case.story());
        std::thread::sleep(Duration::from_secs(2));
        assert!(case.sent(&name).is_empty(), "{}", case.story());
        let logged = case.controller.decisions().iter().filter(|line| line["name"] == name.as_str()).count();
        assert_eq!(logged, usize::from(*swapped), "{}", case.story());
        case.is_approved(&case.file("later"));
    });
}
