//! What must hold between what Countersign makes of a request and what Go does.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use countersign::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use countersign::request::{
    Curve, DecodeCode, Envelope, Key, Pkcs10, SigningRequest, Subject, SubjectAttribute, Usage,
};
use countersign::review::{Decision, Facts, review};
use serde_json::{Value, json};

use super::disguise::{DISGUISED, plain, reserved_prefix};
use super::go::{self, Certificate, Context, Go, Reading};
use super::hostile::Expect;

/// How Countersign decoded a request, if it did.
pub type Outcome = Result<Decision, DecodeCode>;

/// Reads the request on both sides, and says what does not hold.
pub fn compare(go: &mut Go, pem: &[u8], context: &Context, expect: Expect) -> Result<Outcome, String> {
    let envelope = Envelope {
        signer_name: context.signer.clone(),
        username: "portal".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        usages: context.usages.clone(),
        expiration_seconds: context.expiration_seconds,
        ..Envelope::default()
    };
    let request = SigningRequest::decode(envelope, pem);
    let decision = [&*WIDE, &*NARROW].map(|set| review(set, &request, &Facts::default()).decision);
    let reading = go.read(pem, context, request.content.is_ok());

    let masters = asks_for_masters(&reading);
    // What is too large is dropped unread, and what stands beyond the bound is not looked at.
    let dropped = request.content.as_ref().is_err_and(|error| error.code == DecodeCode::RequestTooLarge);
    if !dropped && (masters || expect == Expect::Masters) && !request.asks_for_masters {
        return Err(format!("it asks for system:masters, which was not seen: {reading:?}"));
    }
    if request.asks_for_masters && decision.contains(&Decision::Approve) {
        return Err("approved although it asks for system:masters".to_owned());
    }
    if expect == Expect::Reserved && decision[1] == Decision::Approve {
        return Err("approved although it asks for a reserved name in disguise".to_owned());
    }
    match request.content {
        Err(error) if expect == Expect::Decodes => Err(format!(
            "an ordinary request is refused: {error} ({}); Go: {}{}",
            error.code.as_str(),
            reading.refused,
            reading.unread
        )),
        Err(error) if decision.contains(&Decision::Approve) => Err(format!("approved although {error}")),
        Err(error) => Ok(Err(error.code)),
        Ok(pkcs10) => {
            reads_alike(&pkcs10, &reading)?;
            asks_for_nothing_else(&reading, &request.usages)?;
            issues(&pkcs10, &reading, context, &request.usages)?;
            if decision[1] == Decision::Approve {
                is_not_reserved(&reading)?;
            }
            Ok(Ok(decision[0]))
        }
    }
}

/// Whether Go sees `system:masters` in any text of the request.
fn asks_for_masters(reading: &Reading) -> bool {
    let sans = &reading.sans;
    let texts = reading.subject.names.iter().chain(&sans.dns_names).chain(&sans.uris).chain(&sans.email_addresses);
    let groups = reading.issued.iter().filter_map(|issued| issued.user.as_ref()).flat_map(|user| &user.groups);
    texts.chain(groups).any(|text| plain(text) == "system:masters")
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, here: &T, go: &T) -> Result<(), String> {
    if here == go { Ok(()) } else { Err(format!("{what} is {here:?} here and {go:?} for Go")) }
}

fn holds(what: &str, holds: bool, reading: &Reading) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {reading:?}")) }
}

fn others(subject: &Subject) -> std::collections::BTreeMap<String, String> {
    let of = |kind: SubjectAttribute| subject.others.iter().filter(move |(given, _)| *given == kind);
    let mut result = std::collections::BTreeMap::new();
    for kind in [
        SubjectAttribute::Country,
        SubjectAttribute::Locality,
        SubjectAttribute::State,
        SubjectAttribute::Street,
        SubjectAttribute::PostalCode,
    ] {
        result
            .extend(of(kind).enumerate().map(|(index, (_, text))| (format!("{}.{index}", kind.name()), text.clone())));
    }
    // Go keeps the last one.
    result.extend(
        of(SubjectAttribute::SerialNumber).next_back().map(|(_, text)| ("serialNumber".to_owned(), text.clone())),
    );
    result
}

fn same_subject(subject: &Subject, go: &go::Subject) -> Result<(), String> {
    same("CN", &subject.common_name.clone().unwrap_or_default(), &go.common_name)?;
    same("O", &subject.organizations, &go.organizations)?;
    same("OU", &subject.organizational_units, &go.organizational_units)?;
    same("the rest of the subject", &others(subject), &go.others)?;
    same("attributes that Go cannot read", &Vec::new(), &go.unread)
}

fn same_sans(pkcs10: &Pkcs10, go: &go::Sans) -> Result<(), String> {
    let sans = &pkcs10.sans;
    same("DNS names", &sans.dns_names, &go.dns_names)?;
    // Go writes ::ffff:0:0/96 as IPv4, and everything else as Rust does.
    same("IP addresses", &sans.ip_addresses.iter().map(ToString::to_string).collect(), &go.ip_addresses)?;
    same("email addresses", &sans.email_addresses, &go.email_addresses)?;
    // The one difference there is: Go writes a scheme in lower case (RFC 3986 section 3.1 says that case does not matter).
    let lower = |uri: &String| {
        let (scheme, rest) = uri.split_once(':').unwrap();
        format!("{}:{rest}", scheme.to_ascii_lowercase())
    };
    same("URIs", &sans.uris.iter().map(lower).collect(), &go.uris)
}

fn same_key(key: Key, go: &go::Key) -> Result<(), String> {
    same("the algorithm of the key", &key.algorithm(), &go.algorithm.as_str())?;
    same("the size of the key", &key.bits(), &go.bits)?;
    match key {
        Key::Rsa { bits } => {
            let exponent = go.exponent;
            let fits = (2048..=8192).contains(&bits) && (65537..1 << 31).contains(&exponent) && exponent % 2 == 1;
            if fits { Ok(()) } else { Err(format!("an RSA key of {bits} bits with exponent {exponent}")) }
        }
        Key::Ecdsa { curve: Curve::P256 | Curve::P384 } | Key::Ed25519 => Ok(()),
    }
}

/// The API server takes the request, and Go reads in it what is read here.
fn reads_alike(pkcs10: &Pkcs10, reading: &Reading) -> Result<(), String> {
    same("why it is refused", &"", &reading.unread.as_str())?;
    same("why the API server refuses it", &"", &reading.refused.as_str())?;
    same("the block", &pkcs10.sha256_hex(), &reading.sha256)?;
    holds("headers", reading.headers == 0, reading)?;
    holds("something after the block", reading.rest.iter().all(u8::is_ascii_whitespace), reading)?;
    same_subject(&pkcs10.subject, &reading.subject)?;
    same_sans(pkcs10, &reading.sans)?;
    same_key(pkcs10.key, &reading.key)
}

/// A walk through every element finds nothing that is not accounted for.
fn asks_for_nothing_else(reading: &Reading, usages: &[Usage]) -> Result<(), String> {
    let raw = reading.raw.as_ref().ok_or("the walk ended early")?;
    let subject = &reading.subject;
    let known = ["2.5.4.3", "2.5.4.5", "2.5.4.6", "2.5.4.7", "2.5.4.8", "2.5.4.9", "2.5.4.10", "2.5.4.11", "2.5.4.17"];
    let count = |kind: &str| raw.names.iter().filter(|name| name.kind == kind).count();
    holds("names of other types", raw.names.iter().all(|name| known.contains(&name.kind.as_str())), reading)?;
    holds("string types", raw.names.iter().all(|name| matches!(name.tag, 12 | 19)), reading)?;
    holds("empty names", raw.names.iter().all(|name| !name.value.is_empty()), reading)?;
    holds("common names", count("2.5.4.3") == usize::from(!subject.common_name.is_empty()), reading)?;
    holds("organizations", count("2.5.4.10") == subject.organizations.len(), reading)?;
    let texts: Vec<&[u8]> = raw.names.iter().map(|name| name.value.as_slice()).collect();
    let names: Vec<&[u8]> = subject.names.iter().map(String::as_bytes).collect();
    same("the bytes of the subject", &texts, &names)?;

    let attributes: BTreeSet<&str> = raw.attributes.iter().map(|attribute| attribute.kind.as_str()).collect();
    let pkcs9 = ["1.2.840.113549.1.9.14", "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.2"];
    holds("attributes twice", attributes.len() == raw.attributes.len(), reading)?;
    holds("attributes", attributes.iter().all(|kind| pkcs9.contains(kind)), reading)?;
    holds("values", raw.attributes.iter().all(|attribute| attribute.values == 1), reading)?;

    let extensions: BTreeSet<&str> = raw.extensions.iter().map(|extension| extension.kind.as_str()).collect();
    let id_ce = ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"];
    holds("extensions twice", extensions.len() == raw.extensions.len(), reading)?;
    holds("extensions", extensions.iter().all(|kind| id_ce.contains(kind)), reading)?;
    for extension in &raw.extensions {
        let content = extension.value.as_slice();
        let fits = match extension.kind.as_str() {
            "2.5.29.19" => matches!(content, [0x30, 0] | [0x30, 3, 1, 1, 0]),
            "2.5.29.15" => bits(content).is_subset(&key_usage_bits(usages)),
            "2.5.29.37" => usages.iter().any(|usage| *usage > Usage::Any),
            _ => true,
        };
        holds("an extension that asks for more", fits, reading)?;
    }

    let sans = &reading.sans;
    let of = |tag: u8| raw.general_names.iter().filter(move |name| name.tag == tag).map(|name| name.value.clone());
    let bytes = |texts: &[String]| texts.iter().map(|text| text.clone().into_bytes()).collect::<Vec<_>>();
    holds("general names", raw.general_names.iter().all(|name| matches!(name.tag, 1 | 2 | 6 | 7)), reading)?;
    same("the bytes of the DNS names", &of(2).collect(), &bytes(&sans.dns_names))?;
    same("the bytes of the email addresses", &of(1).collect(), &bytes(&sans.email_addresses))?;
    holds("URIs", of(6).count() == sans.uris.len(), reading)?;
    holds("addresses", of(7).count() == sans.ip_addresses.len(), reading)
}

/// The bits of a keyUsage extension, which is DER already.
fn bits(content: &[u8]) -> BTreeSet<usize> {
    let bytes = content.get(3..).unwrap_or_default();
    (0..bytes.len() * 8).filter(|bit| bytes[bit / 8] & (0x80 >> (bit % 8)) != 0).collect()
}

fn key_usage_bits(usages: &[Usage]) -> BTreeSet<usize> {
    usages
        .iter()
        .filter(|usage| **usage < Usage::Any)
        .filter_map(|usage| Usage::ALL.iter().position(|u| u == usage))
        .collect()
}

/// The numbers of `x509.ExtKeyUsage`.
fn ext_key_usages(usages: &[Usage]) -> BTreeSet<u32> {
    let number = |usage: &Usage| match usage {
        Usage::ServerAuth => Some(1),
        Usage::ClientAuth => Some(2),
        Usage::CodeSigning => Some(3),
        Usage::EmailProtection => Some(4),
        Usage::IpsecEndSystem => Some(5),
        Usage::IpsecTunnel => Some(6),
        Usage::IpsecUser => Some(7),
        Usage::Timestamping => Some(8),
        Usage::OcspSigning => Some(9),
        Usage::MicrosoftSgc => Some(10),
        Usage::NetscapeSgc => Some(11),
        _ => None,
    };
    usages.iter().filter_map(number).collect()
}

/// What kube-controller-manager issues says what was read, and no more.
fn issues(pkcs10: &Pkcs10, reading: &Reading, context: &Context, usages: &[Usage]) -> Result<(), String> {
    same("why it is not issued", &"", &reading.unissued.as_str())?;
    let issued = reading.issued.as_ref().ok_or("not issued")?;
    certificate_is(issued, pkcs10, usages)?;
    same("the key", &reading.key.sha256, &issued.key.sha256)?;
    let seconds = context.expiration_seconds.map_or(365 * 86_400, i64::from);
    // Backdated by five minutes, which a short lifetime is longer by.
    let lifetime = if seconds < 8 * 3600 { seconds + 300 } else { seconds };
    same("the lifetime", &lifetime, &issued.seconds)
}

/// The certificate is one of what the request asked for.
pub fn certificate_is(issued: &Certificate, pkcs10: &Pkcs10, usages: &[Usage]) -> Result<(), String> {
    let mut subject = pkcs10.subject.clone();
    let sorted = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<_>>();
    // kube-controller-manager writes each of these as one set.
    same("the set of O", &sorted(&subject.organizations), &sorted(&issued.subject.organizations))?;
    same("the number of O", &subject.organizations.len(), &issued.subject.organizations.len())?;
    same("the set of OU", &sorted(&subject.organizational_units), &sorted(&issued.subject.organizational_units))?;
    subject.others.sort();
    same("CN", &subject.common_name.clone().unwrap_or_default(), &issued.subject.common_name)?;
    same("attributes that cannot be read", &Vec::new(), &issued.subject.unread)?;
    let others = subject.others.iter().filter(|(kind, _)| *kind != SubjectAttribute::SerialNumber).count();
    let serials = usize::from(others != subject.others.len());
    let names = usize::from(subject.common_name.is_some())
        + subject.organizations.len()
        + subject.organizational_units.len()
        + others
        + serials;
    same("the number of attributes", &names, &issued.subject.names.len())?;
    same_sans(pkcs10, &issued.sans)?;
    same_key(pkcs10.key, &issued.key)?;
    same("an authority", &false, &issued.authority)?;
    let bits = key_usage_bits(usages).into_iter().fold(0, |all, bit| all | 1 << bit);
    same("keyUsage", &bits, &issued.key_usage)?;
    same("extendedKeyUsage", &ext_key_usages(usages), &issued.ext_key_usages.iter().copied().collect())?;
    same("unknown purposes", &Vec::new(), &issued.unknown_ext_key_usages)?;
    let known = ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37"];
    if let Some(extension) = issued.extensions.iter().find(|extension| !known.contains(&extension.as_str())) {
        return Err(format!("the certificate has the extension {extension}"));
    }
    match (&issued.user, &pkcs10.subject.common_name) {
        (None, None) => Ok(()),
        (Some(user), Some(name)) => {
            same("the user name", name, &user.name)?;
            same("the user's uid", &"", &user.uid.as_str())?;
            same("the groups", &sorted(&pkcs10.subject.organizations), &sorted(&user.groups))
        }
        (user, name) => Err(format!("the certificate is for {user:?}, the request for {name:?}")),
    }
}

/// A policy whose patterns spell no reserved prefix out approves none.
fn is_not_reserved(reading: &Reading) -> Result<(), String> {
    let user = reading.issued.as_ref().and_then(|issued| issued.user.as_ref());
    let names = user.iter().flat_map(|user| user.groups.iter().chain([&user.name]));
    match names.into_iter().find(|name| reserved_prefix(name).is_some()) {
        Some(name) => Err(format!("approved although {name:?} is reserved")),
        None => Ok(()),
    }
}

/// A policy that permits whatever it may, and names by these patterns.
fn permissive(names: &[&str]) -> Value {
    let usages: Vec<&str> =
        Usage::ALL.iter().filter(|usage| !usage.never_allowed()).map(|usage| usage.name()).collect();
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "permissive" },
        "spec": {
            "match": { "signerNames": ["kubernetes.io/kube-apiserver-client"], "requestors": [{ "users": ["*"] }] },
            "allow": {
                "subject": {
                    "commonName": { "allowed": names, "absent": "Allow" },
                    "organizations": { "allowed": names },
                    "organizationalUnits": { "allowed": names },
                },
                "usages": { "allowed": usages },
                "expirationSeconds": { "max": 2_592_000, "whenUnset": "Allow" },
                "keys": { "algorithms": ["RSA", "ECDSA", "Ed25519"] },
                "dnsNames": { "allowed": ["**"], "wildcards": "Allow" },
                "ipAddresses": { "allowed": ["0.0.0.0/0", "::/0"] },
                "uris": { "allowed": ["**"] },
                "emailAddresses": { "allowed": ["**"] },
            },
        },
    })
}

fn set(policies: impl IntoIterator<Item = Value>) -> PolicySet {
    let settings =
        Settings { managed_signers: vec![SignerPattern::new("kubernetes.io/*").unwrap()], ..Settings::default() };
    let objects: Vec<_> = policies.into_iter().map(|policy| PolicyObject::new(Kind::CSRPolicy, policy)).collect();
    let set = PolicySet::compile(&objects, settings);
    for policy in set.policies() {
        assert!(policy.is_ready(), "{:?}", policy.problems());
    }
    set
}

static WIDE: LazyLock<PolicySet> = LazyLock::new(|| set([permissive(&["**", "system:**", "kubeadm:**"])]));
/// What looks reserved is listed as it is written, which permits nothing: `**` alone would not match what is beyond ASCII.
static NARROW: LazyLock<PolicySet> = LazyLock::new(|| {
    let names: Vec<&str> = DISGUISED.iter().map(String::as_str).collect();
    set(names.chunks(60).map(|names| permissive(&[&["**"], names].concat())))
});
