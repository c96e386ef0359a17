//! Key usages as `spec.usages` names them (`k8s.io/api/certificates/v1.KeyUsage`).

use std::fmt;

/// One key usage of `spec.usages`, with the aliases folded together: `signing` is
/// [`Usage::DigitalSignature`] and `s/mime` is [`Usage::EmailProtection`], as every signer reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// `digital signature`, also written `signing` (keyUsage bit 0).
    DigitalSignature,
    /// `content commitment` (keyUsage bit 1, nonRepudiation in RFC 5280).
    ContentCommitment,
    /// `key encipherment` (keyUsage bit 2).
    KeyEncipherment,
    /// `data encipherment` (keyUsage bit 3).
    DataEncipherment,
    /// `key agreement` (keyUsage bit 4).
    KeyAgreement,
    /// `cert sign` (keyUsage bit 5). Never allowed.
    CertSign,
    /// `crl sign` (keyUsage bit 6). Never allowed.
    CrlSign,
    /// `encipher only` (keyUsage bit 7).
    EncipherOnly,
    /// `decipher only` (keyUsage bit 8).
    DecipherOnly,
    /// `any` (anyExtendedKeyUsage). Never allowed.
    Any,
    /// `server auth` (id-kp-serverAuth).
    ServerAuth,
    /// `client auth` (id-kp-clientAuth).
    ClientAuth,
    /// `code signing` (id-kp-codeSigning).
    CodeSigning,
    /// `email protection`, also written `s/mime` (id-kp-emailProtection).
    EmailProtection,
    /// `ipsec end system` (id-kp-ipsecEndSystem).
    IpsecEndSystem,
    /// `ipsec tunnel` (id-kp-ipsecTunnel).
    IpsecTunnel,
    /// `ipsec user` (id-kp-ipsecUser).
    IpsecUser,
    /// `timestamping` (id-kp-timeStamping).
    Timestamping,
    /// `ocsp signing` (id-kp-OCSPSigning).
    OcspSigning,
    /// `microsoft sgc` (msSGC).
    MicrosoftSgc,
    /// `netscape sgc` (nsSGC).
    NetscapeSgc,
}

impl Usage {
    /// Every usage, in the order of the enum.
    pub const ALL: [Self; 21] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::CertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
        Self::Any,
        Self::ServerAuth,
        Self::ClientAuth,
        Self::CodeSigning,
        Self::EmailProtection,
        Self::IpsecEndSystem,
        Self::IpsecTunnel,
        Self::IpsecUser,
        Self::Timestamping,
        Self::OcspSigning,
        Self::MicrosoftSgc,
        Self::NetscapeSgc,
    ];

    /// The usage that `name` stands for in `spec.usages`, or nothing if the API server would refuse it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "signing" => Some(Self::DigitalSignature),
            "s/mime" => Some(Self::EmailProtection),
            _ => Self::ALL.into_iter().find(|usage| usage.name() == name),
        }
    }

    /// The name as `spec.usages` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DigitalSignature => "digital signature",
            Self::ContentCommitment => "content commitment",
            Self::KeyEncipherment => "key encipherment",
            Self::DataEncipherment => "data encipherment",
            Self::KeyAgreement => "key agreement",
            Self::CertSign => "cert sign",
            Self::CrlSign => "crl sign",
            Self::EncipherOnly => "encipher only",
            Self::DecipherOnly => "decipher only",
            Self::Any => "any",
            Self::ServerAuth => "server auth",
            Self::ClientAuth => "client auth",
            Self::CodeSigning => "code signing",
            Self::EmailProtection => "email protection",
            Self::IpsecEndSystem => "ipsec end system",
            Self::IpsecTunnel => "ipsec tunnel",
            Self::IpsecUser => "ipsec user",
            Self::Timestamping => "timestamping",
            Self::OcspSigning => "ocsp signing",
            Self::MicrosoftSgc => "microsoft sgc",
            Self::NetscapeSgc => "netscape sgc",
        }
    }

    /// Whether it is an extended key usage (RFC 5280 section 4.2.1.12), and no bit of keyUsage (section 4.2.1.3).
    #[must_use]
    pub const fn is_extended(self) -> bool {
        !matches!(
            self,
            Self::DigitalSignature
                | Self::ContentCommitment
                | Self::KeyEncipherment
                | Self::DataEncipherment
                | Self::KeyAgreement
                | Self::CertSign
                | Self::CrlSign
                | Self::EncipherOnly
                | Self::DecipherOnly
        )
    }

    /// Whether a certificate with this usage passes for one with `purpose`: any does for its own, and OpenSSL, what is built on it,
    /// and Java take either form of server gated crypto for [`Usage::ServerAuth`]. Not the other way round.
    #[must_use]
    pub const fn is_good_for(self, purpose: Self) -> bool {
        self as u8 == purpose as u8
            || (matches!(purpose, Self::ServerAuth) && matches!(self, Self::MicrosoftSgc | Self::NetscapeSgc))
    }

    /// Whether no policy can ever allow it: with `cert sign` or `crl sign` the certificate would
    /// be an authority, with `any` the signer's own limits on its purposes would say nothing.
    #[must_use]
    pub const fn never_allowed(self) -> bool {
        matches!(self, Self::CertSign | Self::CrlSign | Self::Any)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
