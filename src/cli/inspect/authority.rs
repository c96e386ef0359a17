//! Which certificate signed which, and which CA is whose.

use std::collections::BTreeSet;
use std::path::Path;

use super::certificate::{Certificate, Signed};
use super::gather::{Held, Holder};

/// Who signed a certificate, as far as the certificates at hand say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    /// Its own key.
    Itself,
    /// Another certificate, whose key verifies the signature.
    Certificate(usize),
    /// Another certificate or itself by name; the signature is of an algorithm that is not verified here.
    Unverified(usize),
    /// A certificate has the issuer's name, and its key did not sign it.
    Mismatch(usize),
    /// None at hand has the issuer's name.
    Unknown,
}

/// The signer of each, found by name and verified by signature.
pub(super) fn signers(certificates: &[Held<Certificate>]) -> Vec<Signer> {
    (0..certificates.len()).map(|index| signer(certificates, index)).collect()
}

fn signer(certificates: &[Held<Certificate>], index: usize) -> Signer {
    let own = &certificates[index].value;
    let mut best = Signer::Unknown;
    // Itself first: a root is its own issuer, even where others have its name.
    let others = (0..certificates.len()).filter(|other| *other != index);
    for other in std::iter::once(index).chain(others) {
        let candidate = &certificates[other].value;
        if candidate.subject.raw != own.issuer.raw {
            continue;
        }
        match own.signed_by(candidate) {
            Signed::Yes if other == index => return Signer::Itself,
            Signed::Yes => return Signer::Certificate(other),
            Signed::Unknown => best = Signer::Unverified(other),
            Signed::No if best == Signer::Unknown => best = Signer::Mismatch(other),
            Signed::No => {}
        }
    }
    best
}

/// The certificates above one, nearest first, as far as their signatures verify.
pub(super) fn chain(signers: &[Signer], index: usize) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut at = index;
    while let Some(Signer::Certificate(above)) = signers.get(at) {
        if *above == index || chain.contains(above) {
            break;
        }
        chain.push(*above);
        at = *above;
    }
    chain
}

/// What a CA of a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Signs the API server's clients, and what it serves with.
    Cluster,
    /// Signs etcd's members and clients.
    Etcd,
    /// Signs proxies that the API server believes whatever user they name.
    FrontProxy,
}

impl Role {
    /// As JSON has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Etcd => "etcd",
            Self::FrontProxy => "front-proxy",
        }
    }
}

/// What each is for: by where it lies in kubeadm's layout and those like it, else by what it is called.
pub(super) fn roles(certificates: &[Held<Certificate>]) -> Vec<BTreeSet<Role>> {
    certificates.iter().map(roles_of).collect()
}

fn roles_of(held: &Held<Certificate>) -> BTreeSet<Role> {
    if !held.value.is_authority() {
        return BTreeSet::new();
    }
    let by_place = |holder: &Holder| match holder {
        Holder::Authority => Some(Role::Cluster),
        Holder::File(path) => path.as_deref().and_then(role_of_path),
        Holder::User | Holder::Issued => None,
    };
    let roles: BTreeSet<Role> = held.places.iter().filter_map(|place| by_place(&place.holder)).collect();
    if roles.is_empty() { held.value.subject.common_name().and_then(role_of_name).into_iter().collect() } else { roles }
}

fn role_of_path(path: &Path) -> Option<Role> {
    let stem = path.file_stem()?.to_string_lossy().to_lowercase();
    let directory = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().to_lowercase());
    if directory.as_deref() == Some("etcd") {
        return Some(Role::Etcd);
    }
    match stem.as_str() {
        "ca" | "client-ca" | "kubernetes-ca" => Some(Role::Cluster),
        _ => role_of_name(&stem),
    }
}

fn role_of_name(name: &str) -> Option<Role> {
    match name.to_lowercase().as_str() {
        "kubernetes" | "kubernetes-ca" => Some(Role::Cluster),
        name if name.contains("front-proxy") || name.contains("request-header") => Some(Role::FrontProxy),
        name if name.contains("etcd") => Some(Role::Etcd),
        _ => None,
    }
}
