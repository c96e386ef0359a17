//! The two signers of kubelets, whose certificates speak for a node.

use crate::request::{Pkcs10, SigningRequest};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const SERVING: &str = "kubernetes.io/kubelet-serving";

/// What is wrong with a kubelet's identity, if the signer is a kubelet's: the CN must be the
/// requestor's own `system:node:` name and the requestor in `system:nodes`. A bootstrap token has
/// no node's name yet, so for the client signer the CN need only be some node's.
pub(super) fn wrong_identity(request: &SigningRequest, pkcs10: &Pkcs10) -> Option<String> {
    let envelope = &request.envelope;
    let signer = envelope.signer_name.as_str();
    if signer != CLIENT && signer != SERVING {
        return None;
    }
    let common_name = pkcs10.subject.common_name.as_deref().unwrap_or_default();
    let is_node = |name: &str| name.strip_prefix("system:node:").is_some_and(|name| !name.is_empty());
    let in_group = |name: &str| envelope.groups.iter().any(|group| group == name);
    let bootstraps =
        signer == CLIENT && envelope.username.starts_with("system:bootstrap:") && in_group("system:bootstrappers");
    if bootstraps {
        return (!is_node(common_name))
            .then(|| "the common name is not system:node: and the name of a node".to_owned());
    }
    if !is_node(&envelope.username) || !in_group("system:nodes") {
        return Some("the requestor is not a node (a user system:node:NAME in the group system:nodes)".to_owned());
    }
    (common_name != envelope.username).then(|| "the common name is not the requestor's own node".to_owned())
}
