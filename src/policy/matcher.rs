//! Which requests an object speaks about, in three values.

use super::{Bindings, Expression, Truth, WidePattern};
use crate::api::Credential;
use crate::escape::printable;
use crate::request::Envelope;

/// The key in `spec.extra` under which authenticators say which credential was used.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A signer by name, or every signer of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SignerPattern {
    /// This signer.
    Exact(String),
    /// Every signer of this domain; written `domain/*`.
    Domain(String),
    /// Every signer; written `*`, and only where signers to manage are named.
    All,
}

impl SignerPattern {
    /// Reads `DOMAIN/NAME` or `DOMAIN/*`; the error is a sentence that says what to write instead.
    pub fn new(source: &str) -> Result<Self, String> {
        let wrong = || {
            "a signer name is DOMAIN/NAME, in lower case, or DOMAIN/* for every signer of a domain; write, for example, \
             kubernetes.io/kube-apiserver-client or example.com/*"
                .to_owned()
        };
        match source.split_once('/') {
            Some((domain, "*")) if is_domain(domain) => Ok(Self::Domain(domain.to_owned())),
            _ if is_signer_name(source) => Ok(Self::Exact(source.to_owned())),
            _ => Err(wrong()),
        }
    }

    /// Reads a signer to manage: as [`SignerPattern::new`], or `*` for all of them.
    pub fn managed(source: &str) -> Result<Self, String> {
        if source == "*" { Ok(Self::All) } else { Self::new(source) }
    }

    /// Whether `signer` is one of them.
    #[must_use]
    pub fn matches(&self, signer: &str) -> bool {
        match self {
            Self::Exact(name) => name == signer,
            Self::Domain(domain) => signer.strip_prefix(domain.as_str()).is_some_and(|rest| rest.starts_with('/')),
            Self::All => true,
        }
    }

    /// Whether there may be a signer that is one of these and of `other`.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            (Self::Domain(domain), Self::Domain(other)) => domain == other,
        }
    }
}

/// Reads the name of one signer, as the API server takes it; the error is a sentence that says what to write instead.
pub fn signer_name(source: &str) -> Result<&str, String> {
    match source {
        _ if source.contains('*') => Err(format!(
            "{} stands for several signers: write the name of each, for example kubernetes.io/kube-apiserver-client",
            printable(source)
        )),
        _ if is_signer_name(source) => Ok(source),
        _ => Err(format!(
            "{} is not the name of a signer: write DOMAIN/NAME, lower case letters, digits, - and ., for example \
             example.com/vpn",
            printable(source)
        )),
    }
}

/// Whether the API server takes it as the name of a signer (`ValidateSignerName`).
fn is_signer_name(source: &str) -> bool {
    let is_path = |path: &str| path.split('.').all(|part| is_label(part, 253));
    source.len() <= 571 && source.split_once('/').is_some_and(|(domain, path)| is_domain(domain) && is_path(path))
}

fn is_domain(domain: &str) -> bool {
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(|part| is_label(part, 63))
}

fn is_label(label: &str, longest: usize) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.len() <= longest
        && label.starts_with(alphanumeric)
        && label.ends_with(alphanumeric)
        && label.chars().all(|c| alphanumeric(c) || c == '-')
}

impl std::fmt::Display for SignerPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Domain(domain) => write!(f, "{domain}/*"),
            Self::All => f.write_str("*"),
        }
    }
}

/// A part of a match: not stated, stated, or stated in a way that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Part<T> {
    Unstated,
    Stated(T),
    Unreadable(String),
}

impl<T> Part<T> {
    fn holds(&self, unstated: Truth, stated: impl FnOnce(&T) -> Truth) -> Truth {
        match self {
            Self::Unstated => unstated,
            Self::Stated(part) => stated(part),
            Self::Unreadable(why) => Truth::Unknown(why.clone()),
        }
    }
}

/// A compiled `match`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Matcher {
    pub(super) signers: Part<Vec<SignerPattern>>,
    pub(super) requestors: Part<Vec<RequestorMatcher>>,
    pub(super) excluded: Part<Vec<RequestorMatcher>>,
    pub(super) conditions: Part<Vec<Expression>>,
    /// Whatever else stands in `match` and this version does not know: one more part to match.
    pub(super) rest: Part<()>,
}

impl Matcher {
    /// Whether the object speaks about the request.
    #[must_use]
    pub fn matches(&self, request: &Envelope, bindings: &Bindings<'_>) -> Truth {
        // Lazily: `all` stops at the first no.
        Truth::all(self.parts().map(|part| self.holds(part, request, bindings)))
    }

    /// The part because of which the object does not speak about the request, as a field of `match`.
    #[must_use]
    pub fn mismatch(&self, request: &Envelope, bindings: &Bindings<'_>) -> Option<String> {
        let part = self.parts().find(|part| self.holds(*part, request, bindings) == Truth::No)?;
        Some(match part {
            MatchPart::SignerNames => "signerNames".to_owned(),
            MatchPart::Requestors => "requestors".to_owned(),
            MatchPart::Exclude => "exclude".to_owned(),
            MatchPart::Rest => "match".to_owned(),
            MatchPart::Conditions => "conditions".to_owned(),
            MatchPart::Condition(condition) => format!("conditions ({}: {})", condition.name(), condition.source()),
        })
    }

    /// Each part; the conditions last, since they cost most.
    fn parts(&self) -> impl Iterator<Item = MatchPart<'_>> {
        use MatchPart::{Condition, Conditions, Exclude, Requestors, Rest, SignerNames};
        let each = match &self.conditions {
            Part::Stated(conditions) => conditions.as_slice(),
            Part::Unstated | Part::Unreadable(_) => &[],
        };
        [SignerNames, Requestors, Exclude, Rest, Conditions].into_iter().chain(each.iter().map(Condition))
    }

    fn holds(&self, part: MatchPart<'_>, request: &Envelope, bindings: &Bindings<'_>) -> Truth {
        let requestor =
            |entries: &Vec<RequestorMatcher>| Truth::any(entries.iter().map(|entry| entry.matches(request)));
        match part {
            MatchPart::SignerNames => self
                .signers
                .holds(Truth::Yes, |signers| signers.iter().any(|signer| signer.matches(&request.signer_name)).into()),
            MatchPart::Requestors => self.requestors.holds(Truth::Yes, requestor),
            MatchPart::Exclude => !self.excluded.holds(Truth::No, requestor),
            MatchPart::Rest => self.rest.holds(Truth::Yes, |()| Truth::Yes),
            // Whether they can be read; each is a part of its own.
            MatchPart::Conditions => self.conditions.holds(Truth::Yes, |_| Truth::Yes),
            MatchPart::Condition(condition) => condition.holds(bindings),
        }
    }

    /// Whether a condition reads the Node of the requestor.
    pub(super) fn reads_node(&self) -> bool {
        matches!(&self.conditions, Part::Stated(conditions) if conditions.iter().any(Expression::reads_node))
    }

    /// The signers stated, if they can be read.
    #[must_use]
    pub fn signers(&self) -> &[SignerPattern] {
        match &self.signers {
            Part::Stated(signers) => signers,
            Part::Unstated | Part::Unreadable(_) => &[],
        }
    }
}

/// A part of a match, all of which must hold.
#[derive(Debug, Clone, Copy)]
enum MatchPart<'a> {
    SignerNames,
    Requestors,
    Exclude,
    /// What this version does not know.
    Rest,
    Conditions,
    Condition(&'a Expression),
}

/// A compiled requestor entry: each list that is stated must have a match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RequestorMatcher {
    pub(super) users: Option<Vec<WidePattern>>,
    pub(super) groups: Option<Vec<WidePattern>>,
    pub(super) service_accounts: Option<Vec<(WidePattern, WidePattern)>>,
    pub(super) credential: Credential,
}

impl RequestorMatcher {
    fn matches(&self, request: &Envelope) -> Truth {
        let users = self.users.as_ref().is_none_or(|users| users.iter().any(|user| user.matches(&request.username)));
        let groups = self.groups.as_ref().is_none_or(|groups| {
            groups.iter().any(|pattern| request.groups.iter().any(|group| pattern.matches(group)))
        });
        let accounts = self.service_accounts.as_ref().is_none_or(|accounts| is_service_account(accounts, request));
        Truth::all([
            users.into(),
            groups.into(),
            accounts.into(),
            match self.credential {
                Credential::Any => Truth::Yes,
                Credential::NotClientCertificate => not_a_client_certificate(request),
            },
        ])
    }
}

fn is_service_account(accounts: &[(WidePattern, WidePattern)], request: &Envelope) -> bool {
    request.service_account().is_some_and(|(namespace, name)| {
        accounts.iter().any(|account| account.0.matches(namespace) && account.1.matches(name))
    })
}

/// `X509SHA256=…` is what the API server writes for a client certificate since Kubernetes 1.32.
/// Impersonation and some authenticators leave the key out: then nobody can tell.
fn not_a_client_certificate(request: &Envelope) -> Truth {
    match request.extra.get(CREDENTIAL_ID).map(Vec::as_slice) {
        None | Some([]) => Truth::Unknown(format!(
            "the request does not say which credential its requestor used ({CREDENTIAL_ID} is not in spec.extra)"
        )),
        Some(ids) => ids.iter().all(|id| !id.starts_with("X509SHA256=")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{SignerPattern, signer_name};

    #[test]
    fn a_signer_is_named_or_its_domain_and_all_of_them_only_where_signers_are_managed() {
        for (source, signer, expected) in [
            ("example.com/a", "example.com/a", true),
            ("example.com/a", "example.com/ab", false),
            ("example.com/*", "example.com/ab", true),
            ("example.com/*", "example.com.org/a", false),
            ("example.com/*", "example.org/a", false),
            ("*", "example.org/a", true),
        ] {
            let pattern = SignerPattern::managed(source).unwrap();
            assert_eq!(pattern.matches(signer), expected, "{source} and {signer}");
            assert_eq!(pattern.to_string(), source);
        }
        assert!(SignerPattern::new("*").is_err());
        for source in ["", "example.com", "/a", "example.com/", "example.com/a*", "*/a", "exa mple.com/a", "*.com/*"] {
            assert!(SignerPattern::managed(source).is_err(), "{source}");
        }
        for nobody in ["Example.com/*", "example/*", "example.com./*", "-a.com/*", "example.com/X", "example.com/a b"] {
            let said = SignerPattern::managed(nobody).unwrap_err();
            assert!(said.contains("DOMAIN/NAME, in lower case, or DOMAIN/*"), "{said}");
        }
    }

    #[test]
    fn the_name_of_one_signer_is_what_the_api_server_takes() {
        let long =
            |domain: usize, path: usize| format!("{}.{}/{}", "a".repeat(domain), "b".repeat(63), "c".repeat(path));
        for name in ["kubernetes.io/kube-apiserver-client", "0.a-b.example/ns.9-x", &long(63, 253)] {
            assert_eq!(signer_name(name), Ok(name));
        }
        for wrong in [
            "",
            "example.com",
            "example.com/",
            "/vpn",
            "example/vpn",
            "Example.com/vpn",
            "example.com/VPN",
            "example.com/a_b",
            "example.com/a/b",
            "example.com/a.",
            "example.com/-a",
            "example..com/a",
            " example.com/a",
            &long(64, 1),
            &long(1, 254),
        ] {
            let said = signer_name(wrong).unwrap_err();
            assert!(said.contains("is not the name of a signer: write DOMAIN/NAME"), "{said}");
        }
        for several in ["*", "kubernetes.io/*", "example.com/a*"] {
            let said = signer_name(several).unwrap_err();
            assert!(said.contains("stands for several signers: write the name of each"), "{said}");
        }
    }
}
