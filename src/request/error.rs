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

/// stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeCode {
    /// stub
    RequestTooLarge,
}
impl fmt::Display for DecodeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}
impl DecodeCode {
    /// stub
    pub const fn as_str(self) -> &'static str {
        "x"
    }
}
impl std::hash::Hash for DecodeCode {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}
impl PartialOrd for DecodeCode {
    fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
        None
    }
}
impl Ord for DecodeCode {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
