//! A backlog: pending requests are there, the controller starts, and all are approved. Beside it, on the same control
//! plane, a client that only sends the same approvals, as many at a time, with nothing to decide: what the API server
//! bears. `cargo bench --bench backlog -- 1000 5000`.
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Api, ControlPlane, Options, Running, eventually, hostile};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
/// As the controller has.
const IN_FLIGHT: usize = 16;
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let mut numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if numbers.is_empty() {
        numbers.push(1_000);
    }
    let plane = ControlPlane::start(&Options::default()).unwrap();
    plane.admin().run(&["apply", "--server-side", "-k", "deploy"]).unwrap();
    eventually("the CRDs are served", LIMIT, || plane.admin().apply(&policy().to_string())).unwrap();
    let api = plane.api().unwrap();
    println!("requests  bare/s  from start/s  ratio  draining/s  ratio  first decision s  Events s after  peak MiB");
    for number in numbers {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let bare = bare(&api, number);
            let ran = controller(&plane, &api, number);
            let draining = ran.last.saturating_sub(ran.first);
            let ratio = |lasted: Duration| bare.as_secs_f64() / lasted.as_secs_f64();
            let rate = |lasted: Duration| f64::from(u32::try_from(number).unwrap()) / lasted.as_secs_f64();
            println!(
                "{number:8}  {:6.0}  {:12.0}  {:5.2}  {:10.0}  {:5.2}  {:16.2}  {:14.2}  {:8.1}",
                rate(bare),
                rate(ran.last),
                ratio(ran.last),
                rate(draining),
                ratio(draining),
                ran.first.as_secs_f64(),
                ran.events.saturating_sub(ran.last).as_secs_f64(),
                f64::from(u32::try_from(ran.peak).unwrap()) / 1024.0
            );
            ratios.push(ratio(draining));
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "{number} requests: while draining, in the median {:.2} of the bare client's rate",
            ratios[ROUNDS / 2]
        );
    }
}

/// What permits all of the requests.
fn policy() -> Value {
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "developers" },
        "spec": {
            "match": {
                "signerNames": ["kubernetes.io/kube-apiserver-client"],
                "requestors": [{ "groups": ["system:authenticated"] }],
            },
            "allow": {
                "subject": { "commonName": { "allowed": ["*"] }, "organizations": { "allowed": ["developers"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 86_400 },
            },
        },
    })
}

/// Does `work` for each number below `number`, as many at a time as the controller sends decisions.
fn in_parallel(number: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= number {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}

/// Files the requests, after those of the round before are gone and nobody is busy with them any more.
fn file(api: &Api, number: usize) -> Vec<Value> {
    for path in [REQUESTS, EVENTS] {
        api.must("DELETE", path, None).unwrap();
        eventually("it is empty", LIMIT, || count(api, path).map(|left| assert_eq!(left, 0))).unwrap();
    }
    let pem = hostile::request(&hostile::key().unwrap(), "amy", "developers").unwrap();
    let request = STANDARD.encode(pem);
    in_parallel(number, |index| {
        let object = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": format!("request-{index}") },
            "spec": {
                "request": request,
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "expirationSeconds": 3_600,
            },
        });
        api.must("POST", REQUESTS, Some(&object)).unwrap();
    });
    let list = api.must("GET", REQUESTS, None).unwrap();
    let items = list["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), number);
    items
}

/// How many objects there are.
fn count(api: &Api, path: &str) -> anyhow::Result<usize> {
    let list = api.must("GET", &format!("{path}?limit=1"), None)?;
    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    Ok(list["items"].as_array().map_or(0, Vec::len) + usize::try_from(more)?)
}

/// Waits until every request has its certificate: signing goes on while others are approved, on either side.
fn all_are_issued(api: &Api) {
    eventually("all are issued", LIMIT, || {
        let list = api.must("GET", REQUESTS, None)?;
        let left =
            list["items"].as_array().unwrap().iter().filter(|csr| csr["status"]["certificate"].is_null()).count();
        anyhow::ensure!(left == 0, "{left} are not");
        Ok(())
    })
    .unwrap();
}

/// How long it takes to send the approvals and nothing else.
fn bare(api: &Api, number: usize) -> Duration {
    let bodies: Vec<(String, String)> = file(api, number)
        .into_iter()
        .map(|mut object| {
            object["status"]["conditions"] = json!([{
                "type": "Approved",
                "status": "True",
                "reason": "PolicyApproved",
                "message": "approved by Countersign: CSRPolicy developers permits the request",
            }]);
            let path = format!("{REQUESTS}/{}/approval", object["metadata"]["name"].as_str().unwrap());
            (path, object.to_string())
        })
        .collect();
    let begin = Instant::now();
    in_parallel(number, |index| {
        let (path, body) = &bodies[index];
        assert_eq!(api.status("PUT", path, body.clone()).unwrap(), 200);
    });
    let lasted = begin.elapsed();
    all_are_issued(api);
    lasted
}

/// How it went, each from the start of the process.
struct Ran {
    first: Duration,
    last: Duration,
    events: Duration,
    /// Resident memory at most, in KiB.
    peak: u64,
}

fn controller(plane: &ControlPlane, api: &Api, number: usize) -> Ran {
    file(api, number);
    // The one of the round before was killed, and could not give it back.
    let lease = "/apis/coordination.k8s.io/v1/namespaces/countersign-system/leases/countersign";
    api.call("DELETE", lease, None).unwrap();
    let log = plane.file("backlog.log");
    let mut command =
        Command::new(std::env::var("COUNTERSIGN").unwrap_or(env!("CARGO_BIN_EXE_countersign").to_owned()));
    command
        .args(["run", "--listen=127.0.0.1:0", "--lease-namespace=countersign-system"])
        .arg(format!("--kubeconfig={}", plane.admin().kubeconfig().display()));
    let begin = SystemTime::now();
    let running = Running::start(&command, &log).unwrap();
    let decisions = eventually("all are decided", LIMIT, || {
        let decisions = decisions(&log);
        anyhow::ensure!(decisions.len() == number, "{} are", decisions.len());
        Ok(decisions)
    });
    let decisions = decisions.unwrap();
    eventually("all Events are there", LIMIT, || {
        let events = count(api, EVENTS)?;
        anyhow::ensure!(events >= number, "{events} are");
        Ok(())
    })
    .unwrap();
    let events = begin.elapsed().unwrap();
    let begin = Timestamp::try_from(begin).unwrap();
    let since = |time: &Timestamp| Duration::try_from(time.duration_since(begin)).unwrap();
    let peak = running.peak_memory().unwrap();
    drop(running);
    all_are_issued(api);
    Ran { first: since(decisions.iter().min().unwrap()), last: since(decisions.iter().max().unwrap()), events, peak }
}

/// When each approval stood in the log.
fn decisions(log: &Path) -> Vec<Timestamp> {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let lines = said.lines().filter(|line| line.contains("\"decision\":\"Approve\""));
    // The last line may not be whole yet.
    let decisions = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    decisions.map(|decision| decision["timestamp"].as_str().unwrap().parse().unwrap()).collect()
}
