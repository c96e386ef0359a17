use super::{Deserialize, JsonSchema, KubeSchema, Serialize};

/// Rules for the public key, above the floor that nothing lowers (RSA of 2048 to 8192 bits,
/// ECDSA on P-256 and P-384, Ed25519).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.algorithms) || has(self.rsa) || has(self.ecdsa)").message("keys is empty: state algorithms, rsa or ecdsa, or remove keys"),
    validation = Rule::new("!has(self.algorithms) || !has(self.rsa) || 'RSA' in self.algorithms").message("keys.rsa is stated, but keys.algorithms does not list RSA: add RSA or remove rsa"),
    validation = Rule::new("!has(self.algorithms) || !has(self.ecdsa) || 'ECDSA' in self.algorithms").message("keys.ecdsa is stated, but keys.algorithms does not list ECDSA: add ECDSA or remove ecdsa")
)]
pub struct Keys {
    /// The algorithms that there may be. Unstated in a policy: those that `rsa` and `ecdsa` speak of.
    #[schemars(length(max = 3))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("keys.algorithms is empty: name at least one of RSA, ECDSA, Ed25519, or remove algorithms")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<KeyAlgorithm>>,
    /// Rules for RSA keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa: Option<RsaKeys>,
    /// Rules for ECDSA keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecdsa: Option<EcdsaKeys>,
}

/// An algorithm of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// RSA.
    #[serde(rename = "RSA")]
    Rsa,
    /// ECDSA.
    #[serde(rename = "ECDSA")]
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

/// Rules for RSA keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minBits) || has(self.maxBits)").message("keys.rsa is empty: state minBits or maxBits, or remove rsa"),
    validation = Rule::new("!has(self.minBits) || !has(self.maxBits) || self.minBits <= self.maxBits").message("keys.rsa.minBits is above keys.rsa.maxBits, so no key could satisfy it")
)]
pub struct RsaKeys {
    /// The least length of the modulus in bits.
    #[schemars(range(min = 2048, max = 8192))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bits: Option<u32>,
    /// The greatest length of the modulus in bits.
    #[schemars(range(min = 2048, max = 8192))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bits: Option<u32>,
}

/// Rules for ECDSA keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.curves)").message("keys.ecdsa is empty: state curves, or remove ecdsa"))]
pub struct EcdsaKeys {
    /// The curves that there may be.
    #[schemars(length(max = 2))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("keys.ecdsa.curves is empty: name P256, P384 or both, or remove ecdsa")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curves: Option<Vec<KeyCurve>>,
}

/// A curve of an ECDSA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyCurve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}
