//! What reads a cluster, with one that says whatever a test wants it to say.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use serde_json::{Value, json};
use testbed::hostile;

use super::{Bad, Ended, countersign};

/// An API server that answers every GET with what `answer` says of its path: a status and a body. It serves for as long as
/// the tests run.
pub(super) struct Server {
    pub(super) port: u16,
    directory: Bad,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&str) -> (u16, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever hangs up early is answered no more.
                let _ = stream.and_then(|stream| serve(stream, &answer));
            }
        });
        Self { port, directory: Bad::new() }
    }

    /// One with these requests, and the policies of the examples.
    fn with(requests: Vec<Value>) -> Self {
        Self::start(move |path| {
            let (path, _) = path.split_once('?').unwrap_or((path, ""));
            let items = match path.rsplit('/').next().unwrap() {
                "certificatesigningrequests" => json!(requests),
                kind @ ("csrpolicies" | "csrguardrails") => {
                    let file = if kind == "csrpolicies" { "developers" } else { "cluster-limits" };
                    let text = std::fs::read_to_string(format!("examples/policies/{file}.yaml")).unwrap();
                    json!([serde_saphyr::from_str::<Value>(&text).unwrap()])
                }
                name => match requests.iter().find(|request| request["metadata"]["name"] == name) {
                    Some(request) => return (200, request.to_string().into_bytes()),
                    None => return (404, br#"{"kind":"Status","code":404}"#.to_vec()),
                },
            };
            (200, json!({ "items": items }).to_string().into_bytes())
        })
    }

    /// A kubeconfig for it.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n\
             clusters: [{{ name: a, cluster: {{ server: \"http://127.0.0.1:{}\" }} }}]\nusers: [{{ name: a, user: {{}} }}]\n",
            self.port
        );
        self.directory.file("config", text.as_bytes())
    }

    /// How a command ends that reads it.
    pub(super) fn asked(&self, arguments: &[&str]) -> Ended {
        let kubeconfig = self.kubeconfig();
        countersign(&[arguments, &["--kubeconfig", kubeconfig.to_str().unwrap()]].concat(), b"")
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> (u16, Vec<u8>)) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = answer(first.split(' ').nth(1).unwrap_or_default());
    write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// A request that the policies of the examples permit, filed so many seconds ago.
fn amy(name: &str, seconds_ago: i64) -> Value {
    let text = std::fs::read_to_string("examples/requests/amy.yaml").unwrap();
    let mut request: Value = serde_saphyr::from_str(&text).unwrap();
    let filed = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - seconds_ago).unwrap();
    request["metadata"] = json!({ "name": name, "uid": name, "creationTimestamp": filed.to_string() });
    request
}

#[test]
fn a_request_that_is_too_old_for_the_controller_is_too_old_for_who_asks() {
    let mut decided = amy("decided", 2 * 3600);
    decided["status"] =
        json!({ "conditions": [{ "type": "Denied", "status": "True", "reason": "x", "message": "y" }] });
    let server = Server::with(vec![amy("young", 60), amy("old", 2 * 3600), decided]);
    let decision = |arguments: &[&str], name: &str| {
        let Ended(_, out, err) = server.asked(&[&["review", "--live", "-o", "json"], arguments].concat());
        assert_eq!(err, "");
        let list: Value = serde_json::from_str(&out).unwrap();
        let review = list["reviews"].as_array().unwrap().iter().find(|review| review["name"] == name).unwrap();
        let text = |field: &str| review[field].as_str().unwrap().to_owned();
        (text("decision"), text("reasonCode"))
    };
    let approve = ("Approve".to_owned(), "policy-satisfied".to_owned());
    let too_old = ("NoOpinion".to_owned(), "request-too-old".to_owned());
    assert_eq!(decision(&[], "young"), approve);
    assert_eq!(decision(&[], "old"), too_old);
    assert_eq!(decision(&["old"], "old"), too_old);
    assert_eq!(decision(&["--max-request-age", "3h"], "old"), approve);
    assert_eq!(decision(&["--max-request-age", "30s"], "young"), too_old);
    assert_eq!(decision(&["--now", "2000-01-01T00:00:00Z"], "old"), approve);
    // One that was decided was younger then.
    assert_eq!(decision(&["decided"], "decided"), approve);

    for (arguments, verdict) in [
        (&["young"][..], "Approve: "),
        (&["old"], "NoOpinion: the request is "),
        (&["--max-request-age", "3h", "old"], "Approve: "),
        (&["--max-request-age", "30s", "young"], "NoOpinion: the request is "),
        (&["decided"], "Approve: "),
    ] {
        let Ended(status, out, err) = server.asked(&[&["explain"], arguments].concat());
        assert!(status == 0 && out.contains(&format!("  verdict   {verdict}")), "{arguments:?}: {out}{err}");
        assert!(out.contains("  - CSRPolicy developers: satisfied"), "{out}");
    }
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let live = ["review", "--live"];
    for option in [
        "--username=amy",
        "--uid=1",
        "--group=developers",
        "--extra=a=b",
        "--usage=client auth",
        "--expiration-seconds=600",
        "--signer-name=example.com/a",
    ] {
        let Ended(status, _, err) = countersign(&[&live[..], &[option]].concat(), b"");
        let name = option.split('=').next().unwrap();
        let told = err.contains(&format!("the argument '--live' cannot be used with '{name} <"));
        assert!(status == 2 && told, "{option}: {err}");
    }
    let files = ["review", "--policies", "examples/policies", "--max-request-age=1h", "examples/requests/amy.yaml"];
    let Ended(status, _, err) = countersign(&files, b"");
    assert!(status == 2 && err.contains("--live|--now <TIME>"), "{err}");
    assert_eq!(countersign(&[&files[..], &["--now=2000-01-01T00:00:00Z"]].concat(), b"").0, 0);
}

#[test]
fn what_the_api_server_refuses_is_said_once() {
    for (refused, arguments) in [
        ("csrpolicies", &["review", "--live"][..]),
        ("csrpolicies", &["explain", "amy"]),
        ("certificatesigningrequests", &["review", "--live"]),
        ("certificatesigningrequests", &["review", "--live", "amy"]),
        ("certificatesigningrequests", &["explain", "amy"]),
    ] {
        let says = format!("{refused} is forbidden: User \"rita\" cannot list them");
        let status = json!({ "kind": "Status", "code": 403, "reason": "Forbidden", "message": says }).to_string();
        let server = Server::start(move |path| {
            if path.contains(refused) { (403, status.clone().into_bytes()) } else { (200, b"{}".to_vec()) }
        });
        let Ended(status, out, err) = server.asked(arguments);
        assert_eq!((status, out.as_str(), err), (2, "", format!("error: {says} (403 Forbidden)\n")), "{arguments:?}");
    }
}

#[test]
fn what_an_api_server_answers_shows_in_one_line() {
    let odd = "\u{1b}[31m\u{9b}\u{202e}\n\u{1b}]0;title\u{7}";
    let status = json!({
        "kind": "Status", "code": 500, "reason": odd, "message": odd, "details": { "causes": [{ "message": odd }] }
    });
    for (code, body) in [
        (500, status.to_string()),
        (500, odd.to_owned()),
        (200, odd.to_owned()),
        (200, json!({ "items": odd }).to_string()),
        (200, json!({ "items": [{ "spec": odd, "kind": odd, "metadata": { "name": 1 } }] }).to_string()),
    ] {
        let shown = body.clone();
        let server = Server::start(move |_| (code, body.clone().into_bytes()));
        for arguments in [&["review", "--live"][..], &["explain", "amy"]] {
            let Ended(_, out, err) = server.asked(arguments);
            assert!(hostile::shows_all(&out) && hostile::shows_all(&err), "{shown}: {out:?} {err:?}");
            assert!(err.lines().count() <= 1, "{shown}: {err:?}");
        }
    }
}

#[test]
fn a_proxy_is_not_passed_over() {
    let bad = Bad::new();
    let config = |proxy: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{ name: a, context: {{ cluster: k, user: u }} }}, \
             {{ name: b, context: {{ cluster: l, user: u }} }}]\nclusters: [{{ name: k, cluster: {{ server: \"http://127.0.0.1:1\", \
             proxy-url: \"{proxy}\" }} }}, {{ name: l, cluster: {{ server: \"http://127.0.0.1:1\" }} }}]\n\
             users: [{{ name: u, user: {{ token: x }} }}]\n"
        );
        bad.file("config", text.as_bytes())
    };
    let file = config("socks5://127.0.0.1:1");
    let file = file.to_str().unwrap();
    let refused = "cluster k of the kubeconfig has a proxy-url, and Countersign goes through no proxy";
    for arguments in [&["review", "--live"][..], &["explain", "amy"], &["run"]] {
        let Ended(status, _, err) = countersign(&[arguments, &["--kubeconfig", file]].concat(), b"");
        assert!(status == 2 && err.contains(refused), "{arguments:?}: {err}");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(arguments)
            .env("KUBECONFIG", file)
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains(refused), "{arguments:?}");
    }
    // Another context has none, and an empty one is none.
    for arguments in [&["--context=b"][..], &[]] {
        let file = config(if arguments.is_empty() { "" } else { "http://127.0.0.1:1" });
        let arguments = [&["review", "--live", "--kubeconfig", file.to_str().unwrap()], arguments].concat();
        let Ended(status, _, err) = countersign(&arguments, b"");
        assert!(status == 2 && err.contains("cannot reach the API server"), "{err}");
    }
}

#[test]
fn what_is_no_filter_of_the_log_is_refused() {
    let run = |filter: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        let output = command.args(["run", "--kubeconfig", "none"]).env("RUST_LOG", filter).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = "error: RUST_LOG, which log.filter of the chart sets, is no filter: ";
    assert!(run("countersign=loud").starts_with(refused), "{}", run("countersign=loud"));
    assert!(run("info, countersign=debug").contains("cannot find a cluster"));
}
