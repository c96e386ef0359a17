//! On a real node: kubelet, containerd and scheduler. Needs root; leave it out with
//! `cargo test --workspace -- --skip node::`.
#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

mod chart;
mod joining;
mod rotation;

use std::path::Path;

use serde_json::{Value, json};
use testbed::{BOOTSTRAP_GROUP, Options, Result, allow_bootstrap, binaries, build_pause, isolated};

use crate::cluster::{Cluster, anyhow_if};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// Runs `test`, which is the test of this name, in namespaces of its own, with the image of its pods.
fn on_a_node(name: &str, test: fn(&Path)) {
    let prepare = |directory: &Path| -> Result<()> {
        binaries()?;
        build_pause(directory, &directory.join("pause.tar"))
    };
    let run = |directory: &Path| -> Result<()> {
        test(&directory.join("pause.tar"));
        Ok(())
    };
    if let Err(error) = isolated(name, prepare, run) {
        panic!("{error:#}");
    }
}

/// A control plane that nodes can join, with the controller beside it: client certificates of kubelets are
/// approved by the policies `kubelet-bootstrap` and `kubelet-renewal`.
fn cluster(options: Options) -> Cluster {
    let mut cluster = Cluster::with(&Options { node: true, ..options });
    // The controller of these tests runs beside the node: the Deployment would wait for its image.
    let deployment = ["scale", "deployment", "countersign", "--replicas=0", "--namespace=countersign-system"];
    cluster.admin.run(&deployment).unwrap();
    allow_bootstrap(&cluster.plane).unwrap();
    let allow = |common_name: Value| {
        json!({
            "subject": { "commonName": common_name, "organizations": { "required": ["system:nodes"], "max": 1 } },
            "usages": { "allowed": ["digital signature", "key encipherment", "client auth"], "required": ["client auth"] },
            "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" },
        })
    };
    let joining = json!([{ "groups": [BOOTSTRAP_GROUP] }]);
    let joined = json!([{ "users": ["system:node:*"], "groups": ["system:nodes"] }]);
    for policy in [
        policy("kubelet-bootstrap", CLIENT, &joining, &allow(json!({ "allowed": ["system:node:*"] }))),
        policy("kubelet-renewal", CLIENT, &joined, &allow(json!({ "from": "Requestor" }))),
    ] {
        cluster.admin.apply(&policy).unwrap();
    }
    cluster.run(&[&format!("--managed-signer={CLIENT}"), &format!("--managed-signer={SERVING}")]);
    cluster
}

/// The policy `kubelet-serving`, which permits these names and addresses.
fn serving_policy(dns_names: &Value, ip_addresses: &Value) -> String {
    let joined = json!([{ "users": ["system:node:*"], "groups": ["system:nodes"] }]);
    let allow = json!({
        "subject": {
            "commonName": { "from": "Requestor" },
            "organizations": { "required": ["system:nodes"], "max": 1 },
        },
        "usages": { "allowed": ["digital signature", "key encipherment", "server auth"], "required": ["server auth"] },
        "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" },
        "dnsNames": dns_names,
        "ipAddresses": ip_addresses,
    });
    policy("kubelet-serving", SERVING, &joined, &allow)
}

fn policy(name: &str, signer: &str, requestors: &Value, allow: &Value) -> String {
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": name },
        "spec": { "match": { "signerNames": [signer], "requestors": requestors }, "allow": allow },
    })
    .to_string()
}

/// The requests for this signer, oldest first.
fn requests(cluster: &Cluster, signer: &str) -> Vec<Value> {
    let field = format!("--field-selector=spec.signerName={signer}");
    let requests = cluster.admin.get(&["csr", &field, "--sort-by=.metadata.creationTimestamp"]).unwrap();
    requests["items"].as_array().unwrap().clone()
}

/// The type of the one condition of `request`, and its message.
fn condition(request: &Value) -> Option<(&str, &str)> {
    let condition = &request["status"]["conditions"][0];
    Some((condition["type"].as_str()?, condition["message"].as_str()?))
}

/// Waits until a request for `signer` has the condition `kind`, and returns it.
#[track_caller]
fn one_is(cluster: &Cluster, signer: &str, kind: &str) -> Value {
    let found = testbed::eventually(&format!("a request for {signer} is {kind}"), crate::cluster::LIMIT * 2, || {
        let requests = requests(cluster, signer);
        let found = requests.iter().find(|request| condition(request).is_some_and(|(found, _)| found == kind));
        found.cloned().ok_or_else(|| std::io::Error::other(format!("{requests:#?}")).into())
    });
    found.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()))
}

/// Runs a pod on the node that prints `hello`, and waits until it does.
fn run_pod(cluster: &Cluster) {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "speaker" },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                { "name": "speaker", "image": testbed::PAUSE, "imagePullPolicy": "Never", "args": ["hello"] },
            ],
        },
    });
    // The service account of the namespace comes a moment later.
    let created = || cluster.admin.create(&pod.to_string());
    testbed::eventually("the pod is created", crate::cluster::LIMIT, created).unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "pod/speaker"];
    if let Err(error) = cluster.admin.run(&ready) {
        panic!("{error:#}\n{}", cluster.admin.run(&["describe", "pod", "speaker"]).unwrap_or_default());
    }
}

/// What `kubectl logs` and `kubectl exec` say, each through the API server, which verifies what the kubelet
/// serves with.
fn logs_and_exec(cluster: &Cluster) -> Result<()> {
    let logs = cluster.admin.run(&["logs", "speaker"])?;
    anyhow_if(logs == "hello\n", &logs)?;
    let said = cluster.admin.run(&["exec", "speaker", "--", "/pause", "only", "spoken", "inside"])?;
    anyhow_if(said == "spoken inside\n", &said)
}
