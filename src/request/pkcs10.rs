//! PKCS#10 (RFC 2986), strictly: every byte accounted for.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::der;
use super::{DecodeCode, DecodeError, Key, Subject, Usage, extensions, pem, signature};

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

    /// Decodes the PEM bytes of `spec.request`. `usages` are those of `spec.usages`: the request's
    /// own keyUsage and extendedKeyUsage may ask for no others.
    pub fn from_pem(pem: &[u8], usages: &[Usage]) -> Result<Self, DecodeError> {
        Self::from_der(&pem::decode(pem)?, usages)
    }

    /// Decodes the DER bytes of a request, as [`Pkcs10::from_pem`] does.
    pub fn from_der(bytes: &[u8], usages: &[Usage]) -> Result<Self, DecodeError> {
        der::check(bytes)?;
        let mut request = der::only(bytes, der::SEQUENCE)?.inside();
        let info = request.expect(der::SEQUENCE)?;
        let algorithm = request.next()?;
        let signed = request.expect(der::BIT_STRING)?;
        request.end()?;

        let mut parts = info.inside();
        let version = parts.expect(der::INTEGER)?;
        if version.content != [0] {
            return Err(DecodeError::new(
                DecodeCode::VersionUnsupported,
                "request",
                "",
                "the version of the request is not 0, and RFC 2986 knows no other",
            ));
        }
        let subject = Subject::decode(parts.expect(der::SEQUENCE)?)?;
        let (key, public_key) = Key::decode(parts.expect(der::SEQUENCE)?)?;
        let attributes = parts.expect(der::CONTEXT_0)?;
        parts.end()?;
        let sans = extensions::decode_attributes(attributes, usages)?;
        signature::verify(key, public_key, algorithm, signed, info.raw)?;
        second_reading(bytes, &subject)?;

        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Ok(Self { subject, sans, key, sha256 })
    }

    /// Every text that a certificate made from the request would carry.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let subject = &self.subject;
        let sans = &self.sans;
        subject
            .common_name
            .iter()
            .chain(&subject.organizations)
            .chain(&subject.organizational_units)
            .chain(subject.others.iter().map(|(_, value)| value))
            .chain(&sans.dns_names)
            .chain(&sans.uris)
            .chain(&sans.email_addresses)
            .map(String::as_str)
    }
}

/// x509-parser reads the same subject, or the request is refused: two readers that were written
/// apart seldom err alike.
fn second_reading(bytes: &[u8], subject: &Subject) -> Result<(), DecodeError> {
    let differ = || {
        DecodeError::new(
            DecodeCode::ReadingsDiffer,
            "request",
            "",
            "two readers of the request disagree about it, so a signer might read a third: make it anew, for example \
             with openssl req",
        )
    };
    let (rest, request) = X509CertificationRequest::from_der(bytes).map_err(|_| differ())?;
    let name = &request.certification_request_info.subject;
    let total = usize::from(subject.common_name.is_some())
        + subject.organizations.len()
        + subject.organizational_units.len()
        + subject.others.len();
    let texts = |read: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
        read.map(|attribute| attribute.as_str().map(str::to_owned)).collect::<Result<Vec<_>, _>>().ok()
    };
    let same = rest.is_empty()
        && name.iter_attributes().count() == total
        && texts(&mut name.iter_common_name()) == Some(subject.common_name.iter().cloned().collect())
        && texts(&mut name.iter_organization()).as_ref() == Some(&subject.organizations)
        && texts(&mut name.iter_organizational_unit()).as_ref() == Some(&subject.organizational_units);
    if same { Ok(()) } else { Err(differ()) }
}

#[cfg(test)]
mod tests {
    use super::{Pkcs10, Subject, pem, second_reading};
    use crate::request::{DecodeCode, SubjectAttribute, Usage};

    #[test]
    fn the_second_reader_tells_every_difference() {
        let pem = std::fs::read("tests/corpus/clients/go-p256.csr").unwrap();
        let der = pem::decode(&pem).unwrap();
        let read = Pkcs10::from_der(&der, &Usage::ALL).unwrap();
        assert_eq!(read.sha256_hex().len(), 64);
        assert!(read.sha256_hex().starts_with(&format!("{:02x}{:02x}", read.sha256[0], read.sha256[1])));
        let subject = read.subject;
        assert_eq!(second_reading(&der, &subject), Ok(()));
        let differ = |change: &dyn Fn(&mut Subject)| {
            let mut other = subject.clone();
            change(&mut other);
            assert_ne!(other, subject);
            assert_eq!(second_reading(&der, &other).unwrap_err().code, DecodeCode::ReadingsDiffer, "{other:?}");
        };
        differ(&|subject| subject.common_name = None);
        differ(&|subject| subject.common_name = Some("x".to_owned()));
        differ(&|subject| subject.organizations.clear());
        differ(&|subject| subject.organizations[0].push('x'));
        differ(&|subject| subject.organizational_units.clear());
        differ(&|subject| subject.organizational_units[0].push('x'));
        differ(&|subject| subject.others.clear());
        differ(&|subject| subject.others.push((SubjectAttribute::Street, "x".to_owned())));
        // As many as there are, in other places.
        differ(&|subject| {
            let moved = subject.organizations.remove(0);
            subject.organizational_units.push(moved);
        });
        let rest = [&der[..], &[0]].concat();
        assert_eq!(second_reading(&rest, &subject).unwrap_err().code, DecodeCode::ReadingsDiffer);
    }
}
