//! The image and the chart on a real node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use testbed::{
    ControlPlane, Kubectl, Node, Options, Result, Tool, binaries, build_image, build_pause, eventually, isolated,
    static_program,
};

const LIMIT: Duration = Duration::from_secs(60);
const IMAGE: &str = "localhost/countersign:testbed";
const NAMESPACE: &str = "countersign-system";
/// The most that the image may weigh, in bytes.
const MAX_IMAGE: u64 = 20 * 1024 * 1024;

#[test]
fn the_chart_runs_on_a_node() {
    let name = "node::chart::the_chart_runs_on_a_node";
    if let Err(error) = isolated(name, prepare, |directory| {
        run(directory);
        Ok(())
    }) {
        panic!("{error:#}");
    }
}

/// Builds and checks the images, where there is a network.
fn prepare(directory: &Path) -> Result<()> {
    binaries()?;
    Tool::Helm4.path()?;
    build_pause(directory, &directory.join("pause.tar"))?;
    // The stage that compiles needs a base image from a registry: what it would have made stands in for it.
    let stage = directory.join("build");
    std::fs::create_dir_all(&stage)?;
    std::fs::copy(static_program()?, stage.join("countersign"))?;
    let archive = directory.join("countersign.tar");
    let image = build_image(IMAGE, Path::new("Dockerfile"), Path::new("."), &[("build", &stage)], &archive)?;
    check_image(&image, &stage.join("countersign"));
    Ok(())
}

#[track_caller]
fn check_image(image: &Value, program: &Path) {
    let config = &image["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/countersign"]));
    assert_eq!(config["Cmd"], json!(["run"]));
    for label in ["title", "description", "licenses", "source", "documentation", "version", "revision", "created"] {
        let text = config["Labels"][format!("org.opencontainers.image.{label}")].as_str();
        assert!(text.is_some_and(|text| !text.is_empty()), "{label}: {config}");
    }
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    // One layer, with one file.
    assert_eq!(image["OCIv1"]["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(1));
    let size = std::fs::metadata(program).unwrap().len();
    println!("the image has one program of {} KiB", size / 1024);
    assert!(size < MAX_IMAGE, "{size} bytes");
    // It asks for no interpreter, that is, for no dynamic linker.
    let headers = Command::new("readelf").args(["--program-headers", "--wide"]).arg(program).output().unwrap();
    let headers = String::from_utf8(headers.stdout).unwrap();
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
}

fn run(directory: &Path) {
    let plane = ControlPlane::start(&Options { node: true, ..Options::default() }).unwrap();
    let images = ["pause.tar", "countersign.tar"].map(|name| directory.join(name));
    let begin = Instant::now();
    let _node = Node::start(&plane, &images.each_ref().map(PathBuf::as_path)).unwrap();
    println!("the node is Ready after {:.1?}", begin.elapsed());
    let admin = plane.admin();
    let cluster = Cluster { plane: &plane, admin: &admin };

    // A namespace that enforces the Pod Security level restricted.
    admin.run(&["apply", "--server-side", "-f", "deploy/namespace.yaml"]).unwrap();
    let begin = Instant::now();
    cluster.helm(&["install", "countersign", "charts/countersign", "--set", &values(2)]);
    cluster.rolled_out();
    println!("both pods are Ready {:.1?} after helm install", begin.elapsed());
    let pods = cluster.pods();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }

    admin.run(&["apply", "--server-side", "-f", "examples/policies"]).unwrap();
    for object in ["csrpolicy/developers", "csrguardrail/cluster-limits"] {
        admin.run(&["wait", "--for=condition=Ready", "--timeout=30s", object]).unwrap();
    }
    cluster.file("amy", "/CN=amy/O=developers");
    cluster.is("amy", "Approved");
    eventually("amy's certificate is issued", LIMIT, || {
        let certificate = admin.run(&["get", "csr", "amy", "-o", "jsonpath={.status.certificate}"])?;
        if certificate.is_empty() { Err(std::io::Error::other("not yet").into()) } else { Ok(()) }
    })
    .unwrap();
    cluster.file("mallory", "/CN=mallory/O=kubeadm:cluster-admins");
    cluster.is("mallory", "Denied");
    let described = admin.run(&["describe", "csr", "mallory"]).unwrap();
    assert!(described.contains("denied by Countersign"), "{described}");

    // The leader's pod is deleted, and the other takes over.
    let leader = cluster.leader();
    let address = |pod: &Value| pod["status"]["podIP"].as_str().unwrap().to_owned();
    let text = metrics(&address(pods.iter().find(|pod| pod["metadata"]["name"] == *leader).unwrap()));
    assert!(text.contains("\ncountersign_leader 1\n"), "{text}");
    let begin = Instant::now();
    admin.run(&["delete", "pod", &leader, "--namespace", NAMESPACE, "--wait=false"]).unwrap();
    cluster.file("adam", "/CN=adam");
    cluster.is("adam", "Approved");
    let took = begin.elapsed();
    let next = cluster.leader();
    println!("after the leader's pod was deleted, a request filed then was approved within {took:.1?}");
    assert_ne!(next, leader);
    assert!(took < Duration::from_secs(10), "{took:?}");
    cluster.rolled_out();
    assert_eq!(cluster.pods().len(), 2);

    // Nothing that the service account needs is missing, and an upgrade loses nobody.
    for pod in cluster.pods() {
        let text = metrics(&address(&pod));
        assert!(text.contains("countersign_permission_granted{"), "{text}");
        let missing: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("countersign_permission_granted{") && line.ends_with(" 0"))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        println!("resident: {}", resident(&pod));
    }
    cluster.helm(&["upgrade", "countersign", "charts/countersign", "--set", &format!("{},log.format=text", values(2))]);
    cluster.file("eve", "/CN=eve");
    cluster.is("eve", "Approved");
    cluster.rolled_out();
    cluster.helm(&["uninstall", "countersign", "--wait"]);
    admin.run(&["get", "csrpolicy/developers"]).unwrap();
}

fn values(replicas: u32) -> String {
    format!("replicas={replicas},image.repository=localhost/countersign,image.tag=testbed,image.pullPolicy=Never")
}

/// How much memory the one process of `pod` holds, as the kernel says.
fn resident(pod: &Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let host = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/root/etc/hostname")).unwrap_or_default();
    let processes = Command::new("pgrep").args(["-x", "countersign"]).output().unwrap();
    let processes = String::from_utf8(processes.stdout).unwrap();
    let pid = processes.split_whitespace().find(|pid| host(pid).trim() == name);
    let status = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok()).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    line.trim().to_owned()
}

/// What the pod with this address exports.
fn metrics(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((address, 8080)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

struct Cluster<'a> {
    plane: &'a ControlPlane,
    admin: &'a Kubectl,
}

impl Cluster<'_> {
    #[track_caller]
    fn helm(&self, arguments: &[&str]) {
        let home = self.plane.file("helm");
        let mut command = Command::new(Tool::Helm4.path().unwrap());
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, &home);
        }
        let kubeconfig = self.admin.kubeconfig();
        let output =
            command.args(arguments).args(["--namespace", NAMESPACE, "--kubeconfig"]).arg(kubeconfig).output().unwrap();
        assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until every replica is there and Ready.
    #[track_caller]
    fn rolled_out(&self) {
        let arguments = ["rollout", "status", "deployment/countersign", "--namespace", NAMESPACE, "--timeout=90s"];
        if let Err(error) = self.admin.run(&arguments) {
            let described = self.admin.run(&["describe", "pods", "--namespace", NAMESPACE]).unwrap_or_default();
            panic!("{error:#}\n{described}\n{}", self.logs());
        }
    }

    fn pods(&self) -> Vec<Value> {
        let pods = self.admin.get(&["pods", "--namespace", NAMESPACE]).unwrap();
        let pods = pods["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// The pod that holds the lease.
    fn leader(&self) -> String {
        let lease = self.admin.get(&["lease", "countersign", "--namespace", NAMESPACE]).unwrap();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
        holder.split('_').next().unwrap().to_owned()
    }

    fn file(&self, name: &str, subject: &str) {
        let key = self.plane.file(&format!("{name}.key"));
        let output = Command::new("openssl")
            .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout"])
            .arg(&key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": name },
            "spec": {
                "request": base64::engine::general_purpose::STANDARD.encode(&output.stdout),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
                "expirationSeconds": 3600,
            },
        });
        self.admin.create(&manifest.to_string()).unwrap();
    }

    #[track_caller]
    fn is(&self, name: &str, expected: &str) {
        let path = "jsonpath={.status.conditions[*].type}";
        let decided = eventually(&format!("{name} is decided"), LIMIT, || {
            let types = self.admin.run(&["get", "csr", name, "-o", path])?;
            if types.is_empty() { Err(std::io::Error::other("it is pending").into()) } else { Ok(types) }
        });
        match decided {
            Ok(types) => assert_eq!(types, expected),
            Err(error) => panic!("{error:#}\n{}", self.logs()),
        }
    }

    /// What the containers wrote.
    fn logs(&self) -> String {
        let mut find = Command::new("find");
        find.arg(self.plane.file("pods")).args(["-name", "*.log", "-exec", "cat", "{}", ";"]);
        find.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}
