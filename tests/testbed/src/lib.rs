//! A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager with RBAC
//! and TLS, built from a pinned Go module, ready in some five seconds, and stopped whatever
//! happens to the test.

mod api;
mod binaries;
mod control_plane;
pub mod hostile;
mod isolated;
mod kubectl;
mod node;
mod pki;
mod process;
mod proxy;
mod tls;

pub use api::{Answer, Api};
pub use binaries::{Binaries, Tool, binaries, go_module, goreads, static_program};
pub use control_plane::{ControlPlane, Options};
pub use isolated::isolated;
pub use kubectl::Kubectl;
pub use node::{
    ADDRESS, BOOTSTRAP_GROUP, Join, NODE, Node, PAUSE, Which, allow_bootstrap, allow_built_in_approver, build_image,
    build_pause,
};
pub use process::{Running, eventually, free_port, program};
pub use proxy::{Call, Fault, Held, Injected, Proxy};

/// What the calls of this crate return.
pub type Result<T> = anyhow::Result<T>;
