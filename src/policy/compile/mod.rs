//! Compile: a plain object becomes a [`Compiled`] one. Every rule of the CRD is enforced here
//! once more, because ratcheting, an older CRD and offline use all go around the API server.

mod lists;
mod matching;
mod rules;
#[cfg(test)]
mod tests;

pub use lists::{cidr, network};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cel::Room;
use super::{Compiled, Kind, PolicyObject, Problem};
use crate::api::{self, Mode, OnViolation};

/// Compiles `object`. There is always a result: where something cannot be read, it is not Ready,
/// and [`Compiled::problems`] says what and where.
pub(super) fn compile(object: &PolicyObject) -> Compiled {
    let mut compiler = Compiler { kind: object.kind, problems: Vec::new(), room: Room::default() };
    let spec = object.spec.as_ref().unwrap_or(&Value::Null);
    compiler.problems = api::schema::check(object.kind, spec);
    if !object.known_version {
        compiler.report("apiVersion", format!("this version of Countersign reads {} only", api::API_VERSION));
    }
    if object.too_large {
        compiler.report("spec", "has more values than any that this version allows: write less, or several objects");
    }
    for path in &object.unknown {
        compiler.report(path, api::schema::beside_spec(object.kind, path));
    }
    compiler.metadata(object);
    let matcher = compiler.matcher(spec);
    let rules = match object.kind {
        Kind::CSRPolicy => compiler.allow(spec),
        Kind::CSRGuardrail => compiler.limits(spec),
    };
    let mut compiled = Compiled {
        object: object.reference(),
        generation: object.generation,
        // Whatever is not plainly `Audit` may have been meant to decide.
        mode: if spec["mode"] == "Audit" { Mode::Audit } else { Mode::Enforce },
        on_violation: match &spec["onViolation"] {
            Value::Null => OnViolation::Deny,
            Value::String(value) if value == "Deny" => OnViolation::Deny,
            _ => OnViolation::LeavePending,
        },
        matcher,
        rules: if compiler.problems.is_empty() { rules } else { None },
        problems: compiler.problems,
        digest: 0,
    };
    compiled.digest = compiled.digest();
    compiled
}

/// Whether `name` is a DNS subdomain (RFC 1123), as the API server asks of names.
fn is_subdomain(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(alphanumeric)
            && label.ends_with(alphanumeric)
            && label.chars().all(|c| alphanumeric(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

struct Compiler {
    kind: Kind,
    problems: Vec<Problem>,
    /// For regular expressions in any of its expressions.
    room: Room,
}

impl Compiler {
    fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    /// What the API server refuses of the name, and drops of the namespace.
    fn metadata(&mut self, object: &PolicyObject) {
        if !object.name.is_empty() && !is_subdomain(&object.name) {
            self.report(
                "metadata.name",
                "a name is lower case letters, digits, - and ., with a letter or digit at both ends of each part; write, \
                 for example, developers or team-a.developers",
            );
        }
        if !object.namespace.is_empty() {
            let kind = object.kind;
            self.report(
                "metadata.namespace",
                format!("a {kind} is in no namespace and speaks about requests of the whole cluster: remove it"),
            );
        }
    }

    /// Whether something at or below `path` is wrong.
    fn broken(&self, path: &str) -> Option<String> {
        self.problems.iter().find(|problem| problem.is_within(path)).map(Problem::in_one_line)
    }

    /// The value at `path` as the API's own type, unless something in it is wrong.
    fn read<T: DeserializeOwned>(&mut self, path: &str, value: &Value) -> Option<T> {
        if value.is_null() || self.broken(path).is_some() {
            return None;
        }
        match serde_json::from_value(value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(path, error.to_string());
                None
            }
        }
    }

    fn not_empty<T>(&mut self, path: &str, list: &[T], instead: &str) {
        if list.is_empty() {
            self.report(path, format!("the list is empty, which would be a guess at nothing or everything: {instead}"));
        }
    }

    fn each<T>(&mut self, path: &str, items: &[String], compile: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut result = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match compile(item) {
                Ok(item) => result.push(item),
                Err(message) => self.report(format!("{path}[{index}]"), message),
            }
        }
        result
    }
}
