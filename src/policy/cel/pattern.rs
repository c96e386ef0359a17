//! Regular expressions as Kubernetes reads them: RE2, which Go's `regexp` implements. The regex crate
//! gives `\d`, `\w`, `\s` and `\b` to all of Unicode, so that `^\w+$` would hold for a name with a
//! Cyrillic letter in it, and it knows operators in classes that RE2 does not. Matching takes time
//! linear in the text; what it takes for each byte depends on the pattern, and is charged.

use std::ops::RangeInclusive;

use cel::objects::Opaque;
use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense, sparse};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// The most that a compiled regular expression may take, in KiB.
const MAX_SIZE: usize = 128;
/// The most that those of an object may take together, in KiB: that bounds the time to compile them, too.
const MAX_TOGETHER: usize = 512;
/// What a class that reaches beyond ASCII counts for, in KiB: about what it takes until all is compiled. Measured: with
/// `(?i)` it takes up to 0.6 ms, whatever becomes of it.
const WIDE_CLASS: usize = 4;
/// The most that the table may take while it is made, in KiB. Most of it is air.
const MAX_TABLE: usize = 256;
/// The most that may be taken beside that to make it, in KiB, and how many kinds of bytes may be told apart before it is
/// less: their product bounds the time. Measured: 40 ms at most.
const MAX_TO_MAKE: usize = 128;
const MANY_KINDS: usize = 24;
/// What a table that was begun in vain counts for, in KiB, for the time that it took.
const IN_VAIN: usize = 16;
const KIB: usize = 1024;
/// Measured: where there is no table, a byte of text takes some 2 ns for each byte of the automaton, and a unit of the
/// budget of an evaluation may take 50 ns.
const BYTES_FOR_A_UNIT: usize = 10;

/// What is left of what the regular expressions of an object may take, in bytes.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_TOGETHER * KIB)
    }
}

impl Room {
    /// After the first that has no room nothing has, so that no time goes into what is refused anyway.
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.0.checked_sub(bytes).filter(|left| *left > 0);
        self.0 = left.unwrap_or_default();
        if left.is_some() {
            return Ok(());
        }
        Err(format!(
            "the regular expressions of this object take more than {MAX_TOGETHER} KiB when they are compiled: write fewer, \
             or smaller ones, in which no class repeats often, and [a-z] instead of \\pL"
        ))
    }
}

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
    /// A look or a few for each byte of a text, whatever it is.
    Table(Box<sparse::DFA<Vec<u8>>>),
    /// Takes time in proportion to the size of the automaton as well.
    Automaton(Box<PikeVM>),
}

impl Pattern {
    /// Compiles `source`, if there is `room`; the error is a sentence.
    pub(super) fn new(source: &str, room: &mut Room) -> Result<Self, String> {
        let (translated, wide) = Translation::of(source)?;
        if wide * WIDE_CLASS > MAX_SIZE {
            return Err(too_large());
        }
        room.take(wide * WIDE_CLASS * KIB)?;
        let hir = regex_syntax::parse(&translated).map_err(|error| {
            let text = error.to_string();
            format!("not a regular expression: {}", text.lines().last().unwrap_or_default())
        })?;
        let matcher = Matcher::new(&hir)?;
        room.take(matcher.size() + if let Matcher::Automaton(_) = matcher { IN_VAIN * KIB } else { 0 })?;
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
        let input = Input::new(text).earliest(true);
        match &self.matcher {
            Matcher::Table(table) => table.try_search_fwd(&input).ok().map(|found| found.is_some()),
            // What it works with is as large as itself, and not kept.
            Matcher::Automaton(automaton) => Some(automaton.is_match(&mut automaton.create_cache(), input)),
        }
    }

    /// What a byte of a text costs at most.
    pub(super) fn weight(&self) -> u64 {
        match &self.matcher {
            Matcher::Table(_) => 1,
            Matcher::Automaton(_) => 1 + (self.matcher.size() / BYTES_FOR_A_UNIT) as u64,
        }
    }
}

impl Matcher {
    fn new(hir: &Hir) -> Result<Self, String> {
        let nfa = thompson::Config::new().nfa_size_limit(Some(MAX_SIZE * KIB)).which_captures(WhichCaptures::None);
        let nfa = NFA::compiler().configure(nfa).build_from_hir(hir).map_err(|_| too_large())?;
        let kinds = nfa.byte_classes().alphabet_len().max(MANY_KINDS);
        let table = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_TABLE * KIB))
            .determinize_size_limit(Some(MAX_TO_MAKE * KIB * MANY_KINDS / kinds));
        let table = dense::Builder::new().configure(table).build_from_nfa(&nfa).ok();
        let table = table.and_then(|table| table.to_sparse().ok());
        match table.filter(|table| table.memory_usage() <= MAX_SIZE * KIB) {
            Some(table) => Ok(Self::Table(Box::new(table))),
            None => Ok(Self::Automaton(Box::new(PikeVM::new_from_nfa(nfa).map_err(|_| too_large())?))),
        }
    }

    /// What it takes, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Table(table) => table.memory_usage(),
            Self::Automaton(automaton) => automaton.get_nfa().memory_usage(),
        }
    }
}

fn too_large() -> String {
    format!(
        "the regular expression takes more than {MAX_SIZE} KiB when it is compiled: a class counts anew for each time that it \
         repeats, most of all one like \\pL; instead of ^\\pL{{1,20}}$, for example, write ^\\pL+$ and .size() <= 20 beside it"
    )
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
    /// How many classes, or ranges in classes, reach beyond ASCII.
    wide: usize,
}

impl Translation<'_> {
    fn of(source: &str) -> Result<(String, usize), String> {
        let mut translation = Translation { rest: source, out: String::with_capacity(source.len()), wide: 0 };
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
        Ok((translation.out, translation.wide))
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
            self.wide += 1;
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
                self.wide += usize::from(!high.is_ascii());
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
    use super::{Pattern, Room};

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
            let compiled =
                Pattern::new(pattern, &mut Room::default()).unwrap_or_else(|error| panic!("{pattern}: {error}"));
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
            let error = Pattern::new(pattern, &mut Room::default()).expect_err(pattern);
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_is_usual_takes_little_and_what_takes_much_is_refused() {
        let took = |pattern: &str| {
            let mut room = Room::default();
            let compiled = Pattern::new(pattern, &mut room);
            (compiled.map(|_| ()), (Room::default().0 - room.0) / 1024)
        };
        for (pattern, kib) in [
            (r"^[a-z]([-a-z0-9]*[a-z0-9])?$", 0),
            (r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", 8),
            (r"^spiffe://example\.com/ns/[a-z0-9-]+/sa/[a-z0-9-]+$", 0),
            (r"^[^@]+@[^@]+\.example\.com$", 2),
            (r"^(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(\.(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}$", 1),
            (r"^.{1,64}$", 12),
            (r"^\pL+-[0-9]+$", 16),
            (r"^[\pL\pN]+$", 20),
            (r"^\pL[\pL .'-]*$", 55),
        ] {
            let (compiled, took) = took(pattern);
            assert!(compiled.is_ok() && took <= kib, "{pattern}: {took}");
        }
        let many = |part: &str| part.repeat(200);
        for pattern in [
            r"(\pL|\pN){20}x",
            r"^[\pL\pN]{1,20}$",
            r"[^a]{900}b",
            // What is in the end as small as nothing.
            &format!("(?i){}", many(r"\PL{0}")),
            &format!("(?i)[{}]", many(r"\PL")),
            &format!("(?i){}", many("[!-\u{fff0}]{0}")),
        ] {
            let (compiled, took) = took(pattern);
            let error = compiled.expect_err(pattern);
            assert!(error.contains(r"than 128 KiB") && error.contains(r"write ^\pL+$ and .size() <= 20"), "{error}");
            assert!(took <= 8, "{pattern}: {took}");
        }
    }
}
