//! Foreign text in our output: nothing that a requestor chose reaches a log, a label or a terminal
//! as it is.

use std::fmt::Write;

/// The most characters that [`printable`] keeps.
pub const MAX_PRINTABLE: usize = 256;

/// `text` with everything that is not plainly visible written as `\u{202e}`, with `\`, `"` and
/// line ends escaped, and cut after [`MAX_PRINTABLE`] characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len().min(4 * MAX_PRINTABLE));
    for (index, c) in text.chars().enumerate() {
        if index == MAX_PRINTABLE {
            result.push('…');
            break;
        }
        match c {
            '\\' => result.push_str("\\\\"),
            '"' => result.push_str("\\\""),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            c if is_visible(c) => result.push(c),
            c => {
                let _ = write!(result, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    result
}

/// `text` as one line, with everything that is not plainly visible written as `\u{202e}`: for what
/// others wrote for people, and may have quoted more in.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' | '\t' => result.push(' '),
            c if is_visible(c) => result.push(c),
            c => {
                let _ = write!(result, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    result
}

/// JSON in which everything that is not plainly visible stands as `\u202e`: the same values, for whoever
/// parses it, and nothing for a terminal to obey.
#[must_use]
pub fn json(text: String) -> String {
    if text.chars().all(|c| c == '\n' || is_visible(c)) {
        return text;
    }
    let mut result = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if c == '\n' || is_visible(c) {
            result.push(c);
        } else {
            // Outside of strings JSON has nothing but ASCII.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(result, "\\u{unit:04x}");
            }
        }
    }
    result
}

/// The longest beginning of `text` of at most `max` bytes that ends on a character boundary; what
/// is cut shows as `…`.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Whether `c` shows as itself and moves nothing around it: no control, format, bidirectional,
/// zero-width, private-use or unassigned character, and of the spaces only the ordinary one.
#[must_use]
pub fn is_visible(c: char) -> bool {
    // `escape_debug` knows the Unicode tables of the standard library: what it leaves alone is
    // printable and no grapheme extender. It also escapes quotes, which are visible.
    matches!(c, '\'' | '"' | '\\') || (!c.is_control() && !is_format(c) && c.escape_debug().len() == 1)
}

/// Characters that act on others (general category Cf, and the tag characters).
pub(crate) fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::{cut, is_visible, json, one_line, printable};

    #[test]
    fn json_says_the_same_without_what_does_not_show() {
        let value = serde_json::json!({ "a": "\u{202e}\u{9b}\u{e0041}\n\u{eb}" });
        let text = json(serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains("\\u202e\\u009b\\udb40\\udc41\\n\u{eb}"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_others_wrote_stays_as_it_is_but_for_what_does_not_show() {
        assert_eq!(one_line("\"a\" is\n not \\b\n"), "\"a\" is  not \\b");
        assert_eq!(one_line("a\u{1b}[31m\u{2028}\u{9b}"), "a\\u{1b}[31m\\u{2028}\\u{9b}");
    }

    #[test]
    fn what_does_not_show_is_written_out() {
        assert_eq!(printable("zo\u{eb} \u{1f600}"), "zo\u{eb} \u{1f600}");
        assert_eq!(printable("a\u{1b}[31m\n\u{202e}\0"), "a\\u{1b}[31m\\n\\u{202e}\\u{0}");
        assert_eq!(printable("\u{200b}\u{feff}\u{ad}\u{e0041}"), "\\u{200b}\\u{feff}\\u{ad}\\u{e0041}");
        assert_eq!(printable("a\"b\\"), "a\\\"b\\\\");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 257);
    }

    #[test]
    fn a_cut_ends_on_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("\u{eb}\u{eb}\u{eb}", 5), "\u{eb}…");
        assert_eq!(cut("abcdef", 5), "ab…");
    }

    #[test]
    fn spaces_other_than_the_ordinary_one_do_not_pass() {
        assert!(is_visible(' '));
        for c in ['\u{a0}', '\u{2003}', '\u{3000}', '\u{2028}', '\u{e000}', '\u{300}'] {
            assert!(!is_visible(c), "{c:?}");
        }
    }
}
