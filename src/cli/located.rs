//! YAML and JSON with the place of every value, so that an error names file, line and column.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::panic::resume_unwind;
use std::thread;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Spanned};

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Located(Spanned<Node>);

#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

/// How many values aliases may stand for, all together.
const MAX_ALIASED: usize = 50_000;

/// How deep values may nest: definitions of resources reach half of it.
const MAX_DEPTH: usize = 64;

/// The stack that values are read on, in bytes. Each level takes some of it, without optimisation so much that what a
/// thread has by default is too little.
const STACK: usize = 16 * 1024 * 1024;

/// Every document of `text`.
pub(super) fn documents(text: &str) -> Result<Vec<Located>, (Option<Place>, String)> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse(text));
        let thread = thread.map_err(|error| (None, error.to_string()))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn parse(text: &str) -> Result<Vec<Located>, (Option<Place>, String)> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // kubectl sends yes, on and y as true: what is to be a text is in quotes.
        strict_booleans: false,
        // kubectl reads 010 as 8 and 1_000 as 1000: what can be read in two ways is no number here.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_events: 4_000_000,
            max_nodes: 4_000_000,
            max_documents: 20_000,
            max_total_scalar_bytes: 64 * 1024 * 1024,
            max_recorded_anchor_events: MAX_ALIASED,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED },
    };
    let text = &json_as_yaml(text);
    let documents: Vec<Spanned<Node>> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let place = error.location().map(|at| Place { line: at.line(), column: at.column() });
        (place, explained(error.without_snippet()))
    })?;
    Ok(documents.into_iter().filter(|document| !document.value.is_null()).map(Located).collect())
}

/// What is wrong, in a line.
fn explained(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => explained(error),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("values nest more than {MAX_DEPTH} deep")
        }
        Error::Budget {
            breach: BudgetBreach::RecordedAnchorEvents { .. } | BudgetBreach::RecordedAnchorBytes { .. },
            ..
        }
        | Error::AliasReplayLimitExceeded { .. } => {
            format!("its aliases (*) stand for more than {MAX_ALIASED} values: write out what is needed")
        }
        Error::Budget { .. } => "it has more in it than is read at once: split it".to_owned(),
        Error::DuplicateMappingKey { key: Some(key), .. }
            if ["apiVersion", "kind", "metadata"].contains(&key.as_str()) =>
        {
            format!("{key} is there twice: a second object begins after a line of ---")
        }
        _ => {
            // The first line is the message, escaped by the library; the place in it is said in front of
            // it already, and the options of the library are nothing to a reader.
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            let message = message.split(" at line ").next().unwrap_or_default();
            message.split(", set ").next().unwrap_or_default().to_owned()
        }
    }
}

/// JSON may have characters as they are that YAML (1.2.2, section 5.1) wants escaped, and names of requests
/// have them. In JSON they stand in strings only.
fn json_as_yaml(text: &str) -> Cow<'_, str> {
    let escaped =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !text.trim_start().starts_with(['{', '[']) || !text.contains(escaped) {
        return text.into();
    }
    text.chars()
        .fold(String::with_capacity(text.len()), |mut result, c| {
            if escaped(c) {
                let _ = write!(result, "\\u{:04x}", u32::from(c));
            } else {
                result.push(c);
            }
            result
        })
        .into()
}

impl Located {
    /// The value without places.
    pub(super) fn value(&self) -> Value {
        self.0.value.plain()
    }

    /// Whether it is a `List`: kinds of others may end so too, and have no items.
    pub(super) fn is_list(&self) -> bool {
        let Node::Map(entries) = &self.0.value else { return false };
        let field = |name| entries.iter().find(|(key, _)| key == name).map(|(_, value)| &value.value);
        let Some(Node::Scalar(Value::String(kind))) = field("kind") else { return false };
        kind == "List" || kind.ends_with("List") && field("items").is_some_and(|items| !items.is_null())
    }

    /// The `items` of a `List`, if they are a list.
    pub(super) fn into_items(self) -> Option<Vec<Self>> {
        let Node::Map(entries) = self.0.value else { return None };
        match entries.into_iter().find(|(key, _)| key == "items")?.1.value {
            Node::List(items) => Some(items.into_iter().map(Self).collect()),
            _ => None,
        }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        place(&self.0)
    }

    /// Where the value at `path` (`spec.match.requestors[0].groups`) stands, or the nearest one
    /// around it that is there.
    pub(super) fn place_of(&self, path: &str) -> Place {
        let mut at = &self.0;
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match &at.value {
                Node::Map(entries) => entries.iter().find(|(key, _)| key == step).map(|(_, value)| value),
                Node::List(items) => step.trim_end_matches(']').parse().ok().and_then(|index: usize| items.get(index)),
                Node::Scalar(_) => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        place(at)
    }
}

fn place(node: &Spanned<Node>) -> Place {
    Place { line: node.referenced.line(), column: node.referenced.column() }
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Value::Null))
    }

    fn plain(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(|item| item.value.plain()).collect()),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.value.plain())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map with names as keys")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(|number| Node::Scalar(number.into())).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::documents;

    #[test]
    fn every_value_has_its_place() {
        let all = documents("---\na: 1\nb:\n- x: [true, null, 1.5]\n---\n---\n\"c\": [y, \"y\"]\n").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].value(), json!({"a": 1, "b": [{"x": [true, null, 1.5]}]}));
        assert_eq!(all[0].place_of("b[0].x[2]").to_string(), "4:19");
        assert_eq!(all[0].place_of("b[0].missing").line, 4);
        assert_eq!(all[1].value(), json!({"c": [true, "y"]}));
    }

    #[test]
    fn what_nests_too_deep_is_refused_before_the_stack_ends() {
        let nested = |depth: usize| {
            [
                format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
                format!("{}1{}", "{a: ".repeat(depth), "}".repeat(depth)),
                (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
                format!("{}1", "- ".repeat(depth)),
            ]
        };
        for text in nested(super::MAX_DEPTH) {
            assert_eq!(documents(&text).unwrap().len(), 1, "{text}");
        }
        for depth in [super::MAX_DEPTH + 1, 1_000] {
            for text in nested(depth) {
                let (place, message) = documents(&text).unwrap_err();
                assert!(place.is_some() && !message.is_empty());
            }
        }
    }

    /// Ten of ten of ten…: a few lines that stand for more values than fit into any memory.
    #[test]
    fn aliases_stand_for_so_much_and_no_more() {
        let level = |(at, name): (usize, char)| {
            let below =
                if at == 0 { "x".to_owned() } else { format!("*{}", char::from(b'a' + u8::try_from(at).unwrap() - 1)) };
            format!("{name}: &{name} [{}]\n", vec![below; 10].join(", "))
        };
        let bomb = |levels: usize| ('a'..='z').enumerate().take(levels).map(level).collect::<String>();
        assert_eq!(documents(&bomb(4)).unwrap().len(), 1);
        for levels in [5, 9] {
            let (place, message) = documents(&bomb(levels)).map(|documents| documents.len()).unwrap_err();
            assert!(
                place.is_some() && message.contains("its aliases (*) stand for more than 50000 values"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_no_yaml_has_a_place_and_a_message() {
        for text in ["a: [1", "a: 1\na: 2\n", "a: b: c", "a: *unknown"] {
            let (place, message) = documents(text).unwrap_err();
            assert!(place.is_some() && !message.is_empty(), "{text:?} {message}");
        }
    }
}
