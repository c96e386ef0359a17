//! `countersign inspect`: what is alarming, and what is not.

mod kubeconfigs;
mod openssl;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Ended, countersign};
pub use openssl::agrees_with_openssl;

/// A directory with keys and certificates that openssl makes.
struct Pki {
    directory: tempfile::TempDir,
}

type Arguments = &'static [&'static str];
const P256: Arguments = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: Arguments = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const CLIENT: &str = "extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n";
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";

fn openssl(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Pki {
    /// With a CA of one name.
    fn new() -> Self {
        let pki = Self { directory: tempfile::tempdir().unwrap() };
        pki.root("ca", "/CN=kubernetes");
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        openssl(self.directory.path(), arguments)
    }

    fn key(&self, name: &str, arguments: &[&str]) {
        self.openssl(&[&["genpkey", "-out", &format!("{name}.key")], arguments].concat());
        fs::set_permissions(self.path(&format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn root(&self, name: &str, subject: &str) {
        self.key(name, P256);
        let (key, out) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(&["req", "-x509", "-new", "-key", &key, "-subj", subject, "-days", "3650", "-out", &out]);
    }

    /// Issues `NAME.crt` for the key `NAME.key`, made if it is not there, with `ca`'s key.
    fn issue(&self, name: &str, subject: &str, ca: &str, extensions: &str, more: &[&str]) {
        let file = |ending: &str| format!("{name}.{ending}");
        if !self.path(&file("key")).exists() {
            self.key(name, P256);
        }
        self.openssl(&["req", "-new", "-utf8", "-key", &file("key"), "-subj", subject, "-out", &file("csr")]);
        fs::write(self.path("extensions"), extensions).unwrap();
        let (csr, crt) = (file("csr"), file("crt"));
        let (ca, ca_key) = (format!("{ca}.crt"), format!("{ca}.key"));
        let common =
            ["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-extfile", "extensions", "-out", &crt];
        let days = ["-days", "60"];
        self.openssl(&[&common[..], if more.contains(&"-days") { &[] } else { &days }, more].concat());
        fs::remove_file(self.path(&csr)).unwrap();
    }

    /// Issues a certificate of these very dates.
    fn issue_dated(&self, name: &str, subject: &str, dates: [&str; 2]) {
        self.key(name, P256);
        let (key, csr, crt) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr]);
        let config = "[ca]\ndefault_ca=x\n[x]\nnew_certs_dir=.\ndatabase=index\nrand_serial=yes\nunique_subject=no\n\
                      default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=optional\n[e]\n";
        fs::write(self.path("ca.cnf"), format!("{config}{CLIENT}")).unwrap();
        fs::write(self.path("index"), "").unwrap();
        let [from, to] = dates;
        let common =
            ["ca", "-batch", "-notext", "-preserveDN", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"];
        self.openssl(&[&common[..], &["-in", &csr, "-out", &crt, "-startdate", from, "-enddate", to]].concat());
        for leftover in [csr.as_str(), "ca.cnf", "index", "index.old", "index.attr"] {
            let _ = fs::remove_file(self.path(leftover));
        }
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "pem") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn inspect(&self, arguments: &[&str], files: &[&str]) -> Ended {
        let paths: Vec<String> = files.iter().map(|file| self.path(file).to_str().unwrap().to_owned()).collect();
        let paths = paths.iter().map(String::as_str);
        let arguments: Vec<&str> = ["inspect"].into_iter().chain(arguments.iter().copied()).chain(paths).collect();
        countersign(&arguments, b"")
    }

    fn report(&self, arguments: &[&str], files: &[&str]) -> Value {
        let Ended(status, out, err) = self.inspect(&[&["-o", "json"], arguments].concat(), files);
        assert!(status < 2 && err.is_empty(), "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["kind"], "InspectReport");
        assert_eq!(status == 1, report["summary"]["alarming"] != 0, "{out}");
        report
    }

    /// The item about a file, among all of `files`.
    fn item(&self, file: &str, arguments: &[&str], files: &[&str]) -> Value {
        let report = self.report(arguments, files);
        let source = self.path(file);
        let items = report["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["source"] == source.to_str().unwrap());
        found.unwrap_or_else(|| panic!("{file} is not in {report:#}")).clone()
    }

    /// The codes of the alarms about a file.
    fn alarms(&self, file: &str, files: &[&str]) -> Vec<String> {
        codes(&self.item(file, &[], files))
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn codes(item: &Value) -> Vec<String> {
    let alarms = item["alarms"].as_array().unwrap();
    alarms.iter().map(|alarm| alarm["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_sound_certificate_is_not_alarming() {
    let pki = Pki::new();
    pki.issue("amy", "/CN=amy/O=developers", "ca", CLIENT, &[]);
    let Ended(status, out, err) = pki.inspect(&[], &["amy.crt", "amy.key", "ca.crt", "ca.key"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    for line in [
        "  Certificate           client\n  User name (CN)        amy\n  Groups (O)            developers\n",
        "  Issuer                CN=kubernetes\n  Signed by             the cluster CA, ",
        " days left\n",
        "4 inspected, 0 alarming",
    ] {
        assert!(out.contains(line), "{line:?} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "colours although it is no terminal");
    // Whatever the directory is called.
    let Ended(status, out, _) = pki.inspect(&["--expires-within", "61d"], &[""]);
    assert!(status == 1 && out.contains("[expiring]"), "{out}");
    let Ended(status, ..) = pki.inspect(&["--expires-within", "61d", "--ignore", "expiring"], &[""]);
    assert_eq!(status, 0);
    let Ended(status, _, err) = pki.inspect(&["--ignore", "nothing"], &[""]);
    assert!(status == 2 && err.contains("expiring, not-yet-valid"), "{err}");
    let Ended(status, out, _) = pki.inspect(&["--now", "2099-01-01T00:00:00Z"], &["amy.crt", "ca.crt"]);
    assert!(status == 1 && out.contains("[expired]") && out.contains("has expired [chain-invalid]"), "{out}");
    let Ended(status, out, _) = pki.inspect(&["--now", "1999-01-01T00:00:00Z"], &["amy.crt"]);
    assert!(status == 1 && out.contains("[not-yet-valid]"), "{out}");
}

#[test]
fn whatever_is_alarming_has_its_code() {
    let pki = Pki::new();
    let issue =
        |name: &str, subject: &str, extensions: &str, more: &[&str]| pki.issue(name, subject, "ca", extensions, more);
    let both = format!("{CA}extendedKeyUsage=clientAuth\n");
    issue("masters", "/CN=amy/O=system:masters", CLIENT, &[]);
    issue("admins", "/CN=amy/O=KubeAdm:cluster-admins", CLIENT, &[]);
    issue("reserved", "/CN=system:kube-scheduler", CLIENT, &[]);
    // As a server nobody is anybody.
    issue("server", "/CN=system:node:a/O=system:masters", "extendedKeyUsage=serverAuth\n", &["-days", "365"]);
    issue("year", "/CN=amy", CLIENT, &["-days", "365"]);
    issue("unlimited", "/CN=amy/O=system:masters", "subjectKeyIdentifier=hash\n", &[]);
    issue("both", "/CN=amy", &both, &[]);
    pki.key("short", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    issue("short", "/CN=amy", CLIENT, &[]);
    issue("sha1", "/CN=amy", CLIENT, &["-sha1"]);
    issue("twice", "/CN=amy/CN=root", CLIENT, &[]);
    issue("unknown", "/CN=amy", &format!("{CLIENT}1.2.3.4=critical,ASN1:NULL\n"), &[]);
    for (name, expected) in [
        ("masters", &["cluster-admin"][..]),
        ("admins", &["cluster-admin"]),
        ("reserved", &["reserved-name"]),
        ("server", &[]),
        ("year", &["long-lifetime"]),
        ("unlimited", &["cluster-admin"]),
        ("both", &["client-and-ca"]),
        ("short", &["weak-key"]),
        ("sha1", &["weak-signature"]),
        ("twice", &["odd"]),
        ("unknown", &["odd"]),
    ] {
        let file = format!("{name}.crt");
        assert_eq!(pki.alarms(&file, &[&file, "ca.crt"]), expected, "{name}");
    }
    let message = pki.item("twice.crt", &[], &["twice.crt"])["alarms"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("Kubernetes reads the last"), "{message}");
    assert_eq!(pki.item("twice.crt", &[], &["twice.crt"])["certificate"]["subject"]["commonName"], "root");
}

#[test]
fn a_key_of_another_certificate_is_told() {
    for algorithm in [RSA, P256, &["-algorithm", "ED25519"]] {
        let pki = Pki::new();
        pki.key("amy", algorithm);
        pki.issue("amy", "/CN=amy", "ca", CLIENT, &[]);
        assert!(pki.alarms("amy.crt", &[""]).is_empty(), "{algorithm:?}");
        // In the formats of old, too.
        if algorithm != ["-algorithm", "ED25519"] {
            let old = pki.openssl(&["pkey", "-traditional", "-in", "amy.key"]);
            fs::write(pki.path("amy.key"), old).unwrap();
            assert!(pki.alarms("amy.crt", &[""]).is_empty(), "{algorithm:?}");
        }
        pki.key("amy", algorithm);
        assert_eq!(pki.alarms("amy.crt", &[""]), ["key-mismatch"], "{algorithm:?}");
        // One file with both.
        let both = [fs::read(pki.path("amy.key")).unwrap(), fs::read(pki.path("amy.crt")).unwrap()].concat();
        fs::write(pki.path("both.pem"), both).unwrap();
        fs::set_permissions(pki.path("both.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        let report = pki.report(&[], &["both.pem"]);
        let kinds: Vec<&Value> = report["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
        assert_eq!(kinds, ["Certificate", "PrivateKey"]);
        assert_eq!(codes(&report["items"][0]), ["key-mismatch"]);
    }
    let pki = Pki::new();
    pki.issue("amy", "/CN=amy", "ca", CLIENT, &[]);
    for (mode, alarming) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true)] {
        fs::set_permissions(pki.path("amy.key"), fs::Permissions::from_mode(mode)).unwrap();
        let alarms = pki.alarms("amy.key", &["amy.crt", "amy.key"]);
        assert_eq!(alarms == ["file-mode"], alarming, "{mode:o} {alarms:?}");
    }
    // An encrypted key cannot be compared, and its file counts all the same.
    let encrypted = pki.openssl(&["pkey", "-in", "amy.key", "-aes128", "-passout", "pass:x"]);
    fs::write(pki.path("amy.key"), encrypted).unwrap();
    fs::set_permissions(pki.path("amy.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let Ended(status, out, _) = pki.inspect(&[], &["amy.crt", "amy.key"]);
    assert!(status == 0 && out.contains("not compared with any certificate, because it is encrypted"), "{out}");
}

#[test]
fn a_chain_that_does_not_verify_is_told() {
    let pki = Pki::new();
    let own = "authorityKeyIdentifier=none\n";
    pki.issue("above", "/CN=above", "ca", &format!("{CA}{own}"), &[]);
    pki.issue("amy", "/CN=amy", "above", CLIENT, &[]);
    let chain = [fs::read(pki.path("amy.crt")).unwrap(), fs::read(pki.path("above.crt")).unwrap()].concat();
    fs::write(pki.path("chain.crt"), chain).unwrap();
    let report = pki.report(&[], &["chain.crt", "ca.crt"]);
    assert_eq!(report["summary"]["alarming"], 0, "{report:#}");
    let by = &report["items"][0]["certificate"]["signedBy"];
    assert_eq!(by["source"], format!("{}#2", pki.path("chain.crt").display()));
    // Not among the files: not known, and not alarming.
    assert_eq!(pki.item("amy.crt", &[], &["amy.crt"])["certificate"]["signedBy"]["how"], "unknown");

    // Another CA of the same name, as that of another cluster is.
    pki.root("ca", "/CN=kubernetes");
    let item = pki.item("above.crt", &[], &["above.crt", "ca.crt"]);
    assert_eq!(
        (codes(&item), &item["certificate"]["signedBy"]["how"]),
        (vec!["chain-invalid".to_owned()], &"mismatch".into())
    );
    assert_eq!(pki.alarms("amy.crt", &["amy.crt", "above.crt", "ca.crt"]), ["chain-invalid"]);

    // One that may not sign, and one that may not have CAs below.
    pki.issue("plain", "/CN=plain", "ca", CLIENT, &[]);
    pki.issue("below", "/CN=below", "plain", CLIENT, &[]);
    assert_eq!(pki.alarms("below.crt", &["below.crt", "plain.crt", "ca.crt"]), ["chain-invalid"]);
    pki.issue("last", "/CN=last", "ca", &format!("basicConstraints=critical,CA:TRUE,pathlen:0\n{own}"), &[]);
    pki.issue("more", "/CN=more", "last", &format!("{CA}{own}"), &[]);
    pki.issue("far", "/CN=far", "more", CLIENT, &[]);
    assert_eq!(pki.alarms("far.crt", &["far.crt", "more.crt", "last.crt", "ca.crt"]), ["chain-invalid"]);
}

#[test]
fn cas_are_told_apart_by_where_they_lie_and_what_they_are_called() {
    let pki = Pki::new();
    fs::create_dir(pki.path("etcd")).unwrap();
    pki.root("etcd/ca", "/CN=x");
    pki.root("front-proxy-ca", "/CN=y");
    pki.root("somewhere", "/CN=etcd-ca");
    pki.root("other", "/CN=z");
    for (file, roles) in [
        ("ca.crt", vec!["cluster"]),
        ("etcd/ca.crt", vec!["etcd"]),
        ("front-proxy-ca.crt", vec!["front-proxy"]),
        ("somewhere.crt", vec!["etcd"]),
        ("other.crt", vec![]),
    ] {
        let item = pki.item(file, &[], &[""]);
        assert_eq!(item["certificate"]["ca"]["roles"], serde_json::json!(roles), "{file}");
        assert!(codes(&item).is_empty(), "{item:#}");
    }
    fs::copy(pki.path("ca.crt"), pki.path("front-proxy-ca.crt")).unwrap();
    fs::remove_file(pki.path("front-proxy-ca.key")).unwrap();
    let item = pki.item("ca.crt", &[], &[""]);
    assert_eq!(codes(&item), ["shared-ca"]);
    assert_eq!(item["alsoIn"][0], pki.path("front-proxy-ca.crt").to_str().unwrap());
}

/// Every field of a report by its path, lists as `[]`.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        // Those of `review -o json`.
        _ if path == "items[].request" => _ = all.insert(path.to_owned()),
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(field, &path, all);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                paths(item, &format!("{path}[]"), all);
            }
        }
        // What is not there in one item is there in another.
        Value::Array(_) if ["alarms", "credentials"].iter().any(|list| path.ends_with(list)) => {}
        Value::Null if path == "items[].certificate.ca" => {}
        _ => _ = all.insert(path.to_owned()),
    }
}

#[test]
fn every_field_of_the_json_is_documented() {
    let pki = Pki::new();
    pki.issue("amy", "/CN=amy/O=system:masters", "ca", CLIENT, &[]);
    let users = "{ client-certificate: amy.crt, client-key: amy.key, token: x, tokenFile: x, password: x, exec: { command: x }, \
                 auth-provider: { name: x } }";
    let kubeconfig = format!(
        "kind: Config\nclusters: [{{ name: k, cluster: {{}} }}]\nusers: [{{ name: u, user: {users} }}]\ncontexts: [{{ name: c }}]\n"
    );
    fs::write(pki.path("config"), kubeconfig).unwrap();
    fs::copy("examples/requests/amy.yaml", pki.path("request.yaml")).unwrap();
    let mut found = BTreeSet::new();
    paths(&pki.report(&[], &["", "config"]), "", &mut found);
    let docs = fs::read_to_string("docs/inspect.md").unwrap();
    let rows =
        docs.split("## JSON").nth(1).unwrap().lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let documented = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(found, documented);
}

#[test]
fn requests_and_issued_certificates_are_read_wherever_they_stand() {
    let pki = Pki::new();
    pki.key("amy", P256);
    let csr = pki.openssl(&["req", "-new", "-key", "amy.key", "-subj", "/CN=system:admin"]);
    let Ended(status, out, _) = countersign(&["inspect", "-"], csr.as_bytes());
    assert!(status == 1 && out.contains("[reserved-name]") && out.contains("(not stated)"), "{out}");
    // A key and a request in a file, as openssl req -newkey -keyout - writes them.
    let key = fs::read_to_string(pki.path("amy.key")).unwrap();
    let Ended(status, out, _) = countersign(&["inspect", "-"], format!("some text\n{key}{csr}").as_bytes());
    assert!(status == 1 && out.contains("-#2\n  Request") && out.contains("-#1\n  Private key"), "{out}");
    pki.issue("amy", "/CN=amy", "ca", CLIENT, &[]);
    let issued = base64(&fs::read(pki.path("amy.crt")).unwrap());
    let manifest = fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let manifest = format!("{manifest}status:\n  certificate: {issued}\n");
    fs::write(pki.path("issued.yaml"), manifest).unwrap();
    let report = pki.report(&[], &["issued.yaml", "ca.crt"]);
    assert_eq!(report["items"][0]["request"]["subject"]["organizations"][0], "developers");
    assert_eq!(report["items"][1]["source"], format!("{} (issued)", pki.path("issued.yaml").display()));
    assert_eq!(report["items"][1]["certificate"]["signedBy"]["how"], "verified");
}

#[test]
fn what_a_certificate_says_never_reaches_the_terminal_as_it_is() {
    let pki = Pki::new();
    pki.issue(
        "odd",
        "/CN=a\u{1b}[31m\u{202e}b/O=c\u{9b}d\ne",
        "ca",
        &format!("{CLIENT}subjectAltName=URI:x\u{1b}y\n"),
        &[],
    );
    let Ended(_, out, err) = pki.inspect(&[], &["odd.crt", "ca.crt"]);
    assert!(
        out.contains("a\\u{1b}[31m\\u{202e}b") && out.contains("c\\u{9b}d\\ne") && out.contains("x\\u{1b}y"),
        "{out}"
    );
    for c in ['\u{1b}', '\u{202e}', '\u{9b}'] {
        assert!(!out.contains(c) && !err.contains(c), "{out:?}");
    }
    let issued = pki.report(&[], &["odd.crt"])["items"][0]["certificate"].clone();
    assert_eq!(issued["subject"]["name"], "CN=a\\u{1b}[31m\\u{202e}b,O=c\\u{9b}d\\u{a}e");
}

#[test]
fn what_cannot_be_read_is_a_clear_sentence_and_status_2() {
    let pki = Pki::new();
    let der = pki.openssl(&["x509", "-in", "ca.crt", "-outform", "PEM"]);
    let body: String = der.lines().filter(|line| !line.starts_with('-')).collect();
    let cut = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", &body[..body.len() / 8 * 4]);
    for (text, expected) in [
        (cut, "line 1: is no certificate: "),
        (format!("{der}-----BEGIN CERTIFICATE-----\nAAEC\n"), ": is no certificate: its last line is missing"),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n".to_owned(), "its content is not base64"),
        ("-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n".to_owned(), "is no key: "),
        (
            "-----BEGIN X509 CRL-----\nAAEC\n-----END X509 CRL-----\n".to_owned(),
            "line 1: X509 CRL is not read, but CERTIFICATE",
        ),
        ("kind: Pod\napiVersion: v1\n".to_owned(), "holds no CertificateSigningRequest, certificate"),
        (String::new(), "is empty: give a manifest or kubeconfig"),
    ] {
        fs::write(pki.path("bad"), &text).unwrap();
        let Ended(status, _, err) = pki.inspect(&[], &["bad"]);
        assert!(status == 2 && err.starts_with("error: ") && err.contains(expected), "{text}: {err}");
    }
    fs::write(pki.path("bad"), [0x30, 0x82, 0xff, 0xfe]).unwrap();
    let Ended(status, _, err) = pki.inspect(&[], &["bad"]);
    assert!(status == 2 && err.contains("openssl x509 -inform DER"), "{err}");
}

#[test]
fn a_file_that_is_named_is_not_passed_over_beside_a_good_one() {
    let pki = Pki::new();
    let good = fs::read_to_string(pki.path("ca.crt")).unwrap();
    let indented: String = good.lines().map(|line| format!("  {line}\n")).collect();
    let begins = "begins no PEM block: write -----BEGIN, a label and five dashes, with nothing before them";
    let pkcs7 = "-----BEGIN PKCS7-----\nAAEC\n-----END PKCS7-----\n";
    let print_certs = "line 1: PKCS7 is not read: openssl pkcs7 -in FILE -print_certs makes certificates of it";
    let last = good.lines().count() + 1;
    for (text, expected) in [
        (good.replacen("CERTIFICATE-----", "CERTIFICATE----", 1), format!("line 1 {begins}")),
        (indented.clone(), format!("line 1 {begins}")),
        (format!("{good}{indented}"), format!("line {last} {begins}")),
        (pkcs7.to_owned(), print_certs.to_owned()),
        (format!("{pkcs7}{good}"), print_certs.to_owned()),
        ("kind: Pod\napiVersion: v1\n".to_owned(), "holds no CertificateSigningRequest, certificate".to_owned()),
        ("-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n".to_owned(), "holds no".to_owned()),
    ] {
        fs::write(pki.path("bad.pem"), &text).unwrap();
        let bad = pki.path("bad.pem").display().to_string();
        for files in [&["ca.crt", "bad.pem"][..], &["bad.pem", "ca.crt"], &["bad.pem"]] {
            let Ended(status, _, err) = pki.inspect(&[], files);
            let told = err.starts_with(&format!("error: {bad}: ")) && err.contains(&expected);
            assert!(status == 2 && told && err.lines().count() == 1, "{text}: {err}");
        }
    }
    // Among the files of a directory there may be others, and openssl writes the parameters of a key before it.
    fs::remove_file(pki.path("bad.pem")).unwrap();
    fs::write(pki.path("pod.yaml"), "kind: Pod\napiVersion: v1\n").unwrap();
    pki.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "more.key"]);
    fs::set_permissions(pki.path("more.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fs::read_to_string(pki.path("more.key")).unwrap().contains("EC PARAMETERS"));
    let Ended(status, _, err) = pki.inspect(&[], &["", "ca.crt", "more.key"]);
    assert_eq!((status, err.as_str()), (0, ""));
    // What a kubeconfig names is no other.
    let config =
        "kind: Config\nclusters: [{ name: k, cluster: { server: \"https://k\", certificate-authority: two.crt } }]\n";
    fs::write(pki.path("config"), config).unwrap();
    fs::write(pki.path("two.crt"), format!("{good}{indented}")).unwrap();
    let Ended(status, _, err) = pki.inspect(&[], &["config"]);
    assert!(status == 2 && err.contains(&format!("has a line {last} that {begins}")), "{err}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_what_is_inspected() {
    let pki = Pki::new();
    let certificate = fs::read(pki.path("ca.crt")).unwrap();
    fs::write(pki.path("mark.crt"), [b"\xef\xbb\xbf", certificate.as_slice()].concat()).unwrap();
    let report = pki.report(&[], &["mark.crt"]);
    assert_eq!(report["items"][0]["certificate"]["subject"]["commonName"], "kubernetes");
    let cluster = "server: \"https://k\", certificate-authority: mark.crt";
    fs::write(pki.path("config"), format!("kind: Config\nclusters: [{{ name: k, cluster: {{ {cluster} }} }}]\n"))
        .unwrap();
    let report = pki.report(&[], &["config"]);
    assert_eq!(report["items"][1]["certificate"]["subject"]["commonName"], "kubernetes");
}

/// What is said to make PEM of a file does so, where openssl is what is said.
#[test]
fn a_container_of_certificates_is_named_with_what_makes_pem_of_it() {
    let pki = Pki::new();
    pki.openssl(&["pkcs12", "-export", "-in", "ca.crt", "-inkey", "ca.key", "-passout", "pass:", "-out", "a.p12"]);
    pki.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "ca.crt", "-outform", "DER", "-out", "a.p7b"]);
    pki.openssl(&["x509", "-in", "ca.crt", "-outform", "DER", "-out", "a.der"]);
    fs::write(pki.path("a.jks"), b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\0").unwrap();
    // Nothing behind the first bytes.
    fs::write(pki.path("cut.p12"), b"\x30\x82").unwrap();
    for (file, format) in [
        ("a.p12", "PKCS #12"),
        ("a.p7b", "PKCS #7"),
        ("a.der", "DER"),
        ("a.jks", "a Java keystore"),
        ("cut.p12", "DER"),
    ] {
        let Ended(status, _, err) = pki.inspect(&[], &[file]);
        let said = err.rsplit("; ").next().unwrap().trim();
        let (make, of) = said.split_once(" makes PEM of ").unwrap_or_else(|| panic!("{err}"));
        assert_eq!((status, of), (2, format));
        if let Some(arguments) = make.strip_prefix("openssl ").filter(|_| file != "cut.p12") {
            let arguments: Vec<&str> =
                arguments.split(' ').map(|argument| if argument == "FILE" { file } else { argument }).collect();
            let password: &[&str] = if file == "a.p12" { &["-passin", "pass:"] } else { &[] };
            fs::write(pki.path("made.pem"), pki.openssl(&[&arguments, password].concat())).unwrap();
            let report = pki.report(&[], &["made.pem"]);
            assert_eq!(report["items"][0]["certificate"]["subject"]["name"], "CN=kubernetes", "{make}");
        }
    }
}
