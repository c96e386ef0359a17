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

    /// The longer of what both clocks say; a clock set back says nothing.
    pub(super) fn elapsed(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}
