//! The Nodes in memory, while a policy or guardrail needs them, and which pending requests a change
//! of one concerns.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::iter;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::watch::Seen;
use crate::node::{Host, Node, Nodes as Index};
use crate::request::SigningRequest;

/// How long nothing is said about a request whose node is not known yet, since the first list of
/// Nodes may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the watch may be silent before an approval that rests on it: kubelets write their Nodes all the
/// time, and a connection that is dead says nothing either.
const SILENCE: Duration = Duration::from_secs(10);

/// What Nodes a request has to do with: a number for the Node of the requestor or the one that it asks to be, and one for
/// each thing that it asks for. Two that have the same number by chance cost a review more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Concern(Box<[u64]>);

/// The number of a Node's name, or of a [`Host`].
fn number_of(of: &(impl Hash + ?Sized)) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(of)
}

impl Concern {
    /// Of `request`, if it comes from a node or asks for the identity of one.
    pub(super) fn of(request: &SigningRequest) -> Option<Self> {
        let pkcs10 = request.content.as_ref().ok();
        let asked = || pkcs10?.subject.common_name.as_deref()?.strip_prefix("system:node:");
        let name = request.envelope.node().or_else(asked)?;
        let sans = pkcs10.map(|pkcs10| &pkcs10.sans);
        let names = sans.into_iter().flat_map(|sans| &sans.dns_names).filter_map(|name| Host::name(name));
        let addresses = sans.into_iter().flat_map(|sans| &sans.ip_addresses).map(|address| Host::Address(*address));
        let hosts = names.chain(addresses).map(|host| number_of(&host));
        Some(Self(iter::once(number_of(name)).chain(hosts).collect()))
    }

    fn is_about(&self, change: &Change) -> bool {
        match change {
            Change::None => false,
            Change::All => true,
            Change::Nodes(numbers) => self.0.iter().any(|number| numbers.contains(number)),
        }
    }
}

/// What a watch event meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that a verdict depends on.
    None,
    /// Nodes, and who asks for the names and addresses that they claim, by the numbers of a [`Concern`].
    Nodes(HashSet<u64>),
    /// Perhaps everything.
    All,
}

impl Change {
    fn of<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        let mut numbers = HashSet::new();
        for node in nodes {
            numbers.insert(number_of(node.name.as_str()));
            numbers.extend(node.claims().map(|host| number_of(&host)));
        }
        Self::Nodes(numbers)
    }

    /// Whether a request that is concerned by `concern` is to be reviewed again.
    pub(super) fn concerns(&self, concern: Option<&Concern>) -> bool {
        concern.is_some_and(|concern| concern.is_about(self))
    }
}

/// What a consistent read found that the watch has not brought yet.
#[derive(Debug)]
struct Ahead {
    name: String,
    /// Its version, or nothing if it is gone.
    version: Option<String>,
    since: Instant,
}

impl Ahead {
    /// Whether `node`, as the watch has it, is no older than what was found.
    fn is_reached_by(&self, node: &Node) -> bool {
        // Versions of one resource compare as numbers (Kubernetes API concepts, "resource versions").
        let number = |text: &str| text.parse::<u64>().ok();
        match self.version.as_deref() {
            None => false,
            Some(version) => number(version).is_none_or(|version| number(&node.resource_version) >= Some(version)),
        }
    }
}

/// The Nodes that reviews are held against.
#[derive(Debug)]
pub(super) struct Nodes {
    index: Index,
    /// What a list in progress has brought so far; nothing where none has begun, so that the rest of one
    /// that began earlier is not taken for all.
    listing: Option<Index>,
    synced: bool,
    /// When the watch brought something last.
    heard: Instant,
    /// Whether anything in force needs them; the watch runs while it does.
    needed: watch::Sender<bool>,
    /// Until when a list is waited for without a word.
    patient_until: Option<Instant>,
    ahead: Option<Ahead>,
}

impl Nodes {
    pub(super) fn new(needed: watch::Sender<bool>) -> Self {
        Self {
            index: Index::default(),
            listing: None,
            synced: false,
            heard: Instant::now(),
            needed,
            patient_until: None,
            ahead: None,
        }
    }

    /// The Nodes, if they are known: nothing without a complete list and an unbroken watch.
    pub(super) fn known(&self) -> Option<&Index> {
        (self.synced && *self.needed.borrow()).then_some(&self.index)
    }

    /// Whether anything in force needs them; what is not needed is not kept. Returns whether the watch has
    /// to begin anew: it may not have seen that they were not needed for a moment.
    pub(super) fn need(&mut self, needed: bool) -> bool {
        let changed = self.needed.send_if_modified(|before| std::mem::replace(before, needed) != needed);
        if changed {
            self.index = Index::default();
            self.listing = None;
            self.synced = false;
            self.ahead = None;
            self.patient_until = needed.then(|| Instant::now() + PATIENCE);
        }
        changed && needed
    }

    /// Whether a list of Nodes is on its way, as far as anybody knows: too early to say that none is known.
    pub(super) fn are_awaited(&self) -> bool {
        !self.synced && self.patient_until.is_some()
    }

    /// Whether it has just become clear that the list does not come; asked once.
    pub(super) fn have_not_come(&mut self) -> bool {
        let over = self.patient_until.is_some_and(|until| self.synced || until <= Instant::now());
        if over {
            self.patient_until = None;
        }
        over && !self.synced
    }

    /// Whether the watch has been silent for too long to rest an approval on. Nothing is known then until
    /// the next list is complete.
    pub(super) fn distrust(&mut self) -> bool {
        let silent = self.synced && self.heard.elapsed() > SILENCE;
        if silent {
            self.lose();
        }
        silent
    }

    /// Takes in what the watch brought.
    pub(super) fn see(&mut self, seen: Seen<Node>) -> Change {
        self.heard = Instant::now();
        if let Seen::Deleted(node) = &seen {
            // What was found is gone since.
            self.ahead.take_if(|ahead| ahead.name == node.name && ahead.is_reached_by(node));
        }
        let change = match seen {
            Seen::Restarted => {
                self.listing = Some(Index::default());
                self.lose()
            }
            Seen::Listed(node) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(node);
                }
                Change::None
            }
            Seen::Synced => match self.listing.take() {
                Some(listing) => {
                    self.index = listing;
                    self.synced = true;
                    Change::All
                }
                None => Change::None,
            },
            Seen::Changed(node) => {
                let before = self.index.get(&node.name).cloned();
                let now = node.clone();
                if self.index.insert(node) {
                    Change::of(before.as_deref().into_iter().chain([&now]))
                } else {
                    Change::None
                }
            }
            Seen::Deleted(node) => match self.index.remove(&node.name) {
                Some(before) => Change::of([before.as_ref()]),
                None => Change::None,
            },
            Seen::Lost => {
                self.listing = None;
                self.lose()
            }
        };
        if self.ahead.as_ref().is_some_and(|ahead| self.has_reached(ahead)) {
            self.ahead = None;
        }
        change
    }

    fn lose(&mut self) -> Change {
        if std::mem::replace(&mut self.synced, false) && *self.needed.borrow() {
            // The next list is complete in a moment, if nothing is wrong.
            self.patient_until = Some(Instant::now() + PATIENCE);
        }
        Change::None
    }

    /// A consistent read found `name` in another state than the one in memory: `version`, or gone.
    pub(super) fn found_ahead(&mut self, name: &str, version: Option<String>) {
        let ahead = Ahead { name: name.to_owned(), version, since: Instant::now() };
        if self.ahead.is_none() && !self.has_reached(&ahead) {
            self.ahead = Some(ahead);
        }
    }

    /// Whether the watch has been behind a consistent read for longer than `limit`; asked once.
    pub(super) fn lag(&mut self, limit: Duration) -> bool {
        self.ahead.take_if(|ahead| ahead.since.elapsed() > limit).is_some()
    }

    fn has_reached(&self, ahead: &Ahead) -> bool {
        match self.index.get(&ahead.name) {
            Some(node) => ahead.is_reached_by(node),
            None => ahead.version.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Change, Concern, Index, Nodes, SILENCE, Seen, number_of};
    use crate::node::{Host, Node};

    fn node(name: &str, version: &str, address: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": name, "uid": name, "resourceVersion": version },
            "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
        }))
        .unwrap()
    }

    fn needed() -> Nodes {
        let mut nodes = Nodes::new(tokio::sync::watch::Sender::new(false));
        assert!(nodes.need(true) && !nodes.need(true));
        nodes
    }

    fn synced(list: impl IntoIterator<Item = Node>) -> Nodes {
        let mut nodes = needed();
        nodes.see(Seen::Restarted);
        for node in list {
            assert_eq!(nodes.see(Seen::Listed(node)), Change::None);
        }
        assert_eq!(nodes.see(Seen::Synced), Change::All);
        nodes
    }

    fn concern(name: &str, address: &str) -> Concern {
        Concern([number_of(name)].into_iter().chain(Host::address(address).map(|host| number_of(&host))).collect())
    }

    #[test]
    fn nothing_is_known_without_a_complete_list_and_an_unbroken_watch() {
        let mut nodes = needed();
        assert!(nodes.known().is_none() && nodes.are_awaited());
        nodes.see(Seen::Restarted);
        nodes.see(Seen::Listed(node("a", "1", "10.0.0.1")));
        assert!(nodes.known().is_none());
        nodes.see(Seen::Synced);
        assert_eq!(nodes.known().map(Index::len), Some(1));
        nodes.see(Seen::Lost);
        assert!(nodes.known().is_none() && nodes.are_awaited());
        // What is not needed is not kept, and the end of its watch means nothing.
        let mut nodes = synced([node("a", "1", "10.0.0.1")]);
        nodes.need(false);
        nodes.see(Seen::Lost);
        assert!(nodes.known().is_none() && !nodes.are_awaited());
        nodes.need(true);
        assert!(nodes.known().is_none());
        // The rest of a list that began before is not all there is.
        nodes.see(Seen::Listed(node("b", "1", "10.0.0.2")));
        assert_eq!(nodes.see(Seen::Synced), Change::None);
        assert!(nodes.known().is_none());
    }

    #[test]
    fn a_watch_that_is_silent_is_not_believed() {
        let mut nodes = synced([node("a", "1", "10.0.0.1")]);
        assert!(!nodes.distrust() && nodes.known().is_some());
        nodes.heard = nodes.heard.checked_sub(SILENCE + Duration::from_millis(1)).unwrap();
        assert!(nodes.distrust());
        assert!(nodes.known().is_none() && nodes.are_awaited());
        // A heartbeat is enough.
        let mut nodes = synced([node("a", "1", "10.0.0.1")]);
        nodes.heard = nodes.heard.checked_sub(SILENCE + Duration::from_millis(1)).unwrap();
        nodes.see(Seen::Changed(node("a", "2", "10.0.0.1")));
        assert!(!nodes.distrust());
    }

    #[test]
    fn a_change_concerns_the_node_itself_and_whoever_asks_for_what_it_carries_or_carried() {
        let mut nodes = synced([node("a", "1", "10.0.0.1"), node("b", "1", "10.0.0.2")]);
        // A heartbeat.
        assert_eq!(nodes.see(Seen::Changed(node("a", "2", "10.0.0.1"))), Change::None);
        let change = nodes.see(Seen::Changed(node("a", "3", "10.0.0.9")));
        for (concern, expected) in [
            (concern("a", "10.0.0.5"), true),
            (concern("b", "10.0.0.1"), true),
            (concern("b", "10.0.0.9"), true),
            (concern("b", "10.0.0.2"), false),
        ] {
            assert_eq!(change.concerns(Some(&concern)), expected, "{concern:?}");
        }
        assert!(!change.concerns(None));
        let change = nodes.see(Seen::Deleted(node("a", "4", "10.0.0.9")));
        assert!(change.concerns(Some(&concern("b", "10.0.0.9"))));
        assert_eq!(nodes.see(Seen::Deleted(node("a", "4", "10.0.0.9"))), Change::None);
    }

    #[test]
    fn a_watch_that_does_not_reach_what_was_read_lags() {
        let at_once = Duration::ZERO;
        let mut nodes = synced([node("a", "5", "10.0.0.1")]);
        // The watch has it already.
        nodes.found_ahead("a", Some("5".to_owned()));
        assert!(!nodes.lag(at_once));
        nodes.found_ahead("a", Some("10".to_owned()));
        assert!(!nodes.lag(Duration::from_secs(60)));
        nodes.see(Seen::Changed(node("a", "9", "10.0.0.1")));
        std::thread::sleep(Duration::from_millis(2));
        assert!(nodes.lag(at_once));
        assert!(!nodes.lag(at_once), "asked once");
        // What a node does to itself all the time is no lag: the watch gets there.
        nodes.found_ahead("a", Some("12".to_owned()));
        nodes.see(Seen::Changed(node("a", "12", "10.0.0.2")));
        assert!(!nodes.lag(at_once));
        // One that the watch has not brought at all.
        nodes.found_ahead("new", Some("11".to_owned()));
        std::thread::sleep(Duration::from_millis(2));
        assert!(nodes.lag(at_once));
        nodes.found_ahead("new", Some("11".to_owned()));
        nodes.see(Seen::Changed(node("new", "11", "10.0.0.3")));
        assert!(!nodes.lag(at_once));
        // Or brings when it is gone already.
        nodes.found_ahead("newer", Some("14".to_owned()));
        nodes.see(Seen::Deleted(node("newer", "15", "10.0.0.4")));
        assert!(!nodes.lag(at_once));
        // One that is gone.
        nodes.found_ahead("a", None);
        std::thread::sleep(Duration::from_millis(2));
        assert!(nodes.lag(at_once));
        nodes.found_ahead("a", None);
        nodes.see(Seen::Deleted(node("a", "13", "10.0.0.2")));
        assert!(!nodes.lag(at_once));
    }
}
