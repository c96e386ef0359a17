//! Whether an expression can be true or false at all, as far as that can be seen without evaluating it.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::bindings;

/// What `node` gives, where that is certainly neither true nor false.
pub(super) fn never(node: &IdedExpr) -> Option<&'static str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(_) | LiteralValue::Bytes(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)) => Some("a number"),
        Expr::Literal(LiteralValue::Null) => Some("nothing"),
        Expr::List(_) => Some("a list"),
        Expr::Map(_) | Expr::Struct(_) => Some("an object"),
        Expr::Ident(_) => read(node),
        // `has(…)` is a selection too.
        Expr::Select(select) => {
            if select.test {
                None
            } else {
                read(node)
            }
        }
        // `map` and `filter` begin with an empty list and give it in the end.
        Expr::Comprehension(comprehension) => {
            let gathers = matches!(comprehension.accu_init.expr, Expr::List(_));
            (gathers && matches!(comprehension.result.expr, Expr::Ident(_))).then_some("a list")
        }
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [operand]) => never(operand),
            (operators::LOGICAL_AND | operators::LOGICAL_OR, operands) => operands.iter().find_map(never),
            (operators::CONDITIONAL, [_, one, other]) => never(one).and(never(other)),
            (operators::INDEX, _) => read(node),
            (operators::ADD, _) => Some("a sum"),
            (
                operators::SUBSTRACT
                | operators::NEGATE
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | "size"
                | "indexOf"
                | "lastIndexOf"
                | "int"
                | "uint"
                | "double"
                | "family"
                | "prefixLength",
                _,
            ) => Some("a number"),
            ("string" | "lowerAscii" | "upperAscii" | "trim" | "substring" | "replace" | "charAt" | "join", _) => {
                Some("a text")
            }
            ("split" | "sort" | "distinct" | "flatten" | "slice", _) => Some("a list"),
            ("ip" | "cidr", _) => Some("an address"),
            _ => None,
        },
        Expr::Literal(LiteralValue::Boolean(_)) | Expr::Unspecified => None,
    }
}

/// What is read of `csr`, `requestor` or `node`, in which there are texts, numbers, lists and objects only.
fn read(node: &IdedExpr) -> Option<&'static str> {
    match &node.expr {
        Expr::Ident(name) => bindings::ROOTS.contains(&name.as_str()).then_some("what it reads"),
        Expr::Select(select) => read(&select.operand),
        Expr::Call(call) if call.func_name == operators::INDEX => call.args.first().and_then(read),
        _ => None,
    }
}
