//! The order in which pending requests are reviewed: each requestor in turn, so that a flood from one
//! holds nobody else up; each request at most once at a time, and again after a failure only when its
//! time has come.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure: with its jitter below ten seconds, in which work goes on once the API server does.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(7_500);

/// Keys that wait for their review, each with its requestor.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The keys of each requestor that has any, in order.
    ready: HashMap<String, VecDeque<Arc<str>>>,
    /// The requestors that have any, in the order of their turns.
    turns: VecDeque<String>,
    queued: HashSet<Arc<str>>,
    /// When, the key, and its requestor.
    later: BTreeSet<(Instant, Arc<str>, String)>,
    failures: HashMap<String, u32>,
}

impl Queue {
    /// `key` of `requestor` is to be reviewed, once, however often this is called before it is.
    pub(super) fn push(&mut self, key: Arc<str>, requestor: &str) {
        if !self.queued.insert(Arc::clone(&key)) {
            return;
        }
        match self.ready.get_mut(requestor) {
            Some(keys) => keys.push_back(key),
            None => {
                self.turns.push_back(requestor.to_owned());
                self.ready.insert(requestor.to_owned(), VecDeque::from([key]));
            }
        }
    }

    /// `key` failed: it comes again after a wait that doubles with each failure, by up to a
    /// quarter longer so that many do not come at once, or after `at_least`.
    pub(super) fn retry(&mut self, key: &str, requestor: &str, at_least: Duration) {
        let failures = self.failures.entry(key.to_owned()).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << (*failures).min(6)).min(LONGEST_WAIT);
        *failures = failures.saturating_add(1);
        let wait = wait.max(at_least);
        let jitter = wait.mul_f64(f64::from(jitter(key, *failures)) / 1024.0);
        self.later.insert((Instant::now() + wait + jitter, Arc::from(key), requestor.to_owned()));
    }

    /// `key` was dealt with, or is gone.
    pub(super) fn forget(&mut self, key: &str) {
        self.failures.remove(key);
    }

    /// Moves what has waited long enough to the others.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        while self.later.first().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, key, requestor)) = self.later.pop_first() {
                self.push(key, &requestor);
            }
        }
    }

    /// The next key to review: the first one of the requestor whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Arc<str>> {
        let requestor = self.turns.pop_front()?;
        let keys = self.ready.get_mut(&requestor)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.ready.remove(&requestor);
        } else {
            self.turns.push_back(requestor);
        }
        let key = key?;
        self.queued.remove(&key);
        Some(key)
    }

    /// Whether nothing is to be reviewed now.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// When the next key has waited long enough.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first().map(|(at, ..)| *at)
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
            queue.later.clear();
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
}
