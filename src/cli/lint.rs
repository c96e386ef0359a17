//! `countersign lint`: mistakes and hazards in policies, before the cluster sees them.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{PossibleValue, TypedValueParser};
use serde::Serialize;

use super::load::{self, SourcedPolicy};
use super::located::Place;
use super::options::VerdictOptions;
use super::paint::{Color, Paint};
use super::problem::{Problem, report};
use super::{Exit, print, sarif};
use crate::api::API_VERSION;
use crate::escape::printable;
use crate::policy::{HazardCode, PolicySet, Severity, SignerPattern, hazards};

/// Find mistakes and hazards in policies and guardrails, with what to write instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A mistake keeps an object from being Ready. A hazard is something that it lets through; docs/hazards.md
explains each.

Exit status: 0 clean, 1 mistakes (or hazards, with --deny-hazards), 2 something could not be read.

Examples:
  countersign lint policies/
  countersign lint --deny-hazards=warning -o sarif policies/ > lint.sarif
  kubectl get csrpolicies,csrguardrails -o yaml | countersign lint -")]
pub(super) struct Args {
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Exit with 1 for hazards of this severity or above, too.
    #[arg(long, value_name = "SEVERITY", num_args = 0..=1, default_missing_value = "info", value_parser = LevelOrPath)]
    deny_hazards: Option<Denied>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    #[command(flatten)]
    verdict: VerdictOptions,
    /// Manifests with CSRPolicy and CSRGuardrail objects, directories, or - for standard input.
    #[arg(value_name = "PATH", required_unless_present = "deny_hazards")]
    paths: Vec<PathBuf>,
}

/// What stands behind `--deny-hazards`.
#[derive(Debug, Clone)]
enum Denied {
    From(Level),
    /// No severity but the first of the paths: all hazards are denied.
    Path(PathBuf),
}

/// Reads a severity, and takes anything else for a path.
#[derive(Debug, Clone)]
struct LevelOrPath;

impl TypedValueParser for LevelOrPath {
    type Value = Denied;

    fn parse_ref(&self, _: &clap::Command, _: Option<&clap::Arg>, value: &OsStr) -> Result<Denied, clap::Error> {
        let level = value.to_str().and_then(|text| Level::from_str(text, false).ok());
        Ok(level.map_or_else(|| Denied::Path(value.into()), Denied::From))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Level::value_variants().iter().filter_map(Level::to_possible_value)))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One document, for programs.
    Json,
    /// SARIF 2.1.0, for code review.
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    /// All of them.
    Info,
    /// What was probably not meant.
    Warning,
    /// What lets somebody become somebody else.
    High,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::High => Self::High,
        }
    }
}

/// The code of whatever keeps an object from being Ready.
pub(super) const MISTAKE: &str = "not-ready";

/// Something to tell about an object.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Nothing for a mistake.
    pub(super) hazard: Option<HazardCode>,
    pub(super) path: String,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn code(&self) -> &'static str {
        self.hazard.map_or(MISTAKE, HazardCode::as_str)
    }

    pub(super) fn severity(&self) -> &'static str {
        self.hazard.map_or("error", |code| code.severity().as_str())
    }
}

pub(super) fn run(mut args: Args) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let denied = match args.deny_hazards {
        None => None,
        Some(Denied::From(level)) => Some(level),
        Some(Denied::Path(path)) => {
            if !path.exists() && path.as_os_str() != "-" {
                let message = "is neither a severity (info, warning, high) nor a file";
                problems.push(Problem::new(&path.display().to_string(), None, message));
                return Ok(report(&problems));
            }
            args.paths.insert(0, path);
            Some(Level::Info)
        }
    };
    if args.paths.is_empty() {
        problems.push(Problem::new("lint", None, "give the files or directories to look at"));
        return Ok(report(&problems));
    }
    let policies = load::some_policies(&args.paths, &mut problems);
    let findings = find(&policies, args.verdict)?;
    print(&match args.output {
        Output::Text => text(&policies, &findings, Paint::new(args.color)),
        Output::Json => json(policies.len(), &findings, &problems)?,
        Output::Sarif => sarif::render(&findings, &problems)?,
    })?;
    if !problems.is_empty() {
        return Ok(report(&problems));
    }
    let denied = |finding: &Finding| match (finding.hazard, denied) {
        (None, _) => true,
        (Some(code), Some(level)) => code.severity() >= level.into(),
        (Some(_), None) => false,
    };
    Ok(if findings.iter().any(denied) { Exit::Findings } else { Exit::Clean })
}

fn find(policies: &[SourcedPolicy], options: VerdictOptions) -> anyhow::Result<Vec<Finding>> {
    let compiled = PolicySet::compile(policies.iter().map(|policy| &policy.object), crate::policy::Settings::default());
    // Unless options say otherwise, what the objects name is what is managed.
    let objects = || compiled.policies().iter().chain(compiled.guardrails());
    let named: Vec<SignerPattern> = objects().flat_map(|object| object.matcher.signers().iter().cloned()).collect();
    let set = PolicySet::compile(policies.iter().map(|policy| &policy.object), options.settings(named, None)?);
    let mut findings = Vec::new();
    for policy in policies {
        let all = || set.policies().iter().chain(set.guardrails());
        let Some(compiled) = all().find(|compiled| compiled.object == policy.object.reference()) else { continue };
        let finding = |hazard, path: &str, message: String| Finding {
            file: policy.path.clone(),
            place: policy.place_of(path),
            kind: policy.object.kind.name(),
            name: policy.object.name.clone(),
            hazard,
            path: path.to_owned(),
            message,
        };
        findings
            .extend(compiled.problems().iter().map(|problem| finding(None, &problem.path, problem.message.clone())));
        let hazards = hazards(&set, compiled);
        findings.extend(hazards.into_iter().map(|hazard| finding(Some(hazard.code), &hazard.path, hazard.why)));
    }
    Ok(findings)
}

fn text(policies: &[SourcedPolicy], findings: &[Finding], paint: Paint) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = match finding.hazard.map(HazardCode::severity) {
            None | Some(Severity::High) => paint.alarm(finding.severity()),
            Some(Severity::Warning) => paint.warning(finding.severity()),
            Some(Severity::Info) => finding.severity().to_owned(),
        };
        let object = format!("{} {}", finding.kind, printable(&finding.name));
        let place = format!("{}:{}", printable(&finding.file), finding.place);
        let _ = writeln!(out, "{place}: {severity} [{}] {}", finding.code(), paint.strong(&object));
        for line in format!("{}: {}", finding.path, finding.message).lines() {
            let _ = writeln!(out, "    {line}");
        }
        if let Some(code) = finding.hazard {
            let _ = writeln!(out, "    {}", paint.faint(&format!("instead: {}", code.instead())));
        }
    }
    let count = |severity: &str| findings.iter().filter(|finding| finding.severity() == severity).count();
    let counts: Vec<String> = ["error", "high", "warning", "info"]
        .into_iter()
        .map(|severity| (severity, count(severity)))
        .filter(|(_, number)| *number > 0)
        .map(|(severity, number)| {
            format!("{number} {severity}{}", if severity == "error" && number > 1 { "s" } else { "" })
        })
        .collect();
    if policies.is_empty() {
        // Why there are none is told as a problem.
        return out;
    }
    let said = if counts.is_empty() { "nothing to say".to_owned() } else { counts.join(", ") };
    let objects = if policies.len() == 1 { "object" } else { "objects" };
    let _ = writeln!(out, "{} {objects}: {said}", policies.len());
    out
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    api_version: &'static str,
    kind: &'static str,
    findings: Vec<Entry<'a>>,
    /// What could not be read, and is missing in the rest.
    problems: &'a [Problem],
    summary: Summary,
}

#[derive(Serialize)]
struct Entry<'a> {
    source: &'a str,
    line: u64,
    column: u64,
    kind: &'a str,
    name: &'a str,
    severity: &'a str,
    code: &'a str,
    path: &'a str,
    message: &'a str,
    instead: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary {
    objects: usize,
    errors: usize,
    hazards: usize,
}

fn json(objects: usize, findings: &[Finding], problems: &[Problem]) -> serde_json::Result<String> {
    let errors = findings.iter().filter(|finding| finding.hazard.is_none()).count();
    let report = Report {
        api_version: API_VERSION,
        kind: "LintReport",
        findings: findings
            .iter()
            .map(|finding| Entry {
                source: &finding.file,
                line: finding.place.line,
                column: finding.place.column,
                kind: finding.kind,
                name: &finding.name,
                severity: finding.severity(),
                code: finding.code(),
                path: &finding.path,
                message: &finding.message,
                instead: finding.hazard.map(HazardCode::instead),
            })
            .collect(),
        problems,
        summary: Summary { objects, errors, hazards: findings.len() - errors },
    };
    Ok(crate::escape::json(serde_json::to_string_pretty(&report)?) + "\n")
}
