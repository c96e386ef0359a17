//! Hazards: what an object lets through, found without any request. They change no verdict.

mod nodes;
mod values;

use std::fmt;

use super::matcher::{Part, RequestorMatcher};
use super::{Compiled, Kind, PolicySet, Rules, SignerPattern, ValidationRule};
use crate::api::{Credential, Existence, Mode, OnViolation};
use crate::duration;
use crate::request::{SERVICE_ACCOUNTS, Usage};

/// The longest lifetime of a client certificate that is no hazard, in seconds: 30 days.
const LONG: i32 = 30 * 24 * 60 * 60;

/// How much a hazard matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably not meant.
    Warning,
    /// Somebody may become somebody else.
    High,
}

impl Severity {
    /// `info`, `warning`, `high`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::High => "high",
        }
    }
}

macro_rules! hazards {
    ($($(#[doc = $doc:literal])+ $name:ident => $code:literal, $severity:ident, $instead:literal;)+) => {
        /// What may be wrong with an object, stable between versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HazardCode { $($(#[doc = $doc])+ $name,)+ }

        impl HazardCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// In kebab case, as `status.hazards` has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $code,)+ } }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity { match self { $(Self::$name => Severity::$severity,)+ } }

            /// What to write instead.
            #[must_use]
            pub const fn instead(self) -> &'static str { match self { $(Self::$name => $instead,)+ } }
        }
    };
}

hazards! {
    /// Whoever matches may obtain any user name.
    AnyUserName => "any-user-name", High, "write from: Requestor, or a prefix such as oidc:*";
    /// Whoever matches may obtain any group.
    AnyGroup => "any-group", High, "write from: Requestor, or name the groups";
    /// Whoever matches may obtain groups that it is not in.
    ForeignGroup => "foreign-group", Info, "add from: Requestor if each may have only the groups that it is in";
    /// Client certificates that last for more than 30 days, which nothing revokes.
    LongLifetime => "long-lifetime", Warning, "lower expirationSeconds.max to 2592000 (30 days) or less, and have clients renew";
    /// A client certificate that this policy gives is enough to get the next one.
    EndlessRenewal => "endless-renewal", Warning, "write credential: NotClientCertificate beside the groups or users";
    /// A reserved name is spelled out: a component or an administrator of the cluster.
    ReservedName => "reserved-name", Warning, "remove it, unless requestors are exactly those who must have it";
    /// The signer may give a longer certificate than was asked for.
    ExpirationIgnored => "expiration-ignored", Info, "make sure that the signer honours spec.expirationSeconds, or limit it there";
    /// Wildcard names in certificates that serve.
    WildcardName => "wildcard-name", Warning, "name the hosts, or remove wildcards: Allow";
    /// A kubelet may serve for names and addresses that are not its node's.
    ForeignHost => "foreign-host", Warning, "write from: Node beside it";
    /// Whatever a compromised kubelet writes into its own Node, it may serve for.
    UnlimitedClaim => "unlimited-claim", Warning, "name in allowed, beside from: Node, the networks that nodes are in and how they are called";
    /// `from: Node`, and which addresses are those of Services is not known.
    ServicesUnknown => "services-unknown", Info, "name the ranges of Services: --service-cidr, serviceCIDRs of the chart";
    /// `from: Node`, and no requestor is a node.
    NeverANode => "never-a-node", Warning, "match nodes: groups: ['system:nodes']";
    /// Requests that were meant for somebody else are denied.
    BroadDeny => "broad-deny", Warning, "write onViolation: LeavePending, or match fewer requestors";
    /// Requests for the signer are never looked at.
    SignerNotManaged => "signer-not-managed", Warning, "add it to the managed signers (--managed-signer, signerNames of the chart), or remove it";
    /// A name that Kubernetes has no signer of: nobody asks for it, or nobody signs.
    NoSuchSigner => "no-such-signer", Warning, "write kubernetes.io/kube-apiserver-client, kubernetes.io/kubelet-serving or kubernetes.io/kube-apiserver-client-kubelet";
    /// A regular expression, which is compared as it is written.
    RegularExpression => "regular-expression", Warning, "write * for a run of characters, or matches('^…$') in an expression";
    /// An entry that no value of its kind is like.
    MatchesNothing => "matches-nothing", Warning, "write a value of this kind, such as spiffe://example.com/*, *@example.com, *.example.com or, under ipAddresses, 10.0.0.0/8";
    /// The CN must be a service account's own user name, which is reserved.
    ReservedRequestor => "reserved-requestor", Warning, "write the names that service accounts may have in commonName.allowed, instead of from: Requestor";
    /// A guardrail forbids whatever the policy permits.
    AlwaysForbidden => "always-forbidden", Warning, "change one of the two";
    /// Whoever is in requestors is in exclude too, or an entry stands for nobody.
    NeverMatches => "never-matches", Warning, "remove it from one of them, or make an entry of each of its parts";
    /// `all` is true of an empty list.
    AllOfNothing => "all-of-nothing", Warning, "add min: 1 to the list, or && LIST.size() > 0 to the expression";
    /// Another object says the same.
    Repeats => "repeats", Info, "remove one of them";
}

/// One hazard of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hazard {
    /// What it is.
    pub code: HazardCode,
    /// The field that brings it about.
    pub path: String,
    /// Why it matters, in one sentence.
    pub why: String,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.code.instead())
    }
}

/// The hazards of `object`, which is one of `set`.
#[must_use]
pub fn hazards(set: &PolicySet, object: &Compiled) -> Vec<Hazard> {
    let Some(rules) = object.rules() else { return Vec::new() };
    let policy = object.object.kind == Kind::CSRPolicy;
    let mut found = Found { base: if policy { "spec.allow" } else { "spec.limits" }, hazards: Vec::new() };
    found.expressions(object, rules);
    found.signers(set, object);
    found.no_such_signers(object, rules);
    found.values(object, rules);
    found.nobody(object);
    if policy {
        found.own_names(object, rules);
        found.identities(set, object, rules);
        found.certificates(set, object, rules);
        found.hosts(set, object, rules);
        found.broad(object);
        found.beside(set, object, rules);
    }
    found.repeats(set, object);
    found.hazards.sort_by(|a, b| b.code.severity().cmp(&a.code.severity()).then_with(|| a.path.cmp(&b.path)));
    found.hazards
}

struct Found {
    base: &'static str,
    hazards: Vec<Hazard>,
}

fn gives_client_certificates(rules: &Rules) -> bool {
    rules.usages.as_ref().is_some_and(|usages| permits(usages, Usage::ClientAuth))
}

/// Whether a certificate may be good for `usage`, as one without any extended key usage is (RFC 5280 section 4.2.1.12).
fn permits(usages: &super::UsageRules, usage: Usage) -> bool {
    let any_purpose = usages.extended().next().is_none() && usages.extended_denied().next().is_none();
    any_purpose || usages.extended().any(|listed| listed.is_good_for(usage) && !usages.denied.contains(&listed))
}

/// Whether a pattern stands for any value.
fn is_any(pattern: &super::Pattern) -> bool {
    pattern.source().chars().all(|c| c == '*')
}

fn requestors(object: &Compiled) -> &[RequestorMatcher] {
    stated(&object.matcher.requestors)
}

fn excluded(object: &Compiled) -> &[RequestorMatcher] {
    stated(&object.matcher.excluded)
}

fn stated<T>(part: &Part<Vec<T>>) -> &[T] {
    match part {
        Part::Stated(entries) => entries,
        Part::Unstated | Part::Unreadable(_) => &[],
    }
}

/// Whether no service account that the entry asks for can have a user name that it asks for, too.
fn is_nobody(entry: &RequestorMatcher) -> bool {
    let is_account = |user: &super::WidePattern| {
        let beginning = user.source().split('*').next().unwrap_or_default();
        let common = beginning.len().min(SERVICE_ACCOUNTS.len());
        // What is not plain may be read as something that is.
        !beginning.is_ascii()
            || beginning.as_bytes()[..common].eq_ignore_ascii_case(&SERVICE_ACCOUNTS.as_bytes()[..common])
    };
    entry.service_accounts.is_some() && entry.users.as_ref().is_some_and(|users| !users.iter().any(is_account))
}

impl Found {
    fn add(&mut self, code: HazardCode, field: &str, why: impl Into<String>) {
        let path = if field.starts_with("spec") { field.to_owned() } else { format!("{}.{field}", self.base) };
        self.hazards.push(Hazard { code, path, why: why.into() });
    }

    /// User names and groups, where the certificate is one that the API server believes.
    fn identities(&mut self, set: &PolicySet, object: &Compiled, rules: &Rules) {
        if gives_client_certificates(rules) {
            if let Some(names) = &rules.common_name
                && !names.from_requestor
                && names.allowed.iter().flatten().any(is_any)
            {
                self.add(
                    HazardCode::AnyUserName,
                    "subject.commonName.allowed",
                    "whoever matches may obtain any user name that is not reserved, also somebody else's",
                );
            }
            if let Some(groups) = &rules.organizations
                && groups.from.is_none()
            {
                let mut listed = groups.allowed.iter().flatten().chain(&groups.required);
                if listed.clone().any(is_any) {
                    self.add(
                        HazardCode::AnyGroup,
                        "subject.organizations.allowed",
                        "whoever matches may obtain any group that is not reserved",
                    );
                } else if listed.next().is_some() {
                    self.add(
                        HazardCode::ForeignGroup,
                        "subject.organizations",
                        "whoever matches may obtain these groups without being in them",
                    );
                }
            }
            self.renewal(object, rules);
        }
        // Under the signers of kubelets a name is always the requestor's own.
        let of_kubelets = |signer: &SignerPattern| {
            ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"]
                .iter()
                .any(|name| *signer == SignerPattern::Exact((*name).to_owned()))
        };
        if object.matcher.signers().iter().all(of_kubelets) {
            return;
        }
        let reserved = &set.settings().reserved;
        let lists = [
            (
                "subject.commonName.allowed",
                rules.common_name.as_ref().and_then(|names| names.allowed.as_deref()).unwrap_or_default(),
            ),
            (
                "subject.organizations.allowed",
                rules.organizations.as_ref().and_then(|list| list.allowed.as_deref()).unwrap_or_default(),
            ),
            (
                "subject.organizations.required",
                rules.organizations.as_ref().map(|list| list.required.as_slice()).unwrap_or_default(),
            ),
        ];
        for (field, patterns) in lists {
            for (index, pattern) in patterns.iter().enumerate() {
                if reserved.prefix_of(pattern.literal_prefix()).is_some() {
                    let why = format!(
                        "{} spells a reserved name out: who has it is a component of the cluster, or its administrator",
                        pattern.source()
                    );
                    self.add(HazardCode::ReservedName, &format!("{field}[{index}]"), why);
                }
            }
        }
    }

    /// Who has such a certificate is in `system:authenticated`, in the groups that it names, and has
    /// the name that it names.
    fn renewal(&mut self, object: &Compiled, rules: &Rules) {
        // Nodes renew; it ends with the Node, until that is created again.
        if rules.node.is_some_and(|node| node.existence == Some(Existence::Present)) {
            return;
        }
        let gives = |group: &super::WidePattern| {
            let organizations = rules.organizations.iter();
            let listed = organizations.flat_map(|list| list.allowed.iter().flatten().chain(&list.required));
            let from_requestor = rules.organizations.as_ref().is_some_and(|list| list.from.is_some());
            group.matches("system:authenticated")
                || from_requestor
                || listed
                    .clone()
                    .any(|pattern| group.matches(pattern.source()) || pattern.matches(group.source(), false))
        };
        for (index, entry) in requestors(object).iter().enumerate() {
            let by_group = entry.groups.as_ref().is_none_or(|groups| groups.iter().any(gives));
            let named = rules.common_name.as_ref();
            let by_name = entry.users.as_ref().is_none_or(|users| {
                named.is_some_and(|names| {
                    names.from_requestor
                        || names.allowed.iter().flatten().any(|pattern| {
                            users
                                .iter()
                                .any(|user| pattern.matches(user.source(), false) || user.matches(pattern.source()))
                        })
                })
            });
            let account = entry.service_accounts.is_some();
            if entry.credential == Credential::Any && by_group && by_name && !account {
                self.add(
                    HazardCode::EndlessRenewal,
                    &format!("spec.match.requestors[{index}]"),
                    "who holds a certificate of this policy can get the next one with it, for ever, also after the account behind it is gone",
                );
            }
        }
    }

    fn certificates(&mut self, set: &PolicySet, object: &Compiled, rules: &Rules) {
        let client = gives_client_certificates(rules);
        if let Some(expiration) = &rules.expiration
            && client
            && let Some(max) = expiration.max.filter(|max| *max > LONG)
        {
            let why =
                format!("nothing revokes a client certificate, and these may last {}", duration::about(max.into()));
            self.add(HazardCode::LongLifetime, "expirationSeconds.max", why);
        }
        let known = |signer: &SignerPattern| match signer {
            SignerPattern::Exact(name) => set.settings().signer_maximum(name).is_some(),
            SignerPattern::Domain(domain) => domain == "kubernetes.io",
            SignerPattern::All => false,
        };
        if let Some(signer) = object.matcher.signers().iter().find(|signer| !known(signer)) {
            let why = format!("{signer} is not a signer of Kubernetes and may ignore expirationSeconds");
            self.add(HazardCode::ExpirationIgnored, "expirationSeconds", why);
        }
        let serves = rules.usages.as_ref().is_some_and(|usages| permits(usages, Usage::ServerAuth));
        if serves && rules.dns_names.as_ref().is_some_and(|names| names.wildcards == Some(true)) {
            self.add(
                HazardCode::WildcardName,
                "dnsNames.wildcards",
                "a certificate for *.example.com speaks for every host of the domain",
            );
        }
    }

    /// A guardrail of this kind limits nobody, and who was to be excluded is not.
    fn nobody(&mut self, object: &Compiled) {
        let (entries, excluded) = (requestors(object), excluded(object));
        if !entries.is_empty() && entries.iter().all(|entry| excluded.contains(entry)) {
            let why = "every requestor that it names is excluded from it";
            self.add(HazardCode::NeverMatches, "spec.match.exclude", why);
        }
        for (list, entries) in [("spec.match.requestors", entries), ("spec.match.exclude.requestors", excluded)] {
            for (index, _) in entries.iter().enumerate().filter(|(_, entry)| is_nobody(entry)) {
                let why = "it stands for nobody: each of its parts must match, and no service account is one of users";
                self.add(HazardCode::NeverMatches, &format!("{list}[{index}]"), why);
            }
        }
    }

    fn broad(&mut self, object: &Compiled) {
        let entries = requestors(object);
        let broad = |entry: &RequestorMatcher| {
            let anybody = |patterns: Option<&Vec<super::WidePattern>>| {
                patterns.is_none_or(|patterns| {
                    patterns.iter().any(|pattern| pattern.matches("system:authenticated") || pattern.source() == "*")
                })
            };
            anybody(entry.users.as_ref()) && anybody(entry.groups.as_ref()) && entry.service_accounts.is_none()
        };
        let conditioned = !matches!(object.matcher.conditions, Part::Unstated);
        if object.on_violation == OnViolation::Deny && entries.iter().any(broad) && !conditioned {
            self.add(
                HazardCode::BroadDeny,
                "spec.onViolation",
                "everybody matches, so that requests which another policy or a person was to decide are denied",
            );
        }
    }

    fn signers(&mut self, set: &PolicySet, object: &Compiled) {
        for (index, signer) in object.matcher.signers().iter().enumerate() {
            if !set.settings().may_manage(signer) {
                let why = format!("{signer} is not managed here, so its requests are never looked at");
                self.add(HazardCode::SignerNotManaged, &format!("spec.match.signerNames[{index}]"), why);
            }
        }
    }

    fn expressions(&mut self, object: &Compiled, rules: &Rules) {
        let conditions =
            stated(&object.matcher.conditions).iter().map(|expression| ("spec.match.conditions", expression));
        let base = format!("{}.validations", self.base);
        let validations = rules.validations.iter().map(|ValidationRule { expression, .. }| (base.as_str(), expression));
        let all: Vec<_> = conditions.chain(validations).collect();
        for (list, expression) in all {
            for over in expression.all_over() {
                if !needs_one(rules, over) {
                    let why = format!("{} may hold for a request without any {over}", expression.name());
                    self.add(HazardCode::AllOfNothing, list, why);
                }
            }
        }
    }

    /// What other objects of the set make of this one.
    fn beside(&mut self, set: &PolicySet, object: &Compiled, rules: &Rules) {
        for guardrail in enforced(set) {
            let Some(limits) = guardrail.rules() else { continue };
            if covers(guardrail, object)
                && let Some(why) = forbids(limits, object, rules)
            {
                let why = format!("{} forbids whatever this policy permits, since {why}", guardrail.object);
                self.add(HazardCode::AlwaysForbidden, "spec", why);
            }
        }
    }

    fn repeats(&mut self, set: &PolicySet, object: &Compiled) {
        if let Some(other) = set.first_like(object).filter(|other| other.object.name < object.object.name) {
            self.add(HazardCode::Repeats, "spec", format!("{} says the same", other.object));
        }
    }
}

/// Whether every request that satisfies `rules` has something in the list `path`.
fn needs_one(rules: &Rules, path: &str) -> bool {
    let list = |list: Option<&super::ListRules>| {
        list.is_some_and(|list| list.count.min.is_some_and(|min| min > 0) || !list.required.is_empty())
    };
    match path {
        "csr.subject.organizations" => list(rules.organizations.as_ref()),
        "csr.subject.organizationalUnits" => list(rules.organizational_units.as_ref()),
        "csr.dnsNames" => list(rules.dns_names.as_ref().map(|names| &names.list)),
        "csr.uris" => list(rules.uris.as_ref()),
        "csr.emailAddresses" => list(rules.email_addresses.as_ref()),
        "csr.ipAddresses" => rules
            .ip_addresses
            .as_ref()
            .is_some_and(|addresses| addresses.count.min.is_some_and(|min| min > 0) || !addresses.required.is_empty()),
        // Everybody who is authenticated is in a group, and a request asks for some usage.
        _ => true,
    }
}

/// The guardrails that decide, and do not only report.
fn enforced(set: &PolicySet) -> impl Iterator<Item = &Compiled> {
    set.guardrails().iter().map(AsRef::as_ref).filter(|guardrail| guardrail.mode == Mode::Enforce)
}

/// Whether `guardrail` speaks about every request that `policy` speaks about.
fn covers(guardrail: &Compiled, policy: &Compiled) -> bool {
    let matcher = &guardrail.matcher;
    let unstated = matches!(matcher.requestors, Part::Unstated)
        && matches!(matcher.excluded, Part::Unstated)
        && matches!(matcher.conditions, Part::Unstated);
    let signers = matcher.signers();
    let all = policy.matcher.signers().iter().all(|wanted| match wanted {
        SignerPattern::Exact(name) => signers.iter().any(|signer| signer.matches(name)),
        pattern => signers.contains(pattern),
    });
    unstated && (matches!(matcher.signers, Part::Unstated) || all)
}

/// Why `limits` forbid every request that `rules` permit, if they do.
fn forbids(limits: &Rules, policy: &Compiled, rules: &Rules) -> Option<String> {
    if let Some(signers) = &limits.signers {
        let refused = |name: &str| {
            signers.denied.iter().any(|pattern| pattern.matches(name))
                || signers.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|pattern| pattern.matches(name)))
        };
        let exact = |signer: &SignerPattern| matches!(signer, SignerPattern::Exact(name) if refused(name));
        if policy.matcher.signers().iter().all(exact) {
            return Some("it allows none of its signers".to_owned());
        }
    }
    if let (Some(limit), Some(own)) = (&limits.expiration, &rules.expiration)
        && let (Some(max), Some(min)) = (limit.max, own.min)
        && max < min
    {
        return Some(format!("it permits at most {max} s, and the policy asks for {min} s at least"));
    }
    if let (Some(limit), Some(own)) = (&limits.usages, &rules.usages) {
        let forbidden = |usage: &&Usage| {
            limit.denied.contains(*usage)
                || limit
                    .allowed
                    .as_ref()
                    .is_some_and(|allowed| !allowed.contains(*usage) && !limit.required.contains(*usage))
        };
        if let Some(usage) = own.required.iter().find(forbidden) {
            return Some(format!("it forbids the usage {usage}, which the policy requires"));
        }
        let limited = limit.extended().chain(limit.extended_denied()).next().is_some();
        if limited && own.extended().all(|usage| own.denied.contains(&usage) || forbidden(&&usage)) {
            return Some("it needs an extended key usage, and forbids all that the policy permits".to_owned());
        }
        let limited = limit.key_usages_denied().next().is_some();
        if limited && own.key_usages().all(|usage| own.denied.contains(&usage) || forbidden(&&usage)) {
            return Some("it needs a key usage, and forbids all that the policy permits".to_owned());
        }
    }
    if let (Some(limit), Some(own)) = (&limits.organizations, &rules.organizations) {
        let literal = own.required.iter().filter(|pattern| !pattern.source().contains('*'));
        if let Some(group) =
            literal.into_iter().find(|pattern| limit.denied.iter().any(|denied| denied.hits(pattern.source())))
        {
            return Some(format!("it denies the group {}, which the policy requires", group.source()));
        }
    }
    if let (Some(limit), Some(own)) = (&limits.keys, &rules.keys)
        && let (Some(allowed), Some(wanted)) = (&limit.algorithms, &own.algorithms)
        && !wanted.iter().any(|algorithm| allowed.contains(algorithm))
    {
        return Some(format!(
            "it allows keys of {} only, and the policy keys of {}",
            allowed.join(", "),
            wanted.join(", ")
        ));
    }
    None
}

#[cfg(test)]
mod tests;
