//! All state in one task: what was seen goes in, reviews are made, decisions go out.

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

use super::approval::{self, Sent};
use super::confirm::{self, Current};
use super::counted::Counted;
use super::flight::Flight;
use super::gate::{Gate, Refusal};
use super::metrics::Metrics;
use super::moment::Clock;
use super::nodes::{self, Concern, Nodes};
use super::pending::{Pending, age};
use super::policies::{Change, Policies};
use super::queue::Queue;
use super::record::Recorder;
use super::server::Readiness;
use super::skew::{RightUrl, Skew};
use super::status;
use super::watch::Seen;
use super::{Config, Error};
use crate::node::Node;
use crate::policy::{Kind, PolicySet, ServedPolicy};
use crate::request::{CsrObject, SigningRequest};
use crate::review::{Decision, Facts, Holder, Review, review};

/// How many reviews are made, or events of watches taken in, before other work gets its turn.
const BATCH: usize = 64;
/// How often what changes with time alone is looked at.
const TICK: Duration = Duration::from_secs(1);
/// After how long a consistent read is repeated while there is something to decide, beside which decisions go on.
const CONFIRM_AFTER: Duration = Duration::from_secs(4);
/// After how long decisions wait for it: early enough that what is sent rests on one within [`super::gate::FRESH`].
const WAIT_AFTER: Duration = Duration::from_secs(5);
/// How long the watch may lag behind a consistent read before it is restarted.
const LAG: Duration = Duration::from_secs(3);
/// The longest wait, in seconds, that the API server can ask for before the next consistent read.
const LONGEST_RETRY_AFTER: u64 = 30;

/// What comes in.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all that comes in is requests")]
pub(super) enum Input {
    Request(Seen<CsrObject>),
    Policy(Kind, Seen<ServedPolicy>),
    Node(Seen<Node>),
    Skew(Skew),
    /// A permission that was missing is there again.
    Permitted,
}

/// What comes back from a call that the engine made.
enum Done {
    Sent { name: String, decided: Decided, sent: Sent },
    Confirmed(Result<Current, Error>),
    Status(status::Written),
}

/// A decision, and what it rests on.
#[derive(Clone)]
struct Decided {
    object: Arc<CsrObject>,
    /// What was decoded of it.
    request: Arc<SigningRequest>,
    review: Arc<Review>,
    /// The policies of the review: by the time of the answer there may be others.
    set: Arc<PolicySet>,
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
    policy_settle: Duration,
    max_age: Option<Duration>,
    pending: Pending,
    policies: Policies,
    nodes: Nodes,
    counted: Counted,
    queue: Queue,
    /// Names that a list in progress has brought so far.
    listed: Option<HashSet<String>>,
    requests_synced: bool,
    /// Whether the lease was held when there was last something to do.
    led: bool,
    skew: Skew,
    /// The schema that the last consistent read found right.
    right_schema: RightUrl,
    /// Policies were complete at least once: later changes settle.
    policies_seen: bool,
    settles_at: Instant,
    confirming: bool,
    /// Since when consistent reads and the watch disagree.
    lagging_since: Option<Instant>,
    flight: Flight,
    /// Decisions whose answer did not come, by the name of their request.
    unanswered: HashMap<String, Decided>,
    status: status::Updates,
    /// When time itself is looked at next.
    ticks_at: Instant,
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
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
            policy_settle: config.policy_settle,
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
            right_schema: None,
            policies_seen: false,
            settles_at: Instant::now(),
            confirming: false,
            lagging_since: None,
            flight: Flight::default(),
            unanswered: HashMap::new(),
            status: status::Updates::default(),
            ticks_at: Instant::now(),
            calls: FuturesUnordered::new(),
            clock: Clock::new(),
        };
        engine.show_readiness();
        engine.metrics.policies(engine.policies.set());
        engine
    }

    /// Works until `stop`, then waits for the decisions on their way.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>, stop: CancellationToken) {
        let mut received = Vec::new();
        loop {
            // However much there is to send and to answer: what was seen comes before what is decided.
            while received.len() < BATCH
                && let Ok(input) = inputs.try_recv()
            {
                received.push(input);
            }
            self.take_in(&mut received);
            if self.ticks_at <= Instant::now() {
                self.tick();
                self.ticks_at = Instant::now() + TICK;
            }
            let more = self.work();
            self.recorder.events.give_way(!self.flight.is_empty());
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.done(done),
                number = inputs.recv_many(&mut received, BATCH) => {
                    if number == 0 {
                        break;
                    }
                    self.take_in(&mut received);
                }
                () = tokio::time::sleep_until(wake.into()) => {}
                // Whatever else there is has its turn.
                () = tokio::task::yield_now(), if more => {}
            }
        }
        while !self.flight.is_empty() {
            let Some(done) = self.calls.next().await else { break };
            self.done(done);
        }
    }

    fn take_in(&mut self, received: &mut Vec<Input>) {
        if !received.is_empty() {
            received.drain(..).for_each(|input| self.input(input));
            self.show_readiness();
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Request(seen) => self.request(seen),
            Input::Policy(kind, seen) => self.policy(kind, seen),
            Input::Node(seen) => self.node(seen),
            Input::Skew(skew) => self.skew(skew),
            Input::Permitted => self.review_all(),
        }
    }

    fn skew(&mut self, skew: Skew) {
        if skew == self.skew {
            return;
        }
        match &skew {
            Skew::None => tracing::info!("the API server serves every field of the CRDs"),
            Skew::Older(why) => tracing::error!(
                why,
                "nothing is approved until the CRDs are upgraded: countersign crd | kubectl apply -f -"
            ),
            Skew::Unknown(why) => tracing::warn!(why, "cannot tell whether the CRDs are current"),
        }
        let before = std::mem::replace(&mut self.skew, skew);
        if matches!(before, Skew::Older(_)) || matches!(self.skew, Skew::Older(_)) {
            // What was pruned may be back, or gone: only a new list tells.
            self.gate.advance();
            self.restart_policies();
        }
    }

    fn request(&mut self, seen: Seen<CsrObject>) {
        match seen {
            Seen::Restarted => {
                self.listed = Some(HashSet::new());
                self.counted.begin_list();
            }
            Seen::Listed(object) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(object.metadata.name.clone());
                }
                self.upsert(object);
            }
            Seen::Synced => {
                // The rest of a list that began earlier is not all there is.
                if let Some(listed) = self.listed.take() {
                    self.pending.retain(&listed);
                    self.requests_synced = true;
                    let fewer = self.counted.end_list();
                    self.review_held_up(fewer);
                }
            }
            Seen::Changed(object) => self.upsert(object),
            Seen::Deleted(object) => {
                let fewer = self.counted.gone(&object);
                self.forget(&object.metadata.name, &object.metadata.uid);
                self.review_held_up(fewer);
            }
            Seen::Lost => {
                self.requests_synced = false;
                self.counted.lose();
            }
        }
    }

    /// Nothing is left to do about the request with `uid`; one filed again under its name has its turn.
    fn forget(&mut self, name: &str, uid: &str) {
        if self.pending.remove(name, uid) {
            self.queue.forget(name);
        }
    }

    fn upsert(&mut self, object: CsrObject) {
        let name = object.metadata.name.clone();
        let fewer = self.counted.see(&object);
        self.review_held_up(fewer);
        if self.pending.upsert(object, self.policies.set()) {
            self.enqueue(&name);
        } else {
            self.queue.forget(&name);
        }
    }

    fn policy(&mut self, kind: Kind, seen: Seen<ServedPolicy>) {
        let change = self.policies.see(kind, seen);
        if change == Change::None {
            return;
        }
        self.gate.advance();
        if change == Change::Content {
            self.metrics.policies(self.policies.set());
            if self.nodes.need(self.policies.set().needs_nodes()) {
                self.prompts.restart_nodes.notify_one();
            }
            if self.counted.need(self.policies.set().counted_signers()) {
                self.list_requests_again();
            }
            if self.policies_seen {
                self.settles_at = Instant::now() + self.policy_settle;
            }
            self.review_all();
        }
        self.policies_seen |= Kind::ALL.into_iter().all(|kind| self.policies.synced(kind));
    }

    fn node(&mut self, seen: Seen<Node>) {
        let change = self.nodes.see(seen);
        self.review_concerned(&change);
    }

    fn review_concerned(&mut self, change: &nodes::Change) {
        for name in self.pending.concerned(change) {
            self.enqueue(&name);
        }
    }

    /// Fewer certificates of these count than before.
    fn review_held_up(&mut self, fewer: impl IntoIterator<Item = Holder>) {
        let fewer: HashSet<Holder> = fewer.into_iter().collect();
        if !fewer.is_empty() {
            for name in self.pending.held_up(&fewer) {
                self.enqueue(&name);
            }
        }
    }

    /// What was approved is to be rebuilt from the requests that exist, and nothing decided until it is.
    fn list_requests_again(&mut self) {
        self.counted.lose();
        self.listed = None;
        self.requests_synced = false;
        self.prompts.restart_requests.notify_one();
    }

    /// Whoever led before may have approved what the watch has not brought here yet.
    fn take_over(&mut self) {
        let leads = self.gate.is_leader();
        if leads && !self.led && self.counted.is_needed() {
            self.list_requests_again();
            self.show_readiness();
        }
        self.led = leads;
    }

    fn review_all(&mut self) {
        for name in self.pending.names() {
            self.enqueue(&name);
        }
    }

    /// The pending request of this name is to be reviewed.
    fn enqueue(&mut self, name: &str) {
        if let Some((name, entry)) = self.pending.get(name) {
            self.queue.push(Arc::clone(name), entry.object.requestor());
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
        let settles = (self.settles_at > Instant::now() && !self.queue.is_empty()).then_some(self.settles_at);
        let paced = self.flight.waits_until().filter(|_| !self.queue.is_empty());
        [settles, paced, self.queue.next_wake()].into_iter().flatten().fold(self.ticks_at, Instant::min)
    }

    /// Reviews what is due, if anything may be decided now; whether there is more to do at once.
    fn work(&mut self) -> bool {
        self.take_over();
        self.queue.wake();
        if self.queue.is_empty()
            || self.not_ready().is_some()
            || !self.gate.is_leader()
            || Instant::now() < self.settles_at
        {
            return false;
        }
        let confirmed = self.gate.confirmed_ago();
        if confirmed.is_none_or(|ago| ago > CONFIRM_AFTER) {
            self.confirm(Duration::ZERO);
        }
        if confirmed.is_none_or(|ago| ago > WAIT_AFTER) {
            return false;
        }
        for _ in 0..BATCH {
            if self.flight.is_full() || self.flight.waits_until().is_some() {
                return false;
            }
            let Some(name) = self.queue.pop() else { return false };
            self.review(&name);
        }
        true
    }

    fn confirm(&mut self, after: Duration) {
        if self.confirming {
            return;
        }
        self.confirming = true;
        let (client, right) = (self.client.clone(), self.right_schema.clone());
        self.calls.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            Done::Confirmed(confirm::read(&client, right).await)
        }));
    }

    fn review(&mut self, name: &str) {
        if self.look_at_unanswered(name) {
            return;
        }
        let set = Arc::clone(self.policies.set());
        // The answer brings one in flight back here if it is still pending.
        let Some((_, entry)) = self.pending.get(name).filter(|(_, entry)| !entry.in_flight) else { return };
        let began = Instant::now();
        let request = entry.object.signing_request();
        let now = Timestamp::now();
        let facts = Facts { now: Some(now), nodes: self.nodes.known(), approvals: self.counted.known() };
        let verdict = review(&set, &request, &facts);
        self.metrics.reviewed(began.elapsed());
        if verdict.decision != Decision::Approve {
            let fewer = self.counted.withdraw(&request.envelope.uid);
            self.review_held_up(fewer);
        }
        let Some(entry) = self.pending.get_mut(name) else { return };
        let needs_nodes = set.needs_nodes_for(&request.envelope);
        entry.concern = needs_nodes.then(|| Concern::of(&request)).flatten();
        entry.holder = self.counted.holder(&request);
        if verdict.decision == Decision::NoOpinion {
            if entry.concern.is_some() && self.nodes.are_awaited() {
                // The Nodes bring it back here, or it is said when they have not come for a while.
                return;
            }
            let said = (verdict.decision, verdict.reason_code, verdict.audit.as_ref().map(|audit| audit.decision));
            if entry.said.replace(said) != Some(said) {
                self.recorder.record(&set, &request, &verdict, age(entry.created, Timestamp::now()));
            }
            return;
        }
        if verdict.node.is_some() && self.nodes.distrust() {
            // The list that follows brings it back here.
            self.prompts.restart_nodes.notify_one();
            return;
        }
        entry.in_flight = true;
        if let Some(holder) = entry.holder
            && verdict.decision == Decision::Approve
        {
            self.counted.send(&request.envelope.uid, holder, now);
        }
        self.flight.depart();
        let object = Arc::clone(&entry.object);
        let decided = Decided { object, request: Arc::new(request), review: Arc::new(verdict), set };
        let (client, gate, revision) = (self.client.clone(), Arc::clone(&self.gate), self.gate.revision());
        let name = name.to_owned();
        self.calls.push(Box::pin(async move {
            let (object, review) = (Arc::clone(&decided.object), Arc::clone(&decided.review));
            let sent = approval::send(client, gate, object, review, revision).await;
            Done::Sent { name, decided, sent }
        }));
    }

    /// Finds out what became of a decision whose answer did not come, if there is one about the request
    /// of this name: it may have been written, and then it is ours to record. Whether that comes first.
    fn look_at_unanswered(&mut self, name: &str) -> bool {
        let Some(decided) = self.unanswered.remove(name) else { return false };
        let entry = self.pending.get_mut(name);
        let other = entry.as_ref().is_some_and(|entry| entry.object.metadata.uid != decided.object.metadata.uid);
        if let Some(entry) = entry.filter(|_| !other) {
            entry.in_flight = true;
        }
        self.flight.depart();
        let (client, name) = (self.client.clone(), name.to_owned());
        self.calls.push(Box::pin(async move {
            let sent = approval::look_at(client, Arc::clone(&decided.object), Arc::clone(&decided.review)).await;
            Done::Sent { name, decided, sent }
        }));
        !other
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Sent { name, decided, sent } => self.sent(&name, decided, sent),
            Done::Confirmed(Ok(current)) => self.confirmed(current),
            Done::Confirmed(Err(error)) => {
                self.confirming = false;
                self.gate.doubt();
                self.metrics.api_error("confirm-policies", &error);
                tracing::warn!(error = %error, "cannot confirm that the policies are current, so nothing is decided");
                let at_least = error.retry_after_seconds().map_or(0, u64::from);
                self.confirm(Duration::from_secs(at_least.clamp(1, LONGEST_RETRY_AFTER)));
            }
            Done::Status(written) => {
                for (object, error) in self.status.done(written) {
                    self.metrics.api_error("status", &error);
                    tracing::warn!(error = %error, object = %object, "cannot write the status");
                }
            }
        }
    }

    fn confirmed(&mut self, current: Current) {
        self.confirming = false;
        // An object may have been pruned, on its way in or out, since the schema was last looked at.
        self.right_schema = current.right;
        self.skew(current.skew);
        self.show_readiness();
        if self.skew != Skew::None {
            // Nothing is confirmed until the schema is right, which has not been looked at for a while perhaps.
            self.prompts.look_at_schema.notify_one();
            return;
        }
        let same = current.policies == self.policies.versions(Kind::CSRPolicy)
            && current.guardrails == self.policies.versions(Kind::CSRGuardrail);
        if same {
            self.lagging_since = None;
            self.gate.confirm(self.gate.revision(), current.since);
            return;
        }
        // The watch is behind, or has just gone ahead: look again, soon at first, and do not wait for ever.
        self.gate.doubt();
        let lags = self.lagging_since.get_or_insert_with(Instant::now).elapsed();
        if lags > LAG {
            tracing::warn!("the watch of the policies lags behind a consistent read and starts over");
            self.lagging_since = None;
            self.restart_policies();
        }
        self.confirm(lags.clamp(Duration::from_millis(100), Duration::from_secs(1)));
    }

    fn sent(&mut self, name: &str, decided: Decided, sent: Sent) {
        self.flight.arrive(matches!(&sent, Sent::Failed(error) if error.is_too_busy()));
        let Decided { object, request, review, set } = &decided;
        let uid = &object.metadata.uid;
        let mut still_here = false;
        if let Some(entry) = self.pending.get_mut(name)
            && entry.object.metadata.uid == *uid
        {
            entry.in_flight = false;
            still_here = true;
        }
        // An approval that failed may have been written all the same.
        if !matches!(sent, Sent::Accepted | Sent::Failed(_)) {
            let fewer = self.counted.withdraw(uid);
            self.review_held_up(fewer);
        }
        match sent {
            Sent::Accepted => {
                self.flight.came_through();
                let age = age(object.created(), Timestamp::now());
                self.recorder.record(set, request, review, age);
                self.forget(name, uid);
            }
            Sent::Gone => self.forget(name, uid),
            Sent::Found(now) => {
                if now.settled().is_some() {
                    tracing::info!(
                        name = crate::escape::printable(name),
                        uid = crate::escape::printable(uid),
                        decision = review.decision.as_str(),
                        "somebody else decided first"
                    );
                }
                // Otherwise the watch has brought something newer already.
                if still_here {
                    self.upsert(*now);
                }
            }
            Sent::NodeChanged(now) => {
                tracing::info!(
                    name = crate::escape::printable(name),
                    uid = crate::escape::printable(uid),
                    "the Node is not what it was when the request was reviewed, so it is reviewed again"
                );
                if let Some(fact) = &review.node {
                    self.nodes.found_ahead(&fact.name, now.map(|now| now.resource_version));
                }
                self.queue.retry(name, object.requestor(), None);
            }
            Sent::NodeUnread(error) => self.failed(name, object, "read-node", &error),
            Sent::Refused(refusal) => {
                if refusal == Refusal::NotFresh {
                    self.confirm(Duration::ZERO);
                }
                self.enqueue(name);
            }
            Sent::Failed(error) => {
                let operation = if review.decision == Decision::Approve { "approve" } else { "deny" };
                self.failed(name, object, operation, &error);
                // It may have been written all the same.
                if error.is_open() {
                    self.unanswered.insert(name.to_owned(), decided);
                }
            }
        }
    }

    /// A decision could not be written, or what it rests on not be read: it is tried again.
    fn failed(&mut self, name: &str, object: &CsrObject, operation: &'static str, error: &Error) {
        self.metrics.api_error(operation, error);
        let hint = if error.status() == Some(403) {
            self.prompts.look_at_permissions.notify_one();
            "a permission is missing: another line says which"
        } else {
            "it is tried again"
        };
        tracing::error!(
            error = %error,
            category = error.category(),
            signer = crate::escape::printable(object.signer_name()),
            name = crate::escape::printable(name),
            operation,
            hint,
            "cannot write a decision"
        );
        self.flight.failed();
        let at_least = error.retry_after_seconds().map(|seconds| Duration::from_secs(seconds.into()));
        self.queue.retry(name, object.requestor(), at_least);
    }

    fn tick(&mut self) {
        if self.clock.was_set() {
            tracing::warn!("the clock was set, or the machine slept: what is pending is reviewed again");
            self.pending.grow_young();
            self.review_all();
        }
        self.metrics.pending(&self.pending.by_signer(self.policies.set()));
        if let Some(max) = self.max_age {
            for name in self.pending.grown_too_old(max) {
                self.enqueue(&name);
            }
        }
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
