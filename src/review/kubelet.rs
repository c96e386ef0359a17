//! The two signers of kubelets, whose certificates speak for a node, and who may ask for one.

use crate::request::{Envelope, Pkcs10, SigningRequest};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// Whether the certificates of `signer` are those of kubelets.
pub(super) fn is_signer(signer: &str) -> bool {
    matches!(signer, CLIENT | SERVING)
}

/// The node that the subject speaks for.
pub(super) fn named_node(pkcs10: &Pkcs10) -> Option<&str> {
    pkcs10.subject.common_name.as_deref()?.strip_prefix("system:node:").filter(|name| !name.is_empty())
}

/// The node that asks for itself: the requestor is a node, and the CN its own name. The error is what
/// is not so.
pub(super) fn own_node<'a>(envelope: &'a Envelope, pkcs10: &Pkcs10) -> Result<&'a str, &'static str> {
    let name =
        envelope.node().ok_or("the requestor is not a node (a user system:node:NAME in the group system:nodes)")?;
    if named_node(pkcs10) == Some(name) { Ok(name) } else { Err("the common name is not the requestor's own node") }
}

/// The node whose identity is asked for: by itself, or by whoever has none yet. The error is what is wrong
/// with that.
pub(super) fn asked_node<'a>(envelope: &Envelope, pkcs10: &'a Pkcs10) -> Result<&'a str, &'static str> {
    if envelope.node().is_some() {
        own_node(envelope, pkcs10)?;
    }
    named_node(pkcs10).ok_or("the common name is not system:node: and the name of a node")
}

/// What is wrong with a kubelet's identity, if the signer is a kubelet's: the CN must be the
/// requestor's own `system:node:` name and the requestor in `system:nodes`. A bootstrap token has
/// no node's name yet, so for the client signer the CN need only be some node's.
pub(super) fn wrong_identity(request: &SigningRequest, pkcs10: &Pkcs10) -> Option<&'static str> {
    let envelope = &request.envelope;
    let signer = envelope.signer_name.as_str();
    if !is_signer(signer) {
        return None;
    }
    let bootstraps = signer == CLIENT
        && envelope.username.starts_with("system:bootstrap:")
        && envelope.groups.iter().any(|group| group == "system:bootstrappers");
    if bootstraps {
        return asked_node(envelope, pkcs10).err();
    }
    own_node(envelope, pkcs10).err()
}
