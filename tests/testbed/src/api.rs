//! The API server as a program calls it, many times faster than kubectl: for races.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::tls::Connector;

/// What the API server says: the status, and the body as JSON, or as text where it is none.
pub type Answer = (u16, Value);

type Sender = SendRequest<Full<Bytes>>;

/// A client with a certificate, for any number of threads.
pub struct Api {
    runtime: Runtime,
    connector: Connector,
    idle: Arc<Mutex<Vec<Sender>>>,
    headers: Vec<(&'static str, String)>,
}

impl Api {
    pub(crate) fn new(connector: Connector) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, connector, idle: Arc::default(), headers: Vec::new() })
    }

    /// Does what it does as `user` in `groups`.
    #[must_use]
    pub fn as_user(mut self, user: &str, groups: &[&str]) -> Self {
        self.headers.push(("impersonate-user", user.to_owned()));
        self.headers.extend(groups.iter().map(|group| ("impersonate-group", (*group).to_owned())));
        self
    }

    /// Calls it, and returns whatever it answers.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let text = body.map(ToString::to_string).unwrap_or_default();
        self.runtime.block_on(async {
            let (response, sender) = self.send(method, path, text).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Ok((status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
        })
    }

    /// Calls it, and returns the status alone: nothing of the answer is parsed.
    pub fn status(&self, method: &str, path: &str, body: String) -> anyhow::Result<u16> {
        self.runtime.block_on(async {
            let (response, sender) = self.send(method, path, body).await?;
            let status = response.status().as_u16();
            response.into_body().collect().await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
            Ok(status)
        })
    }

    /// Creates an object that is written as protobuf, and returns the status.
    pub fn create_protobuf(&self, path: &str, object: Vec<u8>) -> anyhow::Result<u16> {
        self.runtime.block_on(async {
            let (response, sender) = self.send_as("POST", path, "application/vnd.kubernetes.protobuf", object).await?;
            let status = response.status().as_u16();
            response.into_body().collect().await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
            Ok(status)
        })
    }

    /// Calls it, and fails on any status but those below 300.
    pub fn must(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method, path, body)?;
        ensure!(status < 300, "{method} {path}: {status} {answer}");
        Ok(answer)
    }

    /// The lines of a watch, each with when it came, until the receiver is dropped or the stream ends.
    pub fn watch(&self, path: &str) -> anyhow::Result<mpsc::Receiver<(Instant, Value)>> {
        let (lines, received) = mpsc::channel();
        let (mut response, sender) = self.runtime.block_on(self.send("GET", path, String::new()))?;
        ensure!(response.status().is_success(), "GET {path}: {}", response.status());
        self.runtime.spawn(async move {
            let mut rest = Vec::new();
            while let Some(Ok(frame)) = response.frame().await {
                rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = serde_json::from_slice(&line).unwrap_or_default();
                    if lines.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            }
            drop(sender);
        });
        Ok(received)
    }

    async fn send(&self, method: &str, path: &str, body: String) -> anyhow::Result<(Response<Incoming>, Sender)> {
        self.send_as(method, path, content_type(method), body).await
    }

    async fn send_as(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(Response<Incoming>, Sender)> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sender = loop {
            match idle() {
                // The API server may have closed it in the meantime.
                Some(mut sender) => {
                    if sender.ready().await.is_ok() {
                        break sender;
                    }
                }
                None => break connect(&self.connector).await?,
            }
        };
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("content-type", content_type);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.into()))?;
        let response = sender.send_request(request).await.with_context(|| format!("{method} {path}"))?;
        Ok((response, sender))
    }
}

fn content_type(method: &str) -> &'static str {
    if method == "PATCH" { "application/merge-patch+json" } else { "application/json" }
}

/// A new connection.
pub(crate) async fn connect(connector: &Connector) -> anyhow::Result<Sender> {
    let (sender, connection) = handshake(TokioIo::new(connector.connect().await?)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
