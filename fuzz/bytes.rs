//! Runs the function that the variable `TARGET` names.
#![no_main]

#[path = "../tests/fuzzing/targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").expect("TARGET names a function of tests/fuzzing/targets.rs");
    targets::ALL.into_iter().find(|(known, _)| *known == name).expect("TARGET names a function that there is").1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
