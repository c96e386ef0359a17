//! What requestors write, on the way through the real API server into conditions, Events, metrics and logs.

use serde_json::Value;
use testbed::{eventually, hostile};

use super::faults::REQUESTS;
use super::{Cluster, LIMIT, Request, anyhow_if};

#[test]
fn nothing_that_does_not_show_leaves_the_controller() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unseen();
    cluster.run(&["--managed-signer=*"]);
    let api = cluster.plane.api().unwrap();
    let key = hostile::key().unwrap();
    let file = |name: &str, signer: &str, pem: &str| {
        let mut request = Request::new(name, "");
        signer.clone_into(&mut request.signer);
        api.call("POST", REQUESTS, Some(&request.manifest_with(pem))).unwrap()
    };
    let client = "kubernetes.io/kube-apiserver-client";
    let subjects = hostile::number(60);
    for index in 0..subjects {
        let pem = hostile::request(&key, &hostile::text(index), &hostile::text(index * 7 + 3)).unwrap();
        let signer = if index.is_multiple_of(4) { format!("example.com/{index}") } else { client.to_owned() };
        let (status, answer) = file(&format!("subject-{index}"), &signer, &pem);
        assert_eq!(status, 201, "{answer}");
    }
    // Names as the API server takes them.
    let pem = hostile::request(&key, "amy", "developers").unwrap();
    let long = "x".repeat(200_000);
    let names =
        ["a?b#c", "nul\0", "esc\u{1b}[31m", "rtl\u{202e}", "line\u{2028}\n", "c1\u{9b}31m", "quote\"'`$(id)", &long];
    let taken: Vec<&str> = names.into_iter().filter(|name| file(name, client, &pem).0 == 201).collect();
    assert!(taken.len() >= 6, "{taken:?}");
    for name in ["a/b", "a%b", ".."] {
        assert_eq!(file(name, client, &pem).0, 422, "{name}");
    }
    let all = || api.must("GET", REQUESTS, None).unwrap()["items"].as_array().unwrap().clone();
    let name_of = |csr: &Value| csr["metadata"]["name"].as_str().unwrap().to_owned();
    let conditions = |csr: &Value| csr["status"]["conditions"].as_array().cloned().unwrap_or_default();
    // All but those that nobody can ask for by name, and those for which no policy speaks.
    let decided = eventually("they are decided", LIMIT * 2, || {
        let pending =
            |csr: &Value| csr["spec"]["signerName"] == client && name_of(csr) != long && conditions(csr).is_empty();
        let pending: Vec<String> = all().iter().filter(|csr| pending(csr)).map(name_of).collect();
        anyhow_if(pending.is_empty(), &format!("{pending:?}"))
    });
    decided.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
    let all = all();
    for csr in all.iter().filter(|csr| taken.contains(&name_of(csr).as_str()) && name_of(csr) != long) {
        assert_eq!(conditions(csr)[0]["type"], "Approved", "{:?}", name_of(csr));
    }
    for condition in all.iter().flat_map(conditions) {
        let message = condition["message"].as_str().unwrap();
        assert!(hostile::shows_all(message) && !message.contains('\n'), "{message:?}");
    }
    let events = eventually("there are Events", LIMIT, || {
        let events = api.must("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None)?;
        let events = events["items"].as_array().unwrap().clone();
        anyhow_if(events.len() > subjects, &format!("{} Events", events.len())).map(|()| events)
    });
    for event in events.unwrap() {
        for text in [&event["note"], &event["regarding"]["name"], &event["reason"]] {
            let text = text.as_str().unwrap();
            assert!(hostile::shows_all(text) && !text.contains('\n'), "{text:?}");
        }
    }
    let metrics = cluster.http("/metrics").unwrap();
    let series = metrics.lines().filter(|line| line.starts_with("countersign_")).count();
    assert!(series <= 200, "{series} series");
    let log = cluster.log();
    for line in metrics.lines().chain(log.lines()) {
        assert!(hostile::shows_all(line), "{line:?}");
    }
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line:?}");
    }
    assert!(log.contains("their names are too long, or no UTF-8"), "{log}");
}
