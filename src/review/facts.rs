//! What a verdict rests on besides the request and the policies.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Approvals, kubelet};
use crate::node::{Node, Nodes};
use crate::policy::PolicySet;
use crate::request::SigningRequest;

/// What a verdict rests on besides the request and the policies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The present time; offline there is none unless it is given.
    pub now: Option<Timestamp>,
    /// The Nodes of the cluster. Nothing where they are not known: then what a Node carries is unknown,
    /// while a Node that is not in an index does not exist.
    pub nodes: Option<&'a Nodes>,
    /// What was approved lately, this program's own decisions on their way among it. Nothing where it is not
    /// known: then how many certificates a node got is unknown.
    pub approvals: Option<&'a Approvals>,
}

/// The Node that a verdict rests on, as it was: whoever acts on the verdict looks at it once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// What it was; nothing where there was none.
    pub node: Option<Arc<Node>>,
}

impl NodeFact {
    /// The Node that `request` is about, if an object of `set` that may speak about it looks at Nodes:
    /// the requestor's own, or the one whose name a bootstrap token asks for.
    pub(super) fn of(set: &PolicySet, request: &SigningRequest, facts: &Facts<'_>) -> Option<Self> {
        let nodes = facts.nodes.filter(|_| set.needs_nodes_for(&request.envelope))?;
        let named = || request.content.as_ref().ok().and_then(kubelet::named_node);
        let name = request.envelope.node().or_else(named)?;
        Some(Self { name: name.to_owned(), node: nodes.get(name).cloned() })
    }

    /// Whether `now`, the Node of this name in a later read, is the same and says the same.
    #[must_use]
    pub fn holds(&self, now: Option<&Node>) -> bool {
        match (self.node.as_deref(), now) {
            (None, None) => true,
            (Some(then), Some(now)) => *now == Node { resource_version: now.resource_version.clone(), ..then.clone() },
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}
