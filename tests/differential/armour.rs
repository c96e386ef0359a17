//! PEM in every shape.

use fastrand::Rng;

use crate::cluster::base64;

const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----\n";
const END: &str = "-----END CERTIFICATE REQUEST-----\n";

fn lines(der: &[u8], width: usize) -> String {
    let digits = base64(der);
    let lines: Vec<&str> = digits.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\n") + "\n"
}

/// As openssl writes it.
pub fn plain(der: &[u8]) -> Vec<u8> {
    format!("{BEGIN}{}{END}", lines(der, 64)).into_bytes()
}

/// A shape that clients and editors leave behind, and that decodes.
pub fn benign(der: &[u8], rng: &mut Rng) -> Vec<u8> {
    let text = String::from_utf8(plain(der)).unwrap();
    match rng.u8(..8) {
        0 => text.replace('\n', "\r\n"),
        1 => text.trim_end().to_owned(),
        2 => format!("\n\n{text}\n\n"),
        3 => format!("{BEGIN}{}{END}", lines(der, 76)),
        4 => format!("{BEGIN}{}\n{END}", base64(der)),
        5 => text.replace('\n', " \n"),
        6 => format!("{BEGIN}{}{END}", lines(der, 1)),
        _ => text,
    }
    .into_bytes()
}

/// A shape that hides something, or that some reader refuses. `other` is another request.
pub fn hostile(der: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let body = lines(der, 64);
    let good = format!("{BEGIN}{body}{END}");
    let decoy = format!("{BEGIN}{}{END}", lines(other, 64));
    let label = |label: &str| good.replace("CERTIFICATE REQUEST", label);
    let result = match rng.u8(..40) {
        0 => format!("{good}{decoy}"),
        1 => format!("{decoy}{good}"),
        2 => format!("{}{good}", decoy.replace("REQUEST", "REQUESTS")),
        3 => format!("junk\n{good}"),
        4 => format!("junk{good}"),
        5 => format!("{good}junk"),
        6 => format!("{good}\u{b}"),
        7 => format!("\u{feff}{good}"),
        8 => label("NEW CERTIFICATE REQUEST"),
        9 => label("CERTIFICATE"),
        10 => label("certificate request"),
        11 => label("CERTIFICATE  REQUEST"),
        12 => label("CERTIFICATE REQUEST "),
        13 => good.replace("-----BEGIN", "----BEGIN"),
        14 => good.replace("-----BEGIN", "------BEGIN"),
        15 => good.replace("REQUEST-----\n", "REQUEST------\n"),
        16 => format!("{BEGIN}Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n{body}{END}"),
        17 => format!("{BEGIN}A: b\n{body}{END}"),
        18 => format!("{BEGIN}:\n{body}{END}"),
        19 => format!("{BEGIN}\n{body}\n{END}"),
        20 => format!("{BEGIN}{}{END}", body.replace('\n', "\r")),
        21 => format!("{}{body}{END}", BEGIN.replace('\n', "\r")),
        22 => format!("{BEGIN}{}{END}", body.trim_end()),
        23 => format!("{}{body}{END}", BEGIN.trim_end()),
        24 => format!("{BEGIN}{}{END}", body.trim_end().to_owned() + "=\n"),
        25 => format!("{BEGIN}{}{END}", body.replace('=', "")),
        26 => format!("{BEGIN}{}{END}", body.replace('+', "-").replace('/', "_")),
        27 => {
            // Bits after the last byte that are not zero.
            let position = body.trim_end().trim_end_matches('=').len().saturating_sub(1);
            let mut bytes = good.into_bytes();
            bytes[BEGIN.len() + position] = *rng.choice(b"BRZ9f").unwrap();
            return bytes;
        }
        28 => format!("{BEGIN}{}====\n{body}{END}", base64(&other[..other.len().min(3)])),
        29 => {
            let at = rng.usize(..body.len());
            let inserted =
                *rng.choice(&[" ", "\t", "\u{b}", "\0", "!", "\u{a0}", "\n\n", "=", "-----", ":", "\r"]).unwrap();
            format!("{BEGIN}{}{inserted}{}{END}", &body[..at], &body[at..])
        }
        30 => format!("{BEGIN}{BEGIN}{body}{END}"),
        31 => format!("{BEGIN}{body}{END}{END}"),
        32 => format!("{BEGIN}{decoy}{body}{END}"),
        33 => format!("{BEGIN}{body}-----END CERTIFICATE-----\n{END}"),
        34 => format!("{BEGIN}{body}-----END CERTIFICATE-----\n"),
        35 => body,
        36 => return der.to_vec(),
        37 => format!("{}{good}", "\n".repeat(rng.usize(60_000..70_000))),
        38 => good.chars().flat_map(|c| [c, '\0']).collect(),
        _ => good.replace("-----END", "- ----END"),
    };
    result.into_bytes()
}
