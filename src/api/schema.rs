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

/// `null` is not a value of any field: a field is stated or it is not there. Yet every field of `spec` is nullable: what is
/// not, the API server drops where it is null, without a word, and `denied:` with nothing behind it would be as if it had
/// never been written. So it is kept, and the object is not Ready. (A client-side `kubectl apply` drops it before that.)
///
/// No field of `spec` is `required` either: a rule in CEL says what to write where one is missing,
/// and the API server evaluates no rule of an object that lacks a required field.
fn crd(definition: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(definition).unwrap_or_default();
    remove_nullable(&mut value);
    remove_unsigned_formats(&mut value);
    if let Some(spec) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec") {
        remove_required(spec);
        fields_are_nullable(spec);
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

fn fields_are_nullable(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for field in properties.values_mut() {
            field["nullable"] = true.into();
            fields_are_nullable(field);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        fields_are_nullable(items);
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
    let mut checker = Checker { root: schema_of_spec(kind), problems: Vec::new() };
    checker.value("spec", spec, checker.root);
    checker.problems
}

/// What to write instead of the field at `path`, which is beside `spec` and not in it.
#[must_use]
pub fn beside_spec(kind: Kind, path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let unknown = "Kubernetes knows no such field here, and drops it";
    let spec = schema_of_spec(kind);
    if spec["properties"].get(name).is_some() {
        format!("{unknown}: it belongs below spec, indented by two spaces")
    } else if let Some(places) = elsewhere(spec, name) {
        format!("{unknown}; did you mean {places}?")
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

/// Holds values against the schema of `spec`.
struct Checker {
    root: &'static Value,
    problems: Vec<Problem>,
}

impl Checker {
    fn report(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into() });
    }

    fn value(&mut self, path: &str, value: &Value, schema: &Value) {
        let expected = schema["type"].as_str().unwrap_or_default();
        if type_of(value) != expected {
            let is_expression = path.ends_with(".expression");
            let message =
                if is_expression { unquoted(value) } else { wrong_type(value, expected, &schema["properties"]) };
            return self.report(path, message);
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = format!("{path}.{}", field_name(name));
                    match schema["properties"].get(name) {
                        Some(schema) => self.value(&path, value, schema),
                        None => self.report(path, unknown_field(name, &schema["properties"], self.root)),
                    }
                }
            }
            Value::Array(items) => {
                let number = items.len() as u64;
                if let Some(max) = schema["maxItems"].as_u64().filter(|max| number > *max) {
                    self.report(
                        path,
                        format!("it has {number} items, and at most {max} are possible: split the object"),
                    );
                }
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, &schema["items"]);
                }
            }
            Value::String(text) => self.string(path, text, schema),
            Value::Number(number) => {
                let number = number.as_i64().unwrap_or(i64::MAX);
                let max = if schema["format"] == "int32" { i64::from(i32::MAX) } else { i64::MAX };
                let max = bound(&schema["maximum"]).unwrap_or(max);
                if let Some(min) = bound(&schema["minimum"]).filter(|min| number < *min) {
                    self.report(path, format!("{number} is below the least value, {min}"));
                }
                if number > max {
                    self.report(path, format!("{number} is above the greatest value, {max}"));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn string(&mut self, path: &str, text: &str, schema: &Value) {
        let length = text.chars().count() as u64;
        if let Some(values) = schema["enum"].as_array()
            && !values.iter().any(|value| value == text)
        {
            let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let nearest = nearest(text, known.iter().copied());
            let hint = nearest.map(|nearest| format!("did you mean {nearest:?}? ")).unwrap_or_default();
            let known = known.join(", ");
            self.report(path, format!("{text:?} is not a value of this field; {hint}possible are {known}"));
        }
        if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            let message = match length {
                0 => "an empty text matches nothing: remove it".to_owned(),
                _ => format!("it has {length} characters, and at least {min} are needed"),
            };
            self.report(path, message);
        }
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            self.report(path, format!("it has {length} characters, and at most {max} are possible"));
        }
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
        (Value::Number(number), "integer") => {
            // 3600.0, but not 3600.5.
            let whole = number.to_string().strip_suffix(".0").map(|whole| format!("write {whole}"));
            format!("a whole number is needed: {}", whole.as_deref().unwrap_or("write it without a fraction"))
        }
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

/// What stands for an expression where its quotes are missing.
fn unquoted(value: &Value) -> String {
    let reads = match value {
        Value::Null => "what begins with ! for a tag, and what begins with # for a comment".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("this for {value}"),
        Value::Array(_) | Value::Object(_) | Value::String(_) => "brackets and braces for lists and objects".to_owned(),
    };
    format!("an expression is a text: put it into quotes, because YAML takes {reads}")
}

/// The field that takes a list which somebody wrote in the place of the object.
fn wraps(properties: &Value) -> Option<&'static str> {
    ["allowed", "groups"].into_iter().find(|field| properties.get(field).is_some())
}

/// What somebody means who writes `24h`, `1h30m`, `60*60` or `"3600"` for a number of seconds.
fn in_seconds(text: &str) -> Option<u32> {
    text.split('*').try_fold(1_u32, |product, factor| product.checked_mul(duration_in_seconds(factor.trim())?))
}

fn duration_in_seconds(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (mut rest, mut seconds) = (text, 0_u32);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            "w" => 7 * 24 * 60 * 60,
            _ => return None,
        };
        seconds = seconds.checked_add(number.parse::<u32>().ok()?.checked_mul(factor)?)?;
        rest = after;
    }
    (seconds > 0).then_some(seconds)
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

fn unknown_field(name: &str, properties: &Value, root: &Value) -> String {
    let known: Vec<&str> = properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if known.contains(&"expression") && !name.chars().all(char::is_alphanumeric) {
        return "this looks like a part of the expression: put the whole of it into quotes, because YAML takes a comma \
                between braces for its end"
            .to_owned();
    }
    let other_name = OTHER_NAMES.iter().find(|(other, field)| *other == name && known.contains(field));
    let meant = other_name.map(|(_, field)| (*field).to_owned());
    let meant = meant.or_else(|| elsewhere(root, name));
    match meant.or_else(|| nearest(name, known.iter().copied()).map(str::to_owned)) {
        Some(meant) => format!("this version does not know the field; did you mean {meant}?"),
        None => format!("this version does not know the field; here it knows {}", known.join(", ")),
    }
}

/// Where in `spec` there is a field of this name, unless that is almost everywhere.
fn elsewhere(spec: &Value, name: &str) -> Option<String> {
    let mut places = Vec::new();
    find(spec, "spec", name, &mut places);
    let depth = |place: &String| place.matches('.').count();
    let least = places.iter().map(depth).min()?;
    places.retain(|place| depth(place) == least);
    (places.len() <= 2).then(|| places.join(" or "))
}

fn find(schema: &Value, path: &str, name: &str, places: &mut Vec<String>) {
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{field}");
        if field == name {
            places.push(path.clone());
        }
        find(schema, &path, name, places);
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
