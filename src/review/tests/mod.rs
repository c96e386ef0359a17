//! Verdicts, without a cluster.

mod codes;
mod nodes;
mod plain_nodes;
mod rate;
mod rules;
mod shape;
