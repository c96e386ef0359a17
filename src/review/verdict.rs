//! The verdict: the rules in their order, each in its place.

use std::fmt;
use std::sync::Arc;

use super::outcome::{Context, Outcome};
use super::violation::row;
use super::{Facts, NodeFact, ReasonCode, Violation};
use crate::api::{Mode, OnViolation};
use crate::escape::printable;
use crate::policy::{Compiled, ObjectRef, PolicySet};
use crate::request::SigningRequest;

/// How much is told of what is violated, in bytes over all objects: what goes beyond it is counted, for each object and
/// code. A request can violate hundreds of objects in hundreds of ways, and decisions on their way keep what is told.
const MAX_TOLD: usize = 128 << 10;

/// What Countersign does about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Approve it.
    Approve,
    /// Deny it.
    Deny,
    /// Leave it as it is.
    NoOpinion,
}

impl Decision {
    /// `Approve`, `Deny` or `NoOpinion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Deny => "Deny",
            Self::NoOpinion => "NoOpinion",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A decision and everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The decision.
    pub decision: Decision,
    /// Which rule made it.
    pub reason_code: ReasonCode,
    /// The one policy that decided, if one did.
    pub policy: Option<ObjectRef>,
    /// The reason in a sentence, safe to print.
    pub reason: String,
    /// What the decision rests on, or what stood in the way of an approval: every object and every code, each violation
    /// told or counted.
    pub violations: Vec<Violation>,
    /// The Node that an approval or a denial rests on, if it rests on one: to be looked at once more, with a
    /// consistent read, before the decision is sent.
    pub node: Option<NodeFact>,
    /// What the decision would be if audit objects decided too, where that differs.
    pub audit: Option<AuditDifference>,
}

/// What would have been decided, had the objects in mode `Audit` been enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDifference {
    /// The decision.
    pub decision: Decision,
    /// The reason in a sentence.
    pub reason: String,
    /// What that decision rests on.
    pub violations: Vec<Violation>,
}

/// Reviews `request` under `set`.
#[must_use]
pub fn review(set: &PolicySet, request: &SigningRequest, facts: &Facts<'_>) -> Review {
    let context = Context::new(set, request, facts);
    let mut review = decide(&context, |object| object.mode == Mode::Enforce);
    if review.decision != Decision::NoOpinion {
        review.node = NodeFact::of(set, request, facts);
    }
    if set.audits() {
        let promoted = decide(&context, |_| true);
        if promoted.decision != review.decision {
            review.audit = Some(AuditDifference {
                decision: promoted.decision,
                reason: promoted.reason,
                violations: promoted.violations,
            });
        }
    }
    review
}

/// The rules in their order, over the objects that are `enforced`.
fn decide(context: &Context<'_>, enforced: impl Fn(&Compiled) -> bool + Copy) -> Review {
    let &Context { set, request, facts, .. } = context;
    not_ours(set, request)
        .or_else(|| settled(set, request, facts))
        .or_else(|| asks_for_masters(request))
        .or_else(|| guardrails(context, enforced))
        .unwrap_or_else(|| policies(context, enforced))
}

impl Review {
    fn new(decision: Decision, reason_code: ReasonCode, reason: String) -> Self {
        Self { decision, reason_code, policy: None, reason, violations: Vec::new(), node: None, audit: None }
    }

    fn no_opinion(reason_code: ReasonCode, reason: impl Into<String>) -> Self {
        Self::new(Decision::NoOpinion, reason_code, reason.into())
    }
}

/// Rule 1.
fn not_ours(set: &PolicySet, request: &SigningRequest) -> Option<Review> {
    let signer = &request.envelope.signer_name;
    (!set.manages(signer)).then(|| {
        let shown = printable(signer);
        let reason = format!("the signer \"{shown}\" is not one that Countersign manages here");
        Review::no_opinion(ReasonCode::SignerNotManaged, reason)
    })
}

/// Rule 2.
fn settled(set: &PolicySet, request: &SigningRequest, facts: &Facts<'_>) -> Option<Review> {
    if let Some(settled) = request.envelope.settled {
        return Some(Review::no_opinion(ReasonCode::Settled, format!("nothing is left to decide: {settled}")));
    }
    let age = facts.now?.duration_since(request.envelope.created?);
    let max = set.settings().max_request_age?;
    (age.as_secs() > i64::try_from(max.as_secs()).unwrap_or(i64::MAX)).then(|| {
        let reason = format!(
            "the request is {} s old and may be {} s at most, because its requestor's groups are those of the time it \
             was filed: file it again",
            age.as_secs(),
            max.as_secs()
        );
        Review::no_opinion(ReasonCode::TooOld, reason)
    })
}

/// Rule 3.
fn asks_for_masters(request: &SigningRequest) -> Option<Review> {
    request.asks_for_masters.then(|| {
        let violation = Violation::masters();
        let mut review = Review::new(Decision::Deny, ReasonCode::SystemMasters, violation.message.clone());
        review.violations.push(violation);
        review
    })
}

/// Rules 5 and 6, and the guardrails that must be there.
fn guardrails(context: &Context<'_>, enforced: impl Fn(&Compiled) -> bool + Copy) -> Option<Review> {
    let in_force = context.set.guardrails_for(&context.request.envelope).filter(|guardrail| enforced(guardrail));
    let Outcomes { violated, unknown, .. } = Outcomes::of(in_force, context);
    if !violated.objects.is_empty() {
        let deny = violated.objects.iter().any(|object| object.on_violation == OnViolation::Deny);
        let decision = if deny { Decision::Deny } else { Decision::NoOpinion };
        return Some(violated.review(decision, ReasonCode::GuardrailViolated, context.request));
    }
    if let Some((guardrail, why)) = unknown {
        return Some(Review::no_opinion(
            ReasonCode::GuardrailUnknown,
            format!("{} might forbid the request and cannot be evaluated: {why}", guardrail.object),
        ));
    }
    missing_guardrail(context.set, enforced)
}

fn missing_guardrail(set: &PolicySet, enforced: impl Fn(&Compiled) -> bool) -> Option<Review> {
    set.required_guardrails().find_map(|(name, guardrail)| {
        let why = match guardrail {
            None => "does not exist",
            Some(guardrail) if !guardrail.is_ready() => "is not Ready",
            Some(guardrail) if !enforced(guardrail) => "is not enforced",
            Some(_) => return None,
        };
        Some(Review::no_opinion(
            ReasonCode::GuardrailRequired,
            format!("CSRGuardrail {name} must be there before anything is approved, and it {why}"),
        ))
    })
}

/// Rules 7, 8 and 9.
fn policies(context: &Context<'_>, enforced: impl Fn(&Compiled) -> bool + Copy) -> Review {
    let in_force = context.set.policies_for(&context.request.envelope).filter(|policy| enforced(policy));
    let Outcomes { satisfied, violated, unknown } = Outcomes::of(in_force, context);
    if let Some(policy) = satisfied {
        let reason = format!("{} permits the request, and no guardrail forbids it", policy.object);
        let mut review = Review::new(Decision::Approve, ReasonCode::PolicySatisfied, reason);
        review.policy = Some(policy.object.clone());
        return review;
    }
    if let Some((policy, why)) = unknown {
        let mut review = Review::no_opinion(
            ReasonCode::PolicyUnknown,
            format!("{} might permit the request and cannot be evaluated: {why}", policy.object),
        );
        review.violations = violated.violations;
        return review;
    }
    if violated.objects.is_empty() {
        return Review::no_opinion(ReasonCode::NoPolicyMatches, no_policy_matches(context, enforced));
    }
    let deny = violated.objects.iter().all(|object| object.on_violation == OnViolation::Deny);
    let decision = if deny { Decision::Deny } else { Decision::NoOpinion };
    violated.review(decision, ReasonCode::PolicyViolated, context.request)
}

/// Why rule 9 decides. A policy in mode `Audit` that matches is named, since it looks as if it should have decided.
fn no_policy_matches(context: &Context<'_>, enforced: impl Fn(&Compiled) -> bool) -> String {
    let audited = context.set.policies_for(&context.request.envelope).filter(|policy| !enforced(policy));
    let says = |policy: &Arc<Compiled>| {
        let (rank, says) = match Outcome::of(policy, context) {
            Outcome::NoMatch => return None,
            Outcome::Satisfied => (0, "permits the request"),
            Outcome::Violated(_) => (1, "does not permit the request"),
            Outcome::Unknown(_) => (2, "cannot be evaluated"),
        };
        Some((rank, format!("{} {says}", policy.object)))
    };
    match audited.filter_map(says).min() {
        None => "no policy speaks about this signer and this requestor, so a person decides".to_owned(),
        Some((_, says)) => format!(
            "no policy in mode Enforce speaks about this signer and this requestor, so a person decides; in mode Audit, \
             {says}"
        ),
    }
}

/// What the objects in force say of a request.
#[derive(Default)]
struct Outcomes<'a> {
    /// The first that is satisfied.
    satisfied: Option<&'a Compiled>,
    violated: Violated<'a>,
    /// The first that cannot be told, and why.
    unknown: Option<(&'a Compiled, String)>,
}

impl<'a> Outcomes<'a> {
    fn of(objects: impl Iterator<Item = &'a Arc<Compiled>>, context: &Context<'_>) -> Self {
        let mut outcomes = Self::default();
        for object in objects {
            match Outcome::of(object, context) {
                Outcome::NoMatch => {}
                Outcome::Satisfied => _ = outcomes.satisfied.get_or_insert(object),
                Outcome::Violated(violations) => outcomes.violated.add(object, violations),
                Outcome::Unknown(why) => _ = outcomes.unknown.get_or_insert((object, why)),
            }
        }
        outcomes
    }
}

/// The objects that a request violates, and how.
#[derive(Default)]
struct Violated<'a> {
    objects: Vec<&'a Compiled>,
    violations: Vec<Violation>,
    /// What is told of them, in bytes.
    told: usize,
}

impl<'a> Violated<'a> {
    fn add(&mut self, object: &'a Compiled, violations: Vec<Violation>) {
        self.objects.push(object);
        for violation in violations {
            match &violation.object {
                // What no object can permit is said once, not once for each object.
                None if self.violations.contains(&violation) => {}
                Some(object) if violation.more > 0 || self.told + violation.size() > MAX_TOLD => {
                    let Violation { code, field, .. } = &violation;
                    Violation::count(&mut self.violations, object, *code, field, violation.number());
                }
                _ => {
                    self.told += violation.size();
                    self.violations.push(violation);
                }
            }
        }
    }

    fn review(self, decision: Decision, code: ReasonCode, request: &SigningRequest) -> Review {
        // Rule 4: whatever matches counts as violated, but the reason is the request itself.
        let code = if request.content.is_err() { ReasonCode::RequestRefused } else { code };
        let messages = self.violations.iter().map(|violation| (violation.message.as_str(), violation.number()));
        let mut review = Review::new(decision, code, row(messages));
        if let [object] = self.objects.as_slice()
            && code == ReasonCode::PolicyViolated
        {
            review.policy = Some(object.object.clone());
        }
        review.violations = self.violations;
        review
    }
}
