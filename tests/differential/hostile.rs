//! Requests from raw DER, really signed: ordinary ones, and ones that are not.

use fastrand::Rng;

use super::der::{self, Node};
use super::go::{Context, Go};
use super::keys::{self, Key};
use super::names::{KNOWN, any_pair, any_san, any_value, benign_san, benign_text, benign_value, masters_value, pair};
use super::{armour, disguise, mutate};

const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
/// What Microsoft's clients ask for extensions with.
const MICROSOFT_EXTENSIONS: &str = "1.3.6.1.4.1.311.2.1.14";

/// What the decoder must make of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it makes of it, Go must agree where it decodes.
    Agreement,
    /// It decodes.
    Decodes,
    /// It asks for `system:masters`, whether or not it decodes.
    Masters,
    /// It asks for a reserved name in disguise, which no pattern permits that does not spell its prefix out.
    Reserved,
}

pub struct Sample {
    pub pem: Vec<u8>,
    pub context: Context,
    pub expect: Expect,
}

/// Makes samples; the same seed and index make the same sample, but for random signatures and keys.
pub struct Generator {
    go: Go,
    keys: Vec<Key>,
    /// The request before, of which mutations borrow.
    last: Vec<u8>,
}

/// A request before it is encoded.
struct Plan {
    version: Node,
    subject: Vec<Node>,
    key: usize,
    /// The key that signs, and that stands in the request unless `info` does.
    info: Option<Node>,
    extensions: Vec<Node>,
    /// The other PKCS#10 attributes.
    attributes: Vec<Node>,
    /// The extensions go into an attribute of this type, if into any.
    request: Node,
    algorithm: Option<Node>,
    hash: &'static str,
    salt: Option<usize>,
    signature: SignatureForm,
    before: Vec<Change>,
    after: Vec<Change>,
    context: Context,
}

enum SignatureForm {
    Valid,
    ByAnother,
    Flipped,
    Empty,
    Zeros,
    UnusedBits(u8),
    Longer,
    /// As an OCTET STRING.
    OtherTag,
}

/// A change of the encoding, before or after it is signed.
enum Change {
    Distort,
    Mutate,
    Text,
}

type Defect = fn(&mut Plan, &mut Rng, &[Key]);

impl Generator {
    pub fn new() -> Self {
        let mut go = Go::start();
        let keys = keys::all(&mut go);
        Self { go, keys, last: vec![0x30, 1, 0] }
    }

    pub fn sample(&mut self, seed: u64, index: u64) -> Sample {
        let mut rng = Rng::with_seed(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rng = &mut rng;
        let mut plan = Plan::benign(rng, &self.keys);
        let mut expect = Expect::Agreement;
        let defects = match rng.u8(..100) {
            0..25 => {
                expect = Expect::Decodes;
                0
            }
            25..60 => 1,
            60..68 => rng.usize(2..5),
            68..74 => {
                expect = Expect::Masters;
                usize::from(rng.bool())
            }
            74..78 => {
                expect = Expect::Reserved;
                usize::from(rng.u8(..4) == 0)
            }
            78..86 => {
                plan.before.push(Change::Text);
                0
            }
            86..94 => {
                plan.before.push(Change::Mutate);
                0
            }
            94..97 => {
                plan.after.push(Change::Mutate);
                0
            }
            _ => {
                if rng.bool() { &mut plan.before } else { &mut plan.after }.push(Change::Distort);
                0
            }
        };
        for _ in 0..defects {
            let defect = rng.choice(&DEFECTS).unwrap();
            defect(&mut plan, rng, &self.keys);
        }
        if expect == Expect::Masters {
            plan.ask_for_masters(rng);
            if rng.u8(..8) == 0 {
                plan.info = Some(broken_key(rng, &self.keys));
            }
            // An element that is cut off or left out leaves nothing to be found.
            plan.before.clear();
            plan.after.clear();
        }
        if expect == Expect::Reserved {
            plan.ask_for_reserved(rng);
            plan.before.clear();
            plan.after.clear();
        }
        let request = self.encode(&plan, rng);
        let pem = match (expect, rng.u8(..100)) {
            (_, 0..70) => armour::plain(&request),
            (Expect::Agreement, 90..) => armour::hostile(&request, &self.last, rng),
            (_, _) => armour::benign(&request, rng),
        };
        // Mutations borrow from it, and one that was cut away has nothing to lend.
        if request.len() > 2 {
            self.last = request;
        }
        Sample { pem, context: plan.context, expect }
    }

    fn encode(&mut self, plan: &Plan, rng: &mut Rng) -> Vec<u8> {
        let key = &self.keys[plan.key];
        let info = plan.info.clone().unwrap_or_else(|| Node::decoded(&key.info));
        let mut attributes = plan.attributes.clone();
        if !plan.extensions.is_empty() {
            let values = Node::set([Node::sequence(plan.extensions.clone())]);
            let at = rng.usize(..=attributes.len());
            attributes.insert(at, Node::sequence([plan.request.clone(), values]));
        }
        let subject = Node::sequence(plan.subject.clone());
        let mut tree = Node::sequence([plan.version.clone(), subject, info, Node::of(0xa0, attributes)]);
        let info = change(&mut tree, &plan.before, &self.last, rng);

        let signing = match plan.signature {
            SignatureForm::ByAnother => &self.keys[(plan.key + 3) % self.keys.len()],
            _ => key,
        };
        let mut signature = signing.sign(&mut self.go, plan.hash, plan.salt, &info);
        let mut unused = 0;
        match plan.signature {
            SignatureForm::Valid | SignatureForm::ByAnother | SignatureForm::OtherTag => {}
            SignatureForm::Flipped => {
                if let Some(byte) = signature.last_mut() {
                    *byte ^= 1;
                }
            }
            SignatureForm::Empty => signature.clear(),
            SignatureForm::Zeros => signature.fill(0),
            SignatureForm::UnusedBits(bits) => unused = bits,
            SignatureForm::Longer => signature.push(0),
        }
        let tag = if matches!(plan.signature, SignatureForm::OtherTag) { der::OCTET_STRING } else { der::BIT_STRING };
        let signature = Node::decoded(&Node::leaf(tag, [&[unused], &signature[..]].concat()).encode());
        let algorithm = plan.algorithm.clone().unwrap_or_else(|| algorithm(key, plan.hash, plan.salt));
        let mut tree = Node::sequence([Node::whole(info), algorithm, signature]);
        change(&mut tree, &plan.after, &self.last, rng)
    }
}

fn change(tree: &mut Node, changes: &[Change], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    for _ in changes.iter().filter(|change| matches!(change, Change::Distort)) {
        tree.distort(rng);
    }
    let mut bytes = tree.encode();
    for change in changes {
        match change {
            Change::Distort => {}
            Change::Mutate => mutate::mutate(&mut bytes, other, rng),
            Change::Text => mutate::mutate_text(&mut bytes, rng),
        }
    }
    bytes
}

/// The AlgorithmIdentifier of a signature.
pub fn algorithm(key: &Key, hash: &str, salt: Option<usize>) -> Node {
    let sha2 = |hash: &str| match hash {
        "SHA1" => "1.3.14.3.2.26",
        "SHA224" => "2.16.840.1.101.3.4.2.4",
        "SHA384" => "2.16.840.1.101.3.4.2.2",
        "SHA512" => "2.16.840.1.101.3.4.2.3",
        _ => "2.16.840.1.101.3.4.2.1",
    };
    if let Some(salt) = salt {
        let hash = Node::sequence([Node::oid(sha2(hash)), Node::null()]);
        let mask = Node::sequence([Node::oid("1.2.840.113549.1.1.8"), hash.clone()]);
        let salt = Node::leaf(der::INTEGER, [u8::try_from(salt).unwrap()]);
        let parameters = [Node::of(0xa0, [hash]), Node::of(0xa1, [mask]), Node::of(0xa2, [salt])];
        return Node::sequence([Node::oid("1.2.840.113549.1.1.10"), Node::sequence(parameters)]);
    }
    if key.name.ends_with("ed25519") {
        return Node::sequence([Node::oid("1.3.101.112")]);
    }
    let (rsa, ecdsa) = match hash {
        "MD5" => ("1.2.840.113549.1.1.4", "1.2.840.10045.4.1"),
        "SHA1" => ("1.2.840.113549.1.1.5", "1.2.840.10045.4.1"),
        "SHA224" => ("1.2.840.113549.1.1.14", "1.2.840.10045.4.3.1"),
        "SHA384" => ("1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3"),
        "SHA512" => ("1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4"),
        _ => ("1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2"),
    };
    if key.is_rsa() { Node::sequence([Node::oid(rsa), Node::null()]) } else { Node::sequence([Node::oid(ecdsa)]) }
}

pub fn extension(kind: &str, content: &Node) -> Node {
    Node::sequence([Node::oid(kind), Node::of(der::OCTET_STRING, [content.clone()])])
}

fn names(sans: Vec<Node>) -> Node {
    extension("2.5.29.17", &Node::sequence(sans))
}

/// The usages that name nothing forbidden, with their bit or purpose.
const BITS: [(&str, u8); 5] = [
    ("digital signature", 0x80),
    ("content commitment", 0x40),
    ("key encipherment", 0x20),
    ("data encipherment", 0x10),
    ("key agreement", 0x08),
];
const PURPOSES: [(&str, &str); 12] = [
    ("server auth", "1.3.6.1.5.5.7.3.1"),
    ("client auth", "1.3.6.1.5.5.7.3.2"),
    ("code signing", "1.3.6.1.5.5.7.3.3"),
    ("email protection", "1.3.6.1.5.5.7.3.4"),
    ("s/mime", "1.3.6.1.5.5.7.3.4"),
    ("ipsec end system", "1.3.6.1.5.5.7.3.5"),
    ("ipsec tunnel", "1.3.6.1.5.5.7.3.6"),
    ("ipsec user", "1.3.6.1.5.5.7.3.7"),
    ("timestamping", "1.3.6.1.5.5.7.3.8"),
    ("ocsp signing", "1.3.6.1.5.5.7.3.9"),
    ("microsoft sgc", "1.3.6.1.4.1.311.10.3.3"),
    ("netscape sgc", "2.16.840.1.113730.4.1"),
];

impl Plan {
    /// A request as an ordinary client might make it, with everything that decodes.
    fn benign(rng: &mut Rng, keys: &[Key]) -> Self {
        // P-384 takes ten times as long as these, and RSA longer.
        let key = loop {
            let key = if rng.u8(..10) > 0 { rng.usize(..keys::QUICK) } else { rng.usize(..keys.len()) };
            if keys[key].is_fit() {
                break key;
            }
        };
        let mut subject = Vec::new();
        let mut pairs = Vec::new();
        // Patterns match nothing beyond ASCII, so that with names beyond it hardly anything would be approved.
        let plain = rng.u8(..4) > 0;
        let benign_text = |rng: &mut Rng| loop {
            let text = benign_text(rng);
            if text.is_ascii() || !plain {
                break text;
            }
        };
        if rng.u8(..10) > 0 {
            pairs.push(("2.5.4.3", benign_text(rng)));
        }
        for _ in 0..rng.choice(&[0, 1, 1, 2, 3, 32]).copied().unwrap() {
            pairs.push(("2.5.4.10", benign_text(rng)));
        }
        if rng.u8(..4) == 0 {
            pairs.push((rng.choice(&KNOWN[2..]).unwrap(), benign_text(rng)));
        }
        rng.shuffle(&mut pairs);
        let mut pairs: Vec<Node> = pairs.iter().map(|(kind, text)| pair(kind, benign_value(text, rng))).collect();
        while !pairs.is_empty() {
            let count = if rng.u8(..4) == 0 { rng.usize(1..=pairs.len()) } else { 1 };
            subject.push(Node::set(pairs.drain(..count).collect::<Vec<_>>()));
        }

        let mut usages = vec!["client auth".to_owned()];
        let mut bits = 0;
        for (name, bit) in BITS {
            if rng.bool() {
                usages.push(name.to_owned());
                bits |= bit;
            }
        }
        let mut purposes = vec![Node::oid("1.3.6.1.5.5.7.3.2")];
        if rng.u8(..4) == 0 {
            let (name, purpose) = *rng.choice(&PURPOSES).unwrap();
            if name != "client auth" {
                usages.push(name.to_owned());
                purposes.push(Node::oid(purpose));
            }
        }
        let mut extensions = Vec::new();
        if rng.u8(..3) > 0 {
            let count = rng.choice(&[1, 1, 2, 5, 100]).copied().unwrap();
            extensions.push(names((0..count).map(|_| benign_san(rng)).collect()));
        }
        if bits != 0 && rng.u8(..3) == 0 {
            let bits: u8 = bits;
            let unused = u8::try_from(bits.trailing_zeros()).unwrap();
            extensions.push(extension("2.5.29.15", &Node::leaf(der::BIT_STRING, [unused, bits])));
        }
        if rng.u8(..3) == 0 {
            extensions.push(extension("2.5.29.37", &Node::sequence(purposes)));
        }
        if rng.u8(..6) == 0 {
            extensions.push(extension("2.5.29.19", &Node::sequence([])));
        }
        if rng.u8(..6) == 0 {
            extensions.push(extension("2.5.29.14", &Node::leaf(der::OCTET_STRING, [7; 20])));
        }
        rng.shuffle(&mut extensions);
        let mut attributes = Vec::new();
        if rng.u8(..12) == 0 {
            let value = Node::leaf(0x13, "secret");
            attributes.push(attribute("1.2.840.113549.1.9.7", [value]));
        }
        if rng.u8(..12) == 0 {
            attributes.push(attribute("1.2.840.113549.1.9.2", [Node::leaf(0x16, "host")]));
        }
        let salt = (keys[key].is_rsa() && rng.bool()).then_some(if keys[key].hash() == "SHA384" { 48 } else { 32 });
        Self {
            version: Node::leaf(der::INTEGER, [0]),
            subject,
            key,
            info: None,
            extensions,
            attributes,
            request: Node::oid(EXTENSION_REQUEST),
            algorithm: None,
            hash: keys[key].hash(),
            salt,
            signature: SignatureForm::Valid,
            before: Vec::new(),
            after: Vec::new(),
            context: Context {
                usages,
                signer: "kubernetes.io/kube-apiserver-client".to_owned(),
                expiration_seconds: *rng.choice(&[None, Some(600), Some(86_400), Some(2_592_000)]).unwrap(),
            },
        }
    }

    fn ask_for_masters(&mut self, rng: &mut Rng) {
        let value = masters_value(rng);
        let at = rng.usize(..=self.subject.len());
        match rng.u8(..12) {
            0..6 => self.subject.insert(at, Node::set([pair("2.5.4.10", value)])),
            6 => {
                let beside = pair("2.5.4.10", Node::leaf(der::UTF8, "developers"));
                self.subject.insert(at, Node::set([beside, pair("2.5.4.10", value)]));
            }
            7 => self.subject = vec![Node::set([pair("2.5.4.3", value)])],
            8 => self.subject.insert(at, Node::set([pair("2.5.4.11", value)])),
            9 => self
                .subject
                .insert(at, Node::set([pair(rng.choice(&["2.5.4.12", "1.3.6.1.4.1.57683.2"]).unwrap(), value)])),
            10 => {
                let other = Node::of(0xa0, [Node::oid("1.3.6.1.4.1.311.20.2.3"), Node::of(0xa0, [value])]);
                self.extensions = vec![names(vec![other])];
            }
            _ => {
                let directory = Node::of(0xa4, [Node::sequence([Node::set([pair("2.5.4.10", value)])])]);
                self.extensions = vec![names(vec![directory])];
            }
        }
    }

    fn ask_for_reserved(&mut self, rng: &mut Rng) {
        let value = Node::leaf(der::UTF8, disguise::reserved(rng));
        match rng.u8(..4) {
            0 | 1 => self.insert_rdn(rng, Node::set([pair("2.5.4.10", value)])),
            2 => self.insert_rdn(rng, Node::set([pair("2.5.4.11", value)])),
            _ => self.subject = vec![Node::set([pair("2.5.4.3", value)])],
        }
    }

    fn insert_rdn(&mut self, rng: &mut Rng, rdn: Node) {
        let at = rng.usize(..=self.subject.len());
        self.subject.insert(at, rdn);
    }

    /// The key that signs, and a signature that it would verify, in a form that Go does not read: P-256 by its parameters (SEC 2,
    /// 2.4.2) in place of its name, RSA as RSASSA-PSS (RFC 4055, 1.2).
    fn say_key_otherwise(&mut self, rng: &mut Rng, keys: &[Key]) {
        if rng.bool() {
            self.key = 0;
            self.info = Some(ec_key(vec![p256_parameters()], &point(&keys[0])));
            return;
        }
        self.key = keys.iter().position(|key| key.name == "rsa-2048").unwrap();
        self.salt = Some(32);
        let mut parts = Node::decoded(&keys[self.key].info).into_parts();
        let said = algorithm(&keys[self.key], "SHA256", self.salt);
        parts[0] = if rng.bool() { said } else { Node::sequence([Node::oid("1.2.840.113549.1.1.10")]) };
        self.info = Some(Node::sequence(parts));
    }

    fn push_extension(&mut self, rng: &mut Rng, extension: Node) {
        let at = rng.usize(..=self.extensions.len());
        self.extensions.insert(at, extension);
    }
}

pub fn attribute(kind: &str, values: impl Into<Vec<Node>>) -> Node {
    Node::sequence([Node::oid(kind), Node::set(values)])
}

fn distort_before(plan: &mut Plan, _: &mut Rng, _: &[Key]) {
    plan.before.push(Change::Distort);
}

fn distort_after(plan: &mut Plan, _: &mut Rng, _: &[Key]) {
    plan.after.push(Change::Distort);
}

fn replace_attributes(plan: &mut Plan, rng: &mut Rng, _: &[Key]) {
    plan.extensions.clear();
    plan.attributes = vec![any_value(rng)];
}

/// Every way in which a request may be wrong that is worth its own line.
const DEFECTS: [Defect; 50] = [
    distort_before,
    distort_before,
    distort_before,
    distort_after,
    replace_attributes,
    // The subject.
    |plan, rng, _| plan.insert_rdn(rng, Node::set([pair("2.5.4.3", Node::leaf(der::UTF8, "eve"))])),
    |plan, rng, _| {
        let (one, two) = (any_pair(rng), any_pair(rng));
        plan.insert_rdn(rng, Node::set([one, two]));
    },
    |plan, rng, _| {
        let one = any_pair(rng);
        plan.insert_rdn(rng, Node::set([one]));
    },
    |plan, rng, _| {
        let value = any_value(rng);
        plan.insert_rdn(rng, Node::set([pair("2.5.4.10", value)]));
    },
    |plan, rng, _| {
        let value = any_value(rng);
        plan.subject = vec![Node::set([pair("2.5.4.3", value)])];
    },
    |plan, rng, _| plan.insert_rdn(rng, Node::set([])),
    |plan, rng, _| {
        let rdn = Node::sequence([any_pair(rng)]);
        plan.insert_rdn(rng, rdn);
    },
    |plan, rng, _| {
        // A value in the place of a relative distinguished name.
        let value = any_value(rng);
        plan.insert_rdn(rng, value);
    },
    |plan, rng, _| {
        for _ in 0..40 {
            plan.subject.push(Node::set([pair("2.5.4.10", benign_value(&benign_text(rng), rng))]));
        }
    },
    |plan, rng, _| plan.subject = (0..rng.usize(1..6)).map(|_| Node::set([any_pair(rng)])).collect(),
    |plan, rng, _| {
        // As long as a value may be, and longer.
        let value = "a".repeat(1024 + rng.usize(..2));
        let kind = *rng.choice(&["2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.7"]).unwrap();
        plan.insert_rdn(rng, Node::set([pair(kind, Node::leaf(der::UTF8, value))]));
    },
    |plan, rng, _| {
        let value = "a".repeat(1000);
        plan.subject = vec![Node::set([pair("2.5.4.11", Node::leaf(der::UTF8, value))]); rng.usize(15..18)];
    },
    // The version.
    |plan, rng, _| {
        let versions: [&[u8]; 7] = [&[1], &[2], &[3], &[0, 0], &[0xff], &[], &[0, 0x80]];
        plan.version = Node::leaf(der::INTEGER, *rng.choice(&versions).unwrap());
    },
    |plan, rng, _| plan.version = any_value(rng),
    // The key.
    |plan, rng, keys| {
        plan.key = rng.usize(keys::QUICK..keys.len());
        plan.hash = keys[plan.key].hash();
        plan.salt = None;
    },
    |plan, rng, keys| {
        // Another's key, for which the requestor cannot sign.
        let other = rng.usize(..keys.len());
        plan.info = Some(Node::decoded(&keys[other].info));
    },
    |plan, rng, keys| plan.say_key_otherwise(rng, keys),
    |plan, rng, keys| plan.info = Some(odd_key(rng, keys)),
    // PKCS#10 attributes.
    |plan, rng, _| {
        let second = attribute(EXTENSION_REQUEST, [Node::sequence([names(vec![benign_san(rng)])])]);
        plan.attributes.push(second);
    },
    |plan, rng, _| {
        let request = |rng: &mut Rng| Node::sequence([names(vec![benign_san(rng)])]);
        let values = (0..rng.usize(2..4)).map(|_| request(rng)).collect::<Vec<_>>();
        plan.extensions.clear();
        plan.attributes.push(attribute(EXTENSION_REQUEST, values));
    },
    |plan, _, _| plan.attributes.push(attribute(EXTENSION_REQUEST, [])),
    |plan, rng, _| {
        let value = any_value(rng);
        plan.extensions.clear();
        plan.attributes.push(attribute(EXTENSION_REQUEST, [value]));
    },
    |plan, rng, _| {
        let hidden = Node::sequence([names(vec![benign_san(rng)])]);
        plan.attributes.push(attribute(MICROSOFT_EXTENSIONS, [hidden]));
    },
    |plan, _, _| plan.request = Node::oid(MICROSOFT_EXTENSIONS),
    |plan, rng, _| {
        let kinds = [
            "1.2.840.113549.1.9.7",
            "1.2.840.113549.1.9.2",
            "1.2.840.113549.1.9.1",
            "1.2.840.113549.1.9.20",
            "1.2.840.113549.1.9.15",
            "1.3.6.1.4.1.311.13.2.3",
            "2.5.4.3",
        ];
        let values: Vec<Node> = (0..rng.usize(..3)).map(|_| any_value(rng)).collect();
        let more = attribute(rng.choice(&kinds).unwrap(), values);
        plan.attributes.extend(std::iter::repeat_n(more, rng.usize(1..3)));
    },
    |plan, rng, _| {
        let mut parts = vec![Node::oid(EXTENSION_REQUEST), Node::set([Node::sequence([])])];
        parts.push(any_value(rng));
        plan.attributes.push(Node::sequence(parts));
    },
    |plan, rng, _| plan.attributes.push(any_value(rng)),
    // Extensions.
    |plan, rng, _| {
        let count = rng.usize(1..4);
        plan.extensions = vec![names((0..count).map(|_| any_san(rng)).collect())];
    },
    |plan, rng, _| {
        let mut all: Vec<Node> = (0..rng.usize(1..4)).map(|_| benign_san(rng)).collect();
        all.insert(rng.usize(..=all.len()), any_san(rng));
        plan.extensions = vec![names(all)];
    },
    |plan, rng, _| {
        let second = names(vec![benign_san(rng)]);
        plan.push_extension(rng, second);
    },
    |plan, rng, _| plan.extensions = vec![names((0..rng.usize(101..110)).map(|_| benign_san(rng)).collect())],
    |plan, rng, _| {
        let value = any_value(rng);
        plan.push_extension(rng, extension("2.5.29.17", &value));
    },
    |plan, rng, _| {
        let content = match rng.u8(..5) {
            0 => Node::sequence([Node::leaf(0x01, [0xff])]),
            1 => Node::sequence([Node::leaf(0x01, [0x01])]),
            2 => Node::sequence([Node::leaf(0x01, [0])]),
            3 => Node::sequence([Node::leaf(0x01, [0xff]), Node::leaf(der::INTEGER, [0])]),
            _ => Node::sequence([Node::leaf(der::INTEGER, [0])]),
        };
        plan.push_extension(rng, extension("2.5.29.19", &content));
    },
    |plan, rng, _| {
        let bits: [&[u8]; 8] =
            [&[0, 4], &[2, 4], &[1, 6], &[5, 0xe0], &[7, 0, 0x80], &[0], &[], &[0, 0xff, 0xff, 0xff, 0xff]];
        let usage = Node::leaf(der::BIT_STRING, *rng.choice(&bits).unwrap());
        plan.push_extension(rng, extension("2.5.29.15", &usage));
    },
    |plan, rng, _| {
        let kinds =
            ["2.5.29.37.0", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.2.3.4", "1.3.6.1.4.1.311.20.2.2"];
        let purposes: Vec<Node> = (0..rng.usize(..3)).map(|_| Node::oid(rng.choice(&kinds).unwrap())).collect();
        plan.push_extension(rng, extension("2.5.29.37", &Node::sequence(purposes)));
    },
    |plan, rng, _| {
        let kinds = [
            "2.5.29.30",
            "2.5.29.32",
            "2.5.29.35",
            "2.5.29.18",
            "2.5.29.9",
            "1.3.6.1.4.1.311.20.2",
            "1.3.6.1.5.5.7.1.24",
            "2.5.29.17.1",
            "1.2.3.4",
            "2.5.29.14",
            "2.5.29.31",
        ];
        let unknown = extension(rng.choice(&kinds).unwrap(), &any_value(rng));
        plan.push_extension(rng, unknown);
    },
    |plan, rng, _| {
        // Marked as critical, in every way.
        let critical = Node::leaf(0x01, *rng.choice(&[&[0xff][..], &[0], &[1], &[]]).unwrap());
        let content = Node::leaf(der::OCTET_STRING, Node::sequence([benign_san(rng)]).encode());
        plan.extensions = vec![Node::sequence([Node::oid("2.5.29.17"), critical, content])];
    },
    |plan, rng, _| {
        // Something after the content.
        let mut content = Node::sequence([benign_san(rng)]).encode();
        content.extend(*rng.choice(&[&[0][..], &[5, 0], &[0x30, 0]]).unwrap());
        plan.extensions = vec![Node::sequence([Node::oid("2.5.29.17"), Node::leaf(der::OCTET_STRING, content)])];
    },
    // The signature.
    |plan, rng, keys| {
        // Of every hash, with the algorithm that says so.
        plan.hash = rng.choice(&["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"]).unwrap();
        plan.key = rng.usize(keys::QUICK..keys.len());
        plan.salt = None;
    },
    |plan, rng, keys| {
        // PSS with every salt.
        let rsa: Vec<usize> = (0..keys.len()).filter(|key| keys[*key].is_rsa()).collect();
        plan.key = *rng.choice(&rsa).unwrap();
        plan.hash = rng.choice(&["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"]).unwrap();
        plan.salt = Some(*rng.choice(&[0, 20, 32, 48, 64]).unwrap());
    },
    |plan, rng, _| {
        // A salt that is stated wrongly, or parameters that mean nothing.
        let kinds = [
            "1.2.840.113549.1.1.10",
            "1.2.840.113549.1.1.11",
            "1.2.840.10045.4.3.2",
            "1.3.101.112",
            "1.3.101.113",
            "1.2.840.113549.1.1.1",
        ];
        let kind = Node::oid(rng.choice(&kinds).unwrap());
        plan.algorithm = Some(match rng.u8(..3) {
            0 => Node::sequence([kind]),
            1 => Node::sequence([kind, Node::null()]),
            _ => Node::sequence([kind, any_value(rng)]),
        });
    },
    |plan, rng, keys| {
        // No signature covers the identifier of its own algorithm.
        let fit: Vec<usize> = (0..keys.len()).filter(|key| keys[*key].is_fit() && keys[*key].is_rsa()).collect();
        let (hash, length) = *rng.choice(&[("SHA256", 32), ("SHA384", 48), ("SHA512", 64)]).unwrap();
        if rng.u8(..4) > 0 {
            (plan.key, plan.hash, plan.salt) = (*rng.choice(&fit).unwrap(), hash, Some(length));
        }
        let mut identifier = algorithm(&keys[plan.key], plan.hash, plan.salt);
        plan.algorithm = Some(if rng.bool() {
            identifier.distort(rng);
            identifier
        } else {
            let mut bytes = identifier.encode();
            let lent = Node::of(0xa3, [Node::leaf(der::INTEGER, [1])]).encode();
            mutate::mutate(&mut bytes, &lent, rng);
            Node::whole(bytes)
        });
    },
    |plan, rng, _| {
        plan.signature = match rng.u8(..7) {
            0 | 1 => SignatureForm::ByAnother,
            2 => SignatureForm::Flipped,
            3 => SignatureForm::Empty,
            4 => SignatureForm::Zeros,
            5 => SignatureForm::UnusedBits(rng.u8(1..9)),
            _ if rng.bool() => SignatureForm::Longer,
            _ => SignatureForm::OtherTag,
        };
    },
    // What the object says beside the request.
    |plan, rng, _| {
        let usages =
            ["any", "cert sign", "crl sign", "x", "", "Client Auth", "signing", "encipher only", "server auth"];
        match rng.u8(..4) {
            0 => plan.context.usages.clear(),
            _ => {
                let usage = *rng.choice(&usages).unwrap();
                // One that stands twice is refused by the API server alone.
                plan.context.usages.retain(|known| known != usage);
                plan.context.usages.push(usage.to_owned());
            }
        }
    },
    |plan, rng, _| {
        let sets = [&["server auth"][..], &["signing", "client auth"], &["key encipherment"]];
        let usages = rng.choice(&sets).unwrap();
        plan.context.usages = usages.iter().map(|usage| (*usage).to_owned()).collect();
    },
];

const EC: &str = "1.2.840.10045.2.1";

fn ec_key(parameters: Vec<Node>, point: &[u8]) -> Node {
    Node::sequence([Node::sequence([vec![Node::oid(EC)], parameters].concat()), Node::bits(point)])
}

/// The public key of one on P-256.
fn point(key: &Key) -> Vec<u8> {
    key.info[key.info.len() - 65..].to_vec()
}

/// P-256 as `ECParameters` (RFC 3279, 2.3.5), of which RFC 5480 lets there be none in a certificate.
fn p256_parameters() -> Node {
    const PRIME: &str = "00ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
    const A: &str = "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc";
    const B: &str = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b";
    const BASE: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    const ORDER: &str = "00ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let bytes = |digits: &str| -> Vec<u8> {
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    };
    let octets = |digits| Node::leaf(der::OCTET_STRING, bytes(digits));
    let integer = |digits| Node::leaf(der::INTEGER, bytes(digits));
    let field = Node::sequence([Node::oid("1.2.840.10045.1.1"), integer(PRIME)]);
    let curve = Node::sequence([octets(A), octets(B)]);
    Node::sequence([integer("01"), field, curve, octets(BASE), integer(ORDER), integer("01")])
}

/// A SubjectPublicKeyInfo for which nobody here has the private key, or that says it oddly.
fn odd_key(rng: &mut Rng, keys: &[Key]) -> Node {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const P256: &str = "1.2.840.10045.3.1.7";
    let info = |algorithm: Vec<Node>, key: &[u8]| Node::sequence([Node::sequence(algorithm), Node::bits(key)]);
    let p256 = &keys[0];
    match rng.u8(..14) {
        // Curves and algorithms by name.
        0 => {
            let curves = ["1.3.132.0.10", "1.3.132.0.33", "1.3.36.3.3.2.8.1.1.7", "1.3.132.0.35", "1.2.3"];
            info(vec![Node::oid(EC), Node::oid(rng.choice(&curves).unwrap())], &point(p256))
        }
        1 => {
            let kinds = [
                "1.3.101.110",
                "1.3.101.111",
                "1.3.101.113",
                "1.2.840.10040.4.1",
                "1.2.840.113549.1.1.10",
                "1.2.840.113549.1.1.7",
                "2.16.840.1.101.3.4.3.17",
                "1.3.132.1.12",
            ];
            info(vec![Node::oid(rng.choice(&kinds).unwrap())], &[4; 32])
        }
        // Explicit curve parameters, implicit ones, and none.
        2 => ec_key(vec![p256_parameters()], &point(p256)),
        3 => ec_key(vec![Node::null()], &point(p256)),
        4 => ec_key(vec![], &point(p256)),
        // Points: compressed, hybrid, at infinity, off the curve, cut.
        5 => {
            let mut key = point(p256);
            match rng.u8(..6) {
                0 => {
                    key.truncate(33);
                    key[0] = 2 + (key[0] & 1);
                }
                1 => key[0] = 6,
                2 => key = vec![0],
                3 => key[64] ^= 1,
                4 => key.truncate(64),
                _ => key.push(0),
            }
            info(vec![Node::oid(EC), Node::oid(P256)], &key)
        }
        6 => info(vec![Node::oid(EC), Node::oid("1.3.132.0.34")], &point(p256)),
        7 => {
            let value = any_value(rng);
            info(vec![Node::oid(EC), Node::oid(P256), value], &point(p256))
        }
        // Ed25519 with parameters, or of another length.
        8 => info(vec![Node::oid("1.3.101.112"), Node::null()], &keys[1].info[12..]),
        9 => info(vec![Node::oid("1.3.101.112")], &keys[1].info[11..]),
        // RSA: parameters, exponents, numbers that are none.
        10 => info(vec![Node::oid(RSA)], &keys[0].info),
        11 | 12 => {
            let exponents: [&[u8]; 12] = [
                &[],
                &[0],
                &[1],
                &[2],
                &[3],
                &[1, 0, 0],
                &[0xff],
                &[0, 1, 0, 1],
                &[1, 0, 2],
                &[0, 0x80, 0, 0, 1],
                &[1, 0, 0, 0, 1],
                &[1, 0, 0, 0, 0, 0, 0, 0, 1],
            ];
            let moduli: [&[u8]; 7] = [&[], &[0], &[3], &[0x80; 256], &[0xff; 256], &[0x7f; 256], &[0x7f; 1025]];
            let modulus = if rng.bool() { &[0x7f; 257][..] } else { rng.choice(&moduli).unwrap() };
            let numbers =
                [Node::leaf(der::INTEGER, modulus), Node::leaf(der::INTEGER, *rng.choice(&exponents).unwrap())];
            info(vec![Node::oid(RSA), Node::null()], &Node::sequence(numbers).encode())
        }
        _ => broken_key(rng, keys),
    }
}

/// A key changed blindly, of which the lengths need not be right.
fn broken_key(rng: &mut Rng, keys: &[Key]) -> Node {
    let mut bytes = keys[rng.usize(..keys.len())].info.clone();
    mutate::mutate(&mut bytes, &keys[0].info, rng);
    Node::whole(bytes)
}
