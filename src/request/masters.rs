//! `system:masters`, in whatever place or encoding: such a request is denied, not merely refused.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr_iter, memchr3_iter};
use unicode_normalization::UnicodeNormalization;

use super::{MAX_REQUEST_BYTES, Pkcs10};
use crate::fold::{fold, push_without_case};
use crate::policy::MASTERS;

/// Whether a request that decoded names it as a value anywhere.
pub(super) fn named(pkcs10: &Pkcs10) -> bool {
    pkcs10.texts().any(|text| fold(text) == MASTERS)
}

/// Whether a request that did not decode contains it anywhere, in any of the encodings that an
/// ASN.1 string can have.
pub(super) fn hidden(pem: &[u8]) -> bool {
    let pem = &pem[..pem.len().min(MAX_REQUEST_BYTES)];
    contains(pem) || blocks(pem).iter().any(|block| contains(block))
}

/// Every run of base64 between lines of dashes, read as leniently as the laxest reader: whatever stands before it, such
/// as headers, moves its digits by none to three.
fn blocks(pem: &[u8]) -> Vec<Vec<u8>> {
    let lenient = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = String::from_utf8_lossy(pem);
    let digits = text.split("-----").map(|part| -> Vec<u8> {
        let url_safe = part.bytes().map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        });
        url_safe.filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect()
    });
    let moved = digits.flat_map(|digits| (0..4).map(move |start| digits.get(start..).unwrap_or_default().to_vec()));
    moved
        .map(|mut digits| {
            if digits.len() % 4 == 1 {
                digits.pop();
            }
            lenient.decode(digits).unwrap_or_default()
        })
        .collect()
}

/// Whether these bytes contain it.
pub(super) fn contains(bytes: &[u8]) -> bool {
    let mut leaves = Vec::with_capacity(bytes.len());
    flatten(bytes, MAX_DEPTH, &mut leaves);
    is_read_in(bytes) || is_read_in(&leaves) || is_read_in(&joined(bytes))
}

/// Without what may be tag and length of a part of a wide string, which [`flatten`] may not have met as one, and which may stand
/// within a character.
fn joined(mut bytes: &[u8]) -> Vec<u8> {
    const UNIVERSAL_STRING: u8 = 0x1c;
    const BMP_STRING: u8 = 0x1e;
    let mut joined = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        bytes = match rest {
            [0..0x80, rest @ ..] if matches!(*byte, UNIVERSAL_STRING | BMP_STRING) => rest,
            _ => {
                joined.push(*byte);
                rest
            }
        };
    }
    joined
}

/// How deep [`flatten`] goes: deeper than any request.
const MAX_DEPTH: u8 = 32;

/// Puts the contents of all elements of `bytes` together, read as BER and without an eye to what they mean: BER may
/// write one string in several parts.
fn flatten(mut bytes: &[u8], depth: u8, leaves: &mut Vec<u8>) {
    const CONSTRUCTED: u8 = 0x20;
    const OCTET_STRING: u8 = 0x04;
    while let [tag, first, after @ ..] = bytes {
        let digits = if *first > 0x80 { usize::from(first & 0x7f) } else { 0 };
        let length = match after.get(..digits) {
            // To the end: a part of no length that ends it adds nothing.
            _ if *first == 0x80 => Some(after.len()),
            Some([]) => Some(usize::from(*first)),
            Some(digits) => digits.iter().try_fold(0_usize, |length, digit| {
                length.checked_mul(256).and_then(|length| length.checked_add(usize::from(*digit)))
            }),
            None => None,
        };
        let content = length.and_then(|length| after.get(digits..)?.split_at_checked(length));
        let Some((content, rest)) = content.filter(|_| depth > 0) else { break };
        if tag & CONSTRUCTED != 0 || *tag == OCTET_STRING {
            flatten(content, depth - 1, leaves);
        } else {
            leaves.extend(content);
        }
        bytes = rest;
    }
    // What is no element counts as it is.
    leaves.extend(bytes);
}

/// Whether the name is read in these bytes, whatever their encoding. Only what stands around a colon is decoded: there are few,
/// and most requests that do not decode are bytes at random.
fn is_read_in(bytes: &[u8]) -> bool {
    let text = |at: usize| bytes[at..].iter().copied().filter(|byte| is_text(*byte));
    memchr_iter(b':', bytes).any(|at| is_read_around_ascii(bytes, at))
        || memchr3_iter(0xef, 0xfe, 0xff, bytes).any(|at| match bytes[at..] {
            [0xef, ..] => {
                let is_next = |colon: char| text(at).take(3).eq(colon.encode_utf8(&mut [0; 4]).bytes());
                COLONS.into_iter().any(is_next) && is_read_as_utf8(bytes, at)
            }
            [0xfe, 0x13 | 0x55, ..] | [0xff, 0x1a, ..] => is_read_wide(bytes, at),
            _ => false,
        })
}

/// With a colon of ASCII at `at`.
fn is_read_around_ascii(bytes: &[u8], at: usize) -> bool {
    let (before, after) = bytes.split_at(at);
    let char = |byte: &u8| char::from(*byte);
    let mut backwards = before.iter().rev().filter(|byte| is_text(**byte)).map(char).peekable();
    let is_next_to = match backwards.peek() {
        // Without its zeros, ASCII text is the same in UTF-8, Latin-1, UTF-16 and UTF-32.
        Some('m' | 'M') => {
            is_spelled(backwards, after.iter().filter(|byte| is_text(**byte)).map(char)) || is_read_as_utf8(bytes, at)
        }
        Some('\u{80}'..) => is_read_as_utf8(bytes, at),
        _ => false,
    };
    is_next_to || (before.last() == Some(&0) && is_read_wide(bytes, at - 1))
}

fn is_read_as_utf8(bytes: &[u8], at: usize) -> bool {
    let (before, after) = bytes.split_at(at);
    let backwards = before.iter().rev().copied().filter(|byte| is_text(*byte));
    // Two characters are enough to be done with nearly every colon.
    let nearest = reversed(backwards.clone().take(2 * 4));
    if !ends_the_first_word(String::from_utf8_lossy(&nearest).chars().rev(), 2) {
        return false;
    }
    // With one more, which may be cut off.
    let before = reversed(backwards.take((FIRST_WORD.len() + 1) * 4));
    ends_the_first_word(String::from_utf8_lossy(&before).chars().rev(), FIRST_WORD.len()) && {
        let after: Vec<u8> = after.iter().copied().filter(|byte| is_text(*byte)).take(room(4)).collect();
        begins_with_the_rest(String::from_utf8_lossy(&after).chars())
    }
}

/// In UTF-16, of which a unit begins at `at`, or in UTF-32.
fn is_read_wide(bytes: &[u8], at: usize) -> bool {
    let unit = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
    let (before, after) = bytes.split_at(at);
    let backwards = before.rchunks_exact(2).map(unit).filter(|unit| is_wide_text(*unit));
    let text = |count: usize| -> Vec<char> { wide(reversed(backwards.clone().take(count)).into_iter()).collect() };
    // Two units are one character at least.
    if !ends_the_first_word(text(2).into_iter().rev(), 1) {
        return false;
    }
    let after = after.chunks_exact(2).map(unit).filter(|unit| is_wide_text(*unit));
    is_spelled(text(room(2)).into_iter().rev(), wide(after))
}

/// The characters of UTF-16. Without zeros, UTF-32 is the same up to U+FFFF; beyond, it begins with the number of a plane, which
/// would be a control character.
fn wide(mut units: impl Iterator<Item = u16>) -> impl Iterator<Item = char> {
    let utf16 = std::iter::from_fn(move || {
        Some(match units.next()? {
            plane @ 1..=0x10 => {
                let code = u32::from(plane) << 16 | u32::from(units.next().unwrap_or_default());
                let mut pair = [0; 2];
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf16(&mut pair);
                pair
            }
            unit => [unit, 0],
        })
    });
    let utf16 = utf16.flatten().filter(|unit| *unit != 0);
    char::decode_utf16(utf16).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Whether a byte counts as text. No control character of ASCII does: tag and length of a short part of a string are two, and
/// where the elements around it are broken, so that nobody reads the request, [`flatten`] may not have met it as one.
fn is_text(byte: u8) -> bool {
    byte >= b' '
}

/// The same of two bytes, which may be tag and length of a part of a `BMPString` or `UniversalString`, too.
fn is_wide_text(unit: u16) -> bool {
    !matches!(unit, 0 | 0x1c00..=0x1c7f | 0x1e00..=0x1e7f)
}

/// How much of each side of a colon is looked at: the name, at `width` for a character, and two characters more, since
/// it may be cut off within one.
const fn room(width: usize) -> usize {
    (MASTERS.len() + 2) * width
}

fn reversed<T>(backwards: impl Iterator<Item = T>) -> Vec<T> {
    let mut forwards: Vec<T> = backwards.collect();
    forwards.reverse();
    forwards
}

/// What stands before the colon of the name.
const FIRST_WORD: &str = "system";

/// What folds to a colon between two letters.
const COLONS: [char; 4] = [':', '\u{fe13}', '\u{fe55}', '\u{ff1a}'];

/// What a character folds to where none behind it composes with it.
fn fold_one(c: char) -> impl DoubleEndedIterator<Item = char> {
    let ascii = c.is_ascii().then(|| c.to_ascii_lowercase());
    let mut others = Vec::new();
    if ascii.is_none() {
        c.nfkc().for_each(|c| push_without_case(c, &mut others));
        others = others.into_iter().nfkc().collect();
    }
    ascii.into_iter().chain(others)
}

/// Whether what comes `backwards` folds to the last `count` characters of the first word of the name.
fn ends_the_first_word(backwards: impl Iterator<Item = char>, count: usize) -> bool {
    let end = FIRST_WORD.chars().rev().take(count);
    backwards.flat_map(|c| fold_one(c).rev()).take(count).eq(end)
}

/// Whether what begins with a colon folds to what stands in the name after its first word.
fn begins_with_the_rest(after: impl Iterator<Item = char>) -> bool {
    let rest = MASTERS.trim_start_matches(FIRST_WORD);
    after.flat_map(fold_one).take(rest.len()).eq(rest.chars())
}

/// Whether what stands before a colon, backwards, and what begins with it fold to the name. No character of it is composed of
/// several, so that each is folded alone; a mark behind the last makes it another name, which is found, too.
fn is_spelled(backwards: impl Iterator<Item = char>, after: impl Iterator<Item = char>) -> bool {
    ends_the_first_word(backwards, FIRST_WORD.len()) && begins_with_the_rest(after)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::{COLONS, MASTERS, contains, fold_one, hidden, is_read_in};

    #[test]
    fn finds_it_in_every_encoding() {
        let wide: Vec<u8> = "SYSTEM:Masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let little: Vec<u8> = "system:masters".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let four: Vec<u8> = "system:masters".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        let full: Vec<u8> = "s\u{ff59}stem:masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let bold = "\u{1d42c}\u{1d432}\u{1d42c}\u{1d42d}\u{1d41e}\u{1d426}:masters";
        let bold_behind = "system:\u{1d426}\u{1d41a}\u{1d42c}\u{1d42d}\u{1d41e}\u{1d42b}\u{1d42c}";
        let narrow = ["x system:masters y", "\u{ff33}ystem:masters", bold, bold_behind].map(str::as_bytes);
        for bytes in narrow.into_iter().chain([&*wide, &little, &four, &full]) {
            let odd = [&[7][..], bytes].concat();
            assert!(contains(bytes) && contains(&odd), "{bytes:02x?}");
        }
        assert!(!contains(b"system:monitoring"));
        for text in ["\u{ff53}ystem:masters", bold, bold_behind] {
            let universal: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
            assert!(contains(&universal) && contains(&[&[7], &*universal].concat()), "{text}");
        }
        assert!(contains(b"system:m\xaasters"));
    }

    /// Of a request that is cut off [`super::flatten`] sees no elements.
    #[test]
    fn finds_it_in_parts_that_split_a_character() {
        for name in ["system:masters", "\u{1d69c}ystem:masters"] {
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for at in 0..units.len() {
                let (one, other) = units.split_at(at);
                let part = |part: &[u8]| [&[0x1e, u8::try_from(part.len()).unwrap()], part].concat();
                assert!(contains(&[&[0x30, 0x7f, 7][..], &part(one), &part(other)].concat()), "{name} {at}");
            }
        }
    }

    #[test]
    fn the_name_is_made_of_characters_that_may_be_looked_at_alone() {
        let letters = |text: &str| -> String { text.chars().filter(char::is_ascii_lowercase).collect() };
        let mut others = 0;
        for c in '\0'..=char::MAX {
            let alone = letters(&fold_one(c).collect::<String>());
            let within = letters(&crate::fold::fold(&format!("-{c}-")));
            assert_eq!(alone, within, "{c:?}");
            others += usize::from(!c.is_ascii() && !alone.is_empty());
        }
        assert!(others > 1000, "{others}");
    }

    #[test]
    fn these_and_no_others_fold_to_a_colon_between_letters() {
        let between = |c: char| crate::fold::fold(&format!("m{c}m"));
        let colons: Vec<char> = ('\0'..=char::MAX).filter(|c| matches!(between(*c).as_str(), "m:m" | "mm")).collect();
        // None vanishes either, which would make the window too short.
        assert_eq!(colons, COLONS);
        for colon in colons {
            let text = format!("sy\u{fb06}em{colon}ma\u{fb06}ers");
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            assert!(contains(text.as_bytes()) && contains(&wide), "{colon:?}");
        }
    }

    /// The same without an eye to colons: all of it is decoded, and all of it folded.
    fn is_read_plainly(bytes: &[u8], fold: impl Fn(&str) -> String) -> bool {
        let spells = |text: String| fold(&text).contains(MASTERS);
        let wide = |start: usize| {
            let pairs = bytes.get(start..).unwrap_or_default().chunks_exact(2);
            let units = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let text = units.filter(|unit| !matches!(unit.to_be_bytes(), [0, 0] | [0x1c | 0x1e, ..0x80]));
            super::wide(text).collect()
        };
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte >= 0x20).collect();
        spells(text.iter().map(|byte| char::from(*byte)).collect())
            || spells(String::from_utf8_lossy(&text).into_owned())
            || spells(wide(0))
            || spells(wide(1))
    }

    /// Pieces of which the name is made in one encoding or another, and what gets between them.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let spelling = select(vec![
            "system:masters",
            "SYSTEM:MASTERS",
            "\u{ff53}ystem\u{ff1a}masters",
            "sy\u{fb06}em\u{fe13}ma\u{fb06}ers",
            "system\u{fe55}m\u{aa}sters",
            "\u{1d42c}ystem:\u{1d426}asters",
            "system:monitoring",
        ]);
        let encoded = (spelling, 0..5_u8).prop_map(|(text, encoding)| match encoding {
            0 => text.as_bytes().to_vec(),
            1 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            2 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            3 => text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
            _ => text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
        });
        let cut = (encoded, any::<prop::sample::Index>(), 0..6_u8).prop_map(|(mut bytes, at, how)| {
            let at = at.index(bytes.len());
            match how {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(..at)),
                2 => bytes[at] = 0,
                3 => drop(bytes.splice(at..at, [0x0c, 3])),
                4 => drop(bytes.splice(at..at, [0x1e, 14])),
                _ => {}
            }
            bytes
        });
        let junk = select(vec![
            &b""[..],
            b":",
            b"m",
            b"\0",
            b"\0\0",
            b"\xef",
            b"\xef\xbc\x9a",
            b"\xd8\x01",
            b"\xdc\x01",
            b"\x80",
            b"\xf0\x9d",
            // What composes with a letter before it.
            b"\xcc\x87",
            b"\x03\x07",
            b"\xe1\x85\xa1",
        ]);
        let piece = prop_oneof![cut, junk.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..40)];
        vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_stands_around_colons_is_enough(bytes in bytes()) {
            let found = is_read_in(&bytes);
            prop_assert!(found || !is_read_plainly(&bytes, crate::fold::fold));
            // With a mark on its last letter it is another name, and yet found.
            let each_alone = |text: &str| text.chars().flat_map(fold_one).collect();
            prop_assert!(!found || is_read_plainly(&bytes, each_alone));
        }
    }

    /// The name behind as many colons as there is room for.
    #[test]
    fn colons_alone_take_no_time() {
        for text in [
            ":",
            "m:",
            "m:m",
            "system:",
            "\u{e9}:",
            "\u{33a1}m:",
            "\u{33a7}:",
            "m\0:\0",
            "\u{ff1a}",
            "m\u{ff1a}",
            "em:",
            "em\0:",
        ] {
            let colons = text.repeat(60_000 / text.len());
            assert!(!contains(colons.as_bytes()), "{text}");
            assert!(contains((colons + "system:masters").as_bytes()), "{text}");
        }
    }

    #[test]
    fn finds_it_in_strings_of_several_parts() {
        let parts = b"\x0c\x05syste\x0c\x09m:masters";
        let definite = [&[0x30, 23, 0x06, 1, 42, 0x2c, 0x12][..], parts].concat();
        let indefinite = [&[0x30, 0x80, 0x06, 1, 42, 0x2c, 0x80][..], parts, &[0, 0, 0, 0]].concat();
        let extension = [&[0x04, 0x81, 25][..], &definite].concat();
        for bytes in [definite, indefinite, extension] {
            assert!(contains(&bytes), "{bytes:02x?}");
        }
        for depth in [30, 31, 32, 33, 34, 100] {
            // A length that is a letter, so that only as an element is it not read.
            let parts = [&b"\x0c\x05syste\x0c\x61m:masters"[..], &[b'x'; 88]].concat();
            let deep = [[0x30, 0x80].repeat(depth).as_slice(), &parts].concat();
            assert_eq!(contains(&deep), depth < usize::from(super::MAX_DEPTH), "{depth}");
            assert!(contains(&[[0x30, 0x80].repeat(depth).as_slice(), b"system:masters"].concat()));
        }
        // Lengths in several digits, around one that is a letter.
        let parts = [&b"\x0c\x05syste\x0c\x61m:masters"[..], &[b'x'; 88]].concat();
        for length in [&[106][..], &[0x81, 106], &[0x82, 0, 106], &[0x84, 0, 0, 0, 106]] {
            assert!(contains(&[&[0x30], length, &parts].concat()), "{length:02x?}");
        }
        let several = [&[0x30, 0x82, 0x01, 0x03, 0x06, 0x81, 0x94], &[b'y'; 0x94][..], &parts, &[0x05, 0]].concat();
        assert!(contains(&several));
        // A part is text, whatever element it looks like.
        let long = [&b"\x0c\x07system:\x0c\x7fmasters"[..], &[b'x'; 120]].concat();
        assert!(contains(&long));
        // Behind an element of a wrong length, of which they seem to be the content.
        let spellings = [
            (0x0c, "system:masters".as_bytes().to_vec()),
            (0x0c, "\u{ff33}ystem:Masters".into()),
            (0x1e, "SYSTEM:masters".encode_utf16().flat_map(u16::to_be_bytes).collect()),
            (0x1e, "\u{ff33}ystem\u{ff1a}masters".encode_utf16().flat_map(u16::to_be_bytes).collect()),
            (0x1c, "\u{ff33}ystem:masters".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()),
        ];
        for (tag, text) in spellings {
            for end in (4..text.len()).step_by(if tag == 0x0c { 1 } else { 2 }) {
                let parts = [&text[..end], &text[end..]];
                let parts = parts.map(|part| [&[tag, u8::try_from(part.len()).unwrap()], part].concat()).concat();
                let broken = [&[0x51, 0x7f, 1, 0xa0, 0x2c, 0x7f], &*parts, &[b'x'; 120]].concat();
                assert!(contains(&broken), "{broken:02x?}");
            }
        }
        // Two values are not one.
        assert!(!contains(b"\x0c\x07system:\x06\x01\x2a\x0c\x07masters"));
    }

    #[test]
    fn finds_it_in_a_second_block_and_behind_headers() {
        let hidden_block = |headers: &str| {
            let body = STANDARD.encode("....system:masters....");
            format!("-----BEGIN X-----\nAAAA\n-----END X-----\n-----BEGIN Y-----\n{headers}{body}\n-----END Y-----\n")
        };
        assert!(hidden(hidden_block("").as_bytes()));
        assert!(hidden(hidden_block("A: b\n\n").as_bytes()));
        for headers in ["A: b\n", "A: bc\r\n", ":\n", "A: b\nC: def\n\n"] {
            assert!(hidden(hidden_block(headers).as_bytes()), "{headers:?}");
        }
        // With digits to spare, of which the last is none of a byte.
        assert!(hidden(hidden_block("").replace("\n-----END", "AAA\n-----END").as_bytes()));
        let wide: Vec<u8> = hidden_block("").bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(hidden(&wide));
        let url_safe = STANDARD.encode("???system:masters>>>").replace('+', "-").replace('/', "_");
        assert!(hidden(format!("-----BEGIN X-----\n{url_safe}\n-----END X-----\n").as_bytes()));
        assert!(!hidden(b"-----BEGIN X-----\nAAAA\n-----END X-----\n"));
    }
}
