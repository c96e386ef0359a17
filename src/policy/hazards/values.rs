//! Entries that stand for nothing, or for something else than was meant.

use std::net::{IpAddr, Ipv4Addr};

use super::{Found, HazardCode, excluded, requestors};
use crate::policy::{Compiled, Field, ListRules, Pattern, Rules, SignerPattern, WidePattern};
use crate::request::{SERVICE_ACCOUNTS, is_uri};

const DOMAIN: &str = "kubernetes.io";

/// The signers of Kubernetes that requests can be filed for.
const SIGNERS: [&str; 3] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
];

/// What `certificates.k8s.io/v1beta1` had, and the API server refuses since.
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// How many characters make a slip of a signer's name.
const SLIP: usize = 2;

/// An entry of a list, whether it permits or denies.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    source: &'a str,
    /// Whether `*` stands for separators too.
    wide: bool,
}

fn narrow(patterns: &[Pattern]) -> Vec<Entry<'_>> {
    patterns.iter().map(|pattern| Entry { source: pattern.source(), wide: pattern.source().contains("**") }).collect()
}

fn wide(patterns: &[WidePattern]) -> Vec<Entry<'_>> {
    patterns.iter().map(|pattern| Entry { source: pattern.source(), wide: pattern.source().contains('*') }).collect()
}

impl Found {
    /// Signers that nobody can ask for.
    pub(super) fn no_such_signers(&mut self, object: &Compiled, rules: &Rules) {
        let limits = rules.signers.as_ref();
        let lists = [
            ("spec.match.signerNames", object.matcher.signers()),
            ("signerNames.allowed", limits.and_then(|signers| signers.allowed.as_deref()).unwrap_or_default()),
            ("signerNames.denied", limits.map(|signers| signers.denied.as_slice()).unwrap_or_default()),
        ];
        for (field, signers) in lists {
            for (index, signer) in signers.iter().enumerate() {
                if let Some(why) = no_such_signer(signer) {
                    self.add(HazardCode::NoSuchSigner, &format!("{field}[{index}]"), why);
                }
            }
        }
    }

    /// Patterns that are compared as they are written, and no value is so.
    pub(super) fn values(&mut self, object: &Compiled, rules: &Rules) {
        for (list, entries) in
            [("spec.match.requestors", requestors(object)), ("spec.match.exclude.requestors", excluded(object))]
        {
            for (index, entry) in entries.iter().enumerate() {
                for (name, patterns) in [("users", &entry.users), ("groups", &entry.groups)] {
                    let field = format!("{list}[{index}].{name}");
                    self.entries(&field, Field::Identity, wide(patterns.as_deref().unwrap_or_default()));
                }
            }
        }
        if let Some(names) = &rules.common_name {
            let field = "subject.commonName";
            self.entries(
                &format!("{field}.allowed"),
                Field::Identity,
                narrow(names.allowed.as_deref().unwrap_or_default()),
            );
            self.entries(&format!("{field}.denied"), Field::Identity, wide(&names.denied));
        }
        let lists = [
            ("subject.organizations", Field::Identity, rules.organizations.as_ref()),
            ("subject.organizationalUnits", Field::Identity, rules.organizational_units.as_ref()),
            ("dnsNames", Field::DnsName, rules.dns_names.as_ref().map(|names| &names.list)),
            ("uris", Field::Uri, rules.uris.as_ref()),
            ("emailAddresses", Field::EmailAddress, rules.email_addresses.as_ref()),
        ];
        for (field, kind, list) in lists {
            let Some(ListRules { allowed, denied, required, .. }) = list else { continue };
            self.entries(&format!("{field}.allowed"), kind, narrow(allowed.as_deref().unwrap_or_default()));
            self.entries(&format!("{field}.required"), kind, narrow(required));
            self.entries(&format!("{field}.denied"), kind, wide(denied));
        }
    }

    fn entries(&mut self, list: &str, field: Field, entries: Vec<Entry<'_>>) {
        for (index, entry) in entries.into_iter().enumerate() {
            let source = entry.source;
            let path = format!("{list}[{index}]");
            // What DNS names may not have in them is refused.
            if field != Field::DnsName && is_regular_expression(source) {
                let why =
                    format!("{source} looks like a regular expression, and every character but * stands for itself");
                self.add(HazardCode::RegularExpression, &path, why);
            } else if let Some(why) = never(field, entry) {
                self.add(HazardCode::MatchesNothing, &path, format!("{source} {why}"));
            }
        }
    }

    /// `from: Requestor` where requestors are service accounts, whose names are reserved.
    pub(super) fn own_names(&mut self, object: &Compiled, rules: &Rules) {
        if !rules.common_name.as_ref().is_some_and(|names| names.from_requestor && names.needed) {
            return;
        }
        for (index, entry) in requestors(object).iter().enumerate() {
            let account = |user: &WidePattern| user.source().starts_with(SERVICE_ACCOUNTS);
            let named = entry.users.as_ref().is_some_and(|users| users.iter().all(account));
            if entry.service_accounts.is_some() || named {
                self.add(
                    HazardCode::ReservedRequestor,
                    &format!("spec.match.requestors[{index}]"),
                    "the CN must be the requestor's own user name, and that of a service account, \
                     system:serviceaccount:…, is reserved: no request of one satisfies the policy",
                );
            }
        }
    }
}

fn no_such_signer(signer: &SignerPattern) -> Option<String> {
    let name = match signer {
        SignerPattern::Exact(name) => name,
        SignerPattern::Domain(domain) => {
            let slip = (1..=SLIP).contains(&strsim::levenshtein(domain, DOMAIN));
            return slip.then(|| format!("Kubernetes signs no request for {domain}/*; did you mean {DOMAIN}/*?"));
        }
        SignerPattern::All => return None,
    };
    if SIGNERS.contains(&name.as_str()) {
        return None;
    }
    if name == LEGACY {
        return Some(format!("the API server accepts no request for {LEGACY}, since certificates.k8s.io/v1"));
    }
    let slip = SIGNERS.into_iter().find(|known| strsim::levenshtein(known, name) <= SLIP);
    (slip.is_some() || SignerPattern::Domain(DOMAIN.to_owned()).matches(name)).then(|| {
        let meant = slip.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        format!("Kubernetes signs no request for {name}{meant}")
    })
}

/// Whether a text has in it what a regular expression has and names do not.
fn is_regular_expression(text: &str) -> bool {
    let class = |rest: &str| {
        let inside = rest.split_once(']').map(|(inside, _)| inside).unwrap_or_default();
        // An IPv6 address in a URI stands in brackets as well.
        !inside.contains(':') && (inside.contains('-') || inside.starts_with('^'))
    };
    let any = |what: &str, holds: &dyn Fn(&str, &str) -> bool| {
        text.match_indices(what).any(|(at, _)| holds(&text[..at], &text[at + what.len()..]))
    };
    // `team.*` and `*.*` may be meant, `dev-.*` is not.
    let run = |before: &str| !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
    let alternatives = |rest: &str| rest.split_once(')').is_some_and(|(inside, _)| inside.contains('|'));
    // `CORP\d*` is all of a domain whose names begin so.
    let class_or_dot =
        |rest: &str| rest.starts_with('.') || rest.starts_with(['d', 'w', 's']) && rest[1..].starts_with(['+', '{']);
    text.starts_with('^')
        || text.contains("(?")
        // In a name that people read, a space stands before a bracket.
        || any("(", &|before, rest| !before.ends_with(' ') && alternatives(rest))
        || any("[", &|_, rest| class(rest))
        || any(".*", &|before, _| run(before))
        || any(".+", &|before, _| run(before))
        || any("\\", &|_, rest| class_or_dot(rest))
}

/// Why no value of a request that decodes is like this entry.
fn never(field: Field, entry: Entry<'_>) -> Option<&'static str> {
    let Entry { source, wide } = entry;
    match field {
        Field::Uri if !source.contains(':') && !wide => Some("has no scheme, and every URI has one"),
        Field::Uri if is_no_uri(source) => Some("is like no URI that decodes, for its host, port, user, % or dots"),
        Field::EmailAddress if !source.contains('@') && !wide => Some("has no @, and every email address has one"),
        Field::DnsName if is_ip(source) => Some("is an IP address, and no DNS name is one"),
        Field::Uri | Field::EmailAddress | Field::DnsName | Field::Identity => None,
    }
}

/// Whether no `*` makes a URI of it, told only where its scheme and host are written down.
fn is_no_uri(source: &str) -> bool {
    let host =
        source.split_once("://").map(|(scheme, rest)| (scheme, rest.split(['/', '?', '#']).next().unwrap_or_default()));
    let is_told = host.is_some_and(|(scheme, host)| !scheme.contains('*') && !host.contains('*'));
    (is_told || !source.contains('*')) && !is_uri(&source.replace("**", "*").replace('*', "a"))
}

fn is_ip(text: &str) -> bool {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.parse::<IpAddr>().is_ok() || digits && text.replace('*', "0").parse::<Ipv4Addr>().is_ok()
}
