//! Policies and guardrails as an API server sends them: only what is needed of them is read, so that nothing else in
//! the object can make it unreadable, and so much of it as there can be in one.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Kind, PolicyObject};
use crate::bounded::Bounded;

/// The most values that a `spec` consists of: the schemas let there be 8,068.
const MAX_SPEC_VALUES: usize = 10_000;

/// The most values that a `status` consists of: the schemas let there be 316.
const MAX_STATUS_VALUES: usize = 1_000;

/// A policy or a guardrail as the API server has it.
#[derive(Debug, Clone)]
pub struct ServedPolicy {
    /// The object, not yet compiled.
    pub object: PolicyObject,
    /// `status`; null also where it is larger than any that there can be.
    pub status: Value,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What is read of one, before it is known which kind it is of: not `managedFields`, which whoever writes the object can
/// nest so deep that no parser follows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadPolicy {
    #[serde(default)]
    api_version: Bounded<1>,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Bounded<MAX_SPEC_VALUES>>,
    #[serde(default)]
    status: Bounded<MAX_STATUS_VALUES>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Bounded<1>,
    uid: Bounded<1>,
    generation: Bounded<1>,
    resource_version: Bounded<1>,
    deletion_timestamp: Bounded<1>,
}

impl ServedPolicy {
    /// The object of kind `kind` that `unread` is.
    #[must_use]
    pub fn new(kind: Kind, unread: UnreadPolicy) -> Self {
        let UnreadPolicy { api_version, metadata, spec, status } = unread;
        // What was not kept is there, and is not what it should be.
        let odd = || json!({});
        let mut value = json!({
            "apiVersion": api_version.kept().unwrap_or_else(odd),
            "metadata": {
                "name": metadata.name.text(),
                "uid": metadata.uid.text(),
                "generation": metadata.generation.kept().unwrap_or_else(odd),
                "deletionTimestamp": metadata.deletion_timestamp.kept().unwrap_or_else(odd),
            },
        });
        let spec = spec.map(Bounded::kept);
        let too_large = spec == Some(None);
        if let Some(spec) = spec {
            value["spec"] = spec.unwrap_or_default();
        }
        let object = PolicyObject { too_large, ..PolicyObject::new(kind, value) };
        Self { object, status: status.kept().unwrap_or_default(), resource_version: metadata.resource_version.text() }
    }

    /// An item of a list, which does not say what it is.
    #[must_use]
    pub fn of_list(kind: Kind, unread: UnreadPolicy) -> Self {
        let mut served = Self::new(kind, unread);
        served.object.known_version = true;
        served
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_SPEC_VALUES, ServedPolicy};
    use crate::api::API_VERSION;
    use crate::policy::{Compiled, Kind};

    fn served(value: &Value) -> ServedPolicy {
        ServedPolicy::new(Kind::CSRGuardrail, serde_json::from_str(&value.to_string()).unwrap())
    }

    #[test]
    fn what_is_there_is_read_whatever_it_is() {
        let read = served(&json!({
            "apiVersion": API_VERSION,
            "kind": "CSRGuardrail",
            "metadata": {
                "name": "cap", "uid": "u", "generation": 3, "resourceVersion": "7", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{ "time": "9999-12-31T23:59:59Z", "fieldsV1": { "f:spec": [[[[]]]] } }],
            },
            "spec": { "mode": "Audit" },
            "status": { "conditions": [] },
        }));
        let object = &read.object;
        assert_eq!((object.name.as_str(), object.uid.as_str(), object.generation), ("cap", "u", Some(3)));
        assert!(object.deleting && object.known_version && !object.too_large && object.unknown.is_empty());
        assert_eq!(
            (object.spec.as_ref(), &read.status),
            (Some(&json!({ "mode": "Audit" })), &json!({ "conditions": [] }))
        );
        assert_eq!(read.resource_version, "7");

        let odd =
            served(&json!({ "apiVersion": [1], "metadata": { "name": 1, "deletionTimestamp": {"a": 1} } })).object;
        assert!(odd.name.is_empty() && odd.deleting && !odd.known_version && odd.spec.is_none());
    }

    /// The largest that is read counts, and one with a value more is known to be there, and is not Ready.
    #[test]
    fn of_a_spec_that_no_schema_allows_nothing_is_kept() {
        let spec = |values: usize| json!({ "mode": "Audit", "match": vec![0; values - 3] });
        let metadata = json!({ "name": "cap" });
        let object = |spec: Value| json!({ "apiVersion": API_VERSION, "metadata": metadata, "spec": spec });
        let largest = served(&object(spec(MAX_SPEC_VALUES))).object;
        assert!(!largest.too_large && largest.spec == Some(spec(MAX_SPEC_VALUES)));

        let larger = served(&object(spec(MAX_SPEC_VALUES + 1))).object;
        assert!(larger.too_large && larger.spec == Some(Value::Null));
        let problems = Compiled::new(&larger).problems().to_vec();
        assert!(
            problems.iter().any(|problem| problem.path == "spec" && problem.message.contains("values")),
            "{problems:?}"
        );
    }
}
