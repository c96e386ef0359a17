//! What was found, for programs: one `InspectReport`, stable between versions. docs/inspect.md explains every field.

use serde::Serialize;

use super::certificate::{Certificate, Signed};
use super::gather::Inventory;
use super::judge::{About, Issued, Item, Settings, SignedBy};
use super::key::PublicKey;
use super::kubeconfig::{Credential, Kubeconfig};
use super::time::instant;
use crate::api::API_VERSION;
use crate::cli::json::RequestEntry;
use crate::duration::DAY;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InspectReport<'a> {
    api_version: &'static str,
    kind: &'static str,
    now: String,
    items: Vec<Entry<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Summary {
    inspected: usize,
    alarming: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    source: &'a str,
    also_in: &'a [&'a str],
    alarms: Vec<AlarmEntry<'a>>,
    #[serde(flatten)]
    about: AboutEntry<'a>,
}

#[derive(Serialize)]
struct AlarmEntry<'a> {
    code: &'static str,
    message: &'a str,
}

/// `kind`, and a field of that name with what it is.
#[derive(Serialize)]
#[serde(tag = "kind")]
enum AboutEntry<'a> {
    CertificateSigningRequest { name: &'a str, request: RequestEntry<'a> },
    Certificate { certificate: Box<CertificateEntry<'a>> },
    PrivateKey { key: KeyEntry<'a> },
    PublicKey { key: KeyEntry<'a> },
    Kubeconfig { kubeconfig: KubeconfigEntry<'a> },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateEntry<'a> {
    version: u32,
    subject: SubjectEntry<'a>,
    issuer: IssuerEntry<'a>,
    signed_by: SignedByEntry<'a>,
    purpose: &'static str,
    ca: Option<CaEntry>,
    usages: &'a [String],
    dns_names: &'a [String],
    ip_addresses: &'a [String],
    uris: &'a [String],
    email_addresses: &'a [String],
    other_names: &'a [String],
    not_before: String,
    not_after: String,
    days_left: i64,
    key: KeyFields<'a>,
    private_keys: &'a [&'a str],
    signature_algorithm: &'a str,
    serial: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubjectEntry<'a> {
    name: String,
    common_name: Option<&'a str>,
    organizations: Vec<&'a str>,
    organizational_units: Vec<&'a str>,
    uid: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuerEntry<'a> {
    name: String,
    common_name: Option<&'a str>,
}

#[derive(Serialize)]
struct SignedByEntry<'a> {
    how: &'static str,
    source: Option<&'a str>,
    sha256: Option<&'a str>,
    roles: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaEntry {
    roles: Vec<&'static str>,
    path_length: Option<u32>,
}

#[derive(Serialize)]
struct KeyFields<'a> {
    algorithm: &'a str,
    bits: Option<usize>,
    curve: Option<&'a str>,
}

#[derive(Serialize)]
struct KeyEntry<'a> {
    #[serde(flatten)]
    fields: Option<KeyFields<'a>>,
    certificates: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeconfigEntry<'a> {
    current_context: &'a str,
    contexts: Vec<ContextEntry<'a>>,
    clusters: Vec<ClusterEntry<'a>>,
    users: Vec<UserEntry<'a>>,
}

#[derive(Serialize)]
struct ContextEntry<'a> {
    name: &'a str,
    cluster: &'a str,
    user: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterEntry<'a> {
    name: &'a str,
    server: &'a str,
    proxy_url: Option<&'a str>,
    insecure_skip_tls_verify: bool,
    /// SHA-256 of each certificate that it trusts.
    certificate_authorities: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserEntry<'a> {
    name: &'a str,
    impersonates: Option<&'a str>,
    impersonates_groups: &'a [String],
    credentials: Vec<CredentialEntry<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum CredentialEntry<'a> {
    ClientCertificate { certificates: Vec<&'a str> },
    Token,
    TokenFile { file: &'a str },
    Password,
    Exec { command: &'a str },
    AuthProvider { name: &'a str },
}

pub(super) fn render(inventory: &Inventory, items: &[Item<'_>], settings: &Settings) -> serde_json::Result<String> {
    let report = InspectReport {
        api_version: API_VERSION,
        kind: "InspectReport",
        now: instant(settings.now),
        items: items.iter().map(|item| entry(inventory, item, settings.now)).collect(),
        summary: Summary {
            inspected: items.len(),
            alarming: items.iter().filter(|item| !item.alarms.is_empty()).count(),
        },
    };
    serde_json::to_string_pretty(&report).map(|text| crate::escape::json(text) + "\n")
}

fn entry<'a>(inventory: &'a Inventory, item: &'a Item<'_>, now: i64) -> Entry<'a> {
    let alarms = item.alarms.iter();
    let about = match &item.about {
        About::Request(request) => {
            AboutEntry::CertificateSigningRequest { name: &request.envelope.name, request: RequestEntry::new(request) }
        }
        About::Certificate(issued) => AboutEntry::Certificate { certificate: Box::new(certificate(issued, now)) },
        About::Key { key, of } => {
            let private = key.is_private();
            let key = KeyEntry { fields: key.public().map(key_fields), certificates: of };
            if private { AboutEntry::PrivateKey { key } } else { AboutEntry::PublicKey { key } }
        }
        About::Kubeconfig(of) => AboutEntry::Kubeconfig { kubeconfig: kubeconfig(inventory, of) },
    };
    Entry {
        source: item.source,
        also_in: &item.also_in,
        alarms: alarms.map(|alarm| AlarmEntry { code: alarm.code.as_str(), message: &alarm.message }).collect(),
        about,
    }
}

fn certificate<'a>(issued: &'a Issued<'_>, now: i64) -> CertificateEntry<'a> {
    let of: &Certificate = issued.certificate;
    CertificateEntry {
        version: of.version,
        subject: SubjectEntry {
            name: of.subject.to_string(),
            common_name: of.subject.common_name(),
            organizations: of.subject.organizations(),
            organizational_units: of.subject.organizational_units(),
            uid: of.subject.uid(),
        },
        issuer: IssuerEntry { name: of.issuer.to_string(), common_name: of.issuer.common_name() },
        signed_by: signed_by(&issued.signer),
        purpose: of.purpose(),
        ca: of.authority.map(|authority| CaEntry {
            roles: issued.roles.iter().map(|role| role.as_str()).collect(),
            path_length: authority.below,
        }),
        usages: &of.usages,
        dns_names: &of.dns_names,
        ip_addresses: &of.ip_addresses,
        uris: &of.uris,
        email_addresses: &of.email_addresses,
        other_names: &of.other_names,
        not_before: instant(of.not_before),
        not_after: instant(of.not_after),
        days_left: (of.not_after - now).div_euclid(DAY),
        key: key_fields(&of.key),
        private_keys: &issued.keys,
        signature_algorithm: &of.signature,
        serial: &of.serial,
        sha256: &of.sha256,
    }
}

fn signed_by<'a>(signer: &'a SignedBy<'_>) -> SignedByEntry<'a> {
    match signer {
        SignedBy::Itself => SignedByEntry { how: "itself", source: None, sha256: None, roles: Vec::new() },
        SignedBy::Unknown => SignedByEntry { how: "unknown", source: None, sha256: None, roles: Vec::new() },
        SignedBy::Other { certificate, source, roles, fits } => SignedByEntry {
            how: match fits {
                Signed::Yes => "verified",
                Signed::Unknown => "unverified",
                Signed::No => "mismatch",
            },
            source: Some(source),
            sha256: Some(&certificate.sha256),
            roles: roles.iter().map(|role| role.as_str()).collect(),
        },
    }
}

fn key_fields(key: &PublicKey) -> KeyFields<'_> {
    KeyFields { algorithm: &key.algorithm, bits: key.bits, curve: key.curve.as_deref() }
}

fn kubeconfig<'a>(inventory: &'a Inventory, of: &'a Kubeconfig) -> KubeconfigEntry<'a> {
    let hashes = |numbers: &[usize]| {
        numbers.iter().map(|number| inventory.certificates[*number].value.sha256.as_str()).collect::<Vec<_>>()
    };
    let credential = |credential: &'a Credential| match credential {
        Credential::Certificate { chain, .. } => CredentialEntry::ClientCertificate { certificates: hashes(chain) },
        Credential::Unread => CredentialEntry::ClientCertificate { certificates: Vec::new() },
        Credential::Token => CredentialEntry::Token,
        Credential::TokenFile(file) => CredentialEntry::TokenFile { file },
        Credential::Password => CredentialEntry::Password,
        Credential::Exec(command) => CredentialEntry::Exec { command },
        Credential::AuthProvider(name) => CredentialEntry::AuthProvider { name },
    };
    KubeconfigEntry {
        current_context: &of.current_context,
        contexts: of
            .contexts
            .iter()
            .map(|context| ContextEntry { name: &context.name, cluster: &context.cluster, user: &context.user })
            .collect(),
        clusters: of
            .clusters
            .iter()
            .map(|cluster| ClusterEntry {
                name: &cluster.name,
                server: &cluster.server,
                proxy_url: Some(cluster.proxy.as_str()).filter(|proxy| !proxy.is_empty()),
                insecure_skip_tls_verify: cluster.insecure,
                certificate_authorities: hashes(cluster.authorities()),
            })
            .collect(),
        users: of
            .users
            .iter()
            .map(|user| UserEntry {
                name: &user.name,
                impersonates: Some(user.impersonates.as_str()).filter(|whom| !whom.is_empty()),
                impersonates_groups: &user.impersonates_groups,
                credentials: user.credentials.iter().map(credential).collect(),
            })
            .collect(),
    }
}
