//! What an expression sees: `csr`, what is asked for, and `requestor`, who asks, as the API server
//! authenticated it. The name, labels and annotations of the request are not there: whoever files a
//! request chooses them.

use std::cell::OnceCell;
use std::collections::HashMap;

use cel::common::value::Val;
use cel::{ExecutionError, Value};

use crate::request::{Envelope, Key, Pkcs10, SigningRequest};

/// The variables.
pub(super) const ROOTS: [&str; 2] = ["csr", "requestor"];

/// What is in `csr` of any request, decoded or not.
const OF_THE_SPEC: [&str; 3] = ["signerName", "usages", "expirationSeconds"];

/// The fields of the object at `path`, where it is one whose fields are known.
pub(super) fn fields(path: &str) -> Option<&'static [&'static str]> {
    Some(match path {
        "csr" => &[
            "signerName",
            "usages",
            "expirationSeconds",
            "subject",
            "dnsNames",
            "ipAddresses",
            "uris",
            "emailAddresses",
            "key",
        ],
        "csr.subject" => &["commonName", "organizations", "organizationalUnits"],
        "csr.key" => &["algorithm", "bits", "curve"],
        "requestor" => &["username", "uid", "groups", "extra", "serviceAccount", "pod", "node"],
        "requestor.serviceAccount" => &["namespace", "name"],
        "requestor.pod" | "requestor.node" => &["name", "uid"],
        _ => return None,
    })
}

/// Whether `path` is only known of a request that decodes.
pub(super) fn is_content(path: &[&str]) -> bool {
    path.first() == Some(&"csr") && !path.get(1).is_some_and(|field| OF_THE_SPEC.contains(field))
}

/// Each variable by its name, in the form that evaluation reads.
pub(super) type Vals = [(&'static str, Box<dyn Val>); 2];

/// The variables of one request, made when the first expression reads them.
#[derive(Debug)]
pub struct Bindings<'a> {
    request: &'a SigningRequest,
    values: OnceCell<[Value; 2]>,
    /// The same, in the form that evaluation reads.
    vals: OnceCell<Vals>,
}

impl<'a> Bindings<'a> {
    /// The variables of `request`.
    #[must_use]
    pub const fn new(request: &'a SigningRequest) -> Self {
        Self { request, values: OnceCell::new(), vals: OnceCell::new() }
    }

    /// Whether the request decoded, so that all of `csr` is there.
    pub(super) fn is_decoded(&self) -> bool {
        self.request.content.is_ok()
    }

    /// Each variable by its name, to evaluate with.
    pub(super) fn vals(&self) -> Result<&Vals, ExecutionError> {
        if let Some(vals) = self.vals.get() {
            return Ok(vals);
        }
        let [(csr_name, csr), (requestor_name, requestor)] = self.variables();
        let vals = [(csr_name, csr.clone().try_into()?), (requestor_name, requestor.clone().try_into()?)];
        Ok(self.vals.get_or_init(|| vals))
    }

    /// Each variable by its name.
    pub(super) fn variables(&self) -> [(&'static str, &Value); 2] {
        let [csr, requestor] = self.values.get_or_init(|| {
            let usages: Vec<Value> = self.request.usages.iter().map(|usage| usage.name().into()).collect();
            let content = self.request.content.as_ref().ok();
            [csr(&self.request.envelope, usages, content), requestor(&self.request.envelope)]
        });
        [("csr", csr), ("requestor", requestor)]
    }
}

type Fields = HashMap<String, Value>;

fn put(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}

fn texts(values: &[String]) -> Value {
    values.iter().map(|value| Value::from(value.as_str())).collect::<Vec<_>>().into()
}

fn csr(envelope: &Envelope, usages: Vec<Value>, content: Option<&Pkcs10>) -> Value {
    let mut csr = Fields::new();
    put(&mut csr, "signerName", envelope.signer_name.as_str());
    put(&mut csr, "usages", usages);
    if let Some(seconds) = envelope.expiration_seconds {
        put(&mut csr, "expirationSeconds", Value::Int(seconds.into()));
    }
    let Some(content) = content else { return csr.into() };
    let mut subject = Fields::new();
    if let Some(name) = &content.subject.common_name {
        put(&mut subject, "commonName", name.as_str());
    }
    put(&mut subject, "organizations", texts(&content.subject.organizations));
    put(&mut subject, "organizationalUnits", texts(&content.subject.organizational_units));
    put(&mut csr, "subject", subject);
    put(&mut csr, "dnsNames", texts(&content.sans.dns_names));
    let addresses: Vec<Value> =
        content.sans.ip_addresses.iter().map(|address| address.to_string().as_str().into()).collect();
    put(&mut csr, "ipAddresses", addresses);
    put(&mut csr, "uris", texts(&content.sans.uris));
    put(&mut csr, "emailAddresses", texts(&content.sans.email_addresses));
    let mut key = Fields::new();
    put(&mut key, "algorithm", content.key.algorithm());
    put(&mut key, "bits", Value::Int(content.key.bits().into()));
    if let Key::Ecdsa { curve } = content.key {
        put(&mut key, "curve", curve.name());
    }
    put(&mut csr, "key", key);
    csr.into()
}

/// What a service account's token says about itself is in `spec.extra`, where the API server put it.
fn requestor(envelope: &Envelope) -> Value {
    let mut requestor = Fields::new();
    put(&mut requestor, "username", envelope.username.as_str());
    put(&mut requestor, "uid", envelope.user_uid.as_str());
    put(&mut requestor, "groups", texts(&envelope.groups));
    let extra: Fields = envelope.extra.iter().map(|(key, values)| (key.clone(), texts(values))).collect();
    put(&mut requestor, "extra", extra);
    if let Some((namespace, name)) = envelope.service_account() {
        put(
            &mut requestor,
            "serviceAccount",
            Fields::from([("namespace".to_owned(), namespace.into()), ("name".to_owned(), name.into())]),
        );
        for part in ["pod", "node"] {
            let claim = |field: &str| match envelope.extra.get(&format!("authentication.kubernetes.io/{part}-{field}"))
            {
                Some(values) => match values.as_slice() {
                    [value] => Some(value.as_str()),
                    _ => None,
                },
                None => None,
            };
            let mut object = Fields::new();
            for field in ["name", "uid"] {
                if let Some(value) = claim(field) {
                    put(&mut object, field, value);
                }
            }
            if !object.is_empty() {
                put(&mut requestor, part, object);
            }
        }
    }
    requestor.into()
}
