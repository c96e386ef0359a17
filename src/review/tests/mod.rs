//! Verdicts, without a cluster.

mod codes;
mod rules;
