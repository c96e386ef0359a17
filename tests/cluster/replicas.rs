//! Several replicas: one leads, the others take over, and nothing is decided twice or lost.

#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Call, Fault, eventually};

use super::faults::{Bench, Case, POLICIES, forbids};
use super::races::{Random, is_sent};
use super::{Cluster, Controller, LIMIT, Request, anyhow_if};

/// Files `number` requests, and returns their names.
fn file(cluster: &Cluster, prefix: &str, number: usize) -> Vec<String> {
    let names: Vec<String> = (0..number).map(|index| format!("{prefix}-{index}")).collect();
    // One key is as good as another here, and making them takes long.
    let mut request = Request::new("", "/CN=amy/O=developers").manifest();
    let list: Vec<serde_json::Value> = names
        .iter()
        .map(|name| {
            request["metadata"]["name"] = json!(name);
            request.clone()
        })
        .collect();
    cluster.admin.create(&json!({ "apiVersion": "v1", "kind": "List", "items": list }).to_string()).unwrap();
    names
}

#[test]
fn it_ends_in_time_although_the_api_server_does_not_answer() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    takes_over(cluster.controller(), Instant::now());
    let names = file(&cluster, "busy", 40);
    cluster.plane.signal_api_server("STOP").unwrap();
    let mut controller = cluster.controller.take().unwrap();
    controller.running.signal("TERM").unwrap();
    let since = Instant::now();
    eventually("it has ended", LIMIT, || anyhow_if(controller.running.has_ended(), "it runs")).unwrap();
    let took = since.elapsed();
    println!("without an API server it has ended after {took:.1?}");
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", controller.log());
    // The next one decides what is left, and nothing twice.
    cluster.plane.signal_api_server("CONT").unwrap();
    let next = cluster.replica("next", &[]);
    for name in &names {
        cluster.is_approved(name);
        assert_eq!(cluster.csr(name)["status"]["conditions"].as_array().unwrap().len(), 1, "{name}");
    }
    drop(next);
}

/// Waits until one of these leads, and returns how long that took.
#[track_caller]
fn takes_over(controller: &Controller, since: Instant) -> Duration {
    let leads = eventually("the other leads", LIMIT, || anyhow_if(controller.leads(), "it does not"));
    leads.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
    since.elapsed()
}

#[test]
fn a_standby_takes_over_and_every_request_is_decided_once() {
    let cluster = Cluster::start();
    cluster.apply_examples_unseen();
    let mut names = Vec::new();
    let first = cluster.replica("first", &[]);
    takes_over(&first, Instant::now());
    // Ready although it does not lead.
    let mut second = cluster.replica("second", &[]);
    assert!(!second.leads());

    // A graceful end, in the middle of work.
    names.extend(file(&cluster, "term", 60));
    let mut first = first;
    first.running.signal("TERM").unwrap();
    let since = Instant::now();
    let took = takes_over(&second, since);
    eventually("it has ended", LIMIT, || anyhow_if(first.running.has_ended(), "it runs")).unwrap();
    let ended = since.elapsed();
    let filed = file(&cluster, "after-term", 1);
    cluster.is_approved(&filed[0]);
    let decided = since.elapsed();
    names.extend(filed);
    println!(
        "hand-over: the other leads after {took:.1?}, the first has ended after {ended:.1?}, decided after {decided:.1?}"
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(ended < Duration::from_secs(5), "{ended:?}\n{}", first.log());

    // A crash.
    let third = cluster.replica("third", &[]);
    second.running.signal("KILL").unwrap();
    let since = Instant::now();
    names.extend(file(&cluster, "kill", 10));
    let took = takes_over(&third, since);
    cluster.is_approved("kill-0");
    let decided = since.elapsed();
    println!("kill -9: the other leads after {took:.1?}, decided after {decided:.1?}");
    assert!(decided < Duration::from_secs(20), "{decided:?}");
    eventually("the killed one is gone", LIMIT, || anyhow_if(second.running.has_ended(), "it runs")).unwrap();

    // A partition, as the leader sees it: for a while it does nothing, and does not know it.
    let fourth = cluster.replica("fourth", &[]);
    third.running.signal("STOP").unwrap();
    let since = Instant::now();
    names.extend(file(&cluster, "stop", 10));
    let took = takes_over(&fourth, since);
    cluster.is_approved("stop-0");
    third.running.signal("CONT").unwrap();
    names.extend(file(&cluster, "cont", 10));
    for name in &names {
        cluster.is_approved(name);
    }
    eventually("it knows", LIMIT, || anyhow_if(!third.leads(), "it believes that it leads")).unwrap();
    assert!(fourth.leads());
    println!("stopped: the other leads after {took:.1?}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    // Decided once, and each decision is in exactly one log.
    let mut decided = BTreeMap::<String, u32>::new();
    for controller in [&first, &second, &third, &fourth] {
        for line in controller.decisions() {
            *decided.entry(line["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    for name in &names {
        // What a crash cut off between the answer and the log may be missing there, never doubled.
        let logged = decided.get(name).copied().unwrap_or_default();
        assert_eq!(logged, 1, "{name} is in the logs {logged} times");
        assert_eq!(cluster.csr(name)["status"]["conditions"].as_array().unwrap().len(), 1, "{name}");
    }
}

/// What a leader is about when it is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// Approvals are on their way, and do not reach the API server.
    Sending,
    /// Approvals wait for a connection.
    Connecting,
    /// Requests have just been filed.
    Arriving,
}

/// What becomes of its policy meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Deleted,
    Narrowed,
    /// There is a guardrail that forbids everything.
    Forbidden,
}

#[test]
fn a_leader_that_was_stopped_through_a_change_and_lost_the_lease_approves_nothing_under_what_was_before() {
    let table = [
        ("sending-deleted", (Busy::Sending, Change::Deleted)),
        ("sending-narrowed", (Busy::Sending, Change::Narrowed)),
        ("connecting-deleted", (Busy::Connecting, Change::Deleted)),
        ("connecting-forbidden", (Busy::Connecting, Change::Forbidden)),
        ("arriving-deleted", (Busy::Arriving, Change::Deleted)),
        ("arriving-narrowed", (Busy::Arriving, Change::Narrowed)),
        ("arriving-forbidden", (Busy::Arriving, Change::Forbidden)),
    ];
    let bench = Bench::start();
    bench.may_have_any_lease();
    bench.each_with(lease, &table, |first, (busy, change)| is_stopped_through(first, *busy, *change));
}

fn lease(name: &str) -> String {
    format!("--lease-name={name}")
}

fn is_stopped_through(first: &Case, busy: Busy, change: Change) {
    let bench = first.bench;
    takes_over(&first.controller, Instant::now());
    let second = Case::replica(bench, &first.name, &format!("{}-second", first.name), &[&lease(&first.name)]);
    first.is_approved(&first.file("before"));
    assert!(!second.controller.leads());

    let file =
        |from: usize| -> Vec<String> { (from..from + 24).map(|number| first.file(&number.to_string())).collect() };
    let held = (busy == Busy::Sending).then(|| first.proxy.inject(Call::approves, Fault::Hold));
    let unanswered = (busy == Busy::Connecting).then(|| first.proxy.hold_connections());
    let mut names = file(0);
    match busy {
        Busy::Sending => is_sent(first, &names[0]),
        Busy::Connecting => std::thread::sleep(Duration::from_millis(700)),
        Busy::Arriving => std::thread::sleep(Random::new(&first.name).wait(5)),
    }
    first.controller.running.signal("STOP").unwrap();
    let since = Instant::now();
    match change {
        Change::Deleted => first.delete_policy(),
        Change::Narrowed => {
            let narrower =
                json!({ "spec": { "allow": { "subject": { "organizations": { "allowed": ["nobody"] } } } } });
            bench.api.must("PATCH", &format!("{POLICIES}/{}", first.name), Some(&narrower)).unwrap();
        }
        Change::Forbidden => first.create_guardrail(&forbids()),
    }
    names.extend(file(24));
    let took = takes_over(&second.controller, since);
    names.extend(file(48));
    // Whatever waits for the other side may go on.
    drop(unanswered);
    let continued = Instant::now();
    first.controller.running.signal("CONT").unwrap();
    let knows = eventually("it knows", LIMIT, || anyhow_if(!first.controller.leads(), "it believes that it leads"));
    knows.unwrap_or_else(|error| panic!("{error:#}\n{}", first.story()));
    std::thread::sleep(Duration::from_secs(1));
    drop(held);
    std::thread::sleep(Duration::from_secs(3));

    assert!(second.controller.leads() && !first.controller.leads());
    // What reached the API server before is no matter of the stop.
    let before = |name: &String| first.sent(name).iter().any(|call| call.answer == Some(200));
    let (approved, rest): (Vec<String>, Vec<String>) = names.iter().cloned().partition(before);
    println!("{}: {} approved before the stop; the other leads after {took:.1?}", first.name, approved.len());
    assert!(busy == Busy::Arriving || approved.is_empty());
    for name in &approved {
        assert_eq!(bench.conditions(name), ["Approved"], "{name}\n{}", first.story());
    }
    let expected: &[&str] = if change == Change::Deleted { &[] } else { &["Denied"] };
    for name in &rest {
        assert!(second.sent(name).is_empty(), "{name}\n{}", second.story());
        assert_eq!(bench.conditions(name), expected, "{name}\n{}\n{}", first.story(), second.story());
    }

    // The other one goes on under what comes to be in force.
    match change {
        Change::Deleted => first.create_policy(),
        Change::Narrowed => {
            first.delete_policy();
            first.create_policy();
        }
        Change::Forbidden => first.delete_guardrail(),
    }
    names.push(first.file("after"));
    for name in names.iter().filter(|name| change == Change::Deleted || name.ends_with("-after")) {
        second.is_approved(name);
    }
    // None is in two logs, and only what the stop cut off between the answer and the log may be in none.
    std::thread::sleep(Duration::from_secs(1));
    let lines: Vec<_> = [first, &second].iter().flat_map(|case| case.controller.decisions()).collect();
    for name in &names {
        let about = lines.iter().filter(|line| line["name"] == name.as_str() && line["decision"] != "NoOpinion");
        let times = about.count();
        let right = times == 1 || times == 0 && approved.contains(name);
        assert!(right, "{name} is in the logs {times} times\n{}\n{}", first.story(), second.story());
    }
    assert!(first.proxy.calls_since(continued, |call| call.decides().is_some()).is_empty(), "{}", first.story());
}
