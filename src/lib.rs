//! Countersign reviews Kubernetes `CertificateSigningRequest` objects.
#![forbid(unsafe_code)]

pub mod api;
pub mod request;
