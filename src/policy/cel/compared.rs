//! What is compared could be the same: of types that go together, and of texts that there are.

use std::sync::Arc;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::functions;
use super::pattern::Pattern;
use super::types::{Type, Wrong};
use super::words::{How, Words};
use crate::escape::printable;

/// The operands of `==` and `!=`.
pub(super) fn equal(call: &CallExpr, first: &Type, second: &Type) -> Result<(), Wrong> {
    let sign = if call.func_name == operators::EQUALS { "==" } else { "!=" };
    first.with(second).ok_or_else(|| never(sign, first, second))?;
    let [one, other] = call.args.as_slice() else { return Ok(()) };
    written(first, How::Equals, other)?;
    written(second, How::Equals, one)
}

/// The operands of `in`.
pub(super) fn contained(call: &CallExpr, first: &Type, second: &Type) -> Result<(), Wrong> {
    let of = match second {
        Type::List(of) => &**of,
        Type::Map(of) => &of.0,
        Type::Any => &Type::Any,
        other => return Err(("in".to_owned(), format!("in takes a list or a map behind it, and not {other}"))),
    };
    first.with(of).ok_or_else(|| never("in", first, second))?;
    let [item, list] = call.args.as_slice() else { return Ok(()) };
    written(of, How::Equals, item)?;
    written(&Type::list(first.clone()), How::Equals, list)
}

/// What `matches`, `startsWith`, `endsWith` and `contains` look for in what is of the type `of`.
pub(super) fn found(call: &CallExpr, of: &Type, patterns: &[Arc<Pattern>]) -> Result<(), Wrong> {
    let Some(argument) = call.args.first() else { return Ok(()) };
    match (of, functions::pattern(argument, patterns), How::of_function(&call.func_name)) {
        (Type::Word(words), Some(pattern), _) => fits(*words, pattern),
        (_, None, Some(how)) => written(of, how, argument),
        _ => Ok(()),
    }
}

/// That what is written down in `node` can be what it is compared with.
fn written(of: &Type, how: How, node: &IdedExpr) -> Result<(), Wrong> {
    match (of, &node.expr) {
        (Type::Word(words), Expr::Literal(LiteralValue::String(text))) => match words.never(how, text.inner()) {
            Some(why) => Err((text.inner().to_owned(), format!("{:?} is never found: {why}", printable(text.inner())))),
            None => Ok(()),
        },
        (Type::List(of), Expr::List(list)) => list.elements.iter().try_for_each(|item| written(of, how, item)),
        (_, Expr::Call(call)) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).try_for_each(|branch| written(of, how, branch))
        }
        _ => Ok(()),
    }
}

/// That a regular expression can be found in one of `words`.
fn fits(words: Words, pattern: &Pattern) -> Result<(), Wrong> {
    let why = match words.all() {
        // An empty one tells that it is missing.
        Some(all) if !all.iter().chain(&[""]).any(|word| pattern.is_match(word) != Some(false)) => {
            format!("in {}", all.join(", "))
        }
        None if words.are_lower_case() && pattern.needs_capital() => {
            "where all letters are in lower case: write it so, or (?i) before it".to_owned()
        }
        _ => return Ok(()),
    };
    Err(("matches".to_owned(), format!("{:?} is never found {why}", printable(pattern.source()))))
}

/// That `sign` compares what is never the same.
pub(super) fn never(sign: &str, one: &Type, other: &Type) -> Wrong {
    let hint = match (one, other) {
        (Type::Optional(_), _) | (_, Type::Optional(_)) => "; write .orValue(…) behind the optional, or .hasValue()",
        (Type::Null, _) | (_, Type::Null) => "; has(…) tells whether something is there",
        _ => "",
    };
    (sign.to_owned(), format!("{sign} compares {one} with {other}, which is never the same{hint}"))
}
