//! On a real node: kubelet, containerd and scheduler. Needs root; leave it out with
//! `cargo test --workspace -- --skip node::chart --skip node::joining --skip node::rotation`: `src/node` has tests, too.
#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

mod chart;
mod joining;
mod rotation;

use std::path::Path;

use serde_json::{Value, json};
use testbed::{NODE, Options, Result, allow_bootstrap, binaries, build_pause, isolated};

use crate::cluster::nodes::may_read_nodes;
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

/// A control plane that nodes can join, with the controller beside it under the policies of
/// `examples/kubelets`, for the node and the network of these tests.
fn cluster(options: Options) -> Cluster {
    let mut cluster = Cluster::with(&Options { node: true, ..options });
    // The controller of these tests runs beside the node: the Deployment would wait for its image.
    let deployment = ["scale", "deployment", "countersign", "--replicas=0", "--namespace=countersign-system"];
    cluster.admin.run(&deployment).unwrap();
    allow_bootstrap(&cluster.plane).unwrap();
    may_read_nodes(&cluster);
    let bootstrap = example("bootstrap").replace("system:node:*.nodes.example.com", "system:node:*");
    cluster.admin.apply(&bootstrap).unwrap();
    cluster.admin.apply(&serving_policy("192.168.77.0/24")).unwrap();
    run(&mut cluster);
    cluster
}

/// Starts the controller.
fn run(cluster: &mut Cluster) {
    let signers = [CLIENT, SERVING].map(|signer| format!("--managed-signer={signer}"));
    cluster.run(&[&signers[0], &signers[1], "--service-cidr=10.0.0.0/24"]);
    may_read_nodes(cluster);
    for policy in ["kubelet-bootstrap", "kubelet-renewal", "kubelet-serving"] {
        cluster.is_ready(&format!("csrpolicy/{policy}"));
    }
}

fn example(name: &str) -> String {
    std::fs::read_to_string(format!("examples/kubelets/{name}.yaml")).unwrap()
}

/// The policy `kubelet-serving`, for nodes with addresses of `network`.
fn serving_policy(network: &str) -> String {
    example("serving").replace("\"worker-*\"", NODE).replace("10.20.0.0/16", network)
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
