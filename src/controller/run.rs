//! `countersign run`: puts the tasks together and ends them in order.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Input, Prompts};
use super::events::Events;
use super::gate::Gate;
use super::leader::{self, Leadership, LeaseConfig};
use super::metrics::Metrics;
use super::record::Recorder;
use super::server::{self, Readiness};
use super::watch::{self, Watch};
use super::{Error, client, permissions, skew};
use crate::policy::{Kind, Settings};

/// How long what is on its way may take after a signal to stop.
const GRACE: Duration = Duration::from_secs(4);

/// Everything that `countersign run` can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What changes verdicts.
    pub settings: Settings,
    /// A kubeconfig file, if not found by itself.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, if not the current one.
    pub context: Option<String>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
    /// How long a change of policies settles before anything is decided under it.
    pub policy_settle: Duration,
    /// The namespace that Events are written to.
    pub event_namespace: String,
    /// Whether requests that are left alone get an Event.
    pub no_opinion_events: bool,
    /// The lease by which one replica leads; nothing for a replica that is alone.
    pub lease: Option<LeaseConfig>,
    /// How this process calls itself in Events.
    pub instance: String,
}

/// Watches, reviews and decides until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new()?);
    let client = client::connect(config.kubeconfig.as_deref(), config.context.as_deref()).await?;
    let listener = listen(config.listen).await?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    let signers: Vec<String> = config.settings.managed_signers.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %address,
        managed_signers = signers.join(","),
        required_guardrails = config.settings.required_guardrails.join(","),
        "started"
    );

    let stop = CancellationToken::new();
    let readiness = Readiness::default();
    let http = tokio::spawn(server::serve(listener, Arc::clone(&metrics), readiness.clone(), stop.clone()));

    let leadership = if config.lease.is_some() { Leadership::never() } else { Leadership::always() };
    metrics.leader(leadership.holds());
    // The lease is given back only when nothing is on its way any more.
    let give_up = CancellationToken::new();
    let elector = config.lease.clone().map(|lease| {
        tokio::spawn(leader::lead(client.clone(), lease, leadership.clone(), Arc::clone(&metrics), give_up.clone()))
    });

    let gate = Arc::new(Gate::new(leadership));
    let (events, write_events) =
        Events::new(client.clone(), Arc::clone(&metrics), config.event_namespace.clone(), config.instance.clone());
    let write_events = tokio::spawn(write_events);
    let recorder = Recorder { metrics: Arc::clone(&metrics), events, no_opinion_events: config.no_opinion_events };
    let prompts = Prompts::default();
    let (sender, inputs) = mpsc::channel(256);
    let mut watches = spawn_watches(&client, &metrics, &prompts.restart_policies, &sender);
    watches.push(tokio::spawn(permissions::observe(
        client.clone(),
        permissions::needed(&config),
        Arc::clone(&metrics),
        Arc::clone(&prompts.look_at_permissions),
        async move || {
            let _ = sender.send(Input::Permitted).await;
        },
    )));
    let engine = Engine::new(&config, client, gate, metrics, recorder, readiness, prompts);
    let engine = tokio::spawn(engine.run(inputs, stop.clone()));

    wait_for_signal().await;
    tracing::info!("stopping: what is on its way is finished, then the lease is given back");
    stop.cancel();
    let ended = tokio::time::timeout(GRACE, async {
        // The engine holds the recorder, and with it the last sender of Events.
        let _ = engine.await;
        give_up.cancel();
        if let Some(elector) = elector {
            let _ = elector.await;
        }
        let _ = write_events.await;
    });
    if ended.await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    watches.iter().for_each(tokio::task::JoinHandle::abort);
    http.abort();
    Ok(())
}

/// Listens on `address`; on `0.0.0.0` where that is `[::]` and there is no IPv6.
async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let mut bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    bound.map_err(|source| Error::Listen { address, source })
}

fn spawn_watches(
    client: &kube::Client,
    metrics: &Arc<Metrics>,
    restart: &[Arc<Notify>; 2],
    sender: &mpsc::Sender<Input>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let watch = |restart: Arc<Notify>| Watch { client: client.clone(), metrics: Arc::clone(metrics), restart };
    // A closed channel means that the engine has ended, and this task is about to be.
    let requests = {
        let (watch, sender) = (watch(Arc::new(Notify::new())), sender.clone());
        tokio::spawn(watch::requests(watch, async move |seen| {
            let _ = sender.send(Input::Request(seen)).await;
        }))
    };
    let policies = Kind::ALL.into_iter().zip(restart).map(|(kind, restart)| {
        let (watch, sender) = (watch(Arc::clone(restart)), sender.clone());
        tokio::spawn(watch::policies(watch, kind, async move |seen| {
            let _ = sender.send(Input::Policy(kind, seen)).await;
        }))
    });
    let skew = {
        let (client, sender) = (client.clone(), sender.clone());
        tokio::spawn(skew::observe(client, async move |skew| {
            let _ = sender.send(Input::Skew(skew)).await;
        }))
    };
    policies.chain([requests, skew]).collect()
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}
