//! Documents become requests and policies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;
use serde_json::json;

use super::input::{self, Content, Document};
use super::located::{Located, Place};
use super::options::{RequestOptions, StatedIn, too_short};
use super::problem::Problem;
use super::progress::Progress;
use crate::api::{API_VERSION, GROUP};
use crate::escape::printable;
use crate::nearest::{nearest, slip};
use crate::node::{Node, Nodes};
use crate::policy::{Compiled, Kind, PolicyObject};
use crate::request::{CsrObject, Envelope, SigningRequest};

/// The kind of a request.
const REQUEST: &str = "CertificateSigningRequest";

/// A request and where it came from.
#[derive(Debug)]
pub(super) struct Sourced {
    pub(super) source: String,
    pub(super) request: SigningRequest,
    /// Whether a cluster has it, and it was decided there.
    pub(super) decided: bool,
}

impl Sourced {
    /// One in a file, or one that is pending.
    pub(super) fn new(source: &str, request: SigningRequest) -> Self {
        Self { source: source.to_owned(), request, decided: false }
    }

    /// The time to judge its age by, where it is `now`. How old one is that was decided says nothing: it was younger then.
    pub(super) fn judged_at(&self, now: Timestamp) -> Option<Timestamp> {
        (!self.decided).then_some(now)
    }
}

/// A policy or guardrail and where it came from.
#[derive(Debug)]
pub(super) struct SourcedPolicy {
    pub(super) object: PolicyObject,
    /// The file, without the number of the document.
    pub(super) path: String,
    located: Located,
}

impl SourcedPolicy {
    /// Where the value at `path` (`spec.match.requestors[0]`) stands.
    pub(super) fn place_of(&self, path: &str) -> Place {
        self.located.place_of(path)
    }
}

/// The policies and guardrails that `paths` hold, each that can be told apart from others. In each path there is one: a guardrail
/// may have been meant to be there.
pub(super) fn policies(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<SourcedPolicy> {
    let first = problems.len();
    let policies = some_policies(paths, problems);
    for path in paths {
        let told = problems[first..].iter().any(|problem| Path::new(&problem.source).starts_with(path));
        if !told && !policies.iter().any(|policy| Path::new(&policy.path).starts_with(path)) {
            problems.push(without_policies(path));
        }
    }
    policies
}

fn without_policies(path: &Path) -> Problem {
    Problem::new(&path.display().to_string(), None, "holds no CSRPolicy and no CSRGuardrail")
}

/// The same, where some of `paths` may hold other objects only.
pub(super) fn some_policies(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Vec<SourcedPolicy> {
    let mut policies: Vec<SourcedPolicy> = Vec::new();
    let first = problems.len();
    let documents = input::read(paths, &input::OBJECTS, problems);
    for document in documents {
        let Content::Manifest(located) = document.content else {
            problems.push(Problem::new(&document.path, None, "is a PEM file, and policies are manifests"));
            continue;
        };
        let value = located.value();
        let (api_version, kind) = (value["apiVersion"].as_str().unwrap_or_default(), value["kind"].as_str());
        if kind == Some(super::test::KIND) {
            // Suites may lie beside the policies that they test.
            continue;
        }
        let mut problem = |path: &str, message: String| {
            problems.push(Problem::new(&document.path, Some(located.place_of(path)), message));
        };
        let ours = api_version.starts_with(&format!("{GROUP}/"));
        let kind = match (kind, kind.and_then(Kind::from_name)) {
            (_, Some(kind)) if ours => kind,
            (_, Some(kind)) => {
                let path = if value["apiVersion"].is_null() { "" } else { "apiVersion" };
                problem(path, format!("a {kind} has apiVersion: {API_VERSION}; write that"));
                continue;
            }
            // Another object, unless it was to be one of ours.
            (Some(name), None) => {
                if let Some(message) = misspelt(api_version, name) {
                    problem("kind", message);
                }
                continue;
            }
            (None, None) => {
                problem(
                    "",
                    format!("has no kind: write kind: CSRPolicy or CSRGuardrail, and apiVersion: {API_VERSION}"),
                );
                continue;
            }
        };
        let object = PolicyObject::new(kind, value);
        if object.name.is_empty() {
            problem("metadata", format!("{kind} has no metadata.name"));
        }
        let same = |seen: &&SourcedPolicy| (seen.object.kind, &seen.object.name) == (kind, &object.name);
        if let Some(other) = policies.iter().find(same) {
            problem("metadata.name", format!("{} is in {} too: keep one", object.reference(), other.path));
        }
        policies.push(SourcedPolicy { object, path: document.path, located });
    }
    if policies.is_empty() && problems.len() == first {
        problems.extend(paths.iter().map(|path| without_policies(path)));
    }
    policies
}

/// What was meant by a kind that there is not, if it was to be one of this API: whichever kind under the group, whose
/// version may be misspelt too, and a slip of ours under any.
pub(super) fn misspelt(api_version: &str, kind: &str) -> Option<String> {
    let known = || Kind::ALL.into_iter().map(Kind::name).chain([super::test::KIND]);
    if !api_version.starts_with(GROUP) && slip(kind, known()).is_none() {
        return None;
    }
    let kinds: Vec<&str> = known().collect();
    let meant = match slip(kind, known()).or_else(|| nearest(kind, known())) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", kinds.join(", ")),
    };
    Some(format!("{API_VERSION} has no kind {}; {meant}", printable(kind)))
}

/// What stands for policies and guardrails that could not be read: a guardrail that might forbid anything, so that
/// nothing is told approved which they might have forbidden.
pub(super) fn unread() -> PolicyObject {
    let metadata = json!({ "name": "that could not be read" });
    PolicyObject::new(Kind::CSRGuardrail, json!({ "apiVersion": API_VERSION, "metadata": metadata }))
}

/// What stands in the way of each being Ready. Such an object still counts: as one that might
/// forbid, or might permit.
pub(super) fn not_ready(policies: &[SourcedPolicy], problems: &mut Vec<Problem>) {
    for policy in policies {
        for wrong in Compiled::new(&policy.object).problems() {
            let message = format!("{}: {wrong}", policy.object.reference());
            problems.push(Problem::new(&policy.path, Some(policy.place_of(&wrong.path)), message));
        }
    }
}

/// How many files of requests are in memory at a time.
const WINDOW: usize = 256;

/// What `each` makes of the requests that `paths` hold, in their order. Other objects among them are passed over, but in each file
/// that is named there is one. All cores read, decode and do `each`; then only what that gave is still there.
pub(super) fn requests<T: Send>(
    paths: &[PathBuf],
    options: &RequestOptions,
    problems: &mut Vec<Problem>,
    each: impl Fn(Sourced) -> T + Sync,
) -> Vec<T> {
    let mut found = input::find(paths, &input::REQUESTS).into_iter();
    let progress = Progress::new("requests", Some(found.len() as u64));
    let mut made = Vec::new();
    // Told behind what could not be read at all.
    let mut refused = Vec::new();
    // What is given and holds no request, and has no problem.
    let mut untold: BTreeSet<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let mut nothing = true;
    while found.len() > 0 {
        let window: Vec<_> = found.by_ref().take(WINDOW).collect();
        let files = window.len();
        let read: Vec<(Vec<Document>, Vec<Problem>)> = window
            .into_par_iter()
            .map(|found| {
                let mut problems = Vec::new();
                (found.read(&input::REQUESTS, &mut problems), problems)
            })
            .collect();
        let mut documents = Vec::new();
        for (more, unread) in read {
            documents.extend(more);
            for problem in unread {
                nothing = false;
                untold.remove(&problem.source);
                problems.push(problem);
            }
        }
        progress.expect(documents.len() as u64, files as u64);
        let decoded: Vec<_> = documents
            .into_par_iter()
            .map(|document| {
                let request = request(&document, options).transpose().or_else(|| misread(&document).map(Err));
                let made = request.map(|request| request.map(|request| each(Sourced::new(&document.source, request))));
                progress.advance(1);
                (document.path, made)
            })
            .collect();
        for (path, decoded) in decoded {
            match decoded {
                Some(Ok(one)) => made.push(one),
                Some(Err(problem)) => refused.push(problem),
                None => continue,
            }
            nothing = false;
            untold.remove(&path);
        }
    }
    problems.extend(refused);
    for path in paths.iter().filter(|path| nothing || !path.is_dir()) {
        let path = path.display().to_string();
        if untold.contains(&path) {
            problems.push(Problem::new(&path, None, "holds no CertificateSigningRequest"));
        }
    }
    made
}

/// What is wrong with a document that is no request, if it was to be one.
fn misread(document: &Document) -> Option<Problem> {
    /// The API group of requests, and what else it has.
    const CERTIFICATES: &str = "certificates.k8s.io/";
    const OTHERS: [&str; 2] = ["ClusterTrustBundle", "PodCertificateRequest"];
    let Content::Manifest(located) = &document.content else { return None };
    let value = located.value();
    let problem = |path, message| Some(Problem::new(&document.path, Some(located.place_of(path)), message));
    let Some(kind) = value["kind"].as_str() else {
        return problem("", format!("has no kind: write kind: {REQUEST}, and apiVersion: certificates.k8s.io/v1"));
    };
    let of_group = value["apiVersion"].as_str().is_some_and(|version| version.starts_with(CERTIFICATES));
    if OTHERS.contains(&kind) || !of_group && slip(kind, [REQUEST].into_iter()).is_none() {
        return None;
    }
    problem("kind", format!("there is no kind {}; write {REQUEST}", printable(kind)))
}

/// The request that a document is, if it is one.
pub(super) fn request(document: &Document, options: &RequestOptions) -> Result<Option<SigningRequest>, Problem> {
    match &document.content {
        Content::Pem(pem) => bare(document, pem, options),
        Content::Manifest(located) => manifest(document, located, options),
    }
}

/// The Nodes that `paths` hold. Other objects among them are passed over.
pub(super) fn nodes(paths: &[PathBuf], problems: &mut Vec<Problem>) -> Nodes {
    let before = problems.len();
    let mut nodes = Nodes::default();
    for document in input::read(paths, &input::OBJECTS, problems) {
        let Content::Manifest(located) = &document.content else { continue };
        let value = located.value();
        if value["kind"] != "Node" || value["apiVersion"] != "v1" {
            continue;
        }
        let mut problem = |path: &str, message: String| {
            problems.push(Problem::new(&document.path, Some(located.place_of(path)), message));
        };
        match serde_json::from_value::<Node>(value) {
            Ok(node) if node.name.is_empty() => problem("metadata", "Node has no metadata.name".to_owned()),
            Ok(node) if nodes.get(&node.name).is_some() => {
                problem("metadata.name", format!("Node {} is there twice: keep one", printable(&node.name)));
            }
            Ok(node) => {
                nodes.insert(node);
            }
            Err(error) => problem("", format!("cannot be read: {}", printable(&error.to_string()))),
        }
    }
    if nodes.is_empty() && problems.len() == before {
        for path in paths {
            problems.push(Problem::new(&path.display().to_string(), None, "holds no Node"));
        }
    }
    nodes
}

fn bare(document: &Document, pem: &[u8], options: &RequestOptions) -> Result<Option<SigningRequest>, Problem> {
    let envelope = complete(Envelope::default(), options)
        .map_err(|missing| Problem::new(&document.source, None, format!("is a bare PEM request: {missing}")))?;
    Ok(Some(SigningRequest::decode(envelope, pem)))
}

fn manifest(
    document: &Document,
    located: &Located,
    options: &RequestOptions,
) -> Result<Option<SigningRequest>, Problem> {
    let value = located.value();
    if value["kind"] != REQUEST {
        return Ok(None);
    }
    let wrong = |path: &str, message: String| Err(Problem::new(&document.path, Some(located.place_of(path)), message));
    if value["apiVersion"] != "certificates.k8s.io/v1" {
        return wrong("apiVersion", "is not certificates.k8s.io/v1, the one version that Kubernetes serves".to_owned());
    }
    if !value["spec"]["request"].is_string() {
        return wrong(
            "spec.request",
            "has no spec.request: base64 of a PEM request, for example from base64 -w0 FILE".to_owned(),
        );
    }
    let object: CsrObject = match serde_json::from_value(value) {
        Ok(object) => object,
        Err(error) => return wrong("spec", format!("cannot be read: {}", printable(&error.to_string()))),
    };
    if let Some(field) = object.malformed() {
        return wrong(field, format!("{field} has a type that it cannot have: write it as the Kubernetes API says"));
    }
    let envelope = object.envelope();
    if let Some(why) = too_short(envelope.expiration_seconds) {
        return wrong("spec.expirationSeconds", why);
    }
    let name = printable(&object.metadata.name);
    match complete(envelope, options) {
        Ok(envelope) => Ok(Some(object.signing_request_with(envelope))),
        Err(missing) => wrong("spec", format!("CertificateSigningRequest {name}: {missing}")),
    }
}

/// `envelope`, with what it leaves out taken from `options`. The requestor is taken whole from one
/// of the two, never mixed.
fn complete(mut envelope: Envelope, options: &RequestOptions) -> Result<Envelope, String> {
    if envelope.signer_name.is_empty() {
        envelope.signer_name = options.signer_name.clone().ok_or(match options.stated_in {
            StatedIn::Options => "spec.signerName is not there: give --signer-name",
            StatedIn::Test => "it says no signer: write signerName: beside request:",
        })?;
    }
    if envelope.username.is_empty() {
        envelope.username = options.username.clone().ok_or(match options.stated_in {
            StatedIn::Options => {
                "spec.username is not there, which the API server fills in from the requestor: give --username (and \
                 --group, --uid, --extra)"
            }
            StatedIn::Test => "it does not say who files it: write requestor: beside request:",
        })?;
        envelope.user_uid = options.uid.clone().unwrap_or_default();
        envelope.groups.clone_from(&options.groups);
        envelope.extra.clear();
        for (key, value) in &options.extra {
            envelope.extra.entry(key.clone()).or_default().push(value.clone());
        }
    }
    if envelope.usages.is_empty() {
        envelope.usages.clone_from(&options.usages);
    }
    envelope.expiration_seconds = envelope.expiration_seconds.or(options.expiration_seconds);
    Ok(envelope)
}
