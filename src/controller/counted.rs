//! What was approved lately, while a policy or guardrail counts it (`maxPerHour`): rebuilt from the requests
//! that exist, and beside them the own approvals that the watch has not brought back yet, so that two on
//! their way do not both slip under a limit.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::filed::Filed;
use crate::policy::SignerPattern;
use crate::request::SigningRequest;
use crate::review::{Approvals, Holder};

/// The approvals that reviews are held against.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The signers that are counted: none until something is, and then all that are managed.
    signers: Vec<SignerPattern>,
    approvals: Approvals,
    /// Whether a list was complete since these signers are counted.
    complete: bool,
    /// Own approvals, by the uid of their request, until the watch brings them or it is clear that they were
    /// not written; also while nothing is counted, since they may be written once something is.
    sent: HashMap<String, (Holder, Timestamp)>,
    /// What a list in progress has brought so far.
    listing: Option<HashSet<String>>,
}

impl Counted {
    /// What is known, if anything is counted.
    pub(super) fn known(&self) -> Option<&Approvals> {
        (self.complete && self.is_needed()).then_some(&self.approvals)
    }

    /// Whether anything is counted.
    pub(super) fn is_needed(&self) -> bool {
        !self.signers.is_empty()
    }

    /// Something is counted. From now on approvals under all these signers are, also once nothing needs them any more: whoever
    /// changes what is counted must not bring about one list after the other. Whether a list has to begin, since
    /// what was approved before was not kept.
    pub(super) fn need(&mut self, managed: &[SignerPattern]) -> bool {
        if self.is_needed() {
            return false;
        }
        self.signers = managed.to_vec();
        self.lose();
        for (uid, (holder, at)) in &self.sent {
            self.approvals.insert(*holder, uid, Some(*at));
        }
        true
    }

    /// Nothing is known until the next list is complete.
    pub(super) fn lose(&mut self) {
        self.complete = false;
        self.listing = None;
    }

    /// Whose certificates are counted where `request` is reviewed, if any are.
    pub(super) fn holder(&self, request: &SigningRequest) -> Option<Holder> {
        self.counts(&request.envelope.signer_name).then(|| Holder::of(request)).flatten()
    }

    /// A list begins.
    pub(super) fn begin_list(&mut self) {
        self.listing = Some(HashSet::new());
    }

    /// The list is complete; of whom there is less now.
    pub(super) fn end_list(&mut self) -> HashSet<Holder> {
        let Some(listing) = self.listing.take() else { return HashSet::new() };
        self.complete = true;
        self.sent.retain(|uid, _| listing.contains(uid));
        self.approvals.retain(|uid, _| listing.contains(uid))
    }

    /// Takes in a request that a watch brought; of whom there is less now.
    pub(super) fn see(&mut self, filed: &Filed) -> Option<Holder> {
        let (uid, counts) = (filed.uid(), self.counts(filed.signer_name()));
        if let Some(listing) = self.listing.as_mut().filter(|_| counts || self.sent.contains_key(uid)) {
            listing.insert(uid.to_owned());
        }
        if !counts {
            if filed.settled().is_some() {
                self.sent.remove(uid);
            }
            return None;
        }
        match filed.approval() {
            Some(approval) => {
                // It is what was on its way.
                let holder = self.sent.remove(uid).map(|(holder, _)| holder).or_else(|| filed.holder())?;
                self.approvals.insert(holder, uid, approval.at);
                None
            }
            None if filed.settled().is_some() => self.withdraw(uid),
            None => None,
        }
    }

    /// A request is gone; of whom there is less now.
    pub(super) fn gone(&mut self, filed: &Filed) -> Option<Holder> {
        let uid = filed.uid();
        let sent = self.sent.remove(uid).map(|(holder, _)| holder);
        if !self.counts(filed.signer_name()) {
            return None;
        }
        let holder = sent.or_else(|| filed.holder())?;
        self.approvals.remove(holder, uid).then_some(holder)
    }

    /// An own approval is on its way.
    pub(super) fn send(&mut self, uid: &str, holder: Holder, now: Timestamp) {
        self.sent.insert(uid.to_owned(), (holder, now));
        if self.is_needed() {
            self.approvals.insert(holder, uid, Some(now));
        }
    }

    /// An own approval was written: a list that begins now shows it.
    pub(super) fn written(&mut self, uid: &str) {
        if !self.is_needed() {
            self.sent.remove(uid);
        }
    }

    /// An own approval was not written; of whom there is less now.
    pub(super) fn withdraw(&mut self, uid: &str) -> Option<Holder> {
        let (holder, _) = self.sent.remove(uid)?;
        self.approvals.remove(holder, uid).then_some(holder)
    }

    /// Drops what is too old to count; of whom there is less now.
    pub(super) fn expire(&mut self, now: Timestamp) -> HashSet<Holder> {
        let sent = &mut self.sent;
        let expired = self.approvals.expire(now);
        if !expired.is_empty() {
            let approvals = &self.approvals;
            sent.retain(|uid, (holder, _)| approvals.has(*holder, uid));
        }
        expired
    }

    fn counts(&self, signer: &str) -> bool {
        self.signers.iter().any(|pattern| pattern.matches(signer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::{SignedDuration, Timestamp};
    use serde_json::{Value, json};

    use super::{Counted, Filed, Holder, SignerPattern};
    use crate::request::CsrObject;
    use crate::review::WINDOW;

    const SIGNER: &str = "example.com/x";

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn holder() -> Holder {
        Holder::new(SIGNER, "w")
    }

    fn object(uid: &str, signer: &str, status: &Value) -> Filed {
        let object: CsrObject = serde_json::from_value(json!({
            "metadata": { "name": uid, "uid": uid },
            "spec": { "signerName": signer, "username": "system:node:w", "groups": ["system:nodes"] },
            "status": { "conditions": status },
        }))
        .unwrap();
        object.into()
    }

    fn pending(uid: &str) -> Filed {
        object(uid, SIGNER, &json!([]))
    }

    fn decided(uid: &str, kind: &str) -> Filed {
        object(uid, SIGNER, &json!([{ "type": kind, "lastTransitionTime": "2026-01-01T12:00:00Z" }]))
    }

    fn approved(uid: &str) -> Filed {
        decided(uid, "Approved")
    }

    /// What is counted after a list of these.
    fn listed(objects: &[Filed]) -> Counted {
        let mut counted = Counted::default();
        assert!(counted.need(&[SignerPattern::new("example.com/*").unwrap()]));
        list(&mut counted, objects);
        counted
    }

    fn list(counted: &mut Counted, objects: &[Filed]) -> HashSet<Holder> {
        counted.begin_list();
        for object in objects {
            counted.see(object);
        }
        counted.end_list()
    }

    fn number(counted: &Counted) -> Option<usize> {
        counted.known().map(crate::review::Approvals::len)
    }

    #[test]
    fn nothing_is_known_without_a_complete_list_and_nothing_kept_that_nobody_counts() {
        let mut counted = Counted::default();
        counted.see(&approved("a"));
        assert!(counted.approvals.is_empty() && number(&counted).is_none());
        let signers = [SignerPattern::new("example.com/*").unwrap()];
        assert!(counted.need(&signers) && !counted.need(&signers));
        counted.see(&approved("a"));
        assert_eq!(number(&counted), None);
        // The rest of a list that began before is not all there is.
        counted.end_list();
        assert_eq!(number(&counted), None);
        list(&mut counted, &[approved("a"), object("b", "other.example.com/x", &json!([{ "type": "Approved" }]))]);
        assert_eq!(number(&counted), Some(1));
        counted.lose();
        assert_eq!(number(&counted), None);
        list(&mut counted, &[approved("a")]);
        assert_eq!(number(&counted), Some(1));
    }

    #[test]
    fn an_own_approval_counts_from_when_it_is_sent_until_the_watch_brings_it() {
        let mut counted = listed(&[pending("a")]);
        counted.send("a", holder(), now());
        assert_eq!(number(&counted), Some(1));
        // A list, or an event, of before it was written.
        assert_eq!(counted.see(&pending("a")), None);
        list(&mut counted, &[pending("a")]);
        assert_eq!(number(&counted), Some(1));
        counted.see(&approved("a"));
        assert_eq!((number(&counted), counted.sent.len()), (Some(1), 0));
        // What is approved stays so, whatever an old list says.
        assert_eq!(counted.withdraw("a"), None);
        list(&mut counted, &[pending("a")]);
        assert_eq!(number(&counted), Some(1));
    }

    #[test]
    fn an_own_approval_that_was_sent_before_anything_was_counted_counts() {
        let managed = [SignerPattern::new("example.com/*").unwrap()];
        let mut counted = Counted::default();
        for uid in ["a", "b", "c", "d"] {
            counted.send(uid, holder(), now());
        }
        counted.see(&approved("b"));
        counted.gone(&pending("c"));
        counted.written("d");
        // A list of before anything was counted.
        list(&mut counted, &[pending("a"), pending("e")]);
        assert!(counted.approvals.is_empty() && counted.sent.len() == 1);
        counted.need(&managed);
        list(&mut counted, &[pending("a")]);
        assert_eq!(number(&counted), Some(1));
        assert_eq!(counted.withdraw("a"), Some(holder()));
    }

    #[test]
    fn what_was_not_written_does_not_count_any_more() {
        let mut counted = listed(&[pending("a"), pending("b"), pending("c"), pending("d")]);
        for uid in ["a", "b", "c", "d"] {
            counted.send(uid, holder(), now());
        }
        assert_eq!(counted.withdraw("a"), Some(holder()));
        assert_eq!(counted.see(&decided("b", "Denied")), Some(holder()));
        assert_eq!(counted.gone(&pending("c")), Some(holder()));
        assert_eq!(number(&counted), Some(1));
        assert_eq!(list(&mut counted, &[]), [holder()].into());
        assert_eq!((number(&counted), counted.sent.len()), (Some(0), 0));
    }

    #[test]
    fn what_is_gone_or_too_old_does_not_count_any_more() {
        let mut counted = listed(&[approved("a"), approved("b"), approved("c")]);
        counted.send("d", holder(), now());
        assert_eq!(counted.gone(&approved("a")), Some(holder()));
        assert_eq!(counted.gone(&approved("a")), None);
        // In a list that another server answers, too.
        assert_eq!(list(&mut counted, &[approved("b"), pending("d")]), [holder()].into());
        assert_eq!(number(&counted), Some(2));
        assert_eq!(counted.expire(now() + WINDOW - SignedDuration::from_secs(1)), HashSet::new());
        assert_eq!(counted.expire(now() + WINDOW), [holder()].into());
        assert_eq!((number(&counted), counted.sent.len()), (Some(0), 0));
    }
}
