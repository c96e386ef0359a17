use std::net::SocketAddr;
use std::time::Duration;

use crate::escape::one_line;

/// The longest wait that is granted to whoever asks for one.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why the controller could not start, or a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig and not in a cluster, or neither can be read.
    #[error(
        "cannot find a cluster: {}; give --kubeconfig FILE, set KUBECONFIG, or run in a pod with a service account",
        one_line(.0)
    )]
    Config(String),
    /// A kubeconfig leads through a proxy.
    #[error(
        "cluster {} of the kubeconfig has a proxy-url, and Countersign goes through no proxy: give a kubeconfig without one, from \
         where the API server is reached directly",
        one_line(.0)
    )]
    Proxy(String),
    /// The address for health and metrics cannot be bound.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A metric cannot be registered.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The thread that writes the log cannot be started.
    #[error("cannot start the thread that writes the log: {0}")]
    Log(std::io::Error),
    /// The API server answered with an error, or did not answer. What it quotes may be a requestor's, so this is no source that
    /// somebody prints as it is.
    #[error("{}", one_line(&said(.0)))]
    Api(kube::Error),
    /// The configuration came to name another API server.
    #[error(
        "the configuration names another API server than at the start; start again to use it, so that nothing of one \
         cluster is decided in another"
    )]
    OtherServer,
    /// No API server answers where one is said to be.
    #[error(
        "cannot reach the API server {server}: {why}; is it up, and is it the one that you mean? --context, --kubeconfig \
         and KUBECONFIG choose another"
    )]
    Unreachable {
        /// Its URL.
        server: String,
        /// Why not.
        why: String,
    },
    /// A request could not be built, for example because a name is too long for a URL.
    #[error("cannot build the request: {0}")]
    Request(#[from] http::Error),
    /// A body could not be written as JSON.
    #[error("cannot write the body: {0}")]
    Body(#[from] serde_json::Error),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {0} s")]
    Timeout(u64),
    /// The process ends before the API server has answered.
    #[error("the API server did not answer before the end")]
    GivenUp,
    /// An answer is not what it has to be.
    #[error("the API server's answer is not {0}")]
    Answer(&'static str),
    /// An answer is longer than is read.
    #[error("the API server's answer has more than {0} bytes")]
    TooLarge(usize),
    /// A watch ended as it must not.
    #[error("the watch {0}")]
    Watch(&'static str),
    /// A task of the controller ended that should not have.
    #[error("the task {0} ended unexpectedly")]
    Task(&'static str),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// What the API server says, as kubectl shows it; kube adds the whole status, in which the same stands twice.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{} ({} {})", status.message, status.code, status.reason)
        }
        error => error.to_string(),
    }
}

impl Error {
    /// The same, with the URL of `server` where nothing there answers.
    pub(super) fn at(self, server: &str) -> Self {
        let why = match &self {
            Self::Api(error @ (kube::Error::Service(_) | kube::Error::HyperError(_))) => {
                // What is around the first cause says that there was one.
                let mut cause: &dyn std::error::Error = error;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                one_line(&cause.to_string())
            }
            Self::Timeout(seconds) => format!("no answer within {seconds} s"),
            _ => return self,
        };
        Self::Unreachable { server: one_line(server), why }
    }

    /// One of a fixed, small set of words, for metric labels.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api(_) if self.is_too_large() => "too-large",
            Self::Api(kube::Error::Api(status)) => match status.code {
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not-found",
                409 => "conflict",
                410 => "gone",
                422 => "invalid",
                429 => "too-many-requests",
                400..=499 => "client-error",
                _ => "server-error",
            },
            Self::Api(_) | Self::Unreachable { .. } => "connection",
            Self::Answer(_) | Self::TooLarge(_) | Self::Watch(_) => "malformed",
            Self::Timeout(_) | Self::GivenUp => "timeout",
            Self::Request(_) | Self::Body(_) => "unsendable",
            Self::OtherServer
            | Self::Config(_)
            | Self::Proxy(_)
            | Self::Listen { .. }
            | Self::Metrics(_)
            | Self::Log(_)
            | Self::Task(_) => "internal",
        }
    }

    /// The HTTP status that the API server answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the API server takes the object for too large: its bound is that of etcd, 1.5 MB unless that is told otherwise.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => {
                // etcd says so, or what speaks to it.
                let says = |text| status.message.contains(text);
                status.code == 413
                    || (status.code >= 500
                        && (says("etcdserver: request is too large") || says("trying to send message larger than max")))
            }
            _ => false,
        }
    }

    /// Whether what was asked for may have been done all the same: no answer came, or none that tells.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => status.code >= 500 && !self.is_too_large(),
            Self::Api(_) | Self::Unreachable { .. } | Self::Timeout(_) | Self::TooLarge(_) => true,
            _ => false,
        }
    }

    /// Whether it is about no object at all: the API server was not there, too busy, or did not know who asks.
    #[must_use]
    pub fn is_about_none(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Api(kube::Error::Service(_) | kube::Error::HyperError(_)))
            || matches!(self.status(), Some(401 | 429 | 503))
    }

    /// Whether it is about this one object: others may fare better.
    #[must_use]
    pub fn is_about_one(&self) -> bool {
        self.is_too_large() || matches!(self.status(), Some(400 | 422))
    }

    /// Whether the API server has too much to do: it says so, or does not answer in time.
    #[must_use]
    pub fn is_too_busy(&self) -> bool {
        matches!(self, Self::Timeout(_)) || matches!(self.status(), Some(429 | 503 | 504))
    }

    /// How long the API server, or what stands between, wants to be left alone (`Retry-After`), at most 30 s: more would
    /// let one answer hold up decisions for as long as somebody likes. Zero where it says nothing.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let seconds = match self {
            Self::Api(kube::Error::Api(status)) => {
                status.details.as_ref().map_or(0, |details| details.retry_after_seconds)
            }
            _ => 0,
        };
        Duration::from_secs(seconds.into()).min(LONGEST_RETRY_AFTER)
    }
}
