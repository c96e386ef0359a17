//! How far long work is: a bar on standard error, if that is a terminal and the work lasts.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long work may last before somebody wants to know how far it is.
const PATIENCE: Duration = Duration::from_millis(300);

/// A bar that is gone when this is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    begin: Instant,
}

impl Progress {
    /// Work on `total` things called `what`; nothing where their number is not known yet.
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_message(what);
        let template = match total {
            Some(_) => "[{bar:40}] {human_pos} of {human_len} {msg}, {eta} left",
            None => "{spinner} {human_pos} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, begin: Instant::now() }
    }

    /// There are `number` of them where `counted` were counted on.
    pub(super) fn expect(&self, number: u64, counted: u64) {
        self.bar.inc_length(number);
        self.bar.dec_length(counted);
    }

    /// `more` of them are done.
    pub(super) fn advance(&self, more: u64) {
        if self.bar.is_hidden() && self.begin.elapsed() > PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(more);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
