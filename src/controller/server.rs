//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
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

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(encode))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Shared { metrics, readiness });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(error = %error, "the HTTP server ended");
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
