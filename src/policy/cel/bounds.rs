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
/// How many selections there may be, as in `csr.subject.commonName`.
const MAX_DOTS: usize = 160;
/// How many commas there may be, as in a list of values.
const MAX_COMMAS: usize = 256;
/// The stack that the parser gets, in bytes. Measured: the deepest expression within the bounds takes
/// less than a tenth of it on a debug build.
const STACK: usize = 32 * 1024 * 1024;

/// What is wrong with the machine and not with the expression.
pub(crate) const NO_THREAD: &str = "cannot start a thread to parse it";

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
        .map_err(|error| format!("{NO_THREAD}: {error}"))?
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

/// Counts what makes the parser recurse, outside of texts and comments.
fn scan(source: &str) -> Result<(), String> {
    if source.trim().is_empty() {
        return Err("it is empty: write an expression that gives true or false, for example csr.dnsNames.size() <= 4"
            .to_owned());
    }
    if source.len() > MAX_LENGTH {
        return Err(format!("it has {} bytes, and may have {MAX_LENGTH}: split it into several", source.len()));
    }
    let (mut depth, mut operators, mut dots, mut commas) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let at = source.len() - rest.len();
        let refused = |problem: String| {
            let before = &source[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            Err(located(source, line, column, &problem))
        };
        let token = token(rest);
        rest = &rest[token.len()..];
        if token.len() > c.len_utf8() {
            continue;
        }
        match c {
            '(' | '[' | '{' => {
                depth += 1;
                operators += 1;
                if depth > MAX_NESTING {
                    return refused(format!("brackets nest deeper than {MAX_NESTING}"));
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '&' | '|' | '?' | '!' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' => operators += 1,
            '.' => dots += 1,
            ',' => commas += 1,
            _ => {}
        }
        if operators > 2 * MAX_OPERATORS {
            return refused(format!("it has more than {MAX_OPERATORS} operators and calls: split it into several"));
        }
        if dots > MAX_DOTS {
            return refused(format!("it has more than {MAX_DOTS} dots: split it into several"));
        }
        if commas > MAX_COMMAS {
            return refused(format!("it has more than {MAX_COMMAS} commas: split it into several"));
        }
    }
    Ok(())
}

/// What the lexer of CEL takes for one at the beginning of `rest`, where there is nothing to count in it: a comment, a
/// text, a word or a number. Otherwise one character.
fn token(rest: &str) -> &str {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        return rest.split_inclusive('\n').next().unwrap_or(rest);
    }
    if let Some(prefix) = text_prefix(rest) {
        return &rest[..text(rest, prefix.len(), prefix.contains('r'))];
    }
    let end = match rest.strip_prefix('`') {
        Some(name) => name.find('`').map_or(rest.len(), |end| end + 2),
        // Behind a number a text begins as anywhere else.
        None if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            let ends = |(at, c): &(usize, char)| !is_word(*c) || text_prefix(&rest[*at..]).is_some();
            rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at)
        }
        None => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
    };
    &rest[..end.max(rest.chars().next().map_or(0, char::len_utf8))]
}

/// What stands before the quotes of a text with which `rest` begins.
fn text_prefix(rest: &str) -> Option<&'static str> {
    ["rb", "br", "r", "b", ""].into_iter().find(|prefix| {
        rest.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
            && rest[prefix.len()..].starts_with(['"', '\''])
    })
}

/// Where the text ends whose quotes begin at `open`.
fn text(rest: &str, open: usize, is_raw: bool) -> usize {
    let quote = &rest[open..=open];
    let triple = quote.repeat(3);
    let quotes = if rest[open..].starts_with(&triple) { triple.as_str() } else { quote };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < open + quotes.len()) {
        if !escaped && rest[at..].starts_with(quotes) {
            return at + quotes.len();
        }
        escaped = c == '\\' && !escaped && !is_raw;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::{MAX_COMMAS, MAX_DOTS, MAX_OPERATORS, scan};

    /// What looks like the quote of a text, and is none, hides nothing.
    #[test]
    fn nothing_hides_what_is_counted() {
        let hides = [
            "true // it's\n && ",
            "true // \"\n && ",
            r"r'\' != '' && ",
            r#"R"\" != "" && "#,
            r"b'\\' != b'' && ",
            r"br'\' != b'' && ",
            r"rB'\' != b'' && ",
            "'''it's''' != '' && ",
            "\"\"\"a\"b\"\"\" != '' && ",
            r"'''it\'''s''' != '' && ",
            r"r'''it\''' != '' && ",
            r"'\\' != '' && ",
            "{'a': 1}.`a` == 1 && ",
            "'`' != '' && ",
            "br == 'a' && ",
            r"[1r'\'] != [] && ",
            r"0xbr'\' && ",
            r"1br'\' && ",
            "0xb == 1 && ",
        ];
        for hides in hides {
            assert_eq!(scan(&format!("{hides}true")), Ok(()), "{hides}");
            for (much, problem) in [
                (format!("{}true", "!".repeat(1_900)), "it has more than 80 operators and calls"),
                (format!("{}true{}", "(".repeat(90), ")".repeat(90)), "brackets nest deeper than 16"),
                (format!("a{}", ".size()".repeat(280)), "it has more than 80 operators and calls"),
                (format!("csr{}", ".a".repeat(900)), "it has more than 160 dots"),
                (format!("[{}1] != []", "1,".repeat(900)), "it has more than 256 commas"),
            ] {
                let error = scan(&format!("{hides}{much}")).expect_err(hides);
                assert!(error.contains(problem), "{hides}: {error}");
            }
        }
    }

    #[test]
    fn what_stands_in_texts_and_comments_is_not_counted() {
        let much = format!("{}{}{}", "(".repeat(90), "!".repeat(200), ".".repeat(200));
        for source in [
            format!("'{much}' != ''"),
            format!("\"{much}'\" != ''"),
            format!("'''{much}'\n''' != ''"),
            format!("r\"\"\"{much}\"\" \\\"\"\" != ''"),
            format!("Br'{much}\\' != b''"),
            format!("true // {much}\n"),
            format!("// {much}\n true // {much}"),
            format!("{}true", "//\n".repeat(200)),
            format!("csr.`{much}` == 1"),
            format!("csr{} == 1", ".a".repeat(MAX_DOTS)),
            format!("[{}1] != []", "1,".repeat(MAX_COMMAS)),
        ] {
            assert_eq!(scan(&source), Ok(()), "{source}");
        }
    }

    #[test]
    fn each_operator_and_each_pair_of_brackets_counts() {
        for operator in ["&", "|", "?", "!", "+", "-", "*", "/", "%", "<", ">", "=", "()", "[]", "{}"] {
            let many = |number: usize| format!("a{}", format!(" {operator} a").repeat(number));
            assert_eq!(scan(&many(2 * MAX_OPERATORS)), Ok(()), "{operator}");
            let error = scan(&many(2 * MAX_OPERATORS + 1)).expect_err(operator);
            assert!(error.contains("it has more than 80 operators and calls"), "{operator}: {error}");
        }
    }

    /// Where the lexer of CEL sees an end, there is one here.
    #[test]
    fn the_parser_sees_the_same() {
        for source in [
            "true // it's\n && true",
            r"r'\' != '' && true",
            r"br'\' != b'' && true",
            r"'''it\'''s''' != '' && true",
            "r\"\"\"a\"\" \\\"\"\" != ''",
            "\"\"\"a\"b\"\"\" != ''",
        ] {
            assert!(super::parse(source).is_ok(), "{source}");
        }
        // A letter before them makes a word of the prefix.
        assert!(super::parse(r"ar'\' != ''").is_err());
        assert!(scan(&format!(r"ar'\' != '{}", "(".repeat(90))).is_err());
    }
}
