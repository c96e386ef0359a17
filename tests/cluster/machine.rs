//! What goes wrong on the machine itself: the disk of the log is full, nobody reads the log, and the clock is set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::{Running, eventually, free_port};

use super::decisions::policy;
use super::faults::{Bench, POLICIES};
use super::{Controller, LIMIT, anyhow_if};

/// A controller for `example.com/NAME` with such a policy, whose log goes to `log` and which has these variables
/// in its environment.
fn start(bench: &Bench, name: &str, log: PathBuf, environment: &[(&str, &Path)]) -> Controller {
    let signer = format!("example.com/{name}");
    let policy: Value = serde_json::from_str(&policy(name, &signer, Value::Null)).unwrap();
    // A second replica finds it there.
    let (status, answer) = bench.api.call("POST", POLICIES, Some(&policy)).unwrap();
    assert!([201, 409].contains(&status), "{answer}");
    let port = free_port().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .arg("run")
        .arg(format!("--listen=127.0.0.1:{port}"))
        .arg(format!("--kubeconfig={}", bench.cluster.plane.file("countersign.kubeconfig").display()))
        .args([format!("--managed-signer={signer}"), format!("--lease-name={name}")])
        .args(["--lease-namespace=countersign-system", "--policy-settle=0s"])
        .envs(environment.iter().copied());
    let running = Running::start(&command, &log).unwrap();
    // What is no file has no end to be read to.
    let log = if log.is_file() { log } else { "/dev/null".into() };
    let controller = Controller { running, port, log };
    controller.is_ready();
    controller
}

fn is_decided(bench: &Bench, controller: &Controller, name: &str) {
    let decided = eventually(&format!("{name} is approved"), LIMIT, || {
        anyhow_if(bench.conditions(name) == ["Approved"], "it is pending")
    });
    decided.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
}

#[test]
fn a_full_disk_and_a_clock_that_jumps_make_nobody_decide_wrongly_or_forget() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    std::thread::scope(|scope| {
        scope.spawn(|| decides_with_a_full_disk(&bench));
        scope.spawn(|| decides_under_a_clock_that_jumps(&bench));
        scope.spawn(|| waits_under_a_clock_that_jumps(&bench));
    });
}

fn decides_with_a_full_disk(bench: &Bench) {
    // Every write to this device fails as on a full disk (full(4)).
    let mut controller = start(bench, "full", "/dev/full".into(), &[]);
    for number in 0..10 {
        let name = format!("full-{number}");
        bench.file(&name, "example.com/full");
        is_decided(bench, &controller, &name);
    }
    assert!(!controller.running.has_ended());
    controller.has_counted("countersign_log_lines_lost_total");
}

#[test]
fn a_log_that_nobody_reads_stops_neither_decisions_nor_the_end() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    let pipe = bench.cluster.plane.file("log.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // It is open on both sides, so that neither waits for the other, and holds 64 KiB.
    let _unread = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    // At this level that is nothing.
    let mut controller = start(&bench, "unread", pipe, &[("RUST_LOG", Path::new("trace"))]);
    for number in 0..10 {
        let name = format!("unread-{number}");
        bench.file(&name, "example.com/unread");
        is_decided(&bench, &controller, &name);
    }
    controller.running.signal("TERM").unwrap();
    let ended =
        eventually("it has ended", Duration::from_secs(6), || anyhow_if(controller.running.has_ended(), "it has not"));
    ended.unwrap();
    // It gave the lease back.
    let next = start(&bench, "unread", bench.cluster.plane.file("next.log"), &[]);
    let leads = eventually("the next leads", Duration::from_secs(5), || anyhow_if(next.leads(), "it does not"));
    leads.unwrap_or_else(|error| panic!("{error:#}\n{}", next.log()));
}

/// Debian's libfaketime, which answers for the clock of a program.
fn faketime() -> PathBuf {
    let library = PathBuf::from(format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH));
    assert!(library.exists(), "there is no {}: apt-get install libfaketime", library.display());
    library
}

/// The clock of a program, which `set` moves.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(bench: &Bench, name: &str) -> Self {
        let clock = Self { library: faketime(), file: bench.cluster.plane.file(&format!("{name}.clock")) };
        clock.set("+0");
        clock
    }

    /// By how much it differs from that of the machine.
    fn set(&self, offset: &str) {
        // At once as a whole: the program reads it at each look at its clock.
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    fn environment(&self) -> [(&str, &Path); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.file),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            // The monotonic clock does not jump, however the other is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ]
    }
}

/// A replica that waits for the lease does not take it from one that is there.
fn waits_under_a_clock_that_jumps(bench: &Bench) {
    let log = |name: &str| bench.cluster.plane.file(&format!("{name}.log"));
    let leader = start(bench, "lease", log("leader"), &[]);
    let leads = eventually("it leads", LIMIT, || anyhow_if(leader.leads(), "it does not"));
    leads.unwrap_or_else(|error| panic!("{error:#}\n{}", leader.log()));
    let clock = Clock::new(bench, "standby");
    let standby = start(bench, "lease", log("standby"), &clock.environment());
    for hours in 1..=8 {
        clock.set(&format!("+{hours}h"));
        std::thread::sleep(Duration::from_millis(700));
    }
    let log = standby.log();
    assert!(log.contains("the clock was set") && !log.contains("leadership changed"), "{log}");
    assert!(leader.leads());
}

fn decides_under_a_clock_that_jumps(bench: &Bench) {
    let clock = Clock::new(bench, "alone");
    let controller = start(bench, "clock", bench.cluster.plane.file("clock.log"), &clock.environment());
    let file = |name: &str| bench.file(name, "example.com/clock");
    let is_approved = |name: &str| is_decided(bench, &controller, name);
    file("before");
    is_approved("before");
    let says = |what: &str, times: usize| {
        let said = eventually(&format!("it says {what}"), LIMIT, || {
            let log = controller.log();
            anyhow_if(log.matches(what).count() >= times, &log)
        });
        said.unwrap_or_else(|error| panic!("{error:#}"));
    };

    // Two hours ahead a request has waited for longer than any may. Set right, it has not.
    clock.set("+2h");
    says("the clock was set", 1);
    file("ahead");
    says("request-too-old", 1);
    assert_eq!(bench.conditions("ahead"), [""; 0]);
    clock.set("+0");
    is_approved("ahead");

    // Two hours behind everything seems to be from the future.
    clock.set("-2h");
    says("the clock was set", 3);
    file("behind");
    is_approved("behind");

    // To and fro, while requests come: each is decided once, and by one who holds the lease.
    for number in 0..6 {
        clock.set(["+30", "-30", "+0"][number % 3]);
        file(&format!("jump-{number}"));
        is_approved(&format!("jump-{number}"));
    }
    for name in ["before", "ahead", "behind", "jump-5"] {
        // The line follows the decision.
        let recorded = eventually(&format!("{name} is in the log"), LIMIT, || {
            let lines = controller.decisions().iter().filter(|line| line["name"] == name).count();
            anyhow_if(lines == 2 - usize::from(name != "ahead"), &format!("{lines} lines"))
        });
        recorded.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
    }
}
