//! Distinguished names (RFC 5280 section 4.1.2.4), read as leniently as can be.

use std::fmt::{self, Write};

use x509_parser::asn1_rs::{Oid, Tag};
use x509_parser::x509::X509Name;

use crate::escape::is_visible;

/// The subject or the issuer of a certificate.
#[derive(Debug)]
pub(super) struct Name {
    /// Its DER encoding: names compare by it, as Go compares them.
    pub(super) raw: Vec<u8>,
    /// Relative distinguished names in order, each of one attribute or several.
    relative: Vec<Vec<Attribute>>,
}

#[derive(Debug)]
struct Attribute {
    oid: String,
    /// Nothing where it is no string.
    text: Option<String>,
    bytes: Vec<u8>,
}

const COMMON_NAME: &str = "2.5.4.3";
const ORGANIZATION: &str = "2.5.4.10";
const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
/// What the API server reads as the uid of a user.
const UID: &str = "1.3.6.1.4.1.57683.2";

/// The short names of RFC 4514 and openssl.
const SHORT: [(&str, &str); 17] = [
    (COMMON_NAME, "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    (ORGANIZATION, "O"),
    (ORGANIZATIONAL_UNIT, "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

impl Name {
    pub(super) fn new(name: &X509Name<'_>) -> Self {
        let attribute = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            let value = attribute.attr_value();
            Attribute {
                oid: dotted(attribute.attr_type()),
                text: text(value.tag(), value.data),
                bytes: value.data.to_vec(),
            }
        };
        Self {
            raw: name.as_raw().to_vec(),
            relative: name.iter_rdn().map(|relative| relative.iter().map(attribute).collect()).collect(),
        }
    }

    fn all(&self, oid: &str) -> Vec<&str> {
        let attributes = self.relative.iter().flatten().filter(|attribute| attribute.oid == oid);
        attributes.filter_map(|attribute| attribute.text.as_deref()).collect()
    }

    /// The CN that Kubernetes reads as the user name: Go keeps the last of several.
    pub(super) fn common_name(&self) -> Option<&str> {
        self.all(COMMON_NAME).pop()
    }

    /// How many CN there are.
    pub(super) fn common_names(&self) -> usize {
        self.all(COMMON_NAME).len()
    }

    /// Every O, each of which Kubernetes reads as a group.
    pub(super) fn organizations(&self) -> Vec<&str> {
        self.all(ORGANIZATION)
    }

    pub(super) fn organizational_units(&self) -> Vec<&str> {
        self.all(ORGANIZATIONAL_UNIT)
    }

    /// What Kubernetes reads as the user's uid.
    pub(super) fn uid(&self) -> Option<&str> {
        self.all(UID).pop()
    }

    /// Whether some value is no string.
    pub(super) fn has_other_values(&self) -> bool {
        self.relative.iter().flatten().any(|attribute| attribute.text.is_none())
    }
}

/// As RFC 4514 writes it, but in the order of the encoding; safe to print.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, relative) in self.relative.iter().enumerate() {
            for (number, attribute) in relative.iter().enumerate() {
                f.write_str(match (index, number) {
                    (0, 0) => "",
                    (_, 0) => ",",
                    _ => "+",
                })?;
                let short = SHORT.iter().find(|(oid, _)| *oid == attribute.oid);
                write!(f, "{}=", short.map_or(attribute.oid.as_str(), |(_, short)| short))?;
                match &attribute.text {
                    Some(text) => escaped(f, text)?,
                    None => {
                        f.write_char('#')?;
                        attribute.bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => write!(f, "\\{c}")?,
            '#' if index == 0 => f.write_str("\\#")?,
            ' ' if index == 0 || index == last => f.write_str("\\ ")?,
            c if is_visible(c) => f.write_char(c)?,
            c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
        }
    }
    Ok(())
}

/// `1.2.840…`.
pub(super) fn dotted(oid: &Oid<'_>) -> String {
    oid.to_id_string()
}

/// The string types that Go reads, in its reading of each.
fn text(tag: Tag, bytes: &[u8]) -> Option<String> {
    match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // Latin-1, which is what everybody puts there.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|unit| unit.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)));
            if bytes.len().is_multiple_of(2) { char::decode_utf16(units).collect::<Result<_, _>>().ok() } else { None }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::asn1_rs::Tag;

    use super::text;

    #[test]
    fn every_string_type_is_read_as_go_reads_it() {
        let read = |tag, bytes: &[u8]| text(tag, bytes);
        assert_eq!(read(Tag::Utf8String, "zo\u{eb}".as_bytes()).as_deref(), Some("zo\u{eb}"));
        assert_eq!(read(Tag::T61String, &[b'z', 0xeb]).as_deref(), Some("z\u{eb}"));
        assert_eq!(read(Tag::BmpString, &[0, b'z', 0xd8, 0x3d, 0xde, 0]).as_deref(), Some("z\u{1f600}"));
        for (tag, bytes) in [
            (Tag::Utf8String, &[0xff][..]),
            (Tag::BmpString, &[0]),
            (Tag::BmpString, &[0xd8, 0x3d]),
            (Tag::Integer, b"7"),
            (Tag::UniversalString, b"\0\0\0z"),
        ] {
            assert_eq!(read(tag, bytes), None, "{tag:?} {bytes:?}");
        }
    }
}
