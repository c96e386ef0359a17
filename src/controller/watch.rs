//! Watches, decoded through tolerant types and restarted from a complete list after any error.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::runtime::watcher::{self, Event, InitialListStrategy};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Notify;

use super::Error;
use super::metrics::Metrics;
use crate::api::{GROUP, VERSION};
use crate::policy::{Kind, PolicyObject};
use crate::request::CsrObject;

/// What a watch brings.
#[derive(Debug)]
pub(super) enum Seen<T> {
    /// A complete list begins.
    Restarted,
    /// An object of that list.
    Listed(T),
    /// The list is complete.
    Synced,
    /// An object appeared or changed.
    Changed(T),
    /// An object is gone.
    Deleted(T),
    /// The watch broke: what is in memory may be old until the next list is complete.
    Lost,
}

/// A tolerantly decoded object with the little that the watch itself needs.
#[derive(Debug, Clone)]
struct Watched<T> {
    meta: ObjectMeta,
    body: T,
}

impl<T> Resource for Watched<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de, T: Tolerant> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = T::deserialize(deserializer)?;
        let meta = ObjectMeta {
            name: Some(body.name().to_owned()),
            resource_version: Some(body.resource_version().to_owned()),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, body })
    }
}

/// An object whose decoding fails for nothing but broken JSON.
trait Tolerant: DeserializeOwned + Clone + Debug + Send + 'static {
    fn name(&self) -> &str;
    fn resource_version(&self) -> &str;
}

impl Tolerant for CsrObject {
    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// A policy or a guardrail as the API server has it.
#[derive(Debug, Clone)]
pub(super) struct PolicyEntry {
    /// The object, not yet compiled.
    pub(super) object: PolicyObject,
    /// `status`.
    pub(super) status: Value,
    /// `metadata.resourceVersion`.
    pub(super) resource_version: String,
}

impl PolicyEntry {
    fn new(kind: Kind, mut value: Value) -> Self {
        let resource_version = value["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let status = value.get_mut("status").map(Value::take).unwrap_or_default();
        Self { object: PolicyObject::new(kind, value), status, resource_version }
    }
}

macro_rules! entry_of {
    ($name:ident, $kind:expr) => {
        #[derive(Debug, Clone)]
        struct $name(PolicyEntry);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Value::deserialize(deserializer).map(|value| Self(PolicyEntry::new($kind, value)))
            }
        }

        impl Tolerant for $name {
            fn name(&self) -> &str {
                &self.0.object.name
            }

            fn resource_version(&self) -> &str {
                &self.0.resource_version
            }
        }
    };
}

entry_of!(Policy, Kind::CSRPolicy);
entry_of!(Guardrail, Kind::CSRGuardrail);

/// Where one watch reports to, and what makes it start over.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    /// Makes the watch start over from a complete list.
    pub(super) restart: Arc<Notify>,
}

/// Watches `CertificateSigningRequest` objects for ever.
pub(super) async fn requests<F: AsyncFnMut(Seen<CsrObject>)>(watch: Watch, seen: F) {
    let resource = ApiResource {
        group: "certificates.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "certificates.k8s.io/v1".to_owned(),
        kind: "CertificateSigningRequest".to_owned(),
        plural: "certificatesigningrequests".to_owned(),
    };
    watch.run("watch-requests", &resource, |object: CsrObject| object, seen).await;
}

/// Watches the objects of `kind` for ever.
pub(super) async fn policies<F: AsyncFnMut(Seen<PolicyEntry>)>(watch: Watch, kind: Kind, seen: F) {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    };
    match kind {
        Kind::CSRPolicy => watch.run("watch-policies", &resource, |entry: Policy| entry.0, seen).await,
        Kind::CSRGuardrail => watch.run("watch-guardrails", &resource, |entry: Guardrail| entry.0, seen).await,
    }
}

impl Watch {
    /// kube-runtime goes on with a stream after an event that it could not decode, and so leaves
    /// the state before that event in force. Here any error ends the stream, and the next one
    /// begins with a complete list.
    async fn run<T: Tolerant, U>(
        self,
        operation: &'static str,
        resource: &ApiResource,
        body: impl Fn(T) -> U,
        mut seen: impl AsyncFnMut(Seen<U>),
    ) {
        let api: Api<Watched<T>> = Api::all_with(self.client.clone(), resource);
        let mut failures = 0_u32;
        let mut strategy = InitialListStrategy::StreamingList;
        loop {
            let config = watcher::Config { initial_list_strategy: strategy.clone(), ..watcher::Config::default() };
            let mut stream = Box::pin(watcher::watcher(api.clone(), config.page_size_if_listing()));
            let error = loop {
                let event = tokio::select! {
                    event = stream.try_next() => event,
                    () = self.restart.notified() => break None,
                };
                match event {
                    Ok(Some(Event::Init)) => seen(Seen::Restarted).await,
                    Ok(Some(Event::InitApply(object))) => seen(Seen::Listed(body(object.body))).await,
                    Ok(Some(Event::InitDone)) => {
                        failures = 0;
                        seen(Seen::Synced).await;
                    }
                    Ok(Some(Event::Apply(object))) => seen(Seen::Changed(body(object.body))).await,
                    Ok(Some(Event::Delete(object))) => seen(Seen::Deleted(body(object.body))).await,
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            seen(Seen::Lost).await;
            let Some(error) = error else { continue };
            // An API server without streaming lists refuses the first watch as invalid.
            if let watcher::Error::WatchStartFailed(kube::Error::Api(status)) = &error
                && matches!(status.code, 400 | 422)
            {
                strategy = InitialListStrategy::ListWatch;
            }
            self.report(operation, error);
            failures = failures.saturating_add(1);
            tokio::time::sleep(backoff(failures)).await;
        }
    }

    fn report(&self, operation: &'static str, error: watcher::Error) {
        let error = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Error::Api(error),
            watcher::Error::WatchError(status) => Error::Api(kube::Error::Api(status)),
            watcher::Error::NoResourceVersion => Error::Task("watch without a resourceVersion"),
        };
        self.metrics.api_error(operation, &error);
        tracing::warn!(error = %error, operation, "the watch broke and starts over from a complete list");
    }
}

trait PageSize {
    fn page_size_if_listing(self) -> Self;
}

impl PageSize for watcher::Config {
    /// Small pages bound what is in memory at once; a streaming list has none.
    fn page_size_if_listing(self) -> Self {
        match self.initial_list_strategy {
            InitialListStrategy::ListWatch => self.page_size(20),
            InitialListStrategy::StreamingList => Self { page_size: None, ..self },
        }
    }
}

/// A quarter of a second, doubling up to eight seconds.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.saturating_sub(1).min(5))
}
