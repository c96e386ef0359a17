//! Why a request was refused before any policy saw it.

use crate::codes::codes;
use crate::escape::{cut, printable};

/// The longest text that an error quotes, in bytes.
const MAX_FOUND: usize = 256;

/// A request that cannot be read in exactly one way, or that falls below the floor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// What was wrong, stable between versions.
    pub code: DecodeCode,
    /// Where in the request: `subject.commonName`, `usages`.
    pub field: &'static str,
    /// What was found there, at most 256 bytes; possibly chosen by the requestor, so escape it.
    pub found: String,
    /// One sentence that says what is wrong and what to do; safe to print.
    pub message: String,
}

impl DecodeError {
    pub(super) fn new(code: DecodeCode, field: &'static str, found: &str, message: impl Into<String>) -> Self {
        Self { code, field, found: cut(found, MAX_FOUND), message: message.into() }
    }

    /// The usual form of the message: what was found, then what to do.
    pub(super) fn quoting(code: DecodeCode, field: &'static str, found: &str, what: &str) -> Self {
        let message = format!("{field} \"{}\" {what}", printable(found));
        Self::new(code, field, found, message)
    }
}

/// An extension whose content is not what RFC 5280 says.
pub(super) fn malformed_extension(name: &str) -> DecodeError {
    DecodeError::new(
        DecodeCode::ExtensionMalformed,
        "request",
        name,
        format!("the extension {name} is not encoded as RFC 5280 says: make the request anew"),
    )
}

codes! {
    /// What is wrong with a request.
    DecodeCode {
        /// A field of the object has a type that it cannot have, or more in it than is read.
        ObjectMalformed => "object-malformed",
        /// `spec.request` is longer than [`super::MAX_REQUEST_BYTES`].
        RequestTooLarge => "request-too-large",
        /// Not exactly one PEM block `CERTIFICATE REQUEST` without headers, with nothing around it.
        PemMalformed => "pem-malformed",
        /// Not DER (X.690 section 10), or not a certification request.
        DerMalformed => "der-malformed",
        /// Bytes after the end of the request, or of a part of it.
        TrailingBytes => "trailing-bytes",
        /// A version other than 0 (RFC 2986 section 4.1).
        VersionUnsupported => "version-unsupported",
        /// Two readings of the same bytes differ.
        ReadingsDiffer => "readings-differ",
        /// More than one CN.
        CommonNameRepeated => "subject-common-name-repeated",
        /// An empty value in the subject.
        SubjectValueEmpty => "subject-value-empty",
        /// An attribute type that Kubernetes does not read, or reads as something else.
        SubjectAttributeUnknown => "subject-attribute-unknown",
        /// A string type other than UTF8String and PrintableString, or a wrong one for its bytes.
        SubjectStringType => "subject-string-type",
        /// A character that does not show: control, bidirectional, zero-width.
        SubjectCharacter => "subject-character",
        /// More than 1,024 bytes in a value of the subject, or more than 16,384 in all of it.
        SubjectTooLong => "subject-too-long",
        /// More than 32 O.
        OrganizationsTooMany => "subject-organizations-too-many",
        /// A PKCS#10 attribute that is not known.
        AttributeUnknown => "attribute-unknown",
        /// A PKCS#10 attribute twice, or an extensionRequest without exactly one value.
        AttributeRepeated => "attribute-repeated",
        /// An extension that is not known.
        ExtensionUnknown => "extension-unknown",
        /// An extension twice.
        ExtensionRepeated => "extension-repeated",
        /// An extension whose content is not what its type says.
        ExtensionMalformed => "extension-malformed",
        /// The request asks for a certificate authority.
        CertificateAuthority => "certificate-authority",
        /// An annotation asks cert-manager for another lifetime than `spec.expirationSeconds`.
        DurationAnnotation => "duration-annotation",
        /// More than 100 SANs.
        SansTooMany => "sans-too-many",
        /// A SAN that is no DNS name, IP address, URI or email address.
        SanTypeUnsupported => "san-type-unsupported",
        /// A DNS name that is none.
        SanDnsMalformed => "san-dns-malformed",
        /// An IP address of a wrong length, or an IPv4-mapped one.
        SanIpMalformed => "san-ip-malformed",
        /// A URI that is none, that has more than 2,048 bytes, or that can be read in two ways.
        SanUriMalformed => "san-uri-malformed",
        /// An email address that is none.
        SanEmailMalformed => "san-email-malformed",
        /// `spec.usages` is empty.
        UsagesMissing => "usages-missing",
        /// A usage that Kubernetes does not know.
        UsageUnknown => "usage-unknown",
        /// A usage that no policy can allow.
        UsageNeverAllowed => "usage-never-allowed",
        /// The PKCS#10 request asks for a usage that `spec.usages` does not.
        UsageNotRequested => "usage-not-requested",
        /// A public key of an algorithm or on a curve that is not supported.
        KeyUnsupported => "key-unsupported",
        /// A public key that is not encoded as its algorithm asks, or of Ed25519 and such that anybody can sign with it.
        KeyMalformed => "key-malformed",
        /// An RSA key below 2048 or above 8192 bits.
        KeySize => "key-size",
        /// An RSA key with an exponent below 65537.
        KeyExponent => "key-exponent",
        /// A signature algorithm that is not supported.
        SignatureUnsupported => "signature-unsupported",
        /// A self-signature that does not verify.
        SignatureInvalid => "signature-invalid",
    }
}
