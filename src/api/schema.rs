//! The CRDs, and the schema that objects are held against without an API server.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{CSRGuardrail, CSRPolicy};
use crate::escape::{cut, one_line};
use crate::nearest::nearest;
use crate::policy::{Kind, Problem};

/// The definitions of both kinds, in the order in which `countersign crd` prints them.
#[must_use]
pub fn crds() -> [Value; 2] {
    [crd(&CSRPolicy::crd()), crd(&CSRGuardrail::crd())]
}

/// `null` is not a value of any field: a field is stated or it is not there. So no field is
/// nullable, and the API server refuses `allowed:` with nothing behind it.
///
/// No field of `spec` is `required` either: a rule in CEL says what to write where one is missing,
/// and the API server evaluates no rule of an object that lacks a required field.
fn crd(definition: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(definition).unwrap_or_default();
    remove_nullable(&mut value);
    remove_unsigned_formats(&mut value);
    if let Some(spec) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec") {
        remove_required(spec);
    }
    value
}

/// Kubernetes knows no unsigned formats, and warns of them; `minimum` says the same.
fn remove_unsigned_formats(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|key, value| {
                key != "format" || !value.as_str().is_some_and(|format| format.starts_with("uint"))
            });
            object.values_mut().for_each(remove_unsigned_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_unsigned_formats),
        _ => {}
    }
}

fn remove_required(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(remove_required);
    }
    if let Some(items) = schema.get_mut("items") {
        remove_required(items);
    }
}

fn remove_nullable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| !(key == "nullable" && value.is_boolean()));
            map.values_mut().for_each(remove_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nullable),
        _ => {}
    }
}

/// Holds the `spec` of an object of kind `kind` against the schema: types, bounds, enumerations and
/// fields that this version does not know, all of them, each with its place. What the CRD says in
/// CEL is not looked at here; compiling enforces it.
#[must_use]
pub fn check(kind: Kind, spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_value("spec", spec, schema_of_spec(kind), &mut problems);
    problems
}

/// What to write instead of the field at `path`, which is beside `spec` and not in it.
#[must_use]
pub fn beside_spec(kind: Kind, path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let unknown = "Kubernetes knows no such field here, and drops it";
    if schema_of_spec(kind)["properties"].get(name).is_some() {
        format!("{unknown}: it belongs below spec, indented by two spaces")
    } else {
        format!("{unknown}: remove it")
    }
}

/// The schema of `spec` as the CRD states it.
#[must_use]
pub fn schema_of_spec(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<[Value; 2]> = LazyLock::new(|| {
        crds().map(|crd| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone())
    });
    match kind {
        Kind::CSRPolicy => &SCHEMAS[0],
        Kind::CSRGuardrail => &SCHEMAS[1],
    }
}

/// A bound of a number, which the schema writes with a fraction: `600.0`.
fn bound(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| format!("{:.0}", value.as_f64()?).parse().ok())
}

fn check_value(path: &str, value: &Value, schema: &Value, problems: &mut Vec<Problem>) {
    let mut report = |path: &str, message: String| problems.push(Problem { path: path.to_owned(), message });
    let expected = schema["type"].as_str().unwrap_or_default();
    if type_of(value) != expected {
        return report(path, wrong_type(value, expected, &schema["properties"]));
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{}", field_name(name));
                match schema["properties"].get(name) {
                    Some(schema) => check_value(&path, value, schema, problems),
                    None => problems.push(Problem { path, message: unknown_field(name, &schema["properties"]) }),
                }
            }
        }
        Value::Array(items) => {
            if let Some(max) = schema["maxItems"].as_u64()
                && items.len() as u64 > max
            {
                report(path, format!("it has {} items, and at most {max} are possible: split the object", items.len()));
            }
            for (index, item) in items.iter().enumerate() {
                check_value(&format!("{path}[{index}]"), item, &schema["items"], problems);
            }
        }
        Value::String(text) => check_string(path, text, schema, problems),
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or(i64::MAX);
            let max = if schema["format"] == "int32" { i64::from(i32::MAX) } else { i64::MAX };
            let max = bound(&schema["maximum"]).unwrap_or(max);
            if let Some(min) = bound(&schema["minimum"])
                && number < min
            {
                report(path, format!("{number} is below the least value, {min}"));
            }
            if number > max {
                report(path, format!("{number} is above the greatest value, {max}"));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_string(path: &str, text: &str, schema: &Value, problems: &mut Vec<Problem>) {
    let mut report = |message: String| problems.push(Problem { path: path.to_owned(), message });
    let length = text.chars().count() as u64;
    if let Some(values) = schema["enum"].as_array()
        && !values.iter().any(|value| value == text)
    {
        let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let nearest = nearest(text, known.iter().copied());
        let hint = nearest.map(|nearest| format!("did you mean {nearest:?}? ")).unwrap_or_default();
        report(format!("{text:?} is not a value of this field; {hint}possible are {}", known.join(", ")));
    }
    if let Some(min) = schema["minLength"].as_u64()
        && length < min
    {
        report(if length == 0 {
            "an empty text matches nothing: remove it".to_owned()
        } else {
            format!("it has {length} characters, and at least {min} are needed")
        });
    }
    if let Some(max) = schema["maxLength"].as_u64()
        && length > max
    {
        report(format!("it has {length} characters, and at most {max} are possible"));
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, expected: &str, properties: &Value) -> String {
    match (value, expected) {
        (Value::Null, _) => "there is nothing behind it: state a value, or remove the field".to_owned(),
        (Value::String(text), "array") => format!("a list is needed, not a text: write [{text:?}]"),
        (Value::String(text), "integer") => match in_seconds(text) {
            Some(number) => format!("a whole number is needed, not a text: write {number}, without quotes or unit"),
            None => "a whole number is needed, not a text: write, for example, 2592000".to_owned(),
        },
        (Value::Number(_), "string") => format!("a text is needed: put {value} into quotes"),
        // It may be written as yes, on or y.
        (Value::Bool(_), "string") => format!("a text is needed, and YAML reads this as {value}: put it into quotes"),
        (Value::String(_) | Value::Array(_), "object") if wraps(properties).is_some() => {
            let list = if value.is_array() { value.to_string() } else { format!("[{value}]") };
            let list = one_line(&cut(&list, 200));
            let field = wraps(properties).unwrap_or_default();
            format!("an object with fields is needed: write {{ {field}: {list} }}")
        }
        (_, "object") => format!("an object with fields is needed, not {}", with_article(type_of(value))),
        (_, "array") => format!("a list is needed, not {}", with_article(type_of(value))),
        _ => format!("{} is needed, not {}", with_article(expected), with_article(type_of(value))),
    }
}

/// The field that takes a list which somebody wrote in the place of the object.
fn wraps(properties: &Value) -> Option<&'static str> {
    ["allowed", "groups"].into_iter().find(|field| properties.get(field).is_some())
}

/// What somebody means who writes `24h`, `30d` or `"3600"` for a number of seconds.
fn in_seconds(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(factor)
}

fn with_article(name: &str) -> String {
    if name.starts_with(['a', 'e', 'i', 'o', 'u']) { format!("an {name}") } else { format!("a {name}") }
}

/// What people call a field who know it from elsewhere, and its name here.
const OTHER_NAMES: [(&str, &str); 15] = [
    ("allow", "limits"),
    ("limits", "allow"),
    ("patterns", "allowed"),
    ("values", "allowed"),
    ("cn", "commonName"),
    ("name", "commonName"),
    ("o", "organizations"),
    ("groups", "organizations"),
    ("ou", "organizationalUnits"),
    ("sans", "dnsNames"),
    ("subjectAltNames", "dnsNames"),
    ("ips", "ipAddresses"),
    ("ttl", "expirationSeconds"),
    ("duration", "expirationSeconds"),
    ("validity", "expirationSeconds"),
];

fn unknown_field(name: &str, properties: &Value) -> String {
    let known: Vec<&str> = properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let other_name = OTHER_NAMES.iter().find(|(other, field)| *other == name && known.contains(field));
    match other_name.map(|(_, field)| *field).or_else(|| nearest(name, known.iter().copied())) {
        Some(nearest) => format!("this version does not know the field; did you mean {nearest}?"),
        None => format!("this version does not know the field; here it knows {}", known.join(", ")),
    }
}

/// A field's name is the author's text: escape and cut it before it becomes part of a path.
fn field_name(name: &str) -> String {
    if name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        name.to_owned()
    } else {
        format!("[{:?}]", crate::escape::printable(&name.chars().take(64).collect::<String>()))
    }
}
