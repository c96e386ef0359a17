//! Record: one log line, one Event and the metrics for each verdict.

use std::sync::Arc;
use std::time::Duration;

use super::approval::message;
use super::events::{EventType, Events, Note};
use super::metrics::{Metrics, signer_label};
use crate::escape::printable;
use crate::policy::PolicySet;
use crate::request::{Envelope, Pkcs10, SigningRequest, Subject};
use crate::review::{Decision, Review, Violation};

/// Where verdicts are recorded.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
    /// Whether requests that are left alone get an Event.
    pub(super) no_opinion_events: bool,
}

impl Recorder {
    /// Records a verdict that took effect.
    pub(super) fn record(&self, set: &PolicySet, request: &SigningRequest, review: &Review, age: Option<Duration>) {
        let signer = signer_label(set, &request.envelope.signer_name);
        self.metrics.decided(signer, review, age);
        if names_reserved_identity(set, request) {
            self.metrics.reserved_identity(signer, review.decision);
        }
        log(set, request, review, age);
        let (type_, reason) = match review.decision {
            Decision::Approve => (EventType::Normal, "Approved"),
            Decision::Deny => (EventType::Warning, "Denied"),
            Decision::NoOpinion => (EventType::Normal, "NoOpinion"),
        };
        if review.decision != Decision::NoOpinion || self.no_opinion_events {
            self.event(&request.envelope, type_, reason, review.reason_code.as_str(), message(review));
        }
        if let Some(audit) = &review.audit {
            let note = format!(
                "with the objects in mode Audit enforced, the decision would be {} instead of {}: {}",
                audit.decision, review.decision, audit.reason
            );
            self.event(&request.envelope, EventType::Normal, "AuditDiffers", audit.decision.as_str(), note);
        }
    }

    fn event(&self, envelope: &Envelope, type_: EventType, reason: &'static str, key: &'static str, note: String) {
        self.events.send(Note { name: envelope.name.clone(), uid: envelope.uid.clone(), type_, reason, key, note });
    }
}

/// Whether the subject names `system:masters`, in whatever encoding, or another reserved identity that
/// its requestor does not have already. A node asks for its own name again and again; and with a
/// bootstrap token it asks for it the first time, under a signer made for that.
fn names_reserved_identity(set: &PolicySet, request: &SigningRequest) -> bool {
    let envelope = &request.envelope;
    let reserved = |name: &String| set.settings().reserved.prefix_of(name).is_some();
    let asked = |subject: &Subject| {
        let name = subject.common_name.iter().filter(|name| **name != envelope.username);
        let groups = subject.organizations.iter().filter(|group| !envelope.groups.contains(group));
        let mut all = name.chain(groups).chain(&subject.organizational_units);
        all.any(reserved) && !is_bootstrap(&envelope.signer_name, subject)
    };
    request.asks_for_masters || request.content.as_ref().is_ok_and(|pkcs10| asked(&pkcs10.subject))
}

fn is_bootstrap(signer: &str, subject: &Subject) -> bool {
    signer == "kubernetes.io/kube-apiserver-client-kubelet"
        && subject.common_name.as_ref().is_some_and(|name| name.starts_with("system:node:"))
        && subject.organizations == ["system:nodes"]
        && subject.organizational_units.is_empty()
}

/// One line with everything that an auditor asks for; all that the requestor chose is escaped.
fn log(set: &PolicySet, request: &SigningRequest, review: &Review, age: Option<Duration>) {
    let envelope = &request.envelope;
    let pkcs10 = request.content.as_ref().ok();
    let policy = review.policy.as_ref();
    let generation = policy.and_then(|policy| {
        set.policies().iter().find(|object| object.object == *policy).and_then(|object| object.generation)
    });
    let codes = |violations: &[Violation]| {
        let codes: Vec<&str> = violations.iter().map(|violation| violation.code.as_str()).collect();
        codes.join(",")
    };
    tracing::info!(
        target: "countersign::decision",
        decision = review.decision.as_str(),
        reason_code = review.reason_code.as_str(),
        reason = review.reason,
        name = printable(&envelope.name),
        uid = printable(&envelope.uid),
        signer = printable(&envelope.signer_name),
        requestor = printable(&envelope.username),
        requestor_uid = printable(&envelope.user_uid),
        requestor_groups = join(&envelope.groups),
        usages = join(&envelope.usages),
        expiration_seconds = envelope.expiration_seconds,
        common_name = pkcs10.and_then(|pkcs10| pkcs10.subject.common_name.as_deref()).map(printable),
        organizations = pkcs10.map(|pkcs10| join(&pkcs10.subject.organizations)),
        sans = pkcs10.map(sans),
        key = pkcs10.map(|pkcs10| pkcs10.key.to_string()),
        sha256 = pkcs10.map(Pkcs10::sha256_hex),
        policy = policy.map(|policy| policy.name.as_str()),
        policy_uid = policy.map(|policy| policy.uid.as_str()),
        policy_generation = generation,
        codes = codes(&review.violations),
        audit_decision = review.audit.as_ref().map(|audit| audit.decision.as_str()),
        audit_codes = review.audit.as_ref().map(|audit| codes(&audit.violations)),
        age_seconds = age.map(|age| age.as_secs()),
        "decision"
    );
}

/// A list as JSON, so that no value looks like two.
fn join(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| printable(value)).collect();
    serde_json::to_string(&values).unwrap_or_default()
}

fn sans(pkcs10: &Pkcs10) -> String {
    let sans = &pkcs10.sans;
    let addresses = sans.ip_addresses.iter().map(ToString::to_string);
    let texts = sans.dns_names.iter().chain(&sans.uris).chain(&sans.email_addresses);
    join(&texts.cloned().chain(addresses).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use testbed::hostile;

    use super::super::approval::condition;
    use super::super::events::Events;
    use super::super::pending::Pending;
    use super::{Metrics, Recorder};
    use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
    use crate::request::CsrObject;
    use crate::review::{Facts, review};

    /// How many hostile requests there are.
    const REQUESTS: usize = 10_000;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn set() -> PolicySet {
        let policy = |name: &str, mode: &str, signer: &str, names: &str| {
            let object = json!({
                "apiVersion": "countersign.dev/v1alpha1",
                "metadata": { "name": name, "uid": name, "generation": 1 },
                "spec": {
                    "mode": mode,
                    "match": { "signerNames": [signer], "requestors": [{ "users": ["*"] }] },
                    "allow": {
                        "subject": { "commonName": { "allowed": [names] }, "organizations": { "allowed": ["**"] } },
                        "usages": { "allowed": ["client auth"] },
                        "expirationSeconds": { "max": 3600 },
                    },
                },
            });
            PolicyObject::new(Kind::CSRPolicy, object)
        };
        let objects = [
            policy("all", "Enforce", "example.com/*", "**"),
            policy("some", "Enforce", "example.org/*", "amy"),
            policy("audited", "Audit", "example.net/*", "**"),
        ];
        PolicySet::compile(&objects, Settings { managed_signers: vec![SignerPattern::All], ..Settings::default() })
    }

    fn object(key: &hostile::KeyPair, index: usize) -> CsrObject {
        let text = |number: usize| hostile::text(index + number * 7919);
        // Some decode: what shows, in few characters.
        let (name, group) = if index.is_multiple_of(3) {
            (format!("amy-{index}"), "developers".to_owned())
        } else {
            (text(1), text(2))
        };
        let pem = hostile::request(key, &name, &group).unwrap();
        let domain = ["example.com", "example.org", "example.net", "example.edu"][index % 4];
        let value = json!({
            "metadata": {
                "name": text(3), "uid": text(4), "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "a": text(5) },
            },
            "spec": {
                "request": STANDARD.encode(pem), "signerName": format!("{domain}/{}", text(6)),
                "username": text(7), "uid": text(8), "groups": [text(9), text(10)], "extra": { "k": [text(11)] },
                "usages": if index.is_multiple_of(11) { json!([text(12)]) } else { json!(["client auth"]) },
                "expirationSeconds": 3600,
            },
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn whatever_requestors_write_leaves_few_series_and_nothing_that_does_not_show() {
        let (metrics, set, key) = (Arc::new(Metrics::new().unwrap()), set(), hostile::key().unwrap());
        let (events, mut notes) = Events::unwritten(Arc::clone(&metrics));
        let recorder = Recorder { metrics: Arc::clone(&metrics), events, no_opinion_events: true };
        metrics.policies(&set);
        let mut pending = Pending::default();
        let mut decisions = std::collections::BTreeMap::<&str, usize>::new();
        for format in ["json", "text"] {
            let log = Log::default();
            let writer = log.clone();
            let builder = tracing_subscriber::fmt().with_writer(move || writer.clone());
            let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = if format == "json" {
                Box::new(builder.json().flatten_event(true).finish())
            } else {
                Box::new(builder.with_ansi(false).finish())
            };
            let number = if format == "json" { REQUESTS } else { REQUESTS / 10 };
            tracing::subscriber::with_default(subscriber, || {
                for index in 0..number {
                    let object = object(&key, index);
                    let facts = Facts { now: Some(Timestamp::UNIX_EPOCH), ..Facts::default() };
                    let request = object.signing_request();
                    let verdict = review(&set, &request, &facts);
                    recorder.record(&set, &request, &verdict, None);
                    *decisions.entry(verdict.decision.as_str()).or_default() += 1;
                    let condition = condition(&verdict, Timestamp::UNIX_EPOCH)["message"].as_str().unwrap().to_owned();
                    assert!(hostile::shows_all(&condition) && !condition.contains('\n'), "{condition:?}");
                    while let Ok(queued) = notes.try_recv() {
                        let note = queued.note;
                        let note = format!("{}{}", note.name, note.note);
                        assert!(hostile::shows_all(&note) && !note.contains('\n'), "{note:?}");
                    }
                    if index < 1000 {
                        pending.upsert(object.into(), &set);
                    }
                }
            });
            let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            assert_eq!(log.lines().count(), number, "{format}");
            for line in log.lines() {
                assert!(hostile::shows_all(line), "{line:?}");
                if format == "json" {
                    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["message"], "decision");
                }
            }
        }
        metrics.pending(&pending.by_signer(&set));
        let text = metrics.encode().unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 200, "{series} series");
        assert!(hostile::shows_all(&text) && !text.contains("a1"), "{text}");
        assert!(decisions.len() == 3 && decisions.values().all(|number| *number > 500), "{decisions:?}");
    }
}
