//! What one object says about one request.

use super::{Violation, checks};
use crate::policy::{Bindings, Compiled, PolicySet, Truth};
use crate::request::SigningRequest;

/// What an object that matches, or may match, says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It does not speak about the request.
    NoMatch,
    /// Every check is satisfied.
    Satisfied,
    /// At least one check is violated.
    Violated(Vec<Violation>),
    /// It cannot be told, and why.
    Unknown(String),
}

impl Outcome {
    /// Evaluates `object`. A request that was refused unread violates every object that matches.
    pub(super) fn of(object: &Compiled, set: &PolicySet, request: &SigningRequest, bindings: &Bindings<'_>) -> Self {
        match object.matcher.matches(&request.envelope, bindings) {
            Truth::No => return Self::NoMatch,
            Truth::Unknown(why) => return Self::Unknown(why),
            Truth::Yes => {}
        }
        let Some(rules) = object.rules() else {
            let problem = object.problems().first().map(ToString::to_string).unwrap_or_default();
            return Self::Unknown(format!("it is not Ready: {problem}"));
        };
        let pkcs10 = match &request.content {
            Ok(pkcs10) => pkcs10,
            Err(error) => return Self::Violated(vec![Violation::refused(error)]),
        };
        let mut violations = checks::check(object, rules, set, request, pkcs10);
        let mut unknown = None;
        for rule in &rules.validations {
            match rule.expression.holds(bindings) {
                Truth::Yes => {}
                Truth::No => violations.push(Violation::validation(object, rule)),
                Truth::Unknown(why) => unknown = unknown.or(Some(why)),
            }
        }
        match unknown {
            // What is violated stays so, whatever the rest turns out to be.
            _ if !violations.is_empty() => Self::Violated(violations),
            Some(why) => Self::Unknown(why),
            None => Self::Satisfied,
        }
    }
}
