//! What kubelets may serve for, and whether that is their node's.

use super::{Found, HazardCode, covers, enforced, is_any, requestors};
use crate::policy::matcher::RequestorMatcher;
use crate::policy::{Compiled, PolicySet, Rules, Source};

const SERVING: &str = "kubernetes.io/kubelet-serving";
const NODE: &str = "system:node:";

/// How one kind of SANs is limited.
#[derive(Debug, Clone, Copy)]
struct Hosts {
    from_node: bool,
    /// Whether `allowed` leaves anything out.
    limited: bool,
}

type Read = fn(&Rules) -> Option<Hosts>;

const IP_ADDRESSES: &str = "ipAddresses";
const KINDS: [(&str, Read); 2] = [("dnsNames", dns_names), (IP_ADDRESSES, ip_addresses)];

fn dns_names(rules: &Rules) -> Option<Hosts> {
    let list = &rules.dns_names.as_ref()?.list;
    let limited = list.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(is_any));
    Some(Hosts { from_node: list.from == Some(Source::Node), limited })
}

fn ip_addresses(rules: &Rules) -> Option<Hosts> {
    let rules = rules.ip_addresses.as_ref()?;
    let limited = rules.allowed.as_ref().is_some_and(|allowed| allowed.iter().all(|range| range.prefix_len() > 0));
    Some(Hosts { from_node: rules.from == Some(Source::Node), limited })
}

impl Found {
    /// The names and addresses that a policy gives to kubelets; what a guardrail limits is limited.
    pub(super) fn hosts(&mut self, set: &PolicySet, object: &Compiled, rules: &Rules) {
        let serving = object.matcher.signers().iter().any(|signer| signer.matches(SERVING));
        let guards = || enforced(set).filter(|guardrail| covers(guardrail, object)).filter_map(Compiled::rules);
        let mut asks_nodes = None;
        for (kind, read) in KINDS {
            let Some(own) = read(rules) else { continue };
            let from_node = own.from_node || guards().filter_map(read).any(|hosts| hosts.from_node);
            let limited = own.limited || guards().filter_map(read).any(|hosts| hosts.limited);
            if own.from_node {
                asks_nodes = asks_nodes.or(Some(kind));
            }
            if serving && !from_node {
                self.add(
                    HazardCode::ForeignHost,
                    kind,
                    "a kubelet gets a certificate for names and addresses that another node or the API server may have",
                );
            }
            if from_node && !limited {
                self.add(
                    HazardCode::UnlimitedClaim,
                    kind,
                    "a compromised kubelet writes what it likes into its own Node, and gets a certificate for it",
                );
            }
            if from_node && kind == IP_ADDRESSES && set.settings().service_cidrs.is_empty() {
                self.add(
                    HazardCode::ServicesUnknown,
                    kind,
                    "no range of Services is known, so an address of one, such as the API server's, may pass for a node's",
                );
            }
        }
        if let Some(kind) = asks_nodes
            && !requestors(object).iter().any(may_be_node)
        {
            let why = "no requestor that the policy names is a node, so nothing satisfies it";
            self.add(HazardCode::NeverANode, &format!("{kind}.from"), why);
        }
    }
}

/// Whether an entry may match a node: a user `system:node:NAME` in the groups that nodes are in.
fn may_be_node(entry: &RequestorMatcher) -> bool {
    let users = entry.users.as_ref().is_none_or(|users| {
        users.iter().any(|user| {
            let plain = user.source().split('*').next().unwrap_or_default();
            plain.strip_prefix(NODE).is_some() || (NODE.starts_with(plain) && plain != user.source())
        })
    });
    let groups = entry.groups.as_ref().is_none_or(|groups| {
        groups.iter().any(|group| group.matches("system:nodes") || group.matches("system:authenticated"))
    });
    users && groups && entry.service_accounts.is_none()
}
