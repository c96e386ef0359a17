//! PEM (RFC 7468) as it lies about in files: several blocks, text around them, headers of old.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One block.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// What stands behind BEGIN.
    pub(super) label: &'a str,
    /// From its first line to its last.
    pub(super) text: &'a str,
    /// Line of BEGIN, from 1.
    pub(super) line: u64,
    /// Whether a header says that the content is encrypted (RFC 1421).
    pub(super) encrypted: bool,
    /// The content, or why there is none.
    pub(super) der: Result<Vec<u8>, &'static str>,
}

/// The blocks of `text`, in order.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    // Label, line, where the block begins, and its lines so far.
    let mut open: Option<(&str, u64, usize, Vec<&str>)> = None;
    let mut at = 0;
    for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
        let line = whole.trim_end();
        if let Some(label) = boundary(line, "-----BEGIN ") {
            if let Some(unfinished) = open.replace((label, number, at, Vec::new())) {
                blocks.push(block(text, unfinished, at, false));
            }
        } else if boundary(line, "-----END ").is_some() {
            if let Some(finished) = open.take() {
                blocks.push(block(text, finished, at + whole.len(), true));
            }
        } else if let Some((.., lines)) = &mut open {
            lines.push(line);
        }
        at += whole.len();
    }
    if let Some(unfinished) = open {
        blocks.push(block(text, unfinished, at, false));
    }
    blocks
}

/// The lines of `text`, from 1, that were to begin a block, indented or with too few dashes, and begin none. Other programs
/// pass such a block over without a word.
pub(super) fn slips(text: &str) -> Vec<u64> {
    let slip = |line: &str| {
        let word = line.trim_start().strip_prefix("--").map(|rest| rest.trim_start_matches('-').trim_start());
        word.is_some_and(|word| word.starts_with("BEGIN ") || word.starts_with("BEGIN-"))
            && boundary(line.trim_end(), "-----BEGIN ").is_none()
    };
    (1..).zip(text.lines()).filter(|(_, line)| slip(line)).map(|(number, _)| number).collect()
}

fn boundary<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word)?.strip_suffix("-----")
}

fn block<'a>(
    text: &'a str,
    (label, line, begin, lines): (&'a str, u64, usize, Vec<&'a str>),
    end: usize,
    finished: bool,
) -> Block<'a> {
    let header = |line: &&&str| line.contains(": ");
    let encrypted =
        lines.iter().filter(header).any(|line| line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED"));
    let digits: String = lines.iter().filter(|line| !header(line)).flat_map(|line| line.split_whitespace()).collect();
    let der = if finished {
        STANDARD.decode(digits).map_err(|_| "its content is not base64")
    } else {
        Err("its last line is missing")
    };
    Block { label, text: &text[begin..end], line, encrypted, der }
}

#[cfg(test)]
mod tests {
    use super::{blocks, slips};

    #[test]
    fn what_nearly_begins_a_block_is_found() {
        let good = "-----BEGIN A-----\nAAEC\n-----END A-----\r\n";
        assert!(slips(&format!("BEGIN\n-- x\n{good}{good}")).is_empty());
        let bad = [
            "-----BEGIN A----",
            "  -----BEGIN A-----",
            "----BEGIN A-----",
            "------BEGIN A-----",
            "---- BEGIN SSH2 PUBLIC KEY ----",
        ];
        assert_eq!(slips(&format!("{good}{}", bad.join("\n"))), [4, 5, 6, 7, 8]);
    }

    #[test]
    fn every_block_is_found_whatever_stands_around_it() {
        let text = "comment: x\n-----BEGIN A-----\r\nAAEC\r\n-----END A-----\r\nBag Attributes\n-----BEGIN B B-----\n\
                    Proc-Type: 4,ENCRYPTED\n\nAAE=\n-----END B B-----\n-----BEGIN C-----\n?\n-----END C-----\n-----BEGIN D-----\n";
        let all = blocks(text);
        let shown: Vec<_> =
            all.iter().map(|block| (block.label, block.line, block.encrypted, block.der.clone())).collect();
        assert_eq!(
            shown,
            [
                ("A", 2, false, Ok(vec![0, 1, 2])),
                ("B B", 6, true, Ok(vec![0, 1])),
                ("C", 11, false, Err("its content is not base64")),
                ("D", 14, false, Err("its last line is missing")),
            ]
        );
        assert_eq!(all[0].text, "-----BEGIN A-----\r\nAAEC\r\n-----END A-----\r\n");
    }
}
