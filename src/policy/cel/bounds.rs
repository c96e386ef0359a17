//! What may be parsed at all: the parser recurses, so nesting is bounded before it runs, and it runs
//! on a stack of its own.

use cel::common::ast::IdedExpr;

use super::{functions, located};

/// The longest expression, in bytes; the CRD says the same.
const MAX_LENGTH: usize = 2048;
/// How deep brackets may nest.
const MAX_NESTING: usize = 16;
/// How many operators and calls there may be.
const MAX_OPERATORS: usize = 80;
/// The stack that the parser gets, in bytes. Measured: the deepest expression within the bounds takes
/// less than a tenth of it on a debug build.
const STACK: usize = 32 * 1024 * 1024;

/// Parses `source`.
pub(super) fn parse(source: &str) -> Result<IdedExpr, String> {
    scan(source)?;
    let owned = source.to_owned();
    let parser = std::thread::Builder::new().name("cel-parser".to_owned()).stack_size(STACK);
    let parsed = parser
        .spawn(move || {
            let env = functions::environment().map_err(|error| (1, 1, error.to_string()))?;
            env.parser().parse(&owned).map_err(|errors| {
                let first = errors.errors.into_iter().next();
                first.map_or_else(
                    || (1, 1, "it does not parse".to_owned()),
                    |error| {
                        let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
                        (place(error.pos.0), place(error.pos.1), plain(&error.msg))
                    },
                )
            })
        })
        .map_err(|error| format!("cannot start a thread to parse it: {error}"))?
        .join();
    match parsed {
        Ok(Ok(ast)) => Ok(ast),
        Ok(Err((line, column, message))) => Err(located(source, line, column, &message)),
        Err(_) => Err("it is too complicated to parse".to_owned()),
    }
}

/// The parser's message without its list of everything that might have come next.
fn plain(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let unexpected = ["mismatched input ", "extraneous input ", "no viable alternative at input "];
    match unexpected.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        Some(rest) => {
            let (input, expected) = rest.split_once(" expecting ").unwrap_or((rest, ""));
            let found = if input == "'<EOF>'" {
                "the expression ends too early".to_owned()
            } else {
                format!("unexpected {input}")
            };
            if expected.is_empty() || expected.starts_with('{') {
                found
            } else {
                format!("{found}, expected {expected}")
            }
        }
        None => match message.strip_prefix("token recognition error at: ") {
            Some(input) => format!("cannot read {input}"),
            None => message.to_owned(),
        },
    }
}

/// Counts what makes the parser recurse, outside of strings.
fn scan(source: &str) -> Result<(), String> {
    if source.trim().is_empty() {
        return Err("it is empty: write an expression that gives true or false, for example csr.dnsNames.size() <= 4"
            .to_owned());
    }
    if source.len() > MAX_LENGTH {
        return Err(format!("it has {} bytes, and may have {MAX_LENGTH}: split it into several", source.len()));
    }
    let (mut depth, mut operators, mut quote, mut escaped) = (0_usize, 0_usize, None, false);
    let (mut line, mut column) = (1, 0);
    for c in source.chars() {
        column += 1;
        if c == '\n' {
            (line, column) = (line + 1, 0);
        }
        if let Some(open) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '(' | '[' | '{' => {
                depth += 1;
                operators += 1;
                if depth > MAX_NESTING {
                    let problem = format!("brackets nest deeper than {MAX_NESTING}");
                    return Err(located(source, line, column, &problem));
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '&' | '|' | '?' | '!' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' => operators += 1,
            _ => {}
        }
        if operators > 2 * MAX_OPERATORS {
            let problem = format!("it has more than {MAX_OPERATORS} operators and calls: split it into several");
            return Err(located(source, line, column, &problem));
        }
    }
    Ok(())
}
