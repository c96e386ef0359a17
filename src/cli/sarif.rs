//! Findings as SARIF 2.1.0 (OASIS), which code review tools show beside the lines.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::lint::{Finding, MISTAKE};
use super::located::Place;
use super::problem::Problem;
use crate::policy::{HazardCode, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(findings: &[Finding], problems: &[Problem]) -> serde_json::Result<String> {
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
                "locations": [location(&finding.file, Some(finding.place))],
            })
        })
        .collect();
    let notifications: Vec<Value> = problems
        .iter()
        .map(|problem| {
            json!({
                "level": "error",
                "message": { "text": problem.message },
                "locations": [location(&problem.source, problem.place)],
            })
        })
        .collect();
    let invocation = json!({
        "executionSuccessful": problems.is_empty(),
        "toolExecutionNotifications": notifications,
    });
    let driver = json!({
        "name": "countersign",
        "version": env!("CARGO_PKG_VERSION"),
        "informationUri": "https://github.com/countersign/countersign",
        "rules": rules,
    });
    let run = json!({ "tool": { "driver": driver }, "invocations": [invocation], "results": results });
    let report = json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] });
    Ok(crate::escape::json(serde_json::to_string_pretty(&report)?) + "\n")
}

/// What does not stand for itself in the path of a URI (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A `location` object, which begins to count at 1.
fn location(file: &str, place: Option<Place>) -> Value {
    let uri = utf8_percent_encode(file, ESCAPED).to_string();
    let mut location = json!({ "artifactLocation": { "uri": uri } });
    if let Some(place) = place {
        location["region"] = json!({ "startLine": place.line.max(1), "startColumn": place.column.max(1) });
    }
    json!({ "physicalLocation": location })
}
