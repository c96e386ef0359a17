//! `status` of policies and guardrails: whether each is Ready, and if not, where and why.

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Error;
use super::client::{call, segment};
use super::policies::Held;
use crate::api::{GROUP, VERSION};
use crate::escape::cut;
use crate::policy::{Compiled, Hazard, ObjectRef};

/// The longest message of a condition, in bytes (the CRD allows 32768 characters).
const MAX_MESSAGE: usize = 8192;

/// How many hazards are shown, and how long each may be, in bytes, as the CRD says in characters.
const MAX_HAZARDS: usize = 64;
const MAX_HAZARD_PATH: usize = 512;
const MAX_HAZARD_MESSAGE: usize = 1024;

/// A status that is to be written.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) object: ObjectRef,
    body: Value,
}

/// What is to be written about `held`, or nothing if it is there already.
pub(super) fn patch(held: &Held, hazards: &[Hazard]) -> Option<Patch> {
    let compiled = &held.compiled;
    let wanted = ready(compiled);
    let empty = Vec::new();
    let present = held.status["conditions"].as_array().unwrap_or(&empty);
    let before = present.iter().find(|condition| condition["type"] == "Ready");
    let says = |condition: &Value, field: &str| condition[field] == wanted[field];
    let same = before.is_some_and(|before| {
        ["status", "reason", "message", "observedGeneration"].iter().all(|field| says(before, field))
    });
    let hazards: Vec<Value> = hazards.iter().take(MAX_HAZARDS).map(hazard).collect();
    let hazards_before = held.status["hazards"].as_array().map(Vec::as_slice).unwrap_or_default();
    if same && hazards_before == hazards && held.status["observedGeneration"] == json!(compiled.generation) {
        return None;
    }
    let mut wanted = wanted;
    wanted["lastTransitionTime"] = match before {
        Some(before) if before["status"] == wanted["status"] => before["lastTransitionTime"].clone(),
        _ => json!(format!("{:.0}", Timestamp::now())),
    };
    let others = present.iter().filter(|condition| condition["type"] != "Ready").cloned();
    let conditions: Vec<Value> = others.chain([wanted]).collect();
    Some(Patch {
        object: compiled.object.clone(),
        body: json!({
            "metadata": { "uid": held.object.uid, "resourceVersion": held.resource_version },
            "status": { "observedGeneration": compiled.generation, "conditions": conditions, "hazards": hazards },
        }),
    })
}

fn hazard(hazard: &Hazard) -> Value {
    json!({
        "code": hazard.code.as_str(),
        "path": cut(&hazard.path, MAX_HAZARD_PATH),
        "message": cut(&hazard.to_string(), MAX_HAZARD_MESSAGE),
    })
}

/// The condition `Ready`, but for when it began.
fn ready(compiled: &Compiled) -> Value {
    let problems = compiled.problems();
    let (status, reason, message) = if problems.is_empty() {
        ("True", "Compiled", "the object compiles and is in force in its mode".to_owned())
    } else {
        let unknown = problems.iter().any(|problem| problem.message.starts_with("this version does not know"));
        let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        ("False", if unknown { "UnknownField" } else { "DoesNotCompile" }, messages.join("; "))
    };
    json!({
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": cut(&message, MAX_MESSAGE),
        "observedGeneration": compiled.generation,
    })
}

/// Writes `patch`, unless the object changed since it was read.
pub(super) async fn write(client: Client, patch: Patch) -> (ObjectRef, Result<(), Error>) {
    let path = format!(
        "/apis/{GROUP}/{VERSION}/{}/{}/status?fieldManager=countersign",
        patch.object.kind.plural(),
        segment(&patch.object.name)
    );
    let result = call::<IgnoredAny>(&client, Method::PATCH, &path, "application/merge-patch+json", &patch.body).await;
    (patch.object, result.map(|_| ()))
}
