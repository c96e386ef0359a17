//! `countersign run`: the controller, from its options.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::Exit;
use super::options::{VerdictOptions, duration};
use crate::controller::{self, Config, LeaseConfig, Log};
use crate::policy::SignerPattern;

/// Watch CertificateSigningRequests in a cluster, and approve or deny them.
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  countersign run
  countersign run --kubeconfig admin.kubeconfig --require-guardrail cluster-limits
  countersign run --managed-signer 'example.com/*' --signer-max-seconds example.com/vpn=86400"
)]
pub(super) struct Args {
    #[command(flatten)]
    verdict: VerdictOptions,
    /// How old a request may be, for example 90s, 3m or 1h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    max_request_age: Duration,
    /// How long a change of policies settles before anything is decided under it; changes without end settle five times as
    /// long.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = duration)]
    policy_settle: Duration,
    /// The namespace that Events are written to: default or kube-system.
    #[arg(long, value_name = "NAMESPACE", default_value = "default", value_parser = event_namespace)]
    event_namespace: String,
    /// Whether requests that are left alone get an Event; false for signers that others approve.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    no_opinion_events: bool,
    /// Where /metrics, /healthz and /readyz are served; [::] is every address, of IPv4 too.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// A kubeconfig file; without it KUBECONFIG, ~/.kube/config or the pod's service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig instead of the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Whether one of several replicas leads; false for one that is alone.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// The namespace of the lease; without it the pod's own, or default.
    #[arg(long, value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// The name of the lease.
    #[arg(long, value_name = "NAME", default_value = "countersign")]
    lease_name: String,
    /// How to log; RUST_LOG filters.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Where a pod finds the namespace of its service account.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The most threads that tasks are worked on, unless `TOKIO_WORKER_THREADS` says otherwise: with one a backlog takes no longer
/// than with two (docs/benchmarks.md), and a node may have a hundred cores.
const MOST_THREADS: usize = 2;

/// What is managed unless options say otherwise.
const MANAGED: [&str; 2] = ["kubernetes.io/kube-apiserver-client", "kubernetes.io/kubelet-serving"];

pub(super) fn run(args: Args) -> anyhow::Result<Exit> {
    let log = Log::new()?;
    let filter = std::env::var_os("RUST_LOG").unwrap_or_default();
    log_to(&log, args.log_format, filter_of(&filter.to_string_lossy())?);
    let managed: Vec<SignerPattern> =
        MANAGED.into_iter().map(SignerPattern::managed).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
    let instance = instance();
    let own_namespace = || std::fs::read_to_string(OWN_NAMESPACE).ok().map(|text| text.trim().to_owned());
    let namespace = args.lease_namespace.or_else(own_namespace).unwrap_or_else(|| "default".to_owned());
    let config = Config {
        settings: args.verdict.settings(managed, Some(args.max_request_age))?,
        kubeconfig: args.kubeconfig,
        context: args.context,
        listen: args.listen,
        policy_settle: args.policy_settle,
        event_namespace: args.event_namespace,
        no_opinion_events: args.no_opinion_events,
        lease: args.leader_elect.then(|| LeaseConfig { namespace, name: args.lease_name, identity: instance.clone() }),
        instance,
        log: log.clone(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        runtime.worker_threads(cores.min(MOST_THREADS));
    }
    let runtime = runtime.enable_all().build()?;
    let ended = runtime.block_on(controller::run(config));
    log.finish();
    ended?;
    Ok(Exit::Clean)
}

/// A namespace for Events about requests, which have none themselves: Kubernetes validates that (`legacyValidateEvent`).
fn event_namespace(text: &str) -> Result<String, String> {
    const TAKEN: [&str; 2] = ["default", "kube-system"];
    if TAKEN.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "the API server takes Events about objects without a namespace, as requests are, only in {}",
        TAKEN.join(" and ")
    ))
}

/// Names this process among all replicas, also when it is started again in the same pod.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "countersign" } else { host };
    format!("{host}_{}_{}", std::process::id(), jiff::Timestamp::now().as_millisecond())
}

/// What is logged. Nothing of kube unless it is asked for by name: it logs the body of an answer that it cannot decode, and
/// requestors choose what stands in it.
fn filter_of(text: &str) -> anyhow::Result<EnvFilter> {
    let text = if text.trim().is_empty() { "info,hyper=warn,tower=warn" } else { text };
    let mut directives: Vec<&str> = text.split(',').map(str::trim).collect();
    if !directives.iter().any(|directive| directive.starts_with("kube")) {
        directives.push("kube=off");
    }
    EnvFilter::try_new(directives.join(",")).map_err(|error| {
        anyhow::anyhow!("RUST_LOG, which log.filter of the chart sets, is no filter: {error}; write, for example, info,countersign=debug")
    })
}

fn log_to(log: &Log, format: LogFormat, filter: EnvFilter) {
    let log = log.clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || log.clone());
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::filter_of;

    #[test]
    fn kube_logs_nothing_unless_it_is_asked_for_by_name() {
        for (text, expected) in [
            ("", "kube=off,hyper=warn,tower=warn,info"),
            ("debug", "kube=off,debug"),
            ("countersign=trace,hyper=info", "countersign=trace,hyper=info,kube=off"),
            ("info,kube=debug", "kube=debug,info"),
            ("info, kube_client=debug", "kube_client=debug,info"),
        ] {
            let sorted = |filter: &str| {
                let mut directives: Vec<String> = filter.split(',').map(str::to_owned).collect();
                directives.sort();
                directives
            };
            assert_eq!(sorted(&filter_of(text).unwrap().to_string()), sorted(expected), "{text}");
        }
        let error = filter_of("countersign=loud").unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG, which log.filter of the chart sets, is no filter: "), "{error}");
    }
}
