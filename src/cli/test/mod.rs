//! `countersign test`: unit tests of policies, requests and the verdicts expected.

mod generate;
mod report;
mod save;
mod suite;

use std::path::{Path, PathBuf};

use super::input::{self, Content};
use super::load::{self, Sourced};
use super::options::{RequestOptions, StatedIn, signer_maximum};
use super::paint::{Color, Paint};
use super::problem::{Problem, report as report_problems};
use super::{Exit, print};
use crate::api::GROUP;
use crate::escape::printable;
use crate::node::{Node, Nodes};
use crate::policy::{Kind, PolicySet, Reserved, Settings, SignerPattern, network};
use crate::request::{Envelope, SigningRequest};
use crate::review::{Approvals, Facts, Holder, Review, review};
use save::Save;
pub(in crate::cli) use suite::KIND;
use suite::{Approved, Case, Expected, Given, InlineNode, Requestor, Suite};

/// Test policies: suites name requests and the verdicts expected.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A suite is a file of kind CSRPolicyTest; docs/testing.md explains every field.

Exit status: 0 all passed, 1 some failed, 2 a suite could not run.

Examples:
  countersign test examples/tests
  countersign test -o junit policies/tests > junit.xml
  countersign test --filter 'a year' policies/tests")]
pub(super) struct Args {
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Run only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Write each request that is made from a description into this directory, as a manifest to file.
    #[arg(long, value_name = "DIRECTORY")]
    save_requests: Option<PathBuf>,
    /// Suites: files, directories (in which other objects are passed over), or - for standard input.
    #[arg(value_name = "SUITE", required = true)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For CI systems.
    Junit,
}

/// One test that ran.
#[derive(Debug)]
struct Ran {
    name: String,
    review: Review,
    /// What is not as expected: what it is about, what was expected, what was found.
    differences: Vec<(&'static str, String, String)>,
}

/// All tests of one suite.
#[derive(Debug)]
struct SuiteRan {
    source: String,
    tests: Vec<Ran>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let mut ran = Vec::new();
    let documents = input::read(&args.paths, &input::OBJECTS, &mut problems);
    let mut suites = 0;
    let mut save = args.save_requests.clone().map(Save::new);
    for document in documents {
        let Content::Manifest(located) = &document.content else { continue };
        let value = located.value();
        if value["kind"] != KIND {
            let api_version = value["apiVersion"].as_str().unwrap_or_default();
            let wrong = match value["kind"].as_str() {
                Some(kind) if Kind::from_name(kind).is_some() => None,
                Some(kind) => load::misspelt(api_version, kind).map(|message| ("kind", message)),
                None => api_version.starts_with(GROUP).then(|| ("", format!("has no kind: a suite has kind: {KIND}"))),
            };
            if let Some((field, message)) = wrong {
                problems.push(Problem::new(&document.source, Some(located.place_of(field)), message));
            }
            continue;
        }
        suites += 1;
        let base = Path::new(&document.path).parent().unwrap_or(Path::new("")).to_owned();
        match Suite::read(&value) {
            Ok(suite) => {
                let tests = suite_tests(&suite, &base, args, save.as_mut(), &mut |path, message| {
                    problems.push(Problem::new(&document.source, Some(located.place_of(path)), message));
                });
                ran.push(SuiteRan { source: document.source.clone(), tests });
            }
            Err((path, message)) => {
                problems.push(Problem::new(&document.source, Some(located.place_of(&path)), message));
            }
        }
    }
    if suites == 0 && problems.is_empty() {
        for path in &args.paths {
            let message = format!("holds no {KIND}: see docs/testing.md");
            problems.push(Problem::new(&path.display().to_string(), None, message));
        }
    }
    if let Some(filter) = &args.filter
        && problems.is_empty()
        && ran.iter().all(|suite| suite.tests.is_empty())
    {
        let message = format!("no test has \"{}\" in its name", printable(filter));
        problems.push(Problem::new("--filter", None, message));
    }
    print(&match args.output {
        Output::Text => report::text(&ran, Paint::new(args.color)),
        Output::Junit => report::junit(&ran, &problems),
    })?;
    if !problems.is_empty() {
        return Ok(report_problems(&problems));
    }
    let failed = ran.iter().flat_map(|suite| &suite.tests).any(|test| !test.differences.is_empty());
    Ok(if failed { Exit::Findings } else { Exit::Clean })
}

fn suite_tests(
    suite: &Suite,
    base: &Path,
    args: &Args,
    mut save: Option<&mut Save>,
    problem: &mut dyn FnMut(&str, String),
) -> Vec<Ran> {
    let mut problems = Vec::new();
    let paths: Vec<PathBuf> = suite.policies.iter().map(|path| base.join(path)).collect();
    let policies = load::policies(&paths, &mut problems);
    let unread = (!problems.is_empty()).then(load::unread);
    for wrong in problems.drain(..) {
        problem("policies", wrong.to_string());
    }
    let objects: Vec<_> = policies.into_iter().map(|policy| policy.object).chain(unread).collect();
    let settings = match settings(suite, &objects) {
        Ok(settings) => settings,
        Err((field, message)) => {
            problem(field, message);
            return Vec::new();
        }
    };
    let known = match suite.nodes.as_deref().map(|sources| nodes(sources, base)).transpose() {
        Ok(known) => known,
        Err(message) => {
            problem("nodes", message);
            return Vec::new();
        }
    };
    let approved = suite.approvals.as_deref().map(approvals);
    let set = PolicySet::compile(&objects, settings);
    let mut tests = Vec::new();
    for (index, case) in suite.tests.iter().enumerate() {
        if args.filter.as_ref().is_some_and(|filter| !case.name.contains(filter)) {
            continue;
        }
        let path = format!("tests[{index}]");
        let request = match request(suite, case, base, save.as_deref_mut()) {
            Ok(request) => request,
            Err((field, message)) => {
                problem(&format!("{path}.{field}"), format!("{}: {message}", case.name));
                continue;
            }
        };
        let own = match case.nodes.as_deref().map(|sources| nodes(sources, base)).transpose() {
            Ok(own) => own,
            Err(message) => {
                problem(&format!("{path}.nodes"), format!("{}: {message}", case.name));
                continue;
            }
        };
        let own_approvals = case.approvals.as_deref().map(approvals);
        let facts = Facts {
            now: None,
            nodes: own.as_ref().or(known.as_ref()),
            approvals: own_approvals.as_ref().or(approved.as_ref()),
        };
        let review = review(&set, &request, &facts);
        let differences = differences(&case.expect, &review);
        tests.push(Ran { name: case.name.clone(), review, differences });
    }
    tests
}

/// The Nodes that a suite or a test names.
fn nodes(sources: &[Given<InlineNode>], base: &Path) -> Result<Nodes, String> {
    let mut nodes = Nodes::default();
    let mut problems = Vec::new();
    for source in sources {
        let more = match source {
            Given::Here(node) => [node.node()].into_iter().collect(),
            Given::Name(path) => load::nodes(&[base.join(path)], &mut problems),
        };
        for node in more.iter() {
            if nodes.get(&node.name).is_some() {
                return Err(format!("Node {} is there twice: keep one", printable(&node.name)));
            }
            nodes.insert(Node::clone(node));
        }
    }
    problems.first().map_or(Ok(nodes), |problem| Err(problem.to_string()))
}

/// What a suite or a test says was approved.
fn approvals(approved: &[Approved]) -> Approvals {
    let mut approvals = Approvals::default();
    for (index, approved) in approved.iter().enumerate() {
        let holder = Holder::new(&approved.signer_name, &approved.node);
        approvals.insert(holder, &format!("approvals[{index}]"), approved.at);
    }
    approvals
}

fn settings(suite: &Suite, objects: &[crate::policy::PolicyObject]) -> Result<Settings, Wrong> {
    let managed = suite.managed_signers.iter().map(|signer| SignerPattern::managed(signer)).collect::<Result<_, _>>();
    let mut managed: Vec<SignerPattern> = managed.map_err(|message| ("managedSigners", message))?;
    let cidrs = suite.service_cidrs.iter().map(|cidr| network(cidr)).collect::<Result<_, _>>();
    let maxima = suite.signer_max_seconds.iter().map(|(signer, &seconds)| signer_maximum(signer, seconds));
    if managed.is_empty() {
        let set = PolicySet::compile(objects, Settings::default());
        let all = set.policies().iter().chain(set.guardrails());
        managed = all.flat_map(|object| object.matcher.signers().iter().cloned()).collect();
    }
    Ok(Settings {
        managed_signers: managed,
        reserved: Reserved::new(suite.reserved_prefixes.iter().cloned()),
        signer_max_seconds: maxima.collect::<Result<_, _>>().map_err(|message| ("signerMaxSeconds", message))?,
        required_guardrails: suite.require_guardrails.clone(),
        service_cidrs: cidrs.map_err(|message| ("serviceCIDRs", message))?,
        max_request_age: None,
    })
}

type Wrong = (&'static str, String);

fn request(suite: &Suite, case: &Case, base: &Path, save: Option<&mut Save>) -> Result<SigningRequest, Wrong> {
    let requestor = match &case.requestor {
        None => None,
        Some(Given::Here(requestor)) => Some(requestor.as_ref()),
        Some(Given::Name(name)) => Some(suite.requestors.get(name).ok_or_else(|| {
            let known: Vec<&str> = suite.requestors.keys().map(String::as_str).collect();
            ("requestor", format!("there is no requestor {name}; requestors has {}", known.join(", ")))
        })?),
    };
    match &case.request {
        Given::Name(path) => {
            let mut request = from_file(&base.join(path), case, requestor)?;
            if let Some(requestor) = requestor {
                requestor.put_into(&mut request.envelope);
            }
            request.envelope.created = case.created.or(request.envelope.created);
            Ok(request)
        }
        Given::Here(inline) => {
            if let Some(field) = case.completes() {
                let message = format!("the request is described here and has its own {field}: write it there");
                return Err((field, message));
            }
            let requestor = requestor.ok_or((
                "requestor",
                "say who files the request: name one of requestors, or write one here".to_owned(),
            ))?;
            let pem = generate::pem(inline).map_err(|message| ("request", message))?;
            let mut envelope = Envelope {
                name: case.name.clone(),
                signer_name: inline.signer_name.clone(),
                usages: inline.usages.clone(),
                expiration_seconds: inline.expiration_seconds,
                created: case.created,
                ..Envelope::default()
            };
            requestor.put_into(&mut envelope);
            if let Some(save) = save {
                save.request(&envelope, &pem).map_err(|message| ("name", message))?;
            }
            Ok(SigningRequest::decode(envelope, pem.as_bytes()))
        }
    }
}

fn from_file(path: &Path, case: &Case, requestor: Option<&Requestor>) -> Result<SigningRequest, Wrong> {
    let options = RequestOptions {
        signer_name: case.signer_name.clone(),
        username: requestor.map(|requestor| requestor.username.clone()),
        uid: None,
        groups: Vec::new(),
        extra: Vec::new(),
        usages: case.usages.clone(),
        expiration_seconds: case.expiration_seconds,
        stated_in: StatedIn::Test,
    };
    let mut problems = Vec::new();
    let mut requests = load::requests(&[path.to_owned()], &options, &mut problems, |sourced| sourced);
    if let Some(problem) = problems.first() {
        return Err(("request", problem.to_string()));
    }
    match (requests.pop(), requests.is_empty()) {
        (Some(Sourced { request, .. }), true) => match case.contradicts(&request.envelope) {
            Some(field) => Err((field, format!("{} has another {field}: remove it here", path.display()))),
            None => Ok(request),
        },
        _ => Err(("request", format!("{} holds more than one request: give each a file", path.display()))),
    }
}

fn differences(expected: &Expected, review: &Review) -> Vec<(&'static str, String, String)> {
    let mut differences = Vec::new();
    let mut compare = |what: &'static str, expected: Option<String>, found: String| {
        if let Some(expected) = expected
            && expected != found
        {
            differences.push((what, expected, found));
        }
    };
    compare("decision", Some(expected.decision.clone()), review.decision.as_str().to_owned());
    let policy = review.policy.as_ref().map(|policy| policy.name.clone()).unwrap_or_default();
    compare("policy", expected.policy.clone(), policy);
    compare("reasonCode", expected.reason_code.clone(), review.reason_code.as_str().to_owned());
    let sorted = |mut codes: Vec<String>| {
        codes.sort();
        codes.dedup();
        codes.join(", ")
    };
    let found = review.violations.iter().map(|violation| violation.code.as_str().to_owned()).collect();
    compare("violations", expected.violations.clone().map(sorted), sorted(found));
    let audit = review.audit.as_ref().map_or(review.decision, |audit| audit.decision);
    compare("auditDecision", expected.audit_decision.clone(), audit.as_str().to_owned());
    differences
}
