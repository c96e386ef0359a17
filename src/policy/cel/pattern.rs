//! Regular expressions as Kubernetes reads them: RE2, which Go's `regexp` implements. The regex crate
//! gives `\d`, `\w`, `\s` and `\b` to all of Unicode, so that `^\w+$` would hold for a name with a
//! Cyrillic letter in it, and it knows operators in classes that RE2 does not. Matching takes time
//! linear in the text; what it takes for each byte depends on the pattern, and is charged.

use std::ops::RangeInclusive;

use cel::objects::Opaque;
use regex::{Regex, RegexBuilder};
use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

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
    needs_capital: bool,
    needs_small: bool,
    beginnings: Vec<String>,
    ends: Vec<String>,
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
        let hir = regex_syntax::parse(&translated).unwrap_or_else(|_| Hir::empty());
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
        Ok(Self {
            source: source.to_owned(),
            needs_capital: needs_letter(&hir, 'A'..='Z'),
            needs_small: needs_letter(&hir, 'a'..='z'),
            beginnings: beside(&hir, Look::Start, ExtractKind::Prefix),
            ends: beside(&hir, Look::End, ExtractKind::Suffix),
            matcher,
        })
    }

    /// As it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is found in no ASCII text that is in lower case, as far as that is easily seen.
    pub(super) const fn needs_capital(&self) -> bool {
        self.needs_capital
    }

    /// Whether it is found in no ASCII text of capitals, likewise.
    pub(super) const fn needs_small(&self) -> bool {
        self.needs_small
    }

    /// With one of these begins each text in which it is found, if there are any here.
    pub(super) fn beginnings(&self) -> &[String] {
        &self.beginnings
    }

    /// With one of these ends each text in which it is found, likewise.
    pub(super) fn ends(&self) -> &[String] {
        &self.ends
    }

    /// Whether it is found anywhere in `text`; nothing where that cannot be told. (A table fails at bytes that it was told
    /// to stop at, of which there are none, and "not found" would be an answer.)
    pub(super) fn is_match(&self, text: &str) -> Option<bool> {
        match &self.matcher {
            Matcher::Table(table) => {
                table.try_search_fwd(&Input::new(text).earliest(true)).ok().map(|found| found.is_some())
            }
            Matcher::Automaton { regex, .. } => Some(regex.is_match(text)),
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

/// Whether all that `hir` matches has one of these letters in it. (An empty class matches nothing.)
fn needs_letter(hir: &Hir, letters: RangeInclusive<char>) -> bool {
    let needs = |hir: &Hir| needs_letter(hir, letters.clone());
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().any(|byte| letters.contains(&char::from(*byte))),
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().all(|range| letters.contains(&range.start()) && letters.contains(&range.end()))
        }
        HirKind::Repetition(repetition) => repetition.min > 0 && needs(&repetition.sub),
        HirKind::Capture(capture) => needs(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(needs),
        HirKind::Alternation(parts) => parts.iter().all(needs),
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => false,
    }
}

/// The texts of which one stands at the start or at the end of whatever `hir` is found in; none where that is not bound to
/// be there.
fn beside(hir: &Hir, look: Look, kind: ExtractKind) -> Vec<String> {
    let looks = hir.properties();
    let looks = if look == Look::Start { looks.look_set_prefix() } else { looks.look_set_suffix() };
    if !looks.contains(look) {
        return Vec::new();
    }
    let texts = Extractor::new().kind(kind).extract(hir);
    let texts = texts.literals().unwrap_or_default().iter();
    // A part of a character is none.
    texts.map(|text| String::from_utf8(text.as_bytes().to_vec()).unwrap_or_default()).collect()
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

/// The most that a repetition may say, as in RE2.
const MAX_REPEATED: u32 = 1000;

/// The classes of POSIX that RE2 knows.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// RE2, written so that the regex crate reads the same. What either reads in another way, or not at all, is refused.
struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl Translation<'_> {
    fn of(source: &str) -> Result<String, String> {
        let mut translation = Translation { rest: source, out: String::with_capacity(source.len()) };
        let mut repeated = false;
        while let Some(c) = translation.next() {
            let repeats = match c {
                '*' | '+' | '?' => Some(String::from(c)),
                '{' => translation.counted()?,
                _ => None,
            };
            if let Some(repeats) = repeats {
                if repeated {
                    return Err(format!("{repeats} repeats what is repeated already: put that into parentheses"));
                }
                translation.out.push_str(&repeats);
                // Lazy; it finds the same.
                if translation.eat("?") {
                    translation.out.push('?');
                }
                repeated = true;
                continue;
            }
            repeated = false;
            match c {
                '\\' => translation.escape()?,
                '[' => translation.class()?,
                '(' => translation.group()?,
                // It counts nothing.
                '{' => translation.literal(c),
                c => translation.out.push(c),
            }
        }
        Ok(translation.out)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A character that stands for itself.
    fn literal(&mut self, c: char) {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            self.out.extend(["\\x{", &format!("{:X}", u32::from(c)), "}"]);
        } else {
            self.out.push(c);
        }
    }

    /// `{n}`, `{n,}` or `{n,m}`, whose brace was read, if that is what it is.
    fn counted(&mut self) -> Result<Option<String>, String> {
        let Some((inner, rest)) = self.rest.split_once('}') else { return Ok(None) };
        let is_number = |text: &str| {
            text == "0" || (!text.is_empty() && !text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()))
        };
        let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
        if !is_number(least) || !(is_number(most) || (most.is_empty() && inner.ends_with(','))) {
            return Ok(None);
        }
        let is_small = |text: &str| text.is_empty() || text.parse::<u32>().is_ok_and(|number| number <= MAX_REPEATED);
        if !is_small(least) || !is_small(most) {
            return Err(format!("{{{inner}}} repeats more than {MAX_REPEATED} times"));
        }
        self.rest = rest;
        Ok(Some(format!("{{{inner}}}")))
    }

    /// What stands behind a backslash, outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        if self.classes()? {
            return Ok(());
        }
        match self.rest.chars().next() {
            Some('b') if !self.rest.starts_with("b{") => self.out.push_str("(?-u:\\b)"),
            Some(c @ ('A' | 'z')) => self.out.extend(['\\', c]),
            Some(c @ ('b' | 'B' | '<' | '>')) => return Err(impossible(c)),
            _ => {
                let c = self.escaped()?;
                self.literal(c);
                return Ok(());
            }
        }
        self.next();
        Ok(())
    }

    /// A class behind a backslash, if it is one: of Perl or of Unicode.
    fn classes(&mut self) -> Result<bool, String> {
        let written = match self.rest.chars().next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some('s') => "[\\t\\n\\x0C\\r ]",
            Some('S') => "[^\\t\\n\\x0C\\r ]",
            Some('p') => "\\p",
            Some('P') => "\\P",
            _ => return Ok(false),
        };
        self.next();
        self.out.push_str(written);
        if matches!(written, "\\p" | "\\P") {
            let is_named = self.eat("{");
            let end = if is_named { self.rest.find('}') } else { self.rest.chars().next().map(char::len_utf8) };
            let name = end.map(|end| self.rest.split_at(end));
            let Some((name, rest)) =
                name.filter(|(name, _)| name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'))
            else {
                return Err("\\p needs the name of a class of Unicode, as in \\pL or \\p{Greek}".to_owned());
            };
            self.out.extend(["{", name, "}"]);
            self.rest = rest;
            if is_named {
                self.eat("}");
            }
        }
        Ok(true)
    }

    /// The character that is written with the backslash that was read.
    fn escaped(&mut self) -> Result<char, String> {
        let Some(c) = self.next() else { return Err("it ends with a backslash".to_owned()) };
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0C',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0B',
            'x' => return self.hexadecimal(),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            c => return Err(impossible(c)),
        })
    }

    /// `\xFF` or `\x{10FFFF}`, behind the `x`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        let inner = self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (digits, rest) = match inner {
            Some(inner) => Some(inner),
            None => self.rest.split_at_checked(2),
        }
        .filter(|(digits, _)| digits.bytes().all(|c| c.is_ascii_hexdigit()))
        .ok_or("\\x needs two digits, or digits in braces")?;
        let number = u32::from_str_radix(digits, 16).ok();
        self.rest = rest;
        number.and_then(char::from_u32).ok_or_else(|| format!("there is no character \\x{{{digits}}}"))
    }

    /// The rest of a class, whose bracket was read.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        // A bracket that comes first stands for itself.
        let mut is_first = true;
        while is_first || !self.eat("]") {
            is_first = false;
            if self.eat("[:") {
                self.posix()?;
                continue;
            }
            let before = self.rest;
            if self.eat("\\") && self.classes()? {
                continue;
            }
            self.rest = before;
            let low = self.member()?;
            self.literal(low);
            // A hyphen that comes last stands for itself, as does one behind a class.
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.next();
                let high = self.member()?;
                if high < low {
                    return Err(format!("{low}-{high} in a class is the wrong way round"));
                }
                self.out.push('-');
                self.literal(high);
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// A character in a class.
    fn member(&mut self) -> Result<char, String> {
        if self.rest.starts_with("[:") {
            return Err("a class has no place in a range".to_owned());
        }
        match self.next() {
            Some('\\') => self.escaped(),
            Some(c) => Ok(c),
            None => Err("a class has no closing bracket".to_owned()),
        }
    }

    /// A class of POSIX in a class, such as `[:alpha:]`, behind the colon.
    fn posix(&mut self) -> Result<(), String> {
        let inner = self.rest.split_once(":]");
        match inner.filter(|(name, _)| POSIX.contains(&name.strip_prefix('^').unwrap_or(name))) {
            Some((name, rest)) => {
                self.out.extend(["[:", name, ":]"]);
                self.rest = rest;
                Ok(())
            }
            None => Err(format!("[: in a class begins one of {}: write \\[ for a bracket", POSIX.join(", "))),
        }
    }

    /// What stands behind an opening parenthesis: RE2 has the flags i, m, s and U.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if !self.eat("?") {
            return Ok(());
        }
        if self.eat("P<") || self.eat("<") {
            let name = self.rest.split_once('>');
            let is_name = |name: &str| name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
            let (name, rest) = name
                .filter(|(name, _)| is_name(name))
                .ok_or("the name of a group has letters, digits and _, and ends with >")?;
            self.out.extend(["?P<", name, ">"]);
            self.rest = rest;
            return Ok(());
        }
        self.out.push('?');
        loop {
            match self.next() {
                Some(c @ ('i' | 'm' | 's' | 'U' | '-')) => self.out.push(c),
                Some(c @ (':' | ')')) => {
                    self.out.push(c);
                    return Ok(());
                }
                Some(c) => {
                    return Err(format!("there is no flag {c} in regular expressions here: i, m, s and U are"));
                }
                None => return Err("a group has no closing parenthesis".to_owned()),
            }
        }
    }
}

/// What is wrong with `c` behind a backslash.
fn impossible(c: char) -> String {
    format!("\\{c} is not possible here: spell out what may stand there")
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    /// As Go's `regexp` matches; the table was run through it, and so were 400,000 made of such parts.
    #[test]
    fn a_class_has_in_it_what_re2_has() {
        for (pattern, text, expected) in [
            (r"^[\d-x]+$", "5-x", true),
            (r"^[\d-x]+$", "w", false),
            (r"^[.\d-]+$", "5-.", true),
            (r"^[+--]+$", "+,-", true),
            (r"^[--a]+$", "-5]a", true),
            (r"^[a-]+$", "a-", true),
            (r"^[a-a]+$", "aa", true),
            (r"^[^-a]$", "-", false),
            (r"^[]-a]+$", "]^_`a", true),
            (r"^[\]\-\\]+$", r"]-\", true),
            (r"^[\x41-\x{43}\n]+$", "ABC\n", true),
            (r"^\a\f\r\t\v$", "\u{7}\u{c}\r\t\u{b}", true),
            (r"^[[:^digit:][:digit:]]+$", "a5", true),
            (r"^[\pL\PN]+$", "\u{3b1}", true),
            (r"^[a&&b~~c||d]+$", "a&b~c|d", true),
            (r"^a{$", "a{", true),
            (r"^a{,3}$", "a{,3}", true),
            (r"^a{,3}$", "aa", false),
            (r"^a{ 2 }$", "a{ 2 }", true),
            (r"^a{01}$", "a", false),
            (r"^a{1,2,}$", "a{1,2,}", true),
            (r"^a{1,2,}$", "aa", false),
            (r"^a{2}?$", "aa", true),
            (r"^a*?b+?c??$", "aab", true),
            (r"^\/\@\%\_\ $", "/@%_ ", true),
            (r"(?m)\Aa\z", "a", true),
            (r"(?m)\Aa", "b\na", false),
            (r"(?m)a\z", "a\n", false),
            (r"^(?<x>a)(?P<y>b)$", "ab", true),
            (r"^(?i)a(?-i)b$", "Ab", true),
            (r"^(?i)a(?-i)b$", "AB", false),
            (r"^(?U)a+(?:b)$", "aab", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.is_match(text), Some(expected), "{pattern} {text:?}");
        }
    }

    /// Of these RE2 has two, `[!-[:digit:]]` and `[[:a]b]`, in a way that nobody means.
    #[test]
    fn what_re2_does_not_know_is_refused() {
        for (pattern, why) in [
            (r"^[.-\d]+$", r"\d is not possible here"),
            (r"[a-\pL]", r"\p is not possible here"),
            (r"[!-[:digit:]]", "a class has no place in a range"),
            (r"[[:foo:]]", "[: in a class begins one of alnum, alpha"),
            (r"[[:a]b]", "[: in a class begins one of alnum, alpha"),
            (r"[[:ALPHA:]]", "[: in a class begins one of alnum, alpha"),
            (r"[b-a]", "b-a in a class is the wrong way round"),
            (r"[a", "a class has no closing bracket"),
            (r"a**", "* repeats what is repeated already"),
            (r"a{2}{3}", "{3} repeats what is repeated already"),
            (r"a?+", "+ repeats what is repeated already"),
            (r"a{2}*", "* repeats what is repeated already"),
            (r"a*??", "? repeats what is repeated already"),
            (r"a{1001}", "{1001} repeats more than 1000 times"),
            (r"a{1,1001}", "{1,1001} repeats more than 1000 times"),
            (r"a{1001,}", "{1001,} repeats more than 1000 times"),
            (r"\<a", r"\< is not possible here"),
            (r"a\>", r"\> is not possible here"),
            (r"\u0041", r"\u is not possible here"),
            (r"\U00000041", r"\U is not possible here"),
            (r"[\u0041]", r"\u is not possible here"),
            (r"\x4", r"\x needs two digits"),
            (r"\x{110000}", r"there is no character \x{110000}"),
            (r"\p{sc=Greek}", r"\p needs the name of a class"),
            (r"(?P<a[b>c)", "the name of a group has letters"),
            (r"(?x) a", "there is no flag x"),
        ] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
