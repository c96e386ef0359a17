//! Watch, act, record: the only code that talks to a cluster.
//!
//! - `watch` keeps the pending requests and the policy objects, decoded tolerantly;
//! - `filed` is what is held of a pending request, of which a large one is read again when its turn comes;
//! - `nodes` keeps the Nodes, trimmed, while a policy needs them, and says whom a change concerns;
//! - `counted` keeps what was approved within the last hour, while a policy counts it;
//! - `engine` owns all state in one task, reviews what is pending and decides what to do;
//! - `gate` says at the last moment what stands in the way of sending: not the leader, policies that changed since or are not
//!   confirmed current;
//! - `approval` writes a decision, `events` and `status` record it;
//! - `client` calls the API server, `credentials` keeps up with tokens and certificates that are replaced;
//! - `permissions` says what the service account lacks;
//! - `list` reads a whole list, an object at a time;
//! - `live` reads what a cluster has, for commands that change nothing;
//! - `log` writes the log, and counts what it could not write;
//! - `server` exports health and metrics.

mod approval;
mod client;
mod confirm;
mod counted;
mod credentials;
mod engine;
mod error;
mod events;
mod filed;
mod flight;
mod gate;
mod leader;
mod list;
mod live;
mod log;
mod metrics;
mod moment;
mod nodes;
mod pending;
mod permissions;
mod policies;
mod queue;
mod record;
mod run;
mod server;
mod skew;
mod status;
mod watch;

pub use error::Error;
pub use leader::LeaseConfig;
pub use live::{Connection, Live};
pub use log::Log;
pub use run::{Config, run};
