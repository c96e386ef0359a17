//! A request as it is held while it waits: whole if it is small. What is large is read again when its turn comes, so that
//! many of them fill no memory.

use std::sync::Arc;

use jiff::Timestamp;

use crate::request::{Approval, CsrObject, Settled};
use crate::review::Holder;

/// The most, in bytes of memory, of a request that is held whole. One with an RSA key of 8192 bits that `kubectl apply` has
/// filed, with the manifest in an annotation, stays below it.
const MAX_WHOLE: usize = 8 * 1024;

/// A request that a watch brought.
#[derive(Debug, Clone)]
pub(super) enum Filed {
    Whole(Arc<CsrObject>),
    /// A large one, which is to be read before it is reviewed.
    Large(Box<Outline>),
}

/// What tells whether there is something to do about a request, and whose turn it then is.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    name: String,
    uid: String,
    resource_version: String,
    signer_name: String,
    requestor: String,
    created: Option<Timestamp>,
    settled: Option<Settled>,
    approval: Option<Approval>,
    /// Whose certificates it counts among, if it is approved.
    holder: Option<Holder>,
}

impl From<CsrObject> for Filed {
    fn from(object: CsrObject) -> Self {
        if object.memory() <= MAX_WHOLE {
            Self::Whole(Arc::new(object))
        } else {
            Self::Large(Box::new(Outline::of(&object)))
        }
    }
}

impl Outline {
    fn of(object: &CsrObject) -> Self {
        let approval = object.approval();
        Self {
            name: object.metadata.name.clone(),
            uid: object.metadata.uid.clone(),
            resource_version: object.metadata.resource_version.clone(),
            signer_name: object.signer_name().to_owned(),
            requestor: object.requestor().to_owned(),
            created: object.created(),
            settled: object.settled(),
            approval,
            holder: approval.and_then(|_| Holder::of_object(object)),
        }
    }
}

impl Filed {
    /// The request, if it is held.
    pub(super) fn whole(&self) -> Option<&Arc<CsrObject>> {
        match self {
            Self::Whole(object) => Some(object),
            Self::Large(_) => None,
        }
    }

    /// The same without what it holds beside its outline.
    pub(super) fn outlined(self) -> Self {
        match self {
            Self::Whole(object) => Self::Large(Box::new(Outline::of(&object))),
            large @ Self::Large(_) => large,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Whole(object) => &object.metadata.name,
            Self::Large(outline) => &outline.name,
        }
    }

    pub(super) fn uid(&self) -> &str {
        match self {
            Self::Whole(object) => &object.metadata.uid,
            Self::Large(outline) => &outline.uid,
        }
    }

    pub(super) fn resource_version(&self) -> &str {
        match self {
            Self::Whole(object) => &object.metadata.resource_version,
            Self::Large(outline) => &outline.resource_version,
        }
    }

    pub(super) fn signer_name(&self) -> &str {
        match self {
            Self::Whole(object) => object.signer_name(),
            Self::Large(outline) => &outline.signer_name,
        }
    }

    pub(super) fn requestor(&self) -> &str {
        match self {
            Self::Whole(object) => object.requestor(),
            Self::Large(outline) => &outline.requestor,
        }
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        match self {
            Self::Whole(object) => object.created(),
            Self::Large(outline) => outline.created,
        }
    }

    pub(super) fn settled(&self) -> Option<Settled> {
        match self {
            Self::Whole(object) => object.settled(),
            Self::Large(outline) => outline.settled,
        }
    }

    pub(super) fn approval(&self) -> Option<Approval> {
        match self {
            Self::Whole(object) => object.approval(),
            Self::Large(outline) => outline.approval,
        }
    }

    /// Whose certificates it counts among; nothing of a large one that is not approved.
    pub(super) fn holder(&self) -> Option<Holder> {
        match self {
            Self::Whole(object) => Holder::of_object(object),
            Self::Large(outline) => outline.holder,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::{Filed, Holder, MAX_WHOLE, Settled};
    use crate::request::CsrObject;

    fn object(pem: &str, conditions: &Value) -> CsrObject {
        serde_json::from_value(json!({
            "metadata": { "name": "a", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": {
                "request": STANDARD.encode(pem), "signerName": "example.com/x",
                "username": "system:node:w", "groups": ["system:nodes"],
            },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_large_is_held_in_outline_and_says_the_same_of_itself() {
        let approved = json!([{ "type": "Approved", "lastTransitionTime": "2026-01-01T00:00:01Z" }]);
        for (conditions, settled) in [(json!([]), None), (approved, Some(Settled::Approved))] {
            let object = object("", &conditions);
            let room = MAX_WHOLE - object.memory();
            let whole = Filed::from(self::object(&"x".repeat(room), &conditions));
            let large = Filed::from(self::object(&"x".repeat(room + 1), &conditions));
            assert!(whole.whole().is_some() && large.whole().is_none());
            for filed in [&whole, &large] {
                assert_eq!((filed.name(), filed.uid()), ("a", "u"));
                assert_eq!((filed.signer_name(), filed.requestor()), ("example.com/x", "system:node:w"));
                assert_eq!((filed.created(), filed.settled()), (object.created(), settled));
                assert_eq!(filed.approval(), object.approval());
            }
            let node = Holder::new("example.com/x", "w");
            assert_eq!((whole.holder(), large.holder()), (Some(node), settled.map(|_| node)));
        }
    }
}
