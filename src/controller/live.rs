//! What a cluster has now, read once: for commands that change nothing.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use serde::de::DeserializeOwned;

use super::Error;
use super::client::{self, get, segment};
use super::list::Items;
use crate::api::{GROUP, VERSION};
use crate::node::{Node, Nodes};
use crate::policy::{Kind, PolicyObject, ServedPolicy, UnreadPolicy};
use crate::request::CsrObject;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const NODES: &str = "/api/v1/nodes";
/// How often an API server that has too much to do is asked once more.
const TRIES: usize = 5;
/// After how many objects it is said how many there are so far.
const STEP: usize = 500;

/// Which cluster, and as whom; as kubectl takes it.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// A kubeconfig file, if not found by itself.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig, if not the current one.
    pub context: Option<String>,
    /// A user to impersonate.
    pub as_user: Option<String>,
    /// Groups to impersonate.
    pub as_groups: Vec<String>,
}

/// A connection to a cluster.
#[derive(Clone)]
pub struct Live {
    client: Client,
    /// The URL of the API server.
    server: String,
}

impl Live {
    /// Connects.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        let url = client::load(connection).await?.cluster_url;
        // Without a password, which may stand before the host.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let server = format!("{}://{}{port}", url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
        Ok(Self { client: client::connect(connection.clone()).await?, server })
    }

    /// Every request, `progress` now and then with how many there are so far.
    pub async fn requests(&self, progress: impl FnMut(usize)) -> Result<Vec<CsrObject>, Error> {
        self.list(REQUESTS, progress).await
    }

    /// The request of this name, if there is one.
    pub async fn request(&self, name: &str) -> Result<Option<CsrObject>, Error> {
        match self.get(&format!("{REQUESTS}/{}", segment(name))).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every policy and guardrail.
    pub async fn policies(&self) -> Result<Vec<PolicyObject>, Error> {
        let mut objects = Vec::new();
        for kind in Kind::ALL {
            let items = self.list(&format!("/apis/{GROUP}/{VERSION}/{}", kind.plural()), |_| {}).await?;
            objects.extend(items.into_iter().map(|unread: UnreadPolicy| ServedPolicy::of_list(kind, unread).object));
        }
        Ok(objects)
    }

    /// Every Node.
    pub async fn nodes(&self) -> Result<Nodes, Error> {
        // Reading one never fails, whatever is in it.
        Ok(self.list::<Node>(NODES, |_| {}).await?.into_iter().collect())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let read = get(&self.client, path, "application/json").await;
        read.map_err(|error: Error| error.at(&self.server))
    }

    /// An API server that has just begun, or has a new CRD, makes a list of its own first, and says to come again (429).
    async fn open(&self, path: &str) -> Result<Items, Error> {
        for _ in 0..TRIES {
            match Items::open(&self.client, path).await {
                Err(error) if error.status() == Some(429) => {
                    tokio::time::sleep(error.retry_after().max(Duration::from_secs(1))).await;
                }
                opened => return opened,
            }
        }
        Items::open(&self.client, path).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, mut progress: impl FnMut(usize)) -> Result<Vec<T>, Error> {
        let read = async {
            let (mut list, mut items) = (self.open(path).await?, Vec::new());
            while let Some(item) = list.next().await? {
                items.push(item);
                if items.len().is_multiple_of(STEP) {
                    progress(items.len());
                }
            }
            list.version()?;
            progress(items.len());
            Ok(items)
        };
        read.await.map_err(|error: Error| error.at(&self.server))
    }
}
