//! The policies and guardrails in memory: compiled one by one as they change, and compared with
//! what the API server has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::watch::Seen;
use crate::policy::{Compiled, Hazard, Kind, PolicyObject, PolicySet, ServedPolicy, Settings, hazards};

/// What identifies one state of an object: neither its status nor its labels change what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    uid: String,
    generation: Option<i64>,
    deleting: bool,
    /// SHA-256 of `spec` as JSON: the generation does not tell what was lost between etcd and here.
    spec: [u8; 32],
}

impl From<&PolicyObject> for Version {
    fn from(object: &PolicyObject) -> Self {
        // The fields of a map are in order (serde_json without preserve_order), and a value is always JSON.
        let spec = serde_json::to_vec(&object.spec).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, &spec);
        let mut spec = [0; 32];
        spec.copy_from_slice(digest.as_ref());
        Self { uid: object.uid.clone(), generation: object.generation, deleting: object.deleting, spec }
    }
}

/// The versions of all objects of a kind, by name.
pub(super) type Versions = BTreeMap<String, Version>;

/// An object as it was seen last.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) object: PolicyObject,
    pub(super) compiled: Arc<Compiled>,
    version: Version,
    /// `status` as the API server has it.
    pub(super) status: Value,
    /// `metadata.resourceVersion`.
    pub(super) resource_version: String,
}

impl Held {
    /// What is the same as `before` is not compiled again: that takes time, which whoever changes a label must not cost.
    fn new(served: ServedPolicy, before: Option<&Self>) -> Self {
        let ServedPolicy { object, status, resource_version } = served;
        let stands = |before: &&Self| before.object == object && !before.compiled.is_for_now();
        let (compiled, version) = match before.filter(stands) {
            Some(before) => (Arc::clone(&before.compiled), before.version.clone()),
            None => (Arc::new(Compiled::new(&object)), Version::from(&object)),
        };
        Self { object, compiled, version, status, resource_version }
    }

    /// A policy that is being deleted stops at once; a guardrail holds until it is gone.
    fn in_force(&self) -> bool {
        self.object.kind == Kind::CSRGuardrail || !self.object.deleting
    }
}

/// All objects of one kind.
#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<String, Held>,
    /// What a list in progress has brought so far.
    listing: BTreeMap<String, Held>,
    synced: bool,
}

/// Both kinds, and the set that reviews are held against.
#[derive(Debug)]
pub(super) struct Policies {
    policies: Store,
    guardrails: Store,
    settings: Settings,
    set: Arc<PolicySet>,
    /// How often anything was seen.
    revision: u64,
}

/// What a watch event meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that a verdict depends on.
    None,
    /// Whether the objects in memory can be relied on.
    Reliability,
    /// What the objects say.
    Content,
}

impl Policies {
    pub(super) fn new(settings: Settings) -> Self {
        let set = Arc::new(PolicySet::new([], settings.clone()));
        let (policies, guardrails) = (Store::default(), Store::default());
        Self { policies, guardrails, settings, set, revision: 0 }
    }

    /// The set of what is in memory now.
    pub(super) fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// What `held` lets through, beside all the others.
    pub(super) fn hazards(&self, held: &Held) -> Vec<Hazard> {
        if held.in_force() { hazards(&self.set, &held.compiled) } else { Vec::new() }
    }

    /// Whether the watch of `kind` is complete and unbroken.
    pub(super) fn synced(&self, kind: Kind) -> bool {
        self.store(kind).synced
    }

    /// Takes in what the watch of `kind` brought.
    pub(super) fn see(&mut self, kind: Kind, seen: Seen<ServedPolicy>) -> Change {
        self.revision += 1;
        let store = self.store_mut(kind);
        let (reliability, content) = match seen {
            Seen::Restarted => {
                store.listing.clear();
                (std::mem::replace(&mut store.synced, false), false)
            }
            Seen::Listed(entry) => {
                let name = entry.object.name.clone();
                let held = Held::new(entry, store.objects.get(&name));
                store.listing.insert(name, held);
                (false, false)
            }
            Seen::Synced => {
                let before = std::mem::replace(&mut store.objects, std::mem::take(&mut store.listing));
                store.synced = true;
                let same = before.len() == store.objects.len()
                    && before.values().zip(store.objects.values()).all(|(before, now)| before.object == now.object);
                (true, !same)
            }
            Seen::Changed(entry) => {
                let name = entry.object.name.clone();
                let before = store.objects.get(&name);
                let held = Held::new(entry, before);
                let same = before.is_some_and(|before| before.object == held.object);
                store.objects.insert(name, held);
                (false, !same)
            }
            Seen::Deleted(entry) => (false, store.objects.remove(&entry.object.name).is_some()),
            Seen::Lost => (std::mem::replace(&mut store.synced, false), false),
        };
        if !content {
            return if reliability { Change::Reliability } else { Change::None };
        }
        let in_force = self.held().filter(|held| held.in_force());
        let compiled: Vec<Arc<Compiled>> = in_force.map(|held| Arc::clone(&held.compiled)).collect();
        self.set = Arc::new(PolicySet::new(compiled, self.settings.clone()));
        Change::Content
    }

    /// The versions in memory, to compare with what the API server has.
    pub(super) fn versions(&self, kind: Kind) -> Versions {
        self.store(kind).objects.iter().map(|(name, held)| (name.clone(), held.version.clone())).collect()
    }

    /// The state of all this: another number after anything was seen.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Everything in memory.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.policies.objects.values().chain(self.guardrails.objects.values())
    }

    fn store(&self, kind: Kind) -> &Store {
        match kind {
            Kind::CSRPolicy => &self.policies,
            Kind::CSRGuardrail => &self.guardrails,
        }
    }

    fn store_mut(&mut self, kind: Kind) -> &mut Store {
        match kind {
            Kind::CSRPolicy => &mut self.policies,
            Kind::CSRGuardrail => &mut self.guardrails,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::{Change, Policies};
    use crate::controller::watch::Seen;
    use crate::policy::{Compiled, Kind, ServedPolicy, Settings};

    fn served(uid: &str, generation: u64, max: u64, rest: &Value) -> ServedPolicy {
        let mut object = json!({
            "apiVersion": crate::api::API_VERSION,
            "metadata": { "name": "cap", "uid": uid, "generation": generation },
            "spec": { "match": {}, "limits": { "expirationSeconds": { "max": max, "whenUnset": "Deny" } } },
            "status": rest["status"],
        });
        object["metadata"]["resourceVersion"] = rest["resourceVersion"].clone();
        ServedPolicy::new(Kind::CSRGuardrail, serde_json::from_str(&object.to_string()).unwrap())
    }

    /// A list brings all again, and a changed label or status brings it.
    #[test]
    fn only_what_has_changed_is_compiled_again() {
        let kind = Kind::CSRGuardrail;
        let mut policies = Policies::new(Settings::default());
        let list = |policies: &mut Policies, object: ServedPolicy| {
            policies.see(kind, Seen::Restarted);
            policies.see(kind, Seen::Listed(object));
            policies.see(kind, Seen::Synced)
        };
        let compiled = |policies: &Policies| -> Arc<Compiled> { Arc::clone(&policies.held().next().unwrap().compiled) };
        assert_eq!(list(&mut policies, served("u", 1, 600, &json!({}))), Change::Content);
        let first = compiled(&policies);
        let told = json!({ "status": { "observedGeneration": 1 }, "resourceVersion": "7" });
        assert_eq!(policies.see(kind, Seen::Changed(served("u", 1, 600, &told))), Change::None);
        assert!(Arc::ptr_eq(&first, &compiled(&policies)));
        let held = policies.held().next().unwrap();
        assert_eq!((&held.status, held.resource_version.as_str()), (&told["status"], "7"));
        assert_eq!(list(&mut policies, served("u", 1, 600, &json!({}))), Change::Reliability);
        assert!(Arc::ptr_eq(&first, &compiled(&policies)));
        assert!(Arc::ptr_eq(&policies.set().guardrails()[0], &first));

        let mut before = first;
        for (uid, generation, max) in [("u", 1, 700), ("u", 2, 700), ("v", 2, 700)] {
            let versions = policies.versions(kind);
            assert_eq!(policies.see(kind, Seen::Changed(served(uid, generation, max, &json!({})))), Change::Content);
            let now = compiled(&policies);
            assert!(!Arc::ptr_eq(&before, &now) && Arc::ptr_eq(&policies.set().guardrails()[0], &now));
            assert_eq!((now.object.uid.as_str(), now.generation), (uid, i64::try_from(generation).ok()));
            assert_eq!(now.rules().unwrap().expiration.as_ref().unwrap().max, i32::try_from(max).ok());
            assert!(versions != policies.versions(kind));
            before = now;
        }
        assert_eq!(list(&mut policies, served("v", 3, 800, &json!({}))), Change::Content);
        assert!(!Arc::ptr_eq(&before, &compiled(&policies)));
    }
}
