//! The whole way round: random policies, random requests, and the certificates that come of them on a real control plane.
//! Every certificate is held against the policy that approved it and all guardrails, by an oracle that knows nothing of the
//! engine; what the engine does not approve gets none.
//!
//! A run prints its seed; `ROUND_SEED` repeats it, and `ROUND_REQUESTS` says how many requests there shall be.
#![allow(clippy::print_stdout, reason = "the seed of a run, and what it met, are worth knowing")]

mod ask;
mod certificate;
mod oracle;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use countersign::node::Nodes;
use countersign::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use countersign::request::{Envelope, SigningRequest};
use countersign::review::{Decision, Facts, Review, review};
use fastrand::Rng;
use serde_json::{Value, json};
use testbed::{Api, Options, eventually};

use crate::cluster::nodes::may_read_nodes;
use crate::cluster::{Cluster, anyhow_if, base64};
use crate::differential::go::{Context, Go};
use crate::differential::keys::{self, Key};
use ask::Ask;
use certificate::{Certificate, sha256};
use oracle::{BACKDATED, Filed, Met, objections, speaks};
use world::{NODES, REQUESTORS, SIGNERS, World};

/// How many requests are filed unless told otherwise.
const REQUESTS: usize = 1_000;
/// How many under the same policies.
const BATCH: usize = 50;

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const OBJECTS: [&str; 2] =
    ["/apis/countersign.dev/v1alpha1/csrpolicies", "/apis/countersign.dev/v1alpha1/csrguardrails"];

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    let number = |value: String| value.parse().unwrap_or_else(|_| panic!("{name} is not a number"));
    std::env::var(name).map_or(default, number)
}

/// What makes random requests, and what was met on the way.
struct Round {
    seed: u64,
    rng: Rng,
    go: Go,
    keys: Vec<Key>,
    nodes: Nodes,
    /// The rules that something issued was held against and satisfied.
    met: BTreeMap<String, usize>,
    /// The codes of what was refused, and the signers of what was issued.
    refused: BTreeMap<&'static str, usize>,
    issued: BTreeMap<&'static str, usize>,
}

/// A request, and what the engine says of it offline.
struct Sample {
    name: String,
    ask: Ask,
    pem: String,
    review: Review,
    decodes: bool,
}

/// The Nodes, as they are created.
fn node_objects() -> impl Iterator<Item = Value> {
    NODES.iter().map(|(name, address, host)| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name },
            "status": { "addresses": [
                { "type": "InternalIP", "address": address },
                { "type": "InternalDNS", "address": host },
            ]},
        })
    })
}

fn compile(world: &World) -> PolicySet {
    let managed_signers = SIGNERS.iter().map(|signer| SignerPattern::new(signer).unwrap()).collect();
    let policies = world.policies.iter().map(|policy| PolicyObject::new(Kind::CSRPolicy, policy.clone()));
    let guardrails = world.guardrails.iter().map(|guardrail| PolicyObject::new(Kind::CSRGuardrail, guardrail.clone()));
    let objects: Vec<PolicyObject> = policies.chain(guardrails).collect();
    let set = PolicySet::compile(&objects, Settings { managed_signers, ..Settings::default() });
    for object in set.policies().iter().chain(set.guardrails()) {
        assert!(object.is_ready(), "{}: {:?}", object.object, object.problems());
    }
    set
}

impl Round {
    fn new() -> Self {
        let seed = variable("ROUND_SEED", fastrand::u64(..));
        println!("ROUND_SEED={seed}");
        let mut go = Go::start();
        let keys = keys::all(&mut go);
        let nodes = node_objects().map(|node| serde_json::from_value(node).unwrap()).collect();
        let (met, refused, issued) = Default::default();
        Self { seed, rng: Rng::with_seed(seed), go, keys, nodes, met, refused, issued }
    }

    fn sample(&mut self, world: &World, set: &PolicySet, name: String) -> Sample {
        let ask = Ask::new(world, &self.keys, &mut self.rng);
        let pem = ask.pem(&self.keys, &mut self.go, &mut self.rng);
        let filed = ask.filed();
        let envelope = Envelope {
            signer_name: filed.signer,
            username: filed.username,
            groups: filed.groups,
            usages: ask.usages.clone(),
            expiration_seconds: ask.expiration_seconds,
            ..Envelope::default()
        };
        let request = SigningRequest::decode(envelope, pem.as_bytes());
        let review = review(set, &request, &Facts { nodes: Some(&self.nodes), ..Facts::default() });
        if review.decision != Decision::Approve {
            for violation in &review.violations {
                *self.refused.entry(violation.code.as_str()).or_default() += 1;
            }
        }
        Sample { name, ask, pem, decodes: request.content.is_ok(), review }
    }

    /// Holds a certificate against all that is in force: what objects to it, or `Ok` with the policies that permit it.
    fn judge(&mut self, world: &World, filed: &Filed, certificate: &Certificate) -> Result<Vec<String>, Vec<String>> {
        let (mut against, mut permits, mut met) = (Vec::new(), Vec::new(), Met::new());
        for object in world.guardrails.iter().chain(&world.policies).filter(|object| speaks(object, filed)) {
            let name = object["metadata"]["name"].as_str().unwrap();
            let mut here = Met::new();
            let found = objections(object, filed, certificate, &mut here);
            let is_policy = object["kind"] == "CSRPolicy";
            if found.is_empty() {
                permits.extend(is_policy.then(|| name.to_owned()));
                met.extend(here);
            } else if is_policy {
                against.push(format!("policy {name}: {found:?}"));
            } else {
                return Err(vec![format!("guardrail {name}: {found:?}")]);
            }
        }
        if permits.is_empty() {
            return Err(against);
        }
        for rule in met {
            *self.met.entry(rule).or_default() += 1;
        }
        Ok(permits)
    }

    /// Holds a certificate of `sample` against the policy that approved it, called `policy`.
    #[track_caller]
    fn satisfies(&mut self, world: &World, sample: &Sample, policy: &str, certificate: &Certificate) {
        let verdict = self.judge(world, &sample.ask.filed(), certificate);
        let seed = self.seed;
        match verdict {
            Ok(permits) if permits.iter().any(|name| name == policy) => {}
            other => panic!(
                "seed {seed}, {}: policy {policy} approved it, and {other:?}\n{:?}\n{certificate:?}\n{}",
                sample.name,
                sample.ask,
                serde_json::to_string_pretty(&[&world.policies[..], &world.guardrails].concat()).unwrap()
            ),
        }
        assert_eq!(certificate.key.sha256, sha256(&self.keys[sample.ask.key].info), "another key");
        *self.issued.entry(sample.ask.signer).or_default() += 1;
    }

    /// It proves little if rules, codes or signers were never met; a short run may miss some of the rules and codes.
    fn met_everything(&self, may_miss: usize) {
        println!("{:#?}\n{:#?}\n{:#?}", self.met, self.refused, self.issued);
        for signer in SIGNERS {
            assert!(self.issued.contains_key(signer), "nothing was issued by {signer}");
        }
        let missing: Vec<&str> = RULES.into_iter().filter(|rule| !self.met.contains_key(*rule)).collect();
        assert!(missing.len() <= may_miss, "no certificate met {missing:?}");
        let missing: Vec<&str> = CODES.into_iter().filter(|code| !self.refused.contains_key(*code)).collect();
        assert!(missing.len() <= may_miss, "nothing was refused for {missing:?}");
    }
}

/// What certificates must have been held against.
const RULES: [&str; 46] = [
    "allow.commonName.absent",
    "allow.commonName.allowed",
    "allow.commonName.denied",
    "allow.commonName.from",
    "allow.dnsNames.allowed",
    "allow.dnsNames.denied",
    "allow.dnsNames.from",
    "allow.dnsNames.max",
    "allow.dnsNames.required",
    "allow.dnsNames.wildcards",
    "allow.emailAddresses.allowed",
    "allow.emailAddresses.denied",
    "allow.emailAddresses.required",
    "allow.expirationSeconds.Allow",
    "allow.expirationSeconds.SignerMaximum",
    "allow.expirationSeconds.max",
    "allow.expirationSeconds.min",
    "allow.ipAddresses.allowed",
    "allow.ipAddresses.denied",
    "allow.ipAddresses.from",
    "allow.ipAddresses.required",
    "allow.keys.algorithms",
    "allow.keys.ecdsa.curves",
    "allow.keys.rsa.maxBits",
    "allow.keys.rsa.minBits",
    "allow.organizationalUnits.allowed",
    "allow.organizations.allowed",
    "allow.organizations.denied",
    "allow.organizations.from",
    "allow.organizations.max",
    "allow.organizations.min",
    "allow.organizations.required",
    "allow.uris.allowed",
    "allow.uris.denied",
    "allow.uris.required",
    "allow.usages.allowed",
    "allow.usages.required",
    "allow.validations",
    "limits.commonName.denied",
    "limits.dnsNames.max",
    "limits.expirationSeconds.max",
    "limits.keys.algorithms",
    "limits.organizations.max",
    "limits.signerNames.allowed",
    "limits.usages.denied",
    "limits.validations",
];

/// What requests must have been refused for.
const CODES: [&str; 26] = [
    "dns-name-count",
    "dns-name-denied",
    "dns-name-not-allowed",
    "dns-name-wildcard",
    "email-address-not-allowed",
    "expiration-too-long",
    "expiration-too-short",
    "expiration-unset",
    "ip-address-denied",
    "ip-address-not-allowed",
    "key-algorithm-not-allowed",
    "key-size",
    "kubelet-identity",
    "subject-attribute-not-allowed",
    "subject-common-name-denied",
    "subject-common-name-not-allowed",
    "subject-common-name-not-requestor",
    "subject-common-name-repeated",
    "subject-common-name-reserved",
    "subject-organization-denied",
    "subject-organization-not-allowed",
    "subject-organization-reserved",
    "system-masters",
    "uri-not-allowed",
    "usage-missing",
    "usage-not-allowed",
];

/// Without a cluster, but with the code of kube-controller-manager: what is approved satisfies what approved it, and what is
/// refused would not have. So the oracle refuses what it must, and the engine no more.
#[test]
fn what_would_be_issued_satisfies_what_approves_it_and_nothing_else_does() {
    let mut round = Round::new();
    let requests = 4 * variable("ROUND_REQUESTS", REQUESTS);
    let (mut approved, mut refused) = (0, 0);
    for batch in 0..requests / BATCH {
        let world = World::new(&format!("b{batch}"), &mut round.rng);
        let set = compile(&world);
        for number in 0..BATCH {
            let sample = round.sample(&world, &set, format!("b{batch}-{number}"));
            let context = Context {
                usages: sample.ask.usages.clone(),
                signer: sample.ask.signer.to_owned(),
                expiration_seconds: sample.ask.expiration_seconds,
            };
            let reading = round.go.read(sample.pem.as_bytes(), &context, sample.decodes);
            let Some(issued) = reading.issued else {
                assert_ne!(sample.review.decision, Decision::Approve, "{}{}", reading.refused, reading.unissued);
                continue;
            };
            if !issued.ext_key_usages.iter().all(|usage| *usage <= 4) {
                continue;
            }
            let certificate = Certificate::from(issued);
            if sample.review.decision == Decision::Approve {
                let policy = sample.review.policy.as_ref().unwrap().name.clone();
                round.satisfies(&world, &sample, &policy, &certificate);
                approved += 1;
            } else {
                let verdict = round.judge(&world, &sample.ask.filed(), &certificate);
                assert!(
                    verdict.is_err(),
                    "seed {}: refused because {}, and {verdict:?}\n{:?}\n{certificate:?}\n{}",
                    round.seed,
                    sample.review.reason,
                    sample.ask,
                    serde_json::to_string_pretty(&[&world.policies[..], &world.guardrails].concat()).unwrap()
                );
                refused += 1;
            }
        }
    }
    println!("{approved} would be issued, {refused} would not");
    round.met_everything(if requests < 10_000 { 4 } else { 0 });
    assert!(approved > requests / 8 && refused > requests / 5, "{approved} and {refused} of {requests}");
}

/// A cluster in which everybody may file requests for everybody, and the controller manages every signer of clients and nodes.
struct Bench {
    cluster: Cluster,
    api: Api,
    requestors: Vec<Api>,
}

impl Bench {
    fn start() -> Self {
        // What the API server would refuse by itself shall reach the controller.
        let off = ["CertificateSubjectRestriction", "NodeRestriction"].map(str::to_owned).to_vec();
        let mut cluster = Cluster::with(&Options { disabled_admission_plugins: off, ..Options::default() });
        may_read_nodes(&cluster);
        let admin = &cluster.admin;
        let resource = "--resource=certificatesigningrequests";
        admin.run(&["create", "clusterrole", "filer", "--verb=create", resource]).unwrap();
        let group = "--group=system:authenticated";
        admin.run(&["create", "clusterrolebinding", "filer", "--clusterrole=filer", group]).unwrap();
        for node in node_objects() {
            admin.create(&node.to_string()).unwrap();
        }
        let managed = SIGNERS.map(|signer| format!("--managed-signer={signer}"));
        cluster.run(&managed.each_ref().map(String::as_str));
        let api = cluster.plane.api().unwrap();
        let as_requestor =
            |requestor: &world::Requestor| cluster.plane.api().unwrap().as_user(requestor.username, requestor.groups);
        let requestors = REQUESTORS.iter().map(as_requestor).collect();
        Self { cluster, api, requestors }
    }

    /// Replaces all policies and guardrails, with no request there that they could decide, and waits until they are in force.
    fn enforce(&self, world: &World) {
        for path in [CSRS, OBJECTS[0], OBJECTS[1]] {
            self.api.must("DELETE", path, None).unwrap();
        }
        for (path, objects) in OBJECTS.iter().zip([&world.policies, &world.guardrails]) {
            for object in objects {
                self.api.must("POST", path, Some(object)).unwrap();
            }
        }
        let ready = eventually("the policies are in force", Duration::from_secs(30), || {
            let mut number = 0;
            for path in OBJECTS {
                for object in self.api.must("GET", path, None)?["items"].as_array().unwrap() {
                    anyhow_if(object["status"]["conditions"][0]["status"] == "True", &object.to_string())?;
                    number += 1;
                }
            }
            anyhow_if(number == world.policies.len() + world.guardrails.len(), &format!("{number}"))
        });
        ready.unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.log()));
    }

    /// Files it as its requestor; whether the API server takes it.
    fn file(&self, sample: &Sample) -> bool {
        let ask = &sample.ask;
        let mut object = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": sample.name },
            "spec": { "request": base64(sample.pem.as_bytes()), "signerName": ask.signer, "usages": ask.usages },
        });
        if let Some(seconds) = ask.expiration_seconds {
            object["spec"]["expirationSeconds"] = json!(seconds);
        }
        // RBAC may take a moment at the beginning.
        let mut answer = (0, Value::Null);
        let _ = eventually("it is filed", Duration::from_secs(10), || {
            answer = self.requestors[ask.requestor].call("POST", CSRS, Some(&object))?;
            anyhow_if(answer.0 != 403, &answer.1.to_string())
        });
        assert!(matches!(answer.0, 201 | 422), "{answer:?}");
        answer.0 == 201
    }

    /// All requests by name.
    fn requests(&self) -> BTreeMap<String, Value> {
        let list = self.api.must("GET", CSRS, None).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|csr| (csr["metadata"]["name"].as_str().unwrap().to_owned(), csr.clone())).collect()
    }

    /// Waits until each request has what the engine says offline: a certificate or the signer's refusal, a denial, or a review
    /// that leaves it.
    fn settle(&self, samples: &[Sample]) -> BTreeMap<String, Value> {
        let settled = eventually("all requests are settled", Duration::from_secs(60), || {
            let requests = self.requests();
            let left = self.cluster.log();
            for sample in samples {
                let csr = &requests[&sample.name];
                let is = |kind: &str| conditions(csr).any(|condition| condition["type"] == kind);
                let done = match sample.review.decision {
                    Decision::Approve => is("Failed") || csr["status"]["certificate"].is_string(),
                    Decision::Deny => is("Denied"),
                    Decision::NoOpinion => {
                        let name = format!("\"name\":\"{}\"", sample.name);
                        left.lines().any(|line| line.contains(&name) && line.contains("\"NoOpinion\""))
                    }
                };
                anyhow_if(done, &format!("{}: {} expected\n{csr}", sample.name, sample.review.decision))?;
            }
            Ok(requests)
        });
        settled.unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.log()))
    }
}

fn conditions(csr: &Value) -> impl Iterator<Item = &Value> {
    csr["status"]["conditions"].as_array().into_iter().flatten()
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[test]
fn every_certificate_that_is_issued_satisfies_the_policy_that_approved_it() {
    let requests = variable("ROUND_REQUESTS", REQUESTS);
    let mut round = Round::new();
    let bench = Bench::start();
    let begin = Instant::now();
    let (mut filed, mut issued, mut failed, mut denied, mut left, mut batch) = (0, 0, 0, 0, 0, 0);
    while filed < requests {
        let prefix = format!("b{batch}");
        batch += 1;
        let world = World::new(&prefix, &mut round.rng);
        let set = compile(&world);
        bench.enforce(&world);
        let mut samples: Vec<Sample> = Vec::new();
        // Half of them are to be approved, if the policies let that many through.
        for number in 0..20 * BATCH {
            let sample = round.sample(&world, &set, format!("{prefix}-{number}"));
            let approved = sample.review.decision == Decision::Approve;
            let alike = samples.iter().filter(|other| (other.review.decision == Decision::Approve) == approved);
            if alike.count() < BATCH / 2 && bench.file(&sample) {
                samples.push(sample);
            }
            if samples.len() == BATCH {
                break;
            }
        }
        let settled = bench.settle(&samples);
        let read = now();
        for sample in &samples {
            let csr = &settled[&sample.name];
            let is = |kind: &str| conditions(csr).find(|condition| condition["type"] == kind);
            let certificate = csr["status"]["certificate"].as_str();
            let filed = sample.ask.filed();
            assert_eq!(csr["spec"]["username"], filed.username.as_str());
            let groups = |list: &Value| -> BTreeSet<String> {
                list.as_array().unwrap().iter().map(|group| group.as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(groups(&csr["spec"]["groups"]), filed.groups.into_iter().collect());
            if sample.review.decision != Decision::Approve {
                assert!(certificate.is_none() && is("Approved").is_none(), "seed {}: {csr}", round.seed);
                *if is("Denied").is_some() { &mut denied } else { &mut left } += 1;
                continue;
            }
            let message = is("Approved").unwrap()["message"].as_str().unwrap();
            let (_, policy) = message.split_once("CSRPolicy ").unwrap_or_else(|| panic!("{message}"));
            let policy = policy.split([' ', ':', ',']).next().unwrap();
            let Some(certificate) = certificate else {
                assert!(is("Failed").is_some(), "{csr}");
                failed += 1;
                continue;
            };
            let pem = String::from_utf8(unbase64(certificate)).unwrap();
            let certificate = Certificate::read(&pem, &mut round.go);
            round.satisfies(&world, sample, policy, &certificate);
            let created = csr["metadata"]["creationTimestamp"].as_str().unwrap();
            let created = created.parse::<jiff::Timestamp>().unwrap().as_second();
            let cap = sample.ask.expiration_seconds.map_or(365 * 86_400, i64::from);
            assert!(
                certificate.not_before >= created - BACKDATED && certificate.not_after <= read + cap,
                "filed at {created}, read at {read}: {certificate:?}"
            );
            issued += 1;
        }
        filed += samples.len();
        if batch % 10 == 0 {
            println!("{filed} of {requests} filed");
        }
    }
    println!(
        "{filed} requests under {batch} sets of policies in {:.0} s: {issued} certificates issued, {failed} refused by the \
         signer, {denied} denied, {left} left",
        begin.elapsed().as_secs_f32()
    );
    assert!(issued * 10 > filed * 3 && failed * 4 < issued, "{issued} issued, {failed} refused by the signer");
    assert!(denied * 10 > filed && left * 100 > filed, "{denied} denied, {left} left");
    round.met_everything(if requests < 3_000 { 4 } else { 0 });
}

fn unbase64(text: &str) -> Vec<u8> {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
