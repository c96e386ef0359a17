//! `from: Node` on a real API server, with the credentials of nodes: what a node gets, what it tries, and
//! what happens when the Nodes cannot be read.

#![allow(clippy::print_stdout, reason = "how long it took is worth knowing")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Call, Fault, Kubectl, Options, Proxy, eventually};

use super::decisions::guardrail;
use super::flood::{managed_fields, number};
use super::{Cluster, LIMIT, Request, anyhow_if, base64};

pub(super) const SERVING: &str = "kubernetes.io/kubelet-serving";
/// Where the Services of the test bed are.
pub(super) const SERVICES: &str = "--service-cidr=10.0.0.0/24";

/// The policy `kubelet-serving`: a node gets what its own Node carries, and what `more` says.
pub(super) fn policy(more: &Value) -> String {
    let mut allow = json!({
        "subject": {
            "commonName": { "from": "Requestor" },
            "organizations": { "required": ["system:nodes"], "max": 1 },
        },
        "usages": { "allowed": ["digital signature", "key encipherment", "server auth"], "required": ["server auth"] },
        "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" },
        "dnsNames": { "from": "Node" },
        "ipAddresses": { "from": "Node" },
    });
    allow.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "kubelet-serving" },
        "spec": {
            "match": {
                "signerNames": [SERVING],
                "requestors": [{ "users": ["system:node:*"], "groups": ["system:nodes"] }],
            },
            "allow": allow,
        },
    })
    .to_string()
}

/// A cluster whose nodes get what their own Nodes carry.
pub(super) fn cluster(options: &Options) -> Cluster {
    let mut cluster = Cluster::with(options);
    may_read_nodes(&cluster);
    cluster.admin.apply(&policy(&json!({}))).unwrap();
    cluster.run(&[&format!("--managed-signer={SERVING}"), SERVICES]);
    cluster.is_ready("csrpolicy/kubelet-serving");
    cluster
}

/// What `nodes.enabled` of the chart grants.
pub(crate) fn may_read_nodes(cluster: &Cluster) {
    let mut rules = cluster.rules();
    rules.push(json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] }));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "countersign" },
        "rules": rules,
    });
    cluster.admin.apply(&role.to_string()).unwrap();
}

/// A machine with the credentials of a node.
pub(super) struct Machine<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    kubectl: Kubectl,
}

impl<'a> Machine<'a> {
    pub(super) fn new(cluster: &'a Cluster, name: &'a str) -> Self {
        let user = format!("system:node:{name}");
        let kubeconfig = cluster.plane.user_kubeconfig(name, &user, &["system:nodes"]).unwrap();
        Self { cluster, name, kubectl: cluster.admin.with(&kubeconfig) }
    }

    /// It registers itself, as a kubelet does.
    pub(super) fn joins(&self, addresses: &[(&str, &str)]) {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": self.name },
            "status": { "addresses": listed(addresses) },
        });
        self.kubectl.create(&node.to_string()).unwrap();
    }

    /// It writes these addresses into its own status.
    pub(super) fn claims(&self, addresses: &[(&str, &str)]) {
        self.writes(self.name, addresses).unwrap();
    }

    fn writes(&self, node: &str, addresses: &[(&str, &str)]) -> testbed::Result<String> {
        let mut object = self.cluster.admin.get(&["node", node])?;
        // Somebody else may write the Node at the same time.
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        object["status"]["addresses"] = json!(listed(addresses));
        let path = format!("/api/v1/nodes/{node}/status");
        self.kubectl.feed(&["replace", "--raw", &path, "-f", "-"], &object.to_string())
    }

    /// It asks for a certificate to serve with, with these SANs as openssl writes them.
    pub(super) fn asks(&self, request: &str, sans: &str) {
        self.tries(request, self.name, sans).unwrap();
    }

    fn tries(&self, request: &str, common_name: &str, sans: &str) -> testbed::Result<String> {
        let output = Command::new("openssl")
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"])
            .arg("/dev/null")
            .args(["-subj", &format!("/O=system:nodes/CN=system:node:{common_name}")])
            .args(["-addext", &format!("subjectAltName={sans}")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": request },
            "spec": {
                "request": base64(&output.stdout),
                "signerName": SERVING,
                "usages": ["digital signature", "server auth"],
            },
        });
        self.kubectl.create(&manifest.to_string())
    }

    /// The request is approved, and its certificate issued.
    #[track_caller]
    pub(super) fn gets(&self, request: &str) {
        self.cluster.is_approved(request);
        let issued = eventually("it is issued", LIMIT, || {
            let csr = self.cluster.csr(request);
            anyhow_if(!csr["status"]["certificate"].is_null(), &csr.to_string())
        });
        issued.unwrap();
    }
}

fn listed(addresses: &[(&str, &str)]) -> Vec<Value> {
    addresses.iter().map(|(kind, address)| json!({ "type": kind, "address": address })).collect()
}

/// Nothing that begins so was approved, or issued.
#[track_caller]
fn none_is_issued(cluster: &Cluster, prefix: &str) {
    let csrs = cluster.admin.get(&["csr"]).unwrap();
    let ours = |csr: &&Value| csr["metadata"]["name"].as_str().unwrap().starts_with(prefix);
    let ours: Vec<&Value> = csrs["items"].as_array().unwrap().iter().filter(ours).collect();
    assert!(!ours.is_empty());
    for csr in ours {
        assert!(csr["status"]["certificate"].is_null(), "{csr}");
        assert_ne!(csr["status"]["conditions"][0]["type"], "Approved", "{csr}");
    }
}

#[test]
fn a_node_gets_what_its_own_node_carries_as_soon_as_it_does() {
    let cluster = cluster(&Options::default());
    let one = Machine::new(&cluster, "one");
    // Before there is a Node, before it has addresses, and before it has this one.
    one.asks("early", "DNS:one,IP:10.20.0.1");
    cluster.is_left("early", "there is no Node one (yet)");
    std::thread::sleep(Duration::from_millis(1100));
    one.joins(&[]);
    one.asks("first", "DNS:one,IP:10.20.0.1,IP:2001:db8::1");
    cluster.is_left("first", "Node one has no addresses yet");
    one.claims(&[("Hostname", "one"), ("InternalIP", "10.20.0.1")]);
    one.asks("second", "DNS:one,IP:10.20.0.1");
    one.gets("second");
    // The first one asks for an address that comes later still.
    assert!(cluster.csr("first")["status"]["conditions"].is_null());
    let begin = Instant::now();
    one.claims(&[("Hostname", "one"), ("InternalIP", "10.20.0.1"), ("InternalIP", "2001:DB8:0::1")]);
    one.gets("first");
    println!("approved and issued within {:.1?} after the address was there", begin.elapsed());
    // It was filed before there was such a Node, so perhaps by another machine.
    assert!(cluster.csr("early")["status"]["conditions"].is_null());
}

#[test]
fn a_node_gets_nothing_that_is_not_its_own() {
    let cluster = cluster(&Options::default());
    let (one, two) = (Machine::new(&cluster, "one"), Machine::new(&cluster, "two"));
    let own = [("Hostname", "one"), ("InternalIP", "10.20.0.1"), ("ExternalDNS", "one.example.com")];
    one.joins(&own);
    two.joins(&[("Hostname", "two"), ("InternalIP", "10.20.0.2")]);
    one.asks("own", "DNS:one,DNS:one.example.com,IP:10.20.0.1");
    one.gets("own");

    // What NodeRestriction keeps a node from, before anybody reviews anything.
    let refused = one.tries("attack-name", "two", "DNS:two").unwrap_err().to_string();
    assert!(refused.contains("can only create a node CSR with CN=system:node:one"), "{refused}");
    let refused = one.writes("two", &own).unwrap_err().to_string();
    assert!(refused.contains("\"one\" is not allowed to modify node \"two\""), "{refused}");
    assert!(one.kubectl.run(&["delete", "node", "one"]).is_err());

    let never = "so no node has it for its own";
    let attacks = |prefix: &str| {
        for (index, (sans, denied, why)) in [
            ("DNS:kubernetes.default.svc", true, never),
            ("DNS:kubernetes", true, never),
            ("DNS:one,DNS:Kubernetes.Default", true, never),
            ("DNS:registry.kube-system.svc", true, never),
            ("DNS:api.default.svc.cluster.local", true, never),
            ("IP:10.0.0.1", true, "range of Services"),
            ("DNS:one,IP:10.20.0.1,IP:10.0.0.10", true, "range of Services"),
            ("DNS:localhost", true, never),
            ("IP:127.0.0.1", true, never),
            ("IP:::1", true, never),
            ("IP:169.254.169.254", true, never),
            ("IP:fe80::1", true, never),
            ("IP:0.0.0.0", true, never),
            ("DNS:*.example.com", true, "wildcard"),
            ("DNS:one,email:root@example.com", true, "email"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("{prefix}-{index}");
            one.asks(&name, sans);
            if denied { cluster.is_denied(&name, why) } else { cluster.is_left(&name, why) }
        }
    };
    attacks("attack-plain");
    for (name, sans, why) in [
        ("attack-two", "DNS:two", "Node one does not carry two (yet)"),
        ("attack-two-address", "DNS:one,IP:10.20.0.2", "Node one does not carry 10.20.0.2 (yet)"),
        ("attack-more", "DNS:one,IP:10.20.0.1,IP:10.20.0.9", "Node one does not carry 10.20.0.9 (yet)"),
        ("attack-below", "DNS:a.one.example.com", "Node one does not carry a.one.example.com (yet)"),
    ] {
        one.asks(name, sans);
        cluster.is_left(name, why);
    }

    // An address that the Node had, and has no more.
    one.claims(&own[..1]);
    one.asks("attack-former", "DNS:one,IP:10.20.0.1");
    cluster.is_left("attack-former", "Node one does not carry 10.20.0.1 (yet)");
    none_is_issued(&cluster, "attack");

    // A compromised kubelet writes what it likes into its own status. What no node has it does not get so.
    one.claims(&[
        ("Hostname", "one"),
        ("InternalDNS", "kubernetes.default.svc"),
        ("ExternalDNS", "kubernetes"),
        ("Hostname", "localhost"),
        ("InternalDNS", "registry.kube-system.svc"),
        ("InternalDNS", "*.example.com"),
        ("InternalIP", "10.0.0.1"),
        ("InternalIP", "10.0.0.10"),
        ("ExternalIP", "127.0.0.1"),
        ("ExternalIP", "169.254.169.254"),
    ]);
    attacks("attack-claimed");
    none_is_issued(&cluster, "attack");
}

#[test]
fn what_two_nodes_carry_is_nobodys_until_one_lets_it_go() {
    let cluster = cluster(&Options::default());
    let (one, two) = (Machine::new(&cluster, "one"), Machine::new(&cluster, "two"));
    two.joins(&[("Hostname", "two"), ("InternalIP", "10.20.0.2")]);
    one.joins(&[("Hostname", "one"), ("InternalIP", "10.20.0.2"), ("Hostname", "two")]);
    one.asks("attack-claim", "IP:10.20.0.2");
    cluster.is_left("attack-claim", "10.20.0.2 is carried by Node one and also by two");
    one.asks("attack-claim-name", "DNS:two");
    cluster.is_left("attack-claim-name", "two is carried by Node one and also by two");
    // That holds for the other one, too: who of them is right nobody can tell.
    two.asks("rightful", "DNS:two,IP:10.20.0.2");
    cluster.is_left("rightful", "carried by Node two and also by one");
    none_is_issued(&cluster, "attack");
    one.claims(&[("Hostname", "one")]);
    two.gets("rightful");
    none_is_issued(&cluster, "attack");

    // An address is somebody's whatever its type. A Node that is gone carries nothing.
    let three = Machine::new(&cluster, "three");
    three.joins(&[("Hostname", "10.20.0.2"), ("InternalIP", "10.20.0.3")]);
    two.asks("rightful-again", "IP:10.20.0.2");
    cluster.is_left("rightful-again", "also by three");
    cluster.admin.run(&["delete", "node", "three"]).unwrap();
    two.gets("rightful-again");
}

#[test]
fn a_claim_that_nobody_contradicts_goes_as_far_as_the_policy_lets_it() {
    let mut cluster = cluster(&Options::default());
    let one = Machine::new(&cluster, "one");
    // Nothing but the kubelet's own word says that it has these.
    one.joins(&[("Hostname", "one"), ("InternalIP", "10.20.0.77"), ("ExternalIP", "192.0.2.7")]);
    one.asks("unlimited", "DNS:one,IP:10.20.0.77,IP:192.0.2.7");
    one.gets("unlimited");
    // Ranges of the network that nodes are in limit it.
    let limited = json!({ "ipAddresses": { "from": "Node", "allowed": ["10.20.0.0/16"] } });
    cluster.admin.apply(&policy(&limited)).unwrap();
    cluster.controller().has_metric("countersign_permission_granted{name=\"\",resource=\"nodes\",verb=\"get\"} 1");
    let one = Machine::new(&cluster, "one");
    eventually("the change has settled", LIMIT, || {
        one.asks("attack-limited", "DNS:one,IP:192.0.2.7");
        let kind = cluster.decision("attack-limited")["type"].clone();
        cluster.admin.run(&["delete", "csr", "attack-limited"])?;
        anyhow_if(kind == "Denied", "it is still approved")
    })
    .unwrap();
    one.asks("attack-limited", "DNS:one,IP:192.0.2.7");
    cluster.is_denied("attack-limited", "192.0.2.7 is not allowed");
    one.asks("within", "DNS:one,IP:10.20.0.77");
    one.gets("within");
    none_is_issued(&cluster, "attack");
    cluster.controller = None;
}

#[test]
fn a_node_that_was_made_again_does_not_inherit_requests() {
    let cluster = cluster(&Options::default());
    let one = Machine::new(&cluster, "one");
    let own = [("Hostname", "one"), ("InternalIP", "10.20.0.1")];
    one.joins(&own[..1]);
    one.asks("attack-before", "DNS:one,IP:10.20.0.1");
    cluster.is_left("attack-before", "Node one does not carry 10.20.0.1 (yet)");
    cluster.admin.run(&["delete", "node", "one"]).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    // What docs/kubelets.md has a policy ask for: a node makes its own Node again, but without what others gave it.
    let label = "node-restriction.kubernetes.io/member";
    let labelled =
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "one", "labels": { label: "" } } });
    let refused = one.kubectl.create(&labelled.to_string()).unwrap_err().to_string();
    assert!(refused.contains("is not allowed to set the following labels") && refused.contains(label), "{refused}");
    one.joins(&own);
    let refused = one.kubectl.run(&["label", "node", "one", &format!("{label}=")]).unwrap_err().to_string();
    assert!(refused.contains("is not allowed to modify labels") && refused.contains(label), "{refused}");
    one.asks("after", "DNS:one,IP:10.20.0.1");
    one.gets("after");
    none_is_issued(&cluster, "attack");
}

#[test]
fn another_nodes_name_is_denied_where_nothing_holds_nodes_to_their_own() {
    let disabled_admission_plugins = vec!["NodeRestriction".to_owned()];
    let cluster = cluster(&Options { disabled_admission_plugins, ..Options::default() });
    let (one, two) = (Machine::new(&cluster, "one"), Machine::new(&cluster, "two"));
    two.joins(&[("Hostname", "two"), ("InternalIP", "10.20.0.2")]);
    one.tries("attack", "two", "DNS:two,IP:10.20.0.2").unwrap();
    cluster.is_denied("attack", "the common name is not the requestor's own node");
    none_is_issued(&cluster, "attack");
}

#[test]
fn without_the_right_to_read_nodes_what_needs_them_waits_and_nothing_else_does() {
    let mut cluster = Cluster::start();
    cluster.admin.apply(&policy(&json!({}))).unwrap();
    cluster.apply_examples_unseen();
    cluster.run(&[]);
    let granted =
        |value: u8| format!("countersign_permission_granted{{name=\"\",resource=\"nodes\",verb=\"watch\"}} {value}");
    cluster.controller().has_metric(&granted(0));
    let one = Machine::new(&cluster, "one");
    one.joins(&[("Hostname", "one"), ("InternalIP", "10.20.0.1")]);
    one.asks("serving", "DNS:one,IP:10.20.0.1");
    cluster.is_left("serving", "the Nodes of the cluster are not known here");
    let said = eventually("the log says what is missing", LIMIT, || {
        let log = cluster.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        anyhow_if(lines.any(|line| line["level"] == "ERROR" && line["missing"] == "watch nodes"), &log)
    });
    said.unwrap();
    cluster.controller().has_counted("countersign_api_errors_total{category=\"forbidden\",operation=\"watch-nodes\"}");
    // Others are approved meanwhile, and the replica is ready.
    cluster.file(&Request::new("amy", "/CN=amy/O=developers"));
    cluster.is_approved("amy");
    let ready = cluster.http("/readyz").unwrap();
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(cluster.csr("serving")["status"]["conditions"].is_null());

    may_read_nodes(&cluster);
    one.gets("serving");
    cluster.controller().has_metric(&granted(1));

    // What nobody needs any more is not asked for.
    cluster.admin.run(&["delete", "csrpolicy", "kubelet-serving"]).unwrap();
    eventually("the metric is gone", LIMIT, || {
        let metrics = cluster.http("/metrics")?;
        anyhow_if(!metrics.contains("resource=\"nodes\""), &metrics)
    })
    .unwrap();
}

/// The read of Node `one` that precedes an approval.
fn reads_one(call: &Call) -> bool {
    call.method == "GET" && call.path == "/api/v1/nodes/one"
}

/// The controller of `cluster` from now on runs behind the proxy that this returns.
fn behind_a_proxy(cluster: &mut Cluster) -> Proxy {
    may_read_nodes(cluster);
    cluster.admin.apply(&policy(&json!({}))).unwrap();
    let proxy = Proxy::start(&cluster.plane, "proxy").unwrap();
    cluster.run(&[&format!("--managed-signer={SERVING}"), SERVICES, &proxy.option()]);
    cluster.is_ready("csrpolicy/kubelet-serving");
    proxy
}

#[track_caller]
fn no_approval_was_sent(cluster: &Cluster, proxy: &Proxy, name: &str) {
    let sent = proxy.calls().into_iter().filter(|call| call.approves() && call.about() == name).count();
    assert_eq!(sent, 0, "{name}\n{}", cluster.log());
    assert!(cluster.csr(name)["status"]["conditions"].is_null());
}

#[test]
fn what_changes_between_review_and_approval_is_not_approved() {
    let mut cluster = Cluster::start();
    let proxy = behind_a_proxy(&mut cluster);
    let one = Machine::new(&cluster, "one");
    let own = [("Hostname", "one"), ("InternalIP", "10.20.0.1")];
    one.joins(&own);
    let held_up = |name: &str| {
        let begin = Instant::now();
        let held = proxy.inject(reads_one, Fault::Hold);
        one.asks(name, "DNS:one,IP:10.20.0.1");
        eventually("it is about to be approved", LIMIT, || {
            anyhow_if(!proxy.calls_since(begin, reads_one).is_empty(), &cluster.log())
        })
        .unwrap();
        held
    };
    // An address is removed.
    let held = held_up("attack-removed");
    one.claims(&own[..1]);
    drop(held);
    cluster.is_left("attack-removed", "Node one does not carry 10.20.0.1 (yet)");
    no_approval_was_sent(&cluster, &proxy, "attack-removed");
    assert!(cluster.log().contains("the Node is not what it was when the request was reviewed"));
    one.claims(&own);
    one.gets("attack-removed");

    // The Node is deleted, and one of the same name and with the same addresses is there.
    let held = held_up("attack-made-again");
    cluster.admin.run(&["delete", "node", "one"]).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    one.joins(&own);
    drop(held);
    cluster.is_left("attack-made-again", "was created after the request was filed");
    no_approval_was_sent(&cluster, &proxy, "attack-made-again");

    // The read fails, or answers what is no Node: nothing is approved until it is mended.
    for (index, fault) in [
        Fault::Answer(500, None),
        Fault::Answer(403, None),
        Fault::Answer(404, None),
        Fault::Body("{}".to_owned()),
        Fault::Body("no JSON".to_owned()),
        Fault::Reset,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("unread-{index}");
        let begin = Instant::now();
        let broken = proxy.inject(reads_one, fault);
        one.asks(&name, "DNS:one,IP:10.20.0.1");
        eventually("it was tried twice", LIMIT, || {
            anyhow_if(proxy.calls_since(begin, reads_one).len() > 1, &cluster.log())
        })
        .unwrap();
        no_approval_was_sent(&cluster, &proxy, &name);
        drop(broken);
        one.gets(&name);
    }
}

#[test]
fn a_watch_of_nodes_that_stands_still_is_not_believed() {
    let mut cluster = Cluster::start();
    let proxy = behind_a_proxy(&mut cluster);
    let (one, two) = (Machine::new(&cluster, "one"), Machine::new(&cluster, "two"));
    let own = [("Hostname", "one"), ("InternalIP", "10.20.0.1")];
    one.joins(&own);
    two.joins(&[("Hostname", "two"), ("InternalIP", "10.20.0.2")]);
    one.asks("before", "DNS:one,IP:10.20.0.1");
    one.gets("before");
    // The Node itself: what is in memory is old, and the read before the approval shows it.
    let silent = proxy.inject(|call| call.watches("nodes"), Fault::Silence);
    one.claims(&own[..1]);
    one.asks("attack-old", "DNS:one,IP:10.20.0.1");
    eventually("the lag is noticed", LIMIT, || {
        anyhow_if(cluster.log().contains("the watch of the Nodes lags behind a consistent read"), &cluster.log())
    })
    .unwrap();
    no_approval_was_sent(&cluster, &proxy, "attack-old");
    drop(silent);
    cluster.is_left("attack-old", "Node one does not carry 10.20.0.1 (yet)");

    // Another Node, which nothing reads before the approval: the silence is enough.
    one.claims(&own);
    one.gets("attack-old");
    let silent = proxy.inject(|call| call.watches("nodes"), Fault::Silence);
    two.claims(&[("Hostname", "two"), ("InternalIP", "10.20.0.1")]);
    std::thread::sleep(Duration::from_secs(11));
    one.asks("attack-shared", "DNS:one,IP:10.20.0.1");
    std::thread::sleep(Duration::from_secs(2));
    no_approval_was_sent(&cluster, &proxy, "attack-shared");
    drop(silent);
    cluster.is_left("attack-shared", "10.20.0.1 is carried by Node one and also by two");
    no_approval_was_sent(&cluster, &proxy, "attack-shared");
}

type OnCall = fn(&Call) -> bool;

#[test]
fn without_the_nodes_nothing_that_rests_on_one_is_approved_until_they_are_back() {
    let cluster = Cluster::start();
    may_read_nodes(&cluster);
    // What is counted is reviewed again whenever less of it counts.
    cluster.admin.apply(&policy(&json!({ "node": { "maxPerHour": 100 } }))).unwrap();
    let proxy = Proxy::start(&cluster.plane, "nodes").unwrap();
    let managed = format!("--managed-signer={SERVING}");
    let options = [proxy.option(), managed, SERVICES.to_owned(), "--leader-elect=false".to_owned()];
    let controller = cluster.start_replica("nodes", &options.each_ref().map(String::as_str));
    controller.is_ready();
    let machine = Machine::new(&cluster, "worker");
    machine.joins(&[("InternalIP", "192.0.2.7")]);
    let asks = |name: &str| machine.asks(name, "IP:192.0.2.7");
    asks("before");
    cluster.is_approved("before");

    let watches = |call: &Call| call.watches("nodes");
    let reads = |call: &Call| call.method == "GET" && call.path.starts_with("/api/v1/nodes/worker");
    let answers = |status| Fault::Answer(status, None);
    let faults: [(&str, OnCall, Fault); 12] = [
        ("watch-500", watches, answers(500)),
        ("watch-410", watches, answers(410)),
        ("watch-undecodable", watches, Fault::Hold),
        ("watch-reset", watches, Fault::Reset),
        ("read-500", reads, answers(500)),
        ("read-403", reads, answers(403)),
        ("read-404", reads, answers(404)),
        ("read-429", reads, Fault::Answer(429, Some(2))),
        ("read-503", reads, answers(503)),
        ("read-hangs", reads, Fault::Hang),
        ("read-reset", reads, Fault::Reset),
        ("read-no-node", reads, Fault::Body("{}".to_owned())),
    ];
    for (name, on, fault) in faults {
        let injected = proxy.inject(on, fault);
        let ends = match name {
            "watch-undecodable" => Fault::Insert(r#"{"type":"MODIFIED","object":5}"#.to_owned()),
            _ => Fault::CutInLine,
        };
        let ended = proxy.inject_times(watches, ends, u32::from(name.starts_with("watch")));
        let since = Instant::now();
        machine.claims(&[("InternalIP", "192.0.2.7"), ("Hostname", name)]);
        let again = eventually("it asks the API server", LIMIT, || {
            let asked = !name.starts_with("watch") || !proxy.calls_since(since, watches).is_empty();
            anyhow_if(asked, "it does not")
        });
        again.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.log()));
        asks(name);
        std::thread::sleep(Duration::from_secs(3));
        let sent = proxy.calls_since(since, Call::approves);
        assert!(sent.is_empty(), "{name}: {sent:?}\n{}", controller.log());
        // At once, and then after 1 s and 2 s more.
        let tries = proxy.calls_since(since, reads).len();
        assert!(tries <= 5 && (tries > 0 || name.starts_with("watch")), "{name}: {tries}\n{}", controller.log());
        assert!(cluster.csr(name)["status"]["conditions"].is_null(), "{name}");
        drop((injected, ended));
        cluster.is_approved(name);
    }
}

/// A Node with everything at its limit, of which kubelets write most themselves.
fn hostile_node(index: usize) -> Value {
    let label = |number| (format!("{}.example.com/{number:063}", "x".repeat(63)), json!("y".repeat(63)));
    // As many as are read, or as many as nobody reads.
    let labels = if index.is_multiple_of(2) { 256 } else { 1000 };
    let long =
        |number: usize| format!("{number}-{index}.{}", ["z".repeat(60), "z".repeat(60), "z".repeat(60)].join("."));
    let addresses: Vec<Value> =
        (0..300).map(|number| json!({ "type": "InternalDNS", "address": long(number) })).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": format!("hostile-{index}"),
            "labels": Value::Object((0..labels).map(label).collect()),
            "annotations": { "a": "\u{1}".repeat(100_000) },
            "managedFields": managed_fields(),
        },
        "status": { "addresses": addresses },
    })
}

#[test]
fn hostile_nodes_neither_blind_it_nor_fill_its_memory() {
    let mut cluster = cluster(&Options::default());
    let (api, begin) = (cluster.plane.api().unwrap(), Instant::now());
    let before = cluster.controller().running.peak_memory().unwrap() / 1024;
    let one = Machine::new(&cluster, "one");
    one.joins(&[("Hostname", "one"), ("InternalIP", "10.20.0.1")]);
    let mut slowest = Duration::ZERO;
    let mut decided = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let api = &api;
                scope.spawn(move || {
                    for index in (worker..number(50)).step_by(4) {
                        api.must("POST", "/api/v1/nodes", Some(&hostile_node(index))).unwrap();
                    }
                })
            })
            .collect();
        while decided == 0 || !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let name = format!("meanwhile-{decided}");
            one.asks(&name, "DNS:one,IP:10.20.0.1");
            let asked = Instant::now();
            cluster.is_approved(&name);
            slowest = slowest.max(asked.elapsed());
            decided += 1;
        }
    });
    println!(
        "{} hostile Nodes were made within {:.0?}; {decided} others decided meanwhile, the slowest after {slowest:.1?}",
        number(50),
        begin.elapsed()
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    one.asks("through-the-watch", "DNS:one,IP:10.20.0.1");
    one.gets("through-the-watch");
    let watched = cluster.controller().running.peak_memory().unwrap() / 1024;
    // And from a list, in a process of its own.
    cluster.stop();
    cluster.run(&[&format!("--managed-signer={SERVING}"), SERVICES]);
    let one = Machine::new(&cluster, "one");
    let begin = Instant::now();
    one.asks("through-a-list", "DNS:one,IP:10.20.0.1");
    one.gets("through-a-list");
    let listed = cluster.controller().running.peak_memory().unwrap() / 1024;
    println!(
        "issued within {:.1?} after a start; peak in MiB: {before} before, {watched} watched, {listed} listed",
        begin.elapsed()
    );
    for mebibytes in [watched, listed] {
        assert!(mebibytes < 128, "{mebibytes} MiB, and the chart gives 128");
    }
}

/// What a guardrail can and cannot do about the client certificates of kubelets, beside the approver that is
/// built into kube-controller-manager.
#[test]
fn beside_the_built_in_approver_a_guardrail_holds_only_where_it_is_first() {
    let mut cluster = Cluster::with(&Options { approves_kubelet_clients: true, ..Options::default() });
    testbed::allow_bootstrap(&cluster.plane).unwrap();
    testbed::allow_built_in_approver(&cluster.plane).unwrap();
    let limits = json!({ "subject": { "organizations": { "denied": ["system:nodes"] } } });
    cluster.admin.apply(&guardrail("no-nodes", &limits)).unwrap();
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    cluster.run(&[&format!("--managed-signer={signer}")]);
    cluster.is_ready("csrguardrail/no-nodes");
    let token = cluster.plane.token_kubeconfig("bootstrap", "abcdef.0123456789abcdef").unwrap();
    let token = cluster.admin.with(&token);
    for index in 0..20 {
        let mut request = Request::new(&format!("join-{index}"), &format!("/O=system:nodes/CN=system:node:n-{index}"));
        signer.clone_into(&mut request.signer);
        request.expiration_seconds = None;
        request.usages = ["digital signature", "client auth"].map(str::to_owned).to_vec();
        token.create(&request.manifest().to_string()).unwrap();
    }
    let mut denied = 0;
    for index in 0..20 {
        let name = format!("join-{index}");
        let condition = cluster.decision(&name);
        let by = (condition["type"].as_str().unwrap(), condition["reason"].as_str().unwrap());
        assert!([("Approved", "AutoApproved"), ("Denied", "PolicyDenied")].contains(&by), "{condition}");
        denied += usize::from(by.0 == "Denied");
        assert_eq!(cluster.csr(&name)["status"]["conditions"].as_array().map(Vec::len), Some(1));
    }
    println!(
        "of 20 requests that a guardrail forbids, {denied} were denied before the built-in approver approved them"
    );
}
