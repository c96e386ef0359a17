//! Throw-away keys, made once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use super::der::Node;
use super::go::Go;

/// What `openssl genpkey` is asked for, by name. Go signs with these.
const MADE: [(&str, &[&str]); 17] = [
    ("rsa-1024", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]),
    ("rsa-2040", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2040"]),
    ("rsa-2047", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2047"]),
    ("rsa-2049", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2049"]),
    ("rsa-2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa-2048-e3", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"]),
    ("rsa-2048-e17", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:17"]),
    (
        "rsa-2048-e65539",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:65539"],
    ),
    (
        "rsa-2048-e31",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:2147483647"],
    ),
    ("rsa-2056", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2056"]),
    ("rsa-3072", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ("rsa-4096", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"]),
    ("p224", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"]),
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("ed25519", &["-algorithm", "ED25519"]),
];

/// The directory with these keys, PKCS#8 in PEM.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
        fs::create_dir_all(&directory).unwrap();
        let lock = fs::File::create(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        for (name, arguments) in MADE {
            let path = directory.join(format!("{name}.pem"));
            if path.exists() {
                continue;
            }
            let output = Command::new("openssl").arg("genpkey").args(arguments).output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let half = directory.join("half");
            fs::write(&half, output.stdout).unwrap();
            fs::rename(half, path).unwrap();
        }
        directory
    })
}

/// A key that signs, with its SubjectPublicKeyInfo.
pub struct Key {
    pub name: String,
    pub info: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    /// In the directory: Go signs.
    Go,
}

impl Key {
    /// Whether the floor admits it.
    pub fn is_fit(&self) -> bool {
        matches!(
            self.name.as_str(),
            "ring-p256"
                | "ring-p384"
                | "ring-ed25519"
                | "rsa-2048"
                | "rsa-2048-e65539"
                | "rsa-2048-e31"
                | "rsa-2049"
                | "rsa-2056"
                | "rsa-3072"
                | "rsa-4096"
                | "p256"
                | "p384"
                | "ed25519"
        )
    }

    pub fn is_rsa(&self) -> bool {
        self.name.starts_with("rsa")
    }

    /// The hash that goes with it.
    pub fn hash(&self) -> &'static str {
        if self.name.ends_with("p384") { "SHA384" } else { "SHA256" }
    }

    /// Signs `message`; with `salt`, as PSS.
    pub fn sign(&self, go: &mut Go, hash: &str, salt: Option<usize>, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Go => go.sign(&self.name, hash, salt, message),
        }
    }
}

/// How many keys come first because they are quick on both sides: P-256 and Ed25519, twice each.
pub const QUICK: usize = 4;

/// All keys, the quick ones first.
pub fn all(go: &mut Go) -> Vec<Key> {
    let random = SystemRandom::new();
    let ecdsa = |name: &str, curve: &str, algorithm| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let algorithm = Node::sequence([Node::oid("1.2.840.10045.2.1"), Node::oid(curve)]);
        let info = Node::sequence([algorithm, Node::bits(pair.public_key().as_ref())]).encode();
        Key { name: name.to_owned(), info, pair: Pair::Ecdsa(pair) }
    };
    let ed25519 = || {
        let pair = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        let algorithm = Node::sequence([Node::oid("1.3.101.112")]);
        let info = Node::sequence([algorithm, Node::bits(pair.public_key().as_ref())]).encode();
        Key { name: "ring-ed25519".to_owned(), info, pair: Pair::Ed25519(pair) }
    };
    let mut keys = Vec::new();
    for _ in 0..2 {
        keys.push(ecdsa("ring-p256", "1.2.840.10045.3.1.7", &ECDSA_P256_SHA256_ASN1_SIGNING));
        keys.push(ed25519());
    }
    assert_eq!(keys.len(), QUICK);
    for _ in 0..2 {
        keys.push(ecdsa("ring-p384", "1.3.132.0.34", &ECDSA_P384_SHA384_ASN1_SIGNING));
    }
    let made: BTreeMap<String, Vec<u8>> = go.keys();
    assert_eq!(made.len(), MADE.len());
    keys.extend(made.into_iter().map(|(name, info)| Key { name, info, pair: Pair::Go }));
    keys
}
