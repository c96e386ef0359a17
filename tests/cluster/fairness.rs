//! One requestor floods the cluster with requests, and holds nobody else up.

use serde_json::json;
use testbed::eventually;

use super::{Cluster, LIMIT, Request, anyhow_if};

/// How many requests the flood has.
const FLOOD: usize = 400;

/// Files requests of these names as somebody in `platform-onboarding`.
fn file_as(cluster: &Cluster, user: &str, names: impl Iterator<Item = String>) {
    // One key is as good as another here, and making them takes long.
    let mut request = Request::new("", "/CN=amy/O=developers").manifest();
    let list: Vec<serde_json::Value> = names
        .map(|name| {
            request["metadata"]["name"] = json!(name);
            request.clone()
        })
        .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": list }).to_string();
    cluster.admin.feed(&["create", "--as", user, "--as-group=platform-onboarding", "-f", "-"], &list).unwrap();
}

#[test]
fn a_flood_from_one_requestor_holds_nobody_else_up() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    let onboarding = ["create", "clusterrole", "requestor", "--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&onboarding).unwrap();
    let binding =
        ["create", "clusterrolebinding", "requestor", "--clusterrole=requestor", "--group=platform-onboarding"];
    cluster.admin.run(&binding).unwrap();
    file_as(&cluster, "mallory", (0..FLOOD).map(|index| format!("flood-{index}")));
    // Filed last, and last in the order of a list.
    file_as(&cluster, "portal", ["zoe".to_owned()].into_iter());
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
