//! From what was found to what is shown: each thing with who signed it, what belongs to it, and what is alarming.

use std::collections::BTreeSet;

use super::alarm::{Alarm, AlarmCode, administrators, alarm};
use super::alone;
use super::authority::{Role, Signer, chain, roles, signers};
use super::certificate::{Certificate, Signed};
use super::gather::{Held, Holder, Inventory, Place, go_together};
use super::key::Key;
use super::kubeconfig::{Context, Credential, Kubeconfig};
use super::time::instant;
use crate::cli::load::Sourced;
use crate::duration::about;
use crate::escape::printable;
use crate::request::SigningRequest;

/// By what is judged.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The present time, in seconds since 1970.
    pub(super) now: i64,
    /// How long before its end a certificate is expiring, in seconds.
    pub(super) expires_within: i64,
    /// What is not told.
    pub(super) ignored: Vec<AlarmCode>,
}

/// Something to show.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) source: &'a str,
    /// Other places of the same thing.
    pub(super) also_in: Vec<&'a str>,
    pub(super) about: About<'a>,
    pub(super) alarms: Vec<Alarm>,
}

#[derive(Debug)]
pub(super) enum About<'a> {
    Request(&'a SigningRequest),
    Certificate(Issued<'a>),
    Key {
        key: &'a Key,
        /// Where certificates of this key lie.
        of: Vec<&'a str>,
    },
    Kubeconfig(&'a Kubeconfig),
}

/// A certificate, and what the others say about it.
#[derive(Debug)]
pub(super) struct Issued<'a> {
    pub(super) certificate: &'a Certificate,
    /// If it is a CA, what for.
    pub(super) roles: &'a BTreeSet<Role>,
    pub(super) signer: SignedBy<'a>,
    /// Where its private key lies.
    pub(super) keys: Vec<&'a str>,
}

/// Who signed a certificate.
#[derive(Debug)]
pub(super) enum SignedBy<'a> {
    Itself,
    Other {
        certificate: &'a Certificate,
        source: &'a str,
        roles: &'a BTreeSet<Role>,
        /// Whether its key verifies the signature; else only the name fits.
        fits: Signed,
    },
    Unknown,
}

/// Everything that inventory and signatures say together.
pub(super) struct Judge<'a> {
    inventory: &'a Inventory,
    settings: &'a Settings,
    signers: Vec<Signer>,
    roles: Vec<BTreeSet<Role>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(inventory: &'a Inventory, settings: &'a Settings) -> Self {
        let certificates = &inventory.certificates;
        Self { inventory, settings, signers: signers(certificates), roles: roles(certificates) }
    }

    /// Everything, in the order in which it was given.
    pub(super) fn items(&'a self) -> Vec<Item<'a>> {
        let inventory = self.inventory;
        let mut items: Vec<(usize, Item<'a>)> = Vec::new();
        let requests = inventory.requests.iter();
        items.extend(requests.map(|(order, sourced)| (*order, request(sourced))));
        items.extend(inventory.kubeconfigs.iter().map(|kubeconfig| (kubeconfig.order, self.kubeconfig(kubeconfig))));
        let certificates = 0..inventory.certificates.len();
        items.extend(certificates.map(|index| (inventory.certificates[index].first().order, self.certificate(index))));
        items.extend(inventory.keys.iter().map(|held| (held.first().order, self.key(held))));
        items.sort_by_key(|(order, _)| *order);
        let ignored = |alarm: &Alarm| self.settings.ignored.contains(&alarm.code);
        let mut items: Vec<Item<'a>> = items.into_iter().map(|(_, item)| item).collect();
        for item in &mut items {
            item.alarms.retain(|alarm| !ignored(alarm));
        }
        items
    }

    fn certificate(&'a self, index: usize) -> Item<'a> {
        let held = &self.inventory.certificates[index];
        let certificate = &held.value;
        let other = |other: usize, fits| {
            let held = &self.inventory.certificates[other];
            let (source, roles) = (held.first().source.as_str(), &self.roles[other]);
            SignedBy::Other { certificate: &held.value, source, roles, fits }
        };
        let signer = match self.signers[index] {
            Signer::Itself => SignedBy::Itself,
            Signer::Certificate(by) => other(by, Signed::Yes),
            Signer::Unverified(by) => other(by, Signed::Unknown),
            Signer::Mismatch(by) => other(by, Signed::No),
            Signer::Unknown => SignedBy::Unknown,
        };
        let own = |held: &&Held<Key>| {
            held.value.is_private() && held.value.public().is_some_and(|key| *key == certificate.key)
        };
        let keys = self.inventory.keys.iter().filter(own);
        let issued = Issued {
            certificate,
            roles: &self.roles[index],
            signer,
            keys: keys.map(|held| held.first().source.as_str()).collect(),
        };
        let mut alarms = self.validity(certificate);
        alarms.extend(alone::powers(certificate));
        alarms.extend(alone::weaknesses(certificate));
        alarms.extend(self.chain(index));
        alarms.extend(self.keys_beside(held));
        if self.roles[index].len() > 1 {
            let roles: Vec<&str> = self.roles[index].iter().map(|role| role.as_str()).collect();
            let message = format!(
                "it is the CA for {} at once: a certificate for one is good for the other",
                roles.join(" and ")
            );
            alarms.push(alarm(AlarmCode::SharedCa, message));
        }
        alarms.extend(certificate.oddities.iter().map(|oddity| alarm(AlarmCode::Odd, oddity)));
        Item { source: &held.first().source, also_in: also_in(held), about: About::Certificate(issued), alarms }
    }

    fn validity(&self, certificate: &Certificate) -> Vec<Alarm> {
        let Settings { now, expires_within, .. } = *self.settings;
        let end = instant(certificate.not_after);
        let left = certificate.not_after - now;
        let mut alarms = Vec::new();
        if left < 0 {
            let message = format!("it expired on {end}, {} ago", about(-left));
            alarms.push(alarm(AlarmCode::Expired, message));
        } else if left < expires_within {
            let message = format!("it expires on {end}, in {}", about(left));
            alarms.push(alarm(AlarmCode::Expiring, message));
        }
        if now < certificate.not_before {
            let message = format!("it is not valid before {}", instant(certificate.not_before));
            alarms.push(alarm(AlarmCode::NotYetValid, message));
        }
        alarms
    }

    /// What is wrong above it.
    fn chain(&self, index: usize) -> Vec<Alarm> {
        let certificates = &self.inventory.certificates;
        let mut clauses = Vec::new();
        let called = |other: usize| {
            let held = &certificates[other];
            format!("{} ({})", held.value.subject, printable(&held.first().source))
        };
        if let Signer::Mismatch(other) = self.signers[index] {
            clauses.push(format!("the key of its issuer by name, {}, did not sign it", called(other)));
        }
        let above = chain(&self.signers, index);
        for (depth, other) in above.iter().copied().enumerate() {
            let issuer = &certificates[other].value;
            if !issuer.may_sign() {
                clauses.push(format!("{} signed it, and may not sign certificates", called(other)));
            }
            if issuer.not_after < self.settings.now {
                clauses.push(format!("its CA {} has expired", called(other)));
            }
            let between = above[..depth].iter().filter(|below| !certificates[**below].value.is_self_issued()).count();
            if issuer.authority.and_then(|authority| authority.below).is_some_and(|most| between > most as usize) {
                clauses.push(format!("{between} CAs stand below {}, which allows fewer", called(other)));
            }
            if let Signer::Mismatch(_) = self.signers[other] {
                clauses.push(format!("its CA {} does not verify", called(other)));
            }
        }
        clauses.into_iter().map(|clause| alarm(AlarmCode::ChainInvalid, clause)).collect()
    }

    /// Private keys that lie where its own should.
    fn keys_beside(&self, held: &Held<Certificate>) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let beside = |place: &Place, key: &Place| {
            let (Holder::File(own), Holder::File(other)) = (&place.holder, &key.holder) else { return false };
            let same_document = place.order == key.order;
            let by_name = match (own, other) {
                (Some(own), Some(other)) => own != other && go_together(other, own),
                _ => false,
            };
            // The key in a file is that of its first certificate.
            place.position == 0 && (same_document || by_name && !self.has_own_key(place))
        };
        for key in self.inventory.keys.iter().filter(|key| key.value.is_private()) {
            let Some(public) = key.value.public() else { continue };
            let found = key.places.iter().find(|place| held.places.iter().any(|own| beside(own, place)));
            if let Some(place) = found.filter(|_| *public != held.value.key) {
                let source = printable(&place.source);
                alarms.push(alarm(AlarmCode::KeyMismatch, format!("the private key in {source} is not its own")));
            }
        }
        alarms
    }

    /// Whether a private key lies in the same file.
    fn has_own_key(&self, place: &Place) -> bool {
        let keys = self.inventory.keys.iter().filter(|key| key.value.is_private());
        keys.flat_map(|key| &key.places).any(|key| key.order == place.order)
    }

    fn key(&'a self, held: &'a Held<Key>) -> Item<'a> {
        let mut alarms = Vec::new();
        if held.value.is_private() {
            for place in &held.places {
                if let Holder::File(Some(path)) = &place.holder {
                    alarms.extend(alone::file_mode(path));
                }
            }
        }
        match &held.value {
            Key::Public(key) | Key::Private(key) => {
                let weak = key.weakness().map(|why| alarm(AlarmCode::WeakKey, format!("the key is {key}: {why}")));
                alarms.extend(weak);
            }
            Key::Broken => {
                alarms.push(alarm(AlarmCode::KeyMismatch, "its private and its public part do not fit each other"));
            }
            Key::Opaque(_) => {}
        }
        let own =
            |certificate: &&Held<Certificate>| held.value.public().is_some_and(|key| *key == certificate.value.key);
        let certificates = self.inventory.certificates.iter().filter(own);
        let of = certificates.map(|certificate| certificate.first().source.as_str()).collect();
        Item {
            source: &held.first().source,
            also_in: also_in(held),
            about: About::Key { key: &held.value, of },
            alarms,
        }
    }

    fn kubeconfig(&'a self, kubeconfig: &'a Kubeconfig) -> Item<'a> {
        let mut alarms = Vec::new();
        for cluster in &kubeconfig.clusters {
            let name = printable(&cluster.name);
            let mut insecure = |what: &str| {
                alarms.push(alarm(
                    AlarmCode::InsecureConnection,
                    format!("cluster {name} {what}, so that anybody in between reads and changes everything"),
                ));
            };
            if cluster.insecure {
                insecure("has insecure-skip-tls-verify");
            }
            if kubeconfig.is_plain(cluster) {
                insecure("is reached without TLS");
            }
        }
        for user in &kubeconfig.users {
            let name = printable(&user.name);
            for (group, why) in
                user.impersonates_groups.iter().filter_map(|group| Some((group, administrators(group)?)))
            {
                let message = format!("user {name} impersonates the group \"{}\", {why}", printable(group));
                alarms.push(alarm(AlarmCode::ClusterAdmin, message));
            }
            for credential in &user.credentials {
                let Credential::Certificate { chain, key } = credential else { continue };
                let certificate = &self.inventory.certificates[chain[0]].value;
                match key {
                    None => {
                        alarms.push(alarm(AlarmCode::Odd, format!("user {name} has a client certificate and no key")));
                    }
                    Some(Key::Broken) => {
                        alarms.push(alarm(
                            AlarmCode::KeyMismatch,
                            format!("the two parts of user {name}'s key do not fit each other"),
                        ));
                    }
                    Some(key) if key.public().is_some_and(|key| *key != certificate.key) => {
                        alarms.push(alarm(
                            AlarmCode::KeyMismatch,
                            format!("the key of user {name} is not that of its certificate"),
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        for context in &kubeconfig.contexts {
            alarms.extend(self.context(kubeconfig, context));
        }
        let current = &kubeconfig.current_context;
        if !current.is_empty() && kubeconfig.contexts.iter().all(|context| context.name != *current) {
            alarms.push(alarm(AlarmCode::Odd, format!("its current context {} is not there", printable(current))));
        }
        let own = kubeconfig.path.as_ref().filter(|_| kubeconfig.secret);
        alarms.extend(own.into_iter().chain(&kubeconfig.secret_files).filter_map(|path| alone::file_mode(path)));
        Item { source: &kubeconfig.source, also_in: Vec::new(), about: About::Kubeconfig(kubeconfig), alarms }
    }

    /// Whether user and cluster of a context go together.
    fn context(&self, kubeconfig: &Kubeconfig, context: &Context) -> Vec<Alarm> {
        let name = printable(&context.name);
        let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let user = kubeconfig.users.iter().find(|user| user.name == context.user);
        let missing = [("cluster", &context.cluster, cluster.is_none()), ("user", &context.user, user.is_none())];
        let missing = missing.into_iter().filter(|(_, named, missing)| *missing && !named.is_empty());
        let mut alarms: Vec<Alarm> = missing
            .map(|(what, named, _)| {
                alarm(
                    AlarmCode::Odd,
                    format!("context {name} names the {what} {}, which is not there", printable(named)),
                )
            })
            .collect();
        let (Some(cluster), Some(user)) = (cluster, user) else { return alarms };
        for credential in &user.credentials {
            let Credential::Certificate { chain: own, .. } = credential else { continue };
            let above = chain(&self.signers, own[0]);
            let trusted = |index: &usize| cluster.authorities().contains(index);
            // An intermediate that the client does not send helps nobody but us.
            let verified = above.iter().any(trusted) || trusted(&own[0]);
            let unsure =
                above.iter().chain([&own[0]]).any(|index| matches!(self.signers[*index], Signer::Unverified(_)));
            if !cluster.authorities().is_empty() && !verified && !unsure {
                alarms.push(alarm(
                    AlarmCode::OtherCa,
                    format!(
                        "in context {name}, the certificate of user {} was signed by another CA than the certificate-authority of \
                         cluster {}",
                        printable(&user.name),
                        printable(&cluster.name)
                    ),
                ));
            }
        }
        alarms
    }
}

fn also_in<T>(held: &Held<T>) -> Vec<&str> {
    let first = &held.first().source;
    let mut others: Vec<&str> =
        held.places.iter().map(|place| place.source.as_str()).filter(|source| source != first).collect();
    others.dedup();
    others
}

fn request(sourced: &Sourced) -> Item<'_> {
    let request = &sourced.request;
    let about = About::Request(request);
    Item { source: &sourced.source, also_in: Vec::new(), about, alarms: alone::request(request) }
}
