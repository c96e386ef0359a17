//! The CRDs, and the schema that objects are held against without an API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{CSRGuardrail, CSRPolicy};

/// The definitions of both kinds, in the order in which `countersign crd` prints them.
#[must_use]
pub fn crds() -> [Value; 2] {
    [crd(&CSRPolicy::crd()), crd(&CSRGuardrail::crd())]
}

/// `null` is not a value of any field: a field is stated or it is not there. So no field is
/// nullable, and the API server refuses `allowed:` with nothing behind it.
fn crd(definition: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(definition).unwrap_or_default();
    remove_nullable(&mut value);
    value
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
