//! Changes of policies settle before anything is decided under them, since a policy may be applied before its guardrail.
//! But not for ever: whoever may write one policy could otherwise stop all decisions.

use std::time::{Duration, Instant};

/// How many times as long as one change, changes that follow one another settle at most.
const AT_MOST: u32 = 5;
/// After how many times as long a change follows none before it: there was time to decide in between.
const APART: u32 = 2;
/// What counts for as long, at least, where it is asked whether changes follow one another without end: also where none settles.
const LEAST: Duration = Duration::from_secs(1);

/// Changes that follow one another: when they began, and when the last of them was in force.
type Changes = Option<(Instant, Instant)>;

/// Since when policies change, and until when that settles.
#[derive(Debug)]
pub(super) struct Settling {
    /// How long one change settles.
    settle: Duration,
    changes: Changes,
    /// The same, where one follows another after [`LEAST`], too.
    running: Changes,
    /// Whether it was said that they do not end.
    said: bool,
}

impl Settling {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, changes: None, running: None, said: false }
    }

    /// The policies changed at `came`, which is in force `now`. Whether that has just become one change too many to wait for.
    pub(super) fn changed(&mut self, came: Instant, now: Instant) -> bool {
        let chain = |changes: Changes, span| {
            changes.filter(|(_, last)| follows(*last, came, span)).map_or(now, |(began, _)| began)
        };
        let (began, running) = (chain(self.changes, self.settle), chain(self.running, self.span()));
        self.said &= self.running.is_some_and(|(began, _)| began == running);
        (self.changes, self.running) = (Some((began, now)), Some((running, now)));
        let ends = |began, span| now + span > began + span * AT_MOST;
        let too_many = (!self.settle.is_zero() && ends(began, self.settle)) || ends(running, self.span());
        too_many && !std::mem::replace(&mut self.said, true)
    }

    /// Whether changes follow one another at `now` that are not waited for any more.
    pub(super) fn is_without_end(&self, now: Instant) -> bool {
        self.said && self.running.is_some_and(|(_, last)| follows(last, now, self.span()))
    }

    /// Until when nothing is decided, if that is after `now`; nothing that was read before counts.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let (began, last) = self.changes.filter(|_| !self.settle.is_zero())?;
        Some((last + self.settle).min(began + self.settle * AT_MOST)).filter(|until| *until > now)
    }

    fn span(&self) -> Duration {
        self.settle.max(LEAST)
    }
}

/// Whether a change at `now` comes before there was time to decide after one at `last`.
fn follows(last: Instant, now: Instant, span: Duration) -> bool {
    now < last + span * APART
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
            said += usize::from(settling.changed(last, last));
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
        assert!(!none.changed(now, now) && none.until(now).is_none() && !none.is_without_end(now));
    }

    /// Decisions are to have their turn all the same.
    #[test]
    fn changes_without_end_are_known_though_none_settles() {
        let (began, mut settling) = (Instant::now(), Settling::new(Duration::ZERO));
        let mut now = began;
        let said = (0..100).filter(|number| {
            now = began + Duration::from_millis(number * 100);
            settling.changed(now, now)
        });
        assert_eq!(said.count(), 1);
        assert!(settling.is_without_end(now) && settling.until(now).is_none());
        assert!(!settling.is_without_end(now + Duration::from_secs(2)));
    }

    /// Also where one settles for less than changes without end are told by.
    #[test]
    fn each_change_settles_however_short_that_is() {
        for settle in [10, 200, 500, 999].map(Duration::from_millis) {
            let (began, mut settling) = (Instant::now(), Settling::new(settle));
            for number in 0..100 {
                let now = began + settle.mul_f64(2.1) * number;
                settling.changed(now, now);
                assert_eq!(settling.until(now), Some(now + settle), "{settle:?}");
            }
        }
    }

    /// What takes long to compile is in force later, and the next change was there already.
    #[test]
    fn a_change_that_came_before_the_last_was_in_force_follows_it() {
        let (began, mut settling) = (Instant::now(), Settling::new(Duration::ZERO));
        let mut now = began;
        for _ in 0..3 {
            let came = now;
            now += Duration::from_secs(4);
            settling.changed(came, now);
        }
        assert!(settling.is_without_end(now));
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
