use super::{Deserialize, JsonSchema, KubeSchema, MatchCondition, Serialize};

/// Which requests an object speaks about. Every part that is stated must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// The signers, each by name (`kubernetes.io/kubelet-serving`) or as every signer of a domain
    /// (`example.com/*`). A policy must state it.
    #[schemars(length(max = 32), inner(length(min = 1, max = 571)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("signerNames is empty: name at least one signer, for example kubernetes.io/kube-apiserver-client"),
        validation = Rule::new("self.all(s, s.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+/([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*)$'))").message("a signer name is DOMAIN/NAME, in lower case, or DOMAIN/* for every signer of a domain; write, for example, kubernetes.io/kube-apiserver-client or example.com/*")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer_names: Option<Vec<String>>,

    /// Who filed the request: any one of the entries, of which every part that is stated must match: `users` beside
    /// `serviceAccounts` is who is both. A policy must state it. A client certificate has only the groups that were
    /// asked for, so whoever may obtain one can shed a group by which a guardrail matches.
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("requestors is empty: add an entry, for example - groups: [platform-onboarding]")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requestors: Option<Vec<Requestor>>,

    /// Requests that the object does not speak about although the rest matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Exclude>,

    /// What else must be true of the request, in CEL; all of them. Where one fails, it is unknown whether the
    /// object speaks about the request.
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("conditions is empty: add one, for example - {name: not-ci, expression: \"!requestor.username.startsWith('ci:')\"}, or remove conditions")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<MatchCondition>>,
}

/// Requests that are left out of a match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.requestors)").message("exclude is empty: state exclude.requestors, or remove exclude"))]
pub struct Exclude {
    /// Who is left out: any one of the entries, of which every part that is stated must match. A client certificate
    /// has only the groups that were asked for, so whoever may obtain one can shed a group: leave users out, or let
    /// `match.requestors` demand `credential: NotClientCertificate`.
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("exclude.requestors is empty: add an entry, for example - groups: [break-glass], or remove exclude")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requestors: Option<Vec<Requestor>>,
}

/// The user who filed a request, as the API server authenticated it (`spec.username`,
/// `spec.groups`, `spec.extra`). Every part that is stated must match; within a list, any item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.users) || has(self.groups) || has(self.serviceAccounts)").message("a requestor needs at least one of users, groups or serviceAccounts; for everybody write groups: ['system:authenticated']"))]
pub struct Requestor {
    /// Patterns of user names; `*` matches anything.
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("users is empty: name at least one user, or remove users"),
        validation = Rule::new("!self.exists(s, s.contains('${'))").message("${ is reserved for later versions and cannot stand in a pattern")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,

    /// Patterns of groups, of which the requestor must be in one; `*` matches anything.
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("groups is empty: name at least one group, or remove groups"),
        validation = Rule::new("!self.exists(s, s.contains('${'))").message("${ is reserved for later versions and cannot stand in a pattern")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,

    /// Service accounts as `namespace/name`, either part a pattern. The requestor must also be in
    /// the group `system:serviceaccounts:<namespace>`, which whoever impersonates it with groups of their choice is not: to stop an
    /// account in any case, name it in `users`, as `system:serviceaccount:<namespace>:<name>`.
    #[schemars(length(max = 64), inner(length(min = 3, max = 320)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.size() > 0").message("serviceAccounts is empty: name at least one as namespace/name, or remove serviceAccounts"),
        validation = Rule::new("self.all(s, s.matches('^[a-z0-9.*-]+/[a-z0-9.*-]+$'))").message("a service account is namespace/name in lower case, either part with *; for example ci/runner or ci/*")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Vec<String>>,

    /// What the requestor must have authenticated with.
    #[serde(default)]
    pub credential: Credential,
}

/// What a requestor authenticated with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Credential {
    /// Anything.
    #[default]
    Any,
    /// Not a client certificate, so that a certificate cannot be used to get the next one. Told by
    /// `authentication.kubernetes.io/credential-id`; where the request does not carry it, the
    /// requestor cannot be told and the request is left pending.
    NotClientCertificate,
}
