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
    /// One of `csr.usages`, which come in this order.
    Usage(Order),
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

/// In what order usages stand in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of [`Usage`].
    Listed,
    /// By the alphabet.
    Sorted,
    /// Not known.
    Any,
}

/// Names that these have elsewhere, as in OpenSSL, JWK and RFC 5280, by their letters and digits.
const ELSEWHERE: [(&str, &str); 18] = [
    ("ec", "ECDSA"),
    ("ecc", "ECDSA"),
    ("ecpublickey", "ECDSA"),
    ("idecpublickey", "ECDSA"),
    ("eddsa", "Ed25519"),
    ("rsaencryption", "RSA"),
    ("prime256v1", "P256"),
    ("secp256r1", "P256"),
    ("nistp256", "P256"),
    ("secp384r1", "P384"),
    ("nistp384", "P384"),
    ("nonrepudiation", "content commitment"),
    ("smime", "email protection"),
    ("keycertsign", "cert sign"),
    ("crlsigning", "crl sign"),
    ("anyextendedkeyusage", "any"),
    ("tlswebclientauthentication", "client auth"),
    ("tlswebserverauthentication", "server auth"),
];

/// Why a text that is written down is never found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) why: String,
    /// Whether there is one that was meant, spelled otherwise.
    pub(super) is_meant: bool,
    /// Whether it is something else that there is, which may stand in a list beside what is found.
    pub(super) is_other: bool,
}

impl Misfit {
    fn spelled(why: String) -> Self {
        Self { why, is_meant: true, is_other: false }
    }

    fn unlike(why: String, is_other: bool) -> Self {
        Self { why, is_meant: false, is_other }
    }
}

/// Algorithms and curves that are refused here: a list of what is permitted may have them.
const REFUSED: [&str; 5] = ["DSA", "Ed448", "X25519", "P224", "P521"];

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
            "contains" | "indexOf" | "lastIndexOf" => Some(Self::Contains),
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
            Self::Usage(_) => Some(Usage::ALL.map(Usage::name).to_vec()),
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

    /// Why none of them compares so with `text`. (With an empty text one compares what may be missing.)
    pub(super) fn never(self, how: How, text: &str) -> Option<Misfit> {
        if text.is_empty() {
            return None;
        }
        match self.all() {
            Some(all) if all.iter().any(|word| how.holds(word, text)) => None,
            Some(all) => Some(self.meant(&all, how, text).map_or_else(
                || Misfit::unlike(format!("there {}", there_are(&all)), REFUSED.contains(&text)),
                |word| Misfit::spelled(format!("{word} is what it is called here")),
            )),
            None if how == How::Equals => self.other_spelling(text),
            None => self.other_part(how, text),
        }
    }

    /// The one of `all` that was meant with `text`.
    fn meant(self, all: &[&'static str], how: How, text: &str) -> Option<&'static str> {
        let (name, text) = (Usage::from_name(text).filter(|_| matches!(self, Self::Usage(_))), letters(text));
        let other = || ELSEWHERE.iter().find(|(name, word)| *name == text && all.contains(word)).map(|(_, word)| *word);
        let alike = || all.iter().find(|word| how.holds(&letters(word), &text)).copied().filter(|_| !text.is_empty());
        name.map(Usage::name).or_else(other).or_else(alike)
    }

    /// Why none of them has `text` there.
    fn other_part(self, how: How, text: &str) -> Option<Misfit> {
        let normal = match (self, how) {
            (Self::Uri, How::StartsWith) if !text.contains(':') => text.to_ascii_lowercase(),
            (Self::Uri, How::StartsWith) => Field::Uri.normalize(text).into_owned(),
            (Self::Uri, _) => return None,
            // What ends it is of the domain, unless it has the @ in it.
            (Self::EmailAddress, How::EndsWith) if !text.contains('@') => text.to_ascii_lowercase(),
            (Self::EmailAddress, _) => Field::EmailAddress.normalize(text).into_owned(),
            (Self::UpperCase, _) => text.to_ascii_uppercase(),
            _ => text.to_ascii_lowercase(),
        };
        if normal != text {
            return Some(Misfit::spelled(format!("it is {normal} here")));
        }
        let why = match self {
            Self::IpAddress if text.contains('/') => {
                "an address has no /; cidr(…).containsIP(…) tells what is in a range"
            }
            Self::IpAddress if has_leading_zero(how, text) => "no part of an address begins with a zero here",
            _ => return None,
        };
        Some(Misfit::spelled(why.to_owned()))
    }

    /// Whether `text` has the form of one, in whatever case.
    fn is_one(self, text: &str) -> bool {
        match self {
            Self::DnsName => is_dns_name(text.as_bytes()),
            Self::IpAddress => text.parse::<IpAddr>().is_ok(),
            Self::Uri => is_uri(text),
            Self::EmailAddress => {
                text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.contains('@'))
            }
            _ => true,
        }
    }

    /// What a part of one of them is, or one with something taken off.
    pub(super) const fn part(self) -> Option<Self> {
        match self {
            Self::UpperCase => Some(Self::UpperCase),
            words if words.are_lower_case() => Some(Self::LowerCase),
            _ => None,
        }
    }

    /// Why none of them is `text`.
    fn other_spelling(self, text: &str) -> Option<Misfit> {
        let is_one = self.is_one(text);
        let normal = match self {
            Self::Signer => {
                return signer_name(text).err().map(Misfit::spelled);
            }
            Self::IpAddress => {
                text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_canonical().to_string())
            }
            Self::Uri => Field::Uri.normalize(text).into_owned(),
            Self::EmailAddress => Field::EmailAddress.normalize(text).into_owned(),
            Self::UpperCase => text.to_ascii_uppercase(),
            _ => text.to_ascii_lowercase(),
        };
        match (is_one, normal != text) {
            (false, _) => {
                let others = [Self::DnsName, Self::IpAddress, Self::Uri, Self::EmailAddress];
                let is_other = others.into_iter().any(|other| other != self && other.is_one(text));
                Some(Misfit::unlike("none that decodes is like it".to_owned(), is_other))
            }
            (true, true) => Some(Misfit::spelled(format!("it is {normal} here"))),
            (true, false) => None,
        }
    }
}

/// What there is, if it is not much.
fn there_are(all: &[&str]) -> String {
    if all.len() > 5 { "is none like it".to_owned() } else { format!("are {}", all.join(", ")) }
}

/// Whether a group of `text` has a zero before its other digits. Where it begins in the middle of a text, its first may be
/// the rest of one.
fn has_leading_zero(how: How, text: &str) -> bool {
    let mut begins = how == How::StartsWith;
    text.as_bytes().windows(2).any(|pair| {
        let zero = begins && pair[0] == b'0' && pair[1].is_ascii_hexdigit();
        begins = matches!(pair[0], b':' | b'.');
        zero
    })
}

/// Its letters and digits without case: `P-256` and `clientAuth` mean `P256` and `client auth`.
fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::{Field, How, Order, Words, is_dns_name, is_uri};

    /// What a request can have there.
    fn any_word() -> impl Strategy<Value = (Words, String)> {
        let closed = [Words::Usage(Order::Listed), Words::Algorithm, Words::Curve, Words::AddressType];
        let closed: Vec<(Words, String)> = closed
            .into_iter()
            .flat_map(|words| words.all().unwrap().into_iter().map(move |word| (words, word.into())))
            .collect();
        let few = prop_oneof![Just(0_u16), Just(0xA), any::<u16>()];
        prop_oneof![
            proptest::sample::select(closed),
            any::<Ipv4Addr>().prop_map(|address| (Words::IpAddress, address.to_string())),
            any::<Ipv6Addr>().prop_map(|address| (Words::IpAddress, address.to_canonical().to_string())),
            proptest::array::uniform8(few)
                .prop_map(|groups| (Words::IpAddress, Ipv6Addr::from(groups).to_canonical().to_string())),
            "[a-z0-9]{1,3}(\\.[a-z0-9-]{0,3}[a-z]){1,3}"
                .prop_filter("an address", |name| is_dns_name(name.as_bytes()))
                .prop_map(|name| (Words::DnsName, name)),
            "[A-Za-z0-9]{1,5}@[A-Za-z]{1,3}\\.[A-Za-z]{2}"
                .prop_map(|address| { (Words::EmailAddress, Field::EmailAddress.normalize(&address).into_owned()) }),
            "(SPIFFE|Https|urn):(//)?[A-Za-z]{1,3}(:[0-9]{4})?/[A-Za-z0-9]{0,4}"
                .prop_map(|uri| (Words::Uri, Field::Uri.normalize(&uri).into_owned()))
                .prop_filter("no URI", |(_, uri)| is_uri(uri)),
            "[a-z]{1,5}\\.[a-z]{1,3}/[a-z](\\.?[a-z]){1,3}".prop_map(|signer| (Words::Signer, signer)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
        /// Whatever part of what a request can have is written down, that is not called a slip.
        #[test]
        fn what_can_be_found_is_not_refused((words, word) in any_word(), from in 0_usize..40, to in 0_usize..40) {
            let (from, to) = (from.min(word.len()), to.min(word.len()));
            let (from, to) = (from.min(to), from.max(to));
            for (how, text) in [
                (How::Equals, &word[..]),
                (How::StartsWith, &word[..to]),
                (How::EndsWith, &word[from..]),
                (How::Contains, &word[from..to]),
            ] {
                prop_assert_eq!(words.never(how, text), None, "{:?} {:?} of {}", how, text, word);
            }
        }
    }

    #[test]
    fn capitals_are_looked_for_where_they_may_be() {
        assert_eq!(Words::EmailAddress.never(How::EndsWith, "y@example.com"), None);
        assert_eq!(Words::EmailAddress.never(How::EndsWith, "Y@example.com"), None);
        assert!(Words::EmailAddress.never(How::EndsWith, "Example.com").is_some());
        assert_eq!((Words::Uri.part(), Words::EmailAddress.part()), (None, None));
        assert_eq!(Words::DnsName.part(), Some(Words::LowerCase));
    }

    #[test]
    fn what_something_is_called_elsewhere_is_called_so_here() {
        for (name, word) in super::ELSEWHERE {
            let known = [Words::Usage(Order::Any), Words::Algorithm, Words::Curve];
            let of = known.into_iter().find(|words| words.all().unwrap().contains(&word));
            let misfit = of.unwrap().never(How::Equals, &name.to_uppercase()).unwrap();
            assert!(misfit.is_meant && misfit.why.starts_with(word), "{name}: {misfit:?}");
        }
    }
}
