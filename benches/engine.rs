//! The engine: decoding with the signature check, and whole reviews, beside the bare signature check and beside what
//! Go takes to parse and check the same request (needs Go). `cargo bench --bench engine`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use countersign::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use countersign::request::{Envelope, SigningRequest};
use countersign::review::{Decision, Facts, review};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// A request of `requests/`, and how its self-signature is checked.
struct Sample {
    name: &'static str,
    pem: Vec<u8>,
    method: &'static dyn VerificationAlgorithm,
}

fn samples() -> [Sample; 3] {
    let sample = |name, method| Sample { name, pem: std::fs::read(path(name)).unwrap(), method };
    [
        sample("p256", &signature::ECDSA_P256_SHA256_ASN1),
        sample("rsa2048", &signature::RSA_PKCS1_2048_8192_SHA256),
        sample("ed25519", &signature::ED25519),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/requests/{name}.pem"))
}

fn envelope() -> Envelope {
    Envelope {
        name: "amy".to_owned(),
        signer_name: SIGNER.to_owned(),
        username: "portal".to_owned(),
        groups: vec!["platform-onboarding".to_owned(), "system:authenticated".to_owned()],
        usages: vec!["client auth".to_owned(), "digital signature".to_owned()],
        expiration_seconds: Some(86_400),
        ..Envelope::default()
    }
}

/// Policies for this signer, of which the last is about the request's requestor: what a cluster looks like in which
/// every team has one.
fn policies(number: usize, expressions: bool) -> PolicySet {
    let policy = |index: usize| {
        let group = if index + 1 == number { "platform-onboarding".to_owned() } else { format!("team-{index}") };
        let mut allow = json!({
            "subject": { "commonName": { "allowed": ["oidc:*"] }, "organizations": { "allowed": ["developers", "oncall"] } },
            "usages": { "allowed": ["client auth", "digital signature"], "required": ["client auth"] },
            "expirationSeconds": { "max": 2_592_000 },
            "keys": { "algorithms": ["RSA", "ECDSA", "Ed25519"] },
            "dnsNames": { "allowed": ["*.dev.example.com"], "denied": ["vpn.dev.example.com"], "max": 4 },
            "ipAddresses": { "allowed": ["10.0.0.0/8"], "denied": ["10.0.0.0/24"] },
        });
        let mut matches = json!({ "signerNames": [SIGNER], "requestors": [{ "groups": [group] }] });
        if expressions {
            matches["conditions"] =
                json!([{ "name": "not-ci", "expression": "!requestor.username.startsWith('ci:')" }]);
            allow["validations"] = json!([{ "name": "short", "expression": "csr.subject.commonName.size() <= 32" }]);
        }
        object(Kind::CSRPolicy, &format!("team-{index:04}"), &json!({ "match": matches, "allow": allow }))
    };
    let limits = json!({
        "subject": { "organizations": { "denied": ["admins", "kubeadm:*"] } },
        "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" },
    });
    let guardrail = object(Kind::CSRGuardrail, "cluster-limits", &json!({ "match": {}, "limits": limits }));
    let objects: Vec<PolicyObject> = (0..number).map(policy).chain([guardrail]).collect();
    let managed_signers = vec![SignerPattern::new(SIGNER).unwrap()];
    PolicySet::compile(&objects, Settings { managed_signers, ..Settings::default() })
}

fn object(kind: Kind, name: &str, spec: &Value) -> PolicyObject {
    let value = json!({ "apiVersion": "countersign.dev/v1alpha1", "metadata": { "name": name }, "spec": spec });
    PolicyObject::new(kind, value)
}

/// The least that anybody must do: the check of the self-signature alone.
fn signature(c: &mut Criterion) {
    let mut group = c.benchmark_group("signature");
    for sample in samples() {
        let der = x509_parser::pem::parse_x509_pem(&sample.pem).unwrap().1.contents;
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let info = &request.certification_request_info;
        let key = UnparsedPublicKey::new(sample.method, info.subject_pki.subject_public_key.data.as_ref());
        group.bench_function(sample.name, |b| {
            b.iter(|| key.verify(black_box(info.raw), &request.signature_value.data).unwrap());
        });
    }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for sample in samples() {
        group.bench_function(sample.name, |b| {
            b.iter_batched(
                envelope,
                |envelope| SigningRequest::decode(envelope, black_box(&sample.pem)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

/// Decoding and deciding, under policies of which one concerns the request.
fn whole(c: &mut Criterion) {
    for (name, expressions) in [("review", false), ("review-cel", true)] {
        let mut group = c.benchmark_group(name);
        for number in [1, 10, 100, 1000] {
            let set = policies(number, expressions);
            for sample in samples() {
                group.bench_function(BenchmarkId::new(sample.name, number), |b| {
                    b.iter_batched(
                        envelope,
                        |envelope| {
                            let request = SigningRequest::decode(envelope, black_box(&sample.pem));
                            let verdict = review(&set, &request, &Facts::default());
                            assert_eq!(verdict.decision, Decision::Approve);
                            verdict
                        },
                        criterion::BatchSize::SmallInput,
                    );
                });
            }
        }
    }
}

/// Deciding alone, of a request that is decoded already.
fn decide(c: &mut Criterion) {
    let pem = std::fs::read(path("p256")).unwrap();
    let request = SigningRequest::decode(envelope(), &pem);
    for (name, expressions) in [("decide", false), ("decide-cel", true)] {
        let mut group = c.benchmark_group(name);
        for number in [1, 10, 100, 1000] {
            let set = policies(number, expressions);
            group.throughput(Throughput::Elements(number as u64));
            group.bench_function(BenchmarkId::from_parameter(number), |b| {
                b.iter(|| review(&set, black_box(&request), &Facts::default()));
            });
        }
    }
}

/// What Go takes to parse a request and to check its signature.
fn go(c: &mut Criterion) {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-parse-and-check");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/go/main.go");
    let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(source).status();
    assert!(built.is_ok_and(|status| status.success()), "the comparison needs Go");
    let mut group = c.benchmark_group("go-parse-and-check");
    for sample in samples() {
        group.bench_function(sample.name, |b| {
            b.iter_custom(|iterations| {
                let output =
                    Command::new(&program).arg(iterations.to_string()).arg(path(sample.name)).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                Duration::from_nanos(text.trim().parse().unwrap())
            });
        });
    }
}

criterion_group! {
    name = engine;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).without_plots();
    targets = signature, decode, whole, decide, go
}
criterion_main!(engine);
