//! `countersign explain`: why a request in a cluster is pending, denied or approved.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::live::{ClusterOptions, undecided};
use super::options::{VerdictOptions, duration};
use super::paint::{Color, Paint};
use super::problem::{Problem, report};
use super::{Exit, load, print};
use crate::api::Mode;
use crate::escape::printable;
use crate::policy::{PolicySet, SignerPattern};
use crate::request::CsrObject;
use crate::review::{Facts, Says, explain, review};

/// Explain a request in the cluster: every policy and guardrail, whether it matches, and why not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It changes nothing. What was decided already is reviewed as if it were not, whatever its age.

Exit status: 0, or 2 if there is no such request or something cannot be read.

Examples:
  countersign explain amy
  kubectl countersign explain amy --context production
  countersign explain amy --policies policies/           what would these files say?")]
pub(super) struct Args {
    /// Manifests with policies and guardrails to use instead of the cluster's; repeatable.
    #[arg(long, value_name = "PATH", num_args = 1)]
    policies: Vec<PathBuf>,
    /// How old a request may be, for example 90s, 3m or 1h, where it is pending.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    max_request_age: Duration,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    #[command(flatten)]
    verdict: VerdictOptions,
    #[command(flatten)]
    cluster: ClusterOptions,
    /// The name of a CertificateSigningRequest; several possible.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut own = None;
    if !args.policies.is_empty() {
        let policies = load::policies(&args.policies, &mut problems);
        let unread = (!problems.is_empty()).then(load::unread);
        own = Some(policies.into_iter().map(|policy| policy.object).chain(unread).collect());
    }
    let snapshot = args.cluster.read(own, None, &args.names, &mut problems)?;
    // Whether a signer is managed is for the controller's options to say; here every one is looked at.
    let set = PolicySet::compile(
        &snapshot.policies,
        args.verdict.settings(vec![SignerPattern::All], Some(args.max_request_age))?,
    );
    let paint = Paint::new(args.color);
    let mut out = String::new();
    let facts =
        Facts { now: Some(Timestamp::now()), nodes: snapshot.nodes.as_ref(), approvals: snapshot.approvals.as_ref() };
    for object in &snapshot.requests {
        show(&mut out, &set, object, &facts, paint);
    }
    print(&out)?;
    if problems.is_empty() { Ok(Exit::Clean) } else { Ok(report(&problems)) }
}

fn show(out: &mut String, set: &PolicySet, object: &CsrObject, facts: &Facts<'_>, paint: Paint) {
    let sourced = undecided(object);
    let request = &sourced.request;
    let facts = &Facts { now: facts.now.and_then(|now| sourced.judged_at(now)), ..*facts };
    let envelope = &request.envelope;
    let _ = writeln!(out, "{}", paint.strong(&printable(&envelope.name)));
    let _ = writeln!(out, "  filed by  {} ({})", printable(&envelope.username), printable(&envelope.groups.join(", ")));
    let _ = writeln!(out, "  signer    {}", printable(&envelope.signer_name));
    for condition in &object.conditions {
        let text = |field: &str| printable(condition[field].as_str().unwrap_or_default());
        let _ = writeln!(out, "  condition {}: {} ({})", text("type"), text("message"), text("reason"));
    }
    if object.conditions.is_empty() {
        let _ = writeln!(out, "  condition none: it is pending");
    }
    let verdict = review(set, request, facts);
    let word = paint.decision(verdict.decision, verdict.decision.as_str());
    let _ = writeln!(out, "  verdict   {word}: {} [{}]", verdict.reason, verdict.reason_code);
    for explanation in explain(set, request, facts) {
        let audit = if explanation.mode == Mode::Audit { " (Audit: reported, never acted on)" } else { "" };
        let object = paint.strong(&explanation.object.to_string());
        let _ = match &explanation.says {
            Says::NoMatch(part) => writeln!(out, "  - {object}{audit}: does not match, because of {}", printable(part)),
            Says::Satisfied => writeln!(out, "  - {object}{audit}: {}", paint.good("satisfied")),
            Says::Unknown(why) => writeln!(out, "  - {object}{audit}: {}: {why}", paint.warning("unknown")),
            Says::Violated(_) => writeln!(out, "  - {object}{audit}: {}", paint.alarm("violated")),
        };
        if let Says::Violated(violations) = &explanation.says {
            for violation in violations {
                let _ = writeln!(out, "      {} {}", violation.message, paint.faint(&format!("[{}]", violation.code)));
            }
        }
    }
    if set.policies().is_empty() {
        let _ = writeln!(out, "  there is no CSRPolicy, so nothing can be approved");
    }
}
