//! Requests at a steady rate: how long each waits for its approval, beside a client that reads each and approves it.
//! `cargo bench --bench steady -- 60` files 50 a second for 60 seconds; with `--beside` among 10,000 requests that are
//! decided and 1,000 policies about others.
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod common;

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use common::{IN_FLIGHT, LIMIT, POLICIES, REQUESTS, approved, control_plane, in_parallel, policy, request, start};
use serde_json::{Value, json};
use testbed::{Api, eventually};

/// The time from one request to the next.
const EVERY: Duration = Duration::from_millis(20);
/// Requests that are decided, and policies about others, where there are any.
const DECIDED: usize = 10_000;
const OTHERS: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds: u64 = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(60);
    let number = usize::try_from(seconds).unwrap() * 50;
    let (plane, api) = control_plane();
    let request = request();
    if arguments.iter().any(|argument| argument == "--beside") {
        in_parallel(OTHERS, |index| {
            let policy = policy(&format!("other-{index}"), &format!("team-{index}"));
            api.must("POST", POLICIES, Some(&policy)).unwrap();
        });
        in_parallel(DECIDED, |index| {
            let mut denied = approved(file(&api, &request, &format!("decided-{index}")));
            denied["status"]["conditions"][0]["type"] = json!("Denied");
            decide(&api, &denied);
        });
    }
    let bare = at_a_steady_rate(number, |index| {
        let name = format!("bare-{index}");
        file(&api, &request, &name);
        let began = Instant::now();
        let object = api.must("GET", &format!("{REQUESTS}/{name}"), None).unwrap();
        decide(&api, &approved(object));
        began.elapsed()
    });

    let log = plane.file("steady.log");
    let running = start(&plane, &api, &log);
    // The first watch of a kind makes the API server begin one of its own.
    file(&api, &request, "first");
    eventually("the first is approved", LIMIT, || {
        let first = api.must("GET", &format!("{REQUESTS}/first"), None)?;
        anyhow::ensure!(first["status"]["conditions"][0]["type"] == "Approved", "it is not");
        Ok(())
    })
    .unwrap();
    let version = api.must("GET", &format!("{REQUESTS}?limit=1"), None).unwrap()["metadata"]["resourceVersion"].clone();
    let events = api.watch(&format!("{REQUESTS}?watch=true&resourceVersion={}", version.as_str().unwrap())).unwrap();
    let (mut filed, mut waits) = (HashMap::new(), Vec::new());
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            at_a_steady_rate(number, |index| {
                file(&api, &request, &format!("steady-{index}"));
                Duration::ZERO
            })
        });
        let mut looked = Instant::now();
        while waits.len() < number {
            let (at, event) = match events.recv_timeout(LIMIT) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{} of {number}", waits.len())
                }
            };
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if !name.starts_with("steady-") {
                continue;
            }
            if event["type"] == "ADDED" {
                filed.insert(name.to_owned(), at);
            } else if event["object"]["status"]["conditions"][0]["type"] == "Approved"
                && let Some(since) = filed.remove(name)
            {
                waits.push(at - since);
            }
            if looked.elapsed() > Duration::from_secs(10) {
                looked = Instant::now();
                memory.push(running.memory().unwrap());
            }
        }
    });
    println!("from the creation to the approval: {}", describe(waits));
    println!("GET and PUT of a bare client:      {}", describe(bare));
    let busy = running.processor_time().unwrap();
    println!(
        "processor time for each request: {:.2} ms",
        busy.as_secs_f64() * 1e3 / f64::from(u32::try_from(number).unwrap())
    );
    println!("resident memory every ten seconds, in KiB: {memory:?}, at most {}", running.peak_memory().unwrap());
    let before = running.processor_time().unwrap();
    std::thread::sleep(Duration::from_secs(10));
    let idle = running.processor_time().unwrap().saturating_sub(before);
    println!("processor time at rest: {:.2} % of one processor", idle.as_secs_f64() * 10.0);
}

fn file(api: &Api, request: &Value, name: &str) -> Value {
    let mut object = request.clone();
    object["metadata"]["name"] = json!(name);
    api.must("POST", REQUESTS, Some(&object)).unwrap()
}

fn decide(api: &Api, object: &Value) {
    let path = format!("{REQUESTS}/{}/approval", object["metadata"]["name"].as_str().unwrap());
    // Its signer may have been faster with something else of it.
    api.must("PUT", &path, Some(object)).unwrap();
}

/// Does `work` for each number below `number`, each when its time has come.
fn at_a_steady_rate(number: usize, work: impl Fn(usize) -> Duration + Sync) -> Vec<Duration> {
    let (begin, results) = (Instant::now(), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..IN_FLIGHT {
            let (work, results) = (&work, &results);
            scope.spawn(move || {
                for index in (worker..number).step_by(IN_FLIGHT) {
                    let at = begin + EVERY * u32::try_from(index).unwrap();
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    let result = work(index);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn describe(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let at = |share: usize| durations[(durations.len() - 1) * share / 100].as_secs_f64() * 1e3;
    format!("p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms", at(50), at(99), at(100))
}
