//! Bytes changed blindly.

use fastrand::Rng;

/// Changes `bytes` in one to three places; `other` lends pieces.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.usize(..bytes.len());
        match rng.u8(..9) {
            0..3 => bytes[at] ^= 1 << rng.u8(..8),
            3 => bytes[at] = rng.u8(..),
            4 => bytes[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0x81, 0xff, 0x0c, 0x13, 0x1e, 0x30, 0x31, 0xa0]).unwrap(),
            5 => bytes.insert(at, rng.u8(..)),
            6 => {
                bytes.remove(at);
            }
            7 => {
                let end = (at + rng.usize(1..40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = rng.usize(..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let from = rng.usize(..other.len());
                let piece = &other[from..(from + rng.usize(1..60)).min(other.len())];
                let end = (at + rng.usize(..60)).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
        }
    }
}

/// Changes one byte of the content of a string of DER, and leaves its length, so that more of it still decodes.
pub fn mutate_text(bytes: &mut [u8], rng: &mut Rng) {
    let strings: Vec<(usize, usize)> = (0..bytes.len().saturating_sub(2))
        .filter(|at| {
            matches!(bytes[*at], 0x0c | 0x13 | 0x81 | 0x82 | 0x86) && bytes[at + 1] > 0 && bytes[at + 1] < 0x80
        })
        .map(|at| (at + 2, usize::from(bytes[at + 1])))
        .filter(|(at, length)| at + length <= bytes.len())
        .collect();
    if let Some((at, length)) = rng.choice(&strings).copied() {
        bytes[at + rng.usize(..length)] = *rng.choice(b"aA0 *.:/%@#?[]_-~\0\x7f\x80\xc3\xff\\\"'&=;,").unwrap();
    }
}
