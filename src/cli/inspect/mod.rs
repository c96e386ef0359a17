//! `countersign inspect`: who a request, certificate or kubeconfig speaks for, until when, and what is alarming
//! about it. Files are gathered, judged together, and shown.

mod alarm;
mod alone;
mod authority;
mod certificate;
mod gather;
mod json;
mod judge;
mod key;
mod kubeconfig;
mod name;
mod pem;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::options::duration;
use super::paint::{Color, Paint};
use super::problem::report;
use super::{Exit, print};
use alarm::AlarmCode;
use judge::{Judge, Settings};

/// Show who requests, certificates and kubeconfigs speak for, until when, and what is alarming about them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Directories are read with everything in them that ends in .crt, .cer, .cert, .pem, .key, .pub, .csr, .conf, .kubeconfig,
.yaml, .yml or .json. CAs among the files are found, and verified by signature. No private key, token or password is
printed. docs/inspect.md explains every alarm and the JSON.

Exit status: 0 nothing alarming, 1 something alarming (also expired, or expiring within --expires-within), 2 something
could not be read.

Examples:
  countersign inspect request.yaml
  countersign inspect amy.crt amy.key ca.crt
  countersign inspect ~/.kube/config
  countersign inspect --expires-within 14d --ignore long-lifetime /etc/kubernetes
  countersign inspect -o json /etc/kubernetes/pki
  kubectl get csr -o yaml | countersign inspect -")]
pub(super) struct Args {
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// How long before its end a certificate is alarming, for example 12h or 14d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    expires_within: Duration,
    /// A code of what is not alarming to you; repeatable.
    #[arg(long = "ignore", value_name = "CODE", value_enum)]
    ignored: Vec<AlarmCode>,
    /// The time to judge by (RFC 3339) instead of the clock's.
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Requests (manifests or PEM), certificates and keys (PEM), kubeconfigs, directories, or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One document, for programs.
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let inventory = gather::gather(&args.files, &mut problems);
    let settings = Settings {
        now: args.now.unwrap_or_else(Timestamp::now).as_second(),
        expires_within: i64::try_from(args.expires_within.as_secs()).unwrap_or(i64::MAX),
        ignored: args.ignored.clone(),
    };
    let judge = Judge::new(&inventory, &settings);
    let items = judge.items();
    print(&match args.output {
        Output::Text => text::render(&inventory, &items, &settings, Paint::new(args.color)),
        Output::Json => json::render(&inventory, &items, &settings)?,
    })?;
    if !problems.is_empty() {
        return Ok(report(&problems));
    }
    let alarming = items.iter().any(|item| !item.alarms.is_empty());
    Ok(if alarming { Exit::Findings } else { Exit::Clean })
}
