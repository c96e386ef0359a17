//! Every field of the API, with a request that it approves and one that it does not: the suites of
//! `examples/fields`, once on the command line and once on a cluster.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::nodes::may_read_nodes;
use super::{Cluster, LIMIT, anyhow_if};
use testbed::eventually;

#[test]
fn controller_and_command_line_agree_about_every_field() {
    let mut cluster = Cluster::start();
    // So that all policies can be there at once, each speaks of requestors of its own.
    let directory = tempfile::tempdir().unwrap();
    let requests = directory.path().join("requests");
    std::fs::create_dir(&requests).unwrap();
    let mut expected = BTreeMap::<String, String>::new();
    for entry in std::fs::read_dir("examples/fields").unwrap() {
        let path = entry.unwrap().path();
        let field = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (own, other) in [
            ("\"testers\"", "\"?-testers\""),
            ("[testers,", "[?-testers,"),
            ("\"tester\"", "\"?-tester\""),
            ("username: tester,", "username: ?-tester,"),
        ] {
            text = text.replace(own, &other.replace('?', &field));
        }
        std::fs::write(directory.path().join(path.file_name().unwrap()), &text).unwrap();
        let suite = text.split("---\n").nth(1).unwrap();
        for test in suite.split("- name: ").skip(1) {
            let decision = test.split("\"decision\": \"").nth(1).unwrap().split('"').next().unwrap();
            expected.insert(test.lines().next().unwrap().to_owned(), decision.to_owned());
        }
    }
    assert!(expected.len() > 70, "{}", expected.len());
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("test")
        .arg("--save-requests")
        .arg(&requests)
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    may_read_nodes(&cluster);
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            cluster.admin.apply(text.split("---\n").next().unwrap()).unwrap();
            make_nodes(&cluster, &text);
        }
    }
    cluster.run(&["--managed-signer=kubernetes.io/kube-apiserver-client", "--managed-signer=example.com/other"]);
    // Everybody here may file requests.
    let arguments = ["--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&["create", "clusterrole", "filer", arguments[0], arguments[1]]).unwrap();
    let binding = ["filer", "--clusterrole=filer", "--group=system:authenticated"];
    cluster.admin.run(&["create", "clusterrolebinding", binding[0], binding[1], binding[2]]).unwrap();
    for name in expected.keys() {
        let text = std::fs::read_to_string(requests.join(format!("{name}.json"))).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        let mut arguments = vec!["create".to_owned(), "-f".to_owned(), "-".to_owned()];
        arguments.push(format!("--as={}", manifest["spec"]["username"].as_str().unwrap()));
        for group in manifest["spec"]["groups"].as_array().unwrap() {
            arguments.push(format!("--as-group={}", group.as_str().unwrap()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        eventually("it is filed", LIMIT, || cluster.admin.feed(&arguments, &text)).unwrap();
    }
    for (name, decision) in &expected {
        match decision.as_str() {
            "Approve" => cluster.is_approved(name),
            "Deny" => {
                assert_eq!(cluster.decision(name)["type"], "Denied", "{name}");
            }
            _ => cluster.is_left(name, "left pending"),
        }
    }
    eventually("nothing more is decided", LIMIT, || {
        let pending = expected.values().filter(|decision| *decision == "NoOpinion").count();
        let csrs = cluster.admin.get(&["csr"])?;
        let undecided = csrs["items"].as_array().unwrap().iter().filter(|csr| csr["status"]["conditions"].is_null());
        anyhow_if(undecided.count() == pending, "another number is pending")
    })
    .unwrap();
}

/// Makes the Nodes that a suite has in its line `nodes`. When they were created the API server says itself.
fn make_nodes(cluster: &Cluster, suite: &str) {
    let Some(nodes) = suite.lines().find_map(|line| line.strip_prefix("nodes: ")) else { return };
    let nodes: Vec<Value> = serde_saphyr::from_str(nodes).unwrap();
    for node in nodes {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": node["name"], "labels": node["labels"] },
            "status": { "addresses": node["addresses"] },
        });
        cluster.admin.create(&object.to_string()).unwrap();
    }
}
