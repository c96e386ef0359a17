//! Consistent reads: whether the policies in memory are what the API server has at this moment, and
//! whether it still serves all their fields.

use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::Error;
use super::client::get;
use super::moment::Moment;
use super::policies::{Version, Versions};
use super::skew::{self, RightUrl, Skew};
use crate::api::{GROUP, VERSION};
use crate::policy::Kind;

/// Metadata alone is asked for: names and generations tell all.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// What the API server has, and since when that is known.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) since: Moment,
    pub(super) policies: Versions,
    pub(super) guardrails: Versions,
    pub(super) skew: Skew,
    pub(super) right: RightUrl,
}

/// Lists both kinds without a `resourceVersion`, which makes the API server read consistently
/// (Kubernetes API concepts, "resource versions": unset is most recent).
pub(super) async fn read(client: &Client, right: RightUrl) -> Result<Current, Error> {
    let since = Moment::now();
    let (policies, guardrails, (skew, right)) = tokio::try_join!(
        versions(client, Kind::CSRPolicy),
        versions(client, Kind::CSRGuardrail),
        skew::look(client, right)
    )?;
    Ok(Current { since, policies, guardrails, skew, right })
}

#[derive(Deserialize)]
struct List {
    kind: Option<String>,
    #[serde(default)]
    metadata: ListMetadata,
    /// Null where there is none.
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ItemMetadata,
}

/// Not `managedFields`: they can be nested deeper than a parser follows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
    generation: Option<i64>,
    #[serde(default)]
    deletion_timestamp: Value,
}

#[derive(Deserialize, Default)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

async fn versions(client: &Client, kind: Kind) -> Result<Versions, Error> {
    let path = format!("/apis/{GROUP}/{VERSION}/{}", kind.plural());
    let list: List = get(client, &path, METADATA).await?;
    // Half a list, or none, would pass for a shorter one.
    if list.kind.as_deref() != Some("PartialObjectMetadataList") {
        return Err(Error::Answer("a list"));
    }
    if list.metadata.next.is_some_and(|next| !next.is_empty()) {
        return Err(Error::Answer("the whole list"));
    }
    let version = |item: Item| {
        let ItemMetadata { name, uid, generation, deletion_timestamp } = item.metadata;
        (name, Version { uid, generation, deleting: !deletion_timestamp.is_null() })
    };
    Ok(list.items.into_iter().flatten().map(version).collect())
}
