//! A node joins with a bootstrap token: who approves its two certificates, and what works over them.

use std::time::Instant;

use serde_json::json;
use testbed::{ADDRESS, Join, NODE, Node, Options, Which, allow_built_in_approver, eventually};

use super::{CLIENT, SERVING, cluster, condition, logs_and_exec, on_a_node, one_is, requests, run_pod, serving_policy};
use crate::cluster::LIMIT;

#[test]
fn logs_and_exec_work_over_what_was_approved() {
    on_a_node("node::joining::logs_and_exec_work_over_what_was_approved", |image| {
        let cluster = cluster(Options::default());
        // Not where the node is: what it asks for is denied.
        let elsewhere = serving_policy(&json!({ "allowed": [NODE] }), &json!({ "allowed": ["10.99.0.0/16"] }));
        cluster.admin.apply(&elsewhere).unwrap();
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
        let right = serving_policy(&json!({ "allowed": [NODE] }), &json!({ "allowed": ["192.168.77.0/24"] }));
        cluster.admin.apply(&right).unwrap();
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
        let right = serving_policy(&json!({ "allowed": [NODE] }), &json!({ "allowed": ["192.168.77.0/24"] }));
        cluster.admin.apply(&right).unwrap();
        cluster.is_ready("csrpolicy/kubelet-serving");
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
