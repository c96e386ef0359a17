//! Countersign reviews Kubernetes `CertificateSigningRequest` objects.
#![forbid(unsafe_code)]

pub mod api;
#[cfg(feature = "controller")]
pub mod controller;
mod codes;
pub mod escape;
pub mod fold;
pub mod policy;
pub mod request;
pub mod review;
