//! Requests, at random: some that may satisfy a policy, and some that just miss it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use ipnet::IpNet;
use serde_json::Value;

use super::oracle::Filed;
use super::world::{
    CLIENT, CLIENT_USAGES, KUBELET_CLIENT, LABELS, LIFETIMES, NODES, OTHER_USAGES, REQUESTORS, SERVING_USAGES, SIGNERS,
    WORDS, World, one_in, some,
};
use crate::differential::armour;
use crate::differential::der::{self, Node};
use crate::differential::go::Go;
use crate::differential::hostile::{algorithm, attribute, extension};
use crate::differential::keys::Key;
use crate::differential::names::benign_value;

/// A request before it is written.
#[derive(Debug, Clone)]
pub struct Ask {
    pub signer: &'static str,
    /// Which of [`REQUESTORS`].
    pub requestor: usize,
    pub usages: Vec<String>,
    pub expiration_seconds: Option<i32>,
    /// Which of the keys.
    pub key: usize,
    /// Each attribute: its type, and its value.
    subject: Vec<(&'static str, String)>,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
    uris: Vec<String>,
    email_addresses: Vec<String>,
}

const CN: &str = "2.5.4.3";
const O: &str = "2.5.4.10";
const OU: &str = "2.5.4.11";

/// Something that `pattern` covers, or nearly.
fn instance(pattern: &str, separator: &str, words: &[&str], rng: &mut Rng) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find('*') {
        text.push_str(&rest[..at]);
        text.push_str(rng.choice(words).unwrap());
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            if rng.bool() {
                text.push_str(separator);
                text.push_str(rng.choice(words).unwrap());
            }
        }
    }
    text + rest
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Values that may satisfy the rules of a list.
fn values<T>(rules: &Value, of: impl Fn(&str, &mut Rng) -> T, rng: &mut Rng) -> Vec<T> {
    let required = texts(&rules["required"]);
    let permitted = [required.clone(), texts(&rules["allowed"])].concat();
    let mut values: Vec<T> = required.iter().map(|pattern| of(pattern, rng)).collect();
    if !permitted.is_empty() {
        let least = rules["min"].as_u64().unwrap_or_default().saturating_sub(values.len() as u64);
        for _ in 0..least.max(rng.u64(..3)) {
            values.push(of(rng.choice(&permitted).unwrap(), rng));
        }
    }
    values.truncate(usize::try_from(rules["max"].as_u64().unwrap_or(4)).unwrap());
    values
}

fn address(range: &str, rng: &mut Rng) -> IpAddr {
    let range: IpNet = range.parse().unwrap_or_else(|_| IpNet::from(range.parse::<IpAddr>().unwrap()));
    match range {
        IpNet::V4(range) => (range.network() | Ipv4Addr::from(u32::from(range.hostmask()) & rng.u32(..))).into(),
        IpNet::V6(range) => (range.network() | Ipv6Addr::from(u128::from(range.hostmask()) & rng.u128(..))).into(),
    }
}

impl Ask {
    /// A request that may satisfy one of the policies; half of them are then changed.
    pub fn new(world: &World, keys: &[Key], rng: &mut Rng) -> Self {
        let policy = &rng.choice(&world.policies).unwrap()["spec"];
        let mut ask = Self::within(policy, keys, rng);
        if rng.bool() {
            let change = rng.choice(&CHANGES).unwrap();
            change(&mut ask, world, keys, rng);
        }
        ask
    }

    fn within(policy: &Value, keys: &[Key], rng: &mut Rng) -> Self {
        let signer = texts(&policy["match"]["signerNames"])[0];
        let signer = SIGNERS.into_iter().find(|known| *known == signer).unwrap_or(CLIENT);
        let requestor = match signer {
            CLIENT => rng.usize(..5),
            KUBELET_CLIENT => rng.usize(5..8),
            _ => rng.usize(5..7),
        };
        let allow = &policy["allow"];
        let subject = &allow["subject"];
        let own = REQUESTORS[requestor].username;
        let name = |pattern: &str, rng: &mut Rng| instance(pattern, ":", &WORDS, rng);

        let mut attributes = Vec::new();
        let common_name = &subject["commonName"];
        if common_name["absent"] != "Allow" || rng.bool() {
            let patterns = texts(&common_name["allowed"]);
            let of_a_node = signer != CLIENT && own.starts_with("system:node:");
            let text = match rng.choice(&patterns) {
                Some(pattern) if !of_a_node => instance(pattern, ":", &WORDS, rng),
                _ => own.to_owned(),
            };
            attributes.push((CN, text));
        }
        let organizations = &subject["organizations"];
        if organizations["from"] == "Requestor" {
            let groups = REQUESTORS[requestor].groups;
            attributes.extend(some(groups, 2, rng).into_iter().map(|group| (O, group.to_owned())));
        }
        attributes.extend(values(organizations, name, rng).into_iter().map(|text| (O, text)));
        if signer != CLIENT {
            attributes.dedup();
        }
        let units = &subject["organizationalUnits"];
        attributes.extend(values(units, name, rng).into_iter().map(|text| (OU, text)));
        rng.shuffle(&mut attributes);

        let mut usages = texts(&allow["usages"]["required"]);
        for usage in texts(&allow["usages"]["allowed"]) {
            let other = OTHER_USAGES.contains(&usage);
            let first = usages.is_empty()
                || [CLIENT_USAGES[0], SERVING_USAGES[0]].contains(&usage)
                || (signer != CLIENT && usages.len() < 2);
            if !usages.contains(&usage) && (first || one_in(if other { 6 } else { 2 }, rng)) {
                usages.push(usage);
            }
        }
        let mut ask = Self {
            signer,
            requestor,
            usages: usages.into_iter().map(str::to_owned).collect(),
            expiration_seconds: None,
            key: some_key(&allow["keys"], keys, rng),
            subject: attributes,
            dns_names: values(&allow["dnsNames"], |pattern, rng| instance(pattern, ".", &LABELS, rng), rng),
            ip_addresses: values(&allow["ipAddresses"], address, rng),
            uris: values(&allow["uris"], |pattern, rng| instance(pattern, "/", &LABELS, rng), rng),
            email_addresses: values(&allow["emailAddresses"], |pattern, rng| instance(pattern, "@", &LABELS, rng), rng),
        };
        ask.email_addresses
            .iter_mut()
            .filter(|text| !text.contains('@'))
            .for_each(|text| text.push_str("@example.com"));
        // Written in another way, and the same.
        for text in ask.uris.iter_mut().chain(&mut ask.dns_names) {
            if one_in(4, rng) {
                let end = text.find(':').unwrap_or(text.len());
                text[..end].make_ascii_uppercase();
            }
        }
        let rules = &allow["expirationSeconds"];
        if rules["whenUnset"] == "Deny" || !one_in(3, rng) {
            let fits = |seconds: &i32| {
                i64::from(*seconds) <= rules["max"].as_i64().unwrap()
                    && i64::from(*seconds) >= rules["min"].as_i64().unwrap_or_default()
            };
            let fitting: Vec<i32> = LIFETIMES.into_iter().filter(fits).collect();
            ask.expiration_seconds = rng.choice(fitting);
        }
        let node = NODES.iter().find(|(name, ..)| own.strip_prefix("system:node:") == Some(name));
        if let Some((name, address, host)) = node {
            if allow["dnsNames"]["from"] == "Node" {
                ask.dns_names = some(&[*name, *host], 2, rng).into_iter().map(str::to_owned).collect();
            }
            if allow["ipAddresses"]["from"] == "Node" {
                ask.ip_addresses = vec![address.parse().unwrap()];
            }
        }
        if allow["dnsNames"]["wildcards"] == "Allow" && rng.bool() {
            ask.dns_names.truncate(1);
            ask.dns_names.push("*.dev.example.com".to_owned());
        }
        ask
    }

    /// What the API server will know of it.
    pub fn filed(&self) -> Filed {
        let requestor = &REQUESTORS[self.requestor];
        Filed {
            signer: self.signer.to_owned(),
            username: requestor.username.to_owned(),
            groups: requestor.groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect(),
            expiration_seconds: self.expiration_seconds.map(i64::from),
        }
    }

    fn names(&self, kind: &str) -> usize {
        self.subject.iter().filter(|(known, _)| *known == kind).count()
    }

    /// Puts one value in the place of all of its type.
    fn replace(&mut self, kind: &'static str, value: &str) {
        self.subject.retain(|(known, _)| *known != kind);
        self.subject.push((kind, value.to_owned()));
    }

    /// The request in PEM, really signed.
    pub fn pem(&self, keys: &[Key], go: &mut Go, rng: &mut Rng) -> String {
        let key = &keys[self.key];
        let mut sets: Vec<Vec<Node>> = Vec::new();
        for (kind, text) in &self.subject {
            let pair = Node::sequence([Node::oid(kind), benign_value(text, rng)]);
            match sets.last_mut() {
                Some(set) if one_in(6, rng) => set.push(pair),
                _ => sets.push(vec![pair]),
            }
        }
        // The order of DER (X.690 section 11.6).
        for set in &mut sets {
            set.sort_by_key(Node::encode);
        }
        let texts =
            |tag: u8, texts: &[String]| texts.iter().map(|text| Node::leaf(tag, text.as_str())).collect::<Vec<_>>();
        let mut names = texts(0x81, &self.email_addresses);
        names.extend(texts(0x82, &self.dns_names));
        names.extend(texts(0x86, &self.uris));
        names.extend(self.ip_addresses.iter().map(|address| match address {
            IpAddr::V4(address) => Node::leaf(0x87, address.octets()),
            IpAddr::V6(address) => Node::leaf(0x87, address.octets()),
        }));
        rng.shuffle(&mut names);
        let mut extensions = Vec::new();
        if !names.is_empty() {
            extensions.push(extension("2.5.29.17", &Node::sequence(names)));
        }
        if self.usages.iter().any(|usage| usage == "digital signature") && rng.bool() {
            extensions.push(extension("2.5.29.15", &Node::leaf(der::BIT_STRING, [7, 0x80])));
        }
        if self.usages.iter().any(|usage| usage == "client auth") && rng.bool() {
            extensions.push(extension("2.5.29.37", &Node::sequence([Node::oid("1.3.6.1.5.5.7.3.2")])));
        }
        let attributes = if extensions.is_empty() {
            vec![]
        } else {
            vec![attribute("1.2.840.113549.1.9.14", [Node::sequence(extensions)])]
        };
        let version = Node::leaf(der::INTEGER, [0]);
        let subject = Node::sequence(sets.into_iter().map(Node::set).collect::<Vec<_>>());
        let info =
            Node::sequence([version, subject, Node::whole(key.info.clone()), Node::of(0xa0, attributes)]).encode();
        let (hash, salt) = match (key.is_rsa(), rng.u8(..8)) {
            (true, 0) => ("SHA256", Some(32)),
            (true, 1) => ("SHA384", Some(48)),
            (true, 2) => ("SHA384", None),
            (true, 3) => ("SHA512", None),
            (true, 4) => ("SHA512", Some(64)),
            _ => (key.hash(), None),
        };
        let signature = key.sign(go, hash, salt, &info);
        let parts = [Node::whole(info), algorithm(key, hash, salt), Node::bits(&signature)];
        String::from_utf8(armour::plain(&Node::sequence(parts).encode())).unwrap()
    }
}

/// A key that the rules may permit, often.
fn some_key(rules: &Value, keys: &[Key], rng: &mut Rng) -> usize {
    let permitted = texts(&rules["algorithms"]);
    let fits = |key: &Key| {
        let algorithm = if key.is_rsa() {
            "RSA"
        } else if key.name.contains("ed25519") {
            "Ed25519"
        } else {
            "ECDSA"
        };
        rules.is_null()
            || permitted.contains(&algorithm)
            || (permitted.is_empty() && !rules[algorithm.to_ascii_lowercase()].is_null())
    };
    let fit: Vec<usize> = (0..keys.len()).filter(|key| keys[*key].is_fit() && fits(&keys[*key])).collect();
    *rng.choice(&fit).unwrap()
}

type Change = fn(&mut Ask, &World, &[Key], &mut Rng);

/// What keeps a request from satisfying what it was made for, or may.
const CHANGES: [Change; 23] = [
    // The subject.
    |ask, _, _, rng| {
        let foreign =
            ["admins", "Admins", "\u{ff21}dmins", "system:nodes", "kubeadm:cluster-admins", "nobody:x", "root"];
        ask.subject.push((O, (*rng.choice(&foreign).unwrap()).to_owned()));
    },
    |ask, _, _, rng| {
        let masters = ["system:masters", "System:Masters", "\u{ff53}ystem:masters"];
        ask.replace(O, rng.choice(&masters).unwrap());
    },
    |ask, _, _, _| ask.replace(O, "system:masters"),
    |ask, _, _, _| ask.replace(CN, "system:masters"),
    // Reserved names alone, which a pattern has to spell out.
    |ask, _, _, rng| {
        let reserved = ["system:nodes", "kubeadm:cluster-admins", "system:admin", "system:serviceaccount:a:b"];
        ask.replace(rng.choice(&[O, CN]).unwrap(), rng.choice(&reserved).unwrap());
    },
    |ask, _, _, rng| {
        ask.subject.retain(|(kind, _)| *kind != CN);
        let foreign =
            ["system:admin", "kubeadm:x", "oidc:a:b", "Amy", "*", "dev: x", "DEV:ROOT", "admin", "System:node:a"];
        if !one_in(5, rng) {
            ask.subject.push((CN, (*rng.choice(&foreign).unwrap()).to_owned()));
        }
    },
    |ask, _, _, _| ask.subject.push((CN, "amy".to_owned())),
    |ask, _, _, rng| {
        ask.subject.push((OU, (*rng.choice(&["payments", "root", "system:x", "ROOT"]).unwrap()).to_owned()));
    },
    |ask, _, _, _| ask.subject.push(("2.5.4.6", "DE".to_owned())),
    |ask, _, _, _| {
        if ask.names(O) > 0 {
            ask.subject.retain(|(kind, _)| *kind != O);
        } else {
            ask.subject.extend((0..4).map(|_| (O, "developers".to_owned())));
        }
    },
    // The SANs.
    |ask, _, _, rng| {
        let foreign = [
            "evil.example.org",
            "VPN.dev.example.com",
            "*.dev.example.com",
            "*.example.com",
            "root.dev.example.com",
            "a.prod.example.com",
            "localhost",
        ];
        ask.dns_names.push((*rng.choice(&foreign).unwrap()).to_owned());
    },
    |ask, _, _, rng| {
        let foreign = ["10.1.2.3", "172.16.0.1", "192.168.7.200", "2001:db8:7::1", "fe80::1", "10.20.1.2", "127.0.0.1"];
        ask.ip_addresses.push(rng.choice(&foreign).unwrap().parse().unwrap());
    },
    |ask, _, _, rng| {
        let foreign = [
            "spiffe://example.com/ns/root/sa/web",
            "SPIFFE://Example.com/ns/web/sa/ROOT",
            "https://evil.example.org/",
            "https://example.com/Admin/x",
            "spiffe://example.com/ns/a/sa/b/c",
        ];
        ask.uris.push((*rng.choice(&foreign).unwrap()).to_owned());
    },
    |ask, _, _, rng| {
        let foreign = [
            "root@example.com",
            "Root@Example.com",
            "amy@prod.example.com",
            "amy@evil.example.org",
            "admin@a.example.com",
        ];
        ask.email_addresses.push((*rng.choice(&foreign).unwrap()).to_owned());
    },
    |ask, _, _, _| {
        ask.dns_names.clear();
        ask.ip_addresses.clear();
        ask.uris.clear();
        ask.email_addresses.clear();
    },
    |ask, _, _, _| {
        ask.dns_names = (0..5).map(|number| format!("web-{number}.example.com")).collect();
        ask.uris.extend((0..5).map(|number| format!("urn:team:{number}")));
        ask.email_addresses.extend((0..5).map(|number| format!("amy{number}@example.com")));
        ask.ip_addresses.extend((0..5).map(|number| IpAddr::from([10, 20, 1, number])));
    },
    // The rest.
    |ask, _, _, rng| {
        let more = ["content commitment", "server auth", "code signing", "client auth", "any", "cert sign"];
        let usage = *rng.choice(&more).unwrap();
        // The API server refuses one that stands twice.
        ask.usages.retain(|known| known != usage);
        ask.usages.push(usage.to_owned());
    },
    |ask, _, _, rng| {
        ask.usages.remove(rng.usize(..ask.usages.len()));
        if ask.usages.is_empty() {
            ask.usages.push("key encipherment".to_owned());
        }
    },
    |ask, _, _, rng| {
        ask.expiration_seconds = if one_in(3, rng) { None } else { rng.choice(&LIFETIMES).map(|seconds| seconds + 1) };
    },
    |ask, _, _, _| ask.expiration_seconds = Some(600),
    |ask, _, keys, rng| ask.key = rng.usize(..keys.len()),
    |ask, _, _, rng| ask.requestor = rng.usize(..REQUESTORS.len()),
    |ask, world, keys, rng| {
        // What one signer gives, asked of another.
        let other = rng.choice(&world.policies).unwrap();
        let other = Ask::within(&other["spec"], keys, rng);
        ask.signer = other.signer;
        ask.requestor = other.requestor;
    },
];
