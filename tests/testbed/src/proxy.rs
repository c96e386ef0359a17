//! A proxy before the API server that does wrong what a network or an API server may do wrong:
//! on what, with what and how often is set while it runs, and every call is recorded.
//!
//! It ends TLS with the API server's own certificate and passes the `Authorization` header on, so
//! a client with a token needs nothing but another port. Each call gets a connection upstream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::ControlPlane;
use super::api::connect;
use super::tls::{self, Connector};

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The API server answers with this status, as it would itself; with `Retry-After` if there is one, in seconds.
    Answer(u16, Option<u32>),
    /// The API server answers 200 with this body.
    Body(String),
    /// The call takes longer.
    Delay(Duration),
    /// The call is never answered.
    Hang,
    /// The connection is closed without an answer.
    Reset,
    /// The call reaches the API server only after this fault is mended.
    Hold,
    /// The call reaches the API server at once, its answer the caller only after this fault is mended.
    HoldAnswer,
    /// A watch brings nothing more, and is not closed either.
    Silence,
    /// The next line of a watch is cut in the middle, and the connection with it.
    CutInLine,
    /// A watch ends between two lines, as when its time is over.
    End,
    /// A watch brings this line, which the API server did not send.
    Insert(String),
    /// A line of a watch that contains this text is lost.
    Drop(String),
    /// A line of a watch that contains the first text is replaced by the second.
    Replace(String, String),
}

/// One call, as it reached the proxy.
#[derive(Debug, Clone)]
pub struct Call {
    /// When.
    pub at: Instant,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its body as JSON, if it is JSON.
    pub body: Value,
    /// What the API server answered, if it was asked and did.
    pub answer: Option<u16>,
}

impl Call {
    /// Whether it is a watch.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=")
    }

    /// Whether it is a watch of these objects.
    #[must_use]
    pub fn watches(&self, plural: &str) -> bool {
        self.is_watch() && self.path.contains(&format!("/{plural}?"))
    }

    /// Whether it reads these objects without watching them.
    #[must_use]
    pub fn lists(&self, plural: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        self.method == "GET" && !self.is_watch() && path.ends_with(&format!("/{plural}"))
    }

    /// The condition that it writes to a request, if it is a decision.
    #[must_use]
    pub fn decides(&self) -> Option<&str> {
        let path = self.path.split('?').next()?;
        let conditions = self.body["status"]["conditions"].as_array()?;
        if self.method == "PATCH" && path.ends_with("/approval") { conditions.last()?["type"].as_str() } else { None }
    }

    /// Whether it approves a request.
    #[must_use]
    pub fn approves(&self) -> bool {
        self.decides() == Some("Approved")
    }

    /// The name of the object that its body is about.
    #[must_use]
    pub fn about(&self) -> &str {
        self.body["metadata"]["name"].as_str().unwrap_or_default()
    }
}

type On = Box<dyn Fn(&Call) -> bool + Send>;

struct Rule {
    id: u64,
    on: On,
    fault: Fault,
    /// How often it still happens; for ever where nothing is said.
    times: Option<u32>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    next_id: u64,
    calls: Vec<Call>,
    /// No connection is answered: TCP accepts it, and that is all.
    held: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Says that the rules changed.
    changed: watch::Sender<()>,
    upstream: Connector,
}

/// A proxy that runs until this is dropped.
pub struct Proxy {
    // Dropped last: what runs on it holds the rest.
    shared: Arc<Shared>,
    port: u16,
    kubeconfig: PathBuf,
    _runtime: Runtime,
}

/// A fault that happens until this is dropped.
#[must_use = "the fault is mended when this is dropped"]
pub struct Injected {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Injected {
    fn drop(&mut self) {
        let id = self.id;
        self.shared.change(|state| state.rules.retain(|rule| rule.id != id));
    }
}

/// Connections are not answered until this is dropped.
#[must_use = "connections are answered again when this is dropped"]
pub struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.change(|state| state.held = false);
    }
}

impl Proxy {
    /// Starts one before `plane`, with a kubeconfig `NAME.kubeconfig` that is the plane's
    /// `countersign.kubeconfig` but for the port.
    pub fn start(plane: &ControlPlane, name: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let acceptor = tls::acceptor(plane.directory())?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            upstream: Connector::new(plane.directory(), plane.port(), None)?,
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let port = listener.local_addr()?.port();
        let text = fs::read_to_string(plane.file("countersign.kubeconfig"))?;
        let kubeconfig = plane.file(&format!("{name}.kubeconfig"));
        fs::write(&kubeconfig, text.replace(&format!("127.0.0.1:{}", plane.port()), &format!("127.0.0.1:{port}")))?;
        runtime.spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { shared, port, kubeconfig, _runtime: runtime })
    }

    /// The port of 127.0.0.1 that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The kubeconfig that leads through it, as an option of the controller.
    #[must_use]
    pub fn option(&self) -> String {
        format!("--kubeconfig={}", self.kubeconfig.display())
    }

    /// Lets `fault` happen to the calls that `on` picks, until what this returns is dropped. The first
    /// fault that fits a call happens to it, or to a line of its watch.
    pub fn inject(&self, on: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) -> Injected {
        self.inject_times(on, fault, None)
    }

    /// The same, so many times.
    pub fn inject_times(
        &self,
        on: impl Fn(&Call) -> bool + Send + 'static,
        fault: Fault,
        times: impl Into<Option<u32>>,
    ) -> Injected {
        let mut id = 0;
        self.shared.change(|state| {
            state.next_id += 1;
            id = state.next_id;
            state.rules.push(Rule { id, on: Box::new(on), fault, times: times.into() });
        });
        Injected { shared: Arc::clone(&self.shared), id }
    }

    /// Answers no new connection until what this returns is dropped.
    pub fn hold_connections(&self) -> Held {
        self.shared.change(|state| state.held = true);
        Held(Arc::clone(&self.shared))
    }

    /// What was called so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// What was called since `since` and `of` picks.
    #[must_use]
    pub fn calls_since(&self, since: Instant, of: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.shared.state().calls.iter().filter(|call| call.at >= since && of(call)).cloned().collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    /// The first fault that fits `call` and `pick`, used once, with the number of its rule.
    fn fault(&self, call: &Call, pick: impl Fn(&Fault) -> bool) -> Option<(u64, Fault)> {
        let mut state = self.state();
        let rule = state.rules.iter_mut().find(|rule| rule.times != Some(0) && pick(&rule.fault) && (rule.on)(call))?;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some((rule.id, rule.fault.clone()))
    }

    /// Waits until the rule of this number is mended.
    async fn mended(&self, id: u64) {
        let mut changed = self.changed.subscribe();
        while self.state().rules.iter().any(|rule| rule.id == id) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits while connections are held.
    async fn answering(&self) {
        let mut changed = self.changed.subscribe();
        while self.state().held {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            shared.answering().await;
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            // What a client does wrong is its own affair; a reset is an error of the service.
            // Every call has a connection of its own: one that is held is held for the next call, too.
            let mut server = hyper::server::conn::http1::Builder::new();
            let _ = server.keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answered = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answered, std::io::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let call = Call {
        at: Instant::now(),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        answer: None,
    };
    let index = {
        let mut state = shared.state();
        state.calls.push(call.clone());
        state.calls.len() - 1
    };
    let mut hold_answer = None;
    if let Some((id, fault)) = shared.fault(&call, is_of_calls) {
        match fault {
            Fault::Answer(status, retry_after) => return Ok(refusal(status, retry_after)),
            Fault::Body(text) => return Ok(json_answer(StatusCode::OK, text)),
            Fault::Delay(by) => tokio::time::sleep(by).await,
            Fault::Hang => pending::<()>().await,
            Fault::Reset => return Err(std::io::ErrorKind::ConnectionReset.into()),
            Fault::Hold => shared.mended(id).await,
            Fault::HoldAnswer => hold_answer = Some(id),
            Fault::Silence | Fault::CutInLine | Fault::End | Fault::Insert(_) | Fault::Drop(_) | Fault::Replace(..) => {
            }
        }
    }
    let mut request = Request::from_parts(parts, Full::new(bytes));
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    let upstream = async {
        let mut sender = connect(&shared.upstream).await?;
        Ok::<_, anyhow::Error>(sender.send_request(request).await?)
    };
    let response = upstream.await.map_err(std::io::Error::other)?;
    if let Some(recorded) = shared.state().calls.get_mut(index) {
        recorded.answer = Some(response.status().as_u16());
    }
    if let Some(id) = hold_answer {
        shared.mended(id).await;
    }
    let (parts, body) = response.into_parts();
    if call.is_watch() && parts.status.is_success() {
        let (lines, received) = mpsc::channel(1);
        tokio::spawn(async move { follow(&shared, &call, body, &lines).await });
        return Ok(Response::from_parts(parts, Lines(received).boxed_unsync()));
    }
    Ok(Response::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync()))
}

const fn is_of_calls(fault: &Fault) -> bool {
    !matches!(fault, Fault::Silence | Fault::End | Fault::Insert(_)) && !is_of_lines(fault)
}

const fn is_of_lines(fault: &Fault) -> bool {
    matches!(fault, Fault::CutInLine | Fault::Drop(_) | Fault::Replace(..))
}

type Line = Result<Frame<Bytes>, std::io::Error>;

/// Passes the lines of a watch on, one by one, until either side ends.
async fn follow(shared: &Shared, call: &Call, mut body: Incoming, lines: &mpsc::Sender<Line>) {
    let mut changed = shared.changed.subscribe();
    let mut rest = Vec::new();
    let mut ready = VecDeque::<String>::new();
    loop {
        while let Some((_, Fault::Insert(line))) = shared.fault(call, |fault| matches!(fault, Fault::Insert(_))) {
            if send(lines, line).await.is_err() {
                return;
            }
        }
        if shared.fault(call, |fault| matches!(fault, Fault::End)).is_some() {
            return;
        }
        if let Some((id, _)) = shared.fault(call, |fault| matches!(fault, Fault::Silence)) {
            tokio::select! {
                () = shared.mended(id) => {}
                () = lines.closed() => return,
            }
            continue;
        }
        if let Some(line) = ready.pop_front() {
            if pass(shared, call, line, lines).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default()),
                Some(Err(error)) => {
                    let _ = lines.send(Err(std::io::Error::other(error))).await;
                    return;
                }
                None => return,
            },
            _ = changed.changed() => continue,
            () = lines.closed() => return,
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            ready.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

/// Passes one line on, or does to it what a rule says.
async fn pass(shared: &Shared, call: &Call, line: String, lines: &mpsc::Sender<Line>) -> Result<(), ()> {
    let fits = |fault: &Fault| match fault {
        Fault::Drop(text) | Fault::Replace(text, _) => line.contains(text.as_str()),
        _ => is_of_lines(fault),
    };
    match shared.fault(call, fits) {
        Some((_, Fault::Drop(_))) => Ok(()),
        Some((_, Fault::Replace(_, other))) => send(lines, other).await,
        Some((_, Fault::CutInLine)) => {
            let line = Bytes::from(line);
            let _ = lines.send(Ok(Frame::data(line.slice(..line.len() / 2)))).await;
            let _ = lines.send(Err(std::io::ErrorKind::ConnectionReset.into())).await;
            Err(())
        }
        _ => send(lines, line).await,
    }
}

async fn send(lines: &mpsc::Sender<Line>, mut line: String) -> Result<(), ()> {
    line.push('\n');
    lines.send(Ok(Frame::data(Bytes::from(line)))).await.map_err(|_| ())
}

/// The body of a watch.
struct Lines(mpsc::Receiver<Line>);

impl Body for Lines {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Line>> {
        self.0.poll_recv(context)
    }
}

/// What the API server answers when it refuses; its priority and fairness refuses in plain text.
fn refusal(status: u16, retry_after: Option<u32>) -> Answered {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(seconds) = retry_after else {
        let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "a fault was injected", "reason": reason, "code": status,
        });
        return json_answer(code, body.to_string());
    };
    let mut answer = text_answer(code, "text/plain; charset=utf-8", "Too many requests, please try again later.\n");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

fn json_answer(status: StatusCode, text: String) -> Answered {
    text_answer(status, "application/json", text)
}

fn text_answer(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answered {
    let mut answer = Response::new(Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
