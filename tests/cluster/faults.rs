//! Fail closed: for every way in which the API server may be away, wrong or only half there,
//! approvals stop, and once it is mended they go on. A proxy between the two does what goes wrong.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{Api, Call, Fault, Options, Proxy, eventually};

use super::decisions::{guardrail, policy};
use super::{Cluster, Controller, LIMIT, NAMESPACE, Request, anyhow_if};

pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
pub(super) const POLICIES: &str = "/apis/countersign.dev/v1alpha1/csrpolicies";
pub(super) const GUARDRAILS: &str = "/apis/countersign.dev/v1alpha1/csrguardrails";

/// How long a consistent read serves before there has to be another, and a second.
const UNTIL_NEXT_READ: Duration = Duration::from_secs(6);
/// How old a consistent read may be when an approval rests on it, and a second.
const WINDOW: Duration = Duration::from_secs(11);

/// A cluster for many controllers, each with a signer, a policy and a proxy of its own.
pub(super) struct Bench {
    pub(super) cluster: Cluster,
    pub(super) api: Api,
}

impl Bench {
    pub(super) fn start() -> Self {
        Self::with(&Options::default())
    }

    pub(super) fn with(options: &Options) -> Self {
        let cluster = Cluster::with(options);
        cluster.may_approve(&["example.com/*"]);
        let api = cluster.plane.api().unwrap();
        Self { cluster, api }
    }

    /// Files what `openssl` makes for Amy, under this name and for this signer.
    pub(super) fn file(&self, name: &str, signer: &str) {
        self.api.must("POST", REQUESTS, Some(&Self::manifest(name, signer))).unwrap();
    }

    pub(super) fn manifest(name: &str, signer: &str) -> Value {
        static MANIFEST: OnceLock<Value> = OnceLock::new();
        let mut manifest = MANIFEST.get_or_init(|| Request::new("", "/CN=amy/O=developers").manifest()).clone();
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["signerName"] = json!(signer);
        manifest
    }

    /// The types of the conditions of a request.
    pub(super) fn conditions(&self, name: &str) -> Vec<String> {
        let csr = self.api.must("GET", &format!("{REQUESTS}/{name}"), None).unwrap();
        let conditions = csr["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().map(|condition| condition["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Changes an object in what means nothing.
    fn touch(&self, path: &str, name: &str) {
        let patch = json!({ "metadata": { "annotations": { "touched": format!("{:?}", Instant::now()) } } });
        self.api.must("PATCH", &format!("{path}/{name}"), Some(&patch)).unwrap();
    }

    /// Runs `check` on a case for each row of `table`, all at a time.
    pub(super) fn each<T: Sync>(&self, table: &[(&str, T)], check: impl Fn(&Case, &T) + Sync) {
        self.each_with(|_| "--leader-elect=false".to_owned(), table, check);
    }

    /// The same, with an option for each.
    pub(super) fn each_with<T: Sync>(
        &self,
        option: fn(&str) -> String,
        table: &[(&str, T)],
        check: impl Fn(&Case, &T) + Sync,
    ) {
        std::thread::scope(|scope| {
            for (name, row) in table {
                let check = &check;
                scope.spawn(move || check(&Case::start(self, name, &[&option(name)]), row));
            }
        });
    }
}

/// One controller behind a proxy of its own.
pub(super) struct Case<'a> {
    pub(super) bench: &'a Bench,
    pub(super) name: String,
    pub(super) signer: String,
    // Dropped before the proxy.
    pub(super) controller: Controller,
    pub(super) proxy: Proxy,
}

impl<'a> Case<'a> {
    pub(super) fn start(bench: &'a Bench, name: &str, options: &[&str]) -> Self {
        let signer = format!("example.com/{name}");
        let policy: Value = serde_json::from_str(&policy(name, &signer, Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
        Self::replica(bench, name, name, options)
    }

    /// One more replica for the signer of `name`, whose log and proxy are called `own`.
    pub(super) fn replica(bench: &'a Bench, name: &str, own: &str, options: &[&str]) -> Self {
        let signer = format!("example.com/{name}");
        let proxy = Proxy::start(&bench.cluster.plane, own).unwrap();
        let (kubeconfig, managed) = (proxy.option(), format!("--managed-signer={signer}"));
        let options: Vec<&str> = [kubeconfig.as_str(), &managed].iter().chain(options).copied().collect();
        let controller = bench.cluster.start_replica(own, &options);
        controller.is_ready();
        Self { bench, name: name.to_owned(), signer, controller, proxy }
    }

    pub(super) fn file(&self, what: &str) -> String {
        let name = format!("{}-{what}", self.name);
        self.bench.file(&name, &self.signer);
        name
    }

    #[track_caller]
    pub(super) fn is_approved(&self, name: &str) {
        let approved = eventually(&format!("{name} is approved"), LIMIT, || {
            let conditions = self.bench.conditions(name);
            anyhow_if(conditions == ["Approved"], &format!("{conditions:?}"))
        });
        approved.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story()));
    }

    /// Nothing is decided about it, nor was an approval of it sent.
    #[track_caller]
    pub(super) fn is_pending_after(&self, name: &str, wait: Duration) {
        std::thread::sleep(wait);
        let sent = self.sent(name);
        assert!(sent.is_empty(), "{name}: {} approvals were sent\n{}", sent.len(), self.story());
        assert_eq!(self.bench.conditions(name), [""; 0], "{}", self.story());
    }

    /// The approvals of a request that were sent.
    pub(super) fn sent(&self, name: &str) -> Vec<Call> {
        let calls = self.proxy.calls();
        calls.into_iter().filter(|call| call.approves() && call.about() == name).collect()
    }

    /// What happened, for whoever has to find out why.
    pub(super) fn story(&self) -> String {
        let calls = self.proxy.calls();
        let begin = calls.first().map_or_else(Instant::now, |call| call.at);
        let lines: Vec<String> = calls
            .iter()
            .map(|call| format!("{:?} {} {} {:?}", call.at - begin, call.method, call.path, call.answer))
            .collect();
        format!("{}\n{}\n{}", self.name, lines.join("\n"), self.controller.log())
    }

    /// Lets the watches of the policy say something that changes nothing.
    pub(super) fn touch(&self, path: &str) {
        self.bench.touch(path, &self.name);
    }

    pub(super) fn guardrail(&self, limits: &Value) -> Value {
        guardrail_for(&self.name, &self.signer, limits)
    }

    pub(super) fn delete_policy(&self) {
        self.bench.api.must("DELETE", &format!("{POLICIES}/{}", self.name), None).unwrap();
    }

    pub(super) fn create_policy(&self) {
        let policy: Value = serde_json::from_str(&policy(&self.name, &self.signer, Value::Null)).unwrap();
        self.bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
    }

    pub(super) fn create_guardrail(&self, limits: &Value) {
        self.bench.api.must("POST", GUARDRAILS, Some(&self.guardrail(limits))).unwrap();
    }

    pub(super) fn delete_guardrail(&self) {
        self.bench.api.must("DELETE", &format!("{GUARDRAILS}/{}", self.name), None).unwrap();
    }
}

fn guardrail_for(name: &str, signer: &str, limits: &Value) -> Value {
    let mut guardrail: Value = serde_json::from_str(&guardrail(name, limits)).unwrap();
    guardrail["spec"]["match"] = json!({ "signerNames": [signer] });
    guardrail
}

/// A limit that no request of this test keeps.
pub(super) fn forbids() -> Value {
    json!({ "subject": { "organizations": { "max": 0 } } })
}

/// A limit that every request of this test keeps.
fn permits() -> Value {
    json!({ "subject": { "organizations": { "max": 9 } } })
}

const fn answers(status: u16) -> Fault {
    Fault::Answer(status, None)
}

type OnCall = fn(&Call) -> bool;

fn lists_policies(call: &Call) -> bool {
    call.lists("csrpolicies")
}

fn lists_guardrails(call: &Call) -> bool {
    call.lists("csrguardrails")
}

fn reads_schema(call: &Call) -> bool {
    call.path.starts_with("/openapi/v3")
}

fn reads_resources(call: &Call) -> bool {
    call.path == "/apis/countersign.dev/v1alpha1"
}

#[test]
fn without_a_consistent_read_nothing_is_approved_until_it_is_mended() {
    let body = |text: &str| Fault::Body(text.to_owned());
    let empty = r#"{"kind":"CSRPolicyList","apiVersion":"countersign.dev/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}"#;
    let no_version = empty.replace("Policy", "Guardrail").replace(r#""resourceVersion":"1""#, "");
    let page = empty.replace("Policy", "Guardrail").replace("},", r#","continue":"x"},"#);
    let table: &[(&str, (OnCall, Fault))] = &[
        ("list-500", (lists_policies, answers(500))),
        ("list-503", (lists_guardrails, answers(503))),
        ("list-403", (lists_guardrails, answers(403))),
        ("list-404", (lists_policies, answers(404))),
        ("list-429", (lists_guardrails, Fault::Answer(429, Some(1)))),
        ("list-hangs", (lists_guardrails, Fault::Hang)),
        ("list-reset", (lists_policies, Fault::Reset)),
        ("list-slow", (lists_policies, Fault::Delay(Duration::from_secs(9)))),
        ("list-empty", (lists_policies, body(empty))),
        ("list-no-list", (lists_guardrails, body("{}"))),
        ("list-of-others", (lists_guardrails, body(empty))),
        ("list-cut", (lists_guardrails, body(&empty[..40]))),
        ("list-status", (lists_guardrails, body(r#"{"kind":"Status","apiVersion":"v1","status":"Failure"}"#))),
        ("list-page", (lists_guardrails, body(&page))),
        ("list-without-version", (lists_guardrails, body(&no_version))),
        ("schema-500", (reads_schema, answers(500))),
        ("schema-429", (reads_schema, Fault::Answer(429, Some(1)))),
        ("schema-hangs", (reads_schema, Fault::Hang)),
        ("schema-gone", (reads_schema, body(r#"{"paths":{}}"#))),
        ("schema-no-schema", (reads_schema, body("5"))),
        ("resources-500", (reads_resources, answers(500))),
        ("resources-gone", (reads_resources, answers(404))),
        ("resources-none", (reads_resources, body(r#"{"resources":[]}"#))),
        ("resources-hang", (reads_resources, Fault::Hang)),
    ];
    let bench = Bench::start();
    bench.each(table, |case, (on, fault)| {
        case.is_approved(&case.file("before"));
        let injected = case.proxy.inject(*on, fault.clone());
        std::thread::sleep(WINDOW);
        let since = Instant::now();
        let name = case.file("during");
        case.is_pending_after(&name, Duration::from_secs(5));
        // It does not hurry either: one read a second, of five calls, and five soon after one another where the watch seems to
        // lag, and again after that was started over.
        let calls = case.proxy.calls_since(since, |call| call.method == "GET");
        let most = 5 * (10 + usize::try_from(since.elapsed().as_secs()).unwrap());
        assert!(calls.len() < most, "{} calls of {most}\n{}", calls.len(), case.story());
        drop(injected);
        case.is_approved(&name);
    });
}

/// Its age counts from its beginning.
#[test]
fn a_consistent_read_that_takes_seconds_is_relied_on() {
    let bench = Bench::start();
    let table = [("three-seconds", 3), ("six-seconds", 6), ("seven-seconds", 7)];
    bench.each(&table, |case, seconds| {
        case.is_approved(&case.file("before"));
        let _injected = case.proxy.inject(lists_policies, Fault::Delay(Duration::from_secs(*seconds)));
        std::thread::sleep(UNTIL_NEXT_READ);
        for during in ["one", "two", "three"] {
            case.is_approved(&case.file(during));
        }
        let told = case.story().contains("decisions wait for it");
        assert_eq!(told, *seconds > 4, "{}", case.story());
    });
}

/// All of them together would be the guardrails that there are.
#[test]
fn pages_that_are_of_no_one_list_are_not_relied_on() {
    let bench = Bench::start();
    let mut guardrail: Value = serde_json::from_str(&guardrail("elsewhere", &forbids())).unwrap();
    guardrail["spec"]["match"] = json!({ "signerNames": ["example.com/elsewhere"] });
    bench.api.must("POST", GUARDRAILS, Some(&guardrail)).unwrap();
    let table = [("pages-of-one", ("1", 0)), ("pages-of-two", ("2", 0)), ("pages-alike", ("1", 1))];
    bench.each(&table, |case, (version, again)| {
        case.is_approved(&case.file("before"));
        let mut list = bench.api.must("GET", GUARDRAILS, None).unwrap();
        let mut page = |metadata: Value, count: usize| {
            list["metadata"] = metadata;
            list["items"].as_array_mut().unwrap().truncate(count);
            Fault::Body(list.to_string())
        };
        let begins = |call: &Call| lists_guardrails(call) && call.path.ends_with("&continue=");
        let goes_on = |call: &Call| lists_guardrails(call) && call.path.ends_with("&continue=x");
        let first = case.proxy.inject(begins, page(json!({ "resourceVersion": "1", "continue": "x" }), 1));
        let second = case.proxy.inject(goes_on, page(json!({ "resourceVersion": version }), *again));
        std::thread::sleep(WINDOW);
        let name = case.file("during");
        if case.name == "pages-of-one" {
            case.is_approved(&name);
        } else {
            case.is_pending_after(&name, Duration::from_secs(3));
        }
        drop((first, second));
        case.is_approved(&name);
    });
}

#[test]
fn without_a_watch_nothing_is_approved_until_it_is_back() {
    let requests = "certificatesigningrequests";
    let table: &[(&str, (&str, Fault))] = &[
        ("policies-500", ("csrpolicies", answers(500))),
        ("policies-410", ("csrpolicies", answers(410))),
        ("policies-429", ("csrpolicies", Fault::Answer(429, Some(1)))),
        ("policies-hang", ("csrpolicies", Fault::Hang)),
        ("guardrails-503", ("csrguardrails", answers(503))),
        ("guardrails-403", ("csrguardrails", answers(403))),
        ("guardrails-404", ("csrguardrails", answers(404))),
        ("guardrails-reset", ("csrguardrails", Fault::Reset)),
        ("requests-500", (requests, answers(500))),
        ("requests-410", (requests, answers(410))),
        ("requests-reset", (requests, Fault::Reset)),
        ("requests-hang", (requests, Fault::Hang)),
    ];
    let bench = Bench::start();
    bench.each(table, |case, (plural, fault)| {
        case.create_guardrail(&permits());
        case.is_approved(&case.file("before"));
        let plural = (*plural).to_owned();
        let watches = move |call: &Call| call.watches(&plural);
        let injected = [
            case.proxy.inject(watches.clone(), fault.clone()),
            case.proxy.inject_times(watches.clone(), Fault::CutInLine, 1),
        ];
        let since = Instant::now();
        case.touch(POLICIES);
        case.touch(GUARDRAILS);
        let name = case.file("during");
        // The watch of requests is cut by this one: it may not even be known.
        let again = eventually("it watches again", LIMIT, || {
            anyhow_if(!case.proxy.calls_since(since, &watches).is_empty(), "it does not")
        });
        again.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
        let during = case.file("cut");
        case.is_pending_after(&during, Duration::from_secs(4));
        let tries = case.proxy.calls_since(since, &watches).len();
        assert!(tries < 10, "{tries} tries\n{}", case.story());
        drop(injected);
        case.is_approved(&during);
        case.is_approved(&name);
    });
}

#[test]
fn an_event_that_cannot_be_read_stops_approvals_until_a_complete_list() {
    let undecodable = |kind: &str, spec: &str| {
        format!(
            r#"{{"type":"ADDED","object":{{"apiVersion":"countersign.dev/v1alpha1","kind":"{kind}","metadata":{{"name":"odd","uid":"odd","generation":1,"resourceVersion":"1"}},"spec":{spec}}}}}"#
        )
    };
    let (policy, guardrail, requests) = ("csrpolicies", "csrguardrails", "certificatesigningrequests");
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
    let lines: &[(&str, (&str, String))] = &[
        ("number", (policy, r#"{"type":"MODIFIED","object":5}"#.to_owned())),
        ("text", (guardrail, r#"{"type":"ADDED","object":"a guardrail"}"#.to_owned())),
        ("empty", (policy, r#"{"type":"ADDED","object":{}}"#.to_owned())),
        ("list", (guardrail, r#"{"type":"DELETED","object":[]}"#.to_owned())),
        ("deleted-number", (policy, r#"{"type":"DELETED","object":7}"#.to_owned())),
        ("unknown-type", (guardrail, r#"{"type":"REVISED","object":{"metadata":{"name":"x"}}}"#.to_owned())),
        ("no-json", (policy, "The API server is being upgraded.".to_owned())),
        ("bookmark", (policy, r#"{"type":"BOOKMARK","object":{"kind":"CSRPolicy","metadata":{}}}"#.to_owned())),
        ("expired", (guardrail, gone.to_owned())),
        ("spec-number", (guardrail, undecodable("CSRGuardrail", "5"))),
        ("spec-null", (guardrail, undecodable("CSRGuardrail", "null"))),
        ("spec-list", (policy, undecodable("CSRPolicy", "[1]"))),
        ("request-number", (requests, r#"{"type":"MODIFIED","object":5}"#.to_owned())),
        ("request-no-json", (requests, "The API server is being upgraded.".to_owned())),
        ("no-utf8-name", (policy, undecodable("CSRPolicy", "{}").replace("\"odd\"", "\"\\ud800\""))),
    ];
    let bench = Bench::start();
    bench.each(lines, |case, (plural, line)| {
        case.create_guardrail(&permits());
        case.is_approved(&case.file("before"));
        let plural = (*plural).to_owned();
        let watches = move |call: &Call| call.watches(&plural);
        let since = Instant::now();
        let hold = case.proxy.inject(watches.clone(), Fault::Hold);
        let insert = case.proxy.inject_times(watches.clone(), Fault::Insert(line.clone()), 1);
        std::thread::sleep(Duration::from_millis(500));
        let name = case.file("during");
        case.is_pending_after(&name, Duration::from_secs(5));
        assert!(!case.proxy.calls_since(since, &watches).is_empty(), "{}", case.story());
        drop((hold, insert));
        case.is_approved(&name);
    });
}

/// What may be wrong with an object, whose path follows, and where.
type Wrong = (&'static str, (&'static str, &'static str, Value));

fn half_written() -> [Wrong; 14] {
    [
        ("policy-number", (POLICIES, "/spec", json!(5))),
        ("policy-without-spec", (POLICIES, "/spec", Value::Null)),
        ("policy-half", (POLICIES, "/spec/allow", json!({}))),
        ("policy-unknown-field", (POLICIES, "/spec/allow/notYet", json!(1))),
        ("policy-unknown-match", (POLICIES, "/spec/match/notYet", json!(["x"]))),
        ("policy-unknown-mode", (POLICIES, "/spec/mode", json!("Dream"))),
        ("policy-later-version", (POLICIES, "/apiVersion", json!("countersign.dev/v2"))),
        ("policy-no-pattern", (POLICIES, "/spec/allow/subject/commonName/allowed", json!(["amy", "${user}"]))),
        ("policy-no-expression", (POLICIES, "/spec/match/conditions", json!([{ "name": "x", "expression": "csr." }]))),
        ("guardrail-number", (GUARDRAILS, "/spec", json!("text"))),
        ("guardrail-without-spec", (GUARDRAILS, "/spec", Value::Null)),
        ("guardrail-unknown-field", (GUARDRAILS, "/spec/limits/notYet", json!({ "max": 1 }))),
        ("guardrail-half", (GUARDRAILS, "/spec/limits", json!({ "subject": 5 }))),
        ("guardrail-later-version", (GUARDRAILS, "/apiVersion", json!("countersign.dev/v2"))),
    ]
}

/// Writes `value` at `pointer` into `object`.
fn put(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value.clone();
}

#[test]
fn a_policy_that_is_half_written_or_from_a_later_version_approves_nothing() {
    let bench = Bench::start();
    bench.each(&half_written(), |case, (path, pointer, value)| {
        case.create_guardrail(&permits());
        case.is_approved(&case.file("before"));
        // What the watch brings is as the API server has it but for this: its generation and uid are right.
        let mut object = bench.api.must("GET", &format!("{path}/{}", case.name), None).unwrap();
        put(&mut object, pointer, value);
        let line = json!({ "type": "MODIFIED", "object": object }).to_string();
        let plural = path.rsplit('/').next().unwrap();
        let replace = Fault::Replace(format!("\"name\":\"{}\"", case.name), line);
        let injected = case.proxy.inject(move |call| call.watches(plural), replace);
        case.touch(path);
        std::thread::sleep(Duration::from_millis(1500));
        let name = case.file("during");
        case.is_pending_after(&name, Duration::from_secs(3));
        drop(injected);
        case.touch(path);
        case.is_approved(&name);
    });
}

#[test]
fn what_is_half_written_wherever_it_is_read_is_not_ready() {
    let bench = Bench::start();
    let table = half_written();
    let signer = |name: &str| format!("example.com/{name}");
    let file = |name: &str, when: &str| {
        let request = format!("{name}-{when}");
        bench.file(&request, &signer(name));
        request
    };
    for (name, _) in &table {
        let policy: Value = serde_json::from_str(&policy(name, &signer(name), Value::Null)).unwrap();
        bench.api.must("POST", POLICIES, Some(&policy)).unwrap();
        bench.api.must("POST", GUARDRAILS, Some(&guardrail_for(name, &signer(name), &permits()))).unwrap();
    }
    let managed: Vec<String> = table.iter().map(|(name, _)| format!("--managed-signer={}", signer(name))).collect();
    let options: Vec<&str> = managed.iter().map(String::as_str).chain(["--leader-elect=false"]).collect();
    let case = Case::replica(&bench, "half-written", "half-written", &options);
    for (name, _) in &table {
        case.is_approved(&file(name, "before"));
    }

    // No status is written, so that the watch and each read may bring the same.
    let writes_status = |call: &Call| call.method != "GET" && call.path.contains("/status");
    let _no_status = case.proxy.inject(writes_status, answers(403));
    std::thread::sleep(Duration::from_secs(2));
    for (name, (path, pointer, value)) in &table {
        let plural = path.rsplit('/').next().unwrap();
        let mut list = bench.api.must("GET", path, None).unwrap();
        let items = list["items"].as_array_mut().unwrap();
        let object = items.iter_mut().find(|item| item["metadata"]["name"] == **name).unwrap();
        put(object, pointer, value);
        let line = json!({ "type": "MODIFIED", "object": object }).to_string();
        let reads = case.proxy.inject(move |call| call.lists(plural), Fault::Body(list.to_string()));
        let watched = case.proxy.inject_times(move |call| call.watches(plural), Fault::Insert(line), 1);
        std::thread::sleep(Duration::from_millis(1500));

        let request = file(name, "during");
        let does = if *path == POLICIES { "permit" } else { "forbid" };
        let reason = format!("{name} might {does} the request and cannot be evaluated: ");
        let about = format!("\"name\":\"{request}\"");
        let told = eventually("it is told why", LIMIT, || {
            let is_told = case.controller.log().lines().any(|line| line.contains(&about) && line.contains(&reason));
            anyhow_if(is_told, "it is not")
        });
        told.unwrap_or_else(|error| panic!("{error:#}: {reason}\n{}", case.story()));
        case.is_pending_after(&request, Duration::from_millis(500));
        drop((reads, watched));
        bench.touch(path, name);
        case.is_approved(&request);
    }
}

#[test]
fn a_guardrail_that_the_watch_brings_without_a_limit_is_not_relied_on() {
    let bench = Bench::start();
    let case = Case::start(&bench, "pruned", &["--leader-elect=false"]);
    case.create_guardrail(&permits());
    case.is_approved(&case.file("before"));
    // As a watch that began before the CRD had that limit brings it: its uid and its generation are right.
    let path = format!("{GUARDRAILS}/{}", case.name);
    let mut object = bench.api.must("GET", &path, None).unwrap();
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    object["metadata"]["generation"] = json!(generation + 1);
    let line = json!({ "type": "MODIFIED", "object": object }).to_string();
    let replace = Fault::Replace("\"generation\":2".to_owned(), line);
    let injected = case.proxy.inject(|call| call.watches("csrguardrails"), replace);
    bench.api.must("PATCH", &path, Some(&json!({ "spec": { "limits": forbids() } }))).unwrap();
    let changed = bench.api.must("GET", &path, None).unwrap();
    assert_eq!(changed["metadata"]["generation"], json!(2), "{changed}");
    std::thread::sleep(WINDOW);
    let name = case.file("during");
    case.is_pending_after(&name, Duration::from_secs(3));
    drop(injected);
    let denied = eventually("it is denied", LIMIT, || anyhow_if(bench.conditions(&name) == ["Denied"], "it is not"));
    denied.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
}

#[test]
fn a_change_that_the_watch_did_not_bring_stops_approvals_within_the_window() {
    let lost = |text: &str| Fault::Drop(text.to_owned());
    let broken = || Fault::Replace("\"type\":\"".to_owned(), r#"{"type":"DELETED","object":{"metadata":"#.to_owned());
    let table: &[(&str, (&str, Fault))] = &[
        ("deleted-lost", ("csrpolicies", lost("DELETED"))),
        ("deleted-silence", ("csrpolicies", Fault::Silence)),
        ("deleted-garbled", ("csrpolicies", broken())),
        ("created-lost", ("csrguardrails", lost("created-lost"))),
        ("created-silence", ("csrguardrails", Fault::Silence)),
        ("created-garbled", ("csrguardrails", broken())),
    ];
    let bench = Bench::start();
    // What changes stands on the second page of its list.
    for index in 0..=100 {
        let (name, signer) = (format!("a-{index:03}"), "example.org/nobody");
        bench
            .api
            .must("POST", POLICIES, Some(&serde_json::from_str(&policy(&name, signer, Value::Null)).unwrap()))
            .unwrap();
        let mut limits: Value = serde_json::from_str(&guardrail(&name, &permits())).unwrap();
        limits["spec"]["match"] = json!({ "signerNames": [signer] });
        bench.api.must("POST", GUARDRAILS, Some(&limits)).unwrap();
    }
    bench.each(table, |case, (plural, fault)| {
        case.is_approved(&case.file("before"));
        let second = |call: &Call| call.lists(plural) && call.path.contains("&continue=e");
        assert!(case.proxy.calls().iter().any(second), "{}", case.story());
        let watched = (*plural).to_owned();
        let injected = case.proxy.inject(move |call| call.watches(&watched), fault.clone());
        if *plural == "csrpolicies" {
            case.delete_policy();
        } else {
            case.create_guardrail(&forbids());
        }
        std::thread::sleep(WINDOW);
        let name = case.file("after");
        std::thread::sleep(Duration::from_secs(3));
        assert!(case.sent(&name).is_empty(), "{}", case.story());
        assert!(!bench.conditions(&name).contains(&"Approved".to_owned()), "{}", case.story());
        drop(injected);
        if *plural == "csrpolicies" {
            case.create_policy();
        } else {
            case.delete_guardrail();
        }
        // Denied by the guardrail it may be, if the watch brought that first.
        let decided = eventually("it is decided", LIMIT, || {
            let conditions = bench.conditions(&name);
            anyhow_if(!conditions.is_empty(), "it is pending").map(|()| conditions)
        });
        decided.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
        case.is_approved(&case.file("later"));
    });
    // A schema that is older only once the pages were read: what they held may have been pruned.
    let case = Case::start(&bench, "schema-behind", &["--leader-elect=false"]);
    case.is_approved(&case.file("before"));
    let last_page = Mutex::new(None::<Instant>);
    let behind = move |call: &Call| {
        let mut last_page = last_page.lock().unwrap();
        if call.path.contains("&continue=e") {
            *last_page = Some(Instant::now());
        }
        reads_schema(call) && last_page.is_some_and(|at| at.elapsed() < Duration::from_secs(1))
    };
    let injected = case.proxy.inject(behind, Fault::Body(r#"{"paths":{}}"#.to_owned()));
    std::thread::sleep(WINDOW);
    let name = case.file("during");
    case.is_pending_after(&name, Duration::from_secs(5));
    drop(injected);
    case.is_approved(&name);
}

#[test]
fn an_approval_that_fails_is_tried_again_with_patience_and_recorded_once() {
    let table: &[(&str, (Fault, u64))] = &[
        ("put-409", (answers(409), 6)),
        ("put-404", (answers(404), 6)),
        ("put-403", (answers(403), 6)),
        ("put-422", (answers(422), 6)),
        ("put-500", (answers(500), 6)),
        ("put-503", (answers(503), 6)),
        ("put-504", (answers(504), 6)),
        ("put-429", (Fault::Answer(429, Some(3)), 6)),
        ("put-reset", (Fault::Reset, 6)),
        ("put-hangs", (Fault::Hang, 12)),
        ("put-slow", (Fault::Delay(Duration::from_secs(9)), 12)),
        ("put-held", (Fault::Hold, 12)),
    ];
    let bench = Bench::start();
    bench.each(table, |case, (fault, seconds)| {
        case.is_approved(&case.file("before"));
        let injected = case.proxy.inject(Call::approves, fault.clone());
        let name = case.file("during");
        std::thread::sleep(Duration::from_secs(*seconds));
        let sent = case.sent(&name);
        assert!(sent.len() > 1, "{}", case.story());
        let at_least = if matches!(fault, Fault::Answer(429, _)) { 3.0 } else { 0.9 };
        for two in sent.windows(2) {
            let wait = (two[1].at - two[0].at).as_secs_f64();
            assert!(wait > at_least, "tried again after {wait:.2} s\n{}", case.story());
        }
        assert_eq!(bench.conditions(&name), [""; 0], "{}", case.story());
        // A failed one keeps nobody else waiting, once it works again.
        drop(injected);
        case.is_approved(&case.file("later"));
        case.is_approved(&name);
        case.is_recorded_once(&name);
    });
}

#[test]
fn an_approval_whose_answer_is_lost_is_recorded_once() {
    let table: &[(&str, Fault)] = &[("lost-answer", Fault::HoldAnswer)];
    let bench = Bench::start();
    bench.each(table, |case, fault| {
        case.is_approved(&case.file("before"));
        let injected = case.proxy.inject(Call::approves, fault.clone());
        let name = case.file("during");
        case.is_approved(&name);
        case.is_recorded_once(&name);
        drop(injected);
        assert_eq!(case.sent(&name).len(), 1, "{}", case.story());
    });
}

#[test]
fn the_log_names_the_policy_as_it_was_reviewed() {
    let bench = Bench::start();
    let case = Case::start(&bench, "changed", &["--leader-elect=false"]);
    case.is_approved(&case.file("before"));
    let held = case.proxy.inject(Call::approves, Fault::HoldAnswer);
    let name = case.file("during");
    case.is_approved(&name);
    let other = json!({ "spec": { "allow": { "expirationSeconds": { "max": 7_776_000 } } } });
    bench.api.must("PATCH", &format!("{POLICIES}/changed"), Some(&other)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    drop(held);
    case.is_recorded_once(&name);
    let decisions = case.controller.decisions();
    let line = decisions.iter().find(|line| line["name"] == name.as_str()).unwrap();
    assert_eq!(line["policy_generation"], 1, "{line}");
}

impl Case<'_> {
    /// It has one condition, one line in the log, one count and one Event.
    #[track_caller]
    pub(super) fn is_recorded_once(&self, name: &str) {
        let lines = || self.controller.decisions().iter().filter(|line| line["name"] == name).count();
        let recorded = eventually(&format!("{name} is recorded"), LIMIT, || {
            anyhow_if(lines() > 0, "it is not in the log")?;
            let events = self.bench.cluster.events(name, "Approved")?;
            anyhow_if(events.len() == 1, &format!("{events:?}"))
        });
        recorded.unwrap_or_else(|error| panic!("{error:#}\n{}", self.story()));
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(lines(), 1, "{}", self.story());
        assert_eq!(self.bench.conditions(name), ["Approved"]);
    }
}

#[test]
fn what_is_only_told_never_holds_a_decision_back() {
    let events = |call: &Call| call.method == "POST" && call.path.contains("/events");
    let status = |call: &Call| call.method == "PATCH" && call.path.contains("/status?");
    let permissions = |call: &Call| call.path.contains("selfsubjectaccessreviews");
    let table: &[(&str, (OnCall, Fault))] = &[
        ("status-500", (status, answers(500))),
        ("status-hangs", (status, Fault::Hang)),
        ("status-409", (status, answers(409))),
        ("events-403", (events, answers(403))),
        ("events-hang", (events, Fault::Hang)),
        ("events-429", (events, Fault::Answer(429, Some(30)))),
        ("permissions-500", (permissions, answers(500))),
        ("permissions-hang", (permissions, Fault::Hang)),
    ];
    let bench = Bench::start();
    bench.each(table, |case, (on, fault)| {
        let injected = case.proxy.inject(*on, fault.clone());
        case.create_guardrail(&permits());
        case.touch(POLICIES);
        for number in 0..5 {
            case.is_approved(&case.file(&number.to_string()));
        }
        drop(injected);
    });
}

#[test]
fn without_the_lease_nothing_is_approved_until_it_is_there_again() {
    let on: OnCall = |call| call.path.contains("/leases/");
    let writes: OnCall = |call| call.path.contains("/leases/") && call.method == "PUT";
    let table: &[(&str, (OnCall, Fault))] = &[
        ("lease-hangs", (on, Fault::Hang)),
        ("lease-500", (on, answers(500))),
        ("lease-reset", (on, Fault::Reset)),
        ("put-hangs", (writes, Fault::Hang)),
        ("put-409", (writes, answers(409))),
        ("put-403", (writes, answers(403))),
    ];
    let bench = Bench::start();
    bench.may_have_any_lease();
    let option = |name: &str| format!("--lease-name={name}");
    bench.each_with(option, table, |case, (on, fault)| {
        case.is_approved(&case.file("before"));
        let injected = case.proxy.inject(*on, fault.clone());
        // The holder may act for ten seconds after its last renewal began.
        std::thread::sleep(WINDOW);
        let name = case.file("during");
        case.is_pending_after(&name, Duration::from_secs(3));
        drop(injected);
        case.is_approved(&name);
        // Somebody else takes it.
        let path = format!("{LEASES}/{}", case.name);
        let taken = json!({ "spec": { "holderIdentity": "somebody-else" } });
        bench.api.must("PATCH", &path, Some(&taken)).unwrap();
        eventually("it knows", LIMIT, || anyhow_if(!case.controller.leads(), "it believes that it leads")).unwrap();
        let name = case.file("taken");
        case.is_pending_after(&name, Duration::from_secs(5));
        // Nobody renews it, so it comes back.
        case.is_approved(&name);
    });
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/countersign-system/leases";

impl Bench {
    /// So that each of several controllers has one of its own.
    pub(super) fn may_have_any_lease(&self) {
        let verbs = ["create", "role", "leases", "--verb=get,create,update", "--resource=leases", NAMESPACE];
        self.cluster.admin.run(&verbs).unwrap();
        let account = "--serviceaccount=countersign-system:countersign";
        self.cluster.admin.run(&["create", "rolebinding", "leases", "--role=leases", account, NAMESPACE]).unwrap();
    }
}

#[test]
fn without_the_crds_nothing_is_approved_until_they_are_back() {
    let bench = Bench::start();
    let case = Case::start(&bench, "crds", &["--leader-elect=false", "--policy-settle=0s"]);
    case.create_guardrail(&permits());
    case.is_approved(&case.file("before"));
    for (kind, plural) in [("CSRGuardrail", "csrguardrails"), ("CSRPolicy", "csrpolicies")] {
        let crd = format!("crd/{plural}.countersign.dev");
        bench.cluster.admin.run(&["delete", &crd]).unwrap();
        let noticed = eventually("it notices", LIMIT, || {
            let answer = case.controller.http("/readyz")?;
            anyhow_if(answer.contains("not installed"), &answer)
        });
        noticed.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
        let name = case.file(plural);
        case.is_pending_after(&name, Duration::from_secs(4));
        // A controller that starts now waits, too.
        let late = bench.cluster.start_replica(
            &format!("late-{plural}"),
            &["--leader-elect=false", &format!("--managed-signer={}", case.signer)],
        );
        case.is_pending_after(&name, Duration::from_secs(3));
        drop(late);
        bench.cluster.admin.run(&["apply", "--server-side", "--force-conflicts", "-f", "crds"]).unwrap();
        bench.cluster.admin.run(&["wait", "--for=condition=Established", "--timeout=30s", &crd]).unwrap();
        let back = eventually(&format!("{kind} is served again"), LIMIT, || {
            if kind == "CSRGuardrail" {
                case.try_create(GUARDRAILS, &case.guardrail(&permits()))
            } else {
                case.try_create_policy()
            }
        });
        back.unwrap();
        case.is_approved(&name);
    }
}

/// A finalizer on one guardrail holds the CRD back, while the others are gone already.
#[test]
fn while_a_crd_is_being_deleted_nothing_is_approved() {
    let bench = Bench::start();
    let case = Case::start(&bench, "ending", &["--leader-elect=false", "--policy-settle=0s"]);
    case.create_guardrail(&permits());
    let mut held = case.guardrail(&permits());
    held["metadata"] = json!({ "name": format!("{}-held", case.name), "finalizers": ["example.com/held"] });
    case.try_create(GUARDRAILS, &held).unwrap();
    case.is_approved(&case.file("before"));
    let admin = &bench.cluster.admin;
    let crd = "crd/csrguardrails.countersign.dev";
    admin.run(&["delete", crd, "--wait=false"]).unwrap();
    let gone = eventually("a guardrail is gone", LIMIT, || {
        let output = admin.output(&["get", "csrguardrail", &case.name], "")?;
        anyhow_if(!output.status.success(), "it is there")
    });
    gone.unwrap();
    let name = case.file("ending");
    case.is_pending_after(&name, Duration::from_secs(6));
    let answer = case.controller.http("/readyz").unwrap();
    assert!(answer.contains("the CRD of CSRGuardrail is being deleted"), "{answer}");
    let held = format!("csrguardrail/{}-held", case.name);
    admin.run(&["patch", &held, "--type=merge", "--patch", r#"{"metadata":{"finalizers":null}}"#]).unwrap();
    admin.run(&["wait", "--for=delete", "--timeout=30s", crd]).unwrap();
    admin.run(&["apply", "--server-side", "--force-conflicts", "-f", "crds"]).unwrap();
    admin.run(&["wait", "--for=condition=Established", "--timeout=30s", crd]).unwrap();
    case.is_approved(&name);
}

impl Case<'_> {
    fn try_create(&self, path: &str, object: &Value) -> testbed::Result<()> {
        self.bench.api.must("POST", path, Some(object)).map(drop)
    }

    pub(super) fn try_create_policy(&self) -> testbed::Result<()> {
        self.try_create(POLICIES, &serde_json::from_str(&policy(&self.name, &self.signer, Value::Null))?)
    }
}

#[test]
fn an_api_server_that_does_not_stream_lists_is_asked_for_whole_ones() {
    let bench = Bench::start();
    let case = Case::start(&bench, "whole", &["--leader-elect=false"]);
    case.is_approved(&case.file("before"));
    let refused = case.proxy.inject(|call| call.path.contains("sendInitialEvents"), answers(422));
    let cut = case.proxy.inject_times(|call| call.watches("certificatesigningrequests"), Fault::CutInLine, 1);
    let cuts = case.proxy.inject_times(|call| call.watches("csrguardrails"), Fault::CutInLine, 1);
    let names: Vec<String> = (0..30).map(|number| case.file(&number.to_string())).collect();
    case.create_guardrail(&permits());
    for name in &names {
        case.is_approved(name);
    }
    for kind in ["certificatesigningrequests", "csrguardrails"] {
        let whole = |call: &Call| call.lists(kind) && !call.path.contains('?');
        assert!(case.proxy.calls().iter().any(whole), "{}", case.story());
    }
    case.delete_guardrail();
    case.create_guardrail(&forbids());
    std::thread::sleep(Duration::from_millis(500));
    let name = case.file("forbidden");
    let denied = eventually("it is denied", LIMIT, || anyhow_if(bench.conditions(&name) == ["Denied"], "it is not"));
    denied.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
    drop((refused, cut, cuts));
}

#[test]
fn a_watch_that_falls_silent_is_noticed() {
    let bench = Bench::start();
    let case = Case::start(&bench, "silence", &["--leader-elect=false"]);
    case.is_approved(&case.file("before"));
    let watches: OnCall = |call| call.watches("certificatesigningrequests");
    let silent = case.proxy.inject_times(watches, Fault::Silence, 1);
    let name = case.file("during");
    let since = Instant::now();
    let approved = eventually("it is approved", Duration::from_secs(120), || {
        let conditions = bench.conditions(&name);
        anyhow_if(conditions == ["Approved"], "it is pending")
    });
    approved.unwrap_or_else(|error| panic!("{error:#}\n{}", case.story()));
    let took = since.elapsed();
    assert!(took < Duration::from_secs(100), "{took:?}");
    // One that brings nothing but a bookmark each minute is not taken for silent.
    let others = case.proxy.calls_since(since, |call| call.watches("csrguardrails"));
    assert!(took > Duration::from_secs(70) && others.is_empty(), "{took:?}\n{}", case.story());
    drop(silent);
}
