//! The controller on a real kube-apiserver, with real signing.

mod access;
mod alerts;
mod api;
mod backlog;
mod credentials;
mod decisions;
mod fairness;
mod faults;
mod fields;
mod first_policy;
mod flood;
mod kills;
mod large;
mod ledger;
mod live;
mod machine;
pub(crate) mod nodes;
mod outages;
mod output;
mod races;
mod rate;
mod replicas;
mod soak;
mod story;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{ControlPlane, Kubectl, Options, Running, eventually, program};

/// Where `deploy/` puts the controller.
const NAMESPACE: &str = "--namespace=countersign-system";

/// How long anything may take that should take a second or two.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A control plane with everything in `deploy/`: the CRDs, and the controller's service account with
/// its rights. There is no kubelet, so the Deployment stays without pods, and the controller of a test
/// runs beside it, with a token of that account.
pub(crate) struct Cluster {
    // Dropped first: the controller stops before the control plane.
    controller: Option<Controller>,
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Kubectl,
}

/// One replica of the controller.
pub(crate) struct Controller {
    running: Running,
    port: u16,
    log: PathBuf,
}

impl Controller {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn http(&self, path: &str) -> std::io::Result<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until `/metrics` has this line.
    #[track_caller]
    pub(crate) fn has_metric(&self, line: &str) {
        let found = eventually(&format!("there is {line}"), LIMIT, || {
            let metrics = self.http("/metrics")?;
            anyhow_if(metrics.lines().any(|given| given == line), &metrics)
        });
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    /// Waits until this series of `/metrics` has counted something.
    #[track_caller]
    fn has_counted(&self, series: &str) {
        let found = eventually(&format!("{series} has counted"), LIMIT, || {
            let metrics = self.http("/metrics")?;
            let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
            anyhow_if(value.is_some_and(|value| value > 0.0), &metrics)
        });
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    #[track_caller]
    fn is_ready(&self) {
        let ready = eventually("the controller is ready", LIMIT, || {
            let answer = self.http("/readyz")?;
            anyhow_if(answer.starts_with("HTTP/1.1 200"), &answer)
        });
        if let Err(error) = ready {
            panic!("{error:#}\n{}", self.log());
        }
    }

    fn leads(&self) -> bool {
        self.http("/metrics").is_ok_and(|metrics| metrics.contains("\ncountersign_leader 1\n"))
    }

    /// The decisions that it wrote into its log.
    fn decisions(&self) -> Vec<Value> {
        let lines = self.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "decision").collect()
    }
}

impl Cluster {
    fn start() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let plane = ControlPlane::start(options).unwrap();
        let admin = plane.admin();
        admin.run(&["apply", "--server-side", "-k", "deploy"]).unwrap();
        for crd in ["csrpolicies", "csrguardrails"] {
            let crd = format!("crd/{crd}.countersign.dev");
            admin.run(&["wait", "--for=condition=Established", "--timeout=30s", &crd]).unwrap();
        }
        let token = admin.run(&["create", "token", "countersign", NAMESPACE, "--duration=8h"]).unwrap();
        plane.token_kubeconfig("countersign", &token).unwrap();
        Self { controller: None, plane, admin }
    }

    /// Lets the controller approve for these signers and no others, as `signerNames` of the chart does.
    fn may_approve(&self, signers: &[&str]) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "countersign" },
            "rules": self.rules().into_iter().map(|mut rule| {
                if rule["resources"] == json!(["signers"]) {
                    // RBAC grants every signer by naming none.
                    rule["resourceNames"] = if signers == ["*"] { Value::Null } else { json!(signers) };
                }
                rule
            }).collect::<Vec<Value>>(),
        });
        self.admin.apply(&role.to_string()).unwrap();
    }

    /// What the `ClusterRole` of the controller grants.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let role = self.admin.get(&["clusterrole", "countersign"]).unwrap();
        role["rules"].as_array().unwrap().clone()
    }

    /// Starts the controller, and waits until it is ready.
    pub(crate) fn run(&mut self, options: &[&str]) {
        self.controller = Some(self.replica("countersign", options));
    }

    /// Starts one more replica with a log of this name, and waits until it is ready.
    fn replica(&self, name: &str, options: &[&str]) -> Controller {
        let signers: Vec<&str> = options.iter().filter_map(|option| option.strip_prefix("--managed-signer=")).collect();
        if !signers.is_empty() {
            self.may_approve(&signers);
        }
        let controller = self.start_replica(name, options);
        controller.is_ready();
        controller
    }

    /// Starts one more replica, ready or not, with the rights that there are.
    fn start_replica(&self, name: &str, options: &[&str]) -> Controller {
        let log = self.plane.file(&format!("{name}.log"));
        let mut command = Command::new(program(env!("CARGO_BIN_EXE_countersign")));
        command
            .arg("run")
            .arg("--listen=127.0.0.1:0")
            .arg(format!("--kubeconfig={}", self.plane.file("countersign.kubeconfig").display()))
            .arg(format!("--lease-{}", &NAMESPACE[2..]))
            .args(options);
        if !options.iter().any(|option| option.starts_with("--policy-settle")) {
            command.arg("--policy-settle=1s");
        }
        let mut running = Running::start(&command, &log).unwrap();
        let port = eventually("it says where it listens", LIMIT, || {
            let said = std::fs::read_to_string(&log)?;
            assert!(!running.has_ended(), "{said}");
            let started = said.lines().find(|line| line.contains("started")).unwrap_or_default();
            let port = started.split("127.0.0.1:").nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
            let port = port.flatten().and_then(|digits| digits.parse::<u16>().ok());
            port.ok_or_else(|| std::io::Error::other(said).into())
        });
        Controller { running, port: port.unwrap(), log }
    }

    /// Ends the controller.
    pub(crate) fn stop(&mut self) {
        self.controller = None;
    }

    pub(crate) fn controller(&self) -> &Controller {
        self.controller.as_ref().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.controller.as_ref().map(Controller::log).unwrap_or_default()
    }

    fn http(&self, path: &str) -> std::io::Result<String> {
        self.controller().http(path)
    }

    pub(crate) fn csr(&self, name: &str) -> Value {
        self.admin.get(&["csr", name]).unwrap()
    }

    /// Waits for a decision, and returns the condition.
    #[track_caller]
    pub(crate) fn decision(&self, name: &str) -> Value {
        let decided = eventually(&format!("{name} is decided"), LIMIT, || {
            let csr = self.admin.get(&["csr", name])?;
            let condition = csr["status"]["conditions"][0].clone();
            anyhow_if(!condition.is_null(), "it has no condition").map(|()| condition)
        });
        decided.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()))
    }

    #[track_caller]
    pub(crate) fn is_approved(&self, name: &str) {
        let condition = self.decision(name);
        assert_eq!(condition["type"], "Approved", "{condition}");
        assert_eq!(condition["reason"], "PolicyApproved");
    }

    #[track_caller]
    pub(crate) fn is_denied(&self, name: &str, why: &str) {
        let condition = self.decision(name);
        assert_eq!(condition["type"], "Denied", "{condition}");
        assert_eq!(condition["reason"], "PolicyDenied");
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains(why), "{why:?} is not in {message}");
        self.event(name, "Denied", why);
    }

    /// Waits until an Event about `name` says `reason`, and checks that its note contains `why`.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, reason: &str, why: &str) {
        let note = eventually(&format!("{name} has an Event {reason}"), LIMIT, || {
            let events = self.events(name, reason)?;
            events.first().cloned().ok_or_else(|| std::io::Error::other("there is none").into())
        });
        let note = note.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
        assert!(note.contains(why), "{why:?} is not in {note}");
    }

    fn events(&self, name: &str, reason: &str) -> testbed::Result<Vec<String>> {
        let events = self.admin.get(&["events.events.k8s.io", "--namespace=default"])?;
        let items = events["items"].as_array().unwrap();
        let about = items.iter().filter(|event| event["regarding"]["name"] == name && event["reason"] == reason);
        Ok(about.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits until it is left pending for a reason that contains `why`, with an Event that says so.
    #[track_caller]
    pub(crate) fn is_left(&self, name: &str, why: &str) {
        self.event(name, "NoOpinion", why);
        assert!(self.csr(name)["status"]["conditions"].is_null());
    }

    fn file(&self, request: &Request) {
        self.admin.create(&request.manifest().to_string()).unwrap();
    }

    /// Applies the examples before there is a controller to see them.
    fn apply_examples_unseen(&self) {
        self.admin.run(&["apply", "--server-side", "-f", "examples/policies"]).unwrap();
    }

    fn apply_examples(&self) {
        self.apply_examples_unseen();
        for object in ["csrpolicy/developers", "csrguardrail/cluster-limits"] {
            self.is_ready(object);
        }
    }

    #[track_caller]
    pub(crate) fn is_ready(&self, object: &str) {
        let ready = self.admin.run(&["wait", "--for=condition=Ready", "--timeout=20s", object]);
        ready.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }
}

pub(crate) fn anyhow_if(holds: bool, why: &str) -> testbed::Result<()> {
    if holds { Ok(()) } else { Err(std::io::Error::other(why.to_owned()).into()) }
}

/// A request as somebody would make it with openssl.
pub(crate) struct Request {
    name: String,
    subject: String,
    bits: u32,
    signer: String,
    expiration_seconds: Option<i32>,
    usages: Vec<String>,
}

impl Request {
    fn new(name: &str, subject: &str) -> Self {
        Self {
            name: name.to_owned(),
            subject: subject.to_owned(),
            bits: 2048,
            signer: "kubernetes.io/kube-apiserver-client".to_owned(),
            expiration_seconds: Some(2_592_000),
            usages: vec!["client auth".to_owned()],
        }
    }

    /// The PEM request, and the PEM key in `key`.
    fn pem(&self, key: &std::path::Path) -> String {
        let status = Command::new("openssl").arg("genrsa").arg("-out").arg(key).arg(self.bits.to_string()).output();
        assert!(status.unwrap().status.success());
        let output = Command::new("openssl").args(["req", "-new", "-subj", &self.subject, "-key"]).arg(key).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn manifest(&self) -> Value {
        let key = tempfile::NamedTempFile::new().unwrap();
        self.manifest_with(&self.pem(key.path()))
    }

    fn manifest_with(&self, pem: &str) -> Value {
        let mut manifest = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": self.name },
            "spec": { "request": base64(pem.as_bytes()), "signerName": self.signer, "usages": self.usages },
        });
        if let Some(seconds) = self.expiration_seconds {
            manifest["spec"]["expirationSeconds"] = json!(seconds);
        }
        manifest
    }
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
