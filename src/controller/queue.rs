//! The order in which pending requests are reviewed: each requestor in turn, so that a flood from one
//! holds nobody else up; each request at most once at a time, and again after a failure only when its
//! time has come. What is forgotten leaves it at once: a replica that does not lead takes nothing out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure: with its jitter below ten seconds, in which work goes on once the API server does.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(7_500);

/// Keys that wait for their review, each with its requestor.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The keys of each requestor that has any to review now.
    ready: HashMap<Arc<str>, Line>,
    /// These requestors, in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
    /// When, the key, and its requestor.
    later: BTreeMap<(Instant, Arc<str>), Arc<str>>,
    keys: HashMap<Arc<str>, Key>,
    /// How many numbers were given to turns and keys: later ones get higher ones.
    numbers: u64,
}

/// The keys of one requestor, in order.
#[derive(Debug)]
struct Line {
    turn: u64,
    keys: BTreeMap<u64, Arc<str>>,
}

/// Where a key waits, and how often it failed.
#[derive(Debug, Default)]
struct Key {
    /// In the line of this requestor, with this number.
    ready: Option<(Arc<str>, u64)>,
    /// Until then.
    later: Option<Instant>,
    failures: u32,
}

impl Queue {
    /// `key` of `requestor` is to be reviewed, once, however often this is called before it is.
    pub(super) fn push(&mut self, key: Arc<str>, requestor: &str) {
        let known = self.keys.entry(Arc::clone(&key)).or_default();
        if known.ready.is_some() {
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        let requestor = match self.ready.get_key_value(requestor) {
            Some((requestor, _)) => Arc::clone(requestor),
            None => {
                let requestor: Arc<str> = requestor.into();
                self.turns.insert(number, Arc::clone(&requestor));
                self.ready.insert(Arc::clone(&requestor), Line { turn: number, keys: BTreeMap::new() });
                requestor
            }
        };
        if let Some(line) = self.ready.get_mut(&requestor) {
            line.keys.insert(number, key);
        }
        known.ready = Some((requestor, number));
    }

    /// `key` failed: it comes again after a wait that doubles with each failure, by up to a
    /// quarter longer so that many do not come at once, or after `at_least`.
    pub(super) fn retry(&mut self, key: &str, requestor: &str, at_least: Duration) {
        let key: Arc<str> = key.into();
        let known = self.keys.entry(Arc::clone(&key)).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << known.failures.min(6)).min(LONGEST_WAIT);
        known.failures = known.failures.saturating_add(1);
        let wait = wait.max(at_least);
        let jitter = wait.mul_f64(f64::from(jitter(&key, known.failures)) / 1024.0);
        let at = Instant::now() + wait + jitter;
        if let Some(before) = known.later.replace(at) {
            self.later.remove(&(before, Arc::clone(&key)));
        }
        self.later.insert((at, key), requestor.into());
    }

    /// `key` was dealt with, or is gone.
    pub(super) fn forget(&mut self, key: &str) {
        let Some((key, Key { ready, later, .. })) = self.keys.remove_entry(key) else { return };
        if let Some(at) = later {
            self.later.remove(&(at, key));
        }
        if let Some((requestor, number)) = ready
            && let Some(line) = self.ready.get_mut(&requestor)
        {
            line.keys.remove(&number);
            if line.keys.is_empty() {
                self.turns.remove(&line.turn);
                self.ready.remove(&requestor);
            }
        }
    }

    /// Moves what has waited long enough to the others.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        while self.next_wake().is_some_and(|at| at <= now) {
            if let Some(((_, key), requestor)) = self.later.pop_first() {
                if let Some(known) = self.keys.get_mut(&key) {
                    known.later = None;
                }
                self.push(key, &requestor);
            }
        }
    }

    /// The next key to review: the first one of the requestor whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Arc<str>> {
        let (_, requestor) = self.turns.pop_first()?;
        let line = self.ready.get_mut(&requestor)?;
        let key = line.keys.pop_first().map(|(_, key)| key);
        if line.keys.is_empty() {
            self.ready.remove(&requestor);
        } else {
            self.numbers += 1;
            line.turn = self.numbers;
            self.turns.insert(self.numbers, requestor);
        }
        let key = key?;
        if let Some(known) = self.keys.get_mut(&key) {
            known.ready = None;
            if known.later.is_none() && known.failures == 0 {
                self.keys.remove(&key);
            }
        }
        Some(key)
    }

    /// Whether nothing is to be reviewed now.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// When the next key has waited long enough.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

/// 0 to 255, different for different keys.
fn jitter(key: &str, failures: u32) -> u8 {
    key.bytes().fold(failures.to_le_bytes()[0], |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use std::time::{Duration, Instant};

    #[test]
    fn a_key_is_queued_once() {
        let mut queue = Queue::default();
        queue.push("a".into(), "amy");
        queue.push("b".into(), "amy");
        queue.push("a".into(), "amy");
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some("a".into()), Some("b".into()), None));
        assert!(queue.is_empty());
        queue.push("a".into(), "amy");
        assert_eq!(queue.pop(), Some("a".into()));
    }

    #[test]
    fn each_requestor_has_its_turn() {
        let mut queue = Queue::default();
        for index in 0..1000 {
            queue.push(format!("flood-{index}").into(), "mallory");
        }
        queue.push("a".into(), "amy");
        queue.push("b".into(), "bob");
        queue.push("c".into(), "amy");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let first: Vec<&str> = order[..6].iter().map(AsRef::as_ref).collect();
        assert_eq!(first, ["flood-0", "a", "b", "flood-1", "c", "flood-2"]);
        assert_eq!(order.len(), 1003);
        assert!(order[6..].is_sorted_by_key(|key| key["flood-".len()..].parse::<u32>().unwrap()));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_failed_key_waits_longer_each_time_and_at_least_as_long_as_asked() {
        let mut queue = Queue::default();
        let wait = |queue: &mut Queue, at_least| {
            let before = Instant::now();
            queue.retry("a", "amy", at_least);
            queue.next_wake().unwrap() - before
        };
        let first = wait(&mut queue, Duration::ZERO);
        assert!(first >= Duration::from_secs(1) && first < Duration::from_secs(2), "{first:?}");
        assert!(wait(&mut queue, Duration::ZERO) >= Duration::from_secs(2));
        assert!(wait(&mut queue, Duration::from_secs(90)) >= Duration::from_secs(90));
        queue.wake();
        assert_eq!(queue.pop(), None);
        queue.forget("a");
        assert!(wait(&mut queue, Duration::ZERO) < Duration::from_secs(2));
    }

    #[test]
    fn what_is_forgotten_leaves_the_queue_and_nothing_of_it_stays() {
        let mut queue = Queue::default();
        for index in 0..1000 {
            let key = format!("{index}");
            queue.push(key.as_str().into(), ["amy", "bob"][index % 2]);
            if index % 3 == 0 {
                queue.retry(&key, "amy", Duration::ZERO);
            }
            // One stays in between, so that the line of its requestor does.
            if index != 500 {
                queue.forget(&key);
            }
        }
        assert_eq!((queue.keys.len(), queue.turns.len(), queue.ready.len(), queue.later.len()), (1, 1, 1, 0));
        queue.push("b".into(), "bob");
        queue.push("501".into(), "amy");
        queue.forget("501");
        queue.push("501".into(), "bob");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["500", "b", "501"]);
        assert!(queue.keys.is_empty() && queue.ready.is_empty() && queue.is_empty());
        // What failed is known until it is forgotten.
        queue.retry("a", "amy", Duration::ZERO);
        assert_eq!((queue.keys.len(), queue.later.len()), (1, 1));
        queue.forget("a");
        assert!(queue.keys.is_empty() && queue.next_wake().is_none());
    }
}
