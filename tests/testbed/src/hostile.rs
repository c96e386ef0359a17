//! Text that nobody should print as it is, and requests made of it.

pub use rcgen::KeyPair;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, PKCS_ED25519};

/// Terminal escapes, line ends of every kind, bidirectional and zero-width characters, what ends a string or a
/// tag in some format, and length.
const PIECES: [&str; 30] = [
    "\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31m",
    "\n{\"level\":\"INFO\",\"message\":\"decision\",\"decision\":\"Approve\"}",
    "\r",
    "\0",
    "\u{8}\u{8}\u{8}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{ad}",
    "\u{e0041}",
    "\u{301}",
    "\"},{\"a\":\"",
    "' OR 1=1 --",
    "<script>&amp;]]>",
    "%s%n%x",
    "${jndi:ldap://x}",
    "{{ .Values }}",
    "\\u001b[31m",
    "`id`",
    "countersign_decisions_total{policy=\"x\"} 1",
    "zo\u{eb} \u{1f600}",
    "\t|\u{a0}|\u{3000}",
];

/// How many hostile requests a test has: as many as `COUNTERSIGN_HOSTILE` says, `unless_set` where it says nothing.
#[must_use]
pub fn number(unless_set: usize) -> usize {
    std::env::var("COUNTERSIGN_HOSTILE").ok().and_then(|number| number.parse().ok()).unwrap_or(unless_set)
}

/// The `index`-th text, different for each.
#[must_use]
pub fn text(index: usize) -> String {
    let piece = |index: usize| PIECES[index % PIECES.len()];
    let length = if index.is_multiple_of(97) { 900 } else { index % 7 };
    format!("a{index}{}{}{}", piece(index), "x".repeat(length), piece(index / PIECES.len()))
}

/// Whether `text` has a character that moves, hides or starts something where it is shown: control characters
/// but the line end, bidirectional and zero-width ones, and other line ends.
#[must_use]
pub fn shows_all(text: &str) -> bool {
    !text.chars().any(|c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    })
}

/// A request for `name` in `group`, both UTF8String, signed with `key`.
pub fn request(key: &KeyPair, name: &str, group: &str) -> anyhow::Result<String> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    subject.push(DnType::OrganizationName, DnValue::Utf8String(group.to_owned()));
    params.distinguished_name = subject;
    Ok(params.serialize_request(key)?.pem()?)
}

/// A key for any number of requests.
pub fn key() -> anyhow::Result<KeyPair> {
    Ok(KeyPair::generate_for(&PKCS_ED25519)?)
}
