//! Consistent reads: whether the policies in memory are what the API server has at this moment, and
//! whether it still serves all their fields.

use kube::Client;
use serde::Deserialize;

use super::Error;
use super::client::{get_within, limited, segment};
use super::moment::Moment;
use super::policies::{Snapshot, Version, Versions};
use super::skew::{self, RightUrl, Skew};
use crate::api::{GROUP, VERSION};
use crate::policy::{Kind, ServedPolicy, UnreadPolicy};

/// How many objects are read at a time, where they are of usual size.
const PAGE: usize = 100;

/// The most, in bytes, that is read at a time. An object may have 1.5 MB, and whoever may write policies shall not fill the
/// memory with a hundred of them.
const MAX_PAGE: usize = 4 * 1024 * 1024;

/// What the API server has, and since when that is known.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) since: Moment,
    pub(super) policies: Snapshot,
    pub(super) guardrails: Snapshot,
    pub(super) skew: Skew,
    pub(super) right: RightUrl,
}

/// Lists both kinds without a `resourceVersion`, which makes the API server read consistently
/// (Kubernetes API concepts, "resource versions": unset is most recent; all pages of a list are of one).
pub(super) async fn read(client: &Client, right: RightUrl) -> Result<Current, Error> {
    let since = Moment::now();
    let read = async {
        let ((policies, one), (guardrails, one_too), (skew, right)) = tokio::try_join!(
            snapshot(client, Kind::CSRPolicy),
            snapshot(client, Kind::CSRGuardrail),
            skew::look(client, right)
        )?;
        // Between two pages a CRD may have been changed, too.
        let again = !(one && one_too) && skew == Skew::None;
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
/// generation does not tell. In pages, between which decisions have their turn, here and at the API server, and the shorter
/// the larger the objects are. With whether it was one page.
async fn snapshot(client: &Client, kind: Kind) -> Result<(Snapshot, bool), Error> {
    let path = format!("/apis/{GROUP}/{VERSION}/{}", kind.plural());
    let (mut versions, mut next, mut moment) = (Versions::new(), String::new(), None);
    let mut limit = PAGE;
    loop {
        let page = format!("{path}?limit={limit}&continue={}", segment(&next));
        let read = get_within(client, &page, MAX_PAGE).await;
        if limit > 1 && matches!(read, Err(Error::TooLarge(_))) {
            limit /= 2;
            continue;
        }
        let List { kind: said, metadata, items } = read?;
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
            return Ok((Snapshot { versions, resource_version: metadata.resource_version }, next.is_empty()));
        }
        if metadata.next == next {
            return Err(Error::Answer("the whole list"));
        }
        next = metadata.next;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::{Client, Kind, MAX_PAGE, PAGE, snapshot};

    /// What is asked of an API server that has `number` policies of `bytes` bytes: how many it finds, whether in one page,
    /// and how many were asked for each time.
    async fn read(number: usize, bytes: usize) -> (usize, bool, Vec<usize>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let service = {
            let asked = Arc::clone(&asked);
            tower::service_fn(move |request: Request<Body>| {
                let asked_for = |name: &str| -> Option<usize> {
                    let query = request.uri().query().unwrap_or_default();
                    query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
                };
                let (limit, from) = (asked_for("limit").unwrap(), asked_for("continue").unwrap_or(0));
                asked.lock().unwrap().push(limit);
                let until = number.min(from + limit);
                let item = |index| {
                    let annotations = json!({ "a": "a".repeat(bytes) });
                    json!({ "metadata": { "name": format!("{index}"), "uid": "u", "annotations": annotations }, "spec": {} })
                };
                let next = if until < number { until.to_string() } else { String::new() };
                let list = json!({
                    "kind": "CSRPolicyList",
                    "metadata": { "resourceVersion": "1", "continue": next },
                    "items": (from..until).map(item).collect::<Vec<_>>(),
                });
                let body = Body::from(serde_json::to_vec(&list).unwrap());
                async { Ok::<_, Infallible>(Response::new(body)) }
            })
        };
        let (snapshot, one) = snapshot(&Client::new(service, "default"), Kind::CSRPolicy).await.unwrap();
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        (snapshot.versions.len(), one, asked)
    }

    #[tokio::test]
    async fn the_larger_policies_are_the_fewer_are_read_at_a_time() {
        assert_eq!(read(100, 10).await, (100, true, vec![PAGE]));
        assert_eq!(read(101, 10).await, (101, false, vec![PAGE, PAGE]));
        let (found, one, asked) = read(20, MAX_PAGE / 4).await;
        assert_eq!((found, one), (20, false));
        assert_eq!(asked, [100, 50, 25, 12, 6, 3, 3, 3, 3, 3, 3, 3]);
        let (found, _, asked) = read(3, MAX_PAGE - 1000).await;
        assert_eq!((found, &asked[6..]), (3, [1, 1, 1].as_slice()));
    }
}
