//! Changes of policies settle before anything is decided under them, since a policy may be applied before its guardrail.
//! But not for ever: whoever may write one policy could otherwise stop all decisions.

use std::time::{Duration, Instant};

/// How many times as long as one change, changes that follow one another settle at most.
const AT_MOST: u32 = 5;
/// After how many times as long a change follows none before it: there was time to decide in between.
const APART: u32 = 2;
/// How long a change counts as settling, at least, where it is asked whether changes follow one another without end.
const LEAST: Duration = Duration::from_secs(1);

/// Since when policies change, and until when that settles.
#[derive(Debug)]
pub(super) struct Settling {
    /// How long one change settles.
    settle: Duration,
    /// When the changes that follow one another began, and when the last of them came.
    changes: Option<(Instant, Instant)>,
    /// Whether it was said that they do not end.
    said: bool,
}

impl Settling {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, changes: None, said: false }
    }

    /// The policies changed at `now`. Whether that has just become one change too many to wait for.
    pub(super) fn changed(&mut self, now: Instant) -> bool {
        let began = match self.changes.filter(|(_, last)| self.follows(*last, now)) {
            Some((began, _)) => began,
            None => {
                self.said = false;
                now
            }
        };
        self.changes = Some((began, now));
        let span = self.settle.max(LEAST);
        let too_many = now + span > began + span * AT_MOST;
        too_many && !std::mem::replace(&mut self.said, true)
    }

    /// Whether changes follow one another at `now` that are not waited for any more.
    pub(super) fn is_without_end(&self, now: Instant) -> bool {
        self.said && self.changes.is_some_and(|(_, last)| self.follows(last, now))
    }

    /// Whether a change at `now` comes soon after one at `last`.
    fn follows(&self, last: Instant, now: Instant) -> bool {
        now < last + self.settle.max(LEAST) * APART
    }

    /// Until when nothing is decided, if that is after `now`.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let (began, last) = self.changes?;
        Some((last + self.settle).min(began + self.settle * AT_MOST)).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Settling};

    const SETTLE: Duration = Duration::from_secs(3);

    /// For how long what changes at these moments, in milliseconds, settles after the last of them, and how often it was said
    /// that changes do not end.
    fn after(changes: impl IntoIterator<Item = u64>) -> (Option<Duration>, usize) {
        let (began, mut settling) = (Instant::now(), Settling::new(SETTLE));
        let (mut last, mut said) = (began, 0);
        for change in changes {
            last = began + Duration::from_millis(change);
            said += usize::from(settling.changed(last));
        }
        (settling.until(last).map(|until| until - last), said)
    }

    #[test]
    fn a_change_settles_and_so_does_what_follows_it() {
        assert_eq!(after([]), (None, 0));
        assert_eq!(after([0]), (Some(SETTLE), 0));
        assert_eq!(after([0, 2_900, 5_800]), (Some(SETTLE), 0));
        // One now and then.
        assert_eq!(after((0..100).map(|number| number * 6_001)), (Some(SETTLE), 0));
        let now = Instant::now();
        let mut none = Settling::new(Duration::ZERO);
        assert!(!none.changed(now) && none.until(now).is_none() && !none.is_without_end(now));
    }

    /// Decisions are to have their turn all the same.
    #[test]
    fn changes_without_end_are_known_though_none_settles() {
        let (began, mut settling) = (Instant::now(), Settling::new(Duration::ZERO));
        let mut now = began;
        let said = (0..100).filter(|number| {
            now = began + Duration::from_millis(number * 100);
            settling.changed(now)
        });
        assert_eq!(said.count(), 1);
        assert!(settling.is_without_end(now) && settling.until(now).is_none());
        assert!(!settling.is_without_end(now + Duration::from_secs(2)));
    }

    #[test]
    fn changes_without_end_settle_for_so_long_and_no_longer_and_that_is_said_once() {
        assert_eq!(after([0, 2_900, 5_800, 8_700, 11_600, 14_500]), (Some(Duration::from_millis(500)), 1));
        for pause in [100, 2_900, 3_001, 5_999] {
            assert_eq!(after((0..1000).map(|number| number * pause)), (None, 1), "{pause}");
        }
        // After some rest each settles again.
        let rest = (0..100).map(|number| number * 1000).chain([105_001]);
        assert_eq!(after(rest), (Some(SETTLE), 1));
    }
}
