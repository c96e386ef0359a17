//! Commands that read a cluster: `review --live` and `explain`, also as a plugin of kubectl.

use std::process::Command;

use serde_json::Value;

use super::{Cluster, Request};

/// Status, standard output, standard error.
fn countersign(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
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
