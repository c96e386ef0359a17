//! Verdicts, without a cluster.

mod codes;
mod identities;
mod nodes;
mod plain_nodes;
mod rate;
mod rules;
mod shape;
