//! Expressions in CEL, the Common Expression Language that Kubernetes users know from CRDs and
//! admission policies: `match.conditions` and `validations`.
//!
//! The crate that evaluates them has no limit of cost and recurses, so an expression is bounded
//! before it is parsed (`bounds`), what it names is checked when it is compiled (`check`), and
//! before each evaluation an upper bound of its cost is computed from the sizes of what it reads
//! (`cost`). What fails, or would cost too much, is unknown: never true and never false.

mod addresses;
mod bindings;
mod bounds;
mod check;
mod compared;
mod cost;
mod empty;
mod failure;
mod functions;
mod pattern;
mod types;
mod words;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::Value;
use cel::common::ast::IdedExpr;

pub use bindings::Bindings;
pub(super) use bounds::NO_THREAD;
use pattern::Pattern;
pub use pattern::Room;

use super::Truth;
use crate::escape::printable;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    name: String,
    source: String,
    ast: Arc<IdedExpr>,
    /// The regular expressions that stand in it, compiled; the tree refers to them by index.
    patterns: Arc<[Arc<Pattern>]>,
    reads_content: bool,
    reads_node: bool,
    all_over: Vec<String>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.source == other.source
    }
}

impl Eq for Expression {}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.source).hash(state);
    }
}

impl Expression {
    /// Compiles `source`, if there is `room` for the regular expressions in it; the error says what is wrong and where,
    /// with a caret under the column.
    pub(super) fn compile(name: &str, source: &str, room: &mut Room) -> Result<Self, String> {
        let parsed = bounds::parse(source)?;
        let checked = check::check(source, parsed, room)?;
        Ok(Self {
            name: name.to_owned(),
            source: source.to_owned(),
            ast: Arc::new(checked.ast),
            patterns: checked.patterns.into(),
            reads_content: checked.reads_content,
            reads_node: checked.reads_node,
            all_over: checked.all_over,
        })
    }

    /// Compiles `source` as the only expression of its object.
    #[cfg(test)]
    fn new(name: &str, source: &str) -> Result<Self, String> {
        Self::compile(name, source, &mut Room::default())
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The expression as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The lists of the request, such as `csr.dnsNames`, without which it may hold because `all` is true of nothing.
    #[must_use]
    pub fn all_over(&self) -> &[String] {
        &self.all_over
    }

    /// Whether it reads the Node of the requestor.
    #[must_use]
    pub const fn reads_node(&self) -> bool {
        self.reads_node
    }

    /// Whether it holds for a request; unknown where it fails, where it would cost more than the
    /// budget, or where it reads what did not decode or a Node that is not known.
    #[must_use]
    pub fn holds(&self, bindings: &Bindings<'_>) -> Truth {
        if self.reads_content && !bindings.is_decoded() {
            return self.unknown("it reads what did not decode");
        }
        if self.reads_node
            && let Err(why) = bindings.node()
        {
            return self.unknown(why);
        }
        if let Err(over) = cost::check(&self.ast, &self.patterns, bindings) {
            return self.unknown(&over);
        }
        // The budget bounds time and the depth of the tree the stack; a panic is a bug of a
        // dependency, and must not take a decision with it.
        let result = catch_unwind(AssertUnwindSafe(|| functions::evaluate(&self.ast, &self.patterns, bindings)));
        match result {
            Ok(Ok(Value::Bool(holds))) => holds.into(),
            Ok(Ok(other)) => self.unknown(&format!("it gives {}, not true or false", other.type_of())),
            Ok(Err(error)) => self.unknown(&failure::sentence(&error)),
            Err(_) => self.unknown("its evaluation broke"),
        }
    }

    fn unknown(&self, why: &str) -> Truth {
        let (name, source) = (printable(&self.name), printable(&self.source));
        Truth::Unknown(format!("the expression {name} ({source}) cannot be evaluated: {why}"))
    }
}

/// The names of the functions and macros that an expression may call, operators excepted.
#[must_use]
pub fn expression_functions() -> Vec<&'static str> {
    functions::names().collect()
}

/// `problem` at a column of `source` (both from 1), with the line and a caret under it.
fn located(source: &str, line: usize, column: usize, problem: &str) -> String {
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // As wide as what stands before it is when it is shown.
    let before: String = text.chars().take(column.saturating_sub(1)).collect();
    let caret = " ".repeat(printable(&before).chars().count());
    format!("line {line}, column {column}: {problem}\n  {}\n  {caret}^", printable(text))
}

#[cfg(test)]
mod tests;
