//! `from: Node`: the names and addresses that the requesting node itself carries, and those that no
//! node can have, whatever its Node says: kubelets write most of that themselves.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::checks::Checks;
use super::names::{ListKind, list};
use super::{Holder, ViolationCode, kubelet};
use crate::api::Existence;
use crate::escape::printable;
use crate::node::{Host, NodeUnknown, Nodes};
use crate::policy::NodeRules;

impl Checks<'_> {
    /// Each of `hosts` must be one that the requesting node carries, and no other Node. What is not
    /// there is unknown: addresses arrive late, and a Node may be behind. A policy is about a node that asks for itself also
    /// where there are no hosts, unless the signer is one of kubelets, for which the identity is checked anyway and who
    /// bootstraps has none yet; a guardrail is about requests that have some.
    pub(super) fn carried_by_node(&mut self, kind: &ListKind, mut hosts: Vec<Host>) {
        if hosts.is_empty() && (!self.is_policy || kubelet::is_signer(&self.envelope.signer_name)) {
            return;
        }
        hosts.retain(|host| !self.reserved_for_others(kind, host));
        let name = match self.own_node {
            Ok(name) => name,
            Err(wrong) => return self.not_a_node(wrong),
        };
        if hosts.is_empty() {
            return;
        }
        let shown = printable(name);
        let node = match Nodes::when_filed(self.facts.nodes, name, self.envelope.created) {
            Ok(node) => node,
            Err(unknown) => return self.unknown(format!("{} are the node's own, and {unknown}", kind.plural)),
        };
        if node.addresses.is_empty() {
            return self.unknown(format!("{} are the node's own, and Node {shown} has no addresses yet", kind.plural));
        }
        let carries: BTreeSet<String> = node.hosts().map(|host| host.to_string()).collect();
        let missing: Vec<String> = hosts.iter().filter(|host| !node.carries(host)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            self.unknown(format!(
                "Node {shown} does not carry {} (yet); it carries {}",
                list(missing.iter().map(String::as_str)),
                list(carries.iter().map(String::as_str))
            ));
        }
        for host in hosts.iter().filter(|host| node.carries(host)) {
            let others =
                self.facts.nodes.into_iter().flat_map(|nodes| nodes.claimants(host)).filter(|other| *other != name);
            let others: Vec<String> = others.map(printable).collect();
            if !others.is_empty() {
                self.unknown(format!(
                    "{host} is carried by Node {shown} and also by {}, so nobody can tell whose it is",
                    list(others.iter().map(String::as_str))
                ));
            }
        }
    }

    /// The Node of the node whose identity is asked for. What comes and goes is unknown; an age that is too
    /// great only grows. In a guardrail, a request for no node's identity has nothing to check.
    pub(super) fn node(&mut self, rules: NodeRules) {
        if !self.is_policy && kubelet::named_node(self.pkcs10).is_none() {
            return;
        }
        let name = match kubelet::asked_node(self.envelope, self.pkcs10) {
            Ok(name) => name,
            Err(wrong) => return self.not_a_node(wrong),
        };
        if let Some(max) = rules.max_per_hour {
            self.rate(name, max);
        }
        if !rules.need_node() {
            return;
        }
        let shown = printable(name);
        let node = match Nodes::when_filed(self.facts.nodes, name, self.envelope.created) {
            Ok(_) if rules.existence == Some(Existence::Absent) => {
                return self.unknown(format!(
                    "there is a Node {shown} already, and {} permits only nodes that have none yet: delete it if its \
                     machine was installed anew",
                    self.name
                ));
            }
            Ok(node) => node,
            Err(NodeUnknown::Absent(_)) if rules.existence != Some(Existence::Present) => return,
            Err(unknown) => return self.unknown(unknown.to_string()),
        };
        let Some(max) = rules.max_age_seconds else { return };
        let Some((filed, created)) = self.envelope.created.zip(node.created) else {
            return self.unknown(format!("nothing says how old Node {shown} was when the request was filed"));
        };
        let age = filed.duration_since(created).as_secs();
        if age > i64::from(max) {
            let message = format!(
                "Node {shown} was {age} s old when the request was filed, and {} permits at most {max} s",
                self.name
            );
            self.violation(
                ViolationCode::NodeTooOld,
                "subject.commonName",
                &format!("{age} s"),
                format!("at most {max} s"),
                message,
            );
        }
    }

    /// How many certificates were approved for node `name` within the hour before now, or where nothing says
    /// when that is, before the request was filed.
    fn rate(&mut self, name: &str, max: u32) {
        let (shown, signer) = (printable(name), printable(&self.envelope.signer_name));
        let Some(approvals) = self.facts.approvals else {
            let why = format!("how many certificates of {signer} were approved for node {shown} is not known here");
            return self.unknown(why);
        };
        let holder = Holder::new(&self.envelope.signer_name, name);
        let recent = approvals.recent(holder, self.facts.now.or(self.envelope.created), &self.envelope.uid);
        let limit = usize::try_from(max).unwrap_or(usize::MAX);
        if recent.len() < limit {
            return;
        }
        let next = recent.falls_below(limit).map(|at| format!("; the next one from {at:.0}")).unwrap_or_default();
        let number = recent.len();
        let (noun, were) = if number == 1 { ("certificate", "was") } else { ("certificates", "were") };
        self.unknown(format!(
            "{number} {noun} of {signer} {were} approved for node {shown} within an hour, and {} permits at most {max}\
             {next}",
            self.name
        ));
    }

    /// Says once for an object that the requestor is not a node that asks for itself.
    fn not_a_node(&mut self, wrong: &str) {
        if self.has(ViolationCode::KubeletIdentity) || self.has(ViolationCode::NodeIdentity) {
            return;
        }
        let message = format!("{} is about a node that asks for itself: {wrong}", self.name);
        let (field, found) = if self.envelope.node().is_some() {
            ("subject.commonName", self.pkcs10.subject.common_name.as_deref().unwrap_or_default())
        } else {
            ("requestor", self.envelope.username.as_str())
        };
        self.violation(ViolationCode::NodeIdentity, field, &printable(found), "a node and its own name", message);
    }

    /// Whether `host` is one that no node can have, which is then violated.
    fn reserved_for_others(&mut self, kind: &ListKind, host: &Host) -> bool {
        let (code, why) = match host {
            Host::Name(name) => match meaning(name) {
                Some(why) => (ViolationCode::DnsNameNeverNode, why),
                None => return false,
            },
            Host::Address(address) => match scope(*address) {
                Some(why) => (ViolationCode::IpAddressNeverNode, why),
                None if self.service_cidrs.iter().any(|cidr| cidr.contains(address)) => {
                    (ViolationCode::IpAddressService, "is of the range of Services")
                }
                None => return false,
            },
        };
        let mark = if let Host::Name(_) = host { "\"" } else { "" };
        self.value(
            code,
            kind.field,
            || host.to_string(),
            || "what the requesting node carries".into(),
            |found, _| {
                let noun = kind.noun;
                format!("{noun} {mark}{found}{mark} {why}, so no node has it for its own, whatever its Node says")
            },
        );
        true
    }
}

/// What a DNS name (in lower case) means in every cluster, if it is not a node's.
fn meaning(name: &str) -> Option<&'static str> {
    let labels = name.split('.');
    // Those with a number stand in the /etc/hosts of Red Hat's and Debian's systems.
    let own = ["localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"];
    if labels.clone().any(|label| own.contains(&label)) {
        Some("is every machine's own")
    } else if name.starts_with("kubernetes") {
        Some("begins as the names of the API server do")
    } else if labels.skip(1).any(|label| label == "svc") {
        Some("is a Service's")
    } else if name == "cluster.local" || name.ends_with(".cluster.local") {
        Some("is of the cluster's own domain")
    } else {
        None
    }
}

/// Where an address means something else than one machine.
fn scope(address: IpAddr) -> Option<&'static str> {
    let (link_local, this_host, compatible) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[0] == 0 || address.is_broadcast(), false),
        // ::/96 is ::, ::1, and IPv4 addresses in a notation that RFC 4291 (2.5.5.1) gave up.
        IpAddr::V6(address) => (address.is_unicast_link_local(), false, address.segments()[..6] == [0; 6]),
    };
    if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_unspecified() || this_host || compatible {
        Some("is no machine's address")
    } else if link_local {
        Some("is a link-local address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else {
        None
    }
}
