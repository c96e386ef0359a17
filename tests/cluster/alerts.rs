//! A real Prometheus scrapes a running controller.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Running, eventually, free_port};

use super::{Cluster, NAMESPACE, Request, anyhow_if};
use crate::chart::monitoring::{dashboard_queries, promtool, rules};

const LIMIT: Duration = Duration::from_secs(60);

struct Prometheus {
    url: String,
    directory: tempfile::TempDir,
    _running: Running,
}

impl Prometheus {
    /// Scrapes and evaluates every second what a `ServiceMonitor` would have it scrape.
    fn start(target: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rules.yaml"), rules().to_string()).unwrap();
        let labels = json!({ "namespace": &NAMESPACE["--namespace=".len()..], "pod": "countersign-0" });
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{
                "job_name": "countersign-metrics",
                "static_configs": [{ "targets": [format!("127.0.0.1:{target}")], "labels": labels }],
            }],
        });
        let file = directory.path().join("prometheus.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        promtool(&["check", "config", "prometheus.yaml"], directory.path());
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let running = Running::start(&command, &directory.path().join("prometheus.log")).unwrap();
        Self { url: format!("http://{address}"), directory, _running: running }
    }

    /// The series that `query` gives now.
    fn query(&self, query: &str) -> testbed::Result<Vec<Value>> {
        let arguments = ["query", "instant", "--format=json", &self.url, query];
        let output = Command::new("promtool").args(arguments).current_dir(self.directory.path()).output()?;
        anyhow_if(output.status.success(), &String::from_utf8_lossy(&output.stderr))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn firing(&self, alert: &str) -> testbed::Result<Vec<Value>> {
        self.query(&format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}"))
    }
}

#[test]
fn a_denial_raises_the_alert_and_every_query_finds_something() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    let prometheus = Prometheus::start(cluster.controller().port);
    eventually("it scrapes", LIMIT, || {
        let up = prometheus.query("up == 1")?;
        anyhow_if(up.len() == 1, "the target is not up")
    })
    .unwrap();
    cluster.file(&Request::new("amy", "/CN=amy/O=developers"));
    cluster.is_approved("amy");
    eventually("the approval is counted", LIMIT, || {
        anyhow_if(!prometheus.query("countersign_decisions_total")?.is_empty(), "it is not")
    })
    .unwrap();
    let alerts = ["CountersignRequestDenied", "CountersignReservedIdentityRequested"];
    for alert in alerts {
        assert_eq!(prometheus.firing(alert).unwrap(), [] as [Value; 0]);
    }

    cluster.file(&Request::new("mallory", "/CN=mallory/O=kubeadm:cluster-admins"));
    cluster.is_denied("mallory", "kubeadm:cluster-admins");
    for alert in alerts {
        eventually(&format!("{alert} fires"), LIMIT, || {
            let firing = prometheus.firing(alert)?;
            anyhow_if(firing.len() == 1, &format!("{firing:?}"))?;
            anyhow_if(firing[0]["metric"]["signer"] == "kubernetes.io/kube-apiserver-client", &format!("{firing:?}"))
        })
        .unwrap();
    }

    // Something of everything: an audit that differs, an error, a permission that is missing.
    cluster.admin.run(&["patch", "csrguardrail", "cluster-limits", "--type=merge", "--patch", AUDIT]).unwrap();
    cluster.is_ready("csrguardrail/cluster-limits");
    std::thread::sleep(Duration::from_secs(2));
    let mut year = Request::new("year", "/CN=year");
    year.bits = 2048;
    cluster.file(&year);
    cluster.is_approved("year");
    cluster.may_approve(&["example.com/nothing"]);
    cluster.file(&Request::new("left", "/CN=left"));
    let missing = eventually("every query finds something", LIMIT, || {
        let mut empty = Vec::new();
        for query in dashboard_queries() {
            if prometheus.query(&query)?.is_empty() {
                empty.push(query);
            }
        }
        anyhow_if(empty.is_empty(), &empty.join("\n"))
    });
    missing.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.http("/metrics").unwrap()));

    // promtool has nothing to say about the metrics.
    let metrics = cluster.http("/metrics").unwrap();
    let (_, body) = metrics.split_once("\r\n\r\n").unwrap();
    let file = prometheus.directory.path().join("metrics");
    std::fs::write(&file, body).unwrap();
    let output =
        Command::new("promtool").args(["check", "metrics"]).stdin(std::fs::File::open(file).unwrap()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An audited limit that every request violates.
const AUDIT: &str = r#"{"spec":{"mode":"Audit","limits":{"expirationSeconds":{"max":600}}}}"#;
