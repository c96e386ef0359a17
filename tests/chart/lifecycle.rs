//! Install, upgrade, rollback and uninstall, on a real API server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use testbed::{ControlPlane, Options, Tool, eventually};

use super::{BOTH, CHART, Helm, NAMESPACE};

const LIMIT: Duration = Duration::from_secs(30);

/// The chart as an earlier version: with a lower number, and CRDs that do not know `onViolation`.
fn previous(directory: &Path) -> PathBuf {
    let chart = directory.join("previous");
    assert!(Command::new("cp").arg("-R").arg(CHART).arg(&chart).status().unwrap().success());
    let edit = |file: &str, change: &dyn Fn(String) -> String| {
        let path = chart.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{file}");
        std::fs::write(path, after).unwrap();
    };
    edit("Chart.yaml", &|text| text.replace("ersion: 0.1.0", "ersion: 0.0.9"));
    edit("files/crds/csrguardrails.countersign.dev.yaml", &|text| {
        let mut crd = super::objects(&text).remove(0);
        let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
        spec.as_object_mut().unwrap().remove("onViolation").unwrap();
        crd.to_string()
    });
    chart
}

#[test]
fn install_upgrade_rollback_and_uninstall_keep_what_people_wrote() {
    for tool in BOTH {
        let plane = ControlPlane::start(&Options::default()).unwrap();
        let admin = plane.admin();
        let helm = Helm::on(tool, &admin);
        let directory = tempfile::tempdir().unwrap();
        let previous = previous(directory.path());
        let previous = previous.to_str().unwrap();
        admin.run(&["apply", "--server-side", "-f", "deploy/namespace.yaml"]).unwrap();

        let notes = helm.run(&["install", "countersign", previous]);
        assert!(notes.contains("Countersign 0.0.9 decides about requests for:"), "{notes}");
        let crd = "crd/csrguardrails.countersign.dev";
        admin.run(&["wait", "--for=condition=Established", "--timeout=30s", crd]).unwrap();
        let explains = |expected: bool| {
            let explained = eventually("the CRD is served", LIMIT, || {
                let output = admin.output(&["explain", "csrguardrail.spec.onViolation"], "")?;
                if output.status.success() == expected { Ok(()) } else { Err(std::io::Error::other("not yet").into()) }
            });
            explained.unwrap();
        };
        explains(false);
        eventually("the examples are accepted", LIMIT, || {
            admin.run(&["apply", "--server-side", "-f", "examples/policies"])
        })
        .unwrap();
        // What a replica writes into the lease.
        let held = json!({ "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 15 } }).to_string();
        let lease = ["patch", "lease", "countersign", "--namespace", NAMESPACE, "--type=merge", "--patch", &held];
        admin.run(&lease).unwrap();

        let get = |kind: &str, path: &str| {
            let path = format!("jsonpath={{{path}}}");
            admin.run(&["get", kind, "countersign", "--namespace", NAMESPACE, "-o", &path]).unwrap()
        };
        helm.run(&["upgrade", "countersign", CHART, "--set=replicas=3,signerNames={example.com/a}"]);
        explains(true);
        assert_eq!(get("deployment", ".spec.replicas"), "3");
        assert!(get("clusterrole", ".rules").contains("example.com/a"));
        assert!(!get("clusterrole", ".rules").contains("kube-apiserver-client"));
        assert_eq!(get("lease", ".spec.holderIdentity"), "somebody");

        helm.run(&["rollback", "countersign", "1"]);
        assert_eq!(get("deployment", ".spec.replicas"), "2");
        assert!(get("clusterrole", ".rules").contains("kube-apiserver-client"));
        assert_eq!(get("lease", ".spec.holderIdentity"), "somebody");
        explains(false);

        helm.run(&["uninstall", "countersign"]);
        eventually("the deployment is gone", LIMIT, || {
            let output = admin.output(&["get", "deployment", "countersign", "--namespace", NAMESPACE], "")?;
            if output.status.success() { Err(std::io::Error::other("it is there").into()) } else { Ok(()) }
        })
        .unwrap();
        for object in ["csrpolicy/developers", "csrguardrail/cluster-limits"] {
            admin.run(&["get", object]).unwrap_or_else(|error| panic!("{object} did not survive: {error:#}"));
        }
        // And it can come back, over the CRDs that were kept.
        helm.run(&["install", "countersign", CHART]);
        explains(true);
        admin.run(&["get", "csrpolicy/developers"]).unwrap();

        // An older version can have the newer CRDs, which prune nothing.
        helm.run(&["upgrade", "countersign", previous, "--set=crds.enabled=false"]);
        explains(true);

        helm.run(&["upgrade", "countersign", CHART, "--set=crds.keep=false"]);
        helm.run(&["uninstall", "countersign"]);
        eventually("the CRDs are gone", LIMIT, || {
            let output = admin.output(&["get", crd], "")?;
            if output.status.success() { Err(std::io::Error::other("they are there").into()) } else { Ok(()) }
        })
        .unwrap();
    }
}

/// How many signers a policy may name where authors are checked: `$most` in the template.
const MOST_SIGNERS: usize = 12;

#[test]
fn the_admission_policy_refuses_authors_who_may_not_approve() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let admin = plane.admin();
    let helm = Helm::on(Tool::Helm4, &admin);
    admin.run(&["apply", "--server-side", "-f", "deploy/namespace.yaml"]).unwrap();
    helm.run(&["install", "countersign", CHART, "--set=admissionPolicy.enabled=true"]);
    let bind = |user: &str, role: &str| {
        let arguments = [&format!("{user}-{role}"), &format!("--clusterrole={role}"), &format!("--user={user}")];
        admin.run(&["create", "clusterrolebinding", arguments[0], arguments[1], arguments[2]]).unwrap();
    };
    let approver = |name: &str, signer: &str| {
        let rule = json!({
            "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [signer], "verbs": ["approve"],
        });
        let api = "rbac.authorization.k8s.io/v1";
        let role = json!({ "apiVersion": api, "kind": "ClusterRole", "metadata": { "name": name }, "rules": [rule] });
        admin.apply(&role.to_string()).unwrap();
    };
    approver("approve-one", "kubernetes.io/kube-apiserver-client");
    approver("approve-domain", "kubernetes.io/*");
    let update = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "approve" },
        "rules": [{ "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"] }],
    });
    admin.apply(&update.to_string()).unwrap();
    for user in ["nobody", "one", "domain", "half"] {
        bind(user, "countersign-policy-editor");
    }
    for user in ["nobody", "one", "domain"] {
        bind(user, "approve");
    }
    // Who may approve for the signer, but not write an approval, may approve nothing.
    bind("half", "approve-one");
    bind("one", "approve-one");
    bind("domain", "approve-domain");
    let policy = std::fs::read_to_string("examples/policies/developers.yaml").unwrap();
    let as_user = |user: &str, policy: &str| {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-", &format!("--as={user}")];
        admin.feed(&arguments, policy).map_err(|error| format!("{error:#}"))
    };
    // A policy of this kind is in force a moment after it is created.
    eventually("nobody is refused", LIMIT, || match as_user("nobody", &policy) {
        Err(said)
            if said.contains(
                "you may not approve for kubernetes.io/kube-apiserver-client: ask for the verb approve on it",
            ) =>
        {
            Ok(())
        }
        other => {
            let _ = admin.run(&["delete", "csrpolicy", "developers", "--ignore-not-found"]);
            Err(std::io::Error::other(format!("{other:?}")).into())
        }
    })
    .unwrap();
    as_user("one", &policy).unwrap();
    as_user("domain", &policy).unwrap();
    let wider =
        policy.replace("signerNames: [kubernetes.io/kube-apiserver-client]", "signerNames: [\"kubernetes.io/*\"]");
    assert_ne!(wider, policy);
    let said = as_user("one", &wider).unwrap_err();
    assert!(said.contains("you may not approve for kubernetes.io/*"), "{said}");
    as_user("domain", &wider).unwrap();
    let said = as_user("half", &policy).unwrap_err();
    assert!(said.contains("ask for the verb update on certificatesigningrequests/approval"), "{said}");
    let said = as_user("nobody", &policy).unwrap_err();
    assert!(said.contains("ask for the verb approve"), "{said}");

    // As many signers as there may be, by whoever has each, has the domain, or lacks the last.
    let signers = |number: usize, last: &str| {
        let mut names: Vec<String> = (1..number).map(|number| format!("kubernetes.io/s{number}")).collect();
        names.push(last.to_owned());
        policy.replace("kubernetes.io/kube-apiserver-client", &names.join(", "))
    };
    let own = "kubernetes.io/kube-apiserver-client";
    for number in [2, 3, MOST_SIGNERS] {
        as_user("domain", &signers(number, own)).unwrap();
        admin
            .feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &signers(number, "example.com/z"))
            .unwrap();
        let said = as_user("domain", &signers(number, "example.com/y")).unwrap_err();
        assert!(said.contains("you may not approve for example.com/y"), "{number}: {said}");
    }
    for user in ["domain", "nobody"] {
        let said = as_user(user, &signers(MOST_SIGNERS + 1, own)).unwrap_err();
        assert!(said.contains(&format!("a policy may name {MOST_SIGNERS} signers")), "{user}: {said}");
    }

    // What is no change of the policy is none by an author: the garbage collector ends a deletion in the foreground.
    as_user("domain", &policy).unwrap();
    let annotate = ["annotate", "csrpolicy", "developers", "example.com/a=b", "--as=nobody"];
    admin.run(&annotate).unwrap();
    let foreground = ["delete", "csrpolicy", "developers", "--as=nobody", "--cascade=foreground", "--wait=false"];
    admin.run(&foreground).unwrap();
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    admin.run(&["patch", "csrpolicy", "developers", "--as=nobody", "--type=merge", "--patch", finalizers]).unwrap();
    admin.run(&["wait", "--for=delete", "csrpolicy/developers", "--timeout=30s"]).unwrap();
}
