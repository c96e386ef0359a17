//! Decode: a `CertificateSigningRequest` object, or the bytes of a PEM file, become a
//! [`SigningRequest`] or a [`DecodeError`].
//!
//! Signers differ in what they copy from a request into a certificate, so what could be read in
//! two ways is refused here, with a stable code, before any policy looks at it. Everything in this
//! module is pure: no clock, no client, no I/O.

mod annotations;
mod der;
mod error;
mod extensions;
mod key;
mod masters;
mod object;
mod pem;
mod pkcs10;
mod sans;
mod signature;
mod subject;
#[cfg(test)]
mod tests;
mod usages;

pub(crate) use der::is_der;
pub use error::{DecodeCode, DecodeError};
pub use key::{Curve, Key};
pub use object::{Approval, CsrObject, Envelope, Settled, SigningRequest};
pub(crate) use object::{SERVICE_ACCOUNTS, namespace_group};
pub use pkcs10::{Pkcs10, Sans};
pub use sans::MAX_SANS;
pub(crate) use sans::{is_dns_name, is_uri};
pub use subject::{MAX_ORGANIZATIONS, Subject, SubjectAttribute};
pub use usages::Usage;

/// The longest `spec.request` (PEM, in bytes) that is decoded; a longer one is
/// [`DecodeCode::RequestTooLarge`]. Requests with 100 names and an RSA key of 8192 bits stay below a tenth of it.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
