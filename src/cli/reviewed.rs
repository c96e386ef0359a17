//! What every form of output is made from.

use super::load::Sourced;
use crate::review::{Decision, Review};

/// A verdict and what it is about.
#[derive(Debug)]
pub(super) struct Reviewed {
    pub(super) sourced: Sourced,
    pub(super) review: Review,
}

/// What is kept of a verdict until all are there: what one form of output says of it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) decision: Decision,
    /// The name, where names are aligned.
    pub(super) name: String,
    pub(super) text: String,
}

/// How many of these decisions are such.
pub(super) fn count(all: &[Shown], decision: Decision) -> usize {
    all.iter().filter(|shown| shown.decision == decision).count()
}
