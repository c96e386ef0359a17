//! Patterns: anchored, with `*` for a run of characters and `**` for one that crosses separators.

use std::borrow::Cow;

use memchr::{memchr3, memmem};

use super::folded::FieldValue;
use super::ways::{self, lead_through};
use crate::fold::{fold_apart, has_iota_subscript, has_marks, is_mark, split_marks, without_iotas};

/// The kind of value that a pattern is compared with; it decides what separates and what folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// CN, O and OU: `:` separates.
    Identity,
    /// DNS names: `.` separates, compared in lower case.
    DnsName,
    /// URIs: `/ ? # @ :` separate, scheme and host compared in lower case.
    Uri,
    /// Email addresses: `@` separates, the domain compared in lower case.
    EmailAddress,
}

impl Field {
    pub(super) fn separates(self, c: char) -> bool {
        match self {
            Self::Identity => c == ':',
            Self::DnsName => c == '.',
            Self::Uri => matches!(c, '/' | '?' | '#' | '@' | ':'),
            Self::EmailAddress => c == '@',
        }
    }

    /// The form in which values and patterns of this field are compared.
    #[must_use]
    pub fn normalize(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::DnsName if has_capital(text) => text.to_ascii_lowercase().into(),
            Self::Uri => normalize_uri(text),
            Self::EmailAddress => match text.rsplit_once('@') {
                Some((local, domain)) if has_capital(domain) => {
                    format!("{local}@{}", domain.to_ascii_lowercase()).into()
                }
                _ => text.into(),
            },
            Self::Identity | Self::DnsName => text.into(),
        }
    }
}

fn has_capital(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// How many bytes of a URI are scheme and authority, or the namespace of a URN, as far as that can be seen.
fn origin(text: &str) -> usize {
    let scheme = text.find(':').unwrap_or_default();
    let Some(rest) = text[scheme..].strip_prefix("://") else {
        let is_urn = text[..scheme].eq_ignore_ascii_case("urn");
        let namespace = || text.bytes().skip(scheme + 1).position(|byte| matches!(byte, b':' | b'/' | b'?' | b'#'));
        return if is_urn { namespace().map_or(text.len(), |length| scheme + 1 + length) } else { scheme };
    };
    scheme + "://".len() + memchr3(b'/', b'?', b'#', rest.as_bytes()).unwrap_or(rest.len())
}

/// Scheme and host in lower case (RFC 3986 section 6.2.2.1), and the namespace of a URN (RFC 8141 section 3.1), all else as
/// it is.
fn normalize_uri(text: &str) -> Cow<'_, str> {
    let (origin, tail) = text.split_at(origin(text));
    if !has_capital(origin) {
        return text.into();
    }
    match origin.split_once("://").and_then(|(scheme, authority)| Some((scheme, authority.rsplit_once('@')?))) {
        Some((scheme, (userinfo, host))) => {
            format!("{}://{userinfo}@{}{tail}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase()).into()
        }
        None => format!("{}{tail}", origin.to_ascii_lowercase()).into(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    /// Text that stands for itself.
    Literal(String),
    /// `*`.
    Run,
    /// `**`.
    DeepRun,
}

impl Token {
    fn steps(&self) -> impl Iterator<Item = ways::Step> {
        let (text, run) = match self {
            Self::Literal(text) => (text.as_str(), None),
            Self::Run => ("", Some(ways::Step::Run)),
            Self::DeepRun => ("", Some(ways::Step::DeepRun)),
        };
        text.chars().map(ways::Step::Char).chain(run)
    }
}

/// A pattern that permits: in `allowed` and `required`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    source: String,
    field: Field,
    /// The text before the first `*`.
    begin: String,
    within: Box<[ways::Step]>,
    /// The text behind the last `*`.
    end: String,
}

impl Pattern {
    /// Compiles `source`; the error is a sentence that says what to write instead.
    pub fn new(source: &str, field: Field) -> Result<Self, String> {
        check(source)?;
        if field == Field::DnsName {
            check_dns(source)?;
        }
        if field == Field::Uri {
            check_uri(source)?;
        }
        if source.chars().count() > ways::MAX_STEPS {
            return Err(format!("a pattern has at most {} characters: write a shorter one", ways::MAX_STEPS));
        }
        let text = field.normalize(source);
        let (begin, rest) = text.split_at(text.find('*').unwrap_or(text.len()));
        let (within, end) = rest.split_at(rest.rfind('*').map_or(0, |last| last + 1));
        let within = tokens(within).iter().flat_map(Token::steps).collect();
        Ok(Self { source: source.to_owned(), field, begin: begin.to_owned(), within, end: end.to_owned() })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text before the first `*`, byte for byte as it is compared.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        &self.begin
    }

    /// Whether it spells out `prefix`, if there is one, byte for byte: what a policy asks of a pattern for a reserved name.
    #[must_use]
    pub fn spells_out(&self, prefix: Option<&str>) -> bool {
        prefix.is_none_or(|prefix| self.literal_prefix().starts_with(prefix))
    }

    /// Whether the whole of `value` matches. `*` stands for one or more printable ASCII
    /// characters, the first and the last of them not a space, none of them a separator of the
    /// field or a literal `*`; `**` likewise with separators. With `wildcards`, a `*` that opens
    /// the pattern also covers the `*` that opens a wildcard DNS name.
    #[must_use]
    pub fn matches(&self, value: &str, wildcards: bool) -> bool {
        let value = self.field.normalize(value);
        let rest = value.strip_prefix(self.begin.as_str()).and_then(|rest| rest.strip_suffix(self.end.as_str()));
        rest.is_some_and(|rest| lead_through(&self.within, self.field, rest, wildcards && self.begin.is_empty()))
    }
}

/// A pattern in which `*` crosses everything: in `denied`, and for requestors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WidePattern {
    source: String,
    field: Field,
    plain: Glob,
    /// With each literal folded, where that differs.
    folded: Option<Glob>,
    /// With each literal folded without any iota, where one is a subscript: a further mark comes before it and behind the letter
    /// that it folds to, so that no folding of both is like the other.
    bare: Option<Glob>,
}

impl WidePattern {
    /// Compiles `source`; the error is a sentence that says what to write instead.
    pub fn new(source: &str, field: Field) -> Result<Self, String> {
        check(source)?;
        if field == Field::DnsName {
            check_dns(source)?;
        }
        let tokens = tokens(&field.normalize(source));
        let plain = Glob::new(parts(&tokens, str::to_owned));
        let folded = Glob::new(trimmed(parts(&tokens, fold_untrimmed)));
        let bare = Some(&folded.parts)
            .filter(|_| has_iota_subscript(source))
            .map(|parts| parts.iter().map(|part| without_iotas(part)).collect::<Vec<_>>())
            // One of nothing else would leave a pattern that says nothing.
            .filter(|bare| bare.iter().any(|part| !part.is_empty()))
            .map(Glob::new)
            .filter(|bare| *bare != folded);
        let folded = Some(folded).filter(|folded| *folded != plain);
        Ok(Self { source: source.to_owned(), field, plain, folded, bare })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The one value that matches, if there is no `*`. Its field's form is that of the value as it is.
    pub(super) fn literal(&self) -> Option<&str> {
        (self.field == Field::Identity && self.plain.is_literal()).then_some(self.source.as_str())
    }

    /// Whether the whole of `value` matches as it is.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.plain.matches(&self.field.normalize(value))
    }

    /// Whether `value` matches as it is, or folded (trimmed, ignoring case and Unicode variants),
    /// or, for DNS names, as a wildcard name that covers something that matches.
    #[must_use]
    pub fn hits(&self, value: &str) -> bool {
        Self::first_hit(std::slice::from_ref(self), &FieldValue::new(self.field, value)).is_some()
    }

    /// The first of `patterns`, all of the field of `value`, that [hits](Self::hits) it.
    #[must_use]
    pub fn first_hit<'a>(patterns: &'a [Self], value: &FieldValue<'_>) -> Option<&'a Self> {
        let covers = value.field() == Field::DnsName && value.normal().contains('*');
        let meets = |glob: &Glob, value: &str| if covers { glob.meets(value) } else { glob.matches(value) };
        let meets_folded = |glob: &Glob, folded: &str| meets(glob, folded) || glob.matches_marked(folded);
        patterns.iter().find(|pattern| {
            debug_assert_eq!(pattern.field, value.field(), "a pattern of another field");
            let globs = [Some(&pattern.plain), pattern.folded.as_ref()];
            globs.into_iter().flatten().any(|glob| meets(glob, value.normal()))
                || value
                    .folded()
                    .is_some_and(|folded| meets_folded(pattern.folded.as_ref().unwrap_or(&pattern.plain), folded))
                || pattern.bare.as_ref().is_some_and(|glob| meets_folded(glob, value.bare()))
        })
    }
}

/// What stands between the `*`, each made of the literals there.
fn parts(tokens: &[Token], literal: impl Fn(&str) -> String) -> Vec<String> {
    let mut parts = vec![String::new()];
    for token in tokens {
        match (token, parts.last_mut()) {
            (Token::Literal(text), Some(part)) => part.push_str(&literal(text)),
            _ => parts.push(String::new()),
        }
    }
    parts
}

/// What begins and what ends a pattern is trimmed as the value is; the space in `a *` counts.
fn trimmed(mut parts: Vec<String>) -> Vec<String> {
    if let Some(first) = parts.first_mut() {
        *first = first.trim_start().to_owned();
    }
    if let Some(last) = parts.last_mut() {
        *last = last.trim_end().to_owned();
    }
    parts
}

/// Each literal is folded by itself.
fn fold_untrimmed(text: &str) -> String {
    let guarded = fold_apart(&format!("|{text}|"));
    guarded.strip_prefix('|').and_then(|text| text.strip_suffix('|')).unwrap_or(text).to_owned()
}

/// What stands between the `*` of a wide pattern: what begins a value, what is in it, in this order, and what ends it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Glob {
    parts: Vec<String>,
    /// The same, character by character.
    steps: Vec<ways::Step>,
}

impl Glob {
    fn new(parts: Vec<String>) -> Self {
        let characters: Vec<Vec<_>> = parts.iter().map(|part| part.chars().map(ways::Step::Char).collect()).collect();
        let steps = characters.join(&ways::Step::DeepRun);
        Self { parts, steps }
    }

    /// Whether it has no `*`.
    fn is_literal(&self) -> bool {
        self.parts.len() == 1
    }

    /// Whether the whole of `value` matches, in time that grows with its length: what comes first is found first, which
    /// leaves the most to what comes after it.
    fn matches(&self, value: &str) -> bool {
        let [begin, within @ .., end] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|text| text == value);
        };
        let Some(rest) = value.strip_prefix(begin.as_str()).and_then(|rest| rest.strip_suffix(end.as_str())) else {
            return false;
        };
        let after = |rest, part| memmem::find(rest, part).map(|at| &rest[at + part.len()..]);
        within.iter().try_fold(rest.as_bytes(), |rest, part| after(rest, part.as_bytes())).is_some()
    }

    /// Whether `value`, folded apart as this is, matches without some of the marks at the letters before a `*`.
    fn matches_marked(&self, value: &str) -> bool {
        // Which has no marks.
        if value.is_ascii() {
            return false;
        }
        let Some((end, before)) = self.parts.split_last() else { return false };
        let Some(rest) = value.strip_suffix(end.as_str()).filter(|_| before.iter().any(|part| part.ends_with(is_mark)))
        else {
            return false;
        };
        let after = |rest, (index, part): (usize, &String)| after_marked(rest, part, index == 0);
        before.iter().enumerate().try_fold(rest, after).is_some()
    }

    /// Whether something that matches is covered by `value`, in which `*` stands for any text without a dot.
    fn meets(&self, value: &str) -> bool {
        // Both begin with what stands before their first `*`, and end with what stands after their last.
        let (head, tail) = (value.split('*').next().unwrap_or_default(), value.rsplit('*').next().unwrap_or_default());
        let (begin, end) =
            (self.parts.first().map_or("", String::as_str), self.parts.last().map_or("", String::as_str));
        let begins = begin.starts_with(head) || head.starts_with(begin);
        let ends = end.ends_with(tail) || tail.ends_with(end);
        if !begins || !ends {
            return false;
        }
        ways::meet(&self.steps, value)
    }
}

/// What follows in `text` on the first place where `part` stands, perhaps with further marks at its last letter; on its beginning,
/// if it has to stand there. The marks are among what follows, which a `*` stands for.
fn after_marked<'a>(text: &'a str, part: &str, begins: bool) -> Option<&'a str> {
    let (stem, marks) = split_marks(part);
    if begins {
        return text.strip_prefix(stem).filter(|rest| has_marks(rest, marks));
    }
    if marks.is_empty() {
        return memmem::find(text.as_bytes(), part.as_bytes()).map(|at| &text[at + part.len()..]);
    }
    let mut last_is_mark = false;
    let mut places = text.char_indices().filter(|(_, c)| {
        let before = std::mem::replace(&mut last_is_mark, is_mark(*c));
        last_is_mark && !before
    });
    places.find_map(|(at, _)| {
        let (before, rest) = text.split_at(at);
        (before.ends_with(stem) && has_marks(rest, marks)).then_some(rest)
    })
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find('*') {
        if at > 0 {
            tokens.push(Token::Literal(rest[..at].to_owned()));
        }
        let (token, length) = if rest[at..].starts_with("**") { (Token::DeepRun, 2) } else { (Token::Run, 1) };
        tokens.push(token);
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        tokens.push(Token::Literal(rest.to_owned()));
    }
    tokens
}

fn check(source: &str) -> Result<(), String> {
    if source.is_empty() {
        return Err("an empty pattern matches nothing: remove it".to_owned());
    }
    if source.contains("${") {
        return Err("${ is reserved for later versions and cannot stand in a pattern".to_owned());
    }
    if source.contains("***") {
        return Err(
            "*** is not a pattern: write * for a part between separators, or ** for a part with separators".to_owned()
        );
    }
    if source.trim() != source {
        return Err("a pattern begins or ends with white space: remove it".to_owned());
    }
    Ok(())
}

fn check_dns(source: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*'))
    };
    if source.split('.').all(label) {
        return Ok(());
    }
    Err("a DNS name has letters, digits, - and _ between single dots, and no dot at either end; * stands for one label \
         or a part of one, for example *.dev.example.com"
        .to_owned())
}

/// What stands behind `**` may be of the host, where case does not count, or of the path, where it does.
fn check_uri(source: &str) -> Result<(), String> {
    let origin = &source[..origin(source)];
    match origin.find("**") {
        Some(at) if origin[at..].contains(|c: char| c.is_ascii_uppercase()) => Err(
            "behind **, where the host of a URI stands, a capital letter may be of the host or of the path: write hosts in \
             lower case, and a / before what is of the path, for example spiffe://*/**-Admin"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Field, FieldValue, Glob, Pattern, Token, WidePattern, has_iota_subscript, tokens};

    fn permits(pattern: &str, field: Field, value: &str) -> bool {
        Pattern::new(pattern, field).unwrap().matches(value, false)
    }

    fn hits(pattern: &str, field: Field, value: &str) -> bool {
        WidePattern::new(pattern, field).unwrap().hits(value)
    }

    #[test]
    fn a_star_stays_between_the_separators_of_its_field() {
        for (pattern, field, value, expected) in [
            ("oidc:*", Field::Identity, "oidc:amy", true),
            ("oidc:*", Field::Identity, "oidc:amy b", true),
            ("oidc:*", Field::Identity, "oidc:", false),
            ("oidc:*", Field::Identity, "oidc: amy", false),
            ("oidc:*", Field::Identity, "oidc:amy ", false),
            ("oidc:*", Field::Identity, "oidc:a:b", false),
            ("oidc:**", Field::Identity, "oidc:a:b", true),
            ("oidc:*", Field::Identity, "oidc:zo\u{eb}", false),
            ("zo\u{eb}", Field::Identity, "zo\u{eb}", true),
            ("oidc:*", Field::Identity, "xoidc:amy", false),
            ("*", Field::Identity, "a*", false),
            ("a*b*c", Field::Identity, "aXbYbZc", true),
            ("a*b*c", Field::Identity, "abc", false),
            ("Amy", Field::Identity, "amy", false),
            ("*.dev.example.com", Field::DnsName, "web.DEV.example.com", true),
            ("*.dev.example.com", Field::DnsName, "a.web.dev.example.com", false),
            ("**.dev.example.com", Field::DnsName, "a.web.dev.example.com", true),
            ("*.dev.example.com", Field::DnsName, "dev.example.com", false),
            ("*.dev.example.com", Field::DnsName, "*.dev.example.com", false),
            ("spiffe://example.com/ns/*/sa/*", Field::Uri, "SPIFFE://Example.com/ns/a/sa/b", true),
            ("spiffe://example.com/ns/*/sa/*", Field::Uri, "spiffe://example.com/ns/a/sa/b/c", false),
            ("spiffe://example.com/ns/*/sa/*", Field::Uri, "spiffe://example.com/NS/a/sa/b", false),
            ("spiffe://*/x", Field::Uri, "spiffe://user@host/x", false),
            ("SPIFFE://Example.com/**-Admin", Field::Uri, "spiffe://example.com/a/web-Admin", true),
            ("spiffe://*/**-Admin", Field::Uri, "spiffe://example.com/a/web-Admin", true),
            ("spiffe://*/**-Admin", Field::Uri, "spiffe://example.com/a/web-admin", false),
            ("HTTPS://**.example.com/x", Field::Uri, "https://a.Example.com/x", true),
            ("Urn:Team:**", Field::Uri, "URN:Team:a", true),
            ("urn:uuid:a", Field::Uri, "urn:UUID:a", true),
            ("urn:uuid:a", Field::Uri, "urn:uuid:A", false),
            ("tag:A:b", Field::Uri, "tag:a:b", false),
            ("*@example.com", Field::EmailAddress, "amy@EXAMPLE.com", true),
            ("*@example.com", Field::EmailAddress, "a@b@example.com", false),
            ("amy@example.com", Field::EmailAddress, "Amy@example.com", false),
        ] {
            assert_eq!(permits(pattern, field, value), expected, "{pattern:?} and {value:?}");
        }
    }

    #[test]
    fn a_star_in_a_value_stands_for_others_in_dns_names_only() {
        assert!(hits("abc.example.com", Field::DnsName, "a*c.example.com"));
        assert!(!hits("abc", Field::Identity, "a*c"));
        assert!(hits("a*", Field::Identity, "a*c"));
        assert!(!hits("spiffe://example.com/abc", Field::Uri, "spiffe://example.com/a*c"));
    }

    #[test]
    fn a_wildcard_name_needs_a_pattern_that_covers_all_it_covers() {
        for (pattern, value, expected) in [
            ("*.dev.example.com", "*.dev.example.com", true),
            ("**.example.com", "*.dev.example.com", true),
            ("web-*.dev.example.com", "*.dev.example.com", false),
            ("*.*.example.com", "a.*.example.com", false),
            ("*x.dev.example.com", "*.dev.example.com", false),
            ("**.example.com", "**.example.com", false),
        ] {
            let pattern = Pattern::new(pattern, Field::DnsName).unwrap();
            assert_eq!(pattern.matches(value, true), expected, "{} and {value}", pattern.source());
        }
    }

    #[test]
    fn denied_crosses_everything_and_compares_folded_too() {
        for (pattern, field, value, expected) in [
            ("admins", Field::Identity, "admins", true),
            ("admins", Field::Identity, "ADMINS ", true),
            ("Admins", Field::Identity, "admins", true),
            ("admins", Field::Identity, "\u{ff21}dmins", true),
            ("admins", Field::Identity, "admins2", false),
            ("Admins", Field::Identity, "amy", false),
            ("admins", Field::Identity, "Amy", false),
            ("kubeadm:*", Field::Identity, "kubeadm:", true),
            ("kubeadm:*", Field::Identity, "kubeadm:a:b c", true),
            ("*admin*", Field::Identity, "cluster-admins", true),
            ("vpn.dev.example.com", Field::DnsName, "*.dev.example.com", true),
            ("vpn.dev.example.com", Field::DnsName, "*.DEV.example.com", true),
            ("vpn.dev.example.com", Field::DnsName, "*.example.com", false),
            ("*.example.com", Field::DnsName, "a.b.example.com", true),
            ("v*n.example.com", Field::DnsName, "*.example.com", true),
            ("a.b.example.com", Field::DnsName, "*.*.example.com", true),
            ("spiffe://example.com/admin/*", Field::Uri, "spiffe://example.com/ADMIN/x/y", true),
            ("spiffe://**-Admin", Field::Uri, "spiffe://example.com/a/web-admin", true),
            (
                "\u{3c0}\u{3c1}\u{3cc}\u{3b5}\u{3b4}\u{3c1}\u{3bf}\u{3c2}",
                Field::Identity,
                "\u{3a0}\u{3a1}\u{38c}\u{395}\u{394}\u{3a1}\u{39f}\u{3a3}",
                true,
            ),
            ("stra\u{df}e", Field::Identity, "STRASSE", true),
            // The accent alone is a space and a combining one in compatibility form.
            ("\u{b4}admins", Field::Identity, "\u{b4}ADMINS", true),
            ("\u{b4}*", Field::Identity, "\u{301}admins", true),
            ("a *", Field::Identity, "Ab", false),
            // A mark may go together with the letter before it.
            ("admin*", Field::Identity, "ADMIN\u{301}x", true),
            ("admin*", Field::Identity, "admi\u{144}x", true),
            // Canonical order puts a dot below before an acute, and a cedilla.
            ("caf\u{e9}*", Field::Identity, "caf\u{e9}\u{323}-x", true),
            ("caf\u{e9}*", Field::Identity, "Caf\u{e9}\u{323}-x", true),
            ("caf\u{e9}*", Field::Identity, "CAF\u{c9}\u{323}-x", true),
            ("caf\u{e9}*", Field::Identity, "caf\u{1eb9}\u{301}-x", true),
            ("caf\u{e9}*", Field::Identity, "cafe\u{323}\u{301}-x", true),
            ("caf\u{e9}*", Field::Identity, "cafeteria", false),
            ("caf\u{e9}*", Field::Identity, "caf\u{1eb9}-\u{e9}", false),
            ("caf\u{e9}*r", Field::Identity, "x:CAF\u{c9}\u{327}r", false),
            ("*caf\u{e9}*r", Field::Identity, "x:CAF\u{c9}\u{327}r", true),
            ("*a\u{e1}*", Field::Identity, "aAA\u{323}\u{301}", true),
            ("*\u{1ea5}*b*", Field::Identity, "x\u{1ea4}\u{323}yB", true),
            ("*\u{1ea5}*b*", Field::Identity, "x\u{1ea4}\u{323}y", false),
            ("\u{e9}*\u{1eb9}*", Field::Identity, "\u{c9}\u{323}-\u{1eb8}\u{301}", true),
            ("*\u{e9}", Field::Identity, "x\u{327}\u{c9}", true),
            ("*a\u{e1}*", Field::Identity, "bA\u{323}\u{301}", false),
            // An iota subscript folds to a letter.
            ("\u{1fb3}*", Field::Identity, "\u{1fb3}x", true),
            ("\u{1fb3}*", Field::Identity, "\u{1fb4}x", true),
            ("\u{1fb3}*", Field::Identity, "\u{1fbc}\u{301}x", true),
            ("\u{1fb3}*", Field::Identity, "\u{386}\u{399}x", true),
            ("\u{1fb3}*", Field::Identity, "\u{3b2}x", false),
            ("*\u{345}*", Field::Identity, "x", false),
            ("*\u{345}*", Field::Identity, "\u{1fb4}", true),
            ("\u{1fb3}x\u{1fb3}*", Field::Identity, "\u{391}\u{399}x\u{1fb4}", true),
            ("\u{3b1}\u{3b9}x\u{1fb3}*", Field::Identity, "\u{1fb3}x\u{1fb4}", true),
            ("*\u{3b9}\u{1fb3}*", Field::Identity, "\u{3b1}\u{3b9}\u{1fb4}", true),
            ("\u{1fb3}*", Field::Identity, "\u{3b1}", true),
            ("\u{3b1}\u{3b9}*", Field::Identity, "\u{3b1}x", false),
            ("\u{436}*", Field::Identity, "\u{44f}\u{436}", false),
            ("\u{1fb3}*\u{3b9}*", Field::Identity, "\u{1fb4}x\u{3b9}", true),
            ("\u{3b9}*\u{1fb3}*", Field::Identity, "\u{399}-\u{1fb4}-", true),
            ("\u{3b9} x\u{1fb3}*", Field::Identity, "\u{3b9} x\u{1fb4}y", true),
            ("\u{1fb3}*b \u{3b9}", Field::Identity, "\u{1fb4}xb \u{3b9}", true),
            ("x\u{37a}*", Field::Identity, "X\u{37a}\u{301}y", true),
            ("*\u{e9}*bc*c*", Field::Identity, "\u{c9}\u{323}xbc", false),
            ("*\u{e9}*bc*c*", Field::Identity, "\u{c9}\u{323}xbcC", true),
        ] {
            assert_eq!(hits(pattern, field, value), expected, "{pattern:?} and {value:?}");
        }
    }

    #[test]
    fn a_wildcard_name_meets_a_pattern_of_any_length() {
        for letters in [63, 64, 65, 127, 128, 129, 191, 192, 255, 256] {
            let text: String = "abcde".chars().cycle().take(letters).collect();
            let glob = Glob::new(vec![text.clone()]);
            let (begin, end) = (&text[..20], &text[letters - 20..]);
            for covers in ["*".to_owned(), format!("{begin}*{end}"), format!("{begin}*"), text.clone()] {
                assert!(glob.meets(&covers), "{letters} {covers}");
            }
            for other in [format!("{begin}*x"), format!("{begin}*x*{end}"), format!("{begin}.*")] {
                assert!(!glob.meets(&other), "{letters} {other}");
            }
            let dotted = Glob::new(vec![format!("{}.{}", &text[..letters / 2], &text[letters / 2 + 1..])]);
            assert!(dotted.meets("*.*") && !dotted.meets("*") && !dotted.meets("*.*.*"), "{letters}");
        }
    }

    #[test]
    fn a_pattern_of_any_length_matches_what_it_spells_out() {
        for letters in [62, 63, 64, 126, 127, 128, 190, 191, 192, 253, 254] {
            let text: String = "abcde".chars().cycle().take(letters).collect();
            let pattern = format!("*{text}*");
            assert!(permits(&pattern, Field::Identity, &format!("x{text}y")), "{letters}");
            for other in [format!("x{}-y", &text[..letters - 1]), format!("x-{}y", &text[1..]), format!("x{text}")] {
                assert!(!permits(&pattern, Field::Identity, &other), "{letters} {other}");
            }
        }
    }

    /// What [`Pattern::matches`] says, token by token and from every position.
    fn slowly_matches(pattern: &Pattern, value: &str, wildcards: bool) -> bool {
        let field = pattern.field;
        let (tokens, value) = (tokens(&field.normalize(&pattern.source)), field.normalize(value));
        // The positions (in bytes) that the tokens so far can end at.
        let mut reachable = vec![false; value.len() + 1];
        reachable[0] = true;
        for (index, token) in tokens.iter().enumerate() {
            let mut next = vec![false; value.len() + 1];
            match token {
                Token::Literal(text) => {
                    for start in (0..=value.len()).filter(|start| reachable[*start]) {
                        if value.as_bytes()[start..].starts_with(text.as_bytes()) {
                            next[start + text.len()] = true;
                        }
                    }
                }
                Token::Run | Token::DeepRun => {
                    let mut inside = false;
                    for (at, byte) in value.bytes().enumerate() {
                        let star = byte == b'*' && !(wildcards && index == 0 && at == 0);
                        let separator = *token == Token::Run && field.separates(char::from(byte));
                        let covered = (b' '..=b'~').contains(&byte) && !star && !separator;
                        inside = covered && (inside || (reachable[at] && byte != b' '));
                        next[at + 1] = inside && byte != b' ';
                    }
                }
            }
            reachable = next;
        }
        reachable[value.len()]
    }

    /// Of two or more texts, so that what is random is often like another.
    fn of(texts: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(texts), 0..most).prop_map(|texts| texts.concat())
    }

    fn like(pattern: &str, field: Field, value: &str) {
        let Ok(pattern) = Pattern::new(pattern, field) else { return };
        for wildcards in [false, true] {
            assert_eq!(
                pattern.matches(value, wildcards),
                slowly_matches(&pattern, value, wildcards),
                "{field:?} {} {value:?} {wildcards}",
                pattern.source()
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_matches_is_what_all_ways_lead_to(pattern in of(&["a", "b", ":", "*", "*", "**", " ", "\u{e9}", "a*", "*b"], 12), value in of(&["a", "a", "b", "ab", ":", " ", "*", "\u{e9}", "\n"], 16)) {
            like(&pattern, Field::Identity, &value);
        }

        #[test]
        fn what_matches_of_each_field_is_what_all_ways_lead_to(pattern in of(&["a", "B", ".", "/", "://", "urn:", "@", "#", "?", "*", "*", "**", "**"], 10), value in of(&["a", "A", "b", ".", "/", "://", "urn:", "@", "#", "?", "*"], 14)) {
            for field in [Field::DnsName, Field::Uri, Field::EmailAddress] {
                like(&pattern, field, &value);
            }
        }

        /// Of several words of bits.
        #[test]
        fn what_matches_of_long_patterns_is_what_all_ways_lead_to(pattern in of(&["a", "aaab", "b", ":", "*", "*", "**", "*a", "*b*", "abaaaaaaaaaaaaaaaaba"], 90), value in of(&["a", "ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bab", ":", "abaaaaaaaaaaaaaaaaba"], 160)) {
            like(&pattern, Field::Identity, &value);
            like(&pattern.replace(':', ""), Field::Identity, &value.replace(':', ""));
        }

        /// What is spelled out with each run filled.
        #[test]
        fn what_a_pattern_is_filled_with_matches_as_all_ways_do(pattern in of(&["a", "b", ":", "\u{e9}", "*", "**", "*a", "*b*", "baaab"], 90), runs in proptest::collection::vec("[ab:]{1,3}|a[ab: *]{0,3}", 90)) {
            let mut runs = runs.into_iter();
            let value = tokens(&pattern).into_iter().fold(String::new(), |value, token| match token {
                Token::Literal(text) => value + &text,
                _ => value + &runs.next().unwrap_or_default(),
            });
            like(&pattern, Field::Identity, &value);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_wildcard_name_covers_what_some_name_of_it_matches(pattern in "[ab.]{0,2}(\\*[ab.]{0,2})?", value in "[ab.]{0,2}\\*[ab.]{0,2}(\\*[ab.]{0,1})?") {
            let glob = Glob::new(super::parts(&tokens(&pattern), str::to_owned));
            // A text as long as all of the pattern says all that a longer one would.
            let longer = |texts: Vec<String>| texts.iter().flat_map(|text| ["", "a", "b"].map(|c| format!("{text}{c}"))).collect();
            let mut texts: Vec<String> = (0..4).fold(vec![String::new()], |texts, _| longer(texts));
            texts.sort();
            texts.dedup();
            let mut names = vec![String::new()];
            for c in value.chars() {
                let with = |c: &str| names.iter().map(|name| format!("{name}{c}")).collect::<Vec<_>>();
                names = if c == '*' { texts.iter().flat_map(|text| with(text)).collect() } else { with(&c.to_string()) };
            }
            prop_assert_eq!(glob.meets(&value), names.iter().any(|name| glob.matches(name)));
        }

        /// What is found from left to right is what is found when all ways are followed at once.
        #[test]
        fn the_first_place_of_each_part_is_enough(pattern in "[ab\u{e9}]{0,3}(\\*{1,2}[ab\u{e9}]{1,3}){0,4}\\*?", value in "[ab\u{e9}]{0,12}") {
            if let Ok(pattern) = WidePattern::new(&pattern, Field::Identity) {
                prop_assert_eq!(pattern.matches(&value), pattern.plain.meets(&value));
                let folded = pattern.folded.as_ref().unwrap_or(&pattern.plain);
                prop_assert_eq!(folded.matches(&value), folded.meets(&value));
                if pattern.matches(&value) {
                    prop_assert!(pattern.hits(&value));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
        /// Of what a pattern spells and more marks, no normal form and no case gets past it.
        #[test]
        fn further_marks_and_capitals_do_not_hide_what_is_denied(text in "[ae]{0,2}[aeo\u{e9}\u{1ea5}\u{3b1}\u{1fb3}\u{1fc3}\u{1f80}][\u{301}\u{323}\u{327}\u{345}]{0,2}", marks in "[\u{301}\u{323}\u{327}\u{345}]{0,3}", end in "[aeo]{0,2}", more in "([ae\u{3b9}\u{1fb3}] ?){0,2}", form in 0..4_usize) {
            use unicode_normalization::UnicodeNormalization;
            let value = format!("{text}{marks}{end}x{more}e");
            let value: String = match form {
                0 => value,
                1 => value.nfc().collect(),
                // What is put behind an iota subscript belongs to the letter before it, also where that is a letter of its own.
                2 if !has_iota_subscript(&value) => value.to_uppercase(),
                2 => value.nfd().collect::<String>().to_uppercase(),
                _ => value.nfd().collect::<String>().to_uppercase().nfd().collect(),
            };
            let (begins, within) = (format!("{text}*"), format!("*{text}*"));
            prop_assert!(hits(&begins, Field::Identity, &value));
            prop_assert!(hits(&within, Field::Identity, &("ae".to_owned() + &value)));
            if !more.is_empty() {
                let (two, three) = (format!("{text}*{more}*"), format!("\u{3b9} a*{text}*{more}*"));
                let behind = format!("\u{3b9} ae{value}");
                prop_assert!(hits(&two, Field::Identity, &value));
                prop_assert!(hits(&three, Field::Identity, &behind));
            }
        }
    }

    #[test]
    fn the_first_that_hits_is_named() {
        let patterns = ["x*", "*B*", "*b"].map(|source| WidePattern::new(source, Field::Identity).unwrap());
        let value = |text| FieldValue::new(Field::Identity, text);
        let first = |text| WidePattern::first_hit(&patterns, &value(text)).map(WidePattern::source);
        assert_eq!((first("ab"), first("b"), first("xb"), first("c")), (Some("*B*"), Some("*B*"), Some("x*"), None));
        assert_eq!(WidePattern::first_hit(&[], &value("a")), None);
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for (pattern, field) in [
            ("", Field::Identity),
            (" a", Field::Identity),
            ("a***", Field::Identity),
            ("${user}", Field::Identity),
            ("a..b", Field::DnsName),
            ("a.b.", Field::DnsName),
            ("a b", Field::DnsName),
        ] {
            assert!(Pattern::new(pattern, field).is_err(), "{pattern:?}");
            assert!(WidePattern::new(pattern, field).is_err(), "{pattern:?}");
        }
        for pattern in ["spiffe://**-Admin", "https://**.Example.com/x", "**://Example.com/", "a**B:c"] {
            assert!(Pattern::new(pattern, Field::Uri).unwrap_err().contains("capital letter"), "{pattern:?}");
            assert!(WidePattern::new(pattern, Field::Uri).is_ok(), "{pattern:?}");
        }
    }
}
