//! What is exported: few and bounded labels, never anything that a requestor chose.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::permissions::Permission;
use super::{Error, Log};
use crate::api::Mode;
use crate::policy::{Kind, PolicySet, SignerPattern};
use crate::review::{Decision, Review, Violation};

/// Signers that no object and no option names.
const OTHER: &str = "other";
/// The most objects and signers that are gone and keep the series in which they have counted.
const MAX_GONE: usize = 100;

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: IntCounterVec,
    violations: IntCounterVec,
    audit_differences: IntCounterVec,
    reserved_identities: IntCounterVec,
    review_duration: Histogram,
    decision_latency: HistogramVec,
    pending: IntGaugeVec,
    oldest_pending: GaugeVec,
    api_errors: IntCounterVec,
    policies: IntGaugeVec,
    required_guardrails: IntGaugeVec,
    permissions: IntGaugeVec,
    leader: IntGauge,
    ready: IntGauge,
    events_dropped: IntCounter,
    /// What has counted under its name, as label and value.
    counted: Mutex<BTreeSet<(&'static str, String)>>,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("countersign".to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let review_duration = Histogram::with_opts(
            HistogramOpts::new("review_duration_seconds", "Time to decode and review one request.")
                .buckets(vec![1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 1e-1]),
        )?;
        registry.register(Box::new(review_duration.clone()))?;
        let decision_latency = HistogramVec::new(
            HistogramOpts::new(
                "decision_latency_seconds",
                "Time from the creation of a request, which the API server keeps in whole seconds, to its decision.",
            )
            .buckets(vec![0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0]),
            &["signer", "decision"],
        )?;
        registry.register(Box::new(decision_latency.clone()))?;
        let oldest_pending = GaugeVec::new(
            Opts::new("oldest_pending_seconds", "Age of the oldest request without a decision."),
            &["signer"],
        )?;
        registry.register(Box::new(oldest_pending.clone()))?;
        let leader = IntGauge::new("leader", "Whether this replica holds the lease.")?;
        registry.register(Box::new(leader.clone()))?;
        let ready = IntGauge::new(
            "ready",
            "Whether this replica could decide, were it to lead; /readyz says what it waits for.",
        )?;
        registry.register(Box::new(ready.clone()))?;
        let events_dropped = IntCounter::new("events_dropped_total", "Events that were not written.")?;
        registry.register(Box::new(events_dropped.clone()))?;
        let build_info = Gauge::with_opts(
            Opts::new("build_info", "The version of Countersign, always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build_info.set(1.0);
        registry.register(Box::new(build_info))?;
        Ok(Self {
            decisions: counters(
                "decisions_total",
                "Decisions, counted once the API server has accepted them; NoOpinion once for each reason.",
                &["signer", "decision", "policy"],
            )?,
            violations: counters("violations_total", "Violations that were found.", &["policy", "code", "mode"])?,
            audit_differences: counters(
                "audit_differences_total",
                "Decisions that would have been others, had the objects in mode Audit been enforced.",
                &["signer", "decision", "would"],
            )?,
            reserved_identities: counters(
                "reserved_identity_requests_total",
                "Requests that name system:masters or another reserved identity, by what was decided.",
                &["signer", "decision"],
            )?,
            api_errors: counters("api_errors_total", "Failed calls to the API server.", &["operation", "category"])?,
            pending: gauges("pending_requests", "Requests without a decision.", &["signer"])?,
            policies: gauges("policies", "Policies and guardrails.", &["kind", "mode", "ready"])?,
            required_guardrails: gauges(
                "required_guardrail_in_force",
                "Whether a guardrail without which nothing is approved is there, Ready and enforced.",
                &["name"],
            )?,
            permissions: gauges(
                "permission_granted",
                "Whether the service account may do what it needs to do.",
                &["verb", "resource", "name"],
            )?,
            registry,
            review_duration,
            decision_latency,
            oldest_pending,
            leader,
            ready,
            events_dropped,
            counted: Mutex::default(),
        })
    }

    /// The text exposition format.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// What `log` loses is counted here, too.
    pub(super) fn count_lost_lines(&self, log: &Log) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(log.lost.clone()))
    }

    /// A call to the API server failed.
    pub(super) fn api_error(&self, operation: &str, error: &Error) {
        self.api_errors.with_label_values(&[operation, error.category()]).inc();
    }

    /// Whether the lease is held.
    pub(super) fn leader(&self, holds: bool) {
        self.leader.set(holds.into());
    }

    /// Whether this replica is ready.
    pub(super) fn ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// Whether the service account has `permission`.
    pub(super) fn permission(&self, permission: &Permission, granted: bool) {
        let name = permission.name.as_deref().unwrap_or_default();
        self.permissions.with_label_values(&[permission.verb, &permission.resource(), name]).set(granted.into());
    }

    /// `permission` is not needed any more.
    pub(super) fn permission_not_needed(&self, permission: &Permission) {
        let name = permission.name.as_deref().unwrap_or_default();
        let _ = self.permissions.remove_label_values(&[permission.verb, &permission.resource(), name]);
    }

    /// One request was decoded and reviewed.
    pub(super) fn reviewed(&self, took: Duration) {
        self.review_duration.observe(took.as_secs_f64());
    }

    /// A decision was accepted, or the lack of an opinion found for the first time.
    pub(super) fn decided(&self, signer: &str, review: &Review, age: Option<Duration>) {
        let policy = review.policy.as_ref().map(|policy| policy.name.as_str()).unwrap_or_default();
        self.decisions.with_label_values(&[signer, review.decision.as_str(), policy]).inc();
        self.has_counted("signer", signer);
        self.has_counted("policy", policy);
        self.violated(&review.violations, "Enforce");
        if let Some(audit) = &review.audit {
            let labels = [signer, review.decision.as_str(), audit.decision.as_str()];
            self.audit_differences.with_label_values(&labels).inc();
            self.violated(&audit.violations, "Audit");
        }
        if let Some(age) = age
            && review.decision != Decision::NoOpinion
        {
            self.decision_latency.with_label_values(&[signer, review.decision.as_str()]).observe(age.as_secs_f64());
        }
    }

    /// A request that was decided, or left alone, names a reserved identity.
    pub(super) fn reserved_identity(&self, signer: &str, decision: Decision) {
        self.reserved_identities.with_label_values(&[signer, decision.as_str()]).inc();
    }

    fn violated(&self, violations: &[Violation], mode: &str) {
        for violation in violations {
            let policy = violation.object.as_ref().map(|object| object.name.as_str()).unwrap_or_default();
            let number = u64::try_from(violation.number()).unwrap_or(u64::MAX);
            self.violations.with_label_values(&[policy, violation.code.as_str(), mode]).inc_by(number);
            self.has_counted("policy", policy);
        }
    }

    fn has_counted(&self, label: &'static str, value: &str) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert((label, value.to_owned()));
    }

    /// An Event was not written.
    pub(super) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// What is pending: for each signer's label the number, and the age of the oldest.
    pub(super) fn pending(&self, pending: &BTreeMap<String, (i64, Duration)>) {
        self.pending.reset();
        self.oldest_pending.reset();
        for (signer, (number, oldest)) in pending {
            self.pending.with_label_values(&[signer.as_str()]).set(*number);
            self.oldest_pending.with_label_values(&[signer.as_str()]).set(oldest.as_secs_f64());
        }
    }

    /// What the policies in memory are like.
    pub(super) fn policies(&self, set: &PolicySet) {
        self.policies.reset();
        for object in set.policies().iter().chain(set.guardrails()) {
            let mode = if object.mode == Mode::Audit { "Audit" } else { "Enforce" };
            let ready = if object.is_ready() { "true" } else { "false" };
            self.policies.with_label_values(&[object.object.kind.name(), mode, ready]).inc();
        }
        for (name, guardrail) in set.required_guardrails() {
            let in_force = guardrail.is_some_and(|guardrail| guardrail.is_ready() && guardrail.mode == Mode::Enforce);
            self.required_guardrails.with_label_values(&[name]).set(in_force.into());
        }
        self.begin_at_zero(set);
        self.forget_gone(set);
        for kind in Kind::ALL {
            // A kind without objects is zero, not absent: alerts can rely on it.
            let _ = self.policies.with_label_values(&[kind.name(), "Enforce", "true"]);
            let _ = self.policies.with_label_values(&[kind.name(), "Enforce", "false"]);
        }
    }
}

impl Metrics {
    /// What alerts look at exists before it counts, so that the first denial after a start is seen as one: for each
    /// object the signers that it names, and what it says of those that the options name. With all that others name
    /// the series would be as many as objects times signers.
    fn begin_at_zero(&self, set: &PolicySet) {
        forget_zeros(&self.decisions);
        forget_zeros(&self.reserved_identities);
        let options: BTreeSet<&str> = set.settings().managed_signers.iter().filter_map(exact).collect();
        let mut signers = options.clone();
        signers.insert(OTHER);
        for object in set.policies().iter().chain(set.guardrails()) {
            let patterns = object.matcher.signers();
            let speaks_of = |signer: &str| patterns.iter().any(|pattern| pattern.matches(signer));
            let mut theirs: BTreeSet<&str> =
                patterns.iter().filter_map(exact).filter(|signer| set.manages(signer)).collect();
            signers.extend(&theirs);
            theirs.extend(options.iter().filter(|signer| patterns.is_empty() || speaks_of(signer)));
            if patterns.is_empty() || patterns.iter().any(|pattern| exact(pattern).is_none()) {
                theirs.insert(OTHER);
            }
            for signer in theirs {
                self.begin_denials(signer, &object.object.name);
            }
        }
        for signer in signers {
            self.begin_denials(signer, "");
            for decision in [Decision::Deny, Decision::NoOpinion] {
                let _ = self.reserved_identities.with_label_values(&[signer, decision.as_str()]);
            }
        }
    }

    /// Whoever may write policies may do so under ever new names.
    fn forget_gone(&self, set: &PolicySet) {
        let named: HashSet<(&str, &str)> = {
            let objects = set.policies().iter().chain(set.guardrails());
            let names = objects.clone().map(|object| ("policy", object.object.name.as_str()));
            let signers = objects.flat_map(|object| object.matcher.signers()).chain(&set.settings().managed_signers);
            let signers = signers.filter_map(exact).map(|signer| ("signer", signer));
            names.chain(signers).chain([("policy", ""), ("signer", OTHER)]).collect()
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |(label, value): &(&'static str, String)| named.contains(&(*label, value.as_str()));
        if counted.iter().filter(|one| !stays(one)).count() > MAX_GONE {
            counted.retain(stays);
            for counters in [&self.decisions, &self.violations, &self.audit_differences, &self.reserved_identities] {
                forget(counters, &named);
            }
            forget(&self.decision_latency, &named);
        }
    }

    fn begin_denials(&self, signer: &str, policy: &str) {
        let _ = self.decisions.with_label_values(&[signer, Decision::Deny.as_str(), policy]);
    }
}

/// The signer that `pattern` names, if it is a name.
fn exact(pattern: &SignerPattern) -> Option<&str> {
    match pattern {
        SignerPattern::Exact(name) => Some(name),
        SignerPattern::Domain(_) | SignerPattern::All => None,
    }
}

/// Removes the series of objects and signers that are not `named`.
fn forget<B: MetricVecBuilder>(metrics: &MetricVec<B>, named: &HashSet<(&str, &str)>) {
    for metric in metrics.collect().iter().flat_map(MetricFamily::get_metric) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        let is_gone = |label| labels.get(label).is_some_and(|value| !named.contains(&(label, *value)));
        if is_gone("policy") || is_gone("signer") {
            let _ = metrics.remove(&labels);
        }
    }
}

/// Removes what has counted nothing: it may have begun for an object that is gone. What has counted stays
/// for a while, since a counter that comes again lower than it was looks like a restart.
fn forget_zeros(counters: &IntCounterVec) {
    for metric in counters.collect().iter().flat_map(MetricFamily::get_metric) {
        if metric.get_counter().get_value() <= 0.0 {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            let _ = counters.remove(&labels);
        }
    }
}

/// The label for `signer`: its name if an object or an option names it, else `other`.
pub(super) fn signer_label<'a>(set: &PolicySet, signer: &'a str) -> &'a str {
    let options = set.settings().managed_signers.iter();
    let objects = set.policies().iter().chain(set.guardrails()).flat_map(|object| object.matcher.signers());
    let named = options.chain(objects).any(|pattern| exact(pattern) == Some(signer));
    if named { signer } else { OTHER }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;
    use std::time::Duration;

    use serde_json::json;

    use super::{MAX_GONE, Metrics, OTHER};
    use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
    use crate::review::{Decision, ReasonCode, Review, Violation, ViolationCode};

    /// The labels of the series of `decisions_total`, with what they have counted.
    fn series(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode().unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("countersign_decisions_total{decision=\"Deny\","));
        lines.map(|line| line.replace('"', "")).collect()
    }

    fn policy(name: &str, signer: &str) -> PolicyObject {
        let object = json!({
            "apiVersion": "countersign.dev/v1alpha1",
            "metadata": { "name": name, "uid": name, "generation": 1 },
            "spec": {
                "match": { "signerNames": [signer], "requestors": [{ "users": ["*"] }] },
                "allow": { "usages": { "allowed": ["client auth"] }, "expirationSeconds": { "max": 3600 } },
            },
        });
        PolicyObject::new(Kind::CSRPolicy, object)
    }

    fn guardrail(name: &str) -> PolicyObject {
        let object = json!({
            "apiVersion": "countersign.dev/v1alpha1",
            "metadata": { "name": name, "uid": name, "generation": 1 },
            "spec": { "match": {}, "limits": { "subject": { "organizations": { "denied": ["admins"] } } } },
        });
        PolicyObject::new(Kind::CSRGuardrail, object)
    }

    fn see(metrics: &Metrics, managed: &[&str], objects: &[PolicyObject]) {
        let managed_signers = managed.iter().map(|signer| SignerPattern::managed(signer).unwrap()).collect();
        metrics.policies(&PolicySet::compile(objects, Settings { managed_signers, ..Settings::default() }));
    }

    #[test]
    fn violations_that_are_not_told_one_by_one_count_as_many_as_they_are() {
        let metrics = Metrics::new().unwrap();
        let violations = [0, 22].map(|more| Violation {
            object: None,
            code: ViolationCode::UriDenied,
            field: "uris".to_owned(),
            found: String::new(),
            permitted: "none".into(),
            message: String::new(),
            more,
        });
        metrics.violated(&violations, "Enforce");
        let text = metrics.encode().unwrap();
        assert!(text.contains("violations_total{code=\"uri-denied\",mode=\"Enforce\",policy=\"\"} 23\n"), "{text}");
    }

    #[test]
    fn a_required_guardrail_is_in_force_where_it_is_there_ready_and_enforced() {
        let metrics = Metrics::new().unwrap();
        let in_force = |objects: &[PolicyObject]| {
            let settings = Settings { required_guardrails: vec!["limits".to_owned()], ..Settings::default() };
            metrics.policies(&PolicySet::compile(objects, settings));
            let text = metrics.encode().unwrap();
            let series: Vec<&str> = text.lines().filter(|line| line.starts_with("countersign_required_")).collect();
            let [line] = series[..] else { panic!("{text}") };
            line == "countersign_required_guardrail_in_force{name=\"limits\"} 1"
        };
        let mut audit = guardrail("limits");
        audit.spec.as_mut().unwrap()["mode"] = json!("Audit");
        let mut broken = guardrail("limits");
        broken.spec.as_mut().unwrap()["typo"] = json!(1);
        let mut policy = policy("limits", "example.com/a");
        policy.deleting = true;
        for (objects, expected) in [
            (vec![], false),
            (vec![guardrail("limits"), guardrail("others")], true),
            (vec![guardrail("others"), policy], false),
            (vec![audit], false),
            (vec![broken], false),
        ] {
            assert_eq!(in_force(&objects), expected, "{objects:?}");
        }
    }

    #[test]
    fn denials_begin_at_zero_where_an_object_speaks_of_the_signer() {
        let metrics = Metrics::new().unwrap();
        let objects = [policy("a", "example.com/a"), policy("wide", "example.com/*"), guardrail("all")];
        see(&metrics, &["example.com/b", "example.com/*", "example.org/*"], &objects);
        let expected = [
            ("", "example.com/a"),
            ("", "example.com/b"),
            ("", OTHER),
            ("a", "example.com/a"),
            ("all", "example.com/b"),
            ("all", OTHER),
            ("wide", "example.com/b"),
            ("wide", OTHER),
        ];
        assert_eq!(series(&metrics), expected.map(|(policy, signer)| format!("policy={policy},signer={signer}}} 0")));
    }

    #[test]
    fn series_are_not_as_many_as_objects_times_signers_and_go_with_their_object() {
        let metrics = Metrics::new().unwrap();
        let objects: Vec<_> =
            (0..100).map(|index| policy(&format!("p{index}"), &format!("example.com/s{index}"))).collect();
        see(&metrics, &["*"], &objects);
        // Of each object, of each signer, and of all others.
        assert_eq!(series(&metrics).len(), 100 + 100 + 1);
        metrics.decisions.with_label_values(&["example.com/s7", "Deny", "p7"]).inc();
        see(&metrics, &["*"], &[]);
        assert_eq!(series(&metrics), ["policy=,signer=other} 0", "policy=p7,signer=example.com/s7} 1"]);
        see(&metrics, &["*"], &objects);
        assert_eq!(series(&metrics).len(), 100 + 100 + 1);
        assert!(series(&metrics).contains(&"policy=p7,signer=example.com/s7} 1".to_owned()));
    }

    /// A denial, for what violates all of these.
    fn denial(objects: &[PolicyObject]) -> Review {
        let violation = |object: &PolicyObject| Violation {
            object: Some(object.reference()),
            code: ViolationCode::CommonNameMissing,
            field: String::new(),
            found: String::new(),
            permitted: "".into(),
            message: String::new(),
            more: 0,
        };
        Review {
            decision: Decision::Deny,
            reason_code: ReasonCode::PolicyViolated,
            policy: objects.first().map(PolicyObject::reference),
            reason: String::new(),
            violations: objects.iter().map(violation).collect(),
            node: None,
            audit: None,
        }
    }

    #[test]
    fn what_counted_under_names_that_are_gone_goes_once_there_are_many() {
        let metrics = Metrics::new().unwrap();
        let number = |name: &str| metrics.encode().unwrap().lines().filter(|line| line.starts_with(name)).count();
        let stays = policy("stays", "example.com/stays");
        let (managed, age) = (["example.com/*"], Some(Duration::from_secs(1)));
        for turn in 0..20 {
            let mut objects: Vec<_> = (0..MAX_GONE / 2)
                .map(|index| policy(&format!("p-{turn}-{index}"), &format!("example.com/s-{turn}-{index}")))
                .collect();
            objects.push(stays.clone());
            see(&metrics, &managed, &objects);
            metrics.decided("example.com/stays", &denial(from_ref(&stays)), age);
            metrics.decided(&format!("example.com/s-{turn}-0"), &denial(&objects[..objects.len() - 1]), age);
            let gone = number("countersign_violations_total") - objects.len();
            assert!(gone <= MAX_GONE, "{turn}: {gone}");
            // There is still room for them: they stay.
            assert_eq!(gone, turn % 2 * MAX_GONE / 2, "{turn}");
            // Of a few signers, and of one policy each.
            assert!(number("countersign_decision_latency_seconds_count") <= 3, "{turn}");
            let total = format!(
                "violations_total{{code=\"subject-common-name-missing\",mode=\"Enforce\",policy=\"stays\"}} {}",
                turn + 1
            );
            assert!(metrics.encode().unwrap().contains(&total), "{turn}");
        }
    }
}
