//! `CertificateSigningRequest` objects (`certificates.k8s.io/v1`), read tolerantly: only what a
//! review needs, so that nothing else in the object can make it unreadable.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{DecodeError, Pkcs10, Usage};

/// What the API server vouches for about a request, beside its PKCS#10 content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `metadata.name`; arbitrary text.
    pub name: String,
    /// `metadata.uid`; empty offline.
    pub uid: String,
    /// `metadata.creationTimestamp`, if there is one that can be read.
    pub created: Option<Timestamp>,
    /// Whether somebody decided already, or the object is going away.
    pub settled: Option<Settled>,
    /// `spec.signerName`.
    pub signer_name: String,
    /// `spec.username`, the requestor's user name.
    pub username: String,
    /// `spec.uid`, the requestor's uid.
    pub user_uid: String,
    /// `spec.groups`, the requestor's groups when it filed the request.
    pub groups: Vec<String>,
    /// `spec.extra`, as the requestor's authenticator filled it.
    pub extra: BTreeMap<String, Vec<String>>,
    /// `spec.usages` as written.
    pub usages: Vec<String>,
    /// `spec.expirationSeconds`, the lifetime asked for in seconds; unset means the signer's own maximum.
    pub expiration_seconds: Option<i32>,
}

/// Why there is nothing left to decide about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Condition `Approved`.
    Approved,
    /// Condition `Denied`.
    Denied,
    /// Condition `Failed`: the signer gave up.
    Failed,
    /// `status.certificate` is there.
    Issued,
    /// `metadata.deletionTimestamp` is set.
    Deleting,
}

/// A request as the engine reviews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// What the API server vouches for.
    pub envelope: Envelope,
    /// What the requestor wrote, or why it is refused unread.
    pub content: Result<Pkcs10, DecodeError>,
    /// Whether `system:masters` is asked for, in whatever place or encoding, also where `content` did not decode.
    pub asks_for_masters: bool,
    /// The known usages of `spec.usages`, sorted, without repetition.
    pub usages: Vec<Usage>,
}
impl std::fmt::Display for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}

/// stub
#[derive(Debug, Clone, Default)]
pub struct Metadata { /// n
pub name: String, /// n
pub uid: String, /// n
pub resource_version: String, /// n
pub labels: serde_json::Value, /// n
pub annotations: serde_json::Value, /// n
pub finalizers: serde_json::Value, /// n
pub owner_references: serde_json::Value }
/// stub
#[derive(Debug, Clone, Default)]
pub struct CsrObject { /// n
pub metadata: Metadata, /// n
pub conditions: Vec<serde_json::Value> }
impl CsrObject {
/// n
pub fn settled(&self) -> Option<Settled> { None }
/// n
pub fn signer_name(&self) -> &str { "" }
/// n
pub fn created(&self) -> Option<Timestamp> { None }
/// n
pub fn signing_request(&self) -> SigningRequest { unreachable!() }
}
impl<'de> serde::Deserialize<'de> for CsrObject { fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> { unreachable!() } }
