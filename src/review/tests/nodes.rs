//! `from: Node`: what a node may ask for, and every way in which it may not.

use serde_json::{Value, json};

use super::super::{Decision, Facts, NodeFact, Review, ViolationCode, review};
use crate::node::{Node, Nodes};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};
use crate::request::{Envelope, Key, Pkcs10, Sans, SigningRequest, Subject, Usage};

const SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const FILED: &str = "2026-01-01T00:10:00Z";

/// A Node with these addresses, by their types.
fn node(name: &str, addresses: &[(&str, &str)]) -> Node {
    let addresses: Vec<Value> =
        addresses.iter().map(|(kind, address)| json!({ "type": kind, "address": address })).collect();
    serde_json::from_value(json!({
        "metadata": { "name": name, "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z" },
        "status": { "addresses": addresses },
    }))
    .unwrap()
}

fn nodes() -> Nodes {
    let worker = node(
        "worker-1",
        &[
            ("Hostname", "worker-1"),
            ("InternalDNS", "ip-10-0-0-1.eu.compute.internal"),
            ("ExternalDNS", "Worker-1.Example.com"),
            ("InternalIP", "10.0.0.1"),
            ("InternalIP", "2001:DB8:0:0::1"),
            ("ExternalIP", "203.0.113.7"),
        ],
    );
    [worker, node("worker-2", &[("InternalIP", "10.0.0.2"), ("Hostname", "worker-2")])].into_iter().collect()
}

/// What worker-1 asks for: its own name, and these SANs.
fn request(dns_names: &[&str], ip_addresses: &[&str]) -> SigningRequest {
    SigningRequest {
        envelope: Envelope {
            signer_name: SERVING.to_owned(),
            username: "system:node:worker-1".to_owned(),
            groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
            created: Some(FILED.parse().unwrap()),
            ..Envelope::default()
        },
        content: Ok(Pkcs10 {
            subject: Subject {
                common_name: Some("system:node:worker-1".to_owned()),
                organizations: vec!["system:nodes".to_owned()],
                ..Subject::default()
            },
            sans: Sans {
                dns_names: dns_names.iter().map(|name| (*name).to_owned()).collect(),
                ip_addresses: ip_addresses.iter().map(|address| address.parse().unwrap()).collect(),
                ..Sans::default()
            },
            key: Key::Ed25519,
            sha256: [0; 32],
        }),
        asks_for_masters: false,
        usages: vec![Usage::ServerAuth],
    }
}

fn policy(dns_names: &Value, ip_addresses: &Value) -> PolicyObject {
    let spec = json!({
        "match": { "signerNames": [SERVING], "requestors": [{ "groups": ["system:authenticated"] }] },
        "allow": {
            "subject": { "commonName": { "allowed": ["system:node:*"] }, "organizations": { "required": ["system:nodes"] } },
            "usages": { "allowed": ["server auth"] },
            "expirationSeconds": { "max": 3600, "whenUnset": "Allow" },
            "dnsNames": dns_names,
            "ipAddresses": ip_addresses,
        },
    });
    object(Kind::CSRPolicy, &spec)
}

fn guardrail(limits: &Value) -> PolicyObject {
    object(Kind::CSRGuardrail, &json!({ "match": {}, "limits": limits }))
}

fn object(kind: Kind, spec: &Value) -> PolicyObject {
    PolicyObject::new(
        kind,
        json!({ "apiVersion": crate::api::API_VERSION, "metadata": { "name": kind.plural() }, "spec": spec }),
    )
}

fn own() -> PolicyObject {
    policy(&json!({ "from": "Node" }), &json!({ "from": "Node" }))
}

fn verdict(objects: &[PolicyObject], request: &SigningRequest, nodes: Option<&Nodes>) -> Review {
    let settings = Settings {
        managed_signers: vec![SignerPattern::All],
        service_cidrs: vec!["10.96.0.0/12".parse().unwrap(), "fd00:96::/112".parse().unwrap()],
        ..Settings::default()
    };
    let set = PolicySet::compile(objects, settings);
    for compiled in set.policies().iter().chain(set.guardrails()) {
        assert!(compiled.is_ready(), "{:?}", compiled.problems());
    }
    review(&set, request, &Facts { nodes, ..Facts::default() })
}

fn codes(review: &Review) -> Vec<ViolationCode> {
    review.violations.iter().map(|violation| violation.code).collect()
}

#[test]
fn a_node_gets_what_it_carries_and_the_review_says_what_that_was() {
    let nodes = nodes();
    for (dns_names, ip_addresses) in [
        (vec!["worker-1"], vec!["10.0.0.1"]),
        (vec!["WORKER-1.example.COM", "ip-10-0-0-1.eu.compute.internal"], vec!["2001:db8::1", "203.0.113.7"]),
        (vec![], vec!["10.0.0.1"]),
    ] {
        let review = verdict(&[own()], &request(&dns_names, &ip_addresses), Some(&nodes));
        assert_eq!(review.decision, Decision::Approve, "{}", review.reason);
        let fact = review.node.unwrap();
        assert_eq!((fact.name.as_str(), &fact.node), ("worker-1", &nodes.get("worker-1").cloned()));
    }
}

/// Where nothing is asked for that a Node carries, a policy is about a node and its own name nevertheless, and a guardrail about
/// nothing.
#[test]
fn without_names_and_addresses_it_is_the_nodes_own_name_still() {
    let nodes = nodes();
    let settled_by = |signer: &str, objects: &[PolicyObject], name: &str, username: &str| {
        let mut asked = request(&[], &[]);
        asked.envelope.signer_name = signer.to_owned();
        asked.envelope.groups.push("system:bootstrappers".to_owned());
        asked.envelope.username = username.to_owned();
        asked.content.as_mut().unwrap().subject.common_name = Some(name.to_owned());
        let review = verdict(objects, &asked, Some(&nodes));
        (review.decision, codes(&review))
    };
    let settled =
        |objects: &[PolicyObject], name: &str, username: &str| settled_by("example.com/mesh", objects, name, username);
    let elsewhere = |dns_names: &Value, ip_addresses: &Value| {
        object(
            Kind::CSRPolicy,
            &json!({
                "match": { "signerNames": ["example.com/mesh", CLIENT], "requestors": [{ "groups": ["system:nodes"] }] },
                "allow": {
                    "subject": { "commonName": { "allowed": ["system:node:*"] }, "organizations": { "allowed": ["system:nodes"] } },
                    "usages": { "allowed": ["server auth"] },
                    "expirationSeconds": { "max": 3600, "whenUnset": "Allow" },
                    "dnsNames": dns_names,
                    "ipAddresses": ip_addresses,
                },
            }),
        )
    };
    let from = json!({ "from": "Node" });
    let own = elsewhere(&from, &from);
    let any = elsewhere(&json!({ "allowed": ["a.example.com"] }), &json!({ "allowed": ["10.0.0.0/8"] }));
    let (one, two) = ("system:node:worker-1", "system:node:worker-2");
    assert_eq!(settled(std::slice::from_ref(&own), one, one), (Decision::Approve, vec![]));
    assert_eq!(settled(std::slice::from_ref(&own), two, one), (Decision::Deny, vec![ViolationCode::NodeIdentity]));
    assert_eq!(settled(std::slice::from_ref(&own), one, "amy"), (Decision::Deny, vec![ViolationCode::NodeIdentity]));
    // For the signers of kubelets that is asked anyway, and who bootstraps has no name of a node yet.
    let own = [own];
    assert_eq!(settled_by(CLIENT, &own, one, "system:bootstrap:abcdef").0, Decision::Approve);
    assert_eq!(settled_by(CLIENT, &own, two, one), (Decision::Deny, vec![ViolationCode::KubeletIdentity]));
    let limits = json!({ "dnsNames": { "from": "Node" }, "ipAddresses": { "from": "Node" } });
    assert_eq!(settled(&[any, guardrail(&limits)], two, one), (Decision::Approve, vec![]));
}

#[test]
fn what_may_come_yet_is_left_pending_with_the_reason() {
    let nodes = nodes();
    let with =
        |node: Node| [node, self::node("worker-2", &[("InternalIP", "10.0.0.2")])].into_iter().collect::<Nodes>();
    let created = |at: Option<&str>| {
        with(Node { created: at.map(|at| at.parse().unwrap()), ..Node::clone(nodes.get("worker-1").unwrap()) })
    };
    let beside = |other: Node| nodes.iter().map(|node| Node::clone(node)).chain([other]).collect::<Nodes>();
    for (index, dns_name, ip_address, why) in [
        (None, "worker-1", "10.0.0.1", "the Nodes of the cluster are not known here"),
        (Some(Nodes::default()), "worker-1", "10.0.0.1", "there is no Node worker-1 (yet)"),
        (Some(with(node("worker-1", &[]))), "worker-1", "10.0.0.1", "Node worker-1 has no addresses yet"),
        (Some(nodes.clone()), "worker-1", "10.0.0.9", "does not carry 10.0.0.9 (yet); it carries 10.0.0.1, "),
        (Some(nodes.clone()), "worker-1.example.org", "10.0.0.1", "does not carry worker-1.example.org (yet)"),
        (Some(nodes.clone()), "worker-2", "10.0.0.1", "does not carry worker-2 (yet)"),
        (Some(nodes.clone()), "worker-1", "10.0.0.2", "does not carry 10.0.0.2 (yet)"),
        (Some(created(Some("2026-01-01T00:10:01Z"))), "worker-1", "10.0.0.1", "created after the request was filed"),
        (Some(created(None)), "worker-1", "10.0.0.1", "nothing says when Node worker-1 was created"),
        // A compromised node writes what others have into its own Node, or is called like it.
        (
            Some(beside(node("evil", &[("ExternalIP", "10.0.0.1")]))),
            "worker-1",
            "10.0.0.1",
            "10.0.0.1 is carried by Node worker-1 and also by evil",
        ),
        (
            Some(beside(node("evil", &[("Hostname", "WORKER-1")]))),
            "worker-1",
            "10.0.0.1",
            "worker-1 is carried by Node worker-1 and also by evil",
        ),
        (
            Some(with(node("worker-1", &[("InternalIP", "10.0.0.1"), ("InternalDNS", "worker-2")]))),
            "worker-2",
            "10.0.0.1",
            "worker-2 is carried by Node worker-1 and also by worker-2",
        ),
        // What is of another type than it says is another's all the same.
        (
            Some(beside(node("worker-2", &[("Hostname", "10.0.0.1"), ("InternalIP", "10.0.9.9")]))),
            "worker-1",
            "10.0.0.1",
            "10.0.0.1 is carried by Node worker-1 and also by worker-2",
        ),
        (
            Some(beside(node("worker-2", &[("ExternalIP", "::ffff:10.0.0.1")]))),
            "worker-1",
            "10.0.0.1",
            "10.0.0.1 is carried by Node worker-1 and also by worker-2",
        ),
        (
            Some(beside(node("worker-2", &[("InternalIP", "Worker-1.example.com.")]))),
            "worker-1.example.com",
            "10.0.0.1",
            "worker-1.example.com is carried by Node worker-1 and also by worker-2",
        ),
        (
            Some(beside(node("10.0.0.1", &[("InternalIP", "10.0.9.9")]))),
            "worker-1",
            "10.0.0.1",
            "10.0.0.1 is carried by Node worker-1 and also by 10.0.0.1",
        ),
        // What is of another type than it says gives its own node nothing.
        (Some(with(node("worker-1", &[("Hostname", "10.0.0.1")]))), "worker-1", "10.0.0.1", "does not carry 10.0.0.1"),
        (Some(with(node("worker-1", &[("InternalIP", "::ffff:10.0.0.1")]))), "worker-1", "10.0.0.1", "does not carry"),
        (
            Some(with(node("worker-1", &[("InternalIP", "w.example.com")]))),
            "w.example.com",
            "10.0.0.1",
            "does not carry",
        ),
        (
            Some(with(node("worker-1", &[("ExternalDNS", "w.example.com.")]))),
            "w.example.com",
            "10.0.0.1",
            "does not carry",
        ),
        (
            Some([node("WORKER-1", &[("InternalIP", "10.0.0.1")])].into_iter().collect()),
            "worker-1",
            "10.0.0.1",
            "no Node worker-1",
        ),
    ] {
        for objects in [
            vec![own()],
            vec![own(), guardrail(&json!({ "dnsNames": { "from": "Node" }, "ipAddresses": { "from": "Node" } }))],
        ] {
            let guarded = objects.len() > 1;
            let review = verdict(&objects, &request(&[dns_name], &[ip_address]), index.as_ref());
            assert_eq!((review.decision, codes(&review).len()), (Decision::NoOpinion, 0), "{why}: {}", review.reason);
            assert!(review.reason.contains(why), "{why}: {}", review.reason);
            assert_eq!(review.reason.starts_with("CSRGuardrail"), guarded);
            assert_eq!(review.node, None);
        }
    }
}

#[test]
fn what_no_node_can_have_is_denied_even_where_its_node_says_so() {
    let dns_names = [
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "localhost.localdomain",
        "localhost6.localdomain6",
        "ip6-loopback",
        "kubernetes",
        "Kubernetes.default",
        "kubernetes-api.example.com",
        "api.default.svc",
        "API.default.SVC.example.com",
        "kube-dns.kube-system.svc.cluster.local",
        "10-0-0-1.default.pod.cluster.local",
        "cluster.local",
    ];
    let ip_addresses = [
        ("127.0.0.1", ViolationCode::IpAddressNeverNode),
        ("127.9.9.9", ViolationCode::IpAddressNeverNode),
        ("::1", ViolationCode::IpAddressNeverNode),
        ("::7f00:1", ViolationCode::IpAddressNeverNode),
        ("0.0.0.0", ViolationCode::IpAddressNeverNode),
        ("0.1.2.3", ViolationCode::IpAddressNeverNode),
        ("::", ViolationCode::IpAddressNeverNode),
        ("169.254.169.254", ViolationCode::IpAddressNeverNode),
        ("fe80::1", ViolationCode::IpAddressNeverNode),
        ("224.0.0.1", ViolationCode::IpAddressNeverNode),
        ("ff02::1", ViolationCode::IpAddressNeverNode),
        ("255.255.255.255", ViolationCode::IpAddressNeverNode),
        ("10.96.0.1", ViolationCode::IpAddressService),
        ("fd00:96::a", ViolationCode::IpAddressService),
    ];
    let claims: Vec<(&str, &str)> = dns_names
        .iter()
        .map(|name| ("Hostname", *name))
        .chain(ip_addresses.iter().map(|(address, _)| ("InternalIP", *address)))
        .collect();
    let compromised: Nodes = [node("worker-1", &claims)].into_iter().collect();
    let denied = |request: SigningRequest, code, nodes: Option<&Nodes>| {
        for objects in [
            vec![own()],
            vec![guardrail(&json!({ "dnsNames": { "from": "Node" }, "ipAddresses": { "from": "Node" } }))],
        ] {
            let review = verdict(&objects, &request, nodes);
            assert_eq!((review.decision, codes(&review)), (Decision::Deny, vec![code]), "{}", review.reason);
        }
    };
    for nodes in [Some(&compromised), None] {
        for name in dns_names {
            denied(request(&[name], &[]), ViolationCode::DnsNameNeverNode, nodes);
        }
        for (address, code) in ip_addresses {
            denied(request(&[], &[address]), code, nodes);
        }
        for wildcard in ["*.example.com", "*"] {
            denied(request(&[wildcard], &[]), ViolationCode::DnsNameWildcard, nodes);
        }
    }
    // Names that only look like these are the node's own.
    let harmless =
        ["kube.example.com", "svc.example.com", "mysvc.example.com", "notlocalhost", "cluster.local.example.com"];
    let claims: Vec<(&str, &str)> = harmless.iter().map(|name| ("InternalDNS", *name)).collect();
    let review = verdict(&[own()], &request(&harmless, &[]), Some(&[node("worker-1", &claims)].into_iter().collect()));
    assert_eq!(review.decision, Decision::Approve, "{}", review.reason);
}

#[test]
fn a_wildcard_is_denied_even_where_wildcards_are_allowed() {
    let policy = policy(
        &json!({ "from": "Node", "allowed": ["*.example.com"], "wildcards": "Allow" }),
        &json!({ "from": "Node" }),
    );
    let review = verdict(&[policy], &request(&["*.example.com"], &[]), Some(&nodes()));
    assert_eq!((review.decision, codes(&review)), (Decision::Deny, vec![ViolationCode::DnsNameWildcard]));
}

#[test]
fn only_a_node_that_asks_for_itself_has_anything_of_a_node() {
    let nodes = nodes();
    let mut other = request(&["worker-1"], &["10.0.0.1"]);
    other.envelope.signer_name = "example.com/serving".to_owned();
    let mut outside = own();
    outside.spec.as_mut().unwrap()["match"]["signerNames"] = json!(["example.com/serving"]);
    let asks = |change: &dyn Fn(&mut SigningRequest)| {
        let mut request = other.clone();
        change(&mut request);
        codes(&verdict(&[outside.clone()], &request, Some(&nodes)))
    };
    assert_eq!(asks(&|_| {}), []);
    let common_name = |name: &'static str| {
        move |request: &mut SigningRequest| {
            request.content.as_mut().unwrap().subject.common_name = Some(name.to_owned());
        }
    };
    assert_eq!(asks(&common_name("system:node:worker-2")), [ViolationCode::NodeIdentity]);
    assert_eq!(
        asks(&|request| request.envelope.groups = vec!["system:authenticated".to_owned()]),
        [ViolationCode::NodeIdentity]
    );
    assert_eq!(
        asks(&|request| request.envelope.username = "system:node:worker-2".to_owned()),
        [ViolationCode::NodeIdentity]
    );
    assert_eq!(
        asks(&|request| request.envelope.username = "system:bootstrap:abcdef".to_owned()),
        [ViolationCode::NodeIdentity]
    );
    // For a kubelet's signer the kubelet's own identity says it already.
    let mut kubelet = request(&["worker-1"], &["10.0.0.1"]);
    common_name("system:node:worker-2")(&mut kubelet);
    assert_eq!(codes(&verdict(&[own()], &kubelet, Some(&nodes))), [ViolationCode::KubeletIdentity]);
    // A guardrail checks it where it has something to check.
    let limit = guardrail(&json!({ "ipAddresses": { "from": "Node" } }));
    assert_eq!(codes(&verdict(std::slice::from_ref(&limit), &kubelet, Some(&nodes))), [ViolationCode::NodeIdentity]);
    kubelet.content.as_mut().unwrap().sans = Sans::default();
    assert_eq!(codes(&verdict(&[limit], &kubelet, Some(&nodes))), []);
}

#[test]
fn lists_limit_what_the_node_carries_further() {
    let nodes = nodes();
    let asks = |dns_names: Value, ip_addresses: Value, names: &[&str], addresses: &[&str]| {
        let review = verdict(&[policy(&dns_names, &ip_addresses)], &request(names, addresses), Some(&nodes));
        (review.decision, codes(&review))
    };
    let own = || json!({ "from": "Node" });
    let deny = |code| (Decision::Deny, vec![code]);
    let approve = (Decision::Approve, vec![]);
    let internal = || json!({ "from": "Node", "allowed": ["10.0.0.0/8"] });
    assert_eq!(asks(own(), internal(), &[], &["10.0.0.1"]), approve);
    assert_eq!(asks(own(), internal(), &[], &["203.0.113.7"]), deny(ViolationCode::IpAddressNotAllowed));
    // It is allowed, and not carried.
    assert_eq!(asks(own(), internal(), &[], &["10.0.0.9"]), (Decision::NoOpinion, vec![]));
    let no = json!({ "from": "Node", "denied": ["203.0.113.0/24"] });
    assert_eq!(asks(own(), no, &[], &["203.0.113.7"]), deny(ViolationCode::IpAddressDenied));
    // A violation stands, whatever else is unknown.
    assert_eq!(asks(own(), internal(), &["elsewhere"], &["203.0.113.7"]), deny(ViolationCode::IpAddressNotAllowed));
    let own_name = || json!({ "from": "Node", "allowed": ["worker-*"], "required": ["worker-*"], "max": 1 });
    assert_eq!(asks(own_name(), own(), &["worker-1"], &[]), approve);
    assert_eq!(asks(own_name(), own(), &[], &[]), deny(ViolationCode::DnsNameMissing));
    assert_eq!(
        asks(own_name(), own(), &["worker-1", "worker-1.example.com"], &[]).1,
        [ViolationCode::DnsNameNotAllowed, ViolationCode::DnsNameCount]
    );
}

/// What a bootstrap token asks for: a client certificate for this node.
fn bootstrap(name: &str) -> SigningRequest {
    let mut request = request(&[], &[]);
    request.envelope.signer_name = CLIENT.to_owned();
    request.envelope.username = "system:bootstrap:abcdef".to_owned();
    request.envelope.groups = vec!["system:bootstrappers".to_owned(), "system:authenticated".to_owned()];
    request.content.as_mut().unwrap().subject.common_name = Some(format!("system:node:{name}"));
    request.usages = vec![Usage::ClientAuth];
    request
}

fn client(rules: &Value) -> PolicyObject {
    let mut policy = own();
    let spec = policy.spec.as_mut().unwrap();
    spec["match"]["signerNames"] = json!([CLIENT]);
    spec["allow"]["usages"] = json!({ "allowed": ["client auth"] });
    spec["allow"]["node"] = rules.clone();
    for list in ["dnsNames", "ipAddresses"] {
        spec["allow"].as_object_mut().unwrap().remove(list);
    }
    policy
}

#[test]
fn a_bootstrap_token_asks_for_no_living_node_where_a_policy_says_so() {
    let nodes = nodes();
    let absent = || json!({ "existence": "Absent" });
    let review = verdict(&[client(&absent())], &bootstrap("worker-3"), Some(&nodes));
    assert_eq!(review.decision, Decision::Approve, "{}", review.reason);
    // What the approval rests on is that there is none.
    assert_eq!(review.node, Some(NodeFact { name: "worker-3".to_owned(), node: None }));
    let later: Nodes = [Node {
        created: Some("2026-01-01T00:10:01Z".parse().unwrap()),
        ..Node::clone(nodes.get("worker-1").unwrap())
    }]
    .into_iter()
    .collect();
    for (known, why) in [
        (Some(&nodes), "there is a Node worker-1 already"),
        (Some(&later), "Node worker-1 was created after the request was filed"),
        (None, "the Nodes of the cluster are not known here"),
    ] {
        let guardrail = guardrail(&json!({ "node": absent() }));
        for objects in [vec![client(&absent())], vec![guardrail, client(&json!({ "maxAgeSeconds": 86_400 }))]] {
            let review = verdict(&objects, &bootstrap("worker-1"), known);
            assert_eq!((review.decision, codes(&review).len()), (Decision::NoOpinion, 0), "{}", review.reason);
            assert!(review.reason.contains(why), "{}", review.reason);
        }
    }
    // Nor for a name that is none, and a node not for another.
    let codes_of = |request: &SigningRequest| codes(&verdict(&[client(&absent())], request, Some(&nodes)));
    assert_eq!(codes_of(&bootstrap("")), [ViolationCode::KubeletIdentity, ViolationCode::CommonNameReserved]);
    let mut renewal = bootstrap("worker-3");
    renewal.envelope.username = "system:node:worker-1".to_owned();
    renewal.envelope.groups = vec!["system:nodes".to_owned(), "system:authenticated".to_owned()];
    assert_eq!(codes_of(&renewal), [ViolationCode::KubeletIdentity]);
    let only_guarded = verdict(&[guardrail(&json!({ "node": absent() }))], &renewal, Some(&nodes));
    assert_eq!(codes(&only_guarded), [ViolationCode::NodeIdentity]);
    // A request for no node's identity has nothing to check in a guardrail.
    let mut user = renewal;
    user.content.as_mut().unwrap().subject.common_name = Some("amy".to_owned());
    assert_eq!(codes(&verdict(&[guardrail(&json!({ "node": absent() }))], &user, None)), []);
}

#[test]
fn a_node_that_was_removed_renews_nothing_where_a_policy_says_so() {
    let nodes = nodes();
    let renewal = |name: &str| {
        let mut renewal = bootstrap(name);
        renewal.envelope.username = format!("system:node:{name}");
        renewal.envelope.groups = vec!["system:nodes".to_owned(), "system:authenticated".to_owned()];
        renewal
    };
    let present = client(&json!({ "existence": "Present" }));
    let said = |name: &str| {
        let review = verdict(std::slice::from_ref(&present), &renewal(name), Some(&nodes));
        (review.decision, review.reason)
    };
    assert_eq!(said("worker-1").0, Decision::Approve);
    let (decision, reason) = said("worker-3");
    assert_eq!(decision, Decision::NoOpinion);
    assert!(reason.contains("there is no Node worker-3 (yet)"), "{reason}");
}

#[test]
fn the_age_of_a_node_is_that_when_the_request_was_filed() {
    let nodes = nodes();
    let said = |max: i64, request: &SigningRequest| {
        let review = verdict(&[client(&json!({ "maxAgeSeconds": max }))], request, Some(&nodes));
        (review.decision, codes(&review))
    };
    // Ten minutes.
    assert_eq!(said(600, &bootstrap("worker-1")), (Decision::Approve, vec![]));
    assert_eq!(said(599, &bootstrap("worker-1")), (Decision::Deny, vec![ViolationCode::NodeTooOld]));
    assert_eq!(said(1, &bootstrap("worker-3")), (Decision::Approve, vec![]));
    let mut undated = bootstrap("worker-1");
    undated.envelope.created = None;
    assert_eq!(said(600, &undated), (Decision::NoOpinion, vec![]));
}

#[test]
fn a_fact_holds_while_the_node_says_the_same() {
    let nodes = nodes();
    let node = nodes.get("worker-1").unwrap();
    let fact = NodeFact { name: "worker-1".to_owned(), node: Some(node.clone()) };
    let later = Node { resource_version: "2".to_owned(), ..Node::clone(node) };
    assert!(fact.holds(Some(&later)));
    assert!(!fact.holds(None));
    assert!(!fact.holds(Some(&Node { uid: "2".to_owned(), ..later.clone() })));
    assert!(!fact.holds(Some(&Node { addresses: later.addresses[1..].to_vec(), ..later.clone() })));
    assert!(!fact.holds(Some(&Node { labels: None, ..later.clone() })));
    let absent = NodeFact { node: None, ..fact };
    assert!(absent.holds(None) && !absent.holds(Some(&later)));
}

#[test]
fn a_set_says_whether_it_needs_nodes() {
    let needs = |objects: &[PolicyObject]| {
        let set = PolicySet::compile(objects, Settings::default());
        let of_kubelets = request(&[], &[]).envelope;
        let other = Envelope { signer_name: "example.com/x".to_owned(), ..of_kubelets.clone() };
        (set.needs_nodes(), set.needs_nodes_for(&of_kubelets), set.needs_nodes_for(&other))
    };
    let plain = policy(&json!({ "allowed": ["*"] }), &json!({ "allowed": ["10.0.0.0/8"] }));
    assert_eq!(needs(std::slice::from_ref(&plain)), (false, false, false));
    let mut conditional = plain.clone();
    conditional.spec.as_mut().unwrap()["match"]["conditions"] =
        json!([{ "name": "gpu", "expression": "has(node.labels.gpu)" }]);
    assert_eq!(needs(&[conditional]), (true, true, false));
    assert_eq!(needs(&[own()]), (true, true, false));
    assert_eq!(needs(&[guardrail(&json!({ "ipAddresses": { "from": "Node" } }))]), (true, true, true));
}
