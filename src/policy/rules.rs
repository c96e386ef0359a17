//! What a compiled object checks: `allow` of a policy, `limits` of a guardrail.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Expression, Pattern, SignerPattern, WidePattern};
use crate::api::{Existence, WhenUnset};
use crate::request::{Curve, Usage};

/// The checks of one object. In a policy, a part that is not there permits nothing of its kind
/// (`keys` excepted); in a guardrail, it is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The signers (guardrails only).
    pub signers: Option<SignerRules>,
    /// The CN.
    pub common_name: Option<CommonNameRules>,
    /// The O.
    pub organizations: Option<ListRules>,
    /// The OU.
    pub organizational_units: Option<ListRules>,
    /// `spec.usages`.
    pub usages: Option<UsageRules>,
    /// `spec.expirationSeconds`.
    pub expiration: Option<ExpirationRules>,
    /// The public key.
    pub keys: Option<KeyRules>,
    /// DNS names.
    pub dns_names: Option<DnsRules>,
    /// IP addresses.
    pub ip_addresses: Option<IpRules>,
    /// URIs.
    pub uris: Option<ListRules>,
    /// Email addresses.
    pub email_addresses: Option<ListRules>,
    /// The Node of the node whose identity is asked for.
    pub node: Option<NodeRules>,
    /// What else must be true.
    pub validations: Vec<ValidationRule>,
}

impl Rules {
    /// Whether a check counts what was approved lately.
    pub(super) fn count_approvals(&self) -> bool {
        self.node.is_some_and(|node| node.max_per_hour.is_some())
    }

    /// Whether a check needs Nodes.
    pub(super) fn need_nodes(&self) -> bool {
        let sources = [
            self.dns_names.as_ref().and_then(|names| names.list.from),
            self.ip_addresses.as_ref().and_then(|addresses| addresses.from),
        ];
        self.node.is_some_and(NodeRules::need_node)
            || sources.contains(&Some(Source::Node))
            || self.validations.iter().any(|rule| rule.expression.reads_node())
    }
}

/// An expression that must be true.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ValidationRule {
    /// The expression.
    pub expression: Expression,
    /// What a requestor reads where it is not.
    pub message: Option<String>,
}

/// Signers that there may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SignerRules {
    /// If stated, the signer must be one of these.
    pub allowed: Option<Vec<SignerPattern>>,
    /// The signer must be none of these.
    pub denied: Vec<SignerPattern>,
}

/// Rules for the CN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CommonNameRules {
    /// If stated, the CN must match one of these.
    pub allowed: Option<Vec<Pattern>>,
    /// The CN must match none of these.
    pub denied: Vec<WidePattern>,
    /// The CN must be the requestor's user name.
    pub from_requestor: bool,
    /// There must be a CN.
    pub needed: bool,
}

/// Rules for a list of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ListRules {
    /// If stated, every value must match one of these (or of `required`).
    pub allowed: Option<Vec<Pattern>>,
    /// No value may match any of these.
    pub denied: Vec<WidePattern>,
    /// Each of these must be matched by some value.
    pub required: Vec<Pattern>,
    /// How many values there may be.
    pub count: Count,
    /// If stated, each value must be one that this has.
    pub from: Option<Source>,
}

/// What a value must be one of, besides the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The groups of the requestor.
    Requestor,
    /// The names and addresses that the requesting node carries.
    Node,
}

/// Rules for DNS names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DnsRules {
    /// As for every list.
    pub list: ListRules,
    /// Whether wildcard names may be there; a guardrail need not say.
    pub wildcards: Option<bool>,
}

/// Rules for IP addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct IpRules {
    /// If stated, every address must be in one of these (or of `required`).
    pub allowed: Option<Vec<IpNet>>,
    /// No address may be in any of these.
    pub denied: Vec<IpNet>,
    /// Some address must be in each of these.
    pub required: Vec<IpNet>,
    /// How many addresses there may be.
    pub count: Count,
    /// If stated, each address must be one that this has.
    pub from: Option<Source>,
}

/// How many values there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// The least number.
    pub min: Option<u32>,
    /// The greatest number.
    pub max: Option<u32>,
}

/// Rules for usages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UsageRules {
    /// If stated, every usage must be one of these (or of `required`).
    pub allowed: Option<BTreeSet<Usage>>,
    /// Usages that must not be there, with each that passes for one of them.
    pub denied: BTreeSet<Usage>,
    /// Usages that must be there.
    pub required: BTreeSet<Usage>,
}

impl UsageRules {
    /// The extended key usages among `allowed` and `required`.
    pub(crate) fn extended(&self) -> impl Iterator<Item = Usage> {
        self.named().into_iter().filter(|usage| usage.is_extended())
    }

    /// The key usages among `allowed` and `required`.
    pub(crate) fn key_usages(&self) -> impl Iterator<Item = Usage> {
        self.named().into_iter().filter(|usage| !usage.is_extended())
    }

    /// What is in `allowed` or `required`.
    fn named(&self) -> BTreeSet<Usage> {
        self.allowed.iter().flatten().chain(&self.required).copied().collect()
    }

    /// The extended key usages among `denied`.
    pub(crate) fn extended_denied(&self) -> impl Iterator<Item = Usage> {
        self.denied.iter().copied().filter(|usage| usage.is_extended())
    }

    /// The key usages among `denied`.
    pub(crate) fn key_usages_denied(&self) -> impl Iterator<Item = Usage> {
        self.denied.iter().copied().filter(|usage| !usage.is_extended())
    }
}

/// Rules for the lifetime asked for, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExpirationRules {
    /// The shortest.
    pub min: Option<i32>,
    /// The longest.
    pub max: Option<i32>,
    /// What no lifetime means.
    pub when_unset: WhenUnset,
}

/// Rules for the Node of the node whose identity is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NodeRules {
    /// Whether it must be there.
    pub existence: Option<Existence>,
    /// How long before the request was filed it may have been created, in seconds.
    pub max_age_seconds: Option<i32>,
    /// How many certificates may be approved for it within an hour, under one signer.
    pub max_per_hour: Option<u32>,
}

impl NodeRules {
    /// Whether they need the Node itself.
    #[must_use]
    pub const fn need_node(self) -> bool {
        self.existence.is_some() || self.max_age_seconds.is_some()
    }
}

/// Rules for the public key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyRules {
    /// If stated, the algorithm must be one of these, as [`crate::request::Key::algorithm`] names them.
    pub algorithms: Option<Vec<&'static str>>,
    /// The least length of an RSA modulus in bits.
    pub rsa_min_bits: Option<u32>,
    /// The greatest length of an RSA modulus in bits.
    pub rsa_max_bits: Option<u32>,
    /// If stated, the curve of an ECDSA key must be one of these.
    pub curves: Option<Vec<Curve>>,
}
