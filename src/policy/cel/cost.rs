//! An upper bound of what an evaluation costs, computed from the sizes of what the expression reads,
//! before anything is evaluated. Units are about a byte read or written; what is computed is never
//! less than what the evaluator does, since every value is taken to be as large as it might be.

use std::collections::HashMap;

use cel::Value;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::objects::Key;

use super::Bindings;
use super::functions::{Shape, shape};

/// What one evaluation may cost. Measured: the most expensive expressions within it take less than
/// 50 ms on a debug build.
const BUDGET: u64 = 700_000;
/// What a value takes beside its text.
const OVERHEAD: u64 = 16;

/// How large a value may be: all of it, and how many items it has if it is a list or a map.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    whole: u64,
    items: u64,
    /// The largest item.
    item: u64,
}

impl Size {
    const SCALAR: Self = Self::text(0);

    const fn text(length: u64) -> Self {
        Self { whole: OVERHEAD.saturating_add(length), items: 0, item: 0 }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::text(text.len() as u64),
            Value::List(list) => list.iter().fold(Self::SCALAR, |size, item| size.with_item(Self::of(item))),
            // A comprehension goes over the keys.
            Value::Map(map) => map.map.iter().fold(Self::SCALAR, |size, (key, item)| {
                let key = if let Key::String(key) = key { key.len() as u64 } else { 0 };
                let item = Self::of(item);
                size.with_item(Self { whole: item.whole.saturating_add(key), ..item })
            }),
            _ => Self::SCALAR,
        }
    }

    fn with_item(self, item: Self) -> Self {
        Self {
            whole: self.whole.saturating_add(item.whole).saturating_add(OVERHEAD),
            items: self.items + 1,
            item: self.item.max(item.whole),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            whole: self.whole.saturating_add(other.whole),
            items: self.items.saturating_add(other.items),
            // An operand may become an item itself.
            item: self.item.max(other.item).max(self.whole).max(other.whole),
        }
    }
}

/// Whether `ast` can be evaluated within the budget; the error is a sentence.
pub(super) fn check<'a>(ast: &'a IdedExpr, bindings: &'a Bindings<'a>) -> Result<(), String> {
    let mut estimate = Estimate { bindings, variables: HashMap::new() };
    let (cost, _) = estimate.expression(ast);
    if cost <= BUDGET {
        return Ok(());
    }
    Err(format!(
        "on this request it might cost {cost}, and may cost {BUDGET}; comprehensions inside of each other over long lists cost most"
    ))
}

struct Estimate<'a> {
    bindings: &'a Bindings<'a>,
    variables: HashMap<&'a str, Size>,
}

impl<'a> Estimate<'a> {
    /// What it costs, and how large the result may be.
    fn expression(&mut self, node: &'a IdedExpr) -> (u64, Size) {
        match &node.expr {
            Expr::Literal(literal) => {
                let length = match literal {
                    LiteralValue::String(text) => text.inner().len() as u64,
                    LiteralValue::Bytes(bytes) => bytes.inner().len() as u64,
                    _ => 0,
                };
                let size = Size::text(length);
                (size.whole, size)
            }
            Expr::Ident(name) => {
                let size = self.variables.get(name.as_str()).copied().unwrap_or_else(|| self.root(name));
                (OVERHEAD, size)
            }
            Expr::Select(select) => {
                if let Some(value) = self.value(node) {
                    let size = Size::of(value);
                    return (size.whole, size);
                }
                let (cost, size) = self.expression(&select.operand);
                (cost.saturating_add(size.whole), size)
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.all(list.elements.iter()),
            Expr::Map(map) => self.all(map.entries.iter().flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            })),
            // Refused when it was compiled.
            Expr::Unspecified | Expr::Struct(_) => (u64::MAX, Size::default()),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn root(&self, name: &str) -> Size {
        let mut variables = self.bindings.variables();
        variables.find(|(known, _)| *known == name).map_or(Size::SCALAR, |(_, value)| Size::of(value))
    }

    /// The value that a chain of selections on a variable gives.
    fn value(&self, node: &IdedExpr) -> Option<&'a Value> {
        match &node.expr {
            Expr::Ident(name) if !self.variables.contains_key(name.as_str()) => {
                self.bindings.variables().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            Expr::Select(select) => match self.value(&select.operand)? {
                Value::Map(map) => map.map.get(&Key::from(select.field.as_str())),
                _ => None,
            },
            _ => None,
        }
    }

    /// All of `nodes`, as the items of one list.
    fn all(&mut self, nodes: impl IntoIterator<Item = &'a IdedExpr>) -> (u64, Size) {
        nodes.into_iter().fold((OVERHEAD, Size::SCALAR), |(cost, size), node| {
            let (more, item) = self.expression(node);
            (cost.saturating_add(more).saturating_add(item.whole), size.with_item(item))
        })
    }

    fn call(&mut self, call: &'a CallExpr) -> (u64, Size) {
        let nodes = call.target.as_deref().into_iter().chain(&call.args);
        let mut cost = OVERHEAD;
        let mut sizes = Vec::with_capacity(call.args.len() + 1);
        for node in nodes {
            let (more, size) = self.expression(node);
            cost = cost.saturating_add(more);
            sizes.push(size);
        }
        let together = sizes.iter().fold(Size::default(), |all, size| all.and(*size));
        let product = sizes.iter().fold(1_u64, |all, size| all.saturating_mul(size.whole.max(1)));
        let first = sizes.first().copied().unwrap_or_default();
        let qualified = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(space) => shape(&format!("{space}.{}", call.func_name)),
            _ => None,
        });
        let (more, size) = match qualified.or_else(|| shape(&call.func_name)).unwrap_or(Shape::Product) {
            Shape::Scalar => (together.whole, Size::SCALAR),
            Shape::Product => (product, Size::SCALAR),
            Shape::Same => (together.whole, together),
            Shape::Sorted => (together.whole.saturating_mul(together.whole), together),
            Shape::Split => {
                let whole = first.whole.saturating_mul(2 * OVERHEAD);
                (whole, Size { whole, items: first.whole, item: first.whole })
            }
            Shape::Join => {
                let separator = sizes.get(1).map_or(0, |size| size.whole);
                let whole = first.whole.saturating_add(first.items.saturating_mul(separator));
                (whole, Size::text(whole))
            }
            Shape::Replace => (product, Size::text(product)),
        };
        (cost.saturating_add(more), size)
    }

    /// Macros make them all: the accumulator is a boolean or a number, or a list that grows by one item
    /// with each step.
    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> (u64, Size) {
        let (range_cost, range) = self.expression(&comprehension.iter_range);
        let steps = range.items.max(1);
        let item = Size { whole: range.item, items: range.item / OVERHEAD, item: range.item };
        let (init_cost, init) = self.expression(&comprehension.accu_init);
        self.variables.insert(&comprehension.iter_var, item);
        if let Some(name) = &comprehension.iter_var2 {
            self.variables.insert(name, item);
        }
        // What a step adds to an accumulator that is empty, and what it then is at most.
        self.variables.insert(&comprehension.accu_var, Size::SCALAR);
        let (_, grown) = self.expression(&comprehension.loop_step);
        // A macro that begins with a boolean or a number goes on with one.
        let is_scalar = matches!(comprehension.accu_init.expr, Expr::Literal(_));
        let accumulator = if is_scalar {
            Size::SCALAR
        } else {
            Size {
                whole: init.whole.saturating_add(steps.saturating_mul(grown.whole)),
                items: init.items.saturating_add(steps.saturating_mul(grown.items)),
                item: init.item.max(grown.item),
            }
        };
        self.variables.insert(&comprehension.accu_var, accumulator);
        let (condition, _) = self.expression(&comprehension.loop_cond);
        let (step, _) = self.expression(&comprehension.loop_step);
        let (result_cost, result) = self.expression(&comprehension.result);
        self.variables.remove(comprehension.iter_var.as_str());
        self.variables.remove(comprehension.accu_var.as_str());
        let each = condition.saturating_add(step).saturating_add(OVERHEAD);
        let cost =
            range_cost.saturating_add(init_cost).saturating_add(steps.saturating_mul(each)).saturating_add(result_cost);
        (cost, result)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bindings, Estimate, HashMap};
    use crate::policy::cel::bounds;
    use crate::request::{Envelope, SigningRequest};

    /// Each as it is reckoned by hand: 16 for whatever there is, and its text; the cost, and the size of the result.
    #[test]
    fn what_is_read_and_made_is_counted() {
        let envelope = Envelope {
            username: "amy".to_owned(),
            groups: vec!["a".to_owned(), "bcd".to_owned()],
            extra: [("key".to_owned(), vec!["value".to_owned()])].into(),
            ..Envelope::default()
        };
        let request = SigningRequest::decode(envelope, b"");
        let bindings = Bindings::new(&request, None);
        for (source, expected, size) in [
            ("true", 16, (16, 0, 0)),
            ("'abc'", 19, (19, 0, 0)),
            ("b'ab'", 18, (18, 0, 0)),
            ("requestor.username", 19, (19, 0, 0)),
            ("requestor.groups", 84, (84, 2, 19)),
            ("requestor.extra", 88, (88, 1, 56)),
            ("requestor.extra.key", 53, (53, 1, 21)),
            ("requestor", 16, (309, 4, 93)),
            ("requestor.nothing", 16 + 309, (309, 4, 93)),
            ("[1, 'ab']", 84, (82, 2, 18)),
            ("{'a': 'bc'}", 86, (83, 2, 18)),
            ("'ab' == 'c'", 51 + 35, (16, 0, 0)),
            ("'ab'.indexOf('c')", 51 + 18 * 17, (16, 0, 0)),
            ("'ab' + 'c'", 51 + 35, (35, 0, 18)),
            ("['a'].sort()", 66 + 49 * 49, (49, 1, 49)),
            ("'a,b'.split(',')", 52 + 19 * 32, (19 * 32, 19, 19)),
            ("['a', 'b'].join('xy')", 118 + 82 + 2 * 18, (16 + 82 + 2 * 18, 0, 0)),
            ("'ab'.replace('c', 'd')", 68 + 18 * 17 * 17, (16 + 18 * 17 * 17, 0, 0)),
            ("optional.of('a')", 49 + 33, (33, 0, 17)),
            ("['ab'].all(x, x == 'c')", 52 + 16 + (48 + 148 + 16) + 16, (16, 0, 0)),
            ("['ab', 'c'].map(x, x)", 86 + 16 + 2 * (16 + 280 + 16) + 16, (16 + 2 * 66, 2, 50)),
            // An item of 83 may have five items of its own.
            ("[['ab', 'c']].all(l, l.all(x, true))", 185 + 16 + (48 + 832 + 16) + 16, (16, 0, 0)),
            // A variable hides what has its name.
            ("['ab'].map(requestor, requestor.username)", 52 + 16 + (16 + 232 + 16) + 16, (82, 1, 50)),
        ] {
            let ast = bounds::parse(source).unwrap();
            let (cost, made) = Estimate { bindings: &bindings, variables: HashMap::new() }.expression(&ast);
            assert_eq!((cost, (made.whole, made.items, made.item)), (expected, size), "{source}");
        }
    }
}
