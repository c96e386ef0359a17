//! Case folding and Unicode compatibility normalisation, for what looks like another name.

use unicode_normalization::UnicodeNormalization;

/// `text` trimmed, in lower case and in normalisation form KC (Unicode TR 15): two names that fold
/// to the same text look alike to a person or to a careless comparison.
#[must_use]
pub fn fold(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).collect();
    lower.nfkc().collect::<String>().trim().to_owned()
}
