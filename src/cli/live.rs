//! Options of commands that read a cluster.

use std::path::PathBuf;

use jiff::Timestamp;

use super::load::Sourced;
use super::problem::Problem;
use super::progress::Progress;
use crate::controller::{Connection, Error, Live};
use crate::escape::{one_line, printable};
use crate::node::Nodes;
use crate::policy::{PolicyObject, PolicySet, Settings};
use crate::request::CsrObject;
use crate::review::Approvals;

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
    /// What was approved within the last hour; nothing where no policy counts it.
    pub(super) approvals: Option<Approvals>,
}

impl ClusterOptions {
    /// Whether any is given.
    pub(super) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || self.as_user.is_some()
    }

    /// Reads the policies and what they look at, unless files stand for it, and the requests of these names,
    /// or else all that are pending.
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
            let set = PolicySet::compile(&policies, Settings::default());
            let nodes = match nodes {
                None if set.needs_nodes() => {
                    let without = "what rests on Nodes is unknown without them (countersign-viewer of the chart grants \
                                   reading them with nodes.enabled)";
                    granted(live.nodes().await, without, problems)?
                }
                nodes => nodes,
            };
            let counts = !set.counted_signers().is_empty();
            let all = match names {
                [] => Some(requests(&live).await?),
                _ if counts => {
                    let without = "maxPerHour is unknown without a list of all requests (countersign-viewer of the \
                                   chart grants it)";
                    granted(requests(&live).await, without, problems)?
                }
                _ => None,
            };
            let approvals = all.as_ref().filter(|_| counts).map(|all| {
                let mut approvals = Approvals::among(all, |signer| set.counts_approvals(signer));
                approvals.expire(Timestamp::now());
                approvals
            });
            let mut requests = all.filter(|_| names.is_empty()).unwrap_or_default();
            requests.retain(|request| request.settled().is_none());
            for name in names {
                match live.request(name).await? {
                    Some(request) => requests.push(request),
                    None => {
                        let message = format!("there is no CertificateSigningRequest {}", printable(name));
                        problems.push(Problem::new("cluster", None, message));
                    }
                }
            }
            Ok(Snapshot { policies, requests, nodes, approvals })
        })
    }
}

/// Every request, with a word on how many there are so far.
async fn requests(live: &Live) -> Result<Vec<CsrObject>, Error> {
    let progress = Progress::new("requests read", None);
    let mut before = 0;
    live.requests(|read| {
        progress.advance((read - before) as u64);
        before = read;
    })
    .await
}

/// What was read, or nothing where that is forbidden: what rests on it is unknown then, and the rest can be told.
fn granted<T>(read: Result<T, Error>, without: &str, problems: &mut Vec<Problem>) -> anyhow::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.status() == Some(403) => {
            problems.push(Problem::new("cluster", None, format!("{}; {without}", one_line(&error.to_string()))));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The request as if nobody had decided yet.
pub(super) fn undecided(object: &CsrObject) -> Sourced {
    let mut request = object.signing_request();
    let decided = request.envelope.settled.take().is_some();
    Sourced { decided, ..Sourced::new("cluster", request) }
}
