//! Whatever stands in a file, inspecting it ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::{Strategy, any, prop, proptest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use super::certificate::{Certificate, Signed};
use super::gather::{Holder, Inventory, Place};
use super::judge::{Judge, Settings};
use super::key::Key;
use super::kubeconfig::Kubeconfig;
use super::{json, pem, text};
use crate::cli::paint::{Color, Paint};

/// Signed by its own key, with every kind of SAN.
const CERTIFICATE: &str = "MIIB6zCCAZGgAwIBAgIUD8x526P21bJTEWxnTBPRwB7HZlYwCgYIKoZIzj0EAwIwIzETMBEGA1UECgwKZGV2ZWxvcGVyczEMMAoG\
     A1UEAwwDYW15MCAXDTI2MTEyNTA0MzQ0NFoYDzIxMDkwMTE0MDQzNDQ0WjAjMRMwEQYDVQQKDApkZXZlbG9wZXJzMQwwCgYDVQQD\
     DANhbXkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT5ZqiYU2egTL+5QfHS3KYEe0Cpu/ZLX4MLZ3wgwzaPLvnXUpdvUpHLK6Q+\
     WYRd19C3zj+Gb3t7XaEDLRgILTE8o4GgMIGdMB0GA1UdDgQWBBRqfTU9Td8HYQ/pO8GFnNaneByFSjAfBgNVHSMEGDAWgBRqfTU9\
     Td8HYQ/pO8GFnNaneByFSjAPBgNVHRMBAf8EBTADAQH/MBMGA1UdJQQMMAoGCCsGAQUFBwMCMAsGA1UdDwQEAwIHgDAoBgNVHREE\
     ITAfgg1hLmV4YW1wbGUuY29thwQKAAABhgN4OnmBA2FAYjAKBggqhkjOPQQDAgNIADBFAiEA9JiQ3gTTC9GzBXaAMD/zuMhkjyfn\
     CxcN0+huhl6EfBoCIBcl7cA2rey3Zl2Y77kXcELePBBq8dwLFShX5Bk+w8kK";

fn certificate() -> Vec<u8> {
    STANDARD.decode(CERTIFICATE).unwrap()
}

/// Goes all the way, if it can be read.
fn inspect(der: &[u8]) -> Option<Signed> {
    let read = Certificate::read(der).ok()?;
    let signed = read.signed_by(&read);
    let mut inventory = Inventory::default();
    let holder = Holder::File(Some("etcd/ca.crt".into()));
    inventory.hold_certificate(read, Place { source: "x".to_owned(), order: 0, position: 0, holder });
    shown(&inventory);
    Some(signed)
}

/// What is printed, which is visible whatever was read.
fn shown(inventory: &Inventory) -> String {
    let settings = Settings { now: 1_800_000_000, expires_within: 2_592_000, ignored: Vec::new() };
    let judge = Judge::new(inventory, &settings);
    let items = judge.items();
    let out = text::render(inventory, &items, &settings, Paint::new(Color::Never));
    assert!(out.chars().all(|c| c == '\n' || crate::escape::is_visible(c)), "{out:?}");
    json::render(inventory, &items, &settings).unwrap();
    out
}

#[test]
fn a_certificate_with_any_byte_changed_is_shown_or_refused() {
    let good = certificate();
    assert_eq!(inspect(&good), Some(Signed::Yes));
    // The header of the certificate and of what is signed, and after it the algorithm and the signature.
    let signed = 4..4 + 4 + usize::from(good[6]) * 256 + usize::from(good[7]);
    let mut shown = 0;
    for index in 0..good.len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[index] ^= change;
            let Some(verdict) = inspect(&bad) else { continue };
            shown += 1;
            assert!(!signed.contains(&index) || verdict != Signed::Yes, "byte {index} xor {change}");
        }
        assert_eq!(inspect(&good[..index]), None);
    }
    assert!(shown > 500, "{shown}");
}

/// Without a certificate or key in a file of its own, which would be opened.
#[test]
fn a_kubeconfig_with_any_byte_changed_is_shown_or_refused() {
    let pem = format!("-----BEGIN CERTIFICATE-----\n{CERTIFICATE}\n-----END CERTIFICATE-----\n");
    let data = STANDARD.encode(pem);
    let good = format!(
        r#"apiVersion: v1
kind: Config
current-context: "\x1b[31mnone"
contexts:
- {{ name: "amy\x07", context: {{ cluster: "c\x1b", user: "amy\x07" }} }}
- {{ name: "\u202e", context: {{ cluster: "d\x1b", user: "e\x1b" }} }}
clusters:
- {{ name: "c\x1b", cluster: {{ server: "http://h\u202e", insecure-skip-tls-verify: true, certificate-authority-data: {data} }} }}
users:
- {{ name: "amy\x07", user: {{ client-certificate-data: {data}, token: "t", as: "system:masters\u009b" }} }}
- {{ name: "bob\x7f", user: {{ exec: {{ command: "x\x07" }}, auth-provider: {{ name: "\u009b" }}, password: p }} }}
"#
    );
    let read = |text: &str| {
        let documents = crate::cli::located::documents(text).ok()?;
        let (mut inventory, mut problems) = (Inventory::default(), Vec::new());
        for document in documents.iter().filter(|document| Kubeconfig::is(&document.value())) {
            Kubeconfig::read(&mut inventory, "-", document, 0, &mut problems);
        }
        let out = shown(&inventory);
        let said = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(said.chars().all(|c| c == '\n' || crate::escape::is_visible(c)), "{said:?}");
        Some(out + &said)
    };
    let out = read(&good).unwrap();
    assert!(out.contains("system:masters") && out.contains("bob"), "{out}");
    // Nearly all of it is base64, of which a part is enough.
    let places = (0..good.len()).filter(|at| at % 16 == 0 || !good.as_bytes()[*at].is_ascii_alphanumeric());
    let mut read_still = 0;
    for at in places {
        for change in ["\0", "\u{1b}", ":", "\"", "\n", "\u{e9}", ""] {
            let bad = format!("{}{change}{}", &good[..at], &good[at + 1..]);
            read_still += usize::from(read(&bad).is_some_and(|out| !out.is_empty()));
        }
    }
    assert!(read_still > 500, "{read_still}");
}

#[test]
fn a_private_key_with_any_byte_changed_is_read_or_refused() {
    let random = SystemRandom::new();
    let ecdsa = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    for good in [ecdsa.as_ref(), ed25519.as_ref()] {
        assert!(matches!(Key::read("PRIVATE KEY", false, good), Ok(Key::Private(_))));
        for index in 0..good.len() {
            for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "PUBLIC KEY"] {
                let mut bad = good.to_vec();
                bad[index] ^= 0xff;
                let _ = Key::read(label, false, &bad);
                let _ = Key::read(label, false, &good[..index]);
            }
        }
    }
    // Of two keys, the private part of one and the public part of the other.
    let other = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let mut mixed = ecdsa.as_ref().to_vec();
    let end = mixed.len() - 64;
    mixed[end..].copy_from_slice(&other.as_ref()[end..]);
    assert_eq!(Key::read("PRIVATE KEY", false, &mixed), Ok(Key::Broken));
    // A length that goes far beyond the end.
    let long = [0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x01, 0x00];
    assert!(Key::read("PRIVATE KEY", false, &long).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_shown(bytes in prop::collection::vec(any::<u8>(), 0..200), label in "[A-Z ]{0,9}PRIVATE KEY") {
        inspect(&bytes);
        let _ = Key::read(&label, false, &bytes);
    }

    #[test]
    fn any_text_has_blocks_or_none(lines in prop::collection::vec(any_line(), 0..12)) {
        let text = lines.join("\n");
        for block in pem::blocks(&text) {
            assert!(text.contains(block.text) && block.text.starts_with("-----BEGIN "));
        }
    }
}

fn any_line() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "-----BEGIN A-----",
        "-----END A-----",
        "AAEC",
        "A: b",
        "",
        "\r",
        "-----BEGIN \u{eb}-----",
        "\u{1f600}",
    ])
    .prop_map(str::to_owned)
}
