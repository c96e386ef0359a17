//! Whether this service account may do what it needs to do, asked before a request has to fail:
//! `SelfSubjectAccessReview` (`authorization.k8s.io/v1`), which the role `system:basic-user` lets
//! every authenticated client create.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::client::call;
use super::metrics::Metrics;
use super::{Config, Error};
use crate::api::GROUP;
use crate::policy::{Kind, SignerPattern};

/// How often the permissions are looked at while none is missing.
const WHILE_GRANTED: Duration = Duration::from_secs(60);
/// How often they are looked at while one is missing, or cannot be looked at.
const WHILE_MISSING: Duration = Duration::from_secs(5);

/// One thing that the service account must be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) verb: &'static str,
    group: &'static str,
    /// With its subresource, as in a rule of RBAC.
    resource: String,
    namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Permission {
    /// The resource, as `kubectl auth can-i` writes it.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() {
            return self.resource.clone();
        }
        match self.resource.split_once('/') {
            Some((resource, subresource)) => format!("{resource}.{}/{subresource}", self.group),
            None => format!("{}.{}", self.resource, self.group),
        }
    }

    fn attributes(&self) -> Value {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        json!({
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": self.namespace.as_deref().unwrap_or_default(),
            "name": self.name.as_deref().unwrap_or_default(),
        })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource())?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " in namespace {namespace}")?;
        }
        Ok(())
    }
}

/// What the service account must be allowed to do.
pub(super) struct Needed {
    always: Vec<Permission>,
    /// While Nodes are needed.
    for_nodes: Vec<Permission>,
    /// Whether they are.
    nodes: watch::Receiver<bool>,
}

fn permission(verb: &'static str, group: &'static str, resource: &str) -> Permission {
    Permission { verb, group, resource: resource.to_owned(), namespace: None, name: None }
}

impl Needed {
    /// Everything that `config` makes necessary, and what reading Nodes takes while `nodes` says so.
    pub(super) fn new(config: &Config, nodes: watch::Receiver<bool>) -> Self {
        let for_nodes = ["get", "list", "watch"].map(|verb| permission(verb, "", "nodes")).to_vec();
        Self { always: always(config), for_nodes, nodes }
    }
}

fn always(config: &Config) -> Vec<Permission> {
    let certificates = "certificates.k8s.io";
    let mut needed = vec![permission("patch", certificates, "certificatesigningrequests/approval")];
    needed.extend(config.settings.managed_signers.iter().map(|signer| {
        // RBAC grants all signers by naming none.
        let name = (*signer != SignerPattern::All).then(|| signer.to_string());
        Permission { name, ..permission("approve", certificates, "signers") }
    }));
    for verb in ["get", "list", "watch"] {
        needed.push(permission(verb, certificates, "certificatesigningrequests"));
    }
    for kind in Kind::ALL {
        needed.extend(["list", "watch"].map(|verb| permission(verb, GROUP, kind.plural())));
        needed.push(permission("patch", GROUP, &format!("{}/status", kind.plural())));
    }
    needed.push(Permission {
        namespace: Some(config.event_namespace.clone()),
        ..permission("create", "events.k8s.io", "events")
    });
    if let Some(lease) = &config.lease {
        needed.extend(["get", "update"].map(|verb| Permission {
            namespace: Some(lease.namespace.clone()),
            name: Some(lease.name.clone()),
            ..permission(verb, "coordination.k8s.io", "leases")
        }));
    }
    needed
}

/// Looks at what is `needed` for ever, also when `again` asks for it; says what is missing in the
/// log and in a metric, and calls `restored` when something was given back.
pub(super) async fn observe(
    client: Client,
    mut needed: Needed,
    metrics: Arc<Metrics>,
    again: Arc<Notify>,
    mut restored: impl AsyncFnMut(),
) {
    let mut always = Granted::new(needed.always);
    let mut for_nodes = Granted::new(needed.for_nodes);
    loop {
        let mut found = always.look(&client, &metrics).await;
        if *needed.nodes.borrow_and_update() {
            found = found.and(for_nodes.look(&client, &metrics).await);
        } else {
            for_nodes.forget(&metrics);
        }
        if found.restored {
            restored().await;
        }
        tokio::select! {
            () = tokio::time::sleep(if found.complete { WHILE_GRANTED } else { WHILE_MISSING }) => {}
            Ok(()) = needed.nodes.changed() => {}
            () = again.notified() => {
                // Many requests may be refused at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Permissions, and whether they were granted when they were looked at last.
struct Granted(Vec<(Permission, Option<bool>)>);

/// What a look at permissions found.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// None is missing, and all could be looked at.
    complete: bool,
    /// One that was missing is there again.
    restored: bool,
}

impl Found {
    fn and(self, other: Self) -> Self {
        Self { complete: self.complete && other.complete, restored: self.restored || other.restored }
    }
}

impl Granted {
    fn new(permissions: Vec<Permission>) -> Self {
        Self(permissions.into_iter().map(|permission| (permission, None)).collect())
    }

    async fn look(&mut self, client: &Client, metrics: &Metrics) -> Found {
        let mut found = Found { complete: true, restored: false };
        for (permission, before) in &mut self.0 {
            let now = match look(client, permission).await {
                Ok(now) => now,
                Err(error) => {
                    metrics.api_error("permissions", &error);
                    tracing::debug!(error = %error, "cannot look at the own permissions");
                    found.complete = false;
                    break;
                }
            };
            if *before != Some(now) {
                metrics.permission(permission, now);
                if !now {
                    tracing::error!(
                        missing = %permission,
                        "the service account lacks a permission: the chart grants it, for signers through signerNames, for nodes through nodes.enabled"
                    );
                } else if before.is_some() {
                    tracing::info!(permission = %permission, "the service account has the permission again");
                    found.restored = true;
                }
                *before = Some(now);
            }
            found.complete &= now;
        }
        found
    }

    /// They are not needed any more, and not exported.
    fn forget(&mut self, metrics: &Metrics) {
        for (permission, before) in &mut self.0 {
            if before.take().is_some() {
                metrics.permission_not_needed(permission);
            }
        }
    }
}

async fn look(client: &Client, permission: &Permission) -> Result<bool, Error> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": permission.attributes() },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer: Value = call(client, Method::POST, path, "application/json", &review).await?;
    let granted = answer["status"]["allowed"].as_bool() == Some(true);
    // A signer may also be granted with all others of its domain, as the API server sees it.
    if !granted
        && permission.verb == "approve"
        && let Some((domain, signer)) = permission.name.as_deref().and_then(|name| name.split_once('/'))
        && signer != "*"
    {
        let domain = Permission { name: Some(format!("{domain}/*")), ..permission.clone() };
        return Box::pin(look(client, &domain)).await;
    }
    Ok(granted)
}
