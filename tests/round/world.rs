//! Policies and guardrails, at random, and who files requests.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::oracle::EXPRESSIONS;

pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const SERVING: &str = "kubernetes.io/kubelet-serving";
pub const SIGNERS: [&str; 3] = [CLIENT, KUBELET_CLIENT, SERVING];

/// Somebody who files requests.
pub struct Requestor {
    pub username: &'static str,
    /// Without `system:authenticated`, which the API server adds.
    pub groups: &'static [&'static str],
}

pub const REQUESTORS: [Requestor; 8] = [
    Requestor { username: "portal", groups: &["platform-onboarding"] },
    Requestor { username: "amy", groups: &["developers", "oncall"] },
    Requestor { username: "dev:bob", groups: &["developers", "team-a", "root"] },
    Requestor { username: "mallory", groups: &["developers", "system:nodes"] },
    Requestor {
        username: "system:serviceaccount:ci:runner",
        groups: &["system:serviceaccounts", "system:serviceaccounts:ci"],
    },
    Requestor { username: "system:node:worker-1", groups: &["system:nodes"] },
    Requestor { username: "system:node:worker-2", groups: &["system:nodes"] },
    Requestor { username: "system:bootstrap:abcdef", groups: &["system:bootstrappers"] },
];

/// The nodes, each with what its Node carries.
pub const NODES: [(&str, &str, &str); 2] =
    [("worker-1", "10.20.1.1", "worker-1.example.com"), ("worker-2", "10.20.1.2", "worker-2.example.com")];

const USERS: [&str; 12] =
    ["amy", "bob", "dev:*", "dev:**", "team-*", "oidc:*", "*", "**", "a*y", "zo\u{eb}", "system:node:*", "system:**"];
const GROUPS: [&str; 9] =
    ["developers", "oncall", "team-*", "dev:**", "*", "**", "auditors", "system:nodes", "system:**"];
const NO_NAMES: [&str; 6] = ["admins", "*admin*", "dev:root", "team-root", "kubeadm:*", "root"];
pub(super) const WORDS: [&str; 7] = ["amy", "bob", "web", "x1", "root", "a b", "admin"];
const DNS: [&str; 6] = ["vpn.example.com", "*.dev.example.com", "**.example.com", "web-*.example.com", "worker-*", "*"];
const NO_DNS: [&str; 4] = ["vpn.dev.example.com", "root.*", "*.prod.example.com", "*root*.example.com"];
pub(super) const LABELS: [&str; 6] = ["web", "api", "vpn", "root", "x-1", "prod"];
const URIS: [&str; 4] = ["spiffe://example.com/ns/*/sa/*", "https://example.com/**", "urn:team:*", "spiffe://*/web"];
const NO_URIS: [&str; 3] = ["spiffe://example.com/ns/root/*", "https://example.com/admin*", "*root*"];
const EMAILS: [&str; 4] = ["*@example.com", "amy@corp.example", "*@*.example.com", "**"];
const NO_EMAILS: [&str; 3] = ["root@*", "*@prod.example.com", "*admin*"];
const RANGES: [&str; 7] =
    ["10.0.0.0/8", "10.20.0.0/16", "192.168.7.0/24", "10.1.2.3", "2001:db8::/32", "2001:db8:7::/48", "0.0.0.0/0"];
const NO_RANGES: [&str; 4] = ["10.1.0.0/16", "192.168.7.128/25", "2001:db8:7::/48", "10.1.2.3"];
pub(super) const LIFETIMES: [i32; 8] = [600, 3_600, 7_200, 28_800, 86_400, 604_800, 2_592_000, 31_536_000];
/// What the signers give: kube-controller-manager takes no other usage for these three.
pub(super) const CLIENT_USAGES: [&str; 3] = ["client auth", "digital signature", "key encipherment"];
pub(super) const SERVING_USAGES: [&str; 3] = ["server auth", "digital signature", "key encipherment"];
/// What a policy may permit and the signers refuse.
pub(super) const OTHER_USAGES: [&str; 4] = ["content commitment", "data encipherment", "code signing", "s/mime"];

/// What is in force.
pub struct World {
    pub policies: Vec<Value>,
    pub guardrails: Vec<Value>,
}

/// One in so many.
pub(super) fn one_in(number: u8, rng: &mut Rng) -> bool {
    rng.u8(..number) == 0
}

pub(super) fn some<'a>(all: &[&'a str], most: usize, rng: &mut Rng) -> Vec<&'a str> {
    let number = rng.usize(1..=most.min(all.len()));
    rng.choose_multiple(all.iter().copied(), number)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "countersign.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The one shape of every list of values. A value is never in `denied` and another list, which the CRDs refuse.
fn list(permitted: &[&str], denied: &[&str], rng: &mut Rng) -> Value {
    let mut rules = Map::new();
    if !one_in(6, rng) {
        rules.insert("allowed".to_owned(), json!(some(permitted, 3, rng)));
    }
    if rules.is_empty() || one_in(4, rng) {
        rules.insert("required".to_owned(), json!(some(permitted, 1, rng)));
    }
    if one_in(3, rng) {
        let others: Vec<&str> = denied.iter().copied().filter(|denied| !permitted.contains(denied)).collect();
        rules.insert("denied".to_owned(), json!(some(&others, 3, rng)));
    }
    count(&mut rules, rng);
    rules.into()
}

fn count(rules: &mut Map<String, Value>, rng: &mut Rng) {
    if one_in(5, rng) {
        rules.insert("min".to_owned(), json!(1));
    }
    if one_in(4, rng) {
        rules.insert("max".to_owned(), json!(rng.u8(1..4)));
    }
}

fn keys(rng: &mut Rng) -> Value {
    match rng.u8(..6) {
        0 => json!({ "algorithms": some(&["RSA", "ECDSA", "Ed25519"], 2, rng) }),
        1 => json!({ "rsa": { "minBits": 3072 } }),
        2 => json!({ "rsa": { "maxBits": 3072 }, "algorithms": ["RSA", "Ed25519"] }),
        3 => json!({ "ecdsa": { "curves": ["P256"] } }),
        4 => json!({ "ecdsa": { "curves": ["P384"] }, "algorithms": ["ECDSA", "Ed25519"] }),
        _ => json!({ "rsa": { "minBits": 2048, "maxBits": 3072 }, "ecdsa": { "curves": ["P256", "P384"] } }),
    }
}

fn expiration(unset: &[&str], rng: &mut Rng) -> Value {
    let max = *rng.choice(&LIFETIMES).unwrap();
    let mut rules = json!({ "max": max, "whenUnset": rng.choice(unset).unwrap() });
    if one_in(3, rng) {
        rules["min"] = json!(max.min(3_600));
    }
    rules
}

fn validations(rng: &mut Rng) -> Value {
    let (expression, _) = rng.choice(&EXPRESSIONS).unwrap();
    json!([{ "name": "more", "expression": expression, "message": "not so" }])
}

fn requestors(rng: &mut Rng) -> Value {
    match rng.u8(..6) {
        0 => json!([{ "groups": ["platform-onboarding"] }]),
        1 => json!([{ "groups": ["developers"] }, { "users": ["portal"] }]),
        2 => json!([{ "users": ["dev:*", "amy"], "groups": ["developers"] }]),
        3 => json!([{ "serviceAccounts": ["ci/*"] }]),
        _ => json!([{ "groups": ["system:authenticated"] }]),
    }
}

fn client_policy(rng: &mut Rng) -> Value {
    let common_name = if one_in(4, rng) {
        json!({ "from": "Requestor" })
    } else {
        let mut rules = json!({ "allowed": some(&USERS, 5, rng) });
        if one_in(3, rng) {
            rules["denied"] = json!(some(&NO_NAMES, 3, rng));
        }
        if one_in(4, rng) {
            rules["absent"] = json!("Allow");
        }
        rules
    };
    let mut subject = json!({ "commonName": common_name });
    if !one_in(4, rng) {
        subject["organizations"] =
            if one_in(4, rng) { json!({ "from": "Requestor" }) } else { list(&GROUPS, &NO_NAMES, rng) };
    }
    if one_in(3, rng) {
        subject["organizationalUnits"] = list(&["payments", "team-*", "*"], &NO_NAMES, rng);
    }
    let mut usages = CLIENT_USAGES[..if one_in(4, rng) { 2 } else { 3 }].to_vec();
    if one_in(10, rng) {
        // For whatever purpose.
        usages.remove(0);
    }
    if one_in(5, rng) {
        usages.extend(some(&OTHER_USAGES, 2, rng));
    }
    let mut usages = json!({ "allowed": usages });
    if one_in(3, rng) {
        usages["required"] = json!(["client auth"]);
    }
    if one_in(6, rng) {
        let denied = if one_in(4, rng) { "key agreement" } else { "ocsp signing" };
        usages["denied"] = json!([denied]);
    }
    let mut allow = json!({
        "subject": subject,
        "usages": usages,
        "expirationSeconds": expiration(&["Deny", "Deny", "Allow", "SignerMaximum"], rng),
    });
    if one_in(2, rng) {
        allow["dnsNames"] = list(&DNS[..5], &NO_DNS, rng);
        if one_in(2, rng) {
            allow["dnsNames"]["wildcards"] = json!("Allow");
            allow["dnsNames"]["required"] = json!(["**.example.com"]);
        }
    }
    for (field, permitted, denied) in [
        ("ipAddresses", &RANGES[..], &NO_RANGES[..]),
        ("uris", &URIS, &NO_URIS),
        ("emailAddresses", &EMAILS, &NO_EMAILS),
    ] {
        if one_in(2, rng) {
            allow[field] = list(permitted, denied, rng);
        }
    }
    policy(CLIENT, &requestors(rng), allow, rng)
}

fn kubelet_policy(signer: &str, rng: &mut Rng) -> Value {
    let bootstraps = signer == KUBELET_CLIENT && one_in(2, rng);
    let common_name = if bootstraps || one_in(2, rng) {
        json!({ "allowed": ["system:node:*"] })
    } else {
        json!({ "from": "Requestor" })
    };
    let organizations = if one_in(2, rng) {
        json!({ "allowed": ["system:nodes"], "min": 1 })
    } else {
        json!({ "required": ["system:nodes"], "max": 1 })
    };
    let usages = if signer == SERVING { SERVING_USAGES } else { CLIENT_USAGES };
    let mut allow = json!({
        "subject": { "commonName": common_name, "organizations": organizations },
        "usages": { "allowed": usages, "required": usages[..rng.usize(1..3)] },
        "expirationSeconds": expiration(&["Allow", "Allow", "SignerMaximum"], rng),
    });
    if signer == SERVING {
        let from_node = json!({ "from": "Node" });
        allow["dnsNames"] = if one_in(2, rng) { from_node.clone() } else { list(&DNS[1..], &NO_DNS, rng) };
        allow["ipAddresses"] = if one_in(2, rng) { from_node } else { list(&RANGES[..2], &NO_RANGES, rng) };
    }
    let requestors = if bootstraps {
        json!([{ "groups": ["system:bootstrappers"] }])
    } else {
        json!([{ "users": ["system:node:*"] }, { "groups": ["system:authenticated"] }])
    };
    policy(signer, &requestors, allow, rng)
}

fn policy(signer: &str, requestors: &Value, mut allow: Value, rng: &mut Rng) -> Value {
    if one_in(3, rng) {
        allow["keys"] = keys(rng);
    }
    if one_in(4, rng) {
        allow["validations"] = validations(rng);
    }
    let signers = if one_in(6, rng) { json!(["kubernetes.io/*"]) } else { json!([signer]) };
    let mut matching = json!({ "signerNames": signers, "requestors": requestors });
    if one_in(3, rng) {
        matching["exclude"] = json!({ "requestors": [{ "users": ["mal*"] }] });
    }
    if one_in(5, rng) {
        let condition = json!({ "name": "one", "expression": "requestor.username != 'mallory'" });
        matching["conditions"] = json!([condition]);
    }
    let on_violation = if one_in(3, rng) { "LeavePending" } else { "Deny" };
    let mode = if one_in(10, rng) { "Audit" } else { "Enforce" };
    json!({ "mode": mode, "onViolation": on_violation, "match": matching, "allow": allow })
}

fn guardrail(rng: &mut Rng) -> Value {
    let mut limits = Map::new();
    while limits.is_empty() {
        for _ in 0..rng.usize(1..4) {
            let (field, rules) = match rng.u8(..12) {
                0 => ("signerNames", json!({ "denied": [rng.choice(&SIGNERS).unwrap(), "example.com/*"] })),
                1 => ("signerNames", json!({ "allowed": ["kubernetes.io/*"] })),
                2 => ("subject", json!({ "commonName": { "denied": some(&NO_NAMES, 3, rng), "absent": "Deny" } })),
                3 => ("subject", json!({ "organizations": { "denied": some(&NO_NAMES, 3, rng), "max": 3 } })),
                4 => ("usages", json!({ "denied": ["code signing", "content commitment"] })),
                5 => ("expirationSeconds", expiration(&["Allow", "Deny", "SignerMaximum"], rng)),
                6 => ("keys", keys(rng)),
                7 => ("dnsNames", json!({ "denied": some(&NO_DNS, 3, rng), "max": 3, "wildcards": "Deny" })),
                8 => ("ipAddresses", json!({ "denied": some(&NO_RANGES, 2, rng) })),
                9 => ("uris", json!({ "denied": some(&NO_URIS, 2, rng), "max": 2 })),
                10 => ("emailAddresses", json!({ "denied": some(&NO_EMAILS, 2, rng), "max": 2 })),
                _ => ("validations", validations(rng)),
            };
            limits.insert(field.to_owned(), rules);
        }
    }
    let matching = match rng.u8(..4) {
        0 => json!({ "signerNames": [rng.choice(&SIGNERS).unwrap()] }),
        1 => json!({ "requestors": [{ "groups": ["developers", "system:nodes"] }] }),
        _ => json!({}),
    };
    let on_violation = if one_in(4, rng) { "LeavePending" } else { "Deny" };
    json!({ "onViolation": on_violation, "match": matching, "limits": limits })
}

impl World {
    /// Four policies for clients, two for each signer of kubelets, and two guardrails; their names begin with `prefix`.
    pub fn new(prefix: &str, rng: &mut Rng) -> Self {
        let signers = [CLIENT, CLIENT, CLIENT, CLIENT, KUBELET_CLIENT, KUBELET_CLIENT, SERVING, SERVING];
        let policies = signers.iter().enumerate().map(|(number, signer)| {
            let spec = if *signer == CLIENT { client_policy(rng) } else { kubelet_policy(signer, rng) };
            object("CSRPolicy", &format!("{prefix}-{number}"), &spec)
        });
        let policies = policies.collect();
        let guardrails =
            (0..2).map(|number| object("CSRGuardrail", &format!("{prefix}-{number}"), &guardrail(rng))).collect();
        Self { policies, guardrails }
    }
}
