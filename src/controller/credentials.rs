//! Credentials that change while a process runs: the token of a service account, which the kubelet renews, client
//! certificates, CAs and kubeconfigs. All of it is read again every ten seconds, and every two while calls are
//! refused as unauthorized or fail; what differs is used from the next call on.
//!
//! Why not kube's own: it reads a token again a minute later by the wall clock, which can be set back, a client
//! certificate never, and a token with a line end, as editors write one, gives no header.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use jiff::Timestamp;
use kube::Config;
use kube::client::Body;
use kube::config::AuthInfo;
use serde_json::Value;
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

use super::client::{load, transport};
use super::{Connection, Error};
use crate::escape::printable;

/// How often the credentials are read again.
const LOOK: Duration = Duration::from_secs(10);
/// The same, while calls fail.
const LOOK_WHILE_FAILING: Duration = Duration::from_secs(2);

/// What sends calls to one API server with one set of credentials.
pub(super) type Transport = BoxCloneService<Request<Body>, Response<Incoming>, BoxError>;

/// What sends calls with the credentials that there are.
#[derive(Clone)]
pub(super) struct Renewed(Arc<Inner>);

struct Inner {
    connection: Connection,
    /// The API server, which stays the same: what is in memory is of its cluster.
    server: Uri,
    state: Mutex<State>,
}

struct State {
    transport: Transport,
    /// Of all that `transport` was made of.
    digest: Vec<u8>,
    credentials: Credentials,
    /// Counts the transports.
    number: u64,
    looked: Instant,
    looking: bool,
    answers: Answers,
}

/// How the last call went that was made with the present transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Accepted,
    Unauthorized,
    /// None came: the server may have another certificate than is believed here.
    None,
}

impl Renewed {
    /// Calls the API server of `config`, which was loaded as `connection` says.
    pub(super) fn new(connection: Connection, config: &Config) -> Result<Self, Error> {
        let state = State {
            transport: transport(config)?,
            digest: digest(config)?,
            credentials: Credentials::of(&config.auth_info),
            number: 0,
            looked: Instant::now(),
            looking: false,
            answers: Answers::Accepted,
        };
        Ok(Self(Arc::new(Inner { connection, server: config.cluster_url.clone(), state: Mutex::new(state) })))
    }
}

impl Service<Request<Body>> for Renewed {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        let (transport, number) = inner.transport();
        Box::pin(async move {
            let answer = transport.oneshot(request).await;
            inner.answered(number, answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present transport; if it is time to, somebody looks whether there is to be another.
    fn transport(self: &Arc<Self>) -> (Transport, u64) {
        let mut state = self.state();
        let pause = if state.answers == Answers::Accepted { LOOK } else { LOOK_WHILE_FAILING };
        if !state.looking && state.looked.elapsed() >= pause {
            state.looking = true;
            // On its own: the call that it comes with may be given up.
            tokio::spawn(Arc::clone(self).look());
        }
        (state.transport.clone(), state.number)
    }

    fn answered(&self, number: u64, status: Option<StatusCode>) {
        let mut state = self.state();
        if state.number != number {
            return;
        }
        let now = match status {
            None => Answers::None,
            Some(StatusCode::UNAUTHORIZED) => Answers::Unauthorized,
            Some(_) => Answers::Accepted,
        };
        let before = std::mem::replace(&mut state.answers, now);
        if now == Answers::Unauthorized && before != now {
            let credentials = state.credentials.to_string();
            drop(state);
            tracing::error!(
                credentials = printable(&credentials),
                "the API server does not accept the credentials, which are read again until it does"
            );
        }
    }

    async fn look(self: Arc<Self>) {
        let made = self.made_anew().await;
        let mut state = self.state();
        state.looking = false;
        state.looked = Instant::now();
        match made {
            Ok(None) => {}
            Ok(Some((transport, digest, credentials))) => {
                let shown = credentials.to_string();
                state.transport = transport;
                state.digest = digest;
                state.credentials = credentials;
                state.number += 1;
                drop(state);
                tracing::info!(credentials = printable(&shown), "the credentials changed and are used from now on");
            }
            Err(error) => {
                drop(state);
                // Perhaps half of them is replaced.
                tracing::warn!(error = %error, "cannot read the credentials again, so that those from before are used");
            }
        }
    }

    /// What is made of the credentials that there are now, if they are others. Those of a program are others
    /// whenever it is asked, and it is asked when they are refused.
    async fn made_anew(&self) -> Result<Option<(Transport, Vec<u8>, Credentials)>, Error> {
        let config = load(&self.connection).await?;
        if config.cluster_url != self.server {
            return Err(Error::OtherServer);
        }
        let digest = digest(&config)?;
        let credentials = Credentials::of(&config.auth_info);
        let same = {
            let state = self.state();
            let ask = state.answers == Answers::Unauthorized && credentials.source == Source::Program;
            state.digest == digest && !ask
        };
        if same {
            return Ok(None);
        }
        // A program may take its time.
        let made = tokio::task::spawn_blocking(move || transport(&config)).await;
        let transport = made.map_err(|error| Error::Config(error.to_string()))??;
        Ok(Some((transport, digest, credentials)))
    }
}

/// The hash of everything in `config` and in the files it names.
fn digest(config: &Config) -> Result<Vec<u8>, Error> {
    let file = |path: &Option<String>| path.as_ref().map(|path| fs::read(path).unwrap_or_default());
    let user = &config.auth_info;
    let mut parts = vec![
        config.cluster_url.to_string().into_bytes(),
        format!("{:?} {:?} {}", config.tls_server_name, config.proxy_url, config.accept_invalid_certs).into_bytes(),
        // Through a `Value`, whose maps have an order.
        serde_json::to_vec(&serde_json::to_value(user)?)?,
        file(&user.client_certificate).unwrap_or_default(),
        file(&user.client_key).unwrap_or_default(),
    ];
    parts.extend(config.root_cert.iter().flatten().cloned());
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&part.len().to_le_bytes());
        context.update(&part);
    }
    Ok(context.finish().as_ref().to_vec())
}

/// What is shown to the API server, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Credentials {
    source: Source,
    /// Until when they are good, if they say so.
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    None,
    Password,
    Program,
    /// In a file, or in the kubeconfig.
    Token(Option<String>),
    Certificate(Option<String>),
}

impl Credentials {
    fn of(user: &AuthInfo) -> Self {
        let secret = |name: &str| {
            let shown = serde_json::to_value(user).ok()?;
            shown.get(name)?.as_str().map(str::to_owned)
        };
        let (source, until) = if user.auth_provider.is_some() || user.exec.is_some() {
            (Source::Program, None)
        } else if user.username.is_some() && user.password.is_some() {
            (Source::Password, None)
        } else if let Some(token) = secret("token") {
            (Source::Token(user.token_file.clone()), token_expires(&token))
        } else if let Some(data) = &user.client_certificate_data {
            let pem = STANDARD.decode(data).unwrap_or_default();
            (Source::Certificate(None), certificate_expires(&pem))
        } else if let Some(path) = &user.client_certificate {
            (Source::Certificate(Some(path.clone())), certificate_expires(&fs::read(path).unwrap_or_default()))
        } else {
            (Source::None, None)
        };
        Self { source, until }
    }
}

impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |path: &Option<String>| path.clone().unwrap_or_else(|| "the kubeconfig".to_owned());
        match &self.source {
            Source::None => f.write_str("none")?,
            Source::Password => f.write_str("the user name and password in the kubeconfig")?,
            Source::Program => f.write_str("those of the program that the kubeconfig names")?,
            Source::Token(path) => write!(f, "the token in {}", place(path))?,
            Source::Certificate(path) => write!(f, "the client certificate in {}", place(path))?,
        }
        match self.until {
            Some(until) if until < Timestamp::now() => write!(f, ", which expired at {until}"),
            Some(until) => write!(f, ", good until {until}"),
            None => Ok(()),
        }
    }
}

/// `exp` of a JSON Web Token (RFC 7519, section 4.1.4).
fn token_expires(token: &str) -> Option<Timestamp> {
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()?;
    Timestamp::from_second(claims["exp"].as_i64()?).ok()
}

fn certificate_expires(pem: &[u8]) -> Option<Timestamp> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use kube::config::AuthInfo;

    use super::super::client::load;
    use super::{Connection, Credentials, Error, Renewed};

    #[tokio::test]
    async fn another_token_is_taken_up_and_another_api_server_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        let write = |server: &str, token: &str| {
            let kubeconfig = serde_json::json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{ "name": "c", "cluster": { "server": server, "insecure-skip-tls-verify": true } }],
                "users": [{ "name": "u", "user": { "token": token } }],
                "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
                "current-context": "x",
            });
            std::fs::write(&path, kubeconfig.to_string()).unwrap();
        };
        write("https://127.0.0.1:1", "a");
        let connection = Connection { kubeconfig: Some(path.clone()), ..Connection::default() };
        let config = load(&connection).await.unwrap();
        let Renewed(inner) = Renewed::new(connection, &config).unwrap();
        assert!(inner.made_anew().await.unwrap().is_none());
        write("https://127.0.0.1:1", "b");
        assert!(inner.made_anew().await.unwrap().is_some());
        write("https://127.0.0.1:2", "b");
        assert!(matches!(inner.made_anew().await, Err(Error::OtherServer)));
    }

    #[test]
    fn credentials_are_named_with_their_end_and_never_shown() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1767225600,"sub":"x"}"#);
        let of = |token: &str, file: Option<&str>| {
            let user =
                AuthInfo { token: Some(token.into()), token_file: file.map(str::to_owned), ..AuthInfo::default() };
            Credentials::of(&user).to_string()
        };
        let token = format!("header.{claims}.signature");
        assert_eq!(of(&token, Some("/token")), "the token in /token, which expired at 2026-01-01T00:00:00Z");
        assert_eq!(of("opaque", None), "the token in the kubeconfig");
        assert_eq!(Credentials::of(&AuthInfo::default()).to_string(), "none");
    }
}
