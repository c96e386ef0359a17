//! What a suite says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::api::API_VERSION;
use crate::cli::options::too_short;
use crate::node::{AddressType, Node, NodeAddress};
use crate::request::Envelope;

/// The kind of a suite.
pub(in crate::cli) const KIND: &str = "CSRPolicyTest";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Suite {
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata", default)]
    _metadata: Value,
    /// Files and directories, from where the suite is.
    pub(super) policies: Vec<PathBuf>,
    #[serde(default)]
    pub(super) managed_signers: Vec<String>,
    #[serde(default)]
    pub(super) reserved_prefixes: Vec<String>,
    #[serde(default)]
    pub(super) signer_max_seconds: BTreeMap<String, i64>,
    #[serde(default)]
    pub(super) require_guardrails: Vec<String>,
    #[serde(default, rename = "serviceCIDRs")]
    pub(super) service_cidrs: Vec<String>,
    /// What Nodes there are; unstated, they are not known.
    #[serde(default)]
    pub(super) nodes: Option<Vec<Given<InlineNode>>>,
    /// What was approved for nodes; unstated, it is not known.
    #[serde(default)]
    pub(super) approvals: Option<Vec<Approved>>,
    #[serde(default)]
    pub(super) requestors: BTreeMap<String, Requestor>,
    pub(super) tests: Vec<Case>,
}

impl Suite {
    /// Reads a suite; the error says where and what.
    pub(super) fn read(value: &Value) -> Result<Self, (String, String)> {
        let suite: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| (error.path().to_string(), error.into_inner().to_string()))?;
        if suite.api_version != API_VERSION {
            return Err(("apiVersion".to_owned(), format!("is not {API_VERSION}")));
        }
        if suite.tests.is_empty() {
            return Err(("tests".to_owned(), "has no tests".to_owned()));
        }
        let mut names = BTreeSet::new();
        for (index, case) in suite.tests.iter().enumerate() {
            if !names.insert(&case.name) {
                return Err((format!("tests[{index}].name"), format!("{} is there twice: keep one", case.name)));
            }
            let described = match &case.request {
                Given::Here(inline) => too_short(inline.expiration_seconds),
                Given::Name(_) => None,
            };
            for (field, why) in
                [("expirationSeconds", too_short(case.expiration_seconds)), ("request.expirationSeconds", described)]
            {
                if let Some(why) = why {
                    return Err((format!("tests[{index}].{field}"), format!("{}: {why}", case.name)));
                }
            }
            let expected = &case.expect;
            for (field, decision) in
                [("decision", Some(&expected.decision)), ("auditDecision", expected.audit_decision.as_ref())]
            {
                if let Some(decision) = decision.filter(|decision| !DECISIONS.contains(&decision.as_str())) {
                    let path = format!("tests[{index}].expect.{field}");
                    return Err((path, format!("{decision} is no decision: write {}", DECISIONS.join(", "))));
                }
            }
        }
        Ok(suite)
    }
}

const DECISIONS: [&str; 3] = ["Approve", "Deny", "NoOpinion"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    #[serde(default)]
    pub(super) requestor: Option<Given<Requestor>>,
    pub(super) request: Given<Inline>,
    /// When it was filed.
    #[serde(default)]
    pub(super) created: Option<Timestamp>,
    /// Instead of the suite's.
    #[serde(default)]
    pub(super) nodes: Option<Vec<Given<InlineNode>>>,
    /// Instead of the suite's.
    #[serde(default)]
    pub(super) approvals: Option<Vec<Approved>>,
    /// For a bare PEM request, what a manifest would say.
    #[serde(default)]
    pub(super) signer_name: Option<String>,
    #[serde(default)]
    pub(super) usages: Vec<String>,
    #[serde(default)]
    pub(super) expiration_seconds: Option<i32>,
    pub(super) expect: Expected,
}

impl Case {
    /// What the test itself says of a bare PEM request, each with whether it does.
    fn stated(&self) -> [(&'static str, bool); 3] {
        [
            ("signerName", self.signer_name.is_some()),
            ("usages", !self.usages.is_empty()),
            ("expirationSeconds", self.expiration_seconds.is_some()),
        ]
    }

    /// The first field by which the test completes a bare PEM request.
    pub(super) fn completes(&self) -> Option<&'static str> {
        self.stated().into_iter().find(|(_, stated)| *stated).map(|(field, _)| field)
    }

    /// The first field of which the test says something else than the request that it names.
    pub(super) fn contradicts(&self, envelope: &Envelope) -> Option<&'static str> {
        let same = [
            self.signer_name.as_ref() == Some(&envelope.signer_name),
            self.usages == envelope.usages,
            self.expiration_seconds == envelope.expiration_seconds,
        ];
        let other = self.stated().into_iter().zip(same).find(|((_, stated), same)| *stated && !same);
        other.map(|((field, _), _)| field)
    }
}

/// The name of something that stands elsewhere, such as the path of a file, or the thing itself.
#[derive(Debug)]
pub(super) enum Given<T> {
    Name(String),
    Here(Box<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or an object with fields")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Given::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(|thing| Given::Here(Box::new(thing)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Requestor {
    pub(super) username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl Requestor {
    /// As the API server would have filled it in.
    pub(super) fn put_into(&self, envelope: &mut Envelope) {
        envelope.username.clone_from(&self.username);
        envelope.user_uid.clone_from(&self.uid);
        envelope.groups.clone_from(&self.groups);
        envelope.extra.clone_from(&self.extra);
    }
}

/// A certificate that was approved for a node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Approved {
    pub(super) node: String,
    pub(super) signer_name: String,
    /// When; unstated, it counts whenever the request was filed.
    #[serde(default)]
    pub(super) at: Option<Timestamp>,
}

/// A Node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InlineNode {
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    addresses: Vec<InlineAddress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InlineAddress {
    #[serde(rename = "type")]
    kind: InlineAddressType,
    address: String,
}

/// As Kubernetes writes it.
#[derive(Debug, Clone, Copy, Deserialize)]
enum InlineAddressType {
    Hostname,
    InternalIP,
    ExternalIP,
    InternalDNS,
    ExternalDNS,
}

impl InlineNode {
    pub(super) fn node(&self) -> Node {
        Node {
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: String::new(),
            created: self.created,
            labels: Some(self.labels.clone()),
            addresses: self.addresses.iter().map(InlineAddress::address).collect(),
        }
    }
}

impl InlineAddress {
    fn address(&self) -> NodeAddress {
        let kind = match self.kind {
            InlineAddressType::Hostname => AddressType::Hostname,
            InlineAddressType::InternalIP => AddressType::InternalIP,
            InlineAddressType::ExternalIP => AddressType::ExternalIP,
            InlineAddressType::InternalDNS => AddressType::InternalDNS,
            InlineAddressType::ExternalDNS => AddressType::ExternalDNS,
        };
        NodeAddress { kind, address: self.address.clone() }
    }
}

/// What a request is made from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inline {
    pub(super) signer_name: String,
    #[serde(default)]
    pub(super) usages: Vec<String>,
    #[serde(default)]
    pub(super) expiration_seconds: Option<i32>,
    #[serde(default)]
    pub(super) subject: Subject,
    #[serde(default)]
    pub(super) dns_names: Vec<String>,
    #[serde(default)]
    pub(super) ip_addresses: Vec<String>,
    #[serde(default)]
    pub(super) uris: Vec<String>,
    #[serde(default)]
    pub(super) email_addresses: Vec<String>,
    #[serde(default)]
    pub(super) key: Key,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Subject {
    #[serde(default)]
    pub(super) common_name: Option<String>,
    #[serde(default)]
    pub(super) organizations: Vec<String>,
    #[serde(default)]
    pub(super) organizational_units: Vec<String>,
}

/// The key that a request is made with; for RSA give a request as a file.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Key {
    #[default]
    P256,
    P384,
    Ed25519,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) decision: String,
    #[serde(default)]
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) reason_code: Option<String>,
    #[serde(default)]
    pub(super) violations: Option<Vec<String>>,
    #[serde(default)]
    pub(super) audit_decision: Option<String>,
}
