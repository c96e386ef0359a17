//! An upper bound of what an evaluation costs, computed from the sizes of what the expression reads,
//! before anything is evaluated. Units are about a byte read or written; what is computed is never
//! less than what the evaluator does, since every value is taken to be as large as it might be.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use cel::Value;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::objects::Key;

use super::Bindings;
use super::functions::{Shape, pattern, shape, takes_pattern};
use super::pattern::Pattern;

/// What one evaluation may cost. Measured: the most expensive expressions within it take less than
/// 50 ms on a debug build.
const BUDGET: u64 = 1_000_000;
/// What a value takes beside its text.
const OVERHEAD: u64 = 16;
/// The longest text of a number: that of the smallest fraction.
const LONGEST_NUMBER: u64 = 330;

/// How large a value may be: all of it, and how many items it has if it is a list or a map, and how large any of them may
/// be. An optional is as large as what is in it.
#[derive(Debug, Clone, Default)]
struct Size {
    whole: u64,
    items: u64,
    item: Option<Rc<Self>>,
}

impl Size {
    const SCALAR: Self = Self::text(0);

    const fn text(length: u64) -> Self {
        Self { whole: OVERHEAD.saturating_add(length), items: 0, item: None }
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
            items: self.items.saturating_add(1),
            item: largest(self.item, Some(Rc::new(item))),
        }
    }

    /// What it is if it may be either of them.
    fn or(&self, other: &Self) -> Self {
        Self {
            whole: self.whole.max(other.whole),
            items: self.items.max(other.items),
            item: largest(self.item.clone(), other.item.clone()),
        }
    }

    /// One behind the other.
    fn then(&self, other: &Self) -> Self {
        Self {
            whole: self.whole.saturating_add(other.whole),
            items: self.items.saturating_add(other.items),
            item: largest(self.item.clone(), other.item.clone()),
        }
    }

    /// An item of it.
    fn any(&self) -> Self {
        self.item.as_deref().cloned().unwrap_or(Self::SCALAR)
    }

    /// What is in its lists, however deep they lie in each other.
    fn flat(&self) -> Self {
        let levels = || std::iter::successors(self.item.as_deref(), |size| size.item.as_deref());
        let items = levels().fold(self.items, |items, level| items.saturating_mul(level.items.max(1)));
        Self {
            whole: self.whole,
            items: items.min(self.whole / OVERHEAD),
            item: levels().map(|level| Rc::new(level.clone())).fold(None, |one, other| largest(one, Some(other))),
        }
    }

    /// So many of it, behind `first`.
    fn repeated(&self, times: u64, first: &Self) -> Self {
        Self {
            whole: self.whole.saturating_mul(times),
            items: self.items.saturating_mul(times),
            item: self.item.clone(),
        }
        .then(first)
    }
}

/// What an item is if it may be either of them.
fn largest(one: Option<Rc<Size>>, other: Option<Rc<Size>>) -> Option<Rc<Size>> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let covers =
                one.item.is_none() && other.item.is_none() && one.whole >= other.whole && one.items >= other.items;
            Some(if covers { one } else { Rc::new(one.or(&other)) })
        }
        (one, other) => one.or(other),
    }
}

/// Whether `ast` can be evaluated within the budget; the error is a sentence.
pub(super) fn check<'a>(
    ast: &'a IdedExpr,
    patterns: &'a [Arc<Pattern>],
    bindings: &'a Bindings<'a>,
) -> Result<(), String> {
    let (cost, _) = Estimate::new(patterns, bindings).expression(ast);
    if cost <= BUDGET {
        return Ok(());
    }
    Err(format!(
        "on this request it might cost {cost}, and may cost {BUDGET}; comprehensions inside of each other over long lists cost most"
    ))
}

struct Estimate<'a> {
    patterns: &'a [Arc<Pattern>],
    bindings: &'a Bindings<'a>,
    variables: HashMap<&'a str, Size>,
    /// What was measured, by where it lies.
    measured: HashMap<*const Value, Size>,
}

impl<'a> Estimate<'a> {
    fn new(patterns: &'a [Arc<Pattern>], bindings: &'a Bindings<'a>) -> Self {
        Self { patterns, bindings, variables: HashMap::new(), measured: HashMap::new() }
    }

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
                let size = self.variables.get(name.as_str()).cloned();
                (OVERHEAD, size.or_else(|| self.value(node).map(|value| self.measure(value))).unwrap_or(Size::SCALAR))
            }
            Expr::Select(select) => {
                if let Some(value) = self.value(node) {
                    let size = self.measure(value);
                    return (size.whole, size);
                }
                let (cost, size) = self.expression(&select.operand);
                (cost.saturating_add(size.whole), if select.test { Size::SCALAR } else { size.any() })
            }
            Expr::Call(call) => self.call(node, call),
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

    fn measure(&mut self, value: &'a Value) -> Size {
        self.measured.entry(std::ptr::from_ref(value)).or_insert_with(|| Size::of(value)).clone()
    }

    /// The value that a chain of accesses to a variable gives, as far as it is written down which.
    fn value(&self, node: &IdedExpr) -> Option<&'a Value> {
        let field = |operand, key: &str| match self.value(operand)? {
            Value::Map(map) => map.map.get(&Key::from(key)),
            _ => None,
        };
        match &node.expr {
            Expr::Ident(name) if !self.variables.contains_key(name.as_str()) => {
                self.bindings.variables().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            Expr::Select(select) => field(&select.operand, &select.field),
            Expr::Call(call) if is_access(&call.func_name) => match call.args.as_slice() {
                [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] => {
                    field(operand, key.inner())
                }
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

    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> (u64, Size) {
        if let Some(value) = self.value(node) {
            let size = self.measure(value);
            return (size.whole.saturating_add(OVERHEAD), size);
        }
        let qualified = call.target.as_ref().and_then(|target| match &target.expr {
            Expr::Ident(space) => shape(&format!("{space}.{}", call.func_name)),
            _ => None,
        });
        let target = call.target.as_deref().filter(|_| qualified.is_none());
        let mut cost = OVERHEAD;
        let mut sizes = Vec::with_capacity(call.args.len() + 1);
        for node in target.into_iter().chain(&call.args) {
            let (more, size) = self.expression(node);
            cost = cost.saturating_add(more);
            sizes.push(size);
        }
        let whole = sizes.iter().fold(0_u64, |all, size| all.saturating_add(size.whole));
        let product = sizes.iter().fold(1_u64, |all, size| all.saturating_mul(size.whole.max(1)));
        let first = sizes.first().cloned().unwrap_or_default();
        let (more, size) = match qualified.or_else(|| shape(&call.func_name)).unwrap_or(Shape::Product) {
            Shape::Scalar if takes_pattern(&call.func_name) => {
                let pattern = call.args.first().and_then(|argument| pattern(argument, self.patterns));
                // Without one it is not evaluated.
                (first.whole.saturating_mul(pattern.map_or(1, Pattern::weight)), Size::SCALAR)
            }
            Shape::Scalar => (whole, Size::SCALAR),
            Shape::Product => (product, Size::SCALAR),
            Shape::Same => (whole, same(&call.func_name, &sizes)),
            // Each item beside every other, which reads no more than the shorter of two.
            Shape::Sorted => (whole.saturating_mul(first.items.max(1)), first),
            Shape::Split => {
                // Of each character a text of its own.
                let whole = first.whole.saturating_mul(2 * OVERHEAD + 1);
                (whole, Size { whole, items: first.whole, item: Some(Rc::new(first)) })
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
        let (init_cost, init) = self.expression(&comprehension.accu_init);
        // Until its end they hide what has their names.
        let names = [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref(), Some(&comprehension.accu_var)];
        let names = names.into_iter().flatten().map(String::as_str);
        let hidden: Vec<_> = names.map(|name| (name, self.variables.insert(name, range.any()))).collect();
        // What a step adds to an accumulator that is empty, and what it then is at most.
        self.variables.insert(&comprehension.accu_var, Size::SCALAR);
        // A macro that begins with a boolean or a number goes on with one.
        let begins = &comprehension.accu_init.expr;
        let accumulator = if matches!(begins, Expr::Literal(LiteralValue::Boolean(_) | LiteralValue::Int(_))) {
            Size::SCALAR
        } else {
            let (_, grown) = self.expression(&comprehension.loop_step);
            grown.repeated(steps, &init)
        };
        self.variables.insert(&comprehension.accu_var, accumulator);
        let (condition, _) = self.expression(&comprehension.loop_cond);
        let (step, _) = self.expression(&comprehension.loop_step);
        let (result_cost, result) = self.expression(&comprehension.result);
        for (name, before) in hidden.into_iter().rev() {
            match before {
                Some(size) => self.variables.insert(name, size),
                None => self.variables.remove(name),
            };
        }
        let each = condition.saturating_add(step).saturating_add(OVERHEAD);
        // Each item is copied once, for the variable; what reads the range has counted all of it, but for a name.
        let copies = if matches!(comprehension.iter_range.expr, Expr::Ident(_)) { range.whole } else { 0 };
        let cost = [range_cost, copies, init_cost, steps.saturating_mul(each), result_cost]
            .into_iter()
            .fold(0, u64::saturating_add);
        (cost, result)
    }
}

/// Whether the operator reads a field or an item.
fn is_access(name: &str) -> bool {
    matches!(name, operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT)
}

/// What a function gives that gives at most as much as it reads.
fn same(name: &str, sizes: &[Size]) -> Size {
    match (name, sizes) {
        (name, [first, ..]) if is_access(name) => first.any(),
        (operators::ADD, [one, other]) => one.then(other),
        (operators::CONDITIONAL, [_, one, other]) | ("or" | "orValue", [one, other]) => one.or(other),
        ("flatten", [first, ..]) => first.flat(),
        // Of a number, too.
        ("string", [first, ..]) => Size::text(first.whole.saturating_add(LONGEST_NUMBER)),
        (_, [first, ..]) => first.clone(),
        (_, []) => Size::SCALAR,
    }
}

/// How large the value of `source` is, and how large it might have been: all of it, and how many items.
#[cfg(test)]
pub(super) fn made(source: &str, bindings: &Bindings<'_>) -> ((u64, u64), (u64, u64)) {
    let ast = super::bounds::parse(source).unwrap();
    let (_, computed) = Estimate::new(&[], bindings).expression(&ast);
    let made = Size::of(&super::functions::evaluate(&ast, &[], bindings).unwrap());
    ((made.whole, made.items), (computed.whole, computed.items))
}

#[cfg(test)]
mod tests {
    use super::{Bindings, Estimate};
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
            ("requestor.nothing", 16 + 309, (93, 2, 56)),
            ("requestor['groups']", 84 + 16, (84, 2, 19)),
            ("requestor.?extra[?'key']", 53 + 16, (53, 1, 21)),
            ("[requestor.groups][0]", 184 + 16 + 16 + 132, (84, 2, 19)),
            ("[requestor.groups][?0]", 184 + 16 + 16 + 132, (84, 2, 19)),
            ("{'a': 'bc'}.?a", 86 + 16 + 17 + 100, (18, 0, 0)),
            ("[[1, 'ab'], ['c']].flatten()", 281 + 16 + 179, (179, 4, 82)),
            // No more than fit into it.
            ("[[1, 1, 1, 1, 1], [], [], [], []].flatten()", 496 + 16 + 336, (336, 336 / 16, 176)),
            ("true ? 'ab' : 'c'", 67 + 51, (18, 0, 0)),
            ("[1, 'ab']", 84, (82, 2, 18)),
            ("{'a': 'bc'}", 86, (83, 2, 18)),
            ("'ab' == 'c'", 51 + 35, (16, 0, 0)),
            // No access, though it has the name of a field.
            ("requestor == 'groups'", 54 + 331, (16, 0, 0)),
            ("'ab'.indexOf('c')", 51 + 18 * 17, (16, 0, 0)),
            ("'ab'.lastIndexOf('c')", 51 + 18 * 17, (16, 0, 0)),
            ("'ab'.charAt(0)", 50 + 34, (18, 0, 0)),
            ("'ab'.substring(0)", 50 + 34, (18, 0, 0)),
            ("'ab'.lowerAscii()", 34 + 18, (18, 0, 0)),
            ("'ab'.upperAscii()", 34 + 18, (18, 0, 0)),
            ("'ab'.trim()", 34 + 18, (18, 0, 0)),
            ("ip('::1')", 35 + 19, (19, 0, 0)),
            ("cidr('::/0')", 36 + 20, (20, 0, 0)),
            ("'ab' + 'c'", 51 + 35, (35, 0, 0)),
            ("['a'].sort()", 66 + 49, (49, 1, 17)),
            ("['a', 'b'].sort()", 100 + 2 * 82, (82, 2, 17)),
            ("'a,b'.split(',')", 52 + 19 * 33, (19 * 33, 19, 19)),
            ("['a', 'b'].join('xy')", 118 + 82 + 2 * 18, (16 + 82 + 2 * 18, 0, 0)),
            ("'ab'.replace('c', 'd')", 68 + 18 * 17 * 17, (16 + 18 * 17 * 17, 0, 0)),
            ("optional.of('a')", 33 + 17, (17, 0, 0)),
            ("['ab'].all(x, x == 'c')", 52 + 16 + (48 + 148 + 16) + 16, (16, 0, 0)),
            // One step at least.
            ("[].all(x, true)", 16 + 16 + (48 + 80 + 16) + 16, (16, 0, 0)),
            ("['ab', 'c'].map(x, x)", 86 + 16 + 2 * (16 + 280 + 16) + 16, (16 + 2 * 66, 2, 18)),
            // An item has two items of its own, and takes 83 to copy.
            (
                "[['ab', 'c']].all(l, l.all(x, true))",
                185 + 16 + (48 + 64 + 99 + 16 + 2 * 144 + 16 + 16) + 16,
                (16, 0, 0),
            ),
            // A variable hides what has its name.
            ("['ab'].map(requestor, requestor.username)", 52 + 16 + (16 + 226 + 16) + 16, (80, 1, 16)),
        ] {
            let ast = bounds::parse(source).unwrap();
            let (cost, made) = Estimate::new(&[], &bindings).expression(&ast);
            let item = made.item.map_or(0, |item| item.whole);
            assert_eq!((cost, (made.whole, made.items, item)), (expected, size), "{source}");
        }
    }
}
