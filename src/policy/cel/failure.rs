//! Why an evaluation failed, in a sentence for who wrote the expression.

use cel::ExecutionError;

use crate::escape::{cut, printable};

/// The longest part of an evaluation error that is repeated, in bytes.
const MAX_ERROR: usize = 200;

/// What was missing or did not go together, safe to print.
pub(super) fn sentence(error: &ExecutionError) -> String {
    use ExecutionError as Failed;
    let shown = |text: &str| cut(&printable(text), MAX_ERROR);
    match error {
        Failed::NoSuchKey(key) => {
            format!("\"{}\" is not there; has(…) tells whether it is, and .? and [?…] read it only then", shown(key))
        }
        Failed::IndexOutOfBounds(index) => {
            format!("the list has no item {}, counted from 0; size() tells how many it has", shown(&number(index)))
        }
        Failed::NoSuchOverload(overload) => {
            format!("types do not go together: {}", shown(&overload.to_string()))
        }
        Failed::ValuesNotComparable(one, other) => {
            format!("a {} cannot be compared with a {}", one.type_of(), other.type_of())
        }
        Failed::UnsupportedBinaryOperator(operator, one, other) => {
            format!("types do not go together: {operator} takes no {} and {}", one.type_of(), other.type_of())
        }
        Failed::UnexpectedType { got, want } => format!("a {} is needed, and this is a {}", shown(want), shown(got)),
        Failed::DivisionByZero(_) | Failed::RemainderByZero(_) => "it divides by zero".to_owned(),
        Failed::Overflow(..) => "a number becomes too large".to_owned(),
        Failed::FunctionError { function, message } => format!("{function}() failed: {}", shown(message)),
        other => shown(&other.to_string()),
    }
}

fn number(index: &cel::Value) -> String {
    match index {
        cel::Value::Int(index) => index.to_string(),
        cel::Value::UInt(index) => index.to_string(),
        other => format!("{other:?}"),
    }
}
