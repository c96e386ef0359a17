//! A kubelet renews both of its certificates, and each renewal is approved, with nobody looking.
//!
//! `TESTBED_ROTATION=3m,10` does the same with other certificates (`--cluster-signing-duration`) and for
//! so many rounds.

use std::process::Command;
use std::time::{Duration, Instant};

use testbed::{Join, Node, Options, Which, eventually};

use super::{CLIENT, SERVING, cluster, condition, logs_and_exec, on_a_node, requests, run_pod};
use crate::cluster::LIMIT;

/// kube-controller-manager dates what it signs back by five minutes, and a kubelet renews after 70 to 90 % of
/// the whole: 0.7 × (5 min + lifetime) must be above 5 min, or a certificate is to be renewed as soon as it is
/// there. So the shortest lifetime that is sound is 129 s; with 131 s the next one comes after 2 to 88 s.
const SHORTEST: &str = "131s,3";

/// The serial number of a certificate, and when it ends, as openssl writes them.
fn serial_and_end(which: Which) -> Option<String> {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-enddate", "-in"])
        .arg(Node::certificate(which))
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().replace('\n', ", "))
}

#[test]
fn short_lived_certificates_are_renewed_and_approved_again_and_again() {
    on_a_node("node::rotation::short_lived_certificates_are_renewed_and_approved_again_and_again", |image| {
        let setting = std::env::var("TESTBED_ROTATION").unwrap_or_else(|_| SHORTEST.to_owned());
        let (duration, rounds) = setting.split_once(',').unwrap();
        let rounds: usize = rounds.parse().unwrap();
        let cluster = cluster(Options { signing_duration: Some(duration.to_owned()), ..Options::default() });
        let node = Node::join(&cluster.plane, &[image], Join::Token).unwrap();
        node.wait_until_ready(&cluster.plane).unwrap();
        run_pod(&cluster);
        eventually("kubectl logs and kubectl exec work", LIMIT, || logs_and_exec(&cluster)).unwrap();

        let begin = Instant::now();
        let limit = Duration::from_secs(300) * u32::try_from(rounds).unwrap();
        let mut seen = [Which::Client, Which::Serving].map(|which| (which, vec![serial_and_end(which).unwrap()]));
        while seen.iter().any(|(_, seen)| seen.len() <= rounds) {
            assert!(begin.elapsed() < limit, "{seen:?}\n{}", cluster.log());
            std::thread::sleep(Duration::from_millis(500));
            for (which, seen) in &mut seen {
                let Some(now) = serial_and_end(*which) else { continue };
                if seen.last() != Some(&now) {
                    println!("{which:?}: {now}, after {:.0?}", begin.elapsed());
                    seen.push(now);
                    eventually("kubectl logs and kubectl exec still work", LIMIT, || logs_and_exec(&cluster)).unwrap();
                }
            }
        }
        let mut approved = 0;
        for signer in [CLIENT, SERVING] {
            for request in requests(&cluster, signer) {
                // The last one may still be on its way.
                let Some((kind, message)) = condition(&request) else { continue };
                assert_eq!(kind, "Approved", "{message}");
                approved += 1;
            }
        }
        assert!(approved > 2 * rounds, "{approved}");
        node.wait_until_ready(&cluster.plane).unwrap();
        println!("{approved} certificates of {duration} were approved within {:.0?}", begin.elapsed());
    });
}
