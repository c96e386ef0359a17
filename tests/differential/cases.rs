//! The fixed corpus: every case that somebody ever found, here or elsewhere, each with what is made of it.
//!
//! To add one, put the request, as the API server would get it, into `tests/corpus/cases` (a run of the comparison that fails
//! says where it keeps its request), with a name that says what is wrong with it. The test then says the line that
//! `READINGS` lacks: check it, and add it.

use std::collections::BTreeMap;

use countersign::request::{Envelope, SigningRequest};

use super::compare::compare;
use super::go::{Context, Go};
use super::hostile::Expect;

const DIRECTORY: &str = "tests/corpus/cases";

/// What is made of a request: `decodes` or why it is refused, `masters` where it asks for `system:masters`, and what Go does.
fn reading(go: &mut Go, pem: &[u8]) -> Result<String, String> {
    let context = Context {
        usages: ["client auth", "digital signature", "key encipherment"].map(str::to_owned).to_vec(),
        signer: "kubernetes.io/kube-apiserver-client".to_owned(),
        expiration_seconds: Some(86_400),
    };
    let envelope = Envelope {
        signer_name: context.signer.clone(),
        usages: context.usages.clone(),
        expiration_seconds: context.expiration_seconds,
        ..Envelope::default()
    };
    let request = SigningRequest::decode(envelope, pem);
    let here = match compare(go, pem, &context, Expect::Agreement)? {
        Ok(_) => "decodes",
        Err(code) => code.as_str(),
    };
    let masters = if request.asks_for_masters { " masters" } else { "" };
    let reading = go.read(pem, &context, false);
    let there = if reading.refused.is_empty() && reading.unread.is_empty() { "reads" } else { "refuses" };
    Ok(format!("{here}{masters}, Go {there}"))
}

#[test]
fn every_case_ever_found_is_read_as_it_was() {
    let stated = std::fs::read_to_string(format!("{DIRECTORY}/READINGS")).unwrap();
    let lines = stated.lines().filter(|line| !line.starts_with('#'));
    let mut stated: BTreeMap<&str, &str> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let mut go = Go::start();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(DIRECTORY).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".csr") else { continue };
        match reading(&mut go, &std::fs::read(&path).unwrap()) {
            Ok(reading) if stated.remove(name) == Some(&reading) => {}
            Ok(reading) => wrong.push(format!("{name}: {reading}")),
            Err(why) => wrong.push(format!("{name} IS WRONG: {why}")),
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "these are not the lines of READINGS:\n{}", wrong.join("\n"));
    assert!(stated.is_empty(), "there are no such cases: {stated:?}");
}
