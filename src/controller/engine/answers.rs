//! What became of decisions and consistent reads, and what is to be recorded of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::decide::is_slow;
use super::{Decided, Done, Engine, LAG, Late, SCHEMA_SETTLES, TURN_OF_DECISIONS};
use crate::controller::Error;
use crate::controller::approval::{Sent, is_written, message};
use crate::controller::confirm::Current;
use crate::controller::filed::Filed;
use crate::controller::gate::Refusal;
use crate::controller::pending::age;
use crate::controller::skew::Skew;
use crate::policy::Kind;
use crate::request::{CsrObject, SigningRequest};
use crate::review::{Decision, Review};

/// After how long a decision for which the request leaves no room is tried again: somebody may have made some.
const NO_ROOM: Duration = Duration::from_secs(600);
/// How many decisions about one request, in different words, are kept that were not there when they were looked for. The
/// API server gives each up after [`crate::controller::client::CALL_TIMEOUT`].
pub(super) const MOST_LATE: usize = 8;

impl Engine {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Sent { name, decided, request, sent } => self.sent(&name, decided, request.as_deref(), sent),
            Done::Read { filed, read } => self.read(&filed, read),
            Done::Confirmed(Ok(current)) => self.read = Some(current),
            Done::Confirmed(Err(error)) => {
                self.end_confirming();
                self.gate.doubt();
                self.metrics.api_error("confirm-policies", &error);
                tracing::warn!(error = %error, "cannot confirm that the policies are current, so nothing is decided");
                self.confirm(error.retry_after().max(Duration::from_secs(1)));
            }
            Done::Status(written) => {
                for (object, error) in self.status.done(written) {
                    self.metrics.api_error("status", &error);
                    tracing::warn!(error = %error, object = %object, "cannot write the status");
                }
            }
        }
    }

    fn end_confirming(&mut self) {
        self.confirming = false;
        self.policies.reads(false);
    }

    /// Compares what was read with what has been taken in, also while it was under way.
    pub(super) fn confirmed(&mut self, current: Current) {
        // What is newer than the read was not compared with it: then nothing may have been pruned.
        let may_be_ahead = current.right == self.right_schema.0 && self.right_schema.1.elapsed() > SCHEMA_SETTLES;
        let seen = self.policies.has_seen(Kind::CSRPolicy, &current.policies, may_be_ahead)
            && self.policies.has_seen(Kind::CSRGuardrail, &current.guardrails, may_be_ahead);
        self.end_confirming();
        if self.overtaken {
            // What it saw of the schema is older than that.
            self.gate.doubt();
            self.confirm(Duration::from_millis(100));
            return;
        }
        // An object may have been pruned, on its way in or out, since the schema was last looked at.
        if current.right != self.right_schema.0 {
            self.right_schema = (current.right, Instant::now());
        }
        self.skew(current.skew);
        self.show_readiness();
        if self.skew != Skew::None {
            // Nothing is confirmed until the schema is right, which has not been looked at for a while perhaps.
            self.prompts.look_at_schema.notify_one();
            return;
        }
        if seen {
            self.lagging_since = None;
            let took = current.since.elapsed();
            if is_slow(took) && !is_slow(self.reading_took) {
                tracing::warn!(
                    seconds = took.as_secs_f64(),
                    "reading all policies consistently takes so long that decisions wait for it"
                );
            }
            self.reading_took = took;
            // What changes is read once more when it has settled, from the beginning: a CRD that takes its objects with it is
            // noticed by then.
            let now = Instant::now();
            if self.settling.until(current.since.monotonic()).is_none() {
                self.gate.confirm(self.gate.revision(), current.since);
                // The next change is there already perhaps.
                let [least, most] = TURN_OF_DECISIONS;
                self.turn_until = self.settling.is_without_end(now).then(|| now + took.clamp(least, most));
            }
            return;
        }
        // The watch is behind, or has just gone ahead, too soon: look again, soon at first, and do not wait for ever.
        self.gate.doubt();
        let lags = self.lagging_since.get_or_insert_with(Instant::now).elapsed();
        if lags > LAG {
            tracing::warn!("the watch of the policies lags behind a consistent read and starts over");
            self.lagging_since = None;
            self.restart_policies();
        }
        self.confirm(lags.clamp(Duration::from_millis(100), Duration::from_secs(1)));
    }

    fn sent(&mut self, name: &str, decided: Decided, request: Option<&SigningRequest>, sent: Sent) {
        let Decided { filed, review, .. } = &decided;
        let uid = filed.uid();
        let too_busy = match &sent {
            // One Node that cannot be read in time is no reason for others to wait, nor to send more.
            Sent::NodeUnread(Error::Timeout(_)) => None,
            Sent::Failed(error) | Sent::Unanswered(error) | Sent::NodeUnread(error) => Some(error.is_too_busy()),
            _ => Some(false),
        };
        let shown = self.flight.arrive(uid, too_busy);
        let still_here = self.pending.has(name, uid);
        let about = filed.clone();
        // The watch has told what the answer does not.
        let told = shown.is_some();
        let sent = match (sent, shown) {
            (Sent::Gone | Sent::Unanswered(_), Some(shown)) if is_written(&shown, review, decided.at) => {
                Sent::Written(Box::new(CsrObject::clone(&shown)))
            }
            // Or of an earlier one.
            (sent, Some(shown)) if !matches!(sent, Sent::Accepted | Sent::Written(_)) => {
                self.answer(&Filed::Whole(shown), false);
                sent
            }
            (sent, _) => sent,
        };
        // An approval that failed may have been written all the same.
        let not_written = !matches!(sent, Sent::Accepted | Sent::Written(_) | Sent::Failed(_) | Sent::Unanswered(_));
        match sent {
            Sent::Accepted => {
                self.flight.came_through();
                if let Some(request) = request {
                    self.record(&decided, request);
                }
                self.conclude(name, uid);
            }
            Sent::Written(now) => {
                self.flight.came_through();
                // The watch may have been quicker.
                if request.is_some() || self.take_late(&decided) {
                    self.record(&decided, &now.signing_request());
                }
                self.conclude(name, uid);
            }
            Sent::Gone => {
                self.lose(uid);
                self.forget(name, uid);
            }
            Sent::Found(now) => self.found(name, &decided, still_here, &now),
            Sent::NodeChanged(now) => {
                tracing::info!(
                    name = crate::escape::printable(name),
                    uid = crate::escape::printable(uid),
                    "the Node is not what it was when the request was reviewed, so it is reviewed again"
                );
                if let Some(fact) = &review.node {
                    self.nodes.found_ahead(&fact.name, now.map(|now| now.resource_version));
                }
                self.retry(filed, Duration::ZERO);
            }
            Sent::NodeUnread(error) => self.failed(filed, "read-node", &error),
            Sent::Refused(Refusal::NotFresh) => {
                self.confirm(Duration::ZERO);
                // Whatever made it late may do so again.
                if still_here {
                    self.queue.try_again(name, filed.requestor());
                } else {
                    self.enqueue(name);
                }
            }
            Sent::Refused(Refusal::PoliciesChanged | Refusal::NotLeader) => self.enqueue(name),
            Sent::Failed(error) => self.failed(filed, operation(review), &error),
            Sent::Unanswered(error) => {
                self.failed(filed, operation(review), &error);
                let open = request.is_some() || self.take_late(&decided);
                // Whoever does not lead decides no more, so that this is all there is to tell.
                if open && (self.gate.is_leader() || !told) {
                    self.unanswered.entry(name.to_owned()).or_default().push(decided);
                }
            }
        }
        if !still_here {
            self.look_for_late(&about);
        }
        if not_written {
            self.withdraw(name, about.uid());
        }
        // It may have been decided, or deleted, before this came.
        self.dequeue(name);
    }

    /// No other decision about the request with `uid` was written, or will be.
    pub(super) fn close(&mut self, name: &str, uid: &str) {
        self.late.remove(uid);
        if let Some(open) = self.unanswered.get_mut(name) {
            open.retain(|one| one.filed.uid() != uid);
            if open.is_empty() {
                self.unanswered.remove(name);
            }
        }
    }

    /// A decision about the request with `uid` was written, and nothing is left to do about it.
    fn conclude(&mut self, name: &str, uid: &str) {
        self.close(name, uid);
        self.counted.written(uid);
        self.forget(name, uid);
    }

    /// An approval of the request with `uid` does not count any more, unless one is open and may be written still.
    pub(super) fn withdraw(&mut self, name: &str, uid: &str) {
        let late = self.late.get(uid).into_iter().flatten().map(|one| &one.decided);
        let unanswered = self.unanswered.get(name).into_iter().flatten().filter(|one| one.filed.uid() == uid);
        if !late.chain(unanswered).any(|one| one.review.decision == Decision::Approve) {
            let fewer = self.counted.withdraw(uid);
            self.review_held_up(fewer);
        }
    }

    /// A decision was not written, or was not there when it was looked for: `now` has its name.
    fn found(&mut self, name: &str, decided: &Decided, still_here: bool, now: &CsrObject) {
        let Decided { filed, review, .. } = decided;
        let uid = filed.uid();
        let (same, settled) = (now.metadata.uid == uid, now.settled().is_some());
        let looked_for = same && self.take_late(decided);
        if !same {
            self.lose(uid);
        } else if looked_for && !settled {
            let decided = Decided { filed: filed.clone().outlined(), ..decided.clone() };
            if still_here {
                self.keep_late(decided);
            } else {
                // The watch has brought something newer already, which may be this.
                self.retry(filed, Duration::ZERO);
                self.unanswered.entry(name.to_owned()).or_default().push(decided);
            }
        }
        let ours = same && is_written(now, review, decided.at);
        let now = Filed::from(now.clone());
        let on_its_way = self.flight.is_about(now.uid());
        if !self.answer(&now, on_its_way) && settled && !ours && still_here {
            tracing::info!(
                name = crate::escape::printable(name),
                uid = crate::escape::printable(uid),
                decision = review.decision.as_str(),
                "somebody else decided first"
            );
        }
        // Otherwise the watch has brought something newer already.
        if still_here {
            self.upsert(now);
            // Behind the looks at all others, of which there may be thousands, it would wait though the API server is well
            // again. Whoever does not lead has taken it out of turn.
            let is_next = looked_for && !settled && self.gate.is_leader() && !self.unanswered.contains_key(name);
            if is_next && self.pending.has(name, uid) {
                self.queue.push_first(name);
            } else if !looked_for && self.pending.has(name, uid) {
                // Who changes it again and again does not choose how often it is decided.
                self.queue.try_again(name, filed.requestor());
            }
        }
    }

    /// A decision was not there when it was looked for, and may be on its way still. One that says the same as another, and was
    /// made at the same time, tells nothing more.
    fn keep_late(&mut self, decided: Decided) {
        let late = self.late.entry(decided.filed.uid().to_owned()).or_default();
        if late.iter().any(|one| !one.looked_for && one.decided.at == decided.at && one.decided.says_what(&decided)) {
            return;
        }
        if late.len() >= MOST_LATE
            && let Some(first) = late.iter().position(|one| !one.looked_for)
        {
            lost(&late.remove(first).decided);
        }
        late.push(Late { decided, looked_for: false });
    }

    /// The watch has brought what `filed` is now while a call about it was on its way, which did not tell.
    pub(super) fn look_for_late(&mut self, filed: &Filed) {
        let Some(late) = self.late.get_mut(filed.uid()) else { return };
        let open: Vec<Decided> = late.extract_if(.., |one| !one.looked_for).map(|one| one.decided).collect();
        if late.is_empty() {
            self.late.remove(filed.uid());
        }
        if !open.is_empty() {
            self.unanswered.entry(filed.name().to_owned()).or_default().extend(open);
            self.retry(filed, Duration::ZERO);
        }
    }

    /// Whether `decided` was looked for, and nothing has told what became of it: it is taken from among these.
    fn take_late(&mut self, decided: &Decided) -> bool {
        let uid = decided.filed.uid();
        let Some(late) = self.late.get_mut(uid) else { return false };
        let at = late.iter().position(|one| Arc::ptr_eq(&one.decided.review, &decided.review));
        let taken = at.map(|at| late.swap_remove(at)).is_some();
        if late.is_empty() {
            self.late.remove(uid);
        }
        taken
    }

    /// The request with `uid` is gone, and nothing says whether what was to be decided about it was written in the end.
    fn lose(&mut self, uid: &str) {
        self.late.remove(uid).iter().flatten().for_each(|one| lost(&one.decided));
    }

    /// A complete list has come: of what is not in it nothing more will be said.
    pub(super) fn lose_what_is_gone(&mut self) {
        let (pending, flight) = (&self.pending, &self.flight);
        // What is on its way about it tells when it comes.
        let is_here = |filed: &Filed| pending.has(filed.name(), filed.uid()) || flight.is_about(filed.uid());
        for late in self.late.values_mut() {
            let gone = late.extract_if(.., |one| !one.looked_for && !is_here(&one.decided.filed));
            gone.for_each(|one| lost(&one.decided));
        }
        self.late.retain(|_, late| !late.is_empty());
    }

    fn record(&self, decided: &Decided, request: &SigningRequest) {
        let age = age(decided.filed.created(), Timestamp::now());
        self.recorder.record(&decided.set, request, &decided.review, age);
    }

    /// The watch brings a request as it is now, or was last: if a decision about it is open, that may be what it has, and is
    /// recorded; whether one is. What is `on_its_way` about
    /// it may be what it has, and tells when it comes.
    pub(super) fn answer(&mut self, filed: &Filed, on_its_way: bool) -> bool {
        let (name, uid) = (filed.name(), filed.uid());
        if let Some(object) = filed.whole().filter(|object| object.settled().is_some()) {
            self.flight.show(object);
        }
        let late =
            if filed.settled().is_some() && !on_its_way { self.late.remove(uid) } else { None }.unwrap_or_default();
        let Some(object) = filed.whole() else {
            // It is looked at once more, by whoever leads; a look that is on its way tells when it comes.
            let (looked_for, open): (Vec<Late>, Vec<Late>) = late.into_iter().partition(|one| one.looked_for);
            if !looked_for.is_empty() {
                self.late.insert(uid.to_owned(), looked_for);
            }
            if !open.is_empty() {
                self.unanswered.entry(name.to_owned()).or_default().extend(open.into_iter().map(|one| one.decided));
                self.retry(filed, Duration::ZERO);
            }
            return false;
        };
        let is_this = |one: &&Decided| one.filed.uid() == uid && is_written(object, &one.review, one.at);
        let open = self.unanswered.get(name).into_iter().flatten();
        let written = open.chain(late.iter().map(|one| &one.decided)).find(is_this).cloned();
        if let Some(decided) = &written {
            self.flight.came_through();
            self.record(decided, &object.signing_request());
        }
        // Where it was decided otherwise nothing else lands any more. Whoever leads hears so from the next decision.
        let otherwise = object.settled().is_some() && !on_its_way && !self.gate.is_leader();
        if written.is_some() || otherwise {
            self.close(name, uid);
        }
        written.is_some()
    }

    /// A decision could not be written, or what it rests on not be read: it is tried again.
    pub(super) fn failed(&mut self, filed: &Filed, operation: &'static str, error: &Error) {
        self.metrics.api_error(operation, error);
        let hint = if error.status() == Some(403) {
            self.prompts.look_at_permissions.notify_one();
            "a permission is missing: another line says which"
        } else if error.is_too_large() {
            "the request leaves no room for a decision, so that nobody can decide it: delete it"
        } else {
            "it is tried again"
        };
        tracing::error!(
            error = %error,
            category = error.category(),
            signer = crate::escape::printable(filed.signer_name()),
            name = crate::escape::printable(filed.name()),
            operation,
            hint,
            "cannot write a decision"
        );
        if !error.is_about_one() {
            self.flight.failed();
        }
        let wait = if error.is_too_large() { NO_ROOM } else { error.retry_after() };
        self.retry(filed, wait);
    }

    /// The request of `filed` comes again after a wait. One that was filed again under its name keeps its place, or waits for what
    /// has become of itself alone.
    fn retry(&mut self, filed: &Filed, at_least: Duration) {
        let name = filed.name();
        if self.pending.has(name, filed.uid()) {
            self.queue.leave(name);
        } else if let Some((name, entry)) = self.pending.get(name) {
            // Without the lease no turn comes.
            let leads = self.gate.is_leader();
            let (has_turn, at_least) =
                if leads { (self.queue.is_in_line(name), Duration::ZERO) } else { (false, at_least) };
            if !has_turn && !self.queue.waits(name) {
                self.queue.retry(name, entry.filed.requestor(), at_least);
            }
            return;
        }
        self.queue.retry(name, filed.requestor(), at_least);
    }
}

impl Decided {
    /// Whether it says what `other` says, under the same policies.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        let same = self.review.decision == other.review.decision && Arc::ptr_eq(&self.set, &other.set);
        same && message(&self.review) == message(&other.review)
    }
}

/// What became of a decision whose answer did not come cannot be known any more.
pub(super) fn lost(decided: &Decided) {
    let Decided { filed, review, .. } = decided;
    tracing::error!(
        name = crate::escape::printable(filed.name()),
        uid = crate::escape::printable(filed.uid()),
        signer = crate::escape::printable(filed.signer_name()),
        requestor = crate::escape::printable(filed.requestor()),
        decision = review.decision.as_str(),
        reason = review.reason,
        "a decision was not answered, and whether it was written cannot be known any more"
    );
}

/// What a decision is called in metrics and logs.
fn operation(review: &Review) -> &'static str {
    if review.decision == Decision::Approve { "approve" } else { "deny" }
}
