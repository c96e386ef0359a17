//! `status` of policies and guardrails: whether each is Ready, and if not, where and why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Error;
use super::client::{call, segment};
use super::gate::Gate;
use super::policies::{Held, Policies};
use crate::api::{GROUP, VERSION};
use crate::escape::cut;
use crate::policy::{Compiled, Hazard, ObjectRef};

/// How many are written after each look at the policies at most.
const AT_ONCE: usize = 64;

/// How long after a failure an object is tried again.
const RETRY: Duration = Duration::from_secs(5);

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
fn patch(held: &Held, hazards: &[Hazard]) -> Option<Patch> {
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

/// What became of each patch that was sent.
pub(super) type Written = Vec<(ObjectRef, Result<(), Error>)>;

/// When what is written: a few after each look at the policies, one after the other, so that decisions need not wait for
/// them, and an object that failed not at once again.
#[derive(Debug, Default)]
pub(super) struct Updates {
    under_way: bool,
    retry_at: HashMap<ObjectRef, Instant>,
    /// The last one that was tried: the others come before it.
    last: Option<ObjectRef>,
    /// The revision of the policies at which nothing was to be written.
    written: Option<u64>,
}

impl Updates {
    /// What is to be written about `policies` now, if nothing is being written.
    pub(super) fn next(&mut self, policies: &Policies) -> Vec<Patch> {
        if self.under_way || self.written == Some(policies.revision()) {
            return Vec::new();
        }
        let now = Instant::now();
        self.retry_at.retain(|_, at| *at > now);
        let after = |held: &&Held| self.last.as_ref() < Some(&held.compiled.object);
        let in_turn = policies.held().filter(after).chain(policies.held().filter(|held| !after(held)));
        let due = in_turn.filter(|held| !self.retry_at.contains_key(&held.compiled.object));
        let patches: Vec<Patch> =
            due.filter_map(|held| patch(held, policies.hazards(&held.compiled.object))).take(AT_ONCE).collect();
        self.under_way = !patches.is_empty();
        self.written = (patches.is_empty() && self.retry_at.is_empty()).then(|| policies.revision());
        patches
    }

    /// Takes what became of them; the failures of which no watch will tell are to be told.
    pub(super) fn done(&mut self, written: Written) -> Vec<(ObjectRef, Error)> {
        self.under_way = false;
        self.last = written.last().map(|(object, _)| object.clone());
        let failed: Vec<_> = written.into_iter().filter_map(|(object, result)| Some((object, result.err()?))).collect();
        self.retry_at.extend(failed.iter().map(|(object, _)| (object.clone(), Instant::now() + RETRY)));
        failed.into_iter().filter(|(_, error)| !is_told(error)).collect()
    }
}

/// Whether the object changed or is gone, of which the watch tells.
fn is_told(error: &Error) -> bool {
    matches!(error.status(), Some(404 | 409))
}

/// Writes `patches`, each unless its object changed since it was read, while this replica leads and none fails.
pub(super) async fn write(client: Client, gate: Arc<Gate>, patches: Vec<Patch>) -> Written {
    let mut written = Vec::new();
    for Patch { object, body } in patches {
        if !gate.is_leader() {
            break;
        }
        let path = format!(
            "/apis/{GROUP}/{VERSION}/{}/{}/status?fieldManager=countersign",
            object.kind.plural(),
            segment(&object.name)
        );
        let result = call::<IgnoredAny>(&client, Method::PATCH, &path, "application/merge-patch+json", &body).await;
        let fails = result.as_ref().is_err_and(|error| !is_told(error));
        written.push((object, result.map(|_| ())));
        if fails {
            break;
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::policies::Policies;
    use super::super::watch::Seen;
    use super::{Error, Updates};
    use crate::policy::{Kind, ServedPolicy, Settings, UnreadPolicy};

    fn served(kind: Kind, name: &str) -> ServedPolicy {
        let object = json!({ "metadata": { "name": name, "uid": name, "resourceVersion": "1" }, "spec": {} });
        ServedPolicy::new(kind, serde_json::from_value::<UnreadPolicy>(object).unwrap())
    }

    #[test]
    fn objects_whose_status_cannot_be_written_hold_up_no_others() {
        let mut policies = Policies::new(Settings::default());
        for name in ["a", "b", "c"] {
            policies.see(Kind::CSRPolicy, Seen::Changed(served(Kind::CSRPolicy, name)));
        }
        policies.see(Kind::CSRGuardrail, Seen::Changed(served(Kind::CSRGuardrail, "limits")));
        let (mut updates, mut tried) = (Updates::default(), BTreeSet::new());
        for _ in 0..4 {
            let first = updates.next(&policies).swap_remove(0).object;
            tried.insert(first.name.clone());
            updates.done(vec![(first, Err(Error::Timeout(8)))]);
            // As if it were late enough to try them all again.
            updates.retry_at.clear();
        }
        assert_eq!(tried.len(), 4, "{tried:?}");
    }

    #[test]
    fn what_is_written_is_looked_at_again_once_something_was_seen() {
        let mut policies = Policies::new(Settings::default());
        let mut updates = Updates::default();
        assert!(updates.next(&policies).is_empty() && updates.written.is_some());
        policies.see(Kind::CSRPolicy, Seen::Changed(served(Kind::CSRPolicy, "a")));
        assert_eq!(updates.next(&policies).len(), 1);
    }
}
