//! A list as it comes, one object in memory at a time. It is not read in pages: the API server says in a text where the next
//! one begins, and a requestor may choose a name that comes out of that as another (bytes that are no UTF-8), so that a page
//! would follow on itself for ever.

use std::time::Duration;

use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::{Instant, timeout_at};

use super::Error;
use super::client::{chunk, open};

/// How long a list may take: as long as the API server itself gives a request, unless it is told otherwise.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT: Error = Error::Timeout(LIST_TIMEOUT.as_secs());

/// Splits the bytes of a list into its items and what is around them.
#[derive(Debug, Default)]
struct Splitter {
    /// What is around the items, with none in between.
    around: Vec<u8>,
    /// The item that has come so far.
    item: Vec<u8>,
    /// How deep the next byte is nested.
    depth: usize,
    in_text: bool,
    /// A backslash came before.
    escaped: bool,
    /// The last text at the top, which may be the name of a member.
    last: Vec<u8>,
    /// Whether what is nested now are the items.
    in_items: bool,
}

impl Splitter {
    /// Takes in `byte`; whether an item is complete.
    fn push(&mut self, byte: u8) -> bool {
        let is_item = self.in_items && (self.depth > 2 || byte == b'{');
        if is_item {
            self.item.push(byte);
        } else if !self.in_items || byte == b']' {
            self.around.push(byte);
        }
        if self.in_text {
            if self.depth == 1 && (byte != b'"' || self.escaped) {
                self.last.push(byte);
            }
            self.in_text = byte != b'"' || self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            return false;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                if self.depth == 1 {
                    self.last.clear();
                }
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.in_items |= self.depth == 2 && byte == b'[' && self.last == b"items";
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.in_items &= self.depth > 1;
                return is_item && self.depth == 2;
            }
            _ => {}
        }
        false
    }
}

/// What is around the items.
#[derive(Deserialize)]
struct Around {
    #[serde(default)]
    metadata: AroundMetadata,
    /// Null where there is none.
    #[serde(default, rename = "items")]
    _items: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AroundMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

/// A list that is on its way.
pub(super) struct Items {
    body: Body,
    until: Instant,
    splitter: Splitter,
    /// What came and was not looked at yet, and how much of it was.
    rest: Vec<u8>,
    at: usize,
}

impl Items {
    /// Asks for the list at `path`.
    pub(super) async fn open(client: &Client, path: &str) -> Result<Self, Error> {
        let until = Instant::now() + LIST_TIMEOUT;
        let body = timeout_at(until, open(client, path)).await.map_err(|_| TIMEOUT)??;
        Ok(Self { body, until, splitter: Splitter::default(), rest: Vec::new(), at: 0 })
    }

    /// The next object; nothing after the last one.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            while let Some(byte) = self.rest.get(self.at) {
                self.at += 1;
                if self.splitter.push(*byte) {
                    let item = std::mem::take(&mut self.splitter.item);
                    return Ok(Some(serde_json::from_slice(&item).map_err(kube::Error::SerdeError)?));
                }
            }
            let bytes = timeout_at(self.until, chunk(&mut self.body)).await;
            match bytes.map_err(|_| TIMEOUT)? {
                Some(bytes) => (self.rest, self.at) = (bytes?.to_vec(), 0),
                None => return Ok(None),
            }
        }
    }

    /// The version of the list, whose last object has come, if it says one.
    pub(super) fn version(self) -> Result<String, Error> {
        let around = &self.splitter.around;
        if !around.trim_ascii_start().starts_with(b"{") {
            return Err(Error::Answer("a list"));
        }
        let around: Around = serde_json::from_slice(around).map_err(kube::Error::SerdeError)?;
        let AroundMetadata { resource_version, next } = around.metadata;
        if next.is_empty() { Ok(resource_version) } else { Err(Error::Answer("a whole list")) }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use serde_json::{Value, json};

    use super::{Body, Client, Items};

    async fn read(list: &str) -> Result<(Vec<Value>, String), String> {
        let list = list.as_bytes().to_vec();
        let service = tower::service_fn(move |_: Request<Body>| {
            let list = list.clone();
            async { Ok::<_, Infallible>(Response::new(Body::from(list))) }
        });
        let mut items = Items::open(&Client::new(service, "default"), "/").await.unwrap();
        let mut all = Vec::new();
        while let Some(item) = items.next().await.map_err(|error| error.to_string())? {
            all.push(item);
        }
        Ok((all, items.version().map_err(|error| error.to_string())?))
    }

    #[tokio::test]
    async fn a_list_is_what_a_parser_of_the_whole_makes_of_it() {
        let items = json!([
            {},
            { "a": "}]{[\\\"items\":[", "items": [{ "b": [] }, []], "\\": "\\" },
            { "metadata": { "resourceVersion": "9" }, "items": "\u{1}\u{2028}" },
            { "\"}]": "\"{", "b": "\\" },
        ]);
        for metadata in [json!({ "resourceVersion": "7" }), json!({ "resourceVersion": "7", "items": [{ "x": 1 }] })] {
            let list = json!({ "apiVersion": "v1", "items": items, "kind": "items", "metadata": metadata });
            let other = format!("{{\"kind\": \"L\", \"metadata\": {metadata} , \"items\" : {items:#}\n}}\n");
            for text in [list.to_string(), format!("{list:#}"), other] {
                let (all, version) = read(&text).await.unwrap();
                assert_eq!((json!(all), version.as_str()), (items.clone(), "7"), "{text}");
            }
        }
        for none in ["[]", "null"] {
            let text = format!("{{\"items\":{none},\"metadata\":{{\"resourceVersion\":\"7\"}}}}");
            assert_eq!(read(&text).await.unwrap(), (vec![], "7".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_list_is_none() {
        let whole =
            json!({ "items": [{ "a": "b" }, { "c": [1] }], "metadata": { "resourceVersion": "7" } }).to_string();
        read(&whole).await.unwrap();
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).await.is_err(), "{}", &whole[..end]);
        }
        for odd in [
            json!({ "items": [{}], "metadata": { "resourceVersion": "7", "continue": "more" } }),
            json!({ "items": "x", "metadata": { "resourceVersion": "7" } }),
            json!({ "items": { "a": [] }, "metadata": { "resourceVersion": "7" } }),
            json!(["items", [{}]]),
            json!([]),
        ] {
            assert!(read(&odd.to_string()).await.is_err(), "{odd}");
        }
    }
}
