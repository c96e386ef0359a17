//! All state in one task: what was seen goes in (`seen`), what is due is reviewed and decided (`decide`), and what became
//! of it comes back (`answers`).

mod answers;
mod decide;
mod seen;
mod settling;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::settling::Settling;
use super::approval::Sent;
use super::confirm::Current;
use super::counted::Counted;
use super::filed::Filed;
use super::flight::Flight;
use super::gate::Gate;
use super::metrics::Metrics;
use super::moment::Clock;
use super::nodes::{self, Nodes};
use super::pending::Pending;
use super::policies::Policies;
use super::queue::Queue;
use super::record::Recorder;
use super::server::Readiness;
use super::skew::{RightUrl, Skew};
use super::status;
use super::watch::Seen;
use super::{Config, Error};
use crate::node::Node;
use crate::policy::{Kind, PolicySet, ServedPolicy};
use crate::request::SigningRequest;
use crate::review::Review;

/// How many events of watches may wait to be taken in; all of them are before anything is decided.
pub(super) const MOST_WAITING: usize = 256;
/// After how long taking them in connections, the lease and the probes have their turn, whether or not more is there.
const LONG: Duration = Duration::from_millis(5);
/// For how long decisions have their turn, at least and at most, under policies that were just confirmed and change without end: as
/// long as that took, since some need a call of their own first.
const TURN_OF_DECISIONS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// How often what changes with time alone is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long calls on their way are waited for at the end, so that there is time to say which of them tell nothing.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the watch may lag behind a consistent read before it is restarted.
const LAG: Duration = Duration::from_secs(3);

/// For how long after a change of a CRD a watch that began before may bring objects without the fields that only the new one has:
/// the API server gives calls twice their time, which is 60 s by default, to end (apiextensions-apiserver, `crdHandler.tearDown`).
const SCHEMA_SETTLES: Duration = Duration::from_secs(150);

/// What comes in.
#[derive(Debug)]
pub(super) enum Input {
    Request(Seen<Filed>),
    Policy(Kind, Seen<ServedPolicy>),
    Node(Seen<Node>),
    Skew(Skew),
    /// A permission that was missing is there again.
    Permitted,
}

/// What comes back from a call that the engine made.
enum Done {
    Sent {
        name: String,
        decided: Decided,
        /// What was decoded of it, unless its answer is that of a later look.
        request: Option<Box<SigningRequest>>,
        sent: Sent,
    },
    /// A large request was read again.
    Read {
        filed: Filed,
        read: Sent,
    },
    Confirmed(Result<Current, Error>),
    Status(status::Written),
}

/// A decision, and what it rests on.
#[derive(Clone)]
struct Decided {
    filed: Filed,
    review: Arc<Review>,
    /// When it was made; of one that is sent again, when it was made first.
    at: Timestamp,
    /// The policies of the review: by the time of the answer there may be others.
    set: Arc<PolicySet>,
}

/// A decision whose answer did not come.
struct Late {
    decided: Decided,
    /// Whether a look at its request is on its way.
    looked_for: bool,
}

/// What makes other tasks do something now.
#[derive(Debug, Clone, Default)]
pub(super) struct Prompts {
    /// The watches of policies and guardrails start over.
    pub(super) restart_policies: [Arc<Notify>; 2],
    /// The watch of requests starts over.
    pub(super) restart_requests: Arc<Notify>,
    /// Whether Nodes are watched at all.
    pub(super) need_nodes: watch::Sender<bool>,
    /// The watch of Nodes starts over.
    pub(super) restart_nodes: Arc<Notify>,
    /// The own permissions are looked at.
    pub(super) look_at_permissions: Arc<Notify>,
    /// The served schema is looked at.
    pub(super) look_at_schema: Arc<Notify>,
}

pub(super) struct Engine {
    pub(super) client: Client,
    pub(super) gate: Arc<Gate>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) recorder: Recorder,
    pub(super) readiness: Readiness,
    pub(super) prompts: Prompts,
    max_age: Option<Duration>,
    pending: Pending,
    policies: Policies,
    nodes: Nodes,
    counted: Counted,
    queue: Queue,
    /// Names of pending requests that a list in progress has brought so far.
    listed: Option<HashSet<Arc<str>>>,
    requests_synced: bool,
    /// Whether the lease was held when there was last something to do.
    led: bool,
    skew: Skew,
    /// The schema that the last consistent read found right, and since when each found the same.
    right_schema: (RightUrl, Instant),
    /// Policies were complete at least once: later changes settle.
    policies_seen: bool,
    settling: Settling,
    confirming: bool,
    /// Whether another schema was seen since the consistent read under way began.
    overtaken: bool,
    /// What a consistent read brought, until everything is taken in that was there when it came.
    read: Option<Current>,
    /// Until when decisions have their turn before anything else is taken in.
    turn_until: Option<Instant>,
    /// How long the last consistent read took that showed what is in memory.
    reading_took: Duration,
    /// Since when consistent reads and the watch disagree.
    lagging_since: Option<Instant>,
    flight: Flight,
    /// Decisions whose answer did not come, by the name of their request: one may have been filed again under it.
    unanswered: HashMap<String, Vec<Decided>>,
    /// Those that are looked for, or were and were not there, by the uid of their request: they may be on their way still.
    late: HashMap<String, Vec<Late>>,
    status: status::Updates,
    /// Nothing new is decided any more.
    stopping: bool,
    /// When time itself is looked at next.
    ticks_at: Instant,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The calls about requests that are on their way are given up.
    given_up: CancellationToken,
    clock: Clock,
}

impl Engine {
    pub(super) fn new(
        config: &Config,
        client: Client,
        gate: Arc<Gate>,
        metrics: Arc<Metrics>,
        recorder: Recorder,
        readiness: Readiness,
        prompts: Prompts,
    ) -> Self {
        let nodes = Nodes::new(prompts.need_nodes.clone());
        let engine = Self {
            client,
            gate,
            metrics,
            recorder,
            readiness,
            prompts,
            max_age: config.settings.max_request_age,
            pending: Pending::default(),
            policies: Policies::new(config.settings.clone()),
            nodes,
            counted: Counted::default(),
            queue: Queue::default(),
            listed: None,
            requests_synced: false,
            led: false,
            skew: Skew::Unknown("the CRDs were not looked at yet".to_owned()),
            right_schema: (None, Instant::now()),
            policies_seen: false,
            settling: Settling::new(config.policy_settle),
            confirming: false,
            overtaken: false,
            read: None,
            turn_until: None,
            reading_took: Duration::ZERO,
            lagging_since: None,
            flight: Flight::default(),
            unanswered: HashMap::new(),
            late: HashMap::new(),
            status: status::Updates::default(),
            stopping: false,
            ticks_at: Instant::now(),
            calls: FuturesUnordered::new(),
            given_up: CancellationToken::new(),
            clock: Clock::new(),
        };
        engine.show_readiness();
        engine.metrics.policies(engine.policies.set());
        engine
    }

    /// Works until `stop`, then waits some seconds for the decisions on their way. Nothing new is decided then, but what is seen
    /// still holds back what was not sent yet.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>, stop: CancellationToken) {
        let mut received = Vec::new();
        loop {
            // However much there is to send and to answer: what was seen comes before what is decided.
            while received.len() < MOST_WAITING
                && self.turn_until.is_none()
                && let Ok(input) = inputs.try_recv()
            {
                received.push(input);
            }
            let began = Instant::now();
            self.take_in(&mut received);
            if began.elapsed() > LONG {
                tokio::task::yield_now().await;
            }
            if self.turn_until.is_none()
                && let Some(current) = self.read.take()
            {
                self.confirmed(current);
            }
            if self.ticks_at <= Instant::now() {
                self.tick();
                self.ticks_at = Instant::now() + TICK;
            }
            let more = self.work();
            self.end_turn();
            let more = more || (self.read.is_some() && self.turn_until.is_none());
            self.recorder.events.give_way(!self.flight.is_empty());
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.done(done),
                number = inputs.recv_many(&mut received, MOST_WAITING), if self.turn_until.is_none() => {
                    if number == 0 {
                        break;
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
                // Whatever else there is has its turn.
                () = tokio::task::yield_now(), if more => {}
            }
        }
        self.drain(&mut inputs).await;
        let late = self.late.values().flatten().map(|one| &one.decided);
        self.unanswered.values().flatten().chain(late).for_each(answers::lost);
    }

    /// Waits for what is on its way, and gives it up in the end.
    async fn drain(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        self.stopping = true;
        let (mut received, given_up) = (Vec::new(), self.given_up.clone());
        let mut patience = std::pin::pin!(tokio::time::sleep(PATIENCE));
        while !self.flight.is_empty() {
            tokio::select! {
                () = &mut patience, if !given_up.is_cancelled() => given_up.cancel(),
                1.. = inputs.recv_many(&mut received, MOST_WAITING) => self.take_in(&mut received),
                Some(done) = self.calls.next() => self.done(done),
                else => break,
            }
        }
    }

    fn restart_policies(&self) {
        for restart in &self.prompts.restart_policies {
            restart.notify_one();
        }
    }

    /// Why nothing can be decided now, apart from the lease and from freshness.
    fn not_ready(&self) -> Option<(&'static str, String)> {
        self.gates().into_iter().find_map(|(gate, why_not)| why_not.map(|why| (gate, why)))
    }

    fn gates(&self) -> [(&'static str, Option<String>); 4] {
        let unsynced = |synced: bool| (!synced).then(|| "no complete list yet, or the watch broke".to_owned());
        [
            ("requests", unsynced(self.requests_synced)),
            ("policies", unsynced(self.policies.synced(Kind::CSRPolicy))),
            ("guardrails", unsynced(self.policies.synced(Kind::CSRGuardrail))),
            (
                "crds",
                match &self.skew {
                    Skew::None => None,
                    Skew::Unknown(why) | Skew::Older(why) => Some(why.clone()),
                },
            ),
        ]
    }

    fn show_readiness(&self) {
        for (gate, why_not) in self.gates() {
            self.readiness.set(gate, why_not);
        }
    }

    fn next_wake(&self) -> Instant {
        let settles = self.settling.until(Instant::now()).filter(|_| !self.queue.is_empty());
        let paced = self.flight.waits_until().filter(|_| !self.queue.is_empty());
        [settles, paced, self.queue.next_wake(), self.turn_until]
            .into_iter()
            .flatten()
            .fold(self.ticks_at, Instant::min)
    }

    fn tick(&mut self) {
        if self.clock.was_set() {
            tracing::warn!("the clock was set, or the machine slept: what is pending is reviewed again");
            self.pending.grow_young();
            self.review_all();
            if self.counted.is_needed() {
                // What did not count any more by the other clock was dropped.
                self.list_requests_again();
                self.show_readiness();
            }
        }
        self.metrics.pending(&self.pending.by_signer(self.policies.set()));
        if let Some(max) = self.max_age {
            for name in self.pending.grown_too_old(max) {
                self.enqueue(&name);
            }
        }
        self.look_without_leading();
        let fewer = self.counted.expire(Timestamp::now());
        self.review_held_up(fewer);
        if self.nodes.have_not_come() {
            self.review_concerned(&nodes::Change::All);
        }
        if self.nodes.lag(LAG) {
            tracing::warn!("the watch of the Nodes lags behind a consistent read and starts over");
            self.prompts.restart_nodes.notify_one();
        }
        self.write_status();
    }

    /// Writes what `status` should say where it does not.
    fn write_status(&mut self) {
        if !self.gate.is_leader() || self.not_ready().is_some() {
            return;
        }
        let patches = self.status.next(&self.policies);
        if !patches.is_empty() {
            let written = status::write(self.client.clone(), Arc::clone(&self.gate), patches);
            self.calls.push(Box::pin(async { Done::Status(written.await) }));
        }
    }
}
