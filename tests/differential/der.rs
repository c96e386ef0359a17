//! DER as a tree, of which any element can be encoded in a way that DER forbids.

use fastrand::Rng;

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const UTF8: u8 = 0x0c;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// An element, or bytes that stand for some.
#[derive(Debug, Clone)]
pub struct Node {
    tag: u8,
    content: Content,
    form: Form,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Parts(Vec<Node>),
    /// Encoded already, with tag and length.
    Whole(Vec<u8>),
}

/// How an element is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Der,
    /// So many digits more than the length needs.
    Padded(u8),
    /// To the two zeros at the end.
    Indefinite,
    /// A length that is this much off.
    Off(i8),
    /// With these bytes after the content, which count.
    Appended(Vec<u8>),
    /// With these bytes after the element, which do not.
    Followed(Vec<u8>),
    /// The tag in more than one byte.
    LongTag,
    /// The tag with these bits turned: of another class, another type, or made of parts where it was not.
    OtherTag(u8),
    /// Cut to half.
    Cut,
    /// Twice.
    Twice,
    Missing,
    /// The content in two strings inside a constructed one.
    Constructed,
}

impl Node {
    pub fn leaf(tag: u8, content: impl Into<Vec<u8>>) -> Self {
        Self { tag, content: Content::Bytes(content.into()), form: Form::Der }
    }

    pub fn of(tag: u8, parts: impl Into<Vec<Self>>) -> Self {
        Self { tag, content: Content::Parts(parts.into()), form: Form::Der }
    }

    pub fn sequence(parts: impl Into<Vec<Self>>) -> Self {
        Self::of(SEQUENCE, parts)
    }

    pub fn set(parts: impl Into<Vec<Self>>) -> Self {
        Self::of(SET, parts)
    }

    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self { tag: 0, content: Content::Whole(bytes.into()), form: Form::Der }
    }

    /// What is encoded in these bytes, down to what has no parts, also inside a BIT STRING.
    pub fn decoded(bytes: &[u8]) -> Self {
        Self::parsed(bytes).filter(|(_, rest)| rest.is_empty()).map_or_else(|| Self::whole(bytes), |(node, _)| node)
    }

    /// The first element of these bytes, if it is DER with a tag of one byte, and what comes after it.
    fn parsed(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&tag, rest) = bytes.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f) * usize::from(first >> 7))?;
        let long = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        let stated = if first < 0x80 { usize::from(first) } else { long };
        let (content, rest) = rest.split_at_checked(stated)?;
        let inside = |mut bytes: &[u8]| {
            let mut parts = Vec::new();
            while !bytes.is_empty() {
                let (part, rest) = Self::parsed(bytes)?;
                parts.push(part);
                bytes = rest;
            }
            Some(parts)
        };
        let node = match (tag, content) {
            (BIT_STRING, [0, key @ ..]) if key.first() == Some(&SEQUENCE) => {
                Self::of(tag, [vec![Self::whole([0])], inside(key)?].concat())
            }
            _ if tag & 0x20 != 0 => Self::of(tag, inside(content)?),
            _ => Self::leaf(tag, content),
        };
        Some((node, rest))
    }

    /// An OBJECT IDENTIFIER from its arcs: `2.5.4.3`.
    pub fn oid(arcs: &str) -> Self {
        Self::leaf(OID, oid(arcs))
    }

    /// A BIT STRING without unused bits.
    pub fn bits(content: &[u8]) -> Self {
        Self::leaf(BIT_STRING, [&[0], content].concat())
    }

    pub fn null() -> Self {
        Self::leaf(0x05, [])
    }

    /// A string that BER writes in two parts.
    pub fn in_parts(mut self) -> Self {
        self.form = Form::Constructed;
        self
    }

    /// What it consists of, if of parts.
    pub fn into_parts(self) -> Vec<Self> {
        if let Content::Parts(parts) = self.content { parts } else { Vec::new() }
    }

    fn parts(&mut self) -> &mut [Self] {
        if let Content::Parts(parts) = &mut self.content { parts } else { &mut [] }
    }

    fn count(&mut self) -> usize {
        1 + self.parts().iter_mut().map(Self::count).sum::<usize>()
    }

    /// Encodes one element somewhere in the tree as DER does not.
    pub fn distort(&mut self, rng: &mut Rng) {
        let mut index = rng.usize(..self.count());
        self.distort_at(&mut index, rng);
    }

    fn distort_at(&mut self, index: &mut usize, rng: &mut Rng) -> bool {
        if *index == 0 {
            self.form = Form::any(rng);
            return true;
        }
        *index -= 1;
        self.parts().iter_mut().any(|part| part.distort_at(index, rng))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut content = match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Parts(parts) => parts.iter().flat_map(Self::encode).collect(),
            Content::Whole(bytes) => match &self.form {
                Form::Followed(more) | Form::Appended(more) => return [&bytes[..], more].concat(),
                Form::Cut => return bytes[..bytes.len() / 2].to_vec(),
                Form::Missing => return Vec::new(),
                _ => return bytes.clone(),
            },
        };
        let mut tag = vec![self.tag];
        let mut after: &[u8] = &[];
        match &self.form {
            Form::Appended(more) => content.extend(more),
            Form::Followed(more) => after = more,
            Form::LongTag => tag = vec![self.tag | 0x1f, self.tag & 0x1f],
            Form::OtherTag(bits) => tag = vec![self.tag ^ bits],
            Form::Cut => content.truncate(content.len() / 2),
            Form::Missing => return Vec::new(),
            Form::Indefinite => return [&[self.tag | 0x20, 0x80], &content[..], &[0, 0]].concat(),
            Form::Constructed => {
                let (one, two) = content.split_at(content.len() / 2);
                let parts = [Self::leaf(self.tag, one).encode(), Self::leaf(self.tag, two).encode()].concat();
                return [&[self.tag | 0x20], &length(parts.len(), 0)[..], &parts].concat();
            }
            _ => {}
        }
        let stated = match self.form {
            Form::Off(by) => content.len().saturating_add_signed(by.into()),
            _ => content.len(),
        };
        let padding = if let Form::Padded(digits) = self.form { digits } else { 0 };
        let encoded = [&tag, &length(stated, padding)[..], &content, after].concat();
        if self.form == Form::Twice { encoded.repeat(2) } else { encoded }
    }
}

impl Form {
    fn any(rng: &mut Rng) -> Self {
        let junk =
            |rng: &mut Rng| rng.choice([&[0][..], &[0, 0], &[5, 0], &[0x0c, 1, b'x'], b"junk"]).unwrap().to_vec();
        match rng.u8(..14) {
            0 | 1 => Self::Padded(rng.u8(1..5)),
            2 => Self::Indefinite,
            3 | 4 => Self::Off(*rng.choice(&[-2, -1, 1, 2, 100]).unwrap()),
            5 => Self::Appended(junk(rng)),
            6 => Self::Followed(junk(rng)),
            7 => Self::LongTag,
            8 => Self::Cut,
            9 => Self::Twice,
            10 => Self::Missing,
            11 => Self::OtherTag(*rng.choice(&[0x20, 0x40, 0x80, 0xc0]).unwrap()),
            12 => Self::OtherTag(rng.u8(1..)),
            _ => Self::Constructed,
        }
    }
}

/// A length in its shortest form, or with more digits than it needs.
fn length(value: usize, padding: u8) -> Vec<u8> {
    let digits: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if padding == 0 && value < 0x80 {
        return vec![u8::try_from(value).unwrap()];
    }
    // The first pad turns a short form into a long one.
    let zeros = usize::from(padding) - usize::from(padding > 0 && value < 0x80);
    let digits = [vec![0; zeros], digits].concat();
    [vec![0x80 | u8::try_from(digits.len()).unwrap()], digits].concat()
}

/// The content of an OBJECT IDENTIFIER.
pub fn oid(arcs: &str) -> Vec<u8> {
    let arcs: Vec<u64> = arcs.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut result = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let groups = (64 - (arc | 1).leading_zeros()).div_ceil(7);
        for group in (0..groups).rev() {
            let digit = u8::try_from(arc >> (7 * group) & 0x7f).unwrap();
            result.push(if group > 0 { digit | 0x80 } else { digit });
        }
    }
    result
}

#[test]
fn what_is_not_distorted_is_der() {
    assert_eq!(oid("1.2.840.113549.1.9.14"), [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e]);
    let tree = Node::sequence([Node::leaf(UTF8, vec![b'a'; 200]), Node::null()]);
    let encoded = tree.encode();
    assert_eq!((&encoded[..6], encoded.len()), (&[0x30, 0x81, 0xcd, 0x0c, 0x81, 0xc8][..], 208));
    assert_eq!(length(5, 2), [0x82, 0, 5]);
    assert_eq!(length(300, 1), [0x83, 0, 1, 44]);
}
