//! The offline commands.

mod fields;
pub mod inspect;
pub mod lint;
mod live;
mod output;
mod scale;
mod suites;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// How a command ended: status, standard output, standard error.
struct Ended(i32, String, String);

fn countersign(arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended(output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn review(arguments: &[&str], input: &[u8]) -> Ended {
    let arguments: Vec<&str> = ["review", "--policies", "examples/policies"].iter().chain(arguments).copied().collect();
    countersign(&arguments, input)
}

/// The decision about each example, by name.
pub fn example_verdicts() -> Vec<(String, String)> {
    let Ended(status, out, err) = review(&["-o", "json", "--managed-signer", "*", "examples/requests"], b"");
    assert_eq!((status, err.as_str()), (1, ""));
    let list: Value = serde_json::from_str(&out).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let reviews = list["reviews"].as_array().unwrap();
    reviews.iter().map(|review| (text(&review["name"]), text(&review["decision"]))).collect()
}

#[test]
fn the_main_job_runs_on_the_examples() {
    let Ended(status, out, err) = review(&["--exit-zero", "examples/requests"], b"");
    assert_eq!((status, err.as_str()), (0, ""));
    for line in [
        "Approve    amy ",
        "Deny       everything ",
        "Undecided  unknown-requestor ",
        "2 approved, 7 denied, 2 undecided",
    ] {
        assert!(out.contains(line), "{line:?} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "colours although it is no terminal");
    let Ended(_, coloured, _) = review(&["--exit-zero", "--color=always", "examples/requests"], b"");
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31mDeny"), "{coloured:?}");
}

#[test]
fn the_exit_status_tells_the_verdict() {
    let status = |file: &str| review(&[file], b"").0;
    assert_eq!(status("examples/requests/amy.yaml"), 0);
    assert_eq!(status("examples/requests/everything.yaml"), 1);
    assert_eq!(status("examples/requests/unknown-requestor.yaml"), 3);
    assert_eq!(status("examples/requests/missing.yaml"), 2);
    assert_eq!(countersign(&["review"], b"").0, 2);
    assert_eq!(countersign(&["inspect", "examples/requests/amy.yaml"], b"").0, 0);
    assert_eq!(countersign(&["inspect", "examples/requests/everything.yaml"], b"").0, 1);
}

#[test]
fn what_a_manifest_asks_cert_manager_for_in_annotations_is_denied() {
    let amy = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    for (annotation, code) in [
        ("request-is-ca: \"false\"", None),
        ("request-duration: 720h0m0s", None),
        ("request-is-ca: \"true\"", Some("certificate-authority")),
        ("request-duration: 87600h", Some("duration-annotation")),
    ] {
        let annotations = format!("metadata:\n  annotations: {{ experimental.cert-manager.io/{annotation} }}\n");
        let manifest = amy.replace("metadata:\n", &annotations);
        let Ended(status, out, err) = review(&["-o", "json", "-"], manifest.as_bytes());
        let list: Value = serde_json::from_str(&out).unwrap();
        let found = list["reviews"][0]["violations"][0]["code"].as_str();
        assert_eq!((status, found, err.as_str()), (i32::from(code.is_some()), code, ""), "{annotation}");
    }
}

#[test]
fn json_says_what_is_asked_for_and_why_it_is_refused() {
    let Ended(_, out, _) = review(&["-o", "json", "examples/requests/a-year.yaml"], b"");
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["apiVersion"], "countersign.dev/v1alpha1");
    assert_eq!(list["kind"], "ReviewList");
    assert_eq!(list["summary"]["denied"], 1);
    let review = &list["reviews"][0];
    assert_eq!(review["source"], "examples/requests/a-year.yaml");
    assert_eq!(review["reasonCode"], "policy-violated");
    assert_eq!(review["violations"][0]["code"], "expiration-too-long");
    assert_eq!(review["violations"][0]["kind"], "CSRPolicy");
    assert_eq!(review["violations"][0]["field"], "expirationSeconds");
    assert_eq!(review["request"]["subject"]["commonName"], "amy");
    assert_eq!(review["request"]["key"]["bits"], 2048);
}

#[test]
fn junit_fails_what_is_denied_and_skips_what_is_undecided() {
    let Ended(status, out, _) = review(&["-o", "junit", "examples/requests"], b"");
    assert_eq!(status, 1);
    for part in [
        "tests=\"11\" failures=\"7\" skipped=\"2\"",
        "<testcase classname=\"examples/requests/amy.yaml\" name=\"amy\"></testcase>",
        "<failure type=\"policy-violated\" message=\"expirationSeconds asks for",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
}

#[test]
fn a_policy_in_mode_audit_that_matches_is_named_where_none_decides() {
    let policy = fs::read_to_string("examples/policies/developers.yaml").unwrap();
    let bad = Bad::new();
    let audit = bad.file("audit.yaml", policy.replace("spec:\n", "spec:\n  mode: Audit\n").as_bytes());
    let reason = |policies: &Path, request: &str| {
        let request = format!("examples/requests/{request}.yaml");
        let arguments = ["review", "-o", "json", "--policies", policies.to_str().unwrap(), &request];
        let list: Value = serde_json::from_str(&countersign(&arguments, b"").1).unwrap();
        let review = &list["reviews"][0];
        assert_eq!(review["reasonCode"], "no-policy-matches");
        review["reason"].as_str().unwrap().to_owned()
    };
    let speaks = "speaks about this signer and this requestor, so a person decides";
    for (request, says) in [("amy", "permits"), ("a-year", "does not permit")] {
        let expected =
            format!("no policy in mode Enforce {speaks}; in mode Audit, CSRPolicy developers {says} the request");
        assert_eq!(reason(&audit, request), expected);
    }
    assert_eq!(reason(&audit, "unknown-requestor"), format!("no policy {speaks}"));
}

/// A guardrail may be among what could not be read, and it may have forbidden anything.
#[test]
fn nothing_is_approved_while_a_policy_file_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    fs::copy("examples/policies/developers.yaml", directory.path().join("developers.yaml")).unwrap();
    let review = |format: &str| {
        countersign(&["review", "--exit-zero", "-o", format, "--policies", path, "examples/requests/amy.yaml"], b"")
    };
    assert!(review("text").1.contains("1 approved, 0 denied, 0 undecided"));
    for unread in ["kind: [\n", "apiVersion: countersign.dev/v1alpha1\nkind: CSRGuardrial\nmetadata: { name: a }\n"] {
        fs::write(directory.path().join("limits.yaml"), unread).unwrap();
        let Ended(status, out, err) = review("text");
        assert!(
            status == 2 && out.contains("0 approved, 0 denied, 1 undecided") && err.contains("limits.yaml"),
            "{out}"
        );
        assert!(out.contains("CSRGuardrail that could not be read might forbid the request"), "{out}");
        let list: Value = serde_json::from_str(&review("json").1).unwrap();
        assert_eq!(list["summary"]["approved"], 0);
        assert!(list["problems"][0]["source"].as_str().unwrap().ends_with("limits.yaml"), "{list}");
        let out = review("junit").1;
        assert!(
            out.contains("tests=\"1\" errors=\"1\"") && out.contains("<error message=") && out.contains("<skipped"),
            "{out}"
        );
    }
    // Also where nothing at all could be read.
    fs::remove_file(directory.path().join("developers.yaml")).unwrap();
    let Ended(status, out, _) = review("text");
    assert!(status == 2 && out.contains("0 approved, 0 denied, 1 undecided"), "{out}");
}

#[test]
fn a_path_of_policies_without_one_is_told_beside_others_that_have_some() {
    let bad = Bad::new();
    let pod = bad.file("pod.yaml", b"kind: Pod\napiVersion: v1\n");
    let directory = tempfile::tempdir().unwrap();
    fs::copy(&pod, directory.path().join("pod.yaml")).unwrap();
    for path in [pod.as_path(), directory.path(), Path::new("examples/tests")] {
        let path = path.to_str().unwrap();
        for policies in [["examples/policies", path], [path, "examples/policies"]] {
            let options = policies.map(|path| format!("--policies={path}"));
            let arguments = ["review", &options[0], &options[1], "--exit-zero", "examples/requests/amy.yaml"];
            let Ended(status, out, err) = countersign(&arguments, b"");
            assert_eq!((status, err), (2, format!("error: {path}: holds no CSRPolicy and no CSRGuardrail\n")));
            assert!(out.contains("0 approved"), "{out}");
        }
        // Whatever changed is linted, among it what is no policy.
        assert_eq!(countersign(&["lint", "examples/policies", path], b"").0, 0);
    }
}

#[test]
fn the_options_of_a_cluster_need_live() {
    let Ended(status, _, err) = review(&["--context", "production", "examples/requests/amy.yaml"], b"");
    assert!(status == 2 && err.contains("need --live"), "{err}");
}

#[test]
fn a_cluster_that_does_not_answer_is_named_in_one_sentence() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
         clusters: [{{ name: a, cluster: {{ server: \"https://amy:secret@127.0.0.1:{port}\" }} }}]\nusers: [{{ name: a, user: {{}} }}]\n"
    );
    let bad = Bad::new();
    let path = bad.file("config", config.as_bytes());
    let path = path.to_str().unwrap();
    for arguments in [["review", "--live"], ["explain", "amy"]] {
        let Ended(status, out, err) = countersign(&[&arguments[..], &["--kubeconfig", path]].concat(), b"");
        let expected = format!(
            "error: cannot reach the API server https://127.0.0.1:{port}: Connection refused (os error 111); is it up, and \
             is it the one that you mean? --context, --kubeconfig and KUBECONFIG choose another\n"
        );
        assert_eq!((status, out.as_str(), err), (2, "", expected));
    }
}

#[test]
fn a_bare_request_takes_its_context_from_the_options() {
    let manifest = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let encoded = manifest.lines().find_map(|line| line.strip_prefix("  request: ")).unwrap();
    let decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut decode = decode.unwrap();
    decode.stdin.take().unwrap().write_all(encoded.as_bytes()).unwrap();
    let pem = decode.wait_with_output().unwrap().stdout;
    let options = [
        "--signer-name=kubernetes.io/kube-apiserver-client",
        "--username=portal",
        "--group=platform-onboarding",
        "--usage=client auth",
        "--expiration-seconds=86400",
        "-",
    ];
    assert_eq!(review(&options, &pem).0, 0);
    let Ended(status, _, err) = review(&["-"], &pem);
    assert_eq!(status, 2);
    assert!(err.contains("--signer-name"), "{err}");
}

/// What `review` says about a bare request that openssl makes with `arguments`.
fn review_of(arguments: &[&str]) -> String {
    let key = tempfile::NamedTempFile::new().unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-nodes", "-subj", "/CN=amy/O=developers", "-keyout"]).arg(key.path());
    let output = openssl.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let options = [
        "-o=json",
        "--signer-name=kubernetes.io/kube-apiserver-client",
        "--username=portal",
        "--group=platform-onboarding",
        "--usage=client auth",
        "--expiration-seconds=86400",
        "-",
    ];
    let Ended(_, out, err) = review(&options, &output.stdout);
    assert_eq!(err, "");
    let list: Value = serde_json::from_str(&out).unwrap();
    let review = &list["reviews"][0];
    let code = review["violations"][0]["code"].as_str();
    code.or(review["decision"].as_str()).unwrap().to_owned()
}

#[test]
fn every_algorithm_above_the_floor_verifies_and_every_other_is_refused_by_name() {
    let rsa = ["-newkey", "rsa:2048"];
    let pss = ["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let with = |arguments: &[&'static str], more: &[&'static str]| review_of(&[arguments, more].concat());
    for hash in ["-sha256", "-sha384", "-sha512"] {
        assert_eq!(with(&rsa, &[hash]), "Approve", "RSA {hash}");
        assert_eq!(with(&pss, &[hash]), "Approve", "RSASSA-PSS {hash}");
    }
    for hash in ["-sha256", "-sha384"] {
        assert_eq!(with(&p256, &[hash]), "Approve", "P-256 {hash}");
        assert_eq!(with(&p384, &[hash]), "Approve", "P-384 {hash}");
    }
    assert_eq!(review_of(&["-newkey", "ed25519"]), "Approve");
    assert_eq!(with(&rsa, &["-sha1"]), "signature-unsupported");
    assert_eq!(
        with(&rsa, &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:30"]),
        "signature-unsupported"
    );
    assert_eq!(with(&p256, &["-sha512"]), "signature-unsupported");
    assert_eq!(review_of(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]), "key-unsupported");
    assert_eq!(review_of(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"]), "key-unsupported");
    assert_eq!(review_of(&["-newkey", "ed448"]), "key-unsupported");
    assert_eq!(with(&p256, &["-pkeyopt", "ec_param_enc:explicit"]), "key-malformed");
}

#[test]
fn a_number_that_kubectl_reads_otherwise_is_no_number() {
    let bad = Bad::new();
    let policy = fs::read_to_string("examples/policies/developers.yaml").unwrap();
    for number in ["0777777", "2_592_000"] {
        let path = bad.file("octal.yaml", policy.replace("max: 2592000", &format!("max: {number}")).as_bytes());
        let Ended(status, _, err) =
            countersign(&["review", "--policies", path.to_str().unwrap(), "examples/requests/amy.yaml"], b"");
        assert!(status == 2 && err.contains("spec.allow.expirationSeconds.max"), "{number}: {err}");
    }
    let escape = bad.file("escape.yaml", b"\"\\e[31m\": 1\n\"\\e[31m\": 2\n");
    let Ended(status, _, err) = review(&[escape.to_str().unwrap()], b"");
    assert!(status == 2 && !err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn lists_and_several_documents_are_reviewed_one_by_one() {
    let amy = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let adam = fs::read_to_string("examples/requests/adam.yaml").unwrap();
    let Ended(status, out, _) = review(&["-"], format!("---\n{amy}---\n{adam}").as_bytes());
    assert!(status == 0 && out.contains("-#1") && out.contains("-#2"), "{out}");
    let item = |text: &str| format!("- {}", text.trim_end().replace('\n', "\n  "));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}\n{}\n", item(&amy), item(&adam));
    let Ended(status, out, err) = review(&["-"], list.as_bytes());
    assert!(status == 0 && out.contains("2 approved"), "{out}{err}");
}

struct Bad {
    directory: tempfile::TempDir,
}

impl Bad {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[track_caller]
    fn says(path: &Path, expected: &str) {
        let Ended(status, out, err) = review(&[path.to_str().unwrap()], b"");
        assert_eq!(status, 2, "{out}{err}");
        assert!(err.starts_with("error: ") && err.contains(expected), "{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

/// Passed over, it would leave an exit status that says that everything is approved.
#[test]
fn a_request_that_is_not_read_as_one_is_told() {
    let bad = Bad::new();
    let amy = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let kind = "kind: CertificateSigningRequest\n";
    let write = |name: &str, with: &str| bad.file(name, format!("{amy}---\n{}", amy.replace(kind, with)).as_bytes());
    Bad::says(&write("none.yaml", ""), "has no kind: write kind: CertificateSigningRequest");
    for slip in ["CertificateSigningReqest", "CertificateSigningRequests", "certificatesigningrequest", "CSR"] {
        let expected = format!("there is no kind {slip}; write CertificateSigningRequest");
        Bad::says(&write("slip.yaml", &format!("kind: {slip}\n")), &expected);
    }
    let foreign =
        amy.replace(kind, "kind: CertificateSigningReqest\n").replace("certificates.k8s.io/v1", "cert.k8s.io/v1");
    Bad::says(&bad.file("foreign.yaml", format!("{amy}---\n{foreign}").as_bytes()), "there is no kind");
    // Every file that is named holds a request, whatever others hold; a directory may hold other things.
    let pod = bad.file("pod.yaml", b"apiVersion: v1\nkind: Pod\n");
    let Ended(status, _, err) = review(&["examples/requests/amy.yaml", pod.to_str().unwrap()], b"");
    assert!(status == 2 && err.contains("pod.yaml: holds no CertificateSigningRequest"), "{err}");
    let others = Bad::new();
    others.file("amy.yaml", amy.as_bytes());
    for (name, group, kind) in [
        ("pod.yaml", "v1", "Pod"),
        ("cert-manager.yaml", "cert-manager.io/v1", "CertificateRequest"),
        ("certificate.yaml", "cert-manager.io/v1", "Certificate"),
        ("bundle.yaml", "certificates.k8s.io/v1beta1", "ClusterTrustBundle"),
    ] {
        others.file(name, format!("apiVersion: {group}\nkind: {kind}\n").as_bytes());
    }
    let Ended(status, _, err) = review(&[others.directory.path().to_str().unwrap()], b"");
    assert_eq!((status, err.as_str()), (0, ""));
}

/// The guardrail forbids what the policies permit, so that passing it over is seen.
#[test]
fn a_guardrail_counts_however_deep_its_list_is_and_is_told_where_it_is_misspelt() {
    let bad = Bad::new();
    let with = |guardrail: &str| {
        let guardrail = bad.file("guardrail.yaml", guardrail.as_bytes());
        review(&["--policies", guardrail.to_str().unwrap(), "examples/requests/amy.yaml"], b"")
    };
    let guardrail = |version: &str, kind: &str| {
        format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: none}}, spec: {{match: {{}}, limits: {{subject: \
             {{commonName: {{denied: ['*']}}}}}}}}}}"
        )
    };
    let good = guardrail("countersign.dev/v1alpha1", "CSRGuardrail");
    let list = |items: &str| format!("{{apiVersion: v1, kind: List, items: [{items}]}}");
    for nested in [list(&good), list(&list(&good)), list(&list(&list(&format!("{}, {good}", list("")))))] {
        let Ended(status, out, err) = with(&nested);
        assert_eq!((status, err.as_str()), (1, ""), "{nested}: {out}");
    }
    for (broken, place) in [
        ("{apiVersion: v1, kind: List}".to_owned(), "1:1"),
        (format!("{{apiVersion: v1, kind: List, items: {good}}}"), "1:37"),
        (format!("{{apiVersion: v1, kind: CSRGuardrailList, items: {good}}}"), "1:49"),
        (list(&format!("{{kind: List, Items: [{good}]}}")), "1:38"),
    ] {
        let Ended(status, out, err) = with(&broken);
        assert!(status == 2 && err.contains(&format!("{place}: is a List without a list")), "{broken}: {out}{err}");
    }
    for version in ["countersign.dev/v1alpha1", "countersgn.dev/v1alpha1", "v1"] {
        for kind in ["CSRGuardRail", "CSRGuardrails", "CSRGaurdrail", "csrguardrail"] {
            let Ended(status, out, err) = with(&guardrail(version, kind));
            let expected = format!("has no kind {kind}; did you mean CSRGuardrail?");
            assert!(status == 2 && err.contains(&expected), "{version} {kind}: {out}{err}");
        }
        for (kind, meant) in [("CSRPolcy", "CSRPolicy"), ("CSRPolicyTests", "CSRPolicyTest")] {
            let Ended(status, out, err) = with(&guardrail(version, kind));
            assert!(status == 2 && err.contains(&format!("did you mean {meant}?")), "{version} {kind}: {out}{err}");
        }
    }
    // Objects of others, beside ours.
    for other in [guardrail("kuadrant.io/v1", "DNSPolicy"), "{apiVersion: example.com/v1, kind: AllowList}".to_owned()]
    {
        let Ended(status, out, err) = with(&format!("{good}\n---\n{other}"));
        assert_eq!((status, err.as_str()), (1, ""), "{out}");
    }
}

/// As kubectl applies them; a hidden directory is that of a program.
#[test]
fn hidden_files_of_a_directory_are_read_but_no_hidden_directories() {
    let policies = Bad::new();
    fs::copy("examples/policies/developers.yaml", policies.directory.path().join("developers.yaml")).unwrap();
    let review = |request: &str| {
        countersign(&["review", "--policies", policies.directory.path().to_str().unwrap(), request], b"")
    };
    let amy = "examples/requests/amy.yaml";
    fs::create_dir(policies.directory.path().join(".git")).unwrap();
    policies.file(".git/broken.yaml", b"{");
    policies.file(".editor.swp", b"\xff");
    assert_eq!(review(amy).0, 0);
    let guardrail = b"{apiVersion: countersign.dev/v1alpha1, kind: CSRGuardrail, metadata: {name: none}, spec: {match: {}, limits: \
        {subject: {commonName: {denied: ['*']}}}}}";
    for name in [".guardrail.yaml", ".guardrail.JSON", ".yml"] {
        let file = policies.file(name, guardrail);
        let Ended(status, out, err) = review(amy);
        assert_eq!((status, err.as_str()), (1, ""), "{name}: {out}");
        fs::remove_file(file).unwrap();
    }
    let requests = Bad::new();
    requests.file(".everything.yaml", &fs::read("examples/requests/everything.yaml").unwrap());
    let directory = requests.directory.path().to_str().unwrap();
    assert_eq!(review(directory).0, 1);
    let Ended(status, _, err) = countersign(&["inspect", directory], b"");
    assert!(status == 2 && err.contains("there is no file in it that ends in"), "{err}");
}

/// A maximum that no signer has would be passed over, and a year hold in its place.
#[test]
fn a_signer_has_one_maximum_and_is_named_in_full() {
    let amy = "examples/requests/amy.yaml";
    for (maxima, expected) in [
        (&["kubernetes.io/*=600"][..], "kubernetes.io/* stands for several signers: write the name of each"),
        (&["*=600"], "* stands for several signers"),
        (&["Example.com/vpn=600"], "Example.com/vpn is not the name of a signer: write DOMAIN/NAME"),
        (&["example.com/vpn"], "write SIGNER=SECONDS, for example example.com/vpn=86400"),
        (&["example.com/vpn=1d"], "write SIGNER=SECONDS"),
        (&["example.com/vpn=0"], "0 is no lifetime: write seconds, from 1"),
        (
            &["example.com/vpn=600", "example.com/vpn=900"],
            "--signer-max-seconds says 600 and 900 for example.com/vpn: keep one of them",
        ),
    ] {
        let options = maxima.iter().flat_map(|maximum| ["--signer-max-seconds", maximum]);
        let Ended(status, out, err) = review(&options.chain([amy]).collect::<Vec<_>>(), b"");
        assert!(status == 2 && err.contains(expected), "{maxima:?}: {status} {out}{err}");
    }
    let same = ["--signer-max-seconds=example.com/vpn=600", "--signer-max-seconds=example.com/vpn=600", amy];
    assert_eq!(review(&same, b"").0, 0);
}

#[test]
fn bad_input_is_a_clear_sentence_and_status_2() {
    let bad = Bad::new();
    Bad::says(&bad.file("empty.yaml", b""), "is empty");
    Bad::says(&bad.file("garbage.yaml", b"{{{ a: ]"), "garbage.yaml:1:");
    Bad::says(&bad.file("words.yaml", b"hello\n"), "is not a Kubernetes object");
    Bad::says(&bad.file("binary", &[0xff; 100]), "is not text");
    Bad::says(&bad.file("zeros.yaml", &vec![0; 2 << 20]), "zeros.yaml");
    Bad::says(&bad.file("large.yaml", "a".repeat(2 << 20).as_bytes()), "is not a Kubernetes object");
    Bad::says(&bad.file("huge.yaml", &vec![b'a'; (32 << 20) + 1]), "is larger than 32 MiB");
    Bad::says(&bad.file("pod.yaml", b"apiVersion: v1\nkind: Pod\n"), "holds no CertificateSigningRequest");
    let manifest = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let odd = manifest.replace("usages: [client auth]", "usages: 7");
    Bad::says(&bad.file("odd.yaml", odd.as_bytes()), "odd.yaml:7:11: spec.usages has a type");
    let short = manifest.replace("expirationSeconds: ", "expirationSeconds: 60 # ");
    Bad::says(&bad.file("short.yaml", short.as_bytes()), "the API server takes no expirationSeconds below 600");
    let Ended(status, _, err) = review(&["--expiration-seconds=60", "-"], b"");
    assert!(status == 2 && err.contains("60 is not in 600..=2147483647"), "{err}");
    let nobody = manifest.replace("  username: portal\n", "");
    Bad::says(&bad.file("nobody.yaml", nobody.as_bytes()), "--username");

    let looped = bad.directory.path().join("loop");
    fs::create_dir(&looped).unwrap();
    std::os::unix::fs::symlink(&looped, looped.join("again")).unwrap();
    Bad::says(&looped, "contains itself");

    let Ended(status, _, err) = review(&["-"], &[0x30, 0x82, 0xff, 0xfe]);
    assert!(status == 2 && err.contains("openssl req -inform DER"), "{err}");
}

#[test]
fn a_bad_policy_is_named_with_its_place_and_the_field_that_was_meant() {
    let bad = Bad::new();
    let policy = fs::read_to_string("examples/policies/developers.yaml").unwrap();
    let path = bad.file("typo.yaml", policy.replace("    usages:", "    usage:").as_bytes());
    let Ended(status, _, err) =
        countersign(&["review", "--policies", path.to_str().unwrap(), "examples/requests/amy.yaml"], b"");
    assert_eq!(status, 2);
    assert!(err.contains("typo.yaml:20:") && err.contains("did you mean usages?"), "{err}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let Ended(status, out, _) = countersign(&["completions", shell], b"");
        assert!(status == 0 && out.contains("lint") && out.contains("deny-hazards"), "{shell}");
    }
    // What bash makes of it; where there is nothing, it completes files.
    let Ended(_, script, _) = countersign(&["completions", "bash"], b"");
    for (words, expected) in [
        ("li", "lint"),
        ("completions b", "bash"),
        ("lint ''", ""),
        ("lint policies/ ''", ""),
        ("lint --deny-h", "--deny-hazards"),
        ("lint --deny-hazards ''", "info warning high"),
        ("lint --deny-hazards =", "info warning high"),
        ("lint --deny-hazards = wa", "warning"),
        ("inspect --ignore exp", "expired expiring"),
    ] {
        let test = format!(
            "{script}\nCOMP_WORDS=(countersign {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             set -- $(complete -p countersign); while [[ $1 != -F ]]; do shift; done; \
             $2 countersign \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &test]).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert_eq!(out.trim(), expected, "{words}: {err}");
    }
}

const NODES: &str = "\
apiVersion: v1
kind: NodeList
items:
- apiVersion: v1
  kind: Node
  metadata: { name: worker-1, uid: u, resourceVersion: \"7\", creationTimestamp: 2026-01-01T00:00:00Z, managedFields: [{ time: 9999-12-31T23:59:59Z }] }
  status: { addresses: [{ type: Hostname, address: worker-1 }, { type: InternalIP, address: 10.20.1.1 }], images: 1 }
- { apiVersion: v1, kind: Node, metadata: { name: odd }, status: { addresses: 7 } }
";

/// The request that the suite of kubelets approves, as a manifest to review.
fn request_of_a_kubelet(directory: &Path) -> String {
    let name = "before the Node has addresses";
    let saved = directory.to_str().unwrap();
    let suite = "examples/kubelets/tests/serving.yaml";
    let Ended(status, out, err) = countersign(&["test", "--filter", name, "--save-requests", saved, suite], b"");
    assert_eq!(status, 0, "{out}{err}");
    directory.join("before-the-node-has-addresses.json").to_str().unwrap().to_owned()
}

#[test]
fn nodes_come_from_files_and_without_them_nothing_is_known_of_any() {
    let directory = tempfile::tempdir().unwrap();
    let request = request_of_a_kubelet(directory.path());
    let nodes = directory.path().join("nodes.yaml");
    let with = "  status: { addresses: [{ type: InternalDNS, address: worker-1.nodes.example.com }, { type: InternalIP, address: \"2001:db8:20::1\" }, ";
    fs::write(&nodes, NODES.replacen("  status: { addresses: [", with, 1)).unwrap();
    let nodes = nodes.to_str().unwrap();
    let policy = ["review", "--policies", "examples/kubelets/serving.yaml"];
    let ask = |more: &[&str], stdin: &str| {
        let arguments: Vec<&str> = policy.iter().chain(more).copied().collect();
        countersign(&arguments, stdin.as_bytes())
    };
    let Ended(status, out, err) = ask(&["--nodes", nodes, &request], "");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let Ended(_, out, _) = ask(&["--nodes", nodes, "-o", "json", &request], "");
    let list: Value = serde_json::from_str(&out).unwrap();
    let node = &list["reviews"][0]["node"];
    assert_eq!((&node["name"], &node["uid"]), (&"worker-1".into(), &"u".into()), "{out}");
    assert_eq!(node["addresses"][0]["type"], "InternalDNS");
    let Ended(status, out, _) = ask(&[&request], "");
    assert!(status == 3 && out.contains("the Nodes of the cluster are not known here"), "{out}");
    // Other Nodes are known, and of this one what it carries.
    let Ended(status, out, _) = ask(&["--nodes", "-", &request], NODES);
    assert!(
        status == 3
            && out.contains(
                "Node worker-1 does not carry worker-1.nodes.example.com (yet); it carries 10.20.1.1, worker-1"
            ),
        "{out}"
    );
    let Ended(status, out, _) = ask(&["--nodes", "-", &request], &NODES.replace("worker-1", "worker-2"));
    assert!(status == 3 && out.contains("there is no Node worker-1 (yet)"), "{out}");
    // A range of Services is nobody's.
    let Ended(status, out, _) = ask(&["--nodes", nodes, "--service-cidr", "10.20.1.0/24", &request], "");
    assert!(status == 1 && out.contains("[ip-address-service]"), "{out}");
}

#[test]
fn bad_nodes_are_a_clear_sentence_and_status_2() {
    let directory = tempfile::tempdir().unwrap();
    let request = request_of_a_kubelet(directory.path());
    let policies = "examples/kubelets/serving.yaml";
    let twice = NODES.replace("name: odd", "name: worker-1");
    for (nodes, stdin, expected) in [
        ("-", twice.as_str(), "Node worker-1 is there twice: keep one"),
        ("-", "apiVersion: v1\nkind: Node\n", "Node has no metadata.name"),
        ("-", "apiVersion: v1\nkind: Pod\n", "holds no Node"),
        ("examples/nowhere", "", "cannot be read"),
    ] {
        let arguments = ["review", "--policies", policies, "--nodes", nodes, &request];
        let Ended(status, out, err) = countersign(&arguments, stdin.as_bytes());
        assert!(status == 2 && err.contains(expected), "{expected}: {out}{err}");
    }
    for (option, expected) in [
        ("10.96.0.1/12", "host bits"),
        ("x", "neither an IP address nor a CIDR"),
        ("::ffff:10.0.0.0/104", "IPv4-mapped"),
    ] {
        let arguments = ["review", "--policies", policies, "--service-cidr", option, &request];
        let Ended(status, _, err) = countersign(&arguments, b"");
        assert!(status == 2 && err.contains(expected), "{expected}: {err}");
    }
    let arguments = ["review", "--policies", "-", "--nodes", "-", &request];
    let Ended(status, _, err) = countersign(&arguments, b"");
    assert!(status == 2 && err.contains("standard input can be read once only"), "{err}");
}
