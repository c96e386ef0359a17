//! Compile: objects become a [`PolicySet`].
//!
//! A [`Compiled`] object can only be had by compiling, and is either Ready, with [`Rules`], or not,
//! with the [`Problem`]s that stand in the way. What of its `match` can be read still counts, so
//! that a broken object touches only the requests that it could have concerned.

mod cel;
mod compile;
mod folded;
mod hazards;
mod index;
mod matcher;
mod object;
mod pattern;
mod reserved;
mod rules;
mod served;
mod set;
mod truth;
mod ways;

pub use cel::{Bindings, Expression, expression_functions};
pub use compile::network;
pub use folded::FieldValue;
pub use hazards::{Hazard, HazardCode, Severity, hazards};
pub use matcher::{Matcher, SignerPattern, signer_name};
pub use object::{Kind, ObjectRef, PolicyObject};
pub use pattern::{Field, Pattern, WidePattern};
pub use reserved::{MASTERS, Reserved};
pub use rules::{
    CommonNameRules, Count, DnsRules, ExpirationRules, IpRules, KeyRules, ListRules, NodeRules, Rules, SignerRules,
    Source, UsageRules, ValidationRule,
};
pub use served::{ServedPolicy, UnreadPolicy};
pub use set::{PolicySet, Settings};
pub use truth::Truth;

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::api::{Mode, OnViolation};

/// A policy or a guardrail, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Which object it is.
    pub object: ObjectRef,
    /// `metadata.generation`, if it has one.
    pub generation: Option<i64>,
    /// Whether it decides or only reports; a mode that this version does not know decides.
    pub mode: Mode,
    /// What becomes of a request that violates it.
    pub on_violation: OnViolation,
    /// Which requests it speaks about.
    pub matcher: Matcher,
    rules: Option<Rules>,
    problems: Vec<Problem>,
    /// A hash of what it says, so that one that says the same is found without a look at each.
    digest: u64,
}

impl Compiled {
    /// Compiles `object`. There is always a result; see [`Compiled::problems`].
    #[must_use]
    pub fn new(object: &PolicyObject) -> Self {
        compile::compile(object)
    }

    /// What it checks, if it is Ready.
    #[must_use]
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// What stands in the way of its being Ready, with places.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether `other` says the same, under whatever name.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.said() == other.said()
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.said().hash(&mut hasher);
        hasher.finish()
    }

    /// All that makes it another than one of another name.
    fn said(&self) -> impl Hash + PartialEq {
        (self.object.kind, &self.matcher, &self.rules, self.mode, self.on_violation)
    }

    /// Whether a problem is one of the machine, at this moment, so that compiling it again may help.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        self.problems.iter().any(|problem| problem.message.starts_with(cel::NO_THREAD))
    }

    /// The same, as if no thread could be started to parse its expressions.
    #[cfg(all(test, feature = "controller"))]
    pub(crate) fn without_thread(&self) -> Self {
        let problem = Problem { path: "spec".to_owned(), message: cel::NO_THREAD.to_owned() };
        Self { rules: None, problems: vec![problem], ..self.clone() }
    }

    /// Whether what it says may depend on Nodes.
    #[must_use]
    pub fn needs_nodes(&self) -> bool {
        self.matcher.reads_node() || self.rules.as_ref().is_some_and(Rules::need_nodes)
    }

    /// Whether it counts what was approved for a node lately.
    #[must_use]
    pub fn counts_approvals(&self) -> bool {
        self.rules.as_ref().is_some_and(Rules::count_approvals)
    }

    /// Whether it is Ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.rules.is_some()
    }
}

/// Something in an object that this version cannot read or that is not allowed there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// Where, as a path of fields: `spec.allow.dnsNames.allowed[1]`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    /// Whether the problem is at `path` or below it.
    #[must_use]
    pub fn is_within(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// The same in one line, for a reason: without the expression and the caret under it.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        format!("{}: {}", self.path, self.message.lines().next().unwrap_or_default())
    }
}
