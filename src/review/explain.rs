//! What each object says about a request: why it is pending, denied or approved.

use super::outcome::{Context, Outcome};
use super::{Facts, Violation};
use crate::api::Mode;
use crate::policy::{ObjectRef, PolicySet};
use crate::request::SigningRequest;

/// What one object says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The object.
    pub object: ObjectRef,
    /// Whether it decides or only reports.
    pub mode: Mode,
    /// What it says.
    pub says: Says,
}

/// What an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// It does not speak about the request, because of this part of its `match`.
    NoMatch(String),
    /// It matches, and every check is satisfied.
    Satisfied,
    /// It matches, and is violated.
    Violated(Vec<Violation>),
    /// It cannot be told, and why.
    Unknown(String),
}

/// What every object of `set` says about `request`: guardrails first, each kind by name.
#[must_use]
pub fn explain(set: &PolicySet, request: &SigningRequest, facts: &Facts<'_>) -> Vec<Explanation> {
    let context = Context::new(set, request, facts);
    let all = set.guardrails().iter().chain(set.policies());
    all.map(|object| Explanation {
        object: object.object.clone(),
        mode: object.mode,
        says: match Outcome::of(object, &context) {
            Outcome::NoMatch => {
                let part = object.matcher.mismatch(&request.envelope, &context.bindings);
                Says::NoMatch(part.unwrap_or_else(|| "match".to_owned()))
            }
            Outcome::Satisfied => Says::Satisfied,
            Outcome::Violated(violations) => Says::Violated(violations),
            Outcome::Unknown(why) => Says::Unknown(why),
        },
    })
    .collect()
}
