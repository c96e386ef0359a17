//! PEM (RFC 7468), strictly: one block, no headers, nothing but white space around it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{DecodeCode, DecodeError, MAX_REQUEST_BYTES};

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const END: &str = "-----END CERTIFICATE REQUEST-----";

/// The DER bytes of the one block in `pem`.
pub(super) fn decode(pem: &[u8]) -> Result<Vec<u8>, DecodeError> {
    if pem.len() > MAX_REQUEST_BYTES {
        return Err(too_large(pem.len()));
    }
    let wrong = |what: &str| {
        DecodeError::new(
            DecodeCode::PemMalformed,
            "request",
            "",
            format!(
                "the request is not exactly one PEM block CERTIFICATE REQUEST ({what}): make it, for example, with \
                 openssl req -new"
            ),
        )
    };
    if pem.is_empty() {
        return Err(wrong("it is empty"));
    }
    let text = std::str::from_utf8(pem).ok().filter(|text| text.is_ascii()).ok_or_else(|| wrong("it is not text"))?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| wrong("its first line is another"))?;
    let (body, after) = rest.split_once(END).ok_or_else(|| wrong("its last line is missing"))?;
    if !before.chars().all(is_space) {
        return Err(wrong("something stands before it"));
    }
    if !after.chars().all(is_space) {
        return Err(wrong("something stands after it"));
    }
    // Go, with which the API server reads, knows no line that ends in a carriage return alone, and no indentation.
    let begins_a_line = before.is_empty() || before.ends_with('\n');
    let ends_a_line = blank(after).is_empty() || line_end(after).is_some();
    let body = line_end(body).filter(|_| begins_a_line && ends_a_line && body.ends_with('\n'));
    let body = body.ok_or_else(|| wrong("its first and last line are not lines of their own"))?;
    if body.contains("-----") {
        return Err(wrong("there are several blocks"));
    }
    if body.contains(':') {
        return Err(wrong("it has headers"));
    }
    let digits: Vec<u8> = body.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).collect();
    STANDARD.decode(digits).map_err(|_| wrong("its content is not base64"))
}

/// `text` without the blanks before it, which some editors leave behind.
fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What follows the end of the line, if nothing is left on it.
fn line_end(text: &str) -> Option<&str> {
    let end = blank(text);
    end.strip_prefix('\n').or_else(|| end.strip_prefix("\r\n"))
}

/// The white space that may stand around a block.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

pub(super) fn too_large(bytes: usize) -> DecodeError {
    DecodeError::new(
        DecodeCode::RequestTooLarge,
        "request",
        &bytes.to_string(),
        format!("the request has {bytes} bytes, and at most {MAX_REQUEST_BYTES} are read: ask for fewer names"),
    )
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::request::{DecodeCode, MAX_REQUEST_BYTES};

    fn block(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    }

    #[test]
    fn takes_one_block_with_white_space_around_it() {
        for text in [
            block("AAEC"),
            block("AAE\nC"),
            block("AAEC").replace('\n', "\r\n"),
            block("AAEC").trim_end().to_owned(),
            format!("\n \t\n{}\n\n", block("AAEC")),
            block("AAEC").replace('\n', " \t\r\n"),
            block("AA\rEC"),
            format!("{} ", block("AAEC").trim_end()),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), [0, 1, 2], "{text:?}");
        }
    }

    #[test]
    fn refuses_every_other_shape() {
        let good = block("AAEC");
        for text in [
            String::new(),
            "AAEC".to_owned(),
            format!("{good}{good}"),
            format!("x\n{good}"),
            format!("{good}x"),
            good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            good.replace("-----\nAAEC", "-----AAEC"),
            good.replace("AAEC\n", "AAEC"),
            block("Proc-Type: 4,ENCRYPTED\n\nAAEC"),
            block("AAE"),
            block("AAE="),
            block("AAEC===="),
            block("AA-_"),
            block("AA\u{b}EC"),
            good.replace("END", "END "),
            format!("\u{feff}{good}"),
            format!(" {good}"),
            format!("\r{good}"),
            good.replace('\n', "\r"),
            good.replace("-----\nAAEC", "-----\rAAEC"),
            good.replace("-----\nAAEC", "-----\r \nAAEC"),
            good.replace("AAEC\n", "AAEC\r"),
            format!("{}\r", good.trim_end()),
            format!("{}\r\r\n", good.trim_end()),
        ] {
            if text == block("AAE=") {
                // Two bytes: canonical base64 after all.
                assert!(decode(text.as_bytes()).is_ok());
                continue;
            }
            assert_eq!(decode(text.as_bytes()).unwrap_err().code, DecodeCode::PemMalformed, "{text:?}");
        }
        // Bits after the last byte are not zero.
        assert!(decode(block("AAF=").as_bytes()).is_err());
        let mut longest = good.clone();
        longest.push_str(&"\n".repeat(MAX_REQUEST_BYTES - good.len()));
        assert_eq!(decode(longest.as_bytes()).unwrap(), [0, 1, 2]);
        longest.push('\n');
        assert_eq!(decode(longest.as_bytes()).unwrap_err().found, (MAX_REQUEST_BYTES + 1).to_string());
        let long = block(&"AAAA".repeat(MAX_REQUEST_BYTES / 4));
        assert_eq!(decode(long.as_bytes()).unwrap_err().code, DecodeCode::RequestTooLarge);
    }
}
