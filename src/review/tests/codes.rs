//! Each violation, by a policy or a guardrail and a request that differs in one thing from a good one.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::{Decision, Facts, ViolationCode, review};
use crate::node::{Node, Nodes};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use crate::request::{
    CsrObject, Curve, DecodeCode, Envelope, Key, Pkcs10, Sans, SigningRequest, Subject, SubjectAttribute, Usage,
};

const SIGNER: &str = "example.com/a";

fn request() -> SigningRequest {
    SigningRequest {
        envelope: Envelope {
            signer_name: SIGNER.to_owned(),
            username: "amy".to_owned(),
            groups: vec!["g".to_owned(), "system:x".to_owned()],
            expiration_seconds: Some(3600),
            ..Envelope::default()
        },
        content: Ok(Pkcs10 {
            subject: Subject { common_name: Some("amy".to_owned()), ..Subject::default() },
            sans: Sans::default(),
            key: Key::Ed25519,
            sha256: [0; 32],
        }),
        asks_for_masters: false,
        usages: vec![Usage::ClientAuth],
    }
}

fn object(kind: Kind, changes: &Value) -> PolicyObject {
    let (field, mut rules) = match kind {
        Kind::CSRPolicy => (
            "allow",
            json!({
                "subject": { "commonName": { "allowed": ["amy", "system:node:amy"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
            }),
        ),
        Kind::CSRGuardrail => ("limits", json!({})),
    };
    let matches = match kind {
        Kind::CSRPolicy => {
            json!({ "signerNames": ["example.com/*", "kubernetes.io/kubelet-serving"], "requestors": [{ "groups": ["g"] }] })
        }
        Kind::CSRGuardrail => json!({}),
    };
    for (name, value) in changes.as_object().unwrap() {
        rules[name] = value.clone();
    }
    let value = json!({
        "apiVersion": crate::api::API_VERSION,
        "metadata": { "name": "x" },
        "spec": { "match": matches, field: rules },
    });
    PolicyObject::new(kind, value)
}

/// What is found, with the rules of the object changed and the request changed.
fn found(kind: Kind, rules: &Value, change: impl FnOnce(&mut SigningRequest)) -> Vec<ViolationCode> {
    let mut request = request();
    change(&mut request);
    let object = object(kind, rules);
    let managed = ["example.com/*", "kubernetes.io/*"].map(|signer| SignerPattern::new(signer).unwrap());
    let settings = Settings {
        managed_signers: managed.into(),
        service_cidrs: vec!["10.96.0.0/12".parse().unwrap()],
        ..Settings::default()
    };
    let set = PolicySet::compile([&object], settings);
    for compiled in set.policies().iter().chain(set.guardrails()) {
        assert!(compiled.is_ready(), "{rules}: {:?}", compiled.problems());
    }
    let nodes =
        [Node { name: "amy".to_owned(), created: Some("2026-01-01T00:00:00Z".parse().unwrap()), ..Node::default() }];
    let nodes: Nodes = nodes.into_iter().collect();
    let review = review(&set, &request, &Facts { nodes: Some(&nodes), ..Facts::default() });
    let decision = if review.violations.is_empty() { None } else { Some(Decision::Deny) };
    assert!(decision.is_none_or(|decision| decision == review.decision), "{}", review.reason);
    for violation in &review.violations {
        assert!(!violation.message.is_empty() && !violation.field.is_empty());
    }
    review.violations.iter().map(|violation| violation.code).collect()
}

fn content(request: &mut SigningRequest) -> &mut Pkcs10 {
    request.content.as_mut().unwrap()
}

fn subject(request: &mut SigningRequest) -> &mut Subject {
    &mut content(request).subject
}

fn sans(request: &mut SigningRequest) -> &mut Sans {
    &mut content(request).sans
}

fn names(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// The request, filed by a node for itself, with these SANs.
fn ask_as_node(request: &mut SigningRequest, dns_names: &[&str], ip_addresses: &[&str]) {
    request.envelope.username = "system:node:amy".to_owned();
    request.envelope.groups = names(&["g", "system:nodes"]);
    subject(request).common_name = Some("system:node:amy".to_owned());
    sans(request).dns_names = names(dns_names);
    sans(request).ip_addresses = ip_addresses.iter().map(|address| address.parse().unwrap()).collect();
}

type Case = (Kind, Value, fn(&mut SigningRequest), ViolationCode);

fn cases() -> Vec<Case> {
    use Kind::{CSRGuardrail as Guardrail, CSRPolicy as Policy};
    use ViolationCode as Code;
    let organizations =
        |rules: Value| json!({ "subject": { "commonName": { "allowed": ["amy"] }, "organizations": rules } });
    let units =
        |rules: Value| json!({ "subject": { "commonName": { "allowed": ["amy"] }, "organizationalUnits": rules } });
    let common_name = |rules: Value| json!({ "subject": { "commonName": rules } });
    vec![
        (Guardrail, json!({ "signerNames": { "allowed": ["example.org/*"] } }), |_| {}, Code::SignerNotAllowed),
        (Guardrail, json!({ "signerNames": { "denied": ["example.com/*"] } }), |_| {}, Code::SignerDenied),
        (Policy, json!({}), |r| subject(r).common_name = None, Code::CommonNameMissing),
        (Policy, json!({}), |r| subject(r).common_name = Some("Amy".into()), Code::CommonNameNotAllowed),
        (Policy, common_name(json!({ "allowed": ["*"], "denied": ["AMY"] })), |_| {}, Code::CommonNameDenied),
        (
            Policy,
            common_name(json!({ "allowed": ["**"] })),
            |r| subject(r).common_name = Some("System:a".into()),
            Code::CommonNameReserved,
        ),
        (
            Policy,
            common_name(json!({ "from": "Requestor" })),
            |r| r.envelope.username = "eve".into(),
            Code::CommonNameNotRequestor,
        ),
        (Policy, json!({}), |r| subject(r).organizations = names(&["a"]), Code::OrganizationNotAllowed),
        (
            Policy,
            organizations(json!({ "allowed": ["*"], "denied": ["a*"] })),
            |r| subject(r).organizations = names(&["abc"]),
            Code::OrganizationDenied,
        ),
        (
            Policy,
            organizations(json!({ "allowed": ["**"] })),
            |r| subject(r).organizations = names(&["kubeadm:x"]),
            Code::OrganizationReserved,
        ),
        (
            Policy,
            organizations(json!({ "from": "Requestor" })),
            |r| subject(r).organizations = names(&["h"]),
            Code::OrganizationNotRequestor,
        ),
        (Policy, organizations(json!({ "required": ["a"] })), |_| {}, Code::OrganizationMissing),
        (
            Policy,
            organizations(json!({ "allowed": ["*"], "max": 1 })),
            |r| subject(r).organizations = names(&["a", "b"]),
            Code::OrganizationCount,
        ),
        (Policy, json!({}), |r| subject(r).organizational_units = names(&["a"]), Code::OrganizationalUnitNotAllowed),
        (
            Policy,
            units(json!({ "allowed": ["*"], "denied": ["a"] })),
            |r| subject(r).organizational_units = names(&["A"]),
            Code::OrganizationalUnitDenied,
        ),
        (
            Policy,
            units(json!({ "allowed": ["**"] })),
            |r| subject(r).organizational_units = names(&["system:a"]),
            Code::OrganizationalUnitReserved,
        ),
        (Policy, units(json!({ "required": ["a"] })), |_| {}, Code::OrganizationalUnitMissing),
        (Policy, units(json!({ "allowed": ["*"], "min": 1 })), |_| {}, Code::OrganizationalUnitCount),
        (
            Policy,
            json!({}),
            |r| subject(r).others = vec![(SubjectAttribute::Country, "DE".into())],
            Code::SubjectAttributeNotAllowed,
        ),
        (Policy, json!({}), |r| r.usages.push(Usage::ServerAuth), Code::UsageNotAllowed),
        (Guardrail, json!({ "usages": { "denied": ["client auth"] } }), |_| {}, Code::UsageDenied),
        (
            Policy,
            json!({ "usages": { "allowed": ["client auth"], "required": ["signing"] } }),
            |_| {},
            Code::UsageMissing,
        ),
        (Policy, json!({ "expirationSeconds": { "min": 7200, "max": 7200 } }), |_| {}, Code::ExpirationTooShort),
        (Policy, json!({ "expirationSeconds": { "max": 600 } }), |_| {}, Code::ExpirationTooLong),
        (Policy, json!({}), |r| r.envelope.expiration_seconds = None, Code::ExpirationUnset),
        (
            Policy,
            json!({ "expirationSeconds": { "max": 600, "whenUnset": "SignerMaximum" } }),
            |r| r.envelope.expiration_seconds = None,
            Code::ExpirationSignerMaximumUnknown,
        ),
        (Policy, json!({ "keys": { "algorithms": ["RSA"] } }), |_| {}, Code::KeyAlgorithmNotAllowed),
        (
            Guardrail,
            json!({ "keys": { "rsa": { "minBits": 3072 } } }),
            |r| content(r).key = Key::Rsa { bits: 2048 },
            Code::KeyTooShort,
        ),
        (
            Guardrail,
            json!({ "keys": { "rsa": { "maxBits": 4096 } } }),
            |r| content(r).key = Key::Rsa { bits: 8192 },
            Code::KeyTooLong,
        ),
        (
            Guardrail,
            json!({ "keys": { "ecdsa": { "curves": ["P384"] } } }),
            |r| content(r).key = Key::Ecdsa { curve: Curve::P256 },
            Code::KeyCurveNotAllowed,
        ),
        (Policy, json!({}), |r| sans(r).dns_names = names(&["a.b"]), Code::DnsNameNotAllowed),
        (
            Policy,
            json!({ "dnsNames": { "allowed": ["*.b"], "denied": ["a.b"] } }),
            |r| sans(r).dns_names = names(&["A.B"]),
            Code::DnsNameDenied,
        ),
        (
            Guardrail,
            json!({ "dnsNames": { "wildcards": "Deny" } }),
            |r| sans(r).dns_names = names(&["*.b"]),
            Code::DnsNameWildcard,
        ),
        (Policy, json!({ "dnsNames": { "required": ["a.b"] } }), |_| {}, Code::DnsNameMissing),
        (Policy, json!({ "dnsNames": { "allowed": ["*.b"], "min": 1 } }), |_| {}, Code::DnsNameCount),
        (Policy, json!({}), |r| sans(r).ip_addresses = vec!["10.0.0.1".parse().unwrap()], Code::IpAddressNotAllowed),
        (
            Policy,
            json!({ "ipAddresses": { "allowed": ["10.0.0.0/8"], "denied": ["10.0.0.0/24"] } }),
            |r| sans(r).ip_addresses = vec!["10.0.0.1".parse().unwrap()],
            Code::IpAddressDenied,
        ),
        (Policy, json!({ "ipAddresses": { "required": ["2001:db8::/32"] } }), |_| {}, Code::IpAddressMissing),
        (Policy, json!({ "ipAddresses": { "allowed": ["10.0.0.0/8"], "min": 1 } }), |_| {}, Code::IpAddressCount),
        (Policy, json!({}), |r| sans(r).uris = names(&["spiffe://a/b"]), Code::UriNotAllowed),
        (
            Policy,
            json!({ "uris": { "allowed": ["spiffe://a/*"], "denied": ["*b"] } }),
            |r| sans(r).uris = names(&["spiffe://a/b"]),
            Code::UriDenied,
        ),
        (Policy, json!({ "uris": { "required": ["spiffe://a/*"] } }), |_| {}, Code::UriMissing),
        (Policy, json!({ "uris": { "allowed": ["spiffe://a/*"], "min": 1 } }), |_| {}, Code::UriCount),
        (Policy, json!({}), |r| sans(r).email_addresses = names(&["a@b.c"]), Code::EmailAddressNotAllowed),
        (
            Policy,
            json!({ "emailAddresses": { "allowed": ["*@b.c"], "denied": ["a@*"] } }),
            |r| sans(r).email_addresses = names(&["a@b.c"]),
            Code::EmailAddressDenied,
        ),
        (Policy, json!({ "emailAddresses": { "required": ["a@b.c"] } }), |_| {}, Code::EmailAddressMissing),
        (Policy, json!({ "emailAddresses": { "allowed": ["*@b.c"], "min": 1 } }), |_| {}, Code::EmailAddressCount),
        (Policy, json!({}), |r| r.envelope.signer_name = "kubernetes.io/kubelet-serving".into(), Code::KubeletIdentity),
        (
            Policy,
            json!({ "dnsNames": { "from": "Node" } }),
            |r| sans(r).dns_names = names(&["worker-1"]),
            Code::NodeIdentity,
        ),
        (
            Policy,
            json!({ "dnsNames": { "from": "Node" } }),
            |r| ask_as_node(r, &["a.LocalHost"], &[]),
            Code::DnsNameNeverNode,
        ),
        (
            Guardrail,
            json!({ "ipAddresses": { "from": "Node" } }),
            |r| ask_as_node(r, &[], &["fe80::1"]),
            Code::IpAddressNeverNode,
        ),
        (
            Guardrail,
            json!({ "ipAddresses": { "from": "Node" } }),
            |r| ask_as_node(r, &[], &["10.96.0.1"]),
            Code::IpAddressService,
        ),
        (
            Policy,
            json!({ "node": { "maxAgeSeconds": 60 } }),
            |r| {
                ask_as_node(r, &[], &[]);
                r.envelope.created = Some("2026-01-01T00:01:01Z".parse().unwrap());
            },
            Code::NodeTooOld,
        ),
        (Policy, json!({}), |r| r.asks_for_masters = true, Code::SystemMasters),
        (
            Policy,
            json!({ "validations": [{ "name": "none", "expression": "csr.subject.commonName.size() > 99" }] }),
            |_| {},
            Code::ValidationFailed,
        ),
    ]
}

#[test]
fn each_violation_has_its_code_and_is_found_alone() {
    assert_eq!(found(Kind::CSRPolicy, &json!({}), |_| {}), []);
    let mut seen = BTreeSet::new();
    for (kind, rules, change, expected) in cases() {
        assert_eq!(found(kind, &rules, change), [expected], "{kind} {rules}");
        seen.insert(expected);
    }
    assert_eq!(seen, ViolationCode::ALL.iter().copied().collect::<BTreeSet<_>>());
}

/// cert-manager would issue a certificate authority, or one for ten years.
#[test]
fn what_annotations_ask_cert_manager_for_no_policy_permits() {
    const SIGNER: &str = "clusterissuers.cert-manager.io/leaves";
    let policy = json!({
        "apiVersion": crate::api::API_VERSION,
        "metadata": { "name": "leaves" },
        "spec": {
            "match": { "signerNames": ["clusterissuers.cert-manager.io/*"], "requestors": [{ "users": ["amy"] }] },
            "allow": {
                "subject": { "commonName": { "allowed": ["oidc:*"] }, "organizations": { "allowed": ["*"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600, "whenUnset": "Allow" },
                "dnsNames": { "allowed": ["*.dev.example.com"] },
                "ipAddresses": { "allowed": ["10.0.0.0/8"] },
            },
        },
    });
    let settings = Settings { managed_signers: vec![SignerPattern::new(SIGNER).unwrap()], ..Settings::default() };
    let set = PolicySet::compile([&PolicyObject::new(Kind::CSRPolicy, policy)], settings);
    for (annotations, expiration_seconds, refused) in [
        (json!({}), Some(3600), None),
        (json!({ "request-is-ca": "false", "request-duration": "1h0m0s" }), Some(3600), None),
        (json!({ "request-is-ca": "true" }), Some(3600), Some(DecodeCode::CertificateAuthority)),
        (json!({ "request-duration": "87600h" }), Some(3600), Some(DecodeCode::DurationAnnotation)),
        (json!({ "request-duration": "87600h" }), None, Some(DecodeCode::DurationAnnotation)),
    ] {
        let annotations: serde_json::Map<String, Value> = annotations
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (format!("experimental.cert-manager.io/{key}"), value.clone()))
            .collect();
        let object: CsrObject = serde_json::from_value(json!({
            "metadata": { "annotations": annotations },
            "spec": {
                "signerName": SIGNER, "username": "amy", "usages": ["client auth"],
                "request": STANDARD.encode(include_str!("../../../benches/requests/p256.pem")),
                "expirationSeconds": expiration_seconds,
            },
        }))
        .unwrap();
        let review = review(&set, &object.signing_request(), &Facts::default());
        let codes: Vec<ViolationCode> = review.violations.iter().map(|violation| violation.code).collect();
        let decision = if refused.is_some() { Decision::Deny } else { Decision::Approve };
        assert_eq!((review.decision, codes), (decision, refused.map(ViolationCode::Request).into_iter().collect()));
    }
}

#[test]
fn every_violation_is_listed_at_once() {
    let codes = found(Kind::CSRPolicy, &json!({}), |request| {
        subject(request).common_name = Some("eve".into());
        subject(request).organizations = names(&["a", "b"]);
        sans(request).dns_names = names(&["a.b"]);
        request.usages.push(Usage::ServerAuth);
        request.envelope.expiration_seconds = Some(7200);
    });
    assert_eq!(
        codes,
        [
            ViolationCode::CommonNameNotAllowed,
            ViolationCode::OrganizationNotAllowed,
            ViolationCode::OrganizationNotAllowed,
            ViolationCode::UsageNotAllowed,
            ViolationCode::ExpirationTooLong,
            ViolationCode::DnsNameNotAllowed,
        ]
    );
}

#[test]
fn what_is_exactly_at_a_bound_is_within_it() {
    use Kind::{CSRGuardrail as Guardrail, CSRPolicy as Policy};
    type Within = (Kind, Value, fn(&mut SigningRequest));

    let within: [Within; 8] = [
        (Policy, json!({ "expirationSeconds": { "min": 3600, "max": 3600 } }), |_| {}),
        // What a signer of Kubernetes gives where nothing is asked for: a year.
        (Guardrail, json!({ "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" } }), |r| {
            r.envelope.signer_name = "kubernetes.io/kube-apiserver-client".into();
            r.envelope.expiration_seconds = None;
        }),
        (Guardrail, json!({ "keys": { "rsa": { "minBits": 3072 } } }), |r| content(r).key = Key::Rsa { bits: 3072 }),
        (Guardrail, json!({ "keys": { "rsa": { "maxBits": 4096 } } }), |r| content(r).key = Key::Rsa { bits: 4096 }),
        (Policy, json!({ "dnsNames": { "allowed": ["*.b"], "min": 1, "max": 1 } }), |r| {
            sans(r).dns_names = names(&["a.b"]);
        }),
        (Policy, json!({ "dnsNames": { "allowed": ["*.b"], "wildcards": "Allow" } }), |r| {
            sans(r).dns_names = names(&["*.b"]);
        }),
        // A guardrail that says nothing of wildcards, or of what is allowed, leaves them alone.
        (Guardrail, json!({ "dnsNames": { "max": 1 } }), |r| sans(r).dns_names = names(&["*.b"])),
        (Guardrail, json!({ "ipAddresses": { "denied": ["10.0.0.0/8"] } }), |r| {
            sans(r).ip_addresses = vec!["192.0.2.1".parse().unwrap()];
        }),
    ];
    for (kind, rules, change) in within {
        assert_eq!(found(kind, &rules, change), [], "{kind} {rules}");
    }
    let year = json!({ "expirationSeconds": { "max": 31_535_999, "whenUnset": "SignerMaximum" } });
    let codes = found(Guardrail, &year, |r| {
        r.envelope.signer_name = "kubernetes.io/kube-apiserver-client".into();
        r.envelope.expiration_seconds = None;
    });
    assert_eq!(codes, [ViolationCode::ExpirationTooLong]);
}

#[test]
fn an_asterisk_is_a_wildcard_as_the_whole_first_label_and_nowhere_else() {
    for name in ["*", "*.", "*.*.b", "a.*.b", "a*.b"] {
        let codes = found(Kind::CSRGuardrail, &json!({ "dnsNames": { "max": 1 } }), |request| {
            sans(request).dns_names = names(&[name]);
        });
        assert_eq!(codes, [ViolationCode::DnsNameWildcard], "{name}");
    }
    // Where there are no rules for DNS names at all, there is nothing to say of any.
    assert_eq!(
        found(Kind::CSRGuardrail, &json!({ "keys": { "rsa": { "minBits": 2048 } } }), |request| {
            sans(request).dns_names = names(&["a.*.b"]);
        }),
        []
    );
}

#[test]
fn that_nobody_asks_for_itself_is_said_once_and_beside_other_violations() {
    let rules = json!({ "dnsNames": { "from": "Node" }, "ipAddresses": { "from": "Node" } });
    let codes = found(Kind::CSRPolicy, &rules, |request| {
        request.usages.push(Usage::ServerAuth);
        sans(request).dns_names = names(&["worker-1"]);
        sans(request).ip_addresses = vec!["192.0.2.1".parse().unwrap()];
    });
    assert_eq!(codes, [ViolationCode::UsageNotAllowed, ViolationCode::NodeIdentity]);
}

/// OpenSSL and Java take it for a server's.
#[test]
fn server_gated_crypto_is_denied_with_server_auth_and_not_the_other_way_round() {
    let (signing, client) = (Usage::DigitalSignature, Usage::ClientAuth);
    for (denied, usages, is_denied) in [
        ("server auth", vec![signing, Usage::MicrosoftSgc], true),
        ("server auth", vec![signing, client, Usage::NetscapeSgc], true),
        ("microsoft sgc", vec![signing, Usage::ServerAuth], false),
        ("microsoft sgc", vec![signing, Usage::NetscapeSgc], false),
        ("client auth", vec![signing, Usage::MicrosoftSgc], false),
    ] {
        let rules = json!({ "usages": { "denied": [denied] } });
        let codes = found(Kind::CSRGuardrail, &rules, |request| request.usages.clone_from(&usages));
        assert_eq!(codes == [ViolationCode::UsageDenied], is_denied, "{denied} {usages:?} {codes:?}");
        assert_eq!(codes.is_empty(), !is_denied, "{denied} {usages:?} {codes:?}");
    }
}

/// A certificate without extended key usages is good for any purpose (RFC 5280 section 4.2.1.12), and one without key usages is
/// restricted to none (section 4.2.1.3).
#[test]
fn a_request_without_extended_key_usages_asks_for_any_purpose() {
    use Kind::{CSRGuardrail as Guardrail, CSRPolicy as Policy};
    use ViolationCode::{UsageDenied as Denied, UsageMissing as Missing, UsageNotAllowed as NotAllowed};
    let (client, server) = (Usage::ClientAuth, Usage::ServerAuth);
    let (signing, encipherment) = (Usage::DigitalSignature, Usage::KeyEncipherment);
    let keys = ["digital signature", "key encipherment"];
    let and_server = ["server auth", "digital signature", "key encipherment"];
    let cases: [(Kind, Value, &[Usage], &[ViolationCode]); 19] = [
        (Guardrail, json!({ "denied": ["client auth"] }), &[signing, encipherment], &[Denied]),
        (Guardrail, json!({ "denied": ["ocsp signing", "key agreement"] }), &[signing], &[Denied]),
        (Guardrail, json!({ "denied": ["client auth"] }), &[signing, server], &[]),
        (Guardrail, json!({ "denied": ["key agreement"] }), &[signing], &[]),
        (Guardrail, json!({ "allowed": and_server }), &[signing, encipherment], &[NotAllowed]),
        (Guardrail, json!({ "allowed": and_server }), &[signing, server], &[]),
        (Guardrail, json!({ "allowed": keys }), &[signing, encipherment], &[]),
        (Guardrail, json!({ "required": ["server auth"] }), &[signing], &[Missing]),
        (Guardrail, json!({ "required": ["signing"] }), &[signing], &[]),
        (Guardrail, json!({ "denied": ["key encipherment", "key agreement"] }), &[client], &[Denied]),
        (Guardrail, json!({ "denied": ["key encipherment"] }), &[client, signing], &[]),
        (Policy, json!({ "allowed": ["client auth"], "denied": ["key agreement"] }), &[client], &[Denied]),
        (Policy, json!({ "allowed": and_server }), &[signing, encipherment], &[NotAllowed]),
        (Policy, json!({ "allowed": and_server }), &[signing, server], &[]),
        (Policy, json!({ "allowed": keys }), &[signing, encipherment], &[]),
        (Policy, json!({ "allowed": keys }), &[signing, client], &[NotAllowed]),
        (Policy, json!({ "allowed": keys, "denied": ["client auth"] }), &[signing], &[Denied]),
        (Policy, json!({ "allowed": keys, "required": ["server auth"] }), &[signing], &[NotAllowed, Missing]),
        (Policy, json!({ "required": ["signing"] }), &[signing], &[]),
    ];
    for (kind, rules, usages, expected) in cases {
        let codes = found(kind, &json!({ "usages": rules }), |request| request.usages = usages.to_vec());
        assert_eq!(codes, expected, "{kind:?} {rules} {usages:?}");
    }
}
