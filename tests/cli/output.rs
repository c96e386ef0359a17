//! Output that nobody can abuse: whatever names, subjects and requestors say, it shows as text.

use serde_json::{Value, json};
use testbed::hostile;

use super::{Ended, countersign};

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A `List` of requests, as `kubectl get csr -o json` has it, and names that no API server takes.
fn requests() -> Value {
    let key = hostile::key().unwrap();
    let odd =
        ["a/b", "../../etc/passwd", "%2e%2e%2f", "a?b#c", "\0", "\u{1b}[2J", "", "-", "--policies"].map(str::to_owned);
    let names = odd.into_iter().chain(["x\u{202e}".repeat(70_000)]).chain((0..hostile::number(300)).map(hostile::text));
    let items: Vec<Value> = names
        .enumerate()
        .map(|(index, name)| {
            let text = |number: usize| hostile::text(index * 13 + number);
            let (subject, group) = if index.is_multiple_of(2) { ("amy".to_owned(), text(1)) } else { (text(2), text(3)) };
            json!({
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "metadata": { "name": name, "uid": text(4), "labels": { "a": text(5) } },
                "spec": {
                    "request": base64(&hostile::request(&key, &subject, &group).unwrap()),
                    "signerName": if index.is_multiple_of(5) { text(6) } else { "kubernetes.io/kube-apiserver-client".to_owned() },
                    "username": text(7), "uid": text(8), "groups": ["platform-onboarding", text(9)],
                    "extra": { "k": [text(10)] },
                    "usages": if index.is_multiple_of(7) { json!([text(11)]) } else { json!(["client auth"]) },
                    "expirationSeconds": 3600,
                },
            })
        })
        .collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

#[track_caller]
fn shows_all(what: &str, ended: &Ended) {
    for text in [&ended.1, &ended.2] {
        for line in text.lines() {
            assert!(hostile::shows_all(line), "{what}: {line:?}");
        }
    }
}

#[test]
fn verdicts_show_everything_in_every_format() {
    let list = requests();
    let items = list["items"].as_array().unwrap();
    for format in ["text", "json", "junit"] {
        let arguments = ["review", "--policies", "examples/policies", "--managed-signer=*", "-o", format, "-"];
        let ended = countersign(&arguments, list.to_string().as_bytes());
        assert_eq!((ended.0, ended.2.as_str()), (1, ""), "{format}");
        shows_all(format, &ended);
        if format == "json" {
            // Programs get what is there.
            let verdicts: Value = serde_json::from_str(&ended.1).unwrap();
            let reviews = verdicts["reviews"].as_array().unwrap();
            assert_eq!(reviews.len(), items.len());
            for (review, item) in reviews.iter().zip(items) {
                assert_eq!(review["name"], item["metadata"]["name"]);
                assert_eq!(review["request"]["username"], item["spec"]["username"]);
            }
        }
        if format == "junit" {
            assert_eq!(ended.1.matches("<testcase ").count(), items.len());
            assert_eq!(ended.1.matches("</testcase>").count(), items.len());
        }
    }
    for format in ["text", "json"] {
        shows_all(format, &countersign(&["inspect", "-o", format, "-"], list.to_string().as_bytes()));
    }
}

#[test]
fn mistakes_in_policies_show_everything_in_every_format() {
    let policies: Vec<Value> = (0..60)
        .map(|index| {
            let text = |number: usize| hostile::text(index * 31 + number);
            json!({
                "apiVersion": "countersign.dev/v1alpha1",
                "kind": if index.is_multiple_of(2) { "CSRPolicy" } else { "CSRGuardrail" },
                "metadata": { "name": text(1) },
                "spec": {
                    "match": { "signerNames": [text(2)], "requestors": [{ "users": [text(3)] }] },
                    "allow": {
                        "subject": { "commonName": { "allowed": [text(4), "*"] } },
                        "usages": { "allowed": ["client auth", text(5)] },
                        "validations": [{ "name": text(6), "expression": text(7), "message": text(8) }],
                        // YAML has no longer keys in one line.
                        (text(9).chars().take(200).collect::<String>()): 1,
                    },
                    "mode": text(10),
                },
            })
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("odd\u{1b}[31m\u{202e}.json");
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": policies }).to_string()).unwrap();
    let file = file.to_str().unwrap();
    for format in ["text", "json", "sarif"] {
        let ended = countersign(&["lint", "-o", format, file], b"");
        assert!(!ended.1.is_empty(), "{}", ended.2);
        shows_all(format, &ended);
    }
    shows_all("review", &countersign(&["review", "--policies", file, "examples/requests"], b""));
    shows_all("yaml", &countersign(&["lint", "-"], b"apiVersion: \"\x1b[31m\"\nkind: [\n"));
    shows_all("no file", &countersign(&["review", "--policies", "\u{1b}[31m", "\u{202e}"], b""));
}

/// What a file says before `what` and after it, with something hostile in its place.
fn with_odd(before: &str, after: &str) -> String {
    format!("{before}{}{after}", r#""a\e[31m\x9b31m\u202e\e]0;title\a""#)
}

#[test]
fn what_a_kubeconfig_names_shows_whatever_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let file = path.to_str().unwrap();
    let cluster = |fields: String| format!("kind: Config\nclusters:\n- name: a\n  cluster: {{ {fields} }}\n");
    let user = |fields: String| format!("kind: Config\nusers:\n- name: a\n  user: {{ {fields} }}\n");
    for text in [
        cluster(with_odd("certificate-authority: ", "")),
        cluster(with_odd("", ": 1, server: [1]")),
        user(with_odd("client-certificate: ", "")),
        user(with_odd("client-key: ", ", client-certificate: /dev/null")),
        with_odd("kind: Config\nclusters: [", "]\n"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let ended = countersign(&["inspect", file], b"");
        shows_all(&text, &ended);
        assert!(ended.0 == 2 && ended.2.lines().count() == 1, "{text}: {}", ended.2);
    }
    let current = |rest: &str| format!("kind: Config\napiVersion: v1\ncurrent-context: a\n{rest}");
    let contexts = "contexts: [{ name: a, context: { cluster: a, user: a } }]\n";
    let server = "clusters: [{ name: a, cluster: { server: \"https://127.0.0.1:1\" } }]\n";
    for text in [
        with_odd("kind: Config\napiVersion: v1\ncurrent-context: ", "\n"),
        current(&with_odd("contexts: [{ name: a, context: { user: a, cluster: ", " } }]\n")),
        current(&with_odd(&format!("{contexts}{server}users: [{{ name: a, user: {{ tokenFile: "), " } }]\n")),
        current(&with_odd(&format!("{contexts}clusters: [{{ name: a, cluster: {{ server: "), " } }]\n")),
        current(&with_odd(&format!("{contexts}{server}users: [{{ name: a, user: {{ client-key: "), " } }]\n")),
    ] {
        std::fs::write(&path, &text).unwrap();
        for arguments in [&["review", "--live"][..], &["explain", "amy"], &["run"]] {
            let ended = countersign(&[arguments, &["--kubeconfig", file]].concat(), b"");
            assert_eq!(ended.0, 2, "{text}");
            // The log of `run` has lines of its own.
            shows_all(&text, &Ended(0, String::new(), ended.2.lines().last().unwrap().to_owned()));
        }
    }
}

#[test]
fn what_a_suite_says_shows_whatever_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("suite.yaml");
    let developers = std::path::absolute("examples/policies").unwrap();
    let suite = |tests: &str| {
        let policies = developers.display();
        format!("apiVersion: countersign.dev/v1alpha1\nkind: CSRPolicyTest\npolicies: [{policies}]\ntests:\n{tests}")
    };
    let request = "request: { signerName: kubernetes.io/kube-apiserver-client }";
    let expect = "expect: { decision: Deny }";
    let requestor = "requestor: { username: amy }";
    let name = |rest: &str| with_odd("- name: ", &format!("\n  {rest}\n"));
    for text in [
        suite(&name(&format!("{}: 1", r#""a\e[31m""#))),
        suite(&name(&format!("{request}\n  {requestor}\n  {expect}")).repeat(2)),
        suite(&name(&format!("{request}\n  {expect}"))),
        suite(&name(&format!("{request}\n  {}\n  {expect}", with_odd("requestor: ", "")))),
        suite(&name(&format!("{request}\n  {requestor}\n  {}", with_odd("expect: { decision: ", " }")))),
        suite(&name(&format!("{}\n  {requestor}\n  {expect}", with_odd("request: { key: ", " }")))),
        suite(&name(&format!("{}\n  {requestor}\n  {expect}", with_odd("request: ", "")))),
        suite(&name(&format!("{request}\n  {requestor}\n  nodes: [none.yaml]\n  {expect}"))),
        suite(&name(&format!("request: none.yaml\n  {requestor}\n  {expect}"))),
        suite(&name(&format!("{request}\n  {requestor}\n  expect: {{ decision: Approve }}"))),
    ] {
        std::fs::write(&path, &text).unwrap();
        for format in ["text", "junit"] {
            let ended = countersign(&["test", "-o", format, path.to_str().unwrap()], b"");
            shows_all(&text, &ended);
            assert!(ended.0 > 0 && ended.1.len() + ended.2.len() > 100, "{text}");
        }
    }
}

/// As in `countersign … 2>&1 | head -1`, whose reader is gone after a line.
#[test]
fn who_reads_no_more_changes_no_exit_status() {
    let bad = "examples/make-requests.sh";
    for arguments in [
        &["review", "--policies", "examples/policies", "examples/requests"][..],
        &["review", "--policies", "examples/policies", "-o", "json", "examples/requests"],
        &["review", "--policies", bad, bad],
        &["review", "--live", "--kubeconfig", bad],
        &["explain", "amy", "--kubeconfig", bad],
        &["lint", "examples/policies", bad],
        &["test", "examples/tests", bad],
        &["inspect", "examples/requests", bad],
        &["crd"],
        &["crd", "--reference"],
        &["completions", "bash"],
        &["run", "--kubeconfig", bad],
        &["run", "--listen=nowhere"],
        &["--help"],
    ] {
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut unread = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        let status = unread.args(arguments).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(countersign(arguments, b"").0), "{arguments:?}");
    }
}
