//! Behaviour, as a user sees it: the commands over files, and the controller on a real control plane.

mod cli;
mod cluster;
mod crds;
