//! What the benchmarks of the controller share: a control plane with a policy, requests, and the controller itself.
#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::{Api, ControlPlane, Options, Running, eventually, hostile, program};

pub const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
pub const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
pub const POLICIES: &str = "/apis/countersign.dev/v1alpha1/csrpolicies";
/// As the controller has.
pub const IN_FLIGHT: usize = 16;
pub const LIMIT: Duration = Duration::from_secs(600);

/// A control plane with what Countersign needs, and a policy that permits all of the requests.
pub fn control_plane() -> (ControlPlane, Api) {
    let plane = ControlPlane::start(&Options { durable: true, ..Options::default() }).unwrap();
    plane.admin().run(&["apply", "--server-side", "-k", "deploy"]).unwrap();
    let policy = policy("developers", "system:authenticated");
    eventually("the CRDs are served", LIMIT, || plane.admin().apply(&policy.to_string())).unwrap();
    let api = plane.api().unwrap();
    (plane, api)
}

/// What permits requests of this group.
pub fn policy(name: &str, group: &str) -> Value {
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": name },
        "spec": {
            "match": {
                "signerNames": ["kubernetes.io/kube-apiserver-client"],
                "requestors": [{ "groups": [group] }],
            },
            "allow": {
                "subject": { "commonName": { "allowed": ["*"] }, "organizations": { "allowed": ["developers"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 86_400 },
            },
        },
    })
}

/// A request that the policy permits, without a name.
pub fn request() -> Value {
    let pem = hostile::request(&hostile::key().unwrap(), "amy", "developers").unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": "" },
        "spec": {
            "request": STANDARD.encode(pem),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "expirationSeconds": 3_600,
        },
    })
}

/// The approval that the controller would send, as a whole object.
pub fn approved(mut object: Value) -> Value {
    object["status"]["conditions"] = json!([{
        "type": "Approved",
        "status": "True",
        "reason": "PolicyApproved",
        "message": "approved by Countersign: CSRPolicy developers permits the request",
    }]);
    object
}

/// Starts the controller; `COUNTERSIGN` is another program than the one that was built here.
pub fn start(plane: &ControlPlane, api: &Api, log: &std::path::Path) -> Running {
    // Whoever led before was killed, and could not give it back.
    let lease = "/apis/coordination.k8s.io/v1/namespaces/countersign-system/leases/countersign";
    api.call("DELETE", lease, None).unwrap();
    let mut command = Command::new(program(env!("CARGO_BIN_EXE_countersign")));
    command
        .args(["run", "--listen=127.0.0.1:0", "--lease-namespace=countersign-system"])
        .arg(format!("--kubeconfig={}", plane.admin().kubeconfig().display()));
    Running::start(&command, log).unwrap()
}

/// Does `work` for each number below `number`, as many at a time as the controller sends decisions.
pub fn in_parallel(number: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= number {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}
