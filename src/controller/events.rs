//! Events (`events.k8s.io/v1`): best effort, queued, and never holding a decision back.

use std::fmt::Write;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;

use super::client::{call, segment};
use super::leader::micro_time;
use super::metrics::Metrics;
use crate::escape::{cut, is_visible};

/// How many Events may wait to be written.
const CAPACITY: usize = 4096;
/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Objects with longer names get no Events, since the name would have to be repeated whole; nor do those
/// whose name has characters that do not show, since it would have to be repeated as it is.
const MAX_NAME: usize = 1024;

/// How an Event is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventType {
    Normal,
    Warning,
}

/// Something to tell people about a request.
#[derive(Debug)]
pub(super) struct Note {
    /// `metadata.name` of the request.
    pub(super) name: String,
    /// `metadata.uid` of the request.
    pub(super) uid: String,
    pub(super) type_: EventType,
    /// `Approved`, `Denied`, `NoOpinion`, `AuditDiffers`.
    pub(super) reason: &'static str,
    /// What, with uid and reason, makes it the same Event: it is written once.
    pub(super) key: &'static str,
    pub(super) note: String,
}

/// The queue of Events.
#[derive(Debug, Clone)]
pub(super) struct Events {
    sender: mpsc::Sender<Note>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// A queue and what writes it, which ends when every sender is gone.
    pub(super) fn new(
        client: Client,
        metrics: Arc<Metrics>,
        namespace: String,
        instance: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, mut receiver) = mpsc::channel::<Note>(CAPACITY);
        let events = Self { sender, metrics: Arc::clone(&metrics) };
        let write = async move {
            while let Some(note) = receiver.recv().await {
                write(&client, &metrics, &namespace, &instance, &note).await;
            }
        };
        (events, write)
    }

    /// A queue that nobody writes.
    #[cfg(test)]
    pub(super) fn unwritten(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Note>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, metrics }, receiver)
    }

    /// Queues `note`, or drops it where too many wait.
    pub(super) fn send(&self, note: Note) {
        let name = &note.name;
        if name.len() > MAX_NAME || !name.chars().all(is_visible) || self.sender.try_send(note).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn write(client: &Client, metrics: &Metrics, namespace: &str, instance: &str, note: &Note) {
    let event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": event_name(note), "namespace": namespace },
        "eventTime": micro_time(Timestamp::now()),
        "type": match note.type_ { EventType::Normal => "Normal", EventType::Warning => "Warning" },
        "reason": note.reason,
        "action": "Review",
        "note": cut(&note.note, MAX_NOTE),
        "reportingController": "countersign.dev/countersign",
        "reportingInstance": cut(instance, 128),
        // No namespace: `kubectl describe csr` looks for Events about an object without one.
        "regarding": {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "name": note.name,
            "uid": note.uid,
        },
    });
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", segment(namespace));
    match call::<IgnoredAny>(client, Method::POST, &path, "application/json", &event).await {
        Ok(_) => {}
        // It was written before this process started.
        Err(error) if error.status() == Some(409) => {}
        Err(error) => {
            metrics.api_error("event", &error);
            metrics.event_dropped();
            tracing::warn!(error = %error, reason = note.reason, "cannot write an Event");
        }
    }
}

/// The same for the same request, decision and reason, so that it is told once, restarts included.
fn event_name(note: &Note) -> String {
    let text = format!("{}\n{}\n{}", note.uid, note.reason, note.key);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref()[..12].iter().fold("countersign-".to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}
