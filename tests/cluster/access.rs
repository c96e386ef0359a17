//! What the controller and people may do, and what happens when a right is missing.

use serde_json::json;
use testbed::eventually;

use super::{Cluster, LIMIT, NAMESPACE, Request, anyhow_if};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

#[test]
fn without_approve_nothing_is_approved_until_it_is_given_back() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    let granted = |value: u8| {
        format!(
            "countersign_permission_granted{{name=\"{SIGNER}\",resource=\"signers.certificates.k8s.io\",verb=\"approve\"}} {value}"
        )
    };
    cluster.file(&Request::new("before", "/CN=before"));
    cluster.is_approved("before");
    cluster.controller().has_metric(&granted(1));

    cluster.may_approve(&["kubernetes.io/kubelet-serving"]);
    cluster.file(&Request::new("amy", "/CN=amy/O=developers"));
    cluster.controller().has_metric(&granted(0));
    cluster.controller().has_counted("countersign_api_errors_total{category=\"forbidden\",operation=\"approve\"}");
    let missing = format!("approve signers.certificates.k8s.io {SIGNER}");
    let said = eventually("the log says what is missing", LIMIT, || {
        let log = cluster.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        anyhow_if(lines.any(|line| line["level"] == "ERROR" && line["missing"] == missing), &log)
    });
    said.unwrap();
    assert!(cluster.csr("amy")["status"]["conditions"].is_null());
    // Denials need the same right.
    cluster.file(&Request::new("mallory", "/CN=mallory/O=kubeadm:cluster-admins"));
    cluster.controller().has_counted("countersign_api_errors_total{category=\"forbidden\",operation=\"deny\"}");
    assert!(cluster.csr("mallory")["status"]["conditions"].is_null());

    cluster.may_approve(&["kubernetes.io/*"]);
    cluster.is_approved("amy");
    cluster.is_denied("mallory", "kubeadm:cluster-admins");
    cluster.controller().has_metric(&granted(1));
}

#[test]
fn the_service_account_may_do_what_it_must_and_no_more() {
    let cluster = Cluster::start();
    let controller = cluster.admin.with(&cluster.plane.file("countersign.kubeconfig"));
    let may = |verb: &str, resource: &str, namespace: &str, name: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace, "name": name,
            } },
        });
        let answer =
            controller.feed(&["create", "--validate=false", "-f", "-", "-o", "json"], &review.to_string()).unwrap();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()["status"]["allowed"].as_bool().unwrap()
    };
    let (own, signers, requests) =
        ("countersign-system", "signers.certificates.k8s.io", "certificatesigningrequests.certificates.k8s.io");
    for (verb, resource, namespace, name) in [
        ("approve", signers, "", SIGNER),
        ("patch", "certificatesigningrequests.certificates.k8s.io/approval", "", ""),
        ("watch", requests, "", ""),
        ("watch", "csrpolicies.countersign.dev", "", ""),
        ("patch", "csrguardrails.countersign.dev/status", "", ""),
        ("create", "events.events.k8s.io", "default", ""),
        ("update", "leases.coordination.k8s.io", own, "countersign"),
    ] {
        assert!(may(verb, resource, namespace, name), "{verb} {resource} {name}");
    }
    for (verb, resource, namespace, name) in [
        ("approve", signers, "", "kubernetes.io/kube-apiserver-client-kubelet"),
        ("approve", signers, "", ""),
        ("sign", signers, "", SIGNER),
        ("create", requests, "", ""),
        ("update", requests, "", ""),
        ("patch", requests, "", ""),
        ("update", "certificatesigningrequests.certificates.k8s.io/approval", "", ""),
        ("patch", "certificatesigningrequests.certificates.k8s.io/status", "", ""),
        ("get", "secrets", own, ""),
        ("get", "secrets", "", ""),
        ("update", "csrpolicies.countersign.dev", "", ""),
        ("delete", "csrguardrails.countersign.dev", "", ""),
        ("create", "leases.coordination.k8s.io", own, "countersign"),
        ("update", "leases.coordination.k8s.io", own, "other"),
        ("update", "leases.coordination.k8s.io", "kube-system", "countersign"),
        ("create", "events.events.k8s.io", "kube-system", ""),
        ("create", "events", "default", ""),
        ("create", "serviceaccounts/token", own, "countersign"),
        ("impersonate", "users", "", ""),
        ("get", "pods", own, ""),
        // Only with `nodes.enabled`.
        ("get", "nodes", "", ""),
        ("list", "nodes", "", ""),
        ("*", "*.*", "", ""),
    ] {
        assert!(!may(verb, resource, namespace, name), "{verb} {resource} {name}");
    }
}

#[test]
fn people_get_what_their_role_says() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    let admin = &cluster.admin;
    for (user, role) in [("paula", "policy-editor"), ("gus", "guardrail-editor"), ("vera", "viewer")] {
        let role = format!("--clusterrole=countersign-{role}");
        admin.run(&["create", "clusterrolebinding", user, &role, &format!("--user={user}")]).unwrap();
    }
    admin.run(&["create", "rolebinding", "rita", "--role=countersign-requestor", "--user=rita"]).unwrap();
    let may = |user: &str, verb: &str, what: &str| {
        let user = format!("--as={user}");
        admin.output(&["auth", "can-i", verb, what, &user], "").unwrap().status.success()
    };
    for (user, verb, what, expected) in [
        ("paula", "create", "csrpolicies", true),
        ("paula", "delete", "csrguardrails", false),
        ("gus", "delete", "csrguardrails", true),
        ("gus", "create", "csrpolicies", false),
        ("vera", "list", "csrpolicies", true),
        ("vera", "watch", "certificatesigningrequests", true),
        ("vera", "create", "csrpolicies", false),
        ("vera", "list", "events", false),
        ("rita", "list", "events", true),
        ("rita", "list", "csrpolicies", false),
    ] {
        assert_eq!(may(user, verb, what), expected, "{user} {verb} {what}");
    }

    // What a requestor does: files a request, and asks why it was denied.
    admin.run(&["create", "clusterrole", "filer", "--verb=create", "--resource=certificatesigningrequests"]).unwrap();
    admin.run(&["create", "clusterrolebinding", "filer", "--clusterrole=filer", "--user=rita"]).unwrap();
    let request = Request::new("rita", "/CN=rita/O=kubeadm:cluster-admins").manifest();
    admin.feed(&["create", "-f", "-", "--as=rita"], &request.to_string()).unwrap();
    cluster.is_denied("rita", "kubeadm:cluster-admins");
    let arguments = ["get", "events", "--field-selector=involvedObject.name=rita", "--as=rita"];
    let events = admin.run(&arguments).unwrap();
    assert!(events.contains("denied by Countersign"), "{events}");
    let others = admin.output(&["get", "events", NAMESPACE, "--as=rita"], "").unwrap();
    assert!(!others.status.success());
    cluster.controller().has_metric(
        "countersign_reserved_identity_requests_total{decision=\"Deny\",signer=\"kubernetes.io/kube-apiserver-client\"} 1",
    );
    assert_eq!(cluster.csr("rita")["status"]["conditions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn with_the_flow_schema_of_the_page_its_calls_have_their_place_before_other_workloads() {
    let mut cluster = Cluster::start();
    let page = std::fs::read_to_string("docs/sizing.md").unwrap();
    let (_, schema) = page.split_once("```yaml\n").unwrap();
    let (schema, _) = schema.split_once("```").unwrap();
    cluster.admin.apply(schema).unwrap();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    cluster.file(&Request::new("amy", "/CN=amy/O=developers"));
    cluster.is_approved("amy");
    let dispatched = "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"countersign\",\
                      priority_level=\"workload-high\"}";
    eventually("its calls are dispatched there", LIMIT, || {
        let metrics = cluster.admin.run(&["get", "--raw", "/metrics"])?;
        let line = metrics.lines().find(|line| line.starts_with(dispatched)).unwrap_or_default();
        let number = line.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok());
        anyhow_if(number.is_some_and(|number| number > 5), line)
    })
    .unwrap();
}
