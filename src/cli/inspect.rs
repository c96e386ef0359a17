//! `countersign inspect`: who a request speaks for, and what is alarming about it.

use std::fmt::Write;
use std::path::PathBuf;

use super::load::{self, Sourced};
use super::options::RequestOptions;
use super::paint::{Color, Paint};
use super::problem::report;
use super::{Exit, print};
use crate::escape::printable;
use crate::policy::{MASTERS, Reserved};
use crate::request::{Pkcs10, SigningRequest};

/// Show who a certificate signing request speaks for, and what is alarming about it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 nothing alarming, 1 something alarming, 2 something could not be read.

Examples:
  countersign inspect request.yaml
  countersign inspect amy.csr
  kubectl get csr -o yaml | countersign inspect -")]
pub(super) struct Args {
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Manifests with CertificateSigningRequests, PEM requests, directories, or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

const UNKNOWN: &str = "(not stated)";

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    // Whatever a file leaves out is shown as such.
    let options = RequestOptions {
        signer_name: Some(UNKNOWN.to_owned()),
        username: Some(UNKNOWN.to_owned()),
        uid: None,
        groups: Vec::new(),
        extra: Vec::new(),
        usages: Vec::new(),
        expiration_seconds: None,
    };
    let requests = load::requests(&args.files, &options, &mut problems);
    let paint = Paint::new(args.color);
    let mut out = String::new();
    let mut alarming = false;
    for sourced in &requests {
        alarming |= show(&mut out, sourced, paint);
    }
    print(&out)?;
    if !problems.is_empty() {
        return Ok(report(&problems));
    }
    Ok(if alarming { Exit::Findings } else { Exit::Clean })
}

/// Writes about one request; whether something is alarming.
fn show(out: &mut String, sourced: &Sourced, paint: Paint) -> bool {
    let request = &sourced.request;
    let envelope = &request.envelope;
    let _ = writeln!(out, "{}", paint.strong(&printable(&sourced.source)));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<22}{value}");
    };
    line("Name", &or_none(&printable(&envelope.name)));
    line("Signer", &printable(&envelope.signer_name));
    line("Requestor", &printable(&envelope.username));
    line("Requestor's groups", &list(&envelope.groups));
    line("Usages", &list(&envelope.usages));
    let lifetime = envelope.expiration_seconds.map(|seconds| format!("{seconds} s ({} days)", seconds / 86400));
    line("Lifetime asked for", lifetime.as_deref().unwrap_or("the signer's own maximum"));
    if let Ok(pkcs10) = &request.content {
        line("User name (CN)", &or_none(&printable(pkcs10.subject.common_name.as_deref().unwrap_or_default())));
        line("Groups (O)", &list(&pkcs10.subject.organizations));
        line("OU", &list(&pkcs10.subject.organizational_units));
        let sans = &pkcs10.sans;
        line("DNS names", &list(&sans.dns_names));
        line("IP addresses", &list(&sans.ip_addresses.iter().map(ToString::to_string).collect::<Vec<_>>()));
        line("URIs", &list(&sans.uris));
        line("Email addresses", &list(&sans.email_addresses));
        line("Key", &pkcs10.key.to_string());
        line("SHA-256", &pkcs10.sha256_hex());
    }
    let alarms = alarms(request);
    for alarm in &alarms {
        let _ = writeln!(out, "  {} {alarm}", paint.alarm("alarming:"));
    }
    !alarms.is_empty()
}

fn alarms(request: &SigningRequest) -> Vec<String> {
    let mut alarms = Vec::new();
    if request.asks_for_masters {
        alarms.push(format!("it asks for {MASTERS}, whose members may do everything and cannot be stopped"));
    }
    match &request.content {
        Err(error) => alarms.push(format!("{} [{}]", error.message, error.code)),
        Ok(pkcs10) => alarms.extend(reserved_names(pkcs10)),
    }
    if request.envelope.expiration_seconds.is_some_and(|seconds| seconds > 30 * 86400) {
        alarms.push("it asks for more than 30 days, and nothing revokes a client certificate".to_owned());
    }
    alarms
}

fn reserved_names(pkcs10: &Pkcs10) -> Vec<String> {
    let reserved = Reserved::default();
    let names = pkcs10.subject.common_name.iter().chain(&pkcs10.subject.organizations);
    names
        .filter(|name| reserved.prefix_of(name).is_some())
        .map(|name| format!("\"{}\" is a name that Kubernetes reserves for itself", printable(name)))
        .collect()
}

fn list(values: &[String]) -> String {
    or_none(&values.iter().map(|value| printable(value)).collect::<Vec<_>>().join(", "))
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
