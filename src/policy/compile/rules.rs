//! `allow` and `limits`: what a request may contain.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Compiler;
use super::lists::Lists;
use crate::api::{self, Existence, KeyAlgorithm, KeyCurve};
use crate::policy::rules::{ExpirationRules, KeyRules, NodeRules, Rules, SignerRules, UsageRules, ValidationRule};
use crate::policy::{Expression, Field, Kind};
use crate::request::{Curve, Usage};

/// The parts that policies and guardrails share.
struct Common {
    subject: Option<api::SubjectRules>,
    keys: Option<api::Keys>,
    dns_names: Option<api::DnsNames>,
    ip_addresses: Option<api::IpAddresses>,
    uris: Option<api::Values>,
    email_addresses: Option<api::Values>,
    node: Option<api::NodeRules>,
    validations: Option<Vec<api::Validation>>,
}

impl Compiler {
    pub(super) fn allow(&mut self, spec: &Value) -> Option<Rules> {
        let path = "spec.allow";
        if spec["allow"].is_null() {
            if self.broken(path).is_none() {
                self.report(
                    path,
                    "state allow: what an approved request may contain, at least usages and expirationSeconds",
                );
            }
            return None;
        }
        let allow: api::Allow = self.read(path, &spec["allow"])?;
        if allow.usages.is_none() {
            self.report("spec.allow.usages", "state allow.usages, for example {allowed: [client auth, digital signature, key encipherment], required: [client auth]}");
        }
        if allow.expiration_seconds.is_none() {
            self.report("spec.allow.expirationSeconds", "state allow.expirationSeconds, for example {max: 2592000} for 30 days: nothing revokes a client certificate before it expires");
        }
        let mut rules = Rules {
            usages: allow.usages.map(|usages| self.usages("spec.allow.usages", &usages)),
            expiration: allow.expiration_seconds.map(|expiration| {
                if expiration.max.is_none() {
                    self.report("spec.allow.expirationSeconds.max", "state expirationSeconds.max, the longest lifetime in seconds that may be approved, for example 2592000 (30 days): nothing revokes a client certificate before it expires");
                }
                self.ordered("spec.allow.expirationSeconds", expiration.min, expiration.max);
                ExpirationRules { min: expiration.min, max: expiration.max, when_unset: expiration.when_unset }
            }),
            ..Rules::default()
        };
        self.common(
            path,
            &mut rules,
            &Common {
                subject: allow.subject,
                keys: allow.keys,
                dns_names: allow.dns_names,
                ip_addresses: allow.ip_addresses,
                uris: allow.uris,
                email_addresses: allow.email_addresses,
                node: allow.node,
                validations: allow.validations,
            },
        );
        // What is needed unless said otherwise, and what there may be only where it is named.
        if let Some(rules) = &mut rules.dns_names {
            rules.wildcards.get_or_insert(false);
        }
        if let Some(keys) = &mut rules.keys {
            keys.algorithms.get_or_insert_with(|| {
                let rsa = keys.rsa_min_bits.or(keys.rsa_max_bits).map(|_| "RSA");
                rsa.into_iter().chain(keys.curves.as_ref().map(|_| "ECDSA")).collect()
            });
        }
        Some(rules)
    }

    pub(super) fn limits(&mut self, spec: &Value) -> Option<Rules> {
        let path = "spec.limits";
        if spec["limits"].is_null() {
            if self.broken(path).is_none() {
                self.report(path, "state limits: what every matching request must satisfy");
            }
            return None;
        }
        let limits: api::Limits = self.read(path, &spec["limits"])?;
        if limits == api::Limits::default() {
            self.report(path, "limits is empty: state at least one limit, for example expirationSeconds: {max: 31536000, whenUnset: SignerMaximum}");
        }
        let mut rules = Rules {
            signers: limits.signer_names.map(|signers| self.signer_limits("spec.limits.signerNames", &signers)),
            usages: limits.usages.map(|usages| self.usages("spec.limits.usages", &usages)),
            expiration: limits.expiration_seconds.map(|expiration| {
                let path = "spec.limits.expirationSeconds";
                if expiration.when_unset.is_none() {
                    self.report(format!("{path}.whenUnset"), "state expirationSeconds.whenUnset: SignerMaximum judges a request without expirationSeconds by the longest that its signer would give, Deny refuses it, Allow lets it through");
                }
                self.ordered(path, expiration.min, expiration.max);
                ExpirationRules {
                    min: expiration.min,
                    max: expiration.max,
                    when_unset: expiration.when_unset.unwrap_or_default(),
                }
            }),
            ..Rules::default()
        };
        self.common(
            path,
            &mut rules,
            &Common {
                subject: limits.subject,
                keys: limits.keys,
                dns_names: limits.dns_names,
                ip_addresses: limits.ip_addresses,
                uris: limits.uris,
                email_addresses: limits.email_addresses,
                node: limits.node,
                validations: limits.validations,
            },
        );
        Some(rules)
    }

    fn common(&mut self, path: &str, rules: &mut Rules, parts: &Common) {
        if let Some(subject) = &parts.subject {
            let path = format!("{path}.subject");
            if *subject == api::SubjectRules::default() {
                self.report(
                    path.as_str(),
                    "subject is empty: state commonName, organizations or organizationalUnits, or remove subject",
                );
            }
            let common_name = subject.common_name.as_ref();
            rules.common_name = common_name.map(|names| self.common_name(&format!("{path}.commonName"), names));
            rules.organizations = subject.organizations.as_ref().map(|values| {
                let list = Lists::from_organizations(values);
                self.list(&format!("{path}.organizations"), &list, Field::Identity)
            });
            rules.organizational_units = subject.organizational_units.as_ref().map(|values| {
                self.list(&format!("{path}.organizationalUnits"), &Lists::from_values(values), Field::Identity)
            });
        }
        rules.keys = parts.keys.as_ref().map(|keys| self.keys(&format!("{path}.keys"), keys));
        rules.dns_names = parts.dns_names.as_ref().map(|names| self.dns_names(&format!("{path}.dnsNames"), names));
        rules.ip_addresses =
            parts.ip_addresses.as_ref().map(|addresses| self.ip_addresses(&format!("{path}.ipAddresses"), addresses));
        rules.uris =
            parts.uris.as_ref().map(|uris| self.list(&format!("{path}.uris"), &Lists::from_values(uris), Field::Uri));
        rules.email_addresses = parts.email_addresses.as_ref().map(|addresses| {
            self.list(&format!("{path}.emailAddresses"), &Lists::from_values(addresses), Field::EmailAddress)
        });
        rules.node = parts.node.as_ref().map(|node| self.node(&format!("{path}.node"), node));
        rules.validations = parts
            .validations
            .as_ref()
            .map(|validations| self.validations(&format!("{path}.validations"), validations))
            .unwrap_or_default();
    }

    fn node(&mut self, path: &str, node: &api::NodeRules) -> NodeRules {
        if *node == api::NodeRules::default() {
            self.report(path, "node is empty: state existence, maxAgeSeconds or maxPerHour, or remove node");
        }
        if node.existence == Some(Existence::Absent) && node.max_age_seconds.is_some() {
            let problem = "a Node that must be absent has no age: remove existence or maxAgeSeconds";
            self.report(format!("{path}.maxAgeSeconds"), problem);
        }
        NodeRules { existence: node.existence, max_age_seconds: node.max_age_seconds, max_per_hour: node.max_per_hour }
    }

    fn validations(&mut self, path: &str, validations: &[api::Validation]) -> Vec<ValidationRule> {
        self.not_empty(path, validations, "add a validation, or remove the list");
        let sources = validations.iter().map(|validation| (validation.name.as_str(), validation.expression.as_str()));
        let expressions = self.expressions(path, sources);
        let message = |expression: &Expression| {
            validations.iter().find(|validation| validation.name == expression.name())?.message.clone()
        };
        expressions.into_iter().map(|expression| ValidationRule { message: message(&expression), expression }).collect()
    }

    fn usages(&mut self, path: &str, usages: &api::Usages) -> UsageRules {
        let (allowed, denied, required) = (&usages.allowed, &usages.denied, &usages.required);
        if allowed.is_none() && denied.is_none() && required.is_none() {
            self.report(path, "usages is empty: state allowed, denied or required, for example allowed: [client auth, digital signature]");
        } else if self.kind == Kind::CSRPolicy && allowed.is_none() && required.is_none() {
            self.permits_nothing(path, "allowed or required");
        }
        let mut set = |name: &str, list: Option<&Vec<String>>| -> Option<Vec<Usage>> {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one usage, for example client auth, or remove the list");
                self.each(&path, list, usage)
            })
        };
        let allowed = set("allowed", allowed.as_ref());
        let denied = set("denied", denied.as_ref()).map(|denied| {
            let is_denied = |usage: &Usage| denied.iter().any(|purpose| usage.is_good_for(*purpose));
            Usage::ALL.into_iter().filter(is_denied).collect::<Vec<_>>()
        });
        let required = set("required", required.as_ref());
        // By what they mean, not by how they are written: `signing` contradicts `digital signature`.
        self.contradiction(path, allowed.as_deref(), required.as_deref(), denied.as_deref());
        UsageRules {
            allowed: allowed.map(BTreeSet::from_iter),
            denied: denied.into_iter().flatten().collect(),
            required: required.into_iter().flatten().collect(),
        }
    }

    fn keys(&mut self, path: &str, keys: &api::Keys) -> KeyRules {
        if *keys == api::Keys::default() {
            self.report(path, "keys is empty: state algorithms, rsa or ecdsa, or remove keys");
        }
        if let Some(algorithms) = &keys.algorithms {
            let path = format!("{path}.algorithms");
            self.not_empty(&path, algorithms, "name at least one of RSA, ECDSA, Ed25519, or remove algorithms");
            if keys.rsa.is_some() && !algorithms.contains(&KeyAlgorithm::Rsa) {
                self.report(
                    path.as_str(),
                    "keys.rsa is stated, but keys.algorithms does not list RSA: add RSA or remove rsa",
                );
            }
            if keys.ecdsa.is_some() && !algorithms.contains(&KeyAlgorithm::Ecdsa) {
                self.report(
                    path.as_str(),
                    "keys.ecdsa is stated, but keys.algorithms does not list ECDSA: add ECDSA or remove ecdsa",
                );
            }
        }
        let rsa = keys.rsa.clone().unwrap_or_default();
        if keys.rsa.is_some() && rsa == api::RsaKeys::default() {
            self.report(format!("{path}.rsa"), "keys.rsa is empty: state minBits or maxBits, or remove rsa");
        }
        if let (Some(min), Some(max)) = (rsa.min_bits, rsa.max_bits)
            && min > max
        {
            self.report(
                format!("{path}.rsa.minBits"),
                "keys.rsa.minBits is above keys.rsa.maxBits, so no key could satisfy it",
            );
        }
        let curves = keys.ecdsa.as_ref().map(|ecdsa| {
            let path = format!("{path}.ecdsa");
            if ecdsa.curves.is_none() {
                self.report(path.as_str(), "keys.ecdsa is empty: state curves, or remove ecdsa");
            }
            let curves = ecdsa.curves.clone();
            if let Some(curves) = &curves {
                self.not_empty(&format!("{path}.curves"), curves, "name P256, P384 or both, or remove ecdsa");
            }
            let curve = |curve| match curve {
                KeyCurve::P256 => Curve::P256,
                KeyCurve::P384 => Curve::P384,
            };
            curves.unwrap_or_default().into_iter().map(curve).collect()
        });
        let algorithm = |algorithm: &KeyAlgorithm| match algorithm {
            KeyAlgorithm::Rsa => "RSA",
            KeyAlgorithm::Ecdsa => "ECDSA",
            KeyAlgorithm::Ed25519 => "Ed25519",
        };
        KeyRules {
            algorithms: keys.algorithms.as_ref().map(|list| list.iter().map(algorithm).collect()),
            rsa_min_bits: rsa.min_bits,
            rsa_max_bits: rsa.max_bits,
            curves,
        }
    }

    fn signer_limits(&mut self, path: &str, signers: &api::SignerLimits) -> SignerRules {
        if *signers == api::SignerLimits::default() {
            self.report(path, "limits.signerNames is empty: state allowed or denied, or remove signerNames");
        }
        self.contradiction(path, signers.allowed.as_deref(), None, signers.denied.as_deref());
        let mut list = |name: &str, list: Option<&Vec<String>>| {
            let path = format!("{path}.{name}");
            list.map(|list| {
                self.not_empty(&path, list, "name at least one signer, or remove the list");
                self.signers(&path, list)
            })
        };
        SignerRules {
            allowed: list("allowed", signers.allowed.as_ref()),
            denied: list("denied", signers.denied.as_ref()).unwrap_or_default(),
        }
    }
}

fn usage(name: &str) -> Result<Usage, String> {
    match Usage::from_name(name) {
        Some(usage) if usage.never_allowed() => {
            Err(format!("{usage} is never allowed, whatever a policy says: remove it"))
        }
        Some(usage) => Ok(usage),
        None => Err(format!("{name:?} is not a usage that Kubernetes knows; write, for example, client auth")),
    }
}
