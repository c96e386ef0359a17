//! A request as full as one decodes, under a hundred policies that all speak about it and permit nothing of it.

use std::sync::LazyLock;

use countersign::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use countersign::request::{Envelope, MAX_ORGANIZATIONS, MAX_SANS, Sans, SigningRequest};
use countersign::review::{Decision, Facts, Violation, review};
use serde_json::{Value, json};

const SIGNER: &str = "example.com/a";
const POLICIES: usize = 100;
const UNITS: usize = 100;

static SET: LazyLock<PolicySet> = LazyLock::new(|| {
    let policy = |index: usize| {
        // Long ones, of which messages repeat the first ten.
        let list = |begin: &str, first: Option<&str>| -> Value {
            let pattern = |number: usize| format!("{begin}{index:03}-{number:02}-{}", "y".repeat(210));
            first.map(str::to_owned).into_iter().chain((0..12).map(pattern)).collect()
        };
        let rules =
            |begin: &str, denied: &str| json!({ "allowed": list(begin, None), "denied": list("d", Some(denied)) });
        let spec = json!({
            "match": { "signerNames": [SIGNER], "requestors": [{ "users": ["*"] }] },
            "allow": {
                "subject": { "organizations": rules("o", "o*"), "organizationalUnits": rules("u", "u*") },
                "uris": { "allowed": list("spiffe://example.com/", None), "denied": list("d:", Some("spiffe:*")) },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
            },
        });
        let metadata = json!({ "name": format!("team-{index}") });
        PolicyObject::new(
            Kind::CSRPolicy,
            json!({ "apiVersion": "countersign.dev/v1alpha1", "metadata": metadata, "spec": spec }),
        )
    };
    let objects: Vec<PolicyObject> = (0..POLICIES).map(policy).collect();
    let set =
        PolicySet::compile(&objects, Settings { managed_signers: vec![SignerPattern::All], ..Settings::default() });
    assert!(set.policies().iter().all(|policy| policy.is_ready()), "{:?}", set.policies()[0].problems());
    set
});

static REQUEST: LazyLock<SigningRequest> = LazyLock::new(|| {
    let envelope = Envelope {
        signer_name: SIGNER.to_owned(),
        username: "amy".to_owned(),
        usages: vec!["client auth".to_owned()],
        expiration_seconds: Some(3600),
        ..Envelope::default()
    };
    let mut request = SigningRequest::decode(envelope, super::targets::REQUEST.as_bytes());
    let content = request.content.as_mut().unwrap();
    let filled = |begin: &str, count: usize| (0..count).map(|index| format!("{begin}{index:0>120}")).collect();
    content.subject.common_name = None;
    content.subject.organizations = filled("o", MAX_ORGANIZATIONS);
    content.subject.organizational_units = filled("u", UNITS);
    content.sans = Sans::default();
    content.sans.uris = filled("spiffe://example.org/", MAX_SANS);
    request
});

/// Reviews it; there is no input.
pub fn full(_: &[u8]) {
    let review = review(&SET, &REQUEST, &Facts::default());
    assert_eq!(review.decision, Decision::Deny);
    let number: usize = review.violations.iter().map(Violation::number).sum();
    assert_eq!(number, POLICIES * 2 * (MAX_ORGANIZATIONS + UNITS + MAX_SANS));
}
