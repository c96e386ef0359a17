//! `CertificateSigningRequest` objects (`certificates.k8s.io/v1`), read tolerantly: only what a
//! review needs, so that nothing else in the object can make it unreadable.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::annotations::{self, Annotations, RawAnnotations};
use super::{DecodeCode, DecodeError, MAX_REQUEST_BYTES, Pkcs10, Usage, masters, pem};
use crate::bounded::Bounded;

/// What the user name of a service account begins with; its namespace, `:` and its name follow.
pub(crate) const SERVICE_ACCOUNTS: &str = "system:serviceaccount:";

/// What the API server vouches for about a request, beside its PKCS#10 content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `metadata.name`; arbitrary text.
    pub name: String,
    /// `metadata.uid`; empty offline.
    pub uid: String,
    /// `metadata.creationTimestamp`, if there is one that can be read.
    pub created: Option<Timestamp>,
    /// Whether somebody decided already, or the object is going away.
    pub settled: Option<Settled>,
    /// `spec.signerName`.
    pub signer_name: String,
    /// `spec.username`, the requestor's user name.
    pub username: String,
    /// `spec.uid`, the requestor's uid.
    pub user_uid: String,
    /// `spec.groups`, the requestor's groups when it filed the request.
    pub groups: Vec<String>,
    /// `spec.extra`, as the requestor's authenticator filled it.
    pub extra: BTreeMap<String, Vec<String>>,
    /// `spec.usages` as written.
    pub usages: Vec<String>,
    /// `spec.expirationSeconds`, the lifetime asked for in seconds; unset means the signer's own maximum.
    pub expiration_seconds: Option<i32>,
}

/// The group that every service account of `namespace` is in.
pub(crate) fn namespace_group(namespace: &str) -> String {
    format!("system:serviceaccounts:{namespace}")
}

impl Envelope {
    /// The namespace and the name of the service account that filed the request. A certificate may carry
    /// any CN, so the user name alone does not make a service account: the authenticator of service
    /// account tokens also puts it into the group of its namespace.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.username.strip_prefix(SERVICE_ACCOUNTS)?.split_once(':')?;
        self.groups.contains(&namespace_group(namespace)).then_some((namespace, name))
    }

    /// The name of the node that filed the request: the user `system:node:NAME`, which the Node authorizer
    /// takes for that node's kubelet only in the group `system:nodes`.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        let name = self.username.strip_prefix("system:node:").filter(|name| !name.is_empty())?;
        self.groups.iter().any(|group| group == "system:nodes").then_some(name)
    }
}

/// Why there is nothing left to decide about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Condition `Approved`.
    Approved,
    /// Condition `Denied`.
    Denied,
    /// Condition `Failed`: the signer gave up.
    Failed,
    /// `status.certificate` is there.
    Issued,
    /// `metadata.deletionTimestamp` is set.
    Deleting,
}

/// A request as the engine reviews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// What the API server vouches for.
    pub envelope: Envelope,
    /// What the requestor wrote, or why it is refused unread.
    pub content: Result<Pkcs10, DecodeError>,
    /// Whether `system:masters` is asked for, in whatever place or encoding, also where `content` did not decode.
    pub asks_for_masters: bool,
    /// The known usages of `spec.usages`, sorted, without repetition.
    pub usages: Vec<Usage>,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved => "the request is approved",
            Self::Denied => "the request is denied",
            Self::Failed => "its signer has given up on it",
            Self::Issued => "its certificate is issued",
            Self::Deleting => "the request is being deleted",
        })
    }
}

/// An approval, as the object of the request tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approval {
    /// When, if there is a time that can be read.
    pub at: Option<Timestamp>,
}

/// The PEM bytes of a request, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Request {
    Bytes(Vec<u8>),
    /// Dropped unread, with its length in bytes.
    TooLarge(usize),
    NotBase64,
}

/// A `CertificateSigningRequest` object, of which only what a review and an approval need was read.
#[derive(Debug, Clone)]
pub struct CsrObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// `status.conditions` as they are.
    pub conditions: Vec<Value>,
    issued: bool,
    created: Option<Timestamp>,
    deleting: bool,
    envelope: Envelope,
    request: Request,
    annotations: Annotations,
    /// A field whose type it cannot have.
    malformed: Option<&'static str>,
}

/// What tells which object it is, in which state.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// `name`; arbitrary text.
    pub name: String,
    /// `uid`.
    pub uid: String,
    /// `resourceVersion`.
    pub resource_version: String,
}

/// The most groups, extra attributes, usages or conditions that are read, and how many values there may be in them; with
/// more of them the object counts as one that cannot be read.
const MAX_VALUES: usize = 20_000;

/// About how many bytes `value` takes in memory: a text of one byte takes some 50, a label some 170.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => 56 + text.len(),
        Value::Array(items) => 64 + items.iter().map(|item| 32 + weight(item)).sum::<usize>(),
        Value::Object(entries) => {
            640 + entries.iter().map(|(key, value)| 112 + key.len() + weight(value)).sum::<usize>()
        }
    }
}

/// The same of texts.
fn weights<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| 48 + text.len()).sum()
}

impl CsrObject {
    /// Why there is nothing left to decide, if so.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        let has = |kind: &str| self.conditions.iter().any(|condition| condition["type"] == kind);
        if self.deleting {
            Some(Settled::Deleting)
        } else if has("Denied") {
            Some(Settled::Denied)
        } else if has("Failed") {
            Some(Settled::Failed)
        } else if self.issued {
            Some(Settled::Issued)
        } else if has("Approved") {
            Some(Settled::Approved)
        } else {
            None
        }
    }

    /// Whether it is approved, whatever has become of it since: the condition `Approved`, which stays until the
    /// object is gone. The API server dates it, unless the approver did.
    #[must_use]
    pub fn approval(&self) -> Option<Approval> {
        let approved = self.conditions.iter().find(|condition| condition["type"] == "Approved")?;
        let time = |field: &str| approved[field].as_str()?.parse().ok();
        Some(Approval { at: time("lastTransitionTime").or_else(|| time("lastUpdateTime")) })
    }

    /// The name of the node that filed it, as [`Envelope::node`].
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.envelope.node()
    }

    /// `spec.signerName`.
    #[must_use]
    pub fn signer_name(&self) -> &str {
        &self.envelope.signer_name
    }

    /// `spec.username`: the user name of whoever filed it.
    #[must_use]
    pub fn requestor(&self) -> &str {
        &self.envelope.username
    }

    /// `metadata.creationTimestamp`, if it can be read.
    #[must_use]
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// A field whose value is not of the type that the API server would take.
    #[must_use]
    pub const fn malformed(&self) -> Option<&'static str> {
        self.malformed
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let Envelope { name, uid, signer_name, username, user_uid, groups, extra, usages, .. } = &self.envelope;
        let identity = [name, name, uid, uid, signer_name, username, user_uid, &self.metadata.resource_version];
        let extra: usize = extra.iter().map(|(key, values)| 160 + key.len() + weights(values)).sum();
        let request = if let Request::Bytes(pem) = &self.request { pem.len() } else { 0 };
        let conditions: usize = self.conditions.iter().map(weight).sum();
        let texts = weights(identity) + weights(groups) + weights(usages) + weights(self.annotations.values());
        size_of::<Self>() + texts + extra + request + conditions
    }

    /// What the API server vouches for; offline it can be completed before a review.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope { settled: self.settled(), ..self.envelope.clone() }
    }

    /// Decodes the request.
    #[must_use]
    pub fn signing_request(&self) -> SigningRequest {
        self.signing_request_with(self.envelope())
    }

    /// Decodes the request, with `envelope` in place of the object's own.
    #[must_use]
    pub fn signing_request_with(&self, envelope: Envelope) -> SigningRequest {
        let request = self.decoded(envelope);
        let fit = self.annotations.fit(request.envelope.expiration_seconds);
        SigningRequest { content: request.content.and_then(|pkcs10| fit.map(|()| pkcs10)), ..request }
    }

    /// What `spec` says, whatever annotations ask for, which may be written after somebody approved it.
    pub(crate) fn decoded(&self, envelope: Envelope) -> SigningRequest {
        if let Some(field) = self.malformed {
            let asks_for_masters = matches!(&self.request, Request::Bytes(pem) if masters::hidden(pem));
            let message = format!(
                "{field} has a type that it cannot have, or more in it than is read: write it as the Kubernetes API says"
            );
            let part = field.split_once('.').map_or(field, |(part, _)| part);
            let error = DecodeError::new(DecodeCode::ObjectMalformed, part, field, message);
            return SigningRequest { envelope, content: Err(error), asks_for_masters, usages: Vec::new() };
        }
        let refused = |envelope, error| SigningRequest {
            envelope,
            content: Err(error),
            asks_for_masters: false,
            usages: Vec::new(),
        };
        match &self.request {
            Request::Bytes(pem) => SigningRequest::decode(envelope, pem),
            Request::TooLarge(bytes) => refused(envelope, pem::too_large(*bytes)),
            Request::NotBase64 => {
                let message =
                    "spec.request is not base64 of a PEM request: encode the file, for example with base64 -w0";
                refused(envelope, DecodeError::new(DecodeCode::ObjectMalformed, "request", "", message))
            }
        }
    }
}

impl SigningRequest {
    /// Decodes `pem`, the bytes of `spec.request`.
    #[must_use]
    pub fn decode(envelope: Envelope, pem: &[u8]) -> Self {
        let mut usages: Vec<Usage> = envelope.usages.iter().filter_map(|usage| Usage::from_name(usage)).collect();
        usages.sort_unstable();
        usages.dedup();
        let content = Pkcs10::from_pem(pem, &usages);
        let asks_for_masters = match &content {
            Ok(pkcs10) => masters::named(pkcs10),
            Err(_) => masters::hidden(pem),
        };
        let content = content.and_then(|pkcs10| usages_fit(&envelope.usages).map(|()| pkcs10));
        Self { envelope, content, asks_for_masters, usages }
    }
}

/// `spec.usages` above the floor.
fn usages_fit(usages: &[String]) -> Result<(), DecodeError> {
    const FIELD: &str = "usages";
    if usages.is_empty() {
        return Err(DecodeError::new(
            DecodeCode::UsagesMissing,
            FIELD,
            "",
            "the request states no usages: state them, for example client auth",
        ));
    }
    for name in usages {
        let usage = Usage::from_name(name).ok_or_else(|| {
            DecodeError::quoting(
                DecodeCode::UsageUnknown,
                FIELD,
                name,
                "is not a usage that Kubernetes knows: correct it",
            )
        })?;
        if usage.never_allowed() {
            return Err(DecodeError::quoting(
                DecodeCode::UsageNeverAllowed,
                FIELD,
                name,
                "is a usage that no policy can allow: leave it out",
            ));
        }
    }
    Ok(())
}

/// The object as it comes, every part optional and of any type where a type does not decide what
/// is read. Labels, annotations but two and the like are not among them, of which a requestor may write as much as the API
/// server takes, nor is `managedFields`, which alone can make a typed list fail.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    metadata: Option<RawMetadata>,
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawMetadata {
    name: Bounded<1>,
    uid: Bounded<1>,
    resource_version: Bounded<1>,
    creation_timestamp: Bounded<1>,
    deletion_timestamp: Bounded<1>,
    annotations: RawAnnotations,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    request: RawRequest,
    signer_name: Bounded<1>,
    username: Bounded<1>,
    uid: Bounded<1>,
    groups: Bounded<MAX_VALUES>,
    extra: Bounded<MAX_VALUES>,
    usages: Bounded<MAX_VALUES>,
    expiration_seconds: Bounded<1>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    conditions: Bounded<MAX_VALUES>,
    certificate: Bounded<1>,
}

/// `spec.request`: dropped where it is too long, before it is stored.
enum RawRequest {
    Text(String),
    TooLarge(usize),
    Other,
}

impl Default for RawRequest {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl<'de> Deserialize<'de> for RawRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = RawRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawRequest, E> {
                // Four digits for three bytes; line ends among them do not matter here.
                Ok(if text.len() > MAX_REQUEST_BYTES.div_ceil(3) * 4 {
                    RawRequest::TooLarge(text.len() / 4 * 3)
                } else {
                    RawRequest::Text(text.to_owned())
                })
            }

            fn visit_unit<E: de::Error>(self) -> Result<RawRequest, E> {
                Ok(RawRequest::default())
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<RawRequest, E> {
                Ok(RawRequest::Other)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<RawRequest, E> {
                Ok(RawRequest::Other)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<RawRequest, E> {
                Ok(RawRequest::Other)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<RawRequest, E> {
                Ok(RawRequest::Other)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<RawRequest, A::Error> {
                while items.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(RawRequest::Other)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<RawRequest, A::Error> {
                while entries.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(RawRequest::Other)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl<'de> Deserialize<'de> for CsrObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self::from)
    }
}

impl From<Raw> for CsrObject {
    fn from(raw: Raw) -> Self {
        let metadata = raw.metadata.unwrap_or_default();
        let spec = raw.spec.unwrap_or_default();
        let status = raw.status.unwrap_or_default();
        let mut reader = TypeReader { malformed: None };
        let envelope = Envelope {
            name: metadata.name.text(),
            uid: metadata.uid.text(),
            created: metadata.creation_timestamp.text().parse().ok(),
            settled: None,
            signer_name: reader.read("spec.signerName", spec.signer_name),
            username: reader.read("spec.username", spec.username),
            user_uid: reader.read("spec.uid", spec.uid),
            groups: reader.read("spec.groups", spec.groups),
            extra: reader.read("spec.extra", spec.extra),
            usages: reader.read("spec.usages", spec.usages),
            expiration_seconds: reader.read("spec.expirationSeconds", spec.expiration_seconds),
        };
        let request = match spec.request {
            RawRequest::Text(text) => {
                let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
                match STANDARD.decode(digits) {
                    Ok(pem) if pem.len() > MAX_REQUEST_BYTES => Request::TooLarge(pem.len()),
                    Ok(pem) => Request::Bytes(pem),
                    Err(_) => Request::NotBase64,
                }
            }
            RawRequest::TooLarge(bytes) => Request::TooLarge(bytes),
            RawRequest::Other => {
                reader.malformed.get_or_insert("spec.request");
                Request::NotBase64
            }
        };
        let identity = Metadata {
            name: envelope.name.clone(),
            uid: envelope.uid.clone(),
            resource_version: metadata.resource_version.text(),
        };
        let conditions: Value = reader.read("status.conditions", status.conditions);
        let annotations = metadata.annotations.0.unwrap_or_else(|| {
            reader.malformed.get_or_insert(annotations::FIELD);
            Annotations::default()
        });
        Self {
            metadata: identity,
            conditions: if let Value::Array(conditions) = conditions { conditions } else { Vec::new() },
            issued: !matches!(&status.certificate, Bounded::Kept(value) if value.is_null() || value == ""),
            created: envelope.created,
            deleting: metadata.deletion_timestamp != Bounded::default(),
            envelope,
            request,
            annotations,
            malformed: reader.malformed,
        }
    }
}

struct TypeReader {
    malformed: Option<&'static str>,
}

impl TypeReader {
    fn read<T: DeserializeOwned + Default, const MAX: usize>(&mut self, field: &'static str, value: Bounded<MAX>) -> T {
        let read = match value.kept() {
            Some(Value::Null) => return T::default(),
            Some(value) => serde_json::from_value(value).ok(),
            None => None,
        };
        read.unwrap_or_else(|| {
            self.malformed.get_or_insert(field);
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::{CsrObject, Settled};
    use crate::request::{DecodeCode, MAX_REQUEST_BYTES};

    fn object(value: serde_json::Value) -> CsrObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_odd_object_is_read_as_far_as_it_goes() {
        for value in [
            json!({}),
            json!({"metadata": null, "spec": null, "status": null}),
            json!({"metadata": {"name": 7, "managedFields": [{"time": "9999-12-31T23:59:59Z"}], "creationTimestamp": "x"}}),
            json!({"spec": {"request": [1], "groups": "x", "usages": {}, "expirationSeconds": "x"}, "status": {"conditions": 1}}),
        ] {
            assert!(object(value).signing_request().content.is_err());
        }
        let odd = object(json!({"spec": {"groups": ["a", 1]}}));
        assert_eq!(odd.malformed(), Some("spec.groups"));
        assert_eq!(odd.signing_request().content.unwrap_err().code, DecodeCode::ObjectMalformed);
    }

    #[test]
    fn a_huge_request_is_dropped_and_its_length_kept() {
        let huge = object(json!({"spec": {"request": "AAAA".repeat(500_000)}}));
        let error = huge.signing_request().content.unwrap_err();
        assert_eq!((error.code, error.found.as_str()), (DecodeCode::RequestTooLarge, "1500000"));
    }

    #[test]
    fn what_is_too_long_to_keep_is_never_taken_for_nothing() {
        for (field, value) in [
            ("groups", json!(vec!["g"; 100_000])),
            ("usages", json!(vec!["client auth"; 100_000])),
            ("extra", json!({"a": vec!["g"; 100_000]})),
        ] {
            let long = object(json!({"spec": {field: value}}));
            assert_eq!(long.malformed(), Some(format!("spec.{field}").as_str()));
            assert_eq!(long.signing_request().content.unwrap_err().code, DecodeCode::ObjectMalformed);
        }
        let conditions = object(json!({"status": {"conditions": vec![json!({"type": "x"}); 100_000]}}));
        assert_eq!(conditions.malformed(), Some("status.conditions"));
        let lists = json!({"metadata": {"deletionTimestamp": [1]}, "status": {"certificate": [1]}});
        assert!(object(lists.clone()).deleting && object(lists).issued);
        let many = object(json!({"spec": {"groups": vec!["a group of some length"; 10_000]}}));
        assert_eq!((many.malformed(), many.envelope().groups.len()), (None, 10_000));
    }

    #[test]
    fn a_request_is_read_up_to_its_bound() {
        let read = |bytes: usize| {
            let object = object(json!({"spec": {"request": STANDARD.encode(vec![b'a'; bytes])}}));
            object.signing_request().content.unwrap_err().code
        };
        assert_eq!(read(MAX_REQUEST_BYTES), DecodeCode::PemMalformed);
        assert_eq!(read(MAX_REQUEST_BYTES + 1), DecodeCode::RequestTooLarge);
    }

    #[test]
    fn a_request_is_text_or_nothing() {
        for value in [json!(true), json!(1), json!(-1), json!(1.5), json!([1]), json!({"a": 1})] {
            assert_eq!(object(json!({"spec": {"request": value}})).malformed(), Some("spec.request"), "{value}");
        }
        assert_eq!(object(json!({"spec": {"request": null}})).malformed(), None);
    }

    #[test]
    fn what_a_requestor_writes_beside_the_request_takes_no_memory() {
        let read = |metadata: serde_json::Value| object(json!({ "metadata": metadata })).memory();
        let few = read(json!({ "name": "a", "uid": "u" }));
        for field in ["labels", "annotations", "finalizers", "ownerReferences", "generateName", "managedFields"] {
            assert_eq!(read(json!({ "name": "a", "uid": "u", field: vec!["a/b"; 100_000] })), few, "{field}");
            assert_eq!(read(json!({ "name": "a", "uid": "u", field: { "a/b": "x".repeat(100_000) } })), few, "{field}");
        }
    }

    #[test]
    fn who_filed_it_and_when_can_be_told_without_decoding() {
        let csr = object(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"signerName": "a/b", "username": "system:node:n", "groups": ["system:nodes"]},
        }));
        assert_eq!((csr.signer_name(), csr.requestor(), csr.node()), ("a/b", "system:node:n", Some("n")));
        assert_eq!(csr.created(), "2026-01-01T00:00:00Z".parse().ok());
    }

    #[test]
    fn any_decision_settles() {
        let settled = |value| {
            let object = object(value);
            assert_eq!(object.envelope().settled, object.settled());
            object.settled()
        };
        let with = |kind: &str| settled(json!({"status": {"conditions": [{"type": kind, "status": "False"}]}}));
        assert_eq!(with("Approved"), Some(Settled::Approved));
        assert_eq!(with("Denied"), Some(Settled::Denied));
        assert_eq!(Settled::Denied.to_string(), "the request is denied");
        assert_eq!(with("Failed"), Some(Settled::Failed));
        assert_eq!(with("Other"), None);
        assert_eq!(settled(json!({"status": {"certificate": "AAAA"}})), Some(Settled::Issued));
        assert_eq!(
            settled(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            Some(Settled::Deleting)
        );
    }
}
