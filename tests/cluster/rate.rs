//! `maxPerHour` on a real API server: nobody gets more, whoever approved, in whatever order, after whatever
//! restart; and the next one comes when the hour of an earlier one is over.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{Call, Fault, Options, Proxy, eventually, hostile};

use super::decisions::{self, guardrail};
use super::faults::{Bench, GUARDRAILS, POLICIES, REQUESTS};
use super::flood::number;
use super::live::countersign;
use super::nodes::{Machine, SERVICES, SERVING, cluster, may_read_nodes, policy};
use super::{Cluster, LIMIT, anyhow_if, base64};

const SANS: &str = "DNS:one,IP:10.20.0.1";

fn joined<'a>(cluster: &'a Cluster, name: &'a str, address: &str) -> Machine<'a> {
    let machine = Machine::new(cluster, name);
    machine.joins(&[("Hostname", name), ("InternalIP", address)]);
    machine
}

fn limit(cluster: &Cluster, max: u32) {
    cluster.admin.apply(&policy(&json!({ "node": { "maxPerHour": max } }))).unwrap();
}

fn why(number: usize, max: u32) -> String {
    let certificates = if number == 1 { "certificate" } else { "certificates" };
    let were = if number == 1 { "was" } else { "were" };
    format!(
        "{number} {certificates} of {SERVING} {were} approved for node one within an hour, and CSRPolicy \
         kubelet-serving permits at most {max}; the next one from "
    )
}

/// Approves a request as a person does who says when that was.
fn approve_as_of(cluster: &Cluster, name: &str, at: Timestamp) {
    let mut object = cluster.csr(name);
    object["status"]["conditions"] = json!([{
        "type": "Approved", "status": "True", "reason": "ByHand", "lastTransitionTime": format!("{at:.0}"),
    }]);
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/approval");
    cluster.admin.feed(&["replace", "--raw", &path, "-f", "-"], &object.to_string()).unwrap();
}

fn approved(cluster: &Cluster, prefix: &str) -> usize {
    let csrs = cluster.admin.get(&["csr"]).unwrap();
    let csrs = csrs["items"].as_array().unwrap().iter();
    let ours = csrs.filter(|csr| csr["metadata"]["name"].as_str().unwrap().starts_with(prefix));
    ours.filter(|csr| csr["status"]["conditions"][0]["type"] == "Approved").count()
}

#[test]
fn a_node_gets_no_more_than_the_rate_and_nothing_is_forgotten() {
    let mut cluster = cluster(&Options::default());
    // What was approved before any policy counted it is counted all the same.
    let one = joined(&cluster, "one", "10.20.0.1");
    one.asks("before", SANS);
    one.gets("before");
    limit(&cluster, 2);
    eventually("the rate is in force", LIMIT, || {
        let served = cluster.admin.get(&["csrpolicy", "kubelet-serving"])?;
        let observed = &served["status"]["observedGeneration"];
        anyhow_if(*observed == served["metadata"]["generation"], &served.to_string())
    })
    .unwrap();
    // Many at once: one of them.
    for index in 0..6 {
        one.asks(&format!("many-{index}"), SANS);
    }
    eventually("one is approved", LIMIT, || anyhow_if(approved(&cluster, "many") > 0, "none is")).unwrap();
    let left = (0..6).map(|index| format!("many-{index}")).find(|name| {
        std::thread::sleep(Duration::from_millis(300));
        cluster.csr(name)["status"]["conditions"].is_null()
    });
    let left = left.unwrap();
    cluster.is_left(&left, &why(2, 2));
    assert_eq!(approved(&cluster, "many"), 1);
    // Another node has a rate of its own.
    let two = joined(&cluster, "two", "10.20.0.2");
    two.asks("two", "DNS:two");
    two.gets("two");

    // A new process counts the requests that exist.
    cluster.stop();
    cluster.run(&[&format!("--managed-signer={SERVING}"), SERVICES]);
    let one = Machine::new(&cluster, "one");
    one.asks("after-a-start", SANS);
    cluster.is_left("after-a-start", &why(2, 2));
    assert_eq!(approved(&cluster, "many"), 1);

    // Who only looks comes to the same.
    let (status, out, err) = countersign(&cluster, &["review", "--live", &format!("--managed-signer={SERVING}")]);
    assert_eq!((status, err.as_str()), (3, ""), "{out}");
    assert!(out.contains(&why(2, 2)), "{out}");
    let (status, out, err) = countersign(&cluster, &["explain", "after-a-start", "before"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let unknown = format!("  - CSRPolicy kubelet-serving: unknown: {}", why(2, 2));
    assert!(out.contains(&unknown), "{out}");
    // What is approved is not counted against itself.
    assert!(out.contains("  - CSRPolicy kubelet-serving: satisfied"), "{out}");

    // What is gone does not count: who may delete requests may clear the count. The node itself may not.
    for identity in [
        ["--as=system:node:one", "--as-group=system:nodes"],
        ["--as=system:bootstrap:abcdef", "--as-group=system:bootstrappers"],
    ] {
        let may = cluster.admin.output(&[&["auth", "can-i", "delete", "csr"], &identity[..]].concat(), "").unwrap();
        assert!(!may.status.success(), "{identity:?}");
    }
    cluster.admin.run(&["delete", "csr", "before"]).unwrap();
    eventually("the next one is approved", LIMIT, || {
        anyhow_if(approved(&cluster, "many") + approved(&cluster, "after") == 2, "it is pending")
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(approved(&cluster, "many") + approved(&cluster, "after"), 2);
}

#[test]
fn the_next_one_is_approved_when_the_hour_of_an_earlier_one_is_over() {
    let cluster = cluster(&Options::default());
    limit(&cluster, 1);
    cluster.is_ready("csrpolicy/kubelet-serving");
    let one = joined(&cluster, "one", "10.20.0.1");
    // It asks for what it does not have, so that only a person approves it.
    one.asks("by-hand", "DNS:elsewhere");
    let ends = Timestamp::now() + SignedDuration::from_secs(12);
    approve_as_of(&cluster, "by-hand", ends - SignedDuration::from_hours(1));
    one.asks("next", SANS);
    cluster.is_left("next", &format!("{}{ends:.0}", why(1, 1)));
    one.gets("next");
    let decided = cluster.decision("next")["lastTransitionTime"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let late = decided.duration_since(ends).as_secs();
    assert!((-1..10).contains(&late), "{late} s after the hour");
    one.asks("after", SANS);
    cluster.is_left("after", &why(1, 1));
}

#[test]
fn two_on_their_way_do_not_both_slip_under_the_rate() {
    let mut cluster = Cluster::start();
    may_read_nodes(&cluster);
    limit(&cluster, 1);
    let proxy = Proxy::start(&cluster.plane, "proxy").unwrap();
    cluster.run(&[&format!("--managed-signer={SERVING}"), SERVICES, &proxy.option()]);
    cluster.is_ready("csrpolicy/kubelet-serving");
    let one = joined(&cluster, "one", "10.20.0.1");
    let approvals = |since: Instant| proxy.calls_since(since, Call::approves);
    // The first is on its way while the second is reviewed.
    let since = Instant::now();
    let held = proxy.inject(Call::approves, Fault::Hold);
    one.asks("first", SANS);
    eventually("it is on its way", LIMIT, || anyhow_if(!approvals(since).is_empty(), &cluster.log())).unwrap();
    one.asks("second", SANS);
    cluster.is_left("second", &why(1, 1));
    drop(held);
    one.gets("first");
    std::thread::sleep(Duration::from_secs(2));
    assert!(cluster.csr("second")["status"]["conditions"].is_null());
    assert!(approvals(since).iter().all(|call| call.about() == "first"));

    // One that the API server refuses counts until it is clear that it was not written.
    cluster.admin.run(&["delete", "csr", "first", "second"]).unwrap();
    let since = Instant::now();
    let refused = proxy.inject(|call: &Call| call.approves() && call.about() == "third", Fault::Answer(403, None));
    one.asks("third", SANS);
    eventually("it is refused", LIMIT, || anyhow_if(!approvals(since).is_empty(), &cluster.log())).unwrap();
    one.asks("fourth", SANS);
    cluster.is_left("fourth", &why(1, 1));
    cluster.admin.run(&["delete", "csr", "third"]).unwrap();
    one.gets("fourth");
    drop(refused);
}

#[test]
fn another_leader_counts_what_the_one_before_approved() {
    let cluster = Cluster::start();
    may_read_nodes(&cluster);
    limit(&cluster, 1);
    let proxy = Proxy::start(&cluster.plane, "standby").unwrap();
    let managed = format!("--managed-signer={SERVING}");
    let first = cluster.replica("first", &[&managed, SERVICES]);
    eventually("it leads", LIMIT, || anyhow_if(first.leads(), &first.log())).unwrap();
    let second = cluster.replica("second", &[&managed, SERVICES, &proxy.option()]);
    cluster.is_ready("csrpolicy/kubelet-serving");
    let one = joined(&cluster, "one", "10.20.0.1");
    // Both know of the second request. The watch of the one that stands by goes no further.
    one.asks("waits", "DNS:one,IP:10.20.0.9");
    cluster.is_left("waits", "does not carry 10.20.0.9");
    std::thread::sleep(Duration::from_secs(1));
    let silent = proxy.inject(|call| call.watches("certificatesigningrequests"), Fault::Silence);
    one.asks("approved", SANS);
    one.gets("approved");
    first.running.signal("TERM").unwrap();
    eventually("the other leads", LIMIT, || anyhow_if(second.leads(), &second.log())).unwrap();
    // What it would approve, if it did not look again.
    one.claims(&[("Hostname", "one"), ("InternalIP", "10.20.0.1"), ("InternalIP", "10.20.0.9")]);
    std::thread::sleep(Duration::from_secs(3));
    assert!(cluster.csr("waits")["status"]["conditions"].is_null(), "{}", second.log());
    drop(silent);
    let said = eventually("it says why", LIMIT, || {
        let decisions = second.decisions();
        let counts = |decision: &Value| decision["reason"].as_str().is_some_and(|reason| reason.contains(&why(1, 1)));
        anyhow_if(decisions.iter().any(counts), &second.log())
    });
    said.unwrap();
    assert!(cluster.csr("waits")["status"]["conditions"].is_null(), "{}", second.log());
}

/// Half of them with a name about as long as one decodes.
fn node_name(index: usize) -> String {
    let long = if index.is_multiple_of(2) { 1 } else { 900 };
    format!("node-{index}{}", "x".repeat(long))
}

/// A request of node `index`, as a person files it.
fn of_node(key: &hostile::KeyPair, index: usize, name: &str) -> Value {
    let pem = hostile::request(key, &format!("system:node:{}", node_name(index)), "x").unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": base64(pem.as_bytes()),
            "signerName": "example.com/flood",
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        },
    })
}

#[test]
fn what_is_counted_takes_little_memory() {
    let bench = Bench::start();
    let subject = json!({ "commonName": { "allowed": ["system:node:**"] }, "organizations": { "allowed": ["x"] } });
    let mut policy: Value =
        serde_json::from_str(&decisions::policy("flood", "example.com/flood", Value::Null)).unwrap();
    policy["spec"]["allow"]["subject"] = subject;
    bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    let (key, total) = (hostile::key().unwrap(), number(150));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (api, key) = (&bench.api, &key);
            scope.spawn(move || {
                for index in (worker..total).step_by(4) {
                    let name = format!("flood-{index}");
                    let mut made = api.must("POST", REQUESTS, Some(&of_node(key, index, &name))).unwrap();
                    made["status"]["conditions"] =
                        json!([{ "type": "Approved", "status": "True", "reason": "ByHand" }]);
                    api.must("PUT", &format!("{REQUESTS}/{name}/approval"), Some(&made)).unwrap();
                }
            });
        }
    });
    let peak = |run: &str| {
        let options = ["--managed-signer=example.com/*", "--leader-elect=false"];
        let controller = bench.cluster.start_replica(run, &options);
        controller.is_ready();
        // One of a node that has none yet, and one of each kind that has.
        bench.api.must("POST", REQUESTS, Some(&of_node(&key, total, &format!("{run}-other")))).unwrap();
        for index in [0, 1] {
            bench.api.must("POST", REQUESTS, Some(&of_node(&key, index, &format!("{run}-{index}")))).unwrap();
        }
        let begin = Instant::now();
        eventually("it is approved", LIMIT, || {
            anyhow_if(bench.conditions(&format!("{run}-other")) == ["Approved"], &controller.log())
        })
        .unwrap();
        println!("{run}: approved {:.1?} after the start", begin.elapsed());
        std::thread::sleep(Duration::from_secs(2));
        controller.running.peak_memory().unwrap()
    };
    let without = peak("free");
    for index in [0, 1] {
        assert_eq!(bench.conditions(&format!("free-{index}")), ["Approved"]);
    }
    // What the run before had approved is gone.
    for name in ["free-other", "free-0", "free-1"] {
        bench.api.must("DELETE", &format!("{REQUESTS}/{name}"), None).unwrap();
    }
    let limits: Value = serde_json::from_str(&guardrail("rate", &json!({ "node": { "maxPerHour": 1 } }))).unwrap();
    bench.api.must("POST", GUARDRAILS, Some(&limits)).unwrap();
    let with = peak("counted");
    for index in [0, 1] {
        assert_eq!(bench.conditions(&format!("counted-{index}")), [""; 0]);
    }
    println!("{total} approved requests: at most {without} KiB where nobody counts, {with} KiB where they are counted");
    assert!(with < 60 * 1024, "{with} KiB");
}
