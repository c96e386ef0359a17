//! What one object says about one request.

use std::cell::OnceCell;

use super::names::Names;
use super::violation::row;
use super::{Facts, Violation, checks};
use crate::policy::{Bindings, Compiled, PolicySet, Problem, Truth};
use crate::request::{Pkcs10, SigningRequest};

/// All that an object is held against a request with.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) request: &'a SigningRequest,
    pub(super) facts: &'a Facts<'a>,
    /// The request, as expressions see it.
    pub(super) bindings: Bindings<'a>,
    /// The names in it, as lists see them.
    names: OnceCell<Names<'a>>,
}

impl<'a> Context<'a> {
    pub(super) const fn new(set: &'a PolicySet, request: &'a SigningRequest, facts: &'a Facts<'a>) -> Self {
        Self { set, request, facts, bindings: Bindings::new(request, facts.nodes), names: OnceCell::new() }
    }

    /// The names in what the request decoded to.
    pub(super) fn names(&self, pkcs10: &'a Pkcs10) -> &Names<'a> {
        self.names.get_or_init(|| Names::of(pkcs10, &self.set.settings().reserved))
    }
}

/// What the checks of an object found; each check that is in neither list is satisfied.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What is violated.
    pub(super) violations: Vec<Violation>,
    /// What cannot be told, and why, each a sentence.
    pub(super) unknown: Vec<String>,
}

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
    pub(super) fn of(object: &Compiled, context: &Context<'_>) -> Self {
        let Context { request, bindings, .. } = context;
        match object.matcher.matches(&request.envelope, bindings) {
            Truth::No => return Self::NoMatch,
            Truth::Unknown(why) => return Self::Unknown(why),
            Truth::Yes => {}
        }
        let Some(rules) = object.rules() else {
            let problem = object.problems().first().map(Problem::in_one_line).unwrap_or_default();
            return Self::Unknown(format!("it is not Ready: {problem}"));
        };
        let pkcs10 = match &request.content {
            Ok(pkcs10) => pkcs10,
            Err(error) => return Self::Violated(vec![Violation::refused(error)]),
        };
        let mut findings = checks::check(object, rules, context, pkcs10);
        for rule in &rules.validations {
            match rule.expression.holds(bindings) {
                Truth::Yes => {}
                Truth::No => findings.violations.push(Violation::validation(object, rule)),
                Truth::Unknown(why) => findings.unknown.push(why),
            }
        }
        findings.into()
    }
}

impl From<Findings> for Outcome {
    fn from(findings: Findings) -> Self {
        // What is violated stays so, whatever the rest turns out to be.
        if !findings.violations.is_empty() {
            return Self::Violated(findings.violations);
        }
        if findings.unknown.is_empty() {
            return Self::Satisfied;
        }
        Self::Unknown(row(findings.unknown.iter().map(|why| (why.as_str(), 1))))
    }
}
