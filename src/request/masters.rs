//! `system:masters`, in whatever place or encoding: such a request is denied, not merely refused.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{MAX_REQUEST_BYTES, Pkcs10};
use crate::fold::fold;
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

/// Every run of base64 between lines of dashes, read as leniently as the laxest reader.
fn blocks(pem: &[u8]) -> Vec<Vec<u8>> {
    let lenient = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = String::from_utf8_lossy(pem);
    text.split("-----")
        .map(|part| {
            // Headers end at an empty line; without one there are none.
            let body =
                part.split_once("\n\n").filter(|(headers, _)| headers.contains(':')).map_or(part, |(_, body)| body);
            let mut digits: Vec<u8> =
                body.bytes().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect();
            if digits.len() % 4 == 1 {
                digits.pop();
            }
            lenient.decode(digits).unwrap_or_default()
        })
        .collect()
}

fn contains(bytes: &[u8]) -> bool {
    // Without its zeros, ASCII text is the same in UTF-8, Latin-1, UTF-16 and UTF-32.
    let narrow: Vec<u8> = bytes.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect();
    narrow.windows(MASTERS.len()).any(|window| window == MASTERS.as_bytes())
        || fold(&String::from_utf8_lossy(bytes)).contains(MASTERS)
        || [0, 1].iter().any(|start| {
            let wide = bytes.get(*start..).unwrap_or_default();
            let units = wide.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            fold(&text).contains(MASTERS)
        })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::{contains, hidden};

    #[test]
    fn finds_it_in_every_encoding() {
        let wide: Vec<u8> = "SYSTEM:Masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let little: Vec<u8> = "system:masters".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let four: Vec<u8> = "system:masters".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        let full: Vec<u8> = "\u{ff53}ystem:masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&b"x system:masters y"[..], &wide, &little, &four, &full, "\u{ff33}ystem:masters".as_bytes()] {
            let odd = [&[7][..], bytes].concat();
            assert!(contains(bytes) && contains(&odd), "{bytes:02x?}");
        }
        assert!(!contains(b"system:monitoring"));
    }

    #[test]
    fn finds_it_in_a_second_block_and_behind_headers() {
        let hidden_block = |headers: &str| {
            let body = STANDARD.encode("....system:masters....");
            format!("-----BEGIN X-----\nAAAA\n-----END X-----\n-----BEGIN Y-----\n{headers}{body}\n-----END Y-----\n")
        };
        assert!(hidden(hidden_block("").as_bytes()));
        assert!(hidden(hidden_block("A: b\n\n").as_bytes()));
        assert!(!hidden(b"-----BEGIN X-----\nAAAA\n-----END X-----\n"));
    }
}
