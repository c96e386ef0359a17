//! The requests without a decision. A decided one keeps nothing here, nor does one whose signer
//! is not managed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::filed::Filed;
use super::metrics::signer_label;
use super::nodes::{Change, Concern};
use crate::policy::PolicySet;
use crate::review::{Decision, Holder, ReasonCode};

/// A request that waits for a decision.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) filed: Filed,
    pub(super) created: Option<Timestamp>,
    /// What was said about it, so that each is said once, however often it changes.
    pub(super) said: Vec<Said>,
    /// It was last reviewed before it became too old.
    pub(super) may_grow_too_old: bool,
    /// What Nodes it had to do with when it was last reviewed.
    pub(super) concern: Option<Concern>,
    /// Whose certificates were counted when it was last reviewed, if any were.
    pub(super) holder: Option<Holder>,
}

/// A decision, why, and what policies in audit would have decided.
pub(super) type Said = (Decision, ReasonCode, Option<Decision>);

/// Pending requests by name, which the queue has too.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: HashMap<Arc<str>, Entry>,
}

impl Pending {
    /// Takes in a request; whether it is to be reviewed.
    pub(super) fn upsert(&mut self, filed: Filed, set: &PolicySet) -> bool {
        let name = filed.name();
        if filed.settled().is_some() || !set.manages(filed.signer_name()) {
            self.entries.remove(name);
            return false;
        }
        let before = self.entries.remove(name).filter(|entry| entry.filed.uid() == filed.uid());
        let said = before.map_or_else(Default::default, |entry| entry.said);
        let (name, created) = (Arc::from(name), filed.created());
        let may_grow_too_old = true;
        let entry = Entry { filed, created, said, may_grow_too_old, concern: None, holder: None };
        self.entries.insert(name, entry);
        true
    }

    /// Its name, if `filed` is here as it is, and neither Nodes nor other certificates had to do with its last review: nothing
    /// that is not looked at by itself can have made another one necessary.
    pub(super) fn known(&self, filed: &Filed) -> Option<Arc<str>> {
        let (name, entry) = self.entries.get_key_value(filed.name())?;
        let same = entry.filed.uid() == filed.uid() && entry.filed.resource_version() == filed.resource_version();
        (same && filed.settled().is_none() && entry.concern.is_none() && entry.holder.is_none())
            .then(|| Arc::clone(name))
    }

    /// The request with `uid` is gone or decided. Another one under its name stays.
    pub(super) fn remove(&mut self, name: &str, uid: &str) {
        if self.has(name, uid) {
            self.entries.remove(name);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<(&Arc<str>, &Entry)> {
        self.entries.get_key_value(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    /// Whether the request with `uid` is pending, and none that was filed again under its name.
    pub(super) fn has(&self, name: &str, uid: &str) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.filed.uid() == uid)
    }

    /// Every name.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.entries.keys().cloned().collect()
    }

    /// The requests that a change of Nodes concerns.
    pub(super) fn concerned(&self, change: &Change) -> Vec<Arc<str>> {
        let concerned = self.entries.iter().filter(|(_, entry)| change.concerns(entry.concern.as_ref()));
        concerned.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The requests about which these certificates were counted.
    pub(super) fn held_up(&self, holders: &HashSet<Holder>) -> Vec<Arc<str>> {
        let held_up =
            self.entries.iter().filter(|(_, entry)| entry.holder.is_some_and(|holder| holders.contains(&holder)));
        held_up.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Drops what a complete list did not bring; the names of that.
    pub(super) fn retain(&mut self, listed: &HashSet<Arc<str>>) -> Vec<Arc<str>> {
        self.entries.extract_if(|name, _| !listed.contains(name)).map(|(name, _)| name).collect()
    }

    /// The requests that have become older than `max` since they were last reviewed.
    pub(super) fn grown_too_old(&mut self, max: Duration) -> Vec<Arc<str>> {
        let now = Timestamp::now();
        let mut names = Vec::new();
        for (name, entry) in &mut self.entries {
            if entry.may_grow_too_old && age(entry.created, now).is_some_and(|age| age > max + Duration::from_secs(1)) {
                entry.may_grow_too_old = false;
                names.push(Arc::clone(name));
            }
        }
        names
    }

    /// Ages count anew: the clock by which some had become too old was set.
    pub(super) fn grow_young(&mut self) {
        for entry in self.entries.values_mut() {
            entry.may_grow_too_old = true;
        }
    }

    /// For each signer's label how many are pending, and the age of the oldest.
    pub(super) fn by_signer(&self, set: &PolicySet) -> BTreeMap<String, (i64, Duration)> {
        let now = Timestamp::now();
        // Requests are many and signers few, and the label of one is looked for in all policies.
        let mut by_name = HashMap::<&str, (i64, Duration)>::new();
        for entry in self.entries.values() {
            let (number, oldest) = by_name.entry(entry.filed.signer_name()).or_default();
            *number += 1;
            *oldest = (*oldest).max(age(entry.created, now).unwrap_or_default());
        }
        let mut result = BTreeMap::<String, (i64, Duration)>::new();
        for (signer, (their_number, their_oldest)) in by_name {
            let (number, oldest) = result.entry(signer_label(set, signer).to_owned()).or_default();
            *number += their_number;
            *oldest = (*oldest).max(their_oldest);
        }
        result
    }
}

/// How long ago `created` was; nothing if it is in the future.
pub(super) fn age(created: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    now.duration_since(created?).try_into().ok()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::{Filed, Pending, Timestamp};
    use crate::policy::{PolicySet, Settings, SignerPattern};
    use crate::request::CsrObject;

    #[test]
    fn what_is_pending_is_counted_by_the_label_of_its_signer() {
        let managed_signers = ["example.com/a", "example.com/*"].map(|signer| SignerPattern::new(signer).unwrap());
        let set = PolicySet::new([], Settings { managed_signers: managed_signers.into(), ..Settings::default() });
        let mut pending = Pending::default();
        for (name, signer, age) in [("1", "a", 10), ("2", "a", 20), ("3", "b", 40), ("4", "c", 30)] {
            let created = Timestamp::now() - SignedDuration::from_secs(age);
            let value = json!({
                "metadata": { "name": name, "creationTimestamp": created },
                "spec": { "signerName": format!("example.com/{signer}") },
            });
            assert!(pending.upsert(serde_json::from_value::<CsrObject>(value).unwrap().into(), &set));
        }
        let seen = pending.by_signer(&set);
        let seen: Vec<_> =
            seen.iter().map(|(label, (number, oldest))| (label.as_str(), *number, oldest.as_secs())).collect();
        assert_eq!(seen, [("example.com/a", 2, 20), ("other", 2, 40)]);
    }

    #[test]
    fn what_becomes_of_a_request_does_not_touch_another_under_its_name() {
        let managed_signers = vec![SignerPattern::new("example.com/*").unwrap()];
        let set = PolicySet::new([], Settings { managed_signers, ..Settings::default() });
        let object = |uid: &str| -> Filed {
            let value = json!({ "metadata": { "name": "a", "uid": uid }, "spec": { "signerName": "example.com/x" } });
            serde_json::from_value::<CsrObject>(value).unwrap().into()
        };
        let mut pending = Pending::default();
        assert!(pending.upsert(object("1"), &set));
        assert!(pending.has("a", "1") && !pending.has("a", "2"));
        assert!(pending.upsert(object("2"), &set));
        assert!(pending.has("a", "2") && !pending.has("a", "1"));
        pending.remove("a", "1");
        assert!(pending.get_mut("a").is_some());
        pending.remove("a", "2");
        assert!(pending.get_mut("a").is_none());
    }
}
