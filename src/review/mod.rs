//! Decide: a [`PolicySet`], a [`SigningRequest`] and [`Facts`] become a [`Review`].
//!
//! Pure and total: the controller, the offline commands, the benchmarks and the tests all call
//! [`review`], so that there is one verdict.

mod approvals;
mod checks;
mod code;
mod explain;
mod facts;
mod kubelet;
mod names;
mod node;
mod outcome;
#[cfg(test)]
mod tests;
mod verdict;
mod violation;

pub use approvals::{Approvals, Holder, WINDOW};
pub use code::{ReasonCode, ViolationCode};
pub use explain::{Explanation, Says, explain};
pub use facts::{Facts, NodeFact};
pub use verdict::{AuditDifference, Decision, Review, review};
pub use violation::Violation;

#[cfg(doc)]
use crate::{policy::PolicySet, request::SigningRequest};
