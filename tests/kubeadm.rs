//! `countersign inspect` over what a real kubeadm made, compared with what kubeadm and openssl say about it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::Tool;

use super::cli::inspect::agrees_with_openssl;

const CONFIG: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: { advertiseAddress: 192.0.2.10, bindPort: 6443 }
nodeRegistration: { name: node-a, criSocket: \"unix:///nowhere\" }
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
controlPlaneEndpoint: cluster.example.com:6443
";

/// A machine's root, as far as kubeadm writes to it.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap() };
        fs::write(machine.root.path().join("kubeadm.yaml"), CONFIG).unwrap();
        machine.kubeadm(&["init", "phase", "certs", "all"]);
        machine.kubeadm(&["init", "phase", "kubeconfig", "all"]);
        machine
    }

    /// Runs kubeadm with that root as its own, for which one must be root, at least of a namespace.
    fn kubeadm(&self, arguments: &[&str]) -> String {
        let program = Tool::Kubeadm.path().unwrap();
        let mut command = Command::new(&program);
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            command = Command::new("unshare");
            command.arg("--map-root-user").arg(&program);
        }
        command.args(arguments).args(["--config", "/kubeadm.yaml", "--rootfs"]).arg(self.root.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "kubeadm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("etc/kubernetes").join(name)
    }

    /// The report about everything, with the status of the command, and its items by their sources.
    fn inspect(&self, arguments: &[&str]) -> (i32, BTreeMap<String, Value>) {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["inspect", "-o", "json"])
            .args(arguments)
            .arg(self.path(""))
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let prefix = self.path("").display().to_string();
        let items = report["items"].as_array().unwrap().iter().map(|item| {
            let source = item["source"].as_str().unwrap();
            (source.strip_prefix(&prefix).unwrap_or_else(|| panic!("{source}")).to_owned(), item.clone())
        });
        (output.status.code().unwrap(), items.collect())
    }
}

fn codes(item: &Value) -> Vec<&str> {
    item["alarms"].as_array().unwrap().iter().map(|alarm| alarm["code"].as_str().unwrap()).collect()
}

/// Where a certificate lies that kubeadm calls `name`.
fn source(name: &str, items: &BTreeMap<String, Value>) -> String {
    if name.contains('.') {
        let user = format!("{name} (user ");
        return items.keys().find(|source| source.starts_with(&user)).unwrap().clone();
    }
    match name.strip_prefix("etcd-") {
        Some(rest) => format!("pki/etcd/{rest}.crt"),
        None => format!("pki/{name}.crt"),
    }
}

/// The certificate of a kubeconfig's user, written to a file.
fn embedded(kubeconfig: &Path) -> PathBuf {
    use base64::Engine;
    let text = fs::read_to_string(kubeconfig).unwrap();
    let data = text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data: ")).unwrap();
    let path = kubeconfig.with_extension("embedded");
    fs::write(&path, base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap();
    path
}

#[test]
fn a_cluster_of_kubeadm_is_what_kubeadm_and_openssl_say() {
    let machine = Machine::new();
    let (status, items) = machine.inspect(&[]);
    assert_eq!(status, 1);
    let expiration = machine.kubeadm(&["certs", "check-expiration", "-o", "json"]);
    let expiration: Value = serde_json::from_str(&expiration).unwrap();
    let rows = |field: &str| expiration[field].as_array().unwrap().clone();
    let (certificates, authorities) = (rows("certificates"), rows("certificateAuthorities"));
    assert_eq!((certificates.len(), authorities.len()), (11, 3));
    for row in certificates.iter().chain(&authorities) {
        let source = source(row["name"].as_str().unwrap(), &items);
        let item = items.get(&source).unwrap_or_else(|| panic!("{source} is not in {:?}", items.keys()));
        let certificate = &item["certificate"];
        assert_eq!(certificate["notAfter"], row["expirationDate"], "{source}");
        let days = row["residualTime"].as_i64().unwrap() / 86400;
        assert!((0..=1).contains(&(certificate["daysLeft"].as_i64().unwrap() - days)), "{source}");
        let role = match row["caName"].as_str() {
            Some("ca") => "cluster",
            Some("etcd-ca") => "etcd",
            Some("front-proxy-ca") => "front-proxy",
            _ => {
                assert_eq!(certificate["signedBy"]["how"], "itself", "{source}");
                continue;
            }
        };
        assert_eq!(certificate["signedBy"]["how"], "verified", "{source}");
        assert_eq!(certificate["signedBy"]["roles"][0], role, "{source}");
    }

    // Every certificate there is, field by field, and each with its own key.
    let mut compared = 0;
    for (source, item) in items.iter().filter(|(_, item)| item["kind"] == "Certificate") {
        let path = match source.split_once(" (") {
            Some((kubeconfig, _)) => embedded(&machine.path(kubeconfig)),
            None => machine.path(source),
        };
        agrees_with_openssl(&item["certificate"], &path);
        if !source.contains(" (") {
            let key = path.with_extension("key");
            assert_eq!(item["certificate"]["privateKeys"][0], key.to_str().unwrap(), "{source}");
        }
        compared += 1;
    }
    assert_eq!(compared, 7 + 3 + 5);

    // Who is who.
    for (source, user, groups, expected) in [
        ("admin.conf", "kubernetes-admin", &["kubeadm:cluster-admins"][..], &["cluster-admin", "long-lifetime"][..]),
        ("super-admin.conf", "kubernetes-super-admin", &["system:masters"], &["cluster-admin", "long-lifetime"]),
        ("scheduler.conf", "system:kube-scheduler", &[], &["reserved-name", "long-lifetime"]),
        ("kubelet.conf", "system:node:node-a", &["system:nodes"], &["reserved-name", "reserved-name", "long-lifetime"]),
    ] {
        let item = &items[&format!("{source} (user {user})")];
        let subject = &item["certificate"]["subject"];
        assert_eq!((&subject["commonName"], &subject["organizations"]), (&user.into(), &serde_json::json!(groups)));
        assert_eq!(codes(item), expected, "{source}");
        assert!(codes(&items[source]).is_empty(), "{}", items[source]);
    }
    for source in ["pki/ca.crt", "pki/apiserver.crt", "pki/apiserver.key", "pki/sa.key", "pki/sa.pub"] {
        assert!(codes(&items[source]).is_empty(), "{}", items[source]);
    }
    let ignored = ["--ignore=long-lifetime", "--ignore=reserved-name", "--ignore=cluster-admin"];
    assert_eq!(machine.inspect(&ignored).0, 0);
    let (status, items) = machine.inspect(&[&ignored[..], &["--expires-within=366d"]].concat());
    assert_eq!((status, codes(&items["pki/apiserver.crt"])), (1, vec!["expiring"]));
    assert!(codes(&items["pki/ca.crt"]).is_empty());
}

#[test]
fn what_went_wrong_with_a_cluster_of_kubeadm_is_told() {
    let machine = Machine::new();
    let copy = |from: &str, to: &str| fs::copy(machine.path(from), machine.path(to)).unwrap();
    // A key was mixed up, a CA was made anew, and a kubeconfig is of another cluster.
    copy("pki/etcd/peer.key", "pki/etcd/server.key");
    let other = Machine::new();
    fs::copy(other.path("pki/front-proxy-ca.crt"), machine.path("pki/front-proxy-ca.crt")).unwrap();
    let foreign = fs::read_to_string(other.path("admin.conf")).unwrap();
    let own = fs::read_to_string(machine.path("admin.conf")).unwrap();
    let authority = |text: &str| {
        let line = text.lines().find(|line| line.contains("certificate-authority-data")).unwrap();
        line.to_owned()
    };
    let mixed = foreign.replace(&authority(&foreign), &authority(&own));
    fs::write(machine.path("admin.conf"), mixed).unwrap();
    let (status, items) = machine.inspect(&["--ignore=long-lifetime"]);
    assert_eq!(status, 1);
    assert_eq!(codes(&items["pki/etcd/server.crt"]), ["key-mismatch"]);
    assert_eq!(codes(&items["pki/front-proxy-ca.crt"]), ["key-mismatch"]);
    assert_eq!(codes(&items["pki/front-proxy-client.crt"]), ["chain-invalid"]);
    assert_eq!(codes(&items["admin.conf"]), ["other-ca"]);
    assert!(codes(&items["pki/apiserver.crt"]).is_empty());
}
