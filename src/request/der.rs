//! A strict reader of DER (X.690): definite lengths in their shortest form, nothing left over.
//!
//! x509-parser takes lengths in any form, and returns what is left over rather than refusing it.

use super::{DecodeCode, DecodeError};

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// The deepest nesting of a certification request is 9.
const MAX_DEPTH: u8 = 16;

/// One element: tag, content, and both with the length between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside.
    pub(super) fn inside(self) -> Reader<'a> {
        Reader { rest: self.content }
    }
}

/// Reads elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element.
    pub(super) fn next(&mut self) -> Result<Element<'a>, DecodeError> {
        let whole = self.rest;
        let (&tag, rest) = whole.split_first().ok_or_else(|| malformed("an element is missing"))?;
        if tag & 0x1f == 0x1f {
            return Err(malformed("a tag has more than one byte"));
        }
        let (&first, mut rest) = rest.split_first().ok_or_else(|| malformed("a length is missing"))?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x80 => return Err(malformed("a length is indefinite")),
            0x81..=0x83 => {
                let count = usize::from(first & 0x7f);
                let (digits, after) = rest.split_at_checked(count).ok_or_else(|| malformed("a length is cut off"))?;
                rest = after;
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                if digits[0] == 0 || length < 0x80 {
                    return Err(malformed("a length is not in its shortest form"));
                }
                length
            }
            _ => return Err(malformed("a length is too long")),
        };
        let (content, after) = rest.split_at_checked(length).ok_or_else(|| malformed("an element is cut off"))?;
        let raw = &whole[..whole.len() - after.len()];
        self.rest = after;
        Ok(Element { tag, content, raw })
    }

    /// The next element, which must have `tag`.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'a>, DecodeError> {
        let element = self.next()?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(malformed(&format!("an element has the tag {:#04x} where {tag:#04x} belongs", element.tag)))
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(trailing()) }
    }
}

/// The only element of `bytes`, which must have `tag`.
pub(super) fn only(bytes: &[u8], tag: u8) -> Result<Element<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag)?;
    reader.end()?;
    Ok(element)
}

/// Checks `bytes` down to the last element: that all of it is DER, whatever it means.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    check_element(reader.next()?, MAX_DEPTH)?;
    reader.end()
}

/// Whether `bytes` are one element of DER, down to the last inside of it.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    check(bytes).is_ok()
}

fn check_element(element: Element<'_>, depth: u8) -> Result<(), DecodeError> {
    const CONSTRUCTED: u8 = 0x20;
    let content = element.content;
    let primitive = |valid: bool, what: &str| if valid { Ok(()) } else { Err(malformed(what)) };
    match element.tag {
        BOOLEAN => primitive(matches!(content, [0 | 0xff]), "a BOOLEAN is neither 00 nor ff"),
        INTEGER => primitive(is_integer(content), "an INTEGER is not in its shortest form"),
        BIT_STRING => primitive(is_bit_string(content), "a BIT STRING has bits that are not its own"),
        NULL => primitive(content.is_empty(), "a NULL is not empty"),
        OID => primitive(is_oid(content), "an OBJECT IDENTIFIER is not in its shortest form"),
        tag if tag & CONSTRUCTED != 0 => {
            let universal = tag & 0xc0 == 0;
            if universal && tag != SEQUENCE && tag != SET {
                return Err(malformed("a string is made of parts"));
            }
            let depth = depth.checked_sub(1).ok_or_else(|| malformed("elements are nested too deeply"))?;
            let mut inside = element.inside();
            while !inside.is_empty() {
                check_element(inside.next()?, depth)?;
            }
            Ok(())
        }
        0x00 | 0x10 | 0x11 => Err(malformed("a SEQUENCE or SET is not made of parts")),
        _ => Ok(()),
    }
}

fn is_integer(content: &[u8]) -> bool {
    match content {
        [] => false,
        [first, second, ..] => !(*first == 0 && second & 0x80 == 0 || *first == 0xff && second & 0x80 != 0),
        [_] => true,
    }
}

fn is_bit_string(content: &[u8]) -> bool {
    match content {
        [] => false,
        [unused] => *unused == 0,
        [unused, .., last] => *unused < 8 && last.trailing_zeros() >= u32::from(*unused),
    }
}

fn is_oid(content: &[u8]) -> bool {
    let ends = content.last().is_some_and(|last| last & 0x80 == 0);
    // An arc must not begin with 0x80, and Go reads at most five bytes of one.
    let mut length = 0;
    let arcs = content.iter().all(|byte| {
        length += 1;
        let starts_well = length > 1 || *byte != 0x80;
        let short = length <= 5;
        if byte & 0x80 == 0 {
            length = 0;
        }
        starts_well && short
    });
    ends && arcs
}

/// The content of an AlgorithmIdentifier (RFC 5280 section 4.1.1.2): its OID, and the parameters
/// if there are any.
pub(super) fn algorithm<'a>(element: Element<'a>) -> Result<(&'a [u8], Option<Element<'a>>), DecodeError> {
    let mut reader: Reader<'a> = only(element.raw, SEQUENCE)?.inside();
    let oid = reader.expect(OID)?;
    let parameters = if reader.is_empty() { None } else { Some(reader.next()?) };
    reader.end()?;
    Ok((oid.content, parameters))
}

pub(super) fn malformed(what: &str) -> DecodeError {
    DecodeError::new(
        DecodeCode::DerMalformed,
        "request",
        "",
        format!(
            "the request is not a DER-encoded PKCS#10 request ({what}): make it anew, for example with openssl req"
        ),
    )
}

pub(super) fn trailing() -> DecodeError {
    DecodeError::new(
        DecodeCode::TrailingBytes,
        "request",
        "",
        "the request has bytes after its end, or after the end of one of its parts: make it anew, for example with \
         openssl req",
    )
}

#[cfg(test)]
mod tests {
    use super::{Reader, check, is_der};
    use crate::request::DecodeCode;

    #[test]
    fn refuses_what_is_not_der() {
        let cases: [(&[u8], DecodeCode); 27] = [
            (&[], DecodeCode::DerMalformed),
            (&[0x30], DecodeCode::DerMalformed),
            (&[0x30, 0x80, 0, 0], DecodeCode::DerMalformed),
            (&[0x30, 0x81, 0x00], DecodeCode::DerMalformed),
            (&[0x30, 0x81, 0x02, 5, 0], DecodeCode::DerMalformed),
            (&[0x30, 0x82, 0x00, 0x80], DecodeCode::DerMalformed),
            (&[0x30, 0x03, 5, 0], DecodeCode::DerMalformed),
            (&[0x30, 0x00, 0x00], DecodeCode::TrailingBytes),
            (&[0x1f, 0x81, 0x00, 0x00], DecodeCode::DerMalformed),
            (&[0x01, 0x01, 0x01], DecodeCode::DerMalformed),
            (&[0x02, 0x00], DecodeCode::DerMalformed),
            (&[0x02, 0x02, 0x00, 0x01], DecodeCode::DerMalformed),
            (&[0x02, 0x02, 0xff, 0x80], DecodeCode::DerMalformed),
            (&[0x03, 0x02, 0x01, 0x01], DecodeCode::DerMalformed),
            (&[0x05, 0x01, 0x00], DecodeCode::DerMalformed),
            (&[0x06, 0x02, 0x80, 0x01], DecodeCode::DerMalformed),
            (&[0x06, 0x02, 0x2a, 0x81], DecodeCode::DerMalformed),
            (&[0x10, 0x00], DecodeCode::DerMalformed),
            (&[0x2c, 0x00], DecodeCode::DerMalformed),
            (&[0x1f, 0x00], DecodeCode::DerMalformed),
            (&[0x3f, 0x00], DecodeCode::DerMalformed),
            (&[0x03, 0x00], DecodeCode::DerMalformed),
            (&[0x03, 0x01, 0x01], DecodeCode::DerMalformed),
            (&[0x03, 0x02, 0x08, 0x00], DecodeCode::DerMalformed),
            (&[0x06, 0x00], DecodeCode::DerMalformed),
            (&[0x06, 0x06, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00], DecodeCode::DerMalformed),
            (&[0x06, 0x03, 0x2a, 0x80, 0x01], DecodeCode::DerMalformed),
        ];
        for (bytes, code) in cases {
            assert_eq!(check(bytes).unwrap_err().code, code, "{bytes:02x?}");
            assert!(!is_der(bytes));
        }
        let deep: Vec<u8> = (0..20).rev().flat_map(|inner| [0x30, inner * 2]).collect();
        assert!(check(&deep).unwrap_err().message.contains("nested"));
        assert!(check(&[0x30, 0x80, 0, 0]).unwrap_err().message.contains("indefinite"));
    }

    #[test]
    fn takes_what_is_der_to_its_limits() {
        let cases: [&[u8]; 12] = [
            &[0x01, 0x01, 0xff],
            &[0x02, 0x01, 0x00],
            &[0x02, 0x01, 0xff],
            &[0x02, 0x02, 0x00, 0x80],
            &[0x02, 0x02, 0xff, 0x7f],
            &[0x03, 0x01, 0x00],
            &[0x03, 0x02, 0x07, 0x80],
            &[0x03, 0x03, 0x04, 0xff, 0xf0],
            &[0x06, 0x03, 0x81, 0x80, 0x00],
            &[0x06, 0x06, 0x2a, 0x87, 0xff, 0xff, 0xff, 0x7f],
            &[0x06, 0x07, 0x87, 0xff, 0xff, 0xff, 0x7f, 0x81, 0x00],
            &[0x80, 0x01, 0x00],
        ];
        for bytes in cases {
            assert_eq!(check(bytes), Ok(()), "{bytes:02x?}");
            assert!(is_der(bytes));
        }
        let longest = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(check(&longest), Ok(()));
    }

    #[test]
    fn reads_long_lengths_in_their_shortest_form() {
        let mut bytes = vec![0x04, 0x82, 0x01, 0x00];
        bytes.extend([7; 256]);
        assert!(check(&bytes).is_ok());
        assert_eq!(Reader::new(&bytes).next().unwrap().content.len(), 256);
    }
}
