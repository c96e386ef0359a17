//! Each rule of the CRD, broken in one place of an object that is Ready.

use serde_json::{Value, json};

use super::compile;
use crate::api::{Mode, OnViolation};
use crate::policy::{Compiled, Kind, PolicyObject, PolicySet, Problem, Settings};
use Kind::{CSRGuardrail as Guardrail, CSRPolicy as Policy};

fn spec(kind: Kind) -> Value {
    match kind {
        Policy => json!({
            "match": { "signerNames": ["example.com/a"], "requestors": [{ "groups": ["g"] }] },
            "allow": { "usages": { "allowed": ["client auth"] }, "expirationSeconds": { "max": 600 } },
        }),
        Guardrail => json!({ "match": {}, "limits": { "usages": { "denied": ["server auth"] } } }),
    }
}

/// The object with this at this place of its spec, places between them made; null takes it away.
fn compiled(kind: Kind, place: &str, value: Value) -> Compiled {
    let mut spec = spec(kind);
    let mut at = &mut spec;
    for part in place.split('.').filter(|part| !part.is_empty()) {
        at = &mut at[part];
    }
    *at = value;
    let metadata = json!({ "name": "x" });
    let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": metadata, "spec": spec });
    compile(&PolicyObject::new(kind, value))
}

fn paths(compiled: &Compiled) -> Vec<&str> {
    compiled.problems().iter().map(|problem| problem.path.as_str()).collect()
}

/// Each is refused at its path.
#[track_caller]
fn refused(cases: impl IntoIterator<Item = (Kind, &'static str, Value, &'static str)>) {
    for (kind, place, value, path) in cases {
        let what = format!("{kind} {place}: {value}");
        let compiled = compiled(kind, place, value);
        assert!(paths(&compiled).contains(&path), "{what}: {:?}", compiled.problems());
        assert!(!compiled.is_ready() && compiled.rules().is_none(), "{what}");
    }
}

#[test]
fn refuses_a_match_that_says_nothing_or_what_nobody_can_be() {
    refused([
        (Policy, "match.signerNames", json!([]), "spec.match.signerNames"),
        (Policy, "match.signerNames", Value::Null, "spec.match.signerNames"),
        (Policy, "match.signerNames", json!(["example.com/a*"]), "spec.match.signerNames[0]"),
        (Policy, "match.requestors", json!([]), "spec.match.requestors"),
        (Policy, "match.requestors", Value::Null, "spec.match.requestors"),
        (Policy, "match.requestors", json!([{ "groups": [] }]), "spec.match.requestors[0].groups"),
        (Policy, "match.requestors", json!([{ "credential": "Any" }]), "spec.match.requestors[0]"),
        (
            Policy,
            "match.requestors",
            json!([{ "serviceAccounts": ["/a"] }]),
            "spec.match.requestors[0].serviceAccounts[0]",
        ),
        (
            Policy,
            "match.requestors",
            json!([{ "serviceAccounts": ["N/a"] }]),
            "spec.match.requestors[0].serviceAccounts[0]",
        ),
        (Policy, "match.exclude", json!({}), "spec.match.exclude"),
        (Policy, "match.conditions", json!([]), "spec.match.conditions"),
        (
            Policy,
            "match.conditions",
            json!([{ "name": "a", "expression": "1 +" }]),
            "spec.match.conditions[0].expression",
        ),
        (
            Policy,
            "match.conditions",
            json!([
                { "name": "a", "expression": "requestor.username == 'a'" },
                { "name": "a", "expression": "requestor.uid == 'a'" },
            ]),
            "spec.match.conditions[1].name",
        ),
        (Guardrail, "match", Value::Null, "spec.match"),
    ]);
}

#[test]
fn refuses_a_subject_that_permits_nothing_or_contradicts_itself() {
    let names = |list: Value| json!({ "commonName": list });
    let organizations = |list: Value| json!({ "organizations": list });
    refused([
        (Policy, "allow.subject", json!({}), "spec.allow.subject"),
        (Policy, "allow.subject", names(json!({})), "spec.allow.subject.commonName"),
        (Policy, "allow.subject", names(json!({ "denied": ["a"] })), "spec.allow.subject.commonName"),
        (
            Policy,
            "allow.subject",
            names(json!({ "allowed": ["system:masters"] })),
            "spec.allow.subject.commonName.allowed[0]",
        ),
        (
            Policy,
            "allow.subject",
            names(json!({ "allowed": ["a"], "denied": ["a"] })),
            "spec.allow.subject.commonName.allowed[0]",
        ),
        (Policy, "allow.subject", organizations(json!({})), "spec.allow.subject.organizations"),
        (Policy, "allow.subject", organizations(json!({ "max": 1 })), "spec.allow.subject.organizations"),
        (Policy, "allow.subject", organizations(json!({ "allowed": [] })), "spec.allow.subject.organizations.allowed"),
        (
            Policy,
            "allow.subject",
            organizations(json!({ "required": ["System:Masters"] })),
            "spec.allow.subject.organizations.required[0]",
        ),
        (
            Policy,
            "allow.subject",
            organizations(json!({ "allowed": ["a"], "denied": ["b", "***"] })),
            "spec.allow.subject.organizations.denied[1]",
        ),
        (
            Policy,
            "allow.subject",
            organizations(json!({ "required": ["a"], "denied": ["a"] })),
            "spec.allow.subject.organizations.required[0]",
        ),
        (
            Policy,
            "allow.subject",
            organizations(json!({ "allowed": ["a"], "min": 2, "max": 1 })),
            "spec.allow.subject.organizations.min",
        ),
    ]);
}

#[test]
fn refuses_what_else_permits_nothing_or_contradicts_itself() {
    refused([
        (Policy, "allow", Value::Null, "spec.allow"),
        (Policy, "allow.usages", Value::Null, "spec.allow.usages"),
        (Policy, "allow.usages", json!({}), "spec.allow.usages"),
        (Policy, "allow.usages", json!({ "denied": ["server auth"] }), "spec.allow.usages"),
        (Policy, "allow.usages", json!({ "allowed": ["any"] }), "spec.allow.usages.allowed[0]"),
        (
            Policy,
            "allow.usages",
            json!({ "allowed": ["signing"], "denied": ["digital signature"] }),
            "spec.allow.usages.allowed[0]",
        ),
        (
            Policy,
            "allow.usages",
            json!({ "allowed": ["signing", "microsoft sgc"], "denied": ["server auth"] }),
            "spec.allow.usages.allowed[1]",
        ),
        (Policy, "allow.expirationSeconds", Value::Null, "spec.allow.expirationSeconds"),
        (Policy, "allow.expirationSeconds.max", Value::Null, "spec.allow.expirationSeconds.max"),
        (Policy, "allow.expirationSeconds.min", json!(601), "spec.allow.expirationSeconds.min"),
        (Policy, "allow.keys", json!({}), "spec.allow.keys"),
        (
            Policy,
            "allow.keys",
            json!({ "algorithms": ["ECDSA"], "rsa": { "minBits": 3072 } }),
            "spec.allow.keys.algorithms",
        ),
        (
            Policy,
            "allow.keys",
            json!({ "algorithms": ["RSA"], "ecdsa": { "curves": ["P256"] } }),
            "spec.allow.keys.algorithms",
        ),
        (Policy, "allow.keys", json!({ "rsa": {} }), "spec.allow.keys.rsa"),
        (Policy, "allow.keys", json!({ "rsa": { "minBits": 4096, "maxBits": 3072 } }), "spec.allow.keys.rsa.minBits"),
        (Policy, "allow.keys", json!({ "ecdsa": {} }), "spec.allow.keys.ecdsa"),
        (Policy, "allow.dnsNames", json!({ "max": 1 }), "spec.allow.dnsNames"),
        (Policy, "allow.dnsNames", json!({ "allowed": ["a..b"] }), "spec.allow.dnsNames.allowed[0]"),
        (Policy, "allow.ipAddresses", json!({ "allowed": [] }), "spec.allow.ipAddresses.allowed"),
        (Policy, "allow.ipAddresses", json!({ "allowed": ["10.0.0.1/8"] }), "spec.allow.ipAddresses.allowed[0]"),
        (Policy, "allow.ipAddresses", json!({ "allowed": ["10.0.0.0/08"] }), "spec.allow.ipAddresses.allowed[0]"),
        (Policy, "allow.ipAddresses", json!({ "denied": ["::/0", "10.0.0.0/+8"] }), "spec.allow.ipAddresses.denied[1]"),
        (Policy, "allow.ipAddresses", json!({ "required": ["010.0.0.0/8"] }), "spec.allow.ipAddresses.required[0]"),
        (
            Policy,
            "allow.ipAddresses",
            json!({ "allowed": ["::ffff:10.0.0.0/104"] }),
            "spec.allow.ipAddresses.allowed[0]",
        ),
        (Policy, "allow.ipAddresses", json!({ "allowed": ["::ffff:0:0/96"] }), "spec.allow.ipAddresses.allowed[0]"),
        (Policy, "allow.node", json!({}), "spec.allow.node"),
        (Policy, "allow.node", json!({ "existence": "Absent", "maxAgeSeconds": 1 }), "spec.allow.node.maxAgeSeconds"),
        (Policy, "allow.validations", json!([]), "spec.allow.validations"),
    ]);
}

#[test]
fn refuses_limits_that_limit_nothing() {
    let organizations = |list: Value| json!({ "organizations": list });
    refused([
        (Guardrail, "limits", Value::Null, "spec.limits"),
        (Guardrail, "limits", json!({}), "spec.limits"),
        (Guardrail, "limits.signerNames", json!({}), "spec.limits.signerNames"),
        (
            Guardrail,
            "limits.signerNames",
            json!({ "allowed": ["a.com/x"], "denied": ["a.com/x"] }),
            "spec.limits.signerNames.allowed[0]",
        ),
        (Guardrail, "limits.expirationSeconds", json!({ "max": 600 }), "spec.limits.expirationSeconds.whenUnset"),
        (
            Guardrail,
            "limits.subject",
            organizations(json!({ "denied": [] })),
            "spec.limits.subject.organizations.denied",
        ),
    ]);
}

#[test]
fn takes_what_is_at_a_bound_and_what_a_guardrail_may_leave_out() {
    let organizations = |list: Value| json!({ "organizations": list });
    for (kind, place, value) in [
        (Policy, "", spec(Policy)),
        (Guardrail, "", spec(Guardrail)),
        (Policy, "allow.expirationSeconds.min", json!(600)),
        (Policy, "allow.keys", json!({ "algorithms": ["RSA", "ECDSA"], "rsa": { "minBits": 3072, "maxBits": 3072 } })),
        (Policy, "allow.subject", organizations(json!({ "required": ["a"], "min": 1, "max": 1 }))),
        (Policy, "allow.subject", organizations(json!({ "from": "Requestor" }))),
        (Policy, "allow.subject", json!({ "organizationalUnits": { "allowed": ["system:masters"] } })),
        (Policy, "allow.ipAddresses", json!({ "allowed": ["2001:db8::/96", "::/64", "10.1.2.3"] })),
        (Policy, "allow.node", json!({ "existence": "Absent" })),
        (Policy, "allow.node", json!({ "existence": "Present", "maxAgeSeconds": 1 })),
        (Guardrail, "limits.subject", organizations(json!({ "max": 1 }))),
        (Guardrail, "limits.subject", json!({ "commonName": { "denied": ["a"] } })),
        (Guardrail, "limits.expirationSeconds", json!({ "max": 600, "whenUnset": "Allow" })),
    ] {
        let what = format!("{kind} {place}: {value}");
        let compiled = compiled(kind, place, value);
        assert!(compiled.is_ready() && compiled.rules().is_some(), "{what}: {:?}", compiled.problems());
    }
}

#[test]
fn what_is_neither_audit_nor_deny_decides_and_denies_nothing() {
    for (mode, expected) in
        [(json!("Audit"), Mode::Audit), (json!("Enforce"), Mode::Enforce), (json!("Later"), Mode::Enforce)]
    {
        assert_eq!(compiled(Policy, "mode", mode.clone()).mode, expected, "{mode}");
    }
    for (value, expected) in [
        (Value::Null, OnViolation::Deny),
        (json!("Deny"), OnViolation::Deny),
        (json!("LeavePending"), OnViolation::LeavePending),
        (json!("Later"), OnViolation::LeavePending),
        (json!(1), OnViolation::LeavePending),
    ] {
        assert_eq!(compiled(Policy, "onViolation", value.clone()).on_violation, expected, "{value}");
    }
}

#[test]
fn refuses_a_field_that_no_object_has_beside_its_spec() {
    let metadata = json!({ "name": "x", "labels": {}, "mode": "Audit" });
    let value = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "CSRPolicy", "metadata": metadata, "spec": spec(Policy), "mode": "Audit",
    });
    assert_eq!(paths(&compile(&PolicyObject::new(Policy, value))), ["mode", "metadata.mode"]);
}

#[test]
fn an_object_of_another_version_is_not_ready() {
    for version in [json!("countersign.dev/v1"), json!("v1"), json!(1), Value::Null] {
        for kind in Kind::ALL {
            let value = json!({ "apiVersion": version, "metadata": { "name": "x" }, "spec": spec(kind) });
            let compiled = compile(&PolicyObject::new(kind, value));
            assert_eq!(paths(&compiled), ["apiVersion"], "{kind} {version}");
            assert!(!compiled.is_ready() && compiled.rules().is_none(), "{kind} {version}");
        }
    }
}

#[test]
fn a_policy_that_is_being_deleted_stops_and_a_guardrail_holds() {
    let object = |kind: Kind| {
        let metadata = json!({ "name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": metadata, "spec": spec(kind) });
        PolicyObject::new(kind, value)
    };
    let set = PolicySet::compile(&Kind::ALL.map(object), Settings::default());
    assert_eq!((set.policies().len(), set.guardrails().len()), (0, 1));
}

#[test]
fn a_problem_is_at_a_path_or_below_it() {
    for (path, expected) in [
        ("spec.match", true),
        ("spec.match.x", true),
        ("spec.match[0]", true),
        ("spec.matches", false),
        ("spec", false),
    ] {
        let problem = Problem { path: path.to_owned(), message: String::new() };
        assert_eq!(problem.is_within("spec.match"), expected, "{path}");
    }
}

#[test]
fn a_kind_is_known_by_its_name() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(Kind::from_name("csrpolicies"), None);
}

#[test]
fn refuses_a_name_that_the_api_server_refuses_and_a_namespace() {
    let problems = |metadata: Value| -> Vec<String> {
        let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": metadata, "spec": spec(Policy) });
        compile(&PolicyObject::new(Policy, value)).problems().iter().map(|problem| problem.path.clone()).collect()
    };
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    for name in ["x", "x-1", "1.x", "a-b.c", &longest] {
        assert!(problems(json!({ "name": name })).is_empty(), "{name}");
    }
    for name in ["X", "-x", "x-", "x.-y", "x..y", "x_y", "x.", "\u{e9}", &format!("{longest}x")] {
        assert_eq!(problems(json!({ "name": name })), ["metadata.name"], "{name}");
    }
    assert_eq!(problems(json!({ "name": "x", "namespace": "n" })), ["metadata.namespace"]);
}

#[test]
fn refuses_the_names_of_expressions_that_the_api_server_refuses() {
    let named = |kind, place, name: &str| {
        compiled(kind, place, json!([{ "name": name, "expression": "csr.dnsNames.size() == 0" }]))
    };
    let places = [
        (Policy, "match.conditions"),
        (Guardrail, "match.conditions"),
        (Policy, "allow.validations"),
        (Guardrail, "limits.validations"),
    ];
    for (kind, place) in places {
        for good in ["a", "A-b_c.9", &"x".repeat(63)] {
            let compiled = named(kind, place, good);
            assert!(compiled.is_ready(), "{place} {good}: {:?}", compiled.problems());
        }
        for bad in ["", "-a", "a-", "a b", "a\n", "a\u{1b}[31m", "\u{202e}a", "stra\u{df}e", &"x".repeat(64)] {
            let compiled = named(kind, place, bad);
            let path = format!("spec.{place}[0].name");
            assert!(paths(&compiled).contains(&path.as_str()), "{place} {bad:?}: {:?}", compiled.problems());
            assert!(compiled.problems().iter().all(|problem| !problem.message.contains(['\u{1b}', '\u{202e}'])));
        }
    }
}

/// What those of all its expressions take together is bounded, and so is the time to refuse it.
#[test]
fn refuses_regular_expressions_that_take_much_together() {
    let expressions = |number: usize, pattern: &str| -> Value {
        (0..number)
            .map(|index| {
                let each: Vec<String> =
                    (0..8).map(|part| format!("csr.signerName.matches('{pattern}{part}')")).collect();
                json!({ "name": format!("x{index}"), "expression": each.join(" && ") })
            })
            .collect()
    };
    for (pattern, fit) in [("^[a-z]{1,20}-", 16), (r"^\\pL{1,2}-", 1), (r"^(a|b)*a(a|b){999}c", 1)] {
        let ready = compiled(Guardrail, "limits.validations", expressions(fit, pattern));
        assert!(ready.is_ready(), "{pattern}: {:?}", ready.problems());
        let began = std::time::Instant::now();
        let mut spec = spec(Guardrail);
        spec["match"]["conditions"] = expressions(16, pattern);
        spec["limits"]["validations"] = expressions(16, pattern);
        let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": { "name": "x" }, "spec": spec });
        let compiled = compile(&PolicyObject::new(Guardrail, value));
        if fit == 16 {
            assert!(compiled.is_ready(), "{:?}", compiled.problems());
            continue;
        }
        let first = &compiled.problems()[0];
        assert_eq!(first.path, format!("spec.match.conditions[{fit}].expression"), "{pattern}: {first}");
        assert!(first.message.contains("the regular expressions of this object take more than 512 KiB"), "{first}");
        // The rest is not compiled at all.
        assert_eq!(compiled.problems().len(), 32 - fit, "{pattern}");
        assert!(began.elapsed().as_secs() < 10, "{pattern}: {:?}", began.elapsed());
    }
}
