//! Everything that reads bytes which others chose, as plain functions: the tests drive them for a while, and `fuzz/` for
//! as long as one likes. Each asserts what must hold whatever the bytes are; a panic is a finding.

#[allow(dead_code, unreachable_pub, reason = "the commands need it, and the tests of the library look at the rest")]
#[path = "../../src/cli/located.rs"]
mod located;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::escape::{is_visible, printable};
use countersign::node::{Node, Nodes};
use countersign::policy::{
    Field, Kind, Pattern, PolicyObject, PolicySet, ServedPolicy, Settings, SignerPattern, WidePattern, hazards,
};
use countersign::request::{CsrObject, Envelope, Pkcs10, SigningRequest, Usage};
use countersign::review::{Decision, Facts, review};
use serde_json::{Value, json};

/// A function that reads foreign bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Target); 8] = [
    ("pem", pem),
    ("der", der),
    ("object", object),
    ("policy", policy),
    ("manifest", manifest),
    ("pattern", pattern),
    ("expression", expression),
    ("node", node),
];

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

fn envelope() -> Envelope {
    Envelope {
        name: "x".to_owned(),
        signer_name: SIGNER.to_owned(),
        username: "system:node:worker-1".to_owned(),
        groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
        usages: Usage::ALL.iter().filter(|usage| !usage.never_allowed()).map(|usage| usage.name().to_owned()).collect(),
        expiration_seconds: Some(3600),
        ..Envelope::default()
    }
}

fn settings() -> Settings {
    Settings { managed_signers: vec![SignerPattern::new("kubernetes.io/*").unwrap()], ..Settings::default() }
}

/// A policy that permits all that one may, with a condition and a validation.
static PERMISSIVE: LazyLock<PolicySet> = LazyLock::new(|| {
    let names = json!(["**", "system:**", "kubeadm:**"]);
    let usages: Vec<&str> =
        Usage::ALL.iter().filter(|usage| !usage.never_allowed()).map(|usage| usage.name()).collect();
    let policy = json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "permissive" },
        "spec": {
            "match": {
                "signerNames": ["kubernetes.io/*"],
                "requestors": [{ "users": ["*"] }],
                "conditions": [{ "name": "named", "expression": "requestor.username != ''" }],
            },
            "allow": {
                "subject": {
                    "commonName": { "allowed": names, "absent": "Allow" },
                    "organizations": { "allowed": names },
                    "organizationalUnits": { "allowed": names },
                },
                "usages": { "allowed": usages },
                "expirationSeconds": { "max": 2_592_000, "whenUnset": "Allow" },
                "keys": { "algorithms": ["RSA", "ECDSA", "Ed25519"] },
                "dnsNames": { "allowed": ["**"], "wildcards": "Allow" },
                "ipAddresses": { "allowed": ["0.0.0.0/0", "::/0"] },
                "uris": { "allowed": ["**"] },
                "emailAddresses": { "allowed": ["**"] },
                "validations": [{ "name": "few", "expression": "csr.dnsNames.size() < 1000", "message": "too many" }],
            },
        },
    });
    let set = PolicySet::compile([&PolicyObject::new(Kind::CSRPolicy, policy)], settings());
    assert!(set.policies()[0].is_ready(), "{:?}", set.policies()[0].problems());
    set
});

/// Reviews `request`, and checks what holds of every review.
fn reviewed(set: &PolicySet, request: &SigningRequest) {
    let review = review(set, request, &Facts::default());
    assert!(review.reason.chars().all(is_visible), "{:?}", review.reason);
    assert!(review.violations.iter().all(|violation| violation.message.chars().all(is_visible)), "{review:?}");
    if review.decision == Decision::Approve {
        assert!(!request.asks_for_masters && request.content.is_ok());
    }
    if let Err(error) = &request.content {
        assert!(error.message.chars().all(is_visible) && error.found.len() <= 256, "{error:?}");
    }
}

/// `spec.request`, PEM as it should be.
pub fn pem(bytes: &[u8]) {
    let request = SigningRequest::decode(envelope(), bytes);
    if let Ok(pkcs10) = &request.content {
        assert_eq!(Pkcs10::from_pem(bytes, &request.usages).as_ref(), Ok(pkcs10));
    }
    reviewed(&PERMISSIVE, &request);
}

/// The DER bytes in a PEM block.
pub fn der(bytes: &[u8]) {
    if let Ok(pkcs10) = Pkcs10::from_der(bytes, &Usage::ALL) {
        assert!(pkcs10.subject.common_name.as_ref().is_none_or(|name| !name.is_empty()));
        assert!(pkcs10.subject.organizations.iter().all(|name| !name.is_empty()));
    }
    let digits = STANDARD.encode(bytes);
    pem(format!("-----BEGIN CERTIFICATE REQUEST-----\n{digits}\n-----END CERTIFICATE REQUEST-----\n").as_bytes());
}

/// A `CertificateSigningRequest` object as the API server sends it.
pub fn object(bytes: &[u8]) {
    if let Ok(object) = serde_json::from_slice::<CsrObject>(bytes) {
        let request = object.signing_request();
        reviewed(&PERMISSIVE, &request);
        let _ = (object.settled(), object.created(), request.envelope.service_account());
    }
}

/// A policy or guardrail as the API server sends it.
pub fn policy(bytes: &[u8]) {
    for kind in Kind::ALL {
        if let Ok(unread) = serde_json::from_slice(bytes) {
            compiled(&ServedPolicy::new(kind, unread).object);
        }
    }
}

/// Compiles it, and reviews a request under it.
fn compiled(object: &PolicyObject) {
    let set = PolicySet::compile([object], settings());
    for object in set.policies().iter().chain(set.guardrails()) {
        assert_eq!(object.is_ready(), object.problems().is_empty());
        let _ = hazards(&set, object);
    }
    reviewed(&set, &SigningRequest::decode(envelope(), REQUEST.as_bytes()));
}

/// YAML or JSON in a file.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(documents) = documents(text) {
        for document in documents {
            for kind in Kind::ALL {
                compiled(&PolicyObject::new(kind, document.clone()));
            }
        }
    }
}

/// The documents of `text`, as the commands read files.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents = located::documents(text).map_err(|(_, message)| message)?;
    Ok(documents.iter().map(located::Located::value).collect())
}

/// The longest value that a pattern is compared with here, in bytes: an input is compared some twenty times, which a
/// request of [`MAX_REQUEST_BYTES`](countersign::request::MAX_REQUEST_BYTES) is not.
const LONGEST_VALUE: usize = 4096;

/// A pattern as long as the schema lets it be, and after a line end a value.
pub fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_VALUE)]);
    let (source, value) = text.split_once('\n').unwrap_or((&text, &text));
    let source = source.char_indices().nth(256).map_or(source, |(end, _)| &source[..end]);
    for field in [Field::Identity, Field::DnsName, Field::Uri, Field::EmailAddress] {
        if let Ok(pattern) = Pattern::new(source, field) {
            let matches = pattern.matches(value, false);
            assert!(!matches || pattern.matches(value, true), "{source:?} {value:?}");
            // What a pattern permits, the same pattern forbids.
            if let Ok(wide) = WidePattern::new(source, field) {
                assert!(!matches || wide.hits(value), "{source:?} permits {value:?} and does not hit it");
            }
        }
        let _ = WidePattern::new(source, field).map(|pattern| pattern.matches(value));
    }
    let _ = SignerPattern::new(source);
    assert!(printable(value).chars().all(is_visible));
}

/// An expression in CEL.
pub fn expression(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let policy = json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "x" },
        "spec": {
            "match": {
                "signerNames": [SIGNER],
                "requestors": [{ "users": ["*"] }],
                "conditions": [{ "name": "x", "expression": source }],
            },
            "allow": {
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
                "validations": [{ "name": "x", "expression": source, "message": "x" }],
            },
        },
    });
    let set = PolicySet::compile([&PolicyObject::new(Kind::CSRPolicy, policy)], settings());
    if set.policies()[0].is_ready() {
        reviewed(&set, &SigningRequest::decode(envelope(), REQUEST.as_bytes()));
        reviewed(&set, &CROWD);
    }
}

/// A request of somebody with many groups, much in extra and a long name: what makes an expression dear.
static CROWD: LazyLock<SigningRequest> = LazyLock::new(|| {
    let envelope = Envelope {
        username: (0..60_000_u32).map(|index| if index * index % 7 < 3 { 'a' } else { 'b' }).collect(),
        groups: (0..300).map(|index| format!("group-{index:08}")).collect(),
        extra: [("r".to_owned(), (0..3_000).map(|index| format!("value-{index}")).collect())].into(),
        ..envelope()
    };
    SigningRequest::decode(envelope, REQUEST.as_bytes())
});

/// A `Node` object as the API server sends it.
pub fn node(bytes: &[u8]) {
    if let Ok(node) = serde_json::from_slice::<Node>(bytes) {
        let (hosts, carried): (Vec<_>, Vec<_>) = (node.claims().collect(), node.hosts().collect());
        assert!(carried.iter().all(|host| hosts.contains(host)));
        let name = node.name.clone();
        let mut nodes = Nodes::default();
        nodes.insert(node);
        assert!(hosts.iter().all(|host| nodes.claimants(host).any(|carrier| carrier == name)));
        let request = SigningRequest::decode(envelope(), REQUEST.as_bytes());
        let _ = review(&SERVING, &request, &Facts { nodes: Some(&nodes), ..Facts::default() });
        nodes.remove(&name);
        assert!(nodes.is_empty() && hosts.iter().all(|host| nodes.claimants(host).count() == 0));
    }
}

/// A policy that looks at Nodes.
static SERVING: LazyLock<PolicySet> = LazyLock::new(|| {
    let policy = json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "serving" },
        "spec": {
            "match": { "signerNames": ["kubernetes.io/*"], "requestors": [{ "users": ["system:node:*"] }] },
            "allow": {
                "subject": { "commonName": { "from": "Requestor" } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
                "dnsNames": { "from": "Node" },
                "ipAddresses": { "from": "Node" },
            },
        },
    });
    let set = PolicySet::compile([&PolicyObject::new(Kind::CSRPolicy, policy)], settings());
    assert!(set.policies()[0].is_ready(), "{:?}", set.policies()[0].problems());
    set
});

/// A request that decodes.
pub const REQUEST: &str = include_str!("request.pem");
