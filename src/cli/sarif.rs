//! Findings as SARIF 2.1.0 (OASIS), which code review tools show beside the lines.

use serde_json::{Value, json};

use super::lint::{Finding, MISTAKE};
use crate::policy::{HazardCode, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(findings: &[Finding]) -> serde_json::Result<String> {
    let level = |code: Option<HazardCode>| match code.map(HazardCode::severity) {
        None | Some(Severity::High) => "error",
        Some(Severity::Warning) => "warning",
        Some(Severity::Info) => "note",
    };
    let rule = |id: &str, text: &str, level: &str| json!({ "id": id, "shortDescription": { "text": text }, "defaultConfiguration": { "level": level } });
    let hazards = HazardCode::ALL.iter().map(|code| {
        let text = format!("Instead: {}.", code.instead());
        rule(code.as_str(), &text, level(Some(*code)))
    });
    let rules: Vec<Value> =
        [rule(MISTAKE, "The object cannot be Ready.", "error")].into_iter().chain(hazards).collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let instead = finding.hazard.map(|code| format!(" Instead: {}.", code.instead())).unwrap_or_default();
            json!({
                "ruleId": finding.code(),
                "level": level(finding.hazard),
                "message": { "text": format!("{} {}: {}: {}.{instead}", finding.kind, finding.name, finding.path, finding.message) },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": finding.file },
                    "region": { "startLine": finding.place.line.max(1), "startColumn": finding.place.column.max(1) },
                } }],
            })
        })
        .collect();
    let driver = json!({
        "name": "countersign",
        "version": env!("CARGO_PKG_VERSION"),
        "informationUri": "https://github.com/countersign/countersign",
        "rules": rules,
    });
    let report = json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [{ "tool": { "driver": driver }, "results": results }] });
    Ok(crate::escape::json(serde_json::to_string_pretty(&report)?) + "\n")
}
