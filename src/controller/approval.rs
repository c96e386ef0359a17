//! Act: a decision is written to `certificatesigningrequests/NAME/approval`, once, on the object
//! that was reviewed and on no other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Error;
use super::client::{CALL_TIMEOUT, LastLook, call_after, get, segment};
use super::gate::{Gate, Refusal};
use super::moment::Moment;
use crate::escape::cut;
use crate::node::Node;
use crate::request::CsrObject;
use crate::review::{Decision, Review};

/// The longest message of a condition, in bytes; the API server itself has no limit.
const MAX_MESSAGE: usize = 4096;

/// How long before a decision the Node that it rests on was read once more at most: the connection for the
/// decision may take its time.
const NODE_FRESH: Duration = Duration::from_secs(5);

/// It is applied without the object becoming text in between, as it does with a merge patch, whose parser refuses what is nested
/// deeper than 10,000.
const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const RESOURCE: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// What became of a decision.
#[derive(Debug)]
pub(super) enum Sent {
    /// The API server accepted it.
    Accepted,
    /// It had accepted it, though its answer did not come: this is the request since.
    Written(Box<CsrObject>),
    /// It was not sent: what it rests on has changed.
    Refused(Refusal),
    /// This is what the request is now: somebody changed it since it was reviewed.
    Found(Box<CsrObject>),
    /// The Node that the decision rests on is not what it was: this is what it is now, if it is there.
    NodeChanged(Option<Box<Node>>),
    /// The Node that the decision rests on could not be read.
    NodeUnread(Error),
    /// The request does not exist any more.
    Gone,
    /// It failed, and was not written; try again later.
    Failed(Error),
    /// It failed, and may have been written all the same; find out later.
    Unanswered(Error),
}

/// Sends the decision of `review`, made at `at`, about `object`, if the gate still holds `revision`.
pub(super) async fn send(
    client: Client,
    gate: Arc<Gate>,
    object: Arc<CsrObject>,
    review: Arc<Review>,
    at: Timestamp,
    revision: u64,
) -> Sent {
    if !is_identified(&object) {
        return read(&client, &object.metadata.name).await;
    }
    let patch = patch(&object, &review, at);
    let began = Moment::now();
    if let Some(fact) = &review.node {
        match read_node(&client, &fact.name).await {
            // Too late to rest on, and nothing else would tell that it takes so long.
            Ok(_) if began.elapsed() > NODE_FRESH => return Sent::NodeUnread(Error::Timeout(NODE_FRESH.as_secs())),
            Ok(now) if fact.holds(now.as_deref()) => {}
            Ok(now) => return Sent::NodeChanged(now),
            Err(error) => return Sent::NodeUnread(error),
        }
    }
    let rests_on_node = review.node.is_some();
    let check = move || match gate.check(revision) {
        Ok(()) if rests_on_node && began.elapsed() > NODE_FRESH => Err(Refusal::NotFresh),
        checked => checked,
    };
    if let Err(refusal) = check() {
        return Sent::Refused(refusal);
    }
    let refused = Arc::new(OnceLock::new());
    let look = {
        let refused = Arc::clone(&refused);
        LastLook::new(move || check().map_err(|refusal| refused.set(refusal)).is_ok())
    };
    // The API server, too, gives up then, also where it does not hear that this side has.
    let approval = format!("{}/approval?fieldManager=countersign&timeout={}s", path(&object), CALL_TIMEOUT.as_secs());
    let sent = call_after::<Answered>(&client, look, Method::PATCH, &approval, STRATEGIC_MERGE_PATCH, &patch).await;
    if let Some(refusal) = refused.get() {
        return Sent::Refused(*refusal);
    }
    let error = match sent {
        Ok(answered) if answered.is_about(&object, &review) => return Sent::Accepted,
        // What stands between may answer for the API server.
        Ok(_) => return Sent::Unanswered(Error::Answer("the request that was decided")),
        Err(error) => error,
    };
    if error.is_open() {
        return Sent::Unanswered(error);
    }
    if !matches!(error.status(), Some(404 | 409)) {
        return Sent::Failed(error);
    }
    match read(&client, &object.metadata.name).await {
        // It did not change, and was refused all the same: not so fast again.
        Sent::Found(now) if now.metadata.resource_version == object.metadata.resource_version => Sent::Failed(error),
        other => other,
    }
}

/// What the answer to a decision has to say.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answered {
    metadata: AnsweredMetadata,
    status: AnsweredStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AnsweredMetadata {
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AnsweredStatus {
    conditions: Vec<AnsweredCondition>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AnsweredCondition {
    #[serde(rename = "type")]
    kind: String,
}

impl Answered {
    /// Whether it is `object`, with the decision of `review`.
    fn is_about(&self, object: &CsrObject, review: &Review) -> bool {
        let written = self.status.conditions.iter().any(|condition| condition.kind == kind(review));
        written && self.metadata.uid == object.metadata.uid
    }
}

/// What became of the decision of `review`, made at `at`, about the request with `uid` and this name, whose answer did not
/// come.
pub(super) async fn look_at(client: Client, name: &str, uid: &str, review: &Review, at: Timestamp) -> Sent {
    match read(&client, name).await {
        Sent::Found(now) if now.metadata.uid == uid && is_written(&now, review, at) => Sent::Written(now),
        // Whatever kept it from being read says nothing about the decision.
        Sent::Failed(error) => Sent::Unanswered(error),
        other => other,
    }
}

/// What has this name now: found, gone, or the read failed.
pub(super) async fn read(client: &Client, name: &str) -> Sent {
    match get::<CsrObject>(client, &path_of(name), "application/json").await {
        Ok(now) if now.metadata.name != name || !is_identified(&now) => {
            Sent::Failed(Error::Answer("the request that was asked for"))
        }
        Ok(now) => Sent::Found(Box::new(now)),
        Err(error) if error.status() == Some(404) => Sent::Gone,
        Err(error) => Sent::Failed(error),
    }
}

/// Whether it says which object in which state it is: without that a decision would be about any.
fn is_identified(object: &CsrObject) -> bool {
    !object.metadata.uid.is_empty() && !object.metadata.resource_version.is_empty()
}

fn path(object: &CsrObject) -> String {
    path_of(&object.metadata.name)
}

fn path_of(name: &str) -> String {
    format!("{RESOURCE}/{}", segment(name))
}

/// The Node of this name, if there is one. A read without a `resourceVersion` is consistent (Kubernetes API
/// concepts, "resource versions": unset is most recent).
async fn read_node(client: &Client, name: &str) -> Result<Option<Box<Node>>, Error> {
    match get(client, &format!("/api/v1/nodes/{}", segment(name)), "application/json").await {
        Ok(node) => Ok(Some(Box::new(node))),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version and the uid make it fail on any other object, and on this one in another state. Whatever else is in the
/// object stays: a requestor may have written megabytes into it, and a PUT would have to give all that back. The API server takes
/// no `managedFields` from a patch of a subresource; without them it need not read those that a requestor has made up, with
/// times that it writes but does not read.
fn patch(object: &CsrObject, review: &Review, at: Timestamp) -> Value {
    let mut conditions = object.conditions.clone();
    conditions.push(condition(review, at));
    json!({
        "metadata": {
            "name": object.metadata.name,
            "uid": object.metadata.uid,
            "resourceVersion": object.metadata.resource_version,
            "managedFields": null,
        },
        "status": { "conditions": conditions },
    })
}

/// The condition that says the decision of `review`. Another replica may make the same in the same words: the moment at which
/// it was made, in whole seconds as Kubernetes has them, tells whose it is, unless both make it in the same second and both believe
/// that they lead. The API server keeps a `lastUpdateTime`, and sets
/// one only where there is none (kubernetes/pkg/registry/certificates, `populateConditionTimestamps`).
pub(super) fn condition(review: &Review, at: Timestamp) -> Value {
    json!({
        "type": kind(review),
        "status": "True",
        "reason": format!("Policy{}", kind(review)),
        "message": cut(&message(review), MAX_MESSAGE),
        "lastUpdateTime": format!("{at:.0}"),
    })
}

/// The type of the condition.
fn kind(review: &Review) -> &'static str {
    match review.decision {
        Decision::Approve => "Approved",
        Decision::Deny | Decision::NoOpinion => "Denied",
    }
}

/// Whether `object` has the condition that the decision of `review`, made at `at`, writes; the API server adds another time.
pub(super) fn is_written(object: &CsrObject, review: &Review, at: Timestamp) -> bool {
    let ours = condition(review, at);
    let same = |theirs: &Value| {
        ["type", "reason", "message", "lastUpdateTime"].iter().all(|field| theirs[field] == ours[field])
    };
    object.conditions.iter().any(same)
}

/// The reason, for the condition and the Event.
pub(super) fn message(review: &Review) -> String {
    match review.decision {
        Decision::Approve => format!("approved by Countersign: {}", review.reason),
        Decision::Deny => format!("denied by Countersign: {}", review.reason),
        Decision::NoOpinion => format!("left pending by Countersign: {}", review.reason),
    }
}
