//! What an object says of a certificate: a second opinion that shares no line with the engine. It reads objects as they were
//! written, and judges what was issued, not what was asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::differential::disguise::{plain, reserved_prefix};

use super::certificate::{Certificate, KEY_USAGES};
use super::world::{KUBELET_CLIENT, NODES, SERVING};

/// Under which circumstances a certificate was issued.
#[derive(Debug, Clone)]
pub struct Filed {
    pub signer: String,
    pub username: String,
    pub groups: Vec<String>,
    pub expiration_seconds: Option<i64>,
}

/// The rules that something was held against and satisfied.
pub type Met = BTreeSet<String>;

type Holds = fn(&Certificate) -> bool;

/// Expressions of the random policies, with what they mean for a certificate.
pub const EXPRESSIONS: [(&str, Holds); 5] = [
    ("csr.subject.commonName.size() <= 8", |certificate| {
        certificate.common_names.first().is_some_and(|name| name.chars().count() <= 8)
    }),
    ("csr.dnsNames.all(name, name.endsWith('.example.com'))", |certificate| {
        certificate.dns_names.iter().all(|name| name.to_ascii_lowercase().ends_with(".example.com"))
    }),
    ("!csr.uris.exists(uri, uri.startsWith('spiffe://example.com/'))", |certificate| {
        !certificate.uris.iter().any(|uri| normal_uri(uri).starts_with("spiffe://example.com/"))
    }),
    ("csr.subject.organizations.size() + csr.ipAddresses.size() <= 2", |certificate| {
        certificate.organizations.len() + certificate.ip_addresses.len() <= 2
    }),
    ("!('root' in csr.subject.organizations)", |certificate| {
        !certificate.organizations.iter().any(|name| name == "root")
    }),
];

/// A year, the longest that the signers give here.
const YEAR: i64 = 365 * 86_400;
/// Signers date certificates back by this, and add it to lifetimes below [`SHORT`].
pub const BACKDATED: i64 = 300;
const SHORT: i64 = 8 * 3_600;

/// How a list of names compares.
struct Form {
    separators: &'static str,
    normal: fn(&str) -> String,
    /// Names that may be reserved.
    identity: bool,
}

const IDENTITY: Form = Form { separators: ":", normal: str::to_owned, identity: true };
const DNS: Form = Form { separators: ".", normal: str::to_ascii_lowercase, identity: false };
const URI: Form = Form { separators: "/?#@:", normal: normal_uri, identity: false };
const EMAIL: Form = Form { separators: "@", normal: normal_email, identity: false };

fn normal_uri(text: &str) -> String {
    // None of the random ones has a user or a port: what is before the path is scheme and host.
    let end = text.match_indices('/').map(|(at, _)| at).nth(2).or(text.find(':').filter(|_| !text.contains("//")));
    let (origin, rest) = text.split_at(end.unwrap_or(text.len()));
    origin.to_ascii_lowercase() + rest
}

fn normal_email(text: &str) -> String {
    text.rsplit_once('@')
        .map_or_else(|| text.to_owned(), |(local, domain)| format!("{local}@{}", domain.to_ascii_lowercase()))
}

/// Whether a pattern that permits covers all of `value`.
fn covers(pattern: &[char], value: &[char], separators: &str) -> bool {
    let run = |rest: &[char], apart: &str| {
        (1..=value.len()).any(|length| is_run(&value[..length], apart) && covers(rest, &value[length..], separators))
    };
    match pattern {
        [] => value.is_empty(),
        ['*', '*', rest @ ..] => run(rest, ""),
        ['*', rest @ ..] => run(rest, separators),
        [c, rest @ ..] => value.first() == Some(c) && covers(rest, &value[1..], separators),
    }
}

fn is_run(run: &[char], separators: &str) -> bool {
    let inside = |c: &char| (' '..='~').contains(c) && *c != '*' && !separators.contains(*c);
    run.iter().all(inside) && run.first() != Some(&' ') && run.last() != Some(&' ')
}

/// Whether a pattern in which `*` is anything, or nothing, is all of `value`.
fn is_like(pattern: &[char], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['*', rest @ ..] => (0..=value.len()).any(|length| is_like(rest, &value[length..])),
        [c, rest @ ..] => value.first() == Some(c) && is_like(rest, &value[1..]),
    }
}

fn like(pattern: &str, value: &str) -> bool {
    is_like(&pattern.chars().collect::<Vec<_>>(), &value.chars().collect::<Vec<_>>())
}

impl Form {
    fn denies(&self, pattern: &str, value: &str) -> bool {
        let (pattern, value) = ((self.normal)(pattern), (self.normal)(value));
        let mut values = vec![plain(&value), value.clone()];
        if let Some(rest) = value.strip_prefix("*.") {
            // Whatever the wildcard may stand for that is worth a try.
            let first = pattern.split('.').next().unwrap();
            values.extend([first.replace('*', ""), "x".to_owned()].map(|label| format!("{label}.{rest}")));
        }
        values.iter().any(|value| like(&pattern, value) || like(&plain(&pattern), value))
    }

    fn permits(&self, is_policy: bool, pattern: &str, value: &str) -> bool {
        let (pattern, mut value) = ((self.normal)(pattern), (self.normal)(value));
        if is_policy && self.identity && reserved_prefix(&value).is_some_and(|prefix| !pattern.starts_with(prefix)) {
            return false;
        }
        if self.separators == "." && value.starts_with('*') {
            if !pattern.starts_with('*') {
                return false;
            }
            value.replace_range(..1, "~");
        }
        covers(&pattern.chars().collect::<Vec<_>>(), &value.chars().collect::<Vec<_>>(), self.separators)
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

fn is_in(address: IpAddr, range: &str) -> bool {
    let (base, bits) = range.split_once('/').map_or((range, None), |(base, bits)| (base, Some(bits)));
    let bits: Option<u32> = bits.map(|bits| bits.parse().unwrap());
    let (one, two, width) = match (address, base.parse().unwrap()) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (u128::from(u32::from(one)), u128::from(u32::from(two)), 32),
        (IpAddr::V6(one), IpAddr::V6(two)) => (u128::from(one), u128::from(two), 128),
        _ => return false,
    };
    let shift = width - bits.unwrap_or(width);
    one.checked_shr(shift) == two.checked_shr(shift) || shift == 128
}

fn signer_is(pattern: &str, signer: &str) -> bool {
    pattern == signer
        || pattern.strip_suffix('*').is_some_and(|domain| domain.ends_with('/') && signer.starts_with(domain))
}

fn is_requestor(entry: &Value, filed: &Filed) -> bool {
    let users = entry["users"].is_null() || texts(&entry["users"]).any(|user| like(user, &filed.username));
    let groups = entry["groups"].is_null()
        || texts(&entry["groups"]).any(|pattern| filed.groups.iter().any(|group| like(pattern, group)));
    let account = filed.username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let accounts = entry["serviceAccounts"].is_null()
        || account.is_some_and(|(namespace, name)| {
            filed.groups.contains(&format!("system:serviceaccounts:{namespace}"))
                && texts(&entry["serviceAccounts"]).any(|pattern| like(pattern, &format!("{namespace}/{name}")))
        });
    users && groups && accounts
}

/// Whether `object` is enforced and speaks of such a request.
pub fn speaks(object: &Value, filed: &Filed) -> bool {
    let matching = &object["spec"]["match"];
    let any = |entries: &Value| {
        entries.as_array().is_some_and(|entries| entries.iter().any(|entry| is_requestor(entry, filed)))
    };
    object["spec"]["mode"] != "Audit"
        && (matching["signerNames"].is_null()
            || texts(&matching["signerNames"]).any(|pattern| signer_is(pattern, &filed.signer)))
        && (matching["requestors"].is_null() || any(&matching["requestors"]))
        && !any(&matching["exclude"]["requestors"])
        // There is one condition, on the user name.
        && (matching["conditions"].is_null() || filed.username != "mallory")
}

/// Why a certificate is none that `object` lets through, if it is none.
pub fn objections(object: &Value, filed: &Filed, certificate: &Certificate, met: &mut Met) -> Vec<String> {
    let is_policy = object["kind"] == "CSRPolicy";
    let rules = &object["spec"][if is_policy { "allow" } else { "limits" }];
    let mut judge = Judge { is_policy, rules, filed, certificate, objections: Vec::new(), met };
    judge.signer();
    judge.subject();
    judge.usages();
    judge.lifetime();
    judge.key();
    judge.dns_names();
    judge.ip_addresses();
    judge.names("uris", &rules["uris"], &certificate.uris, &URI);
    judge.names("emailAddresses", &rules["emailAddresses"], &certificate.email_addresses, &EMAIL);
    judge.validations();
    judge.objections
}

struct Judge<'a> {
    is_policy: bool,
    rules: &'a Value,
    filed: &'a Filed,
    certificate: &'a Certificate,
    objections: Vec<String>,
    met: &'a mut Met,
}

impl Judge<'_> {
    /// Notes that a rule is there and holds, or objects.
    fn hold(&mut self, rule: &str, holds: bool) {
        let kind = if self.is_policy { "allow" } else { "limits" };
        if holds {
            self.met.insert(format!("{kind}.{rule}"));
        } else {
            self.objections.push(rule.to_owned());
        }
    }

    fn must(&mut self, what: &str, holds: bool) {
        if !holds {
            self.objections.push(what.to_owned());
        }
    }

    fn signer(&mut self) {
        let (rules, signer) = (&self.rules["signerNames"], &self.filed.signer);
        for (list, wanted) in [("allowed", true), ("denied", false)] {
            if !rules[list].is_null() {
                let found = texts(&rules[list]).any(|pattern| signer_is(pattern, signer));
                self.hold(&format!("signerNames.{list}"), found == wanted);
            }
        }
    }

    fn subject(&mut self) {
        let (certificate, subject) = (self.certificate, &self.rules["subject"]);
        let names = certificate.common_names.iter().chain(&certificate.organizations);
        self.must("system:masters", names.clone().all(|name| plain(name) != "system:masters"));
        self.must("common names", certificate.common_names.len() <= 1);
        self.must("an authority", !certificate.authority);
        if self.is_policy {
            let known = names.count() + certificate.organizational_units.len();
            self.must("other attributes", certificate.attributes == known);
            self.kubelet();
        }
        self.common_name(&subject["commonName"]);
        self.names("organizations", &subject["organizations"], &certificate.organizations, &IDENTITY);
        self.names(
            "organizationalUnits",
            &subject["organizationalUnits"],
            &certificate.organizational_units,
            &IDENTITY,
        );
    }

    /// Whether the requestor is the node that the certificate is for.
    fn is_own_node(&self) -> bool {
        let Filed { username, groups, .. } = self.filed;
        username.len() > "system:node:".len()
            && username.starts_with("system:node:")
            && groups.iter().any(|group| group == "system:nodes")
            && self.certificate.common_names.first() == Some(username)
    }

    /// Whether the requestor makes a node join, for which there is no Node yet.
    fn bootstraps(&self) -> bool {
        let Filed { signer, username, groups, .. } = self.filed;
        signer == KUBELET_CLIENT
            && username.starts_with("system:bootstrap:")
            && groups.iter().any(|group| group == "system:bootstrappers")
            && self.certificate.common_names.iter().any(|name| name.len() > 12 && name.starts_with("system:node:"))
    }

    /// Whether `from: Node` may permit what it asks for, which are `hosts`.
    fn may_be_from_node<T>(&self, hosts: &[T]) -> bool {
        !self.is_policy || self.is_own_node() || hosts.is_empty() && self.bootstraps()
    }

    fn kubelet(&mut self) {
        let signer = &self.filed.signer;
        if signer == KUBELET_CLIENT || signer == SERVING {
            self.must("a kubelet's own name", self.bootstraps() || self.is_own_node());
        }
    }

    fn common_name(&mut self, rules: &Value) {
        let Some(name) = self.certificate.common_names.first() else {
            let may_lack =
                if self.is_policy { rules.is_null() || rules["absent"] == "Allow" } else { rules["absent"] != "Deny" };
            return self.hold("commonName.absent", may_lack);
        };
        if rules.is_null() {
            return self.must("commonName", !self.is_policy);
        }
        if rules["from"] == "Requestor" {
            let own = *name == self.filed.username;
            self.hold("commonName.from", own && (reserved_prefix(name).is_none() || name.starts_with("system:node:")));
        }
        if !rules["denied"].is_null() {
            self.hold("commonName.denied", !texts(&rules["denied"]).any(|pattern| IDENTITY.denies(pattern, name)));
        }
        if !rules["allowed"].is_null() {
            let permitted = texts(&rules["allowed"]).any(|pattern| IDENTITY.permits(self.is_policy, pattern, name));
            self.hold("commonName.allowed", permitted);
        }
    }

    fn names(&mut self, field: &str, rules: &Value, values: &[String], form: &Form) {
        if rules.is_null() {
            return self.must(field, !self.is_policy || values.is_empty());
        }
        let is_policy = self.is_policy;
        let matches =
            |list: &str, value: &str| texts(&rules[list]).any(|pattern| form.permits(is_policy, pattern, value));
        let groups = &self.filed.groups;
        for value in values {
            if !rules["denied"].is_null() {
                let denied = texts(&rules["denied"]).any(|pattern| form.denies(pattern, value));
                self.hold(&format!("{field}.denied"), !denied);
            }
            if rules["from"] == "Requestor" {
                self.hold(&format!("{field}.from"), groups.contains(value) && reserved_prefix(value).is_none());
            }
            if !rules["allowed"].is_null() || (is_policy && rules["from"].is_null()) {
                self.hold(&format!("{field}.allowed"), matches("allowed", value) || matches("required", value));
            }
        }
        for pattern in texts(&rules["required"]) {
            self.hold(&format!("{field}.required"), values.iter().any(|value| form.permits(is_policy, pattern, value)));
        }
        self.count(field, rules, values.len());
    }

    fn count(&mut self, field: &str, rules: &Value, number: usize) {
        let number = number as u64;
        if let Some(min) = rules["min"].as_u64() {
            self.hold(&format!("{field}.min"), number >= min);
        }
        if let Some(max) = rules["max"].as_u64() {
            self.hold(&format!("{field}.max"), number <= max);
        }
    }

    fn usages(&mut self) {
        let (rules, usages) = (&self.rules["usages"], &self.certificate.usages);
        let named = |list: &str| {
            texts(&rules[list]).map(|name| match name {
                "signing" => "digital signature",
                "s/mime" => "email protection",
                name => name,
            })
        };
        let never = ["any", "cert sign", "crl sign"];
        self.must("usages that are never granted", never.iter().all(|usage| !usages.contains(usage)));
        // Without extendedKeyUsage a certificate serves every purpose (RFC 5280 section 4.2.1.12), also those that are not listed.
        let purpose = |usage: &str| !KEY_USAGES.contains(&usage);
        let all_purposes = !usages.iter().any(|usage| purpose(usage));
        if self.is_policy || !rules["allowed"].is_null() {
            let permitted: Vec<&str> = named("allowed").chain(named("required")).collect();
            let more = all_purposes && permitted.iter().any(|usage| purpose(usage));
            self.hold("usages.allowed", !more && usages.iter().all(|usage| permitted.contains(usage)));
        }
        if !rules["denied"].is_null() {
            // Nor does one without keyUsage say what its key is not for (section 4.2.1.3).
            let all_keys = usages.iter().all(|usage| purpose(usage));
            let serves = |usage: &&str| usages.contains(usage) || if purpose(usage) { all_purposes } else { all_keys };
            self.hold("usages.denied", !named("denied").any(|usage| serves(&usage)));
        }
        if !rules["required"].is_null() {
            self.hold("usages.required", named("required").all(|usage| usages.contains(usage)));
        }
    }

    fn lifetime(&mut self) {
        let seconds = self.certificate.not_after - self.certificate.not_before;
        let asked = self.filed.expiration_seconds;
        let granted = if asked.is_some_and(|asked| asked < SHORT) { seconds - BACKDATED } else { seconds };
        self.must("as much as was asked for", asked.is_none_or(|asked| granted == asked));
        self.must("no more than the signer gives", granted <= YEAR);
        let rules = &self.rules["expirationSeconds"];
        let unset = asked.is_none();
        let when_unset = rules["whenUnset"].as_str().unwrap_or("Deny");
        if rules.is_null() || (unset && when_unset == "Allow") {
            self.hold("expirationSeconds.Allow", !self.is_policy || !rules.is_null());
            return;
        }
        self.hold(&format!("expirationSeconds.{when_unset}"), !unset || when_unset != "Deny");
        if let Some(max) = rules["max"].as_i64() {
            self.hold("expirationSeconds.max", granted <= max);
        }
        if let Some(min) = rules["min"].as_i64() {
            self.hold("expirationSeconds.min", granted >= min);
        }
    }

    fn key(&mut self) {
        let (rules, key) = (&self.rules["keys"], &self.certificate.key);
        let floor = match key.algorithm.as_str() {
            "RSA" => (2048..=8192).contains(&key.bits),
            "ECDSA" => matches!(key.bits, 256 | 384),
            algorithm => algorithm == "Ed25519",
        };
        self.must("a key above the floor", floor);
        if rules.is_null() {
            return;
        }
        let stated = |part: &str| !rules[part].is_null();
        let permitted = if stated("algorithms") {
            texts(&rules["algorithms"]).any(|name| name == key.algorithm)
        } else {
            !self.is_policy || stated(&key.algorithm.to_ascii_lowercase())
        };
        self.hold("keys.algorithms", permitted);
        if key.algorithm == "RSA" {
            for (bound, beyond) in [("minBits", std::cmp::Ordering::Less), ("maxBits", std::cmp::Ordering::Greater)] {
                if let Some(bits) = rules["rsa"][bound].as_u64() {
                    self.hold(&format!("keys.rsa.{bound}"), u64::from(key.bits).cmp(&bits) != beyond);
                }
            }
        }
        if key.algorithm == "ECDSA" && stated("ecdsa") {
            let curve = format!("P{}", key.bits);
            self.hold("keys.ecdsa.curves", texts(&rules["ecdsa"]["curves"]).any(|known| known == curve));
        }
    }

    fn dns_names(&mut self) {
        let (rules, names) = (&self.rules["dnsNames"], &self.certificate.dns_names);
        if names.iter().any(|name| name.contains('*')) && !rules.is_null() {
            let allowed = if self.is_policy { rules["wildcards"] == "Allow" } else { rules["wildcards"] != "Deny" };
            self.hold("dnsNames.wildcards", allowed && rules["from"].is_null());
        }
        if rules["from"] == "Node" {
            self.must("a node's own name", self.may_be_from_node(names));
            for name in names {
                let carried = |node: &&(&str, &str, &str)| *name == node.0 || *name == node.2;
                let carries = self.own_node().as_ref().is_some_and(carried);
                self.hold("dnsNames.from", carries);
            }
        }
        self.names("dnsNames", rules, names, &DNS);
    }

    fn own_node(&self) -> Option<&'static (&'static str, &'static str, &'static str)> {
        let name = self.filed.username.strip_prefix("system:node:")?;
        NODES.iter().find(|node| self.is_own_node() && node.0 == name)
    }

    fn ip_addresses(&mut self) {
        const FIELD: &str = "ipAddresses";
        let (rules, addresses) = (&self.rules[FIELD], &self.certificate.ip_addresses);
        if rules.is_null() {
            return self.must(FIELD, !self.is_policy || addresses.is_empty());
        }
        if rules["from"] == "Node" {
            self.must("a node's own name", self.may_be_from_node(addresses));
        }
        let any = |list: &str, address: IpAddr| texts(&rules[list]).any(|range| is_in(address, range));
        for address in addresses {
            if !rules["denied"].is_null() {
                self.hold("ipAddresses.denied", !any("denied", *address));
            }
            if rules["from"] == "Node" {
                let carries = self.own_node().is_some_and(|node| node.1 == address.to_string());
                self.hold("ipAddresses.from", carries);
            } else if self.is_policy || !rules["allowed"].is_null() {
                self.hold("ipAddresses.allowed", any("allowed", *address) || any("required", *address));
            }
        }
        for range in texts(&rules["required"]) {
            self.hold("ipAddresses.required", addresses.iter().any(|address| is_in(*address, range)));
        }
        self.count(FIELD, rules, addresses.len());
    }

    fn validations(&mut self) {
        for validation in self.rules["validations"].as_array().into_iter().flatten() {
            let expression = EXPRESSIONS.iter().find(|(text, _)| validation["expression"] == *text);
            let (_, holds) = expression.unwrap();
            self.hold("validations", holds(self.certificate));
        }
    }
}
