//! Decide: a [`PolicySet`], a [`SigningRequest`] and [`Facts`] become a [`Review`].
//!
//! Pure and total: the controller, the offline commands, the benchmarks and the tests all call
//! [`review`], so that there is one verdict.

mod checks;
mod code;
mod explain;
mod kubelet;
mod names;
mod outcome;
#[cfg(test)]
mod tests;
mod verdict;
mod violation;

pub use code::{ReasonCode, ViolationCode};
pub use explain::{Explanation, Says, explain};
pub use verdict::{AuditDifference, Decision, Facts, Review, review};
pub use violation::Violation;

#[cfg(doc)]
use crate::{policy::PolicySet, request::SigningRequest};
