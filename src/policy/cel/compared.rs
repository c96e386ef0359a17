//! What is compared could be the same: of types that go together, and of texts that there are.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::functions;
use super::pattern::Pattern;
use super::types::{Type, Wrong};
use super::words::{How, Words};
use crate::escape::printable;
use crate::request::Usage;

/// The texts that a variable stands for, one after the other, where these are written down.
pub(super) type Texts<'a> = &'a [(String, Vec<String>)];

/// The operands of `==` and `!=`.
pub(super) fn equal(call: &CallExpr, first: &Type, second: &Type, texts: Texts<'_>) -> Result<(), Wrong> {
    let sign = if call.func_name == operators::EQUALS { "==" } else { "!=" };
    first.with(second).ok_or_else(|| never(sign, first, second))?;
    let [one, other] = call.args.as_slice() else { return Ok(()) };
    in_order(first, other)?;
    in_order(second, one)?;
    written(first, How::Equals, other, texts)?;
    written(second, How::Equals, one, texts)
}

/// That a list of usages is written down in the order in which they are seen.
fn in_order(of: &Type, node: &IdedExpr) -> Result<(), Wrong> {
    let (Type::List(of), Expr::List(list)) = (of, &node.expr) else { return Ok(()) };
    if **of != Type::Word(Words::Usage) {
        return Ok(());
    }
    let usages: Option<Vec<Usage>> = list.elements.iter().map(|item| Usage::from_name(text(item)?)).collect();
    match usages {
        Some(usages) if !usages.is_sorted_by(|one, other| one < other) => {
            let problem = "usages are seen each once and in the order of docs/expressions.md, whatever the order was in which they \
                           were asked for: compare them with in and size()";
            Err(("[".to_owned(), problem.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The operands of `in`.
pub(super) fn contained(call: &CallExpr, first: &Type, second: &Type, texts: Texts<'_>) -> Result<(), Wrong> {
    let of = match second {
        Type::List(of) => &**of,
        Type::Map(of) => &of.0,
        Type::Any => &Type::Any,
        other => return Err(("in".to_owned(), format!("in takes a list or a map behind it, and not {other}"))),
    };
    first.with(of).ok_or_else(|| never("in", first, second))?;
    let [item, list] = call.args.as_slice() else { return Ok(()) };
    written(of, How::Equals, item, texts)?;
    let items =
        if let Type::Map(of) = second { Type::map(first.clone(), of.1.clone()) } else { Type::list(first.clone()) };
    written(&items, How::Equals, list, texts)
}

/// What `matches`, `startsWith`, `endsWith` and `contains` look for in what is of the type `of`.
pub(super) fn found(call: &CallExpr, of: &Type, patterns: &[Arc<Pattern>], texts: Texts<'_>) -> Result<(), Wrong> {
    let Some(argument) = call.args.first() else { return Ok(()) };
    match (of, functions::pattern(argument, patterns), How::of_function(&call.func_name)) {
        (Type::Word(words), Some(pattern), _) => fits(*words, pattern),
        (_, None, Some(how)) => written(of, how, argument, texts),
        _ => Ok(()),
    }
}

/// That what is written down in `node` can be what it is compared with.
fn written(of: &Type, how: How, node: &IdedExpr, texts: Texts<'_>) -> Result<(), Wrong> {
    match (of, &node.expr) {
        (Type::Word(words), Expr::Literal(_)) => text(node).map_or(Ok(()), |text| fits_text(*words, how, text)),
        (Type::Word(words), Expr::Ident(name)) => {
            let stands_for = texts.iter().rev().find(|(variable, _)| variable == name);
            stands_for.into_iter().flat_map(|(_, texts)| texts).try_for_each(|text| fits_text(*words, how, text))
        }
        (Type::List(of), Expr::List(list)) => list.elements.iter().try_for_each(|item| written(of, how, item, texts)),
        (Type::Map(of), Expr::Map(map)) => map.entries.iter().try_for_each(|entry| {
            let EntryExpr::MapEntry(entry) = &entry.expr else { return Ok(()) };
            written(&of.0, how, &entry.key, texts)?;
            written(&of.1, how, &entry.value, texts)
        }),
        (_, Expr::Call(call)) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).try_for_each(|branch| written(of, how, branch, texts))
        }
        (Type::Optional(of), Expr::Call(call)) if matches!(call.func_name.as_str(), "of" | "ofNonZeroValue") => {
            call.args.iter().try_for_each(|value| written(of, how, value, texts))
        }
        _ => Ok(()),
    }
}

fn fits_text(words: Words, how: How, text: &str) -> Result<(), Wrong> {
    let Some(why) = words.never(how, text) else { return Ok(()) };
    Err((text.to_owned(), format!("{:?} is never found: {why}", printable(text))))
}

/// The text that is written down there.
pub(super) fn text(node: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &node.expr { Some(text.inner()) } else { None }
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
