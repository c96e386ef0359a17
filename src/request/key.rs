//! The public key of a request, above the floor that nothing lowers.

use std::fmt;

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
