//! Why a request was refused before any policy saw it.

use std::fmt;

/// A request that cannot be read in exactly one way, or that falls below the floor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// What was wrong, stable between versions.
    pub code: DecodeCode,
    /// Where in the request, as a path of ASN.1 or Kubernetes field names: `subject.CN`, `spec.usages`.
    pub field: &'static str,
    /// What was found there, possibly chosen by the requestor: escape before showing.
    pub found: String,
    /// One sentence that says what is wrong and what to do; `found` appears in it only escaped.
    pub message: String,
}
