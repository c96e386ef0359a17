//! What is compared could be the same: of types that go together, and of texts that there are.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr, MapExpr, operators};

use super::functions;
use super::pattern::Pattern;
use super::types::{Type, Wrong};
use super::words::{How, Misfit, Order, Words};
use crate::escape::printable;
use crate::request::Usage;

/// What is known of the texts in an expression.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// What variables stand for, one after the other, where that is written down.
    pub(super) of_variables: Vec<(String, Vec<String>)>,
    /// What stands for what is missing.
    pub(super) in_place: Vec<String>,
}

/// Nothing, or why what is written down is never what it is compared with.
type Fit = Result<(), (Wrong, Misfit)>;

/// The operands of `==` and `!=`.
pub(super) fn equal(call: &CallExpr, first: &Type, second: &Type, texts: &Texts) -> Result<(), Wrong> {
    let sign = if call.func_name == operators::EQUALS { "==" } else { "!=" };
    first.with(second).ok_or_else(|| never(sign, first, second))?;
    let [one, other] = call.args.as_slice() else { return Ok(()) };
    texts.written(first, How::Equals, other).and_then(|()| texts.written(second, How::Equals, one)).map_err(wrong)
}

/// The operands of `in`.
pub(super) fn contained(call: &CallExpr, first: &Type, second: &Type, texts: &Texts) -> Result<(), Wrong> {
    let of = match second {
        Type::List(of) => &**of,
        Type::Map(of) => &of.0,
        Type::Any => &Type::Any,
        other => return Err(("in".to_owned(), format!("in takes a list or a map behind it, and not {other}"))),
    };
    first.with(of).ok_or_else(|| never("in", first, second))?;
    let [item, list] = call.args.as_slice() else { return Ok(()) };
    texts.written(of, How::Equals, item).and_then(|()| texts.among(first, list)).map_err(wrong)
}

/// What `matches`, `startsWith`, `endsWith`, `contains` and `indexOf` look for in what is of the type `of`.
pub(super) fn found(call: &CallExpr, of: &Type, patterns: &[Arc<Pattern>], texts: &Texts) -> Result<(), Wrong> {
    let Some(argument) = call.args.first() else { return Ok(()) };
    match (of, functions::pattern(argument, patterns), How::of_function(&call.func_name)) {
        (Type::Word(words), Some(pattern), _) => fits(*words, pattern),
        (_, None, Some(how)) => texts.written(of, how, argument).map_err(wrong),
        _ => Ok(()),
    }
}

/// The keys of a map that is written down, where what is looked up in it is of the type `of`.
pub(super) fn looked_up(call: &CallExpr, of: &Type, texts: &Texts) -> Result<(), Wrong> {
    match call.args.first() {
        Some(map) if matches!(map.expr, Expr::Map(_)) => texts.among(of, map).map_err(wrong),
        _ => Ok(()),
    }
}

/// That what stands for what is missing is not another spelling of one that there is.
pub(super) fn in_place(words: Words, text: &str) -> Result<(), Wrong> {
    let misfit = words.all().and_then(|_| words.never(How::Equals, text)).filter(|misfit| misfit.is_meant);
    misfit.map_or(Ok(()), |misfit| Err(wrong(not_found(text, misfit))))
}

impl Texts {
    /// That what is written down in `node` can be what it is compared with.
    fn written(&self, of: &Type, how: How, node: &IdedExpr) -> Fit {
        match (of, &node.expr) {
            (Type::Word(words), Expr::Literal(_)) => text(node).map_or(Ok(()), |text| self.text(*words, how, text)),
            (Type::Word(words), Expr::Ident(name)) => {
                let stands_for = self.of_variables.iter().rev().find(|(variable, _)| variable == name);
                one_of(stands_for.into_iter().flat_map(|(_, texts)| texts).map(|text| self.text(*words, how, text)))
            }
            (Type::List(inner), Expr::List(list)) => {
                in_order(inner, list)?;
                list.elements.iter().try_for_each(|item| self.written(inner, how, item))
            }
            (Type::Map(of), Expr::Map(map)) => entries(map).try_for_each(|entry| {
                self.written(&of.0, how, &entry.key)?;
                self.written(&of.1, how, &entry.value)
            }),
            (Type::Optional(of), Expr::Call(call)) if matches!(call.func_name.as_str(), "of" | "ofNonZeroValue") => {
                call.args.iter().try_for_each(|value| self.written(of, how, value))
            }
            (_, Expr::Call(call)) => {
                let optional = Type::Optional(Box::new(of.clone()));
                let of = match of {
                    Type::Optional(inner) if call.func_name == operators::OPT_INDEX => inner,
                    of => of,
                };
                one_of(
                    alternatives(call)
                        .into_iter()
                        .map(|(node, is_optional)| self.written(if is_optional { &optional } else { of }, how, node)),
                )
            }
            _ => Ok(()),
        }
    }

    /// That something of the type `of` can be in the list or the map that is written down in `node`.
    fn among(&self, of: &Type, node: &IdedExpr) -> Fit {
        match &node.expr {
            Expr::List(list) => one_of(list.elements.iter().map(|item| self.written(of, How::Equals, item))),
            Expr::Map(map) => one_of(entries(map).map(|entry| self.written(of, How::Equals, &entry.key))),
            Expr::Call(call) if call.func_name == operators::ADD => {
                one_of(call.args.iter().map(|part| self.among(of, part)))
            }
            Expr::Call(call) => one_of(alternatives(call).into_iter().map(|(node, _)| self.among(of, node))),
            _ => Ok(()),
        }
    }

    fn text(&self, words: Words, how: How, text: &str) -> Fit {
        match words.never(how, text) {
            Some(misfit) if !self.in_place.iter().any(|known| known == text) => Err(not_found(text, misfit)),
            _ => Ok(()),
        }
    }
}

/// One that fits is enough, unless another is nothing at all here.
fn one_of(fits: impl IntoIterator<Item = Fit>) -> Fit {
    let (mut fit, mut first) = (false, None);
    for each in fits {
        match each {
            Ok(()) => fit = true,
            Err((wrong, misfit)) if !misfit.is_other => return Err((wrong, misfit)),
            Err(misfit) => first = first.or(Some(misfit)),
        }
    }
    first.filter(|_| !fit).map_or(Ok(()), Err)
}

/// What a call gives one of, and whether that is in an optional.
fn alternatives(call: &CallExpr) -> Vec<(&IdedExpr, bool)> {
    match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
        (operators::CONDITIONAL, None, [_, one, other]) => vec![(one, false), (other, false)],
        ("orValue", Some(target), [other]) => vec![(target, true), (other, false)],
        (operators::INDEX | operators::OPT_INDEX, None, [from, _]) => match &from.expr {
            Expr::List(list) => list.elements.iter().map(|item| (item, false)).collect(),
            Expr::Map(map) => entries(map).map(|entry| (&entry.value, false)).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The keys and values of a map that is written down.
pub(super) fn entries(map: &MapExpr) -> impl Iterator<Item = &MapEntryExpr> {
    map.entries.iter().filter_map(|entry| match &entry.expr {
        EntryExpr::MapEntry(entry) => Some(entry),
        EntryExpr::StructField(_) => None,
    })
}

/// That a list of usages is written down in the order in which they are seen.
fn in_order(of: &Type, list: &ListExpr) -> Fit {
    let Type::Word(Words::Usage(order)) = of else { return Ok(()) };
    let usages: Option<Vec<Usage>> = list.elements.iter().map(|item| Usage::from_name(text(item)?)).collect();
    let Some(usages) = usages else { return Ok(()) };
    let (is_sorted, which) = match order {
        Order::Listed => (usages.is_sorted_by(|one, other| one < other), "the order of docs/expressions.md"),
        Order::Sorted => (usages.is_sorted_by(|one, other| one.name() < other.name()), "that of the alphabet"),
        Order::Any => return Ok(()),
    };
    if is_sorted {
        return Ok(());
    }
    let problem = format!(
        "usages are seen each once and in {which}, whatever the order was in which they were asked for: compare them with \
         in and size()"
    );
    Err((("[".to_owned(), problem), Misfit { why: String::new(), is_meant: false, is_other: true }))
}

fn not_found(text: &str, misfit: Misfit) -> (Wrong, Misfit) {
    ((text.to_owned(), format!("{:?} is never found: {}", printable(text), misfit.why)), misfit)
}

fn wrong((wrong, _): (Wrong, Misfit)) -> Wrong {
    wrong
}

/// The texts that are written down there; an empty one for what is not, which goes with everything.
pub(super) fn texts<'a>(nodes: impl IntoIterator<Item = &'a IdedExpr>) -> Vec<String> {
    nodes.into_iter().map(|node| text(node).unwrap_or_default().to_owned()).collect()
}

/// The text that is written down there.
pub(super) fn text(node: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &node.expr { Some(text.inner()) } else { None }
}

/// That a regular expression can be found in one of `words`.
fn fits(words: Words, pattern: &Pattern) -> Result<(), Wrong> {
    // An empty one tells that it is missing.
    let is_found = |all: &[&str]| all.iter().chain(&[""]).any(|word| pattern.is_match(word) != Some(false));
    let why = match words.all() {
        Some(all) if is_found(&all) => return Ok(()),
        Some(all) => format!(" in {}", all.join(", ")),
        None if words.are_lower_case() && pattern.needs_capital() => {
            " where all letters are in lower case: write it so, or (?i) before it".to_owned()
        }
        None if words == Words::UpperCase && pattern.needs_small() => {
            " where all letters are capitals: write it so, or (?i) before it".to_owned()
        }
        None => {
            let never = |how, parts: &[String]| {
                let misfits: Option<Vec<Misfit>> = parts.iter().map(|part| words.never(how, part)).collect();
                misfits.and_then(|misfits| misfits.into_iter().next())
            };
            let misfit = never(How::StartsWith, pattern.beginnings()).or_else(|| never(How::EndsWith, pattern.ends()));
            let Some(misfit) = misfit else { return Ok(()) };
            format!(": {}", misfit.why)
        }
    };
    Err(("matches".to_owned(), format!("{:?} is never found{why}", printable(pattern.source()))))
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
