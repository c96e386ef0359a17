//! A backlog of pending requests: what it takes grows with their number and no faster, and Events wait for decisions.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Call, Fault, eventually};

use super::faults::{Bench, Case, REQUESTS};
use super::{LIMIT, anyhow_if};

/// What else there is to call, however many requests there are: lists, watches, the schema, permissions, the status of the
/// policy, and a consistent read each four seconds.
const BESIDE: usize = 60;

fn writes_event(call: &Call) -> bool {
    call.method == "POST" && call.path.contains("/events")
}

impl<'a> Case<'a> {
    /// A controller that knows of so many requests, and of no policy that permits them.
    fn with_backlog(bench: &'a Bench, name: &str, number: usize) -> Self {
        let options = ["--leader-elect=false", "--policy-settle=0s", "--no-opinion-events=false"];
        let case = Self::start(bench, name, &options);
        case.delete_policy();
        let mut manifest = Bench::manifest("", &case.signer);
        for index in 0..number {
            manifest["metadata"]["name"] = json!(format!("{name}-{index}"));
            bench.api.must("POST", REQUESTS, Some(&manifest)).unwrap();
        }
        case.controller.has_metric(&format!("countersign_pending_requests{{signer=\"{}\"}} {number}", case.signer));
        case
    }

    /// Waits until so many Events were written since then.
    #[track_caller]
    fn has_written_events(&self, since: Instant, number: usize) {
        let written = || {
            let calls = self.proxy.calls_since(since, writes_event);
            calls.into_iter().filter(|call| call.answer == Some(201)).count()
        };
        let all =
            eventually("all Events are written", LIMIT * 3, || anyhow_if(written() == number, &written().to_string()));
        all.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story()));
    }
}

/// For each name how many of `calls` are about it.
fn by_name<'a>(calls: impl Iterator<Item = &'a Call>, name: fn(&Call) -> &str) -> BTreeMap<&'a str, usize> {
    let mut numbers = BTreeMap::new();
    for call in calls {
        *numbers.entry(name(call)).or_default() += 1;
    }
    numbers
}

#[test]
fn a_backlog_takes_one_approval_and_one_event_for_each_request_and_nothing_else_that_grows_with_it() {
    let bench = Bench::start();
    let mut took = Vec::new();
    for number in [60, 240] {
        let case = Case::with_backlog(&bench, &format!("of-{number}"), number);
        let (since, before) = (Instant::now(), case.controller.running.processor_time().unwrap());
        case.create_policy();
        case.has_written_events(since, number);
        let used = case.controller.running.processor_time().unwrap().saturating_sub(before);
        // Whatever would come twice has come.
        std::thread::sleep(Duration::from_secs(2));
        let calls = case.proxy.calls();
        let approvals = by_name(calls.iter().filter(|call| call.approves()), Call::about);
        let events = by_name(calls.iter().filter(|call| writes_event(call)), |call| {
            call.body["regarding"]["name"].as_str().unwrap_or_default()
        });
        for (what, numbers) in [("approvals", &approvals), ("Events", &events)] {
            assert_eq!(numbers.len(), number, "{what}");
            assert!(numbers.values().all(|times| *times == 1), "{what}: {numbers:?}");
        }
        let reads = |call: &&Call| call.method == "GET" && !call.is_watch() && call.path.starts_with(REQUESTS);
        let reads: Vec<&str> = calls.iter().filter(reads).map(|call| call.path.as_str()).collect();
        assert_eq!(reads, [""; 0]);
        let beside = calls.len() - 2 * number;
        println!("backlog of {number}: {beside} calls beside approvals and Events, {used:?} of a processor");
        assert!(beside < BESIDE, "{beside}\n{}", case.story());
        took.push(used);
    }
    // Four times as many; what grows with the square takes sixteen times as long.
    assert!(took[1] < took[0] * 6 + Duration::from_millis(100), "{took:?}");
}

#[test]
fn events_give_way_to_decisions_and_none_is_lost_to_an_api_server_that_is_busy_for_a_while() {
    const BACKLOG: usize = 60;
    let bench = Bench::start();
    let case = Case::with_backlog(&bench, "backlog", BACKLOG);
    let busy = case.proxy.inject_times(writes_event, Fault::Answer(429, Some(1)), 3);
    let since = Instant::now();
    case.create_policy();
    case.has_written_events(since, BACKLOG);
    let calls = case.proxy.calls_since(since, |_| true);
    let last = calls.iter().filter(|call| call.approves()).map(|call| call.at).max().unwrap();
    let drained = last - since;
    let meanwhile = calls.iter().filter(|call| writes_event(call) && call.at < last).count();
    // One at once, and then four a second.
    let most = 2 + drained.as_millis() / 250;
    assert!(u128::try_from(meanwhile).unwrap() <= most, "{meanwhile} in {drained:?}\n{}", case.story());
    drop(busy);
}
