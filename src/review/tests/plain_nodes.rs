//! Nodes of the random worlds, and what a naive evaluator says of them.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::rules::Answer;
use crate::node::{AddressType, Node, NodeAddress, Nodes};

pub(super) const FILED: &str = "2026-01-01T00:00:00Z";
/// The node that may ask.
pub(super) const OWN: &str = "system:node:w";
/// What is asked for, and what Nodes carry.
const NAMES: [&str; 3] = ["w", "w2", "localhost"];

#[derive(Debug, Clone)]
pub(super) struct PlainNode {
    name: &'static str,
    carries: Option<&'static str>,
    /// Created after the request was filed.
    later: bool,
    gpu: bool,
}

/// What a request has to do with nodes.
#[derive(Debug, Clone)]
pub(super) struct AboutNodes {
    /// Whether the requestor is the node w.
    pub(super) as_node: bool,
    pub(super) dns_names: Vec<&'static str>,
    /// Nothing where they are not known.
    nodes: Option<Vec<PlainNode>>,
}

/// What an object says of nodes.
#[derive(Debug, Clone)]
pub(super) struct NodeRules {
    /// `from: Node`, and what is allowed besides.
    pub(super) dns_names: Option<(bool, Option<Vec<&'static str>>)>,
    pub(super) existence: Option<&'static str>,
}

impl AboutNodes {
    fn find(&self, name: &str) -> Option<&PlainNode> {
        self.nodes.iter().flatten().find(|node| node.name == name)
    }

    fn carriers(&self, name: &str) -> Vec<&'static str> {
        let all = self.nodes.iter().flatten();
        all.filter(|node| node.name == name || node.carries == Some(name)).map(|node| node.name).collect()
    }

    /// `node.labels`, if there is a Node to read.
    pub(super) fn gpu(&self) -> Option<bool> {
        self.find("w").filter(|node| self.as_node && !node.later).map(|node| node.gpu)
    }

    pub(super) fn nodes(&self) -> Option<Nodes> {
        let node = |plain: &PlainNode| Node {
            name: plain.name.to_owned(),
            created: Some(if plain.later { "2026-01-01T00:00:01Z" } else { FILED }.parse().unwrap()),
            labels: Some(plain.gpu.then(|| ("gpu".to_owned(), String::new())).into_iter().collect()),
            addresses: plain
                .carries
                .map(|name| NodeAddress { kind: AddressType::Hostname, address: name.to_owned() })
                .into_iter()
                .collect(),
            ..Node::default()
        };
        Some(self.nodes.as_ref()?.iter().map(node).collect())
    }
}

impl NodeRules {
    pub(super) fn naive(&self, guardrail: bool, common_name: Option<&str>, about: &AboutNodes) -> Answer {
        let answers =
            [self.naive_names(guardrail, common_name, about), self.naive_existence(guardrail, common_name, about)];
        [Answer::Violated, Answer::Unknown]
            .into_iter()
            .find(|worse| answers.contains(worse))
            .unwrap_or(Answer::Satisfied)
    }

    fn naive_names(&self, guardrail: bool, common_name: Option<&str>, about: &AboutNodes) -> Answer {
        let Some((from_node, allowed)) = &self.dns_names else {
            let fits = guardrail || about.dns_names.is_empty();
            return if fits { Answer::Satisfied } else { Answer::Violated };
        };
        let refused = |name: &&str| allowed.as_ref().is_some_and(|allowed| !allowed.contains(name));
        if about.dns_names.iter().any(refused) {
            return Answer::Violated;
        }
        if !from_node || guardrail && about.dns_names.is_empty() {
            return Answer::Satisfied;
        }
        let itself = about.as_node && common_name == Some(OWN);
        if !itself || about.dns_names.contains(&"localhost") {
            return Answer::Violated;
        }
        if about.dns_names.is_empty() {
            return Answer::Satisfied;
        }
        let usable = about.find("w").is_some_and(|node| !node.later && node.carries.is_some());
        let own = about.dns_names.iter().all(|name| about.carriers(name) == ["w"]);
        if usable && own { Answer::Satisfied } else { Answer::Unknown }
    }

    fn naive_existence(&self, guardrail: bool, common_name: Option<&str>, about: &AboutNodes) -> Answer {
        let Some(existence) = self.existence else { return Answer::Satisfied };
        let Some(name) = common_name.and_then(|name| name.strip_prefix("system:node:")) else {
            return if guardrail { Answer::Satisfied } else { Answer::Violated };
        };
        if about.as_node && name != "w" {
            return Answer::Violated;
        }
        let fits = match (about.nodes.as_ref().map(|_| about.find(name)), existence) {
            (Some(None), "Absent") => true,
            (Some(Some(node)), "Present") => !node.later,
            _ => false,
        };
        if fits { Answer::Satisfied } else { Answer::Unknown }
    }
}

pub(super) fn any_about() -> impl Strategy<Value = AboutNodes> {
    let node = |name: &'static str| {
        let rest = (prop::option::weighted(0.8, select(NAMES.to_vec())), prop::bool::weighted(0.15), any::<bool>());
        rest.prop_map(move |(carries, later, gpu)| PlainNode { name, carries, later, gpu })
    };
    let nodes = (prop::option::weighted(0.8, node("w")), prop::option::weighted(0.5, node("w2")))
        .prop_map(|(first, second)| first.into_iter().chain(second).collect::<Vec<_>>());
    let names = prop_oneof![4 => Just(Vec::new()), 4 => Just(vec!["w"]), 2 => subsequence(NAMES.to_vec(), 1..=2)];
    (any::<bool>(), names, prop::option::weighted(0.8, nodes)).prop_map(|(as_node, dns_names, nodes)| AboutNodes {
        as_node,
        dns_names,
        nodes,
    })
}

pub(super) fn any_rules() -> impl Strategy<Value = NodeRules> {
    let names = (any::<bool>(), prop::option::of(subsequence(NAMES.to_vec(), 1..=2)))
        .prop_filter("permits nothing", |(from_node, allowed)| *from_node || allowed.is_some());
    let existence = prop::option::weighted(0.2, select(vec!["Absent", "Present"]));
    (prop::option::weighted(0.6, names), existence)
        .prop_map(|(dns_names, existence)| NodeRules { dns_names, existence })
}
