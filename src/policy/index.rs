//! Which objects may speak about a request, found by its signer and its requestor, so that the
//! others cost nothing.
//!
//! What the index leaves out does not match, for certain; what it finds is still to be matched.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::matcher::{Part, RequestorMatcher};
use super::{Compiled, SignerPattern, WidePattern};
use crate::request::{Envelope, SERVICE_ACCOUNTS, namespace_group};

/// The most places that one object is kept in. One that would need more is found by its signers alone.
const MAX_PLACES: usize = 1024;

/// Positions in a list of objects, by what a request must have for the object there to match.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    signers: HashMap<String, Requestors>,
    /// Every signer of a domain.
    domains: HashMap<String, Requestors>,
    any_signer: Requestors,
    hasher: RandomState,
}

#[derive(Debug, Clone, Default)]
struct Requestors {
    users: Places,
    groups: Places,
    any: Vec<u32>,
}

/// Positions by the hash of a name, in order: an object may have a thousand places, and each of its names 256 characters.
#[derive(Debug, Clone, Default)]
struct Places(Vec<(u64, u32)>);

impl Places {
    /// The positions for a name that has this hash, or for others that have it.
    fn of(&self, hash: u64) -> impl Iterator<Item = u32> {
        let begin = self.0.partition_point(|(other, _)| *other < hash);
        self.0.iter().skip(begin).take_while(move |(other, _)| *other == hash).map(|(_, position)| *position)
    }
}

/// Something that a request must have, or nothing in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs<'a> {
    User(&'a str),
    Group(&'a str),
    Anything,
}

impl Index {
    pub(super) fn new(objects: &[Arc<Compiled>]) -> Self {
        let mut index = Self::default();
        for (position, object) in (0..).zip(objects) {
            index.add(position, object);
        }
        let Self { signers, domains, any_signer, .. } = &mut index;
        for requestors in signers.values_mut().chain(domains.values_mut()).chain([any_signer]) {
            requestors.users.0.sort_unstable();
            requestors.groups.0.sort_unstable();
        }
        index
    }

    /// The positions of the objects that may speak about `request`, in order.
    pub(super) fn find(&self, request: &Envelope) -> Vec<u32> {
        let signer = request.signer_name.as_str();
        let user = self.hasher.hash_one(request.username.as_str());
        let domain = signer.split_once('/').map(|(domain, _)| domain);
        let domains = domain.and_then(|domain| self.domains.get(domain));
        let mut found = Vec::new();
        for requestors in self.signers.get(signer).into_iter().chain(domains).chain([&self.any_signer]) {
            found.extend(&requestors.any);
            found.extend(requestors.users.of(user));
            if !requestors.groups.0.is_empty() {
                let groups = request.groups.iter().map(|group| self.hasher.hash_one(group.as_str()));
                found.extend(groups.flat_map(|group| requestors.groups.of(group)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn add(&mut self, position: u32, object: &Compiled) {
        let mut accounts = Vec::new();
        let mut needs = match &object.matcher.requestors {
            Part::Stated(entries) => {
                accounts.extend(entries.iter().map(accounts_of));
                entries.iter().zip(&accounts).flat_map(|(entry, accounts)| needs(entry, accounts.as_deref())).collect()
            }
            Part::Unstated | Part::Unreadable(_) => vec![Needs::Anything],
        };
        let signers = match &object.matcher.signers {
            Part::Stated(signers) => signers.as_slice(),
            Part::Unstated | Part::Unreadable(_) => &[SignerPattern::All],
        };
        if needs.contains(&Needs::Anything) || needs.len() * signers.len() > MAX_PLACES {
            needs = vec![Needs::Anything];
        }
        for signer in signers {
            let requestors = match signer {
                SignerPattern::Exact(name) => self.signers.entry(name.clone()).or_default(),
                SignerPattern::Domain(domain) => self.domains.entry(domain.clone()).or_default(),
                SignerPattern::All => &mut self.any_signer,
            };
            for need in &needs {
                match need {
                    Needs::User(name) => requestors.users.0.push((self.hasher.hash_one(*name), position)),
                    Needs::Group(name) => requestors.groups.0.push((self.hasher.hash_one(*name), position)),
                    Needs::Anything => requestors.any.push(position),
                }
            }
        }
    }
}

/// Of what an entry states, all must hold: one list of plain names is enough to find it by.
fn needs<'a>(entry: &'a RequestorMatcher, accounts: Option<&'a [Account]>) -> Vec<Needs<'a>> {
    let plain = |list: Option<&'a Vec<WidePattern>>| -> Option<Vec<&'a str>> {
        list?.iter().map(WidePattern::literal).collect()
    };
    if let Some(users) = plain(entry.users.as_ref()) {
        users.into_iter().map(Needs::User).collect()
    } else if let Some(accounts) = accounts {
        let need = |account: &'a Account| match account {
            Account::User(name) => Needs::User(name),
            Account::Group(name) => Needs::Group(name),
        };
        accounts.iter().map(need).collect()
    } else if let Some(groups) = plain(entry.groups.as_ref()) {
        groups.into_iter().map(Needs::Group).collect()
    } else {
        vec![Needs::Anything]
    }
}

/// What a service account has for certain: a user name, and the group of its namespace.
enum Account {
    User(String),
    Group(String),
}

/// The service accounts of an entry, if the namespaces of all of them are plain.
fn accounts_of(entry: &RequestorMatcher) -> Option<Vec<Account>> {
    let account = |(namespace, name): &(WidePattern, WidePattern)| {
        let namespace = namespace.literal()?;
        Some(match name.literal() {
            Some(name) => Account::User(format!("{SERVICE_ACCOUNTS}{namespace}:{name}")),
            None => Account::Group(namespace_group(namespace)),
        })
    };
    entry.service_accounts.as_ref()?.iter().map(account).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::{Value, json};

    use super::{Arc, Compiled, Index};
    use crate::policy::{Bindings, Kind, PolicyObject, PolicySet, Settings, Truth};
    use crate::request::{Envelope, SigningRequest};

    const SIGNERS: [&str; 5] = ["a.com/x", "a.com/y", "b.com/x", "a.com/*", "not a signer"];
    const NAMES: [&str; 6] = ["u", "v", "u*", "*", "system:serviceaccount:n:a", ""];
    const ACCOUNTS: [&str; 4] = ["n/a", "n/*", "m/b", "*/a"];

    fn any_requestor() -> impl Strategy<Value = Value> {
        let list = |names: &[&'static str]| prop::option::of(subsequence(names.to_vec(), 0..=2));
        (list(&NAMES), list(&NAMES), list(&ACCOUNTS)).prop_map(|(users, groups, accounts)| {
            let mut entry = json!({});
            for (field, list) in [("users", users), ("groups", groups), ("serviceAccounts", accounts)] {
                if let Some(list) = list {
                    entry[field] = json!(list);
                }
            }
            entry
        })
    }

    fn any_object() -> impl Strategy<Value = PolicyObject> {
        let signers = prop::option::weighted(0.8, subsequence(SIGNERS.to_vec(), 1..=2));
        let requestors = prop::option::weighted(0.8, prop::collection::vec(any_requestor(), 0..3));
        (any::<bool>(), signers, requestors, any::<u16>()).prop_map(|(guardrail, signers, requestors, name)| {
            let kind = if guardrail { Kind::CSRGuardrail } else { Kind::CSRPolicy };
            let mut matches = json!({});
            if let Some(signers) = signers {
                matches["signerNames"] = json!(signers);
            }
            if let Some(requestors) = requestors {
                matches["requestors"] = json!(requestors);
            }
            let metadata = json!({ "name": format!("o-{name}") });
            let spec = json!({ "match": matches });
            PolicyObject::new(
                kind,
                json!({ "apiVersion": crate::api::API_VERSION, "metadata": metadata, "spec": spec }),
            )
        })
    }

    fn any_envelope() -> impl Strategy<Value = Envelope> {
        let users = vec!["u", "v", "ux", "w", "system:serviceaccount:n:a", "system:serviceaccount:m:b"];
        let groups = vec!["u", "v", "w", "system:serviceaccounts:n", "system:serviceaccounts:m"];
        let signers = select(vec!["a.com/x", "a.com/y", "b.com/x", "b.com/y", "a.com"]);
        (signers, select(users), subsequence(groups, 0..=3)).prop_map(|(signer, user, groups)| Envelope {
            signer_name: signer.to_owned(),
            username: user.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..Envelope::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn leaves_out_only_what_does_not_match(
            objects in prop::collection::vec(any_object(), 0..8),
            envelope in any_envelope(),
        ) {
            let set = PolicySet::compile(&objects, Settings::default());
            let request = SigningRequest::decode(envelope, b"");
            let bindings = Bindings::new(&request, None);
            let envelope = &request.envelope;
            let speaks = |object: &Compiled| object.matcher.matches(envelope, &bindings) != Truth::No;
            for (all, found) in [
                (set.policies(), set.policies_for(envelope).collect::<Vec<_>>()),
                (set.guardrails(), set.guardrails_for(envelope).collect::<Vec<_>>()),
            ] {
                let expected: Vec<_> = all.iter().filter(|object| speaks(object)).map(|object| &object.object).collect();
                let found: Vec<_> = found.iter().filter(|object| speaks(object)).map(|object| &object.object).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn finds_nothing_where_nobody_is_concerned() {
        let object = |index: usize| {
            let spec = json!({ "match": {
                "signerNames": ["a.com/x"],
                "requestors": [
                    { "groups": [format!("g-{index}")] },
                    { "serviceAccounts": [format!("n/s-{index}")] },
                    { "serviceAccounts": [format!("m-{index}/*"), format!("k/s-{index}")] },
                ],
            } });
            let metadata = json!({ "name": format!("o-{index}") });
            let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": metadata, "spec": spec });
            PolicyObject::new(Kind::CSRPolicy, value)
        };
        let objects: Vec<PolicyObject> = (0..100).map(object).collect();
        let set = PolicySet::compile(&objects, Settings::default());
        let names = |signer: &str, user: &str, group: &str| -> Vec<String> {
            let envelope = Envelope {
                signer_name: signer.to_owned(),
                username: user.to_owned(),
                groups: vec![group.to_owned(), group.to_owned()],
                ..Envelope::default()
            };
            set.policies_for(&envelope).map(|object| object.object.name.clone()).collect()
        };
        assert_eq!(names("a.com/x", "u", "g-7"), ["o-7"]);
        assert_eq!(names("a.com/x", "system:serviceaccount:n:s-8", "g-7"), ["o-7", "o-8"]);
        let of_a_namespace = |index: usize| format!("system:serviceaccounts:m-{index}");
        assert_eq!(names("a.com/x", "system:serviceaccount:m-9:a", &of_a_namespace(9)), ["o-9"]);
        assert_eq!(names("a.com/x", "system:serviceaccount:k:s-3", &of_a_namespace(2)), ["o-2", "o-3"]);
        assert!(names("a.com/x", "system:serviceaccount:m-9:a", "g").is_empty());
        assert!(names("a.com/y", "u", "g-7").is_empty());
        assert!(names("a.com/x", "u", "g").is_empty());
    }

    #[test]
    fn an_object_with_too_many_places_is_found_by_its_signers_alone() {
        let index = |users: usize, signers: usize, any: bool| {
            let users: Vec<String> = (0..users).map(|user| format!("u-{user}")).collect();
            let mut entries = vec![json!({ "users": users })];
            if any {
                entries.push(json!({ "users": ["*"] }));
            }
            let signers: Vec<String> = (0..signers).map(|signer| format!("a.com/s-{signer}")).collect();
            let spec = json!({ "match": { "signerNames": signers, "requestors": entries } });
            let value = json!({ "apiVersion": crate::api::API_VERSION, "metadata": { "name": "o" }, "spec": spec });
            Index::new(&[Arc::new(Compiled::new(&PolicyObject::new(Kind::CSRPolicy, value)))])
        };
        // Under one signer: by how many user names, and how often without regard to any.
        let places = |index: &Index| {
            let requestors = &index.signers["a.com/s-0"];
            (requestors.users.0.len(), requestors.any.len())
        };
        assert_eq!(places(&index(64, 16, false)), (64, 0));
        assert_eq!(places(&index(64, 17, false)), (0, 1));
        assert_eq!(places(&index(2, 1, true)), (0, 1));
    }
}
