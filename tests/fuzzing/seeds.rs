//! What the mutations begin with: the files of this repository, what was found once, and inputs at the limit of length.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The files in a directory whose names end so, sorted.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.to_str().unwrap().ends_with(ending))
        .collect();
    paths.sort();
    paths
}

fn read(path: &PathBuf) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// What a target failed on once. Of `pem` and `der` that is in `tests/corpus/cases`, with which they begin.
pub fn found(name: &str) -> Vec<Vec<u8>> {
    let directory = format!("tests/corpus/fuzzing/{name}");
    let nothing = matches!(name, "pem" | "der" | "pattern" | "node");
    assert_eq!(nothing, !Path::new(&directory).exists(), "{directory}");
    if nothing { Vec::new() } else { files(&directory, "").iter().map(read).collect() }
}

/// How many seeds of a target there are at least: files that are no longer found are missed.
pub fn least(name: &str) -> usize {
    match name {
        "pem" => 150,
        "der" => 140,
        "object" => 160,
        "policy" => 120,
        "manifest" => 110,
        "pattern" => 15,
        "expression" => 25,
        "node" => 6,
        _ => unreachable!("{name}"),
    }
}

/// The seeds of a target.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    match name {
        "pem" => requests(),
        "der" => requests().into_iter().filter_map(body).collect(),
        "object" => [values("CertificateSigningRequest"), requests().iter().map(|pem| object(pem)).collect()].concat(),
        "policy" => [values("CSRPolicy"), values("CSRGuardrail")].concat(),
        "manifest" => manifests(),
        "pattern" => patterns(),
        "expression" => expressions(),
        "node" => nodes(),
        _ => unreachable!("{name}"),
    }
}

/// What clients make, and every case that somebody ever found.
fn requests() -> Vec<Vec<u8>> {
    let directories = ["tests/corpus/clients", "tests/corpus/cases"];
    directories.iter().flat_map(|directory| files(directory, ".csr")).map(|path| read(&path)).collect()
}

/// The bytes between the PEM lines, where they are text in base64.
fn body(pem: Vec<u8>) -> Option<Vec<u8>> {
    let text = String::from_utf8(pem).ok()?;
    let digits: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(digits).ok()
}

/// An object whose `spec.request` this is.
fn object(pem: &[u8]) -> Vec<u8> {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": "x", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": {
            "request": STANDARD.encode(pem),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "username": "amy",
            "groups": ["developers", "system:authenticated"],
            "extra": { "example.com/a": ["b"] },
            "usages": ["client auth", "digital signature"],
            "expirationSeconds": 3600,
        },
    })
    .to_string()
    .into_bytes()
}

fn manifests() -> Vec<Vec<u8>> {
    let directories = [
        "cookbook",
        "cookbook/tests",
        "fields",
        "fields/requests",
        "kubelets",
        "kubelets/tests",
        "policies",
        "requests",
        "tests",
    ];
    directories.iter().flat_map(|name| files(&format!("examples/{name}"), ".yaml")).map(|path| read(&path)).collect()
}

/// Every object of this kind in the examples, as JSON.
fn values(kind: &str) -> Vec<Vec<u8>> {
    let texts = manifests().into_iter().map(|bytes| String::from_utf8(bytes).unwrap());
    let documents = texts.flat_map(|text| super::targets::documents(&text).unwrap());
    documents.filter(|value| value["kind"] == kind).map(|value| value.to_string().into_bytes()).collect()
}

/// Patterns of every field, each with a value that it is about.
fn patterns() -> Vec<Vec<u8>> {
    let pairs = [
        ("*", "amy"),
        ("**", "a:b:c"),
        ("oidc:*", "oidc:amy"),
        ("system:node:*", "system:node:worker-1"),
        ("*.dev.example.com", "vpn.dev.example.com"),
        ("**.example.com", "a.b.example.com"),
        ("*.example.com", "*.example.com"),
        ("spiffe://example.com/ns/*/sa/*", "spiffe://Example.com/ns/a/sa/b"),
        ("*@example.com", "amy@EXAMPLE.com"),
        ("https://**", "https://h:443/a?b=c#d"),
        ("a*b*c*d*e*f", "aabbccddeeff"),
        ("zo\u{eb}", "zo\u{eb}"),
        ("\u{ff53}ystem:*", "system:masters"),
        ("${user}", "x"),
        ("kubernetes.io/*", "kubernetes.io/kubelet-serving"),
    ];
    pairs.iter().map(|(pattern, value)| format!("{pattern}\n{value}").into_bytes()).collect()
}

/// The expressions of the examples, and one for each function.
fn expressions() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for bytes in [values("CSRPolicy"), values("CSRGuardrail")].concat() {
        collect(&serde_json::from_slice(&bytes).unwrap(), &mut found);
    }
    found.extend(
        [
            "csr.dnsNames.all(name, name.endsWith('.example.com'))",
            "csr.subject.commonName.matches('^[a-z]+(-[a-z]+)*$')",
            "csr.subject.organizations.exists_one(o, o == requestor.groups[0])",
            "has(csr.expirationSeconds) && csr.expirationSeconds < 3600 * 24",
            "csr.ipAddresses.map(a, a.split('.')).size() > 0 ? true : false",
            "'a' in requestor.extra && requestor.extra['a'][0].lowerAscii() == 'b'",
            "csr.dnsNames.filter(n, n.contains('x') || n.startsWith('y')).size() == 0",
            "int('7') + uint('8') == 15u || double('1.5') > 1.0 || string(1) == '1'",
            "[1, 2, 3].all(x, [1, 2, 3].all(y, x * y < 10))",
            "{'a': 1}.a == 1 && type(1) == int",
            "csr.key.algorithm == 'RSA' && csr.key.bits >= 3072",
            "b'abc' == bytes('abc') && duration('1s') < duration('1m')",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec()),
    );
    found
}

fn collect(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expression").and_then(Value::as_str).map(|text| text.as_bytes().to_vec()));
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

fn nodes() -> Vec<Vec<u8>> {
    let node = |name: &str, addresses: Value| {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name, "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "kubernetes.io/hostname": name, "zone": "a" },
            },
            "status": { "addresses": addresses },
        })
        .to_string()
        .into_bytes()
    };
    vec![
        node(
            "worker-1",
            json!([{ "type": "InternalIP", "address": "10.0.0.7" }, { "type": "Hostname", "address": "worker-1" }]),
        ),
        node("worker-1", json!([{ "type": "ExternalIP", "address": "2001:db8::7" }])),
        node(
            "worker-2",
            json!([{ "type": "InternalDNS", "address": "Worker-2.example.com" }, { "type": "x", "address": "y" }]),
        ),
        node(
            "",
            json!([{ "type": "ExternalDNS", "address": "*.example.com" }, { "type": "InternalIP", "address": "::ffff:10.0.0.1" }]),
        ),
        node("a.b", json!(null)),
        node(
            "worker-1",
            json!([{ "type": "Hostname", "address": "10.0.0.1" }, { "type": "Hostname", "address": "10.0.0.1" }]),
        ),
    ]
}

/// Inputs of `length` bytes that are wide, deep, or long in one place.
pub fn large(name: &str, length: usize) -> Vec<Vec<u8>> {
    let filled = |begin: &str, unit: &str, end: &str| {
        let times = length.saturating_sub(begin.len() + end.len()) / unit.len();
        format!("{begin}{}{end}", unit.repeat(times)).into_bytes()
    };
    let mut inputs: Vec<Vec<u8>> = [
        "\0",
        "a",
        "[",
        "{\"a\":",
        "(",
        "-----",
        ":",
        "\u{ff1a}",
        "*",
        "- ",
        "? ",
        "!",
        "\n",
        "%",
        "&a [*a,",
        "\u{202e}",
        "\"\\u0000",
    ]
    .iter()
    .map(|unit| filled("", unit, ""))
    .collect();
    inputs.push(vec![0xff; length]);
    inputs.push([0x30, 0x80].repeat(length / 2));
    inputs.push([0x30, 0x83, 0x16, 0xe3, 0x5b].repeat(length / 5));
    inputs.push(filled("[", "0,", "0]"));
    inputs.push(filled("[", "{},", "{}]"));
    match name {
        "pem" => {
            let (begin, end) = ("-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n");
            // At the bound of what is read, and beyond it.
            for limit in [countersign::request::MAX_REQUEST_BYTES, length] {
                for unit in [
                    "Ojo6",
                    "OnN5c3RlbTptYXN0ZXI6",
                    ":",
                    "m:",
                    "\u{e9}:",
                    "em:",
                    "em\0:",
                    "stem:",
                    "system:",
                    "MIAwgDCA",
                    "LAwsDCwM",
                    "-----\n",
                    "\n",
                ] {
                    let times = (limit - begin.len() - end.len() - 1) / unit.len();
                    inputs.push(format!("{begin}{}\n{end}", unit.repeat(times)).into_bytes());
                }
            }
        }
        "object" => {
            for (begin, unit, end) in [
                (r#"{"spec":{"request":""#, "Ojo6", r#""}}"#),
                (r#"{"spec":{"groups":["#, r#""g","#, r#""g"]}}"#),
                (r#"{"spec":{"usages":["#, r#""client auth","#, r#""x"]}}"#),
                (r#"{"spec":{"extra":{"a":["#, r#""g","#, r#""g"]}}}"#),
                (r#"{"metadata":{"managedFields":["#, r#"{"time":"9999-12-31T23:59:59Z"},"#, "{}]}}"),
                (r#"{"metadata":{"name":""#, "\u{202e}", r#""}}"#),
                (r#"{"status":{"conditions":["#, r#"{"type":"x"},"#, "{}]}}"),
                (r#"{"metadata":{"labels":{"a":""#, "a", r#""}}}"#),
                (r#"{"metadata":{"finalizers":["#, r#""a/b","#, r#""a/b"]}}"#),
                (
                    r#"{"metadata":{"ownerReferences":["#,
                    r#"{"apiVersion":"a","kind":"b","name":"c","uid":"d"},"#,
                    "{}]}}",
                ),
            ] {
                inputs.push(filled(begin, unit, end));
            }
            inputs.push(many("labels", length));
            inputs.push(many("annotations", length));
        }
        "node" => {
            let address = r#"{"type":"InternalIP","address":"10.0.0.1"},"#;
            inputs.push(filled(r#"{"metadata":{"name":"n"},"status":{"addresses":["#, address, "{}]}}"));
            inputs.push(filled(r#"{"metadata":{"name":""#, "n", r#""}}"#));
            inputs.push(many("labels", length));
        }
        "policy" => inputs.extend(long_policies(length)),
        "pattern" => {
            let (deep, wide) = ("*a".repeat(128), "a**".repeat(85));
            inputs.push(format!("{deep}\n{}", "a".repeat(length)).into_bytes());
            inputs.push(format!("{wide}\n{}", "ab".repeat(length / 2)).into_bytes());
            inputs.push(format!("a*\n{}", "\u{fdfa}".repeat(length / 3)).into_bytes());
        }
        _ => {}
    }
    inputs
}

/// An object with so many labels, or annotations, that it has some `length` bytes.
fn many(field: &str, length: usize) -> Vec<u8> {
    let entries: String = (0..length / 18).map(|index| format!("\"a{index:08}\":\"b\",")).collect();
    format!(r#"{{"metadata":{{"name":"n","{field}":{{{entries}"x":""}}}}}}"#).into_bytes()
}

/// Policies and guardrails as long as `length` with one list, and an eighth of that.
fn long_policies(length: usize) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    let long = format!(r#""{}*{}","#, "a".repeat(90), "b".repeat(90));
    for (begin, unit, end) in [
        (r#""allow":{"subject":{"organizations":{"allowed":["#, long.as_str(), r#""c"]}}}}}"#),
        (r#""allow":{"subject":{"commonName":{"denied":["#, long.as_str(), r#""c"]}}}}}"#),
        (r#""allow":{"dnsNames":{"allowed":["#, r#""*.example.com","#, r#""c"]}}}}"#),
        (r#""allow":{"uris":{"denied":["#, r#""spiffe://example.com/**","#, r#""c"]}}}}"#),
        (r#""limits":{"ipAddresses":{"denied":["#, r#""10.0.0.0/8","#, r#""10.0.0.1"]}}}}"#),
        (r#""limits":{"usages":{"denied":["#, r#""client auth","#, r#""x"]}}}}"#),
        (r#""match":{"requestors":["#, r#"{"groups":["a*","b"]},"#, "{}]}}}"),
        (r#""match":{"conditions":["#, r#"{"name":"a","expression":"csr.key.bits > 1"},"#, "{}]}}}"),
        (r#""allow":{"validations":["#, r#"{"name":"a","expression":"a.b(c.all(d,e)))"},"#, "{}]}}}"),
    ] {
        let object = r#"{"apiVersion":"countersign.dev/v1alpha1","metadata":{"name":"a"},"spec":{"#;
        for length in [length, length / 8] {
            let times = (length - object.len() - begin.len() - end.len()) / unit.len();
            inputs.push(format!("{object}{begin}{}{end}", unit.repeat(times)).into_bytes());
        }
    }
    inputs
}
