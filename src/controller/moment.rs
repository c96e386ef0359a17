//! Time that neither a sleeping machine nor a set clock can shorten.

use std::time::{Duration, Instant, SystemTime};

/// A moment by both clocks: the monotonic one stands still while a machine sleeps, the other can
/// be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// One so long ago.
    #[cfg(test)]
    pub(super) fn that_was(ago: Duration) -> Self {
        let now = Self::now();
        let monotonic = now.monotonic.checked_sub(ago).unwrap_or(now.monotonic);
        Self { monotonic, wall: now.wall.checked_sub(ago).unwrap_or(now.wall) }
    }

    /// By the clock that cannot be set.
    pub(super) fn monotonic(self) -> Instant {
        self.monotonic
    }

    /// The longer of what both clocks say; a clock set back says nothing.
    pub(super) fn elapsed(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

/// By how much both clocks may differ in what they say has passed; they are read one after the other, and the
/// wall clock is corrected in small steps.
const STEADY: Duration = Duration::from_secs(1);

/// Notices that the clock was set, in either direction, or that the machine slept.
#[derive(Debug)]
pub(super) struct Clock(Moment);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Moment::now())
    }

    /// Whether that happened since this was last asked.
    pub(super) fn was_set(&mut self) -> bool {
        let before = std::mem::replace(&mut self.0, Moment::now());
        before.disagrees_with(self.0)
    }

    /// One that was set since it was last asked.
    #[cfg(test)]
    pub(super) fn that_was_set() -> Self {
        Self(Moment { wall: SystemTime::UNIX_EPOCH, ..Moment::now() })
    }
}

impl Moment {
    fn disagrees_with(self, later: Self) -> bool {
        let passed = later.monotonic.saturating_duration_since(self.monotonic);
        later.wall.duration_since(self.wall).map_or(true, |wall| wall.abs_diff(passed) > STEADY)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::Moment;

    #[test]
    fn a_clock_that_is_set_lets_no_time_seem_shorter_and_is_noticed() {
        let begin = Moment { monotonic: Instant::now(), wall: SystemTime::now() };
        let later = |monotonic: u64, wall: i64| Moment {
            monotonic: begin.monotonic + Duration::from_secs(monotonic),
            wall: if wall < 0 {
                begin.wall - Duration::from_secs(wall.unsigned_abs())
            } else {
                begin.wall + Duration::from_secs(wall.unsigned_abs())
            },
        };
        for (monotonic, wall, set) in [
            (5, 5, false),
            (0, 0, false),
            (5, 6, false),
            (5, 3605, true),
            (5, -3595, true),
            (3600, 3, true),
            (5, 0, true),
        ] {
            assert_eq!(begin.disagrees_with(later(monotonic, wall)), set, "{monotonic} {wall}");
        }
        // Began an hour ago by one of the clocks: that one counts.
        let hour = Duration::from_secs(3600);
        for begun in [
            Moment { monotonic: begin.monotonic, wall: begin.wall - hour },
            Moment { monotonic: begin.monotonic.checked_sub(hour).unwrap(), wall: begin.wall + hour },
        ] {
            assert!(begun.elapsed() >= hour, "{begun:?}");
        }
    }
}
