//! `countersign test`.

use super::{Ended, countersign};

const SUITE: &str = "\
apiVersion: countersign.dev/v1alpha1
kind: CSRPolicyTest
policies: [examples/policies]
requestors:
  portal: { username: portal, groups: [platform-onboarding] }
tests:
- name: a month
  requestor: portal
  request:
    signerName: kubernetes.io/kube-apiserver-client
    usages: [client auth]
    expirationSeconds: 86400
    subject: { commonName: amy, organizations: [developers] }
  expect: { decision: Approve, policy: developers }
";

fn test(arguments: &[&str], suite: &str) -> Ended {
    let arguments: Vec<&str> = ["test"].iter().chain(arguments).chain(&["-"]).copied().collect();
    countersign(&arguments, suite.as_bytes())
}

#[test]
fn the_suites_of_the_repository_pass() {
    let Ended(status, out, err) = countersign(&["test", "examples/tests"], b"");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("0 failed"), "{out}");
    let Ended(status, out, err) = countersign(&["test", "examples/fields"], b"");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains(" 0 failed"), "{out}");
    let Ended(status, out, err) = countersign(&["test", "examples/kubelets"], b"");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains(" 0 failed"), "{out}");
    // Other commands pass suites over.
    let Ended(status, out, err) = countersign(&["lint", "examples/policies", "examples/tests"], b"");
    assert_eq!(status, 0, "{out}{err}");
}

#[test]
fn a_failure_shows_what_was_expected_and_what_was_found() {
    let Ended(status, out, err) = test(&[], SUITE);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("  ok    a month\n1 test: 1 passed, 0 failed"), "{out}");

    let wrong =
        SUITE.replace("decision: Approve, policy: developers", "decision: Deny, violations: [expiration-too-long]");
    let Ended(status, out, _) = test(&[], &wrong);
    assert_eq!(status, 1);
    for line in [
        "  FAIL  a month",
        "        decision: expected Deny, found Approve",
        "        violations: expected expiration-too-long, found (none)",
        "        because CSRPolicy developers permits the request",
        "1 test: 0 passed, 1 failed",
    ] {
        assert!(out.contains(line), "{line} is not in\n{out}");
    }
    let Ended(status, out, _) = test(&["-o", "junit"], &wrong);
    assert_eq!(status, 1);
    assert!(
        out.contains("tests=\"1\" failures=\"1\"") && out.contains("<failure message=\"decision: expected"),
        "{out}"
    );
    let Ended(status, out, _) = test(&["--filter", "a year"], &wrong);
    assert!(status == 2 && out.contains("0 tests"), "{out}");
    // Violations that are not listed are found too.
    let more = SUITE
        .replace("developers] }", "developers] }\n    dnsNames: [a.example.com]")
        .replace("decision: Approve, policy: developers", "decision: Deny, violations: []");
    let Ended(status, out, _) = test(&[], &more);
    assert!(status == 1 && out.contains("violations: expected (none), found dns-name-not-allowed"), "{out}");
}

#[test]
fn every_key_and_every_kind_of_san_makes_a_request_that_decodes() {
    for key in ["P256", "P384", "Ed25519"] {
        let sans = format!(
            "subject: {{ commonName: amy, organizations: [a, b], organizationalUnits: [u] }}\n    dnsNames: [a.example.com]\n    ipAddresses: [10.0.0.1, \"2001:db8::1\"]\n    uris: [\"spiffe://example.com/x\"]\n    emailAddresses: [a@example.com]\n    key: {key}"
        );
        let all = SUITE
            .replace("subject: { commonName: amy, organizations: [developers] }", &sans)
            .replace("decision: Approve, policy: developers", "decision: Deny, violations: [subject-organization-not-allowed, subject-organizational-unit-not-allowed, dns-name-not-allowed, ip-address-not-allowed, uri-not-allowed, email-address-not-allowed]");
        let Ended(status, out, err) = test(&[], &all);
        assert_eq!(status, 0, "{key}: {out}{err}");
    }
}

#[test]
fn a_suite_that_cannot_run_is_told_with_a_place_and_status_2() {
    for (good, bad, expected) in [
        ("policies: [", "polices: [", "3:10: unknown field `polices`"),
        ("[examples/policies]", "[examples/nowhere]", "examples/nowhere"),
        ("requestor: portal", "requestor: portl", "8:14: a month: there is no requestor portl; requestors has portal"),
        ("decision: Approve", "decision: Approved", "14:23: Approved is no decision: write Approve, Deny, NoOpinion"),
        ("expirationSeconds: 86400", "expirationSeconds: 24h", "12:24: invalid type: string \"24h\", expected i32"),
        ("    usages:", "    usage:", "11:12: unknown field `usage`, expected one of `signerName`, `usages`"),
        ("requestor: portal", "requestor: { user: x }", "8:22: unknown field `user`, expected one of `username`"),
        ("requestor: portal", "requestor: [portal]", "8:14: invalid type: sequence, expected a name or an object"),
        (
            "  expect:",
            "  signerName: example.com/foo\n  expect:",
            "14:15: a month: the request is described here and has its own signerName",
        ),
        (
            "kind: CSRPolicyTest",
            "kind: CSRPolicyTst",
            "2:7: countersign.dev/v1alpha1 has no kind CSRPolicyTst; did you mean CSRPolicyTest?",
        ),
        (
            "requestors:",
            "signerMaxSeconds: { kubernetes.io/*: 600 }\nrequestors:",
            "4:19: kubernetes.io/* stands for several signers: write the name of each",
        ),
        (
            "apiVersion: countersign.dev/v1alpha1\nkind: CSRPolicyTest",
            "apiVersion: countersgn.dev/v1alpha1\nkind: CSRPolicyTets",
            "2:7: countersign.dev/v1alpha1 has no kind CSRPolicyTets; did you mean CSRPolicyTest?",
        ),
        ("requestors:", "signerMaxSeconds: { vpn: 600 }\nrequestors:", "4:19: vpn is not the name of a signer: write"),
        ("requestors:", "signerMaxSeconds: { a.b/c: 0 }\nrequestors:", "4:19: 0 is no lifetime: write seconds, from 1"),
        ("countersign.dev/v1alpha1", "countersign.dev/v1", "is not countersign.dev/v1alpha1"),
        ("  requestor: portal\n", "", "say who files the request"),
        (
            "expirationSeconds: 86400",
            "expirationSeconds: 599",
            "12:24: a month: the API server takes no expirationSeconds below 600, which is ten minutes, and this is 599",
        ),
        ("subject: {", "ipAddresses: [x]\n    subject: {", "x in ipAddresses is no IP address"),
        ("tests:", "serviceCIDRs: [10.96.0.1/12]\ntests:", "6:15: it has host bits"),
        ("tests:", "nodes: [examples/nowhere]\ntests:", "examples/nowhere"),
        ("tests:", "nodes: [{ name: a }, { name: a }]\ntests:", "6:8: Node a is there twice"),
        ("tests:", "nodes: [{ name: a, adresses: [] }]\ntests:", "6:30: unknown field `adresses`, expected one of"),
        (
            "tests:",
            "nodes: [{ name: a, addresses: [{ type: IP, address: a }] }]\ntests:",
            "unknown variant `IP`, expected one of `Hostname`",
        ),
        ("  requestor: portal", "  created: noon\n  requestor: portal", "8:12: "),
    ] {
        let Ended(status, out, err) = test(&[], &SUITE.replacen(good, bad, 1));
        assert_eq!(status, 2, "{bad}: {out}{err}");
        assert!(err.contains(expected) && !err.contains("panicked"), "{bad}: {err}");
    }
    let Ended(status, _, err) = countersign(&["test", "examples/policies"], b"");
    assert!(status == 2 && err.contains("holds no CSRPolicyTest"), "{err}");
}

/// Every entry of the cookbook is a good example: its suites pass, and lint has no warning.
#[test]
fn the_cookbook_passes_and_is_clean() {
    let Ended(status, out, err) = countersign(&["test", "examples/cookbook"], b"");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let Ended(status, out, err) = countersign(&["lint", "--deny-hazards=warning", "examples/cookbook"], b"");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    // Kubelets renew with what they have, for up to a year: that is a hazard which their policies are about.
    let Ended(_, out, err) = countersign(&["lint", "examples/kubelets"], b"");
    assert_eq!(err, "");
    for code in ["error", "high", "foreign-host", "unlimited-claim", "never-a-node", "all-of-nothing"] {
        assert!(!out.contains(&format!("[{code}]")) && !out.contains(&format!(": {code} ")), "{out}");
    }
    // Every policy and guardrail decides some test.
    let docs = std::fs::read_to_string("docs/cookbook.md").unwrap();
    for entry in std::fs::read_dir("examples/cookbook").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "tests" {
            assert!(docs.contains(&format!("(../examples/cookbook/{name})")), "docs/cookbook.md does not have {name}");
        }
    }
}

#[test]
fn two_tests_have_two_names_and_two_files() {
    let (head, case) = SUITE.split_once("tests:\n").unwrap();
    let Ended(status, _, err) = test(&[], &format!("{head}tests:\n{case}{case}"));
    assert!(status == 2 && err.contains("15:9: a month is there twice: keep one"), "{err}");
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("made/for/it");
    let arguments = ["--save-requests", saved.to_str().unwrap()];
    let Ended(status, out, err) = test(&arguments, SUITE);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(saved.join("a-month.json").is_file());
    let other = case.replace("a month", "a/month");
    let Ended(status, _, err) = test(&arguments, &format!("{head}tests:\n{case}{other}"));
    assert!(status == 2 && err.contains("a-month.json is written by another test already"), "{err}");
}

#[test]
fn what_a_test_leaves_out_of_bare_pem_is_told_in_the_words_of_a_suite() {
    let directory = tempfile::tempdir().unwrap();
    let bare = "examples/fields/requests";
    let request = std::fs::read_dir(bare).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    std::fs::copy(request, directory.path().join("a.csr")).unwrap();
    let (head, _) = SUITE.split_once("tests:\n").unwrap();
    let head = head.replace("examples/policies", std::fs::canonicalize("examples/policies").unwrap().to_str().unwrap());
    let suite = directory.path().join("suite.yaml");
    for (more, expected) in [
        ("  requestor: portal\n", "is a bare PEM request: it says no signer: write signerName: beside request:"),
        (
            "  signerName: a.b/c\n",
            "is a bare PEM request: it does not say who files it: write requestor: beside request:",
        ),
        ("  requestor: portal\n  signerName: a.b/c\n  expirationSeconds: 60\n", "takes no expirationSeconds below 600"),
    ] {
        let text = format!("{head}tests:\n- name: a\n  request: a.csr\n{more}  expect: {{ decision: Approve }}\n");
        std::fs::write(&suite, text).unwrap();
        let Ended(status, _, err) = countersign(&["test", suite.to_str().unwrap()], b"");
        assert!(status == 2 && err.contains(expected) && !err.contains("--"), "{err}");
    }
}

#[test]
fn a_manifest_that_says_something_else_than_its_test_is_refused() {
    let file = |more: &str| {
        let (head, _) = SUITE.split_once("tests:\n").unwrap();
        format!(
            "{head}tests:\n- name: a\n  request: examples/requests/amy.yaml\n{more}  expect: {{ decision: Approve }}\n"
        )
    };
    let Ended(status, out, err) = test(&[], &file("  signerName: kubernetes.io/kube-apiserver-client\n"));
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    for field in ["signerName: example.com/foo", "usages: [server auth]", "expirationSeconds: 600"] {
        let Ended(status, _, err) = test(&[], &file(&format!("  {field}\n")));
        let name = field.split(':').next().unwrap();
        assert!(status == 2 && err.contains(&format!("amy.yaml has another {name}: remove it here")), "{err}");
    }
}
