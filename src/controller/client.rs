//! Calls to the API server: paths with escaped segments, a time limit on each, nothing decoded
//! that is not needed, and nothing sent twice behind the caller's back.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::{Body as _, Bytes, Frame, SizeHint};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::core::response::StatusDetails;
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tower::{BoxError, ServiceBuilder};

use super::credentials::{Renewed, Transport};
use super::{Connection, Error};
use crate::escape::cut;

/// How long a call may take before it counts as failed. Below the freshness limit of an approval.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// The most, in bytes, of an answer of which there may be several at a time.
const USUAL: usize = 256 * 1024;

/// The most, in bytes, of any answer. An object of the 1.5 MB that etcd takes is JSON of 9.5 MB where each byte is written as six,
/// which is up to whoever files it.
const LARGEST: usize = 12 * 1024 * 1024;

/// Who may hold an answer that is longer than usual.
static LONG: Semaphore = Semaphore::const_new(1);

/// The most that is said of an answer that is no `Status`, in bytes.
const MAX_TEXT: usize = 256;

/// How long a connection may be idle before the other side is asked whether it is still there, how long it may
/// take to answer, and how often it is asked: one that vanished without a word is noticed within 15 s.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 5);

/// Connects with the kubeconfig and context of `connection` if given, else with `KUBECONFIG`, `~/.kube/config`
/// or the service account of the pod, in that order; perhaps as somebody else.
pub(super) async fn connect(connection: Connection) -> Result<Client, Error> {
    let config = load(&connection).await?;
    let service = Renewed::new(connection, &config)?;
    Ok(Client::new(service, config.default_namespace))
}

/// kube's own stack, without two of its parts. It repeats a call that was answered 429, 503 or 504,
/// an approval too, whatever has changed in the meantime: here only the caller does that, who looks
/// again before. And it logs what requestors chose.
pub(super) fn transport(config: &Config) -> Result<Transport, Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let (idle, answer, times) = KEEPALIVE;
    connector.set_keepalive(Some(idle));
    connector.set_keepalive_interval(Some(answer));
    connector.set_keepalive_retries(Some(times));
    // What was written and not taken is not delivered long after its call was given up either (RFC 5482).
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(CALL_TIMEOUT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let transport = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_request(|mut request: Request<Body>| {
            let look = request.extensions_mut().remove::<LastLook>();
            request.map(|body| Guarded { body, look })
        })
        .map_err(BoxError::from)
        .service(transport);
    Ok(Transport::new(service))
}

/// The configuration as it is now. A token in a file is read here: whoever renews it is to be asked again.
pub(super) async fn load(connection: &Connection) -> Result<Config, Error> {
    let mut config = config(connection.kubeconfig.as_deref(), connection.context.as_deref()).await?;
    let user = &mut config.auth_info;
    if connection.as_user.is_some() {
        user.impersonate.clone_from(&connection.as_user);
    }
    if !connection.as_groups.is_empty() {
        user.impersonate_groups = Some(connection.as_groups.clone());
    }
    if let (None, Some(path)) = (&user.token, &user.token_file) {
        let token = std::fs::read_to_string(path);
        let token = token.map_err(|error| Error::Config(format!("cannot read the token in {path}: {error}")))?;
        user.token = Some(token.trim().into());
    }
    Ok(config)
}

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    if kubeconfig.is_none()
        && let Ok(file) = Kubeconfig::read()
    {
        goes_through_no_proxy(&file, context)?;
    }
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
            goes_through_no_proxy(&file, context)?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))?
        }
        None if context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
        None => Config::infer().await.map_err(|error| unusable(&error))?,
    };
    Ok(config)
}

/// A proxy that a kubeconfig names is there for a reason: whoever passes it over sends a token another way than was meant.
fn goes_through_no_proxy(file: &Kubeconfig, context: Option<&str>) -> Result<(), Error> {
    let named = context.or(file.current_context.as_deref());
    let context = file.contexts.iter().find(|context| Some(context.name.as_str()) == named);
    let cluster = context.and_then(|context| context.context.as_ref()).map(|context| context.cluster.as_str());
    let entry = file.clusters.iter().find(|entry| Some(entry.name.as_str()) == cluster);
    let proxy = entry.and_then(|entry| entry.cluster.as_ref()?.proxy_url.as_deref());
    match proxy {
        None | Some("") => Ok(()),
        Some(_) => Err(Error::Proxy(cluster.unwrap_or_default().to_owned())),
    }
}

/// What is wrong, without the lines of the file that a parser quotes: credentials stand in them.
fn unusable(error: &dyn std::error::Error) -> Error {
    let text = error.to_string();
    Error::Config(text.lines().next().unwrap_or_default().to_owned())
}

/// What is asked at the last moment: when there is a connection, and the body is about to be written
/// to it. Between the call and that moment a connection may have had to be made, a token to be renewed,
/// or this process may have been stopped.
#[derive(Clone)]
pub(super) struct LastLook(Arc<dyn Fn() -> bool + Send + Sync>);

impl LastLook {
    /// The request is sent only if `look` then says so.
    pub(super) fn new(look: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

/// A body that is not sent after a last look that says no. The API server never sees the whole of the
/// request then, and the connection is closed.
struct Guarded {
    body: Body,
    look: Option<LastLook>,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.look.as_ref().is_some_and(|look| !look.0()) {
            return Poll::Ready(Some(Err("no longer to be sent".into())));
        }
        let frame = Pin::new(&mut self.body).poll_frame(context).map_err(Into::into);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            // What is written cannot be taken back.
            self.look = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `text` as one segment of a URL path: CSR names are arbitrary text.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Sends `body` and reads the answer as `T`; `serde::de::IgnoredAny` reads nothing.
pub(super) async fn call<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<T, Error> {
    whole(client, request(method, path, content_type, body)?).await
}

/// The same, if `look` still says so at the last moment.
pub(super) async fn call_after<T: DeserializeOwned>(
    client: &Client,
    look: LastLook,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<T, Error> {
    let mut request = request(method, path, content_type, body)?;
    request.extensions_mut().insert(look);
    whole(client, request).await
}

fn request(method: Method, path: &str, content_type: &str, body: &Value) -> Result<Request<Body>, Error> {
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .header(http::header::ACCEPT, "application/json")
        .body(serde_json::to_vec(body)?.into())?)
}

/// Reads `path`, asking for the representation `accept`.
pub(super) async fn get<T: DeserializeOwned>(client: &Client, path: &str, accept: &str) -> Result<T, Error> {
    whole(client, Request::get(path).header(http::header::ACCEPT, accept).body(Body::empty())?).await
}

/// Reads `path`, unless the answer has more than `max` bytes.
pub(super) async fn get_within<T: DeserializeOwned>(client: &Client, path: &str, max: usize) -> Result<T, Error> {
    limited(async {
        let mut body = stream(client, path).await?;
        let mut whole = Vec::new();
        while let Some(bytes) = chunk(&mut body).await.transpose()? {
            add(&mut whole, &bytes, max)?;
        }
        Ok(serde_json::from_slice(&whole).map_err(kube::Error::SerdeError)?)
    })
    .await
}

/// Reads `path`, whose answer comes bit by bit and without end.
pub(super) async fn stream(client: &Client, path: &str) -> Result<Body, Error> {
    limited(open(client, path)).await
}

/// The same, however long it takes until the answer begins.
pub(super) async fn open(client: &Client, path: &str) -> Result<Body, Error> {
    answer(client, Request::get(path).header(http::header::ACCEPT, "application/json").body(Body::empty())?).await
}

/// The next bytes of `body`, if it has not ended.
pub(super) async fn chunk(body: &mut Body) -> Option<Result<Bytes, Error>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error.into())),
        }
    }
}

/// Reads the whole answer. One that is longer than usual waits until no other is held, so that many fill no memory.
async fn whole<T: DeserializeOwned>(client: &Client, request: Request<Body>) -> Result<T, Error> {
    limited(async {
        let mut body = answer(client, request).await?;
        let (mut whole, mut permit) = (Vec::new(), None);
        while let Some(bytes) = chunk(&mut body).await.transpose()? {
            if permit.is_none() && whole.len() + bytes.len() > USUAL {
                // It is never closed.
                permit = LONG.acquire().await.ok();
            }
            add(&mut whole, &bytes, LARGEST)?;
        }
        let read = serde_json::from_slice(&whole).map_err(kube::Error::SerdeError);
        drop((whole, permit));
        Ok(read?)
    })
    .await
}

fn add(whole: &mut Vec<u8>, bytes: &[u8], max: usize) -> Result<(), Error> {
    if whole.len() + bytes.len() > max {
        return Err(Error::TooLarge(max));
    }
    whole.extend_from_slice(bytes);
    Ok(())
}

/// The body of the answer to `request`, if that is none of failure.
async fn answer(client: &Client, request: Request<Body>) -> Result<Body, Error> {
    let (parts, body) = client.send(request).await?.into_parts();
    if parts.status.is_success() {
        return Ok(body);
    }
    // A refusal may quote the whole object.
    let (mut body, mut said) = (body, Vec::new());
    while said.len() < USUAL
        && let Some(bytes) = chunk(&mut body).await.transpose()?
    {
        said.extend_from_slice(&bytes);
    }
    Err(kube::Error::Api(refusal(parts.status, &parts.headers, &said)).into())
}

/// What the API server says. Its priority and fairness, and what stands between, say when to come again
/// in a header only, beside text for people.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Box<Status> {
    let reason = || status.canonical_reason().unwrap_or_default().replace(' ', "");
    let text = || cut(String::from_utf8_lossy(body).trim(), MAX_TEXT);
    let mut said = serde_json::from_slice(body).unwrap_or_else(|_| Status::failure(&text(), &reason()));
    said.code = status.as_u16();
    let after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(seconds) = after {
        let none = || StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        said.details.get_or_insert_with(none).retry_after_seconds = seconds;
    }
    Box::new(said)
}

/// `call`, unless it takes too long.
pub(super) async fn limited<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(Error::Timeout(CALL_TIMEOUT.as_secs())))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::{Duration, Error, refusal, segment};

    #[test]
    fn no_name_leaves_its_segment() {
        assert_eq!(segment("a?b#c"), "a%3Fb%23c");
        assert_eq!(segment("../x y\0"), "%2E%2E%2Fx%20y%00");
    }

    #[test]
    fn a_refusal_in_plain_text_says_when_to_come_again() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        let said = refusal(StatusCode::TOO_MANY_REQUESTS, &headers, b"Too many requests, please try again later.\n");
        assert_eq!((said.code, said.reason.as_str()), (429, "TooManyRequests"));
        assert_eq!(said.message, "Too many requests, please try again later.");
        assert_eq!(Error::from(kube::Error::Api(said)).retry_after(), Duration::from_secs(7));
        headers.insert("retry-after", HeaderValue::from_static("3600"));
        let said = refusal(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
        assert_eq!(Error::from(kube::Error::Api(said)).retry_after(), Duration::from_secs(30));
        let said = refusal(StatusCode::NOT_FOUND, &HeaderMap::new(), br#"{"kind":"Status","message":"no","code":404}"#);
        assert_eq!((said.message.as_str(), said.details.is_none()), ("no", true));
    }
}
