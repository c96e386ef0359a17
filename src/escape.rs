//! stub
/// stub
#[must_use]
pub fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}
