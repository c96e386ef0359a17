//! A real node: containerd, kubelet and kube-scheduler, in the namespaces of an isolated test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{ControlPlane, Kubectl, Running, eventually};

/// Where Debian puts the plugins of CNI.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";
/// The address of the node, in its own network namespace.
pub const ADDRESS: &str = "192.168.77.1";
/// The name of the node.
pub const NODE: &str = "worker";
/// Where a kubelet keeps the certificates that it asked for.
const CERTIFICATES: &str = "/var/lib/kubelet/pki";
/// The public and the secret part of the bootstrap token.
const BOOTSTRAP_TOKEN: (&str, &str) = ("abcdef", "0123456789abcdef");
/// What requestors with that token are a group of, beside `system:bootstrappers`; the name is kubeadm's.
pub const BOOTSTRAP_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// The image of every pod's sandbox.
pub const PAUSE: &str = "localhost/pause:testbed";

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

/// How a kubelet comes by its certificates, and who says what its addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// A client certificate is there already, and it serves with one that it signs itself.
    Certificate,
    /// As after `kubeadm join` with `serverTLSBootstrap`: with the token of [`allow_bootstrap`] it asks for a
    /// client certificate, and as the node that it then is for one to serve with; it renews both.
    Token,
    /// The same with `--cloud-provider=external`: the addresses of the node are left to a cloud controller.
    TokenInCloud,
}

/// A node that runs until this is dropped.
#[derive(Debug)]
pub struct Node {
    // In the order in which they stop.
    kubelet: Running,
    _scheduler: Running,
    _containerd: Running,
}

impl Node {
    /// Starts one that belongs to `plane`, with the images in these OCI archives, and waits until it is Ready.
    pub fn start(plane: &ControlPlane, images: &[&Path]) -> anyhow::Result<Self> {
        let node = Self::join(plane, images, Join::Certificate)?;
        node.wait_until_ready(plane)?;
        Ok(node)
    }

    /// Starts one, and waits for nothing.
    pub fn join(plane: &ControlPlane, images: &[&Path], join: Join) -> anyhow::Result<Self> {
        fs::create_dir_all("/etc/cni/net.d")?;
        fs::write("/etc/cni/net.d/10-testbed.conflist", NETWORK)?;
        let containerd = start_containerd(plane, images)?;
        let scheduler = plane.start_scheduler()?;
        let kubelet = start_kubelet(plane, join)?;
        Ok(Self { kubelet, _scheduler: scheduler, _containerd: containerd })
    }

    /// The kubelet starts over as on a new machine: without certificates, and without its `Node`.
    pub fn join_again(&mut self, plane: &ControlPlane, join: Join) -> anyhow::Result<()> {
        self.kubelet.kill();
        let _ = fs::remove_dir_all(CERTIFICATES);
        plane.admin().run(&["delete", "node", NODE, "--ignore-not-found"])?;
        self.kubelet = start_kubelet(plane, join)?;
        Ok(())
    }

    /// Waits until it is Ready and pods may run on it.
    pub fn wait_until_ready(&self, plane: &ControlPlane) -> anyhow::Result<()> {
        let admin = plane.admin();
        let ready = eventually("the node is Ready", Duration::from_secs(90), || node_is_ready(&admin));
        ready.map_err(|error| {
            let log = fs::read_to_string(plane.file("kubelet.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            error.context(lines.join("\n"))
        })
    }

    /// The file with a certificate of the kubelet that it got by asking, once there is one.
    #[must_use]
    pub fn certificate(which: Which) -> PathBuf {
        let name = match which {
            Which::Client => "kubelet-client-current.pem",
            Which::Serving => "kubelet-server-current.pem",
        };
        Path::new(CERTIFICATES).join(name)
    }
}

/// One of the two certificates of a kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// With which it speaks to the API server.
    Client,
    /// With which it serves.
    Serving,
}

/// Lets nodes join with a bootstrap token as kubeadm does: a Secret with the token, and the right to file
/// requests for the group that it stands for. Nothing lets kube-controller-manager approve these by itself;
/// see [`allow_built_in_approver`].
pub fn allow_bootstrap(plane: &ControlPlane) -> anyhow::Result<()> {
    let (id, secret) = BOOTSTRAP_TOKEN;
    let token = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": BOOTSTRAP_GROUP,
        },
    });
    let admin = plane.admin();
    // The namespace comes a moment after the API server.
    eventually("there is kube-system", Duration::from_secs(30), || admin.apply(&token.to_string()))?;
    bind(&admin, "kubeadm:kubelet-bootstrap", "system:node-bootstrapper", BOOTSTRAP_GROUP)
}

/// The two bindings by which kubeadm, and most who make clusters, let the approver that is built into
/// kube-controller-manager approve the client certificates of kubelets.
pub fn allow_built_in_approver(plane: &ControlPlane) -> anyhow::Result<()> {
    let admin = plane.admin();
    let role = |name: &str| format!("system:certificates.k8s.io:certificatesigningrequests:{name}");
    bind(&admin, "kubeadm:node-autoapprove-bootstrap", &role("nodeclient"), BOOTSTRAP_GROUP)?;
    bind(&admin, "kubeadm:node-autoapprove-certificate-rotation", &role("selfnodeclient"), "system:nodes")
}

fn bind(admin: &Kubectl, name: &str, role: &str, group: &str) -> anyhow::Result<()> {
    let binding = serde_json::json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group }],
    });
    admin.apply(&binding.to_string()).map(drop)
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

fn start_kubelet(plane: &ControlPlane, join: Join) -> anyhow::Result<Running> {
    let config = plane.file("kubelet.yaml");
    let ca = plane.file("ca.crt");
    let mut text = serde_json::json!({
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
    let mut command = Command::new(plane.binaries().path("kubelet"));
    command.arg(format!("--config={}", config.display())).arg(format!("--hostname-override={NODE}"));
    if join == Join::Certificate {
        command.arg(format!("--kubeconfig={}", plane.client_kubeconfig("kubelet")?.display()));
    } else {
        text["serverTLSBootstrap"] = true.into();
        text["rotateCertificates"] = true.into();
        let (id, secret) = BOOTSTRAP_TOKEN;
        let bootstrap = plane.token_kubeconfig("bootstrap", &format!("{id}.{secret}"))?;
        // The kubelet writes this one itself, as soon as it has a certificate.
        let own = plane.file("joined.kubeconfig");
        let _ = fs::remove_file(&own);
        command
            .arg(format!("--bootstrap-kubeconfig={}", bootstrap.display()))
            .arg(format!("--kubeconfig={}", own.display()))
            .arg(format!("--cert-dir={CERTIFICATES}"));
    }
    match join {
        Join::Certificate | Join::Token => command.arg(format!("--node-ip={ADDRESS}")),
        Join::TokenInCloud => command.arg("--cloud-provider=external"),
    };
    fs::write(&config, text.to_string())?;
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

/// Builds the image of every pod's sandbox, which sleeps until it is told to end. With arguments it prints
/// them in a line before; with `only` in front of them it prints them and ends.
pub fn build_pause(directory: &Path, archive: &Path) -> anyhow::Result<()> {
    let directory = directory.join("pause");
    fs::create_dir_all(&directory)?;
    let source = "#include <signal.h>\n#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n\
                  static void end(int s) { (void)s; _exit(0); }\n\
                  int main(int n, char **a) {\n\
                  int only = n > 1 && !strcmp(a[1], \"only\");\n\
                  for (int i = 1 + only; i < n; i++) printf(\"%s%c\", a[i], i + 1 < n ? ' ' : '\\n');\n\
                  fflush(stdout);\n\
                  if (only) return 0;\n\
                  signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }\n";
    fs::write(directory.join("pause.c"), source)?;
    let status =
        Command::new("cc").current_dir(&directory).args(["-static", "-Os", "-o", "pause", "pause.c"]).status()?;
    ensure!(status.success(), "cc -static: {status}");
    fs::write(directory.join("Dockerfile"), "FROM scratch\nCOPY pause /pause\nENTRYPOINT [\"/pause\"]\n")?;
    build_image(PAUSE, &directory.join("Dockerfile"), &directory, &[], archive).map(drop)
}
