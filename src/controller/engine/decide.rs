//! Reviews of what is due, under policies that a consistent read has confirmed, and decisions that go out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Decided, Done, Engine, Late};
use crate::controller::Error;
use crate::controller::approval::Sent;
use crate::controller::filed::Filed;
use crate::controller::gate::FRESH;
use crate::controller::nodes::Concern;
use crate::controller::pending::age;
use crate::controller::{approval, confirm};
use crate::request::CsrObject;
use crate::review::{Decision, Facts, Holder, ReasonCode, review};

/// For how long reviews are made before other work gets its turn.
const TURN: Duration = Duration::from_millis(20);
/// After how long a consistent read is repeated while there is something to decide, beside which decisions go on.
const CONFIRM_AFTER: Duration = Duration::from_secs(4);
/// How much longer than the last one it may take before decisions wait for it.
const LEEWAY: Duration = Duration::from_secs(1);
/// How much time there is at least between a review and the end of [`FRESH`].
const TO_SEND: Duration = Duration::from_secs(1);

/// How old a consistent read that took `took` may become before decisions wait for the next: its age counts from its beginning,
/// and what is sent rests on one within [`FRESH`].
fn wait_after(took: Duration) -> Duration {
    (CONFIRM_AFTER + took + LEEWAY).min(FRESH.saturating_sub(TO_SEND))
}

/// Whether a consistent read takes longer than decisions go on beside it.
pub(super) fn is_slow(took: Duration) -> bool {
    took > CONFIRM_AFTER
}

impl Engine {
    /// Reviews what is due, if anything may be decided now; whether there is more to do at once.
    pub(super) fn work(&mut self) -> bool {
        self.take_over();
        self.queue.wake();
        if self.queue.is_empty() || !self.may_decide() {
            return false;
        }
        let turn = Instant::now();
        while turn.elapsed() < TURN {
            if self.flight.is_full() || self.flight.waits_until().is_some() {
                return false;
            }
            let Some(name) = self.queue.pop() else { return false };
            self.review(&name);
        }
        true
    }

    /// Whether anything may be decided now. Has the policies confirmed in time.
    pub(super) fn may_decide(&mut self) -> bool {
        let missing = self.gates().into_iter().filter(|(_, why_not)| why_not.is_some()).map(|(gate, _)| gate);
        let missing: Vec<&str> = missing.collect();
        if self.stopping
            || self.policies.are_stale()
            || missing.iter().any(|gate| *gate != "requests")
            || !self.gate.is_leader()
            || self.settling.until(Instant::now()).is_some()
        {
            return false;
        }
        // Also while requests are listed again: what is queued is decided as soon as they are.
        let confirmed = self.gate.confirmed_ago();
        if confirmed.is_none_or(|ago| ago > CONFIRM_AFTER) {
            self.confirm(Duration::ZERO);
        }
        missing.is_empty() && confirmed.is_some_and(|ago| ago <= wait_after(self.reading_took))
    }

    /// Decisions have had their turn, or nothing is left to decide.
    pub(super) fn end_turn(&mut self) {
        let idle = self.queue.is_empty() && self.flight.is_empty();
        self.turn_until = self.turn_until.filter(|until| !idle && *until > Instant::now());
    }

    pub(super) fn confirm(&mut self, after: Duration) {
        if self.confirming || self.stopping {
            return;
        }
        self.confirming = true;
        self.overtaken = false;
        self.policies.reads(true);
        let (client, right) = (self.client.clone(), self.right_schema.0.clone());
        // It takes several steps, and goes on while policies are compiled, however long that takes.
        let read = AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(after).await;
            confirm::read(&client, right).await
        }));
        self.calls.push(Box::pin(async {
            let read = read.await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Task("confirm")),
            });
            Done::Confirmed(read)
        }));
    }

    fn review(&mut self, name: &str) {
        if self.look_at_unanswered(name) {
            return;
        }
        // An answer that is on its way brings it back here if it is still pending.
        let Some((_, entry)) = self.pending.get(name).filter(|(_, entry)| !self.flight.is_about(entry.filed.uid()))
        else {
            return;
        };
        if let Some(object) = entry.filed.whole().map(Arc::clone) {
            self.review_object(name, object);
            return;
        }
        let (client, filed, given_up) = (self.client.clone(), entry.filed.clone(), self.given_up.clone());
        self.flight.depart(filed.uid());
        self.calls.push(Box::pin(async move {
            let read = unless(given_up, approval::read(&client, filed.name())).await;
            Done::Read { filed, read }
        }));
    }

    /// A large request was read again: it is reviewed at once, so that it need not be held, unless what it is to be
    /// reviewed under has changed in the meantime.
    pub(super) fn read(&mut self, filed: &Filed, read: Sent) {
        let (name, uid) = (filed.name(), filed.uid());
        self.flight.arrive(uid, Some(matches!(&read, Sent::Failed(error) if error.is_too_busy())));
        self.take_over();
        let still_here = self.pending.has(name, uid);
        match read {
            Sent::Found(now) if still_here => {
                let same = now.metadata.uid == uid && now.settled().is_none();
                if same && self.may_decide() {
                    self.review_object(name, Arc::from(now));
                } else if same {
                    self.enqueue(name);
                } else {
                    self.upsert(Filed::from(*now));
                }
            }
            Sent::Gone => self.forget(name, uid),
            Sent::Failed(error) => self.failed(filed, "read-request", &error),
            // It was deleted, or filed again, before this came; nothing else comes of a read.
            _ => {}
        }
        if !still_here {
            self.look_for_late(filed);
        }
        self.dequeue(name);
    }

    /// Reviews the pending request of this name, which is `object`.
    fn review_object(&mut self, name: &str, object: Arc<CsrObject>) {
        let set = Arc::clone(self.policies.set());
        let began = Instant::now();
        let request = object.signing_request();
        let now = Timestamp::now();
        let facts = Facts { now: Some(now), nodes: self.nodes.known(), approvals: self.counted.known() };
        let verdict = review(&set, &request, &facts);
        self.metrics.reviewed(began.elapsed());
        if verdict.decision != Decision::Approve {
            self.withdraw(name, &request.envelope.uid);
        }
        let Some(entry) = self.pending.get_mut(name) else { return };
        // What is too old stays so, whatever the Nodes are.
        let needs_nodes = set.needs_nodes_for(&request.envelope) && verdict.reason_code != ReasonCode::TooOld;
        entry.concern = needs_nodes.then(|| Concern::of(&request)).flatten();
        entry.holder = self.counted.holder(&request);
        if verdict.decision == Decision::NoOpinion {
            if entry.concern.is_some() && self.nodes.are_awaited() {
                // The Nodes bring it back here, or it is said when they have not come for a while.
                return;
            }
            let said = (verdict.decision, verdict.reason_code, verdict.audit.as_ref().map(|audit| audit.decision));
            if !entry.said.contains(&said) {
                entry.said.push(said);
                self.recorder.record(&set, &request, &verdict, age(entry.created, Timestamp::now()));
            }
            return;
        }
        if verdict.node.is_some() && self.nodes.distrust() {
            // The list that follows brings it back here.
            self.prompts.restart_nodes.notify_one();
            return;
        }
        if verdict.decision == Decision::Approve
            && let Some(holder) = Holder::of(&request)
        {
            self.counted.send(&request.envelope.uid, holder, now);
        }
        self.flight.depart(entry.filed.uid());
        let mut decided = Decided { filed: entry.filed.clone(), review: Arc::new(verdict), at: now, set };
        let mut late = self.late.get(decided.filed.uid()).into_iter().flatten().map(|one| &one.decided);
        if let Some(first) = late.find(|one| one.says_what(&decided)) {
            decided.at = first.at;
        }
        let (client, gate, revision) = (self.client.clone(), Arc::clone(&self.gate), self.gate.revision());
        let (name, given_up) = (name.to_owned(), self.given_up.clone());
        self.calls.push(Box::pin(async move {
            let review = Arc::clone(&decided.review);
            let sent = approval::send(client, gate, object, review, decided.at, revision);
            let sent = unless(given_up, sent).await;
            Done::Sent { name, decided, request: Some(Box::new(request)), sent }
        }));
    }

    /// Whoever leads no more is told by nobody else what it has written: looks need no lease.
    pub(super) fn look_without_leading(&mut self) {
        if self.stopping || self.gate.is_leader() {
            return;
        }
        let names: Vec<String> = self.unanswered.keys().filter(|name| !self.queue.waits(name)).cloned().collect();
        for name in names {
            if self.flight.is_full() || self.flight.waits_until().is_some() {
                return;
            }
            self.look_at_unanswered(&name);
        }
    }

    /// Finds out what became of decisions whose answer did not come, if there are some about requests of this name: they
    /// may have been written, and then they are ours to record. Whether that comes first.
    fn look_at_unanswered(&mut self, name: &str) -> bool {
        let mut comes_first = false;
        for decided in self.unanswered.remove(name).unwrap_or_default() {
            comes_first |= self.look_at(name, decided);
        }
        comes_first
    }

    /// Finds out what became of this one. Whether it is about the request that is pending, or none is.
    fn look_at(&mut self, name: &str, decided: Decided) -> bool {
        let other = self.pending.get(name).is_some() && !self.pending.has(name, decided.filed.uid());
        self.flight.depart(decided.filed.uid());
        // The watch may be quicker than the look.
        let late = self.late.entry(decided.filed.uid().to_owned()).or_default();
        late.push(Late { decided: decided.clone(), looked_for: true });
        let (client, name, given_up) = (self.client.clone(), name.to_owned(), self.given_up.clone());
        self.calls.push(Box::pin(async move {
            let look = approval::look_at(client, &name, decided.filed.uid(), &decided.review, decided.at);
            let sent = unless(given_up, look).await;
            Done::Sent { name, decided, request: None, sent }
        }));
        !other
    }
}

/// What becomes of `call`, unless it is given up before it tells.
async fn unless(given_up: CancellationToken, call: impl Future<Output = Sent>) -> Sent {
    given_up.run_until_cancelled(call).await.unwrap_or_else(|| Sent::Unanswered(Error::GivenUp))
}

#[cfg(test)]
mod tests {
    use super::{Duration, wait_after};

    #[test]
    fn there_is_time_for_decisions_however_long_a_read_takes_that_is_waited_for() {
        for (took, waits_after) in [(0, 5_000), (80, 5_080), (3_000, 8_000), (6_000, 9_000), (8_000, 9_000)] {
            assert_eq!(wait_after(Duration::from_millis(took)), Duration::from_millis(waits_after), "{took} ms");
        }
    }
}
