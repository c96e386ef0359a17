//! What Countersign decodes, Go reads alike: the API server and kube-controller-manager are written in Go.
//!
//! Requests are made from raw DER and read on both sides. A run prints its seed; `DIFFERENTIAL_SEED` repeats it, and
//! `DIFFERENTIAL_REQUESTS` says how many there shall be.
#![allow(clippy::print_stdout, reason = "the seed of a run, and what it met, are worth knowing")]

pub(crate) mod armour;
mod cases;
mod clients;
mod compare;
pub(crate) mod der;
pub(crate) mod disguise;
pub(crate) mod go;
pub(crate) mod hostile;
pub(crate) mod keys;
mod mutate;
pub(crate) mod names;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use countersign::request::DecodeCode;
use countersign::review::Decision;

use compare::{Outcome, compare};
use go::Go;
use hostile::{Expect, Generator};

/// How many requests a run makes unless told otherwise.
const REQUESTS: u64 = 20_000;

/// What decodes with a reserved name in disguise is counted as this.
const DISGUISED: &str = "reserved in disguise";

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn go_reads_alike_what_decodes() {
    let seed = variable("DIFFERENTIAL_SEED", fastrand::u64(..));
    let requests = variable("DIFFERENTIAL_REQUESTS", REQUESTS);
    println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_REQUESTS={requests}");
    let begin = Instant::now();
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let outcomes = Mutex::new(BTreeMap::<String, u64>::new());
    let decoded = |outcome: &Outcome| match outcome {
        Ok(decision) => format!("decoded: {decision}"),
        Err(code) => code.as_str().to_owned(),
    };
    std::thread::scope(|scope| {
        // One half of each is Go's, so that one more than there are cores keeps them busy.
        for _ in 0..=std::thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(|| {
                let mut generator = Generator::new();
                let mut go = Go::start();
                let mut counts = BTreeMap::<String, u64>::new();
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= requests {
                        break;
                    }
                    let sample = generator.sample(seed, index);
                    match compare(&mut go, &sample.pem, &sample.context, sample.expect) {
                        Ok(outcome) => {
                            *counts.entry(decoded(&outcome)).or_default() += 1;
                            if sample.expect == Expect::Decodes {
                                *counts.entry("ordinary".to_owned()).or_default() += 1;
                            }
                            if sample.expect == Expect::Reserved && outcome.is_ok() {
                                *counts.entry(DISGUISED.to_owned()).or_default() += 1;
                            }
                        }
                        Err(why) => {
                            failed.store(true, Ordering::Relaxed);
                            let path = format!("{}/differs-{seed}-{index}.pem", env!("CARGO_TARGET_TMPDIR"));
                            std::fs::write(&path, &sample.pem).unwrap();
                            let why: String = why.chars().take(4000).collect();
                            panic!(
                                "{why}\nseed {seed}, request {index} ({:?}), kept in {path}; with {:?}",
                                sample.expect, sample.context
                            );
                        }
                    }
                }
                let mut all = outcomes.lock().unwrap();
                for (outcome, count) in counts {
                    *all.entry(outcome).or_default() += count;
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let count = |outcome: &str| outcomes.get(outcome).copied().unwrap_or_default();
    println!("{outcomes:#?}\n{requests} requests in {:.1} s", begin.elapsed().as_secs_f32());
    // It would prove little if hardly anything were approved, or, of many, if some way of being refused were never met.
    let approved = count(&decoded(&Ok(Decision::Approve)));
    assert!(approved * 10 > requests, "{approved} of {requests} approved");
    let disguised = count(DISGUISED);
    assert!(disguised * 100 > requests, "{disguised} of {requests} have a reserved name in disguise and decode");
    if requests < 100_000 {
        return;
    }
    // No PEM alone is a malformed object, or has annotations.
    let of_objects = [DecodeCode::ObjectMalformed, DecodeCode::DurationAnnotation];
    for code in DecodeCode::ALL.iter().filter(|code| !of_objects.contains(code)) {
        assert!(count(code.as_str()) > 0, "no request was refused for {}", code.as_str());
    }
}
