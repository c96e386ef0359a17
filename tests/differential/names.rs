//! Texts, in every string type and in none; names for the subject and for the SANs.

use fastrand::Rng;

use super::der::{self, Node};
use super::disguise::disguised;

/// CN, O and OU, and what else a subject may have, that decodes.
pub const KNOWN: [&str; 9] =
    ["2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6", "2.5.4.7", "2.5.4.8", "2.5.4.9", "2.5.4.17", "2.5.4.5"];

/// UID, the API server's own uid, emailAddress, DC, title, SN, GN, name, dnQualifier, and arcs close to those of CN and O.
const UNKNOWN: [&str; 14] = [
    "0.9.2342.19200300.100.1.1",
    "1.3.6.1.4.1.57683.2",
    "1.2.840.113549.1.9.1",
    "0.9.2342.19200300.100.1.25",
    "2.5.4.12",
    "2.5.4.4",
    "2.5.4.42",
    "2.5.4.41",
    "2.5.4.46",
    "2.5.4.3.1",
    "2.5.5.10",
    "2.5.4.138",
    "2.5.4.97",
    "1.3.6.1.4.1.311.60.2.1.3",
];

/// The types that a string may have in ASN.1, and some that are none.
const TAGS: [u8; 21] = [
    0x0c, 0x13, 0x16, 0x14, 0x1e, 0x1c, 0x12, 0x1a, 0x1b, 0x15, 0x19, 0x04, 0x03, 0x02, 0x05, 0x06, 0x17, 0x30, 0x31,
    0x80, 0xa0,
];

const BENIGN: [&str; 20] = [
    "amy",
    "developers",
    "oncall",
    "ops:admin",
    "system:node:worker-1",
    "system:nodes",
    "system:mastersx",
    "kubeadm:cluster-admins",
    "a",
    "a b",
    "O'Neil & Sons",
    "amy@example.com",
    "zo\u{eb}",
    "\u{65e5}\u{672c}\u{8a9e}",
    "\u{441}ystem:masters",
    "a,b+c=d",
    "\"quoted\"",
    "*",
    "1.2.3.4",
    "oidc:https://issuer.example.com#amy",
];

/// What some reader takes for `system:masters`.
const MASTERS: [&str; 10] = [
    "system:masters",
    "SYSTEM:MASTERS",
    "System:Masters",
    " system:masters",
    "system:masters ",
    "\u{ff53}ystem:masters",
    "\u{ff33}\u{ff39}\u{ff33}\u{ff34}\u{ff25}\u{ff2d}\u{ff1a}\u{ff2d}asters",
    "\u{17f}ystem:masters",
    "sy\u{fb06}em:ma\u{fb06}ers",
    "\u{2003}system:masters",
];

const HOSTILE: [&str; 24] = [
    "",
    " ",
    "\0",
    "amy\0",
    "amy\0system:masters",
    "amy\nO=system:masters",
    "amy\u{202e}",
    "\u{200b}amy",
    "amy\u{200d}",
    "\u{feff}amy",
    "a\u{ad}my",
    "\u{1b}[31mamy",
    "\u{7f}",
    "\u{85}",
    "\u{a0}amy",
    "\u{2028}",
    "\u{e0041}amy",
    "\u{300}amy",
    "amy\u{300}\u{301}\u{302}",
    "\u{e000}",
    "\u{10ffff}",
    "\u{fdd0}",
    "\u{1d173}",
    "amy/O=system:masters",
];

/// Not UTF-8: overlong, surrogates, beyond the last character, cut, Latin-1.
const BROKEN: [&[u8]; 9] = [
    b"am\xff",
    b"\xc0\x80",
    b"\xc1\xa1my",
    b"\xe0\x80\xa1",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"amy\xc3",
    b"zo\xeb",
    b"\xf8\x88\x80\x80\x80",
];

pub fn benign_text(rng: &mut Rng) -> String {
    match rng.u8(..10) {
        0 => (0..rng.usize(1..200)).map(|_| rng.alphanumeric()).collect(),
        1 => {
            let pool: Vec<char> = "az09-._:/@ \u{eb}\u{3b1}\u{436}\u{5d0}\u{4e2d}\u{1f600}".chars().collect();
            (0..rng.usize(1..20)).map(|_| *rng.choice(&pool).unwrap()).collect()
        }
        _ => (*rng.choice(&BENIGN).unwrap()).to_owned(),
    }
}

/// A value that decodes, as UTF8String or, where its characters permit, PrintableString.
pub fn benign_value(text: &str, rng: &mut Rng) -> Node {
    let printable = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let tag = if printable && rng.bool() { 0x13 } else { der::UTF8 };
    Node::leaf(tag, text)
}

/// `text` as the string type `tag` encodes it.
fn encoded(tag: u8, text: &str) -> Vec<u8> {
    match tag {
        0x1e => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        0x1c => text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
        // Latin-1 where it can be.
        0x14 if text.chars().all(|c| u32::from(c) < 256) => text.chars().map(|c| c as u8).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

fn any_text(rng: &mut Rng) -> String {
    match rng.u8(..12) {
        0..4 => benign_text(rng),
        4..6 => (*rng.choice(&MASTERS).unwrap()).to_owned(),
        6..10 => (*rng.choice(&HOSTILE).unwrap()).to_owned(),
        10 => (0..rng.usize(..12)).map(|_| char::from(rng.u8(..128))).collect(),
        _ => (0..rng.usize(..6)).map(|_| rng.char(..)).collect(),
    }
}

/// A value of any type.
pub fn any_value(rng: &mut Rng) -> Node {
    let tag = *rng.choice(&TAGS).unwrap();
    let value = match rng.u8(..10) {
        0 => Node::leaf(tag, *rng.choice(&BROKEN).unwrap()),
        1 => Node::leaf(der::UTF8, *rng.choice(&BROKEN).unwrap()),
        2..5 => Node::leaf(if rng.bool() { der::UTF8 } else { 0x13 }, any_text(rng)),
        _ => Node::leaf(tag, encoded(tag, &any_text(rng))),
    };
    if rng.u8(..12) == 0 { value.in_parts() } else { value }
}

/// A spelling of `system:masters` as a value of some string type.
pub fn masters_value(rng: &mut Rng) -> Node {
    let tag = *rng.choice(&[0x0c, 0x0c, 0x0c, 0x13, 0x16, 0x14, 0x1e, 0x1c, 0x12, 0x1a, 0x1b, 0x15, 0x04]).unwrap();
    let text = if rng.bool() { (*rng.choice(&MASTERS).unwrap()).to_owned() } else { disguised("system:masters", rng) };
    let value = Node::leaf(tag, encoded(tag, &text));
    if rng.u8(..8) == 0 { value.in_parts() } else { value }
}

pub fn pair(kind: &str, value: Node) -> Node {
    Node::sequence([Node::oid(kind), value])
}

/// An attribute of the subject of any type with any value.
pub fn any_pair(rng: &mut Rng) -> Node {
    let kind = match rng.u8(..10) {
        0..3 => Node::oid(rng.choice(&UNKNOWN).unwrap()),
        3 => Node::leaf(der::OID, *rng.choice(&[&[0x55, 4, 0x80, 3][..], &[0x55, 4, 0x8a], &[0x55], &[]]).unwrap()),
        _ => Node::oid(rng.choice(&KNOWN).unwrap()),
    };
    let mut parts = vec![kind, any_value(rng)];
    if rng.u8(..20) == 0 {
        parts.push(any_value(rng));
    }
    Node::sequence(parts)
}

const DNS: [&str; 9] = [
    "a",
    "vpn.example.com",
    "VPN.Example.COM",
    "*.example.com",
    "*",
    "_acme-challenge.example.com",
    "xn--bcher-kva.example",
    "a-b.c1.2d",
    "w*.example.com",
];
const BAD_DNS: [&str; 20] = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "10.0.0.1",
    "1",
    "0x7f.1",
    "a.0x1",
    "a b",
    "a\0.example.com",
    "a/b",
    "a:443",
    "b\u{fc}cher.example",
    "\u{ff41}.example",
    "a\n",
    "-",
    "system:masters",
    "[::1]",
    "::1",
];
const URIS: [&str; 22] = [
    "spiffe://example.com/ns/default/sa/web",
    "https://example.com:8443/a?b=c#d",
    "HTTPS://Example.com/",
    "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "https://[2001:db8::1]/x",
    "file:///etc/x",
    "mailto:amy@example.com",
    "x:y",
    "x:/",
    "x:/y//z",
    "https://h",
    "spiffe://h?q",
    "https://h/?",
    "https://h/a;b=c,d(e)!$&'*+",
    "x:?q",
    "x:y?q?r",
    "https://h/a#b?c/d",
    "x:///y",
    "x:////y",
    "https://h/~a",
    "https://h//a//b",
    "a+b-c.d://h/",
];
const BAD_URIS: [&str; 38] = [
    "https://h?q",
    "http://h:8080#q",
    "file:/x",
    "FILE://h/x",
    "",
    "x",
    "x:",
    "//h/",
    ":x",
    "1x://h",
    "http://",
    "http://?a",
    "http://u@h/",
    "http://u:p@h/",
    "http://h/%2e",
    "http://h/%00",
    "http://h/a/../b",
    "http://h/./b",
    "http://h#",
    "http://h:0080/",
    "http://h:99999/",
    "http://h\\x",
    "http://a..b/",
    "http://h:",
    "http://[::1",
    "http://[fe80::1%25eth0]/",
    "spiffe://h/a b",
    "http://h/\u{eb}",
    "http://10.1/",
    "http://0x7f000001/",
    "http://h./",
    "http://h/a#b#c",
    "http://\0/",
    "system:masters",
    "http://*/",
    "http://h/..",
    "https://h/[x]",
    "x:[::1]",
];
const EMAILS: [&str; 4] = ["amy@example.com", "a.b+c@example.com", "A@B.c", "a_b@x-y.z"];
const BAD_EMAILS: [&str; 14] = [
    "",
    "a",
    "@b.c",
    "a@",
    "a@b@c",
    "a b@c.d",
    "\"a\"@c.d",
    "a@10.0.0.1",
    "a..b@c.d",
    "a@b.",
    "Amy <a@b.c>",
    "a@b\u{fc}.c",
    "a\0@b.c",
    "a@*.c",
];

/// A `GeneralName` that decodes.
pub fn benign_san(rng: &mut Rng) -> Node {
    match rng.u8(..5) {
        0 | 1 => Node::leaf(0x82, *rng.choice(&DNS).unwrap()),
        2 => match rng.u8(..3) {
            0 => Node::leaf(0x87, [10, rng.u8(..), rng.u8(..), rng.u8(..)]),
            1 => Node::leaf(0x87, [0; 4]),
            _ => {
                let mut address = [0; 16];
                rng.fill(&mut address);
                address[0] = 0x20;
                Node::leaf(0x87, address)
            }
        },
        3 => Node::leaf(0x86, *rng.choice(&URIS).unwrap()),
        _ => Node::leaf(0x81, *rng.choice(&EMAILS).unwrap()),
    }
}

/// A `GeneralName` of any kind.
pub fn any_san(rng: &mut Rng) -> Node {
    let text = |rng: &mut Rng, values: &[&str]| rng.choice(values).copied().unwrap().as_bytes().to_vec();
    match rng.u8(..16) {
        0..3 => Node::leaf(0x82, text(rng, &BAD_DNS)),
        3..5 => Node::leaf(0x86, text(rng, &BAD_URIS)),
        5 | 6 => Node::leaf(0x81, text(rng, &BAD_EMAILS)),
        7 | 8 => {
            let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
            let lengths: [&[u8]; 7] =
                [&[], &[10], &[10, 0, 0, 0, 0xff, 0, 0, 0], &[0; 5], &[0; 32], &mapped, &mapped[..15]];
            Node::leaf(0x87, *rng.choice(&lengths).unwrap())
        }
        9 => {
            let upn = Node::of(0xa0, [any_value(rng)]);
            Node::of(0xa0, [Node::oid("1.3.6.1.4.1.311.20.2.3"), upn])
        }
        10 => Node::of(0xa4, [Node::sequence([Node::set([any_pair(rng)])])]),
        11 => Node::of(0xa5, [Node::of(0xa1, [any_value(rng)])]),
        12 => Node::leaf(0x88, der::oid("2.5.4.3")),
        13 => Node::of(0xa3, [any_value(rng)]),
        14 => Node::of(*rng.choice(&[0xa1, 0xa2, 0xa6, 0xa7]).unwrap(), [any_value(rng)]),
        _ => {
            let tag = *rng.choice(&[0x80, 0x81, 0x82, 0x83, 0x86, 0x89, 0x8f, 0x0c, 0x16, 0x42, 0xc2]).unwrap();
            let length = *rng.choice(&[0, 1, 63, 64, 253, 254, 300]).unwrap();
            let random = if rng.bool() { vec![b'a'; length] } else { any_text(rng).into_bytes() };
            Node::leaf(tag, random)
        }
    }
}
