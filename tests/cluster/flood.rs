//! Nobody blinds the controller or drowns it: whatever a requestor writes into its requests, memory is bounded,
//! and the others get their decisions in time.

#![allow(clippy::print_stdout, reason = "the figures are worth knowing")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use testbed::{eventually, hostile};

use super::decisions::policy;
use super::faults::{Bench, POLICIES, REQUESTS};
use super::{Controller, LIMIT, anyhow_if, base64};

/// How many requests a flood has: `COUNTERSIGN_FLOOD`, or as many as usual.
pub(super) fn number(usual: usize) -> usize {
    std::env::var("COUNTERSIGN_FLOOD").map_or(usual, |number| number.parse().unwrap())
}

/// Field managers with a time that no typed client reads, and fields nested deeper than parsers follow.
pub(super) fn managed_fields() -> Value {
    let mut fields = json!({});
    for _ in 0..2000 {
        fields = json!({ "f:x": fields });
    }
    json!([
        { "manager": "a", "operation": "Update", "apiVersion": "certificates.k8s.io/v1",
          "time": "9999-12-31T23:59:59Z", "fieldsType": "FieldsV1", "fieldsV1": {} },
        { "manager": "b", "operation": "Update", "apiVersion": "certificates.k8s.io/v1",
          "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields },
    ])
}

/// A request with everything at its limit.
fn hostile_request(index: usize, pem: &str, padded: &str) -> Value {
    let mut metadata = json!({ "name": format!("flood-{index}") });
    let text = match index % 4 {
        // 1.3 MB before the request.
        0 => padded,
        // As many labels as fit.
        1 => {
            let label = |number| (format!("{}.example.com/{number:063}", "x".repeat(63)), json!("y".repeat(63)));
            metadata["labels"] = Value::Object((0..5000).map(label).collect::<Map<String, Value>>());
            pem
        }
        // All the annotations that the API server takes.
        2 => {
            metadata["annotations"] = json!({ "a": "\0".repeat(250_000) });
            metadata["managedFields"] = managed_fields();
            pem
        }
        _ => {
            metadata["name"] = json!(format!("flood-{index}-{}", "n".repeat(300_000)));
            pem
        }
    };
    // Half of them are denied, half of them stay.
    manifest(&metadata, text, if index % 8 < 4 { "example.com/flood" } else { "example.com/nobody" })
}

fn manifest(metadata: &Value, text: &str, signer: &str) -> Value {
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": metadata,
        "spec": {
            "request": base64(text.as_bytes()),
            "signerName": signer,
            "usages": ["client auth"],
            "expirationSeconds": 3600,
        },
    })
}

/// Has each number below `total` filed, as many `at_a_time`, and five times a second a request of somebody else, which is
/// decided `soon`, with no more than `most` MiB resident; then starts once more, with all of them there. The controller of
/// then.
#[track_caller]
fn flood(
    bench: &Bench,
    (total, at_a_time): (usize, usize),
    (soon, most): (Duration, u64),
    file: impl Fn(usize) + Sync,
) -> Controller {
    for name in ["flood", "others"] {
        let policy: Value = serde_json::from_str(&policy(name, &format!("example.com/{name}"), Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    }
    let start = |name: &str| {
        let options = ["--managed-signer=example.com/*", "--leader-elect=false"];
        let controller = bench.cluster.start_replica(name, &options);
        controller.is_ready();
        controller
    };
    let other = |name: &str| {
        bench.file(name, "example.com/others");
        let filed = Instant::now();
        is_approved(bench, name);
        filed.elapsed()
    };
    let controller = start("flooded");
    other("first");
    let before = controller.running.peak_memory().unwrap();
    let over = AtomicBool::new(false);
    let (mut slowest, mut decided) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time)
            .map(|worker| {
                let file = &file;
                scope.spawn(move || (worker..total).step_by(at_a_time).for_each(file))
            })
            .collect();
        scope.spawn(|| {
            for worker in workers {
                worker.join().unwrap();
            }
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            slowest = slowest.max(other(&format!("other-{decided}")));
            decided += 1;
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let peak = controller.running.peak_memory().unwrap();
    drop(controller);
    let since = Instant::now();
    let controller = start("flooded-again");
    let ready = since.elapsed();
    let after = other("last");
    std::thread::sleep(Duration::from_secs(2));
    let again = controller.running.peak_memory().unwrap();
    println!(
        "flood: {total} requests; {decided} others decided meanwhile, the slowest after {slowest:.1?}; resident at most \
         {before} KiB before, {peak} KiB with them, {again} KiB after a start among them, which took {ready:.1?}"
    );
    assert!(decided > 0 && slowest < soon && after < soon, "{slowest:?} {after:?}");
    assert!(peak < most * 1024 && again < most * 1024, "{peak} {again}\n{}", controller.log());
    controller
}

fn create(bench: &Bench, object: &Value) {
    let (status, answer) = bench.api.call("POST", REQUESTS, Some(object)).unwrap();
    assert_eq!(status, 201, "{answer:.500}");
}

/// For a client certificate of a group that nobody may have.
fn eve() -> String {
    hostile::request(&hostile::key().unwrap(), "eve", "kubeadm:cluster-admins").unwrap()
}

/// The same after so many line ends that the API server takes no more: 1.3 MB in base64.
fn padded(pem: &str) -> String {
    format!("{}{pem}", "\n".repeat(975_000))
}

#[test]
fn hostile_requests_neither_fill_the_memory_nor_hold_others_up() {
    let bench = Bench::start();
    let pem = eve();
    let padded = padded(&pem);
    let file = |index: usize| create(&bench, &hostile_request(index, &pem, &padded));
    let controller = flood(&bench, (number(150), 4), (Duration::from_secs(10), 60), file);
    // Those that can be decided are, and keep what they came with. As text: no parser here follows them either.
    let raw = |index: usize| bench.cluster.admin.run(&["get", "--raw", &format!("{REQUESTS}/flood-{index}")]);
    let denied = eventually("they are denied", LIMIT * 2, || {
        let all = (0..3).map(raw).collect::<testbed::Result<Vec<String>>>()?;
        anyhow_if(all.iter().all(|text| text.contains("\"type\":\"Denied\"")), "some are not").map(|()| all)
    });
    let all = denied.unwrap_or_else(|error| panic!("{error:#}\n{:.20000}", controller.log()));
    assert_eq!(all[1].matches(".example.com/0000").count(), 5000);
    assert_eq!(all[2].matches("\\u0000").count(), 250_000);
}

/// One at a time: with more the API server's own watch is late, for whoever watches.
#[test]
fn requests_of_the_largest_size_that_stay_pending_do_neither() {
    let (bench, padded, total) = (Bench::start(), padded(&eve()), number(50));
    let manifest = |index: usize| manifest(&json!({ "name": format!("flood-{index}") }), &padded, "example.com/nobody");
    flood(&bench, (total, 1), (Duration::from_secs(2), 60), |index| create(&bench, &manifest(index)));
    // What kubectl shows has nothing of what they ask for.
    let table = bench.cluster.admin.run(&["get", "csr"]).unwrap();
    let pending = table.lines().filter(|line| line.starts_with("flood-") && line.ends_with("Pending")).count();
    assert_eq!(pending, total, "{table}");
}

/// A request with an owner of this name, as protobuf: what is one byte there is six in JSON.
fn as_protobuf(name: &str, pem: &str, owner: &[u8]) -> Vec<u8> {
    let owner = [field(1, b"K"), field(3, owner), field(4, b"u"), field(5, b"v")].concat();
    object(&[field(1, name.as_bytes()), field(13, &owner)].concat(), pem)
}

/// A field of a message in protobuf.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    let number_and_length = [number << 3 | 2, bytes.len()].into_iter().flat_map(|mut value| {
        let mut varint = Vec::new();
        while value >= 128 {
            varint.push(u8::try_from(value % 128).unwrap() | 128);
            value /= 128;
        }
        varint.push(u8::try_from(value).unwrap());
        varint
    });
    number_and_length.chain(bytes.iter().copied()).collect()
}

/// A request in protobuf, with this metadata.
fn object(metadata: &[u8], pem: &str) -> Vec<u8> {
    let spec = [field(1, pem.as_bytes()), field(5, b"client auth"), field(7, b"example.com/flood")].concat();
    let kind = [field(1, b"certificates.k8s.io/v1"), field(2, b"CertificateSigningRequest")].concat();
    let object = [field(1, metadata), field(2, &spec)].concat();
    [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat()
}

/// The same, with fields of a manager, as the text that they are stored as.
fn with_fields(name: &str, pem: &str, fields: &str) -> Vec<u8> {
    let fields = field(1, fields.as_bytes());
    let kind = b"certificates.k8s.io/v1";
    let managed =
        [field(1, b"m"), field(2, b"Update"), field(3, kind), field(6, b"FieldsV1"), field(7, &fields)].concat();
    object(&[field(1, name.as_bytes()), field(17, &managed)].concat(), pem)
}

/// The API server stores what it cannot write into a watch, and times that it does not read again.
#[test]
fn what_the_api_server_cannot_write_into_a_watch_blinds_nobody_and_is_denied() {
    let (bench, pem) = (Bench::start(), eve());
    for name in ["flood", "others"] {
        let policy: Value = serde_json::from_str(&policy(name, &format!("example.com/{name}"), Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    }
    let options = ["--managed-signer=example.com/*", "--leader-elect=false"];
    let controller = bench.cluster.start_replica("deep", &options);
    controller.is_ready();
    let deep = format!("{}{{}}{}", "{\"f:a\":".repeat(9_997), "}".repeat(9_997));
    assert_eq!(bench.api.create_protobuf(REQUESTS, with_fields("deep", &pem, &deep)).unwrap(), 201);
    let mut odd = manifest(&json!({ "name": "odd" }), &pem, "example.com/flood");
    odd["metadata"]["managedFields"] = json!([{
        "manager": "m", "operation": "Update", "apiVersion": "certificates.k8s.io/v1", "time": "9999-12-31T23:59:59-01:00",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} },
    }]);
    create(&bench, &odd);
    // Names that are no UTF-8: in pages, the next one would begin where the one before did.
    for index in 0..40_u8 {
        let name = [b"d\xff", &*index.to_string().into_bytes()].concat();
        assert_eq!(bench.api.create_protobuf(REQUESTS, object(&field(1, &name), &pem)).unwrap(), 201);
    }
    for round in 0..2 {
        bench.file(&format!("beside-{round}"), "example.com/others");
        is_approved(&bench, &format!("beside-{round}"));
    }
    // As text: no parser here follows it either.
    let raw = |name: &str| bench.cluster.admin.run(&["get", "--raw", &format!("{REQUESTS}/{name}")]);
    let denied = eventually("both are denied", LIMIT * 2, || {
        let texts = ["deep", "odd"].map(raw).into_iter().collect::<testbed::Result<Vec<String>>>()?;
        anyhow_if(texts.iter().all(|text| text.contains("\"type\":\"Denied\"")), "they are not")
    });
    denied.unwrap_or_else(|error| panic!("{error:#}\n{:.20000}", controller.log()));
    drop(controller);
    // Nor whoever starts among them.
    let controller = bench.cluster.start_replica("again", &options);
    controller.is_ready();
    bench.file("after", "example.com/others");
    is_approved(&bench, "after");
    // One after the other ends the watch, and others are decided in between.
    for index in 0..10 {
        assert_eq!(
            bench.api.create_protobuf(REQUESTS, with_fields(&format!("deep-{index}"), &pem, &deep)).unwrap(),
            201
        );
        let filed = Instant::now();
        bench.file(&format!("between-{index}"), "example.com/others");
        is_approved(&bench, &format!("between-{index}"));
        let took = filed.elapsed();
        println!("deep: decided {took:.1?} after it was filed beside one that ends the watch");
        assert!(took < Duration::from_secs(10), "{took:?}\n{:.20000}", controller.log());
    }
    assert_eq!(review_live(&bench), Some(1));
}

/// How `countersign review --live` ends.
fn review_live(bench: &Bench) -> Option<i32> {
    let kubeconfig = bench.cluster.admin.kubeconfig().display().to_string();
    let mut review = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
    review.args(["review", "--live", "--managed-signer=example.com/*", "--kubeconfig", &kubeconfig]);
    let output = review.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.code()
}

/// What a requestor writes beside its request is neither held nor sent back for a decision.
#[test]
fn what_stands_beside_a_request_neither_fills_the_memory_nor_keeps_it_from_being_denied() {
    let (bench, pem, total) = (Bench::start(), eve(), 24);
    let owner = |number: usize| json!({ "apiVersion": "v", "kind": "K", "name": number.to_string(), "uid": number.to_string() });
    let owners: Vec<Value> = (0..25_000).map(owner).collect();
    let control = vec![1; 1_400_000];
    let file = |index: usize| {
        let name = format!("flood-{index}");
        if index.is_multiple_of(2) {
            create(&bench, &manifest(&json!({ "name": name, "ownerReferences": owners }), &pem, "example.com/flood"));
        } else {
            let status = bench.api.create_protobuf(REQUESTS, as_protobuf(&name, &pem, &control)).unwrap();
            assert_eq!(status, 201);
        }
    };
    // The API server's own watch is late with what it writes as 8 MB, for whoever watches.
    let controller = flood(&bench, (total, 1), (Duration::from_secs(20), 96), file);
    eventually("all are denied", LIMIT * 3, || {
        let table = bench.cluster.admin.run(&["get", "csr"])?;
        let denied = table.lines().filter(|line| line.starts_with("flood-") && line.ends_with("Denied")).count();
        anyhow_if(denied == total, &table)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:.20000}", controller.log()));
    // What leaves no room for a condition can be decided by nobody, and keeps nobody waiting.
    let full = (0..30).map(|step| 1_572_800 - 100 * step).find(|bytes| {
        bench.api.create_protobuf(REQUESTS, as_protobuf("full", &pem, &vec![b'a'; *bytes])).unwrap() == 201
    });
    assert!(full.is_some());
    eventually("that is said", LIMIT, || {
        anyhow_if(controller.log().contains("leaves no room for a decision"), "not yet")
    })
    .unwrap();
    bench.file("beside", "example.com/others");
    is_approved(&bench, "beside");
    std::thread::sleep(Duration::from_secs(3));
    let said = controller.log().matches("leaves no room for a decision").count();
    assert_eq!(said, 1, "{full:?}\n{}", controller.log());
    assert_eq!(bench.conditions("full"), Vec::<String>::new());
}

/// Requests that nobody decides, each as large as may be: what is read of one, what is held of one whole, its name.
fn lasting_request(index: usize, pem: &str) -> Value {
    let padded = |bytes: usize| format!("{}{pem}", "\n".repeat(bytes - pem.len()));
    let mut metadata = json!({ "name": format!("lasting-{index}") });
    let text = match index % 3 {
        0 => {
            // 16 KiB of text, and many times that in memory.
            let keys = (0..800).map(|key| (format!("{key:03}"), json!("x"))).collect::<Map<String, Value>>();
            metadata["annotations"] = Value::Object(keys);
            padded(64 * 1024)
        }
        1 => padded(6000),
        _ => {
            let name = format!("lasting-{index}-");
            metadata["name"] = json!(format!("{name}{}", "n".repeat(4096 - name.len())));
            padded(64 * 1024)
        }
    };
    manifest(&metadata, &text, "example.com/nobody")
}

#[test]
fn what_stays_pending_takes_little_memory_however_large_it_is() {
    let bench = Bench::start();
    let policy: Value = serde_json::from_str(&policy("others", "example.com/others", Value::Null)).unwrap();
    bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    let options = ["--managed-signer=example.com/*", "--leader-elect=false"];
    let peak_of_one = |name: &str| {
        let controller = bench.cluster.start_replica(name, &options);
        controller.is_ready();
        bench.file(name, "example.com/others");
        is_approved(&bench, name);
        std::thread::sleep(Duration::from_secs(3));
        controller.running.peak_memory().unwrap()
    };
    let before = peak_of_one("without");
    let pem = eve();
    let total = 3 * number(150);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (api, pem) = (&bench.api, &pem);
            scope.spawn(move || {
                for index in (worker..total).step_by(4) {
                    let (status, answer) = api.call("POST", REQUESTS, Some(&lasting_request(index, pem))).unwrap();
                    assert_eq!(status, 201, "{index}: {answer:.500}");
                }
            });
        }
    });
    let with = peak_of_one("with");
    let number = u64::try_from(total).unwrap();
    let each = with.saturating_sub(before) * 1024 / number;
    println!("lasting: {before} KiB without, {with} KiB with {total} requests that stay pending, {each} bytes each");
    // What is on its way at a time, beside what is held.
    let most = before + 12 * 1024 + 12 * number;
    assert!(with < most, "{with} KiB, and {before} KiB before");
}

#[track_caller]
fn is_approved(bench: &Bench, name: &str) {
    let approved = eventually(&format!("{name} is approved"), LIMIT, || {
        anyhow_if(bench.conditions(name) == ["Approved"], "it is pending")
    });
    approved.unwrap();
}

#[test]
fn a_policy_whose_metadata_no_parser_follows_stops_nobody() {
    let bench = Bench::start();
    let object: Value = serde_json::from_str(&policy("deep", "example.com/deep", Value::Null)).unwrap();
    let mut deep = object.clone();
    deep["metadata"]["managedFields"] = managed_fields();
    bench.api.must("POST", POLICIES, Some(&deep)).unwrap();
    let path = format!("{POLICIES}/deep");
    let kept = bench.cluster.admin.run(&["get", "--raw", &path]).unwrap().matches("f:x").count();
    println!("deep: {kept} levels of managed fields are kept");
    let controller = bench.cluster.start_replica("deep", &["--managed-signer=example.com/*", "--leader-elect=false"]);
    controller.is_ready();
    bench.file("under", "example.com/deep");
    is_approved(&bench, "under");
    // Nor does a request stop those who look.
    let mut request = Bench::manifest("deep-request", "example.com/none");
    request["metadata"]["managedFields"] = managed_fields();
    bench.api.must("POST", REQUESTS, Some(&request)).unwrap();
    let path = format!("{REQUESTS}/deep-request");
    let kept = bench.cluster.admin.run(&["get", "--raw", &path]).unwrap().matches("f:x").count();
    println!("deep: {kept} levels of managed fields are kept of a request");
    assert_eq!(review_live(&bench), Some(3));
}
