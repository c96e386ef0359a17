use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::{Hazard, HazardCode, hazards};
use crate::policy::{Kind, PolicyObject, PolicySet, Settings, SignerPattern};

const SERVING: &str = "kubernetes.io/kubelet-serving";

/// A policy that nothing is to be said about.
fn harmless() -> Value {
    json!({
        "onViolation": "Deny",
        "match": {
            "signerNames": ["kubernetes.io/kube-apiserver-client"],
            "requestors": [{ "groups": ["developers"], "credential": "NotClientCertificate" }],
        },
        "allow": {
            "subject": { "commonName": { "from": "Requestor" }, "organizations": { "from": "Requestor" } },
            "usages": { "allowed": ["client auth"] },
            "expirationSeconds": { "max": 86_400 },
        },
    })
}

fn object(kind: Kind, name: &str, spec: &Value) -> PolicyObject {
    PolicyObject::new(
        kind,
        json!({ "apiVersion": crate::api::API_VERSION, "metadata": { "name": name }, "spec": spec }),
    )
}

/// The codes of the policy `z`, beside these other objects.
fn codes(spec: &Value, others: &[PolicyObject]) -> Vec<HazardCode> {
    codes_with(spec, others, &["10.96.0.0/12"])
}

/// The same where these are the ranges of Services.
fn codes_with(spec: &Value, others: &[PolicyObject], services: &[&str]) -> Vec<HazardCode> {
    let managed = ["kubernetes.io/*", "example.com/*"].map(|signer| SignerPattern::new(signer).unwrap());
    let service_cidrs = services.iter().map(|cidr| cidr.parse().unwrap()).collect();
    let settings = Settings { managed_signers: managed.into(), service_cidrs, ..Settings::default() };
    let policy = object(Kind::CSRPolicy, "z", spec);
    let set = PolicySet::compile(others.iter().chain([&policy]), settings);
    let compiled = set.policies().iter().find(|compiled| compiled.object.name == "z").unwrap();
    assert!(compiled.is_ready(), "{spec}: {:?}", compiled.problems());
    hazards(&set, compiled).into_iter().map(|hazard| hazard.code).collect()
}

/// `value` at `pointer` in a harmless policy.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut spec = harmless();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    spec
}

#[test]
fn each_hazard_is_found_alone_and_a_harmless_policy_has_none() {
    use HazardCode as Code;
    assert_eq!(codes(&harmless(), &[]), []);
    let guardrail = |limits: Value| object(Kind::CSRGuardrail, "limits", &json!({ "match": {}, "limits": limits }));
    let name = "/allow/subject/commonName";
    let groups = "/allow/subject/organizations";
    let requestors = "/match/requestors";
    let validation = |expression: &str| ("/allow/validations", json!([{ "name": "v", "expression": expression }]));
    let mut seen = BTreeSet::new();
    for (changes, others, expected) in [
        (vec![(name, json!({ "allowed": ["*"] }))], vec![], Code::AnyUserName),
        (vec![(groups, json!({ "allowed": ["*"] }))], vec![], Code::AnyGroup),
        (vec![(groups, json!({ "allowed": ["ops"] }))], vec![], Code::ForeignGroup),
        (vec![("/allow/expirationSeconds", json!({ "max": 2_592_001 }))], vec![], Code::LongLifetime),
        (vec![(requestors, json!([{ "groups": ["developers"] }]))], vec![], Code::EndlessRenewal),
        (vec![(name, json!({ "allowed": ["system:node:*"] }))], vec![], Code::ReservedName),
        (vec![("/match/signerNames", json!(["example.com/mtls"]))], vec![], Code::ExpirationIgnored),
        (
            vec![
                ("/allow/usages", json!({ "allowed": ["server auth"] })),
                ("/allow/dnsNames", json!({ "allowed": ["*.example.com"], "wildcards": "Allow" })),
            ],
            vec![],
            Code::WildcardName,
        ),
        (
            vec![
                ("/match/signerNames", json!([SERVING])),
                (requestors, json!([{ "groups": ["system:nodes"], "credential": "NotClientCertificate" }])),
                ("/allow/usages", json!({ "allowed": ["server auth"] })),
                ("/allow/dnsNames", json!({ "allowed": ["worker-*"] })),
            ],
            vec![],
            Code::ForeignHost,
        ),
        (
            vec![
                ("/match/signerNames", json!([SERVING])),
                (requestors, json!([{ "users": ["system:node:*"] }])),
                ("/allow/usages", json!({ "allowed": ["server auth"] })),
                ("/allow/ipAddresses", json!({ "from": "Node", "allowed": ["0.0.0.0/0"] })),
            ],
            vec![],
            Code::UnlimitedClaim,
        ),
        (vec![("/allow/dnsNames", json!({ "from": "Node", "allowed": ["worker-*"] }))], vec![], Code::NeverANode),
        (
            vec![(requestors, json!([{ "groups": ["system:authenticated"], "credential": "NotClientCertificate" }]))],
            vec![],
            Code::BroadDeny,
        ),
        (
            vec![(
                "/match/exclude",
                json!({ "requestors": [{ "groups": ["developers"], "credential": "NotClientCertificate" }] }),
            )],
            vec![],
            Code::NeverMatches,
        ),
        (
            vec![(
                "/match/exclude",
                json!({ "requestors": [{ "users": ["mallory"], "serviceAccounts": ["ci/runner"] }, { "users": ["m"] }] }),
            )],
            vec![],
            Code::NeverMatches,
        ),
        (
            vec![],
            vec![guardrail(
                json!({ "usages": { "denied": ["server auth"] }, "signerNames": { "denied": ["kubernetes.io/*"] } }),
            )],
            Code::AlwaysForbidden,
        ),
        (vec![("/match/signerNames", json!(["kubernetes.io/kubelet-servng"]))], vec![], Code::NoSuchSigner),
        (
            vec![(requestors, json!([{ "groups": ["^dev-.*$"], "credential": "NotClientCertificate" }]))],
            vec![],
            Code::RegularExpression,
        ),
        (vec![("/allow/uris", json!({ "allowed": ["example.com/*"] }))], vec![], Code::MatchesNothing),
        (vec![(requestors, json!([{ "serviceAccounts": ["ci/runner"] }]))], vec![], Code::ReservedRequestor),
        (vec![validation("csr.dnsNames.all(n, n.endsWith('.example.com'))")], vec![], Code::AllOfNothing),
        (vec![], vec![object(Kind::CSRPolicy, "a", &harmless())], Code::Repeats),
    ] {
        assert_eq!(codes(&with(&changes), &others), [expected], "{changes:?}");
        seen.insert(expected);
    }
    let one = Hazard { code: Code::AnyGroup, path: "spec".to_owned(), why: "so".to_owned() };
    assert_eq!(one.to_string(), "so: write from: Requestor, or name the groups");
    assert_eq!(one.code.severity().as_str(), "high");
    let spec = with(&[("/match/signerNames", json!(["other.example.org/x"]))]);
    assert_eq!(codes(&spec, &[]), [Code::SignerNotManaged, Code::ExpirationIgnored]);
    seen.insert(Code::SignerNotManaged);
    let node = json!([{ "users": ["system:node:*"], "credential": "NotClientCertificate" }]);
    let addresses = |rules: Value| with(&[(requestors, node.clone()), ("/allow/ipAddresses", rules)]);
    let from_node = addresses(json!({ "from": "Node", "allowed": ["10.20.0.0/16"] }));
    assert_eq!(codes_with(&from_node, &[], &[]), [Code::ServicesUnknown]);
    assert_eq!(codes(&from_node, &[]), []);
    // A guardrail asks the Node as well; names are no addresses.
    let listed = addresses(json!({ "allowed": ["10.20.0.0/16"] }));
    let also = guardrail(json!({ "ipAddresses": { "from": "Node" } }));
    assert_eq!(codes_with(&listed, &[also], &[]), [Code::ServicesUnknown]);
    assert_eq!(codes_with(&listed, &[], &[]), []);
    let names = with(&[(requestors, node), ("/allow/dnsNames", json!({ "from": "Node", "allowed": ["worker-*"] }))]);
    assert_eq!(codes_with(&names, &[], &[]), []);
    seen.insert(Code::ServicesUnknown);
    assert_eq!(seen, HazardCode::ALL.iter().copied().collect());
}

/// Each hazard of the policy, with its path and why.
fn found(spec: &Value) -> Vec<(HazardCode, String, String)> {
    let managed = ["kubernetes.io/*", "example.com/*"].map(|signer| SignerPattern::new(signer).unwrap());
    let set = PolicySet::compile(
        [&object(Kind::CSRPolicy, "z", spec)],
        Settings { managed_signers: managed.into(), ..Settings::default() },
    );
    let compiled = &set.policies()[0];
    assert!(compiled.is_ready(), "{spec}: {:?}", compiled.problems());
    hazards(&set, compiled).into_iter().map(|hazard| (hazard.code, hazard.path, hazard.why)).collect()
}

#[test]
fn signers_that_nobody_can_ask_for_are_told_with_the_one_that_was_meant() {
    for (signer, why) in [
        ("kubernetes.io/kubelet-servng", "did you mean kubernetes.io/kubelet-serving?"),
        ("kubernets.io/kubelet-serving", "did you mean kubernetes.io/kubelet-serving?"),
        ("kubernetes.io/kube-api-server-client", "did you mean kubernetes.io/kube-apiserver-client?"),
        ("kubernets.io/*", "did you mean kubernetes.io/*?"),
        ("kubernetes.io/mine", "Kubernetes signs no request for kubernetes.io/mine"),
        ("kubernetes.io/legacy-unknown", "accepts no request for kubernetes.io/legacy-unknown"),
    ] {
        let found = found(&with(&[("/match/signerNames", json!(["kubernetes.io/kube-apiserver-client", signer]))]));
        let one = found.iter().find(|(code, ..)| *code == HazardCode::NoSuchSigner).unwrap();
        assert!(one.1 == "spec.match.signerNames[1]" && one.2.contains(why), "{one:?}");
    }
    for signer in ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/*", "example.com/kubelet-servng"] {
        let found = found(&with(&[("/match/signerNames", json!([signer]))]));
        assert!(found.iter().all(|(code, ..)| *code != HazardCode::NoSuchSigner), "{found:?}");
    }
}

/// Where a pattern stands in a policy, `value` among others.
fn pattern_at(field: &str, value: &str) -> Value {
    let credential = "NotClientCertificate";
    let groups = json!([{ "groups": ["developers", value], "credential": credential }]);
    let list = json!({ "allowed": ["x"], "denied": [value] });
    match field {
        "spec.match.requestors[0].groups[1]" => with(&[("/match/requestors", groups)]),
        "spec.match.exclude.requestors[0].groups[1]" => with(&[("/match/exclude", json!({ "requestors": groups }))]),
        "spec.allow.subject.commonName.allowed[0]" => {
            with(&[("/allow/subject/commonName", json!({ "allowed": [value] }))])
        }
        "spec.allow.subject.organizations.denied[0]" => with(&[("/allow/subject/organizations", list)]),
        "spec.allow.emailAddresses.allowed[0]" => with(&[("/allow/emailAddresses", json!({ "allowed": [value] }))]),
        "spec.allow.dnsNames.allowed[0]" => with(&[("/allow/dnsNames", json!({ "allowed": [value] }))]),
        "spec.allow.uris.allowed[0]" => with(&[("/allow/uris", json!({ "allowed": [value] }))]),
        "spec.allow.uris.denied[0]" => with(&[("/allow/uris", json!({ "allowed": ["a:b"], "denied": [value] }))]),
        _ => panic!("{field}"),
    }
}

#[test]
fn regular_expressions_are_told_from_names() {
    let fields = [
        "spec.match.requestors[0].groups[1]",
        "spec.match.exclude.requestors[0].groups[1]",
        "spec.allow.subject.commonName.allowed[0]",
        "spec.allow.subject.organizations.denied[0]",
        "spec.allow.emailAddresses.allowed[0]",
        "spec.allow.uris.allowed[0]",
    ];
    let is_told = |field: &str, pattern: &str| {
        let found = found(&pattern_at(field, pattern));
        found.iter().any(|(code, path, _)| *code == HazardCode::RegularExpression && path == field)
    };
    for field in fields {
        for pattern in [
            "^a",
            "dev-.*",
            "^dev-.*$",
            "dev-[0-9]+",
            ".*[.]example[.]com",
            ".*\\.example\\.com",
            "dev-.*$",
            "team-(a|b)",
            "CORP\\\\.*",
            ".*",
            ".+@example[.]com$",
            "[a-z]+",
            "team-[^x]",
            "(a|b)",
            "(?i)amy",
            "team-\\d+",
            "amy@example\\.com",
        ] {
            assert!(is_told(field, pattern), "{field}: {pattern}");
        }
        for pattern in [
            "*",
            "oidc:*",
            "amy",
            "team.*",
            "CORP\\dave",
            "CORP\\d*",
            "CORP\\host-*$",
            "a@b:c$",
            "*.*@example.com",
            "**.*@example.com",
            "CN=devs (EU|US),OU=x",
            "CORP\\*",
            "https://[2001:db8::1]/*",
            "a (b)",
            "a [b]",
            "a|b",
            "a+b@x",
        ] {
            assert!(!is_told(field, pattern), "{field}: {pattern}");
        }
    }
}

#[test]
fn what_no_value_is_like_is_told_where_it_stands() {
    let is_told = |field: &str, pattern: &str| {
        let found = found(&pattern_at(field, pattern));
        found.iter().any(|(code, path, _)| *code == HazardCode::MatchesNothing && path == field)
    };
    for (field, nothing, something) in [
        ("spec.allow.uris.allowed[0]", vec!["example.com", "*", "//a/*"], vec!["**", "*://a", "urn:x", "spiffe://a/*"]),
        ("spec.allow.uris.denied[0]", vec!["example.com"], vec!["*", "*admin*", "x:y"]),
        (
            "spec.allow.uris.denied[0]",
            vec![
                "https://evil.com:443/**",
                "http://[2001:db8:0::1]/**",
                "https://evil.com/%61*",
                "https://u@evil.com/**",
                "https://evil.com/../*",
                "https://evil.com?*",
                "file://localhost/**",
            ],
            vec![
                "https://evil.com:8443/**",
                "http://[*]/x",
                "https://evil.com:*/x",
                "https://evil.*",
                "https://evil.com*",
                "https://evil.com/**?x",
                "https://evil.com/..*",
                "file://*",
                "FILE://**",
                "https://*:*/x",
                "https://[*",
                "http://[2001:db8:*]/**",
                "SPIFFE://Evil.com/**",
                "file:///etc/*",
            ],
        ),
        ("spec.allow.emailAddresses.allowed[0]", vec!["example.com", "*"], vec!["**", "*@example.com"]),
        ("spec.allow.dnsNames.allowed[0]", vec!["10.0.0.1", "10.0.*.*"], vec!["*.*.*.*", "1.example.com", "10", "**"]),
    ] {
        for pattern in nothing {
            assert!(is_told(field, pattern), "{field}: {pattern}");
        }
        for pattern in something {
            assert!(!is_told(field, pattern), "{field}: {pattern}");
        }
    }
}

#[test]
fn a_service_account_cannot_have_its_own_name() {
    let requestors = |entries: Value| with(&[("/match/requestors", entries)]);
    let path = |spec: &Value| {
        let of_it = |(code, path, _)| (code == HazardCode::ReservedRequestor).then_some(path);
        found(spec).into_iter().find_map(of_it)
    };
    let group = json!({ "groups": ["developers"], "credential": "NotClientCertificate" });
    let named = json!({ "users": ["system:serviceaccount:ci:*"] });
    assert_eq!(path(&requestors(json!([group, named]))).unwrap(), "spec.match.requestors[1]");
    for mut spec in [requestors(json!([group])), requestors(json!([{ "users": ["amy", "system:serviceaccount:a:b"] }]))]
    {
        assert_eq!(path(&spec), None);
        spec["match"]["requestors"] = json!([{ "serviceAccounts": ["*/*"] }]);
        assert!(path(&spec).is_some());
        // It may come without a CN, or have another name.
        for names in [json!({ "from": "Requestor", "absent": "Allow" }), json!({ "allowed": ["ci:*"] })] {
            spec["allow"]["subject"]["commonName"] = names;
            assert_eq!(path(&spec), None);
        }
    }
}

/// It would pass for a limit, also where it is required.
#[test]
fn a_guardrail_for_nobody_says_so() {
    for (matching, expected) in [
        (json!({ "requestors": [{ "users": ["portal", "port*"], "serviceAccounts": ["a/portal"] }] }), true),
        (json!({ "requestors": [{ "users": ["amy"] }], "exclude": { "requestors": [{ "users": ["amy"] }] } }), true),
        (json!({ "requestors": [{ "users": ["amy"] }, { "serviceAccounts": ["a/b"] }] }), false),
        (json!({ "requestors": [{ "users": ["portal", "*"], "serviceAccounts": ["a/b"] }] }), false),
        (json!({ "requestors": [{ "users": ["System:ServiceAccount:a:b"], "serviceAccounts": ["a/b"] }] }), false),
        (json!({ "requestors": [{ "users": ["sys*"], "serviceAccounts": ["a/b"] }] }), false),
        (json!({ "requestors": [{ "users": ["\u{ff53}ystem:*"], "serviceAccounts": ["a/b"] }] }), false),
    ] {
        let spec = json!({ "match": matching, "limits": { "keys": { "algorithms": ["ECDSA"] } } });
        let set = PolicySet::compile([&object(Kind::CSRGuardrail, "g", &spec)], Settings::default());
        let codes = hazards(&set, &set.guardrails()[0]).into_iter().map(|hazard| hazard.code);
        assert_eq!(codes.filter(|code| *code == HazardCode::NeverMatches).count(), usize::from(expected), "{spec}");
    }
}

#[test]
fn what_was_said_to_be_written_instead_is_no_hazard() {
    let guardrail = |limits: Value| object(Kind::CSRGuardrail, "limits", &json!({ "match": {}, "limits": limits }));
    let validation = |expression: &str| ("/allow/validations", json!([{ "name": "v", "expression": expression }]));
    for changes in [
        vec![("/allow/subject/commonName", json!({ "allowed": ["oidc:*"] }))],
        vec![("/allow/expirationSeconds", json!({ "max": 2_592_000 }))],
        vec![validation("csr.dnsNames.size() > 0 && csr.dnsNames.all(n, n.endsWith('.example.com'))")],
        vec![
            validation("csr.dnsNames.all(n, n.endsWith('.example.com'))"),
            ("/allow/dnsNames", json!({ "allowed": ["*.example.com"], "min": 1 })),
        ],
        vec![validation("requestor.groups.all(g, g != 'x')")],
        vec![
            ("/match/requestors", json!([{ "users": ["system:node:*"], "groups": ["system:nodes"] }])),
            ("/allow/node", json!({ "existence": "Present" })),
        ],
    ] {
        assert_eq!(codes(&with(&changes), &[]), [], "{changes:?}");
    }
    // What a guardrail limits is limited.
    let kubelets = [
        ("/match/signerNames", json!([SERVING])),
        (
            "/match/requestors",
            json!([{ "users": ["s*"], "groups": ["system:nodes"], "credential": "NotClientCertificate" }]),
        ),
        ("/allow/usages", json!({ "allowed": ["server auth"] })),
        ("/allow/dnsNames", json!({ "allowed": ["worker-*"] })),
        ("/allow/ipAddresses", json!({ "from": "Node" })),
    ];
    let limits = json!({ "dnsNames": { "from": "Node" }, "ipAddresses": { "allowed": ["10.0.0.0/8"] } });
    assert_eq!(codes(&with(&kubelets), &[guardrail(limits)]), []);
    // A guardrail that forbids some of what the policy permits is what guardrails are for.
    for limits in [
        json!({ "expirationSeconds": { "max": 600, "whenUnset": "Deny" } }),
        json!({ "usages": { "allowed": ["client auth"] } }),
        json!({ "subject": { "organizations": { "denied": ["admins"] } } }),
    ] {
        assert_eq!(codes(&harmless(), &[guardrail(limits)]), []);
    }
    // And these forbid all of it.
    for (changes, limits) in [
        (
            vec![("/allow/expirationSeconds", json!({ "min": 700, "max": 800 }))],
            json!({ "expirationSeconds": { "max": 600, "whenUnset": "Deny" } }),
        ),
        (
            vec![("/allow/usages", json!({ "allowed": ["client auth"], "required": ["client auth"] }))],
            json!({ "usages": { "denied": ["client auth"] } }),
        ),
        (
            vec![("/allow/subject/organizations", json!({ "from": "Requestor", "required": ["ops"] }))],
            json!({ "subject": { "organizations": { "denied": ["ops"] } } }),
        ),
        (vec![("/allow/keys", json!({ "algorithms": ["RSA"] }))], json!({ "keys": { "algorithms": ["ECDSA"] } })),
    ] {
        assert_eq!(codes(&with(&changes), &[guardrail(limits)]), [HazardCode::AlwaysForbidden], "{changes:?}");
    }
}

#[test]
fn who_may_come_back_is_told_from_patterns_in_either_direction() {
    let name = "/allow/subject/commonName";
    let groups = "/allow/subject/organizations";
    let (user, member) = (|user: &str| json!([{ "users": [user] }]), |group: &str| json!([{ "groups": [group] }]));
    for (requestors, field, list, expected) in [
        (member("dev*"), groups, json!({ "allowed": ["developers"] }), true),
        (member("developers"), groups, json!({ "allowed": ["dev*"] }), true),
        (member("developers"), groups, json!({ "required": ["developers"] }), true),
        (member("ops"), groups, json!({ "allowed": ["dev*"] }), false),
        (user("oidc:amy"), name, json!({ "from": "Requestor" }), true),
        (user("oidc:*"), name, json!({ "allowed": ["oidc:amy"] }), true),
        (user("oidc:amy"), name, json!({ "allowed": ["oidc:*"] }), true),
        (user("oidc:amy"), name, json!({ "allowed": ["ci:*"] }), false),
    ] {
        let spec = with(&[("/match/requestors", requestors), (field, list)]);
        assert_eq!(codes(&spec, &[]).contains(&HazardCode::EndlessRenewal), expected, "{spec}");
    }
}

#[test]
fn the_signers_of_a_domain_are_known_and_managed_as_one() {
    let of = |signer: &str| codes(&with(&[("/match/signerNames", json!([signer]))]), &[]);
    assert_eq!(of("kubernetes.io/*"), []);
    assert_eq!(of("example.com/*"), [HazardCode::ExpirationIgnored]);
    assert_eq!(of("example.org/*"), [HazardCode::SignerNotManaged, HazardCode::ExpirationIgnored]);
}

#[test]
fn all_of_a_list_that_must_have_something_is_no_hazard() {
    let subject = |list: &str, rules: &Value| json!({ "commonName": { "from": "Requestor" }, list: rules });
    for (path, list, value) in [
        ("csr.subject.organizations", "organizations", "a"),
        ("csr.subject.organizationalUnits", "organizationalUnits", "a"),
        ("csr.dnsNames", "dnsNames", "a.example.com"),
        ("csr.ipAddresses", "ipAddresses", "10.0.0.1"),
        ("csr.uris", "uris", "spiffe://a/b"),
        ("csr.emailAddresses", "emailAddresses", "a@example.com"),
    ] {
        for (rules, expected) in [
            (json!({ "allowed": [value] }), true),
            (json!({ "allowed": [value], "min": 0 }), true),
            (json!({ "allowed": [value], "min": 1 }), false),
            (json!({ "required": [value] }), false),
        ] {
            let place = if path.starts_with("csr.subject") {
                ("/allow/subject", subject(list, &rules))
            } else {
                (&*format!("/allow/{list}"), rules.clone())
            };
            let all = json!([{ "name": "v", "expression": format!("{path}.all(x, x != '')") }]);
            let found = codes(&with(&[place, ("/allow/validations", all)]), &[]);
            assert_eq!(found.contains(&HazardCode::AllOfNothing), expected, "{path} {rules}");
        }
    }
}

#[test]
fn all_of_nothing_is_told_where_it_lets_a_request_through() {
    let all = "csr.dnsNames.all(d, d.endsWith('.example.com'))";
    let is_told = |expression: &str| {
        let validation = json!([{ "name": "v", "expression": expression.replace("ALL", all) }]);
        let spec = with(&[("/allow/dnsNames", json!({ "allowed": ["a"] })), ("/allow/validations", validation)]);
        let told = codes(&spec, &[]);
        assert!(told.iter().filter(|code| **code == HazardCode::AllOfNothing).count() < 2, "{expression}");
        told.contains(&HazardCode::AllOfNothing)
    };
    for expression in [
        "ALL",
        "ALL && ALL",
        "csr.key.bits >= 256 && ALL",
        "requestor.username == 'amy' || ALL",
        "csr.dnsNames.size() <= 4 && ALL",
        "size(csr.dnsNames) < 4 && ALL",
        "csr.dnsNames.size() >= 0 && ALL",
        "csr.dnsNames != ['a'] && ALL",
        "!('vpn' in csr.dnsNames) && ALL",
        "!csr.dnsNames.exists(d, d == 'vpn') && ALL",
        "has(csr.expirationSeconds) ? ALL : false",
        "csr.uris.size() > 0 && ALL",
        "!!ALL",
        "ALL == true",
        "requestor.groups.exists(g, g != '' && ALL)",
        "requestor.groups.all(g, g != '' && ALL)",
        "csr.dnsNames.map(d, d) == [] && ALL",
        "csr.dnsNames.sort() + [] == [] && ALL",
        "csr.dnsNames.map(d, d) == [?requestor.extra[?'a'].optMap(e, 'a')] && ALL",
        "csr.dnsNames.size() == 0 ? ALL : false",
        "requestor.username == 'amy' ? false : ALL",
        "(requestor.username == 'amy' ? csr.dnsNames[0] == 'a' : true) && ALL",
        "1 > csr.dnsNames.size() && ALL",
        "requestor.username == 'amy' || (csr.dnsNames.size() == 0 && ALL)",
        "!(csr.dnsNames.size() > 0 || csr.dnsNames.size() > 5) && ALL",
    ] {
        assert!(is_told(expression), "{expression}");
    }
    for expression in [
        "!ALL",
        "csr.dnsNames.size() > 0 && ALL",
        "ALL && size(csr.dnsNames) > 0",
        "0 < csr.dnsNames.size() && ALL",
        "csr.dnsNames.size() >= 1 && csr.dnsNames.size() <= 4 && ALL",
        "csr.dnsNames.size() == 2 && ALL",
        "csr.dnsNames != [] && ALL",
        "[] != csr.dnsNames && ALL",
        "!(csr.dnsNames == []) && ALL",
        "csr.dnsNames == ['a'] && ALL",
        "csr.dnsNames.exists(d, true) && ALL",
        "csr.dnsNames.exists_one(d, d == 'a') && ALL",
        "csr.dnsNames.filter(d, d == 'a').size() > 0 && ALL",
        "'a' in csr.dnsNames && ALL",
        "csr.dnsNames[0] == 'a' && ALL",
        "csr.dnsNames.size() > 0 ? ALL : false",
        "csr.dnsNames.size() == 0 || ALL",
        "requestor.username == 'amy' || !ALL",
        "csr.dnsNames.size() > 0 && requestor.groups.all(g, ALL)",
        "csr.dnsNames[0].split('.').exists(p, p == 'a') && ALL",
        "1 <= csr.dnsNames.size() && ALL",
        "csr.dnsNames == csr.dnsNames + ['a'] && ALL",
        "csr.dnsNames.sort() != [] && ALL",
        "csr.dnsNames + [] != [] && ALL",
    ] {
        assert!(!is_told(expression), "{expression}");
    }
}

/// Only a guardrail that speaks about every request of the policy, and permits none of them.
#[test]
fn a_guardrail_that_permits_anything_does_not_forbid_everything() {
    let policy = with(&[
        ("/allow/usages", json!({ "allowed": ["client auth"], "required": ["client auth"] })),
        ("/allow/expirationSeconds", json!({ "min": 700, "max": 800 })),
    ]);
    let forbidden = |matching: Value, limits: Value| {
        let guardrail = object(Kind::CSRGuardrail, "limits", &json!({ "match": matching, "limits": limits }));
        codes(&policy, &[guardrail]).contains(&HazardCode::AlwaysForbidden)
    };
    let denied = json!({ "usages": { "denied": ["client auth"] } });
    for (matching, expected) in [
        (json!({}), true),
        (json!({ "signerNames": ["kubernetes.io/*"] }), true),
        (json!({ "signerNames": ["kubernetes.io/kubelet-serving"] }), false),
        (json!({ "requestors": [{ "groups": ["developers"] }] }), false),
        (json!({ "exclude": { "requestors": [{ "groups": ["developers"] }] } }), false),
        (json!({ "conditions": [{ "name": "a", "expression": "requestor.uid != ''" }] }), false),
    ] {
        assert_eq!(forbidden(matching.clone(), denied.clone()), expected, "{matching}");
    }
    let audited = json!({ "mode": "Audit", "match": {}, "limits": denied });
    assert!(!codes(&policy, &[object(Kind::CSRGuardrail, "limits", &audited)]).contains(&HazardCode::AlwaysForbidden));
    for (limits, expected) in [
        (json!({ "signerNames": { "allowed": ["example.com/*"] } }), true),
        (json!({ "signerNames": { "allowed": ["kubernetes.io/*"] } }), false),
        (json!({ "expirationSeconds": { "max": 699, "whenUnset": "Deny" } }), true),
        (json!({ "expirationSeconds": { "max": 700, "whenUnset": "Deny" } }), false),
        (json!({ "usages": { "allowed": ["server auth"] } }), true),
        (json!({ "usages": { "allowed": ["client auth"] } }), false),
        (json!({ "usages": { "allowed": ["server auth"], "required": ["client auth"] } }), false),
    ] {
        assert_eq!(forbidden(json!({}), limits.clone()), expected, "{limits}");
    }
}

/// A certificate without extended key usages is one of a client and of a server as well.
#[test]
fn without_extended_key_usages_a_certificate_is_good_for_any_purpose() {
    let usages = |rules: Value| {
        with(&[
            ("/allow/usages", rules),
            ("/allow/subject/commonName", json!({ "allowed": ["*"] })),
            ("/allow/dnsNames", json!({ "allowed": ["*.example.com"], "wildcards": "Allow" })),
        ])
    };
    let keys = json!({ "allowed": ["digital signature", "key encipherment"] });
    assert_eq!(codes(&usages(keys.clone()), &[]), [HazardCode::AnyUserName, HazardCode::WildcardName]);
    for limited in [
        json!({ "allowed": ["digital signature", "code signing"] }),
        json!({ "allowed": ["digital signature"], "required": ["code signing"] }),
        json!({ "allowed": ["digital signature"], "denied": ["client auth"] }),
        json!({ "allowed": ["digital signature", "code signing"], "denied": ["server auth"] }),
    ] {
        assert_eq!(codes(&usages(limited.clone()), &[]), [], "{limited}");
    }
    let gated = json!({ "allowed": ["digital signature", "netscape sgc"] });
    assert_eq!(codes(&usages(gated), &[]), [HazardCode::WildcardName]);
    let forbidden = |own: &Value, limits: Value| {
        let limits = json!({ "match": {}, "limits": { "usages": limits } });
        let guardrail = object(Kind::CSRGuardrail, "limits", &limits);
        codes(&usages(own.clone()), &[guardrail]).contains(&HazardCode::AlwaysForbidden)
    };
    let client = json!({ "allowed": ["client auth", "digital signature"] });
    let alone = json!({ "allowed": ["client auth"] });
    for (own, limits, expected) in [
        (&alone, json!({ "denied": ["key agreement"] }), true),
        (&client, json!({ "denied": ["key agreement"] }), false),
        (&client, json!({ "denied": ["digital signature"] }), true),
        (&keys, json!({ "denied": ["client auth"] }), true),
        (&keys, json!({ "allowed": ["server auth", "digital signature"] }), true),
        (&keys, json!({ "allowed": ["digital signature"] }), false),
        (&keys, json!({ "denied": ["content commitment"] }), false),
        (&client, json!({ "denied": ["client auth"] }), true),
        (&client, json!({ "denied": ["server auth"] }), false),
    ] {
        assert_eq!(forbidden(own, limits.clone()), expected, "{own} {limits}");
    }
}

#[test]
fn a_user_that_is_no_node_satisfies_no_rule_about_nodes() {
    for (user, expected) in [("amy*", true), ("system:", true), ("system:node:a", false), ("system:*", false)] {
        let requestors = json!([{ "users": [user], "credential": "NotClientCertificate" }]);
        let names = json!({ "from": "Node", "allowed": ["worker-*"] });
        let spec = with(&[("/match/requestors", requestors), ("/allow/dnsNames", names)]);
        assert_eq!(codes(&spec, &[]).contains(&HazardCode::NeverANode), expected, "{user}");
    }
}

/// What this thread has taken of a processor: others may be busy.
fn processor() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Whoever may write policies writes many that differ in what is compared last.
#[test]
fn many_objects_that_are_nearly_alike_are_not_compared_with_one_another() {
    let list = |pattern: &str| (0..64).map(|index| pattern.replace('#', &index.to_string())).collect::<Vec<_>>();
    let policies = |number: usize| {
        let policy = |index: usize| {
            let spec = with(&[
                ("/allow/dnsNames", json!({ "allowed": list("host-#-*.example.com") })),
                ("/allow/uris", json!({ "allowed": list("spiffe://example.com/#/*/x") })),
                (
                    "/allow/validations",
                    json!([{ "name": "few", "expression": "csr.dnsNames.size() < 9", "message": (index / 2).to_string() }]),
                ),
            ]);
            object(Kind::CSRPolicy, &format!("p-{index:04}"), &spec)
        };
        PolicySet::compile(&(0..number).map(policy).collect::<Vec<_>>(), Settings::default())
    };
    let all = |set: &PolicySet| -> Vec<Hazard> {
        set.policies().iter().flat_map(|policy| hazards(black_box(set), policy)).collect()
    };
    let least = |set: &PolicySet| {
        let once = |_| {
            let began = processor();
            black_box(all(set));
            processor().checked_sub(began).unwrap()
        };
        (0..5).map(once).min().unwrap()
    };
    let (few, many) = (policies(100), policies(400));
    assert!(many.policies()[0].is_ready(), "{:?}", many.policies()[0].problems());
    let repeats = all(&many).into_iter().filter(|hazard| hazard.code == HazardCode::Repeats);
    let repeats: Vec<String> = repeats.map(|hazard| hazard.why).collect();
    assert_eq!(repeats.len(), 200);
    assert_eq!(repeats[7], "CSRPolicy p-0014 says the same");
    let (few, many) = (least(&few), least(&many));
    assert!(many < few * 8, "{few:?} for 100, {many:?} for 400");
}
