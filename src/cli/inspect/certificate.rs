//! Certificates (RFC 5280), read so that odd ones show too.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ring::digest::{SHA256, digest};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension};
use x509_parser::nom;

use super::key::PublicKey;
use super::name::{Name, dotted};
use crate::escape::printable;
use crate::request::Usage;

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate {
    der: Vec<u8>,
    /// 1, 2 or 3.
    pub(super) version: u32,
    /// In hexadecimal digits, as openssl writes it.
    pub(super) serial: String,
    pub(super) subject: Name,
    pub(super) issuer: Name,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// The last second of its validity, since 1970.
    pub(super) not_after: i64,
    /// keyUsage and extendedKeyUsage, by the names of Kubernetes; others are OIDs.
    pub(super) usages: Vec<String>,
    key_usage: Option<KeyUsage>,
    /// Whether there is an extendedKeyUsage.
    limited: bool,
    /// That it is a CA, if it says so.
    pub(super) authority: Option<Authority>,
    pub(super) dns_names: Vec<String>,
    pub(super) ip_addresses: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) email_addresses: Vec<String>,
    /// Subject alternative names of other kinds.
    pub(super) other_names: Vec<String>,
    pub(super) key: PublicKey,
    /// How it is signed, `SHA-256 with RSA`, or an OID.
    pub(super) signature: String,
    /// SHA-256 of the DER encoding, in hexadecimal digits: what the API server calls `X509SHA256`.
    pub(super) sha256: String,
    /// What is not as RFC 5280 has it, each a clause.
    pub(super) oddities: Vec<String>,
}

/// What basicConstraints (RFC 5280 section 4.2.1.9) say about a CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority {
    /// How many CAs there may be between it and a certificate that is none.
    pub(super) below: Option<u32>,
}

/// Whether a signature was made by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    Yes,
    No,
    /// It is of an algorithm that is not verified here.
    Unknown,
}

/// OID and name of the signature algorithms that are met.
const SIGNATURES: [(&str, &str); 14] = [
    ("1.2.840.113549.1.1.2", "MD2 with RSA"),
    ("1.2.840.113549.1.1.4", "MD5 with RSA"),
    ("1.2.840.113549.1.1.5", "SHA-1 with RSA"),
    ("1.3.14.3.2.29", "SHA-1 with RSA"),
    ("1.2.840.113549.1.1.11", "SHA-256 with RSA"),
    ("1.2.840.113549.1.1.12", "SHA-384 with RSA"),
    ("1.2.840.113549.1.1.13", "SHA-512 with RSA"),
    (PSS, "RSASSA-PSS"),
    ("1.2.840.10040.4.3", "SHA-1 with DSA"),
    ("1.2.840.10045.4.1", "SHA-1 with ECDSA"),
    ("1.2.840.10045.4.3.2", "SHA-256 with ECDSA"),
    ("1.2.840.10045.4.3.3", "SHA-384 with ECDSA"),
    ("1.2.840.10045.4.3.4", "SHA-512 with ECDSA"),
    ("1.3.101.112", "Ed25519"),
];
const PSS: &str = "1.2.840.113549.1.1.10";

impl Certificate {
    /// Reads one certificate; the error is a clause that says what is wrong.
    pub(super) fn read(der: &[u8]) -> Result<Self, String> {
        let (rest, read) = X509Certificate::from_der(der).map_err(|error| match error {
            nom::Err::Error(error) | nom::Err::Failure(error) => error.to_string(),
            nom::Err::Incomplete(_) => "it is cut off".to_owned(),
        })?;
        let algorithm = dotted(&read.signature_algorithm.algorithm);
        let hash = digest(&SHA256, read.as_raw());
        let mut certificate = Self {
            der: read.as_raw().to_vec(),
            version: read.version.0.saturating_add(1),
            serial: serial(read.raw_serial()),
            subject: Name::new(&read.subject),
            issuer: Name::new(&read.issuer),
            not_before: read.validity.not_before.timestamp(),
            not_after: read.validity.not_after.timestamp(),
            usages: Vec::new(),
            key_usage: None,
            limited: false,
            authority: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            uris: Vec::new(),
            email_addresses: Vec::new(),
            other_names: Vec::new(),
            key: PublicKey::new(read.public_key()),
            signature: SIGNATURES
                .iter()
                .find(|(oid, _)| *oid == algorithm)
                .map_or(algorithm, |(_, name)| (*name).to_owned()),
            sha256: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            oddities: Vec::new(),
        };
        certificate.extensions(&read);
        certificate.note_oddities(&read, rest);
        Ok(certificate)
    }

    fn extensions(&mut self, read: &X509Certificate<'_>) {
        let mut seen = BTreeSet::new();
        for extension in read.extensions() {
            let oid = dotted(&extension.oid);
            match extension.parsed_extension() {
                ParsedExtension::KeyUsage(usage) => {
                    self.usages.extend(key_usages(*usage));
                    self.key_usage = Some(*usage);
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    self.usages.extend(extended_key_usages(usage));
                    self.limited = true;
                }
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    self.authority = Some(Authority { below: constraints.path_len_constraint });
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    names.general_names.iter().for_each(|name| self.alternative_name(name));
                }
                ParsedExtension::ParseError { .. } => {
                    self.oddities.push(format!("its extension {oid} is not encoded as RFC 5280 says"));
                }
                ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
                    self.oddities.push(format!("its extension {oid} is critical, and Go does not know it"));
                }
                _ => {}
            }
            if !seen.insert(oid.clone()) {
                self.oddities.push(format!("it has the extension {oid} twice"));
            }
        }
    }

    fn alternative_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.email_addresses.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => self.ip_addresses.push(address.to_string()),
                None => self.oddities.push(format!("an IP address among its SANs has {} bytes", bytes.len())),
            },
            GeneralName::DirectoryName(name) => self.other_names.push(format!("directory name {}", Name::new(name))),
            GeneralName::RegisteredID(oid) => self.other_names.push(format!("registered ID {}", dotted(oid))),
            GeneralName::OtherName(oid, _) => self.other_names.push(format!("other name {}", dotted(oid))),
            GeneralName::X400Address(_) => self.other_names.push("X.400 address".to_owned()),
            GeneralName::EDIPartyName(_) => self.other_names.push("EDI party name".to_owned()),
            GeneralName::Invalid(tag, _) => self.oddities.push(format!("a SAN of kind {} is malformed", tag.0)),
        }
    }

    fn note_oddities(&mut self, read: &X509Certificate<'_>, rest: &[u8]) {
        let mut note = |odd: bool, clause: &str| {
            if odd {
                self.oddities.push(clause.to_owned());
            }
        };
        note(!rest.is_empty(), "bytes stand after its end");
        note(self.version != 3, "it is not of version 3, so that nothing limits what it may be used for");
        note(read.raw_serial().first().is_some_and(|first| first & 0x80 != 0), "its serial number is negative");
        note(read.raw_serial().len() > 20, "its serial number has more than 20 bytes");
        note(read.signature != read.signature_algorithm, "it names two signature algorithms");
        note(self.not_after < self.not_before, "its validity ends before it begins");
        note(self.subject.has_other_values(), "a value of its subject is no text");
        note(
            self.subject.common_names() > 1,
            "its subject has several CN, of which Kubernetes reads the last and others the first",
        );
    }

    /// Whether a server that takes clients' certificates would take it: no extendedKeyUsage allows all uses.
    pub(super) fn is_client(&self) -> bool {
        let named = self.usages.iter().any(|usage| usage == Usage::ClientAuth.name() || usage == Usage::Any.name());
        named || !self.limited && !self.is_authority()
    }

    /// Whether it is named for clients, not only for want of limits.
    pub(super) fn is_named_for_clients(&self) -> bool {
        self.limited && self.is_client()
    }

    /// Whether it says that it is a CA.
    pub(super) fn is_authority(&self) -> bool {
        self.authority.is_some()
    }

    /// Whether it may sign certificates.
    pub(super) fn may_sign(&self) -> bool {
        self.is_authority() && self.key_usage.as_ref().is_none_or(KeyUsage::key_cert_sign)
    }

    /// Whether subject and issuer are the same.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject.raw == self.issuer.raw
    }

    /// The hash of its signature, if it is one that no longer holds.
    pub(super) fn weak_hash(&self) -> Option<&'static str> {
        ["MD2", "MD5", "SHA-1"].into_iter().find(|hash| self.signature.starts_with(&format!("{hash} ")))
    }

    /// Whether the key of `other` signed it.
    pub(super) fn signed_by(&self, other: &Self) -> Signed {
        let (Ok((_, own)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&other.der))
        else {
            return Signed::Unknown;
        };
        // ring takes no shorter RSA key (with SHA-1 it would), and for PSS no salt but one as long as the hash.
        let always = other.key.can_verify() && dotted(&own.signature_algorithm.algorithm) != PSS;
        match own.verify_signature(Some(issuer.public_key())) {
            Ok(()) => Signed::Yes,
            Err(X509Error::SignatureVerificationError) if always => Signed::No,
            Err(_) => Signed::Unknown,
        }
    }

    /// The same certificate, byte for byte.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// What it is for, in a word or two.
    pub(super) fn purpose(&self) -> &'static str {
        let mut usages = self.usages.iter().filter_map(|usage| Usage::from_name(usage));
        let server = usages.any(|usage| usage == Usage::Any || usage.is_good_for(Usage::ServerAuth));
        match (self.is_authority(), self.is_named_for_clients(), server) {
            (true, ..) => "CA",
            (false, true, true) => "client and server",
            (false, true, false) => "client",
            (false, false, true) => "server",
            (false, false, false) if self.limited => "other",
            (false, false, false) => "any use",
        }
    }
}

/// As openssl writes it: capitals, no zeros in front but for a whole byte, a sign for a negative one.
fn serial(bytes: &[u8]) -> String {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = sum;
            carry = over;
        }
    }
    let digits: Vec<String> =
        magnitude.iter().skip_while(|byte| **byte == 0).map(|byte| format!("{byte:02X}")).collect();
    let digits = if digits.is_empty() { "00".to_owned() } else { digits.concat() };
    printable(&format!("{}{digits}", if negative { "-" } else { "" }))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    four.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))))
}

fn key_usages(usage: KeyUsage) -> Vec<String> {
    // The bits of RFC 5280 section 4.2.1.3, in order.
    let names = Usage::ALL.into_iter().take(9).enumerate();
    names.filter(|(bit, _)| usage.flags >> bit & 1 == 1).map(|(_, usage)| usage.name().to_owned()).collect()
}

fn extended_key_usages(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, Usage::Any),
        (usage.server_auth, Usage::ServerAuth),
        (usage.client_auth, Usage::ClientAuth),
        (usage.code_signing, Usage::CodeSigning),
        (usage.email_protection, Usage::EmailProtection),
        (usage.time_stamping, Usage::Timestamping),
        (usage.ocsp_signing, Usage::OcspSigning),
    ];
    let others = usage.other.iter().map(|oid| {
        let oid = dotted(oid);
        let name = OTHER_USAGES.iter().find(|(known, _)| *known == oid);
        name.map_or(oid, |(_, usage)| usage.name().to_owned())
    });
    known.into_iter().filter(|(given, _)| *given).map(|(_, usage)| usage.name().to_owned()).chain(others).collect()
}

/// The usages of Kubernetes that x509-parser does not name.
const OTHER_USAGES: [(&str, Usage); 5] = [
    ("1.3.6.1.5.5.7.3.5", Usage::IpsecEndSystem),
    ("1.3.6.1.5.5.7.3.6", Usage::IpsecTunnel),
    ("1.3.6.1.5.5.7.3.7", Usage::IpsecUser),
    ("1.3.6.1.4.1.311.10.3.3", Usage::MicrosoftSgc),
    ("2.16.840.1.113730.4.1", Usage::NetscapeSgc),
];
