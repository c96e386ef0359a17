//! `Node` objects (`v1`), of which only what a review needs is read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::bounded::{Bounded, First};
use crate::request::is_dns_name;

/// The most addresses of a Node that are read; what comes after them does not count.
pub const MAX_ADDRESSES: usize = 256;
/// The most bytes of addresses of a Node that are read; what comes after them does not count.
pub const MAX_ADDRESS_BYTES: usize = 8 * 1024;
/// The most labels of a Node that are read; one with more has [none that can be read](Node::labels).
pub const MAX_LABELS: usize = 256;
/// The most bytes of labels of a Node that are read, of keys and values; the same.
pub const MAX_LABEL_BYTES: usize = 16 * 1024;
/// The longest address, in bytes: that of a DNS name with a dot at the end.
const MAX_ADDRESS: usize = 254;

/// The most values that an address consists of.
const MAX_ADDRESS_VALUES: usize = 16;

/// A Node, as far as a review needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty offline.
    pub uid: String,
    /// `metadata.resourceVersion`; empty offline.
    pub resource_version: String,
    /// `metadata.creationTimestamp`, if there is one that can be read.
    pub created: Option<Timestamp>,
    /// `metadata.labels`; nothing where they are more than [`MAX_LABELS`] or [`MAX_LABEL_BYTES`], or not what labels can be, so
    /// that nobody hides one behind others.
    pub labels: Option<BTreeMap<String, String>>,
    /// `status.addresses` of the known types, in their order.
    pub addresses: Vec<NodeAddress>,
}

/// One of `status.addresses`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// Its `type`.
    pub kind: AddressType,
    /// Its `address`, as it is written.
    pub address: String,
}

/// The type of an address (`NodeAddressType` of `k8s.io/api/core/v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressType {
    /// What the machine calls itself.
    Hostname,
    /// An address within the cluster's network.
    InternalIP,
    /// An address that is reached from outside.
    ExternalIP,
    /// A DNS name within the cluster's network.
    InternalDNS,
    /// A DNS name that is known outside.
    ExternalDNS,
}

/// A name or an address in the one form in which it compares, as a SAN has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name, in lower case.
    Name(String),
    /// An IP address, never an IPv4-mapped one.
    Address(IpAddr),
}

impl AddressType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::Hostname, Self::InternalIP, Self::ExternalIP, Self::InternalDNS, Self::ExternalDNS];

    /// The type as Kubernetes writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::InternalIP => "InternalIP",
            Self::ExternalIP => "ExternalIP",
            Self::InternalDNS => "InternalDNS",
            Self::ExternalDNS => "ExternalDNS",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn is_ip(self) -> bool {
        matches!(self, Self::InternalIP | Self::ExternalIP)
    }
}

impl Host {
    /// The DNS name `name`, if it is one in its one form: ASCII, no dot at the end, no address, no wildcard.
    #[must_use]
    pub fn name(name: &str) -> Option<Self> {
        (is_dns_name(name.as_bytes()) && !name.contains('*')).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// The IP address that `text` writes plainly. An IPv4-mapped one has two readings, and is none.
    #[must_use]
    pub fn address(text: &str) -> Option<Self> {
        match text.parse().ok()? {
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
            address => Some(Self::Address(address)),
        }
    }

    /// What anybody may take `text` for, whatever type it stands beside: the API server calls the kubelet at whatever its
    /// Node has first, a resolver does without the last dot, an IPv4-mapped address is reached as the IPv4 one, and kubelets
    /// read addresses with zeros before their numbers (`ParseIPSloppy` of k8s.io/utils).
    fn loosely(text: &str) -> Option<Self> {
        let is_digit = |character: char| character.is_ascii_hexdigit();
        let mut plain = String::new();
        for (at, character) in text.char_indices() {
            let leads = character == '0' && !plain.ends_with(is_digit) && text[at + 1..].starts_with(is_digit);
            if !leads {
                plain.push(character);
            }
        }
        match plain.parse::<IpAddr>() {
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => Self::name(text.strip_suffix('.').unwrap_or(text)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl NodeAddress {
    /// What it stands for among SANs: the type decides. A name where an IP address belongs, or the other
    /// way round, stands for nothing.
    #[must_use]
    pub fn host(&self) -> Option<Host> {
        if self.kind.is_ip() { Host::address(&self.address) } else { Host::name(&self.address) }
    }
}

impl Node {
    /// Every name and address that others may reach the node at, so that it is nobody else's: what it
    /// [carries](Self::hosts), and what could be read so, such as an IP address of type `Hostname` (as
    /// `--hostname-override` leaves it), an IPv4-mapped one, or a name with a dot at the end.
    pub fn claims(&self) -> impl Iterator<Item = Host> + '_ {
        let addresses = self.addresses.iter().map(|address| &address.address);
        std::iter::once(&self.name).chain(addresses).filter_map(|text| Host::loosely(text))
    }

    /// Every name and address that the Node carries, its own name among them.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + '_ {
        Host::name(&self.name).into_iter().chain(self.addresses.iter().filter_map(NodeAddress::host))
    }

    /// Whether the Node carries `host`.
    #[must_use]
    pub fn carries(&self, host: &Host) -> bool {
        self.hosts().any(|own| own == *host)
    }
}

/// The object as it comes, every part of any type. What is not named here is passed over unread.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    metadata: Option<RawMetadata>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawMetadata {
    name: Bounded<1>,
    uid: Bounded<1>,
    resource_version: Bounded<1>,
    creation_timestamp: Bounded<1>,
    labels: Bounded<{ MAX_LABELS + 1 }>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    addresses: First<MAX_ADDRESSES, MAX_ADDRESS_VALUES>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self::from)
    }
}

impl From<Raw> for Node {
    fn from(raw: Raw) -> Self {
        let metadata = raw.metadata.unwrap_or_default();
        Self {
            name: metadata.name.text(),
            uid: metadata.uid.text(),
            resource_version: metadata.resource_version.text(),
            created: metadata.creation_timestamp.text().parse().ok(),
            labels: metadata.labels.kept().and_then(labels),
            addresses: addresses(raw.status.unwrap_or_default().addresses.0),
        }
    }
}

fn labels(value: Value) -> Option<BTreeMap<String, String>> {
    match value {
        Value::Null => Some(BTreeMap::new()),
        Value::Object(labels) if labels.len() <= MAX_LABELS => {
            let mut bytes = 0;
            let text = |(key, value): (String, Value)| {
                let Value::String(value) = value else { return None };
                bytes += key.len() + value.len();
                (bytes <= MAX_LABEL_BYTES).then_some((key, value))
            };
            labels.into_iter().map(text).collect()
        }
        _ => None,
    }
}

fn addresses(first: Vec<Bounded<MAX_ADDRESS_VALUES>>) -> Vec<NodeAddress> {
    let address = |value: Value| {
        let kind = AddressType::from_name(value["type"].as_str()?)?;
        let address = value["address"].as_str().filter(|address| (1..=MAX_ADDRESS).contains(&address.len()))?;
        Some(NodeAddress { kind, address: address.to_owned() })
    };
    let mut bytes = 0;
    let fits = |address: &NodeAddress| {
        bytes += address.address.len();
        bytes <= MAX_ADDRESS_BYTES
    };
    first.into_iter().filter_map(Bounded::kept).filter_map(address).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AddressType, Host, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_LABEL_BYTES, MAX_LABELS, Node, NodeAddress};

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    fn host(kind: AddressType, address: &str) -> Option<String> {
        NodeAddress { kind, address: address.to_owned() }.host().map(|host| host.to_string())
    }

    #[test]
    fn an_odd_node_is_read_as_far_as_it_goes() {
        for value in [
            json!({}),
            json!({ "metadata": null, "status": null }),
            json!({ "metadata": { "name": 7, "creationTimestamp": [], "managedFields": [{ "time": "9999-12-31T23:59:59Z" }] } }),
            json!({ "status": { "addresses": { "type": "Hostname" }, "images": 1 } }),
            json!({ "status": { "addresses": [1, {}, { "type": "Hostname" }, { "type": "Other", "address": "a" }] } }),
            json!({ "status": { "addresses": [{ "type": "InternalIP", "address": ["10.0.0.1"] }, { "type": "InternalIP", "address": "" }] } }),
        ] {
            let read = node(value);
            assert_eq!((read.hosts().count(), read.created), (0, None), "{read:?}");
        }
        let half = node(json!({
            "metadata": { "name": "worker-1", "labels": { "a": 1 } },
            "status": { "addresses": [null, { "type": "InternalIP", "address": "10.0.0.1", "more": {} }] },
        }));
        assert_eq!(half.labels, None);
        assert_eq!(half.hosts().map(|host| host.to_string()).collect::<Vec<_>>(), ["worker-1", "10.0.0.1"]);
    }

    #[test]
    fn too_many_labels_are_none_that_can_be_read_so_that_nobody_hides_one_behind_others() {
        let labels = |count: usize| {
            let labels: serde_json::Map<String, Value> =
                (0..count).map(|index| (format!("kubelet.kubernetes.io/{index}"), json!(""))).collect();
            node(json!({ "metadata": { "labels": labels } })).labels.map(|labels| labels.len())
        };
        assert_eq!(labels(MAX_LABELS), Some(MAX_LABELS));
        assert_eq!(labels(MAX_LABELS + 1), None);
        let long = json!({ "metadata": { "labels": { "a": "x".repeat(MAX_LABEL_BYTES) } } });
        assert_eq!(node(long).labels, None);
        assert_eq!(node(json!({})).labels.map(|labels| labels.len()), Some(0));
    }

    #[test]
    fn so_many_bytes_of_addresses_are_read() {
        let names = |length: usize| {
            let address = |index: usize| json!({ "type": "Hostname", "address": format!("{index:0length$}") });
            let addresses: Vec<Value> = (0..1000).map(address).collect();
            node(json!({ "status": { "addresses": addresses } })).addresses.len()
        };
        assert_eq!((names(10), names(200)), (MAX_ADDRESSES, MAX_ADDRESS_BYTES / 200));
    }

    #[test]
    fn the_type_of_an_address_decides_what_it_stands_for() {
        use AddressType::{ExternalDNS, ExternalIP, Hostname, InternalDNS, InternalIP};
        for kind in [Hostname, InternalDNS, ExternalDNS] {
            assert_eq!(host(kind, "Worker-1.Example.COM").as_deref(), Some("worker-1.example.com"));
            for text in
                ["10.0.0.1", "2001:db8::1", "worker-1.", "*.example.com", "w\u{f6}rker", "a b", "1", "0x7f", " a"]
            {
                assert_eq!(host(kind, text), None, "{kind:?} {text}");
            }
        }
        for kind in [InternalIP, ExternalIP] {
            assert_eq!(host(kind, "2001:DB8:0::0:1").as_deref(), Some("2001:db8::1"));
            for text in ["worker-1", "::ffff:10.0.0.1", "010.0.0.1", "10.1", "fe80::1%eth0", "10.0.0.1/8", " 10.0.0.1"]
            {
                assert_eq!(host(kind, text), None, "{kind:?} {text}");
            }
        }
        // A Node may be called like an address; no SAN is.
        assert_eq!(Host::name("10.0.0.5"), None);
    }

    #[test]
    fn what_could_be_read_as_the_nodes_is_claimed_whatever_its_type() {
        let addresses = [
            ("Hostname", "10.0.0.1"),
            ("InternalIP", "::ffff:10.0.0.2"),
            ("InternalIP", "w.example.com"),
            ("ExternalDNS", "x.Example.com."),
            ("InternalDNS", "2001:DB8::1"),
            ("Hostname", "*.example.com"),
            ("Hostname", "010.00.0.003"),
            ("InternalIP", "02001:0db8::00001"),
            ("InternalIP", "10.0.0.1.4"),
        ];
        let addresses: Vec<Value> =
            addresses.iter().map(|(kind, address)| json!({ "type": kind, "address": address })).collect();
        let node = node(json!({ "metadata": { "name": "10.0.0.5" }, "status": { "addresses": addresses } }));
        assert_eq!(node.hosts().count(), 0);
        let claims: Vec<String> = node.claims().map(|host| host.to_string()).collect();
        let names = ["w.example.com", "x.example.com"];
        assert_eq!(claims[..3], ["10.0.0.5", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(claims[3..5], names);
        assert_eq!(claims[5..], ["2001:db8::1", "10.0.0.3", "2001:db8::1"]);
    }
}
