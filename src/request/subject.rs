//! The subject of a request (RFC 2986 section 4.1, RFC 5280 section 4.1.2.6).

use super::der::{self, Element};
use super::{DecodeCode, DecodeError};
use crate::escape::{is_format, is_visible};

/// A decoded subject: only what Kubernetes reads, and what it must not be mixed up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The one CN, which Kubernetes reads as the user name; never empty.
    pub common_name: Option<String>,
    /// Every O in order of the encoding, each of which Kubernetes reads as a group; none is empty.
    pub organizations: Vec<String>,
    /// Every OU in order of the encoding.
    pub organizational_units: Vec<String>,
    /// Attributes that decode but have no place in a policy, in order of the encoding.
    pub others: Vec<(SubjectAttribute, String)>,
}

/// An attribute type that a subject may carry and no policy can allow (RFC 4519, X.520).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectAttribute {
    /// C, 2.5.4.6.
    Country,
    /// L, 2.5.4.7.
    Locality,
    /// ST, 2.5.4.8.
    State,
    /// street, 2.5.4.9.
    Street,
    /// postalCode, 2.5.4.17.
    PostalCode,
    /// serialNumber, 2.5.4.5.
    SerialNumber,
}

impl SubjectAttribute {
    /// The short name that openssl and RFC 4514 use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Country => "C",
            Self::Locality => "L",
            Self::State => "ST",
            Self::Street => "street",
            Self::PostalCode => "postalCode",
            Self::SerialNumber => "serialNumber",
        }
    }
}

/// The most O of a request; each is a group, and each certificate carries them in every handshake.
pub const MAX_ORGANIZATIONS: usize = 32;

/// The most bytes of a value. X.520 has upper bounds of 64 characters and less for these (RFC 5280 appendix A.1), which Kubernetes'
/// own names, such as those of service accounts, go beyond.
const MAX_VALUE: usize = 1024;
/// The most bytes of all of it, as it is encoded.
const MAX_SUBJECT: usize = 16 * 1024;

impl Subject {
    /// Decodes a Name (RFC 5280 section 4.1.2.4).
    pub(super) fn decode(name: Element<'_>) -> Result<Self, DecodeError> {
        if name.content.len() > MAX_SUBJECT {
            return Err(too_long("subject", "the subject", MAX_SUBJECT));
        }
        let mut subject = Self::default();
        let mut relative_names = name.inside();
        while !relative_names.is_empty() {
            let mut attributes = relative_names.expect(der::SET)?.inside();
            if attributes.is_empty() {
                return Err(der::malformed("a relative distinguished name is empty"));
            }
            while !attributes.is_empty() {
                subject.add(attributes.expect(der::SEQUENCE)?)?;
            }
        }
        Ok(subject)
    }

    fn add(&mut self, attribute: Element<'_>) -> Result<(), DecodeError> {
        let mut parts = attribute.inside();
        let oid = parts.expect(der::OID)?;
        let value = parts.next()?;
        parts.end()?;
        // id-at, 2.5.4 (X.520): the last arc says which.
        let [0x55, 0x04, arc] = *oid.content else { return Err(unknown_type()) };
        let other =
            |attribute: SubjectAttribute| -> Result<_, DecodeError> { Ok((attribute, text("subject", value)?)) };
        match arc {
            3 => {
                let name = text("subject.commonName", value)?;
                if let Some(first) = &self.common_name {
                    return Err(DecodeError::quoting(
                        DecodeCode::CommonNameRepeated,
                        "subject.commonName",
                        &format!("{first}, {name}"),
                        "is more than one common name, and readers differ about which one counts: keep one",
                    ));
                }
                self.common_name = Some(name);
            }
            10 => {
                self.organizations.push(text("subject.organizations", value)?);
                if self.organizations.len() > MAX_ORGANIZATIONS {
                    return Err(DecodeError::new(
                        DecodeCode::OrganizationsTooMany,
                        "subject.organizations",
                        "",
                        format!("the request has more than {MAX_ORGANIZATIONS} organizations (groups): ask for fewer"),
                    ));
                }
            }
            11 => self.organizational_units.push(text("subject.organizationalUnits", value)?),
            5 => self.others.push(other(SubjectAttribute::SerialNumber)?),
            6 => self.others.push(other(SubjectAttribute::Country)?),
            7 => self.others.push(other(SubjectAttribute::Locality)?),
            8 => self.others.push(other(SubjectAttribute::State)?),
            9 => self.others.push(other(SubjectAttribute::Street)?),
            17 => self.others.push(other(SubjectAttribute::PostalCode)?),
            _ => return Err(unknown_type()),
        }
        Ok(())
    }
}

fn unknown_type() -> DecodeError {
    DecodeError::new(
        DecodeCode::SubjectAttributeUnknown,
        "subject",
        "",
        "the subject has an attribute other than CN, O and OU (and C, L, ST, street, postalCode, serialNumber), which \
         Kubernetes does not read or reads as something else: leave it out",
    )
}

fn too_long(field: &'static str, what: &str, most: usize) -> DecodeError {
    DecodeError::new(
        DecodeCode::SubjectTooLong,
        field,
        "",
        format!("{what} has more than {most} bytes, which no reader needs: ask for a shorter one"),
    )
}

/// An attribute value: of the five string types only the two that every reader reads alike.
fn text(field: &'static str, value: Element<'_>) -> Result<String, DecodeError> {
    let wrong_type = || {
        DecodeError::new(
            DecodeCode::SubjectStringType,
            field,
            "",
            format!("{field} is not a UTF8String or PrintableString with characters of its own: make the request anew"),
        )
    };
    let text = std::str::from_utf8(value.content).map_err(|_| wrong_type())?;
    match value.tag {
        der::UTF8_STRING => {}
        der::PRINTABLE_STRING if text.bytes().all(is_printable_string) => {}
        _ => return Err(wrong_type()),
    }
    if text.len() > MAX_VALUE {
        return Err(too_long(field, &format!("a value of {field}"), MAX_VALUE));
    }
    if text.is_empty() {
        return Err(DecodeError::new(
            DecodeCode::SubjectValueEmpty,
            field,
            "",
            format!("{field} has an empty value: leave it out"),
        ));
    }
    let mut previous = None;
    let visible = text.chars().all(|c| {
        let mark = previous.is_some() && is_mark(c);
        previous = Some(c);
        mark || is_visible(c)
    });
    if !visible {
        return Err(DecodeError::quoting(
            DecodeCode::SubjectCharacter,
            field,
            text,
            "has a character that does not show (control, bidirectional, zero-width): leave it out",
        ));
    }
    Ok(text.to_owned())
}

/// The characters of PrintableString (X.680 section 41.4), with the two that Go takes besides.
fn is_printable_string(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?*&".contains(&byte)
}

/// An accent or vowel sign, which shows on the letter before it.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c) && !is_format(c)
}
