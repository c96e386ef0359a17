//! Behaviour, as a user sees it: the commands over files, and the controller on a real control plane.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(clippy::missing_panics_doc, reason = "the same")]

mod chart;
mod cli;
mod cluster;
mod crds;
mod differential;
mod docs;
mod kubeadm;
mod node;
mod round;
