//! Regular expressions as Kubernetes reads them: RE2, which Go's `regexp` implements. The regex crate
//! gives `\d`, `\w`, `\s` and `\b` to all of Unicode, so that `^\w+$` would hold for a name with a
//! Cyrillic letter in it, and it knows operators in classes that RE2 does not. Matching takes time
//! linear in the text, whatever the pattern.

use cel::objects::Opaque;
use regex::{Regex, RegexBuilder};

/// The most that a compiled regular expression may take, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

/// A regular expression that was compiled with the expression that it stands in.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles `source`; the error is a sentence.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let translated = Translation::of(source)?;
        let built = RegexBuilder::new(&translated).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            error => {
                let text = error.to_string();
                format!("not a regular expression: {}", text.lines().last().unwrap_or_default())
            }
        })
    }

    /// Whether it is found anywhere in `text`.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
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
