//! Certificates as they were issued, read by two parsers of which neither is the decoder of requests.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::differential::go::{self, Go};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The attributes of the subject by their types, those of one type in alphabetical order.
    pub common_names: Vec<String>,
    pub organizations: Vec<String>,
    pub organizational_units: Vec<String>,
    /// How many attributes there are in all.
    pub attributes: usize,
    pub dns_names: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    pub uris: Vec<String>,
    pub email_addresses: Vec<String>,
    /// Key usages and extended ones, as Kubernetes calls them.
    pub usages: BTreeSet<&'static str>,
    pub authority: bool,
    /// In seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub key: Key,
    /// The types of all extensions.
    pub extensions: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub algorithm: String,
    pub bits: u32,
    /// Of the SubjectPublicKeyInfo, in hexadecimal.
    pub sha256: String,
}

/// The bits of keyUsage from the first (RFC 5280 section 4.2.1.3).
pub const KEY_USAGES: [&str; 9] = [
    "digital signature",
    "content commitment",
    "key encipherment",
    "data encipherment",
    "key agreement",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
];

/// Those of `x509.ExtKeyUsage` from 0.
const EXT_KEY_USAGES: [&str; 5] = ["any", "server auth", "client auth", "code signing", "email protection"];

fn key_usages(bits: u32) -> impl Iterator<Item = &'static str> {
    (0..KEY_USAGES.len()).filter(move |bit| bits & (1 << bit) != 0).map(|bit| KEY_USAGES[bit])
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

impl Certificate {
    /// Reads one certificate in PEM with both parsers, which must agree.
    pub fn read(pem: &str, go: &mut Go) -> Self {
        let here = Self::by_x509_parser(pem);
        let there = Self::from(go.certificate(pem));
        assert_eq!(here, there, "x509-parser and Go differ about\n{pem}");
        here
    }

    fn by_x509_parser(pem: &str) -> Self {
        let (rest, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        assert!(rest.is_empty() && block.label == "CERTIFICATE", "{pem}");
        let (rest, parsed) = X509Certificate::from_der(&block.contents).unwrap();
        assert!(rest.is_empty(), "{pem}");
        let of = |kind: &str| {
            let attributes = parsed.subject().iter_attributes();
            let attributes = attributes.filter(|attribute| attribute.attr_type().to_id_string() == kind);
            sorted(attributes.map(|attribute| attribute.as_str().unwrap().to_owned()).collect())
        };
        let mut certificate = Self {
            common_names: of("2.5.4.3"),
            organizations: of("2.5.4.10"),
            organizational_units: of("2.5.4.11"),
            attributes: parsed.subject().iter_attributes().count(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            email_addresses: Vec::new(),
            usages: BTreeSet::new(),
            authority: false,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            key: Key::by_x509_parser(&parsed),
            extensions: parsed.extensions().iter().map(|extension| extension.oid.to_id_string()).collect(),
        };
        assert_eq!(certificate.extensions.len(), parsed.extensions().len(), "one extension stands twice in\n{pem}");
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => certificate.add_names(&names.general_names),
                ParsedExtension::KeyUsage(usage) => certificate.usages.extend(key_usages(usage.flags.into())),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    assert!(usage.other.is_empty() && !usage.time_stamping && !usage.ocsp_signing, "{pem}");
                    let known =
                        [usage.any, usage.server_auth, usage.client_auth, usage.code_signing, usage.email_protection];
                    let known = known.iter().zip(EXT_KEY_USAGES).filter(|(is, _)| **is);
                    certificate.usages.extend(known.map(|(_, name)| name));
                }
                ParsedExtension::BasicConstraints(constraints) => certificate.authority = constraints.ca,
                ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                other => panic!("an extension that nobody asked for: {other:?}"),
            }
        }
        certificate
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::DNSName(text) => self.dns_names.push((*text).to_owned()),
                GeneralName::RFC822Name(text) => self.email_addresses.push((*text).to_owned()),
                GeneralName::URI(text) => self.uris.push((*text).to_owned()),
                GeneralName::IPAddress(bytes) => self.ip_addresses.push(match *bytes {
                    [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
                    bytes => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
                }),
                other => panic!("a SAN of a type that nobody may ask for: {other:?}"),
            }
        }
    }
}

impl Key {
    fn by_x509_parser(certificate: &X509Certificate<'_>) -> Self {
        let info = certificate.public_key();
        let (algorithm, bits) = match info.parsed().unwrap() {
            PublicKey::RSA(key) => ("RSA", u32::try_from(key.key_size()).unwrap()),
            PublicKey::EC(point) => ("ECDSA", u32::try_from(point.key_size()).unwrap()),
            PublicKey::Unknown(bytes) if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
                ("Ed25519", u32::try_from(bytes.len() * 8).unwrap())
            }
            other => panic!("a key below the floor: {other:?}"),
        };
        Self { algorithm: algorithm.to_owned(), bits, sha256: sha256(info.raw) }
    }
}

impl From<go::Certificate> for Certificate {
    fn from(go: go::Certificate) -> Self {
        assert_eq!((go.subject.unread, go.unknown_ext_key_usages), (vec![], vec![]));
        let common_name = (!go.subject.common_name.is_empty()).then_some(go.subject.common_name);
        let purposes = go.ext_key_usages.iter().map(|number| EXT_KEY_USAGES[usize::try_from(*number).unwrap()]);
        Self {
            common_names: common_name.into_iter().collect(),
            organizations: sorted(go.subject.organizations),
            organizational_units: sorted(go.subject.organizational_units),
            attributes: go.subject.names.len(),
            dns_names: go.sans.dns_names,
            ip_addresses: go.sans.ip_addresses.iter().map(|text| text.parse().unwrap()).collect(),
            uris: go.sans.uris,
            email_addresses: go.sans.email_addresses,
            usages: key_usages(go.key_usage).chain(purposes).collect(),
            authority: go.authority,
            not_before: go.not_before,
            not_after: go.not_after,
            key: Key { algorithm: go.key.algorithm, bits: go.key.bits, sha256: go.key.sha256 },
            extensions: go.extensions.into_iter().collect(),
        }
    }
}
