//! Verdicts, without a cluster.

mod codes;
mod nodes;
mod rules;
