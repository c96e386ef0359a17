//! Alerts and the dashboard, as promtool sees them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testbed::Tool;

use super::{CHART, Helm, NAMESPACE, object, objects};

/// `promtool`, with what it says; it comes with Debian's package `prometheus`.
#[track_caller]
pub(crate) fn promtool(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("promtool").args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run promtool ({error}): apt-get install prometheus"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    said
}

/// The rules that the chart renders, as Prometheus reads them.
pub(crate) fn rules() -> Value {
    let set = ["--namespace", NAMESPACE, "--set=metrics.rules.enabled=true"];
    object(&Helm::new(Tool::Helm4).objects(&set), "PrometheusRule", "countersign")["spec"].clone()
}

fn alerts(rules: &Value) -> Vec<Value> {
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

/// Every query of the dashboard, with its variables filled in.
pub(crate) fn dashboard_queries() -> Vec<String> {
    let set = ["--namespace", NAMESPACE, "--set=metrics.dashboard.enabled=true"];
    let objects = Helm::new(Tool::Helm4).objects(&set);
    let text = object(&objects, "ConfigMap", "countersign-dashboard")["data"]["countersign.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    let filled = expressions.map(|text| text.replace("$__rate_interval", "1m").replace("$namespace", ".*"));
    let filled: Vec<String> = filled.collect();
    assert!(filled.len() > 15 && filled.iter().all(|text| !text.contains('$')), "{filled:?}");
    filled
}

#[test]
fn every_alert_fires_when_it_should_and_is_silent_otherwise() {
    let rules = rules();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yaml"), rules.to_string()).unwrap();
    let tests = std::fs::read_to_string(Path::new(CHART).join("tests/alerts.yaml")).unwrap();
    std::fs::write(directory.path().join("alerts.yaml"), &tests).unwrap();
    promtool(&["check", "rules", "rules.yaml"], directory.path());
    promtool(&["test", "rules", "alerts.yaml"], directory.path());

    let cases = objects(&tests).remove(0);
    let cases: Vec<&Value> = cases["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    let runbook = std::fs::read_to_string("docs/alerts.md").unwrap();
    for alert in alerts(&rules) {
        let name = alert["alert"].as_str().unwrap();
        let about = |fires: bool| {
            cases
                .iter()
                .any(|case| case["alertname"] == name && case["exp_alerts"].as_array().unwrap().is_empty() != fires)
        };
        assert!(about(true), "no case in which {name} fires");
        assert!(about(false), "no case in which {name} is silent");
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(alert["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        assert!(["info", "warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(runbook.lines().any(|line| line == format!("## {name}")), "docs/alerts.md has no section {name}");
    }
    let sections: BTreeSet<&str> =
        runbook.lines().filter_map(|line| line.strip_prefix("## Countersign").map(|_| &line[3..])).collect();
    assert_eq!(sections.len(), alerts(&rules).len(), "docs/alerts.md has a section about an alert that is not there");
}

#[test]
fn every_query_of_the_dashboard_is_one() {
    let rules: Vec<Value> = dashboard_queries().iter().map(|expr| json!({ "record": "x", "expr": expr })).collect();
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yaml"), groups.to_string()).unwrap();
    // Two queries that are the same by chance are not an error here.
    promtool(&["check", "rules", "--lint=none", "rules.yaml"], directory.path());
}
