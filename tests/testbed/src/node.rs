//! A real node: containerd, kubelet and kube-scheduler, in the namespaces of an isolated test.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{ControlPlane, Kubectl, Running, eventually};

/// Where Debian puts the plugins of CNI.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";
/// The address of the node, in its own network namespace.
pub(crate) const ADDRESS: &str = "192.168.77.1";
/// The name of the node.
pub const NODE: &str = "worker";
/// The image of every pod's sandbox.
const PAUSE: &str = "localhost/pause:testbed";

const CONTAINERD: &str = r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:testbed"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"#;

const NETWORK: &str = r#"{
  "cniVersion": "0.4.0", "name": "testbed",
  "plugins": [
    { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
    { "type": "loopback" }
  ]
}"#;

/// A node that runs until this is dropped.
#[derive(Debug)]
pub struct Node {
    // In the order in which they stop.
    _kubelet: Running,
    _scheduler: Running,
    _containerd: Running,
}

impl Node {
    /// Starts one that belongs to `plane`, with the images in these OCI archives, and waits until it is Ready.
    pub fn start(plane: &ControlPlane, images: &[&Path]) -> anyhow::Result<Self> {
        fs::create_dir_all("/etc/cni/net.d")?;
        fs::write("/etc/cni/net.d/10-testbed.conflist", NETWORK)?;
        let containerd = start_containerd(plane, images)?;
        let scheduler = plane.start_scheduler()?;
        let kubelet = start_kubelet(plane)?;
        let admin = plane.admin();
        let ready = eventually("the node is Ready", Duration::from_secs(90), || node_is_ready(&admin));
        if let Err(error) = ready {
            let log = fs::read_to_string(plane.file("kubelet.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            return Err(error.context(lines.join("\n")));
        }
        Ok(Self { _kubelet: kubelet, _scheduler: scheduler, _containerd: containerd })
    }
}

fn node_is_ready(admin: &Kubectl) -> anyhow::Result<()> {
    let node = admin.get(&["node", NODE])?;
    let empty = Vec::new();
    let conditions = node["status"]["conditions"].as_array().unwrap_or(&empty);
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no condition Ready")?;
    ensure!(ready["status"] == "True", "{ready}");
    ensure!(node["spec"]["taints"].is_null(), "{}", node["spec"]["taints"]);
    Ok(())
}

fn start_containerd(plane: &ControlPlane, images: &[&Path]) -> anyhow::Result<Running> {
    let config = plane.file("containerd.toml");
    fs::write(&config, CONTAINERD)?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(&config).arg("--root").arg(plane.file("containerd"));
    let containerd = Running::start(&command, &plane.file("containerd.log"))?;
    eventually("containerd answers", Duration::from_secs(30), || {
        let output = Command::new("ctr").arg("version").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })?;
    for image in images {
        let output = Command::new("ctr").args(["-n", "k8s.io", "images", "import"]).arg(image).output()?;
        ensure!(output.status.success(), "ctr images import: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(containerd)
}

fn start_kubelet(plane: &ControlPlane) -> anyhow::Result<Running> {
    let config = plane.file("kubelet.yaml");
    let ca = plane.file("ca.crt");
    let text = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": { "anonymous": { "enabled": false }, "x509": { "clientCAFile": ca } },
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "evictionHard": {},
        "localStorageCapacityIsolation": false,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "podLogsDir": plane.file("pods"),
        "resolvConf": "",
        "healthzPort": 0,
    });
    fs::write(&config, text.to_string())?;
    let mut command = Command::new(plane.binaries().path("kubelet"));
    command
        .arg(format!("--config={}", config.display()))
        .arg(format!("--kubeconfig={}", plane.client_kubeconfig("kubelet")?.display()))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={ADDRESS}"));
    Running::start(&command, &plane.file("kubelet.log"))
}

/// Builds an image from a Dockerfile with buildah, without a registry: `stages` are directories that
/// stand for stages. The OCI archive `archive` is written, and the configuration of the image returned.
pub fn build_image(
    tag: &str,
    dockerfile: &Path,
    context: &Path,
    stages: &[(&str, &Path)],
    archive: &Path,
) -> anyhow::Result<serde_json::Value> {
    let storage = tempfile::tempdir()?;
    let buildah = |arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(storage.path().join("root")).arg("--runroot").arg(storage.path().join("run"));
        let output =
            command.args(["--storage-driver", "vfs"]).args(arguments).output().context("cannot run buildah")?;
        ensure!(output.status.success(), "buildah {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let stages: Vec<String> =
        stages.iter().map(|(name, directory)| format!("--build-context={name}={}", directory.display())).collect();
    let (dockerfile, context) = (dockerfile.display().to_string(), context.display().to_string());
    let mut arguments = vec!["bud", "--isolation=chroot", "--quiet", "--tag", tag, "--file", &dockerfile];
    arguments.extend(stages.iter().map(String::as_str));
    arguments.push(&context);
    buildah(&arguments)?;
    buildah(&["push", "--quiet", tag, &format!("oci-archive:{}:{tag}", archive.display())])?;
    Ok(serde_json::from_slice(&buildah(&["inspect", "--type=image", tag])?)?)
}

/// Builds the image of every pod's sandbox, which sleeps until it is told to end.
pub fn build_pause(directory: &Path, archive: &Path) -> anyhow::Result<()> {
    let directory = directory.join("pause");
    fs::create_dir_all(&directory)?;
    let source = "#include <signal.h>\n#include <unistd.h>\nstatic void end(int s) { (void)s; _exit(0); }\n\
                  int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }\n";
    fs::write(directory.join("pause.c"), source)?;
    let status =
        Command::new("cc").current_dir(&directory).args(["-static", "-Os", "-o", "pause", "pause.c"]).status()?;
    ensure!(status.success(), "cc -static: {status}");
    fs::write(directory.join("Dockerfile"), "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n")?;
    build_image(PAUSE, &directory.join("Dockerfile"), &directory, &[], archive).map(drop)
}
