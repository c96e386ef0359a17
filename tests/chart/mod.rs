//! The chart, with Helm 3 and Helm 4.

mod generated;
mod lifecycle;
pub(crate) mod monitoring;
mod rendering;
mod rights;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testbed::{Kubectl, Tool};

const CHART: &str = "charts/countersign";
/// The namespace that the tests install into.
const NAMESPACE: &str = "countersign-system";
const BOTH: [Tool; 2] = [Tool::Helm3, Tool::Helm4];

/// Helm, perhaps with a cluster.
struct Helm {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    // Its caches and settings go nowhere else.
    home: tempfile::TempDir,
}

impl Helm {
    fn new(tool: Tool) -> Self {
        Self { program: tool.path().unwrap(), kubeconfig: None, home: tempfile::tempdir().unwrap() }
    }

    fn on(tool: Tool, kubectl: &Kubectl) -> Self {
        Self { kubeconfig: Some(kubectl.kubeconfig().to_owned()), ..Self::new(tool) }
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        for directory in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(directory, self.home.path());
        }
        command.env("HELM_NAMESPACE", NAMESPACE);
        match &self.kubeconfig {
            Some(path) => command.env("KUBECONFIG", path),
            None => command.env("KUBECONFIG", "/dev/null"),
        };
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {}: {errors}", self.program.display(), arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it refuses.
    #[track_caller]
    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "not refused: {}", arguments.join(" "));
        String::from_utf8(output.stderr).unwrap()
    }

    /// The text of `helm template` with further arguments.
    #[track_caller]
    fn template(&self, arguments: &[&str]) -> String {
        // Helm cannot know the version of a cluster that it does not talk to.
        let all = ["template", "countersign", CHART, "--kube-version=1.36.0"];
        self.run(&[&all[..], arguments].concat())
    }

    #[track_caller]
    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        objects(&self.template(arguments))
    }
}

/// What the chart renders with these arguments.
#[track_caller]
pub(crate) fn manifests(arguments: &[&str]) -> String {
    Helm::new(Tool::Helm4).template(arguments)
}

/// The documents of a text in YAML.
#[track_caller]
fn objects(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 1_000_000, max_nodes: 1_000_000 },
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The one object of this kind and name.
#[track_caller]
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let object = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two {kind} {name}");
    object
}

/// The arguments of each entry of the matrix: the defaults, and every file of values beside the chart.
fn matrix() -> Vec<Vec<String>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(Path::new(CHART).join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files = files.into_iter().map(|file| vec![format!("--values={}", file.display())]);
    let monitoring = "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true,metrics.rules.enabled=true,\
                      metrics.dashboard.enabled=true";
    let sets = ["admissionPolicy.enabled=true", "networkPolicy.egress.enabled=true", "log.format=text", monitoring];
    let sets = sets.into_iter().map(|set| vec![format!("--set={set}")]);
    [vec![]].into_iter().chain(files).chain(sets).collect()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
