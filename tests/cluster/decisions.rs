//! What is approved, denied and left alone, and what an approval leaves as it was.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Options, eventually};

use super::{Cluster, LIMIT, Request, anyhow_if};

/// A policy for `signer` that permits whatever the floor permits, unless `allow` says otherwise.
pub(super) fn policy(name: &str, signer: &str, changes: Value) -> String {
    let mut policy = json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": name },
        "spec": {
            "match": { "signerNames": [signer], "requestors": [{ "groups": ["system:masters"] }] },
            "allow": {
                "subject": { "commonName": { "allowed": ["*"] }, "organizations": { "allowed": ["*"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 2_592_000 },
            },
        },
    });
    if let Value::Object(changes) = changes {
        policy["spec"].as_object_mut().unwrap().extend(changes);
    }
    policy.to_string()
}

pub(super) fn guardrail(name: &str, limits: &Value) -> String {
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRGuardrail",
        "metadata": { "name": name },
        "spec": { "match": {}, "limits": limits },
    })
    .to_string()
}

#[test]
fn what_goes_beyond_is_denied_and_told_why() {
    // The API server refuses O=system:masters for one signer by itself: without that plugin it comes through.
    let disabled_admission_plugins = vec!["CertificateSubjectRestriction".to_owned()];
    let options = Options { disabled_admission_plugins, ..Options::default() };
    let mut cluster = Cluster::with(&options);
    cluster.apply_examples_unchecked();
    cluster.run(&["--managed-signer=*"]);
    let own = policy(
        "own",
        "kubernetes.io/kube-apiserver-client",
        json!({
            "match": {
                "signerNames": ["kubernetes.io/kube-apiserver-client"],
                "requestors": [{ "users": ["bootstrapper"] }],
            },
            "allow": {
                "subject": { "commonName": { "from": "Requestor" } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
            },
        }),
    );
    cluster.admin.apply(&own).unwrap();
    cluster.is_ready("csrpolicy/own");

    let with = |name: &str, subject: &str, change: fn(&mut Request)| {
        let mut request = Request::new(name, subject);
        change(&mut request);
        cluster.file(&request);
    };
    with("masters", "/CN=eve/O=system:masters", |_| {});
    with("masters-elsewhere", "/CN=eve/O=System:Masters", |request| request.signer = "example.com/vpn".to_owned());
    with("cluster-admins", "/CN=eve/O=kubeadm:cluster-admins", |_| {});
    with("admin", "/CN=system:admin", |_| {});
    with("service-account", "/CN=system:serviceaccount:kube-system:default", |_| {});
    with("a-year", "/CN=eve", |request| request.expiration_seconds = Some(31_536_000));
    with("no-lifetime", "/CN=eve", |request| request.expiration_seconds = None);
    with("off-the-list", "/CN=eve", |request| request.signer = "example.com/vpn".to_owned());
    with("rsa-1024", "/CN=eve", |request| request.bits = 1024);
    let mut other = Request::new("not-own", "/CN=somebody-else");
    other.expiration_seconds = Some(3600);
    cluster
        .admin
        .run(&["create", "clusterrole", "filer", "--verb=create", "--resource=certificatesigningrequests"])
        .unwrap();
    cluster
        .admin
        .run(&["create", "clusterrolebinding", "filer", "--clusterrole=filer", "--user=bootstrapper"])
        .unwrap();
    let manifest = other.manifest().to_string();
    eventually("bootstrapper may file", LIMIT, || {
        cluster.admin.feed(&["create", "--as=bootstrapper", "-f", "-"], &manifest)
    })
    .unwrap();

    cluster.is_denied("masters", "system:masters");
    cluster.is_denied("masters-elsewhere", "system:masters");
    cluster.is_denied("cluster-admins", "kubeadm:*");
    cluster.is_denied("admin", "reserved");
    cluster.is_denied("service-account", "reserved");
    cluster.is_denied("a-year", "at most 2592000 s (30 days)");
    cluster.is_denied("no-lifetime", "expirationSeconds is not set");
    cluster.is_denied("off-the-list", "signer example.com/vpn is not allowed");
    cluster.is_denied("rsa-1024", "1024 bits");
    cluster.is_denied("not-own", "is not the requestor's own");
}

/// OpenSSL and Java take it for a server's.
#[test]
fn server_gated_crypto_is_denied_with_server_auth() {
    const SIGNER: &str = "example.com/mtls";
    const GATED: [&str; 2] = ["microsoft sgc", "netscape sgc"];
    let mut cluster = Cluster::start();
    cluster.run(&["--managed-signer=example.com/mtls"]);
    let usages = json!({ "allowed": ["client auth", "microsoft sgc", "netscape sgc"] });
    let allow = json!({
        "subject": { "commonName": { "allowed": ["*"] } },
        "usages": usages,
        "expirationSeconds": { "max": 2_592_000 },
    });
    cluster.admin.apply(&policy("gated", SIGNER, json!({ "allow": allow }))).unwrap();
    cluster.is_ready("csrpolicy/gated");
    let file = |name: &str, usage: &str| {
        let mut request = Request::new(name, "/CN=vpn.example.com");
        (request.signer, request.usages) = (SIGNER.to_owned(), vec![usage.to_owned()]);
        cluster.file(&request);
    };
    file("permitted", GATED[0]);
    cluster.is_approved("permitted");
    cluster.admin.apply(&guardrail("no-servers", &json!({ "usages": { "denied": ["server auth"] } }))).unwrap();
    cluster.is_ready("csrguardrail/no-servers");
    for (name, usage) in ["microsoft", "netscape"].into_iter().zip(GATED) {
        file(name, usage);
        cluster.is_denied(name, &format!("usage \"{usage}\" is denied by CSRGuardrail no-servers"));
    }
    file("client", "client auth");
    cluster.is_approved("client");
}

#[test]
fn what_is_not_ours_is_left_alone_and_odd_objects_stop_nobody() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unchecked();
    // Filed before the controller starts, so that its first list brings them.
    let mut forever = Request::new("forever", "/CN=forever").manifest();
    forever["metadata"]["managedFields"] = json!([{
        "manager": "x", "operation": "Update", "apiVersion": "certificates.k8s.io/v1",
        "time": "9999-12-31T23:59:59Z", "fieldsType": "FieldsV1", "fieldsV1": {},
    }]);
    cluster
        .admin
        .feed(
            &["create", "--raw", "/apis/certificates.k8s.io/v1/certificatesigningrequests", "-f", "-"],
            &forever.to_string(),
        )
        .unwrap();
    let huge = Request::new("huge", "/CN=huge");
    let mut pem = huge.pem(tempfile::NamedTempFile::new().unwrap().path());
    pem.insert_str(0, &"\n".repeat(975_000));
    cluster.admin.create(&huge.manifest_with(&pem).to_string()).unwrap();
    cluster.file(&Request::new("a?b#c", "/CN=odd-name"));
    let mut unmanaged = Request::new("unmanaged", "/CN=eve");
    unmanaged.signer = "example.com/vpn".to_owned();
    cluster.file(&unmanaged);
    let mut serving = Request::new("serving", "/CN=eve");
    serving.signer = "kubernetes.io/kubelet-serving".to_owned();
    serving.usages = vec!["server auth".to_owned()];
    cluster.file(&serving);
    cluster.file(&Request::new("decided", "/CN=decided"));
    cluster.admin.run(&["certificate", "deny", "decided"]).unwrap();
    let before = cluster.csr("decided");

    cluster.run(&[]);
    cluster.file(&Request::new("plain", "/CN=plain/O=developers"));
    cluster.is_approved("plain");
    cluster.is_approved("forever");
    cluster.is_denied("huge", "at most 65536 are read");
    let odd = eventually("the oddly named request is decided", LIMIT, || {
        let list = cluster.admin.get(&["csr"])?;
        let items = list["items"].as_array().unwrap();
        let odd = items.iter().find(|item| item["metadata"]["name"] == "a?b#c").unwrap();
        let kind = odd["status"]["conditions"][0]["type"].clone();
        anyhow_if(!kind.is_null(), "it is pending").map(|()| kind)
    });
    assert_eq!(odd.unwrap(), "Approved");
    cluster.is_left("serving", "no policy speaks about");
    assert!(cluster.csr("unmanaged")["status"]["conditions"].is_null());
    assert_eq!(cluster.csr("decided"), before);

    // Once, also after a restart.
    cluster.controller = None;
    cluster.run(&[]);
    cluster.file(&Request::new("later", "/CN=later"));
    cluster.is_approved("later");
    assert_eq!(cluster.events("serving", "NoOpinion").unwrap().len(), 1);
    for name in ["unmanaged", "decided"] {
        for reason in ["Approved", "Denied", "NoOpinion"] {
            assert!(cluster.events(name, reason).unwrap().is_empty(), "{name} {reason}");
        }
    }
}

#[test]
fn an_approval_leaves_the_metadata_as_it_was() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unchecked();
    cluster.run(&[]);
    let mut manifest = Request::new("labelled", "/CN=labelled").manifest();
    manifest["metadata"]["generateName"] = json!("label-");
    manifest["metadata"]["labels"] = json!({ "team": "payments" });
    manifest["metadata"]["annotations"] = json!({ "example.com/ticket": "7" });
    manifest["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let uid = cluster.admin.get(&["namespace", "default"]).unwrap()["metadata"]["uid"].clone();
    let owner = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": uid });
    manifest["metadata"]["ownerReferences"] = json!([owner]);
    // More than stays in memory.
    for (name, comment) in [("labelled", ""), ("commented", &*"x".repeat(20_000))] {
        manifest["metadata"]["name"] = json!(name);
        manifest["metadata"]["annotations"]["example.com/comment"] = json!(comment);
        cluster.admin.create(&manifest.to_string()).unwrap();
        cluster.is_approved(name);
        let metadata = &cluster.csr(name)["metadata"];
        assert_eq!(metadata["generateName"], "label-");
        assert_eq!(metadata["labels"]["team"], "payments");
        assert_eq!(metadata["annotations"]["example.com/ticket"], "7");
        assert_eq!(metadata["annotations"]["example.com/comment"], comment);
        assert_eq!(metadata["finalizers"], json!(["example.com/keep"]));
        assert_eq!(metadata["ownerReferences"], json!([owner]));
    }
}

#[test]
fn nothing_is_approved_that_an_object_might_forbid() {
    let client = "kubernetes.io/kube-apiserver-client";
    let mut cluster = Cluster::start();
    cluster.run(&["--require-guardrail=must-be"]);
    let file = |name: &str| cluster.file(&Request::new(name, &format!("/CN={name}")));

    // No policies at all.
    cluster
        .admin
        .apply(&guardrail(
            "must-be",
            &json!({ "expirationSeconds": { "max": 31_536_000, "whenUnset": "SignerMaximum" } }),
        ))
        .unwrap();
    cluster.is_ready("csrguardrail/must-be");
    file("early");
    cluster.is_left("early", "no policy speaks about");

    // A policy of one team that does not compile stops nobody else's; what waited is reviewed again.
    cluster.admin.apply(&policy("all", client, Value::Null)).unwrap();
    cluster.is_approved("early");
    // What looks like system:masters passes the CRD's rules, which know no Unicode, and does not compile.
    let broken = policy(
        "broken",
        "example.com/*",
        json!({ "allow": {
            "subject": { "organizations": { "allowed": ["\u{ff53}ystem:masters"] } },
            "usages": { "allowed": ["client auth"] },
            "expirationSeconds": { "max": 600 },
        } }),
    );
    cluster.admin.apply(&broken).unwrap();
    let why = eventually("the policy is not Ready", LIMIT, || {
        let condition = cluster.admin.get(&["csrpolicy", "broken"])?["status"]["conditions"][0].clone();
        anyhow_if(condition["status"] == "False", "it has no such condition").map(|()| condition)
    })
    .unwrap();
    assert_eq!(why["reason"], "DoesNotCompile");
    assert!(why["message"].as_str().unwrap().contains("spec.allow.subject.organizations.allowed[0]"), "{why}");
    file("beside-a-broken-policy");
    cluster.is_approved("beside-a-broken-policy");

    // A guardrail with a field that this version does not know, as a later one would have it.
    cluster.serve_unknown_fields();
    let unknown = guardrail("from-later", &json!({ "uris": { "max": 0 }, "notYet": { "max": 1 } }));
    // The API server prunes the field until its handler has the new schema, a moment after it is served.
    eventually("the field is kept", LIMIT, || {
        cluster.admin.apply(&unknown)?;
        let kept = cluster.admin.get(&["csrguardrail", "from-later"])?["spec"]["limits"]["notYet"].is_object();
        anyhow_if(kept, "it is pruned")
    })
    .unwrap();
    let ready = eventually("the guardrail is not Ready", LIMIT, || {
        let condition = cluster.admin.get(&["csrguardrail", "from-later"])?["status"]["conditions"][0].clone();
        anyhow_if(condition["status"] == "False", "it has no such condition").map(|()| condition)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
    assert_eq!(ready["reason"], "UnknownField");
    assert!(ready["message"].as_str().unwrap().contains("spec.limits.notYet"), "{ready}");
    file("under-an-unknown-guardrail");
    cluster.is_left("under-an-unknown-guardrail", "from-later");

    // It goes, and the request is reviewed again; the required one goes, and everything stops.
    cluster.admin.run(&["delete", "csrguardrail", "from-later"]).unwrap();
    cluster.is_approved("under-an-unknown-guardrail");
    cluster.admin.run(&["delete", "csrguardrail", "must-be"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    file("without-the-required-one");
    cluster.is_left("without-the-required-one", "must-be");
}

#[test]
fn an_older_crd_stops_approvals_until_it_is_upgraded() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unchecked();
    cluster.run(&["--policy-settle=3s"]);
    cluster.is_ready("csrguardrail/cluster-limits");
    // As an older version would have it: without a limit, and without the rule that speaks of it.
    let limits = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/limits";
    let patch = json!([
        { "op": "remove", "path": format!("{limits}/x-kubernetes-validations") },
        { "op": "remove", "path": format!("{limits}/properties/uris") },
    ]);
    let crd = "crd/csrguardrails.countersign.dev";
    cluster.admin.run(&["patch", crd, "--type=json", "-p", &patch.to_string()]).unwrap();
    // It loses that limit on its way in, and what is left of it forbids nothing.
    let limits = json!({ "uris": { "max": 0 }, "expirationSeconds": { "max": 31_536_000, "whenUnset": "Allow" } });
    eventually("the guardrail is pruned", LIMIT, || {
        cluster.admin.run(&["delete", "csrguardrail", "pruned", "--ignore-not-found"])?;
        let arguments = ["create", "--validate=ignore", "-f", "-"];
        cluster.admin.feed(&arguments, &guardrail("pruned", &limits))?;
        let kept = cluster.admin.get(&["csrguardrail", "pruned"])?["spec"]["limits"]["uris"].is_object();
        anyhow_if(!kept, "it is kept")
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    cluster.file(&Request::new("waits", "/CN=waits"));
    eventually("the controller notices, also long before it looks by itself", Duration::from_secs(10), || {
        let answer = cluster.http("/readyz")?;
        anyhow_if(answer.contains("spec.limits.uris"), &answer)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
    std::thread::sleep(Duration::from_secs(4));
    assert!(cluster.csr("waits")["status"]["conditions"].is_null(), "{}", cluster.log());
    cluster.admin.run(&["apply", "--server-side", "--force-conflicts", "-f", "crds"]).unwrap();
    let approved = eventually("it is approved", LIMIT * 2, || {
        let csr = cluster.csr("waits");
        anyhow_if(csr["status"]["conditions"][0]["type"] == "Approved", "it is pending")
    });
    approved.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
}

#[test]
fn a_request_filed_again_under_its_name_is_another_request() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unchecked();
    cluster.run(&[]);
    let good = Request::new("swapped", "/CN=good").manifest().to_string();
    let bad = Request::new("swapped", "/CN=bad/O=kubeadm:cluster-admins").manifest().to_string();
    for round in 0..15_u64 {
        cluster.admin.create(&good).unwrap();
        // At another moment of the review each time.
        std::thread::sleep(Duration::from_millis(round * 4));
        cluster.admin.run(&["delete", "csr", "swapped", "--wait=false"]).unwrap();
        cluster.admin.create(&bad).unwrap();
        cluster.is_denied_quietly("swapped");
        cluster.admin.run(&["delete", "csr", "swapped"]).unwrap();
    }
}

#[test]
fn the_examples_get_the_same_verdicts_from_review_and_from_the_controller() {
    let mut cluster = Cluster::start();
    cluster.apply_examples_unchecked();
    cluster.run(&["--managed-signer=*"]);
    cluster
        .admin
        .run(&["create", "clusterrole", "filer", "--verb=create", "--resource=certificatesigningrequests"])
        .unwrap();
    let bind = ["create", "clusterrolebinding", "filer", "--clusterrole=filer", "--group=system:authenticated"];
    cluster.admin.run(&bind).unwrap();
    let file = |user: &str, group: &str, path: &str| {
        let (user, group) = (format!("--as={user}"), format!("--as-group={group}"));
        eventually("it can be filed", LIMIT, || {
            cluster.admin.run(&["create", &user, &group, "--as-group=system:authenticated", "-f", path])
        })
    };
    for (name, offline) in crate::cli::example_verdicts() {
        let path = format!("examples/requests/{name}.yaml");
        let (user, group) =
            if name == "unknown-requestor" { ("eve", "visitors") } else { ("portal", "platform-onboarding") };
        if name == "everything" {
            // The API server itself refuses this one for this signer.
            let refused = cluster.admin.run(&["create", "-f", &path]).unwrap_err().to_string();
            assert!(refused.contains("system:masters"), "{refused}");
            assert_eq!(offline, "Deny");
            continue;
        }
        file(user, group, &path).unwrap();
        match offline.as_str() {
            "Approve" => cluster.is_approved(&name),
            "Deny" => cluster.is_denied_quietly(&name),
            _ => cluster.is_left(&name, ""),
        }
    }
}

impl Cluster {
    /// Applies the examples before the controller is there to make them Ready.
    fn apply_examples_unchecked(&self) {
        self.admin.run(&["apply", "--server-side", "-f", "examples/policies"]).unwrap();
    }

    #[track_caller]
    fn is_denied_quietly(&self, name: &str) {
        let condition = self.decision(name);
        assert_eq!(condition["type"], "Denied", "{condition}");
    }

    /// As if the CRD of a later version were installed: it keeps fields that this one does not know.
    fn serve_unknown_fields(&self) {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/limits/properties/notYet";
        let field = json!({ "type": "object", "properties": { "max": { "type": "integer" } } });
        let patch = json!([{ "op": "add", "path": path, "value": field }]).to_string();
        self.admin.run(&["patch", "crd/csrguardrails.countersign.dev", "--type=json", "-p", &patch]).unwrap();
        eventually("the API server serves the new field", LIMIT, || {
            let explained = self.admin.run(&["explain", "csrguardrail.spec.limits.notYet"])?;
            anyhow_if(explained.contains("notYet"), &explained)
        })
        .unwrap();
    }
}

#[test]
fn expressions_decide_in_the_cluster_and_hazards_stand_in_the_status() {
    let mut cluster = Cluster::start();
    cluster.run(&[]);
    let policy = serde_json::json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": "CSRPolicy",
        "metadata": { "name": "short-names" },
        "spec": {
            "match": {
                "signerNames": ["kubernetes.io/kube-apiserver-client"],
                "requestors": [{ "groups": ["system:masters"] }],
                "conditions": [{ "name": "hour", "expression": "has(csr.expirationSeconds) && csr.expirationSeconds == 3600" }],
            },
            "allow": {
                "subject": { "commonName": { "allowed": ["*"] } },
                "usages": { "allowed": ["client auth"] },
                "expirationSeconds": { "max": 3600 },
                "validations": [{
                    "name": "short-name",
                    "expression": "csr.subject.commonName.matches('^[a-z]{1,8}$')",
                    "message": "a user name has at most eight letters",
                }],
            },
        },
    });
    cluster.admin.apply(&policy.to_string()).unwrap();
    cluster.is_ready("csrpolicy/short-names");
    let request = |name: &str, subject: &str, seconds: i32| {
        let mut request = Request::new(name, subject);
        request.expiration_seconds = Some(seconds);
        cluster.file(&request);
    };
    request("short", "/CN=amy", 3600);
    request("long", "/CN=amelia-the-first", 3600);
    request("day", "/CN=amy", 86_400);
    cluster.is_approved("short");
    cluster.is_denied("long", "a user name has at most eight letters (short-name of CSRPolicy short-names)");
    cluster.is_left("day", "no policy speaks about");

    let object = cluster.admin.get(&["csrpolicy", "short-names"]).unwrap();
    let hazards = object["status"]["hazards"].as_array().unwrap();
    assert_eq!(hazards[0]["code"], "any-user-name");
    assert_eq!(hazards[0]["path"], "spec.allow.subject.commonName.allowed");
    assert!(hazards[0]["message"].as_str().unwrap().contains("write from: Requestor"));
    let table = cluster.admin.run(&["get", "csrp"]).unwrap();
    assert!(table.contains("any-user-name"), "{table}");
    // Once it is mended, nothing is left of it.
    let patch = r#"{"spec":{"allow":{"subject":{"commonName":{"allowed":["oidc:*"]}}}}}"#;
    cluster.admin.run(&["patch", "csrpolicy", "short-names", "--type=merge", "--patch", patch]).unwrap();
    eventually("the hazard is gone", LIMIT, || {
        let object = cluster.admin.get(&["csrpolicy", "short-names"])?;
        anyhow_if(!object["status"]["hazards"].to_string().contains("any-user-name"), &object.to_string())
    })
    .unwrap();

    // An expression that does not compile: the object is not Ready, and says where.
    let patch = r#"{"spec":{"allow":{"validations":[{"name":"v","expression":"csr.subject.comonName == ''"}]}}}"#;
    cluster.admin.run(&["patch", "csrpolicy", "short-names", "--type=merge", "--patch", patch]).unwrap();
    eventually("it is not Ready", LIMIT, || {
        let object = cluster.admin.get(&["csrpolicy", "short-names"])?;
        let condition = &object["status"]["conditions"][0];
        anyhow_if(condition["status"] == "False", &condition.to_string())?;
        anyhow_if(condition["message"].to_string().contains("did you mean commonName?"), &condition.to_string())
    })
    .unwrap();
}

/// Events about requests, which have no namespace: taken in two namespaces, so those are what `--event-namespace` takes.
#[test]
fn events_are_written_to_the_two_namespaces_that_the_api_server_takes_them_in() {
    let mut cluster = Cluster::start();
    let rights = ["--set=events.namespace=kube-system", "--show-only=templates/controller/rbac.yaml"];
    cluster.admin.apply(&crate::chart::manifests(&rights)).unwrap();
    cluster.apply_examples_unseen();
    cluster.run(&["--event-namespace=kube-system"]);
    cluster.file(&Request::new("amy", "/CN=amy/O=developers"));
    cluster.is_approved("amy");
    let event = eventually("there is an Event", LIMIT, || {
        let events = cluster.admin.get(&["events.events.k8s.io", "--namespace=kube-system"])?;
        let mut about = events["items"].as_array().unwrap().iter().filter(|event| event["regarding"]["name"] == "amy");
        about.next().cloned().ok_or_else(|| std::io::Error::other(cluster.log()).into())
    });
    let mut event = event.unwrap();
    assert_eq!((&event["reason"], &event["regarding"]["namespace"]), (&json!("Approved"), &Value::Null));

    let api = cluster.plane.api().unwrap();
    for (namespace, expected) in [("default", 201), ("kube-system", 201), ("countersign-system", 422)] {
        event["metadata"] = json!({ "name": "another", "namespace": namespace });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let (status, answer) = api.call("POST", &path, Some(&event)).unwrap();
        assert_eq!(status, expected, "{answer}");
        let taken = super::live::countersign(&cluster, &["run", "--event-namespace", namespace, "--listen=nowhere"]);
        assert_eq!(taken.2.contains("only in default and kube-system"), expected == 422, "{}", taken.2);
    }
}
