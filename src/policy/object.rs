//! `CSRPolicy` and `CSRGuardrail` objects as plain JSON: reading them never fails, so that a
//! malformed one is known to be there and counts as not Ready.

use std::fmt;

use serde_json::Value;

use crate::api::API_VERSION;

/// Which of the two kinds an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It permits.
    CSRPolicy,
    /// It limits.
    CSRGuardrail,
}

impl Kind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::CSRPolicy, Self::CSRGuardrail];

    /// The `kind` as manifests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CSRPolicy => "CSRPolicy",
            Self::CSRGuardrail => "CSRGuardrail",
        }
    }

    /// The plural under which the API server serves it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::CSRPolicy => "csrpolicies",
            Self::CSRGuardrail => "csrguardrails",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which object something is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty offline.
    pub uid: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, crate::escape::printable(&self.name))
    }
}

/// An object before it is compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject {
    /// Its kind.
    pub kind: Kind,
    /// `metadata.name`; empty where there is none.
    pub name: String,
    /// `metadata.namespace`, which no object of these kinds has in a cluster.
    pub namespace: String,
    /// `metadata.uid`; empty offline.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Whether `apiVersion` is the one that this version reads.
    pub known_version: bool,
    /// `spec`, whatever it is; nothing where there is none.
    pub spec: Option<Value>,
    /// Whether `spec` consists of more values than a schema lets there be, so that none of it was kept.
    pub too_large: bool,
    /// The paths of fields that no Kubernetes object has beside `spec`, such as a `mode` that was not indented. An API
    /// server drops them, and files may have them.
    pub unknown: Vec<String>,
}

/// The fields of any object (`TypeMeta`, and what a custom resource has beside it).
const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// The fields of `metadata` (`ObjectMeta` of apimachinery).
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The names in `value` that are not `known`, each after `prefix`.
fn unknown_fields<'a>(value: &'a Value, prefix: &'a str, known: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let names = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| !known.contains(name)).map(move |name| format!("{prefix}{}", crate::escape::printable(name)))
}

impl PolicyObject {
    /// Reads `value`, a whole object of kind `kind`.
    #[must_use]
    pub fn new(kind: Kind, mut value: Value) -> Self {
        let metadata = &value["metadata"];
        let unknown =
            unknown_fields(&value, "", &FIELDS).chain(unknown_fields(metadata, "metadata.", &METADATA)).collect();
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        Self {
            kind,
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            generation: metadata["generation"].as_i64(),
            deleting: !metadata["deletionTimestamp"].is_null(),
            known_version: value["apiVersion"] == API_VERSION,
            unknown,
            too_large: false,
            spec: value.get_mut("spec").map(Value::take),
        }
    }

    /// Which object it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        ObjectRef { kind: self.kind, name: self.name.clone(), uid: self.uid.clone() }
    }
}
