//! How long a review takes depends on the policies that concern the request, and on no others.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Decision, Facts, review};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use crate::request::{Envelope, Key, Pkcs10, Sans, SigningRequest, Subject, Usage};

const SIGNER: &str = "example.com/a";
/// How many reviews are timed at a time.
const REVIEWS: usize = 50;

/// `others` policies of which each is about another signer, another group or another user, and one that permits.
fn policies(others: usize) -> PolicySet {
    let object = |kind, name: &str, spec: Value| {
        PolicyObject::new(
            kind,
            json!({ "apiVersion": "countersign.dev/v1alpha1", "metadata": { "name": name }, "spec": spec }),
        )
    };
    let policy = |name: &str, signer: &str, requestor: Value| {
        let spec = json!({
            "match": { "signerNames": [signer], "requestors": [requestor] },
            "allow": {
                "subject": { "commonName": { "allowed": ["amy"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3_600 },
                "validations": [{ "name": "short", "expression": "csr.subject.commonName.size() <= 32" }],
            },
        });
        object(Kind::CSRPolicy, name, spec)
    };
    let other = |index: usize| match index % 3 {
        0 => policy(&format!("{index}"), &format!("example.org/{index}"), json!({ "groups": ["team"] })),
        1 => policy(&format!("{index}"), SIGNER, json!({ "groups": [format!("team-{index}")] })),
        _ => policy(&format!("{index}"), SIGNER, json!({ "users": [format!("user-{index}")] })),
    };
    let guardrail = |index: usize| {
        let spec = json!({
            "match": { "signerNames": [format!("example.org/{index}")] },
            "limits": { "subject": { "organizations": { "max": 0 } } },
        });
        object(Kind::CSRGuardrail, &format!("{index}"), spec)
    };
    let concerned = policy("concerned", SIGNER, json!({ "groups": ["team"] }));
    let objects: Vec<PolicyObject> =
        (0..others).map(other).chain((0..others / 10).map(guardrail)).chain([concerned]).collect();
    PolicySet::compile(&objects, Settings { managed_signers: vec![SignerPattern::All], ..Settings::default() })
}

fn request() -> SigningRequest {
    SigningRequest {
        envelope: Envelope {
            signer_name: SIGNER.to_owned(),
            username: "portal".to_owned(),
            groups: vec!["team".to_owned()],
            usages: vec!["client auth".to_owned()],
            expiration_seconds: Some(3_600),
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

/// The least time that these reviews take of many tries: whatever else the machine does only adds to it.
fn least(set: &PolicySet) -> Duration {
    let request = request();
    assert_eq!(review(set, &request, &Facts::default()).decision, Decision::Approve);
    let once = |_| {
        let began = Instant::now();
        for _ in 0..REVIEWS {
            black_box(review(black_box(set), black_box(&request), &Facts::default()));
        }
        began.elapsed()
    };
    (0..20).map(once).min().unwrap()
}

#[test]
fn policies_that_do_not_concern_a_request_cost_it_nothing() {
    let (alone, among) = (policies(0), policies(3_000));
    let (alone, among) = (least(&alone), least(&among));
    assert!(among < alone * 3, "{alone:?} alone, {among:?} among 3,300 others");
}
