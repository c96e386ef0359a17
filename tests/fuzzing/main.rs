//! Whatever bytes others choose: no panic, no long time, no large memory.
//!
//! A binary of its own, because it counts what the whole process allocates, and one test, because tests run side by side.
//! `fuzz/` runs the same functions for long, guided by coverage; see docs/assurance.md.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::print_stdout, reason = "the seed and the figures of a run")]

mod full;
#[expect(dead_code, reason = "what the differential needs")]
#[path = "../differential/mutate.rs"]
mod mutate;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

use targets::{ALL, Target};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The longest input, in bytes: the API server takes none that is longer.
const LONGEST: usize = 1_500_000;

/// What one input may take of a processor, and allocate in bytes.
fn limits(name: &str) -> (Duration, usize) {
    let (milliseconds, mebibytes) = match name {
        // A file is one's own: a value of two bytes takes some hundred.
        "manifest" => (1500, 160),
        // Some hundred values are compared with the patterns of a hundred policies.
        "full" => (200, 4),
        _ => (50, 16),
    };
    // Without optimisation everything is up to twenty times slower.
    (Duration::from_millis(if cfg!(debug_assertions) { milliseconds * 20 } else { milliseconds }), mebibytes << 20)
}

/// What inputs took at most.
#[derive(Debug, Default)]
struct Most {
    inputs: u64,
    time: Duration,
    memory: usize,
}

#[test]
fn no_bytes_panic_or_take_long() {
    let variable = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seed = variable("FUZZING_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = variable("FUZZING_SECONDS").unwrap_or(3);
    println!("FUZZING_SEED={seed} FUZZING_SECONDS={seconds}");
    let mut most = Most::default();
    full::full(&[]);
    most.run("full", full::full, &[]);
    println!("full: {:?} and {} KiB", most.time, most.memory >> 10);
    for (name, target) in ALL {
        let seeds = seeds::of(name);
        assert!(seeds.len() >= seeds::least(name), "{name} has {} seeds", seeds.len());
        let found = seeds::found(name);
        if let Some(directory) = std::env::var_os("FUZZING_SEEDS_INTO") {
            write(&Path::new(&directory).join(name), seeds.iter().chain(&found));
        }
        // What is made once, such as policies that are compiled, is not the input's.
        target(&seeds[0]);
        let mut most = Most::default();
        for input in found.iter().chain(&seeds).chain(&seeds::large(name, LONGEST)) {
            most.run(name, target, input);
        }
        let mut rng = Rng::with_seed(seed);
        let begin = Instant::now();
        while begin.elapsed().as_secs() < seconds {
            let mut input = rng.choice(&seeds).unwrap().clone();
            let other = rng.choice(&seeds).unwrap();
            mutate::mutate(&mut input, other, &mut rng);
            most.run(name, target, &input);
        }
        println!(
            "{name}: {} seeds, {} inputs, at most {:?} and {} KiB",
            seeds.len(),
            most.inputs,
            most.time,
            most.memory >> 10
        );
    }
}

impl Most {
    fn run(&mut self, name: &str, target: Target, input: &[u8]) {
        let (most_time, most_memory) = limits(name);
        let (mut time, mut memory) = (Duration::MAX, usize::MAX);
        // The best of a few runs: the machine may be busy.
        for _ in 0..5 {
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            let begin = processor();
            let ended = catch_unwind(AssertUnwindSafe(|| target(input)));
            time = time.min(processor().saturating_sub(begin));
            memory = memory.min(ALLOCATED.peak_usage().saturating_sub(before));
            assert!(ended.is_ok(), "{name} panicked; {}", kept(name, input));
            if time < most_time && memory < most_memory {
                break;
            }
        }
        let length = input.len();
        assert!(time < most_time, "{name} took {time:?} for {length} bytes; {}", kept(name, input));
        assert!(memory < most_memory, "{name} took {} KiB for {length} bytes; {}", memory >> 10, kept(name, input));
        self.inputs += 1;
        self.time = self.time.max(time);
        self.memory = self.memory.max(memory);
    }
}

/// What this process has taken of all processors: files are read on a thread of its own.
fn processor() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// Keeps an input that failed, and says where.
fn kept(name: &str, input: &[u8]) -> String {
    let path = format!("{}/fuzzing-{name}-{:016x}", env!("CARGO_TARGET_TMPDIR"), fastrand::u64(..));
    std::fs::write(&path, input).unwrap();
    format!("kept in {path}")
}

fn write<'a>(directory: &Path, seeds: impl Iterator<Item = &'a Vec<u8>>) {
    std::fs::create_dir_all(directory).unwrap();
    for (index, seed) in seeds.enumerate() {
        std::fs::write(directory.join(format!("seed-{index:04}")), seed).unwrap();
    }
}
