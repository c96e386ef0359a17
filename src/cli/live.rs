//! Options of commands that read a cluster.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use super::load::Sourced;
use super::problem::Problem;
use crate::controller::{Connection, Live};
use crate::escape::printable;
use crate::node::Nodes;
use crate::policy::{PolicyObject, PolicySet, Settings};
use crate::request::CsrObject;

/// Which cluster, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cluster options, as kubectl takes them")]
pub(super) struct ClusterOptions {
    /// A kubeconfig file; without it KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig instead of the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// A user to impersonate.
    #[arg(long = "as", value_name = "USER")]
    as_user: Option<String>,
    /// A group to impersonate; repeatable.
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user")]
    as_groups: Vec<String>,
}

/// What a cluster has.
pub(super) struct Snapshot {
    pub(super) policies: Vec<PolicyObject>,
    pub(super) requests: Vec<CsrObject>,
    /// Nothing where no policy looks at them.
    pub(super) nodes: Option<Nodes>,
}

impl ClusterOptions {
    /// Reads the policies and the Nodes that they look at, unless files stand for them, and the requests of
    /// these names, or else all that are pending.
    pub(super) fn read(
        self,
        policies: Option<Vec<PolicyObject>>,
        nodes: Option<Nodes>,
        names: &[String],
        problems: &mut Vec<Problem>,
    ) -> anyhow::Result<Snapshot> {
        let connection = Connection {
            kubeconfig: self.kubeconfig,
            context: self.context,
            as_user: self.as_user,
            as_groups: self.as_groups,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let live = Live::connect(&connection).await?;
            let policies = match policies {
                Some(policies) => policies,
                None => live.policies().await?,
            };
            let needs_nodes = PolicySet::compile(&policies, Settings::default()).needs_nodes();
            let nodes = match nodes {
                None if needs_nodes => match live.nodes().await {
                    Ok(nodes) => Some(nodes),
                    // What they carry is unknown then, and the rest can be told.
                    Err(error) if error.status() == Some(403) => {
                        let message = format!("cannot read the Nodes that policies look at: {error}");
                        problems.push(Problem::new("cluster", None, printable(&message)));
                        None
                    }
                    Err(error) => return Err(error.into()),
                },
                nodes => nodes,
            };
            let mut requests = Vec::new();
            if names.is_empty() {
                requests = live.requests(progress).await?;
                requests.retain(|request| request.settled().is_none());
                finish_progress();
            }
            for name in names {
                match live.request(name).await? {
                    Some(request) => requests.push(request),
                    None => {
                        let message = format!("there is no CertificateSigningRequest {}", printable(name));
                        problems.push(Problem::new("cluster", None, message));
                    }
                }
            }
            Ok(Snapshot { policies, requests, nodes })
        })
    }
}

/// How far a long list is, on a terminal.
#[expect(clippy::print_stderr, reason = "progress belongs there")]
fn progress(read: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{read} requests read");
        let _ = std::io::stderr().flush();
    }
}

#[expect(clippy::print_stderr, reason = "progress belongs there")]
fn finish_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\u{1b}[K");
    }
}

/// The request as if nobody had decided yet.
pub(super) fn undecided(object: &CsrObject) -> Sourced {
    let mut request = object.signing_request();
    request.envelope.settled = None;
    Sourced { source: "cluster".to_owned(), request }
}
