use super::{Deserialize, JsonSchema, KubeSchema, Serialize};

/// Rules of a policy for `spec.expirationSeconds`, the lifetime that a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.max)").message("state expirationSeconds.max, the longest lifetime in seconds that may be approved, for example 2592000 (30 days): nothing revokes a client certificate before it expires"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("expirationSeconds.min is above expirationSeconds.max, so no request could satisfy it: lower min or raise max")
)]
pub struct Expiration {
    /// The shortest lifetime in seconds; the API server itself asks for 600.
    #[schemars(range(min = 600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// The longest lifetime in seconds. A policy must state it.
    #[schemars(range(min = 600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
    /// What a request without `expirationSeconds` means, which gets the signer's own maximum.
    #[serde(default)]
    pub when_unset: WhenUnset,
}

/// Rules of a guardrail for `spec.expirationSeconds`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.whenUnset)").message("state expirationSeconds.whenUnset: SignerMaximum judges a request without expirationSeconds by the longest that its signer would give, Deny refuses it, Allow lets it through"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("expirationSeconds.min is above expirationSeconds.max, so no request could satisfy it: lower min or raise max")
)]
pub struct ExpirationLimits {
    /// The shortest lifetime in seconds; the API server itself asks for 600.
    #[schemars(range(min = 600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i32>,
    /// The longest lifetime in seconds.
    #[schemars(range(min = 600))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i32>,
    /// What a request without `expirationSeconds` means. A guardrail must state it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_unset: Option<WhenUnset>,
}

/// What a request without `expirationSeconds` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnset {
    /// It violates.
    #[default]
    Deny,
    /// It satisfies, whatever lifetime the signer will give.
    Allow,
    /// It counts as the longest lifetime that the signer gives: as `--signer-max-seconds` says, one year for
    /// `kubernetes.io/*` where that says nothing (so state it where kube-controller-manager has a longer
    /// `--cluster-signing-duration`), and a violation for others.
    SignerMaximum,
}
