//! The order in which pending requests are reviewed: each requestor in turn, so that a flood from one
//! holds nobody else up; each request at most once at a time, and again after a failure only when its
//! time has come. What is forgotten leaves it: a replica that does not lead takes nothing out.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::LONGEST_RETRY_AFTER;

/// How long the first failure of a request makes it wait.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest that failures alone make it wait, without jitter.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(7_500);
/// So many keys that were forgotten may stand in the lines, or as many as there are others.
const STALE: usize = 64;

/// Keys that wait for their review, each with its requestor.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The keys of each requestor that has any, in order. What is not in `queued`, as the same pointer, was forgotten, or came
    /// before all others.
    ready: HashMap<String, VecDeque<Arc<str>>>,
    /// The requestors that have any, in the order of their turns.
    turns: VecDeque<String>,
    queued: HashSet<Arc<str>>,
    /// Keys that come before all of these.
    first: VecDeque<Arc<str>>,
    /// How many keys of `ready` and `first` were forgotten.
    stale: usize,
    /// When, and the key, with its requestor.
    later: BTreeMap<(Instant, Arc<str>), String>,
    failures: HashMap<Arc<str>, Failures>,
}

/// How often a key failed, and until when it waits.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    until: Option<Instant>,
    /// Before then it is not tried, whatever changes.
    not_before: Option<Instant>,
    /// It was not what was decided, once already.
    was_another: bool,
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

    /// Something has changed for `key`: it is to be reviewed, at once or, after a failure, as soon as it may be tried again.
    /// Whoever changes it would otherwise choose how often that is.
    pub(super) fn renew(&mut self, key: &Arc<str>, requestor: &str) {
        let now = Instant::now();
        let failures = self.failures.get_mut(key).filter(|failures| failures.not_before.is_some_and(|at| at > now));
        let Some(Failures { until: Some(until), not_before: Some(soonest), .. }) = failures else {
            return self.push(Arc::clone(key), requestor);
        };
        if *soonest < *until {
            self.later.remove(&(*until, Arc::clone(key)));
            *until = *soonest;
            self.later.insert((*until, Arc::clone(key)), requestor.to_owned());
        }
    }

    /// `key` comes before all others: its turn went into finding out what became of it.
    pub(super) fn push_first(&mut self, key: &str) {
        self.leave(key);
        let key: Arc<str> = key.into();
        self.queued.insert(Arc::clone(&key));
        self.first.push_back(key);
    }

    /// `key` failed: it comes again after a wait that doubles with each failure, by up to a
    /// quarter longer so that many do not come at once, or after `at_least`.
    pub(super) fn retry(&mut self, key: &str, requestor: &str, at_least: Duration) {
        let key: Arc<str> = key.into();
        let Failures { count, until, not_before, .. } = self.failures.entry(Arc::clone(&key)).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << (*count).min(6)).min(LONGEST_WAIT);
        *count = count.saturating_add(1);
        let wait = wait.max(at_least);
        let jitter = wait.mul_f64(f64::from(jitter(&key, *count)) / 1024.0);
        let now = Instant::now();
        // What waits for longer than anybody may ask for waits for a change. Nobody asks for less than was asked for before.
        let soonest = (now + FIRST_WAIT.max(at_least.min(LONGEST_RETRY_AFTER))).max(not_before.unwrap_or(now));
        *not_before = Some(soonest);
        let at = (now + wait + jitter).max(soonest);
        if let Some(before) = until.replace(at) {
            self.later.remove(&(before, Arc::clone(&key)));
        }
        self.later.insert((at, key), requestor.to_owned());
    }

    /// `key` was not what was decided: it is tried again, the first time at once, and then like one that failed.
    pub(super) fn try_again(&mut self, key: &str, requestor: &str) {
        if std::mem::replace(&mut self.failures.entry(key.into()).or_default().was_another, true) {
            self.leave(key);
            self.retry(key, requestor, Duration::ZERO);
        } else {
            self.push(key.into(), requestor);
        }
    }

    /// Whether `key` is in a line, so that its turn comes.
    pub(super) fn is_in_line(&self, key: &str) -> bool {
        self.queued.contains(key)
    }

    /// Whether `key` failed, and its time has not come yet.
    pub(super) fn waits(&self, key: &str) -> bool {
        self.failures.get(key).is_some_and(|failures| failures.until.is_some())
    }

    /// `key` is another one now, which has not failed. If it has a place, it keeps it.
    pub(super) fn start_anew(&mut self, key: &str) {
        if let Some((key, Failures { until: Some(at), .. })) = self.failures.remove_entry(key) {
            self.later.remove(&(at, key));
        }
    }

    /// `key` was dealt with, or is gone.
    pub(super) fn forget(&mut self, key: &str) {
        self.start_anew(key);
        self.leave(key);
    }

    /// `key` has no place in the lines any more.
    pub(super) fn leave(&mut self, key: &str) {
        if self.queued.remove(key) {
            self.stale += 1;
            if self.stale > self.queued.len().max(STALE) {
                self.tidy();
            }
        }
    }

    /// Takes out of the lines what was forgotten.
    fn tidy(&mut self) {
        let Self { ready, turns, queued, first, .. } = self;
        first.retain(|key| is_queued(queued, key));
        first.shrink_to_fit();
        ready.retain(|_, keys| {
            keys.retain(|key| is_queued(queued, key));
            keys.shrink_to_fit();
            !keys.is_empty()
        });
        turns.retain(|requestor| ready.contains_key(requestor));
        self.stale = 0;
    }

    /// Moves what has waited long enough to the others.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        while self.next_wake().is_some_and(|at| at <= now) {
            if let Some(((_, key), requestor)) = self.later.pop_first() {
                if let Some(failures) = self.failures.get_mut(&key) {
                    failures.until = None;
                }
                self.push(key, &requestor);
            }
        }
    }

    /// The next key to review: one that comes before all others, or the first one of the requestor whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Arc<str>> {
        while let Some(key) = self.first.pop_front() {
            if is_queued(&self.queued, &key) {
                self.queued.remove(&key);
                return Some(key);
            }
            self.stale = self.stale.saturating_sub(1);
        }
        while let Some(requestor) = self.turns.pop_front() {
            let Some(keys) = self.ready.get_mut(&requestor) else { continue };
            let mut key = keys.pop_front();
            while key.as_ref().is_some_and(|key| !is_queued(&self.queued, key)) {
                self.stale = self.stale.saturating_sub(1);
                key = keys.pop_front();
            }
            if keys.is_empty() {
                self.ready.remove(&requestor);
            } else {
                self.turns.push_back(requestor);
            }
            if let Some(key) = key {
                self.queued.remove(&key);
                return Some(key);
            }
        }
        None
    }

    /// Whether nothing is to be reviewed now.
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// When the next key has waited long enough.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

/// Whether `key` is the one that was put there: one of the same name may have come after it was forgotten.
fn is_queued(queued: &HashSet<Arc<str>>, key: &Arc<str>) -> bool {
    queued.get(key).is_some_and(|queued| Arc::ptr_eq(queued, key))
}

/// 0 to 255, different for different keys.
fn jitter(key: &str, failures: u32) -> u8 {
    key.bytes().fold(failures.to_le_bytes()[0], |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::{FIRST_WAIT, Queue, STALE, VecDeque};
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
    fn what_was_looked_at_comes_before_all_others_and_once() {
        let mut queue = Queue::default();
        for key in ["a", "b", "c"] {
            queue.push(key.into(), key);
        }
        for key in ["c", "d", "e"] {
            queue.push_first(key);
        }
        // It has its place already.
        queue.push("d".into(), "amy");
        queue.forget("e");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["c", "d", "a", "b"]);
        assert!(queue.is_empty() && queue.ready.is_empty() && queue.first.is_empty());
        assert_eq!(queue.stale, 0);
        // Nor does anything stay that was forgotten.
        for index in 0..1000 {
            queue.push_first(&format!("{index}"));
            queue.forget(&format!("{index}"));
            assert!(queue.first.len() <= STALE + 1, "{index}");
        }
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
    fn what_changes_meanwhile_comes_as_soon_as_it_may_be_tried_again() {
        for (at_least, soonest) in [(0, 1), (20, 20), (600, 30)] {
            let mut queue = Queue::default();
            for _ in 0..4 {
                queue.retry("a", "amy", Duration::from_secs(at_least));
            }
            let failed = Instant::now();
            queue.renew(&"a".into(), "amy");
            assert_eq!((queue.pop(), queue.later.len()), (None, 1));
            let wait = queue.next_wake().unwrap() - failed;
            let expected = Duration::from_secs(soonest);
            assert!(wait <= expected && wait > expected.mul_f64(0.5), "{at_least}: {wait:?}");
            // What may be tried already is.
            let failures = queue.failures.get_mut("a").unwrap();
            failures.not_before = Some(failed);
            queue.renew(&"a".into(), "amy");
            assert_eq!(queue.pop().as_deref(), Some("a"));
        }
    }

    #[test]
    fn what_was_asked_for_once_is_kept_to_whatever_fails_meanwhile() {
        let mut queue = Queue::default();
        let failed = Instant::now();
        queue.retry("a", "amy", Duration::from_secs(30));
        queue.retry("a", "amy", Duration::ZERO);
        queue.renew(&"a".into(), "amy");
        assert!(queue.next_wake().unwrap() >= failed + Duration::from_secs(30));
        assert_eq!((queue.pop(), queue.later.len()), (None, 1));
        // Whatever of that name comes after it has not failed.
        queue.start_anew("a");
        queue.renew(&"a".into(), "amy");
        queue.start_anew("a");
        assert_eq!((queue.pop().as_deref(), queue.later.len(), queue.failures.len()), (Some("a"), 0, 0));
    }

    #[test]
    fn what_fails_together_does_not_come_again_together() {
        let mut queue = Queue::default();
        for wait in [FIRST_WAIT, FIRST_WAIT * 2] {
            let mut waits = Vec::new();
            for index in 0..100 {
                let (key, before) = (format!("csr-{index:02}"), Instant::now());
                queue.retry(&key, "amy", Duration::ZERO);
                waits.push(queue.failures[key.as_str()].until.unwrap() - before);
            }
            waits.sort_unstable();
            let (first, last) = (waits[0], waits[99]);
            assert!(first >= wait && last < wait.mul_f64(1.5), "{first:?} {last:?}");
            assert!(last > first + wait.mul_f64(0.15), "{first:?} {last:?}");
            // Nor does most of it: no half of them comes within a twentieth of the wait.
            assert!(waits.windows(50).all(|half| half[49] > half[0] + wait / 20), "{waits:?}");
        }
    }

    #[test]
    fn what_is_forgotten_leaves_the_queue_and_nothing_of_it_stays() {
        let in_lines = |queue: &Queue| queue.ready.values().map(VecDeque::len).sum::<usize>();
        let mut queue = Queue::default();
        for index in 0..1000 {
            let key = format!("{index}");
            queue.push(key.as_str().into(), ["amy", "bob"][index % 2]);
            if index % 3 == 0 {
                queue.retry(&key, "amy", Duration::ZERO);
            }
            // One stays in between.
            if index != 500 {
                queue.forget(&key);
            }
            assert!(in_lines(&queue) <= STALE + 2, "{index}");
        }
        assert_eq!((queue.queued.len(), queue.later.len(), queue.failures.len()), (1, 0, 0));
        queue.push("b".into(), "bob");
        // One that comes again has the place of the new one.
        queue.push("501".into(), "amy");
        queue.forget("501");
        queue.push("502".into(), "bob");
        queue.push("501".into(), "bob");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["500", "b", "502", "501"]);
        assert!(queue.is_empty() && queue.ready.is_empty() && queue.turns.is_empty());
        assert_eq!(queue.stale, 0);
        // What failed is known until it is forgotten.
        queue.retry("a", "amy", Duration::ZERO);
        assert_eq!((queue.failures.len(), queue.later.len()), (1, 1));
        queue.forget("a");
        assert!(queue.failures.is_empty() && queue.next_wake().is_none());
    }
}
