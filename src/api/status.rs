use super::{Deserialize, JsonSchema, KubeSchema, Serialize};

/// What Countersign found out about an object; written by the leading replica only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The `metadata.generation` that the rest speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether the object compiled, and if not, where and why.
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What the object lets through that it perhaps should not.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hazards: Vec<Hazard>,
}

/// A condition, shaped as `k8s.io/apimachinery/pkg/apis/meta/v1.Condition`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 16))]
    pub status: String,
    /// One word for why: `Compiled`, `DoesNotCompile`, `UnknownField`.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// A sentence for people, with the place of each problem.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// When `status` last changed, RFC 3339.
    #[schemars(length(max = 64))]
    pub last_transition_time: String,
    /// The `metadata.generation` that the condition speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Something that an object lets through, found without any request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hazard {
    /// What it is, stable between versions.
    #[schemars(length(max = 64))]
    pub code: String,
    /// The field that brings it about.
    #[schemars(length(max = 512))]
    pub path: String,
    /// Why it matters and what to write instead.
    #[schemars(length(max = 1024))]
    pub message: String,
}
