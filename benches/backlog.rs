//! A backlog: pending requests are there, the controller starts, and all are approved. Beside it, on the same control
//! plane, a client that only sends the same approvals, as many at a time, with nothing to decide: what the API server
//! bears; and the same client while somebody watches the requests, as whoever decides about them has to.
//! `cargo bench --bench backlog -- 1000 5000`; with `--alone` without that client, once; with `--apart` the control plane
//! has the first processor, and whoever approves the second, as where they run on machines of their own.
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use common::{EVENTS, LIMIT, REQUESTS, approved, control_plane, in_parallel, request, start};
use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{Api, ControlPlane, eventually};

/// How often they are compared: a large backlog takes minutes until all is signed.
const fn rounds(number: usize) -> usize {
    if number > 5_000 { 1 } else { 3 }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if numbers.is_empty() {
        numbers.push(1_000);
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    if has("--apart") {
        stay_on("0");
    }
    let (plane, api) = control_plane();
    if has("--apart") {
        stay_on("1");
    }
    for number in numbers {
        if has("--alone") {
            let before = stored(&plane);
            let ran = controller(&plane, &api, number);
            all_are_issued(&api);
            let each = stored(&plane).saturating_sub(before) / u64::try_from(number).unwrap();
            println!("{number} requests: {}; etcd holds {each} bytes for each", ran.describe(number));
        } else {
            compare(&plane, &api, number);
        }
    }
}

/// Binds this thread to one processor, and with it every process and thread that it starts from now on.
fn stay_on(processor: &str) {
    let own = std::process::id().to_string();
    let bound = Command::new("taskset").args(["--pid", "--cpu-list", processor, &own]).stdout(Stdio::null()).status();
    assert!(bound.unwrap().success(), "taskset, of util-linux");
}

/// The controller beside the bare client, in turns.
fn compare(plane: &ControlPlane, api: &Api, number: usize) {
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..rounds(number) {
        let beside = [None, Some("?watch=true")].map(|watch| bare(api, number, watch));
        let ran = controller(plane, api, number);
        all_are_issued(api);
        let ratio = |beside: &Duration| beside.as_secs_f64() / ran.draining().as_secs_f64();
        let (alone, watched) = (ratio(&beside[0]), ratio(&beside[1]));
        println!(
            "{number} requests: bare client {:.0}/s, with a watch {:.0}/s; controller ÷ bare {alone:.2}, ÷ with a watch \
             {watched:.2}; {}",
            rate(number, beside[0]),
            rate(number, beside[1]),
            ran.describe(number)
        );
        ratios[0].push(alone);
        ratios[1].push(watched);
    }
    let [alone, watched] = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[rounds(number) / 2]
    });
    println!(
        "{number} requests: while draining, in the median {alone:.2} of the bare client's rate, {watched:.2} of that with \
         a watch"
    );
}

/// The bytes of etcd's database that are in use, of earlier revisions, too, which are compacted every five minutes.
fn stored(plane: &ControlPlane) -> u64 {
    let status = plane.etcd("/v3/maintenance/status", &json!({})).unwrap();
    status["dbSizeInUse"].as_str().unwrap().parse().unwrap()
}

fn rate(number: usize, lasted: Duration) -> f64 {
    f64::from(u32::try_from(number).unwrap()) / lasted.as_secs_f64()
}

/// Files the requests, after those of the round before are gone and nobody is busy with them any more.
fn file(api: &Api, number: usize) -> Vec<Value> {
    for path in [REQUESTS, EVENTS] {
        api.must("DELETE", path, None).unwrap();
        eventually("it is empty", LIMIT, || count(api, path).map(|left| assert_eq!(left, 0))).unwrap();
    }
    let request = request();
    in_parallel(number, |index| {
        let mut object = request.clone();
        object["metadata"]["name"] = json!(format!("request-{index}"));
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

/// How long it takes to send the approvals and nothing else, while somebody may watch.
fn bare(api: &Api, number: usize, watch: Option<&str>) -> Duration {
    let bodies: Vec<(String, String)> = file(api, number)
        .into_iter()
        .map(|object| {
            let path = format!("{REQUESTS}/{}/approval", object["metadata"]["name"].as_str().unwrap());
            (path, approved(object).to_string())
        })
        .collect();
    let _watch = watch.map(|query| api.watch(&format!("{REQUESTS}{query}")).unwrap());
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

impl Ran {
    /// From the first decision to the last.
    fn draining(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    fn describe(&self, number: usize) -> String {
        format!(
            "from its start {:.0}/s, draining {:.0}/s, first decision after {:.2} s, Events complete {:.2} s after the \
             last, {:.1} MiB at most",
            rate(number, self.last),
            rate(number, self.draining()),
            self.first.as_secs_f64(),
            self.events.saturating_sub(self.last).as_secs_f64(),
            f64::from(u32::try_from(self.peak).unwrap()) / 1024.0
        )
    }
}

fn controller(plane: &ControlPlane, api: &Api, number: usize) -> Ran {
    file(api, number);
    let log = plane.file("backlog.log");
    let begin = SystemTime::now();
    let running = start(plane, api, &log);
    // Whoever looks must not take the processor from it: lines are counted, and read once at the end.
    let (mut seen, mut lines) = (File::open(&log).unwrap(), 0);
    eventually("all are decided", LIMIT, || {
        let mut more = Vec::new();
        seen.read_to_end(&mut more)?;
        lines += more.split(|byte| *byte == b'\n').count() - 1;
        anyhow::ensure!(lines >= number && decisions(&log).len() == number, "{lines} lines");
        Ok(())
    })
    .unwrap();
    let decisions = decisions(&log);
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
