//! Compile: a plain object becomes a [`Compiled`] one. Every rule of the CRD is enforced here
//! once more, because ratcheting, an older CRD and offline use all go around the API server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::matcher::{Matcher, Part, RequestorMatcher};
use super::reserved::MASTERS;
use super::rules::{
    CommonNameRules, Count, DnsRules, ExpirationRules, IpRules, KeyRules, ListRules, Rules, SignerRules, UsageRules,
};
use super::{Compiled, Field, Kind, Pattern, PolicyObject, Problem, SignerPattern, WidePattern};
use crate::api::{self, Absent, KeyAlgorithm, KeyCurve, Mode, OnViolation, Wildcards};
use crate::fold::fold;
use crate::request::{Curve, Usage};

/// Compiles `object`. There is always a result: where something cannot be read, it is not Ready,
/// and [`Compiled::problems`] says what and where.
pub(super) fn compile(object: &PolicyObject) -> Compiled {
    let mut compiler = Compiler { kind: object.kind, problems: Vec::new() };
    let spec = object.spec.as_ref().unwrap_or(&Value::Null);
    compiler.problems = api::schema::check(object.kind, spec);
    if !object.known_version {
        compiler.report("apiVersion", format!("this version of Countersign reads {} only", api::API_VERSION));
    }
    let matcher = compiler.matcher(spec);
    let rules = match object.kind {
        Kind::CSRPolicy => compiler.allow(spec),
        Kind::CSRGuardrail => compiler.limits(spec),
    };
    Compiled {
        object: object.reference(),
        generation: object.generation,
        // Whatever is not plainly `Audit` may have been meant to decide.
        mode: if spec["mode"] == "Audit" { Mode::Audit } else { Mode::Enforce },
        on_violation: match &spec["onViolation"] {
            Value::Null => OnViolation::Deny,
            Value::String(value) if value == "Deny" => OnViolation::Deny,
            _ => OnViolation::LeavePending,
        },
        matcher,
        rules: if compiler.problems.is_empty() { rules } else { None },
        problems: compiler.problems,
    }
}

struct Compiler {
    kind: Kind,
    problems: Vec<Problem>,
}

const ALSO_DENIED: &str = "is in denied too, and denied wins: remove it from one of them";

impl Compiler {
    fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    /// Whether something at or below `path` is wrong.
    fn broken(&self, path: &str) -> Option<String> {
        self.problems
            .iter()
            .find(|problem| problem.is_within(path))
            .map(|problem| format!("{}: {}", problem.path, problem.message))
    }

    /// The value at `path` as the API's own type, unless something in it is wrong.
    fn read<T: DeserializeOwned>(&mut self, path: &str, value: &Value) -> Option<T> {
        if value.is_null() || self.broken(path).is_some() {
            return None;
        }
        match serde_json::from_value(value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(path, error.to_string());
                None
            }
        }
    }

    fn matcher(&mut self, spec: &Value) -> Matcher {
        let path = "spec.match";
        let value = &spec["match"];
        if value.is_null() && self.broken(path).is_none() {
            self.report(
                path,
                match self.kind {
                    Kind::CSRPolicy => "state match: the signerNames and requestors that the policy speaks about",
                    Kind::CSRGuardrail => "state match; match: {} is every managed signer and every requestor",
                },
            );
        }
        let needed = self.kind == Kind::CSRPolicy && value.is_object();
        let signers = self.part("spec.match.signerNames", &value["signerNames"], |this, path, names: Vec<String>| {
            this.not_empty(path, &names, "name at least one signer, for example kubernetes.io/kube-apiserver-client");
            this.signers(path, &names)
        });
        if needed && value["signerNames"].is_null() {
            self.report("spec.match.signerNames", "state match.signerNames, for example [kubernetes.io/kube-apiserver-client]: a policy permits for the signers that it names only");
        }
        let requestors = self.part("spec.match.requestors", &value["requestors"], Self::requestors);
        if needed && value["requestors"].is_null() {
            self.report("spec.match.requestors", "state match.requestors, for example [{groups: [platform-onboarding]}]: a policy permits for the requestors that it names only");
        }
        let exclude = &value["exclude"];
        let excluded = self.part("spec.match.exclude.requestors", &exclude["requestors"], Self::requestors);
        if exclude.is_object() && exclude["requestors"].is_null() {
            self.report("spec.match.exclude", "exclude is empty: state exclude.requestors, or remove exclude");
        }
        Matcher {
            signers: self.unless_broken("spec.match.signerNames", signers),
            requestors: self.unless_broken("spec.match.requestors", requestors),
            excluded: self.unless_broken("spec.match.exclude", excluded),
            rest: self
                .problems
                .iter()
                .find(|problem| {
                    let known = ["signerNames", "requestors", "exclude"];
                    ["apiVersion", "spec"].contains(&problem.path.as_str())
                        || (problem.is_within(path)
                            && !known.iter().any(|part| problem.is_within(&format!("{path}.{part}"))))
                })
                .map_or(Part::Unstated, |problem| Part::Unreadable(format!("{}: {}", problem.path, problem.message))),
        }
    }

    fn part<V: DeserializeOwned, T>(
        &mut self,
        path: &str,
        value: &Value,
        compile: impl FnOnce(&mut Self, &str, V) -> T,
    ) -> Part<T> {
        match self.read(path, value) {
            Some(value) => Part::Stated(compile(self, path, value)),
            None => self.broken(path).map_or(Part::Unstated, Part::Unreadable),
        }
    }

    /// `part`, unless compiling it has found something wrong in it.
    fn unless_broken<T>(&self, path: &str, part: Part<T>) -> Part<T> {
        self.broken(path).map_or(part, Part::Unreadable)
    }

    fn not_empty<T>(&mut self, path: &str, list: &[T], instead: &str) {
        if list.is_empty() {
            self.report(path, format!("the list is empty, which would be a guess at nothing or everything: {instead}"));
        }
    }

    fn signers(&mut self, path: &str, names: &[String]) -> Vec<SignerPattern> {
        self.each(path, names, SignerPattern::new)
    }

    fn each<T>(&mut self, path: &str, items: &[String], compile: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut result = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match compile(item) {
                Ok(item) => result.push(item),
                Err(message) => self.report(format!("{path}[{index}]"), message),
            }
        }
        result
    }

    fn requestors(&mut self, path: &str, entries: Vec<api::Requestor>) -> Vec<RequestorMatcher> {
        self.not_empty(path, &entries, "add an entry, for example - groups: [platform-onboarding]");
        let mut result = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            if entry.users.is_none() && entry.groups.is_none() && entry.service_accounts.is_none() {
                self.report(path.as_str(), "a requestor needs at least one of users, groups or serviceAccounts; for everybody write groups: ['system:authenticated']");
            }
            let mut wide = |name: &str, list: Option<Vec<String>>| {
                let path = format!("{path}.{name}");
                list.map(|list| {
                    self.not_empty(&path, &list, "name at least one, or remove the list");
                    self.each(&path, &list, |item| WidePattern::new(item, Field::Identity))
                })
            };
            let users = wide("users", entry.users);
            let groups = wide("groups", entry.groups);
            let service_accounts = entry.service_accounts.map(|list| {
                let path = format!("{path}.serviceAccounts");
                self.not_empty(&path, &list, "name at least one as namespace/name, or remove the list");
                self.each(&path, &list, service_account)
            });
            result.push(RequestorMatcher { users, groups, service_accounts, credential: entry.credential });
        }
        result
    }

    fn allow(&mut self, spec: &Value) -> Option<Rules> {
        let path = "spec.allow";
        if spec["allow"].is_null() {
            if self.broken(path).is_none() {
                self.report(
                    path,
                    "state allow: what an approved request may contain, at least usages and expirationSeconds",
                );
            }
            return None;
        }
        let allow: api::Allow = self.read(path, &spec["allow"])?;
        if allow.usages.is_none() {
            self.report("spec.allow.usages", "state allow.usages, for example {allowed: [client auth, digital signature, key encipherment], required: [client auth]}");
        }
        if allow.expiration_seconds.is_none() {
            self.report("spec.allow.expirationSeconds", "state allow.expirationSeconds, for example {max: 2592000} for 30 days: nothing revokes a client certificate before it expires");
        }
        let mut rules = Rules {
            usages: allow.usages.map(|usages| self.usages("spec.allow.usages", &usages)),
            expiration: allow.expiration_seconds.map(|expiration| {
                if expiration.max.is_none() {
                    self.report("spec.allow.expirationSeconds.max", "state expirationSeconds.max, the longest lifetime in seconds that may be approved, for example 2592000 (30 days): nothing revokes a client certificate before it expires");
                }
                self.ordered("spec.allow.expirationSeconds", expiration.min, expiration.max);
                ExpirationRules { min: expiration.min, max: expiration.max, when_unset: expiration.when_unset }
            }),
            ..Rules::default()
        };
        self.common(
            path,
            &mut rules,
            &Common {
                subject: allow.subject,
                keys: allow.keys,
                dns_names: allow.dns_names,
                ip_addresses: allow.ip_addresses,
                uris: allow.uris,
                email_addresses: allow.email_addresses,
            },
        );
        // What is needed unless said otherwise, and what there may be only where it is named.
        if let Some(rules) = &mut rules.dns_names {
            rules.wildcards.get_or_insert(false);
        }
        if let Some(keys) = &mut rules.keys {
            keys.algorithms.get_or_insert_with(|| {
                let rsa = keys.rsa_min_bits.or(keys.rsa_max_bits).map(|_| "RSA");
                rsa.into_iter().chain(keys.curves.as_ref().map(|_| "ECDSA")).collect()
            });
        }
        Some(rules)
    }

    fn limits(&mut self, spec: &Value) -> Option<Rules> {
        let path = "spec.limits";
        if spec["limits"].is_null() {
            if self.broken(path).is_none() {
                self.report(path, "state limits: what every matching request must satisfy");
            }
            return None;
        }
        let limits: api::Limits = self.read(path, &spec["limits"])?;
        if limits == api::Limits::default() {
            self.report(path, "limits is empty: state at least one limit, for example expirationSeconds: {max: 31536000, whenUnset: SignerMaximum}");
        }
        let mut rules = Rules {
            signers: limits.signer_names.map(|signers| self.signer_limits("spec.limits.signerNames", &signers)),
            usages: limits.usages.map(|usages| self.usages("spec.limits.usages", &usages)),
            expiration: limits.expiration_seconds.map(|expiration| {
                let path = "spec.limits.expirationSeconds";
                if expiration.when_unset.is_none() {
                    self.report(format!("{path}.whenUnset"), "state expirationSeconds.whenUnset: SignerMaximum judges a request without expirationSeconds by the longest that its signer would give, Deny refuses it, Allow lets it through");
                }
                self.ordered(path, expiration.min, expiration.max);
                ExpirationRules {
                    min: expiration.min,
                    max: expiration.max,
                    when_unset: expiration.when_unset.unwrap_or_default(),
                }
            }),
            ..Rules::default()
        };
        self.common(
            path,
            &mut rules,
            &Common {
                subject: limits.subject,
                keys: limits.keys,
                dns_names: limits.dns_names,
                ip_addresses: limits.ip_addresses,
                uris: limits.uris,
                email_addresses: limits.email_addresses,
            },
        );
        Some(rules)
    }

    fn common(&mut self, path: &str, rules: &mut Rules, parts: &Common) {
        if let Some(subject) = &parts.subject {
            let path = format!("{path}.subject");
            if *subject == api::SubjectRules::default() {
                self.report(
                    path.as_str(),
                    "subject is empty: state commonName, organizations or organizationalUnits, or remove subject",
                );
            }
            let common_name = subject.common_name.as_ref();
            rules.common_name = common_name.map(|names| self.common_name(&format!("{path}.commonName"), names));
            rules.organizations = subject.organizations.as_ref().map(|values| {
                let list = Lists::from_organizations(values);
                self.list(&format!("{path}.organizations"), &list, Field::Identity)
            });
            rules.organizational_units = subject.organizational_units.as_ref().map(|values| {
                self.list(&format!("{path}.organizationalUnits"), &Lists::from_values(values), Field::Identity)
            });
        }
        rules.keys = parts.keys.as_ref().map(|keys| self.keys(&format!("{path}.keys"), keys));
        rules.dns_names = parts.dns_names.as_ref().map(|names| self.dns_names(&format!("{path}.dnsNames"), names));
        rules.ip_addresses =
            parts.ip_addresses.as_ref().map(|addresses| self.ip_addresses(&format!("{path}.ipAddresses"), addresses));
        rules.uris =
            parts.uris.as_ref().map(|uris| self.list(&format!("{path}.uris"), &Lists::from_values(uris), Field::Uri));
        rules.email_addresses = parts.email_addresses.as_ref().map(|addresses| {
            self.list(&format!("{path}.emailAddresses"), &Lists::from_values(addresses), Field::EmailAddress)
        });
    }

    fn common_name(&mut self, path: &str, names: &api::CommonName) -> CommonNameRules {
        if *names == api::CommonName::default() {
            self.report(path, "commonName is empty: state allowed, denied or from, or remove commonName");
        } else if self.kind == Kind::CSRPolicy && names.allowed.is_none() && names.from.is_none() {
            self.permits_nothing(path, "allowed or from");
        }
        self.contradiction(path, names.allowed.as_deref(), None, names.denied.as_deref());
        CommonNameRules {
            allowed: self.granted(path, "allowed", names.allowed.as_deref(), Field::Identity),
            denied: self.refused(path, names.denied.as_deref(), Field::Identity),
            from_requestor: names.from.is_some(),
            needed: match names.absent {
                Some(absent) => absent == Absent::Deny,
                None => self.kind == Kind::CSRPolicy,
            },
        }
    }

    fn list(&mut self, path: &str, lists: &Lists<'_>, field: Field) -> ListRules {
        self.list_shape(path, lists);
        ListRules {
            allowed: self.granted(path, "allowed", lists.allowed, field),
            denied: self.refused(path, lists.denied, field),
            required: self.granted(path, "required", lists.required, field).unwrap_or_default(),
            count: Count { min: lists.min, max: lists.max },
            from_requestor: lists.from_requestor,
        }
    }

    fn dns_names(&mut self, path: &str, names: &api::DnsNames) -> DnsRules {
        let lists = Lists::from_dns_names(names);
        DnsRules {
            list: self.list(path, &lists, Field::DnsName),
            wildcards: names.wildcards.map(|wildcards| wildcards == Wildcards::Allow),
        }
    }

    fn ip_addresses(&mut self, path: &str, addresses: &api::IpAddresses) -> IpRules {
        let lists = Lists::from_ip_addresses(addresses);
        self.list_shape(path, &lists);
        let mut networks = |name: &str, list: Option<&[String]>| {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one value, or remove the list");
                self.each(&path, list, network)
            })
        };
        IpRules {
            allowed: networks("allowed", lists.allowed),
            denied: networks("denied", lists.denied).unwrap_or_default(),
            required: networks("required", lists.required).unwrap_or_default(),
            count: Count { min: lists.min, max: lists.max },
        }
    }

    /// What holds for every list of values, whatever is in it.
    fn list_shape(&mut self, path: &str, lists: &Lists<'_>) {
        if lists.is_empty() {
            self.report(path, "the object is empty: state allowed, denied, required, min or max, or remove it");
        } else if self.kind == Kind::CSRPolicy
            && lists.allowed.is_none()
            && lists.required.is_none()
            && !lists.from_requestor
        {
            self.permits_nothing(
                path,
                if lists.can_be_from { "allowed, required or from" } else { "allowed or required" },
            );
        }
        self.contradiction(path, lists.allowed, lists.required, lists.denied);
        self.ordered(path, lists.min, lists.max);
    }

    fn permits_nothing(&mut self, path: &str, what: &str) {
        self.report(
            path,
            format!("it permits nothing: state {what}; in a policy, what is not allowed is refused anyway"),
        );
    }

    fn ordered<T: PartialOrd>(&mut self, path: &str, min: Option<T>, max: Option<T>) {
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.report(
                format!("{path}.min"),
                "min is above max, so no request could satisfy it: lower min or raise max",
            );
        }
    }

    fn contradiction<T: PartialEq + std::fmt::Display>(
        &mut self,
        path: &str,
        allowed: Option<&[T]>,
        required: Option<&[T]>,
        denied: Option<&[T]>,
    ) {
        let denied = denied.unwrap_or_default();
        for (name, list) in [("allowed", allowed), ("required", required)] {
            for (index, item) in list.unwrap_or_default().iter().enumerate().filter(|(_, item)| denied.contains(item)) {
                self.report(format!("{path}.{name}[{index}]"), format!("{item} {ALSO_DENIED}"));
            }
        }
    }

    fn granted(&mut self, path: &str, name: &str, list: Option<&[String]>, field: Field) -> Option<Vec<Pattern>> {
        let path = format!("{path}.{name}");
        let organizational_units = path.contains(".organizationalUnits.");
        list.map(|list| {
            self.not_empty(&path, list, "name at least one value, or remove the list");
            self.each(&path, list, |item| {
                if field == Field::Identity && !organizational_units && fold(item) == MASTERS {
                    return Err("system:masters is never granted by any policy: remove it; for administrators bind \
                                ClusterRole cluster-admin to a group of your own"
                        .to_owned());
                }
                Pattern::new(item, field)
            })
        })
    }

    fn refused(&mut self, path: &str, list: Option<&[String]>, field: Field) -> Vec<WidePattern> {
        let path = format!("{path}.denied");
        let Some(list) = list else { return Vec::new() };
        self.not_empty(&path, list, "name at least one value, or remove the list");
        self.each(&path, list, |item| WidePattern::new(item, field))
    }

    fn usages(&mut self, path: &str, usages: &api::Usages) -> UsageRules {
        let (allowed, denied, required) = (&usages.allowed, &usages.denied, &usages.required);
        if allowed.is_none() && denied.is_none() && required.is_none() {
            self.report(path, "usages is empty: state allowed, denied or required, for example allowed: [client auth, digital signature]");
        } else if self.kind == Kind::CSRPolicy && allowed.is_none() && required.is_none() {
            self.permits_nothing(path, "allowed or required");
        }
        let mut set = |name: &str, list: Option<&Vec<String>>| -> Option<Vec<Usage>> {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one usage, for example client auth, or remove the list");
                self.each(&path, list, usage)
            })
        };
        let allowed = set("allowed", allowed.as_ref());
        let denied = set("denied", denied.as_ref());
        let required = set("required", required.as_ref());
        // By what they mean, not by how they are written: `signing` contradicts `digital signature`.
        self.contradiction(path, allowed.as_deref(), required.as_deref(), denied.as_deref());
        UsageRules {
            allowed: allowed.map(BTreeSet::from_iter),
            denied: denied.into_iter().flatten().collect(),
            required: required.into_iter().flatten().collect(),
        }
    }

    fn keys(&mut self, path: &str, keys: &api::Keys) -> KeyRules {
        if *keys == api::Keys::default() {
            self.report(path, "keys is empty: state algorithms, rsa or ecdsa, or remove keys");
        }
        if let Some(algorithms) = &keys.algorithms {
            let path = format!("{path}.algorithms");
            self.not_empty(&path, algorithms, "name at least one of RSA, ECDSA, Ed25519, or remove algorithms");
            if keys.rsa.is_some() && !algorithms.contains(&KeyAlgorithm::Rsa) {
                self.report(
                    path.as_str(),
                    "keys.rsa is stated, but keys.algorithms does not list RSA: add RSA or remove rsa",
                );
            }
            if keys.ecdsa.is_some() && !algorithms.contains(&KeyAlgorithm::Ecdsa) {
                self.report(
                    path.as_str(),
                    "keys.ecdsa is stated, but keys.algorithms does not list ECDSA: add ECDSA or remove ecdsa",
                );
            }
        }
        let rsa = keys.rsa.clone().unwrap_or_default();
        if keys.rsa.is_some() && rsa == api::RsaKeys::default() {
            self.report(format!("{path}.rsa"), "keys.rsa is empty: state minBits or maxBits, or remove rsa");
        }
        if let (Some(min), Some(max)) = (rsa.min_bits, rsa.max_bits)
            && min > max
        {
            self.report(
                format!("{path}.rsa.minBits"),
                "keys.rsa.minBits is above keys.rsa.maxBits, so no key could satisfy it",
            );
        }
        let curves = keys.ecdsa.as_ref().map(|ecdsa| {
            let path = format!("{path}.ecdsa");
            if ecdsa.curves.is_none() {
                self.report(path.as_str(), "keys.ecdsa is empty: state curves, or remove ecdsa");
            }
            let curves = ecdsa.curves.clone();
            if let Some(curves) = &curves {
                self.not_empty(&format!("{path}.curves"), curves, "name P256, P384 or both, or remove ecdsa");
            }
            let curve = |curve| match curve {
                KeyCurve::P256 => Curve::P256,
                KeyCurve::P384 => Curve::P384,
            };
            curves.unwrap_or_default().into_iter().map(curve).collect()
        });
        let algorithm = |algorithm: &KeyAlgorithm| match algorithm {
            KeyAlgorithm::Rsa => "RSA",
            KeyAlgorithm::Ecdsa => "ECDSA",
            KeyAlgorithm::Ed25519 => "Ed25519",
        };
        KeyRules {
            algorithms: keys.algorithms.as_ref().map(|list| list.iter().map(algorithm).collect()),
            rsa_min_bits: rsa.min_bits,
            rsa_max_bits: rsa.max_bits,
            curves,
        }
    }

    fn signer_limits(&mut self, path: &str, signers: &api::SignerLimits) -> SignerRules {
        if *signers == api::SignerLimits::default() {
            self.report(path, "limits.signerNames is empty: state allowed or denied, or remove signerNames");
        }
        self.contradiction(path, signers.allowed.as_deref(), None, signers.denied.as_deref());
        let mut list = |name: &str, list: Option<&Vec<String>>| {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one signer, or remove the list");
                self.signers(&path, list)
            })
        };
        SignerRules {
            allowed: list("allowed", signers.allowed.as_ref()),
            denied: list("denied", signers.denied.as_ref()).unwrap_or_default(),
        }
    }
}

/// The parts that policies and guardrails share.
struct Common {
    subject: Option<api::SubjectRules>,
    keys: Option<api::Keys>,
    dns_names: Option<api::DnsNames>,
    ip_addresses: Option<api::IpAddresses>,
    uris: Option<api::Values>,
    email_addresses: Option<api::Values>,
}

/// A list of values, whichever of the API's types it came from.
struct Lists<'a> {
    allowed: Option<&'a [String]>,
    denied: Option<&'a [String]>,
    required: Option<&'a [String]>,
    min: Option<u32>,
    max: Option<u32>,
    from_requestor: bool,
    can_be_from: bool,
    more: bool,
}

macro_rules! lists {
    ($values:expr) => {
        Lists {
            allowed: $values.allowed.as_deref(),
            denied: $values.denied.as_deref(),
            required: $values.required.as_deref(),
            min: $values.min,
            max: $values.max,
            from_requestor: false,
            can_be_from: false,
            more: false,
        }
    };
}

impl<'a> Lists<'a> {
    fn from_values(values: &'a api::Values) -> Self {
        lists!(values)
    }

    fn from_organizations(values: &'a api::Organizations) -> Self {
        Self { from_requestor: values.from.is_some(), can_be_from: true, ..lists!(values) }
    }

    fn from_dns_names(values: &'a api::DnsNames) -> Self {
        Self { more: values.wildcards.is_some(), ..lists!(values) }
    }

    fn from_ip_addresses(values: &'a api::IpAddresses) -> Self {
        lists!(values)
    }

    fn is_empty(&self) -> bool {
        self.allowed.is_none()
            && self.denied.is_none()
            && self.required.is_none()
            && self.min.is_none()
            && self.max.is_none()
            && !self.from_requestor
            && !self.more
    }
}

fn usage(name: &str) -> Result<Usage, String> {
    match Usage::from_name(name) {
        Some(usage) if usage.never_allowed() => {
            Err(format!("{usage} is never allowed, whatever a policy says: remove it"))
        }
        Some(usage) => Ok(usage),
        None => Err(format!("{name:?} is not a usage that Kubernetes knows; write, for example, client auth")),
    }
}

fn service_account(item: &str) -> Result<(WidePattern, WidePattern), String> {
    let wrong = || {
        "a service account is namespace/name in lower case, either part with *; for example ci/runner or ci/*"
            .to_owned()
    };
    let part = |part: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '*' | '-');
        if part.is_empty() || !part.chars().all(known) { Err(wrong()) } else { WidePattern::new(part, Field::Identity) }
    };
    let (namespace, name) = item.split_once('/').ok_or_else(wrong)?;
    Ok((part(namespace)?, part(name)?))
}

/// A CIDR without host bits, or a single address. IPv4-mapped IPv6 is refused: a request never
/// decodes with such an address, so a range of them would permit or deny nothing.
fn network(item: &str) -> Result<IpNet, String> {
    let wrong = || {
        "it is neither an IP address nor a CIDR without host bits: write, for example, 10.0.0.0/8 or 10.1.2.3 (not \
         10.1.2.3/8)"
            .to_owned()
    };
    let network = item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).map_err(|_| wrong())?;
    if network.trunc() != network {
        return Err(format!("it has host bits: write {} for the range, or the address alone", network.trunc()));
    }
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= 96
        && v6.network().to_ipv4_mapped().is_some()
    {
        return Err("it is an IPv4-mapped IPv6 range: write the IPv4 range".to_owned());
    }
    Ok(network)
}
