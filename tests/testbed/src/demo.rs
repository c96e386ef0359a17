//! Amy gets her certificate, told as it happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::{ControlPlane, Options, Running, eventually, free_port};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs the story; `countersign` must have been built before.
pub(crate) fn demo() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let program = countersign()?;
    say("A control plane: etcd, kube-apiserver and kube-controller-manager on loopback.");
    let plane = ControlPlane::start(&Options::default())?;
    let admin = plane.admin();

    say("The CRDs, and the examples: CSRPolicy developers, CSRGuardrail cluster-limits.");
    let shown = |path: &str| root.join(path).display().to_string();
    admin.run(&["apply", "--server-side", "-f", &shown("crds")])?;
    eventually("the CRDs are served", LIMIT, || {
        admin.run(&["apply", "--server-side", "-f", &shown("examples/policies")])
    })?;

    say("countersign run");
    let mut command = Command::new(&program);
    command
        .args(["run", "--log-format=text", "--policy-settle=1s"])
        .arg(format!("--listen=127.0.0.1:{}", free_port()?))
        .arg(format!("--kubeconfig={}", admin.kubeconfig().display()));
    let _controller = Running::start(&command, &plane.file("countersign.log"))?;

    for (name, subject) in [("amy", "/CN=amy/O=developers"), ("mallory", "/CN=mallory/O=kubeadm:cluster-admins")] {
        say(&format!("{name}: openssl req -new -subj {subject}, filed as a CSR for 30 days"));
        file(&plane, name, subject)?;
        let (decision, message) = eventually("it is decided", LIMIT, || {
            let csr = admin.get(&["csr", name])?;
            let condition = &csr["status"]["conditions"][0];
            let text = |field: &str| condition[field].as_str().map(str::to_owned).context("it is pending");
            Ok((text("type")?, text("message")?))
        })?;
        println!("  {decision}: {message}");
    }

    say("amy: kubectl auth whoami, with the certificate that kube-controller-manager issued");
    let path = "jsonpath={.status.certificate}";
    let certificate = eventually("it is issued", LIMIT, || {
        let certificate = admin.run(&["get", "csr", "amy", "-o", path])?;
        ensure!(!certificate.is_empty(), "it is not there yet");
        Ok(certificate)
    })?;
    decode(&certificate, &plane.file("amy.crt"))?;
    let amy = admin.with(&plane.client_kubeconfig("amy")?);
    print!("{}", amy.run(&["auth", "whoami"])?);
    say("That is all. The control plane stops now.");
    Ok(())
}

fn say(text: &str) {
    println!("\n» {text}");
}

/// The program beside this one.
fn countersign() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("countersign");
    ensure!(path.exists(), "{} is not there: run cargo build first", path.display());
    Ok(path)
}

fn file(plane: &ControlPlane, name: &str, subject: &str) -> anyhow::Result<()> {
    let (key, csr) = (plane.file(&format!("{name}.key")), plane.file(&format!("{name}.csr")));
    let openssl = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = Command::new("openssl").args(arguments).output().context("cannot run openssl: install it")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let (key, csr) = (key.display().to_string(), csr.display().to_string());
    openssl(&["genrsa", "-out", &key, "2048"])?;
    openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr])?;
    let encoded = format!("{csr}.base64");
    openssl(&["base64", "-A", "-in", &csr, "-out", &encoded])?;
    let manifest = serde_json::json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": fs::read_to_string(encoded)?.trim(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "expirationSeconds": 2_592_000,
        },
    });
    plane.admin().create(&manifest.to_string()).map(drop)
}

fn decode(base64: &str, path: &Path) -> anyhow::Result<()> {
    let encoded = path.with_extension("base64");
    fs::write(&encoded, base64)?;
    let status =
        Command::new("openssl").args(["base64", "-d", "-A", "-in"]).arg(&encoded).arg("-out").arg(path).status()?;
    ensure!(status.success(), "openssl base64 failed");
    Ok(())
}
