//! Countersign reviews Kubernetes `CertificateSigningRequest` objects.
#![forbid(unsafe_code)]

pub mod api;
mod codes;
#[cfg(feature = "controller")]
pub mod controller;
pub mod escape;
pub mod fold;
pub mod policy;
pub mod request;
pub mod review;
