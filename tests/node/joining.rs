//! A node joins with a bootstrap token: who approves its two certificates, and what works over them.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{ADDRESS, Join, NODE, Node, Options, Which, allow_built_in_approver, eventually};

use super::{
    CLIENT, SERVING, cluster, condition, logs_and_exec, on_a_node, one_is, requests, run, run_pod, serving_policy,
};
use crate::cluster::{Cluster, LIMIT};

#[test]
fn logs_and_exec_work_over_what_was_approved() {
    on_a_node("node::joining::logs_and_exec_work_over_what_was_approved", |image| {
        let cluster = cluster(Options::default());
        // Not where the node is: what it asks for is denied.
        cluster.admin.apply(&serving_policy("10.99.0.0/16")).unwrap();
        cluster.is_ready("csrpolicy/kubelet-serving");
        let begin = Instant::now();
        let node = Node::join(&cluster.plane, &[image], Join::Token).unwrap();
        let client = one_is(&cluster, CLIENT, "Approved");
        println!("the client certificate is approved {:.1?} after the kubelet was started", begin.elapsed());
        assert!(client["spec"]["username"].as_str().unwrap().starts_with("system:bootstrap:"));
        assert!(condition(&client).unwrap().1.contains("kubelet-bootstrap"));
        assert!(client["spec"]["expirationSeconds"].is_null());
        let denied = one_is(&cluster, SERVING, "Denied");
        let (_, why) = condition(&denied).unwrap();
        assert!(why.contains(ADDRESS), "{why}");
        println!("the certificate to serve with is denied: {why}");
        node.wait_until_ready(&cluster.plane).unwrap();
        println!("the node is Ready {:.1?} after the kubelet was started", begin.elapsed());
        run_pod(&cluster);
        let refused = logs_and_exec(&cluster).unwrap_err().to_string();
        println!("kubectl logs: {refused}");
        assert!(refused.contains("tls"), "{refused}");
        assert!(!Node::certificate(Which::Serving).exists());

        // The policy is put right, and the kubelet, which keeps asking, gets one.
        cluster.admin.apply(&serving_policy("192.168.77.0/24")).unwrap();
        let begin = Instant::now();
        let approved = one_is(&cluster, SERVING, "Approved");
        assert!(condition(&approved).unwrap().1.contains("CSRPolicy kubelet-serving"));
        eventually("kubectl logs and kubectl exec work", LIMIT, || logs_and_exec(&cluster)).unwrap();
        println!("kubectl logs and exec work {:.1?} after the policy was put right", begin.elapsed());
        println!("the kubelet had filed {} requests to serve", requests(&cluster, SERVING).len());
    });
}

#[test]
fn it_joins_as_well_beside_the_approver_that_is_built_in() {
    on_a_node("node::joining::it_joins_as_well_beside_the_approver_that_is_built_in", |image| {
        let cluster = cluster(Options { approves_kubelet_clients: true, ..Options::default() });
        allow_built_in_approver(&cluster.plane).unwrap();
        let node = Node::join(&cluster.plane, &[image], Join::Token).unwrap();
        let client = one_is(&cluster, CLIENT, "Approved");
        // Whoever is first decides; the other sees that and leaves it.
        let reason = client["status"]["conditions"][0]["reason"].as_str().unwrap();
        assert!(["AutoApproved", "PolicyApproved"].contains(&reason), "{reason}");
        println!("beside the built-in approver the client certificate is approved as {reason}");
        assert_eq!(client["status"]["conditions"].as_array().map(Vec::len), Some(1));
        // What the kubelet serves with is nobody's but ours.
        let serving = one_is(&cluster, SERVING, "Approved");
        assert_eq!(serving["status"]["conditions"][0]["reason"], "PolicyApproved");
        node.wait_until_ready(&cluster.plane).unwrap();
        run_pod(&cluster);
        eventually("kubectl logs and kubectl exec work", LIMIT, || logs_and_exec(&cluster)).unwrap();
    });
}

/// What a cloud controller writes into the status of the Node.
fn cloud_says(cluster: &Cluster, addresses: &serde_json::Value) {
    let mut node = cluster.admin.get(&["node", NODE]).unwrap();
    node["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    node["status"]["addresses"] = addresses.clone();
    let path = format!("/api/v1/nodes/{NODE}/status");
    cluster.admin.feed(&["replace", "--raw", &path, "-f", "-"], &node.to_string()).unwrap();
}

#[test]
fn it_waits_until_a_cloud_says_what_its_addresses_are() {
    on_a_node("node::joining::it_waits_until_a_cloud_says_what_its_addresses_are", |image| {
        let mut cluster = cluster(Options::default());
        let _node = Node::join(&cluster.plane, &[image], Join::TokenInCloud).unwrap();
        eventually("there is a Node", LIMIT, || cluster.admin.get(&["node", NODE])).unwrap();
        let node = cluster.admin.get(&["node", NODE]).unwrap();
        assert_eq!(node["status"]["addresses"], json!([{ "type": "Hostname", "address": NODE }]));
        // A kubelet asks for nothing to serve with before its Node has an IP address.
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(requests(&cluster, SERVING).len(), 0);
        // While nobody decides, it asks; and then its Node has no addresses any more.
        cluster.stop();
        let addresses = json!([{ "type": "Hostname", "address": NODE }, { "type": "InternalIP", "address": ADDRESS }]);
        cloud_says(&cluster, &addresses);
        eventually("it asks", LIMIT, || match requests(&cluster, SERVING).len() {
            0 => Err(std::io::Error::other("nothing yet").into()),
            _ => Ok(()),
        })
        .unwrap();
        cloud_says(&cluster, &json!([]));
        run(&mut cluster);
        let name = requests(&cluster, SERVING)[0]["metadata"]["name"].as_str().unwrap().to_owned();
        cluster.is_left(&name, "Node worker ");
        assert!(condition(&requests(&cluster, SERVING)[0]).is_none());

        cloud_says(&cluster, &addresses);
        let begin = Instant::now();
        cluster.is_approved(&name);
        println!("approved {:.1?} after the Node had its address", begin.elapsed());
        let taint = "node.cloudprovider.kubernetes.io/uninitialized-";
        cluster.admin.run(&["taint", "node", NODE, taint]).unwrap();
        run_pod(&cluster);
        eventually("kubectl logs and kubectl exec work", LIMIT, || logs_and_exec(&cluster)).unwrap();
    });
}
