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

/// All objects of a kind at one moment, as a consistent list has them.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) versions: Versions,
    /// `metadata.resourceVersion` of the list.
    pub(super) resource_version: String,
}

/// Whether `version` is a later moment of the API server than `moment`: both are `metadata.resourceVersion`, which are
/// comparable as decimal numbers (Kubernetes API concepts, "resource versions"). Of others nobody can tell.
fn is_later(version: &str, moment: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(version).zip(number(moment)).is_some_and(|(version, moment)| version > moment)
}

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

    /// Whether it says what `before` said: what could not be compiled for now may have been since.
    fn says_what(&self, before: &Self) -> bool {
        self.object == before.object && Arc::ptr_eq(&self.compiled, &before.compiled)
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
    /// What the watch has brought, or said is gone, since the consistent read under way began, if one is: its name, and the
    /// moment. What a list has brought is of no moment that is known.
    brought: Option<BTreeMap<String, String>>,
    synced: bool,
}

impl Store {
    /// Whether what is in memory is what `snapshot` has, or, where it `may_be_ahead`, what the watch has brought since.
    fn has_seen(&self, snapshot: &Snapshot, may_be_ahead: bool) -> bool {
        let Snapshot { versions, resource_version: moment } = snapshot;
        // Both are asked for: a store that was restored from a backup counts from before, and a list may be of long ago.
        let is_ahead = |name: &String| {
            let brought = self.brought.as_ref().filter(|_| may_be_ahead).and_then(|brought| brought.get(name));
            brought.is_some_and(|version| is_later(version, moment))
        };
        let is_same = |name: &String| match (self.objects.get(name), versions.get(name)) {
            (Some(held), Some(version)) => held.version == *version,
            (held, version) => held.is_none() && version.is_none(),
        };
        versions.keys().chain(self.objects.keys()).all(|name| is_same(name) || is_ahead(name))
    }

    fn has_brought(&mut self, name: &str, resource_version: &str) {
        if let Some(brought) = &mut self.brought {
            brought.insert(name.to_owned(), resource_version.to_owned());
        }
    }
}

/// Both kinds, and the set that reviews are held against.
#[derive(Debug)]
pub(super) struct Policies {
    policies: Store,
    guardrails: Store,
    settings: Settings,
    set: Arc<PolicySet>,
    /// Whether `set` is still of what was in memory before.
    stale: bool,
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
        Self { policies, guardrails, settings, set, stale: false, revision: 0 }
    }

    /// The set of what was in memory when it was last put together.
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

    /// Takes in what the watch of `kind` brought. It is in no set before [`Self::put_together`].
    pub(super) fn see(&mut self, kind: Kind, seen: Seen<ServedPolicy>) -> Change {
        self.revision += 1;
        let store = self.store_mut(kind);
        let (reliability, content) = match seen {
            Seen::Restarted => {
                store.listing.clear();
                store.brought = None;
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
                    && before.values().zip(store.objects.values()).all(|(before, now)| now.says_what(before));
                (true, !same)
            }
            Seen::Changed(entry) => {
                let name = entry.object.name.clone();
                let before = store.objects.get(&name);
                let held = Held::new(entry, before);
                let same = before.is_some_and(|before| held.says_what(before));
                store.has_brought(&name, &held.resource_version);
                store.objects.insert(name, held);
                (false, !same)
            }
            Seen::Deleted(entry) => {
                store.has_brought(&entry.object.name, &entry.resource_version);
                (false, store.objects.remove(&entry.object.name).is_some())
            }
            Seen::Lost => (std::mem::replace(&mut store.synced, false), false),
        };
        self.stale |= content;
        match (content, reliability) {
            (true, _) => Change::Content,
            (false, true) => Change::Reliability,
            (false, false) => Change::None,
        }
    }

    /// Puts together what is in memory, unless the set is of that; whether it is another now. That takes time in proportion to all of
    /// them, so that several changes are seen first where there are.
    pub(super) fn put_together(&mut self) -> bool {
        if !std::mem::take(&mut self.stale) {
            return false;
        }
        let in_force = self.held().filter(|held| held.in_force());
        let compiled: Vec<Arc<Compiled>> = in_force.map(|held| Arc::clone(&held.compiled)).collect();
        self.set = Arc::new(PolicySet::new(compiled, self.settings.clone()));
        true
    }

    /// Whether something was seen that is not in the set.
    pub(super) fn are_stale(&self) -> bool {
        self.stale
    }

    /// A consistent read begins, or is over.
    pub(super) fn reads(&mut self, now: bool) {
        for kind in Kind::ALL {
            self.store_mut(kind).brought = now.then(BTreeMap::new);
        }
    }

    /// Whether memory has of `kind` what the consistent read under way has shown. Where it `may_be_ahead`, with what
    /// the watch has brought since that moment: policies that change faster than they can be read would be confirmed never.
    pub(super) fn has_seen(&self, kind: Kind, snapshot: &Snapshot, may_be_ahead: bool) -> bool {
        self.store(kind).has_seen(snapshot, may_be_ahead)
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

    use super::{Change, Policies, Snapshot, Versions};
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

    /// The versions of the guardrails in memory.
    fn versions(policies: &Policies) -> Versions {
        let objects = &policies.guardrails.objects;
        objects.iter().map(|(name, held)| (name.clone(), held.version.clone())).collect()
    }

    /// A policy may change faster than all of them can be read; what was revoked before the read began must be seen all the same.
    #[test]
    fn what_a_consistent_read_shows_is_confirmed_though_the_watch_has_gone_ahead_and_not_where_it_is_behind() {
        let kind = Kind::CSRGuardrail;
        let at = |version: u64, generation, max| {
            served("u", generation, max, &json!({ "resourceVersion": version.to_string() }))
        };
        let memory = |seen: Vec<Seen<ServedPolicy>>| {
            let mut policies = Policies::new(Settings::default());
            policies.see(kind, Seen::Restarted);
            policies.see(kind, Seen::Synced);
            policies.reads(true);
            for seen in seen {
                policies.see(kind, seen);
            }
            policies
        };
        let first = || Seen::Changed(at(10, 1, 600));
        let second = || Seen::Changed(at(20, 2, 700));
        let gone = |version| Seen::Deleted(at(version, 2, 700));
        let (none, one, two) =
            (versions(&memory(vec![])), versions(&memory(vec![first()])), versions(&memory(vec![second()])));
        // What memory has, what was read and when, whether that is confirmed, and whether it would be without going ahead.
        for (seen, read, moment, ahead, exact) in [
            (vec![], &none, "9", true, true),
            (vec![first()], &one, "10", true, true),
            (vec![first(), second()], &one, "15", true, false),
            (vec![first(), second()], &one, "20", false, false),
            // The watch is behind.
            (vec![first()], &two, "20", false, false),
            (vec![], &one, "10", false, false),
            (vec![first()], &none, "15", false, false),
            // Created, and deleted, since it was read.
            (vec![first()], &none, "9", true, false),
            (vec![first(), second(), gone(30)], &two, "25", true, false),
            (vec![first(), second(), gone(30)], &two, "30", false, false),
            (vec![first(), second(), gone(30)], &none, "30", true, true),
            // Nobody can tell.
            (vec![first(), second()], &one, "x15", false, false),
            (vec![first(), second()], &one, "", false, false),
        ] {
            let policies = memory(seen);
            let snapshot = Snapshot { versions: read.clone(), resource_version: moment.to_owned() };
            assert_eq!(policies.has_seen(kind, &snapshot, true), ahead, "{policies:?} {snapshot:?}");
            assert_eq!(policies.has_seen(kind, &snapshot, false), exact, "{policies:?} {snapshot:?}");
        }
        // What came before this read began says nothing of it: the store may count from before, or the list be of long ago.
        for seen in [vec![first(), second(), gone(30)], vec![first()], vec![second()]] {
            let mut policies = memory(seen);
            policies.reads(true);
            for (read, moment) in [(&two, "25"), (&none, "1"), (&one, "5"), (&two, "5")] {
                let snapshot = Snapshot { versions: read.clone(), resource_version: moment.to_owned() };
                let seen = policies.has_seen(kind, &snapshot, true);
                assert_eq!(seen, policies.has_seen(kind, &snapshot, false), "{policies:?} {snapshot:?}");
            }
        }
        // Nor does what a list brings while it is under way.
        let mut policies = memory(vec![first()]);
        policies.see(kind, Seen::Restarted);
        policies.see(kind, Seen::Listed(at(30, 2, 700)));
        policies.see(kind, Seen::Synced);
        policies.see(kind, Seen::Changed(at(40, 3, 800)));
        assert!(!policies.has_seen(kind, &Snapshot { versions: one, resource_version: "25".to_owned() }, true));
    }

    /// As where no thread could be started for its expressions.
    #[test]
    fn what_compiles_the_second_time_is_in_force() {
        let kind = Kind::CSRGuardrail;
        let mut policies = Policies::new(Settings::default());
        policies.see(kind, Seen::Changed(served("u", 1, 600, &json!({}))));
        let held = policies.guardrails.objects.get_mut("cap").unwrap();
        held.compiled = Arc::new(held.compiled.without_thread());
        assert!(held.compiled.is_for_now() && !held.compiled.is_ready());
        assert_eq!(policies.see(kind, Seen::Changed(served("u", 1, 600, &json!({})))), Change::Content);
        assert!(policies.put_together());
        assert!(policies.set().guardrails()[0].is_ready());
    }

    /// A list brings all again, and a changed label or status brings it.
    #[test]
    fn only_what_has_changed_is_compiled_again() {
        let kind = Kind::CSRGuardrail;
        let mut policies = Policies::new(Settings::default());
        let list = |policies: &mut Policies, object: ServedPolicy| {
            policies.see(kind, Seen::Restarted);
            policies.see(kind, Seen::Listed(object));
            let change = policies.see(kind, Seen::Synced);
            assert_eq!(policies.put_together(), change == Change::Content);
            change
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
            let versions = versions(&policies);
            assert_eq!(policies.see(kind, Seen::Changed(served(uid, generation, max, &json!({})))), Change::Content);
            assert!(policies.are_stale() && policies.put_together() && !policies.are_stale());
            let now = compiled(&policies);
            assert!(!Arc::ptr_eq(&before, &now) && Arc::ptr_eq(&policies.set().guardrails()[0], &now));
            assert_eq!((now.object.uid.as_str(), now.generation), (uid, i64::try_from(generation).ok()));
            assert_eq!(now.rules().unwrap().expiration.as_ref().unwrap().max, i32::try_from(max).ok());
            let snapshot = Snapshot { versions, resource_version: String::new() };
            assert!(!policies.has_seen(kind, &snapshot, true));
            before = now;
        }
        assert_eq!(list(&mut policies, served("v", 3, 800, &json!({}))), Change::Content);
        assert!(!Arc::ptr_eq(&before, &compiled(&policies)));
    }
}
