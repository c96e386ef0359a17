//! `countersign lint`.

use serde_json::Value;

use super::{Ended, countersign};

/// A policy that nothing is to be said about.
pub const POLICY: &str = "\
apiVersion: countersign.dev/v1alpha1
kind: CSRPolicy
metadata: { name: own-name }
spec:
  onViolation: Deny
  match:
    signerNames: [kubernetes.io/kube-apiserver-client]
    requestors:
    - groups: [developers]
      credential: NotClientCertificate
  allow:
    subject:
      commonName: { from: Requestor }
    usages: { allowed: [client auth] }
    expirationSeconds: { max: 86400 }
    dnsNames: { allowed: [\"*.example.com\"], min: 1 }
    validations:
    - { name: short, expression: \"csr.subject.commonName.size() <= 32\" }
";

fn lint(arguments: &[&str], text: &str) -> Ended {
    let arguments: Vec<&str> = ["lint"].iter().chain(arguments).chain(&["-"]).copied().collect();
    countersign(&arguments, text.as_bytes())
}

/// The most likely mistakes: what stands in the good policy, what somebody writes instead, and what
/// tells a newcomer how to mend it.
pub const MISTAKES: [(&str, &str, &str); 28] = [
    (
        "signerNames: [kubernetes.io/kube-apiserver-client]",
        "signerNames: [kube-apiserver-client]",
        "write, for example, kubernetes.io/kube-apiserver-client",
    ),
    ("signerNames:", "signerName:", "did you mean signerNames?"),
    (
        "    signerNames: [kubernetes.io/kube-apiserver-client]\n",
        "",
        "state match.signerNames, for example [kubernetes.io/kube-apiserver-client]",
    ),
    (
        "    requestors:\n    - groups: [developers]\n      credential: NotClientCertificate\n",
        "",
        "state match.requestors, for example [{groups: [platform-onboarding]}]",
    ),
    (
        "- groups: [developers]\n      credential: NotClientCertificate",
        "- {}",
        "a requestor needs at least one of users, groups or serviceAccounts; for everybody write groups",
    ),
    ("- groups: [developers]", "- group: [developers]", "did you mean groups?"),
    ("groups: [developers]", "groups: developers", "a list is needed, not a text: write [\"developers\"]"),
    (
        "groups: [developers]",
        "serviceAccounts: [builder]",
        "a service account is namespace/name in lower case, either part with *; for example ci/runner",
    ),
    ("NotClientCertificate", "notClientCertificate", "did you mean \"NotClientCertificate\"?"),
    ("max: 86400", "max: 24h", "a whole number is needed, not a text: write 86400, without quotes or unit"),
    ("max: 86400", "max: 60*60", "a whole number is needed, not a text: write 3600, without quotes or unit"),
    ("max: 86400", "max: \"86400\"", "write 86400, without quotes or unit"),
    (
        "{ max: 86400 }",
        "{}",
        "state expirationSeconds.max, the longest lifetime in seconds that may be approved, for example 2592000",
    ),
    (
        "    expirationSeconds: { max: 86400 }\n",
        "",
        "state allow.expirationSeconds, for example {max: 2592000} for 30 days",
    ),
    ("expirationSeconds:", "expiration:", "did you mean expirationSeconds?"),
    ("max: 86400", "max: 60", "60 is below the least value, 600"),
    ("allowed: [client auth]", "allowed: [clientAuth]", "did you mean \"client auth\"?"),
    ("allowed: [client auth]", "patterns: [client auth]", "did you mean allowed?"),
    ("allowed: [client auth]", "allowed: []", "name at least one usage, for example client auth, or remove the list"),
    ("from: Requestor", "from: requestor", "did you mean \"Requestor\"?"),
    ("commonName:", "cn:", "did you mean commonName?"),
    (
        "    subject:\n      commonName: { from: Requestor }\n",
        "    commonName: { from: Requestor }\n",
        "did you mean spec.allow.subject.commonName?",
    ),
    ("  onViolation: Deny\n", "  requestors: [{ groups: [developers] }]\n", "did you mean spec.match.requestors?"),
    (
        "\"csr.subject.commonName.size() <= 32\"",
        "true",
        "an expression is a text: put it into quotes, because YAML takes this for true",
    ),
    ("dnsNames: { allowed", "sans: { allowed", "did you mean dnsNames?"),
    (
        "\"*.example.com\"",
        "\".example.com\"",
        "no dot at either end; * stands for one label or a part of one, for example *.dev.example.com",
    ),
    (
        "csr.subject.commonName",
        "csr.commonName",
        "csr has no field commonName; it has signerName, usages, expirationSeconds, subject",
    ),
    ("onViolation: Deny", "onViolation: Reject", "possible are Deny, LeavePending"),
];

#[test]
fn the_most_likely_mistakes_are_told_with_a_place_and_what_to_write() {
    let Ended(status, out, err) = lint(&["--deny-hazards"], POLICY);
    assert_eq!((status, out.as_str(), err.as_str()), (0, "1 object: nothing to say\n", ""));
    let docs = std::fs::read_to_string("docs/mistakes.md").unwrap();
    for (good, bad, expected) in MISTAKES {
        assert!(POLICY.contains(good), "{good}");
        let Ended(status, out, err) = lint(&[], &POLICY.replacen(good, bad, 1));
        assert_eq!(status, 1, "{bad}: {out}{err}");
        assert!(out.contains("error [not-ready] CSRPolicy own-name") && out.contains(expected), "{bad}: {out}");
        assert!(
            docs.contains(&format!(" | {} |", expected.replace('|', "\\|"))),
            "{expected} is not in docs/mistakes.md"
        );
        // With a line, not only with a file.
        let place = out.lines().next().unwrap().split(':').nth(1).unwrap();
        assert!(place.parse::<u32>().is_ok_and(|line| line > 3), "{bad}: {out}");
    }
}

/// What the API server refuses or drops of the head of an object, which is not in the schema.
#[test]
fn the_head_of_an_object_is_looked_at_too() {
    for (good, bad, place, expected) in [
        (
            "name: own-name",
            "name: Own_Name",
            "3:19: error",
            "metadata.name: a name is lower case letters, digits, - and .",
        ),
        ("name: own-name", "name: a.-b", "3:19: error", "a letter or digit at both ends of each part"),
        (
            "name: own-name",
            "name: own-name, namespace: dev",
            "3:40: error",
            "metadata.namespace: a CSRPolicy is in no namespace and speaks about requests of the whole cluster",
        ),
        ("onViolation: Deny", "onViolation: yes", "5:16: error", "YAML reads this as true: put it into quotes"),
        ("[developers]", "[\"on\", on]", "9:22: error", "spec.match.requestors[0].groups[1]: a text is needed"),
        (
            "kind: CSRPolicy",
            "kind: CSRPolcy",
            "2:7",
            "countersign.dev/v1alpha1 has no kind CSRPolcy; did you mean CSRPolicy?",
        ),
        (
            "countersign.dev/v1alpha1\nkind: CSRPolicy",
            "countersign.dev\nkind: CSRPolcy",
            "2:7",
            "countersign.dev/v1alpha1 has no kind CSRPolcy; did you mean CSRPolicy?",
        ),
        ("kind: CSRPolicy", "kind: Rule", "2:7", "there are CSRPolicy, CSRGuardrail, CSRPolicyTest"),
        (
            "countersign.dev/v1alpha1",
            "countersign.io/v1",
            "1:13",
            "a CSRPolicy has apiVersion: countersign.dev/v1alpha1",
        ),
        ("countersign.dev/v1alpha1", "countersign.dev/v1", "1:13: error", "reads countersign.dev/v1alpha1 only"),
        ("apiVersion: countersign.dev/v1alpha1\n", "", "1:1", "a CSRPolicy has apiVersion: countersign.dev/v1alpha1"),
        ("kind: CSRPolicy\n", "", "1:1", "has no kind: write kind: CSRPolicy or CSRGuardrail"),
    ] {
        assert!(POLICY.contains(good), "{good}");
        let Ended(status, out, err) = lint(&[], &POLICY.replacen(good, bad, 1));
        let said = out + &err;
        assert!(status > 0 && said.contains(&format!("-:{place}")) && said.contains(expected), "{bad}: {said}");
    }
    let Ended(status, _, err) = lint(&[], &POLICY.repeat(2));
    let expected =
        "-:19:1: is neither YAML nor JSON: apiVersion is there twice: a second object begins after a line of ---";
    assert!(status == 2 && err.contains(expected), "{err}");
    let items = POLICY.trim_end().replace('\n', "\n  ");
    let list = format!("apiVersion: countersign.dev/v1alpha1\nkind: CSRPolicyList\nitems:\n- {items}\n");
    assert_eq!(lint(&[], &list).1, "1 object: nothing to say\n");
}

#[test]
fn a_directory_is_read_whatever_the_case_of_its_endings_and_never_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("a.YAML"), POLICY).unwrap();
    std::fs::write(
        file("b.Yml"),
        POLICY.replace("own-name", "b").replace("onViolation: Deny", "onViolation: LeavePending"),
    )
    .unwrap();
    let path = directory.path().to_str().unwrap();
    assert_eq!(countersign(&["lint", path], b"").1, "2 objects: nothing to say\n");
    let made = std::process::Command::new("mkfifo").arg(file("c.yaml")).status().unwrap();
    assert!(made.success());
    let output = std::process::Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_countersign"), "lint", path])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("c.yaml: is a pipe, a socket or a device, and read only where it is named itself"), "{err}");
}

/// Whoever forgets to indent `mode: Audit` must not get a policy that decides.
#[test]
fn fields_beside_spec_are_mistakes() {
    for (good, bad, place, expected) in [
        (
            "spec:",
            "mode: Audit\nspec:",
            "4:7",
            "mode: Kubernetes knows no such field here, and drops it: it belongs below spec",
        ),
        (
            "{ name: own-name }",
            "{ name: own-name, mode: Audit }",
            "3:35",
            "metadata.mode: Kubernetes knows no such field",
        ),
        ("spec:", "signerNames: [a]\nspec:", "4:14", "and drops it; did you mean spec.match.signerNames?"),
        ("spec:", "foo: { bar: 1 }\nspec:", "4:6", "foo: Kubernetes knows no such field here, and drops it: remove it"),
    ] {
        let text = POLICY.replacen(good, bad, 1);
        let Ended(status, out, err) = lint(&[], &text);
        assert!(
            status == 1 && out.contains(&format!("-:{place}: error [not-ready]")) && out.contains(expected),
            "{out}{err}"
        );
    }
    let labelled = POLICY.replace("{ name: own-name }", "{ name: own-name, labels: { a: b }, annotations: {} }");
    assert_eq!(lint(&[], &(labelled + "status: {}\n")).0, 0);
}

#[test]
fn a_number_of_seconds_is_told_however_it_is_written() {
    for (written, seconds) in [
        ("3600.0", "write 3600"),
        ("3600.5", "write it without a fraction"),
        ("24 * 60 * 60", "write 86400, without quotes or unit"),
        ("1h30m", "write 5400, without quotes or unit"),
        ("2w", "write 1209600, without quotes or unit"),
        ("1y", "write, for example, 2592000"),
        ("'99999999999*60'", "write, for example, 2592000"),
    ] {
        let Ended(status, out, _) = lint(&[], &POLICY.replace("max: 86400", &format!("max: {written}")));
        assert!(status == 1 && out.contains("a whole number is needed") && out.contains(seconds), "{written}: {out}");
    }
}

#[test]
fn an_expression_without_quotes_is_told_from_one_that_is_not_there() {
    let bare = |expression: &str| lint(&[], &POLICY.replace("\"csr.subject.commonName.size() <= 32\"", expression)).1;
    let out = bare("!csr.dnsNames.isEmpty()");
    assert!(out.contains("put it into quotes, because YAML takes what begins with ! for a tag"), "{out}");
    let out = bare("csr.usages.all(u, u == 'client auth')");
    assert!(out.contains("put the whole of it into quotes, because YAML takes a comma between braces"), "{out}");
    let out = bare("{ a: b }");
    assert!(out.contains("put it into quotes, because YAML takes brackets and braces"), "{out}");
}

#[test]
fn a_list_in_the_place_of_an_object_is_answered_with_the_object() {
    for (good, bad, expected) in [
        ("{ allowed: [client auth] }", "[client auth]", "write { allowed: [\"client auth\"] }"),
        ("{ from: Requestor }", "dev", "write { allowed: [\"dev\"] }"),
        (
            "- groups: [developers]\n      credential: NotClientCertificate",
            "- developers",
            "write { groups: [\"developers\"] }",
        ),
    ] {
        let Ended(status, out, _) = lint(&[], &POLICY.replacen(good, bad, 1));
        assert!(status == 1 && out.contains(expected), "{out}");
    }
}

#[test]
fn a_caret_stands_under_the_slip_in_an_expression() {
    let Ended(_, out, _) = lint(&[], &POLICY.replace("commonName.size()", "commonName.length()"));
    let expected = "line 1, column 24: there is no function length\n      csr.subject.commonName.length() <= 32\n                             ^";
    assert!(out.contains(expected), "{out}");
    // Also behind quotes, which are shown with a backslash.
    let quoted = POLICY.replace("\"csr.subject.commonName.size() <= 32\"", "'csr.signerName != \"\" && csr.nothing'");
    let Ended(_, out, _) = lint(&[], &quoted);
    let lines: Vec<&str> = out.lines().collect();
    let line = lines.iter().position(|line| line.trim_start().starts_with('^')).unwrap();
    assert_eq!(lines[line].find('^'), lines[line - 1].find("nothing"), "{out}");
}

#[test]
fn hazards_are_denied_from_the_severity_that_is_asked_for() {
    let info = POLICY.replace(
        "commonName: { from: Requestor }",
        "commonName: { from: Requestor }\n      organizations: { allowed: [ops] }",
    );
    let warning = POLICY.replace("max: 86400", "max: 31536000");
    let high = POLICY.replace("from: Requestor", "allowed: [\"*\"]");
    for (text, code, levels) in [
        (&info, "foreign-group", ["info", "", ""]),
        (&warning, "long-lifetime", ["info", "warning", ""]),
        (&high, "any-user-name", ["info", "warning", "high"]),
    ] {
        let Ended(status, out, _) = lint(&[], text);
        assert!(status == 0 && out.contains(code) && out.contains("instead: "), "{out}");
        for (level, denies) in ["info", "warning", "high"].into_iter().zip(levels) {
            let Ended(status, ..) = lint(&[&format!("--deny-hazards={level}")], text);
            assert_eq!(status == 1, !denies.is_empty(), "{code} {level}");
        }
    }
}

#[test]
fn a_severity_may_stand_behind_a_space_and_a_path_may_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("info.yaml");
    let info = POLICY.replace(
        "commonName: { from: Requestor }",
        "commonName: { from: Requestor }\n      organizations: { allowed: [ops] }",
    );
    std::fs::write(&path, info).unwrap();
    let path = path.to_str().unwrap();
    for (arguments, status, expected) in [
        (vec!["--deny-hazards", path], 1, "1 info"),
        (vec!["--deny-hazards", "info", path], 1, "1 info"),
        (vec!["--deny-hazards", "warning", path], 0, "1 info"),
        (vec!["--deny-hazards=warning", path], 0, "1 info"),
        (vec![path, "--deny-hazards"], 1, "1 info"),
        (vec!["--deny-hazards", "warn", path], 2, "warn: is neither a severity (info, warning, high) nor a file"),
        (vec!["--deny-hazards"], 2, "give the files or directories"),
        (vec![], 2, "PATH"),
    ] {
        let Ended(ended, out, err) = countersign(&[&["lint"], arguments.as_slice()].concat(), b"");
        assert!(ended == status && (out + &err).contains(expected), "{arguments:?}: {ended} {expected}");
    }
}

#[test]
fn what_never_matches_is_told_as_the_page_says() {
    let docs = std::fs::read_to_string("docs/hazards.md").unwrap();
    let names = "commonName: { from: Requestor }";
    let dns = "dnsNames: { allowed: [\"*.example.com\"], min: 1 }";
    for (good, bad, written, expected) in [
        ("kube-apiserver-client]", "kubelet-servng]", "signerNames: [kubernetes.io/kubelet-servng]", "no-such-signer"),
        ("kube-apiserver-client]", "legacy-unknown]", "signerNames: [kubernetes.io/legacy-unknown]", "no-such-signer"),
        ("[developers]", "[\"^dev-.*$\"]", "groups: [\"^dev-.*$\"]", "regular-expression"),
        (
            names,
            "commonName: { allowed: [\"a:*\"], denied: [\"(root|admin)\"] }",
            "denied: [\"(root\\|admin)\"]",
            "regular-expression",
        ),
        (dns, "uris: { allowed: [\"example.com/*\"] }", "uris: { allowed: [\"example.com/*\"] }", "matches-nothing"),
        (dns, "emailAddresses: { allowed: [\"*\"] }", "emailAddresses: { allowed: [\"*\"] }", "matches-nothing"),
        ("[\"*.example.com\"]", "[10.0.0.1]", "dnsNames: { allowed: [10.0.0.1] }", "matches-nothing"),
        ("groups: [developers]", "serviceAccounts: [ci/runner]", "serviceAccounts: [ci/runner]", "reserved-requestor"),
    ] {
        assert!(POLICY.contains(good), "{good}");
        let Ended(status, out, err) = lint(&["--deny-hazards=warning"], &POLICY.replacen(good, bad, 1));
        assert!(status == 1 && out.contains(&format!("warning [{expected}]")), "{bad}: {out}{err}");
        let row = docs.lines().find(|line| line.contains(written)).unwrap_or_else(|| panic!("{written}"));
        assert!(row.contains(&format!("`{expected}`")), "{row}");
    }
}

#[test]
fn programs_read_json_and_sarif() {
    let bad = POLICY.replace("max: 86400", "max: 31536000").replace("usages:", "usage:");
    let Ended(status, out, _) = lint(&["-o", "json"], &bad);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["kind"]), (1, &"LintReport".into()));
    let finding = &report["findings"][0];
    assert_eq!(finding["code"], "not-ready");
    assert_eq!((&finding["name"], &finding["source"]), (&"own-name".into(), &"-".into()));
    assert!(finding["line"].as_u64().unwrap() > 3 && finding["instead"].is_null());

    let Ended(status, out, _) = lint(&["-o", "sarif"], &POLICY.replace("max: 86400", "max: 31536000"));
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &sarif["version"]), (0, &"2.1.0".into()));
    let run = &sarif["runs"][0];
    let rules: Vec<&str> =
        run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    let result = &run["results"][0];
    assert!(rules.contains(&result["ruleId"].as_str().unwrap()));
    assert_eq!((&result["ruleId"], &result["level"]), (&"long-lifetime".into(), &"warning".into()));
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 15);
}

#[test]
fn what_cannot_be_read_is_no_finding_but_status_2() {
    let Ended(status, _, err) = countersign(&["lint", "/nowhere"], b"");
    assert!(status == 2 && err.contains("/nowhere"), "{err}");
    let Ended(status, out, err) = lint(&[], "kind: [");
    assert_eq!((status, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
    let Ended(status, _, err) = lint(&[], "kind: Pod\napiVersion: v1\n");
    assert!(status == 2 && err.contains("holds no CSRPolicy"), "{err}");
}

#[test]
fn reports_have_what_could_not_be_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("good.yaml"), POLICY).unwrap();
    std::fs::write(directory.path().join("bad.yaml"), "kind: [\n").unwrap();
    let path = directory.path().to_str().unwrap();
    let Ended(status, out, _) = countersign(&["lint", "-o", "json", path], b"");
    let report: Value = serde_json::from_str(&out).unwrap();
    let problem = &report["problems"][0];
    assert_eq!((status, &report["summary"]["objects"], &problem["line"]), (2, &1.into(), &1.into()), "{out}");
    assert!(problem["source"].as_str().unwrap().ends_with("bad.yaml") && problem["message"].is_string());
    let Ended(_, out, _) = countersign(&["lint", "-o", "sarif", path], b"");
    let sarif: Value = serde_json::from_str(&out).unwrap();
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notification = &invocation["toolExecutionNotifications"][0];
    assert_eq!(notification["locations"][0]["physicalLocation"]["region"]["startLine"], 1);
    let Ended(_, out, _) = lint(&["-o", "sarif"], POLICY);
    let sarif: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(sarif["runs"][0]["invocations"][0]["executionSuccessful"], true);
}

#[test]
fn a_path_is_a_uri_in_sarif() {
    let directory = tempfile::tempdir().unwrap();
    let policy = std::fs::read_to_string("examples/policies/developers.yaml").unwrap();
    let name = "a b#c?%41:\u{eb}~-_.yaml";
    std::fs::write(directory.path().join(name), policy).unwrap();
    std::fs::write(directory.path().join("not yaml.yaml"), "[").unwrap();
    let Ended(_, out, err) = countersign(&["lint", "-o", "sarif", directory.path().to_str().unwrap()], b"");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let run = &report["runs"][0];
    let uri =
        |of: &Value| of["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_owned();
    let directory = directory.path().display();
    assert_eq!(uri(&run["results"][0]), format!("{directory}/a%20b%23c%3F%2541%3A%C3%AB~-_.yaml"));
    assert_eq!(uri(&run["invocations"][0]["toolExecutionNotifications"][0]), format!("{directory}/not%20yaml.yaml"));
}
