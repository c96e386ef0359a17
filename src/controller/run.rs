//! `countersign run`: puts the tasks together and ends them in order.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Input, MOST_WAITING, Prompts};
use super::events::Events;
use super::gate::Gate;
use super::leader::{self, Leadership, LeaseConfig};
use super::metrics::Metrics;
use super::record::Recorder;
use super::server::{self, Readiness};
use super::watch::{self, End, ListAge, Watch};
use super::{Connection, Error, Log, client, permissions, skew};
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
    /// How long a change of policies settles before anything is decided under it; changes without end settle five times as
    /// long.
    pub policy_settle: Duration,
    /// The namespace that Events are written to.
    pub event_namespace: String,
    /// Whether requests that are left alone get an Event.
    pub no_opinion_events: bool,
    /// The lease by which one replica leads; nothing for a replica that is alone.
    pub lease: Option<LeaseConfig>,
    /// How this process calls itself in Events.
    pub instance: String,
    /// Where it logs.
    pub log: Log,
}

/// Watches, reviews and decides until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new()?);
    metrics.count_lost_lines(&config.log)?;
    let (kubeconfig, context) = (config.kubeconfig.clone(), config.context.clone());
    let client = client::connect(Connection { kubeconfig, context, ..Connection::default() }).await?;
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
    let (sender, inputs) = mpsc::channel(MOST_WAITING);
    let mut watches = spawn_watches(&client, &metrics, &prompts, &sender);
    watches.push(tokio::spawn(permissions::observe(
        client.clone(),
        permissions::Needed::new(&config, prompts.need_nodes.subscribe()),
        Arc::clone(&metrics),
        Arc::clone(&prompts.look_at_permissions),
        async move || {
            let _ = sender.send(Input::Permitted).await;
        },
    )));
    let engine = Engine::new(&config, client, gate, metrics, recorder, readiness, prompts);
    let engine = tokio::spawn(engine.run(inputs, stop.clone()));

    let mut tasks = Tasks { engine, http, elector, write_events, watches };
    let broken = tokio::select! {
        () = wait_for_signal() => None,
        // Without one of its tasks this replica would lead and decide nothing: another shall take over.
        task = tasks.one_ended() => Some(task),
    };
    // Before anything else, the log too.
    stop.cancel();
    match broken {
        None => {
            tracing::info!("stopping: what is on its way is finished, then the lease is given back");
        }
        Some(task) => {
            tracing::error!(task, "a task ended that never should; stopping, so that another replica takes over");
        }
    }
    let ended = tokio::time::timeout(GRACE, tasks.finish(give_up)).await;
    if ended.is_err() {
        tracing::warn!("not everything ended in time");
    }
    broken.map_or(Ok(()), |task| Err(Error::Task(task)))
}

/// Everything that runs, none of which ends by itself.
struct Tasks {
    engine: JoinHandle<()>,
    http: JoinHandle<()>,
    elector: Option<JoinHandle<()>>,
    write_events: JoinHandle<()>,
    watches: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// The name of the first task that ended, by a panic or otherwise.
    async fn one_ended(&mut self) -> &'static str {
        let elector = async {
            match &mut self.elector {
                Some(elector) => drop(elector.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut self.engine => "engine",
            _ = &mut self.http => "http",
            () = elector => "leader",
            _ = &mut self.write_events => "events",
            _ = futures::future::select_all(&mut self.watches) => "watch",
        }
    }

    /// Ends them in order: the engine with what is on its way, then the lease, then the Events.
    async fn finish(mut self, give_up: CancellationToken) {
        // The engine holds the recorder, and with it the last sender of Events.
        finished(&mut self.engine).await;
        give_up.cancel();
        if let Some(elector) = &mut self.elector {
            finished(elector).await;
        }
        finished(&mut self.write_events).await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
        self.http.abort();
    }
}

/// Waits for a task that may have been waited for already.
async fn finished(task: &mut JoinHandle<()>) {
    if !task.is_finished() {
        let _ = task.await;
    }
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
    prompts: &Prompts,
    sender: &mpsc::Sender<Input>,
) -> Vec<JoinHandle<()>> {
    let watch = |age: ListAge, end: End, restart: &Arc<Notify>| Watch {
        client: client.clone(),
        metrics: Arc::clone(metrics),
        restart: Arc::clone(restart),
        age,
        end,
    };
    // A closed channel means that the engine has ended, and this task is about to be.
    let requests = {
        // What was approved lately is counted from this list.
        let (watch, sender) = (watch(ListAge::MostRecent, End::GoOn, &prompts.restart_requests), sender.clone());
        tokio::spawn(watch::requests(watch, async move |seen| {
            let _ = sender.send(Input::Request(seen)).await;
        }))
    };
    let nodes = {
        let (watch, sender) = (watch(ListAge::MostRecent, End::GoOn, &prompts.restart_nodes), sender.clone());
        tokio::spawn(watch::nodes(watch, prompts.need_nodes.subscribe(), async move |seen| {
            let _ = sender.send(Input::Node(seen)).await;
        }))
    };
    let policies = Kind::ALL.into_iter().zip(&prompts.restart_policies).map(|(kind, restart)| {
        // They are compared with a consistent read before anything rests on them.
        let (watch, sender) = (watch(ListAge::Any, End::StartOver, restart), sender.clone());
        tokio::spawn(watch::policies(watch, kind, async move |seen| {
            let _ = sender.send(Input::Policy(kind, seen)).await;
        }))
    });
    let skew = {
        let (client, sender) = (client.clone(), sender.clone());
        tokio::spawn(skew::observe(client, Arc::clone(&prompts.look_at_schema), async move |skew| {
            let _ = sender.send(Input::Skew(skew)).await;
        }))
    };
    policies.chain([requests, nodes, skew]).collect()
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

#[cfg(test)]
mod tests {
    use super::{CancellationToken, Tasks};

    #[tokio::test]
    async fn a_task_that_panics_is_noticed_and_the_others_are_ended() {
        let forever = || tokio::spawn(std::future::pending::<()>());
        let give_up = CancellationToken::new();
        let elector = {
            let give_up = give_up.clone();
            tokio::spawn(async move { give_up.cancelled().await })
        };
        let mut tasks = Tasks {
            engine: tokio::spawn(async { panic!("a bug") }),
            http: forever(),
            elector: Some(elector),
            write_events: tokio::spawn(async {}),
            watches: vec![forever()],
        };
        assert!(["engine", "events"].contains(&tasks.one_ended().await));
        tasks.finish(give_up.clone()).await;
        assert!(give_up.is_cancelled());
    }
}
