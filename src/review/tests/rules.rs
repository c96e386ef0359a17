//! The engine beside a small, naive evaluator of the rules, over random policies and requests.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::super::{Decision, Facts, review};
use super::plain_nodes::{AboutNodes, FILED, NodeRules, OWN, any_about, any_rules};
use crate::policy::{Kind, PolicyObject, PolicySet, Reserved, Settings, SignerPattern};
use crate::request::{Envelope, Key, Pkcs10, Sans, Settled, SigningRequest, Subject, Usage};

const A: &str = "example.com/a";
const B: &str = "example.org/b";
/// The longest lifetime that signer A is known to give, in seconds.
const A_MAXIMUM: i64 = 5000;

#[derive(Debug, Clone)]
struct Object {
    guardrail: bool,
    audit: bool,
    leave_pending: bool,
    deleting: bool,
    /// A field of the rules that nobody knows.
    rules_broken: bool,
    /// A field of `match` that nobody knows.
    match_broken: bool,
    signer: Option<&'static str>,
    group: Option<&'static str>,
    excluded: Option<&'static str>,
    common_name: Option<&'static str>,
    allowed: Option<Vec<&'static str>>,
    denied: Option<&'static str>,
    required: Option<&'static str>,
    usages: Vec<&'static str>,
    max: i64,
    when_unset: &'static str,
    nodes: NodeRules,
    condition: Option<&'static str>,
    validation: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Request {
    signer: &'static str,
    groups: Vec<&'static str>,
    common_name: Option<&'static str>,
    organizations: Vec<&'static str>,
    usages: Vec<&'static str>,
    seconds: Option<i32>,
    about: AboutNodes,
    refused: bool,
    masters: bool,
    settled: bool,
    /// How old it is, in seconds; at most 100 may be.
    age: i64,
}

#[derive(Debug, Clone)]
struct World {
    objects: Vec<Object>,
    request: Request,
    manages_b: bool,
    required: bool,
}

// The naive evaluator.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    Satisfied,
    Violated,
    Unknown,
}

const EXPRESSIONS: [&str; 6] = [
    "'g2' in requestor.groups",
    "csr.subject.commonName == 'x'",
    "csr.subject.organizations.exists(o, o == 'dev')",
    "!has(csr.expirationSeconds)",
    "requestor.extra['none'] == []",
    "has(node.labels.gpu)",
];

fn naive_expression(source: &str, request: &Request) -> Option<bool> {
    match EXPRESSIONS.iter().position(|known| *known == source) {
        Some(0) => Some(request.groups.contains(&"g2")),
        Some(1) => request.common_name.filter(|_| !request.refused).map(|name| name == "x"),
        Some(2) => (!request.refused).then(|| request.organizations.contains(&"dev")),
        Some(3) => Some(request.seconds.is_none()),
        Some(5) => request.about.gpu(),
        _ => None,
    }
}

fn naive_match(object: &Object, request: &Request) -> Option<bool> {
    let signer = object.signer.is_none_or(|signer| signer == "*" || signer == request.signer);
    let group = object.group.is_none_or(|group| request.groups.contains(&group));
    let excluded = object.excluded.is_some_and(|group| request.groups.contains(&group));
    if !signer || !group || excluded {
        return Some(false);
    }
    let condition = object.condition.map_or(Some(true), |source| naive_expression(source, request));
    if object.match_broken && condition != Some(false) { None } else { condition }
}

fn naive_checks(object: &Object, request: &Request) -> bool {
    let names = |pattern: &str, name: &str| match pattern {
        "*" => !name.contains(':') && (object.guardrail || !name.starts_with("system:")),
        exact => exact == name,
    };
    let policy = !object.guardrail;
    let common_name = match (object.common_name, request.common_name) {
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => object.guardrail,
        (Some(pattern), Some(name)) => names(pattern, name),
    };
    let stated = object.allowed.is_some() || object.denied.is_some() || object.required.is_some();
    let organizations = request.organizations.iter().all(|name| {
        let listed =
            object.allowed.as_ref().is_some_and(|allowed| allowed.contains(name)) || object.required == Some(name);
        let allowed = if policy || object.allowed.is_some() { listed } else { true };
        allowed && object.denied != Some(name)
    });
    let required = object.required.is_none_or(|name| request.organizations.contains(&name));
    let usages = request.usages.iter().all(|usage| object.usages.contains(usage));
    let seconds = match (request.seconds, object.when_unset) {
        (Some(seconds), _) => i64::from(seconds) <= object.max,
        (None, "Allow") => true,
        (None, "SignerMaximum") => request.signer == A && A_MAXIMUM <= object.max,
        (None, _) => false,
    };
    let organizations = if stated || policy { organizations && required } else { true };
    common_name && organizations && usages && seconds
}

fn naive_answer(object: &Object, request: &Request) -> Option<Answer> {
    match naive_match(object, request) {
        Some(false) => None,
        None => Some(Answer::Unknown),
        Some(true) if object.rules_broken => Some(Answer::Unknown),
        Some(true) if request.refused => Some(Answer::Violated),
        Some(true) => {
            let checks = if naive_checks(object, request) { Answer::Satisfied } else { Answer::Violated };
            let nodes = object.nodes.naive(object.guardrail, request.common_name, &request.about);
            let validation = match object.validation.map_or(Some(true), |source| naive_expression(source, request)) {
                Some(true) => Answer::Satisfied,
                Some(false) => Answer::Violated,
                None => Answer::Unknown,
            };
            let answers = [checks, nodes, validation];
            let worst = [Answer::Violated, Answer::Unknown].into_iter().find(|worse| answers.contains(worse));
            Some(worst.unwrap_or(Answer::Satisfied))
        }
    }
}

fn naive(world: &World, promote: bool) -> Decision {
    let request = &world.request;
    // Rule 1.
    if request.signer == B && !world.manages_b {
        return Decision::NoOpinion;
    }
    // Rule 2.
    if request.settled || request.age > 100 {
        return Decision::NoOpinion;
    }
    // Rule 3.
    if request.masters {
        return Decision::Deny;
    }
    let enforced = |object: &&Object| promote || !object.audit;
    let guardrails: Vec<&Object> = world.objects.iter().filter(|object| object.guardrail).filter(enforced).collect();
    let policies: Vec<&Object> =
        world.objects.iter().filter(|object| !object.guardrail && !object.deleting).filter(enforced).collect();
    let answers = |objects: &[&Object]| -> Vec<(bool, Answer)> {
        let answer = |object: &&Object| naive_answer(object, request).map(|answer| (object.leave_pending, answer));
        objects.iter().filter_map(answer).collect()
    };
    let of_guardrails = answers(&guardrails);
    let of_policies = answers(&policies);
    let violated = |answers: &[(bool, Answer)]| -> Vec<bool> {
        answers.iter().filter(|(_, answer)| *answer == Answer::Violated).map(|(pending, _)| *pending).collect()
    };
    let any = |answers: &[(bool, Answer)], wanted| answers.iter().any(|(_, answer)| *answer == wanted);
    // Rule 5.
    let pending = violated(&of_guardrails);
    if !pending.is_empty() {
        return if pending.iter().all(|pending| *pending) { Decision::NoOpinion } else { Decision::Deny };
    }
    // Rule 6.
    if any(&of_guardrails, Answer::Unknown) {
        return Decision::NoOpinion;
    }
    // --require-guardrail object-0.
    if world.required {
        let there = world.objects.first().is_some_and(|object| {
            object.guardrail && !object.rules_broken && !object.match_broken && (promote || !object.audit)
        });
        if !there {
            return Decision::NoOpinion;
        }
    }
    // Rule 7.
    if any(&of_policies, Answer::Satisfied) {
        return Decision::Approve;
    }
    // Rules 8 and 9.
    let pending = violated(&of_policies);
    if !any(&of_policies, Answer::Unknown) && !pending.is_empty() && pending.iter().all(|pending| !pending) {
        return Decision::Deny;
    }
    Decision::NoOpinion
}

// The same world for the engine.

fn object(index: usize, object: &Object) -> PolicyObject {
    let mut matches = Map::new();
    if let Some(signer) = object.signer {
        let names = if signer == "*" { json!(["example.com/*", "example.org/*"]) } else { json!([signer]) };
        matches.insert("signerNames".to_owned(), names);
    }
    if let Some(group) = object.group {
        matches.insert("requestors".to_owned(), json!([{ "groups": [group] }]));
    }
    if let Some(group) = object.excluded {
        matches.insert("exclude".to_owned(), json!({ "requestors": [{ "groups": [group] }] }));
    }
    if let Some(source) = object.condition {
        matches.insert("conditions".to_owned(), json!([{ "name": "c", "expression": source }]));
    }
    if object.match_broken {
        matches.insert("notYet".to_owned(), json!(1));
    }
    let mut subject = Map::new();
    if let Some(name) = object.common_name {
        subject.insert("commonName".to_owned(), json!({ "allowed": [name] }));
    }
    let mut organizations = Map::new();
    let mut list = |field: &str, values: Option<Value>| {
        values.map(|values| organizations.insert(field.to_owned(), values));
    };
    list("allowed", object.allowed.as_ref().map(|allowed| json!(allowed)));
    list("denied", object.denied.map(|name| json!([name])));
    list("required", object.required.map(|name| json!([name])));
    if !organizations.is_empty() {
        subject.insert("organizations".to_owned(), organizations.into());
    }
    let mut rules = json!({
        "usages": { "allowed": object.usages },
        "expirationSeconds": { "max": object.max, "whenUnset": object.when_unset },
    });
    if let Some((from_node, allowed)) = &object.nodes.dns_names {
        let mut list = Map::new();
        if *from_node {
            list.insert("from".to_owned(), json!("Node"));
        }
        if let Some(allowed) = allowed {
            list.insert("allowed".to_owned(), json!(allowed));
        }
        rules["dnsNames"] = list.into();
    }
    if let Some(existence) = object.nodes.existence {
        rules["node"] = json!({ "existence": existence });
    }
    if !subject.is_empty() {
        rules["subject"] = subject.into();
    }
    if let Some(source) = object.validation {
        rules["validations"] = json!([{ "name": "v", "expression": source, "message": "no" }]);
    }
    if object.rules_broken {
        rules["notYet"] = json!(1);
    }
    let (kind, field) = if object.guardrail { (Kind::CSRGuardrail, "limits") } else { (Kind::CSRPolicy, "allow") };
    let mut value = json!({
        "apiVersion": crate::api::API_VERSION,
        "metadata": { "name": format!("object-{index}") },
        "spec": {
            "mode": if object.audit { "Audit" } else { "Enforce" },
            "onViolation": if object.leave_pending { "LeavePending" } else { "Deny" },
            "match": matches,
            field: rules,
        },
    });
    if object.deleting {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    PolicyObject::new(kind, value)
}

fn request(request: &Request) -> SigningRequest {
    let text = |values: &[&str]| -> Vec<String> { values.iter().map(|value| (*value).to_owned()).collect() };
    let content = Pkcs10 {
        subject: Subject {
            common_name: request.common_name.map(str::to_owned),
            organizations: text(&request.organizations),
            ..Subject::default()
        },
        sans: Sans { dns_names: text(&request.about.dns_names), ..Sans::default() },
        key: Key::Ed25519,
        sha256: [0; 32],
    };
    let nodes_group = request.about.as_node.then_some(&"system:nodes");
    let refused = || SigningRequest::decode(Envelope::default(), b"").content;
    SigningRequest {
        envelope: Envelope {
            signer_name: request.signer.to_owned(),
            username: if request.about.as_node { OWN } else { "u" }.to_owned(),
            groups: request.groups.iter().chain(nodes_group).map(|group| (*group).to_owned()).collect(),
            usages: text(&request.usages),
            expiration_seconds: request.seconds,
            created: Some(FILED.parse().unwrap()),
            settled: request.settled.then_some(Settled::Approved),
            extra: BTreeMap::new(),
            ..Envelope::default()
        },
        content: if request.refused { refused() } else { Ok(content) },
        asks_for_masters: request.masters,
        usages: request.usages.iter().filter_map(|usage| Usage::from_name(usage)).collect(),
    }
}

// Random worlds, in which each part meets each other often.

const GROUPS: [&str; 2] = ["g1", "g2"];
const ORGANIZATIONS: [&str; 3] = ["dev", "ops", "kubeadm:c"];
const USAGES: [&str; 2] = ["client auth", "server auth"];

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.15)
}

fn any_object() -> impl Strategy<Value = Object> {
    let head = (any::<bool>(), rarely(), any::<bool>(), rarely(), rarely(), rarely());
    let matching = (
        prop::option::weighted(0.8, select(vec![A, B, "*"])),
        prop::option::weighted(0.7, select(GROUPS.to_vec())),
        prop::option::weighted(0.2, select(GROUPS.to_vec())),
    );
    let rules = (
        prop::option::weighted(0.8, select(vec!["*", "x", "system:x", OWN])),
        prop::option::weighted(0.7, subsequence(ORGANIZATIONS.to_vec(), 1..=3)),
        prop::option::weighted(0.2, select(ORGANIZATIONS.to_vec())),
        prop::option::weighted(0.2, select(ORGANIZATIONS.to_vec())),
        subsequence(USAGES.to_vec(), 1..=2),
        select(vec![700, 5000, 90_000]),
        select(vec!["Deny", "Allow", "SignerMaximum"]),
    );
    let expression = || prop::option::weighted(0.15, select(EXPRESSIONS.to_vec()));
    (head, matching, rules, any_rules(), expression(), expression()).prop_map(
        |(head, matching, rules, nodes, condition, validation)| {
            let (guardrail, audit, leave_pending, deleting, rules_broken, match_broken) = head;
            let mut object = Object {
                guardrail,
                audit,
                leave_pending,
                deleting,
                rules_broken,
                match_broken,
                signer: matching.0,
                group: matching.1,
                excluded: matching.2,
                common_name: rules.0,
                allowed: rules.1,
                denied: rules.2,
                required: rules.3,
                usages: rules.4,
                max: rules.5,
                when_unset: rules.6,
                nodes,
                condition,
                validation,
            };
            if !guardrail {
                // What a policy must state, and what no object may state at once.
                object.signer.get_or_insert("*");
                object.group.get_or_insert("g1");
            }
            let contradicts = object.denied.is_some_and(|name| {
                object.required == Some(name) || object.allowed.as_ref().is_some_and(|allowed| allowed.contains(&name))
            });
            let permits_nothing = !guardrail && object.allowed.is_none() && object.required.is_none();
            if contradicts || permits_nothing {
                object.denied = None;
            }
            object
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let who = (select(vec![A, A, A, B]), subsequence(GROUPS.to_vec(), 0..=2));
    let what = (
        select(vec![None, Some("x"), Some("x"), Some("system:x"), Some(OWN), Some(OWN), Some("system:node:w2")]),
        subsequence(ORGANIZATIONS.to_vec(), 0..=2),
        subsequence(USAGES.to_vec(), 1..=2),
        select(vec![None, Some(600), Some(86_400)]),
    );
    let rare = (rarely(), prop::bool::weighted(0.05), prop::bool::weighted(0.05), select(vec![0, 50, 100, 99, 101]));
    (who, what, any_about(), rare).prop_map(
        |((signer, groups), (common_name, organizations, usages, seconds), about, rare)| Request {
            signer,
            groups,
            common_name,
            organizations,
            usages,
            seconds,
            about,
            refused: rare.0,
            masters: rare.1,
            settled: rare.2,
            age: rare.3,
        },
    )
}

/// A world in which only what concerns nodes is left to decide: everything else of the object permits
/// everything else of the request.
fn only_about_nodes(object: Object) -> Object {
    Object {
        deleting: false,
        rules_broken: false,
        match_broken: false,
        signer: Some(A),
        group: Some("g1"),
        excluded: None,
        common_name: Some(OWN),
        allowed: Some(ORGANIZATIONS.to_vec()),
        denied: None,
        required: None,
        usages: USAGES.to_vec(),
        max: 90_000,
        condition: None,
        validation: object.validation.and(Some(EXPRESSIONS[5])),
        ..object
    }
}

fn of_a_node(request: Request) -> Request {
    let groups = vec!["g1"];
    let common_name = Some(OWN);
    Request { signer: A, groups, common_name, refused: false, masters: false, settled: false, age: 0, ..request }
}

fn agree(world: &World) -> Result<(), TestCaseError> {
    let managed = if world.manages_b { vec![A, B] } else { vec![A] };
    let settings = Settings {
        managed_signers: managed.into_iter().map(|signer| SignerPattern::new(signer).unwrap()).collect(),
        reserved: Reserved::default(),
        signer_max_seconds: [(A.to_owned(), A_MAXIMUM)].into(),
        required_guardrails: if world.required { vec!["object-0".to_owned()] } else { Vec::new() },
        service_cidrs: Vec::new(),
        max_request_age: Some(Duration::from_secs(100)),
    };
    let objects: Vec<PolicyObject> =
        world.objects.iter().enumerate().map(|(index, each)| object(index, each)).collect();
    let set = PolicySet::compile(&objects, settings);
    for (compiled, plain) in set.policies().iter().chain(set.guardrails()).map(|compiled| {
        let index: usize = compiled.object.name["object-".len()..].parse().unwrap();
        (compiled, &world.objects[index])
    }) {
        prop_assert_eq!(compiled.is_ready(), !plain.rules_broken && !plain.match_broken, "{:?}", compiled.problems());
    }
    let filed: jiff::Timestamp = FILED.parse().unwrap();
    let nodes = world.request.about.nodes();
    let now = Some(filed + jiff::SignedDuration::from_secs(world.request.age));
    let verdict = review(&set, &request(&world.request), &Facts { now, nodes: nodes.as_ref(), approvals: None });
    let expected = naive(world, false);
    prop_assert_eq!(verdict.decision, expected, "{}", verdict.reason);
    let promoted = naive(world, true);
    let audit = verdict.audit.as_ref().map_or(verdict.decision, |audit| audit.decision);
    prop_assert_eq!(audit, promoted);
    prop_assert!(verdict.decision != Decision::Deny || !verdict.violations.is_empty());
    prop_assert_eq!(verdict.decision == Decision::Approve, verdict.policy.is_some() && verdict.violations.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_says_what_the_naive_evaluator_says(
        objects in prop::collection::vec(any_object(), 0..5),
        request in any_request(),
        manages_b in any::<bool>(),
        required in prop::bool::weighted(0.1),
    ) {
        agree(&World { objects, request, manages_b, required })?;
    }

    #[test]
    fn the_engine_says_of_nodes_what_the_naive_evaluator_says(
        objects in prop::collection::vec(any_object().prop_map(only_about_nodes), 1..3),
        request in any_request().prop_map(of_a_node),
    ) {
        agree(&World { objects, request, manages_b: false, required: false })?;
    }
}
