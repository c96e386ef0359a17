//! `status` of policies and guardrails: whether each is Ready, and if not, where and why.

use std::collections::{HashMap, HashSet};
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

/// For how long objects are looked at before other work gets its turn: what they let through takes time to find.
const TURN: Duration = Duration::from_millis(20);

/// How long after a failure an object is tried again, and after the second write of which the watch shows nothing.
const RETRY: Duration = Duration::from_secs(5);
/// The longest wait after such writes, each of which waits twice as long as the one before.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

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
    /// What was written, until the watch shows it.
    tried: HashMap<ObjectRef, Tried>,
    /// The last one that was tried, or looked at where there was no time for more: the others come before it.
    last: Option<ObjectRef>,
    /// How many objects in a row had nothing to be written, and at which revision.
    settled: (u64, usize),
    /// The revision of the policies at which nothing was to be written.
    written: Option<u64>,
}

/// What became of writing one status.
#[derive(Debug)]
struct Tried {
    /// Of this generation.
    generation: Option<i64>,
    /// How often it was accepted, and the watch does not show it: somebody else writes, too, or the API server drops it.
    accepted: u32,
    /// It waits until then.
    again_at: Instant,
}

impl Tried {
    fn take(&mut self, result: &Result<(), Error>) {
        let wait = match (result, self.accepted) {
            (Err(_), _) => RETRY,
            // Ordinarily the watch shows it before it is looked at again.
            (Ok(()), 0) => Duration::ZERO,
            (Ok(()), before) => RETRY.saturating_mul(1 << (before - 1).min(10)).min(LONGEST_RETRY),
        };
        self.accepted += u32::from(result.is_ok());
        self.again_at = Instant::now() + wait;
    }
}

impl Updates {
    /// What is to be written about `policies` now, if nothing is being written.
    pub(super) fn next(&mut self, policies: &Policies) -> Vec<Patch> {
        if self.under_way || self.written == Some(policies.revision()) {
            return Vec::new();
        }
        let now = Instant::now();
        if !self.tried.is_empty() {
            let held: HashSet<&ObjectRef> = policies.held().map(|held| &held.compiled.object).collect();
            self.tried.retain(|object, _| held.contains(object));
        }
        let last = self.last.take();
        let after = |held: &&Held| last.as_ref() < Some(&held.compiled.object);
        let in_turn = policies.held().filter(after).chain(policies.held().filter(|held| !after(held)));
        if self.settled.0 != policies.revision() {
            self.settled = (policies.revision(), 0);
        }
        let (mut patches, mut looked_at) = (Vec::new(), None);
        for held in in_turn {
            if patches.len() == AT_ONCE || (looked_at.is_some() && now.elapsed() > TURN) {
                break;
            }
            match self.due(held, policies, now) {
                Some(patch) => patches.push(patch),
                None => self.settled.1 += 1,
            }
            looked_at = Some(&held.compiled.object);
        }
        if !patches.is_empty() {
            self.settled.1 = 0;
        }
        self.under_way = !patches.is_empty();
        let all = self.settled.1 >= policies.held().count();
        self.written = (all && self.tried.is_empty()).then(|| policies.revision());
        self.last = looked_at.cloned();
        patches
    }

    /// What is to be written about `held` now, if it does not wait.
    fn due(&mut self, held: &Held, policies: &Policies, now: Instant) -> Option<Patch> {
        let (object, generation) = (&held.compiled.object, held.compiled.generation);
        let tried = self.tried.get(object).filter(|tried| tried.generation == generation);
        if tried.is_some_and(|tried| tried.again_at > now) {
            return None;
        }
        let patch = patch(held, &policies.hazards(held));
        match (&patch, tried) {
            (None, _) => drop(self.tried.remove(object)),
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                let tried = Tried { generation, accepted: 0, again_at: now };
                self.tried.insert(object.clone(), tried);
            }
        }
        patch
    }

    /// Takes what became of them; the failures of which no watch will tell are to be told.
    pub(super) fn done(&mut self, written: Written) -> Vec<(ObjectRef, Error)> {
        self.under_way = false;
        self.last = written.last().map(|(object, _)| object.clone()).or(self.last.take());
        for (object, result) in &written {
            if let Some(tried) = self.tried.get_mut(object) {
                tried.take(result);
            }
        }
        let failed = written.into_iter().filter_map(|(object, result)| Some((object, result.err()?)));
        failed.filter(|(_, error)| !is_told(error)).collect()
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
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, clock_gettime};
    use serde_json::json;

    use super::super::policies::Policies;
    use super::super::watch::Seen;
    use super::{Error, Patch, TURN, Updates};
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
            updates.tried.clear();
        }
        assert_eq!(tried.len(), 4, "{tried:?}");
    }

    #[test]
    fn what_is_accepted_and_not_to_be_seen_is_written_less_and_less_often() {
        let mut policies = Policies::new(Settings::default());
        policies.see(Kind::CSRPolicy, Seen::Changed(served(Kind::CSRPolicy, "a")));
        let mut updates = Updates::default();
        let write = |policies: &Policies, updates: &mut Updates| {
            let patches = updates.next(policies);
            let written: Vec<_> = patches.into_iter().map(|patch| (patch.object, Ok(()))).collect();
            let number = written.len();
            updates.done(written);
            number
        };
        let wait = |updates: &Updates| updates.tried.values().next().unwrap().again_at - Instant::now();
        assert_eq!(
            (write(&policies, &mut updates), write(&policies, &mut updates), write(&policies, &mut updates)),
            (1, 1, 0)
        );
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push((wait(&updates) + Duration::from_millis(500)).as_secs());
            // As if it were late enough.
            updates.tried.values_mut().for_each(|tried| tried.again_at = Instant::now());
            assert_eq!(write(&policies, &mut updates), 1);
        }
        assert_eq!(waits[..7], [5, 10, 20, 40, 80, 160, 300]);
        assert!(waits[7..].iter().all(|wait| *wait == 300));
        // What it says now is another matter, and waits for nothing.
        let mut changed = served(Kind::CSRPolicy, "a");
        changed.object.generation = Some(2);
        policies.see(Kind::CSRPolicy, Seen::Changed(changed));
        assert_eq!(write(&policies, &mut updates), 1);
        // Nothing is kept of what is gone.
        policies.see(Kind::CSRPolicy, Seen::Deleted(served(Kind::CSRPolicy, "a")));
        assert_eq!(write(&policies, &mut updates), 0);
        assert!(updates.tried.is_empty() && updates.written.is_some());
    }

    #[test]
    fn what_is_written_is_looked_at_again_once_something_was_seen() {
        let mut policies = Policies::new(Settings::default());
        let mut updates = Updates::default();
        assert!(updates.next(&policies).is_empty() && updates.written.is_some());
        policies.see(Kind::CSRPolicy, Seen::Changed(served(Kind::CSRPolicy, "a")));
        assert_eq!(updates.next(&policies).len(), 1);
    }

    /// What a policy lets through takes longer to find the longer its lists are, and there may be many.
    #[test]
    fn many_large_objects_are_looked_at_a_few_at_a_time_and_all_in_the_end() {
        const NUMBER: usize = 50;
        let policy = |index: usize| {
            let names: Vec<String> = (0..64).map(|name| format!("x-{index}-{name}-*-x")).collect();
            let groups: Vec<String> = (0..64).map(|group| format!("{group}-*")).collect();
            let requestors: Vec<_> =
                (0..16).map(|entry| json!({ "groups": groups, "users": [format!("u-{entry}")] })).collect();
            let object = json!({
                "apiVersion": crate::api::API_VERSION,
                "metadata": { "name": format!("p-{index}"), "uid": "u", "resourceVersion": "1" },
                "spec": {
                    "match": { "signerNames": ["example.com/x"], "requestors": requestors },
                    "allow": {
                        "subject": { "organizations": { "allowed": names } },
                        "usages": { "allowed": ["client auth"] },
                        "expirationSeconds": { "max": 600 },
                    },
                },
            });
            ServedPolicy::new(Kind::CSRPolicy, serde_json::from_value::<UnreadPolicy>(object).unwrap())
        };
        let processor = || -> Duration { clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap() };
        let mut policies = Policies::new(Settings::default());
        policies.see(Kind::CSRPolicy, Seen::Restarted);
        for index in 0..NUMBER {
            policies.see(Kind::CSRPolicy, Seen::Listed(policy(index)));
        }
        policies.see(Kind::CSRPolicy, Seen::Synced);
        let began = processor();
        for held in policies.held() {
            assert!(held.compiled.is_ready(), "{:?}", held.compiled.problems());
            black_box(policies.hazards(held));
        }
        let all = processor().checked_sub(began).unwrap();
        assert!(all > TURN * 5, "{all:?}");
        let (mut updates, mut longest, mut done) = (Updates::default(), Duration::ZERO, BTreeSet::new());
        for _ in 0..NUMBER * 4 {
            let began = processor();
            let patches = updates.next(&policies);
            longest = longest.max(processor().checked_sub(began).unwrap());
            for Patch { object, body } in &patches {
                let mut served = policy(object.name[2..].parse().unwrap());
                served.status = body["status"].clone();
                policies.see(Kind::CSRPolicy, Seen::Changed(served));
                assert!(done.insert(object.name.clone()), "{object} again");
            }
            updates.done(patches.into_iter().map(|patch| (patch.object, Ok(()))).collect());
        }
        assert!(done.len() == NUMBER && updates.written.is_some(), "{}", done.len());
        assert!(longest < all / 4, "{longest:?} of {all:?}");
    }
}
