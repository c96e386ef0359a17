//! How many decisions are on their way at a time: as many as the API server bears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::LONGEST_WAIT;
use crate::request::CsrObject;

/// The most at a time.
const MOST: usize = 16;
/// What was on its way together is refused together: it counts once.
const ONCE: Duration = Duration::from_secs(1);
/// For how long none may come through before they are sent one by one.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time from one to the next then: the API server has enough to do.
const PACE: Duration = Duration::from_millis(100);

/// Decisions on their way. A refusal halves how many there may be, and as many answers as there may be
/// allow one more. While none comes through, each waits a while after the one before.
#[derive(Debug)]
pub(super) struct Flight {
    on_their_way: usize,
    /// What is on its way about each request, by its uid.
    about: HashMap<String, About>,
    limit: usize,
    /// Answers since the limit changed.
    answered: usize,
    lowered_at: Option<Instant>,
    failing: Option<Failing>,
}

/// What is on its way about one request.
#[derive(Debug, Default)]
struct About {
    number: usize,
    /// The request as the watch has brought it since, decided by somebody.
    shown: Option<Arc<CsrObject>>,
}

/// Since when none came through, when the last failed, and when the next may be sent.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    last: Instant,
    next: Instant,
}

impl Default for Flight {
    fn default() -> Self {
        Self { on_their_way: 0, about: HashMap::new(), limit: MOST, answered: 0, lowered_at: None, failing: None }
    }
}

impl Flight {
    /// Whether no more may be sent now.
    pub(super) fn is_full(&self) -> bool {
        self.on_their_way >= self.limit
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.on_their_way == 0
    }

    /// Whether one is on its way about the request with `uid`.
    pub(super) fn is_about(&self, uid: &str) -> bool {
        self.about.contains_key(uid)
    }

    /// The watch has brought the request, decided: if something is on its way about it, that may be what it has.
    pub(super) fn show(&mut self, object: &Arc<CsrObject>) {
        if let Some(about) = self.about.get_mut(&object.metadata.uid) {
            about.shown = Some(Arc::clone(object));
        }
    }

    /// When the next may be sent, if that is not now: too many have failed, and none came through.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.failing.map(|failing| failing.next).filter(|next| *next > Instant::now())
    }

    /// Whether one has failed, and none come through since.
    #[cfg(test)]
    pub(super) const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// None has come through for so long.
    #[cfg(test)]
    pub(super) fn fails_since(&mut self, ago: Duration) {
        let now = Instant::now();
        self.failing = Some(Failing { since: now.checked_sub(ago).unwrap_or(now), last: now, next: now });
    }

    /// One has failed, for whatever reason.
    pub(super) fn failed(&mut self) {
        let now = Instant::now();
        self.failing.get_or_insert(Failing { since: now, last: now, next: now }).last = now;
    }

    /// One has come through.
    pub(super) fn came_through(&mut self) {
        self.failing = None;
    }

    /// One more is on its way, about the request with `uid`.
    pub(super) fn depart(&mut self, uid: &str) {
        self.on_their_way += 1;
        self.about.entry(uid.to_owned()).or_default().number += 1;
        // Those that failed may all have been decided by somebody else.
        self.failing = self.failing.filter(|failing| failing.last.elapsed() < LONGEST_WAIT * 2);
        if let Some(failing) = self.failing.as_mut().filter(|failing| failing.since.elapsed() > PATIENCE) {
            failing.next = Instant::now() + PACE;
        }
    }

    /// One has arrived, about the request with `uid`, and the API server was too busy for it, or not, or nobody knows. With the request as the
    /// watch has [shown](Self::show) it in the meantime, if it has.
    pub(super) fn arrive(&mut self, uid: &str, too_busy: Option<bool>) -> Option<Arc<CsrObject>> {
        self.on_their_way = self.on_their_way.saturating_sub(1);
        let mut shown = None;
        if let Some(about) = self.about.get_mut(uid) {
            about.number -= 1;
            shown.clone_from(&about.shown);
            if about.number == 0 {
                self.about.remove(uid);
            }
        }
        match too_busy {
            Some(false) => {
                self.answered += 1;
                if self.answered >= self.limit {
                    self.answered = 0;
                    self.limit = MOST.min(self.limit + 1);
                }
            }
            Some(true) if self.lowered_at.is_none_or(|at| at.elapsed() >= ONCE) => {
                self.lowered_at = Some(Instant::now());
                self.answered = 0;
                self.limit = (self.limit / 2).max(1);
            }
            _ => {}
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Arc, CsrObject, Flight, LONGEST_WAIT, MOST, PACE, PATIENCE};

    /// How many can be sent until it is full.
    fn places(flight: &mut Flight) -> usize {
        let mut places = 0;
        while !flight.is_full() {
            flight.depart("a");
            places += 1;
        }
        places
    }

    #[test]
    fn a_busy_api_server_gets_fewer_at_a_time_and_more_again_once_it_answers() {
        let mut flight = Flight::default();
        assert_eq!(places(&mut flight), MOST);
        // All that are refused together count once.
        for _ in 0..MOST {
            flight.arrive("a", Some(true));
        }
        assert!(flight.is_empty());
        assert_eq!(places(&mut flight), MOST / 2);
        for _ in 0..MOST / 2 {
            flight.arrive("a", Some(false));
        }
        assert_eq!(places(&mut flight), MOST / 2 + 1);
        for _ in 0..MOST * MOST {
            flight.arrive("a", Some(false));
            flight.depart("a");
        }
        assert_eq!(places(&mut flight) + MOST / 2 + 1, MOST);
    }

    #[test]
    fn while_none_comes_through_they_are_sent_one_after_the_other() {
        let ago = |by: Duration| Instant::now().checked_sub(by).unwrap();
        let mut flight = Flight::default();
        flight.failed();
        flight.depart("a");
        // One failure is nothing yet.
        assert_eq!(flight.waits_until(), None);
        flight.failing.as_mut().unwrap().since = ago(PATIENCE * 2);
        flight.depart("a");
        assert!(flight.waits_until().is_some_and(|next| next > ago(PACE) && next <= Instant::now() + PACE));
        flight.came_through();
        assert_eq!(flight.waits_until(), None);
        // Nor does a failure of long ago keep anything back.
        flight.failed();
        let failing = flight.failing.as_mut().unwrap();
        (failing.since, failing.last) = (ago(LONGEST_WAIT * 3), ago(LONGEST_WAIT * 3));
        flight.depart("a");
        assert_eq!(flight.waits_until(), None);
    }

    #[test]
    fn what_is_on_its_way_is_known_by_its_request_until_the_last_has_arrived() {
        let mut flight = Flight::default();
        for uid in ["a", "a", "b"] {
            flight.depart(uid);
        }
        flight.arrive("a", Some(false));
        flight.arrive("b", Some(false));
        assert!(flight.is_about("a") && !flight.is_about("b"));
        flight.arrive("a", Some(false));
        assert!(!flight.is_about("a") && flight.is_empty());
    }

    #[test]
    fn what_the_watch_shows_is_told_to_all_that_were_on_their_way_then() {
        let object = |uid: &str| -> Arc<CsrObject> {
            Arc::new(serde_json::from_value(serde_json::json!({ "metadata": { "uid": uid } })).unwrap())
        };
        let mut flight = Flight::default();
        flight.depart("a");
        flight.depart("a");
        flight.show(&object("a"));
        flight.show(&object("b"));
        assert!(flight.arrive("a", Some(false)).is_some() && flight.arrive("a", Some(false)).is_some());
        flight.depart("a");
        flight.depart("b");
        assert!(flight.arrive("a", Some(false)).is_none() && flight.arrive("b", Some(false)).is_none());
    }

    #[test]
    fn there_is_always_one() {
        let mut flight = Flight::default();
        for _ in 0..10 {
            flight.lowered_at = None;
            flight.arrive("a", Some(true));
        }
        assert_eq!(places(&mut flight), 1);
    }
}
