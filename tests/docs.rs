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
