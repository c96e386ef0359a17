//! What was filed, and what became of each request: decided as it must be, once, and none lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Api, eventually};

use super::faults::{Bench, REQUESTS};
use super::{Request, anyhow_if};

/// How long a decided request is kept, so that a second decision would be seen.
const KEPT: Duration = Duration::from_secs(3);

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// For what the policies of these tests permit.
    Permitted,
    /// For a group that none of them permits.
    Forbidden,
}

impl Asks {
    /// Every third asks for what is forbidden.
    pub(super) fn of(number: usize) -> Self {
        if number % 3 == 2 { Self::Forbidden } else { Self::Permitted }
    }

    fn manifest(self) -> &'static Value {
        static PERMITTED: OnceLock<Value> = OnceLock::new();
        static FORBIDDEN: OnceLock<Value> = OnceLock::new();
        match self {
            Self::Permitted => PERMITTED.get_or_init(|| Request::new("", "/CN=amy/O=developers").manifest()),
            Self::Forbidden => {
                FORBIDDEN.get_or_init(|| Request::new("", "/CN=eve/O=kubeadm:cluster-admins").manifest())
            }
        }
    }

    /// The only decision that there may be.
    fn decision(self) -> &'static str {
        match self {
            Self::Permitted => "Approved",
            Self::Forbidden => "Denied",
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    asks: Asks,
    /// When it was filed, or the last try began.
    filed: Instant,
    /// The conditions that it first had, and when they were seen.
    decided: Option<(Instant, Value)>,
    /// The version that had them, in an order that holds for all objects: all are in one etcd.
    version: u64,
    gone: bool,
}

#[derive(Default)]
struct Book {
    entries: BTreeMap<String, Entry>,
    /// What must never be, as it was seen.
    wrong: Vec<String>,
}

/// Files requests, and follows each of them on a connection of its own, also through the absence of the
/// API server, until this is dropped.
pub(super) struct Ledger {
    book: Arc<Mutex<Book>>,
    over: Arc<AtomicBool>,
    api: Api,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Ledger {
    pub(super) fn start(bench: &Bench) -> Self {
        let ledger = Self { book: Arc::default(), over: Arc::default(), api: bench.cluster.plane.api().unwrap() };
        let (api, book, over) =
            (bench.cluster.plane.api().unwrap(), Arc::clone(&ledger.book), Arc::clone(&ledger.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                // Without the API server there is nothing to see.
                let _ = follow(&api, &book, &over);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        ledger
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// Files a request, as often as it takes.
    pub(super) fn file(&self, name: &str, signer: &str, asks: Asks) {
        let mut manifest = asks.manifest().clone();
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["signerName"] = json!(signer);
        let begin = Instant::now();
        loop {
            let entry = Entry { asks, filed: Instant::now(), decided: None, version: 0, gone: false };
            self.book().entries.entry(name.to_owned()).or_insert(entry.clone()).filed = entry.filed;
            match self.api.call("POST", REQUESTS, Some(&manifest)) {
                // 409: an earlier try came through, and its answer did not.
                Ok((201 | 409, _)) => return,
                Ok((429 | 500..=599, _)) | Err(_) if begin.elapsed() < Duration::from_secs(120) => {}
                other => panic!("{name} cannot be filed: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Deletes those whose names begin with `prefix` and that were decided a while ago.
    pub(super) fn clear(&self, prefix: &str) {
        let due: Vec<String> = {
            let book = self.book();
            let here = book.of(prefix).filter(|(_, entry)| !entry.gone);
            let due = here.filter(|(_, entry)| entry.decided.as_ref().is_some_and(|(at, _)| at.elapsed() > KEPT));
            due.map(|(name, _)| name.clone()).collect()
        };
        for name in due {
            let _ = self.api.call("DELETE", &format!("{REQUESTS}/{name}"), None);
        }
    }

    /// When the first decision was seen about a request that was filed after `since` and whose name begins with
    /// `prefix`.
    pub(super) fn decided_since(&self, prefix: &str, since: Instant) -> Option<Instant> {
        let book = self.book();
        let later = book.of(prefix).filter(|(_, entry)| entry.filed > since);
        later.filter_map(|(_, entry)| entry.decided.as_ref().map(|(at, _)| *at)).min()
    }

    /// The names of all that were filed, and how many were approved and denied.
    pub(super) fn filed(&self) -> (Vec<String>, usize, usize) {
        let book = self.book();
        let with = |asks: Asks| book.entries.values().filter(|entry| entry.asks == asks).count();
        (book.entries.keys().cloned().collect(), with(Asks::Permitted), with(Asks::Forbidden))
    }

    /// Every decision.
    pub(super) fn decisions(&self) -> Vec<Decision> {
        let book = self.book();
        let decided = book.entries.iter().filter_map(|(name, entry)| {
            let (at, _) = entry.decided.as_ref()?;
            let Entry { asks, filed, version, .. } = *entry;
            Some(Decision { name: name.clone(), asks, filed, at: *at, version })
        });
        decided.collect()
    }

    /// Waits until every request is decided, then asserts that each was decided as it must be, once, and that
    /// what is still there has that one condition. `story` says what happened, for whoever has to find out.
    #[track_caller]
    pub(super) fn balances(&self, within: Duration, story: impl Fn() -> String) {
        let decided = eventually("every request is decided", within, || {
            let book = self.book();
            let pending: Vec<&String> =
                book.entries.iter().filter(|(_, entry)| entry.decided.is_none()).map(|(name, _)| name).collect();
            anyhow_if(pending.is_empty() || !book.wrong.is_empty(), &format!("{pending:?} are pending"))
        });
        // What comes a second time comes soon.
        std::thread::sleep(KEPT);
        let book = self.book();
        assert!(book.wrong.is_empty(), "{:#?}\n{}", book.wrong, story());
        decided.unwrap_or_else(|error| panic!("{error:#}\n{}", story()));
    }
}

/// When the API server wrote an object, as a number that grows.
pub(super) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse().unwrap_or_default()
}

/// A decision that was seen.
pub(super) struct Decision {
    pub(super) name: String,
    pub(super) asks: Asks,
    pub(super) filed: Instant,
    pub(super) at: Instant,
    pub(super) version: u64,
}

/// A complete list, and then what changes.
fn follow(api: &Api, book: &Mutex<Book>, over: &AtomicBool) -> testbed::Result<()> {
    let list = api.must("GET", REQUESTS, None)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    {
        let mut book = book.lock().unwrap();
        let lost: Vec<String> = {
            let listed: BTreeSet<&str> = items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
            let here = book.entries.iter().filter(|(_, entry)| !entry.gone && entry.decided.is_some());
            here.filter(|(name, _)| !listed.contains(name.as_str())).map(|(name, _)| name.clone()).collect()
        };
        for name in lost {
            book.entries.get_mut(&name).unwrap().gone = true;
        }
        for item in &items {
            book.see("LISTED", item);
        }
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let lines = api.watch(&format!("{REQUESTS}?watch=true&resourceVersion={version}"))?;
    while !over.load(Ordering::SeqCst) {
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok((_, line)) => book.lock().unwrap().see(line["type"].as_str().unwrap_or_default(), &line["object"]),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

impl Book {
    /// Those whose names begin with `prefix`.
    fn of(&self, prefix: &str) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.range(prefix.to_owned()..).take_while(move |(name, _)| name.starts_with(prefix))
    }

    fn see(&mut self, change: &str, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Some(entry) = self.entries.get_mut(name) else { return };
        let conditions = &object["status"]["conditions"];
        match &entry.decided {
            Some((_, before)) if before != conditions => {
                self.wrong.push(format!("{name} was {before} and is {conditions} ({change})"));
            }
            None if !conditions.is_null() => {
                entry.decided = Some((Instant::now(), conditions.clone()));
                entry.version = version(object);
                let list = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
                if list.len() != 1 || list[0]["type"] != entry.asks.decision() {
                    self.wrong.push(format!("{name} asks for what is {:?}, and is {conditions}", entry.asks));
                }
            }
            None if change == "DELETED" => self.wrong.push(format!("{name} was deleted and never decided")),
            _ => {}
        }
        if change == "DELETED"
            && let Some(entry) = self.entries.get_mut(name)
        {
            entry.gone = true;
        }
    }
}
