//! How long the commands take grows with what there is to do, and with nothing else; and how far they are is shown.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The program that reviews; `COUNTERSIGN` is another than the one that was built here.
fn program() -> String {
    std::env::var("COUNTERSIGN").unwrap_or(env!("CARGO_BIN_EXE_countersign").to_owned())
}

/// What a review takes.
struct Taken {
    /// Seconds by the clock, and of processor time: the least of three.
    seconds: f64,
    processor: f64,
    /// The most memory, in KiB.
    memory: usize,
}

/// Reviews `number` requests, which gives what is expected.
fn review(directory: &Path, number: usize) -> Taken {
    let expected = format!("{half} approved, {half} denied, 0 undecided", half = number / 2);
    let once = || {
        let commands = "\"$0\" review --policies policies requests | tail -n 1; times";
        let begin = Instant::now();
        let output = Command::new("sh").args(["-c", commands, &program()]).current_dir(directory).output().unwrap();
        let seconds = begin.elapsed().as_secs_f64();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(&*expected), "{}", String::from_utf8_lossy(&output.stderr));
        // `0m0.442s 0m0.024s`: user and system, first of the shell, then of its children.
        let times = lines.nth(1).unwrap().split_whitespace().map(|time| {
            let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
            minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
        });
        (seconds, times.sum::<f64>())
    };
    let least = |one: (f64, f64), other: (f64, f64)| (one.0.min(other.0), one.1.min(other.1));
    let (seconds, processor) = (0..3).map(|_| once()).reduce(least).unwrap();
    Taken { seconds, processor, memory: memory(directory) }
}

/// The most memory, in KiB, that a review takes, whose output fills a pipe: there it waits.
fn memory(directory: &Path) -> usize {
    let mut child = Command::new(program())
        .args(["review", "--policies", "policies", "requests"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 1]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
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

/// `SCALE_REQUESTS` are reviewed, 4,000 unless it is set.
#[test]
#[expect(clippy::print_stdout, reason = "figures, with --nocapture")]
fn a_review_takes_little_more_than_decoding_and_grows_with_requests_alone() {
    const FEW: usize = 1_000;
    let number = std::env::var("SCALE_REQUESTS").map_or(4_000, |number| number.parse().unwrap());
    assert!(number > FEW && number.is_multiple_of(2), "SCALE_REQUESTS is even, and more than {FEW}");
    let (few, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(few.path(), FEW);
    make(many.path(), number);
    let (of_few, of_many) = (review(few.path(), FEW), review(many.path(), number));
    let alone = decoding(few.path());
    let show = |number: usize, taken: &Taken| {
        let Taken { seconds, processor, memory } = taken;
        println!("{number} requests: {seconds:.2} s, {processor:.2} s of processor time, {memory} KiB at most");
    };
    show(FEW, &of_few);
    show(number, &of_many);
    println!("decoding {FEW} alone: {alone:.3} s of processor time");
    // Twelve to fourteen times, without optimisation and on a busy machine.
    assert!(of_few.processor < alone * 25.0, "{} s, and {alone} s to decode them alone", of_few.processor);
    let times = f64::from(u32::try_from(number / FEW).unwrap());
    assert!(of_many.processor < of_few.processor * times * 1.5, "{} s, and {} s", of_few.processor, of_many.processor);
    // Of each there is what is said of it, some 200 bytes.
    let each = of_many.memory.saturating_sub(of_few.memory) * 1024 / (number - FEW);
    assert!(each < 1024, "{each} bytes for each request: {} KiB, and {} KiB", of_few.memory, of_many.memory);
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
