use kube::CustomResource;

use super::{
    Deserialize, DnsNames, ExpirationLimits, IpAddresses, Keys, KubeSchema, Match, Mode, NodeRules, OnViolation,
    Serialize, Status, SubjectRules, Usages, Validation, Values,
};

/// A `CSRGuardrail` limits: every request that it matches must satisfy it, whatever any policy
/// says. It checks what it states and nothing else, and never approves.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "CSRGuardrail",
    plural = "csrguardrails",
    singular = "csrguardrail",
    shortname = "csrg",
    category = "countersign",
    status = "Status",
    derive = "PartialEq",
    derive = "Default",
    doc = "A CSRGuardrail limits: every CertificateSigningRequest that it matches must satisfy it, whatever any CSRPolicy says. It checks what it states and nothing else, and never approves. Of several guardrails all must hold.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Signers", type_ = "string", json_path = ".spec.match.signerNames"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Hazards", type_ = "string", json_path = ".status.hazards[*].code"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.match)").message("state match; match: {} is every managed signer and every requestor"),
    validation = Rule::new("has(self.limits)").message("state limits: what every matching request must satisfy")
)]
pub struct CSRGuardrailSpec {
    /// Whether the guardrail decides (`Enforce`) or only reports (`Audit`).
    #[serde(default)]
    pub mode: Mode,
    /// What happens to a request that matches and does not satisfy the guardrail.
    #[serde(default)]
    pub on_violation: OnViolation,
    /// Which requests the guardrail speaks about; `{}` is every managed signer and every requestor.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,
    /// What every matching request must satisfy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What every matching request must satisfy; a part that is not stated is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.signerNames) || has(self.subject) || has(self.usages) || has(self.expirationSeconds) || has(self.keys) || has(self.dnsNames) || has(self.ipAddresses) || has(self.uris) || has(self.emailAddresses) || has(self.node) || has(self.validations)").message("limits is empty: state at least one limit, for example expirationSeconds: {max: 31536000, whenUnset: SignerMaximum}"))]
pub struct Limits {
    /// The signers that there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer_names: Option<SignerLimits>,
    /// The subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectRules>,
    /// `spec.usages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usages: Option<Usages>,
    /// The lifetime asked for in seconds; `whenUnset` must be stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<ExpirationLimits>,
    /// The public key; `rsa` speaks of RSA keys only, `ecdsa` of ECDSA keys only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// DNS names among the SANs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_names: Option<DnsNames>,
    /// IP addresses among the SANs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addresses: Option<IpAddresses>,
    /// URIs among the SANs; scheme and host compare in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uris: Option<Values>,
    /// Email addresses among the SANs; the domain compares in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_addresses: Option<Values>,
    /// The Node of the node whose identity is asked for, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRules>,
    /// What else must be true of every request that matches, in CEL; all of them.
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("validations is empty: add one, for example - {name: short-name, expression: \"csr.subject.commonName.size() <= 32\"}, or remove validations")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validations: Option<Vec<Validation>>,
}

/// The signers that there may be, each by name or as every signer of a domain (`example.com/*`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied)").message("limits.signerNames is empty: state allowed or denied, or remove signerNames"),
    validation = Rule::new("!has(self.allowed) || !has(self.denied) || !self.allowed.exists(s, s in self.denied)").message("the same signer is in allowed and in denied, and denied wins: remove it from one of them")
)]
pub struct SignerLimits {
    /// Signers of which the request's must be one.
    #[schemars(length(max = 32), inner(length(min = 1, max = 571)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("limits.signerNames.allowed is empty: name at least one signer, or remove allowed"),
        validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+/([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$'))").message("a signer name is DOMAIN/NAME, in lower case, or DOMAIN/* for every signer of a domain; write, for example, kubernetes.io/kube-apiserver-client or example.com/*")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Signers of which the request's must be none.
    #[schemars(length(max = 32), inner(length(min = 1, max = 571)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("limits.signerNames.denied is empty: name at least one signer, or remove denied"),
        validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+/([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$'))").message("a signer name is DOMAIN/NAME, in lower case, or DOMAIN/* for every signer of a domain; write, for example, kubernetes.io/kube-apiserver-client or example.com/*")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
}
