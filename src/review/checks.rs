//! Every check of one object, over one request; each reports all that it finds.

use std::cell::LazyCell;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::{self, Name, list, not};
use super::outcome::{Context, Findings};
use super::violation::TOLD;
use super::{Facts, Violation, ViolationCode, kubelet};
use crate::api::WhenUnset;
use crate::duration;
use crate::escape::printable;
use crate::node::Host;
use crate::policy::{
    Compiled, DnsRules, ExpirationRules, IpRules, KeyRules, Kind, ObjectRef, Rules, SignerRules, Source, UsageRules,
    WidePattern,
};
use crate::request::{Envelope, Key, Pkcs10, SigningRequest, Usage};

/// What `rules` find in a request that decoded.
pub(super) fn check<'a>(object: &Compiled, rules: &Rules, context: &Context<'a>, pkcs10: &'a Pkcs10) -> Findings {
    let &Context { set, request, facts, .. } = context;
    let mut checks = Checks {
        object,
        name: &object.object,
        is_policy: object.object.kind == Kind::CSRPolicy,
        service_cidrs: &set.settings().service_cidrs,
        envelope: &request.envelope,
        pkcs10,
        own_node: kubelet::own_node(&request.envelope, pkcs10),
        facts,
        findings: Findings::default(),
    };
    if let Some(signers) = &rules.signers {
        checks.signer(signers, &request.envelope.signer_name);
    }
    checks.kubelet_identity(request, pkcs10);
    let values = context.names(pkcs10);
    checks.common_name(rules, request, values.common_name.as_ref());
    checks.names(&names::ORGANIZATIONS, rules.organizations.as_ref(), &values.organizations, false);
    let units = &values.organizational_units;
    checks.names(&names::ORGANIZATIONAL_UNITS, rules.organizational_units.as_ref(), units, false);
    checks.other_attributes(pkcs10);
    if let Some(usages) = &rules.usages {
        checks.usages(usages, &request.usages);
    }
    if let Some(expiration) = rules.expiration {
        let maximum = set.settings().signer_maximum(&request.envelope.signer_name);
        checks.expiration(expiration, request.envelope.expiration_seconds, maximum);
    }
    if let Some(keys) = &rules.keys {
        checks.key(keys, pkcs10.key);
    }
    checks.dns_names(rules.dns_names.as_ref(), &values.dns_names);
    checks.ip_addresses(rules.ip_addresses.as_ref(), &pkcs10.sans.ip_addresses);
    checks.names(&names::URIS, rules.uris.as_ref(), &values.uris, false);
    checks.names(&names::EMAIL_ADDRESSES, rules.email_addresses.as_ref(), &values.email_addresses, false);
    if let Some(node) = rules.node {
        checks.node(node);
    }
    checks.findings
}

pub(super) struct Checks<'a> {
    object: &'a Compiled,
    /// The object, as messages call it.
    pub(super) name: &'a ObjectRef,
    /// In a policy, what is not named is not permitted; in a guardrail, it is not checked.
    pub(super) is_policy: bool,
    pub(super) service_cidrs: &'a [IpNet],
    pub(super) envelope: &'a Envelope,
    pub(super) pkcs10: &'a Pkcs10,
    /// The node that asks for itself, or what is wrong with that.
    pub(super) own_node: Result<&'a str, &'static str>,
    pub(super) facts: &'a Facts<'a>,
    findings: Findings,
}

impl Checks<'_> {
    pub(super) fn violation(
        &mut self,
        code: ViolationCode,
        field: &str,
        found: &str,
        permitted: impl Into<Arc<str>>,
        message: String,
    ) {
        self.findings.violations.push(Violation {
            object: Some(self.object.object.clone()),
            code,
            field: field.to_owned(),
            found: found.to_owned(),
            permitted: permitted.into(),
            message,
            more: 0,
        });
    }

    /// One of the values of a list, whose message is made of what was found and what is permitted. The first of a code are
    /// told and the others counted: there may be hundreds, under each of hundreds of policies.
    pub(super) fn value(
        &mut self,
        code: ViolationCode,
        field: &str,
        found: impl FnOnce() -> String,
        permitted: impl FnOnce() -> Arc<str>,
        message: impl FnOnce(&str, &str) -> String,
    ) {
        let violations = &mut self.findings.violations;
        if violations.iter().filter(|violation| violation.code == code).count() >= TOLD {
            return Violation::count(violations, self.name, code, field, 1);
        }
        let (found, permitted) = (found(), permitted());
        let message = message(&found, &permitted);
        self.violation(code, field, &found, permitted, message);
    }

    /// A check that cannot be told, and why.
    pub(super) fn unknown(&mut self, why: impl Into<String>) {
        self.findings.unknown.push(why.into());
    }

    /// Whether the object has found something of this code already.
    pub(super) fn has(&self, code: ViolationCode) -> bool {
        self.findings.violations.iter().any(|violation| violation.code == code)
    }

    fn signer(&mut self, rules: &SignerRules, signer: &str) {
        let shown = printable(signer);
        if rules.denied.iter().any(|pattern| pattern.matches(signer)) {
            let message = format!("signer {shown} is denied by {}", self.name);
            self.violation(ViolationCode::SignerDenied, "signerName", &shown, "other signers", message);
        }
        if let Some(allowed) = &rules.allowed
            && !allowed.iter().any(|pattern| pattern.matches(signer))
        {
            let sources: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let permitted = list(sources.iter().map(String::as_str));
            let message = format!("signer {shown} is not allowed; {} permits {permitted}", self.name);
            self.violation(ViolationCode::SignerNotAllowed, "signerName", &shown, permitted, message);
        }
    }

    fn kubelet_identity(&mut self, request: &SigningRequest, pkcs10: &Pkcs10) {
        if !self.is_policy {
            return;
        }
        if let Some(wrong) = kubelet::wrong_identity(request, pkcs10) {
            let found = printable(pkcs10.subject.common_name.as_deref().unwrap_or_default());
            let message = format!("a kubelet's certificate speaks for its own node only: {wrong}");
            self.violation(
                ViolationCode::KubeletIdentity,
                "subject.commonName",
                &found,
                "the requestor's own system:node: name",
                message,
            );
        }
    }

    fn common_name(&mut self, rules: &Rules, request: &SigningRequest, common_name: Option<&Name<'_>>) {
        const FIELD: &str = "subject.commonName";
        let (rules, name) = match (&rules.common_name, common_name) {
            (None, None) => return,
            (None, Some(name)) => {
                if self.is_policy {
                    let shown = printable(name.text());
                    let message =
                        format!("common name (user name) \"{shown}\" is not allowed; {} permits none", self.name);
                    self.violation(ViolationCode::CommonNameNotAllowed, FIELD, &shown, "none", message);
                }
                return;
            }
            (Some(rules), None) => {
                if rules.needed {
                    let message = format!("the request has no common name (user name), and {} needs one", self.name);
                    self.violation(ViolationCode::CommonNameMissing, FIELD, "", "a common name", message);
                }
                return;
            }
            (Some(rules), Some(name)) => (rules, name),
        };
        let &Name { ref value, reserved } = name;
        let name = value.text();
        let shown = printable(name);
        if let Some(pattern) = WidePattern::first_hit(&rules.denied, value) {
            let message =
                format!("common name (user name) \"{shown}\" is denied by {} (\"{}\")", self.name, pattern.source());
            self.violation(ViolationCode::CommonNameDenied, FIELD, &shown, not(&rules.denied), message);
        }
        if rules.from_requestor {
            let username = &request.envelope.username;
            let own = printable(username);
            if name != username {
                let message = format!(
                    "common name (user name) \"{shown}\" is not the requestor's own, which is \"{own}\"; {} permits only \
                     that",
                    self.name
                );
                self.violation(ViolationCode::CommonNameNotRequestor, FIELD, &shown, own, message);
            } else if let Some(prefix) = reserved
                && !name.starts_with("system:node:")
            {
                let message = format!(
                    "common name (user name) \"{shown}\" is reserved (it begins like {prefix}), and a requestor's own \
                     name yields only system:node: names of these"
                );
                self.violation(
                    ViolationCode::CommonNameReserved,
                    FIELD,
                    &shown,
                    "names that are not reserved",
                    message,
                );
            }
        }
        let Some(allowed) = &rules.allowed else { return };
        let reserved = reserved.filter(|_| self.is_policy);
        if allowed.iter().any(|pattern| pattern.matches(name, false) && pattern.spells_out(reserved)) {
            return;
        }
        let permitted = list(allowed.iter().map(crate::policy::Pattern::source));
        match reserved {
            Some(prefix) => {
                let message = format!(
                    "common name (user name) \"{shown}\" is reserved (it begins like {prefix}), and {} does not spell it \
                     out; it permits {permitted}",
                    self.name
                );
                self.violation(ViolationCode::CommonNameReserved, FIELD, &shown, permitted, message);
            }
            None => {
                let message =
                    format!("common name (user name) \"{shown}\" is not allowed; {} permits {permitted}", self.name);
                self.violation(ViolationCode::CommonNameNotAllowed, FIELD, &shown, permitted, message);
            }
        }
    }

    /// C, L, ST and the like: a certificate would carry them, and no policy can speak of them.
    fn other_attributes(&mut self, pkcs10: &Pkcs10) {
        const CODE: ViolationCode = ViolationCode::SubjectAttributeNotAllowed;
        if !self.is_policy {
            return;
        }
        let others = &pkcs10.subject.others;
        for (attribute, value) in others.iter().take(TOLD) {
            let shown = printable(value);
            let name = attribute.name();
            let message = format!(
                "subject attribute {name}=\"{shown}\" is not allowed, and no policy can allow it: leave it out of the \
                 request"
            );
            self.violation(CODE, "subject", &format!("{name}={shown}"), "CN, O, OU", message);
        }
        if others.len() > TOLD {
            let more = others.len() - TOLD;
            Violation::count(&mut self.findings.violations, self.name, CODE, "subject", more);
        }
    }

    fn usages(&mut self, rules: &UsageRules, usages: &[Usage]) {
        const FIELD: &str = "usages";
        let names = |usages: &mut dyn Iterator<Item = &Usage>| list(usages.map(|usage| usage.name()));
        for usage in usages {
            if rules.denied.contains(usage) {
                let permitted = format!("anything but {}", names(&mut rules.denied.iter()));
                let message = format!("usage \"{usage}\" is denied by {}", self.name);
                self.violation(ViolationCode::UsageDenied, FIELD, usage.name(), permitted, message);
            }
            let allowed = match &rules.allowed {
                Some(allowed) => allowed.contains(usage) || rules.required.contains(usage),
                None => !self.is_policy || rules.required.contains(usage),
            };
            if !allowed {
                let permitted = names(&mut rules.allowed.iter().flatten().chain(&rules.required));
                let message = format!("usage \"{usage}\" is not allowed; {} permits {permitted}", self.name);
                self.violation(ViolationCode::UsageNotAllowed, FIELD, usage.name(), permitted, message);
            }
        }
        if !usages.iter().any(|usage| usage.is_extended()) {
            self.any_purpose(rules);
        }
        if usages.iter().all(|usage| usage.is_extended()) {
            self.any_key_usage(rules);
        }
        for usage in rules.required.iter().filter(|usage| !usages.contains(usage)) {
            let message = format!("{} requires the usage \"{usage}\", and the request does not ask for it", self.name);
            self.violation(ViolationCode::UsageMissing, FIELD, "", usage.name(), message);
        }
    }

    /// No extended key usage is asked for. A signer that takes this leaves the extension out, so that the certificate is good for
    /// any purpose (RFC 5280 section 4.2.1.12), as one with `any` would be.
    fn any_purpose(&mut self, rules: &UsageRules) {
        const FIELD: &str = "usages";
        const WHY: &str = "no extended key usage is asked for, so that the certificate may be good for any purpose";
        let names = |usages: &mut dyn Iterator<Item = Usage>| list(usages.map(Usage::name));
        if let Some(denied) = rules.extended_denied().next() {
            let permitted = format!("an extended key usage other than {}", names(&mut rules.extended_denied()));
            let message = format!(
                "{WHY}, also for \"{denied}\", which is denied by {}: ask for one that is permitted",
                self.name
            );
            self.violation(ViolationCode::UsageDenied, FIELD, "", permitted, message);
        }
        if (self.is_policy || rules.allowed.is_some()) && rules.extended().next().is_some() {
            let permitted = names(&mut rules.extended());
            let message = format!("{WHY}, which is more than {} permits: ask for one of {permitted}", self.name);
            self.violation(ViolationCode::UsageNotAllowed, FIELD, "", permitted, message);
        }
    }

    /// No key usage is asked for, so that a signer leaves the extension out, and the certificate is restricted to none (RFC 5280
    /// section 4.2.1.3). Where usages are allowed this says nothing: Kubernetes' own clients ask for `client auth` alone.
    fn any_key_usage(&mut self, rules: &UsageRules) {
        let Some(denied) = rules.key_usages_denied().next() else { return };
        let permitted = format!("a key usage other than {}", list(rules.key_usages_denied().map(Usage::name)));
        let message = format!(
            "no key usage is asked for, so that the certificate may be good for each, also for \"{denied}\", which is denied by \
             {}: ask for one that is permitted",
            self.name
        );
        self.violation(ViolationCode::UsageDenied, "usages", "", permitted, message);
    }

    fn expiration(&mut self, rules: ExpirationRules, seconds: Option<i32>, signer_maximum: Option<i64>) {
        const FIELD: &str = "expirationSeconds";
        let (seconds, asked) = match (seconds, rules.when_unset) {
            (Some(seconds), _) => (i64::from(seconds), "expirationSeconds asks for"),
            (None, WhenUnset::Allow) => return,
            (None, WhenUnset::Deny) => {
                let permitted = rules.max.map(|max| format!("at most {max} s")).unwrap_or_default();
                let hint = if permitted.is_empty() { String::new() } else { format!(", {permitted}") };
                let message = format!(
                    "expirationSeconds is not set, so the signer would give its longest lifetime; {} needs it set{hint}",
                    self.name
                );
                return self.violation(ViolationCode::ExpirationUnset, FIELD, "", permitted, message);
            }
            (None, WhenUnset::SignerMaximum) => match signer_maximum {
                Some(maximum) => (maximum, "expirationSeconds is not set, and the signer gives up to"),
                None => {
                    let message = format!(
                        "expirationSeconds is not set, and nothing says how long a lifetime the signer gives \
                         (--signer-max-seconds); {} judges by that",
                        self.name
                    );
                    return self.violation(ViolationCode::ExpirationSignerMaximumUnknown, FIELD, "", "", message);
                }
            },
        };
        let mut report = |code, permitted: String| {
            let message = format!("{asked} {}, and {} permits {permitted}", duration::exact(seconds), self.name);
            self.violation(code, FIELD, &seconds.to_string(), permitted, message);
        };
        if let Some(max) = rules.max
            && seconds > i64::from(max)
        {
            report(ViolationCode::ExpirationTooLong, format!("at most {}", duration::exact(i64::from(max))));
        }
        if let Some(min) = rules.min
            && seconds < i64::from(min)
        {
            report(ViolationCode::ExpirationTooShort, format!("at least {}", duration::exact(i64::from(min))));
        }
    }

    fn key(&mut self, rules: &KeyRules, key: Key) {
        const FIELD: &str = "key";
        let found = key.to_string();
        if let Some(algorithms) = &rules.algorithms
            && !algorithms.contains(&key.algorithm())
        {
            let permitted = list(algorithms.iter().copied());
            let message = format!("the key is {found}, and {} permits {permitted}", self.name);
            self.violation(ViolationCode::KeyAlgorithmNotAllowed, FIELD, &found, permitted, message);
        }
        match key {
            Key::Rsa { bits } => {
                if let Some(min) = rules.rsa_min_bits
                    && bits < min
                {
                    let message = format!("the RSA key has {bits} bits, and {} needs at least {min}", self.name);
                    self.violation(ViolationCode::KeyTooShort, FIELD, &found, format!("at least {min} bits"), message);
                }
                if let Some(max) = rules.rsa_max_bits
                    && bits > max
                {
                    let message = format!("the RSA key has {bits} bits, and {} permits at most {max}", self.name);
                    self.violation(ViolationCode::KeyTooLong, FIELD, &found, format!("at most {max} bits"), message);
                }
            }
            Key::Ecdsa { curve } => {
                if let Some(curves) = &rules.curves
                    && !curves.contains(&curve)
                {
                    let permitted = list(curves.iter().map(|curve| curve.name()));
                    let message =
                        format!("the key is on curve {}, and {} permits {permitted}", curve.name(), self.name);
                    self.violation(ViolationCode::KeyCurveNotAllowed, FIELD, &found, permitted, message);
                }
            }
            Key::Ed25519 => {}
        }
    }

    fn dns_names(&mut self, rules: Option<&DnsRules>, values: &[Name<'_>]) {
        let name = self.name;
        let from_node = rules.is_some_and(|rules| rules.list.from == Some(Source::Node));
        let wildcards = rules.and_then(|rules| rules.wildcards);
        for value in values.iter().map(Name::text).filter(|value| value.contains('*')) {
            let well_formed = value.strip_prefix("*.").is_some_and(|rest| !rest.is_empty() && !rest.contains('*'));
            // A guardrail that does not speak of wildcards leaves well-formed ones to its patterns; no node
            // carries one, whatever else permits it.
            if rules.is_some() && (wildcards == Some(false) || from_node || !well_formed) {
                self.value(
                    ViolationCode::DnsNameWildcard,
                    "dnsNames",
                    || printable(value),
                    || "names without *".into(),
                    |shown, _| format!("DNS name \"{shown}\" is a wildcard, and {name} permits none such"),
                );
            }
        }
        let covers = wildcards != Some(false);
        self.names(&names::DNS_NAMES, rules.map(|rules| &rules.list), values, covers);
        if from_node {
            // A name with a `*` is violated above.
            let names = values.iter().map(Name::text).filter(|value| !value.contains('*'));
            self.carried_by_node(&names::DNS_NAMES, names.map(|name| Host::Name(name.to_ascii_lowercase())).collect());
        }
    }

    fn ip_addresses(&mut self, rules: Option<&IpRules>, values: &[IpAddr]) {
        let (kind, name) = (&names::IP_ADDRESSES, self.name);
        let Some(rules) = rules else {
            if self.is_policy {
                for value in values {
                    self.not_named(kind, &value.to_string());
                }
            }
            return;
        };
        let networks = |networks: &mut dyn Iterator<Item = &IpNet>| {
            let networks: Vec<String> = networks.map(ToString::to_string).collect();
            list(networks.iter().map(String::as_str))
        };
        let permitted: LazyCell<Arc<str>, _> =
            LazyCell::new(|| networks(&mut rules.allowed.iter().flatten().chain(&rules.required)).into());
        let but: LazyCell<Arc<str>, _> =
            LazyCell::new(|| format!("anything but {}", networks(&mut rules.denied.iter())).into());
        for value in values {
            let found = || value.to_string();
            if let Some(network) = rules.denied.iter().find(|network| network.contains(value)) {
                self.value(
                    kind.denied,
                    kind.field,
                    found,
                    || Arc::clone(&but),
                    |found, _| format!("IP address {found} is denied by {name} ({network})"),
                );
            }
            let required = rules.required.iter().any(|network| network.contains(value));
            let allowed = match &rules.allowed {
                Some(allowed) => required || allowed.iter().any(|network| network.contains(value)),
                None => required || rules.from.is_some() || !self.is_policy,
            };
            if !allowed {
                self.value(
                    kind.not_allowed,
                    kind.field,
                    found,
                    || Arc::clone(&permitted),
                    |found, permitted| format!("IP address {found} is not allowed; {name} permits {permitted}"),
                );
            }
        }
        for network in &rules.required {
            if !values.iter().any(|value| network.contains(value)) {
                self.missing(kind, &network.to_string());
            }
        }
        self.count(kind, rules.count, values.len());
        if rules.from == Some(Source::Node) {
            self.carried_by_node(kind, values.iter().copied().map(Host::Address).collect());
        }
    }
}
