//! What the chart renders is valid, over a matrix of values; what it refuses it explains.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testbed::{ControlPlane, Kubectl, Options, Tool, eventually};

use super::{BOTH, CHART, Helm, NAMESPACE, borrowed, matrix, object, objects};
use crate::cluster::{LIMIT, anyhow_if};

/// Where the CRDs of the Prometheus operator come from.
const PROMETHEUS_OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator@v0.90.1";

fn install_monitoring_crds(admin: &Kubectl) {
    let crds = testbed::go_module(PROMETHEUS_OPERATOR).unwrap().join("example/prometheus-operator-crd");
    for name in ["servicemonitors", "podmonitors", "prometheusrules"] {
        let file = crds.join(format!("monitoring.coreos.com_{name}.yaml"));
        admin.run(&["apply", "--server-side", "-f", file.to_str().unwrap()]).unwrap();
        let crd = format!("crd/{name}.monitoring.coreos.com");
        admin.run(&["wait", "--for=condition=Established", "--timeout=30s", &crd]).unwrap();
    }
}

/// Writes what the API server says about its kinds as the JSON schemas that kubeconform reads.
fn write_schemas(admin: &Kubectl, directory: &Path) {
    let get = |path: &str| -> Value { serde_json::from_str(&admin.run(&["get", "--raw", path]).unwrap()).unwrap() };
    for path in get("/openapi/v3")["paths"].as_object().unwrap().values() {
        let url = path["serverRelativeURL"].as_str().unwrap();
        let served =
            url.strip_prefix("/openapi/v3/api").is_some_and(|rest| rest.starts_with("/v1") || rest.starts_with("s/"));
        if !served {
            continue;
        }
        let mut components = get(url)["components"].clone();
        close(&mut components);
        for (name, schema) in components["schemas"].as_object().unwrap() {
            for gvk in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let text = |field: &str| gvk[field].as_str().unwrap_or_default();
                let group = text("group").split('.').next().unwrap_or_default();
                let suffix = if group.is_empty() { String::new() } else { format!("-{group}") };
                let file = format!("{}{suffix}-{}.json", text("kind").to_lowercase(), text("version"));
                let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": components });
                std::fs::write(directory.join(file), schema.to_string()).unwrap();
            }
        }
    }
}

/// No object has fields that its schema does not name.
fn close(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        let open = object.get("x-kubernetes-preserve-unknown-fields").is_some();
        if !open
            && object.get("properties").is_some_and(Value::is_object)
            && !object.contains_key("additionalProperties")
        {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
        object.values_mut().for_each(close);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(close);
    }
}

#[test]
fn the_matrix_passes_lint_kubeconform_and_a_server_side_dry_run() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let admin = plane.admin();
    install_monitoring_crds(&admin);
    // The namespace is one that enforces the Pod Security level restricted.
    admin.run(&["apply", "--server-side", "-f", "deploy/namespace.yaml"]).unwrap();
    admin.run(&["create", "serviceaccount", "approver", "--namespace", NAMESPACE]).unwrap();
    let schemas = tempfile::tempdir().unwrap();
    // The API server describes a kind some time after it serves it.
    eventually("the kinds of the operator are described", LIMIT, || {
        write_schemas(&admin, schemas.path());
        let missing = ["servicemonitor", "podmonitor", "prometheusrule"]
            .into_iter()
            .find(|kind| !schemas.path().join(format!("{kind}-monitoring-v1.json")).is_file());
        anyhow_if(missing.is_none(), missing.unwrap_or_default())
    })
    .unwrap();
    let location = format!("{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json", schemas.path().display());

    for values in matrix() {
        let values = borrowed(&values);
        let mut rendered = Vec::new();
        for tool in BOTH {
            let helm = Helm::new(tool);
            helm.run(&[&["lint", "--strict", CHART, "--kube-version=1.36.0"], &values[..]].concat());
            let text = helm.template(&values);
            let file = schemas.path().join("rendered.yaml");
            std::fs::write(&file, &text).unwrap();
            let output = Command::new(Tool::Kubeconform.path().unwrap())
                .args(["-strict", "-summary", "-schema-location", &location])
                .arg(&file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && said.contains("Invalid: 0, Errors: 0, Skipped: 0"),
                "{values:?}: {said}"
            );
            rendered.push((text.clone(), objects(&text)));
        }
        let mut sorted: Vec<Vec<String>> =
            rendered.iter().map(|(_, objects)| objects.iter().map(Value::to_string).collect()).collect();
        for objects in &mut sorted {
            objects.sort();
        }
        assert!(sorted[0] == sorted[1], "Helm 3 and Helm 4 render different objects with {values:?}");

        let (text, objects) = &rendered[1];
        let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        admin.feed(&dry, text).unwrap_or_else(|error| panic!("{values:?}: {error:#}"));

        // A pod as the Deployment would make it is admitted to the namespace.
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("pod");
        pod["metadata"]["namespace"] = json!(NAMESPACE);
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": account, "namespace": NAMESPACE } });
        admin.apply(&account.to_string()).unwrap();
        admin.feed(&dry, &pod.to_string()).unwrap_or_else(|error| panic!("{values:?}: {error:#}"));
    }

    // The examples that Artifact Hub shows are good ones.
    admin.run(&["apply", "--server-side", "-f", "crds"]).unwrap();
    let about = objects(&std::fs::read_to_string(Path::new(CHART).join("Chart.yaml")).unwrap()).remove(0);
    let examples = about["annotations"]["artifacthub.io/crdsExamples"].as_str().unwrap();
    for example in objects(examples).remove(0).as_array().unwrap() {
        eventually("the example is accepted", std::time::Duration::from_secs(20), || {
            admin.feed(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &example.to_string())
        })
        .unwrap();
    }
}

#[test]
fn wrong_values_are_refused_with_a_message_that_helps() {
    for tool in BOTH {
        let helm = Helm::new(tool);
        let refuses = |set: &str| helm.refuses(&["template", "x", CHART, "--kube-version=1.36.0", "--set", set]);
        for (set, place, why) in [
            ("signerNames={clients}", "signerNames", "does not match pattern"),
            ("signerNames={kubernetes.io/*x}", "signerNames", "does not match pattern"),
            ("replicas=two", "replicas", "integer"),
            ("image.digest=sha256:1234", "digest", "does not match pattern"),
            ("maxRequestAge=1 hour", "maxRequestAge", "does not match pattern"),
            ("metrics.port=80", "port", "1,024"),
            ("log.format=yaml", "format", "one of"),
            ("events.namespace=countersign-events", "namespace", "one of"),
            ("extraArgs={run}", "extraArgs", "does not match pattern"),
            ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable", "minimum"),
            ("nodes.enabled=maybe", "enabled", "boolean"),
            ("serviceCIDRs={10.96.0.0}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={999.0.0.0/8}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={10.96.0.0/33}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={fd00:::/108}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={fd00/108}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={12345::/108}", "serviceCIDRs", "does not match pattern"),
            ("serviceCIDRs={10.96.0.1/12}", "serviceCIDRs", "10.96.0.1/12 has host bits"),
            ("serviceCIDRs={10.96.0.0/10}", "serviceCIDRs", "10.96.0.0/10 has host bits"),
            ("serviceCIDRs={0.0.0.1/0}", "serviceCIDRs", "0.0.0.1/0 has host bits"),
            ("signerMaxSeconds.*=3600", "invalid propertyName '*'", "does not match pattern"),
            (
                r"signerMaxSeconds.kubernetes\.io/*=3600",
                "invalid propertyName 'kubernetes.io/*'",
                "does not match pattern",
            ),
            (
                r"signerMaxSeconds.example\.com/VPN=3600",
                "invalid propertyName 'example.com/VPN'",
                "does not match pattern",
            ),
            ("signerMaxSeconds.nobody=3600", "invalid propertyName 'nobody'", "does not match pattern"),
        ] {
            let said = refuses(set);
            assert!(said.contains(place) && said.to_lowercase().contains(why), "{set}: {said}");
        }
        // An empty list of names would be every signer, to RBAC.
        for empty in ["signerNames=[]", "signerNames=null"] {
            let set = ["template", "x", CHART, "--kube-version=1.36.0", "--set-json", empty];
            assert!(helm.refuses(&set).contains("signerNames"));
            let set = [&set[..], &["--skip-schema-validation"]].concat();
            let said = helm.refuses(&set);
            assert!(said.contains("name the signers that Countersign may approve for"), "{said}");
        }
        let said = refuses("metrics.serviceMonitor.enabled=true,metrics.service.enabled=false");
        assert!(said.contains("set metrics.service.enabled, or use metrics.podMonitor"), "{said}");
    }
}

/// The paths of the objects that take no other keys than the schema names, all of whose values it knows.
fn closed(path: &str, values: &Value, schema: &Value, found: &mut Vec<String>) {
    if schema["additionalProperties"] != json!(false) {
        return;
    }
    for (key, value) in values.as_object().unwrap() {
        let schema = &schema["properties"][key];
        assert!(!schema.is_null(), "the schema has no {path}{key}");
        closed(&format!("{path}{key}."), value, schema, found);
    }
    found.push(path.to_owned());
}

#[test]
fn no_unknown_key_passes_anywhere() {
    let helm = Helm::new(Tool::Helm4);
    let read = |name: &str| std::fs::read_to_string(Path::new(CHART).join(name)).unwrap();
    let values = objects(&read("values.yaml")).remove(0);
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let mut found = Vec::new();
    closed("", &values, &schema, &mut found);
    assert!(found.len() > 15, "{found:?}");
    for path in found {
        let set = format!("{path}typo=1");
        let said = helm.refuses(&["template", "x", CHART, "--kube-version=1.36.0", "--set", &set]);
        assert!(said.contains("additional properties 'typo' not allowed"), "{set}: {said}");
    }
}

/// Every value, by its path.
fn paths(path: &str, values: &Value, found: &mut Vec<String>) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}{}", key.replace('.', "\\."));
        paths(&format!("{path}."), value, found);
        found.push(path);
    }
}

/// Helm takes a value that is set to null away: then either the chart refuses, or renders what is valid.
#[test]
fn no_value_that_is_taken_away_breaks_anything() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let admin = plane.admin();
    admin.run(&["apply", "--server-side", "-f", "deploy/namespace.yaml"]).unwrap();
    let helm = Helm::new(Tool::Helm4);
    let values = objects(&std::fs::read_to_string(Path::new(CHART).join("values.yaml")).unwrap()).remove(0);
    let mut found = Vec::new();
    paths("", &values, &mut found);
    // What stands in these goes into the pod as it is.
    let passed_on = ["podSecurityContext.", "securityContext.", "resources."];
    found.retain(|path| !passed_on.iter().any(|prefix| path.starts_with(prefix)));
    let mut valid = Vec::new();
    for path in found {
        // With what is off by default and depends on it.
        let egress = if path.starts_with("networkPolicy") && !path.starts_with("networkPolicy.egress.") {
            ""
        } else {
            ",networkPolicy.egress.enabled=true"
        };
        let set = format!("{path}=null{egress}");
        let output = helm.output(&["template", "countersign", CHART, "--kube-version=1.36.0", "--set", &set]);
        if output.status.success() {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.contains("<nil>") && !text.contains("%!"), "{path}: {text}");
            let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
            admin.feed(&dry, &text).unwrap_or_else(|error| panic!("{path}: {error:#}"));
            valid.push(path);
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("missing propert") || said.contains("name the signers"), "{path}: {said}");
        }
    }
    for path in [
        "signerNames",
        "nodes",
        "serviceCIDRs",
        "networkPolicy.egress.ports",
        "maxRequestAge",
        "crds",
        "replicas",
        "metrics.rules.pendingSeconds",
    ] {
        assert!(!valid.iter().any(|valid| valid == path), "{path} can be taken away");
    }
}

/// Names that YAML would read as numbers, or that no object may have.
#[test]
fn odd_names_render_valid_objects_or_are_refused() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let admin = plane.admin();
    let helm = Helm::new(Tool::Helm4);
    let dry = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
    for (release, namespace, set) in [
        ("2024", "42", ""),
        ("my.release", "a", ""),
        ("a", "b", "fullnameOverride=1234"),
        ("a", "b", "nameOverride=1234,serviceAccount.name=7,priorityClassName=9"),
        ("a-rather-long-name-of-a-release-that-goes-on-and-on-x", "b", ""),
    ] {
        let arguments =
            ["template", release, CHART, "--kube-version=1.36.0", "--namespace", namespace, "--set-string", set];
        let text = helm.run(&arguments);
        let _ = admin.run(&["create", "namespace", namespace]);
        admin.feed(&dry, &text).unwrap_or_else(|error| panic!("{release} {set}: {error:#}"));
    }
    for set in [
        "nameOverride=Foo",
        "fullnameOverride=Foo_Bar",
        "networkPolicy.egress.cidrs={10.0.0.1/999}",
        "maxRequestAge=99999999999999999999d",
        "policySettle=1h",
        "signerNames={example.com/Foo_bar}",
        "image.repository=registry.example/x@sha256:abc",
        "metrics.rules.disabled={CountersignRequestsDenied}",
        "metrics.rules.latencySeconds=3600",
        "extraLabels.rbac\\.authorization\\.k8s\\.io/aggregate-to-edit=x",
    ] {
        helm.refuses(&["template", "x", CHART, "--kube-version=1.36.0", "--set", set]);
    }
    let said = helm.refuses(&["template", "x", CHART, "--kube-version=1.36.0", "--set", "serviceAccount.create=false"]);
    assert!(said.contains("give serviceAccount.name"), "{said}");
    let set = "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.interval=5s";
    let said = helm.refuses(&["template", "x", CHART, "--kube-version=1.36.0", "--set", set]);
    assert!(said.contains("scrapeTimeout 10s is longer than interval 5s"), "{said}");

    // A Lease that the replicas make themselves.
    let own = helm.objects(&["--set=rbac.createLease=true"]);
    assert!(!own.iter().any(|object| object["kind"] == "Lease"));
    let rules = object(&own, "Role", "countersign")["rules"].as_array().unwrap().clone();
    assert_eq!(rules[1], json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] }));
}

#[test]
fn values_arrive_where_they_belong() {
    let helm = Helm::new(Tool::Helm4);
    let objects = helm.objects(&["--values", "charts/countersign/ci/everything-values.yaml"]);
    let spec = &object(&objects, "Deployment", "countersign")["spec"];
    assert_eq!(spec["replicas"], 3);
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    assert!(container["image"].as_str().unwrap().starts_with("countersign/countersign@sha256:0000"));
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["serviceAccountName"], "approver");
    let arguments: Vec<&str> = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    for argument in [
        "--require-guardrail=cluster-limits",
        "--reserved-prefix=eks:",
        "--signer-max-seconds=example.com/mtls=86400",
        "--service-cidr=10.96.0.0/12",
        "--service-cidr=fd00:10:96::/112",
        "--listen=[::]:9402",
        "--log-format=text",
    ] {
        assert!(arguments.contains(&argument), "{argument} is not in {arguments:?}");
    }
    // The program takes them all; an unreadable kubeconfig is the first thing that stops it.
    let mut program = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let output = program.args(&arguments).arg("--kubeconfig=/nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot find a cluster"), "{said}");
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["team"], "platform", "{object}");
        assert_eq!(object["metadata"]["annotations"]["example.com/owner"], "platform", "{object}");
    }
    let rule = object(&objects, "PrometheusRule", "countersign");
    let rules: Vec<&Value> = rule["spec"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(
        rules.iter().all(|rule| rule["labels"]["team"] == "platform" && rule["alert"] != "CountersignDecisionsSlow")
    );

    let one = helm.objects(&["--set=replicas=1"]);
    assert!(!one.iter().any(|object| object["kind"] == "PodDisruptionBudget"), "it would stop every eviction");
    let notes = |set: &str| helm.run(&["install", "x", CHART, "--dry-run=client", "--set", set]);
    assert!(notes("signerNames={*}").contains("WARNING: signerNames contains \"*\""));
    assert!(!notes("replicas=2").contains("WARNING"));
    assert!(notes("crds.keep=false").contains("An uninstall deletes the CRDs"));
}
