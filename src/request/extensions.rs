//! The attributes of a request (RFC 2986 section 4.1), and the extensions it asks for (RFC 2985
//! section 5.4.2).

use super::der::{self, Element};
use super::error::malformed_extension as malformed;
use super::{DecodeCode, DecodeError, Sans, Usage, masters, sans};

/// 1.2.840.113549.1.9, without the last arc (RFC 2985).
const PKCS9: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09];
/// 1.3.6.1.5.5.7.3, id-kp, without the last arc (RFC 5280 section 4.2.1.12).
const PURPOSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
/// 2.5.29.37.0, anyExtendedKeyUsage.
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// 1.3.6.1.4.1.311.10.3.3.
const MICROSOFT_SGC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0a, 0x03, 0x03];
/// 2.16.840.1.113730.4.1.
const NETSCAPE_SGC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x04, 0x01];

/// Reads the attributes: the SANs that the request asks for, once everything else in it is known
/// to ask for nothing that `usages` does not say.
pub(super) fn decode_attributes(attributes: Element<'_>, usages: &[Usage]) -> Result<Sans, DecodeError> {
    let mut seen = Vec::new();
    let mut sans = Sans::default();
    let mut reader = attributes.inside();
    while !reader.is_empty() {
        let mut parts = reader.expect(der::SEQUENCE)?.inside();
        let oid = parts.expect(der::OID)?.content;
        let mut values = parts.expect(der::SET)?.inside();
        parts.end()?;
        if seen.contains(&oid) {
            return Err(repeated("is there twice"));
        }
        seen.push(oid);
        let value = if values.is_empty() { None } else { Some(values.next()?) };
        let Some(value) = value.filter(|_| values.is_empty()) else {
            return Err(repeated("does not have exactly one value"));
        };
        match oid.strip_prefix(PKCS9) {
            Some([14]) => sans = decode_extensions(value, usages)?,
            // challengePassword and unstructuredName: no certificate carries them.
            Some([2 | 7]) => not_masters(value.raw)?,
            _ => {
                return Err(DecodeError::new(
                    DecodeCode::AttributeUnknown,
                    "request",
                    "",
                    "the request has an attribute other than extensionRequest, challengePassword and unstructuredName: \
                     leave it out",
                ));
            }
        }
    }
    Ok(sans)
}

/// What is not read has no name in it that would be denied if it were; what is refused for it is found in the request
/// once more, and denied.
fn not_masters(unread: &[u8]) -> Result<(), DecodeError> {
    if masters::contains(unread) { Err(der::malformed("system:masters stands where no name belongs")) } else { Ok(()) }
}

fn repeated(what: &str) -> DecodeError {
    DecodeError::new(
        DecodeCode::AttributeRepeated,
        "request",
        "",
        format!("an attribute of the request {what}, and readers differ about which one counts: keep one"),
    )
}

fn decode_extensions(value: Element<'_>, usages: &[Usage]) -> Result<Sans, DecodeError> {
    if value.tag != der::SEQUENCE {
        return Err(der::malformed("extensionRequest is not a SEQUENCE"));
    }
    let mut seen = Vec::new();
    let mut result = Sans::default();
    let mut reader = value.inside();
    while !reader.is_empty() {
        let mut parts = reader.expect(der::SEQUENCE)?.inside();
        let oid = parts.expect(der::OID)?.content;
        if parts.peek() == Some(der::BOOLEAN) {
            // critical: it changes nothing of what is asked for.
            parts.next()?;
        }
        let content = parts.expect(der::OCTET_STRING)?.content;
        parts.end()?;
        if seen.contains(&oid) {
            return Err(DecodeError::new(
                DecodeCode::ExtensionRepeated,
                "request",
                "",
                "the request asks for an extension twice, and readers differ about which one counts: keep one",
            ));
        }
        seen.push(oid);
        // id-ce, 2.5.29: the last arc says which.
        match oid {
            [0x55, 0x1d, 17] => result = sans::decode(inner(content)?)?,
            [0x55, 0x1d, 15] => key_usage(inner(content)?, usages)?,
            [0x55, 0x1d, 37] => extended_key_usage(inner(content)?, usages)?,
            [0x55, 0x1d, 19] => basic_constraints(inner(content)?)?,
            [0x55, 0x1d, 14] => {
                if inner(content)?.tag != der::OCTET_STRING {
                    return Err(malformed("subjectKeyIdentifier"));
                }
                not_masters(content)?;
            }
            _ => {
                return Err(DecodeError::new(
                    DecodeCode::ExtensionUnknown,
                    "request",
                    "",
                    "the request asks for an extension other than subjectAltName, keyUsage, extendedKeyUsage, \
                     basicConstraints and subjectKeyIdentifier: leave it out",
                ));
            }
        }
    }
    Ok(result)
}

/// The one element that an extension's OCTET STRING holds.
fn inner(content: &[u8]) -> Result<Element<'_>, DecodeError> {
    der::check(content)?;
    der::Reader::new(content).next()
}

/// keyUsage (RFC 5280 section 4.2.1.3), a BIT STRING whose bits are in the order of [`Usage::ALL`].
fn key_usage(value: Element<'_>, usages: &[Usage]) -> Result<(), DecodeError> {
    let (der::BIT_STRING, [_, bytes @ ..]) = (value.tag, value.content) else { return Err(malformed("keyUsage")) };
    for (index, byte) in bytes.iter().enumerate() {
        for bit in (0..8).filter(|bit| byte & (0x80 >> bit) != 0) {
            let usage = Usage::ALL.get(index * 8 + bit).filter(|usage| **usage < Usage::Any);
            requested(*usage.ok_or_else(|| malformed("keyUsage"))?, usages)?;
        }
    }
    Ok(())
}

fn extended_key_usage(value: Element<'_>, usages: &[Usage]) -> Result<(), DecodeError> {
    if value.tag != der::SEQUENCE || value.content.is_empty() {
        return Err(malformed("extendedKeyUsage"));
    }
    let mut reader = value.inside();
    while !reader.is_empty() {
        let oid = reader.expect(der::OID)?.content;
        let usage = match oid.strip_prefix(PURPOSE) {
            Some([1]) => Usage::ServerAuth,
            Some([2]) => Usage::ClientAuth,
            Some([3]) => Usage::CodeSigning,
            Some([4]) => Usage::EmailProtection,
            Some([5]) => Usage::IpsecEndSystem,
            Some([6]) => Usage::IpsecTunnel,
            Some([7]) => Usage::IpsecUser,
            Some([8]) => Usage::Timestamping,
            Some([9]) => Usage::OcspSigning,
            _ => match oid {
                ANY_PURPOSE => Usage::Any,
                MICROSOFT_SGC => Usage::MicrosoftSgc,
                NETSCAPE_SGC => Usage::NetscapeSgc,
                _ => {
                    return Err(DecodeError::new(
                        DecodeCode::UsageNotRequested,
                        "usages",
                        "",
                        "the request's own extendedKeyUsage asks for a purpose that spec.usages cannot name: leave it \
                         out of the request",
                    ));
                }
            },
        };
        requested(usage, usages)?;
    }
    Ok(())
}

fn requested(usage: Usage, usages: &[Usage]) -> Result<(), DecodeError> {
    if usages.contains(&usage) {
        return Ok(());
    }
    Err(DecodeError::new(
        DecodeCode::UsageNotRequested,
        "usages",
        usage.name(),
        format!(
            "the request's own extensions ask for the usage \"{usage}\", and spec.usages does not: add it there, or leave \
             it out of the request"
        ),
    ))
}

fn basic_constraints(value: Element<'_>) -> Result<(), DecodeError> {
    if value.tag != der::SEQUENCE {
        return Err(malformed("basicConstraints"));
    }
    let mut reader = value.inside();
    if reader.peek() == Some(der::BOOLEAN) && reader.next()?.content != [0] {
        return Err(DecodeError::new(
            DecodeCode::CertificateAuthority,
            "request",
            "CA:TRUE",
            "the request asks for a certificate authority (basicConstraints CA:TRUE), which no policy can allow: leave \
             it out",
        ));
    }
    reader.end().map_err(|_| malformed("basicConstraints"))
}
