//! Consistent reads: whether the policies in memory are what the API server has at this moment, and
//! whether it still serves all their fields.

use kube::Client;
use serde::Deserialize;

use super::Error;
use super::client::{get, limited, segment};
use super::moment::Moment;
use super::policies::{Version, Versions};
use super::skew::{self, RightUrl, Skew};
use crate::api::{GROUP, VERSION};
use crate::policy::{Kind, ServedPolicy, UnreadPolicy};

/// How many objects are read at a time.
const PAGE: usize = 100;

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
/// (Kubernetes API concepts, "resource versions": unset is most recent; all pages of a list are of one).
pub(super) async fn read(client: &Client, right: RightUrl) -> Result<Current, Error> {
    let since = Moment::now();
    let read = async {
        let (policies, guardrails, (skew, right)) = tokio::try_join!(
            versions(client, Kind::CSRPolicy),
            versions(client, Kind::CSRGuardrail),
            skew::look(client, right)
        )?;
        // Between two pages a CRD may have been changed, too.
        let again = policies.len().max(guardrails.len()) > PAGE && skew == Skew::None;
        let (skew, right) = if again { skew::look(client, right).await? } else { (skew, right) };
        Ok((policies, guardrails, skew, right))
    };
    let (policies, guardrails, skew, right) = limited(Box::pin(read)).await?;
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
#[serde(default, rename_all = "camelCase")]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: String,
    resource_version: String,
}

/// Whole objects are asked for, and not their metadata alone: for some seconds after a CRD was changed the API server
/// may bring, in a watch that began before, objects without the fields that only the new one has, and their
/// generation does not tell. In pages, between which decisions have their turn, here and at the API server.
async fn versions(client: &Client, kind: Kind) -> Result<Versions, Error> {
    let path = format!("/apis/{GROUP}/{VERSION}/{}", kind.plural());
    let (mut versions, mut next, mut moment) = (Versions::new(), String::new(), None);
    loop {
        let page = format!("{path}?limit={PAGE}&continue={}", segment(&next));
        let List { kind: said, metadata, items } = get(client, &page, "application/json").await?;
        // Half a list, or none, would pass for a shorter one; pages of several moments for what never was.
        if said.is_none_or(|said| said != format!("{kind}List")) || metadata.resource_version.is_empty() {
            return Err(Error::Answer("a list"));
        }
        if *moment.get_or_insert_with(|| metadata.resource_version.clone()) != metadata.resource_version {
            return Err(Error::Answer("pages of one list"));
        }
        for Item(name, version) in items.into_iter().flatten() {
            if versions.insert(name, version).is_some() {
                return Err(Error::Answer("a list without repetitions"));
            }
        }
        if metadata.next.is_empty() {
            return Ok(versions);
        }
        if metadata.next == next {
            return Err(Error::Answer("the whole list"));
        }
        next = metadata.next;
    }
}
