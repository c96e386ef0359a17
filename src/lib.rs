//! Countersign reviews Kubernetes `CertificateSigningRequest` objects: it decodes each PKCS#10
//! request strictly, holds it against `CSRPolicy` and `CSRGuardrail` objects, and approves or
//! denies it, saying why.
//!
//! ```text
//! watch ──► decode ──► decide ──► act ──► record
//! CSR       request    review     controller
//! CSRPolicy, CSRGuardrail ──► policy ─┘
//! Node ─────────────► node ───────────┘
//! ```
//!
//! - [`request`] and [`node`] decode, [`policy`] compiles, [`review`] decides: pure, without I/O, clock or
//!   client, and the same for the controller and for the offline commands;
//! - [`api`] is what platform teams write;
//! - `controller` (feature of that name) is the only code that talks to a cluster;
//! - [`cli`] is the `countersign` command.
#![forbid(unsafe_code)]

pub mod api;
mod bounded;
pub mod cli;
mod codes;
#[cfg(feature = "controller")]
pub mod controller;
mod duration;
pub mod escape;
pub mod fold;
mod nearest;
pub mod node;
pub mod policy;
pub mod request;
pub mod review;
