//! All Nodes, by name and by what they claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Host, Node};
use crate::escape::printable;

/// The Nodes of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    by_name: BTreeMap<String, Arc<Node>>,
    /// The names of the Nodes that [claim](Node::claims) something.
    claimants: BTreeMap<Host, BTreeSet<String>>,
}

/// Why a Node cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeUnknown {
    /// Nothing is known of any Node.
    #[error("the Nodes of the cluster are not known here")]
    NotRead,
    /// There is none of this name.
    #[error("there is no Node {} (yet)", printable(.0))]
    Absent(String),
    /// It was created after the request was filed, so it was another Node that filed it.
    #[error("Node {} was created after the request was filed, so it did not file it: file it again", printable(.0))]
    CreatedLater(String),
    /// The request says when it was filed, and the Node not when it was created.
    #[error("nothing says when Node {} was created", printable(.0))]
    Undated(String),
}

impl FromIterator<Node> for Nodes {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut index = Self::default();
        for node in nodes {
            index.insert(node);
        }
        index
    }
}

impl Nodes {
    /// Adds `node`, in place of one of its name; whether anything has changed but its version.
    pub fn insert(&mut self, node: Node) -> bool {
        let before = self.remove(&node.name);
        for host in node.claims() {
            self.claimants.entry(host).or_default().insert(node.name.clone());
        }
        let same = before.is_some_and(|before| {
            node == Node { resource_version: node.resource_version.clone(), ..Node::clone(&before) }
        });
        self.by_name.insert(node.name.clone(), Arc::new(node));
        !same
    }

    /// Removes the Node of this name, if there is one.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Node>> {
        let node = self.by_name.remove(name)?;
        for host in node.claims() {
            if let Some(claimants) = self.claimants.get_mut(&host) {
                claimants.remove(name);
                if claimants.is_empty() {
                    self.claimants.remove(&host);
                }
            }
        }
        Some(node)
    }

    /// The Node of this name, byte for byte.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.by_name.get(name)
    }

    /// The names of all Nodes that [claim](Node::claims) `host`: those that carry it, and more.
    pub fn claimants(&self, host: &Host) -> impl Iterator<Item = &str> {
        self.claimants.get(host).into_iter().flatten().map(String::as_str)
    }

    /// Every Node, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.by_name.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The Node `name` that was there when a request was `filed`; `nodes` is nothing where no Node is
    /// known. A request that was never filed, a file, is compared with the Node that there is. Both
    /// times are the API server's own, to the second: within one second a Node counts as older.
    pub fn when_filed<'a>(
        nodes: Option<&'a Self>,
        name: &str,
        filed: Option<Timestamp>,
    ) -> Result<&'a Arc<Node>, NodeUnknown> {
        let node = nodes.ok_or(NodeUnknown::NotRead)?.get(name).ok_or_else(|| NodeUnknown::Absent(name.to_owned()))?;
        let Some(filed) = filed else { return Ok(node) };
        match node.created {
            None => Err(NodeUnknown::Undated(name.to_owned())),
            Some(created) if created > filed => Err(NodeUnknown::CreatedLater(name.to_owned())),
            Some(_) => Ok(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Host, Node, NodeUnknown, Nodes};

    fn node(name: &str, address: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:10Z" },
            "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
        }))
        .unwrap()
    }

    fn claimants(nodes: &Nodes, host: Option<Host>) -> Vec<String> {
        nodes.claimants(&host.unwrap()).map(str::to_owned).collect()
    }

    #[test]
    fn what_two_nodes_carry_has_two_claimants_however_it_is_written() {
        let mut nodes: Nodes =
            [node("a", "2001:db8::1"), node("b", "2001:DB8:0:0::1"), node("B", "10.0.0.1")].into_iter().collect();
        assert_eq!(nodes.len(), 3);
        assert_eq!(claimants(&nodes, Host::address("2001:db8::1")), ["a", "b"]);
        assert_eq!(claimants(&nodes, Host::name("b")), ["B", "b"]);
        assert!(nodes.get("b").is_some() && nodes.get("A").is_none());
        nodes.remove("b");
        assert_eq!(claimants(&nodes, Host::address("2001:db8::1")), ["a"]);
        // A Node that changes lets go of what it carried.
        assert!(nodes.insert(node("a", "10.0.0.2")));
        assert_eq!(claimants(&nodes, Host::address("2001:db8::1")), [""; 0]);
        assert_eq!(claimants(&nodes, Host::address("10.0.0.2")), ["a"]);
    }

    #[test]
    fn a_new_version_alone_changes_nothing() {
        let mut nodes = Nodes::default();
        assert!(nodes.insert(node("a", "10.0.0.1")));
        assert!(!nodes.insert(Node { resource_version: "2".to_owned(), ..node("a", "10.0.0.1") }));
        assert_eq!(nodes.get("a").unwrap().resource_version, "2");
        assert!(nodes.insert(Node { uid: "2".to_owned(), ..node("a", "10.0.0.1") }));
    }

    #[test]
    fn a_node_that_is_younger_than_the_request_did_not_file_it() {
        let nodes: Nodes =
            [node("a", "10.0.0.1"), Node { created: None, ..node("b", "10.0.0.2") }].into_iter().collect();
        let at = |name: &str, filed: Option<&str>| {
            Nodes::when_filed(Some(&nodes), name, filed.map(|text| text.parse().unwrap())).map(|node| node.name.clone())
        };
        assert_eq!(at("a", Some("2026-01-01T00:00:10Z")), Ok("a".to_owned()));
        assert_eq!(at("a", Some("2026-01-01T00:00:09Z")), Err(NodeUnknown::CreatedLater("a".to_owned())));
        assert_eq!(at("a", None), Ok("a".to_owned()));
        assert_eq!(at("b", None), Ok("b".to_owned()));
        assert_eq!(at("b", Some("2026-01-01T00:00:10Z")), Err(NodeUnknown::Undated("b".to_owned())));
        assert_eq!(at("c", None), Err(NodeUnknown::Absent("c".to_owned())));
        assert_eq!(Nodes::when_filed(None, "a", None), Err(NodeUnknown::NotRead));
    }
}
