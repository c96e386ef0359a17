//! Who asks: which requestors a policy speaks about, and whose names they may ask for; and what must be so before anything
//! is approved.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{Decision, Facts, ReasonCode, Review, Says, ViolationCode, explain, review};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use crate::request::{Envelope, Key, Pkcs10, Sans, SigningRequest, Subject, Usage};

const SIGNER: &str = "example.com/a";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// What `username`, in `groups`, asks for: a certificate for `common_name`.
fn request(signer: &str, username: &str, groups: &[&str], common_name: &str) -> SigningRequest {
    SigningRequest {
        envelope: Envelope {
            signer_name: signer.to_owned(),
            username: username.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            expiration_seconds: Some(600),
            ..Envelope::default()
        },
        content: Ok(Pkcs10 {
            subject: Subject { common_name: Some(common_name.to_owned()), ..Subject::default() },
            sans: Sans::default(),
            key: Key::Ed25519,
            sha256: [0; 32],
        }),
        asks_for_masters: false,
        usages: vec![Usage::ClientAuth],
    }
}

/// A policy that speaks about these requestors and permits this CN.
fn policy(requestors: &Value, common_name: &Value) -> PolicyObject {
    object(
        Kind::CSRPolicy,
        &json!({
            "match": { "signerNames": [SIGNER, CLIENT, SERVING], "requestors": requestors },
            "allow": {
                "subject": { "commonName": common_name },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 600 },
            },
        }),
    )
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

fn verdict(objects: &[PolicyObject], request: &SigningRequest) -> Review {
    review(&set(objects), request, &Facts::default())
}

fn codes(review: &Review) -> Vec<ViolationCode> {
    review.violations.iter().map(|violation| violation.code).collect()
}

#[test]
fn only_a_bootstrap_token_asks_for_a_node_that_it_is_not_and_only_for_a_client_certificate() {
    let any = [policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["system:node:*"] }))];
    let (token, bootstrappers) = ("system:bootstrap:abcdef", "system:bootstrappers");
    let approved = verdict(&any, &request(CLIENT, token, &["g", bootstrappers], "system:node:w"));
    assert_eq!(approved.decision, Decision::Approve, "{}", approved.reason);
    for (signer, username, groups) in [
        (SERVING, token, vec!["g", bootstrappers]),
        (CLIENT, token, vec!["g"]),
        (CLIENT, "amy", vec!["g", bootstrappers]),
        (CLIENT, "amy", vec!["g"]),
        (CLIENT, "system:node:w2", vec!["g", "system:nodes", bootstrappers]),
        (SERVING, "system:node:w", vec!["g"]),
    ] {
        let denied = verdict(&any, &request(signer, username, &groups, "system:node:w"));
        assert_eq!(
            (denied.decision, codes(&denied)),
            (Decision::Deny, vec![ViolationCode::KubeletIdentity]),
            "{signer} {username} {groups:?}"
        );
    }
}

#[test]
fn of_reserved_names_a_requestor_has_only_that_of_a_node_for_its_own() {
    let own = [policy(&json!([{ "groups": ["g"] }]), &json!({ "from": "Requestor" }))];
    for name in ["amy", "system:node:w"] {
        assert_eq!(verdict(&own, &request(SIGNER, name, &["g"], name)).decision, Decision::Approve, "{name}");
    }
    for name in ["system:serviceaccount:n:a", "system:admin", "system:nodes", "System:node:w", "kubeadm:x"] {
        let denied = verdict(&own, &request(SIGNER, name, &["g"], name));
        assert_eq!(codes(&denied), [ViolationCode::CommonNameReserved], "{name}");
    }
}

#[test]
fn a_service_account_is_one_by_its_namespace_its_name_and_its_group() {
    let robots = [policy(&json!([{ "serviceAccounts": ["n/a"] }]), &json!({ "allowed": ["x"] }))];
    let any_name = [policy(&json!([{ "serviceAccounts": ["n/*"] }]), &json!({ "allowed": ["x"] }))];
    let decision = |objects: &[PolicyObject], username: &str, group: &str| {
        verdict(objects, &request(SIGNER, username, &[group], "x")).decision
    };
    let (account, group) = ("system:serviceaccount:n:a", "system:serviceaccounts:n");
    assert_eq!(decision(&robots, account, group), Decision::Approve);
    assert_eq!(decision(&any_name, account, group), Decision::Approve);
    for (username, group) in [
        (account, "system:serviceaccounts"),
        (account, "system:serviceaccounts:m"),
        ("system:serviceaccount:m:a", "system:serviceaccounts:m"),
        ("a", group),
    ] {
        assert_eq!(decision(&robots, username, group), Decision::NoOpinion, "{username} {group}");
        assert_eq!(decision(&any_name, username, group), Decision::NoOpinion, "{username} {group}");
    }
    assert_eq!(decision(&robots, "system:serviceaccount:n:b", group), Decision::NoOpinion);
}

#[test]
fn a_client_certificate_is_told_by_its_credential_and_what_does_not_say_is_unknown() {
    let requestors = json!([{ "groups": ["g"], "credential": "NotClientCertificate" }]);
    let not_renewed = [policy(&requestors, &json!({ "allowed": ["x"] }))];
    let said = |ids: Option<&[&str]>| {
        let mut request = request(SIGNER, "amy", &["g"], "x");
        if let Some(ids) = ids {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            request.envelope.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), ids);
        }
        let review = verdict(&not_renewed, &request);
        (review.decision, review.reason)
    };
    assert_eq!(said(Some(&["JTI=1"])).0, Decision::Approve);
    for ids in [&["X509SHA256=1"][..], &["JTI=1", "X509SHA256=1"]] {
        let (decision, reason) = said(Some(ids));
        assert_eq!(decision, Decision::NoOpinion);
        assert!(reason.starts_with("no policy speaks"), "{reason}");
    }
    for ids in [None, Some(&[][..])] {
        let (decision, reason) = said(ids);
        assert_eq!(decision, Decision::NoOpinion);
        assert!(reason.contains("does not say which credential"), "{reason}");
    }
}

#[test]
fn an_explanation_names_the_part_of_the_match_that_does_not_hold() {
    let matching = json!({
        "signerNames": [SIGNER],
        "requestors": [{ "groups": ["g"] }],
        "exclude": { "requestors": [{ "users": ["eve"] }] },
        "conditions": [{ "name": "short", "expression": "requestor.username.size() < 6" }],
    });
    let mut object = policy(&json!([]), &json!({ "allowed": ["x"] }));
    object.spec.as_mut().unwrap()["match"] = matching;
    let set = set(&[object]);
    let says = |signer: &str, username: &str, group: &str, common_name: &str| {
        let request = request(signer, username, &[group], common_name);
        let mut all = explain(&set, &request, &Facts::default());
        assert_eq!(all.len(), 1);
        let one = all.remove(0);
        assert_eq!(&one.object, &set.policies()[0].object);
        one.says
    };
    let part = |part: &str| Says::NoMatch(part.to_owned());
    assert_eq!(says(CLIENT, "amy", "g", "x"), part("signerNames"));
    assert_eq!(says(SIGNER, "amy", "h", "x"), part("requestors"));
    assert_eq!(says(SIGNER, "eve", "g", "x"), part("exclude"));
    assert_eq!(says(SIGNER, "somebody", "g", "x"), part("conditions (short: requestor.username.size() < 6)"));
    assert_eq!(says(SIGNER, "amy", "g", "x"), Says::Satisfied);
    let Says::Violated(violations) = says(SIGNER, "amy", "g", "y") else { panic!("the CN is not allowed") };
    assert_eq!(violations[0].code, ViolationCode::CommonNameNotAllowed);
}

#[test]
fn a_request_for_a_signer_that_is_not_managed_is_not_ours_whatever_a_policy_says() {
    let permits = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["x"] }));
    for (managed, decision, reason) in [
        ("example.com/*", Decision::Approve, ReasonCode::PolicySatisfied),
        ("example.org/*", Decision::NoOpinion, ReasonCode::SignerNotManaged),
    ] {
        let managed_signers = vec![SignerPattern::new(managed).unwrap()];
        let set = PolicySet::compile([&permits], Settings { managed_signers, ..Settings::default() });
        let review = review(&set, &request(SIGNER, "amy", &["g"], "x"), &Facts::default());
        assert_eq!((review.decision, review.reason_code), (decision, reason), "{managed}");
    }
}

#[test]
fn system_masters_is_denied_with_a_policy_and_without() {
    let permits = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["x"] }));
    let mut request = request(SIGNER, "amy", &["g"], "x");
    request.asks_for_masters = true;
    for objects in [vec![], vec![permits]] {
        let review = verdict(&objects, &request);
        assert_eq!((review.decision, review.reason_code), (Decision::Deny, ReasonCode::SystemMasters));
    }
}

#[test]
fn nothing_is_approved_without_a_guardrail_that_must_be_there() {
    let permits = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["x"] }));
    let guardrail = |mode: &str, limits: Value| {
        // It speaks about another signer, so that nothing but its being there matters.
        let spec = json!({ "mode": mode, "match": { "signerNames": [SERVING] }, "limits": limits });
        object(Kind::CSRGuardrail, &spec)
    };
    let limits = || json!({ "usages": { "denied": ["server auth"] } });
    let mut other = guardrail("Enforce", limits());
    other.name = "other".to_owned();
    for (guardrail, expected) in [
        (None, "does not exist"),
        (Some(other), "does not exist"),
        (Some(guardrail("Enforce", json!({}))), "is not Ready"),
        (Some(guardrail("Audit", limits())), "is not enforced"),
        (Some(guardrail("Enforce", limits())), ""),
    ] {
        let settings = Settings {
            managed_signers: vec![SignerPattern::All],
            required_guardrails: vec!["csrguardrails".to_owned()],
            ..Settings::default()
        };
        let set = PolicySet::compile(guardrail.iter().chain([&permits]), settings);
        let review = review(&set, &request(SIGNER, "amy", &["g"], "x"), &Facts::default());
        assert_eq!(review.decision == Decision::Approve, expected.is_empty(), "{}", review.reason);
        assert!(review.reason.ends_with(expected), "{}", review.reason);
    }
}

#[test]
fn a_request_may_be_as_old_as_the_settings_say_and_no_older() {
    let permits = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["x"] }));
    let settings = Settings {
        managed_signers: vec![SignerPattern::All],
        max_request_age: Some(Duration::from_secs(100)),
        ..Settings::default()
    };
    let set = PolicySet::compile([&permits], settings);
    let mut request = request(SIGNER, "amy", &["g"], "x");
    request.envelope.created = Some(Timestamp::UNIX_EPOCH);
    for (age, expected) in [(100, Decision::Approve), (101, Decision::NoOpinion)] {
        let now = Timestamp::from_second(age).ok();
        assert_eq!(review(&set, &request, &Facts { now, ..Facts::default() }).decision, expected, "{age}");
    }
}

#[test]
fn a_denial_names_the_one_policy_that_it_rests_on() {
    let permits = |name: &str| policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": [name] }));
    let mut other = permits("y");
    other.name = "other".to_owned();
    let limit = object(
        Kind::CSRGuardrail,
        &json!({ "match": {}, "limits": { "subject": { "commonName": { "denied": ["z"] } } } }),
    );
    let asks = request(SIGNER, "amy", &["g"], "z");
    let one = verdict(&[permits("x")], &asks);
    assert_eq!(one.policy.map(|policy| policy.name), Some("csrpolicies".to_owned()));
    assert_eq!(verdict(&[permits("x"), other], &asks).policy, None);
    let guarded = verdict(&[limit, permits("z")], &asks);
    assert_eq!((guarded.decision, guarded.policy), (Decision::Deny, None));
    assert_eq!(guarded.decision.to_string(), "Deny");
}

#[test]
fn what_only_reports_is_named_where_nothing_decides() {
    let mut audited = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["x"] }));
    audited.spec.as_mut().unwrap()["mode"] = json!("Audit");
    let reason = |common_name: &str| {
        let review = verdict(std::slice::from_ref(&audited), &request(SIGNER, "amy", &["g"], common_name));
        assert_eq!(review.decision, Decision::NoOpinion);
        review.reason
    };
    assert!(reason("x").ends_with("in mode Audit, CSRPolicy csrpolicies permits the request"), "{}", reason("x"));
    assert!(reason("y").ends_with("csrpolicies does not permit the request"), "{}", reason("y"));
    let enforced = policy(&json!([{ "groups": ["h"] }]), &json!({ "allowed": ["x"] }));
    let review = verdict(&[enforced], &request(SIGNER, "amy", &["g"], "x"));
    assert!(review.reason.starts_with("no policy speaks"), "{}", review.reason);
}

#[test]
fn what_no_object_can_permit_is_said_once() {
    let policies = ["x", "y", "z"].map(|name| policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": [name] })));
    let mut asks = request(SIGNER, "amy", &["g"], "x");
    asks.content = SigningRequest::decode(Envelope::default(), b"").content;
    let review = verdict(&policies, &asks);
    assert_eq!((review.decision, review.violations.len()), (Decision::Deny, 1), "{}", review.reason);
}

#[test]
fn a_violation_says_what_is_permitted_and_counts_in_words() {
    let mut object = policy(&json!([{ "groups": ["g"] }]), &json!({ "allowed": ["*"], "denied": ["x", "y"] }));
    object.spec.as_mut().unwrap()["allow"]["subject"]["organizations"] =
        json!({ "allowed": ["*"], "min": 1, "max": 1 });
    let said = |common_name: &str, organizations: &[&str]| {
        let mut request = request(SIGNER, "amy", &["g"], common_name);
        let subject = &mut request.content.as_mut().unwrap().subject;
        subject.organizations = organizations.iter().map(|name| (*name).to_owned()).collect();
        let mut review = verdict(std::slice::from_ref(&object), &request);
        assert_eq!(review.violations.len(), 1, "{}", review.reason);
        review.violations.remove(0)
    };
    let denied = said("x", &["a"]);
    assert_eq!((denied.found.as_str(), &*denied.permitted), ("x", "anything but x, y"));
    assert!(denied.message.starts_with("common name (user name) \"x\" is denied by CSRPolicy csrpolicies"));
    let count = |organizations: &[&str]| said("amy", organizations).message;
    let permits = "and CSRPolicy csrpolicies permits at";
    assert_eq!(count(&[]), format!("the request has 0 organizations (groups), {permits} least 1"));
    assert_eq!(count(&["a", "b"]), format!("the request has 2 organizations (groups), {permits} most 1"));
    object.spec.as_mut().unwrap()["allow"]["subject"]["organizations"] = json!({ "allowed": ["*"], "min": 2 });
    let mut request = request(SIGNER, "amy", &["g"], "amy");
    request.content.as_mut().unwrap().subject.organizations = vec!["a".to_owned()];
    let one = verdict(&[object], &request).reason;
    assert_eq!(one, format!("the request has 1 organization (group), {permits} least 2"));
}
