//! Case folding and Unicode compatibility normalisation, for what looks like another name.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// `text` trimmed, without case and in normalisation form KC (Unicode TR 15): two names that fold
/// to the same text look alike to a person or to a careless comparison.
#[must_use]
pub fn fold(text: &str) -> String {
    let apart = fold_apart(text);
    if apart.is_ascii() { apart } else { apart.nfkc().collect() }
}

/// As [`fold`], with each mark apart from the letter before it (form KD): what a text begins with folds to what all of it
/// begins with, whatever comes next, but for further marks at its last letter.
#[must_use]
pub fn fold_apart(text: &str) -> String {
    if text.is_ascii() {
        // Its own compatibility form.
        return text.trim().to_ascii_lowercase();
    }
    // Decomposed first, since an iota subscript, which becomes a letter, stands behind all other marks (Unicode Standard, D145).
    let normal: String = text.nfkd().collect();
    let mut lower = String::with_capacity(normal.len());
    normal.chars().for_each(|c| push_without_case(c, &mut lower));
    // What has no upper case is its own normal form still.
    let apart = if lower == normal { normal } else { lower.nfkd().collect() };
    apart.trim().to_owned()
}

/// The first `length` characters of what [`fold_apart`] makes of `text`, of which no more is looked at than that takes. White
/// space at the end is left.
pub(crate) fn fold_beginning(text: &str, length: usize) -> String {
    if text.is_ascii() {
        return text.trim_start().chars().take(length).map(|c| c.to_ascii_lowercase()).collect();
    }
    let without_case = |c| {
        let mut folded = Vec::new();
        push_without_case(c, &mut folded);
        folded
    };
    text.nfkd().flat_map(without_case).nfkd().skip_while(|c| c.is_whitespace()).take(length).collect()
}

/// Whether `text` has an iota subscript, which is a mark as long as it is not folded, and a letter then.
pub(crate) fn has_iota_subscript(text: &str) -> bool {
    !text.is_ascii() && text.nfkd().any(|c| c == '\u{345}')
}

/// `folded`, which is [folded apart](fold_apart), without any iota: each may have been a subscript.
pub(crate) fn without_iotas(folded: &str) -> String {
    folded.replace('ι', "")
}

/// A text that is folded apart, and the marks at its last letter. Where it goes on, further marks may stand before or between
/// these, in canonical order (Unicode Standard, section 3.11): [`has_marks`].
pub(crate) fn split_marks(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(is_mark).len())
}

/// How many marks in a row are looked through: more than any letter has (UAX 15 allows 30 in its Stream-Safe Text Format).
pub(crate) const MOST_MARKS: usize = 64;

/// Whether `marks` are among those that `text` begins with, or whether these are too many to say.
pub(crate) fn has_marks(text: &str, marks: &str) -> bool {
    let of_text = || text.chars().take_while(|c| is_mark(*c));
    let mut found = of_text();
    of_text().nth(MOST_MARKS).is_some() || marks.chars().all(|mark| found.any(|c| c == mark))
}

/// Whether canonical order moves `c`.
pub(crate) fn is_mark(c: char) -> bool {
    !c.is_ascii() && canonical_combining_class(c) != 0
}

/// Puts what `c` and all that differs from it in case have in common into `folded`: through upper case, in which ς is Σ and ß
/// is SS. (A dotless ı becomes i, which Unicode's own folding leaves to Turkish.)
pub(crate) fn push_without_case(c: char, folded: &mut impl Extend<char>) {
    if c.is_ascii() {
        return folded.extend([c.to_ascii_lowercase()]);
    }
    let (lower, upper) = (c.to_lowercase(), c.to_uppercase());
    if lower.len() == 1 && upper.len() == 1 && lower.clone().eq(upper) {
        return folded.extend(lower);
    }
    folded.extend(lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::{fold, fold_apart, fold_beginning};

    #[test]
    fn case_is_folded_and_not_only_lowered() {
        for (one, other) in [
            ("ΠΡΌΕΔΡΟΣ", "πρόεδρος"),
            ("STRASSE", "straße"),
            ("STRA\u{1e9e}E", "strasse"),
            ("\u{fb03}", "FFI"),
            ("\u{149}a", "\u{2bc}Na"),
            ("\u{130}", "i\u{307}"),
            ("\u{131}", "I"),
            ("\u{17f}", "S"),
            ("\u{212a}", "k"),
            ("\u{ab70}", "\u{13a0}"),
            ("\u{1fb4}", "\u{1fb3}\u{301}"),
            ("\u{1fb3}\u{323}", "\u{3b1}\u{323}\u{3b9}"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} and {other}");
        }
    }

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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Of texts in which white space, marks, letters that become several, and some that are not seen stand anywhere.
        #[test]
        fn a_beginning_is_what_all_of_a_text_begins_with(text in "([ \u{9}\u{b4}\u{2003}]{0,3}([sSeE\u{17f}\u{df}\u{130}\u{149}\u{e9}\u{ac01}\u{fb03}\u{fdfa}\u{ff33}]|[\u{300}\u{323}\u{327}\u{344}\u{345}]{1,3}|[\u{ad}\u{34f}\u{200b}\u{1fb4}]|\\PC|[a-z:]{1,3})){0,8}[ \u{a0}]{0,2}", length in 0..30_usize) {
            let whole: String = fold_apart(&text).chars().take(length).collect();
            let beginning = fold_beginning(&text, length);
            prop_assert!(beginning.chars().count() <= length);
            prop_assert_eq!(beginning.trim_end(), whole.trim_end());
        }
    }
}
