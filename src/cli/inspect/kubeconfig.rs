//! Kubeconfigs (`v1`, `Config`): who speaks to which cluster, with what. No secret is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::gather::{Holder, Inventory, Place, decoded, key_of};
use super::key::Key;
use crate::cli::input::{self, without_mark};
use crate::cli::located::Located;
use crate::cli::problem::Problem;

/// A kubeconfig.
#[derive(Debug)]
pub(super) struct Kubeconfig {
    pub(super) source: String,
    /// The file; nothing for standard input.
    pub(super) path: Option<PathBuf>,
    /// The number of the document, among all.
    pub(super) order: usize,
    pub(super) current_context: String,
    pub(super) contexts: Vec<Context>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) users: Vec<User>,
    /// Whether a secret stands in the file itself.
    pub(super) secret: bool,
    /// Files with secrets that it names.
    pub(super) secret_files: Vec<PathBuf>,
}

/// A user and a cluster by their names.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) user: String,
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    /// Without a password, which may stand before the host.
    pub(super) server: String,
    /// The proxy that it is reached through, likewise.
    pub(super) proxy: String,
    pub(super) insecure: bool,
    pub(super) trust: Trust,
}

/// Which CAs a client takes the certificate of the API server from.
#[derive(Debug)]
pub(super) enum Trust {
    /// Those of the system, since none are named.
    System,
    /// These, by their numbers in the inventory.
    Authorities(Vec<usize>),
    /// Those in something that could not be read.
    Unread,
}

impl Cluster {
    /// The certificates that are named and could be read.
    pub(super) fn authorities(&self) -> &[usize] {
        if let Trust::Authorities(authorities) = &self.trust { authorities } else { &[] }
    }
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    /// Whom it impersonates.
    pub(super) impersonates: String,
    /// In which groups.
    pub(super) impersonates_groups: Vec<String>,
    pub(super) credentials: Vec<Credential>,
}

/// With what a user shows who it is.
#[derive(Debug)]
pub(super) enum Credential {
    /// A client certificate with those that signed it, by their numbers, and its key.
    Certificate { chain: Vec<usize>, key: Option<Key> },
    /// A client certificate that could not be read, or whose key could not.
    Unread,
    /// A bearer token, in the kubeconfig.
    Token,
    /// A bearer token in a file.
    TokenFile(String),
    /// A password.
    Password,
    /// A program that gives a token or a certificate.
    Exec(String),
    /// A plugin that is no longer part of kubectl.
    AuthProvider(String),
}

impl Credential {
    fn token_file(&self) -> Option<&str> {
        if let Self::TokenFile(file) = self { Some(file) } else { None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    current_context: Option<String>,
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
    contexts: Option<Vec<NamedContext>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedCluster {
    name: String,
    cluster: Option<ClusterEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ClusterEntry {
    server: Option<String>,
    proxy_url: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedUser {
    name: String,
    user: Option<UserEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct UserEntry {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
    #[serde(rename = "as-groups")]
    impersonate_groups: Option<Vec<String>>,
    password: Option<String>,
    exec: Option<Exec>,
    auth_provider: Option<AuthProvider>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exec {
    command: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthProvider {
    name: String,
    config: Option<BTreeMap<String, Option<String>>>,
}

impl AuthProvider {
    /// Whether its configuration has a token (`id-token`, `refresh-token`, `access-token`) or a `client-secret`.
    fn has_secret(&self) -> bool {
        let secret = |name: &str| name.ends_with("token") || name.ends_with("secret");
        self.config
            .iter()
            .flatten()
            .any(|(name, value)| secret(name) && value.as_ref().is_some_and(|value| !value.is_empty()))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedContext {
    name: String,
    context: Option<ContextEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
}

/// Something that stands in the kubeconfig itself or in a file that it names; the former wins.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    data: Option<&'a str>,
    file: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn new(data: Option<&'a String>, file: Option<&'a String>) -> Self {
        let stated = |text: Option<&'a String>| text.map(String::as_str).filter(|text| !text.is_empty());
        Self { data: stated(data), file: stated(file) }
    }

    fn is_there(self) -> bool {
        self.data.is_some() || self.file.is_some()
    }

    /// The file that counts.
    fn path(self, directory: &Path) -> Option<PathBuf> {
        self.file.filter(|_| self.data.is_none()).map(|file| directory.join(file))
    }

    fn text(self, directory: &Path) -> Result<String, String> {
        match (self.data, self.path(directory)) {
            (Some(data), _) => decoded(data),
            (None, Some(path)) => {
                let shown = path.display();
                let bytes = input::regular_file(&path).map_err(|why| format!("names {shown}, which {why}"))?;
                let text = String::from_utf8(bytes).map_err(|_| format!("names {shown}, which is not PEM"))?;
                Ok(without_mark(&text).to_owned())
            }
            (None, None) => Ok(String::new()),
        }
    }
}

/// What is wrong, and the field that it is about.
type Wrong = (String, String);

impl Kubeconfig {
    /// Whether requests to `cluster` go without TLS, as client-go sees it: where no scheme is named, TLS is what a CA, a client
    /// certificate or `insecure-skip-tls-verify` is there for.
    pub(super) fn is_plain(&self, cluster: &Cluster) -> bool {
        if let Some((scheme, _)) = cluster.server.split_once("://") {
            return scheme.eq_ignore_ascii_case("http");
        }
        let certified = |user: &User| {
            user.credentials.iter().any(|one| matches!(one, Credential::Certificate { .. } | Credential::Unread))
        };
        let used = |user: &&User| {
            self.contexts.iter().any(|context| context.cluster == cluster.name && context.user == user.name)
        };
        let plain = matches!(cluster.trust, Trust::System) && !self.users.iter().filter(used).any(certified);
        !cluster.server.is_empty() && !cluster.insecure && plain
    }

    /// Whether an object is one.
    pub(super) fn is(value: &Value) -> bool {
        let parts = ["clusters", "users", "contexts"].iter().any(|part| value[part].is_array());
        match value["kind"].as_str() {
            Some(kind) => kind == "Config" && (value["apiVersion"] == "v1" || value["apiVersion"].is_null()),
            None => parts,
        }
    }

    /// Reads one into the inventory. What it holds that cannot be read is told, and the rest is taken.
    pub(super) fn read(
        inventory: &mut Inventory,
        source: &str,
        located: &Located,
        order: usize,
        problems: &mut Vec<Problem>,
    ) {
        let mut wrong = |(field, message): Wrong| {
            problems.push(Problem::new(source, Some(located.place_of(&field)), format!("{field} {message}")));
        };
        let file: File = match serde_path_to_error::deserialize(located.value()) {
            Ok(file) => file,
            // The message would quote the value.
            Err(error) => return wrong((error.path().to_string(), "has a type that it cannot have".to_owned())),
        };
        let path = (source != "-").then(|| PathBuf::from(source));
        let directory = path.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let mut reader = Reader { inventory, source, order, directory: &directory };
        let mut kubeconfig = Self {
            source: source.to_owned(),
            order,
            current_context: file.current_context.unwrap_or_default(),
            contexts: Vec::new(),
            clusters: Vec::new(),
            users: Vec::new(),
            secret: false,
            secret_files: Vec::new(),
            path,
        };
        for named in file.contexts.unwrap_or_default() {
            let ContextEntry { cluster, user } = named.context.unwrap_or_default();
            kubeconfig.contexts.push(Context { name: named.name, cluster, user });
        }
        for (index, named) in file.clusters.unwrap_or_default().into_iter().enumerate() {
            let entry = named.cluster.unwrap_or_default();
            let trust = reader.trust(index, &named.name, &entry).unwrap_or_else(|problem| {
                wrong(problem);
                Trust::Unread
            });
            kubeconfig.clusters.push(Cluster {
                name: named.name,
                server: without_user(&entry.server.unwrap_or_default()),
                proxy: without_user(&entry.proxy_url.unwrap_or_default()),
                insecure: entry.insecure_skip_tls_verify.unwrap_or_default(),
                trust,
            });
        }
        for (index, named) in file.users.unwrap_or_default().into_iter().enumerate() {
            let entry = named.user.unwrap_or_default();
            let mut credentials = Vec::new();
            match reader.certificate(index, &named.name, &entry) {
                Ok(certificate) => credentials.extend(certificate),
                Err(problem) => {
                    wrong(problem);
                    credentials.push(Credential::Unread);
                }
            }
            credentials.extend(others(&entry));
            let key = Given::new(entry.client_key_data.as_ref(), entry.client_key.as_ref());
            kubeconfig.secret |= key.data.is_some()
                || credentials.iter().any(|one| matches!(one, Credential::Token | Credential::Password))
                || entry.auth_provider.as_ref().is_some_and(AuthProvider::has_secret);
            kubeconfig.secret_files.extend(key.path(&directory));
            let tokens = credentials.iter().filter_map(Credential::token_file);
            kubeconfig.secret_files.extend(tokens.map(|file| directory.join(file)));
            kubeconfig.users.push(User {
                name: named.name,
                impersonates: entry.impersonate.unwrap_or_default(),
                impersonates_groups: entry.impersonate_groups.unwrap_or_default(),
                credentials,
            });
        }
        reader.inventory.kubeconfigs.push(kubeconfig);
    }
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    source: &'a str,
    order: usize,
    directory: &'a Path,
}

impl Reader<'_> {
    fn place(&self, what: &str, name: &str, holder: Holder) -> Place {
        Place { source: format!("{} ({what} {name})", self.source), order: self.order, position: 0, holder }
    }

    fn trust(&mut self, index: usize, name: &str, entry: &ClusterEntry) -> Result<Trust, Wrong> {
        let (data, file) = (&entry.certificate_authority_data, &entry.certificate_authority);
        let given = Given::new(data.as_ref(), file.as_ref());
        if !given.is_there() {
            return Ok(Trust::System);
        }
        let place = self.place("cluster", name, Holder::Authority);
        let held = given.text(self.directory).and_then(|text| self.inventory.hold_chain(&text, &place));
        let field = if given.data.is_some() { "certificate-authority-data" } else { "certificate-authority" };
        held.map(Trust::Authorities).map_err(|message| (format!("clusters[{index}].cluster.{field}"), message))
    }

    fn certificate(&mut self, index: usize, name: &str, entry: &UserEntry) -> Result<Option<Credential>, Wrong> {
        let given = Given::new(entry.client_certificate_data.as_ref(), entry.client_certificate.as_ref());
        if !given.is_there() {
            return Ok(None);
        }
        let wrong = |field: &str, message| (format!("users[{index}].user.{field}"), message);
        let place = self.place("user", name, Holder::User);
        let held = given.text(self.directory).and_then(|text| self.inventory.hold_chain(&text, &place));
        let field = if given.data.is_some() { "client-certificate-data" } else { "client-certificate" };
        let chain = held.map_err(|message| wrong(field, message))?;
        let given = Given::new(entry.client_key_data.as_ref(), entry.client_key.as_ref());
        let field = if given.data.is_some() { "client-key-data" } else { "client-key" };
        let key = if given.is_there() {
            Some(given.text(self.directory).and_then(|text| key_of(&text)).map_err(|message| wrong(field, message))?)
        } else {
            None
        };
        Ok(Some(Credential::Certificate { chain, key }))
    }
}

/// A URL without the user and password that may stand before its host (RFC 3986, section 3.2.1).
fn without_user(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?', '#']).map_or(url.len(), |length| begin + length);
    let host = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    format!("{}{}", &url[..begin], &url[host..])
}

/// Every credential but the certificate.
fn others(entry: &UserEntry) -> Vec<Credential> {
    let mut others = Vec::new();
    let stated = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if stated(&entry.token).is_some() {
        others.push(Credential::Token);
    }
    others.extend(stated(&entry.token_file).map(Credential::TokenFile));
    if stated(&entry.password).is_some() {
        others.push(Credential::Password);
    }
    others.extend(entry.exec.as_ref().map(|exec| Credential::Exec(exec.command.clone())));
    others.extend(entry.auth_provider.as_ref().map(|provider| Credential::AuthProvider(provider.name.clone())));
    others
}
