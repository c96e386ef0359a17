//! What a cluster has now, read once: for commands that change nothing.

use std::path::PathBuf;

use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::Error;
use super::client::{self, get, segment};
use crate::api::{GROUP, VERSION};
use crate::node::{Node, Nodes};
use crate::policy::{Kind, PolicyObject};
use crate::request::CsrObject;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const NODES: &str = "/api/v1/nodes";
/// How many objects are read at a time.
const PAGE: u32 = 500;

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
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Deserialize, Default)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

impl Live {
    /// Connects.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { client: client::connect_as(connection).await? })
    }

    /// Every request, `progress` after each page with how many there are so far. One that cannot be
    /// read is passed over, with its name and why among the errors.
    pub async fn requests(&self, progress: impl FnMut(usize)) -> Result<Vec<Result<CsrObject, String>>, Error> {
        let items = self.list(REQUESTS, progress).await?;
        Ok(items.into_iter().map(request).collect())
    }

    /// The request of this name, if there is one.
    pub async fn request(&self, name: &str) -> Result<Option<Result<CsrObject, String>>, Error> {
        match get(&self.client, &format!("{REQUESTS}/{}", segment(name)), "application/json").await {
            Ok(value) => Ok(Some(request(value))),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every policy and guardrail.
    pub async fn policies(&self) -> Result<Vec<PolicyObject>, Error> {
        let mut objects = Vec::new();
        for kind in Kind::ALL {
            let items = self.list(&format!("/apis/{GROUP}/{VERSION}/{}", kind.plural()), |_| {}).await?;
            // The items of a list do not say what they are.
            objects.extend(items.into_iter().map(|mut item| {
                item["apiVersion"] = format!("{GROUP}/{VERSION}").into();
                PolicyObject::new(kind, item)
            }));
        }
        Ok(objects)
    }

    /// Every Node.
    pub async fn nodes(&self) -> Result<Nodes, Error> {
        let items = self.list(NODES, |_| {}).await?;
        // Reading one never fails, whatever is in it.
        Ok(items.into_iter().filter_map(|item| serde_json::from_value::<Node>(item).ok()).collect())
    }

    async fn list(&self, path: &str, mut progress: impl FnMut(usize)) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let page: Page =
                get(&self.client, &format!("{path}?limit={PAGE}&continue={}", segment(&next)), "application/json")
                    .await?;
            items.extend(page.items);
            progress(items.len());
            if page.metadata.next.is_empty() {
                return Ok(items);
            }
            next = page.metadata.next;
        }
    }
}

fn request(value: Value) -> Result<CsrObject, String> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
}
