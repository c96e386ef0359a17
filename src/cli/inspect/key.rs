//! Public keys, and private keys as far as their public part goes.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use x509_parser::asn1_rs::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, Tag};

use super::name::dotted;
use crate::request::is_der;

/// A public key of any algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// `RSA`, `ECDSA`, `Ed25519`, another name, or an OID.
    pub(super) algorithm: String,
    /// Length of the modulus or of the field, where that is known.
    pub(super) bits: Option<usize>,
    /// `P256`, another name, or an OID.
    pub(super) curve: Option<String>,
    /// The content of subjectPublicKey (RFC 5280 section 4.1).
    bytes: Vec<u8>,
}

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// OID, name, and bits where the algorithm alone says them.
const ALGORITHMS: [(&str, &str, Option<usize>); 7] = [
    (RSA, "RSA", None),
    ("1.2.840.113549.1.1.10", "RSA", None),
    (EC, "ECDSA", None),
    (ED25519, "Ed25519", Some(256)),
    ("1.3.101.113", "Ed448", Some(456)),
    ("1.3.101.110", "X25519", Some(256)),
    ("1.2.840.10040.4.1", "DSA", None),
];

/// OID, name and bits.
const CURVES: [(&str, &str, usize); 6] = [
    (P256, "P256", 256),
    (P384, "P384", 384),
    ("1.3.132.0.35", "P521", 521),
    ("1.3.132.0.33", "P224", 224),
    ("1.2.840.10045.3.1.1", "P192", 192),
    ("1.3.132.0.10", "secp256k1", 256),
];

impl PublicKey {
    pub(super) fn new(info: &SubjectPublicKeyInfo<'_>) -> Self {
        let bytes = info.subject_public_key.data.to_vec();
        let curve = info.algorithm.parameters().and_then(|curve| curve.as_oid().ok()).map(|oid| dotted(&oid));
        let bits = match info.parsed() {
            Ok(Parsed::RSA(key)) => Some(bit_length(key.modulus)),
            Ok(Parsed::DSA(key)) => Some(bit_length(key)),
            _ => None,
        };
        Self::named(&dotted(&info.algorithm.algorithm), curve.as_deref(), bits, bytes)
    }

    fn named(oid: &str, curve: Option<&str>, bits: Option<usize>, bytes: Vec<u8>) -> Self {
        let known = ALGORITHMS.iter().find(|(known, ..)| *known == oid);
        let curve = curve.filter(|_| oid == EC);
        let known_curve = CURVES.iter().find(|(known, ..)| Some(*known) == curve);
        Self {
            algorithm: known.map_or(oid, |(_, name, _)| name).to_owned(),
            bits: bits.or(known.and_then(|(.., bits)| *bits)).or(known_curve.map(|(.., bits)| *bits)),
            curve: known_curve.map(|(_, name, _)| *name).or(curve).map(str::to_owned),
            bytes,
        }
    }

    /// Why it is no longer enough, if it is not.
    pub(super) fn weakness(&self) -> Option<&'static str> {
        let bits = self.bits.unwrap_or(usize::MAX);
        match self.algorithm.as_str() {
            "RSA" if bits < 2048 => Some("RSA keys have at least 2048 bits"),
            "ECDSA" if bits < 256 => Some("the curves that are safe have at least 256 bits"),
            "DSA" => Some("nothing accepts DSA any more"),
            _ => None,
        }
    }

    /// Whether ring verifies signatures by it.
    pub(super) fn can_verify(&self) -> bool {
        match self.algorithm.as_str() {
            "RSA" => self.bits.is_some_and(|bits| (2048..=8192).contains(&bits)),
            _ => true,
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.algorithm)?;
        match (&self.curve, self.bits) {
            (Some(curve), _) => write!(f, " {curve}"),
            (None, Some(bits)) if self.algorithm == "RSA" || self.algorithm == "DSA" => write!(f, " {bits} bits"),
            _ => Ok(()),
        }
    }
}

/// The length of an unsigned number.
fn bit_length(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    number.get(leading).map_or(0, |first| 8 * (number.len() - leading) - first.leading_zeros() as usize)
}

/// The public part of a public or private key; of the private part nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// A public key alone.
    Public(PublicKey),
    /// A private key with its public part.
    Private(PublicKey),
    /// A private key whose public part is not known, and why.
    Opaque(&'static str),
    /// A private key with another's public part.
    Broken,
}

impl Key {
    /// Reads the block `PUBLIC KEY`, or one whose label ends in `PRIVATE KEY`.
    pub(super) fn read(label: &str, encrypted: bool, der: &[u8]) -> Result<Self, String> {
        if encrypted || label == "ENCRYPTED PRIVATE KEY" {
            return Ok(Self::Opaque("it is encrypted"));
        }
        let wrong = || "is no key: its content is not what its first line says".to_owned();
        if label == "PUBLIC KEY" {
            let read = SubjectPublicKeyInfo::from_der(der).ok().filter(|(rest, _)| rest.is_empty());
            return read.map(|(_, info)| Self::Public(PublicKey::new(&info))).ok_or_else(wrong);
        }
        let read: fn(yasna::BERReader<'_, '_>) -> ASN1Result<Self> = match label {
            "PRIVATE KEY" => pkcs8,
            "RSA PRIVATE KEY" => pkcs1,
            "EC PRIVATE KEY" => |reader| sec1(reader, None),
            _ => return Ok(Self::Opaque("its format is not known")),
        };
        // yasna trusts lengths that go beyond the end.
        if !is_der(der) {
            return Err(wrong());
        }
        yasna::parse_der(der, read).map_err(|_| wrong())
    }

    /// Whether it is a private key.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Self::Public(_))
    }

    /// The public part, if it is known.
    pub(super) fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Public(key) | Self::Private(key) => Some(key),
            Self::Opaque(_) | Self::Broken => None,
        }
    }
}

/// `PrivateKeyInfo` (RFC 5958 section 2).
fn pkcs8(reader: yasna::BERReader<'_, '_>) -> ASN1Result<Key> {
    let (algorithm, parameters, content) = reader.read_sequence(|reader| {
        reader.next().read_u8()?;
        let (algorithm, parameters) = reader.next().read_sequence(|reader| {
            let oid = reader.next().read_oid()?;
            Ok((oid, reader.read_optional(any)?))
        })?;
        let content = reader.next().read_bytes()?;
        // Attributes, and the public key.
        while reader.read_optional(any)?.is_some() {}
        Ok((algorithm, parameters, content))
    })?;
    let opaque = Ok(Key::Opaque("it is no key of its algorithm"));
    if !is_der(&content) {
        return opaque;
    }
    match algorithm.to_string().as_str() {
        RSA => yasna::parse_der(&content, pkcs1),
        EC => {
            let curve = parameters.and_then(|oid| yasna::decode_der::<ObjectIdentifier>(&oid).ok());
            yasna::parse_der(&content, |reader| sec1(reader, curve))
        }
        ED25519 => {
            let seed = yasna::parse_der(&content, octets)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
            let public = pair.map(|pair| pair.public_key().as_ref().to_vec());
            public.map_or(opaque, |bytes| Ok(Key::Private(PublicKey::named(ED25519, None, None, bytes))))
        }
        _ => Ok(Key::Opaque("its algorithm is not known")),
    }
}

/// An element as it is.
fn any(reader: yasna::BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    reader.read_der()
}

/// The bytes of an OCTET STRING.
fn octets(reader: yasna::BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    reader.read_bytes()
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2).
fn pkcs1(reader: yasna::BERReader<'_, '_>) -> ASN1Result<Key> {
    reader.read_sequence(|reader| {
        reader.next().read_u8()?;
        let (modulus, _) = reader.next().read_bigint_bytes()?;
        let (exponent, _) = reader.next().read_bigint_bytes()?;
        while reader.read_optional(any)?.is_some() {}
        let public = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_bigint_bytes(&modulus, true);
                writer.next().write_bigint_bytes(&exponent, true);
            });
        });
        Ok(Key::Private(PublicKey::named(RSA, None, Some(bit_length(&modulus)), public)))
    })
}

/// `ECPrivateKey` (RFC 5915 section 3); the curve may stand around it.
fn sec1(reader: yasna::BERReader<'_, '_>, around: Option<ObjectIdentifier>) -> ASN1Result<Key> {
    let (number, curve, public) = reader.read_sequence(|reader| {
        reader.next().read_u8()?;
        let number = reader.next().read_bytes()?;
        let curve = reader
            .read_optional(|reader| reader.read_tagged(Tag::context(0), any))?
            .and_then(|oid| yasna::decode_der::<ObjectIdentifier>(&oid).ok());
        let public = reader.read_optional(|reader| {
            reader.read_tagged(Tag::context(1), |reader| reader.read_bitvec_bytes().map(|(bytes, _)| bytes))
        })?;
        Ok((number, curve.or(around), public))
    })?;
    let curve = curve.map(|curve| curve.to_string()).unwrap_or_default();
    let Some(public) = public else { return Ok(Key::Opaque("it says nothing about its public part")) };
    let algorithm = match curve.as_str() {
        P256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        P384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
        _ => None,
    };
    let fits = algorithm.is_none_or(|algorithm| {
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &number, &public, &SystemRandom::new()).is_ok()
    });
    let key = PublicKey::named(EC, Some(&curve), None, public);
    Ok(if fits { Key::Private(key) } else { Key::Broken })
}
