//! `countersign review`: the controller's verdicts, over files.

use std::path::PathBuf;

use jiff::Timestamp;
use rayon::prelude::*;

use super::load::{self, Sourced};
use super::options::{MAX_REQUEST_AGE, RequestOptions, VerdictOptions};
use super::paint::{Color, Paint};
use super::problem::{Problem, report};
use super::reviewed::{Reviewed, Shown, count};
use super::{Exit, json, junit, print_with, text};
use crate::node::Nodes;
use crate::policy::{PolicyObject, PolicySet, SignerPattern};
use crate::review::{Approvals, Decision, Facts, review};

/// Review requests in files against policies in files, as the controller would.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 2 if nothing could be concluded about something, else 1 if anything is denied, else 3 if
anything is undecided, else 0.

Examples:
  countersign review --policies examples/policies examples/requests
  countersign review --policies policies/ -o json request.yaml
  kubectl get csr -o yaml | countersign review --policies policies/ -
  kubectl get nodes -o yaml | countersign review --policies policies/ --nodes - request.yaml
  countersign review --live                           what would happen to what is pending?
  countersign review --live --policies policies/      and with these files instead of the cluster's policies?
  countersign review --policies policies/ --signer-name kubernetes.io/kube-apiserver-client \\
    --username alice --group platform-onboarding --usage 'client auth' --expiration-seconds 86400 amy.csr")]
#[command(group(clap::ArgGroup::new("time").multiple(true)))]
pub(super) struct Args {
    /// Manifests with CSRPolicy and CSRGuardrail objects: files, directories, or - for standard input; repeatable. With --live they
    /// stand for the cluster's.
    #[cfg_attr(feature = "controller", arg(long, value_name = "PATH", num_args = 1, required_unless_present = "live"))]
    #[cfg_attr(not(feature = "controller"), arg(long, value_name = "PATH", num_args = 1, required = true))]
    policies: Vec<PathBuf>,
    /// Manifests with Nodes, for policies that look at them: files, directories, or - for standard input; repeatable. With --live
    /// they stand for the cluster's. kubectl get nodes -o yaml writes them.
    #[arg(long, value_name = "PATH", num_args = 1)]
    nodes: Vec<PathBuf>,
    /// Review what is pending in a cluster, or the requests of these names, and change nothing.
    #[cfg(feature = "controller")]
    #[arg(long, group = "time")]
    live: bool,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Exit with 0 also where requests are denied or undecided.
    #[arg(long)]
    exit_zero: bool,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// The time to judge the age of requests by (RFC 3339). Without it no request is too old, or with --live the clock's
    /// counts for what is pending.
    #[arg(long, group = "time", value_name = "TIME")]
    now: Option<Timestamp>,
    /// How old a request may be at that time, for example 90s, 3m or 1h. 1h if not given, as for the controller.
    #[arg(long, value_name = "DURATION", requires = "time", value_parser = super::options::duration)]
    max_request_age: Option<std::time::Duration>,
    #[command(flatten)]
    verdict: VerdictOptions,
    #[command(flatten)]
    request: RequestOptions,
    #[cfg(feature = "controller")]
    #[command(flatten)]
    cluster: super::live::ClusterOptions,
    /// Manifests with CertificateSigningRequests, PEM requests, directories, or - for standard input; with --live
    /// names.
    #[cfg_attr(feature = "controller", arg(value_name = "FILE", required_unless_present = "live"))]
    #[cfg_attr(not(feature = "controller"), arg(value_name = "FILE", required = true))]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One document, for programs.
    Json,
    /// For CI systems.
    Junit,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let paths = || args.policies.iter().chain(&args.nodes).chain(&args.files);
    if paths().filter(|path| path.as_os_str() == "-").count() > 1 {
        problems.push(Problem::new("-", None, "standard input can be read once only: give one of them as a file"));
        return Ok(report(&problems));
    }
    let Loaded { policies: objects, pending, nodes, approvals, clock } = load(&args, &mut problems)?;
    let compiled = PolicySet::compile(&objects, crate::policy::Settings::default());
    let max_request_age = args.max_request_age.unwrap_or(MAX_REQUEST_AGE);
    let settings = args.verdict.settings(named_signers(&compiled), Some(max_request_age))?;
    let set = PolicySet::compile(&objects, settings);
    let paint = Paint::new(args.color);
    let show = |sourced: Sourced| {
        let facts = Facts {
            now: args.now.or_else(|| sourced.judged_at(clock?)),
            nodes: nodes.as_ref(),
            approvals: approvals.as_ref(),
        };
        let reviewed = Reviewed { review: review(&set, &sourced.request, &facts), sourced };
        match args.output {
            Output::Text => Ok(text::show(&reviewed, paint)),
            Output::Json => json::show(&reviewed),
            Output::Junit => Ok(junit::show(&reviewed)),
        }
    };
    let shown: Vec<serde_json::Result<Shown>> = match pending {
        Some(pending) => pending.into_par_iter().map(show).collect(),
        None => load::requests(&args.files, &args.request, &mut problems, show),
    };
    let shown: Vec<Shown> = shown.into_iter().collect::<Result<_, _>>()?;
    print_with(|out| match args.output {
        Output::Text => text::write(out, &shown, paint),
        Output::Json => json::write(out, &shown, &problems),
        Output::Junit => junit::write(out, &shown, &problems),
    })?;
    if !problems.is_empty() {
        return Ok(report(&problems));
    }
    let any = |decision| count(&shown, decision) > 0;
    Ok(match () {
        () if args.exit_zero => Exit::Clean,
        () if any(Decision::Deny) => Exit::Findings,
        () if any(Decision::NoOpinion) => Exit::Undecided,
        () => Exit::Clean,
    })
}

struct Loaded {
    policies: Vec<PolicyObject>,
    /// What is pending in a cluster. Nothing where files hold the requests.
    pending: Option<Vec<Sourced>>,
    /// Nothing where no Nodes are given.
    nodes: Option<Nodes>,
    /// Nothing where no cluster tells.
    approvals: Option<Approvals>,
    /// The present time, where it counts.
    clock: Option<Timestamp>,
}

/// The policies and the Nodes, from files or from a cluster, and what is pending there.
fn load(args: &Args, problems: &mut Vec<Problem>) -> anyhow::Result<Loaded> {
    let mut own = None;
    if !args.policies.is_empty() {
        let before = problems.len();
        let policies = load::policies(&args.policies, problems);
        let unread = (problems.len() > before).then(load::unread);
        load::not_ready(&policies, problems);
        own = Some(policies.into_iter().map(|policy| policy.object).chain(unread).collect::<Vec<_>>());
    }
    let nodes = (!args.nodes.is_empty()).then(|| load::nodes(&args.nodes, problems));
    #[cfg(feature = "controller")]
    if args.live {
        let names: Vec<String> = args.files.iter().map(|name| name.display().to_string()).collect();
        let snapshot = args.cluster.clone().read(own, nodes, &names, problems)?;
        let pending = Some(snapshot.requests.iter().map(super::live::undecided).collect());
        let super::live::Snapshot { policies, nodes, approvals, .. } = snapshot;
        return Ok(Loaded { policies, pending, nodes, approvals, clock: Some(Timestamp::now()) });
    }
    #[cfg(feature = "controller")]
    if args.cluster.is_given() {
        let message = "the options of a cluster need --live, without which files are reviewed and no cluster is read";
        problems.push(Problem::new("review", None, message));
    }
    Ok(Loaded { policies: own.unwrap_or_default(), pending: None, nodes, approvals: None, clock: None })
}

/// The signers that the policies name: what is managed unless options say otherwise.
fn named_signers(set: &PolicySet) -> Vec<SignerPattern> {
    let objects = set.policies().iter().chain(set.guardrails());
    let mut signers: Vec<SignerPattern> = objects.flat_map(|object| object.matcher.signers().iter().cloned()).collect();
    signers.dedup();
    signers
}
