//! What the texts of a request can be, as an expression sees them. `csr.key.algorithm != 'rsa'` would hold for every key, and
//! `csr.dnsNames.all(d, d != 'VPN.example.com')` for every request, since these are `RSA` and in lower case here.

use std::net::IpAddr;

use crate::node::AddressType;
use crate::policy::{Field, signer_name};
use crate::request::{Curve, Key, Usage, is_dns_name, is_uri};

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
    /// What `lowerAscii` gives.
    LowerCase,
    /// What `upperAscii` gives.
    UpperCase,
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
            _ => None,
        }
    }

    /// Whether there is no capital letter in any of them.
    pub(super) const fn are_lower_case(self) -> bool {
        matches!(self, Self::Signer | Self::DnsName | Self::IpAddress | Self::LowerCase)
    }

    /// Why none of them compares so with `text`, though one was meant. (With an empty text one compares what may be missing, and
    /// what is not known at all, such as `DSA`, is rightly never found.)
    pub(super) fn never(self, how: How, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if let Some(all) = self.all() {
            let meant = all.iter().find(|word| how.holds(&letters(word), &letters(text)));
            let meant =
                meant.copied().or_else(|| Usage::from_name(text).filter(|_| self == Self::Usage).map(Usage::name));
            let is_found = all.iter().any(|word| how.holds(word, text));
            return meant.filter(|_| !is_found).map(|word| format!("{word} is what it is called here"));
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
            (Self::UpperCase, _) => text.to_ascii_uppercase(),
            _ => text.to_ascii_lowercase(),
        };
        (lower != text).then(|| format!("it is {lower} here"))
    }

    /// Why none of them is `text`.
    fn other_spelling(self, text: &str) -> Option<String> {
        let (normal, is_one) = match self {
            Self::Signer => return signer_name(text).err(),
            Self::IpAddress => match text.parse::<IpAddr>() {
                Ok(address) => (address.to_canonical().to_string(), true),
                Err(_) => (text.to_owned(), false),
            },
            Self::DnsName => (Field::DnsName.normalize(text).into_owned(), is_dns_name(text.as_bytes())),
            Self::Uri => (Field::Uri.normalize(text).into_owned(), is_uri(text)),
            Self::EmailAddress => (Field::EmailAddress.normalize(text).into_owned(), text.matches('@').count() == 1),
            Self::UpperCase => (text.to_ascii_uppercase(), true),
            _ => (text.to_ascii_lowercase(), true),
        };
        match (is_one, normal != text) {
            (false, _) => Some("none that decodes is like it".to_owned()),
            (true, differs) => differs.then(|| format!("it is {normal} here")),
        }
    }
}

/// Its letters and digits without case: `P-256` and `clientAuth` mean `P256` and `client auth`.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
