//! Commands that read a cluster: `review --live` and `explain`, also as a plugin of kubectl.

use std::process::Command;

use serde_json::{Value, json};

use super::{Cluster, Request};

/// Status, standard output, standard error.
pub(super) fn countersign(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .env("KUBECONFIG", cluster.admin.kubeconfig())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_is_pending_is_reviewed_and_explained_and_nothing_is_changed() {
    let cluster = Cluster::start();
    cluster.apply_examples_unseen();
    for (name, subject) in [("amy", "/CN=amy/O=developers"), ("mallory", "/CN=mallory/O=kubeadm:cluster-admins")] {
        cluster.file(&Request::new(name, subject));
    }
    let mut other = Request::new("other", "/CN=x");
    other.signer = "example.com/other".to_owned();
    cluster.file(&other);
    cluster.admin.run(&["certificate", "deny", "other"]).unwrap();

    let (status, out, err) = countersign(&cluster, &["review", "--live", "-o", "json"]);
    assert_eq!((status, err.as_str()), (1, ""), "{out}");
    let list: Value = serde_json::from_str(&out).unwrap();
    let decisions = |list: &Value| -> Vec<(String, String)> {
        let reviews = list["reviews"].as_array().unwrap().iter();
        let text = |review: &Value, field: &str| review[field].as_str().unwrap().to_owned();
        let mut all: Vec<_> = reviews.map(|review| (text(review, "name"), text(review, "decision"))).collect();
        all.sort();
        all
    };
    let pair = |name: &str, decision: &str| (name.to_owned(), decision.to_owned());
    // What somebody decided already is not pending.
    assert_eq!(decisions(&list), [pair("amy", "Approve"), pair("mallory", "Deny")]);

    // What would a change of the policies do?
    let directory = tempfile::tempdir().unwrap();
    let stricter = std::fs::read_to_string("examples/policies/developers.yaml").unwrap();
    let stricter = stricter.replace("max: 2592000", "max: 3600");
    std::fs::write(directory.path().join("stricter.yaml"), stricter).unwrap();
    let files = directory.path().to_str().unwrap();
    let (status, out, _) = countersign(&cluster, &["review", "--live", "--policies", files, "-o", "json", "amy"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, decisions(&list)), (1, vec![pair("amy", "Deny")]));
    assert_eq!(list["reviews"][0]["violations"][0]["code"], "expiration-too-long");

    // A decided request is explained as if it were not.
    let (status, out, err) = countersign(&cluster, &["explain", "amy", "mallory", "other"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    for line in [
        "  filed by  kubernetes-admin (system:masters, system:authenticated)",
        "  condition none: it is pending",
        "  verdict   Approve: CSRPolicy developers permits the request, and no guardrail forbids it [policy-satisfied]",
        "  - CSRPolicy developers: satisfied",
        "  - CSRGuardrail cluster-limits: violated",
        "[subject-organization-denied]",
        "  condition Denied:",
        "  - CSRPolicy developers: does not match, because of signerNames",
    ] {
        assert!(out.contains(line), "{line} is not in\n{out}");
    }

    // As somebody else, with the rights of that somebody.
    let (status, _, err) = countersign(&cluster, &["explain", "amy", "--as", "nobody"]);
    assert!(status == 2 && err.contains("forbidden") && err.contains("nobody"), "{err}");
    let arguments = ["create", "clusterrolebinding", "vera", "--clusterrole=countersign-viewer", "--group=viewers"];
    cluster.admin.run(&arguments).unwrap();
    testbed::eventually("vera may read", super::LIMIT, || {
        let (status, _, err) = countersign(&cluster, &["explain", "amy", "--as", "vera", "--as-group", "viewers"]);
        super::anyhow_if(status == 0, &err)
    })
    .unwrap();

    let (status, _, err) = countersign(&cluster, &["explain", "nobody-filed-this"]);
    assert!(status == 2 && err.contains("there is no CertificateSigningRequest nobody-filed-this"), "{err}");

    // As a plugin of kubectl.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_countersign"), directory.path().join("kubectl-countersign"))
        .unwrap();
    let output = Command::new(cluster.plane.binaries().path("kubectl"))
        .args(["countersign", "explain", "mallory", "--kubeconfig"])
        .arg(cluster.admin.kubeconfig())
        .env("PATH", format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("violated"), "{out}{}", String::from_utf8_lossy(&output.stderr));

    for name in ["amy", "mallory"] {
        assert!(cluster.csr(name)["status"]["conditions"].is_null(), "{name} was changed");
    }
}

#[test]
fn nodes_are_read_where_a_policy_looks_at_them() {
    let cluster = Cluster::start();
    cluster.admin.apply(&std::fs::read_to_string("examples/kubelets/serving.yaml").unwrap()).unwrap();
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "worker-1" } });
    cluster.admin.create(&node.to_string()).unwrap();
    let arguments = ["--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&["create", "clusterrole", "filer", arguments[0], arguments[1]]).unwrap();
    cluster
        .admin
        .run(&["create", "clusterrolebinding", "filer", "--clusterrole=filer", "--group=system:nodes"])
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().to_str().unwrap();
    let suite = "examples/kubelets/tests/serving.yaml";
    let filter = "before the Node is there";
    let (status, out, _) = countersign(&cluster, &["test", "--filter", filter, "--save-requests", saved, suite]);
    assert_eq!(status, 0, "{out}");
    let request = std::fs::read_to_string(directory.path().join("before-the-node-is-there.json")).unwrap();
    let as_node = ["--as=system:node:worker-1", "--as-group=system:nodes"];
    let create = ["create", "-f", "-", as_node[0], as_node[1]];
    testbed::eventually("it is filed", super::LIMIT, || cluster.admin.feed(&create, &request)).unwrap();

    let (status, out, err) = countersign(&cluster, &["review", "--live"]);
    assert!(status == 3 && out.contains("Node worker-1 has no addresses yet"), "{out}{err}");
    let addresses = json!({ "status": { "addresses": [
        { "type": "Hostname", "address": "worker-1" },
        { "type": "InternalDNS", "address": "worker-1.nodes.example.com" },
        { "type": "InternalIP", "address": "10.20.1.1" },
        { "type": "InternalIP", "address": "2001:db8:20::1" },
    ] } });
    let patch = addresses.to_string();
    cluster.admin.run(&["patch", "node", "worker-1", "--subresource=status", "--type=merge", "-p", &patch]).unwrap();
    let (status, out, err) = countersign(&cluster, &["review", "--live"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let (_, out, _) = countersign(&cluster, &["explain", "before-the-node-is-there"]);
    assert!(out.contains("  - CSRPolicy kubelet-serving: satisfied"), "{out}");

    // As a viewer, whom the chart lets read Nodes with nodes.enabled only: told what is missing, and the rest.
    let binding = ["create", "clusterrolebinding", "vera", "--clusterrole=countersign-viewer", "--user=vera"];
    cluster.admin.run(&binding).unwrap();
    let as_vera = |arguments: &[&str]| countersign(&cluster, &[arguments, &["--as", "vera"]].concat());
    let commands: [&[&str]; 2] = [&["review", "--live"], &["explain", "before-the-node-is-there"]];
    for command in commands {
        testbed::eventually("vera may read the rest", super::LIMIT, || {
            let (status, out, err) = as_vera(command);
            let told = "error: cluster: nodes is forbidden: User \"vera\" cannot list resource \"nodes\" in API group \"\" at \
                        the cluster scope (403 Forbidden); what rests on Nodes is unknown without them \
                        (countersign-viewer of the chart grants reading them with nodes.enabled)\n";
            let rest = out.contains("the Nodes of the cluster are not known here");
            super::anyhow_if(status == 2 && err == told && rest, &format!("{out}{err}"))
        })
        .unwrap();
    }
    let roles = ["--set=nodes.enabled=true", "--show-only=templates/people/roles.yaml"];
    cluster.admin.apply(&crate::chart::manifests(&roles)).unwrap();
    for (command, says) in commands.into_iter().zip(["1 approved", "  - CSRPolicy kubelet-serving: satisfied"]) {
        testbed::eventually("vera may read Nodes", super::LIMIT, || {
            let (status, out, err) = as_vera(command);
            super::anyhow_if(status == 0 && err.is_empty() && out.contains(says), &format!("{out}{err}"))
        })
        .unwrap();
    }
}

#[test]
fn who_may_not_list_requests_is_told_that_they_cannot_be_counted() {
    let cluster = Cluster::start();
    let policy = std::fs::read_to_string("examples/fields/node-max-per-hour.yaml").unwrap();
    cluster.admin.apply(policy.split("---\n").next().unwrap()).unwrap();
    // Somebody of `testers`, whom the policy is about.
    let mut request = Request::new("joins", "/CN=system:node:worker-1");
    request.expiration_seconds = Some(3600);
    let arguments = ["--verb=create", "--resource=certificatesigningrequests"];
    cluster.admin.run(&["create", "clusterrole", "filer", arguments[0], arguments[1]]).unwrap();
    cluster.admin.run(&["create", "clusterrolebinding", "filer", "--clusterrole=filer", "--group=testers"]).unwrap();
    let create = ["create", "-f", "-", "--as=tess", "--as-group=testers"];
    testbed::eventually("it is filed", super::LIMIT, || cluster.admin.feed(&create, &request.manifest().to_string()))
        .unwrap();
    for (name, verbs, resources) in
        [("one", "get", "certificatesigningrequests"), ("all", "get,list", "csrpolicies,csrguardrails")]
    {
        let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
        cluster.admin.run(&["create", "clusterrole", name, &verbs, &resources]).unwrap();
        let role = format!("--clusterrole={name}");
        cluster.admin.run(&["create", "clusterrolebinding", name, &role, "--user=vera"]).unwrap();
    }
    let explain = ["explain", "joins", "--as", "vera"];
    testbed::eventually("vera may get it", super::LIMIT, || {
        let (status, out, err) = countersign(&cluster, &explain);
        let told = err.contains("cannot list resource") && err.contains("maxPerHour is unknown without a list");
        let rest = out.contains("were approved for node worker-1 is not known here");
        super::anyhow_if(status == 2 && told && rest, &format!("{out}{err}"))
    })
    .unwrap();
    cluster
        .admin
        .run(&["create", "clusterrolebinding", "viewer", "--clusterrole=countersign-viewer", "--user=vera"])
        .unwrap();
    testbed::eventually("vera may list them", super::LIMIT, || {
        let (status, out, err) = countersign(&cluster, &explain);
        super::anyhow_if(status == 0 && out.contains("node-max-per-hour: satisfied"), &format!("{out}{err}"))
    })
    .unwrap();
}
