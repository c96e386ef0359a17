//! Version skew: whether the API server serves every field that this version knows, and keeps the objects.
//!
//! An older CRD prunes newer fields before anybody sees them: a guardrail would lose a limit, a
//! policy a condition. One that is being deleted takes its objects with it, one after the other. So nothing is decided
//! until the CRDs are whole again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;

use super::Error;
use super::client::get;
use crate::api::schema::schema_of_spec;
use crate::api::{GROUP, VERSION};
use crate::policy::Kind;

/// How often the schema is looked at while it is right.
const WHILE_RIGHT: Duration = Duration::from_secs(30);
/// How often it is looked at while it is not, or cannot be read.
const WHILE_WRONG: Duration = Duration::from_secs(2);

/// What was found out about the CRDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Skew {
    /// It was not looked at yet, or cannot be.
    Unknown(String),
    /// Every field is served.
    None,
    /// The CRDs are missing, being deleted, or older; what is wrong first.
    Older(String),
}

/// The paths of OpenAPI v3, each with a URL that changes with its content.
#[derive(Deserialize)]
struct Root {
    paths: std::collections::BTreeMap<String, Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(rename = "serverRelativeURL")]
    server_relative_url: String,
}

/// What is served of the group, a Kubernetes `APIResourceList`.
#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    verbs: Vec<String>,
}

/// The URL of a schema that was found right: it names a hash of the content, so one look at it is enough.
pub(super) type RightUrl = Option<String>;

/// Looks at the served schema for ever, and says each time what it found. Before a decision it is
/// looked at once more, with the consistent read; where that finds it wrong, `now` makes this look again.
pub(super) async fn observe(client: Client, now: Arc<Notify>, mut found: impl AsyncFnMut(Skew)) {
    let mut right = None;
    loop {
        let looked = Instant::now();
        let skew = match look(&client, right.clone()).await {
            Ok((skew, url)) => {
                right = url;
                skew
            }
            // What was right stays so while the API server is away; watches and consistent reads
            // stop approvals then.
            Err(_) if right.is_some() => Skew::None,
            Err(error) => Skew::Unknown(format!("cannot read the served schema: {error}")),
        };
        let pause = if skew == Skew::None { WHILE_RIGHT } else { WHILE_WRONG };
        found(skew).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = now.notified() => {
                // Somebody saw another schema. Not at once, in case that two API servers differ for a while.
                tokio::time::sleep(WHILE_WRONG.saturating_sub(looked.elapsed())).await;
                right = None;
            }
        }
    }
}

/// Looks at the served schema; `right` is what an earlier look returned.
pub(super) async fn look(client: &Client, right: RightUrl) -> Result<(Skew, RightUrl), Error> {
    let root: Root = get(client, "/openapi/v3", "application/json").await?;
    let not_installed = || Ok((Skew::Older("the CRDs are not installed".to_owned()), None));
    let path = format!("apis/{GROUP}/{VERSION}");
    let Some(group) = root.paths.get(&path) else { return not_installed() };
    let resources: Resources = match get(client, &format!("/{path}"), "application/json").await {
        Err(error) if error.status() == Some(404) => return not_installed(),
        served => served?,
    };
    if let Some(why) = not_kept(&resources) {
        return Ok((Skew::Older(why), None));
    }
    let url = &group.server_relative_url;
    if right.as_ref() == Some(url) {
        return Ok((Skew::None, right));
    }
    let document: Value = get(client, url, "application/json").await?;
    let skew = compare(&document);
    let right = (skew == Skew::None).then(|| url.clone());
    Ok((skew, right))
}

/// Why objects of a kind are not kept, if that is so. The schema of a CRD that is being deleted is served until the last
/// object is gone, which a finalizer may hold for ever; the verbs that write are not (apiextensions-apiserver,
/// `DiscoveryController.sync`).
fn not_kept(served: &Resources) -> Option<String> {
    Kind::ALL.into_iter().find_map(|kind| {
        let Some(resource) = served.resources.iter().find(|resource| resource.name == kind.plural()) else {
            return Some(format!("the CRD of {kind} is not installed"));
        };
        let ends = !resource.verbs.iter().any(|verb| verb == "create");
        ends.then(|| format!("the CRD of {kind} is being deleted, and its objects with it"))
    })
}

/// Compares an OpenAPI v3 document of the group with the schemas of this version.
fn compare(document: &Value) -> Skew {
    for kind in Kind::ALL {
        let schemas = document["components"]["schemas"].as_object();
        let served = schemas.into_iter().flatten().find(|(_, schema)| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds
                .into_iter()
                .flatten()
                .any(|gvk| gvk["group"] == GROUP && gvk["version"] == VERSION && gvk["kind"] == kind.name())
        });
        let Some((_, served)) = served else {
            return Skew::Older(format!("the CRD of {kind} is not installed"));
        };
        if let Some(path) = missing("spec", &served["properties"]["spec"], schema_of_spec(kind)) {
            return Skew::Older(format!("the CRD of {kind} is older than this version: it does not know {path}"));
        }
    }
    Skew::None
}

/// The first field of `own` that `served` does not know.
fn missing(path: &str, served: &Value, own: &Value) -> Option<String> {
    if served.is_null() {
        return Some(path.to_owned());
    }
    if let Some(values) = own["enum"].as_array() {
        let known = served["enum"].as_array();
        let unknown = values.iter().find(|value| !known.is_some_and(|known| known.contains(value)));
        if let Some(value) = unknown {
            return Some(format!("{path}: {value}"));
        }
    }
    if own["nullable"] == true && served["nullable"] != true {
        return Some(format!("{path}: null"));
    }
    let properties = own["properties"].as_object();
    properties
        .into_iter()
        .flatten()
        .find_map(|(name, own)| missing(&format!("{path}.{name}"), &served["properties"][name], own))
        .or_else(|| {
            if own["items"].is_null() { None } else { missing(&format!("{path}[]"), &served["items"], &own["items"]) }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Resources, Skew, compare, not_kept};
    use crate::api::schema::crds;

    fn served(change: impl Fn(&mut Value)) -> Skew {
        let mut schemas = serde_json::Map::new();
        for crd in crds() {
            let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
            let kind = &crd["spec"]["names"]["kind"];
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": "countersign.dev", "version": "v1alpha1", "kind": kind }]);
            change(&mut schema);
            schemas.insert(format!("dev.countersign.v1alpha1.{}", kind.as_str().unwrap()), schema);
        }
        compare(&json!({ "components": { "schemas": schemas } }))
    }

    #[test]
    fn the_own_schema_is_served_completely() {
        assert_eq!(served(|_| {}), Skew::None);
    }

    #[test]
    fn a_field_that_the_api_server_does_not_know_is_named() {
        let skew = served(|schema| {
            if let Some(limits) = schema.pointer_mut("/properties/spec/properties/limits/properties") {
                limits.as_object_mut().unwrap().remove("uris");
            }
        });
        assert_eq!(
            skew,
            Skew::Older(
                "the CRD of CSRGuardrail is older than this version: it does not know spec.limits.uris".to_owned()
            )
        );
    }

    #[test]
    fn a_field_that_the_api_server_drops_where_it_is_null_is_named() {
        let skew = served(|schema| {
            if let Some(denied) =
                schema.pointer_mut("/properties/spec/properties/limits/properties/uris/properties/denied")
            {
                denied.as_object_mut().unwrap().remove("nullable");
            }
        });
        assert!(
            matches!(&skew, Skew::Older(why) if why.ends_with("it does not know spec.limits.uris.denied: null")),
            "{skew:?}"
        );
    }

    #[test]
    fn a_kind_of_which_nothing_can_be_created_is_named() {
        let said = |verbs: &[&str], name: &str| {
            let resources = json!({ "resources": [
                { "name": "csrpolicies", "verbs": ["create", "get"] },
                { "name": "csrpolicies/status", "verbs": ["get"] },
                { "name": name, "verbs": verbs },
            ] });
            not_kept(&serde_json::from_value::<Resources>(resources).unwrap())
        };
        assert_eq!(said(&["get", "create"], "csrguardrails"), None);
        let ending = said(&["delete", "deletecollection", "get", "list", "watch"], "csrguardrails");
        assert_eq!(ending.unwrap(), "the CRD of CSRGuardrail is being deleted, and its objects with it");
        assert_eq!(said(&["create"], "csrguardrails/status").unwrap(), "the CRD of CSRGuardrail is not installed");
    }

    #[test]
    fn a_value_that_the_api_server_does_not_know_is_named() {
        let skew = served(|schema| {
            let mode = schema.pointer_mut("/properties/spec/properties/mode/enum").unwrap();
            *mode = json!(["Enforce"]);
        });
        assert!(matches!(&skew, Skew::Older(why) if why.contains("spec.mode: \"Audit\"")), "{skew:?}");
    }
}
