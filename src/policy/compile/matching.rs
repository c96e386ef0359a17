//! `match`: which requests an object speaks about.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Compiler;
use crate::api;
use crate::escape::printable;
use crate::policy::matcher::{Matcher, Part, RequestorMatcher};
use crate::policy::{Expression, Field, Kind, SignerPattern, WidePattern};

impl Compiler {
    pub(super) fn matcher(&mut self, spec: &Value) -> Matcher {
        let path = "spec.match";
        let value = &spec["match"];
        if value.is_null() && self.broken(path).is_none() {
            self.report(
                path,
                match self.kind {
                    Kind::CSRPolicy => "state match: the signerNames and requestors that the policy speaks about",
                    Kind::CSRGuardrail => "state match; match: {} is every managed signer and every requestor",
                },
            );
        }
        let needed = self.kind == Kind::CSRPolicy && value.is_object();
        let signers = self.part("spec.match.signerNames", &value["signerNames"], |this, path, names: Vec<String>| {
            this.not_empty(path, &names, "name at least one signer, for example kubernetes.io/kube-apiserver-client");
            this.signers(path, &names)
        });
        if needed && value["signerNames"].is_null() {
            self.report("spec.match.signerNames", "state match.signerNames, for example [kubernetes.io/kube-apiserver-client]: a policy permits for the signers that it names only");
        }
        let requestors = self.part("spec.match.requestors", &value["requestors"], Self::requestors);
        if needed && value["requestors"].is_null() {
            self.report("spec.match.requestors", "state match.requestors, for example [{groups: [platform-onboarding]}]: a policy permits for the requestors that it names only");
        }
        let exclude = &value["exclude"];
        let excluded = self.part("spec.match.exclude.requestors", &exclude["requestors"], Self::requestors);
        if exclude.is_object() && exclude["requestors"].is_null() {
            self.report("spec.match.exclude", "exclude is empty: state exclude.requestors, or remove exclude");
        }
        let conditions = self.part("spec.match.conditions", &value["conditions"], |this, path, list: Vec<_>| {
            this.conditions(path, &list)
        });
        Matcher {
            conditions: self.unless_broken("spec.match.conditions", conditions),
            signers: self.unless_broken("spec.match.signerNames", signers),
            requestors: self.unless_broken("spec.match.requestors", requestors),
            excluded: self.unless_broken("spec.match.exclude", excluded),
            rest: self
                .problems
                .iter()
                .find(|problem| {
                    let known = ["signerNames", "requestors", "exclude", "conditions"];
                    ["apiVersion", "spec"].contains(&problem.path.as_str())
                        || (problem.is_within(path)
                            && !known.iter().any(|part| problem.is_within(&format!("{path}.{part}"))))
                })
                .map_or(Part::Unstated, |problem| Part::Unreadable(problem.in_one_line())),
        }
    }

    fn part<V: DeserializeOwned, T>(
        &mut self,
        path: &str,
        value: &Value,
        compile: impl FnOnce(&mut Self, &str, V) -> T,
    ) -> Part<T> {
        match self.read(path, value) {
            Some(value) => Part::Stated(compile(self, path, value)),
            None => self.broken(path).map_or(Part::Unstated, Part::Unreadable),
        }
    }

    /// `part`, unless compiling it has found something wrong in it.
    fn unless_broken<T>(&self, path: &str, part: Part<T>) -> Part<T> {
        self.broken(path).map_or(part, Part::Unreadable)
    }

    pub(super) fn signers(&mut self, path: &str, names: &[String]) -> Vec<SignerPattern> {
        self.each(path, names, SignerPattern::new)
    }

    fn conditions(&mut self, path: &str, conditions: &[api::MatchCondition]) -> Vec<Expression> {
        self.not_empty(path, conditions, "add a condition, or remove the list");
        let sources = conditions.iter().map(|condition| (condition.name.as_str(), condition.expression.as_str()));
        self.expressions(path, sources)
    }

    /// Each expression that compiles; a name may stand once.
    pub(super) fn expressions<'a>(
        &mut self,
        path: &str,
        sources: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Expression> {
        let mut names = BTreeSet::new();
        let mut result = Vec::new();
        for (index, (name, source)) in sources.enumerate() {
            let path = format!("{path}[{index}]");
            if !names.insert(name) {
                let name = printable(name);
                self.report(format!("{path}.name"), format!("the name {name} stands twice: give each another"));
            }
            if !is_name(name) {
                self.report(
                    format!("{path}.name"),
                    "a name is letters, digits, '-', '_' and '.', with a letter or digit at both ends; write, for example, \
                     short-name",
                );
            }
            match Expression::compile(name, source, &mut self.room) {
                Ok(expression) => result.push(expression),
                Err(problem) => self.report(format!("{path}.expression"), problem),
            }
        }
        result
    }

    fn requestors(&mut self, path: &str, entries: Vec<api::Requestor>) -> Vec<RequestorMatcher> {
        self.not_empty(path, &entries, "add an entry, for example - groups: [platform-onboarding]");
        let mut result = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            if entry.users.is_none() && entry.groups.is_none() && entry.service_accounts.is_none() {
                self.report(path.as_str(), "a requestor needs at least one of users, groups or serviceAccounts; for everybody write groups: ['system:authenticated']");
            }
            let mut wide = |name: &str, list: Option<Vec<String>>| {
                let path = format!("{path}.{name}");
                list.map(|list| {
                    self.not_empty(&path, &list, "name at least one, or remove the list");
                    self.each(&path, &list, |item| WidePattern::new(item, Field::Identity))
                })
            };
            let users = wide("users", entry.users);
            let groups = wide("groups", entry.groups);
            let service_accounts = entry.service_accounts.map(|list| {
                let path = format!("{path}.serviceAccounts");
                self.not_empty(&path, &list, "name at least one as namespace/name, or remove the list");
                self.each(&path, &list, service_account)
            });
            result.push(RequestorMatcher { users, groups, service_accounts, credential: entry.credential });
        }
        result
    }
}

/// Whether a condition or a validation can be called so. The schema bounds its length.
fn is_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

fn service_account(item: &str) -> Result<(WidePattern, WidePattern), String> {
    let wrong = || {
        "a service account is namespace/name in lower case, either part with *; for example ci/runner or ci/*"
            .to_owned()
    };
    let part = |part: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '*' | '-');
        if part.is_empty() || !part.chars().all(known) { Err(wrong()) } else { WidePattern::new(part, Field::Identity) }
    };
    let (namespace, name) = item.split_once('/').ok_or_else(wrong)?;
    Ok((part(namespace)?, part(name)?))
}
