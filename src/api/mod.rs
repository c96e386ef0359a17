//! The API that platform teams write: `countersign.dev/v1alpha1`, kinds [`CSRPolicy`] and
//! [`CSRGuardrail`].
//!
//! The Rust types give the CRDs their shape, field documentation and CEL rules. They are not how
//! objects are trusted: [`crate::policy`] compiles every object from its plain JSON and enforces
//! each of these rules itself, because ratcheting, an older CRD and offline use all go around the
//! API server.

mod expiration;
mod expressions;
mod guardrail;
mod keys;
mod matching;
mod node;
mod policy;
pub mod schema;
mod status;
mod values;

pub use expiration::{Expiration, ExpirationLimits, WhenUnset};
pub use expressions::{MatchCondition, Validation};
pub use guardrail::{CSRGuardrail, CSRGuardrailSpec, Limits, SignerLimits};
pub use keys::{EcdsaKeys, KeyAlgorithm, KeyCurve, Keys, RsaKeys};
pub use matching::{Credential, Exclude, Match, Requestor};
pub use node::{Existence, NodeRules};
pub use policy::{Allow, CSRPolicy, CSRPolicySpec};
pub use status::{Condition, Hazard, Status};
pub(crate) use values::MAX_PATTERN;
pub use values::{
    Absent, CommonName, DnsNames, IpAddresses, NodeSource, Organizations, RequestorSource, SubjectRules, Usages,
    Values, Wildcards,
};

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The API group of both kinds.
pub const GROUP: &str = "countersign.dev";
/// The one version of the API.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as manifests write it.
pub const API_VERSION: &str = "countersign.dev/v1alpha1";

/// Whether an object decides or only reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is evaluated, and what it would have changed is reported, but it decides nothing.
    Audit,
}

/// What happens to a request that matches and does not satisfy the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnViolation {
    /// It is denied.
    #[default]
    Deny,
    /// It is left to other policies and to people.
    LeavePending,
}
