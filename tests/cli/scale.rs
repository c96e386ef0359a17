//! How long the commands take grows with what there is to do, and with nothing else; and how far they are is shown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign::request::{Pkcs10, Usage};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const POLICIES: usize = 100;

/// A hundred policies, each for a team of its own, and `number` requests of these teams, of which every other one asks
/// for too long a lifetime.
fn make(directory: &Path, number: usize) {
    let (policies, requests) = (directory.join("policies"), directory.join("requests"));
    fs::create_dir(&policies).unwrap();
    fs::create_dir(&requests).unwrap();
    for team in 0..POLICIES {
        let policy = json!({
            "apiVersion": "countersign.dev/v1alpha1",
            "kind": "CSRPolicy",
            "metadata": { "name": format!("team-{team}") },
            "spec": {
                "match": {
                    "signerNames": ["kubernetes.io/kube-apiserver-client"],
                    "requestors": [{ "groups": [format!("team-{team}")] }],
                },
                "allow": {
                    "subject": { "commonName": { "allowed": [format!("team-{team}:*")] } },
                    "usages": { "allowed": ["client auth"] },
                    "expirationSeconds": { "max": 86_400 },
                    "validations": [{ "name": "short", "expression": "csr.subject.commonName.size() <= 32" }],
                },
            },
        });
        fs::write(policies.join(format!("{team}.json")), policy.to_string()).unwrap();
    }
    let tests: Vec<_> = (0..number)
        .map(|index| {
            let (team, seconds) = (index % POLICIES, if index % 2 == 0 { 3_600 } else { 864_000 });
            json!({
                "name": format!("request-{index}"),
                "requestor": { "username": format!("user-{team}"), "groups": [format!("team-{team}")] },
                "request": {
                    "signerName": "kubernetes.io/kube-apiserver-client",
                    "usages": ["client auth"],
                    "expirationSeconds": seconds,
                    "subject": { "commonName": format!("team-{team}:{index}") },
                },
                "expect": { "decision": if index % 2 == 0 { "Approve" } else { "Deny" } },
            })
        })
        .collect();
    let suite = json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicyTest",
        "policies": ["policies"],
        "tests": tests,
    });
    fs::write(directory.join("suite.json"), suite.to_string()).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["test", "--save-requests", "requests", "suite.json"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

/// Seconds of processor time that a review takes, the least of three.
fn review(directory: &Path, expected: &str) -> f64 {
    let once = || {
        let commands = "\"$0\" review --policies policies requests | tail -n 1; times";
        let output = Command::new("sh")
            .args(["-c", commands, env!("CARGO_BIN_EXE_countersign")])
            .current_dir(directory)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(expected), "{}", String::from_utf8_lossy(&output.stderr));
        // `0m0.442s 0m0.024s`: user and system, first of the shell, then of its children.
        let times = lines.nth(1).unwrap().split_whitespace().map(|time| {
            let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
            minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
        });
        times.sum::<f64>()
    };
    (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Seconds of processor time that decoding the requests takes and nothing else, their signatures checked: the least of
/// three.
fn decoding(directory: &Path) -> f64 {
    let pems: Vec<Vec<u8>> = fs::read_dir(directory.join("requests"))
        .unwrap()
        .map(|entry| {
            let object: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            STANDARD.decode(object["spec"]["request"].as_str().unwrap()).unwrap()
        })
        .collect();
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let once = || {
        let begin = now();
        assert!(pems.iter().all(|pem| Pkcs10::from_pem(pem, &[Usage::ClientAuth]).is_ok()));
        now().saturating_sub(begin).as_secs_f64()
    };
    (0..3).map(|_| once()).fold(f64::INFINITY, f64::min)
}

#[test]
#[expect(clippy::print_stdout, reason = "figures, with --nocapture")]
fn a_review_takes_little_more_than_decoding_and_grows_with_requests_alone() {
    let (few, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(few.path(), 1_000);
    make(many.path(), 4_000);
    let of_few = review(few.path(), "500 approved, 500 denied, 0 undecided");
    let of_many = review(many.path(), "2000 approved, 2000 denied, 0 undecided");
    let alone = decoding(few.path());
    println!(
        "1,000 requests: {of_few:.3} s of processor time, {alone:.3} s to decode them alone; 4,000: {of_many:.3} s"
    );
    // Twelve to fourteen times, without optimisation and on a busy machine.
    assert!(of_few < alone * 25.0, "{of_few} s, and {alone} s to decode them alone");
    assert!(of_many < of_few * 6.0, "{of_few} s for 1,000 and {of_many} s for 4,000");
}

/// `script` of util-linux gives the command a terminal.
#[test]
fn long_work_shows_a_bar_on_a_terminal_and_takes_it_away() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path(), 1_500);
    let on_terminal = |command: &str| {
        let command = format!("{} {command}", env!("CARGO_BIN_EXE_countersign"));
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = on_terminal("review --exit-zero --policies policies requests requests requests > /dev/null");
    assert!(said.contains(" of 4,500 requests, ") && said.contains("s left"), "{said:?}");
    assert!(said.ends_with("\r\u{1b}[2K"), "{said:?}");
    let said = on_terminal("review --exit-zero --policies policies requests/request-1.json > /dev/null");
    assert_eq!(said, "", "short work shows none");
}
