//! Kubeconfigs: who speaks to whom with what, and no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{CLIENT, Ended, P256, Pki, base64};

#[test]
fn kubeconfigs_are_shown_without_their_secrets() {
    let pki = Pki::new();
    pki.issue("amy", "/CN=amy/O=developers", "ca", CLIENT, &[]);
    pki.root("other", "/CN=kubernetes");
    pki.key("wrong", P256);
    let data = |file: &str| base64(&fs::read(pki.path(file)).unwrap());
    let kubeconfig = |ca: &str, key: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{ cluster: k, user: u }}\n\
             clusters:\n- name: k\n  cluster: {{ server: \"https://k.example.com\", {ca} }}\nusers:\n- name: u\n  user: {{ {key} }}\n{more}"
        )
    };
    let embedded = format!("client-certificate-data: {}, client-key-data: {}", data("amy.crt"), data("amy.key"));
    let own = format!("certificate-authority-data: {}", data("ca.crt"));
    let other = format!("certificate-authority-data: {}", data("other.crt"));
    let wrong = format!("client-certificate-data: {}, client-key-data: {}", data("amy.crt"), data("wrong.key"));
    let files = "client-certificate: amy.crt, client-key: ./amy.key";
    let secret = "very-secret";
    let token = format!("token: {secret}");
    let exec =
        format!("exec: {{ apiVersion: v1, command: aws, args: [{secret}], env: [{{ name: A, value: {secret} }}] }}");
    let password = format!("username: amy, password: {secret}");
    for (ca, user, expected, shown) in [
        (own.as_str(), embedded.as_str(), &[][..], "u: a client certificate"),
        ("certificate-authority: ca.crt", files, &[], "k: https://k.example.com, trusting CN=kubernetes ("),
        (&other, &embedded, &["other-ca"], "the certificate of user u was signed by another CA"),
        ("certificate-authority: other.crt", files, &["other-ca"], "trusting CN=kubernetes"),
        (&own, &wrong, &["key-mismatch"], "the key of user u is not that of its certificate"),
        ("insecure-skip-tls-verify: true", files, &["insecure-connection"], "trusting whoever answers"),
        ("tls-server-name: x", &token, &[], "u: a bearer token\n"),
        ("tls-server-name: x", "tokenFile: /token", &[], "u: a bearer token in /token\n"),
        ("tls-server-name: x", &exec, &[], "u: what aws gives\n"),
        ("tls-server-name: x", &password, &[], "u: a password\n"),
        ("tls-server-name: x", "as: root, token: x", &[], "u: a bearer token, impersonates root\n"),
        ("tls-server-name: x", "auth-provider: { name: oidc }", &[], "u: the auth provider oidc\n"),
    ] {
        fs::write(pki.path("config"), kubeconfig(ca, user, "")).unwrap();
        fs::set_permissions(pki.path("config"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(pki.alarms("config", &["config"]), expected, "{ca} {user}");
        let Ended(_, out, err) = pki.inspect(&[], &["config"]);
        assert!(out.contains(shown), "{shown:?} is not in\n{out}{err}");
        let Ended(_, json, _) = pki.inspect(&["-o", "json"], &["config"]);
        for secret in [secret, &data("amy.key"), &data("wrong.key")] {
            assert!(!out.contains(secret) && !json.contains(secret), "{out}{json}");
        }
    }
    fs::write(pki.path("config"), kubeconfig(&own, &embedded, "")).unwrap();
    fs::set_permissions(pki.path("config"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(pki.alarms("config", &["config"]), ["file-mode"]);
    let report = pki.report(&["--ignore=file-mode"], &["config"]);
    let user = format!("{} (user u)", pki.path("config").display());
    let items = report["items"].as_array().unwrap();
    let hash = &items.iter().find(|item| item["source"] == user).unwrap()["certificate"]["sha256"];
    assert_eq!(&report["items"][0]["kubeconfig"]["users"][0]["credentials"][0]["certificates"][0], hash);

    // What cannot be read has a place, and no value is quoted.
    for (text, place, expected) in [
        (kubeconfig("certificate-authority: gone.crt", &token, ""), "config:9:", "gone.crt, which cannot be opened"),
        (kubeconfig(&own, "client-certificate-data: \"%\"", ""), "config:12:", "client-certificate-data is not base64"),
        (kubeconfig(&own, &format!("token: [{secret}]"), ""), "config:12:", "has a type that it cannot have"),
    ] {
        fs::write(pki.path("config"), text).unwrap();
        let Ended(status, _, err) = pki.inspect(&[], &["config"]);
        assert!(status == 2 && err.contains(place) && err.contains(expected) && !err.contains(secret), "{err}");
    }
}

/// A kubeconfig with one cluster and one user, each with these fields.
fn kubeconfig(pki: &Pki, cluster: &str, user: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{ name: c, context: {{ cluster: k, user: u }} }}]\n\
         clusters:\n- name: k\n  cluster: {{ {cluster} }}\nusers:\n- name: u\n  user: {{ {user} }}\n"
    );
    fs::write(pki.path("config"), text).unwrap();
    fs::set_permissions(pki.path("config"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_pipe_that_a_kubeconfig_names_keeps_nobody_waiting() {
    let pki = Pki::new();
    let made = std::process::Command::new("mkfifo").arg(pki.path("pipe")).status().unwrap();
    assert!(made.success());
    for (cluster, user) in [
        ("certificate-authority: pipe", ""),
        ("", "client-certificate: pipe"),
        ("", "client-certificate: ca.crt, client-key: pipe"),
    ] {
        kubeconfig(&pki, cluster, user);
        let Ended(status, _, err) = pki.inspect(&[], &["config"]);
        assert!(status == 2 && err.contains("pipe, which is no regular file"), "{err}");
    }
}

#[test]
fn every_file_with_a_secret_of_a_kubeconfig_is_for_its_owner_alone() {
    let pki = Pki::new();
    fs::write(pki.path("token"), "t").unwrap();
    let server = "server: \"https://k.example.com\"";
    let provider = |config: &str| format!("auth-provider: {{ name: oidc, config: {{ {config} }} }}");
    for (user, file, secret) in [
        ("tokenFile: token", "token", true),
        ("token: t", "config", true),
        ("password: p", "config", true),
        (&provider("refresh-token: t"), "config", true),
        (&provider("id-token: t"), "config", true),
        (&provider("access-token: t"), "config", true),
        (&provider("client-secret: s"), "config", true),
        (&provider("client-id: a, id-token: \"\""), "config", false),
        ("exec: { command: a }", "config", false),
    ] {
        kubeconfig(&pki, server, user);
        for (mode, alarming) in [(0o600, false), (0o666, secret)] {
            fs::set_permissions(pki.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(pki.path(file), fs::Permissions::from_mode(mode)).unwrap();
            let item = pki.item("config", &[], &["config"]);
            let alarms = super::codes(&item);
            assert_eq!(alarms, if alarming { vec!["file-mode"] } else { Vec::new() }, "{user} {mode:o}");
            let names = |alarm: &serde_json::Value| {
                alarm["message"].as_str().unwrap().contains(pki.path(file).to_str().unwrap())
            };
            assert!(item["alarms"].as_array().unwrap().iter().all(names), "{item}");
        }
    }
}

#[test]
fn what_could_not_be_read_does_not_show_as_if_it_were_not_there() {
    let pki = Pki::new();
    let server = "server: \"https://k.example.com\"";
    for (cluster, user, says) in [
        ("certificate-authority: gone.crt", "token: t", "k: https://k.example.com, trusting what could not be read\n"),
        (
            "certificate-authority-data: \"%\"",
            "token: t",
            "k: https://k.example.com, trusting what could not be read\n",
        ),
        ("tls-server-name: x", "client-certificate: gone.crt", "u: a client certificate that could not be read\n"),
        (
            "tls-server-name: x",
            "client-certificate: ca.crt, client-key: gone.key",
            "u: a client certificate that could not",
        ),
        ("tls-server-name: x", "client-certificate: gone.crt, token: t", "that could not be read, a bearer token\n"),
        ("tls-server-name: x", "as: amy", "trusting the system's CAs\n"),
        ("tls-server-name: x", "username: amy", "u: no credential\n"),
    ] {
        kubeconfig(&pki, &format!("{server}, {cluster}"), user);
        let Ended(status, out, err) = pki.inspect(&[], &["config"]);
        assert!(out.contains(says), "{says:?} is not in\n{out}{err}");
        assert_eq!(status == 2, says.contains("could not"), "{err}");
        let Ended(_, json, _) = pki.inspect(&["-o", "json"], &["config"]);
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        let items = report["items"].as_array().unwrap();
        let item = items.iter().find(|item| item["kind"] == "Kubeconfig").unwrap();
        let credential = &item["kubeconfig"]["users"][0]["credentials"][0];
        let unread = user.starts_with("client-certificate");
        assert_eq!(
            credential["type"] == "client-certificate" && credential["certificates"] == serde_json::json!([]),
            unread
        );
    }
}

#[test]
fn whom_and_through_what_a_kubeconfig_speaks_is_shown() {
    let pki = Pki::new();
    pki.issue("amy", "/CN=amy", "ca", CLIENT, &[]);
    let certificate = "client-certificate: amy.crt, client-key: amy.key";
    for (cluster, user, expected, says) in [
        (
            "server: \"https://k\"",
            "as: amy, as-groups: [a, b]",
            &[][..],
            "impersonates amy, impersonates the groups a, b\n",
        ),
        (
            "server: \"https://k\"",
            "as: x, as-groups: [\"system:masters\"]",
            &["cluster-admin"],
            "the groups system:masters\n",
        ),
        (
            "server: \"https://k\", proxy-url: \"socks5://a:very-secret@p:1080/x\"",
            "",
            &[],
            "https://k through socks5://p:1080/x,",
        ),
        ("server: \"https://a:very-secret@k:1/x@y\"", "", &[], "k: https://k:1/x@y, trusting"),
        ("server: \"HTTP://k\"", "", &["insecure-connection"], "is reached without TLS"),
        ("server: \"HTTPS://k\"", "", &[], "trusting the system's CAs"),
        // kubectl takes TLS where something is there for it.
        ("server: \"k:8080\"", "token: t", &["insecure-connection"], "is reached without TLS"),
        ("server: k", "", &["insecure-connection"], "is reached without TLS"),
        ("server: \"k:8443\", certificate-authority: ca.crt", "", &[], "k: k:8443, trusting CN=kubernetes"),
        ("server: \"k:8443\"", certificate, &[], "u: a client certificate"),
        (
            "server: \"k:8443\", insecure-skip-tls-verify: true",
            "",
            &["insecure-connection"],
            "has insecure-skip-tls-verify",
        ),
    ] {
        kubeconfig(&pki, cluster, user);
        assert_eq!(pki.alarms("config", &["config"]), expected, "{cluster} {user}");
        let Ended(_, out, err) = pki.inspect(&[], &["config"]);
        assert!(out.contains(says), "{says:?} is not in\n{out}{err}");
        let Ended(_, json, _) = pki.inspect(&["-o", "json"], &["config"]);
        assert!(!out.contains("very-secret") && !json.contains("very-secret"), "{out}{json}");
    }
    kubeconfig(&pki, "server: \"https://k\", proxy-url: \"http://p\"", "as: amy, as-groups: [a]");
    let item = pki.item("config", &[], &["config"]);
    let (cluster, user) = (&item["kubeconfig"]["clusters"][0], &item["kubeconfig"]["users"][0]);
    assert_eq!((&cluster["proxyUrl"], &user["impersonatesGroups"][0]), (&"http://p".into(), &"a".into()));
}
