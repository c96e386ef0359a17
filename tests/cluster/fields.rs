//! Every field of the API, with a request that it approves and one that it does not: the suites of
//! `examples/fields`, once on the command line and once on a cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::nodes::may_read_nodes;
use super::{Cluster, LIMIT, Request, anyhow_if, base64};
use testbed::eventually;

#[test]
fn controller_and_command_line_agree_about_every_field() {
    let mut cluster = Cluster::start();
    may_read_nodes(&cluster);
    let directory = tempfile::tempdir().unwrap();
    let suites = directory.path().join("suites");
    let saved = directory.path().join("saved");
    std::fs::create_dir_all(&suites).unwrap();
    std::fs::create_dir(&saved).unwrap();
    let requests = std::fs::canonicalize("examples/fields/requests").unwrap();
    std::os::unix::fs::symlink(&requests, suites.join("requests")).unwrap();

    let mut tests = BTreeMap::<String, (Value, Value)>::new();
    for entry in std::fs::read_dir("examples/fields").unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = of_its_own(&path);
        std::fs::write(suites.join(path.file_name().unwrap()), &text).unwrap();
        let mut documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let suite = documents.pop().unwrap();
        for object in documents {
            cluster.admin.apply(&object.to_string()).unwrap();
        }
        make_nodes(&cluster, &suite);
        make_approvals(&cluster, &suite);
        for test in suite["tests"].as_array().unwrap() {
            let requestor = &suite["requestors"][test["requestor"].as_str().unwrap()];
            let name = test["name"].as_str().unwrap().to_owned();
            assert!(tests.insert(name, (test.clone(), requestor.clone())).is_none(), "two tests of one name");
        }
    }
    assert!(tests.len() > 200, "{}", tests.len());
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .arg("test")
        .arg("--save-requests")
        .arg(&saved)
        .arg(&suites)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    cluster.run(&["--managed-signer=kubernetes.io/kube-apiserver-client", "--managed-signer=example.com/other"]);
    // Everybody here may file requests.
    let arguments = ["--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&["create", "clusterrole", "filer", arguments[0], arguments[1]]).unwrap();
    let binding = ["filer", "--clusterrole=filer", "--group=system:authenticated"];
    cluster.admin.run(&["create", "clusterrolebinding", binding[0], binding[1], binding[2]]).unwrap();
    for (name, (test, requestor)) in &tests {
        let manifest = match &test["request"] {
            Value::String(path) => manifest(name, test, &suites.join(path)),
            _ => std::fs::read_to_string(saved.join(format!("{name}.json"))).unwrap(),
        };
        let arguments = as_requestor(requestor);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        eventually("it is filed", LIMIT, || cluster.admin.feed(&arguments, &manifest)).unwrap();
    }
    for (name, (test, _)) in &tests {
        match test["expect"]["decision"].as_str().unwrap() {
            "Approve" => cluster.is_approved(name),
            "Deny" => assert_eq!(cluster.decision(name)["type"], "Denied", "{name}"),
            _ => cluster.is_left(name, "left pending"),
        }
    }
    eventually("nothing more is decided", LIMIT, || {
        let pending = tests.values().filter(|(test, _)| test["expect"]["decision"] == "NoOpinion").count();
        let csrs = cluster.admin.get(&["csr"])?;
        let undecided = csrs["items"].as_array().unwrap().iter().filter(|csr| csr["status"]["conditions"].is_null());
        anyhow_if(undecided.count() == pending, "another number is pending")
    })
    .unwrap();
}

/// The text of a suite, in which the requestors are its own, so that the objects of all suites can be there at once.
fn of_its_own(path: &Path) -> String {
    let field = path.file_stem().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    ["testers", "tester"].iter().fold(text, |text, name| {
        let own = format!("{field}-{name}");
        let text = text.replace(&format!("\"{name}\""), &format!("\"{own}\""));
        text.replace(&format!("[{name},"), &format!("[{own},")).replace(&format!(": {name},"), &format!(": {own},"))
    })
}

/// A manifest of the PEM request at `path`, with what the test says of it.
fn manifest(name: &str, test: &Value, path: &Path) -> String {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": base64(&std::fs::read(path).unwrap()),
            "signerName": test["signerName"],
            "usages": test["usages"],
            "expirationSeconds": test["expirationSeconds"],
        },
    })
    .to_string()
}

/// What files a request as `requestor` of a suite.
fn as_requestor(requestor: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut arguments = ["create", "-f", "-"].map(str::to_owned).to_vec();
    arguments.push(format!("--as={}", text(&requestor["username"])));
    for group in requestor["groups"].as_array().unwrap() {
        arguments.push(format!("--as-group={}", text(group)));
    }
    for (key, values) in requestor["extra"].as_object().into_iter().flatten() {
        for value in values.as_array().unwrap() {
            arguments.push(format!("--as-user-extra={key}={}", text(value)));
        }
    }
    arguments
}

/// Makes the Nodes that a suite has. When they were created the API server says itself.
fn make_nodes(cluster: &Cluster, suite: &Value) {
    for node in suite["nodes"].as_array().into_iter().flatten() {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": node["name"], "labels": node["labels"] },
            "status": { "addresses": node["addresses"] },
        });
        cluster.admin.create(&object.to_string()).unwrap();
    }
}

/// Makes the approved requests that a suite has, as somebody else would have approved them.
fn make_approvals(cluster: &Cluster, suite: &Value) {
    for (index, approval) in suite["approvals"].as_array().into_iter().flatten().enumerate() {
        let node = approval["node"].as_str().unwrap();
        let name = format!("approved-{index}-{node}");
        let mut request = Request::new(&name, &format!("/CN=system:node:{node}"));
        approval["signerName"].as_str().unwrap().clone_into(&mut request.signer);
        cluster.file(&request);
        cluster.admin.run(&["certificate", "approve", &name]).unwrap();
    }
}

/// A field that is null as if it had never been written would be a limit less.
#[test]
fn a_field_with_nothing_behind_it_is_refused_or_kept_so_that_the_object_is_not_ready() {
    let cluster = Cluster::start();
    let mut fields = BTreeMap::new();
    for entry in std::fs::read_dir("examples/fields").unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for object in documents.iter().filter(|object| object["kind"] != "CSRPolicyTest") {
            let mut places = Vec::new();
            places_of_fields(&object["spec"], "/spec", &mut places);
            for place in places {
                let field = place.replace(|c: char| c.is_ascii_digit(), "");
                fields.entry((object["kind"].to_string(), field)).or_insert_with(|| (object.clone(), place));
            }
        }
    }
    assert!(fields.len() > 100, "{}", fields.len());
    let mut kept = 0;
    for (mut object, place) in fields.into_values() {
        *object.pointer_mut(&place).unwrap() = Value::Null;
        let arguments = ["create", "--dry-run=server", "--validate=ignore", "-o", "json", "-f", "-"];
        let Ok(stored) = cluster.admin.feed(&arguments, &object.to_string()) else { continue };
        kept += 1;
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(stored.pointer(&place), Some(&Value::Null), "{place} is dropped from {object}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("object.json");
        std::fs::write(&file, stored.to_string()).unwrap();
        let lint = Command::new(env!("CARGO_BIN_EXE_countersign")).arg("lint").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(!lint.status.success() && said.contains("not-ready"), "{place} of {object}: {said}");
    }
    assert!(kept > 50, "{kept}");
}

fn places_of_fields(value: &Value, at: &str, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let place = format!("{at}/{name}");
                places_of_fields(value, &place, places);
                places.push(place);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places_of_fields(item, &format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
}
