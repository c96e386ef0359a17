//! `maxPerHour`: what counts, for whom and for how long.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Approvals, Decision, Facts, Holder, Review, ViolationCode, WINDOW, review};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use crate::request::{CsrObject, Envelope, Key, Pkcs10, Sans, SigningRequest, Subject, Usage};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// What node `name` asks for under `signer`, for itself.
fn request(signer: &str, name: &str) -> SigningRequest {
    SigningRequest {
        envelope: Envelope {
            uid: "itself".to_owned(),
            signer_name: signer.to_owned(),
            username: format!("system:node:{name}"),
            groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
            created: Some(now()),
            ..Envelope::default()
        },
        content: Ok(Pkcs10 {
            subject: Subject { common_name: Some(format!("system:node:{name}")), ..Subject::default() },
            sans: Sans::default(),
            key: Key::Ed25519,
            sha256: [0; 32],
        }),
        asks_for_masters: false,
        usages: vec![Usage::ServerAuth],
    }
}

/// The same from a bootstrap token.
fn bootstrap(name: &str) -> SigningRequest {
    let mut request = request(CLIENT, name);
    request.envelope.username = "system:bootstrap:abcdef".to_owned();
    request.envelope.groups = vec!["system:bootstrappers".to_owned(), "system:authenticated".to_owned()];
    request
}

fn policy(node: &Value) -> PolicyObject {
    let spec = json!({
        "match": { "signerNames": [SERVING, CLIENT], "requestors": [{ "groups": ["system:authenticated"] }] },
        "allow": {
            "subject": { "commonName": { "allowed": ["system:node:*"] } },
            "usages": { "allowed": ["server auth"] },
            "expirationSeconds": { "max": 3600, "whenUnset": "Allow" },
            "node": node,
        },
    });
    object(Kind::CSRPolicy, &spec)
}

fn object(kind: Kind, spec: &Value) -> PolicyObject {
    PolicyObject::new(
        kind,
        json!({ "apiVersion": crate::api::API_VERSION, "metadata": { "name": kind.plural() }, "spec": spec }),
    )
}

fn set(objects: &[PolicyObject]) -> PolicySet {
    let set =
        PolicySet::compile(objects, Settings { managed_signers: vec![SignerPattern::All], ..Settings::default() });
    for compiled in set.policies().iter().chain(set.guardrails()) {
        assert!(compiled.is_ready(), "{:?}", compiled.problems());
    }
    set
}

fn verdict(objects: &[PolicyObject], request: &SigningRequest, approvals: Option<&Approvals>) -> Review {
    review(&set(objects), request, &Facts { now: Some(now()), approvals, ..Facts::default() })
}

/// Approved for node w under the serving signer, each so many seconds ago.
fn approved(seconds: &[i64]) -> Approvals {
    let mut approvals = Approvals::default();
    for (index, seconds) in seconds.iter().enumerate() {
        approvals.insert(Holder::new(SERVING, "w"), &index.to_string(), Some(ago(*seconds)));
    }
    approvals
}

#[track_caller]
fn waits(review: &Review, why: &str) {
    assert_eq!((review.decision, review.violations.len()), (Decision::NoOpinion, 0), "{}", review.reason);
    assert!(review.reason.contains(why), "{why} is not in {}", review.reason);
}

#[test]
fn beyond_the_rate_a_request_waits_until_the_hour_of_an_earlier_one_is_over() {
    let two = [policy(&json!({ "maxPerHour": 2 }))];
    for seconds in [vec![], vec![10], vec![10, 3600], vec![10, 3601, 9000]] {
        let review = verdict(&two, &request(SERVING, "w"), Some(&approved(&seconds)));
        assert_eq!(review.decision, Decision::Approve, "{seconds:?}: {}", review.reason);
        assert!(review.node.is_none(), "it rests on no Node");
    }
    for (seconds, number, from) in [
        // In whatever order they come; the next one when the second last is an hour old.
        (vec![10, 3599], "2 certificates of kubernetes.io/kubelet-serving were", "2026-01-01T12:00:01Z"),
        (vec![3599, 10], "2 certificates of kubernetes.io/kubelet-serving were", "2026-01-01T12:00:01Z"),
        (vec![60, 3000, 600], "3 certificates of kubernetes.io/kubelet-serving were", "2026-01-01T12:50:00Z"),
        // Clocks differ: what was approved later than now counts all the same.
        (vec![-100, -200], "2 certificates of kubernetes.io/kubelet-serving were", "2026-01-01T13:01:40Z"),
    ] {
        let review = verdict(&two, &request(SERVING, "w"), Some(&approved(&seconds)));
        waits(
            &review,
            &format!(
                "{number} approved for node w within an hour, and CSRPolicy csrpolicies permits at most 2; the next \
                 one from {from}"
            ),
        );
        // It is so then, and not a moment earlier.
        let from: Timestamp = from.parse().unwrap();
        let at = |now: Timestamp| {
            let approvals = approved(&seconds);
            let facts = Facts { now: Some(now), approvals: Some(&approvals), ..Facts::default() };
            review_of(&two, &facts).decision
        };
        assert_eq!(at(from - SignedDuration::from_millis(1)), Decision::NoOpinion, "{seconds:?}");
        assert_eq!(at(from), Decision::Approve, "{seconds:?}");
    }
    let one = [policy(&json!({ "maxPerHour": 1 }))];
    waits(
        &verdict(&one, &request(SERVING, "w"), Some(&approved(&[1]))),
        "1 certificate of kubernetes.io/kubelet-serving was",
    );
}

fn review_of(objects: &[PolicyObject], facts: &Facts<'_>) -> Review {
    review(&set(objects), &request(SERVING, "w"), facts)
}

#[test]
fn each_node_and_each_signer_has_a_count_of_its_own() {
    let one = [policy(&json!({ "maxPerHour": 1 }))];
    let approvals = approved(&[10]);
    let decision = |request: &SigningRequest| verdict(&one, request, Some(&approvals)).decision;
    assert_eq!(decision(&request(SERVING, "w")), Decision::NoOpinion);
    assert_eq!(decision(&request(SERVING, "w2")), Decision::Approve);
    assert_eq!(decision(&request(CLIENT, "w")), Decision::Approve);
    // A bootstrap token has no name: the node is the one that it asks to be, together with that node itself.
    assert_eq!(decision(&bootstrap("w")), Decision::Approve);
    let mut approvals = approvals.clone();
    approvals.insert(Holder::of(&bootstrap("w")).unwrap(), "joined", Some(ago(10)));
    let decision = |request: &SigningRequest| verdict(&one, request, Some(&approvals)).decision;
    assert_eq!(decision(&bootstrap("w")), Decision::NoOpinion);
    assert_eq!(decision(&request(CLIENT, "w")), Decision::NoOpinion);
    assert_eq!(decision(&bootstrap("w2")), Decision::Approve);
}

#[test]
fn what_is_not_known_is_not_taken_for_none() {
    let one = [policy(&json!({ "maxPerHour": 1 }))];
    waits(&verdict(&one, &request(SERVING, "w"), None), "were approved for node w is not known here");
    // An approval that nothing says the time of counts, and nothing says until when.
    let mut approvals = Approvals::default();
    approvals.insert(Holder::new(SERVING, "w"), "undated", None);
    let undated = verdict(&one, &request(SERVING, "w"), Some(&approvals));
    waits(&undated, "permits at most 1");
    assert!(!undated.reason.contains("the next one"), "{}", undated.reason);
    // Without a present time the hour ends when the request was filed; without that too, all count.
    let approvals = approved(&[7200]);
    let mut request = request(SERVING, "w");
    let at = |request: &SigningRequest| {
        review(&set(&one), request, &Facts { approvals: Some(&approvals), ..Facts::default() }).decision
    };
    assert_eq!(at(&request), Decision::Approve);
    request.envelope.created = Some(ago(7000));
    assert_eq!(at(&request), Decision::NoOpinion);
    request.envelope.created = None;
    assert_eq!(at(&request), Decision::NoOpinion);
}

#[test]
fn a_request_is_not_counted_against_itself() {
    let mut approvals = Approvals::default();
    approvals.insert(Holder::new(SERVING, "w"), "itself", Some(ago(1)));
    let one = [policy(&json!({ "maxPerHour": 1 }))];
    assert_eq!(verdict(&one, &request(SERVING, "w"), Some(&approvals)).decision, Decision::Approve);
}

#[test]
fn a_guardrail_holds_every_policy_to_the_rate_and_says_nothing_of_others() {
    let guardrail = object(Kind::CSRGuardrail, &json!({ "match": {}, "limits": { "node": { "maxPerHour": 1 } } }));
    let free = policy(&json!({ "maxPerHour": 100 }));
    let objects = [guardrail, free];
    assert_eq!(verdict(&objects, &request(SERVING, "w2"), Some(&approved(&[1]))).decision, Decision::Approve);
    let review = verdict(&objects, &request(SERVING, "w"), Some(&approved(&[1])));
    waits(&review, "CSRGuardrail csrguardrails permits at most 1");
    let mut user = bootstrap("w");
    user.content.as_mut().unwrap().subject.common_name = Some("amy".to_owned());
    let review = verdict(&objects[..1], &user, None);
    assert!(review.reason.contains("no policy speaks"), "{}", review.reason);
}

#[test]
fn a_violation_stands_whatever_the_rate_and_who_asks_for_another_is_denied() {
    let one = [policy(&json!({ "maxPerHour": 1 }))];
    let mut other = request(SERVING, "w");
    other.content.as_mut().unwrap().subject.common_name = Some("system:node:w2".to_owned());
    for approvals in [None, Some(&approved(&[1]))] {
        let review = verdict(&one, &other, approvals);
        assert_eq!(review.decision, Decision::Deny);
        assert_eq!(review.violations[0].code, ViolationCode::KubeletIdentity);
    }
}

#[test]
fn a_set_says_what_it_counts_and_counting_needs_no_nodes() {
    let counted = set(&[policy(&json!({ "maxPerHour": 1 }))]);
    assert!(!counted.needs_nodes());
    assert!(counted.counts_approvals(SERVING) && !counted.counts_approvals("example.com/x"));
    assert_eq!(counted.counted_signers(), [SERVING, CLIENT].map(|signer| SignerPattern::new(signer).unwrap()));
    let none = set(&[policy(&json!({ "existence": "Present" }))]);
    assert!(none.counted_signers().is_empty() && none.needs_nodes());
    let limits = json!({ "match": {}, "limits": { "node": { "maxPerHour": 1 } } });
    assert!(set(&[object(Kind::CSRGuardrail, &limits)]).counts_approvals("example.com/x"));
    let both = set(&[policy(&json!({ "maxPerHour": 1, "existence": "Absent" }))]);
    assert!(both.needs_nodes() && both.counts_approvals(SERVING));
}

/// An object with this condition, filed by this user.
fn csr(uid: &str, username: &str, condition: &Value) -> CsrObject {
    serde_json::from_value(json!({
        "metadata": { "name": uid, "uid": uid, "creationTimestamp": "2026-01-01T11:00:00Z" },
        "spec": { "signerName": SERVING, "username": username, "groups": ["system:nodes"] },
        "status": { "conditions": [condition] },
    }))
    .unwrap()
}

#[test]
fn what_counts_is_every_approved_request_of_the_node_from_the_time_of_its_approval() {
    let at = |field: &str, text: &str| json!({ "type": "Approved", "status": "True", field: text });
    let objects = [
        csr("a", "system:node:w", &at("lastTransitionTime", "2026-01-01T11:30:00Z")),
        // The first of the two is when it was approved.
        csr(
            "b",
            "system:node:w",
            &json!({ "type": "Approved", "lastTransitionTime": "2026-01-01T11:40:00Z",
                     "lastUpdateTime": "2026-01-01T09:00:00Z" }),
        ),
        csr("c", "system:node:w", &at("lastUpdateTime", "2026-01-01T11:50:00Z")),
        csr("undated", "system:node:w", &at("lastTransitionTime", "yesterday")),
        csr("old", "system:node:w", &at("lastTransitionTime", "2026-01-01T10:59:59Z")),
        csr("denied", "system:node:w", &json!({ "type": "Denied", "lastTransitionTime": "2026-01-01T11:30:00Z" })),
        csr("other", "system:node:w2", &at("lastTransitionTime", "2026-01-01T11:30:00Z")),
        csr("nobody", "amy", &at("lastTransitionTime", "2026-01-01T11:30:00Z")),
    ];
    let mut approvals = Approvals::among(&objects, |signer| signer == SERVING);
    assert_eq!(approvals.len(), 6);
    assert!(!approvals.is_empty());
    assert!(Approvals::among(&objects, |_| false).is_empty());
    let holder = Holder::new(SERVING, "w");
    let recent = approvals.recent(holder, Some(now()), "");
    assert_eq!(recent.len(), 4);
    assert_eq!(recent.falls_below(4), Some(ago(30 * 60) + WINDOW));
    assert_eq!(recent.falls_below(2), Some(ago(10 * 60) + WINDOW));
    assert_eq!(recent.falls_below(1), None);
    assert_eq!(recent.falls_below(5), None);
    // What is too old goes, and it is said whose that was; what has no time stays.
    assert_eq!(approvals.expire(now()), [holder].into());
    assert_eq!(approvals.expire(now() + WINDOW), [holder, Holder::new(SERVING, "w2")].into());
    assert_eq!(approvals.len(), 1);
    assert!(approvals.has(holder, "undated") && !approvals.has(holder, "a"));
    assert!(!approvals.has(Holder::new(SERVING, "w2"), "undated"));
    assert!(approvals.remove(holder, "undated") && !approvals.remove(holder, "undated") && approvals.is_empty());
}

/// Whoever may update a request could otherwise take what was approved out of the count.
#[test]
fn what_annotations_ask_for_changes_nothing_about_whose_certificate_it_is() {
    let pem = include_bytes!("../../../tests/corpus/clients/kubelet-client.csr");
    let holder = |annotations: Value| {
        let object: CsrObject = serde_json::from_value(json!({
            "metadata": { "name": "a", "annotations": annotations },
            "spec": {
                "request": STANDARD.encode(pem), "signerName": CLIENT, "usages": ["client auth"],
                "username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers"],
            },
        }))
        .unwrap();
        Holder::of_object(&object)
    };
    let plain = holder(json!({}));
    assert!(plain.is_some());
    assert_eq!(holder(json!({ "experimental.cert-manager.io/request-duration": "1h" })), plain);
    assert_eq!(holder(json!({ "experimental.cert-manager.io/request-is-ca": "true" })), plain);
}
