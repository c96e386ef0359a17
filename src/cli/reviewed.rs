//! What every form of output is made from.

use super::load::Sourced;
use crate::review::Review;

/// A verdict and what it is about.
pub(super) struct Reviewed {
    pub(super) sourced: Sourced,
    pub(super) review: Review,
}
