//! All that a review is held against.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::index::Index;
use super::{Compiled, Kind, PolicyObject, Reserved, SignerPattern};
use crate::api::Mode;
use crate::request::Envelope;

/// The options that change verdicts, the same for the controller and the offline commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The signers whose requests are reviewed (`--managed-signer`).
    pub managed_signers: Vec<SignerPattern>,
    /// What makes a name a reserved identity (`--reserved-prefix`).
    pub reserved: Reserved,
    /// The longest lifetime, in seconds, that a signer gives (`--signer-max-seconds`), by signer name.
    pub signer_max_seconds: BTreeMap<String, i64>,
    /// Guardrails without which nothing is approved (`--require-guardrail`), by name.
    pub required_guardrails: Vec<String>,
    /// The ranges of Services (`--service-cidr`), whose addresses no node has.
    pub service_cidrs: Vec<IpNet>,
    /// How old a request may be (`--max-request-age`); nothing for any age.
    pub max_request_age: Option<Duration>,
}

impl Settings {
    /// Whether any signer that `pattern` stands for may be one whose requests are reviewed.
    pub(super) fn may_manage(&self, pattern: &SignerPattern) -> bool {
        self.managed_signers.iter().any(|managed| managed.meets(pattern))
    }

    /// One year: what `kube-controller-manager --cluster-signing-duration` is unless set.
    pub const KUBERNETES_SIGNER_MAX_SECONDS: i64 = 365 * 24 * 60 * 60;

    /// The longest lifetime, in seconds, that `signer` is known to give.
    #[must_use]
    pub fn signer_maximum(&self, signer: &str) -> Option<i64> {
        let stated = self.signer_max_seconds.get(signer).copied();
        stated.or_else(|| signer.starts_with("kubernetes.io/").then_some(Self::KUBERNETES_SIGNER_MAX_SECONDS))
    }
}

/// Compiled policies and guardrails, each sorted by name, and the settings.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Vec<Arc<Compiled>>,
    guardrails: Vec<Arc<Compiled>>,
    policy_index: Index,
    guardrail_index: Index,
    audits: bool,
    needs_nodes: bool,
    counted_signers: Vec<SignerPattern>,
    /// The objects by the digest of what they say, sorted by name.
    alike: HashMap<u64, Vec<Arc<Compiled>>>,
    settings: Settings,
}

impl PolicySet {
    /// Puts compiled objects together.
    pub fn new(objects: impl IntoIterator<Item = Arc<Compiled>>, settings: Settings) -> Self {
        let (mut policies, mut guardrails): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.object.kind == Kind::CSRPolicy);
        policies.sort_by(|a, b| a.object.cmp(&b.object));
        guardrails.sort_by(|a, b| a.object.cmp(&b.object));
        let (policy_index, guardrail_index) = (Index::new(&policies), Index::new(&guardrails));
        let audits = policies.iter().chain(&guardrails).any(|object| object.mode == Mode::Audit);
        let needs_nodes = policies.iter().chain(&guardrails).any(|object| object.needs_nodes());
        let counting = policies.iter().chain(&guardrails).filter(|object| object.counts_approvals());
        // Where none is stated, all of them.
        let counted_signers = counting
            .flat_map(|object| match object.matcher.signers() {
                [] => vec![SignerPattern::All],
                signers => signers.to_vec(),
            })
            .collect();
        let mut alike: HashMap<u64, Vec<Arc<Compiled>>> = HashMap::new();
        for object in policies.iter().chain(&guardrails) {
            alike.entry(object.digest).or_default().push(Arc::clone(object));
        }
        Self {
            policies,
            guardrails,
            policy_index,
            guardrail_index,
            audits,
            needs_nodes,
            counted_signers,
            alike,
            settings,
        }
    }

    /// Compiles plain objects and puts them together. A policy that is being deleted stops at
    /// once; a guardrail holds until it is gone.
    pub fn compile<'a>(objects: impl IntoIterator<Item = &'a PolicyObject>, settings: Settings) -> Self {
        let in_force = objects.into_iter().filter(|object| object.kind == Kind::CSRGuardrail || !object.deleting);
        Self::new(in_force.map(|object| Arc::new(Compiled::new(object))), settings)
    }

    /// The policies, sorted by name.
    #[must_use]
    pub fn policies(&self) -> &[Arc<Compiled>] {
        &self.policies
    }

    /// The guardrails, sorted by name.
    #[must_use]
    pub fn guardrails(&self) -> &[Arc<Compiled>] {
        &self.guardrails
    }

    /// The guardrails that must be in force before anything is approved ([`Settings::required_guardrails`]): each name, and
    /// the object if there is one.
    pub fn required_guardrails(&self) -> impl Iterator<Item = (&str, Option<&Arc<Compiled>>)> {
        self.settings.required_guardrails.iter().map(|name| {
            let guardrail = self.guardrails.iter().find(|guardrail| guardrail.object.name == *name);
            (name.as_str(), guardrail)
        })
    }

    /// The first object that says the same as `object`, which is one of these.
    pub(super) fn first_like(&self, object: &Compiled) -> Option<&Compiled> {
        let alike = self.alike.get(&object.digest)?;
        alike.iter().map(AsRef::as_ref).find(|other| other.says_the_same(object))
    }

    /// The policies that may speak about `request`, sorted by name. All others do not match it.
    pub fn policies_for(&self, request: &Envelope) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policy_index.find(request).into_iter().filter_map(|position| self.policies.get(position as usize))
    }

    /// The guardrails that may speak about `request`, sorted by name. All others do not match it.
    pub fn guardrails_for(&self, request: &Envelope) -> impl Iterator<Item = &Arc<Compiled>> {
        self.guardrail_index.find(request).into_iter().filter_map(|position| self.guardrails.get(position as usize))
    }

    /// Whether any object only reports (`mode: Audit`), so that two verdicts may differ.
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.audits
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether any object needs Nodes: for `from: Node`, for rules about the Node, or an expression that reads `node`.
    #[must_use]
    pub const fn needs_nodes(&self) -> bool {
        self.needs_nodes
    }

    /// Whether any object that may speak about `request` needs Nodes.
    #[must_use]
    pub fn needs_nodes_for(&self, request: &Envelope) -> bool {
        let mut objects = self.policies_for(request).chain(self.guardrails_for(request));
        self.needs_nodes && objects.any(|object| object.needs_nodes())
    }

    /// The signers whose approvals are counted, for `maxPerHour`; empty where no object counts any.
    #[must_use]
    pub fn counted_signers(&self) -> &[SignerPattern] {
        &self.counted_signers
    }

    /// Whether approvals are counted under a signer that may be managed.
    #[must_use]
    pub fn counts_managed(&self) -> bool {
        self.counted_signers.iter().any(|pattern| self.settings.may_manage(pattern))
    }

    /// Whether approvals under `signer` are counted.
    #[must_use]
    pub fn counts_approvals(&self, signer: &str) -> bool {
        self.counted_signers.iter().any(|pattern| pattern.matches(signer))
    }

    /// Whether requests for `signer` are reviewed at all.
    #[must_use]
    pub fn manages(&self, signer: &str) -> bool {
        self.settings.managed_signers.iter().any(|pattern| pattern.matches(signer))
    }
}
