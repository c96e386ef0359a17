//! What an expression names must be there: variables, fields and functions, so that a slip is found
//! when it is written and not when a request comes.

use std::sync::Arc;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::pattern::{Pattern, Room};
use super::types::{Type, Types};
use super::{bindings, empty, functions, located};
use crate::nearest::nearest;

/// How deep comprehensions (`all`, `exists`, `map`, …) may nest.
const MAX_COMPREHENSIONS: usize = 2;

/// How many regular expressions there may be: each takes some milliseconds to compile.
const MAX_PATTERNS: usize = 8;

/// An expression that may be evaluated.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) ast: IdedExpr,
    pub(super) patterns: Vec<Arc<Pattern>>,
    /// Whether it reads what is only known of a request that decodes.
    pub(super) reads_content: bool,
    /// Whether it reads `node`.
    pub(super) reads_node: bool,
    /// The lists that `all` goes over, and without which the expression may hold.
    pub(super) all_over: Vec<String>,
}

/// Checks `ast`, and compiles the regular expressions in it, if there is `room`.
pub(super) fn check(source: &str, mut ast: IdedExpr, room: &mut Room) -> Result<Checked, String> {
    let mut checker = Checker {
        source,
        room,
        variables: Vec::new(),
        patterns: Vec::new(),
        reads_content: false,
        reads_node: false,
        all_over: Vec::new(),
    };
    checker.expression(&mut ast, 0)?;
    let gives = Types::new(&checker.patterns).of(&ast).map_err(|(place, problem)| {
        // Where it stands more than once, which one is meant is not known.
        if source.matches(&place).count() == 1 { checker.at(&place, &problem) } else { problem }
    })?;
    if !matches!(gives, Type::Bool | Type::Any) {
        return Err(format!("it must be true or false, and gives {gives}: compare it, for example with == or in"));
    }
    let Checker { patterns, reads_content, reads_node, mut all_over, .. } = checker;
    all_over.sort();
    all_over.dedup();
    all_over.retain(|list| empty::lets_nothing_through(&ast, list));
    Ok(Checked { ast, patterns, reads_content, reads_node, all_over })
}

struct Checker<'a> {
    source: &'a str,
    room: &'a mut Room,
    /// What comprehensions around have declared.
    variables: Vec<String>,
    patterns: Vec<Arc<Pattern>>,
    reads_content: bool,
    reads_node: bool,
    all_over: Vec<String>,
}

impl Checker<'_> {
    fn expression(&mut self, node: &mut IdedExpr, comprehensions: usize) -> Result<(), String> {
        match &mut node.expr {
            Expr::Unspecified => Err("it has a part that cannot be read".to_owned()),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                let name = name.clone();
                self.identifier(&name)
            }
            Expr::Select(select) => {
                if let Some(path) = path(&select.operand, &select.field) {
                    return self.path(&path);
                }
                self.expression(&mut select.operand, comprehensions)
            }
            Expr::Call(call) => self.call(call, comprehensions),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|item| self.expression(item, comprehensions)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&mut entry.key, comprehensions)?;
                    self.expression(&mut entry.value, comprehensions)
                }
                EntryExpr::StructField(field) => self.expression(&mut field.value, comprehensions),
            }),
            Expr::Struct(object) => Err(self.at(&object.type_name, &format!("there is no type {}", object.type_name))),
            Expr::Comprehension(comprehension) => {
                if comprehensions >= MAX_COMPREHENSIONS {
                    return Err(format!(
                        "all, exists, exists_one, filter and map nest deeper than {MAX_COMPREHENSIONS}: split it into several"
                    ));
                }
                // Of the macros, only `all` begins with true.
                if matches!(&comprehension.accu_init.expr, Expr::Literal(LiteralValue::Boolean(begins)) if *begins.inner())
                    && let Expr::Select(select) = &comprehension.iter_range.expr
                    && let Some(path) = path(&select.operand, &select.field)
                {
                    self.all_over.push(path.join("."));
                }
                self.expression(&mut comprehension.iter_range, comprehensions)?;
                let declared = self.variables.len();
                for name in
                    [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref(), Some(&comprehension.accu_var)]
                {
                    let Some(name) = name else { continue };
                    if bindings::ROOTS.contains(&name.as_str()) {
                        return Err(
                            self.at(name, &format!("the variable {name} would hide {name}: give it another name"))
                        );
                    }
                    self.variables.push(name.clone());
                }
                let parts = [
                    &mut comprehension.accu_init,
                    &mut comprehension.loop_cond,
                    &mut comprehension.loop_step,
                    &mut comprehension.result,
                ];
                parts.into_iter().try_for_each(|part| self.expression(part, comprehensions + 1))?;
                self.variables.truncate(declared);
                Ok(())
            }
        }
    }

    fn identifier(&mut self, name: &str) -> Result<(), String> {
        if name == "csr" {
            // As a whole it has everything in it.
            self.reads_content = true;
        }
        self.reads_node |= name == bindings::NODE;
        if bindings::ROOTS.contains(&name) || self.variables.iter().any(|variable| variable == name) {
            return Ok(());
        }
        let known = bindings::ROOTS.into_iter().chain(self.variables.iter().map(String::as_str));
        let hint = nearest(name, known).unwrap_or("csr, requestor or node").to_owned();
        Err(self.at(name, &format!("there is no variable {name}; did you mean {hint}?")))
    }

    /// `root.field.…`, where the root is not a variable of the expression's own.
    fn path(&mut self, path: &[&str]) -> Result<(), String> {
        let (root, fields) = path.split_first().ok_or("an empty path")?;
        if !bindings::ROOTS.contains(root) {
            return self.identifier(root);
        }
        let mut at = (*root).to_owned();
        for field in fields {
            let known: Vec<&str> = bindings::fields(&at).into_iter().map(|(name, _)| name).collect();
            // Values below are not objects whose fields are known.
            if known.is_empty() {
                break;
            }
            if !known.contains(field) {
                return Err(self.at(field, &bindings::no_field(&at, field, &known)));
            }
            at = format!("{at}.{field}");
        }
        self.reads_content |= bindings::is_content(path);
        self.reads_node |= *root == bindings::NODE;
        Ok(())
    }

    fn call(&mut self, call: &mut CallExpr, comprehensions: usize) -> Result<(), String> {
        let name = call.func_name.clone();
        // `optional.of(…)` parses as a member of a variable `optional`.
        let qualified = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(space) => Some(format!("{space}.{name}")).filter(|name| functions::is_known(name)),
            _ => None,
        });
        let is_namespaced = qualified.is_some();
        if let Some(Expr::Ident(space)) = call.target.as_ref().map(|target| &target.expr)
            && space == functions::SETS
            && !self.variables.contains(space)
        {
            let problem = format!("there is no function {space}.{name}: {}", functions::INSTEAD_OF_SETS);
            return Err(self.at(space, &problem));
        }
        if let Some(form) = functions::macro_form(&name) {
            return Err(self.at(&name, &format!("{name} stands here as in {form}, with no other arguments")));
        }
        if !is_namespaced && !functions::is_known(&name) {
            let hint =
                nearest(&name, functions::names()).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(self.at(&name, &format!("there is no function {name}{hint}")));
        }
        if functions::takes_pattern(&name) {
            self.pattern(call, &name)?;
        }
        if !is_namespaced && let Some(target) = &mut call.target {
            self.expression(target, comprehensions)?;
        }
        let arguments = call.args.iter_mut().filter(|argument| !functions::is_pattern(argument));
        arguments.into_iter().try_for_each(|argument| self.expression(argument, comprehensions))
    }

    /// Compiles the regular expression of a call, and puts a reference to it in its place.
    fn pattern(&mut self, call: &mut CallExpr, name: &str) -> Result<(), String> {
        if self.patterns.len() == MAX_PATTERNS {
            let problem = format!("it has more than {MAX_PATTERNS} regular expressions: join some with |, or split it");
            return Err(self.at(name, &problem));
        }
        let literal = match call.args.first().map(|argument| &argument.expr) {
            Some(Expr::Literal(LiteralValue::String(text))) if call.args.len() == 1 => text.inner().to_owned(),
            _ => {
                return Err(self.at(
                    name,
                    &format!("{name} takes one regular expression as a literal, for example {name}('^[a-z]+$'): what is not written down cannot be checked"),
                ));
            }
        };
        let pattern = Pattern::new(&literal, self.room).map_err(|error| {
            // Most are written with two backslashes for each.
            let written = literal.replace('\\', "\\\\");
            self.at(if self.source.contains(&written) { &written } else { &literal }, &error)
        })?;
        if let Some(argument) = call.args.first_mut() {
            argument.expr = functions::reference(self.patterns.len());
        }
        self.patterns.push(Arc::new(pattern));
        Ok(())
    }

    /// `problem`, with a caret under the first place where `what` stands.
    fn at(&self, what: &str, problem: &str) -> String {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let bounded = |at: usize| {
            let before = self.source[..at].chars().next_back();
            let after = self.source[at + what.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        };
        let Some((at, _)) = self.source.match_indices(what).find(|(at, _)| bounded(*at)) else {
            return problem.to_owned();
        };
        let before = &self.source[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        located(self.source, line, column, problem)
    }
}

/// The names from the root of a chain of selections down to `field`, if there is one.
pub(super) fn path<'a>(operand: &'a IdedExpr, field: &'a str) -> Option<Vec<&'a str>> {
    let mut names = vec![field];
    let mut node = &operand.expr;
    loop {
        match node {
            Expr::Select(select) => {
                names.push(&select.field);
                node = &select.operand.expr;
            }
            Expr::Ident(name) => {
                names.push(name);
                names.reverse();
                return Some(names);
            }
            _ => return None,
        }
    }
}
