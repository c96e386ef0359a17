//! One control plane in a directory of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::pki::Pki;
use super::tls::Connector;
use super::{Api, Binaries, Kubectl, Running, binaries, eventually, free_port};

/// Holds a node to its own objects; off in kube-apiserver unless it is turned on.
const NODE_RESTRICTION: &str = "NodeRestriction";

/// What may differ from the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Admission plugins of the API server that are on here and shall be off. Beside the defaults that is
    /// `NodeRestriction`, which every installer turns on.
    pub disabled_admission_plugins: Vec<String>,
    /// There will be a node: the API server listens on port 443 of every address, calls kubelets with a
    /// client certificate and believes only serving certificates of this cluster, and Deployments get pods.
    pub node: bool,
    /// How long certificates live that are signed, as `--cluster-signing-duration` takes it (`3m`); a year
    /// unless set.
    pub signing_duration: Option<String>,
    /// Whether kube-controller-manager approves the client certificates of kubelets itself, as it does unless
    /// told otherwise.
    pub approves_kubelet_clients: bool,
    /// The API server serves every watch and list from etcd, not from memory.
    pub without_watch_cache: bool,
    /// etcd waits for the disk before it says that something is written, as it does unless told otherwise: for what is
    /// measured. Tests need not wait.
    pub durable: bool,
}

/// A control plane that runs until this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order in which they stop.
    controller_manager: Option<Running>,
    api_server: Mutex<Option<Running>>,
    etcd: Option<Running>,
    directory: TempDir,
    binaries: Binaries,
    pki: Pki,
    port: u16,
    etcd_port: u16,
    options: Options,
}

impl ControlPlane {
    /// Starts one on free ports of 127.0.0.1, and waits until it serves.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let binaries = binaries()?;
        // Between finding a free port and binding it somebody else may have taken it.
        let mut last = None;
        for _ in 0..3 {
            match Self::try_start(&binaries, options) {
                Ok(plane) => return Ok(plane),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("never tried")?)
    }

    fn try_start(binaries: &Binaries, options: &Options) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("testbed-").tempdir()?;
        let pki = Pki::new(directory.path())?;
        pki.server("server")?;
        pki.client("admin", "kubernetes-admin", &["system:masters"], None)?;
        pki.client("controller-manager", "system:kube-controller-manager", &[], None)?;
        pki.client("scheduler", "system:kube-scheduler", &[], None)?;
        pki.client("kubelet", &format!("system:node:{}", super::NODE), &["system:nodes"], None)?;
        pki.client("kubelet-client", "kube-apiserver-kubelet-client", &["system:masters"], None)?;
        let (etcd, peer, port) = (free_port()?, free_port()?, if options.node { 443 } else { free_port()? });
        let mut plane = Self {
            controller_manager: None,
            api_server: Mutex::default(),
            etcd: None,
            directory,
            binaries: binaries.clone(),
            pki,
            port,
            etcd_port: etcd,
            options: options.clone(),
        };
        for name in ["admin", "controller-manager", "scheduler"] {
            plane.client_kubeconfig(name)?;
        }
        plane.etcd = Some(plane.start_etcd(etcd, peer)?);
        plane.api_server = Mutex::new(Some(plane.start_api_server()?));
        plane.wait_until_ready()?;
        plane.controller_manager = Some(plane.start_controller_manager(options)?);
        Ok(plane)
    }

    /// The path of a file of this control plane.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory that goes with this control plane.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The port of 127.0.0.1 that the API server listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The API server as an administrator in the group `system:masters` calls it from a program.
    pub fn api(&self) -> anyhow::Result<Api> {
        Api::new(Connector::new(self.directory(), self.port, Some("admin"))?)
    }

    /// kubectl as an administrator in the group `system:masters`.
    #[must_use]
    pub fn admin(&self) -> Kubectl {
        Kubectl::new(self.binaries.path("kubectl"), self.file("admin.kubeconfig"))
    }

    /// A kubeconfig with the client certificate `NAME.crt` and the key `NAME.key` of this directory.
    pub fn client_kubeconfig(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.kubeconfig(
            name,
            &format!(
                "{{ client-certificate: {0}, client-key: {1} }}",
                self.shown(&format!("{name}.crt")),
                self.shown(&format!("{name}.key"))
            ),
        )
    }

    /// A kubeconfig of `user` in `groups`, with a client certificate that this cluster's CA signs at once.
    pub fn user_kubeconfig(&self, name: &str, user: &str, groups: &[&str]) -> anyhow::Result<PathBuf> {
        self.pki.client(name, user, groups, None)?;
        self.client_kubeconfig(name)
    }

    /// The same, with a certificate that ends after `lives`.
    pub fn short_lived_kubeconfig(
        &self,
        name: &str,
        user: &str,
        groups: &[&str],
        lives: Duration,
    ) -> anyhow::Result<PathBuf> {
        self.pki.client(name, user, groups, Some(SystemTime::now() + lives))?;
        self.client_kubeconfig(name)
    }

    /// A kubeconfig with a bearer token.
    pub fn token_kubeconfig(&self, name: &str, token: &str) -> anyhow::Result<PathBuf> {
        self.kubeconfig(name, &format!("{{ token: \"{}\" }}", token.trim()))
    }

    fn kubeconfig(&self, name: &str, user: &str) -> anyhow::Result<PathBuf> {
        let path = self.file(&format!("{name}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: testbed\nclusters:\n- name: testbed\n  cluster: {{ server: \
             \"https://127.0.0.1:{}\", certificate-authority: {} }}\nusers:\n- name: {name}\n  user: {user}\ncontexts:\n\
             - name: testbed\n  context: {{ cluster: testbed, user: {name} }}\n",
            self.port,
            self.shown("ca.crt"),
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    fn shown(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn start_etcd(&self, client: u16, peer: u16) -> anyhow::Result<Running> {
        let mut command = Command::new(self.binaries.path("etcd"));
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        command
            .args(["--name=testbed", "--log-level=warn"])
            .args((!self.options.durable).then_some("--unsafe-no-fsync"))
            .arg(format!("--data-dir={}", self.shown("etcd")))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=testbed={peer}"));
        Running::start(&command, &self.file("etcd.log"))
    }

    fn start_api_server(&self) -> anyhow::Result<Running> {
        let (etcd, options) = (self.etcd_port, &self.options);
        let mut command = Command::new(self.binaries.path("kube-apiserver"));
        let file = |name: &str| self.shown(name);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
            .arg(format!("--secure-port={}", self.port))
            .args(["--authorization-mode=Node,RBAC", "--enable-bootstrap-token-auth"])
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--tls-cert-file={}", file("server.crt")))
            .arg(format!("--tls-private-key-file={}", file("server.key")))
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--service-account-issuer=https://kubernetes.default.svc"])
            .arg(format!("--service-account-key-file={}", file("sa.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .arg(format!("--cert-dir={}", file("apiserver")));
        if options.node {
            command
                .args(["--bind-address=0.0.0.0", &format!("--advertise-address={}", super::node::ADDRESS)])
                .arg(format!("--kubelet-certificate-authority={}", file("ca.crt")))
                .arg(format!("--kubelet-client-certificate={}", file("kubelet-client.crt")))
                .arg(format!("--kubelet-client-key={}", file("kubelet-client.key")))
                .arg("--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname");
        } else {
            command.arg("--bind-address=127.0.0.1");
        }
        if !options.disabled_admission_plugins.iter().any(|plugin| plugin == NODE_RESTRICTION) {
            command.arg(format!("--enable-admission-plugins={NODE_RESTRICTION}"));
        }
        if options.without_watch_cache {
            command.arg("--watch-cache=false");
        }
        if !options.disabled_admission_plugins.is_empty() {
            command.arg(format!("--disable-admission-plugins={}", options.disabled_admission_plugins.join(",")));
        }
        Running::start(&command, &self.file("kube-apiserver.log"))
    }

    fn start_controller_manager(&self, options: &Options) -> anyhow::Result<Running> {
        let mut controllers = vec![
            "certificatesigningrequest-signing-controller",
            "certificatesigningrequest-cleaner-controller",
            "serviceaccount-controller",
            "root-ca-certificate-publisher-controller",
            "namespace-controller",
            "clusterrole-aggregation-controller",
        ];
        if options.approves_kubelet_clients {
            controllers.push("certificatesigningrequest-approving-controller");
        }
        if options.node {
            controllers.extend(["deployment-controller", "replicaset-controller", "node-lifecycle-controller"]);
            controllers.extend(["garbage-collector-controller", "disruption-controller"]);
        }
        let mut command = Command::new(self.binaries.path("kube-controller-manager"));
        let file = |name: &str| self.shown(name);
        command
            .arg(format!("--kubeconfig={}", file("controller-manager.kubeconfig")))
            .arg(format!("--cluster-signing-cert-file={}", file("ca.crt")))
            .arg(format!("--cluster-signing-key-file={}", file("ca.key")))
            .arg(format!("--root-ca-file={}", file("ca.crt")))
            .arg(format!("--service-account-private-key-file={}", file("sa.key")))
            .arg(format!("--controllers={}", controllers.join(",")))
            .args(["--use-service-account-credentials=true", "--leader-elect=false", "--secure-port=0"])
            .args(["--kube-api-qps=200", "--kube-api-burst=400"]);
        if let Some(duration) = &options.signing_duration {
            command.arg(format!("--cluster-signing-duration={duration}"));
        }
        Running::start(&command, &self.file("kube-controller-manager.log"))
    }

    /// Stops the API server from doing anything (`STOP`), or lets it go on (`CONT`).
    pub fn signal_api_server(&self, signal: &str) -> anyhow::Result<()> {
        self.api_server().as_ref().context("it does not run")?.signal(signal)
    }

    /// Kills the API server, and waits until it is gone: connections to it are refused from then on.
    pub fn kill_api_server(&self) {
        drop(self.api_server().take());
    }

    /// Starts the API server again, on the same port and with what is in etcd.
    pub fn restart_api_server(&self) -> anyhow::Result<()> {
        *self.api_server() = Some(self.start_api_server()?);
        Ok(())
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Running>> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls etcd itself, behind the back of the API server: `path` and `body` as its JSON gateway takes them.
    pub fn etcd(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.etcd_port))?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("etcd said nothing")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "etcd {path}: {answer}");
        // Long answers come in chunks, whose lengths stand on lines of their own.
        let text = body.lines().find(|line| line.starts_with('{')).context("etcd said no JSON")?;
        Ok(serde_json::from_str(text)?)
    }

    /// Makes etcd forget everything but what is there now.
    pub fn compact_etcd(&self) -> anyhow::Result<()> {
        let now = self.etcd("/v3/kv/range", &json!({ "key": "AA==", "limit": 1 }))?;
        let revision = &now["header"]["revision"];
        self.etcd("/v3/kv/compaction", &json!({ "revision": revision, "physical": true })).map(drop)
    }

    pub(crate) fn start_scheduler(&self) -> anyhow::Result<Running> {
        let mut command = Command::new(self.binaries.path("kube-scheduler"));
        command
            .arg(format!("--kubeconfig={}", self.shown("scheduler.kubeconfig")))
            .args(["--leader-elect=false", "--secure-port=0"]);
        Running::start(&command, &self.file("kube-scheduler.log"))
    }

    /// The programs that it runs.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let admin = self.admin();
        let dead = |running: &mut Option<Running>| running.as_mut().is_none_or(Running::has_ended);
        let mut ended = false;
        let ready = eventually("the API server is ready", Duration::from_secs(60), || {
            let api_server = self.api_server.get_mut().unwrap_or_else(PoisonError::into_inner);
            if dead(&mut self.etcd) || dead(api_server) {
                ended = true;
                return Ok(());
            }
            admin.run(&["get", "--raw", "/readyz"])?;
            // The default namespace comes a moment later.
            admin.run(&["get", "namespace", "default"]).map(drop)
        });
        if ended {
            let log = fs::read_to_string(self.file("kube-apiserver.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("etcd or kube-apiserver ended before it was ready: {}", lines.join(" | "));
        }
        ready
    }
}
