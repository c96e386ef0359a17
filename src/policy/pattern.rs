//! Patterns: anchored, with `*` for a run of characters and `**` for one that crosses separators.

use crate::fold::fold;

/// The kind of value that a pattern is compared with; it decides what separates and what folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    fn separates(self, c: char) -> bool {
        match self {
            Self::Identity => c == ':',
            Self::DnsName => c == '.',
            Self::Uri => matches!(c, '/' | '?' | '#' | '@' | ':'),
            Self::EmailAddress => c == '@',
        }
    }

    /// The form in which values and patterns of this field are compared.
    #[must_use]
    pub fn normalize(self, text: &str) -> String {
        match self {
            Self::Identity => text.to_owned(),
            Self::DnsName => text.to_ascii_lowercase(),
            Self::Uri => normalize_uri(text),
            Self::EmailAddress => match text.rsplit_once('@') {
                Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
                None => text.to_owned(),
            },
        }
    }
}

/// Scheme and host in lower case (RFC 3986 section 6.2.2.1), all else as it is.
fn normalize_uri(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once(':') else {
        return text.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    let Some(rest) = rest.strip_prefix("//") else {
        return format!("{scheme}:{rest}");
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((userinfo, host)) => format!("{scheme}://{userinfo}@{}{tail}", host.to_ascii_lowercase()),
        None => format!("{scheme}://{}{tail}", authority.to_ascii_lowercase()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Text that stands for itself.
    Literal(String),
    /// `*`.
    Run,
    /// `**`.
    DeepRun,
}

/// A pattern that permits: in `allowed` and `required`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    field: Field,
    tokens: Vec<Token>,
}

impl Pattern {
    /// Compiles `source`; the error is a sentence that says what to write instead.
    pub fn new(source: &str, field: Field) -> Result<Self, String> {
        check(source)?;
        if field == Field::DnsName {
            check_dns(source)?;
        }
        Ok(Self { source: source.to_owned(), field, tokens: tokens(&field.normalize(source)) })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text before the first `*`, byte for byte as it is compared.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        match self.tokens.first() {
            Some(Token::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether the whole of `value` matches. `*` stands for one or more printable ASCII
    /// characters, the first and the last of them not a space, none of them a separator of the
    /// field or a literal `*`; `**` likewise with separators. With `wildcards`, a `*` that opens
    /// the pattern also covers the `*` that opens a wildcard DNS name.
    #[must_use]
    pub fn matches(&self, value: &str, wildcards: bool) -> bool {
        let value = self.field.normalize(value);
        if let [Token::Literal(text)] = self.tokens.as_slice() {
            return *text == value;
        }
        // The positions (in bytes) that the tokens so far can end at.
        let mut reachable = vec![false; value.len() + 1];
        reachable[0] = true;
        for (index, token) in self.tokens.iter().enumerate() {
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
                        let separator = *token == Token::Run && self.field.separates(char::from(byte));
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
}

/// A pattern in which `*` crosses everything: in `denied`, and for requestors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WidePattern {
    source: String,
    field: Field,
    plain: Vec<Step>,
    folded: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This character.
    Char(char),
    /// Any characters, or none.
    Any,
}

impl WidePattern {
    /// Compiles `source`; the error is a sentence that says what to write instead.
    pub fn new(source: &str, field: Field) -> Result<Self, String> {
        check(source)?;
        if field == Field::DnsName {
            check_dns(source)?;
        }
        let plain = steps(&tokens(&field.normalize(source)), str::to_owned);
        // Each literal is folded by itself, and then without trimming: the space in `a *` counts.
        let folded = steps(&tokens(&field.normalize(source)), fold_untrimmed);
        Ok(Self { source: source.to_owned(), field, plain, folded })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The one value that matches, if there is no `*`. Its field's form is that of the value as it is.
    pub(super) fn literal(&self) -> Option<&str> {
        (self.field == Field::Identity && !self.plain.contains(&Step::Any)).then_some(self.source.as_str())
    }

    /// Whether the whole of `value` matches as it is.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        simulate(&self.plain, &self.field.normalize(value), false)
    }

    /// Whether `value` matches as it is, or folded (trimmed, ignoring case and Unicode variants),
    /// or, for DNS names, as a wildcard name that covers something that matches.
    #[must_use]
    pub fn hits(&self, value: &str) -> bool {
        let value = self.field.normalize(value);
        let wildcards = self.field == Field::DnsName;
        let hits = |steps: &[Step], value: &str| simulate(steps, value, wildcards);
        if hits(&self.plain, &value) || (self.folded != self.plain && hits(&self.folded, &value)) {
            return true;
        }
        let folded = fold(&value);
        folded != value && hits(&self.folded, &folded)
    }
}

fn fold_untrimmed(text: &str) -> String {
    let guarded = fold(&format!("|{text}|"));
    guarded.strip_prefix('|').and_then(|text| text.strip_suffix('|')).unwrap_or(text).to_owned()
}

fn steps(tokens: &[Token], literal: impl Fn(&str) -> String) -> Vec<Step> {
    let mut steps = Vec::new();
    for token in tokens {
        match token {
            Token::Literal(text) => steps.extend(literal(text).chars().map(Step::Char)),
            Token::Run | Token::DeepRun => steps.push(Step::Any),
        }
    }
    steps
}

/// Follows all ways through `steps` at once. With `wildcards`, a `*` in `value` stands for any
/// text without a dot, so the answer is whether the two have anything in common.
fn simulate(steps: &[Step], value: &str, wildcards: bool) -> bool {
    let mut states = vec![false; steps.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    skip_any(steps, &mut states);
    for c in value.chars() {
        if wildcards && c == '*' {
            for at in 0..steps.len() {
                let passes = matches!(steps[at], Step::Char(step) if step != '.') || steps[at] == Step::Any;
                if states[at] && passes {
                    states[at + 1] = true;
                }
            }
            continue;
        }
        next.fill(false);
        let mut alive = false;
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| states[*at]) {
            match step {
                Step::Char(step) if *step == c => next[at + 1] = true,
                Step::Char(_) => continue,
                Step::Any => next[at] = true,
            }
            alive = true;
        }
        if !alive {
            return false;
        }
        std::mem::swap(&mut states, &mut next);
        skip_any(steps, &mut states);
    }
    states[steps.len()]
}

fn skip_any(steps: &[Step], states: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if *step == Step::Any && states[at] {
            states[at + 1] = true;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{Field, Pattern, WidePattern};

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
            ("*@example.com", Field::EmailAddress, "amy@EXAMPLE.com", true),
            ("*@example.com", Field::EmailAddress, "a@b@example.com", false),
            ("amy@example.com", Field::EmailAddress, "Amy@example.com", false),
        ] {
            assert_eq!(permits(pattern, field, value), expected, "{pattern:?} and {value:?}");
        }
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
        ] {
            assert_eq!(hits(pattern, field, value), expected, "{pattern:?} and {value:?}");
        }
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
    }
}
