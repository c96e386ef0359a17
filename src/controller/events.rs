//! Events (`events.k8s.io/v1`): best effort, queued, and never holding a decision back: while decisions are
//! on their way they trickle, and are written as fast as may be once there are none.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::Error;
use super::client::{call, segment};
use super::leader::micro_time;
use super::metrics::Metrics;
use crate::escape::{cut, is_visible};

/// How much may wait to be written, in bytes: some 60,000 Events of usual requests.
const CAPACITY: usize = 16 * 1024 * 1024;
/// What an Event takes beside its texts, in bytes.
const OVERHEAD: usize = 128;
/// How many are written at a time while no decision is on its way.
const IN_FLIGHT: usize = 8;
/// While decisions are on their way, one is written this often.
const TRICKLE: Duration = Duration::from_millis(250);
/// How often the same Event is tried, where the API server is there and not too busy.
const TRIES: u32 = 5;
/// The first wait after a failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that the API server can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
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
#[derive(Debug)]
pub(super) struct Events {
    sender: mpsc::UnboundedSender<Queued>,
    deciding: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// A queue and what writes it, which ends when the queue is gone and all in it is written.
    pub(super) fn new(
        client: Client,
        metrics: Arc<Metrics>,
        namespace: String,
        instance: String,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (deciding, busy) = watch::channel(false);
        let target = Arc::new(Target { client, namespace, instance });
        let writer = Writer::new(target, Arc::clone(&metrics), busy);
        (Self { sender, deciding, metrics }, writer.run(receiver))
    }

    /// A queue that nobody writes.
    #[cfg(test)]
    pub(super) fn unwritten(metrics: Arc<Metrics>) -> (Self, mpsc::UnboundedReceiver<Queued>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, deciding: watch::channel(false).0, metrics }, receiver)
    }

    /// Queues `note`.
    pub(super) fn send(&self, mut note: Note) {
        let name = &note.name;
        if name.len() > MAX_NAME || !name.chars().all(is_visible) {
            self.metrics.event_dropped();
            return;
        }
        note.note = cut(&note.note, MAX_NOTE);
        if self.sender.send(Queued { note, time: Timestamp::now(), tries: 0, waits: 0 }).is_err() {
            self.metrics.event_dropped();
        }
    }

    /// Whether decisions are on their way, which come first.
    pub(super) fn give_way(&self, deciding: bool) {
        self.deciding.send_if_modified(|before| std::mem::replace(before, deciding) != deciding);
    }
}

/// An Event that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) note: Note,
    /// When it was queued.
    time: Timestamp,
    tries: u32,
    /// How often it had to wait, [`TRIES`] at most.
    waits: u32,
}

impl Queued {
    /// What it takes, in bytes.
    fn size(&self) -> usize {
        OVERHEAD + self.note.name.len() + self.note.uid.len() + self.note.note.len()
    }
}

/// What waits, within [`CAPACITY`]. A denial is written before anything else, and dropped last: it may be the
/// only thing that its requestor is told.
#[derive(Debug, Default)]
struct Waiting {
    denied: VecDeque<Queued>,
    others: VecDeque<Queued>,
    size: usize,
}

impl Waiting {
    fn line(&mut self, queued: &Queued) -> &mut VecDeque<Queued> {
        if queued.note.reason == "Denied" { &mut self.denied } else { &mut self.others }
    }

    /// Takes `queued` in, and returns how many had to be dropped for that, itself included.
    fn push(&mut self, queued: Queued) -> usize {
        self.size += queued.size();
        self.line(&queued).push_back(queued);
        let mut dropped = 0;
        while self.size > CAPACITY
            && let Some(last) = self.others.pop_back().or_else(|| self.denied.pop_back())
        {
            self.size -= last.size();
            dropped += 1;
        }
        dropped
    }

    /// Takes back what could not be written.
    fn push_front(&mut self, queued: Queued) {
        self.size += queued.size();
        self.line(&queued).push_front(queued);
    }

    fn pop(&mut self) -> Option<Queued> {
        let next = self.denied.pop_front().or_else(|| self.others.pop_front())?;
        self.size -= next.size();
        Some(next)
    }

    fn is_empty(&self) -> bool {
        self.denied.is_empty() && self.others.is_empty()
    }
}

/// Where Events are written.
struct Target {
    client: Client,
    namespace: String,
    instance: String,
}

/// What writes them.
struct Writer {
    target: Arc<Target>,
    metrics: Arc<Metrics>,
    /// Whether decisions are on their way.
    deciding: watch::Receiver<bool>,
    waiting: Waiting,
    /// While decisions are on their way, the next is written then.
    trickles_at: Instant,
    /// Nothing is written before, after a failure.
    paused_until: Instant,
    /// How many failures there were, one after the other, [`TRIES`] at most.
    failures: u32,
}

impl Writer {
    fn new(target: Arc<Target>, metrics: Arc<Metrics>, deciding: watch::Receiver<bool>) -> Self {
        let now = Instant::now();
        Self {
            target,
            metrics,
            deciding,
            waiting: Waiting::default(),
            trickles_at: now,
            paused_until: now,
            failures: 0,
        }
    }

    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Queued>) {
        let mut calls = FuturesUnordered::new();
        let mut open = true;
        while open || !calls.is_empty() || !self.waiting.is_empty() {
            // The queue is gone only when there is nothing left to decide.
            let deciding = open && *self.deciding.borrow_and_update();
            let (places, from) =
                if deciding { (1, self.trickles_at.max(self.paused_until)) } else { (IN_FLIGHT, self.paused_until) };
            let now = Instant::now();
            while calls.len() < places
                && from <= now
                && let Some(queued) = self.waiting.pop()
            {
                calls.push(write(Arc::clone(&self.target), queued));
                self.trickles_at = now + TRICKLE;
            }
            let wait = !self.waiting.is_empty() && from > now;
            tokio::select! {
                queued = receiver.recv(), if open => match queued {
                    Some(queued) => (0..self.waiting.push(queued)).for_each(|_| self.metrics.event_dropped()),
                    // There is no time for pauses any more.
                    None => (open, self.paused_until) = (false, now),
                },
                Some((queued, written)) = calls.next(), if !calls.is_empty() => self.written(queued, written),
                Ok(()) = self.deciding.changed(), if open => {}
                () = tokio::time::sleep_until(from.into()), if wait => {}
            }
        }
    }

    fn written(&mut self, mut queued: Queued, written: Result<(), Error>) {
        let Err(error) = written else {
            self.failures = 0;
            return;
        };
        self.metrics.api_error("event", &error);
        // What were on their way together count once.
        let now = Instant::now();
        self.failures = (self.failures + u32::from(now >= self.paused_until)).clamp(1, TRIES);
        // Refused by an API server that is away or busy, it was not tried.
        let was_tried = !error.is_about_none();
        queued.tries += u32::from(was_tried);
        queued.waits = (queued.waits + 1).min(TRIES);
        // A right that is missing may be given back; or something refuses this one, and others have their turn before it.
        let is_forbidden = error.status() == Some(403);
        if is_forbidden {
            queued.waits = TRIES;
        }
        let passes = error.is_open() || !was_tried || is_forbidden;
        let reason = queued.note.reason;
        if passes && (queued.tries < TRIES || !was_tried) {
            let times = if was_tried { queued.tries } else { self.failures };
            let wait = (FIRST_WAIT * (1 << (times - 1))).max(error.retry_after()).min(LONGEST_WAIT);
            self.paused_until = self.paused_until.max(now + wait);
            if queued.waits < TRIES {
                self.waiting.push_front(queued);
            } else {
                // Others have their turn, should it be this one's fault all the same.
                (0..self.waiting.push(queued)).for_each(|_| self.metrics.event_dropped());
            }
        } else {
            self.metrics.event_dropped();
        }
        tracing::warn!(error = %error, reason, "cannot write an Event");
    }
}

async fn write(target: Arc<Target>, queued: Queued) -> (Queued, Result<(), Error>) {
    let note = &queued.note;
    let event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": event_name(note), "namespace": target.namespace },
        "eventTime": micro_time(queued.time),
        "type": match note.type_ { EventType::Normal => "Normal", EventType::Warning => "Warning" },
        "reason": note.reason,
        "action": "Review",
        "note": note.note,
        "reportingController": "countersign.dev/countersign",
        "reportingInstance": cut(&target.instance, 128),
        // No namespace: `kubectl describe csr` looks for Events about an object without one.
        "regarding": {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "name": note.name,
            "uid": note.uid,
        },
    });
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", segment(&target.namespace));
    let written = match call::<IgnoredAny>(&target.client, Method::POST, &path, "application/json", &event).await {
        Ok(_) => Ok(()),
        // It was written already, by an earlier try or before this process started.
        Err(error) if error.status() == Some(409) => Ok(()),
        Err(error) => Err(error),
    };
    (queued, written)
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use http::{Request, Response};
    use kube::client::{Body, Client};
    use kube::core::Status;

    use super::{CAPACITY, Error, EventType, Metrics, Note, Queued, TRIES, Target, Waiting, Writer, mpsc, watch};

    fn writer() -> Writer {
        let written = async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from(b"{}".to_vec())));
        let service = tower::service_fn(written);
        let target = Target { client: Client::new(service, ""), namespace: String::new(), instance: String::new() };
        Writer::new(Arc::new(target), Arc::new(Metrics::new().unwrap()), watch::channel(false).1)
    }

    #[tokio::test]
    async fn an_api_server_that_is_away_or_busy_for_long_costs_no_event() {
        let code = |code: u16| {
            let status = Status { code, ..Status::failure("", "") };
            Error::Api(kube::Error::Api(Box::new(status)))
        };
        let away = || Error::Api(kube::Error::Service("connection refused".into()));
        for (error, stays) in [
            (&away as &dyn Fn() -> Error, true),
            (&|| code(429), true),
            (&|| code(503), true),
            (&|| code(401), true),
            (&|| code(500), false),
            (&|| Error::Timeout(8), false),
            (&|| code(403), false),
        ] {
            let mut writer = writer();
            writer.waiting.push(queued("a", "Denied", 1));
            writer.waiting.push(queued("b", "Denied", 1));
            for _ in 0..TRIES * 4 {
                let Some(next) = writer.waiting.pop() else { break };
                writer.written(next, Err(error()));
            }
            assert_eq!(!writer.waiting.is_empty(), stays, "{}", error());
            // Each of them has its turn.
            assert!(writer.waiting.denied.iter().all(|queued| queued.waits == TRIES), "{}", error());
            // What it answers once it is back is the first try.
            let mut tries = 0;
            while let Some(next) = writer.waiting.pop() {
                writer.written(next, Err(code(500)));
                tries += 1;
            }
            assert_eq!(tries, if stays { TRIES * 2 } else { 0 });
        }
        // What refuses one may take the others.
        let mut writer = writer();
        writer.waiting.push(queued("a", "Denied", 1));
        writer.waiting.push(queued("b", "Denied", 1));
        let first = writer.waiting.pop().unwrap();
        writer.written(first, Err(code(403)));
        assert_eq!(writer.waiting.pop().map(|next| next.note.name).as_deref(), Some("b"));
        assert_eq!(writer.waiting.pop().map(|next| next.note.name).as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn what_failed_long_ago_is_no_reason_to_wait_for_long() {
        let status = Status { code: 429, ..Status::failure("", "") };
        let busy = || Err(Error::Api(kube::Error::Api(Box::new(status.clone()))));
        let mut writer = writer();
        let mut pauses = Vec::new();
        for written in [busy(), busy(), busy(), Ok(()), busy()] {
            let now = Instant::now();
            writer.paused_until = now;
            // It has waited often.
            writer.written(Queued { waits: TRIES, ..queued("a", "Denied", 1) }, written);
            pauses.push((writer.paused_until - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 0, 1]);
    }

    #[tokio::test]
    async fn at_the_end_no_pause_is_waited_for() {
        let mut writer = writer();
        writer.paused_until = Instant::now() + Duration::from_secs(60);
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(queued("a", "Denied", 1)).unwrap();
        drop(sender);
        tokio::time::timeout(Duration::from_secs(30), writer.run(receiver)).await.unwrap();
    }

    fn queued(name: &str, reason: &'static str, bytes: usize) -> Queued {
        let note = Note {
            name: name.to_owned(),
            uid: String::new(),
            type_: EventType::Normal,
            reason,
            key: "",
            note: "x".repeat(bytes),
        };
        Queued { note, time: Timestamp::UNIX_EPOCH, tries: 0, waits: 0 }
    }

    #[test]
    fn denials_are_written_first_and_dropped_last() {
        let mut waiting = Waiting::default();
        let quarter = CAPACITY / 4;
        for (name, reason) in [("a", "Approved"), ("b", "Denied"), ("c", "Approved"), ("d", "NoOpinion")] {
            let dropped = waiting.push(queued(name, reason, quarter));
            // What each takes beside its text makes four too many.
            assert_eq!(dropped, usize::from(name == "d"));
        }
        assert_eq!(waiting.push(queued("e", "Denied", quarter)), 1);
        assert_eq!(waiting.push(queued("f", "Denied", quarter)), 1);
        let order: Vec<String> = std::iter::from_fn(|| waiting.pop()).map(|queued| queued.note.name).collect();
        assert_eq!(order, ["b", "e", "f"]);
        assert!(waiting.is_empty() && waiting.size == 0);
        for _ in 0..4 {
            waiting.push(queued("g", "Denied", quarter));
        }
        assert_eq!(waiting.push(queued("h", "Denied", quarter)), 1);
    }
}
