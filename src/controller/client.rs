//! Calls to the API server: paths with escaped segments, a time limit on each, nothing decoded
//! that is not needed.

use std::path::Path;
use std::time::Duration;

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Connection, Error};

/// How long a call may take before it counts as failed. Below the freshness limit of an approval.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// Connects with `kubeconfig` and `context` if given, else with `KUBECONFIG`, `~/.kube/config` or
/// the service account of the pod, in that order.
pub(super) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Error> {
    Ok(Client::try_from(config(kubeconfig, context).await?)?)
}

/// The same, perhaps as somebody else.
pub(super) async fn connect_as(connection: &Connection) -> Result<Client, Error> {
    let mut config = config(connection.kubeconfig.as_deref(), connection.context.as_deref()).await?;
    config.auth_info.impersonate.clone_from(&connection.as_user);
    if !connection.as_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(connection.as_groups.clone());
    }
    Ok(Client::try_from(config)?)
}

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))?
        }
        None if context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error))?,
        None => Config::infer().await.map_err(|error| unusable(&error))?,
    };
    Ok(config)
}

/// What is wrong, without the lines of the file that a parser quotes: credentials stand in them.
fn unusable(error: &dyn std::error::Error) -> Error {
    let text = error.to_string();
    Error::Config(text.lines().next().unwrap_or_default().to_owned())
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
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .header(http::header::ACCEPT, "application/json")
        .body(serde_json::to_vec(body)?)?;
    limited(client.request(request)).await
}

/// Reads `path`, asking for the representation `accept`.
pub(super) async fn get<T: DeserializeOwned>(client: &Client, path: &str, accept: &str) -> Result<T, Error> {
    let request = Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new())?;
    limited(client.request(request)).await
}

async fn limited<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Timeout(CALL_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn no_name_leaves_its_segment() {
        assert_eq!(segment("a?b#c"), "a%3Fb%23c");
        assert_eq!(segment("../x y\0"), "%2E%2E%2Fx%20y%00");
    }
}
