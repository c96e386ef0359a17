//! Amy and Adam: from `openssl genrsa` to `kubectl auth whoami`.

use super::{Cluster, LIMIT, Request, anyhow_if};
use std::process::Command;

use base64::Engine;
use testbed::{Kubectl, eventually};

/// Files the request, waits for the certificate, and returns kubectl as the new user.
fn onboard(cluster: &Cluster, name: &str, subject: &str) -> Kubectl {
    let request = Request::new(name, subject);
    let pem = request.pem(&cluster.plane.file(&format!("{name}.key")));
    cluster.admin.create(&request.manifest_with(&pem).to_string()).unwrap();
    cluster.is_approved(name);
    let certificate = eventually("the certificate is issued", LIMIT, || {
        let csr = cluster.admin.get(&["csr", name])?;
        let certificate = csr["status"]["certificate"].as_str().unwrap_or_default().to_owned();
        anyhow_if(!certificate.is_empty(), "there is none").map(|()| certificate)
    })
    .unwrap();
    let certificate = base64::engine::general_purpose::STANDARD.decode(certificate).unwrap();
    std::fs::write(cluster.plane.file(&format!("{name}.crt")), certificate).unwrap();
    cluster.admin.with(&cluster.plane.client_kubeconfig(name).unwrap())
}

#[test]
fn amy_and_adam_get_their_certificates() {
    let mut cluster = Cluster::start();
    cluster.run(&[]);
    cluster.apply_examples();
    let amy = onboard(&cluster, "amy", "/CN=amy/O=developers");
    let who = amy.get_whoami();
    assert_eq!(who["username"], "amy");
    assert_eq!(who["groups"], serde_json::json!(["developers", "system:authenticated"]));

    let certificate = cluster.plane.file("amy.crt");
    let text = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&certificate).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for line in ["Subject: O = developers, CN = amy", "TLS Web Client Authentication", "CA:FALSE"] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let lasts = |seconds: u32| {
        let arguments = ["x509", "-noout", "-checkend", &seconds.to_string(), "-in"];
        Command::new("openssl").args(arguments).arg(&certificate).output().unwrap().status.success()
    };
    assert!(lasts(2_592_000 - 600) && !lasts(2_592_000 + 600), "not 30 days:\n{text}");

    let admin = &cluster.admin;
    admin.run(&["create", "namespace", "dev"]).unwrap();
    assert!(amy.run(&["get", "pods", "--namespace=dev"]).is_err());
    admin.run(&["create", "rolebinding", "amy", "--clusterrole=view", "--user=amy", "--namespace=dev"]).unwrap();
    eventually("amy can get pods", LIMIT, || amy.run(&["get", "pods", "--namespace=dev"])).unwrap();
    let refused = amy.run(&["run", "pod", "--image=x", "--namespace=dev"]).unwrap_err().to_string();
    assert!(refused.contains("forbidden"), "{refused}");

    let log = cluster.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decision = lines.iter().find(|line| line["name"] == "amy" && line["decision"] == "Approve").unwrap();
    for (field, value) in [
        ("signer", "kubernetes.io/kube-apiserver-client"),
        ("requestor", "kubernetes-admin"),
        ("common_name", "amy"),
        ("organizations", "[\"developers\"]"),
        ("policy", "developers"),
        ("reason_code", "policy-satisfied"),
    ] {
        assert_eq!(decision[field], value, "{decision}");
    }
    assert_eq!(decision["sha256"].as_str().unwrap().len(), 64);

    let adam = onboard(&cluster, "adam", "/CN=adam").get_whoami();
    assert_eq!(adam["username"], "adam");
    assert_eq!(adam["groups"], serde_json::json!(["system:authenticated"]));
    let metrics = cluster.http("/metrics").unwrap();
    assert!(metrics.contains("countersign_decisions_total{"), "{metrics}");
}

trait WhoAmI {
    fn get_whoami(&self) -> serde_json::Value;
}

impl WhoAmI for Kubectl {
    fn get_whoami(&self) -> serde_json::Value {
        let review = self.run(&["auth", "whoami", "-o", "json"]).unwrap();
        serde_json::from_str::<serde_json::Value>(&review).unwrap()["status"]["userInfo"].clone()
    }
}
