//! What stands in the way of deciding anything. All of it is looked at before a review, and the
//! part that can change in the meantime once more immediately before an approval is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::leader::Leadership;
use super::moment::Moment;

/// The longest time between a consistent read that showed the policies to be current and an
/// approval under them.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// Why an approval must not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The policies changed after the review.
    PoliciesChanged,
    /// The policies were not confirmed current in the last ten seconds.
    NotFresh,
    /// The lease is not held, or may have run out.
    NotLeader,
}

/// What tasks in flight look at immediately before they send.
#[derive(Debug)]
pub(super) struct Gate {
    revision: AtomicU64,
    confirmed: Mutex<Option<(u64, Moment)>>,
    leadership: Leadership,
}

impl Gate {
    pub(super) fn new(leadership: Leadership) -> Self {
        Self { revision: AtomicU64::new(0), confirmed: Mutex::new(None), leadership }
    }

    /// The policies in memory changed, or may have: nothing reviewed before may be sent.
    pub(super) fn advance(&self) {
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// Which state of the policies a review made now rests on.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// A consistent read that began at `since` showed `revision` to be current.
    pub(super) fn confirm(&self, revision: u64, since: Moment) {
        *self.confirmed() = Some((revision, since));
    }

    /// A consistent read failed, or showed something else: nothing is sent until the next one confirms.
    pub(super) fn doubt(&self) {
        *self.confirmed() = None;
    }

    /// How long ago the present revision was confirmed, if it was.
    pub(super) fn confirmed_ago(&self) -> Option<Duration> {
        let confirmed = *self.confirmed();
        confirmed.filter(|(revision, _)| *revision == self.revision()).map(|(_, since)| since.elapsed())
    }

    /// Whether a decision that rests on `revision` may be sent at this moment.
    pub(super) fn check(&self, revision: u64) -> Result<(), Refusal> {
        if self.revision() != revision {
            return Err(Refusal::PoliciesChanged);
        }
        if self.confirmed_ago().is_none_or(|ago| ago > FRESH) {
            return Err(Refusal::NotFresh);
        }
        if !self.leadership.holds() {
            return Err(Refusal::NotLeader);
        }
        Ok(())
    }

    /// Whether the lease is held at this moment.
    pub(super) fn is_leader(&self) -> bool {
        self.leadership.holds()
    }

    fn confirmed(&self) -> MutexGuard<'_, Option<(u64, Moment)>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, Leadership, Moment, Refusal};

    #[test]
    fn nothing_is_sent_under_policies_that_changed_or_were_never_confirmed() {
        let gate = Gate::new(Leadership::always());
        let reviewed = gate.revision();
        assert_eq!(gate.check(reviewed), Err(Refusal::NotFresh));
        gate.confirm(reviewed, Moment::now());
        assert_eq!(gate.check(reviewed), Ok(()));
        gate.doubt();
        assert_eq!(gate.check(reviewed), Err(Refusal::NotFresh));
        gate.confirm(reviewed, Moment::now());
        gate.advance();
        assert_eq!(gate.check(reviewed), Err(Refusal::PoliciesChanged));
        assert_eq!(gate.check(gate.revision()), Err(Refusal::NotFresh));
    }

    #[test]
    fn nothing_is_sent_without_the_lease() {
        let gate = Gate::new(Leadership::never());
        gate.confirm(gate.revision(), Moment::now());
        assert_eq!(gate.check(gate.revision()), Err(Refusal::NotLeader));
    }
}
