//! Regular expressions as Kubernetes reads them: RE2, which Go's `regexp` implements. The regex crate
//! gives `\d`, `\w`, `\s` and `\b` to all of Unicode, so that `^\w+$` would hold for a name with a
//! Cyrillic letter in it, and it knows operators in classes that RE2 does not. Matching takes time
//! linear in the text; what it takes for each byte depends on the pattern, and is charged.

use cel::objects::Opaque;
use regex::{Regex, RegexBuilder};
use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};

/// The most that a compiled regular expression may take, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
/// The most that its table may take, in bytes.
const MAX_TABLE: usize = 256 * 1024;
/// The most that may be taken to make the table, in bytes: that bounds the time, too.
const MAX_TO_MAKE: usize = 128 * 1024;
/// Measured: where there is no table, a byte of text takes some 2 ns for each byte of the automaton, and a unit of the
/// budget of an evaluation may take 50 ns.
const BYTES_FOR_A_UNIT: usize = 10;

/// A regular expression that was compiled with the expression that it stands in.
#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    /// One look for each byte of a text, whatever it is.
    Table(Box<dense::DFA<Vec<u32>>>),
    /// As good as a table with most texts. The worst take time in proportion to the size of the automaton as well.
    Automaton { regex: Regex, size: usize },
}

impl Pattern {
    /// Compiles `source`; the error is a sentence.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let translated = Translation::of(source)?;
        let built = RegexBuilder::new(&translated).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build();
        let regex = built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
            error => {
                let text = error.to_string();
                format!("not a regular expression: {}", text.lines().last().unwrap_or_default())
            }
        })?;
        let nfa = thompson::Config::new().nfa_size_limit(Some(MAX_SIZE)).which_captures(WhichCaptures::None);
        let nfa = NFA::compiler().configure(nfa).build(&translated).map_err(|_| TOO_LARGE.to_owned())?;
        let table = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_TO_MAKE));
        let matcher = match dense::Builder::new().configure(table).build_from_nfa(&nfa) {
            Ok(table) => Matcher::Table(Box::new(table)),
            Err(_) => Matcher::Automaton { regex, size: nfa.memory_usage() },
        };
        Ok(Self { source: source.to_owned(), matcher })
    }

    /// Whether it is found anywhere in `text`.
    pub(super) fn is_match(&self, text: &str) -> bool {
        match &self.matcher {
            // It fails at bytes that a table was told to stop at, and there are none.
            Matcher::Table(table) => {
                table.try_search_fwd(&Input::new(text).earliest(true)).is_ok_and(|found| found.is_some())
            }
            Matcher::Automaton { regex, .. } => regex.is_match(text),
        }
    }

    /// What a byte of a text costs at most.
    pub(super) const fn weight(&self) -> u64 {
        match &self.matcher {
            Matcher::Table(_) => 1,
            Matcher::Automaton { size, .. } => 1 + (*size / BYTES_FOR_A_UNIT) as u64,
        }
    }
}

const TOO_LARGE: &str = "the regular expression is too large";

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Opaque for Pattern {
    fn runtime_type_name(&self) -> &'static str {
        "regular expression"
    }
}

/// RE2, written so that the regex crate reads the same.
struct Translation<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
}

impl Translation<'_> {
    fn of(source: &str) -> Result<String, String> {
        let mut translation = Translation { rest: source.chars().peekable(), out: String::with_capacity(source.len()) };
        while let Some(c) = translation.rest.next() {
            match c {
                '\\' => translation.escape(false)?,
                '[' => translation.class()?,
                '(' => translation.group()?,
                c => translation.out.push(c),
            }
        }
        Ok(translation.out)
    }

    /// What stands behind a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err("it ends with a backslash".to_owned()) };
        let written = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[\\t\\n\\x0C\\r ]",
            'S' => "[^\\t\\n\\x0C\\r ]",
            'b' if !in_class && self.rest.peek() != Some(&'{') => "(?-u:\\b)",
            'b' | 'B' | '<' | '>' => return Err(format!("\\{c} is not possible here: spell out what may stand there")),
            c => {
                self.out.push('\\');
                self.out.push(c);
                ""
            }
        };
        self.out.push_str(written);
        Ok(())
    }

    /// The rest of a class, whose bracket was read.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // A bracket that comes first stands for itself.
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str("\\]");
        }
        while let Some(c) = self.rest.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest.peek() == Some(&':') => {
                    // A class of POSIX, such as [:alpha:], up to its own bracket.
                    self.out.push('[');
                    for c in self.rest.by_ref() {
                        self.out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
                '-' if self.rest.peek() == Some(&'-') => {
                    return Err("-- in a class can be read in two ways: write \\- for a hyphen".to_owned());
                }
                // Operators of the regex crate, and a class in a class: in RE2 they stand for themselves.
                '[' | '&' | '~' => self.out.extend(['\\', c]),
                c => self.out.push(c),
            }
        }
        Err("a class has no closing bracket".to_owned())
    }

    /// What stands behind an opening parenthesis: RE2 has the flags i, m, s and U.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphabetic() || *c == '-') {
            if !matches!(c, 'i' | 'm' | 's' | 'U' | 'P' | '-') {
                return Err(format!("there is no flag {c} in regular expressions here: i, m, s and U are"));
            }
            self.out.push(c);
            if c == 'P' {
                break;
            }
        }
        Ok(())
    }
}
