//! What goes wrong on the machine itself: the disk of the log is full, and the clock is set.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::path::{Path, PathBuf};
use std::process::Command;

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
    bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
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
fn a_full_disk_for_the_log_stops_no_decision() {
    let bench = Bench::start();
    bench.may_have_any_lease();
    // Every write to this device fails as on a full disk (full(4)).
    let mut controller = start(&bench, "full", "/dev/full".into(), &[]);
    for number in 0..10 {
        let name = format!("full-{number}");
        bench.file(&name, "example.com/full");
        is_decided(&bench, &controller, &name);
    }
    assert!(!controller.running.has_ended());
    controller.has_counted("countersign_log_lines_lost_total");
}
