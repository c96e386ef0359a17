//! Consistent reads: whether the policies in memory are what the API server has at this moment, and
//! whether it still serves all their fields.

use kube::Client;
use serde::Deserialize;

use super::Error;
use super::client::get;
use super::moment::Moment;
use super::policies::{Version, Versions};
use super::skew::{self, RightUrl, Skew};
use crate::api::{GROUP, VERSION};
use crate::policy::{Kind, ServedPolicy, UnreadPolicy};

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

/// The name of an object, and the state that it is in: nothing else of it is kept.
#[derive(Deserialize)]
#[serde(from = "UnreadPolicy")]
struct Item(String, Version);

impl From<UnreadPolicy> for Item {
    fn from(unread: UnreadPolicy) -> Self {
        // The kind is no part of a version.
        let object = ServedPolicy::of_list(Kind::CSRPolicy, unread).object;
        let version = Version::from(&object);
        Self(object.name, version)
    }
}

#[derive(Deserialize, Default)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// Whole objects are asked for, and not their metadata alone: for some seconds after a CRD was changed the API server
/// may bring, in a watch that began before, objects without the fields that only the new one has, and their
/// generation does not tell.
async fn versions(client: &Client, kind: Kind) -> Result<Versions, Error> {
    let path = format!("/apis/{GROUP}/{VERSION}/{}", kind.plural());
    let list: List = get(client, &path, "application/json").await?;
    // Half a list, or none, would pass for a shorter one.
    if list.kind.is_none_or(|said| said != format!("{kind}List")) {
        return Err(Error::Answer("a list"));
    }
    if list.metadata.next.is_some_and(|next| !next.is_empty()) {
        return Err(Error::Answer("the whole list"));
    }
    Ok(list.items.into_iter().flatten().map(|Item(name, version)| (name, version)).collect())
}
