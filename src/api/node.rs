use super::{Deserialize, JsonSchema, KubeSchema, Serialize};

/// Rules for the Node of the node whose identity a request asks for: the requestor's own, or for a
/// bootstrap token the one that the CN names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.existence) || has(self.maxAgeSeconds) || has(self.maxPerHour)").message("node is empty: state existence, maxAgeSeconds or maxPerHour, or remove node"),
    validation = Rule::new("!has(self.existence) || self.existence != 'Absent' || !has(self.maxAgeSeconds)").message("a Node that must be absent has no age: remove existence or maxAgeSeconds")
)]
pub struct NodeRules {
    /// Whether the Node must be there. Unstated: either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existence: Option<Existence>,
    /// How long before the request was filed the Node may have been created, in seconds, where there is one.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<i32>,
    /// How many certificates may be approved for the node within an hour, under the same signer and whoever
    /// approves them. A request beyond that is left pending until the hour of an earlier one is over.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_hour: Option<u32>,
}

/// Whether a Node must be there. `Absent`: it must not be there yet, so that a bootstrap token does not obtain
/// the identity of a living node. `Present`: it must be there, so that nobody renews the identity of a node that
/// was removed, unless somebody creates its Node again; the node's own credentials may. The request is left pending
/// until it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Existence {
    /// It must not be there.
    Absent,
    /// It must be there.
    Present,
}
