//! What the texts of a request can be, as an expression sees them. `csr.key.algorithm != 'rsa'` would hold for every key, and
//! `csr.dnsNames.all(d, d != 'VPN.example.com')` for every request, since these are `RSA` and in lower case here.

use std::net::IpAddr;

use crate::node::AddressType;
use crate::policy::{Field, signer_name};
use crate::request::{Curve, Key, Usage};

/// A kind of text of which it is known what it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// `csr.signerName`.
    Signer,
    /// One of `csr.usages`.
    Usage,
    /// A DNS name, in lower case.
    DnsName,
    /// An IP address, written as Rust and Go write it.
    IpAddress,
    /// A URI, with scheme and host in lower case.
    Uri,
    /// An email address, with its domain in lower case.
    EmailAddress,
    /// `csr.key.algorithm`.
    Algorithm,
    /// `csr.key.curve`.
    Curve,
    /// The `type` of one of `node.addresses`.
    AddressType,
}

/// How a text is compared with one that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Equals,
    StartsWith,
    EndsWith,
    Contains,
}

impl How {
    /// What the function of this name asks.
    pub(super) fn of_function(name: &str) -> Option<Self> {
        match name {
            "startsWith" => Some(Self::StartsWith),
            "endsWith" => Some(Self::EndsWith),
            "contains" => Some(Self::Contains),
            _ => None,
        }
    }

    fn holds(self, word: &str, text: &str) -> bool {
        match self {
            Self::Equals => word == text,
            Self::StartsWith => word.starts_with(text),
            Self::EndsWith => word.ends_with(text),
            Self::Contains => word.contains(text),
        }
    }
}

impl Words {
    /// All that there are, where these are few.
    pub(super) fn all(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Usage => Some(Usage::ALL.map(Usage::name).to_vec()),
            Self::Algorithm => {
                let keys = [Key::Rsa { bits: 0 }, Key::Ecdsa { curve: Curve::P256 }, Key::Ed25519];
                Some(keys.map(Key::algorithm).to_vec())
            }
            Self::Curve => Some([Curve::P256, Curve::P384].map(Curve::name).to_vec()),
            Self::AddressType => Some(AddressType::ALL.map(AddressType::name).to_vec()),
            Self::Signer | Self::DnsName | Self::IpAddress | Self::Uri | Self::EmailAddress => None,
        }
    }

    /// Whether there is no capital letter in any of them.
    pub(super) const fn are_lower_case(self) -> bool {
        matches!(self, Self::Signer | Self::DnsName | Self::IpAddress)
    }

    /// Why none of them compares so with `text`. (With an empty text one compares what may be missing.)
    pub(super) fn never(self, how: How, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if let Some(all) = self.all() {
            let alias = (self == Self::Usage).then(|| Usage::from_name(text)).flatten().map(Usage::name);
            return (!all.iter().any(|word| how.holds(word, text))).then(|| match alias {
                Some(name) => format!("it is called {name} here"),
                None if all.len() > 5 => "Kubernetes has no such usage".to_owned(),
                None => format!("there is {}", all.join(", ")),
            });
        }
        if how == How::Equals {
            return self.other_spelling(text);
        }
        let lower = match (self, how) {
            (Self::Uri, How::StartsWith) if !text.contains(':') => text.to_ascii_lowercase(),
            (Self::Uri, How::StartsWith) => Field::Uri.normalize(text).into_owned(),
            (Self::Uri, _) => return None,
            // What ends it is of the domain, unless it has the @ in it.
            (Self::EmailAddress, How::EndsWith) if !text.contains('@') => text.to_ascii_lowercase(),
            (Self::EmailAddress, _) => Field::EmailAddress.normalize(text).into_owned(),
            _ => text.to_ascii_lowercase(),
        };
        (lower != text).then(|| format!("it is {lower} here"))
    }

    /// Why none of them is `text`.
    fn other_spelling(self, text: &str) -> Option<String> {
        let normal = match self {
            Self::Signer => return signer_name(text).err(),
            Self::IpAddress => match text.parse::<IpAddr>() {
                Ok(address) => address.to_string(),
                Err(_) => return Some("it is no IP address".to_owned()),
            },
            Self::DnsName => Field::DnsName.normalize(text).into_owned(),
            Self::Uri => Field::Uri.normalize(text).into_owned(),
            Self::EmailAddress => Field::EmailAddress.normalize(text).into_owned(),
            Self::Usage | Self::Algorithm | Self::Curve | Self::AddressType => return None,
        };
        (normal != text).then(|| format!("it is {normal} here"))
    }
}
