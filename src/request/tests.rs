//! Requests built from raw DER, one for each way of being refused: all are signed, so that nothing
//! but the defect stands in the way.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::{Curve, DecodeCode, Envelope, Key, MAX_REQUEST_BYTES, Pkcs10, SigningRequest, SubjectAttribute, Usage};

/// An element with the shortest length.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut result = vec![tag];
    match content.len() {
        length @ 0..=0x7f => result.push(u8::try_from(length).unwrap()),
        length @ 0x80..=0xff => result.extend([0x81, u8::try_from(length).unwrap()]),
        length => {
            result.push(0x82);
            result.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    result.extend(content);
    result
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

fn oid(bytes: &[u8]) -> Vec<u8> {
    tlv(0x06, bytes)
}

/// A relative distinguished name of one attribute of id-at.
fn name(arc: u8, tag: u8, value: &[u8]) -> Vec<u8> {
    set(&[&sequence(&[&oid(&[0x55, 0x04, arc]), &tlv(tag, value)])])
}

fn utf8(arc: u8, value: &str) -> Vec<u8> {
    name(arc, 0x0c, value.as_bytes())
}

fn attribute(arc: u8, values: &[&[u8]]) -> Vec<u8> {
    sequence(&[&oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, arc]), &set(values)])
}

fn extension(arc: u8, content: &[u8]) -> Vec<u8> {
    sequence(&[&oid(&[0x55, 0x1d, arc]), &tlv(0x04, content)])
}

fn extensions(all: &[&[u8]]) -> Vec<u8> {
    attribute(14, &[&sequence(all)])
}

fn san(tag: u8, content: &[u8]) -> Vec<u8> {
    extensions(&[&extension(17, &sequence(&[&tlv(tag, content)]))])
}

/// Everything that a case may replace.
#[derive(Clone)]
struct Parts {
    version: Vec<u8>,
    subject: Vec<u8>,
    key: Option<Vec<u8>>,
    attributes: Vec<u8>,
    algorithm: Vec<u8>,
    spoilt: bool,
    after: Vec<u8>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            version: tlv(0x02, &[0]),
            subject: utf8(3, "amy"),
            key: None,
            attributes: Vec::new(),
            algorithm: oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]),
            spoilt: false,
            after: Vec::new(),
        }
    }
}

impl Parts {
    fn der(&self) -> Vec<u8> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let own = || ec(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], pair.public_key().as_ref());
        let key = self.key.clone().unwrap_or_else(own);
        let info = sequence(&[&self.version, &tlv(0x30, &self.subject), &key, &tlv(0xa0, &self.attributes)]);
        let mut signature = pair.sign(&random, &info).unwrap().as_ref().to_vec();
        if self.spoilt {
            let last = signature.len() - 1;
            signature[last] ^= 1;
        }
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        [sequence(&[&info, &tlv(0x30, &self.algorithm), &signature]), self.after.clone()].concat()
    }
}

fn ec(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]), &oid(curve)]);
    sequence(&[&algorithm, &tlv(0x03, &[&[0][..], point].concat())])
}

fn rsa(bits: usize, exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xff; bits / 8];
    modulus.insert(0, 0);
    rsa_of(&modulus, exponent, &tlv(0x05, &[]))
}

fn rsa_of(modulus: &[u8], exponent: &[u8], parameters: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&pkcs1(1), parameters]);
    let key = sequence(&[&tlv(0x02, modulus), &tlv(0x02, exponent)]);
    sequence(&[&algorithm, &tlv(0x03, &[&[0][..], &key].concat())])
}

/// 16 OU of 1,000 bytes, and one of `last`: 16,283 bytes beside that.
fn units(last: usize) -> Vec<Vec<u8>> {
    let unit = |length: usize| utf8(11, &"a".repeat(length));
    [vec![unit(1000); 16], vec![unit(last)]].concat()
}

fn ed25519(length: usize, parameters: &[u8]) -> Vec<u8> {
    ed25519_of(&vec![7; length], parameters)
}

fn ed25519_of(point: &[u8], parameters: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&oid(&[0x2b, 0x65, 0x70]), parameters]);
    sequence(&[&algorithm, &tlv(0x03, &[&[0][..], point].concat())])
}

fn pkcs1(arc: u8) -> Vec<u8> {
    oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, arc])
}

fn pem(der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n").into_bytes()
}

fn with(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::default();
    change(&mut parts);
    parts.der()
}

fn subject(parts: &[Vec<u8>]) -> Vec<u8> {
    with(|request| request.subject = parts.concat())
}

fn attributes(parts: &[Vec<u8>]) -> Vec<u8> {
    with(|request| request.attributes = parts.concat())
}

/// The code with which a request is refused, if it is.
fn code(der: &[u8]) -> Option<DecodeCode> {
    Pkcs10::from_der(der, &[Usage::ClientAuth, Usage::DigitalSignature]).err().map(|error| {
        assert!(!error.message.is_empty() && error.message.len() < 600, "{error:?}");
        assert!(error.message.chars().all(crate::escape::is_visible), "{error:?}");
        error.code
    })
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, Vec<u8>, DecodeCode)> {
    use DecodeCode as Code;
    let amy = || utf8(3, "amy");
    let dns = |name: &str| san(0x82, name.as_bytes());
    let key = |key: Vec<u8>| with(|request| request.key = Some(key));
    let long_names: Vec<u8> = (0..101).flat_map(|_| tlv(0x82, b"a")).collect();
    vec![
        ("not DER", vec![0x30, 0x80, 0, 0], Code::DerMalformed),
        (
            "no attributes",
            sequence(&[&sequence(&[&tlv(2, &[0]), &tlv(0x30, &[]), &rsa(2048, &[1, 0, 1])])]),
            Code::DerMalformed,
        ),
        ("bytes after it", with(|request| request.after = vec![0]), Code::TrailingBytes),
        ("version 1", with(|request| request.version = tlv(2, &[1])), Code::VersionUnsupported),
        ("a second CN", subject(&[amy(), utf8(3, "eve")]), Code::CommonNameRepeated),
        ("an equal second CN", subject(&[amy(), amy()]), Code::CommonNameRepeated),
        ("an empty CN", subject(&[utf8(3, "")]), Code::SubjectValueEmpty),
        ("an empty O", subject(&[amy(), utf8(10, "")]), Code::SubjectValueEmpty),
        (
            "a UID",
            subject(&[set(&[&sequence(&[
                &oid(&[9, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
                &tlv(0xc, b"x"),
            ])])]),
            Code::SubjectAttributeUnknown,
        ),
        ("a title", subject(&[amy(), utf8(12, "x")]), Code::SubjectAttributeUnknown),
        ("a BMPString", subject(&[name(3, 0x1e, b"\0a")]), Code::SubjectStringType),
        ("a T61String", subject(&[amy(), name(10, 0x14, b"a")]), Code::SubjectStringType),
        ("an IA5String", subject(&[name(3, 0x16, b"a")]), Code::SubjectStringType),
        ("no PrintableString", subject(&[name(3, 0x13, b"a_b")]), Code::SubjectStringType),
        ("broken UTF-8", subject(&[name(3, 0xc, b"a\xff")]), Code::SubjectStringType),
        ("a NUL", subject(&[utf8(3, "a\0b")]), Code::SubjectCharacter),
        ("a right-to-left override", subject(&[utf8(3, "a\u{202e}b")]), Code::SubjectCharacter),
        ("a zero-width space", subject(&[utf8(10, "a\u{200b}b")]), Code::SubjectCharacter),
        ("an accent on nothing", subject(&[utf8(3, "\u{301}a")]), Code::SubjectCharacter),
        ("an accent that does not show", subject(&[utf8(3, "a\u{34f}b")]), Code::SubjectCharacter),
        ("an empty RDN", subject(&[amy(), set(&[])]), Code::DerMalformed),
        (
            "a third part of an attribute",
            subject(&[set(&[&sequence(&[&oid(&[0x55, 4, 3]), &tlv(0xc, b"a"), &tlv(0xc, b"b")])])]),
            Code::TrailingBytes,
        ),
        (
            "an attribute of another arc",
            subject(&[set(&[&sequence(&[&oid(&[0x55, 5, 3]), &tlv(0xc, b"a")])])]),
            Code::SubjectAttributeUnknown,
        ),
        ("a CN of 1,025 bytes", subject(&[utf8(3, &"a".repeat(1025))]), Code::SubjectTooLong),
        ("a subject of 16,385 bytes", subject(&units(102)), Code::SubjectTooLong),
        ("33 O", subject(&vec![utf8(10, "a"); 33]), Code::OrganizationsTooMany),
        (
            "a Microsoft attribute",
            with(|request| {
                request.attributes =
                    sequence(&[&oid(&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 14]), &set(&[&sequence(&[])])]);
            }),
            Code::AttributeUnknown,
        ),
        ("two extensionRequests", attributes(&[dns("a"), dns("b")]), Code::AttributeRepeated),
        ("two values", attributes(&[attribute(14, &[&sequence(&[]), &sequence(&[])])]), Code::AttributeRepeated),
        ("no value", attributes(&[attribute(14, &[])]), Code::AttributeRepeated),
        ("name constraints", attributes(&[extensions(&[&extension(30, &sequence(&[]))])]), Code::ExtensionUnknown),
        (
            "SAN twice",
            attributes(&[extensions(&[
                &extension(17, &sequence(&[&tlv(0x82, b"a")])),
                &extension(17, &sequence(&[&tlv(0x82, b"b")])),
            ])]),
            Code::ExtensionRepeated,
        ),
        ("an empty SAN", attributes(&[extensions(&[&extension(17, &sequence(&[]))])]), Code::ExtensionMalformed),
        (
            "CA:TRUE",
            attributes(&[extensions(&[&extension(19, &sequence(&[&tlv(1, &[0xff])]))])]),
            Code::CertificateAuthority,
        ),
        ("101 SANs", attributes(&[extensions(&[&extension(17, &tlv(0x30, &long_names))])]), Code::SansTooMany),
        ("an otherName", attributes(&[san(0xa0, &oid(&[0x2a]))]), Code::SanTypeUnsupported),
        ("a directoryName", attributes(&[san(0xa4, &sequence(&[]))]), Code::SanTypeUnsupported),
        ("a registeredID", attributes(&[san(0x88, &[0x2a])]), Code::SanTypeUnsupported),
        (
            "a SET of SANs",
            attributes(&[extensions(&[&extension(17, &set(&[&tlv(0x82, b"a")]))])]),
            Code::ExtensionMalformed,
        ),
        ("an address as DNS name", attributes(&[dns("10.0.0.1")]), Code::SanDnsMalformed),
        ("a trailing dot", attributes(&[dns("a.example.com.")]), Code::SanDnsMalformed),
        (
            "an IPv4-mapped address",
            attributes(&[san(0x87, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1])]),
            Code::SanIpMalformed,
        ),
        ("a URI with a user", attributes(&[san(0x86, b"https://u@h/")]), Code::SanUriMalformed),
        ("an email address without a domain", attributes(&[san(0x81, b"amy")]), Code::SanEmailMalformed),
        (
            "keyEncipherment unasked",
            attributes(&[extensions(&[&extension(15, &tlv(3, &[5, 0x20]))])]),
            Code::UsageNotRequested,
        ),
        (
            "serverAuth unasked",
            attributes(&[extensions(&[&extension(37, &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 1])]))])]),
            Code::UsageNotRequested,
        ),
        (
            "decipherOnly unasked",
            attributes(&[extensions(&[&extension(15, &tlv(3, &[7, 0, 0x80]))])]),
            Code::UsageNotRequested,
        ),
        (
            "a bit that keyUsage does not have",
            attributes(&[extensions(&[&extension(15, &tlv(3, &[6, 0, 0x40]))])]),
            Code::ExtensionMalformed,
        ),
        (
            "keyUsage in bytes",
            attributes(&[extensions(&[&extension(15, &tlv(4, &[0, 0x80]))])]),
            Code::ExtensionMalformed,
        ),
        ("no purpose", attributes(&[extensions(&[&extension(37, &sequence(&[]))])]), Code::ExtensionMalformed),
        (
            "a SET of purposes",
            attributes(&[extensions(&[&extension(37, &set(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 2])]))])]),
            Code::ExtensionMalformed,
        ),
        (
            "a purpose that has no name",
            attributes(&[extensions(&[&extension(37, &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 99])]))])]),
            Code::UsageNotRequested,
        ),
        (
            "basicConstraints in a SET",
            attributes(&[extensions(&[&extension(19, &set(&[]))])]),
            Code::ExtensionMalformed,
        ),
        (
            "a path length",
            attributes(&[extensions(&[&extension(19, &sequence(&[&tlv(2, &[0])]))])]),
            Code::ExtensionMalformed,
        ),
        ("P-521", key(ec(&[0x2b, 0x81, 4, 0, 0x23], &[4; 133])), Code::KeyUnsupported),
        ("a compressed point", key(ec(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[2; 33])), Code::KeyMalformed),
        ("RSA-1024", key(rsa(1024, &[1, 0, 1])), Code::KeySize),
        ("RSA-16384", key(rsa(16384, &[1, 0, 1])), Code::KeySize),
        ("exponent 3", key(rsa(2048, &[3])), Code::KeyExponent),
        ("an even exponent", key(rsa(2048, &[1, 0, 2])), Code::KeyExponent),
        ("exponent 65535", key(rsa(2048, &[0, 0xff, 0xff])), Code::KeyExponent),
        ("an exponent of 32 bits", key(rsa(2048, &[0, 0x80, 0, 0, 1])), Code::KeyExponent),
        ("an exponent of 33 bits", key(rsa(2048, &[1, 0, 0, 0, 1])), Code::KeyExponent),
        ("exponent 0", key(rsa(2048, &[0])), Code::KeyMalformed),
        ("RSA-2040", key(rsa(2040, &[1, 0, 1])), Code::KeySize),
        ("RSA-8200", key(rsa(8200, &[1, 0, 1])), Code::KeySize),
        ("a negative modulus", key(rsa_of(&[0x80; 256], &[1, 0, 1], &tlv(5, &[]))), Code::KeyMalformed),
        ("RSA without parameters", key(rsa_of(&[0x70; 256], &[1, 0, 1], &[])), Code::KeyMalformed),
        ("RSA with other parameters", key(rsa_of(&[0x70; 256], &[1, 0, 1], &tlv(4, &[]))), Code::KeyMalformed),
        ("a short Ed25519 key", key(ed25519(31, &[])), Code::KeyMalformed),
        ("Ed25519 with parameters", key(ed25519(32, &tlv(5, &[]))), Code::KeyMalformed),
        ("a short point", key(ec(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[4; 64])), Code::KeyMalformed),
        ("a hybrid point", key(ec(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[6; 65])), Code::KeyMalformed),
        ("secp256k1", key(ec(&[0x2b, 0x81, 4, 0, 10], &[4; 65])), Code::KeyUnsupported),
        (
            "EC without a curve",
            key(sequence(&[
                &sequence(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1])]),
                &tlv(3, &[&[0][..], &[4; 65]].concat()),
            ])),
            Code::KeyMalformed,
        ),
        (
            "a key of no whole bytes",
            key(sequence(&[&sequence(&[&oid(&[0x2b, 0x65, 0x70])]), &tlv(3, &[&[1][..], &[2; 32]].concat())])),
            Code::KeyMalformed,
        ),
        // These keys are as they should be; an ECDSA signature does not fit the first ones.
        ("RSA-2048", key(rsa(2048, &[0x7f, 0xff, 0xff, 0xff])), Code::SignatureUnsupported),
        ("RSA-8192", key(rsa(8192, &[1, 0, 1])), Code::SignatureUnsupported),
        ("Ed25519", key(ed25519(32, &[])), Code::SignatureUnsupported),
        ("P-384", key(ec(&[0x2b, 0x81, 4, 0, 0x22], &[4; 97])), Code::SignatureInvalid),
        (
            "ECDSA with SHA-512",
            with(|request| request.algorithm = oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4])),
            Code::SignatureUnsupported,
        ),
        (
            "another key's algorithm",
            with(|request| request.algorithm = oid(&[0x2b, 0x65, 0x70])),
            Code::SignatureUnsupported,
        ),
        ("a wrong signature", with(|request| request.spoilt = true), Code::SignatureInvalid),
        ("signed by another key", key(ec(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], &[4; 65])), Code::SignatureInvalid),
    ]
}

#[test]
fn every_defect_has_its_code() {
    let mut seen = BTreeSet::new();
    for (what, der, expected) in cases() {
        assert_eq!(code(&der), Some(expected), "{what}");
        seen.insert(expected);
    }
    // Those that are not about the DER bytes, and the one that no known request causes.
    seen.extend([
        DecodeCode::ObjectMalformed,
        DecodeCode::RequestTooLarge,
        DecodeCode::PemMalformed,
        DecodeCode::DurationAnnotation,
        DecodeCode::UsagesMissing,
        DecodeCode::UsageUnknown,
        DecodeCode::UsageNeverAllowed,
        DecodeCode::ReadingsDiffer,
    ]);
    assert_eq!(seen, DecodeCode::ALL.iter().copied().collect::<BTreeSet<_>>());
}

/// Anybody can sign with these: the signature of a message is right whenever its hash is a multiple of the order of the point.
#[test]
fn an_ed25519_key_for_which_no_private_key_is_needed_is_refused() {
    let eighth = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let eighth = eighth.map(|text| {
        let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
        std::array::from_fn::<u8, 32, _>(byte)
    });
    let near = |digit: u8, between: u8, last: u8| {
        let mut point = [between; 32];
        (point[0], point[31]) = (digit, last);
        point
    };
    // 0, 1, -1, the first and the second once more in a second encoding, and those of order 8.
    let points = [near(0, 0, 0), near(1, 0, 0), near(0xec, 0xff, 0x7f), near(0xed, 0xff, 0x7f), near(0xee, 0xff, 0x7f)];
    let one = oid(&[0x2b, 0x65, 0x70]);
    let mut signature = [0; 64];
    signature[0] = 1;
    for mut point in points.into_iter().chain(eighth) {
        for sign in [0, 0x80] {
            point[31] |= sign;
            let request = |number: usize| {
                let name = tlv(0x30, &utf8(3, &format!("amy-{number}")));
                sequence(&[&tlv(2, &[0]), &name, &ed25519_of(&point, &[]), &tlv(0xa0, &[])])
            };
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, point);
            let info = (0..500).map(request).find(|info| key.verify(info, &signature).is_ok());
            let info = info.unwrap_or_else(|| panic!("{point:x?} is of another order"));
            let der = sequence(&[&info, &tlv(0x30, &one), &tlv(3, &[&[0][..], &signature].concat())]);
            assert_eq!(code(&der), Some(DecodeCode::KeyMalformed), "{point:x?}");
        }
    }
    // The first that is none of them, and has one encoding.
    assert_eq!(
        code(&with(|request| request.key = Some(ed25519_of(&near(2, 0, 0), &[])))),
        Some(DecodeCode::SignatureUnsupported)
    );
    assert_eq!(
        code(&with(|request| request.key = Some(ed25519_of(&near(0xeb, 0xff, 0x7f), &[])))),
        Some(DecodeCode::SignatureUnsupported)
    );
}

#[test]
fn takes_what_ordinary_clients_make() {
    let everything = attributes(&[
        attribute(7, &[&tlv(0x13, b"secret")]),
        extensions(&[
            &extension(
                17,
                &sequence(&[
                    &tlv(0x82, b"*.example.com"),
                    &tlv(0x87, &[10, 0, 0, 1]),
                    &tlv(0x86, b"spiffe://a/b"),
                    &tlv(0x81, b"a@b.c"),
                ]),
            ),
            &extension(15, &tlv(3, &[7, 0x80])),
            &extension(37, &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, 2])])),
            &extension(19, &sequence(&[])),
            &extension(14, &tlv(4, &[1, 2])),
        ]),
    ]);
    let request = Pkcs10::from_der(&everything, &[Usage::ClientAuth, Usage::DigitalSignature]).unwrap();
    assert_eq!(request.sans.dns_names, ["*.example.com"]);
    assert_eq!(request.sans.ip_addresses[0].to_string(), "10.0.0.1");
    assert_eq!(request.sans.uris, ["spiffe://a/b"]);
    assert_eq!(request.sans.email_addresses, ["a@b.c"]);
    for (what, der) in [
        ("no subject", subject(&[])),
        (
            "two O in one RDN",
            subject(&[set(&[
                &sequence(&[&oid(&[0x55, 4, 10]), &tlv(0xc, b"a")]),
                &sequence(&[&oid(&[0x55, 4, 10]), &tlv(0xc, b"b")]),
            ])]),
        ),
        ("PrintableString", subject(&[name(3, 0x13, b"system:node:a")])),
        ("C, L, ST", subject(&[name(6, 0x13, b"DE"), utf8(7, "x"), utf8(8, "x")])),
        ("as long as may be", subject(&units(101))),
        ("a CN of 1,024 bytes", subject(&[utf8(3, &"a".repeat(1024))])),
        ("accents", subject(&[utf8(3, "Zoe\u{308} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}")])),
    ] {
        assert_eq!(code(&der), None, "{what}");
    }
}

#[test]
fn each_key_usage_and_purpose_is_that_of_the_name() {
    let purpose = |arc: u8| extension(37, &sequence(&[&oid(&[0x2b, 6, 1, 5, 5, 7, 3, arc])]));
    let other = |bytes: &[u8]| extension(37, &sequence(&[&oid(bytes)]));
    let asked: Vec<Vec<u8>> = (0..8)
        .map(|bit| extension(15, &tlv(3, &[7 - bit, 0x80 >> bit])))
        .chain([extension(15, &tlv(3, &[7, 0, 0x80])), other(&[0x55, 0x1d, 0x25, 0x00])])
        .chain((1..=9).map(purpose))
        .chain([
            other(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0a, 0x03, 0x03]),
            other(&[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x04, 0x01]),
        ])
        .collect();
    assert_eq!(asked.len(), Usage::ALL.len());
    for (extension, usage) in asked.iter().zip(Usage::ALL) {
        let der = attributes(&[extensions(&[extension])]);
        let others: Vec<Usage> = Usage::ALL.into_iter().filter(|other| *other != usage).collect();
        assert!(Pkcs10::from_der(&der, &[usage]).is_ok(), "{usage}");
        let error = Pkcs10::from_der(&der, &others).unwrap_err();
        assert_eq!((error.code, error.found.as_str()), (DecodeCode::UsageNotRequested, usage.name()));
        assert!(error.message.contains(&format!("\"{}\"", usage.name())), "{error}");
    }
}

#[test]
fn each_attribute_of_the_subject_is_read_as_what_it_is() {
    use SubjectAttribute as Attribute;
    for (arc, attribute, name) in [
        (5, Attribute::SerialNumber, "serialNumber"),
        (6, Attribute::Country, "C"),
        (7, Attribute::Locality, "L"),
        (8, Attribute::State, "ST"),
        (9, Attribute::Street, "street"),
        (17, Attribute::PostalCode, "postalCode"),
    ] {
        let read = Pkcs10::from_der(&subject(&[utf8(arc, "x")]), &[]).unwrap().subject;
        assert_eq!((read.others, attribute.name()), (vec![(attribute, "x".to_owned())], name));
    }
    let all =
        [utf8(3, "amy"), utf8(10, "a"), utf8(10, "b"), utf8(11, "c"), utf8(11, "d"), utf8(11, "e"), utf8(6, "DE")];
    let read = Pkcs10::from_der(&subject(&all), &[]).unwrap().subject;
    assert_eq!(read.common_name.as_deref(), Some("amy"));
    assert_eq!((read.organizations.join(" "), read.organizational_units.join(" ")), ("a b".into(), "c d e".into()));
    assert_eq!(code(&subject(&vec![utf8(10, "a"); 32])), None);
    assert_eq!(code(&subject(&[name(3, 0x13, b"azAZ09 '()+,-./:=?*&")])), None);
}

#[test]
fn a_san_that_is_not_supported_is_called_by_its_name() {
    for (tag, found) in
        [(0xa0, "an otherName"), (0xa4, "a directoryName"), (0x88, "a registeredID"), (0xa3, "of an unknown kind")]
    {
        let error = Pkcs10::from_der(&attributes(&[san(tag, &[])]), &[]).unwrap_err();
        assert_eq!((error.code, error.found.as_str()), (DecodeCode::SanTypeUnsupported, found));
    }
    let hundred: Vec<u8> = (0..100).flat_map(|_| tlv(0x82, b"a")).collect();
    assert_eq!(code(&attributes(&[extensions(&[&extension(17, &tlv(0x30, &hundred))])])), None);
}

#[test]
fn takes_what_clients_made() {
    let mut taken = 0;
    for entry in std::fs::read_dir("tests/corpus/clients").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "csr") {
            let pem = std::fs::read(&path).unwrap();
            let decoded = Pkcs10::from_pem(&pem, &Usage::ALL);
            assert!(decoded.is_ok(), "{}: {decoded:?}", path.display());
            taken += 1;
        }
    }
    assert!(taken > 30, "{taken}");
}

#[test]
fn a_key_is_called_as_policies_write_it() {
    for (key, algorithm, bits, shown) in [
        (Key::Rsa { bits: 3072 }, "RSA", 3072, "RSA 3072 bits"),
        (Key::Ecdsa { curve: Curve::P256 }, "ECDSA", 256, "ECDSA P256"),
        (Key::Ecdsa { curve: Curve::P384 }, "ECDSA", 384, "ECDSA P384"),
        (Key::Ed25519, "Ed25519", 256, "Ed25519"),
    ] {
        assert_eq!((key.algorithm(), key.bits(), key.to_string()), (algorithm, bits, shown.to_owned()));
    }
    let found = |key| Pkcs10::from_der(&with(|request| request.key = Some(key)), &[]).unwrap_err().found;
    for (name, oid) in [("secp256k1", &[0x2b, 0x81, 4, 0, 10]), ("P-521", &[0x2b, 0x81, 4, 0, 0x23])] {
        assert_eq!(found(ec(oid, &[4; 65])), name);
    }
    assert_eq!(found(rsa(1024, &[1, 0, 1])), "RSA 1024 bits");
}

/// Which ways of signing there are, and which of them fit a key: one that does fails for the signature alone.
#[test]
fn a_signature_has_the_algorithm_that_fits_its_key() {
    let fits = |key: Key, identifier: &[u8]| {
        let (identifier, signature) = (element(identifier), tlv(0x03, &[0]));
        match super::signature::verify(key, &[], identifier, element(&signature), b"").unwrap_err().code {
            DecodeCode::SignatureInvalid => true,
            DecodeCode::SignatureUnsupported => false,
            other => panic!("{other:?}"),
        }
    };
    let (null, rsa) = (tlv(0x05, &[]), Key::Rsa { bits: 2048 });
    for (arc, expected) in [(4, false), (5, false), (11, true), (12, true), (13, true), (14, false)] {
        assert_eq!(fits(rsa, &sequence(&[&pkcs1(arc), &null])), expected, "{arc}");
        assert_eq!(fits(rsa, &sequence(&[&pkcs1(arc)])), expected, "{arc}");
        assert!(!fits(rsa, &sequence(&[&pkcs1(arc), &tlv(0x04, &[])])), "{arc}");
        assert!(!fits(Key::Ed25519, &sequence(&[&pkcs1(arc)])), "{arc}");
    }
    for curve in [Curve::P256, Curve::P384] {
        for (arc, expected) in [(1, false), (2, true), (3, true), (4, false)] {
            let algorithm = oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, arc]);
            assert_eq!(fits(Key::Ecdsa { curve }, &sequence(&[&algorithm])), expected, "{arc}");
            assert!(!fits(Key::Ecdsa { curve }, &sequence(&[&algorithm, &null])), "{arc}");
        }
    }
    let ed25519 = oid(&[0x2b, 0x65, 0x70]);
    assert!(fits(Key::Ed25519, &sequence(&[&ed25519])));
    assert!(!fits(Key::Ed25519, &sequence(&[&ed25519, &null])));
    assert!(!fits(rsa, &sequence(&[&ed25519])));
    for (key, algorithm, name) in [
        (rsa, pkcs1(4), "MD5 with RSA"),
        (rsa, pkcs1(5), "SHA-1 with RSA"),
        (Key::Ecdsa { curve: Curve::P384 }, oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4]), "ECDSA with SHA-512"),
    ] {
        let refused = super::signature::verify(key, &[], element(&sequence(&[&algorithm])), element(&null), b"");
        assert_eq!(refused.unwrap_err().found, name);
    }
    // Bits that are no whole bytes are no signature.
    let padded = tlv(0x03, &[1, 0]);
    let error = super::signature::verify(rsa, &[], element(&sequence(&[&pkcs1(11)])), element(&padded), b"");
    assert_eq!(error.unwrap_err().code, DecodeCode::SignatureInvalid);
}

#[test]
fn pss_has_one_hash_and_a_salt_of_its_length() {
    let hash = |arc: u8| sequence(&[&oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, arc]), &tlv(0x05, &[])]);
    let salt = |length: u8| tlv(0xa2, &tlv(0x02, &[length]));
    let pss = |hash: &[u8], mask: u8, mask_hash: &[u8], rest: &[Vec<u8>]| {
        let mask = sequence(&[&pkcs1(mask), mask_hash]);
        let parameters = tlv(0x30, &[&[tlv(0xa0, hash), tlv(0xa1, &mask)][..], rest].concat().concat());
        let identifier = sequence(&[&pkcs1(10), &parameters]);
        let signature = tlv(0x03, &[0]);
        let rsa = Key::Rsa { bits: 2048 };
        super::signature::verify(rsa, &[], element(&identifier), element(&signature), b"").unwrap_err().code
    };
    for (arc, length) in [(1, 32), (2, 48), (3, 64)] {
        let trailer = |value: u8| tlv(0xa3, &tlv(0x02, &[value]));
        assert_eq!(pss(&hash(arc), 8, &hash(arc), &[salt(length)]), DecodeCode::SignatureInvalid);
        assert_eq!(pss(&hash(arc), 8, &hash(arc), &[salt(length), trailer(1)]), DecodeCode::SignatureInvalid);
        for (mask, mask_hash, rest) in [
            (8, hash(arc), vec![salt(20)]),
            (8, hash(arc), vec![tlv(0xa2, &tlv(0x04, &[length]))]),
            (8, hash(arc % 3 + 1), vec![salt(length)]),
            (9, hash(arc), vec![salt(length)]),
            (8, Vec::new(), vec![salt(length)]),
            (8, hash(arc), vec![salt(length), trailer(2)]),
            (8, hash(arc), vec![salt(length), trailer(1), trailer(1)]),
            (8, hash(arc), vec![salt(length), tlv(0xa3, &[tlv(0x02, &[1]), tlv(0x02, &[1])].concat())]),
            (8, hash(arc), vec![salt(length), tlv(0xa4, &tlv(0x02, &[1]))]),
        ] {
            assert_eq!(pss(&hash(arc), mask, &mask_hash, &rest), DecodeCode::SignatureUnsupported, "{mask} {rest:?}");
        }
    }
    let octets = vec![salt(32), tlv(0xa3, &tlv(0x04, &[1]))];
    assert_eq!(pss(&hash(1), 8, &hash(1), &octets), DecodeCode::DerMalformed);
    let sha1 = sequence(&[&oid(&[0x2b, 0x0e, 0x03, 0x02, 0x1a])]);
    assert_eq!(pss(&sha1, 8, &sha1, &[salt(20)]), DecodeCode::SignatureUnsupported);
    assert_eq!(pss(&hash(4), 8, &hash(4), &[salt(28)]), DecodeCode::SignatureUnsupported);
    let parameters = sequence(&[&oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 1]), &tlv(0x04, &[])]);
    assert_eq!(pss(&parameters, 8, &hash(1), &[salt(32)]), DecodeCode::SignatureUnsupported);
}

fn element(der: &[u8]) -> super::der::Element<'_> {
    super::der::Reader::new(der).next().unwrap()
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    let der = attributes(&[san(0x82, b"a.example.com")]);
    for end in 0..der.len() {
        assert!(code(&der[..end]).is_some(), "cut at {end}");
    }
    for index in 0..der.len() * 8 {
        let mut flipped = der.clone();
        flipped[index / 8] ^= 1 << (index % 8);
        // Its signature covers everything but the signature algorithm, which is checked, and itself.
        assert!(code(&flipped).is_some(), "bit {index}");
    }
}

/// The signature covers neither what names its algorithm nor what is around it, so that whoever has a request of
/// somebody else can change these bytes; and each reader has its own idea of the parameters of PSS.
#[test]
fn no_byte_outside_of_what_is_signed_may_be_another() {
    for client in [
        "go-rsa2048",
        "go-pkcs1-sha384",
        "go-pkcs1-sha512",
        "go-pss-sha256",
        "go-pss-sha384",
        "go-pss-sha512",
        "openssl-pss-sha256",
        "python-pss",
        "go-p256",
        "openssl-p256-sha384",
        "go-p384",
        "go-ed25519",
    ] {
        let pem = std::fs::read(format!("tests/corpus/clients/{client}.csr")).unwrap();
        let der = super::pem::decode(&pem).unwrap();
        assert!(Pkcs10::from_der(&der, &Usage::ALL).is_ok(), "{client}");
        let mut inside = element(&der).inside();
        let signed = inside.next().unwrap().raw.len();
        let begin = der.len() - element(&der).content.len();
        let identifier = inside.next().unwrap().raw.len();
        let bits = inside.next().unwrap();
        let end = der.len() - bits.content.len() + 1;
        assert!(identifier < 80 && end - begin - signed - identifier <= 5, "{client}");
        for index in (0..begin).chain(begin + signed..end) {
            for other in (0..=u8::MAX).filter(|other| *other != der[index]) {
                let mut changed = der.clone();
                changed[index] = other;
                assert!(Pkcs10::from_der(&changed, &Usage::ALL).is_err(), "{client}: {other:#04x} at {index}");
            }
        }
    }
}

fn request(usages: &[&str], pem: &[u8]) -> SigningRequest {
    let usages = usages.iter().map(|usage| (*usage).to_owned()).collect();
    SigningRequest::decode(Envelope { usages, ..Envelope::default() }, pem)
}

#[test]
fn usages_have_a_floor_too() {
    let good = pem(&Parts::default().der());
    let code = |usages: &[&str]| request(usages, &good).content.err().map(|error| error.code);
    assert_eq!(code(&[]), Some(DecodeCode::UsagesMissing));
    assert_eq!(code(&["client auth", "x"]), Some(DecodeCode::UsageUnknown));
    for never in ["any", "cert sign", "crl sign"] {
        assert_eq!(code(&[never]), Some(DecodeCode::UsageNeverAllowed));
    }
    assert_eq!(code(&["signing", "client auth", "signing"]), None);
    assert_eq!(request(&["signing", "digital signature"], &good).usages, [Usage::DigitalSignature]);
    assert_eq!(request(&["s/mime"], &good).usages, [Usage::EmailProtection]);
    let long = vec![b'a'; MAX_REQUEST_BYTES + 1];
    assert_eq!(request(&["client auth"], &long).content.unwrap_err().code, DecodeCode::RequestTooLarge);
}

#[test]
fn masters_are_found_wherever_they_hide() {
    let wide: Vec<u8> = "system:masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (what, der) in [
        ("O", subject(&[utf8(10, "system:masters")])),
        ("O in capitals", subject(&[utf8(10, "System:Masters")])),
        ("O with spaces", subject(&[utf8(10, " system:masters ")])),
        ("O in full width", subject(&[utf8(10, "\u{ff53}ystem:masters")])),
        ("CN", subject(&[utf8(3, "system:masters")])),
        ("OU", subject(&[utf8(11, "system:masters")])),
        ("the second O", subject(&[utf8(10, "a"), utf8(10, "system:masters")])),
        ("a BMPString", subject(&[name(10, 0x1e, &wide)])),
        ("a T61String", subject(&[name(10, 0x14, b"system:masters")])),
        ("an unknown attribute", subject(&[utf8(12, "system:masters")])),
        ("a country", subject(&[utf8(6, "system:masters")])),
        ("a URI", attributes(&[san(0x86, b"system:masters")])),
        (
            "a wrong signature",
            with(|request| {
                request.subject = utf8(10, "system:masters");
                request.spoilt = true;
            }),
        ),
        ("an otherName", attributes(&[san(0xa0, b"\x0c\x0esystem:masters")])),
        ("a challengePassword", attributes(&[attribute(7, &[&tlv(0x0c, b"system:masters")])])),
        ("an unstructuredName", attributes(&[attribute(2, &[&tlv(0x1e, &wide)])])),
        ("a subjectKeyIdentifier", attributes(&[extensions(&[&extension(14, &tlv(0x04, b"system:masters"))])])),
    ] {
        assert!(request(&["client auth"], &pem(&der)).asks_for_masters, "{what}");
    }
    let password = attributes(&[attribute(7, &[&tlv(0x0c, b"system:monitoring")])]);
    assert!(request(&["client auth"], &pem(&password)).content.is_ok());
    assert!(!request(&["client auth"], &pem(&subject(&[utf8(10, "system:masters-not")]))).asks_for_masters);
}
