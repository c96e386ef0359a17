//! The rendered RBAC, pinned: whoever changes a right of the controller changes this test.

use std::collections::BTreeSet;

use serde_json::Value;
use testbed::Tool;

use super::{Helm, NAMESPACE, object};

/// Each right that `rules` grant, a line each: `verb group/resource [names]`.
fn rights(rules: &Value) -> BTreeSet<String> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        let known = ["apiGroups", "resources", "resourceNames", "verbs"];
        assert!(rule.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{rule}");
        let names = if rule["resourceNames"].is_null() { String::new() } else { format!(" {}", rule["resourceNames"]) };
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                for verb in texts(rule, "verbs") {
                    rights.insert(format!("{verb} {group}/{resource}{names}"));
                }
            }
        }
    }
    rights
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

const CONTROLLER: [&str; 10] = [
    "get certificates.k8s.io/certificatesigningrequests",
    "list certificates.k8s.io/certificatesigningrequests",
    "watch certificates.k8s.io/certificatesigningrequests",
    "patch certificates.k8s.io/certificatesigningrequests/approval",
    "list countersign.dev/csrpolicies",
    "watch countersign.dev/csrpolicies",
    "patch countersign.dev/csrpolicies/status",
    "list countersign.dev/csrguardrails",
    "watch countersign.dev/csrguardrails",
    "patch countersign.dev/csrguardrails/status",
];

fn with(signers: &str) -> BTreeSet<String> {
    let mut rights = set(&CONTROLLER);
    rights.insert(format!("approve certificates.k8s.io/signers{signers}"));
    rights
}

#[test]
fn the_whole_rbac_is_what_stands_here() {
    let helm = Helm::new(Tool::Helm4);
    let objects = helm.objects(&[]);
    let rules = |kind: &str, name: &str| rights(&object(&objects, kind, name)["rules"]);
    let events = "countersign-events";

    let expected = with(r#" ["kubernetes.io/kube-apiserver-client","kubernetes.io/kubelet-serving"]"#);
    assert_eq!(rules("ClusterRole", "countersign"), expected);
    let lease = r#"coordination.k8s.io/leases ["countersign"]"#;
    assert_eq!(rules("Role", "countersign"), set(&[&format!("get {lease}"), &format!("update {lease}")]));
    assert_eq!(rules("Role", events), set(&["create events.k8s.io/events"]));

    let edit = |resource: &str| {
        let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
        verbs.iter().map(|verb| format!("{verb} countersign.dev/{resource}")).collect::<BTreeSet<String>>()
    };
    assert_eq!(rules("ClusterRole", "countersign-policy-editor"), edit("csrpolicies"));
    assert_eq!(rules("ClusterRole", "countersign-guardrail-editor"), edit("csrguardrails"));
    let read = [
        "certificates.k8s.io/certificatesigningrequests",
        "countersign.dev/csrpolicies",
        "countersign.dev/csrguardrails",
    ];
    let reads = |resources: &[&str]| {
        let verbs = ["get", "list", "watch"];
        resources.iter().flat_map(|resource| verbs.map(|verb| format!("{verb} {resource}"))).collect::<BTreeSet<_>>()
    };
    assert_eq!(rules("ClusterRole", "countersign-viewer"), reads(&read));
    assert_eq!(rules("Role", "countersign-requestor"), reads(&["/events", "events.k8s.io/events"]));

    // Nothing aggregates into somebody's role, and nobody but the controller is bound to anything.
    let of = |kinds: &[&str]| -> Vec<&Value> {
        objects.iter().filter(|object| kinds.contains(&object["kind"].as_str().unwrap())).collect()
    };
    let roles = of(&["ClusterRole", "Role"]);
    assert_eq!(roles.len(), 7);
    for role in roles {
        assert!(role["aggregationRule"].is_null());
        let labels = role["metadata"]["labels"].as_object().unwrap();
        assert!(!labels.keys().any(|label| label.contains("aggregate-to")), "{labels:?}");
    }
    let mut bound: Vec<(&str, &str, &str)> = Vec::new();
    for binding in of(&["ClusterRoleBinding", "RoleBinding"]) {
        let account = serde_json::json!([{ "kind": "ServiceAccount", "name": "countersign", "namespace": NAMESPACE }]);
        assert_eq!(binding["subjects"], account);
        let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        let role = &binding["roleRef"];
        bound.push((namespace, role["kind"].as_str().unwrap(), role["name"].as_str().unwrap()));
    }
    bound.sort_unstable();
    let expected =
        [("", "ClusterRole", "countersign"), (NAMESPACE, "Role", "countersign"), ("default", "Role", events)];
    assert_eq!(bound, expected);
    for (kind, name, namespace) in [("Role", "countersign", NAMESPACE), ("Role", events, "default")] {
        assert_eq!(object(&objects, kind, name)["metadata"]["namespace"], namespace);
    }
    assert_eq!(object(&objects, "ServiceAccount", "countersign")["automountServiceAccountToken"], false);
}

#[test]
fn nodes_are_read_only_where_that_is_wanted() {
    let helm = Helm::new(Tool::Helm4);
    let (without, with) = (helm.objects(&[]), helm.objects(&["--set=nodes.enabled=true"]));
    for role in ["countersign", "countersign-viewer"] {
        let rules = |objects: &[Value]| rights(&object(objects, "ClusterRole", role)["rules"]);
        let (without, with) = (rules(&without), rules(&with));
        assert!(!without.iter().any(|right| right.contains("nodes")));
        let more: Vec<&str> = with.difference(&without).map(String::as_str).collect();
        assert_eq!(more, ["get /nodes", "list /nodes", "watch /nodes"]);
        assert!(without.is_subset(&with));
    }
}

#[test]
fn the_right_to_approve_follows_the_signer_names() {
    let helm = Helm::new(Tool::Helm4);
    for (signers, expected) in [
        ("{example.com/a,example.org/*}", r#" ["example.com/a","example.org/*"]"#),
        // RBAC grants every signer by naming none.
        ("{*}", ""),
        ("{*,example.com/a}", ""),
    ] {
        let objects = helm.objects(&["--set", &format!("signerNames={signers}")]);
        assert_eq!(rights(&object(&objects, "ClusterRole", "countersign")["rules"]), with(expected));
        let arguments =
            &object(&objects, "Deployment", "countersign")["spec"]["template"]["spec"]["containers"][0]["args"];
        let managed: Vec<&str> = arguments
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|a| a.as_str()?.strip_prefix("--managed-signer="))
            .collect();
        assert_eq!(format!("{{{}}}", managed.join(",")), signers);
    }
    let none = helm.objects(&["--set=rbac.create=false,rbac.people=false"]);
    assert!(!none.iter().any(|object| object["kind"].as_str().unwrap().contains("Role")));
}
