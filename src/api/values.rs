//! The one shape of every list of values: `allowed`, `denied`, `required`, `min`, `max`, `from`.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Deserialize, JsonSchema, KubeSchema, Serialize};
use crate::request::Usage;

/// The subject of the certificate: who it speaks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.commonName) || has(self.organizations) || has(self.organizationalUnits)").message("subject is empty: state commonName, organizations or organizationalUnits, or remove subject"))]
pub struct SubjectRules {
    /// The CN, which Kubernetes reads as the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<CommonName>,
    /// Every O, which Kubernetes reads as the groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizations: Option<Organizations>,
    /// Every OU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_units: Option<Values>,
}

/// Rules for the CN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.from) || has(self.absent)").message("commonName is empty: state allowed, denied or from, or remove commonName"),
    validation = Rule::new("!has(self.allowed) || !has(self.denied) || !self.allowed.exists(s, s in self.denied)").message("the same name is in allowed and in denied, and denied wins: remove it from one of them")
)]
pub struct CommonName {
    /// Patterns of which the CN must match one; `*` stands for a run of characters without `:`, `**` for one with it.
    #[schemars(schema_with = "identity_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Patterns of which the CN must match none; also compared ignoring case and Unicode variants.
    #[schemars(schema_with = "patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// `Requestor`: the CN must be the requestor's own user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<RequestorSource>,
    /// Whether a request may come without a CN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
}

/// Rules for the O.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.required) || has(self.min) || has(self.max) || has(self.from)").message("organizations is empty: state allowed, denied, required, min, max or from, or remove organizations"),
    validation = Rule::new("!has(self.denied) || ((!has(self.allowed) || !self.allowed.exists(s, s in self.denied)) && (!has(self.required) || !self.required.exists(s, s in self.denied)))").message("the same group is in denied and in allowed or required, and denied wins: remove it from one of them"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min is above max, so no request could satisfy it: lower min or raise max")
)]
pub struct Organizations {
    /// Patterns of which every O must match one; `*` stands for a run of characters without `:`, `**` for one with it.
    #[schemars(schema_with = "identity_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Patterns of which no O may match any; also compared ignoring case and Unicode variants.
    #[schemars(schema_with = "patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// Patterns each of which some O must match; it is thereby allowed.
    #[schemars(schema_with = "identity_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Vec<String>>,
    /// The least number of O.
    #[schemars(range(min = 0, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The greatest number of O.
    #[schemars(range(min = 0, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// `Requestor`: each O must be a group of the requestor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<RequestorSource>,
}

/// Rules for a list of names without further source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.required) || has(self.min) || has(self.max)").message("the object is empty: state allowed, denied, required, min or max, or remove it"),
    validation = Rule::new("!has(self.denied) || ((!has(self.allowed) || !self.allowed.exists(s, s in self.denied)) && (!has(self.required) || !self.required.exists(s, s in self.denied)))").message("the same value is in denied and in allowed or required, and denied wins: remove it from one of them"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min is above max, so no request could satisfy it: lower min or raise max")
)]
pub struct Values {
    /// Patterns of which every value must match one; `*` stands for a run of characters without what separates (`:` in
    /// an OU, `@` in an email address, `/ ? # @ :` in a URI), `**` for one with it.
    #[schemars(schema_with = "patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Patterns of which no value may match any; also compared ignoring case and Unicode variants.
    #[schemars(schema_with = "patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// Patterns each of which some value must match; it is thereby allowed.
    #[schemars(schema_with = "patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Vec<String>>,
    /// The least number of values.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The greatest number of values.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Rules for DNS names among the SANs; compared in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.required) || has(self.min) || has(self.max) || has(self.wildcards) || has(self.from)").message("dnsNames is empty: state allowed, denied, required, min, max, from or wildcards, or remove dnsNames"),
    validation = Rule::new("!has(self.denied) || ((!has(self.allowed) || !self.allowed.exists(s, s in self.denied)) && (!has(self.required) || !self.required.exists(s, s in self.denied)))").message("the same name is in denied and in allowed or required, and denied wins: remove it from one of them"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min is above max, so no request could satisfy it: lower min or raise max")
)]
pub struct DnsNames {
    /// Patterns of which every DNS name must match one; `*` stands for one label or a part of one, `**` for several.
    #[schemars(schema_with = "dns_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Patterns of which no DNS name may match any; `*` crosses dots here, and a wildcard name
    /// violates every entry that it could cover.
    #[schemars(schema_with = "dns_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// Patterns each of which some DNS name must match; it is thereby allowed.
    #[schemars(schema_with = "dns_patterns")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Vec<String>>,
    /// The least number of DNS names.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The greatest number of DNS names.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// `Node`: each DNS name must be one that the requesting node carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeSource>,
    /// Whether wildcard names may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcards: Option<Wildcards>,
}

/// Rules for IP addresses among the SANs, as CIDRs or single addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.required) || has(self.min) || has(self.max) || has(self.from)").message("ipAddresses is empty: state allowed, denied, required, min, max or from, or remove ipAddresses"),
    validation = Rule::new("!has(self.denied) || ((!has(self.allowed) || !self.allowed.exists(s, s in self.denied)) && (!has(self.required) || !self.required.exists(s, s in self.denied)))").message("the same range is in denied and in allowed or required, and denied wins: remove it from one of them"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min is above max, so no request could satisfy it: lower min or raise max")
)]
pub struct IpAddresses {
    /// Ranges of which every address must be in one.
    #[schemars(schema_with = "cidrs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Ranges of which no address may be in any.
    #[schemars(schema_with = "cidrs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// Ranges in each of which some address must be; it is thereby allowed.
    #[schemars(schema_with = "cidrs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Vec<String>>,
    /// The least number of addresses.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// The greatest number of addresses.
    #[schemars(range(min = 0, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// `Node`: each address must be one that the requesting node carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeSource>,
}

/// Rules for `spec.usages`. `signing` is `digital signature` and `s/mime` is `email protection`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.allowed) || has(self.denied) || has(self.required)").message("usages is empty: state allowed, denied or required, for example allowed: [client auth, digital signature]"),
    validation = Rule::new("!has(self.denied) || ((!has(self.allowed) || !self.allowed.exists(s, s in self.denied)) && (!has(self.required) || !self.required.exists(s, s in self.denied)))").message("the same usage is in denied and in allowed or required, and denied wins: remove it from one of them")
)]
pub struct Usages {
    /// Usages of which every usage asked for must be one.
    #[schemars(schema_with = "usages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Usages that must not be asked for. A request without any extended key usage (such as `client auth`) counts as asking for each
    /// extended one, and one without any key usage (such as `digital signature`) for each of those. `server auth` denies `microsoft
    /// sgc` and `netscape sgc`, too: OpenSSL and Java take a certificate with one of these for a server's.
    #[schemars(schema_with = "usages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Vec<String>>,
    /// Usages that must be asked for; they are thereby allowed.
    #[schemars(schema_with = "usages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<Vec<String>>,
}

/// `Requestor`: the CN must be the requestor's own user name, and each O a group of the requestor, beside what the
/// lists say. A reserved name never comes out of it but a node's own user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestorSource {
    /// The requestor's own identity: its user name for the CN, its groups for the O.
    Requestor,
}

/// `Node`: each must be one that the Node object of the requesting node carries: its name, and what is in
/// its `status.addresses`. The requestor must be a node, and the CN its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeSource {
    /// The Node object of the requesting node.
    Node,
}

/// Whether a request may come without a CN. Unstated: `Deny` in a policy, `Allow` in a guardrail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Absent {
    /// It may be missing.
    Allow,
    /// It must be there.
    Deny,
}

/// Whether a wildcard name such as `*.dev.example.com` may be asked for, where a pattern in `allowed` covers all that it
/// covers. Unstated: `Deny` in a policy; in a guardrail it is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Wildcards {
    /// They may, if a pattern in `allowed` covers all that the wildcard covers.
    Allow,
    /// They may not.
    Deny,
}

/// The most items of a list of values.
const MAX_ITEMS: u32 = 64;
/// The longest pattern, in characters.
pub(crate) const MAX_PATTERN: u32 = 256;

const NOT_EMPTY: (&str, &str) = (
    "self.size() > 0",
    "the list is empty, which would be a guess at nothing or everything: name at least one value, or remove the list",
);
const NO_TEMPLATE: (&str, &str) =
    ("!self.exists(s, s.contains('${'))", "${ is reserved for later versions and cannot stand in a pattern");
const NO_TRIPLE: (&str, &str) = (
    "!self.exists(s, s.contains('***'))",
    "*** is not a pattern: write * for a part between separators, or ** for a part with separators",
);
const NO_MARGIN: (&str, &str) = ("self.all(s, s == s.trim())", "a pattern begins or ends with white space: remove it");
const NO_MASTERS: (&str, &str) = (
    "!self.exists(s, s.trim().lowerAscii() == 'system:masters')",
    "system:masters is never granted by any policy: remove it; for administrators bind ClusterRole cluster-admin to a group of your own",
);

fn list(max_length: u32, rules: &[(&str, &str)]) -> Schema {
    let rules: Vec<_> =
        rules.iter().map(|(rule, message)| serde_json::json!({ "rule": rule, "message": message })).collect();
    json_schema!({
        "type": "array",
        "items": { "type": "string", "minLength": 1, "maxLength": max_length },
        "maxItems": MAX_ITEMS,
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": rules,
    })
}

/// Patterns that are only ever denied, or that name nothing of Kubernetes.
fn patterns(_: &mut SchemaGenerator) -> Schema {
    list(MAX_PATTERN, &[NOT_EMPTY, NO_TEMPLATE, NO_TRIPLE, NO_MARGIN])
}

/// Patterns of user names and groups that may be granted.
fn identity_patterns(_: &mut SchemaGenerator) -> Schema {
    list(MAX_PATTERN, &[NOT_EMPTY, NO_TEMPLATE, NO_TRIPLE, NO_MARGIN, NO_MASTERS])
}

fn dns_patterns(_: &mut SchemaGenerator) -> Schema {
    list(
        MAX_PATTERN,
        &[
            NOT_EMPTY,
            NO_TEMPLATE,
            NO_TRIPLE,
            (
                "self.all(s, s.matches('^[A-Za-z0-9_*-]+([.][A-Za-z0-9_*-]+)*$'))",
                "a DNS name has letters, digits, - and _ between single dots, and no dot at either end; * stands for one label or a part of one, for example *.dev.example.com",
            ),
        ],
    )
}

fn cidrs(_: &mut SchemaGenerator) -> Schema {
    list(
        49,
        &[
            NOT_EMPTY,
            (
                "self.all(s, isCIDR(s) ? cidr(s).masked() == cidr(s) : isIP(s))",
                "an entry is neither an IP address nor a CIDR without host bits: write, for example, 10.0.0.0/8 or 10.1.2.3 (not 10.1.2.3/8)",
            ),
        ],
    )
}

fn usages(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = Usage::ALL
        .into_iter()
        .filter(|usage| !usage.never_allowed())
        .map(Usage::name)
        .chain(["signing", "s/mime"])
        .collect();
    json_schema!({
        "type": "array",
        "items": { "type": "string", "enum": names },
        "maxItems": MAX_ITEMS,
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": [{
            "rule": "self.size() > 0",
            "message": "the list is empty: name at least one usage, for example client auth, or remove the list",
        }],
    })
}
