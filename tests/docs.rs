//! The docs say what the program does.

use std::collections::BTreeSet;

use countersign::request::DecodeCode;
use countersign::review::{ReasonCode, ViolationCode};

#[test]
fn every_code_stands_in_the_table_once() {
    let docs = std::fs::read_to_string("docs/codes.md").unwrap();
    let rows: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut codes: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    codes.extend(ViolationCode::ALL.iter().map(|code| code.as_str()));
    codes.extend(DecodeCode::ALL.iter().map(|code| code.as_str()));
    assert_eq!(rows.len(), codes.len());
    let set = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(set(&rows), set(&codes));
    // A violation and a refusal never share a code, whatever a reason may be called.
    let violations = ViolationCode::ALL.iter().map(|code| code.as_str());
    let all: Vec<&str> = violations.chain(DecodeCode::ALL.iter().map(|code| code.as_str())).collect();
    assert_eq!(set(&all).len(), all.len());
}

#[test]
fn every_log_line_is_explained() {
    let docs = std::fs::read_to_string("docs/troubleshooting.md").unwrap().replace("\\|", "|");
    let mut messages = 0;
    let entries = ["src/controller", "src/controller/engine"].map(|directory| std::fs::read_dir(directory).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.is_file()) {
        let source = std::fs::read_to_string(&path).unwrap();
        for call in ["tracing::info!(", "tracing::warn!(", "tracing::error!("] {
            for (_, rest) in source.match_indices(call).map(|(at, _)| source[at..].split_at(call.len())) {
                // The message is the last literal of the call.
                let arguments = rest.split(");").next().unwrap();
                let message = arguments.rsplit('"').nth(1).unwrap();
                let shown = path.display();
                assert!(
                    docs.contains(&format!("`{message}`")),
                    "{shown}: {message:?} is not in docs/troubleshooting.md"
                );
                messages += 1;
            }
        }
    }
    assert!(messages > 15, "{messages}");
}

#[test]
fn every_reason_for_leaving_a_request_is_explained() {
    let docs = std::fs::read_to_string("docs/troubleshooting.md").unwrap();
    let decided = [ReasonCode::SystemMasters, ReasonCode::PolicySatisfied];
    for code in ReasonCode::ALL.iter().filter(|code| !decided.contains(code)) {
        assert!(docs.contains(&format!("| `{}` |", code.as_str())), "{}", code.as_str());
    }
}

/// Links between the documents, and to headings in them.
#[test]
fn no_link_is_broken() {
    let mut files: Vec<std::path::PathBuf> =
        std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(["README.md", "SECURITY.md", "charts/countersign/README.md"].map(Into::into));
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(file).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(path.exists(), "{}: {target} is not there", file.display());
            if !fragment.is_empty() {
                let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                let found = std::fs::read_to_string(&path)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line) == fragment);
                assert!(found, "{}: {target} has no such heading", file.display());
            }
        }
    }
}

#[test]
fn every_hazard_stands_in_the_table_as_it_is() {
    use countersign::policy::HazardCode;
    let docs = std::fs::read_to_string("docs/hazards.md").unwrap();
    let table = docs.split("| Code |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), HazardCode::ALL.len());
    for (row, code) in rows.iter().zip(HazardCode::ALL) {
        assert_eq!(row[0], format!("`{}`", code.as_str()));
        assert_eq!(row[1], code.severity().as_str());
        assert_eq!(row[3], code.instead());
    }
}

#[test]
fn patterns_match_what_the_reference_says() {
    use countersign::policy::{Field, Pattern};
    let docs = std::fs::read_to_string("docs/reference.md").unwrap();
    let table = docs.split("| Pattern in `allowed` |").nth(1).unwrap().split("\n\n").next().unwrap();
    let texts = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut compared = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<Vec<String>> = row.trim_matches('|').split('|').map(texts).collect();
        let field = match cells[0][0].as_str() {
            uri if uri.contains("://") => Field::Uri,
            email if email.contains('@') => Field::EmailAddress,
            name if name.contains('.') => Field::DnsName,
            _ => Field::Identity,
        };
        let pattern = Pattern::new(&cells[0][0], field).unwrap();
        for (cell, matches) in [(&cells[1], true), (&cells[2], false)] {
            for value in cell {
                assert_eq!(pattern.matches(value, false), matches, "{row}: {value}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn every_alarm_of_inspect_stands_in_the_table() {
    let docs = std::fs::read_to_string("docs/inspect.md").unwrap();
    let rows: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let rows = rows.into_iter().filter(|code| code.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["inspect", "--ignore=no-such-code", "x"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let known = error.split("[possible values: ").nth(1).unwrap().split(']').next().unwrap();
    assert_eq!(rows.filter(|row| *row != "now").collect::<Vec<_>>(), known.split(", ").collect::<Vec<_>>());
}

#[test]
fn every_function_of_expressions_is_listed() {
    let docs = std::fs::read_to_string("docs/expressions.md").unwrap();
    let functions = countersign::policy::expression_functions();
    for name in &functions {
        assert!(docs.contains(&format!("`{name}`")), "{name}");
    }
    let section = docs.split("## What they may call").nth(1).unwrap().split("## Bounds").next().unwrap();
    let listed: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    for name in listed {
        assert!(functions.contains(&name), "{name} is listed and not there");
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let security = std::fs::read_to_string("SECURITY.md").unwrap();
    let table = security.split("## Attacks").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Attack |"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (mut sources, mut directories) = (String::new(), vec!["src".into(), "tests".into()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir::<std::path::PathBuf>(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let is_test = |name: &str| {
        let found = sources.split_once(&format!("fn {name}("));
        let says_so = |line: &str| line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test");
        found.is_some_and(|(before, _)| before.lines().rev().take(3).any(says_so))
    };
    let mut named = 0;
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let tests: Vec<&str> = row[3].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{}: no test", row[0]);
        for name in tests {
            assert!(is_test(name), "{}: {name} is no test", row[0]);
            named += 1;
        }
    }
    assert!(rows.len() > 15 && named > 25, "{} rows, {named} tests", rows.len());
}
