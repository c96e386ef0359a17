//! Verdicts for programs: one `ReviewList`, stable between versions.

use std::io::{self, Write};

use serde::Serialize;

use super::problem::Problem;
use super::reviewed::{Reviewed, Shown, count};
use crate::api::API_VERSION;
use crate::request::{Key, Pkcs10, SigningRequest};
use crate::review::{Decision, NodeFact, Violation};

/// What stands behind the reviews.
#[derive(Serialize)]
struct Rest<'a> {
    /// What could not be read, and is missing in the reviews.
    problems: &'a [Problem],
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    approved: usize,
    denied: usize,
    undecided: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    source: &'a str,
    name: &'a str,
    uid: &'a str,
    decision: &'static str,
    reason_code: &'static str,
    policy: Option<&'a str>,
    reason: &'a str,
    violations: Vec<ViolationEntry<'a>>,
    /// The Node that an approval or a denial rests on.
    node: Option<NodeEntry<'a>>,
    audit_decision: Option<&'static str>,
    audit_violations: Vec<ViolationEntry<'a>>,
    request: RequestEntry<'a>,
}

#[derive(Serialize)]
struct NodeEntry<'a> {
    name: &'a str,
    /// Nothing where there is no such Node.
    uid: Option<&'a str>,
    addresses: Vec<AddressEntry<'a>>,
}

#[derive(Serialize)]
struct AddressEntry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    address: &'a str,
}

#[derive(Serialize)]
struct ViolationEntry<'a> {
    kind: Option<&'static str>,
    policy: Option<&'a str>,
    code: &'static str,
    field: &'a str,
    found: &'a str,
    permitted: &'a str,
    message: &'a str,
}

/// What a request asks for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestEntry<'a> {
    signer_name: &'a str,
    username: &'a str,
    groups: &'a [String],
    usages: &'a [String],
    expiration_seconds: Option<i32>,
    #[serde(flatten)]
    content: Option<ContentEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContentEntry<'a> {
    subject: SubjectEntry<'a>,
    dns_names: &'a [String],
    ip_addresses: Vec<String>,
    uris: &'a [String],
    email_addresses: &'a [String],
    key: KeyEntry,
    sha256: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubjectEntry<'a> {
    common_name: Option<&'a str>,
    organizations: &'a [String],
    organizational_units: &'a [String],
}

#[derive(Serialize)]
struct KeyEntry {
    algorithm: &'static str,
    bits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    curve: Option<&'static str>,
}

pub(super) fn show(reviewed: &Reviewed) -> serde_json::Result<Shown> {
    let text = pretty(&entry(reviewed))?.replace('\n', "\n    ");
    Ok(Shown { decision: reviewed.review.decision, name: String::new(), text })
}

pub(super) fn write(out: &mut dyn Write, all: &[Shown], problems: &[Problem]) -> io::Result<()> {
    write!(out, "{{\n  \"apiVersion\": \"{API_VERSION}\",\n  \"kind\": \"ReviewList\",\n  \"reviews\": [")?;
    for (index, shown) in all.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}\n    {}", shown.text)?;
    }
    let summary = Summary {
        approved: count(all, Decision::Approve),
        denied: count(all, Decision::Deny),
        undecided: count(all, Decision::NoOpinion),
    };
    let rest = pretty(&Rest { problems, summary })?;
    let end = if all.is_empty() { "" } else { "\n  " };
    writeln!(out, "{end}],{}", rest.trim_start_matches('{'))
}

/// As it is shown.
fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(crate::escape::json)
}

fn entry(reviewed: &Reviewed) -> Entry<'_> {
    let review = &reviewed.review;
    let envelope = &reviewed.sourced.request.envelope;
    let audit = review.audit.as_ref();
    Entry {
        source: &reviewed.sourced.source,
        name: &envelope.name,
        uid: &envelope.uid,
        decision: review.decision.as_str(),
        reason_code: review.reason_code.as_str(),
        policy: review.policy.as_ref().map(|policy| policy.name.as_str()),
        reason: &review.reason,
        violations: review.violations.iter().map(violation).collect(),
        node: review.node.as_ref().map(node),
        audit_decision: audit.map(|audit| audit.decision.as_str()),
        audit_violations: audit.into_iter().flat_map(|audit| &audit.violations).map(violation).collect(),
        request: RequestEntry::new(&reviewed.sourced.request),
    }
}

impl<'a> RequestEntry<'a> {
    pub(super) fn new(request: &'a SigningRequest) -> Self {
        let envelope = &request.envelope;
        Self {
            signer_name: &envelope.signer_name,
            username: &envelope.username,
            groups: &envelope.groups,
            usages: &envelope.usages,
            expiration_seconds: envelope.expiration_seconds,
            content: request.content.as_ref().ok().map(content),
        }
    }
}

fn node(fact: &NodeFact) -> NodeEntry<'_> {
    let node = fact.node.as_deref();
    let addresses = node.into_iter().flat_map(|node| &node.addresses);
    NodeEntry {
        name: &fact.name,
        uid: node.map(|node| node.uid.as_str()),
        addresses: addresses
            .map(|address| AddressEntry { kind: address.kind.name(), address: &address.address })
            .collect(),
    }
}

fn violation(violation: &Violation) -> ViolationEntry<'_> {
    let object = violation.object.as_ref();
    ViolationEntry {
        kind: object.map(|object| object.kind.name()),
        policy: object.map(|object| object.name.as_str()),
        code: violation.code.as_str(),
        field: &violation.field,
        found: &violation.found,
        permitted: &violation.permitted,
        message: &violation.message,
    }
}

fn content(pkcs10: &Pkcs10) -> ContentEntry<'_> {
    let (subject, sans) = (&pkcs10.subject, &pkcs10.sans);
    ContentEntry {
        subject: SubjectEntry {
            common_name: subject.common_name.as_deref(),
            organizations: &subject.organizations,
            organizational_units: &subject.organizational_units,
        },
        dns_names: &sans.dns_names,
        ip_addresses: sans.ip_addresses.iter().map(ToString::to_string).collect(),
        uris: &sans.uris,
        email_addresses: &sans.email_addresses,
        key: KeyEntry {
            algorithm: pkcs10.key.algorithm(),
            bits: pkcs10.key.bits(),
            curve: if let Key::Ecdsa { curve } = pkcs10.key { Some(curve.name()) } else { None },
        },
        sha256: pkcs10.sha256_hex(),
    }
}
