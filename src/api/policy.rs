use kube::CustomResource;

use super::{
    Deserialize, DnsNames, Expiration, IpAddresses, Keys, KubeSchema, Match, Mode, NodeRules, OnViolation, Serialize,
    Status, SubjectRules, Usages, Validation, Values,
};

/// A `CSRPolicy` permits: a request that it matches and that satisfies it may be approved.
/// What it does not name, an approved request may not contain.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "countersign.dev",
    version = "v1alpha1",
    kind = "CSRPolicy",
    plural = "csrpolicies",
    singular = "csrpolicy",
    shortname = "csrp",
    category = "countersign",
    status = "Status",
    derive = "PartialEq",
    derive = "Default",
    doc = "A CSRPolicy permits: a CertificateSigningRequest that it matches and that satisfies it may be approved. What it does not name, an approved request may not contain. Of several policies any one suffices; every matching CSRGuardrail must hold besides.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Signers", type_ = "string", json_path = ".spec.match.signerNames"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Hazards", type_ = "string", json_path = ".status.hazards[*].code"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.match)").message("state match: the signerNames and requestors that the policy speaks about"),
    validation = Rule::new("!has(self.match) || has(self.match.signerNames)").message("state match.signerNames, for example [kubernetes.io/kube-apiserver-client]: a policy permits for the signers that it names only"),
    validation = Rule::new("!has(self.match) || has(self.match.requestors)").message("state match.requestors, for example [{groups: [platform-onboarding]}]: a policy permits for the requestors that it names only"),
    validation = Rule::new("has(self.allow)").message("state allow: what an approved request may contain, at least usages and expirationSeconds")
)]
pub struct CSRPolicySpec {
    /// Whether the policy decides (`Enforce`) or only reports (`Audit`).
    #[serde(default)]
    pub mode: Mode,
    /// What happens to a request that matches and does not satisfy the policy, unless another
    /// policy approves it.
    #[serde(default)]
    pub on_violation: OnViolation,
    /// Which requests the policy speaks about; `signerNames` and `requestors` must be stated.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<Match>,
    /// What an approved request may contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
}

/// What an approved request may contain; nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.usages)").message("state allow.usages, for example {allowed: [client auth, digital signature, key encipherment], required: [client auth]}"),
    validation = Rule::new("has(self.expirationSeconds)").message("state allow.expirationSeconds, for example {max: 2592000} for 30 days: nothing revokes a client certificate before it expires"),
    validation = Rule::new("!has(self.subject) || !has(self.subject.commonName) || has(self.subject.commonName.allowed) || has(self.subject.commonName.from)").message("allow.subject.commonName permits nothing: state allowed or from; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.subject) || !has(self.subject.organizations) || has(self.subject.organizations.allowed) || has(self.subject.organizations.required) || has(self.subject.organizations.from)").message("allow.subject.organizations permits nothing: state allowed, required or from; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.subject) || !has(self.subject.organizationalUnits) || has(self.subject.organizationalUnits.allowed) || has(self.subject.organizationalUnits.required)").message("allow.subject.organizationalUnits permits nothing: state allowed or required; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.usages) || has(self.usages.allowed) || has(self.usages.required)").message("allow.usages permits nothing: state allowed or required; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.dnsNames) || has(self.dnsNames.allowed) || has(self.dnsNames.required) || has(self.dnsNames.from)").message("allow.dnsNames permits nothing: state allowed, required or from; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.ipAddresses) || has(self.ipAddresses.allowed) || has(self.ipAddresses.required) || has(self.ipAddresses.from)").message("allow.ipAddresses permits nothing: state allowed, required or from; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.uris) || has(self.uris.allowed) || has(self.uris.required)").message("allow.uris permits nothing: state allowed or required; in a policy, what is not allowed is refused anyway"),
    validation = Rule::new("!has(self.emailAddresses) || has(self.emailAddresses.allowed) || has(self.emailAddresses.required)").message("allow.emailAddresses permits nothing: state allowed or required; in a policy, what is not allowed is refused anyway")
)]
pub struct Allow {
    /// The subject. Unstated: an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectRules>,
    /// `spec.usages`. Must be stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usages: Option<Usages>,
    /// The lifetime asked for in seconds. Must be stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<Expiration>,
    /// The public key. Unstated: any key above the floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// DNS names among the SANs. Unstated: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_names: Option<DnsNames>,
    /// IP addresses among the SANs. Unstated: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_addresses: Option<IpAddresses>,
    /// URIs among the SANs; scheme and host compare in lower case. Unstated: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uris: Option<Values>,
    /// Email addresses among the SANs; the domain compares in lower case. Unstated: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_addresses: Option<Values>,
    /// The Node of the node whose identity is asked for. Unstated: whatever it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRules>,
    /// What else must be true of an approved request, in CEL; all of them.
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("validations is empty: add one, for example - {name: short-name, expression: \"csr.subject.commonName.size() <= 32\"}, or remove validations")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validations: Option<Vec<Validation>>,
}
