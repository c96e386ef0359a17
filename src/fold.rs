//! Case folding and Unicode compatibility normalisation, for what looks like another name.

use unicode_normalization::UnicodeNormalization;

/// `text` trimmed, in lower case and in normalisation form KC (Unicode TR 15): two names that fold
/// to the same text look alike to a person or to a careless comparison.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        // Its own compatibility form.
        return text.trim().to_ascii_lowercase();
    }
    let normal: String = text.nfkc().collect();
    let lower: String = normal.chars().flat_map(char::to_lowercase).collect();
    // What has no upper case is its own normal form still.
    let folded = if lower == normal { normal } else { lower.nfkc().collect() };
    folded.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::fold;

    #[test]
    fn ascii_folds_as_all_text_does() {
        for byte in 0..0x80_u8 {
            for text in [
                format!("{}aZ", char::from(byte)),
                format!("aZ{}", char::from(byte)),
                format!("a{}Z", char::from(byte)),
            ] {
                let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
                assert_eq!(fold(&text), lower.nfkc().collect::<String>().trim(), "{text:?}");
            }
        }
        // U+0130 becomes i and a dot above it, which compose with nothing; U+FDFA eighteen letters without case.
        for text in ["\u{e9}", "\u{c9}A", "\u{130}", "\u{fdfa}", "\u{3a9}\u{301}", "\u{2126}", "x\u{ff21}\u{301}"] {
            let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
            assert_eq!(fold(text), lower.nfkc().collect::<String>().trim(), "{text:?}");
        }
        assert_eq!(fold(" \u{ff33}ystem:Masters\t"), "system:masters");
    }
}
