//! `examples/fields` has, for every field of the API, a suite with a request that it approves and one that it does
//! not, which fails when the field is taken away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Ended, countersign};

/// What is said to people and decides nothing.
const TEXTS: [&str; 2] = ["spec.allow.validations[].message", "spec.limits.validations[].message"];

#[test]
fn every_field_of_the_api_has_a_suite_that_hangs_on_it() {
    let mut missing = BTreeSet::<String>::new();
    for kind in ["csrpolicies", "csrguardrails"] {
        let crd = fs::read_to_string(format!("crds/{kind}.countersign.dev.yaml")).unwrap();
        let crd: Value = serde_saphyr::from_str(&crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = Vec::new();
        fields_of(spec, "spec", &mut fields);
        missing.extend(fields.into_iter().map(|field| format!("{kind} {field}")));
    }
    missing.retain(|field| !TEXTS.iter().any(|text| field.ends_with(text)));
    assert!(missing.len() > 100, "{}", missing.len());

    let directory = tempfile::tempdir().unwrap();
    let requests = fs::canonicalize("examples/fields/requests").unwrap();
    std::os::unix::fs::symlink(requests, directory.path().join("requests")).unwrap();
    for path in
        fs::read_dir("examples/fields").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&path).unwrap()).unwrap();
        let (suite, objects) = documents.split_last().unwrap();
        let decisions: BTreeSet<&str> =
            suite["tests"].as_array().unwrap().iter().filter_map(|test| test["expect"]["decision"].as_str()).collect();
        if !decisions.contains("Approve") || decisions.len() < 2 {
            continue;
        }
        let copy = directory.path().join(path.file_name().unwrap());
        for (index, object) in objects.iter().enumerate() {
            let kind = object["kind"].as_str().unwrap();
            let mut stated = Vec::new();
            places_of(&object["spec"], "spec", "/spec", &mut stated);
            for (field, place) in stated {
                let wanted = format!("{kind} {field}");
                if missing.contains(&wanted) && hangs_on(&documents, index, &place, &copy) {
                    missing.remove(&wanted);
                }
            }
        }
    }
    assert!(missing.is_empty(), "no suite of examples/fields hangs on these: {missing:#?}");
}

/// The fields under a schema that have no fields of their own.
fn fields_of(schema: &Value, path: &str, fields: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            fields_of(schema, &format!("{path}.{name}"), fields);
        }
    } else if schema["items"]["properties"].is_object() {
        fields_of(&schema["items"], &format!("{path}[]"), fields);
    } else {
        fields.push(path.to_owned());
    }
}

/// The fields that an object states, each with its place as a JSON pointer (RFC 6901).
fn places_of(value: &Value, path: &str, place: &str, found: &mut Vec<(String, String)>) {
    if let Some(fields) = value.as_object() {
        for (name, value) in fields {
            places_of(value, &format!("{path}.{name}"), &format!("{place}/{name}"), found);
        }
    } else if let Some(list) = value.as_array().filter(|list| list.first().is_some_and(Value::is_object)) {
        for (index, value) in list.iter().enumerate() {
            places_of(value, &format!("{path}[]"), &format!("{place}/{index}"), found);
        }
    } else {
        found.push((path.to_owned(), place.to_owned()));
    }
}

/// Whether the suite, which is the last of `documents`, fails without what is at `place` of one of them.
fn hangs_on(documents: &[Value], index: usize, place: &str, copy: &Path) -> bool {
    let mut documents = documents.to_vec();
    let (parent, name) = place.rsplit_once('/').unwrap();
    documents[index].pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    let texts: Vec<String> = documents.iter().map(Value::to_string).collect();
    fs::write(copy, texts.join("\n---\n")).unwrap();
    let Ended(status, out, err) = countersign(&["test", copy.to_str().unwrap()], b"");
    assert!(status < 2, "{place}: {out}{err}");
    status == 1
}
