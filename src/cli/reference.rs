//! The reference of every field, from the schema of the CRDs.

use std::fmt::Write;

use serde_json::Value;

use crate::api::schema::crds;

/// The page as Markdown.
pub(super) fn render() -> String {
    let mut out = "\
# Reference

Every field of `countersign.dev/v1alpha1`, from the CRDs: `countersign crd --reference` prints it. `kubectl explain
csrpolicy.spec` says the same in a terminal.

## Patterns

A pattern is compared with the whole of a value. It is no regular expression: every character but `*` stands for itself.

| | In `allowed` and `required` | In `denied`, and of requestors |
|---|---|---|
| `*` | one or more printable ASCII characters, no separator among them | any characters, or none |
| `**` | one or more printable ASCII characters | any characters, or none |

What separates is `:` in CN, O and OU, `.` in DNS names, `/ ? # @ :` in URIs and `@` in email addresses. In `allowed` and
`required`, what `*` and `**` stand for neither begins nor ends with a space and has no `*` in it, and of the reserved names
(`system:…`, `kubeadm:…`) a policy permits only those whose prefix its pattern spells out. DNS names, the domain of an email
address, and scheme and host of a URI compare in lower case, everything else byte for byte; `denied` compares ignoring case
and Unicode variants too.

| Pattern in `allowed` | Matches | Does not match |
|---|---|---|
| `dev:*` | `dev:amy` | `dev:`, `dev:a:b` |
| `*.dev.example.com` | `web.dev.example.com` | `dev.example.com`, `a.web.dev.example.com` |
| `**.example.com` | `a.b.example.com` | `example.com` |
| `spiffe://example.com/ns/*/sa/*` | `spiffe://example.com/ns/a/sa/b` | `spiffe://example.com/ns/a/sa/b/c` |
| `*@example.com` | `amy@EXAMPLE.com` | `amy@dev.example.com` |
"
    .to_owned();
    for crd in crds() {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let _ = write!(out, "\n## {kind}\n\n{}\n", line(&schema["description"]));
        let _ = write!(out, "\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n");
        for part in ["spec", "status"] {
            fields(&mut out, part, &schema["properties"][part]);
        }
    }
    out
}

fn fields(out: &mut String, path: &str, schema: &Value) {
    let default = match &schema["default"] {
        Value::Null => String::new(),
        value => format!("`{}`", value.to_string().trim_matches('"')),
    };
    let _ = writeln!(out, "| `{path}` | {} | {default} | {} |", type_of(schema), line(&schema["description"]));
    let items = &schema["items"];
    let (path, inner) =
        if items["properties"].is_object() { (format!("{path}[]"), items) } else { (path.to_owned(), schema) };
    for (name, field) in inner["properties"].as_object().into_iter().flatten() {
        fields(out, &format!("{path}.{name}"), field);
    }
}

fn type_of(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "integer" => {
            let bound = |value: &Value| value.as_f64().map(|number| format!("{number:.0}"));
            match (bound(&schema["minimum"]), bound(&schema["maximum"])) {
                (Some(min), Some(max)) => format!("integer, {min} to {max}"),
                (Some(min), None) => format!("integer from {min}"),
                (None, Some(max)) => format!("integer to {max}"),
                (None, None) => "integer".to_owned(),
            }
        }
        other => other.to_owned(),
    }
}

/// A description in one line of a table.
fn line(description: &Value) -> String {
    let text = description.as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
