//! PKCS#10 (RFC 2986), strictly: every byte accounted for.

use std::net::IpAddr;

use super::{DecodeError, Key, Subject, Usage};

/// A certification request that can be read in one way only, whose key is above the floor and
/// whose self-signature verifies. It can only be had by decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pkcs10 {
    /// The subject.
    pub subject: Subject,
    /// The subject alternative names.
    pub sans: Sans,
    /// The public key.
    pub key: Key,
    /// SHA-256 of the DER encoding of the whole request.
    pub sha256: [u8; 32],
}

/// Subject alternative names (RFC 5280 section 4.2.1.6), each kind in order of the encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sans {
    /// dNSName, as encoded (ASCII, no trailing dot, not an address).
    pub dns_names: Vec<String>,
    /// iPAddress of 4 or 16 bytes, never IPv4-mapped.
    pub ip_addresses: Vec<IpAddr>,
    /// uniformResourceIdentifier, as encoded.
    pub uris: Vec<String>,
    /// rfc822Name, as encoded.
    pub email_addresses: Vec<String>,
}

impl Pkcs10 {
    /// SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Decodes the PEM bytes of `spec.request` (design: strict on raw bytes). `usages` are those
    /// of `spec.usages`: the request's own keyUsage and extendedKeyUsage may ask for no others.
    pub fn from_pem(_pem: &[u8], _usages: &[Usage]) -> Result<Self, DecodeError> {
        unreachable!()
    }
}
