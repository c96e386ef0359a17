//! One leader among several replicas, through a `Lease` (`coordination.k8s.io/v1`).
//!
//! A replica that does not hold the lease takes it when it is free, or when it has seen it
//! unchanged for its whole duration by its own clock, never by comparing clocks. The holder acts
//! only until [`RENEW_DEADLINE`] after the beginning of its last successful renewal, which is
//! well before anybody else may take over.
//!
//! Why not a crate: of those that work with kube 5, kube-lease-manager (0.13) holds a lease to have run
//! out when its `renewTime`, which another machine wrote, plus its duration is in the past by the own
//! clock, so that machines whose clocks differ lead at the same time; it writes without the
//! `resourceVersion` that it read; and a holder that was stopped for a while believes in its lease until
//! its task runs again. kube-leader-election and kube-coordinate depend on older kubes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::client::{call, get, segment};
use super::metrics::Metrics;
use super::moment::Moment;

/// How long a lease lasts that nobody renews.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long the holder may act after its last renewal began.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the holder renews the lease.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// How often the others look at it, so that a lease that is given back is taken within a second.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Which lease, and who asks for it.
#[derive(Debug, Clone)]
pub struct LeaseConfig {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.holderIdentity` of this replica; no other replica may have the same.
    pub identity: String,
}

/// Whether this replica may act, as of now.
#[derive(Debug, Clone)]
pub(super) struct Leadership(Arc<Mutex<Hold>>);

#[derive(Debug, Clone, Copy)]
enum Hold {
    Always,
    Never,
    Since(Moment),
}

impl Leadership {
    /// For a replica that is alone and needs no lease.
    pub(super) fn always() -> Self {
        Self(Arc::new(Mutex::new(Hold::Always)))
    }

    /// Not yet.
    pub(super) fn never() -> Self {
        Self(Arc::new(Mutex::new(Hold::Never)))
    }

    /// Whether this replica holds the lease for certain.
    pub(super) fn holds(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Hold::Always => true,
            Hold::Never => false,
            Hold::Since(renewed) => renewed.elapsed() < RENEW_DEADLINE,
        }
    }

    fn set(&self, hold: Hold) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }
}

/// What to do about a lease, told apart from doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    Take,
    Renew,
    Wait,
}

/// What was last seen of a lease that somebody else holds, and since when it has not changed: by the monotonic
/// clock alone, since a clock that is set ahead must not shorten the wait.
#[derive(Debug, Default)]
struct Observed(Option<(Value, Instant)>);

impl Observed {
    fn step(&mut self, lease: Option<&Value>, identity: &str) -> Step {
        let Some(lease) = lease else { return Step::Create };
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        if holder == identity {
            return Step::Renew;
        }
        if holder.is_empty() {
            return Step::Take;
        }
        let duration = spec["leaseDurationSeconds"].as_u64().map_or(LEASE_DURATION, Duration::from_secs);
        match &self.0 {
            Some((seen, since)) if *seen == lease["metadata"]["resourceVersion"] => {
                if since.elapsed() > duration {
                    Step::Take
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.0 = Some((lease["metadata"]["resourceVersion"].clone(), Instant::now()));
                Step::Wait
            }
        }
    }
}

/// Holds the lease whenever it can be had, until `stop`; then gives it back.
pub(super) async fn lead(
    client: Client,
    config: LeaseConfig,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let elector = Elector { client, config };
    let mut observed = Observed::default();
    loop {
        let began = Moment::now();
        let was = leadership.holds();
        match elector.turn(&mut observed).await {
            Ok(true) => leadership.set(Hold::Since(began)),
            Ok(false) => leadership.set(Hold::Never),
            Err(error) => {
                metrics.api_error("lease", &error);
                tracing::warn!(error = %error, lease = elector.config.name, "cannot renew or take the lease");
            }
        }
        let holds = leadership.holds();
        if was != holds {
            tracing::info!(leader = holds, identity = elector.config.identity, "leadership changed");
        }
        metrics.leader(holds);
        tokio::select! {
            () = tokio::time::sleep(if holds { RENEW_PERIOD } else { LOOK_PERIOD }) => {}
            () = stop.cancelled() => break,
        }
    }
    if leadership.holds() {
        leadership.set(Hold::Never);
        if let Err(error) = elector.release().await {
            tracing::warn!(error = %error, "cannot give the lease back; others wait until it has run out");
        }
    }
}

struct Elector {
    client: Client,
    config: LeaseConfig,
}

impl Elector {
    /// Looks at the lease and does what there is to do; whether it is held afterwards.
    async fn turn(&self, observed: &mut Observed) -> Result<bool, Error> {
        let lease = self.get().await?;
        let identity = &self.config.identity;
        let written = match observed.step(lease.as_ref(), identity) {
            Step::Wait => return Ok(false),
            Step::Create => self.create().await,
            Step::Take | Step::Renew => self.update(&lease.unwrap_or_default(), identity, LEASE_DURATION).await,
        };
        match written {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(error) if error.status() == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn get(&self) -> Result<Option<Value>, Error> {
        match get(&self.client, &self.path(Some(&self.config.name)), "application/json").await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<(), Error> {
        let now = micro_time(Timestamp::now());
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.config.name, "namespace": self.config.namespace },
            "spec": {
                "holderIdentity": self.config.identity,
                "leaseDurationSeconds": LEASE_DURATION.as_secs(),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        });
        let _: serde::de::IgnoredAny =
            call(&self.client, Method::POST, &self.path(None), "application/json", &lease).await?;
        Ok(())
    }

    /// Writes `holder` over `lease`, unless somebody changed it since it was read.
    async fn update(&self, lease: &Value, holder: &str, duration: Duration) -> Result<(), Error> {
        let now = micro_time(Timestamp::now());
        let mut lease = lease.clone();
        let spec = &mut lease["spec"];
        if spec["holderIdentity"] != *holder {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = json!(spec["leaseTransitions"].as_i64().unwrap_or_default() + 1);
        }
        spec["holderIdentity"] = json!(holder);
        spec["leaseDurationSeconds"] = json!(duration.as_secs());
        spec["renewTime"] = json!(now);
        let path = self.path(Some(&self.config.name));
        let _: serde::de::IgnoredAny = call(&self.client, Method::PUT, &path, "application/json", &lease).await?;
        Ok(())
    }

    async fn release(&self) -> Result<(), Error> {
        let Some(lease) = self.get().await? else { return Ok(()) };
        if lease["spec"]["holderIdentity"] != *self.config.identity {
            return Ok(());
        }
        self.update(&lease, "", Duration::from_secs(1)).await
    }

    fn path(&self, name: Option<&str>) -> String {
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", segment(&self.config.namespace));
        name.map_or(leases.clone(), |name| format!("{leases}/{}", segment(name)))
    }
}

/// A `MicroTime` (`k8s.io/apimachinery/pkg/apis/meta/v1`): exactly six digits of a second.
pub(super) fn micro_time(at: Timestamp) -> String {
    let rest = SignedDuration::from_nanos(i64::from(at.subsec_nanosecond() % 1_000));
    format!("{:.6}", at.checked_sub(rest).unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Observed, Step, micro_time};

    #[test]
    fn a_lease_of_somebody_else_is_waited_for_until_it_has_not_changed_for_its_duration() {
        let mut observed = Observed::default();
        let lease = |version: &str, holder: &str, seconds: u64| {
            json!({ "metadata": { "resourceVersion": version },
                    "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds } })
        };
        assert_eq!(observed.step(None, "me"), Step::Create);
        assert_eq!(observed.step(Some(&lease("1", "me", 15)), "me"), Step::Renew);
        assert_eq!(observed.step(Some(&lease("2", "", 1)), "me"), Step::Take);
        assert_eq!(observed.step(Some(&lease("3", "other", 0)), "me"), Step::Wait);
        assert_eq!(observed.step(Some(&lease("4", "other", 0)), "me"), Step::Wait);
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(observed.step(Some(&lease("4", "other", 0)), "me"), Step::Take);
        assert_eq!(observed.step(Some(&lease("4", "other", 60)), "me"), Step::Wait);
    }

    #[test]
    fn a_micro_time_has_six_digits() {
        let at = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(micro_time(at), "2026-01-02T03:04:05.123456Z");
        assert_eq!(micro_time("2026-01-02T03:04:05Z".parse().unwrap()), "2026-01-02T03:04:05.000000Z");
    }
}
