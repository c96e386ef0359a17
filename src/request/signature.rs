//! The self-signature of a request: proof that the requestor has the private key.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::der::{self, Element, algorithm};
use super::{Curve, DecodeCode, DecodeError, Key};

/// 1.2.840.113549.1.1, without the last arc (RFC 8017).
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4.3, without the last arc (RFC 5758).
const ECDSA_WITH_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// 1.3.101.112 (RFC 8410).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 2.16.840.1.101.3.4.2, without the last arc.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// 1.2.840.113549.1.1.8, id-mgf1.
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];

/// Verifies that `signed` is a signature of `message` by `public_key`.
pub(super) fn verify(
    key: Key,
    public_key: &[u8],
    identifier: Element<'_>,
    signed: Element<'_>,
    message: &[u8],
) -> Result<(), DecodeError> {
    let (oid, parameters) = algorithm(identifier)?;
    let method = method(key, oid, parameters)?;
    let Some((0, bytes)) = signed.content.split_first() else { return Err(invalid()) };
    UnparsedPublicKey::new(method, public_key).verify(message, bytes).map_err(|_| invalid())
}

fn method(
    key: Key,
    oid: &[u8],
    parameters: Option<Element<'_>>,
) -> Result<&'static dyn VerificationAlgorithm, DecodeError> {
    let null = parameters.is_some_and(|parameters| parameters.tag == der::NULL);
    let none = parameters.is_none();
    let last =
        |prefix: &[u8]| oid.strip_prefix(prefix).and_then(|rest| if let [arc] = rest { Some(*arc) } else { None });
    match key {
        Key::Rsa { .. } => match last(PKCS1) {
            // sha256WithRSAEncryption and its like; some encoders leave the NULL out.
            Some(11) if null || none => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
            Some(12) if null || none => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
            Some(13) if null || none => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
            Some(10) => pss(parameters),
            Some(5) => Err(unsupported("SHA-1 with RSA")),
            Some(4) => Err(unsupported("MD5 with RSA")),
            _ => Err(unsupported("of an algorithm that does not fit an RSA key")),
        },
        Key::Ecdsa { curve } => match (last(ECDSA_WITH_SHA2), curve) {
            (Some(2), Curve::P256) if none => Ok(&signature::ECDSA_P256_SHA256_ASN1),
            (Some(3), Curve::P256) if none => Ok(&signature::ECDSA_P256_SHA384_ASN1),
            (Some(2), Curve::P384) if none => Ok(&signature::ECDSA_P384_SHA256_ASN1),
            (Some(3), Curve::P384) if none => Ok(&signature::ECDSA_P384_SHA384_ASN1),
            (Some(4), _) => Err(unsupported("ECDSA with SHA-512")),
            _ => Err(unsupported("of an algorithm that does not fit an ECDSA key")),
        },
        Key::Ed25519 => {
            if oid == ED25519 && none {
                Ok(&signature::ED25519)
            } else {
                Err(unsupported("of an algorithm that does not fit an Ed25519 key"))
            }
        }
    }
}

/// RSASSA-PSS (RFC 8017 appendix A.2.3), in the one form that signers use: one hash for both, and
/// a salt as long as it.
fn pss(parameters: Option<Element<'_>>) -> Result<&'static dyn VerificationAlgorithm, DecodeError> {
    let odd = || unsupported("RSASSA-PSS with parameters other than one SHA-2 hash and a salt of its length");
    let parameters = parameters.filter(|parameters| parameters.tag == der::SEQUENCE).ok_or_else(odd)?;
    let mut fields = parameters.inside();
    let mut tagged = |tag: u8| -> Result<Element<'_>, DecodeError> {
        let mut inside = fields.expect(tag).map_err(|_| odd())?.inside();
        let element = inside.next()?;
        inside.end()?;
        Ok(element)
    };
    let hash = sha2(tagged(0xa0)?)?;
    let (mask, mask_hash) = algorithm(tagged(0xa1)?)?;
    let salt = tagged(0xa2)?;
    if !fields.is_empty() {
        // trailerField, whose one value is its default, so that DER leaves it out; some write it.
        let mut trailer = fields.expect(0xa3).map_err(|_| odd())?.inside();
        if trailer.expect(der::INTEGER)?.content != [1] || !trailer.is_empty() || !fields.is_empty() {
            return Err(odd());
        }
    }
    let mask_hash = mask_hash.map(sha2).transpose()?.flatten();
    let (method, length): (&'static dyn VerificationAlgorithm, u8) = match hash {
        Some(1) => (&signature::RSA_PSS_2048_8192_SHA256, 32),
        Some(2) => (&signature::RSA_PSS_2048_8192_SHA384, 48),
        Some(3) => (&signature::RSA_PSS_2048_8192_SHA512, 64),
        _ => return Err(odd()),
    };
    if mask == MGF1 && mask_hash == hash && salt.tag == der::INTEGER && salt.content == [length] {
        Ok(method)
    } else {
        Err(odd())
    }
}

/// The last arc of a SHA-2 hash, if `element` is the identifier of one.
fn sha2(element: Element<'_>) -> Result<Option<u8>, DecodeError> {
    let (oid, parameters) = algorithm(element)?;
    let fits = parameters.is_none_or(|parameters| parameters.tag == der::NULL);
    Ok(oid.strip_prefix(SHA2).filter(|_| fits).and_then(|rest| if let [arc] = rest { Some(*arc) } else { None }))
}

fn unsupported(what: &str) -> DecodeError {
    DecodeError::new(
        DecodeCode::SignatureUnsupported,
        "signature",
        what,
        format!("the self-signature is {what}, which is not supported: sign the request with SHA-256, for example"),
    )
}

fn invalid() -> DecodeError {
    DecodeError::new(
        DecodeCode::SignatureInvalid,
        "signature",
        "",
        "the self-signature of the request does not verify, so nothing shows that the requestor has the private key: \
         make the request anew with its own key",
    )
}
