//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// What must be there before this replica can take over: named gates, each open or with a reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Readiness {
    /// `gate` is open if there is no reason why not.
    pub(super) fn set(&self, gate: &'static str, why_not: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(gate, why_not);
    }

    /// Whether every gate is open, and a line for each.
    fn report(&self) -> (bool, String) {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = !gates.is_empty() && gates.values().all(Option::is_none);
        let mut text = String::new();
        for (gate, why_not) in gates.iter() {
            let _ = match why_not {
                None => writeln!(text, "[+] {gate}"),
                Some(why) => writeln!(text, "[-] {gate}: {why}"),
            };
        }
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, text)
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// How many connections there may be at a time: from one address, so that nobody takes the place of
/// the kubelet's probes and of Prometheus, and in all, beyond which the oldest gives way: a probe takes milliseconds, and
/// only who wants the places keeps them. The port is open to whoever can reach it.
const MAX_PER_PEER: usize = 16;
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take to ask, in which time it holds one of [`BUFFER`].
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What a connection may hold, in bytes; the least that hyper takes.
const BUFFER: usize = 8 * 1024;

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(encode))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Shared { metrics, readiness });
    let peers = Peers::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No file descriptors, perhaps; connections that end give some back.
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = peers.take(peer.ip()) else { continue };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ASK_WITHIN)
                .max_buf_size(BUFFER)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does wrong is its own affair.
            tokio::select! {
                _ = tokio::time::timeout(ASK_WITHIN + ANSWER_WITHIN, connection) => {}
                () = place.given_way.cancelled() => {}
            }
        });
    }
}

/// The connections that there are, the oldest first.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<Connections>>);

#[derive(Debug, Default)]
struct Connections {
    /// The number of the next one.
    next: u64,
    by_age: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

impl Peers {
    /// A place for a connection of `peer`, until it is dropped.
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.by_age.values().filter(|(address, _)| *address == peer).count() >= MAX_PER_PEER {
            return None;
        }
        if connections.by_age.len() >= MAX_CONNECTIONS
            && let Some((_, (_, gives_way))) = connections.by_age.pop_first()
        {
            gives_way.cancel();
        }
        let (number, given_way) = (connections.next, CancellationToken::new());
        connections.next += 1;
        connections.by_age.insert(number, (peer, given_way.clone()));
        Some(Place { peers: self.clone(), number, given_way })
    }
}

#[derive(Debug)]
struct Place {
    peers: Peers,
    number: u64,
    /// Cancelled when another connection needs it.
    given_way: CancellationToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.by_age.remove(&self.number);
    }
}

async fn encode(State(shared): State<Shared>) -> Response {
    shared.metrics.ready(shared.readiness.report().0);
    match shared.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let (ready, text) = shared.readiness.report();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{MAX_CONNECTIONS, MAX_PER_PEER, Peers};

    #[test]
    fn where_all_places_are_taken_the_oldest_gives_way() {
        let peers = Peers::default();
        let address = |index: usize| IpAddr::from([10, 0, 1, u8::try_from(index / MAX_PER_PEER).unwrap()]);
        let all: Vec<_> = (0..MAX_CONNECTIONS).map(|index| peers.take(address(index)).unwrap()).collect();
        let probe = peers.take(IpAddr::from([10, 0, 0, 1]));
        assert!(probe.is_some_and(|probe| !probe.given_way.is_cancelled()));
        assert!(all[0].given_way.is_cancelled() && !all[1].given_way.is_cancelled());
        // Its own place is free again, and nobody else has to give way for the next.
        assert!(peers.take(IpAddr::from([10, 0, 0, 1])).is_some() && !all[1].given_way.is_cancelled());
        drop(all);
        assert!(peers.0.lock().unwrap().by_age.is_empty());
    }

    #[test]
    fn one_address_cannot_take_every_place_and_gives_back_what_it_took() {
        let peers = Peers::default();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let held: Vec<_> = (0..MAX_PER_PEER).map(|_| peers.take(address(1)).unwrap()).collect();
        assert!(peers.take(address(1)).is_none());
        assert!(peers.take("::ffff:10.0.0.1".parse().unwrap()).is_none());
        let other = peers.take(address(2));
        assert!(other.is_some());
        drop(held);
        assert!(peers.take(address(1)).is_some());
        drop(other);
        assert!(peers.0.lock().unwrap().by_age.is_empty());
    }
}
