//! What the watches bring, and which requests are to be reviewed because of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, Input};
use crate::controller::filed::Filed;
use crate::controller::nodes;
use crate::controller::policies::Change;
use crate::controller::skew::Skew;
use crate::controller::watch::Seen;
use crate::node::Node;
use crate::policy::{Kind, ServedPolicy};
use crate::review::Holder;

/// A policy changed, under this name.
fn changed(input: &Input) -> Option<(Kind, &str)> {
    match input {
        Input::Policy(kind, Seen::Changed(served)) => Some((*kind, &served.object.name)),
        _ => None,
    }
}

/// Leaves out the changes of policies after which the same one changes again, and nothing else became of its kind: each would be
/// compiled, and none be in force. Whoever may write one policy would keep others waiting.
pub(super) fn drop_superseded(received: &mut Vec<Input>) {
    let mut later = HashSet::new();
    let mut keep: Vec<bool> = received
        .iter()
        .rev()
        .map(|input| match (changed(input), input) {
            (Some((kind, name)), _) => later.insert((kind, name)),
            (None, Input::Policy(of, _)) => {
                later.retain(|(kind, _)| kind != of);
                true
            }
            _ => true,
        })
        .collect();
    received.retain(|_| keep.pop().unwrap_or(true));
}

impl Engine {
    /// Takes in what was received, in its order.
    pub(super) fn take_in(&mut self, received: &mut Vec<Input>) {
        if received.is_empty() {
            return;
        }
        drop_superseded(received);
        received.drain(..).for_each(|input| self.see(input));
        self.put_policies_together();
        self.show_readiness();
    }

    fn see(&mut self, input: Input) {
        match input {
            Input::Request(seen) => self.request(seen),
            Input::Policy(kind, seen) => self.policy(kind, seen),
            Input::Node(seen) => self.node(seen),
            Input::Skew(skew) => self.skew(skew),
            Input::Permitted => self.review_all(),
        }
    }

    pub(super) fn skew(&mut self, skew: Skew) {
        if skew == self.skew {
            return;
        }
        self.overtaken = self.confirming;
        // Whoever saw another schema, what has been brought since was brought by it perhaps.
        self.right_schema = (None, Instant::now());
        match &skew {
            Skew::None => tracing::info!("the API server serves every field of the CRDs"),
            Skew::Older(why) => tracing::error!(
                why,
                "nothing is approved until the CRDs are current: countersign crd | kubectl apply --server-side -f -"
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

    fn request(&mut self, seen: Seen<Filed>) {
        match seen {
            Seen::Restarted => {
                self.listed = Some(HashSet::new());
                self.counted.begin_list();
            }
            Seen::Listed(filed) => {
                // What is as it was is not reviewed again for being listed: whoever makes the watch end would choose how often.
                let pending = if let Some(name) = self.pending.known(&filed) {
                    let fewer = self.counted.see(&filed);
                    self.review_held_up(fewer);
                    Some(name)
                } else {
                    self.upsert(filed)
                };
                if let (Some(listed), Some(name)) = (&mut self.listed, pending) {
                    listed.insert(name);
                }
            }
            Seen::Synced => {
                // The rest of a list that began earlier is not all there is.
                if let Some(listed) = self.listed.take() {
                    for name in self.pending.retain(&listed) {
                        self.dequeue(&name);
                    }
                    self.lose_what_is_gone();
                    self.requests_synced = true;
                    let fewer = self.counted.end_list();
                    self.review_held_up(fewer);
                }
            }
            Seen::Changed(filed) => {
                self.upsert(filed);
            }
            Seen::Deleted(filed) => {
                self.answer(&filed, self.flight.is_about(filed.uid()));
                if filed.settled().is_none() {
                    // Pending as it was when it went, it has none of them.
                    self.close(filed.name(), filed.uid());
                }
                let fewer = self.counted.gone(&filed);
                self.forget(filed.name(), filed.uid());
                self.review_held_up(fewer);
            }
            Seen::Lost => {
                self.requests_synced = false;
                self.counted.lose();
            }
        }
    }

    /// Nothing is left to do about the request with `uid`; one filed again under its name has its turn.
    pub(super) fn forget(&mut self, name: &str, uid: &str) {
        self.pending.remove(name, uid);
        self.dequeue(name);
    }

    /// A name leaves the queue, unless a request is pending under it or an answer about one is still to be found out.
    pub(super) fn dequeue(&mut self, name: &str) {
        if self.pending.get(name).is_none() && !self.unanswered.contains_key(name) {
            self.queue.forget(name);
        }
    }

    /// Takes in what a request is now; its name, if it is pending.
    pub(super) fn upsert(&mut self, filed: Filed) -> Option<Arc<str>> {
        let name = filed.name().to_owned();
        self.answer(&filed, self.flight.is_about(filed.uid()));
        let fewer = self.counted.see(&filed);
        self.review_held_up(fewer);
        let another = !self.pending.has(&name, filed.uid());
        if self.pending.upsert(filed, self.policies.set()) {
            if another {
                self.queue.start_anew(&name);
            }
            self.enqueue(&name);
        } else {
            self.dequeue(&name);
        }
        self.pending.get(&name).map(|(name, _)| Arc::clone(name))
    }

    fn policy(&mut self, kind: Kind, seen: Seen<ServedPolicy>) {
        let came = Instant::now();
        let change = self.policies.see(kind, seen);
        if change == Change::None {
            return;
        }
        // What was reviewed before is not sent any more, and nothing is reviewed before it is under all of this.
        self.gate.advance();
        if change == Change::Content && self.policies_seen && self.settling.changed(came, Instant::now()) {
            tracing::warn!(
                "policies change without end: decisions go on, and further changes do not settle before them"
            );
        }
        self.policies_seen |= Kind::ALL.into_iter().all(|kind| self.policies.synced(kind));
    }

    /// Everything is reviewed under the policies that were seen.
    fn put_policies_together(&mut self) {
        if !self.policies.put_together() {
            return;
        }
        self.metrics.policies(self.policies.set());
        if self.nodes.need(self.policies.set().needs_nodes()) {
            self.prompts.restart_nodes.notify_one();
        }
        let set = self.policies.set();
        if set.counts_managed() && self.counted.need(&set.settings().managed_signers) {
            self.list_requests_again();
        }
        self.review_all();
    }

    fn node(&mut self, seen: Seen<Node>) {
        let change = self.nodes.see(seen);
        self.review_concerned(&change);
    }

    pub(super) fn review_concerned(&mut self, change: &nodes::Change) {
        for name in self.pending.concerned(change) {
            match self.pending.get(&name) {
                // It is read again each time, and a node chooses how often it changes.
                Some((_, entry)) if entry.filed.whole().is_none() => {
                    if !self.queue.waits(&name) && !self.queue.is_in_line(&name) {
                        self.queue.retry(&name, entry.filed.requestor(), Duration::ZERO);
                    }
                }
                _ => self.enqueue(&name),
            }
        }
    }

    /// Fewer certificates of these count than before.
    pub(super) fn review_held_up(&mut self, fewer: impl IntoIterator<Item = Holder>) {
        let fewer: HashSet<Holder> = fewer.into_iter().collect();
        if !fewer.is_empty() {
            for name in self.pending.held_up(&fewer) {
                self.enqueue(&name);
            }
        }
    }

    /// What was approved is to be rebuilt from the requests that exist, and nothing decided until it is.
    pub(super) fn list_requests_again(&mut self) {
        self.counted.lose();
        self.listed = None;
        self.requests_synced = false;
        self.prompts.restart_requests.notify_one();
    }

    /// Whoever led before may have approved what the watch has not brought here yet.
    pub(super) fn take_over(&mut self) {
        let leads = self.gate.is_leader();
        if leads && !self.led && self.counted.is_needed() {
            self.list_requests_again();
            self.show_readiness();
        }
        self.led = leads;
    }

    pub(super) fn review_all(&mut self) {
        for name in self.pending.names() {
            self.enqueue(&name);
        }
    }

    /// The pending request of this name is to be reviewed.
    pub(super) fn enqueue(&mut self, name: &str) {
        if let Some((name, entry)) = self.pending.get(name) {
            self.queue.renew(name, entry.filed.requestor());
        }
    }
}
