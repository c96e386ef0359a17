//! What became of decisions and consistent reads, and what is to be recorded of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Decided, Done, Engine, LAG};
use crate::controller::Error;
use crate::controller::approval::Sent;
use crate::controller::confirm::Current;
use crate::controller::filed::Filed;
use crate::controller::gate::Refusal;
use crate::controller::pending::age;
use crate::controller::skew::Skew;
use crate::policy::Kind;
use crate::review::{Decision, Review};

impl Engine {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Sent { name, decided, sent } => self.sent(&name, decided, sent),
            Done::Read { filed, read } => self.read(&filed, read),
            Done::Confirmed(Ok(current)) => self.confirmed(current),
            Done::Confirmed(Err(error)) => {
                self.confirming = false;
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
        self.flight.arrive(matches!(&sent, Sent::Failed(error) | Sent::Unanswered(error) if error.is_too_busy()));
        let Decided { object, request, review, set } = &decided;
        let uid = &object.metadata.uid;
        let still_here = self.pending.arrived(name, uid);
        // An approval that failed may have been written all the same.
        if !matches!(sent, Sent::Accepted | Sent::Failed(_) | Sent::Unanswered(_)) {
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
                    self.upsert(Filed::from(*now));
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
                self.queue.retry(name, object.requestor(), Duration::ZERO);
            }
            Sent::NodeUnread(error) => self.failed(&Filed::Whole(Arc::clone(object)), "read-node", &error),
            Sent::Refused(refusal) => {
                if refusal == Refusal::NotFresh {
                    self.confirm(Duration::ZERO);
                }
                self.enqueue(name);
            }
            Sent::Failed(error) => self.failed(&Filed::Whole(Arc::clone(object)), operation(review), &error),
            Sent::Unanswered(error) => {
                self.failed(&Filed::Whole(Arc::clone(object)), operation(review), &error);
                self.unanswered.entry(name.to_owned()).or_default().push(decided);
            }
        }
        // It may have been decided, or deleted, before this came.
        self.dequeue(name);
    }

    /// A decision could not be written, or what it rests on not be read: it is tried again.
    pub(super) fn failed(&mut self, filed: &Filed, operation: &'static str, error: &Error) {
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
            signer = crate::escape::printable(filed.signer_name()),
            name = crate::escape::printable(filed.name()),
            operation,
            hint,
            "cannot write a decision"
        );
        self.flight.failed();
        self.queue.retry(filed.name(), filed.requestor(), error.retry_after());
    }
}

/// What a decision is called in metrics and logs.
fn operation(review: &Review) -> &'static str {
    if review.decision == Decision::Approve { "approve" } else { "deny" }
}
