//! Act: a decision is written to `certificatesigningrequests/NAME/approval`, once, on the object
//! that was reviewed and on no other.

use http::Method;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Error;
use super::client::{call, get, segment};
use super::gate::{Gate, Refusal};
use crate::escape::cut;
use crate::request::CsrObject;
use crate::review::{Decision, Review};

/// The longest message of a condition, in bytes; the API server itself has no limit.
const MAX_MESSAGE: usize = 4096;

const RESOURCE: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// What became of a decision.
#[derive(Debug)]
pub(super) enum Sent {
    /// The API server accepted it.
    Accepted,
    /// It was not sent: what it rests on has changed.
    Refused(Refusal),
    /// Somebody changed the request since it was reviewed: this is what it is now.
    Changed(Box<CsrObject>),
    /// The request does not exist any more.
    Gone,
    /// It failed; try again later.
    Failed(Error),
}

/// Sends the decision of `review` about `object`, if the gate still holds `revision`.
pub(super) async fn send(
    client: Client,
    gate: std::sync::Arc<Gate>,
    object: std::sync::Arc<CsrObject>,
    review: std::sync::Arc<Review>,
    revision: u64,
) -> Sent {
    let path = format!("{RESOURCE}/{}", segment(&object.metadata.name));
    let body = body(&object, &review);
    if let Err(refusal) = gate.check(revision) {
        return Sent::Refused(refusal);
    }
    let approval = format!("{path}/approval?fieldManager=countersign");
    match call::<IgnoredAny>(&client, Method::PUT, &approval, "application/json", &body).await {
        Ok(_) => Sent::Accepted,
        Err(error) if error.status() == Some(404) => Sent::Gone,
        Err(error) if error.status() == Some(409) => match get(&client, &path, "application/json").await {
            Ok(now) => Sent::Changed(Box::new(now)),
            Err(error) if error.status() == Some(404) => Sent::Gone,
            Err(error) => Sent::Failed(error),
        },
        Err(error) => Sent::Failed(error),
    }
}

/// The whole writable metadata goes back, since a PUT without it would erase it; the version and
/// the uid make it fail on any other object. `spec` is left out: the API server keeps it.
fn body(object: &CsrObject, review: &Review) -> Value {
    let (kind, reason) = match review.decision {
        Decision::Approve => ("Approved", "PolicyApproved"),
        Decision::Deny | Decision::NoOpinion => ("Denied", "PolicyDenied"),
    };
    let metadata = &object.metadata;
    let mut conditions = object.conditions.clone();
    conditions.push(json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": cut(&message(review), MAX_MESSAGE),
    }));
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
            "finalizers": metadata.finalizers,
            "ownerReferences": metadata.owner_references,
        },
        "status": { "conditions": conditions },
    })
}

/// The reason, for the condition and the Event.
pub(super) fn message(review: &Review) -> String {
    match review.decision {
        Decision::Approve => format!("approved by Countersign: {}", review.reason),
        Decision::Deny => format!("denied by Countersign: {}", review.reason),
        Decision::NoOpinion => format!("left pending by Countersign: {}", review.reason),
    }
}
