//! Bad objects: the API server refuses each with a sentence that says what to write instead.

use super::Cluster;
use crate::cli::lint;

const POLICY: &str = "
match: { signerNames: [kubernetes.io/kube-apiserver-client], requestors: [{ groups: [a] }] }
allow: { usages: { allowed: [client auth] }, expirationSeconds: { max: 600 } }
";
const GUARDRAIL: &str = "
match: {}
limits: { expirationSeconds: { max: 600, whenUnset: Deny } }
";

/// Kind, what is replaced in the good object, by what, and what the refusal says.
const CASES: [(&str, &str, &str, &str); 38] = [
    ("CSRPolicy", "match: {", "notMatch: {", "state match"),
    ("CSRPolicy", "signerNames: [kubernetes.io/kube-apiserver-client], ", "", "state match.signerNames"),
    ("CSRPolicy", "[kubernetes.io/kube-apiserver-client]", "[]", "name at least one"),
    ("CSRPolicy", "kubernetes.io/kube-apiserver-client", "kube-apiserver-client", "DOMAIN/NAME"),
    ("CSRPolicy", ", requestors: [{ groups: [a] }]", "", "state match.requestors"),
    ("CSRPolicy", "[{ groups: [a] }]", "[]", "add an entry"),
    ("CSRPolicy", "[{ groups: [a] }]", "[{}]", "at least one of users, groups"),
    ("CSRPolicy", "groups: [a]", "groups: []", "name at least one"),
    ("CSRPolicy", "groups: [a]", "serviceAccounts: [a]", "namespace/name"),
    ("CSRPolicy", "requestors: [", "exclude: {}, requestors: [", "exclude is empty"),
    ("CSRPolicy", "allow: {", "notAllow: {", "state allow"),
    ("CSRPolicy", "usages: { allowed: [client auth] }, ", "", "state allow.usages"),
    ("CSRPolicy", "usages: { allowed: [client auth] }", "usages: {}", "usages is empty"),
    ("CSRPolicy", "[client auth]", "[]", "name at least one usage"),
    ("CSRPolicy", "[client auth]", "[cert sign]", "Unsupported value"),
    ("CSRPolicy", "[client auth]", "[client auth], denied: [client auth]", "denied wins"),
    ("CSRPolicy", ", expirationSeconds: { max: 600 }", "", "state allow.expirationSeconds"),
    ("CSRPolicy", "{ max: 600 }", "{}", "expirationSeconds"),
    ("CSRPolicy", "{ max: 600 }", "{ min: 700, max: 600 }", "no request could satisfy it"),
    ("CSRPolicy", "{ max: 600 }", "{ max: 599 }", "600"),
    ("CSRPolicy", "allow: {", "allow: { subject: {}, ", "subject is empty"),
    ("CSRPolicy", "allow: {", "allow: { subject: { commonName: {} }, ", "commonName is empty"),
    ("CSRPolicy", "allow: {", "allow: { subject: { organizations: { allowed: [system:masters] } }, ", "never granted"),
    (
        "CSRPolicy",
        "allow: {",
        "allow: { subject: { organizations: { allowed: ['System:Masters'] } }, ",
        "never granted",
    ),
    ("CSRPolicy", "allow: {", "allow: { dnsNames: { allowed: ['a.'] }, ", "no dot at either end"),
    ("CSRPolicy", "allow: {", "allow: { ipAddresses: { allowed: [10.0.0.1/8] }, ", "without host bits"),
    ("CSRPolicy", "allow: {", "allow: { uris: { allowed: ['${x}'] }, ", "reserved for later"),
    ("CSRPolicy", "allow: {", "allow: { keys: {}, ", "keys is empty"),
    ("CSRPolicy", "allow: {", "allow: { dnsNames: {}, ", "or from"),
    ("CSRPolicy", "allow: {", "allow: { dnsNames: { from: Requestor }, ", "Unsupported value"),
    ("CSRPolicy", "allow: {", "allow: { ipAddresses: { max: 1 }, ", "state allowed, required or from"),
    ("CSRPolicy", "allow: {", "allow: { node: {}, ", "node is empty"),
    ("CSRPolicy", "allow: {", "allow: { node: { existence: Absent, maxAgeSeconds: 60 }, ", "has no age"),
    ("CSRPolicy", "allow: {", "allow: { node: { maxPerHour: 0 }, ", "greater than or equal to 1"),
    ("CSRGuardrail", "limits: {", "limits: { node: { existence: Maybe }, ", "Unsupported value"),
    ("CSRGuardrail", "match: {}", "mode: Enforce", "state match"),
    ("CSRGuardrail", "limits: { expirationSeconds: { max: 600, whenUnset: Deny } }", "limits: {}", "limits is empty"),
    ("CSRGuardrail", ", whenUnset: Deny", "", "whenUnset"),
];

#[test]
fn every_bad_object_is_refused_with_a_sentence_that_helps() {
    let cluster = Cluster::start();
    let object = |kind: &str, spec: &str| {
        let spec = spec.trim().replace('\n', "\n  ");
        format!("apiVersion: countersign.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: x }}\nspec:\n  {spec}\n")
    };
    let create = |manifest: &str| {
        let arguments = ["create", "--dry-run=server", "--validate=ignore", "-f", "-"];
        cluster.admin.feed(&arguments, manifest)
    };
    create(&object("CSRPolicy", POLICY)).unwrap();
    create(&object("CSRGuardrail", GUARDRAIL)).unwrap();
    let mut wrong = Vec::new();
    for (kind, from, to, expected) in CASES {
        let good = if kind == "CSRPolicy" { POLICY } else { GUARDRAIL };
        assert!(good.contains(from), "{from:?} is not in the good {kind}");
        match create(&object(kind, &good.replacen(from, to, 1))) {
            Ok(_) => wrong.push(format!("{from:?} -> {to:?} is accepted")),
            Err(error) if !error.to_string().contains(expected) => {
                wrong.push(format!("{from:?} -> {to:?}: {expected:?} is not in {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_likely_mistakes_are_refused_where_the_api_server_can_see_them() {
    let cluster = Cluster::start();
    let create = |manifest: &str| cluster.admin.feed(&["create", "--dry-run=server", "-f", "-"], manifest);
    create(lint::POLICY).unwrap();
    for (good, bad, _) in lint::MISTAKES {
        let refused = create(&lint::POLICY.replacen(good, bad, 1)).is_err();
        assert_eq!(refused, !bad.starts_with("csr."), "{bad}");
    }
}

#[test]
fn every_object_of_the_examples_is_accepted() {
    let cluster = Cluster::start();
    for directory in ["examples/policies", "examples/cookbook", "examples/kubelets"] {
        // Without the suites, which are no objects of a cluster.
        cluster
            .admin
            .run(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", directory])
            .unwrap();
    }
}
