//! One requestor floods the cluster with requests, and holds nobody else up.
#![allow(clippy::print_stdout, reason = "a figure for the docs")]

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::eventually;

use super::decisions::policy;
use super::flood::number;
use super::{Cluster, LIMIT, Request, anyhow_if};

/// How many requests the flood has, where `COUNTERSIGN_FLOOD` does not say.
const FLOOD: usize = 400;

/// In how many groups somebody is whose reviews take long.
const GROUPS: usize = 30;
/// How many policies have a condition that takes long then.
const SLOW: usize = 30;

/// A control plane with the examples, on which `platform-onboarding` may file requests.
fn start() -> Cluster {
    let cluster = Cluster::start();
    cluster.apply_examples_unseen();
    let onboarding = ["create", "clusterrole", "requestor", "--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&onboarding).unwrap();
    let binding =
        ["create", "clusterrolebinding", "requestor", "--clusterrole=requestor", "--group=platform-onboarding"];
    cluster.admin.run(&binding).unwrap();
    cluster
}

/// Files requests of these names as somebody in `platform-onboarding` and in as many other groups.
fn file_as(cluster: &Cluster, user: &str, groups: usize, names: impl Iterator<Item = String>) {
    // One key is as good as another here, and making them takes long.
    let mut request = Request::new("", "/CN=amy/O=developers").manifest();
    let list: Vec<serde_json::Value> = names
        .map(|name| {
            request["metadata"]["name"] = json!(name);
            request.clone()
        })
        .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": list }).to_string();
    let groups: Vec<String> = (0..groups).map(|index| format!("--as-group=group-{index}")).collect();
    let mut arguments = vec!["create", "--as", user, "--as-group=platform-onboarding", "-f", "-"];
    arguments.extend(groups.iter().map(String::as_str));
    cluster.admin.feed(&arguments, &list).unwrap();
}

#[test]
fn a_flood_from_one_requestor_holds_nobody_else_up() {
    let mut cluster = start();
    file_as(&cluster, "mallory", 0, (0..FLOOD).map(|index| format!("flood-{index}")));
    // Filed last, and last in the order of a list.
    file_as(&cluster, "portal", 0, ["zoe".to_owned()].into_iter());
    cluster.run(&[]);
    let decided = eventually("all are decided", LIMIT, || {
        let number = cluster.controller().decisions().len();
        anyhow_if(number == FLOOD + 1, &format!("{number} are"))
    });
    decided.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
    let decisions = cluster.controller().decisions();
    assert!(decisions.iter().all(|decision| decision["decision"] == "Approve"));
    let place = decisions.iter().position(|decision| decision["name"] == "zoe").unwrap();
    assert!(place < 2 * 16, "zoe was decided after {place} others");
}

/// Each review takes long, so that the flood lasts, and as many decisions as there may be are on their way.
#[test]
fn who_comes_into_a_flood_is_decided_within_two_seconds() {
    let flood = number(FLOOD);
    let mut cluster = start();
    for index in 0..SLOW {
        let matches = json!({
            "signerNames": ["kubernetes.io/kube-apiserver-client"],
            "requestors": [{ "groups": ["platform-onboarding"] }],
            "conditions": [{
                "name": "slow",
                "expression": format!("requestor.groups.exists(a, requestor.groups.exists(b, a == b + '{index}x'))"),
            }],
        });
        cluster.admin.create(&policy(&format!("slow-{index}"), "", json!({ "match": matches }))).unwrap();
    }
    file_as(&cluster, "mallory", GROUPS, (0..flood).map(|index| format!("flood-{index}")));
    cluster.run(&[]);
    let decided = |cluster: &Cluster| cluster.controller().decisions().len();
    eventually("the first are decided", LIMIT, || anyhow_if(decided(&cluster) > 0, "none is")).unwrap();
    file_as(&cluster, "portal", 0, ["zoe".to_owned()].into_iter());
    let filed = Instant::now();
    cluster.is_approved("zoe");
    let (took, meanwhile) = (filed.elapsed(), decided(&cluster));
    println!("decided {took:.1?} after it was filed, when {meanwhile} of {flood} others were");
    assert!(took < Duration::from_secs(2), "{took:?}\n{}", cluster.log());
    assert!(meanwhile < flood, "the flood was over");
}
