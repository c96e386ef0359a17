//! What an expression sees: `csr`, what is asked for, `requestor`, who asks, as the API server
//! authenticated it, and `node`, the Node of a requestor that is one. The name, labels and annotations of
//! the request are not there: whoever files a request chooses them.

use std::cell::OnceCell;
use std::collections::HashMap;

use cel::common::value::Val;
use cel::{ExecutionError, Value};

use super::types::Type;
use super::words::{Order, Words};
use crate::escape::printable;
use crate::nearest::nearest;
use crate::node::{Node, Nodes};
use crate::policy::Field;
use crate::request::{Envelope, Key, Pkcs10, SigningRequest};

/// The variable that is there only where a Node is known.
pub(super) const NODE: &str = "node";
/// The variables.
pub(super) const ROOTS: [&str; 3] = ["csr", "requestor", NODE];

/// What is in `csr` of any request, decoded or not.
const OF_THE_SPEC: [&str; 3] = ["signerName", "usages", "expirationSeconds"];

/// The fields of the object at `path`, each with its type; none where there is no such object.
pub(super) fn fields(path: &str) -> Vec<(&'static str, Type)> {
    let texts = || Type::list(Type::Text);
    let words = |words| Type::list(Type::Word(words));
    match path {
        "csr" => vec![
            ("signerName", Type::Word(Words::Signer)),
            ("usages", words(Words::Usage(Order::Listed))),
            ("expirationSeconds", Type::Int),
            ("subject", Type::Object("csr.subject")),
            ("dnsNames", words(Words::DnsName)),
            ("ipAddresses", words(Words::IpAddress)),
            ("uris", words(Words::Uri)),
            ("emailAddresses", words(Words::EmailAddress)),
            ("key", Type::Object("csr.key")),
        ],
        "csr.subject" => {
            vec![("commonName", Type::Text), ("organizations", texts()), ("organizationalUnits", texts())]
        }
        "csr.key" => {
            vec![("algorithm", Type::Word(Words::Algorithm)), ("bits", Type::Int), ("curve", Type::Word(Words::Curve))]
        }
        "requestor" => vec![
            ("username", Type::Text),
            ("uid", Type::Text),
            ("groups", texts()),
            ("extra", Type::map(Type::Text, texts())),
            ("serviceAccount", Type::Object("requestor.serviceAccount")),
            ("pod", Type::Object("requestor.pod")),
            ("node", Type::Object("requestor.node")),
        ],
        "requestor.serviceAccount" => vec![("namespace", Type::Text), ("name", Type::Text)],
        "requestor.pod" | "requestor.node" => vec![("name", Type::Text), ("uid", Type::Text)],
        "node" => vec![
            ("name", Type::Text),
            ("addresses", Type::list(Type::Object("node.addresses[]"))),
            ("labels", Type::map(Type::Text, Type::Text)),
        ],
        "node.addresses[]" => vec![("type", Type::Word(Words::AddressType)), ("address", Type::Text)],
        _ => Vec::new(),
    }
}

/// Whether the object at `path` has `field` whatever the request, so that there is nothing to ask with `has` or `.?`.
pub(super) fn is_always_there(path: &str, field: &str) -> bool {
    match path {
        "csr" => field != "expirationSeconds",
        "csr.subject" => field != "commonName",
        "csr.key" => field != "curve",
        "requestor" => matches!(field, "username" | "uid" | "groups" | "extra"),
        NODE | "node.addresses[]" => true,
        _ => false,
    }
}

/// That the object at `path` has no such field, and which was meant.
pub(super) fn no_field(path: &str, field: &str, known: &[&str]) -> String {
    let hint = nearest(field, known.iter().copied())
        .map_or_else(|| format!("it has {}", known.join(", ")), |near| format!("did you mean {near}?"));
    format!("{path} has no field {field}; {hint}")
}

/// Whether `path` is only known of a request that decodes.
pub(super) fn is_content(path: &[&str]) -> bool {
    path.first() == Some(&"csr") && !path.get(1).is_some_and(|field| OF_THE_SPEC.contains(field))
}

/// Each variable by its name, in the form that evaluation reads.
pub(super) type Vals = Vec<(&'static str, Box<dyn Val>)>;

/// The variables of one request, made when the first expression reads them.
#[derive(Debug)]
pub struct Bindings<'a> {
    request: &'a SigningRequest,
    nodes: Option<&'a Nodes>,
    values: OnceCell<[Value; 2]>,
    node: OnceCell<Result<Value, String>>,
    /// The same, in the form that evaluation reads.
    vals: OnceCell<Vals>,
}

impl<'a> Bindings<'a> {
    /// The variables of `request`, among these Nodes, if they are known.
    #[must_use]
    pub const fn new(request: &'a SigningRequest, nodes: Option<&'a Nodes>) -> Self {
        Self { request, nodes, values: OnceCell::new(), node: OnceCell::new(), vals: OnceCell::new() }
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
        let val = |(name, value): (_, &Value)| Ok((name, value.clone().try_into()?));
        let vals = self.variables().map(val).collect::<Result<Vals, ExecutionError>>()?;
        Ok(self.vals.get_or_init(|| vals))
    }

    /// The Node of the requestor; the error says why it is not known.
    pub(super) fn node(&self) -> Result<&Value, &str> {
        let read = || {
            let envelope = &self.request.envelope;
            let name = envelope.node().ok_or("the requestor is not a node")?;
            let found = Nodes::when_filed(self.nodes, name, envelope.created).map_err(|unknown| unknown.to_string())?;
            node(found).ok_or_else(|| format!("the labels of the Node {} cannot be read", printable(name)))
        };
        self.node.get_or_init(read).as_ref().map_err(String::as_str)
    }

    /// Each variable by its name, as far as there is one.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let [csr, requestor] = self.values.get_or_init(|| {
            let usages: Vec<Value> = self.request.usages.iter().map(|usage| usage.name().into()).collect();
            let content = self.request.content.as_ref().ok();
            [csr(&self.request.envelope, usages, content), requestor(&self.request.envelope)]
        });
        let node = self.node().ok().map(|node| (NODE, node));
        [("csr", csr), ("requestor", requestor)].into_iter().chain(node)
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
    let sans = |field: Field, values: &[String]| -> Value {
        values.iter().map(|value| Value::from(&*field.normalize(value))).collect::<Vec<_>>().into()
    };
    put(&mut csr, "dnsNames", sans(Field::DnsName, &content.sans.dns_names));
    let addresses: Vec<Value> =
        content.sans.ip_addresses.iter().map(|address| address.to_string().as_str().into()).collect();
    put(&mut csr, "ipAddresses", addresses);
    put(&mut csr, "uris", sans(Field::Uri, &content.sans.uris));
    put(&mut csr, "emailAddresses", sans(Field::EmailAddress, &content.sans.email_addresses));
    let mut key = Fields::new();
    put(&mut key, "algorithm", content.key.algorithm());
    put(&mut key, "bits", Value::Int(content.key.bits().into()));
    if let Key::Ecdsa { curve } = content.key {
        put(&mut key, "curve", curve.name());
    }
    put(&mut csr, "key", key);
    csr.into()
}

/// Nothing where the labels cannot be read: without them, or as if there were none, it would hide what they say.
fn node(node: &Node) -> Option<Value> {
    let labels = node.labels.as_ref()?;
    let mut object = Fields::new();
    put(&mut object, "name", node.name.as_str());
    let addresses = node.addresses.iter().map(|address| {
        let (kind, address) = (address.kind.name().into(), address.address.as_str().into());
        Value::from(Fields::from([("type".to_owned(), kind), ("address".to_owned(), address)]))
    });
    put(&mut object, "addresses", addresses.collect::<Vec<_>>());
    let labels: Fields = labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    put(&mut object, "labels", labels);
    Some(object.into())
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
