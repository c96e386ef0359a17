//! What an expression gives for a request that has nothing in one of its lists, as far as that is seen without a request:
//! `all` is true of an empty list, and whoever writes it seldom means that.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::check::path;

/// Whether `ast` may hold for a request with nothing in `list`, and only may because `all` is true of it.
pub(super) fn lets_nothing_through(ast: &IdedExpr, list: &str) -> bool {
    let likely = |all| match (Without { list, all }).value(ast, None) {
        Bool(true) => 2,
        Bool(false) | Fails => 0,
        _ => 1,
    };
    likely(true) > likely(false)
}

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Bool(bool),
    Number(i64),
    /// A list without items.
    Empty,
    /// A list with some.
    Filled,
    /// It cannot be told, whatever else is in the request.
    Fails,
    Unknown,
}

use Known::{Bool, Empty, Fails, Filled, Number, Unknown};

struct Without<'a> {
    list: &'a str,
    /// What `all` gives of an empty list.
    all: bool,
}

impl Without<'_> {
    /// The value of `node` inside of a comprehension that has `gathered` so much in a variable, if it is inside of one.
    fn value(&self, node: &IdedExpr, gathered: Option<(&str, Known)>) -> Known {
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => Bool(*value.inner()),
            Expr::Literal(LiteralValue::Int(value)) => Number(*value.inner()),
            Expr::Ident(name) => gathered.filter(|(known, _)| known == name).map_or(Unknown, |(_, value)| value),
            Expr::Select(select) if !select.test => {
                let is_list = path(&select.operand, &select.field).is_some_and(|path| path.join(".") == self.list);
                if is_list { Empty } else { Unknown }
            }
            Expr::List(list) if list.elements.is_empty() => Empty,
            Expr::List(list) if list.optional_indices.is_empty() => Filled,
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, gathered),
            Expr::Call(call) => self.call(call, gathered),
            _ => Unknown,
        }
    }

    /// A list of which nothing is known is taken to have something in it.
    fn comprehension(&self, comprehension: &ComprehensionExpr, gathered: Option<(&str, Known)>) -> Known {
        let ComprehensionExpr { iter_range, accu_var, accu_init, loop_step, result, .. } = comprehension;
        let begins = self.value(accu_init, gathered);
        let ends = match self.value(iter_range, gathered) {
            Fails => return Fails,
            // Of the macros, only `all` begins with true.
            Empty if begins == Bool(true) => Bool(self.all),
            Empty => begins,
            _ => self.value(loop_step, Some((accu_var, begins))),
        };
        self.value(result, Some((accu_var, ends)))
    }

    fn call(&self, call: &CallExpr, gathered: Option<(&str, Known)>) -> Known {
        let operands = call.target.as_deref().into_iter().chain(&call.args);
        let operands: Vec<Known> = operands.map(|operand| self.value(operand, gathered)).collect();
        match (call.func_name.as_str(), operands.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => both(*a, *b),
            (operators::LOGICAL_OR, [a, b]) => either(*a, *b),
            (operators::LOGICAL_NOT, [a]) => not(*a),
            (operators::CONDITIONAL, [Bool(holds), a, b]) => *if *holds { a } else { b },
            (operators::CONDITIONAL, [Unknown, a, b]) if a == b => *a,
            (operators::CONDITIONAL, [Unknown, ..]) => Unknown,
            (_, operands) if operands.contains(&Fails) => Fails,
            (operators::EQUALS, [a, b]) => same(*a, *b),
            (operators::NOT_EQUALS, [a, b]) => not(same(*a, *b)),
            (operators::LESS, [Number(a), Number(b)]) => Bool(a < b),
            (operators::LESS_EQUALS, [Number(a), Number(b)]) => Bool(a <= b),
            (operators::GREATER, [Number(a), Number(b)]) => Bool(a > b),
            (operators::GREATER_EQUALS, [Number(a), Number(b)]) => Bool(a >= b),
            (operators::IN, [_, Empty]) => Bool(false),
            (operators::INDEX, [Empty, _]) => Fails,
            (operators::ADD, [Filled, _] | [_, Filled]) => Filled,
            ("size", [Empty]) => Number(0),
            (operators::ADD, [Empty, Empty]) | ("sort" | "distinct" | "flatten" | "reverse", [Empty]) => Empty,
            _ => Unknown,
        }
    }
}

/// False is false beside what fails, too.
fn both(a: Known, b: Known) -> Known {
    match (a, b) {
        (Bool(false), _) | (_, Bool(false)) => Bool(false),
        (Bool(true), Bool(true)) => Bool(true),
        (Fails, _) | (_, Fails) => Fails,
        _ => Unknown,
    }
}

fn either(a: Known, b: Known) -> Known {
    match (a, b) {
        (Bool(true), _) | (_, Bool(true)) => Bool(true),
        (Bool(false), Bool(false)) => Bool(false),
        (Unknown, _) | (_, Unknown) => Unknown,
        _ => Fails,
    }
}

const fn not(value: Known) -> Known {
    match value {
        Bool(value) => Bool(!value),
        other => other,
    }
}

fn same(a: Known, b: Known) -> Known {
    match (a, b) {
        (Bool(_), Bool(_)) | (Number(_), Number(_)) | (Empty, Empty | Filled) | (Filled, Empty) => Bool(a == b),
        _ => Unknown,
    }
}
