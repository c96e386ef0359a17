//! The public key of a request, above the floor that nothing lowers.

use std::fmt;

use super::der::{self, Element};
use super::{DecodeCode, DecodeError};

/// A public key that the floor admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// RSA (RFC 8017), 2048 to 8192 bits, public exponent from 65537.
    Rsa {
        /// Length of the modulus in bits.
        bits: u32,
    },
    /// ECDSA on a named curve (RFC 5480).
    Ecdsa {
        /// The curve.
        curve: Curve,
    },
    /// Ed25519 (RFC 8410).
    Ed25519,
}

/// A named curve that the floor admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// NIST P-256, secp256r1.
    P256,
    /// NIST P-384, secp384r1.
    P384,
}

impl Key {
    /// `RSA`, `ECDSA` or `Ed25519`, as policies write it.
    #[must_use]
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::Ecdsa { .. } => "ECDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Length of the key in bits: of the modulus for RSA, of the field for the others.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa { bits } => bits,
            Self::Ecdsa { curve: Curve::P256 } | Self::Ed25519 => 256,
            Self::Ecdsa { curve: Curve::P384 } => 384,
        }
    }
}

impl Curve {
    /// `P256` or `P384`, as policies write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P256",
            Self::P384 => "P384",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits} bits"),
            Self::Ecdsa { curve } => write!(f, "ECDSA {}", curve.name()),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// 1.2.840.113549.1.1.1 (RFC 8017).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 (RFC 5480).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.3.101.112 (RFC 8410).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 1.2.840.10045.3.1.7.
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34.
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// Public keys that are refused by name: whoever asks learns what was recognised.
const NAMED: [(&[u8], &str); 6] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], "RSASSA-PSS"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "DSA"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2b, 0x65, 0x6e], "X25519"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
];

const FIELD: &str = "key";

impl Key {
    /// Decodes a SubjectPublicKeyInfo (RFC 5280 section 4.1), and returns the bytes of the public
    /// key with it.
    pub(super) fn decode(info: Element<'_>) -> Result<(Self, &[u8]), DecodeError> {
        let mut parts = info.inside();
        let (algorithm, parameters) = der::algorithm(parts.next()?)?;
        let bits = parts.expect(der::BIT_STRING)?;
        parts.end()?;
        let Some((0, public_key)) = bits.content.split_first() else {
            return Err(malformed("its bits do not fill whole bytes"));
        };
        let key = match algorithm {
            RSA_ENCRYPTION => {
                if parameters.is_none_or(|parameters| parameters.tag != der::NULL) {
                    return Err(malformed("the parameters of an RSA key are not NULL"));
                }
                rsa(public_key)?
            }
            EC_PUBLIC_KEY => ecdsa(parameters, public_key)?,
            ED25519 => {
                if parameters.is_some() || public_key.len() != 32 {
                    return Err(malformed("an Ed25519 key has 32 bytes and no parameters"));
                }
                ed25519(public_key)?
            }
            other => return Err(unsupported(other)),
        };
        Ok((key, public_key))
    }
}

fn rsa(public_key: &[u8]) -> Result<Key, DecodeError> {
    der::check(public_key)?;
    let mut parts = der::only(public_key, der::SEQUENCE)?.inside();
    let modulus = positive(parts.expect(der::INTEGER)?)?;
    let exponent = positive(parts.expect(der::INTEGER)?)?;
    parts.end()?;
    let bits = bit_length(modulus);
    if !(2048..=8192).contains(&bits) {
        return Err(DecodeError::new(
            DecodeCode::KeySize,
            FIELD,
            &format!("RSA {bits} bits"),
            format!("the RSA key has {bits} bits, and 2048 to 8192 are needed: make one of 3072, for example"),
        ));
    }
    let value = exponent.iter().take(4).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if bit_length(exponent) > 31 || value < 65537 || value % 2 == 0 {
        return Err(DecodeError::new(
            DecodeCode::KeyExponent,
            FIELD,
            "",
            "the RSA key has a public exponent that is not an odd number from 65537 to 2147483647: make one with 65537",
        ));
    }
    Ok(Key::Rsa { bits })
}

/// The digits of an INTEGER above zero, without the leading one that only carries the sign.
fn positive(integer: Element<'_>) -> Result<&[u8], DecodeError> {
    match integer.content {
        [0, rest @ ..] if !rest.is_empty() => Ok(rest),
        [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(integer.content),
        _ => Err(malformed("a number of an RSA key is not above zero")),
    }
}

fn bit_length(digits: &[u8]) -> u32 {
    let unused = digits.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(digits.len() * 8).unwrap_or(u32::MAX).saturating_sub(unused)
}

fn ecdsa(parameters: Option<Element<'_>>, public_key: &[u8]) -> Result<Key, DecodeError> {
    let curve = match parameters {
        Some(Element { tag: der::OID, content: SECP256R1, .. }) => Curve::P256,
        Some(Element { tag: der::OID, content: SECP384R1, .. }) => Curve::P384,
        Some(Element { tag: der::OID, content, .. }) => return Err(unsupported(content)),
        _ => return Err(malformed("an ECDSA key names no curve")),
    };
    let coordinate = match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
    };
    if public_key.len() != 1 + 2 * coordinate || public_key.first() != Some(&4) {
        return Err(malformed("an ECDSA key is not an uncompressed point"));
    }
    Ok(Key::Ecdsa { curve })
}

/// 2^255 - 19, below which coordinates are (RFC 8032 section 5.1), in little-endian order as these have.
const PRIME: [u8; 32] = ends(0xed, 0xff, 0x7f);
/// The coordinate y of each point whose order divides 8: such a point is the key of a signature that anybody can make.
const SMALL_ORDER: [[u8; 32]; 5] = [
    ends(0, 0, 0),
    ends(1, 0, 0),
    ends(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Bytes of which all but the first and the last are the same.
const fn ends(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    (bytes[0], bytes[31]) = (first, last);
    bytes
}

/// A point in its one encoding (RFC 8032 section 5.1.3), and none of small order. Verifiers, Go's and ring's, take both.
fn ed25519(public_key: &[u8]) -> Result<Key, DecodeError> {
    let mut y = public_key.to_vec();
    if let Some(last) = y.last_mut() {
        // Beside it stands the sign of x.
        *last &= 0x7f;
    }
    if !y.iter().rev().lt(PRIME.iter().rev()) || SMALL_ORDER.iter().any(|point| *point == *y) {
        return Err(malformed("a point of Ed25519 with which anybody can sign, or in an odd encoding"));
    }
    Ok(Key::Ed25519)
}

fn unsupported(oid: &[u8]) -> DecodeError {
    let name = NAMED.iter().find(|(known, _)| *known == oid).map_or("of an unknown algorithm", |(_, name)| name);
    DecodeError::new(
        DecodeCode::KeyUnsupported,
        FIELD,
        name,
        format!("the key is {name}, and only RSA, ECDSA on P-256 or P-384, and Ed25519 are supported"),
    )
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::new(
        DecodeCode::KeyMalformed,
        FIELD,
        "",
        format!("the public key is not one as its algorithm asks for ({what}): make the request anew"),
    )
}
