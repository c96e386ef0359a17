//! A request (RFC 2986) from a short description, with a key that is thrown away.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

use super::suite::{Inline, Key};

/// The request as PEM.
pub(super) fn pem(inline: &Inline) -> Result<String, String> {
    let signer = Signer::new(inline.key).map_err(|()| "no random numbers for a key".to_owned())?;
    let addresses = inline
        .ip_addresses
        .iter()
        .map(|text| text.parse().map_err(|_| format!("{text} in ipAddresses is no IP address")))
        .collect::<Result<Vec<std::net::IpAddr>, String>>()?;
    let info = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            subject(writer.next(), inline);
            signer.public_key(writer.next());
            writer.next().write_tagged_implicit(Tag::context(0), |writer| attributes(writer, inline, &addresses));
        });
    });
    let signature = signer.sign(&info).map_err(|()| "cannot sign".to_owned())?;
    let der = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&info);
            writer.next().write_sequence(|writer| writer.next().write_oid(&oid(signer.algorithm())));
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    let encoded = STANDARD.encode(der);
    let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    let body: String = lines.collect();
    Ok(format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"))
}

fn oid(numbers: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(numbers)
}

/// Each attribute in an RDN of its own: O, OU, CN (X.520, 2.5.4).
fn subject(writer: DERWriter<'_>, inline: &Inline) {
    let subject = &inline.subject;
    let organizations = subject.organizations.iter().map(|name| (10, name));
    let units = subject.organizational_units.iter().map(|name| (11, name));
    let names = subject.common_name.iter().map(|name| (3, name));
    writer.write_sequence(|writer| {
        for (number, value) in organizations.chain(units).chain(names) {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(&[2, 5, 4, number]));
                    writer.next().write_utf8_string(value);
                });
            });
        }
    });
}

/// An extensionRequest (RFC 2985, 5.4.2) with the SANs, if there are any.
fn attributes(writer: DERWriter<'_>, inline: &Inline, addresses: &[std::net::IpAddr]) {
    let none = inline.dns_names.is_empty()
        && inline.uris.is_empty()
        && inline.email_addresses.is_empty()
        && addresses.is_empty();
    writer.write_set(|writer| {
        if none {
            return;
        }
        let names = yasna::construct_der(|writer| general_names(writer, inline, addresses));
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&oid(&[1, 2, 840, 113_549, 1, 9, 14]));
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(&[2, 5, 29, 17]));
                        writer.next().write_bytes(&names);
                    });
                });
            });
        });
    });
}

/// `GeneralNames` (RFC 5280, 4.2.1.6).
fn general_names(writer: DERWriter<'_>, inline: &Inline, addresses: &[std::net::IpAddr]) {
    let texts = [(1, &inline.email_addresses), (2, &inline.dns_names), (6, &inline.uris)];
    writer.write_sequence(|writer| {
        for (tag, values) in texts {
            for value in values {
                writer.next().write_tagged_implicit(Tag::context(tag), |writer| writer.write_bytes(value.as_bytes()));
            }
        }
        for address in addresses {
            let bytes = match address {
                std::net::IpAddr::V4(address) => address.octets().to_vec(),
                std::net::IpAddr::V6(address) => address.octets().to_vec(),
            };
            writer.next().write_tagged_implicit(Tag::context(7), |writer| writer.write_bytes(&bytes));
        }
    });
}

enum Signer {
    Ecdsa(EcdsaKeyPair, Key, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn new(key: Key) -> Result<Self, ()> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(drop)?;
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(drop)
        };
        Ok(match key {
            Key::P256 => Self::Ecdsa(ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)?, key, random),
            Key::P384 => Self::Ecdsa(ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)?, key, random),
            Key::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(drop)?;
                Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(drop)?)
            }
        })
    }

    /// `SubjectPublicKeyInfo` (RFC 5280, 4.1; RFC 5480; RFC 8410).
    fn public_key(&self, writer: DERWriter<'_>) {
        let key = match self {
            Self::Ecdsa(pair, ..) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        };
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| match self {
                Self::Ecdsa(_, curve, _) => {
                    writer.next().write_oid(&oid(&[1, 2, 840, 10_045, 2, 1]));
                    let p256: &[u64] = &[1, 2, 840, 10_045, 3, 1, 7];
                    let curve = if matches!(curve, Key::P256) { p256 } else { &[1, 3, 132, 0, 34] };
                    writer.next().write_oid(&oid(curve));
                }
                Self::Ed25519(_) => writer.next().write_oid(&oid(&[1, 3, 101, 112])),
            });
            writer.next().write_bitvec_bytes(key, key.len() * 8);
        });
    }

    /// ecdsa-with-SHA256 or -SHA384 (RFC 5758), or Ed25519 (RFC 8410).
    const fn algorithm(&self) -> &'static [u64] {
        match self {
            Self::Ecdsa(_, Key::P256, _) => &[1, 2, 840, 10_045, 4, 3, 2],
            Self::Ecdsa(..) => &[1, 2, 840, 10_045, 4, 3, 3],
            Self::Ed25519(_) => &[1, 3, 101, 112],
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ()> {
        match self {
            Self::Ecdsa(pair, _, random) => {
                pair.sign(random, message).map(|signature| signature.as_ref().to_vec()).map_err(drop)
            }
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}
