//! What was approved for a node lately: the fact that `maxPerHour` is held against.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};

use super::kubelet;
use crate::request::{CsrObject, SigningRequest};

/// How long an approval counts. kube-controller-manager removes an issued request one hour after its
/// approval, and not before, unless the certificate has expired: an hour is what can be known.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Whose certificates are counted together: one node's under one signer. A digest, since a CN may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder([u8; 32]);

impl Holder {
    /// The node of this name, under this signer.
    #[must_use]
    pub fn new(signer: &str, node: &str) -> Self {
        let mut holder = [0; 32];
        // No name of a signer has a line end in it.
        holder.copy_from_slice(digest(&SHA256, format!("{signer}\n{node}").as_bytes()).as_ref());
        Self(holder)
    }

    /// The requestor's own node, or the one whose name somebody else asks for.
    #[must_use]
    pub fn of(request: &SigningRequest) -> Option<Self> {
        let named = || request.content.as_ref().ok().and_then(kubelet::named_node);
        let node = request.envelope.node().or_else(named)?;
        Some(Self::new(&request.envelope.signer_name, node))
    }

    /// The same of an object, which is decoded only where its requestor is no node.
    #[must_use]
    pub fn of_object(object: &CsrObject) -> Option<Self> {
        match object.node() {
            Some(node) => Some(Self::new(object.signer_name(), node)),
            None => Self::of(&object.decoded(object.envelope())),
        }
    }
}

/// The requests that are approved, whoever approved them, by whose certificates they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    /// By the uid of the request when it was approved, if anything says when.
    holders: HashMap<Holder, HashMap<String, Option<Timestamp>>>,
}

/// What was approved for one holder within the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recent {
    /// When, the earliest first.
    dated: Vec<Timestamp>,
    /// How many nothing says the time of: they count for as long as their requests are there.
    undated: usize,
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.dated.len() + self.undated
    }

    /// When there will be fewer than `max`, if time alone brings that about.
    pub(super) fn falls_below(&self, max: usize) -> Option<Timestamp> {
        let last = self.len().checked_sub(max)?;
        self.dated.get(last)?.checked_add(WINDOW).ok()
    }
}

impl Approvals {
    /// The requests among `objects` that are approved, whose signers are `counted`.
    pub fn among<'a>(objects: impl IntoIterator<Item = &'a CsrObject>, counted: impl Fn(&str) -> bool) -> Self {
        let mut approvals = Self::default();
        for object in objects.into_iter().filter(|object| counted(object.signer_name())) {
            if let Some(approval) = object.approval()
                && let Some(holder) = Holder::of_object(object)
            {
                approvals.insert(holder, &object.metadata.uid, approval.at);
            }
        }
        approvals
    }

    /// The request with `uid` was approved; nothing for `at` where nothing says when.
    pub fn insert(&mut self, holder: Holder, uid: &str, at: Option<Timestamp>) {
        self.holders.entry(holder).or_default().insert(uid.to_owned(), at);
    }

    /// The request with `uid` is gone, or was not approved; whether it was there.
    pub fn remove(&mut self, holder: Holder, uid: &str) -> bool {
        let Some(requests) = self.holders.get_mut(&holder) else { return false };
        let there = requests.remove(uid).is_some();
        if requests.is_empty() {
            self.holders.remove(&holder);
        }
        there
    }

    /// Whether the request with `uid` is there.
    #[must_use]
    pub fn has(&self, holder: Holder, uid: &str) -> bool {
        self.holders.get(&holder).is_some_and(|requests| requests.contains_key(uid))
    }

    /// Drops what is older than the window at `now`; whose that was.
    pub fn expire(&mut self, now: Timestamp) -> HashSet<Holder> {
        self.retain(|_, at| counts(at, Some(now)))
    }

    /// Keeps the requests of which `keep` says so, of their uid and of when they were approved; whose the
    /// others were.
    pub fn retain(&mut self, keep: impl Fn(&str, Option<Timestamp>) -> bool) -> HashSet<Holder> {
        let mut dropped = HashSet::new();
        self.holders.retain(|holder, requests| {
            let before = requests.len();
            requests.retain(|uid, at| keep(uid, *at));
            if requests.len() < before {
                dropped.insert(*holder);
            }
            !requests.is_empty()
        });
        dropped
    }

    /// How many requests there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holders.values().map(HashMap::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// What was approved for `holder` within the window that ends `now`, the request with the uid `itself`
    /// excepted. Without a present time all of them count.
    pub(super) fn recent(&self, holder: Holder, now: Option<Timestamp>, itself: &str) -> Recent {
        let mut recent = Recent::default();
        let others = self.holders.get(&holder).into_iter().flatten().filter(|(uid, _)| *uid != itself);
        for at in others.map(|(_, at)| *at).filter(|at| counts(*at, now)) {
            match at {
                Some(at) => recent.dated.push(at),
                None => recent.undated += 1,
            }
        }
        recent.dated.sort_unstable();
        recent
    }
}

/// Whether what was approved at `at` is within the window that ends `now`.
fn counts(at: Option<Timestamp>, now: Option<Timestamp>) -> bool {
    at.zip(now).is_none_or(|(at, now)| now.duration_since(at) < WINDOW)
}
