//! Watches, decoded through tolerant types and restarted from a complete list after any error.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::client::Body;
use kube::core::watch::Bookmark;
use kube::core::{ApiResource, WatchEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::sync::{self, Notify};

use super::Error;
use super::client::{chunk, segment, stream};
use super::filed::Filed;
use super::list::Items;
use super::metrics::Metrics;
use crate::api::{GROUP, VERSION};
use crate::escape::printable;
use crate::node::Node;
use crate::policy::{Kind, ServedPolicy, UnreadPolicy};
use crate::request::CsrObject;

/// How long a watch lasts, in seconds, before the API server ends it and the next goes on from there.
const TIMEOUT: u32 = 290;
/// After how long without a byte a connection counts as dead: the API server sends a bookmark each minute.
const SILENCE: Duration = Duration::from_secs(75);
/// A watch that ends by itself sooner than this is no watch.
const SHORTEST: Duration = Duration::from_secs(1);
/// After how long a watch that breaks is no longer taken for one that always does.
const STEADY: Duration = Duration::from_secs(10);
/// The longest wait before a watch that broke starts over, without jitter and unless the API server asks for more.
const LONGEST: Duration = Duration::from_secs(2);
/// The longest name of a request, in bytes. It is held for as long as the request is pending, and is part of URLs.
const MAX_NAME: usize = 4 * 1024;
/// A larger buffer, in bytes, is given back once it is empty.
const KEPT: usize = 256 * 1024;
/// The annotation of the bookmark that ends a streamed list (Kubernetes API concepts, "streaming lists").
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

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

/// An object whose decoding fails for nothing but broken JSON.
trait Tolerant: DeserializeOwned + Send + 'static {
    fn name(&self) -> &str;
    fn resource_version(&self) -> &str;
    /// The items of a list do not say what they are.
    fn of_list(self) -> Self;
}

impl Tolerant for CsrObject {
    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn of_list(self) -> Self {
        self
    }
}

impl Tolerant for Node {
    fn name(&self) -> &str {
        &self.name
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }

    fn of_list(self) -> Self {
        self
    }
}

macro_rules! tolerant {
    ($name:ident, $kind:expr) => {
        struct $name(ServedPolicy);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                UnreadPolicy::deserialize(deserializer).map(|unread| Self(ServedPolicy::new($kind, unread)))
            }
        }

        impl Tolerant for $name {
            fn name(&self) -> &str {
                &self.0.object.name
            }

            fn resource_version(&self) -> &str {
                &self.0.resource_version
            }

            fn of_list(mut self) -> Self {
                self.0.object.known_version = true;
                self
            }
        }
    };
}

tolerant!(Policy, Kind::CSRPolicy);
tolerant!(Guardrail, Kind::CSRGuardrail);

/// Where one watch reports to, and what makes it start over.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    /// Makes the watch start over from a complete list.
    pub(super) restart: Arc<Notify>,
    /// How new its list is.
    pub(super) age: ListAge,
    /// What follows when the API server ends it.
    pub(super) end: End,
}

/// What follows when the API server ends a watch without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on from where it was.
    GoOn,
    /// It starts over from a complete list: what a watch of custom resources brought last may be without the fields
    /// that their CRD has got in the meantime, and the API server ends it then.
    StartOver,
}

/// How new a list at the beginning of a watch is (Kubernetes API concepts, "resource versions").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListAge {
    /// Whatever the API server has at hand.
    Any,
    /// No older than the moment it is asked for.
    MostRecent,
}

/// Watches `CertificateSigningRequest` objects for ever.
///
/// One whose name is too long is not kept, and so left to people: a name may have half a megabyte, and fit into no URL. Nor is one
/// whose name has what stands in JSON for bytes that are no UTF-8: by that name there is none.
pub(super) async fn requests<F: AsyncFnMut(Seen<Filed>)>(watch: Watch, mut seen: F) {
    let resource = ApiResource {
        group: "certificates.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "certificates.k8s.io/v1".to_owned(),
        kind: "CertificateSigningRequest".to_owned(),
        plural: "certificatesigningrequests".to_owned(),
    };
    // Of a list it is said once: whoever files them may have the watch end as often as they like.
    let mut left: Option<(usize, String)> = None;
    let seen = async move |now: Seen<Filed>| match now {
        Seen::Listed(filed) if is_out_of_reach(filed.name()) => {
            let (number, _) = left.get_or_insert_with(|| (0, printable(filed.name())));
            *number += 1;
        }
        Seen::Changed(filed) if is_out_of_reach(filed.name()) => leave(1, &printable(filed.name())),
        Seen::Deleted(filed) if is_out_of_reach(filed.name()) => {}
        now => {
            if let Some((number, name)) = left.take_if(|_| matches!(now, Seen::Synced)) {
                leave(number, &name);
            }
            seen(now).await;
        }
    };
    watch.run("watch-requests", &resource, |object: CsrObject| Filed::from(object), seen).await;
}

/// Whether no call can be made about what has this name.
fn is_out_of_reach(name: &str) -> bool {
    name.len() > MAX_NAME || name.contains(char::REPLACEMENT_CHARACTER)
}

fn leave(number: usize, name: &str) {
    tracing::warn!(name, number, "requests are left alone: their names are too long, or no UTF-8");
}

/// Watches `Node` objects for ever, but only while they are `needed`.
pub(super) async fn nodes<F: AsyncFnMut(Seen<Node>) + Clone>(
    watch: Watch,
    mut needed: sync::watch::Receiver<bool>,
    mut seen: F,
) {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        plural: "nodes".to_owned(),
    };
    // The channel closes only when the engine has ended, and this task is about to be.
    while needed.wait_for(|needed| *needed).await.is_ok() {
        tokio::select! {
            () = watch.run("watch-nodes", &resource, |node: Node| node, seen.clone()) => {}
            _ = needed.wait_for(|needed| !*needed) => {}
        }
        seen(Seen::Lost).await;
    }
    std::future::pending::<()>().await;
}

/// Watches the objects of `kind` for ever.
pub(super) async fn policies<F: AsyncFnMut(Seen<ServedPolicy>)>(watch: Watch, kind: Kind, seen: F) {
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

/// How the complete list at the beginning is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// As the first events of the watch (streaming lists): one object in memory at a time.
    Streamed,
    /// By a list before it.
    Listed,
}

impl Watch {
    /// Any error ends the watch, and the next one begins with a complete list. Why not the watcher of
    /// kube-runtime: it goes on after an event that it could not decode or that was cut off, and so leaves
    /// the state before it in force; and it says nothing while it connects again, which may take for ever.
    async fn run<T: Tolerant, U>(
        &self,
        operation: &'static str,
        resource: &ApiResource,
        body: impl Fn(T) -> U,
        mut seen: impl AsyncFnMut(Seen<U>),
    ) {
        let path = match resource.group.as_str() {
            "" => format!("/api/{}/{}", resource.version, resource.plural),
            group => format!("/apis/{group}/{}/{}", resource.version, resource.plural),
        };
        let mut failures = 0_u32;
        let (mut beginning, mut streams) = (Beginning::Streamed, true);
        loop {
            let (mut synced, began) = (None, Instant::now());
            let ended = tokio::select! {
                ended = self.follow(&path, beginning, &body, &mut seen, &mut synced) => ended,
                () = self.restart.notified() => Ok(()),
            };
            seen(Seen::Lost).await;
            let steady = synced.is_some_and(|since: Instant| since.elapsed() > STEADY);
            if steady {
                failures = 0;
            }
            let Err(error) = ended else { continue };
            // An API server without streaming lists refuses the first watch as invalid. One that cannot write an object into a
            // watch, since a requestor has nested its fields 10,000 deep, ends it, and can still write it into a list.
            streams &= synced.is_some() || !matches!(error.status(), Some(400 | 422));
            let cannot_write = matches!(error, Error::Watch(_));
            if !streams || cannot_write {
                beginning = Beginning::Listed;
            } else if steady {
                beginning = Beginning::Streamed;
            }
            if cannot_write && synced.is_some() {
                // It is no worse than before: what comes between two ends is decided.
                failures = 0;
            }
            self.metrics.api_error(operation, &error);
            tracing::warn!(error = %error, operation, "the watch broke and starts over from a complete list");
            failures = failures.saturating_add(1);
            // As long as the list took, so that lists that follow one another are not all that is done.
            let took = synced.filter(|_| !steady).map_or(Duration::ZERO, |at| at.duration_since(began).min(LONGEST));
            tokio::time::sleep(backoff(failures).max(error.retry_after()).max(took)).await;
        }
    }

    /// A complete list, and then what changes, until it is to start over.
    async fn follow<T: Tolerant, U>(
        &self,
        path: &str,
        beginning: Beginning,
        body: &impl Fn(T) -> U,
        seen: &mut impl AsyncFnMut(Seen<U>),
        synced: &mut Option<Instant>,
    ) -> Result<(), Error> {
        let (mut version, mut events) = match beginning {
            Beginning::Streamed => self.stream_list(path, body, seen).await?,
            Beginning::Listed => {
                let version = self.whole_list(path, body, seen).await?;
                let events = self.open(path, &format!("resourceVersion={}", segment(&version))).await?;
                (version, events)
            }
        };
        seen(Seen::Synced).await;
        *synced = Some(Instant::now());
        let mut opened = Instant::now();
        loop {
            match events.next().await? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    version = version_of(&object)?;
                    seen(Seen::Changed(body(object))).await;
                }
                Some(WatchEvent::Deleted(object)) => {
                    version = version_of(&object)?;
                    seen(Seen::Deleted(body(object))).await;
                }
                Some(WatchEvent::Bookmark(bookmark)) => version = moment_of(bookmark)?,
                Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status).into()),
                // It had its time, or is silent.
                None if opened.elapsed() < SHORTEST => return Err(Error::Watch("ended as soon as it had begun")),
                None if self.end == End::StartOver => return Ok(()),
                None => {
                    opened = Instant::now();
                    events = self.open(path, &format!("resourceVersion={}", segment(&version))).await?;
                }
            }
        }
    }

    async fn stream_list<T: Tolerant, U>(
        &self,
        path: &str,
        body: &impl Fn(T) -> U,
        seen: &mut impl AsyncFnMut(Seen<U>),
    ) -> Result<(String, Events), Error> {
        let version = match self.age {
            ListAge::Any => "&resourceVersion=0",
            ListAge::MostRecent => "",
        };
        let how = format!("sendInitialEvents=true&resourceVersionMatch=NotOlderThan{version}");
        let mut events = self.open(path, &how).await?;
        seen(Seen::Restarted).await;
        loop {
            match events.next().await? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    version_of(&object)?;
                    seen(Seen::Listed(body(object))).await;
                }
                Some(WatchEvent::Bookmark(bookmark)) => {
                    if bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END) {
                        return Ok((moment_of(bookmark)?, events));
                    }
                }
                Some(WatchEvent::Error(status)) => return Err(kube::Error::Api(status).into()),
                Some(WatchEvent::Deleted(_)) | None => return Err(Error::Watch("ended within its list")),
            }
        }
    }

    async fn whole_list<T: Tolerant, U>(
        &self,
        path: &str,
        body: &impl Fn(T) -> U,
        seen: &mut impl AsyncFnMut(Seen<U>),
    ) -> Result<String, Error> {
        let mut items = Items::open(&self.client, path).await?;
        seen(Seen::Restarted).await;
        while let Some(object) = items.next::<T>().await? {
            version_of(&object)?;
            seen(Seen::Listed(body(object.of_list()))).await;
        }
        let version = items.version()?;
        if version.is_empty() { Err(Error::Answer("a list")) } else { Ok(version) }
    }

    async fn open(&self, path: &str, from: &str) -> Result<Events, Error> {
        let path = format!("{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={TIMEOUT}&{from}");
        Ok(Events { body: stream(&self.client, &path).await?, rest: Vec::new(), searched: 0 })
    }
}

/// The version of an object that is one: what has no name could be any.
fn version_of<T: Tolerant>(object: &T) -> Result<String, Error> {
    if object.name().is_empty() || object.resource_version().is_empty() {
        return Err(Error::Watch("brought an object without a name or a version"));
    }
    Ok(object.resource_version().to_owned())
}

/// The version that a bookmark is for: from none, a watch would go on from some other.
fn moment_of(bookmark: Bookmark) -> Result<String, Error> {
    let version = bookmark.metadata.resource_version;
    if version.is_empty() { Err(Error::Watch("brought a bookmark without a version")) } else { Ok(version) }
}

/// The lines of a watch.
struct Events {
    body: Body,
    /// What came of the next lines so far.
    rest: Vec<u8>,
    /// How much of it has no end of a line.
    searched: usize,
}

impl Events {
    /// The next event; nothing once the watch has ended between two lines, or brings nothing any more.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<WatchEvent<T>>, Error> {
        loop {
            if let Some(end) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let event = serde_json::from_slice(&self.rest[..end]).map_err(kube::Error::SerdeError)?;
                self.rest.drain(..=end);
                self.searched = 0;
                if self.rest.is_empty() && self.rest.capacity() > KEPT {
                    self.rest = Vec::new();
                }
                return Ok(Some(event));
            }
            self.searched = self.rest.len();
            match tokio::time::timeout(SILENCE, chunk(&mut self.body)).await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes?),
                Ok(None) | Err(_) if self.rest.is_empty() => return Ok(None),
                Ok(None) | Err(_) => return Err(Error::Watch("ended in the middle of a line")),
            }
        }
    }
}

/// A quarter of a second, doubling up to two seconds, and up to a quarter longer, so that replicas do not
/// come at once.
fn backoff(failures: u32) -> Duration {
    let wait = Duration::from_millis(250 << failures.saturating_sub(1).min(3));
    let jitter = RandomState::new().hash_one(failures) % 256;
    wait + wait.mul_f64(f64::from(u8::try_from(jitter).unwrap_or_default()) / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::backoff;

    #[test]
    fn replicas_that_lost_a_watch_together_do_not_come_again_together() {
        for (failures, millis) in [(1, 250), (2, 500), (3, 1000), (4, 2000), (5, 2000), (u32::MAX, 2000)] {
            let wait = Duration::from_millis(millis);
            let waits: BTreeSet<Duration> = (0..100).map(|_| backoff(failures)).collect();
            let (first, last) = (*waits.first().unwrap(), *waits.last().unwrap());
            assert!(first >= wait && last < wait + wait / 4, "{failures}: {first:?} {last:?}");
            assert!(waits.len() > 50 && last > first + wait.mul_f64(0.15), "{failures}: {waits:?}");
        }
    }
}
