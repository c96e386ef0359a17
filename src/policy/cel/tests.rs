mod cost;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Bindings, Expression, Room};
use crate::node::{MAX_LABELS, Node, Nodes};
use crate::policy::Truth;
use crate::request::{CsrObject, SigningRequest};

const PEM: &str = include_str!("../../../examples/requests/amy.yaml");

/// The request of an example, with a requestor of this name and these groups.
fn request(username: &str, groups: &[&str]) -> SigningRequest {
    request_with(PEM.lines().find_map(|line| line.trim().strip_prefix("request: ")).unwrap(), username, groups)
}

/// A request with this `spec.request`.
fn request_with(encoded: &str, username: &str, groups: &[&str]) -> SigningRequest {
    let object: CsrObject = serde_json::from_value(json!({
        "metadata": { "name": "a", "uid": "u" },
        "spec": {
            "request": encoded,
            "signerName": "example.com/mtls",
            "usages": ["client auth", "signing"],
            "expirationSeconds": 3600,
            "username": username,
            "uid": "1",
            "groups": groups,
            "extra": {
                "authentication.kubernetes.io/pod-name": ["runner-0"],
                "authentication.kubernetes.io/node-name": ["worker"],
                "example.com/team": ["payments"],
            },
        },
    }))
    .unwrap();
    object.signing_request()
}

fn holds(source: &str, request: &SigningRequest) -> Truth {
    let expression = Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    expression.holds(&Bindings::new(request, None))
}

#[test]
fn an_expression_sees_the_request_and_its_requestor() {
    let amy = request("system:serviceaccount:ci:runner", &["system:serviceaccounts:ci", "ci"]);
    for source in [
        "csr.subject.commonName == 'amy'",
        "csr.subject.organizations == ['developers']",
        "csr.subject.organizationalUnits.size() == 0",
        "csr.signerName.startsWith('example.com/')",
        "'client auth' in csr.usages && 'digital signature' in csr.usages",
        "has(csr.expirationSeconds) && csr.expirationSeconds <= 3600",
        "csr.key.algorithm == 'RSA' && csr.key.bits >= 2048 && !has(csr.key.curve)",
        "csr.dnsNames.all(name, name.endsWith('.example.com'))",
        "csr.dnsNames.size() + csr.ipAddresses.size() + csr.uris.size() + csr.emailAddresses.size() == 0",
        "requestor.username.matches('^system:serviceaccount:[a-z]+:runner$')",
        "requestor.groups.exists(group, group == 'ci')",
        "requestor.serviceAccount.namespace == 'ci' && requestor.serviceAccount.name == 'runner'",
        "requestor.pod.name == 'runner-0' && !has(requestor.pod.uid) && requestor.node.name == 'worker'",
        "requestor.extra['example.com/team'] == ['payments'] && requestor.uid == '1'",
        "requestor.?pod.?uid.orValue('none') == 'none'",
        "csr.subject.organizations.all(name, name in ['developers', 'oncall'])",
        "!requestor.?pod.?uid.hasValue() && requestor.?pod.?name.orValue('') == 'runner-0'",
        "!requestor.?pod.?uid.hasValue() && requestor.extra[?'none'].orValue(['x']) == ['x']",
        "cidr('10.0.0.0/8').containsIP(ip('10.1.2.3')) && isIP('::1') && ip('10.0.0.1').family() == 4",
        "'a,b'.split(',').join('-') == 'a-b' && 'AMY'.lowerAscii() == csr.subject.commonName",
        "csr.subject.commonName.size() > 2 ? true : false",
    ] {
        assert_eq!(holds(source, &amy), Truth::Yes, "{source}");
        assert_eq!(holds(&format!("!({source})"), &amy), Truth::No, "{source}");
    }
    let curve = "csr.key.algorithm == 'ECDSA' && csr.key.curve == 'P256' && csr.key.bits == 256";
    let pem = include_str!("../../../benches/requests/p256.pem");
    assert_eq!(holds(curve, &request_with(&STANDARD.encode(pem), "amy", &[])), Truth::Yes);
    assert!(matches!(holds("csr.key.curve == 'P256'", &amy), Truth::Unknown(_)));
    // A certificate with a service account's name is not a service account.
    let eve = request("system:serviceaccount:ci:runner", &["system:authenticated"]);
    assert_eq!(holds("has(requestor.serviceAccount) || has(requestor.pod)", &eve), Truth::No);
}

/// As Kubernetes' libraries have it.
#[test]
fn addresses_and_ranges_are_compared_as_what_they_are() {
    let amy = request("amy", &[]);
    for (source, expected) in [
        ("isIP('10.0.0.1') && isIP('2001:db8::1')", Truth::Yes),
        ("isIP('10.0.0.1/8') || isIP('10.0.0') || isIP('::ffff:10.0.0.1')", Truth::No),
        ("isCIDR('10.0.0.0/8') && isCIDR('2001:db8::/32')", Truth::Yes),
        ("isCIDR('10.0.0.0') || isCIDR('10.0.0.0/33') || isCIDR('::ffff:10.0.0.0/104')", Truth::No),
        ("ip('10.0.0.1').family() == 4 && ip('2001:db8::1').family() == 6", Truth::Yes),
        ("ip('127.0.0.1').isLoopback() && ip('::').isUnspecified()", Truth::Yes),
        ("ip('10.0.0.1').isLoopback() || ip('10.0.0.1').isUnspecified()", Truth::No),
        ("cidr('10.0.0.0/8').prefixLength() == 8", Truth::Yes),
        ("cidr('10.0.0.0/8').containsIP('10.255.0.1') && cidr('10.0.0.0/8').containsIP(ip('10.0.0.0'))", Truth::Yes),
        ("cidr('10.0.0.0/8').containsIP('11.0.0.1') || cidr('10.0.0.0/8').containsIP(ip('::'))", Truth::No),
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", Truth::Yes),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.0.0.0/7'))", Truth::No),
    ] {
        assert_eq!(holds(source, &amy), expected, "{source}");
    }
    for source in [
        "ip('::ffff:10.0.0.1').family() == 6",
        "cidr('10.0.0.0').prefixLength() == 32",
        "cidr('10.0.0.0/08').prefixLength() == 8",
        "cidr('010.0.0.0/8').prefixLength() == 8",
        "cidr(ip('::')).prefixLength() == 1",
        "!cidr('::ffff:10.0.0.0/104').containsIP('10.0.0.1')",
        "!cidr('::ffff:a00:0/104').containsIP('10.0.0.1')",
    ] {
        assert!(matches!(holds(source, &amy), Truth::Unknown(_)), "{source}");
    }
}

/// Go writes the scheme of a URI into the certificate in lower case, and names of hosts are the same in any case.
#[test]
fn sans_are_seen_as_they_are_compared() {
    let mut amy = request("amy", &[]);
    let sans = &mut amy.content.as_mut().unwrap().sans;
    sans.dns_names = vec!["VPN.Example.com".to_owned()];
    sans.uris = vec!["SPIFFE://Example.com/ns/Kube-System/sa/x".to_owned()];
    sans.email_addresses = vec!["Amy@Example.com".to_owned()];
    for source in [
        "csr.dnsNames == ['vpn.example.com']",
        "csr.uris == ['spiffe://example.com/ns/Kube-System/sa/x']",
        "csr.emailAddresses == ['Amy@example.com']",
    ] {
        assert_eq!(holds(source, &amy), Truth::Yes, "{source}");
    }
}

/// As Go's `regexp` matches; the table was run through it.
#[test]
fn a_regular_expression_means_what_it_means_to_kubernetes() {
    for (pattern, text, expected) in [
        (r"^\w+$", "amy_1", true),
        (r"^\w+$", "\u{430}my", false),
        (r"^\d+$", "12", true),
        (r"^\d+$", "\u{661}\u{662}", false),
        (r"^[\d-]+$", "1-2", true),
        (r"^[^\W]+$", "\u{e9}", false),
        (r"^\W$", "\u{e9}", true),
        (r"^\s$", "\u{a0}", false),
        (r"^\S$", "\u{a0}", true),
        (r"^\D$", "\u{661}", true),
        (r"\bmy\b", "\u{430}my", true),
        (r"^[a&&b]+$", "a&b", true),
        (r"^[^a&&b]$", "a", false),
        (r"^[a~~b]+$", "a~b", true),
        (r"^[[a]+$", "[a", true),
        (r"^[]a]+$", "]a", true),
        (r"^[[:alpha:]]+$", "amy", true),
        (r"^[[:alpha:]]+$", "\u{e9}", false),
        (r"^[[:^alpha:]_]+$", "12_", true),
        (r"^[[:alpha:]&&b]+$", "a&b", true),
        ("(?i)^K$", "\u{212a}", true),
        ("^a$", "a\n", false),
        ("(?m)^a$", "a\nb", true),
        ("^.$", "\n", false),
        ("(?s)^.$", "\n", true),
        (r"^\pL+$", "\u{430}my", true),
        ("(?P<x>a)b", "ab", true),
        (r"^a\.b\-c$", "a.b-c", true),
    ] {
        let compiled = super::pattern::Pattern::new(pattern, &mut Room::default())
            .unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(compiled.is_match(text), Some(expected), "{pattern} {text:?}");
    }
    for pattern in ["(?x) a b", "(?ix) a b", "(?u)a", r"\B", r"\b{start}a", r"[\b]", "[a--b]", "[a", "a\\", "(?R)a"] {
        assert!(super::pattern::Pattern::new(pattern, &mut Room::default()).is_err(), "{pattern}");
    }
    let amy = request("\u{430}my", &[]);
    assert_eq!(holds(r"requestor.username.matches('^\\w+$')", &amy), Truth::No);
}

#[test]
fn what_fails_or_is_not_known_is_unknown_and_quoted() {
    let amy = request("amy", &[]);
    for (source, why) in [
        ("requestor.extra['team'] == ['x']", "\"team\" is not there; has(…) tells whether it is"),
        ("requestor.serviceAccount.name == 'x'", "\"serviceAccount\" is not there; has(…) tells whether it is"),
        ("csr.subject.organizations > csr.dnsNames", "types do not go together: found no matching overload for '_>_'"),
        ("1 / (csr.dnsNames.size()) == 1", "it divides by zero"),
        ("1 % (csr.dnsNames.size()) == 1", "it divides by zero"),
        ("9223372036854775807 + csr.key.bits > 1", "a number becomes too large"),
        ("csr.dnsNames[0] == 'x'", "the list has no item 0, counted from 0; size() tells how many it has"),
        ("int(csr.subject.commonName) == 1", "int() failed: "),
    ] {
        let Truth::Unknown(said) = holds(source, &amy) else { panic!("{source} is not unknown") };
        assert!(said.contains(why) && said.contains(source), "{source}: {said}");
        // And not known to be false either.
        assert!(matches!(holds(&format!("!({source})"), &amy), Truth::Unknown(_)), "{source}");
    }
    let mut broken = amy;
    let object: CsrObject =
        serde_json::from_value(json!({ "metadata": { "name": "a" }, "spec": { "request": "eA==" } })).unwrap();
    broken.content = object.signing_request().content;
    assert!(broken.content.is_err());
    for source in ["has(csr.subject.commonName)", "!has(csr.key.curve)", "size(csr) > 1", "csr.key.?curve.hasValue()"] {
        let Truth::Unknown(said) = holds(source, &broken) else { panic!("{source} is not unknown") };
        assert!(said.contains("did not decode"), "{said}");
    }
    for source in [
        "requestor.username == 'amy' && has(csr.expirationSeconds)",
        "csr.signerName == 'example.com/mtls' && 'client auth' in csr.usages",
    ] {
        assert_eq!(holds(source, &broken), Truth::Yes, "{source}");
    }
}

#[test]
fn what_can_never_be_true_or_false_is_found_when_it_is_written() {
    for (source, gives) in [
        ("'abc'", "a text"),
        ("1 + 2", "a number"),
        ("csr.key.bits * 2", "a number"),
        ("-1", "a number"),
        ("null", "null"),
        ("[true]", "a list of true or false"),
        ("{'a': true}", "a map"),
        ("csr", "the object csr"),
        ("csr.subject.commonName", "a text"),
        ("requestor.extra['team'][0]", "a text"),
        ("requestor.extra.team", "a list of texts"),
        ("csr.?subject.?commonName", "an optional (a text, or nothing)"),
        ("csr.?subject.commonName", "an optional (a text, or nothing)"),
        ("csr.?dnsNames[0]", "an optional (a text, or nothing)"),
        ("csr.?subject.?commonName.orValue('')", "a text"),
        ("csr.key.bits > 1 ? 'yes' : 'no'", "a text"),
        ("csr.dnsNames.size()", "a number"),
        ("csr.dnsNames.filter(n, n != 'x')", "a list of texts"),
        ("csr.dnsNames.map(n, n == 'x')", "a list of true or false"),
        ("requestor.username.lowerAscii()", "a text"),
        ("requestor.username.split(':')", "a list of texts"),
        ("ip('10.0.0.1')", "an address"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(&format!("must be true or false, and gives {gives}")), "{source}: {error}");
    }
    for source in [
        "true",
        "has(csr.subject.commonName)",
        "[true][0]",
        "{'a': true}['a']",
        "{'a': true}.a",
        "csr.dnsNames.exists_one(n, n == 'x')",
        "csr.dnsNames.map(n, n == 'x')[0]",
        "optional.of(true).value()",
        "cidr('10.0.0.0/8').containsIP('10.0.0.1')",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

/// Each would be the same for all requests, since what is asked for is always there.
#[test]
fn what_is_always_there_is_not_asked_for() {
    for (source, problem) in [
        ("has(csr.uris)", "csr.uris is always there, empty where there is none: csr.uris.size() > 0 tells"),
        ("has(csr.subject)", "csr.subject is always there, so there is nothing to ask"),
        ("!has(csr.subject.organizations)", "csr.subject.organizations is always there, empty"),
        ("has(requestor.uid)", "requestor.uid != '' tells that there is one"),
        ("has(node.labels)", "node.labels.size() > 0 tells"),
        ("has(node.name)", "node.name is always there, so there is nothing to ask"),
        ("csr.subject.?organizations.hasValue()", "csr.subject.organizations is always there"),
        ("csr.?dnsNames.hasValue()", "csr.dnsNames is always there"),
        ("csr[?'dnsNames'].hasValue()", "csr.dnsNames is always there"),
        ("requestor.?uid.orValue('none') != 'none'", "requestor.uid is always there"),
        ("node.addresses.exists(a, !has(a.type))", "node.addresses[].type is always there"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(problem), "{source}: {error}");
    }
    for source in [
        "has(csr.expirationSeconds) && has(csr.subject.commonName) && has(csr.key.curve)",
        "has(requestor.serviceAccount) && has(requestor.serviceAccount.name)",
        "has(requestor.pod.uid) || requestor.?pod.?uid.hasValue()",
        "csr.?dnsNames.orValue([]).size() > 0 || csr.?subject.?commonName.orValue('none') != ''",
        "requestor.?serviceAccount.?name.hasValue() && requestor.?uid.orValue('') != ''",
        "has(requestor.extra.team) && requestor.?extra[?'team'].hasValue() && requestor.extra[?'team'].hasValue()",
        "csr.usages[?5].hasValue() || has(node.labels.pool) || requestor.?extra.orValue({}).size() == 0",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

/// Names of hosts are in lower case here, and there are no other algorithms and usages.
#[test]
fn what_is_never_so_spelled_is_found_when_it_is_written() {
    for (source, problem) in [
        (
            "csr.dnsNames.all(d, d != 'VPN.example.com')",
            "\"VPN.example.com\" is never found: it is vpn.example.com here",
        ),
        ("csr.dnsNames.exists(d, 'Vpn.a' == d)", "is never found"),
        ("!('Vpn.example.com' in csr.dnsNames)", "is never found"),
        ("csr.dnsNames.all(d, d in ['a', 'B'])", "\"B\" is never found"),
        ("csr.dnsNames == ['A']", "it is a here"),
        ("csr.dnsNames[0] == (csr.key.bits > 1 ? 'a' : 'B')", "\"B\" is never found"),
        ("csr.dnsNames[?0].orValue('') != 'A'", "it is a here"),
        ("csr.dnsNames.filter(d, d.startsWith('VPN')).size() == 0", "it is vpn here"),
        (
            "csr.dnsNames.all(d, !d.matches('^VPN[.]'))",
            "\"^VPN[.]\" is never found where all letters are in lower case",
        ),
        ("csr.dnsNames.all(d, !d.matches('[A-Z]+x|B'))", "is never found"),
        ("csr.emailAddresses.exists(e, e.contains('@Evil.'))", "it is @evil. here"),
        ("csr.emailAddresses.exists(e, e.endsWith('@Evil.example'))", "it is @evil.example here"),
        ("csr.emailAddresses.exists(e, e.endsWith('.Example'))", "it is .example here"),
        ("csr.emailAddresses.all(e, e != 'Amy@Evil.example')", "it is Amy@evil.example here"),
        ("csr.uris.exists(u, u.startsWith('SPIFFE://Evil.example/X'))", "it is spiffe://evil.example/X here"),
        ("csr.uris.exists(u, u.startsWith('Spiffe'))", "it is spiffe here"),
        ("!('URN:UUID:a' in csr.uris)", "it is urn:uuid:a here"),
        ("!('2001:DB8::1' in csr.ipAddresses)", "it is 2001:db8::1 here"),
        ("!('10.0.0.0/8' in csr.ipAddresses)", "none that decodes is like it"),
        ("csr.ipAddresses.exists(a, a.startsWith('FD00:'))", "it is fd00: here"),
        ("csr.signerName != 'Example.com/x'", "is not the name of a signer"),
        ("csr.signerName.startsWith('Example.com/')", "it is example.com/ here"),
        ("csr.key.algorithm != 'rsa'", "\"rsa\" is never found: RSA is what it is called here"),
        ("csr.key.algorithm.startsWith('ecdsa')", "is never found"),
        ("csr.key.algorithm.matches('^(?:rsa|ecdsa)$')", "is never found in RSA, ECDSA, Ed25519"),
        ("csr.key.?curve.orValue('') != 'P-256'", "P256 is what it is called here"),
        ("!('signing' in csr.usages)", "\"signing\" is never found: digital signature is what it is called here"),
        ("csr.usages.exists(u, u == 'clientAuth')", "client auth is what it is called here"),
        ("csr.usages == ['client auth', 'digital signature']", "compare them with in and size()"),
        ("['client auth', 'client auth'] != csr.usages", "compare them with in and size()"),
        ("node.addresses.exists(a, a.type == 'InternalIp')", "InternalIP is what it is called here"),
        ("csr.key.algorithm.lowerAscii() != 'RSA'", "it is rsa here"),
        ("requestor.username.upperAscii().startsWith('Amy')", "it is AMY here"),
        ("requestor.username.lowerAscii().matches('^A')", "is never found"),
        ("['rsa'].all(a, a != csr.key.algorithm)", "RSA is what it is called here"),
        ("csr.dnsNames.exists(d, ['vpn', 'Admin'].exists(p, d.startsWith(p)))", "it is admin here"),
        ("csr.key.?curve != optional.of('P-256')", "P256 is what it is called here"),
        ("!(csr.key.algorithm in {'rsa': 1})", "RSA is what it is called here"),
        ("{'a': csr.key.algorithm} == {'a': 'rsa'}", "RSA is what it is called here"),
        ("!('a b' in csr.dnsNames)", "none that decodes is like it"),
        ("csr.uris.all(u, u != 'https://h:443/')", "none that decodes is like it"),
        ("!('::ffff:10.0.0.1' in csr.ipAddresses)", "it is 10.0.0.1 here"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(problem), "{source}: {error}");
    }
    for source in [
        "csr.dnsNames.exists(d, d.matches('^(VPN|vpn)[.]') || d.matches('(?i)^VPN') || d.matches('A*b') || d.matches('[A-Za-z]'))",
        "csr.dnsNames.exists(d, d == requestor.username || d + 'X' == 'aX' || d.upperAscii() == 'A')",
        "csr.emailAddresses.exists(e, e.startsWith('Amy@') || e.contains('Amy'))",
        "csr.uris.exists(u, u == 'spiffe://a/B' || u.endsWith('/B') || u.contains('A') || u.startsWith('spiffe://a/B'))",
        "csr.key.?curve.orValue('') == '' || csr.key.?curve.orValue('none') == 'none' || csr.key.algorithm.endsWith('SA')",
        "'server auth' in csr.usages || csr.usages.exists(u, u.contains('auth')) || csr.signerName == 'example.com/x'",
        "csr.key.?curve.orValue('') in ['P256', 'P384', 'P521'] && csr.key.algorithm in ['RSA', 'DSA', 'ECDSA']",
        "csr.usages == ['digital signature', 'client auth'] && csr.usages != requestor.groups",
        "csr.key.algorithm.matches('^(RSA|ECDSA)$') && csr.usages.exists(u, u.matches('auth$'))",
        "requestor.username.lowerAscii() == 'amy' && ['a', 'B'].exists(p, requestor.username.startsWith(p))",
        "requestor.username == 'Amy' || requestor.groups.exists(g, g.matches('^A'))",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn what_is_never_found_is_so_in_maps_lists_and_regular_expressions_too() {
    for (source, problem) in [
        // Names that these have elsewhere, and none at all.
        ("csr.key.algorithm != 'EC'", "ECDSA is what it is called here"),
        ("csr.key.algorithm != 'DSA'", "\"DSA\" is never found: there are RSA, ECDSA, Ed25519"),
        ("!has(csr.key.curve) || csr.key.curve != 'prime256v1'", "P256 is what it is called here"),
        ("!(csr.key.?curve.orValue('') in ['secp256r1', 'P384'])", "P256 is what it is called here"),
        ("!(csr.key.?curve.orValue('') in ['secp224r1', 'P521'])", "there are P256, P384"),
        ("csr.key.?curve.orValue('none') != 'P-256'", "P256 is what it is called here"),
        ("csr.key.?curve.orValue('P-256') != 'P256'", "P256 is what it is called here"),
        ("(has(csr.key.curve) ? csr.key.curve : 'none') != 'P-256'", "P256 is what it is called here"),
        ("'P-384' != (has(csr.key.curve) ? csr.key.curve : 'none')", "P384 is what it is called here"),
        ("(!has(csr.key.curve) ? 'none' : csr.key.curve) != 'P-256'", "P256 is what it is called here"),
        ("!('nonRepudiation' in csr.usages)", "content commitment is what it is called here"),
        ("csr.usages.all(u, u != 'smime')", "email protection is what it is called here"),
        ("!('other' in csr.usages)", "\"other\" is never found: there is none like it"),
        ("csr.usages.exists(u, u.contains('-'))", "there is none like it"),
        ("csr.key.algorithm.startsWith('DSA')", "there are RSA"),
        // In maps.
        ("csr.key.bits >= {'rsa': 3072, 'ecdsa': 256}[?csr.key.algorithm].orValue(0)", "RSA is what it is called here"),
        ("csr.key.bits >= {'rsa': 3072, 'ECDSA': 256}[csr.key.algorithm]", "RSA is what it is called here"),
        (
            "{'rsa': 3072, 'ecdsa': 384}.all(a, csr.key.algorithm != a || csr.key.bits >= 384)",
            "RSA is what it is called",
        ),
        ("{'dev': ['p256']}.all(g, !(csr.key.curve in {'dev': ['p256']}[g]))", "P256 is what it is called here"),
        ("csr.key.curve != {'dev': 'p256'}[?requestor.username].orValue('')", "P256 is what it is called here"),
        ("csr.key.algorithm != ['rsa'][0]", "RSA is what it is called here"),
        (
            "csr.dnsNames.all(d, !(d in requestor.extra[?'x'].orValue(['VPN.example.com'])))",
            "it is vpn.example.com here",
        ),
        ("csr.dnsNames.all(d, !(d in (['a'] + ['B'])))", "it is b here"),
        // The order of usages.
        ("csr.usages.sort() != ['server auth', 'client auth']", "in that of the alphabet"),
        ("csr.usages.sort() != ['client auth', 'client auth']", "in that of the alphabet"),
        ("(csr.dnsNames + csr.dnsNames).exists(v, v == 'Amy.example.com')", "it is amy.example.com here"),
        ("!(csr.usages in [['client auth', 'digital signature']])", "the order of docs/expressions.md"),
        ("csr.usages == (has(csr.key.curve) ? ['client auth', 'digital signature'] : ['any', 'any'])", "the order of"),
        ("csr.usages.slice(0, 2) == ['client auth', 'digital signature']", "the order of"),
        // Parts of texts.
        ("requestor.username.upperAscii().matches('^amy$')", "where all letters are capitals"),
        ("csr.emailAddresses.all(e, !e.matches('@Example\\\\.com$'))", "it is @example.com here"),
        ("csr.uris.all(u, !u.matches('^spiffe://Example\\\\.com/'))", "it is spiffe://example.com/ here"),
        ("csr.uris.all(u, !u.matches('^(SPIFFE|Spiffe)://a'))", "it is spiffe://a here"),
        ("csr.ipAddresses.all(a, !a.startsWith('2001:0db8:'))", "no part of an address begins with a zero here"),
        ("csr.ipAddresses.all(a, !a.endsWith(':0001'))", "no part of an address begins with a zero here"),
        ("csr.ipAddresses.all(a, !a.matches('^2001:0db8:'))", "no part of an address begins with a zero here"),
        ("csr.ipAddresses.all(a, !a.startsWith('10.0.0.0/8'))", "an address has no /; cidr(…).containsIP(…)"),
        ("csr.key.algorithm.indexOf('rsa') < 0 || csr.key.bits >= 3072", "RSA is what it is called here"),
        ("csr.dnsNames.all(d, d.lastIndexOf('VPN.example.com') < 0)", "it is vpn.example.com here"),
        ("['10.0.0.0/8', 'a b'].all(x, !(x in csr.ipAddresses))", "none that decodes is like it"),
        // What stands in a list beside one that is found.
        ("csr.ipAddresses.all(i, !(i in ['169.254.0.0/16', '127.0.0.1']))", "none that decodes is like it"),
        ("['169.254.0.0/16', '127.0.0.1'].all(x, !(x in csr.ipAddresses))", "none that decodes is like it"),
        ("csr.dnsNames.all(d, !(d in ['vpn.example.com.', 'b.example.com']))", "none that decodes is like it"),
        ("csr.dnsNames.all(d, !(d in [' vpn.example.com', 'b.example.com']))", "none that decodes is like it"),
        ("csr.emailAddresses.all(e, !(e in ['@example.com', 'a@example.com']))", "none that decodes is like it"),
        ("csr.usages.all(u, !(u in ['server authentication', 'code signing']))", "there is none like it"),
        ("csr.usages.all(u, u in ['client auth', 'other'])", "there is none like it"),
        ("(csr.usages + csr.usages.sort()).all(u, u != 'ClientAuth')", "client auth is what it is called here"),
        ("csr.dnsNames.all(d, d.split('.')[0] != 'VPN')", "it is vpn here"),
        ("!csr.subject.commonName.lowerAscii().trim().startsWith('Admin')", "it is admin here"),
        ("!csr.subject.commonName.upperAscii().substring(1).startsWith('d')", "it is D here"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(problem), "{source}: {error}");
    }
    for source in [
        "csr.key.?curve.orValue('none') == 'none' || csr.key.?curve.orValue('none') in ['P256', 'none']",
        "csr.key.?curve.orValue(requestor.uid) == 'none' || (has(csr.key.curve) ? csr.key.curve : 'no') == 'no'",
        "(has(csr.key.curve) ? 'P256' : 'none') == csr.key.?curve.orValue('none') && csr.dnsNames[?0].orValue('None') != 'None'",
        "csr.key.bits >= {'RSA': 3072, 'ECDSA': 256, 'DSA': 9999}[?csr.key.algorithm].orValue(0)",
        "{'RSA': 3072}.all(a, csr.key.algorithm != a || csr.key.bits >= 3072) && {'a': 1}['a'] == 1",
        "(csr.dnsNames + csr.emailAddresses).exists(v, v == 'Amy@example.com')",
        "csr.usages.sort() == ['client auth', 'digital signature'] && csr.usages.distinct() != ['digital signature', 'client auth']",
        "csr.usages.reverse() == ['client auth', 'digital signature'] || csr.usages.slice(0, 1) == ['client auth']",
        "csr.usages in [['digital signature', 'client auth'], ['client auth', 'digital signature']]",
        "['10.96.0.1', 'kubernetes'].all(x, !(x in csr.dnsNames) && !(x in csr.ipAddresses))",
        "['amy', 'amy@example.com', requestor.username].exists(x, x == csr.subject.commonName || x in csr.emailAddresses)",
        "['a@b', requestor.username].exists(x, x in csr.dnsNames) && requestor.username.trim() == 'A'",
        "csr.ipAddresses.all(a, a.startsWith('10.0.0.') || a.contains('0a0') || a.endsWith('0.0.1') || a.matches('^10[.]0'))",
        "csr.ipAddresses.exists(a, a.startsWith('fd00::') || a.startsWith('::') || a.endsWith('0a') || a == '0.0.0.0')",
        "csr.uris.all(u, u.matches('^spiffe://example[.]com/NS') || u.matches('SPIFFE$') || u.matches('^(?i)spiffe'))",
        "csr.emailAddresses.all(e, e.matches('^Amy@') || e.matches('Amy') || e.matches('@[A-Z]*example[.]com$'))",
        "requestor.username.upperAscii().matches('^[A-Z]+$') || requestor.username.upperAscii().matches('a*B')",
        "csr.dnsNames.all(d, d.indexOf('vpn') < 0) && requestor.username.indexOf('A') < 0",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn what_no_function_or_operator_takes_is_found_when_it_is_written() {
    for (source, problem) in [
        (
            "requestor.groups.contains('contractors')",
            "contains is of a text, and not of a list of texts: in tells what is",
        ),
        ("csr.dnsNames.startsWith('a')", "startsWith is of a text, and not of a list of texts: all and exists look at"),
        ("csr.usages.indexOf('client auth') >= 0", "indexOf is of a text, and not of a list of texts"),
        ("csr.key.?curve.startsWith('P')", "write .orValue('') behind the optional"),
        ("csr.key.bits.matches('1')", "matches is of a text, and not of a number"),
        ("csr.key.bits > '2048'", "a number is neither less nor more than a text"),
        ("csr.subject.commonName <= 3", "a text is neither less nor more than a number"),
        ("csr.key.?curve >= 'P'", "an optional (a text, or nothing) is neither less nor more than a text"),
        ("!csr.dnsNames", "! takes true or false, and not a list of texts"),
        ("has(csr.expirationSeconds) && csr.key.bits", "&& and || take true or false, and not a number"),
        ("csr.subject.organizations || true", "&& and || take true or false, and not a list of texts"),
        ("csr.key.bits ? true : false", "? : takes true or false before the ?, and not a number"),
        ("csr.ipAddresses.all(a, a.isIP())", "write isIP(…) around it"),
        ("cidr('10.0.0.0/8').ip() == ip('10.0.0.0')", "write ip(…) around it"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(problem), "{source}: {error}");
    }
    for source in [
        "csr.key.bits < 2u || csr.key.bits >= 2 && 'a' <= requestor.username",
        "requestor.extra['team'][0].contains('a') && !requestor.username.trim().startsWith('a')",
        "csr.key.bits > 1 ? csr.dnsNames.exists(d, d.contains('a')) : !true",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn each_field_has_its_type() {
    let (text, texts, number) = ("a text", "a list of texts", "a number");
    for (field, gives) in [
        ("csr.signerName", text),
        ("csr.usages", texts),
        ("csr.expirationSeconds", number),
        ("csr.subject", "the object csr.subject"),
        ("csr.dnsNames", texts),
        ("csr.ipAddresses", texts),
        ("csr.uris", texts),
        ("csr.emailAddresses", texts),
        ("csr.key", "the object csr.key"),
        ("csr.subject.commonName", text),
        ("csr.subject.organizations", texts),
        ("csr.subject.organizationalUnits", texts),
        ("csr.key.algorithm", text),
        ("csr.key.bits", number),
        ("csr.key.curve", text),
        ("requestor.username", text),
        ("requestor.uid", text),
        ("requestor.groups", texts),
        ("requestor.extra", "a map"),
        ("requestor.extra.team", texts),
        ("requestor.serviceAccount", "the object requestor.serviceAccount"),
        ("requestor.serviceAccount.namespace", text),
        ("requestor.serviceAccount.name", text),
        ("requestor.pod", "the object requestor.pod"),
        ("requestor.pod.name", text),
        ("requestor.pod.uid", text),
        ("requestor.node", "the object requestor.node"),
        ("requestor.node.name", text),
        ("requestor.node.uid", text),
        ("node.name", text),
        ("node.addresses", "a list of objects"),
        ("node.addresses[0]", "the object node.addresses[]"),
        ("node.addresses[0].type", text),
        ("node.addresses[0].address", text),
        ("node.labels", "a map"),
        ("node.labels.zone", text),
    ] {
        let error = Expression::new("test", field).expect_err(field);
        assert!(error.contains(&format!("must be true or false, and gives {gives}:")), "{field}: {error}");
    }
}

/// As Kubernetes' type checker refuses them: each would be false, or with `!=` true, whatever the request is.
#[test]
fn what_can_never_be_the_same_is_found_when_it_is_written() {
    for (source, problem) in [
        ("csr.key.bits != '3072'", "line 1, column 14: != compares a number with a text, which is never the same\n"),
        ("csr.key.bits == 3072u", "== compares a number with an unsigned number"),
        ("double('1.5') != true", "!= compares a floating point number with true or false"),
        ("csr.subject.organizations != 'developers'", "!= compares a list of texts with a text"),
        ("csr.usages != ['client auth', 1]", "a list has both a text and a number in it"),
        ("!('developers' in [csr.subject.organizations])", "in compares a text with a list of lists"),
        ("csr.key.bits in ['3072']", "in compares a number with a list of texts"),
        ("1 in requestor.extra", "in compares a number with a map"),
        ("'a' in csr.subject.commonName", "in takes a list or a map behind it, and not a text"),
        (
            "requestor.?serviceAccount.?namespace == 'ci'",
            "== compares an optional (a text, or nothing) with a text, which is never the same; write .orValue(",
        ),
        ("csr.subject.?commonName != 'amy'", "!= compares an optional"),
        ("requestor.?pod != null", "!= compares an optional"),
        ("csr.subject.commonName != null", "!= compares a text with null, which is never the same; has("),
        ("csr.subject.?commonName.orValue(1) == 1", "orValue() has both a text and a number in it"),
        ("ip('10.0.0.1') != '10.0.0.1'", "!= compares an address with a text"),
        ("csr.ipAddresses.exists(a, ip(a) == cidr('10.0.0.0/8'))", "== compares an address with a range of addresses"),
        ("requestor.extra['team'] == 'x'", "== compares a list of texts with a text"),
        ("requestor.extra[1] == ['x']", "[ compares a number with a text"),
        ("requestor.extra != {1: ['x']}", "!= compares a map with a map"),
        ("requestor.extra != {'team': 'x'}", "!= compares a map with a map"),
        ("{['a']: 1} == {['b']: 1}", "a key of a map is a text, a number, true or false, and not a list of texts"),
        ("{'a': 'x', 1: 'x'}['a'] == 'x'", "a map has both a text and a number in it"),
        ("requestor.groups.map(g, g.size()) == requestor.groups", "== compares a list of numbers with a list of texts"),
        ("requestor.groups.filter(g, g != 'x').size() == '1'", "== compares a number with a text"),
        ("csr.usages.all(u, u == csr.key.bits)", "== compares a text with a number"),
        ("[csr.usages].flatten() == 'x'", "== compares a list of texts with a text"),
        ("csr.dnsNames[0] == 1", "== compares a text with a number"),
        ("(has(csr.expirationSeconds) ? csr.expirationSeconds : 0) == '600'", "== compares a number with a text"),
        ("has(csr.expirationSeconds) ? csr.expirationSeconds : ''", "? : has both a number and a text in it"),
        ("node.addresses.exists(a, a.typ == 'InternalIP')", "node.addresses[] has no field typ; did you mean type?"),
        ("node.addresses == ['10.0.0.1']", "== compares a list of objects with a list of texts"),
        (
            "csr.?subject.?commonname.orValue('') != 'amy'",
            "csr.subject has no field commonname; did you mean commonName?",
        ),
        ("!csr.?dnsName.hasValue()", "csr has no field dnsName; did you mean dnsNames?"),
        ("csr[?'dnsName'].orValue([]).size() == 0", "csr has no field dnsName"),
        ("csr['dnsName'].size() == 0", "csr has no field dnsName"),
        ("csr[csr.signerName] == []", "csr takes the name of a field in [], written down"),
        ("csr.subject.commonName.all(c, c == 'x')", "take a list, and not a text"),
        ("requestor.pod.?nmae.orValue('') == ''", "requestor.pod has no field nmae"),
        ("!has(csr.?subject.comonName)", "csr.subject has no field comonName; did you mean commonName?"),
        ("!has(csr['subject'].comonName)", "csr.subject has no field comonName"),
        ("[csr.key].all(k, !has(k.bitz))", "csr.key has no field bitz"),
        ("node.addresses.all(a, !has(a.adress))", "node.addresses[] has no field adress"),
        ("has(node.addresses[0].adress)", "node.addresses[] has no field adress"),
        ("has(csr.signerName.x)", "a text has no field x"),
        ("!csr.usages[?'client auth'].hasValue()", "a list takes a number in [], counted from 0, and not a text"),
        ("csr.usages.?clientAuth.orValue('') == ''", "a list takes a number in []"),
        ("csr.usages[?true].hasValue()", "a list takes a number in []"),
        ("requestor.extra.?a.?b.orValue('') != 'x'", "a list takes a number in []"),
        ("csr.signerName.?foo.orValue('x') == 'x'", "nothing is read of a text by [] or .?"),
        ("csr.key.bits[?0].hasValue()", "nothing is read of a number"),
        ("[?csr.?expirationSeconds].all(x, x != optional.of(1))", "!= compares a number with an optional"),
        ("{?'a': csr.?expirationSeconds}['a'] != csr.?expirationSeconds", "!= compares a number with an optional"),
        ("[?csr.usages].size() == 1", "? in a list or a map takes an optional, and not a list of texts"),
        ("([1] + csr.usages).all(u, u != 2)", "+ has both a list of numbers and a list of texts in it"),
        ("csr.subject.commonName + 1 == 'x'", "+ has both a text and a number in it"),
        ("[csr.usages].all(optional, optional.sort() != 'a')", "!= compares a list of texts with a text"),
        ("[csr.?expirationSeconds][?0].orValue(5) != 1", "orValue() has both an optional"),
        ("{'a': optional.of(1)}.?a.orValue(2) != 1", "orValue() has both an optional"),
        ("csr.usages.flatten(1 + 0).all(u, u != 3)", "flatten takes its depth as a number, written down"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(problem), "{source}: {error}");
    }
    for source in [
        "csr['dnsNames'] == [] && [] == csr['uris'] && csr[?'uris'].orValue([]) == []",
        "requestor.extra == {} || 'team' in requestor.extra",
        "optional.none() == requestor.?pod.?uid || optional.of('x') != requestor.?pod.?uid",
        "requestor.?pod.?uid.or(optional.of('x')).value() == 'x'",
        "csr.dnsNames.filter(n, n.size() > 3).map(n, n.split('.')).flatten() != ['x']",
        "[?csr.?expirationSeconds] == [2592000] && {?'a': csr.?expirationSeconds}['a'] == 2592000",
        "has(csr.?subject.commonName) && !has(requestor.extra.team) && csr.?dnsNames[?0].orValue('') == ''",
        "[[['x']]].flatten(2) == csr.usages && [csr.usages, []] != [[]]",
        "csr.usages + ['x'] != [] && 'a' + 'b' == 'ab' && 1 + 2 * 3 - 4 / 5 % 6 == -7",
        "csr.usages.exists_one(u, u == 'any') == csr.usages.all(u, u != 'any')",
        "{'a': ['x']}.a == {'a': ['x']}['a'] && 1.5 != double('2.5') && 1u == uint(1) && b'x' != b'y'",
        "requestor.extra.all(key, requestor.extra[key].all(value, value != key))",
        "(csr.key.bits > 1 ? 'x' : 'y') == 'x' && string(csr.key.bits) == '3072'",
        "ip('10.0.0.1') == ip('::1') && cidr('10.0.0.0/8') != cidr('::/0')",
        "csr.usages.sort() == csr.usages.distinct() && csr.usages.slice(0, 1).reverse() != csr.usages",
    ] {
        Expression::new("test", source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn a_slip_is_found_when_it_is_written_with_a_caret_under_it() {
    for (source, expected) in [
        ("", "it is empty"),
        (
            "csr.subject.commonname == 'x'",
            "line 1, column 13: csr.subject has no field commonname; did you mean commonName?\n  csr.subject.commonname == 'x'\n              ^",
        ),
        ("csr.key.bit > 1", "csr.key has no field bit; did you mean bits?"),
        ("requestor.user == 'x'", "requestor has no field user"),
        ("requestor.serviceAccount.nam == 'x'", "requestor.serviceAccount has no field nam; did you mean name?"),
        ("requestor.pod.nmae == 'x'", "requestor.pod has no field nmae; did you mean name?"),
        ("requester.username == 'x'", "line 1, column 1: there is no variable requester; did you mean requestor?"),
        ("csr.dnsNames.all(n, m == 'x')", "there is no variable m"),
        ("csr.usages.all(u, s == 'x')", "line 1, column 19: there is no variable s"),
        ("csr.usages.all(u, u != 'x') && u == 'y'", "there is no variable u"),
        ("{x: 1}['a'] == 1", "there is no variable x"),
        ("{'a': x}['a'] == 1", "there is no variable x"),
        ("[x].size() == 1", "there is no variable x"),
        ("[x][0].a == 1", "there is no variable x"),
        ("true &&\n  foo(1)", "line 2, column 3: there is no function foo"),
        ("csr.dnsNames.al(n, true)", "there is no function al; did you mean all?"),
        (
            "csr.dnsNames.all(i, d, d != 'x')",
            "line 1, column 14: all stands here as in csr.dnsNames.all(name, name != ''), with no other arguments",
        ),
        ("csr.dnsNames.exists()", "exists stands here as in csr.dnsNames.exists(name, name != ''), with no other"),
        ("csr.dnsNames.filter('a') == []", "filter stands here as in csr.dnsNames.filter(name, name != '')"),
        (
            "sets.contains(csr.usages, ['client auth'])",
            "line 1, column 1: there is no function sets.contains: instead of contains write b.all(item, item in a)",
        ),
        ("sets.intersects(csr.usages, ['client auth'])", "instead of intersects b.exists(item, item in a)"),
        ("sets == 1", "there is no variable sets"),
        ("csr.dnsNames.size( > 1", "line 1, column 20: unexpected '>'\n"),
        ("csr.dnsNames.size() ==", "column 23: the expression ends too early"),
        ("csr.usages.exists(csr, true)", "the variable csr would hide csr"),
        ("requestor.username.matches(requestor.uid)", "takes one regular expression as a literal"),
        ("requestor.username.matches('a', 'b')", "takes one regular expression as a literal"),
        ("requestor.username.matches('(')", "not a regular expression"),
        (
            "requestor.username.matches('((a{1000}){1000}){1000}')",
            "the regular expression takes more than 128 KiB when it is compiled",
        ),
        ("csr.dnsNames.all(a, csr.uris.all(b, csr.usages.all(c, true)))", "nest deeper than 2"),
        ("lists.range(1000000000).size() > 1", "there is no"),
        ("google.protobuf.Duration{seconds: 1}", "there is no type"),
        ("'unclosed", "cannot read"),
    ] {
        let error = Expression::new("test", source).expect_err(source);
        assert!(error.contains(expected), "{source}: {error}");
    }
}

#[test]
fn what_may_be_parsed_has_bounds_that_text_in_quotes_does_not_count_for() {
    let text = |length: usize| format!("'{}' == ''", "x".repeat(length - 8));
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    let joined = |term: &str, number: usize| vec![term; number].join(" && ");
    for source in [
        text(2048),
        nested(16),
        joined("true", 81),
        joined("(true)", 40),
        joined(&format!("'{}' == ''", "(&&".repeat(20)), 2),
        format!("'\\'{}' == \"'{}\"", "(".repeat(20), "(".repeat(20)),
    ] {
        Expression::new("test", &source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
    for (source, expected) in [
        (text(2049), "it has 2049 bytes, and may have 2048".to_owned()),
        (nested(17), "line 1, column 17: brackets nest deeper than 16".to_owned()),
        (format!("'' == '' &&\n{}", nested(17)), "line 2, column 17: brackets nest deeper than 16".to_owned()),
        (joined("true", 82), format!("line 1, column {}: it has more than 80 operators", 80 * 8 + 6)),
        (format!("!{}", joined("true", 81)), format!("column {}: it has more than 80 operators", 1 + 79 * 8 + 7)),
        (joined("(true)", 60), "it has more than 80 operators".to_owned()),
    ] {
        let error = Expression::new("test", &source).expect_err(&source);
        assert!(error.contains(&expected), "{source}: {error}");
    }
}

#[test]
fn expressions_are_the_same_where_name_and_text_are() {
    let named = |name, source| Expression::new(name, source).unwrap();
    let one = named("a", "csr.key.bits > 1");
    assert_eq!(one, named("a", "csr.key.bits > 1"));
    assert_ne!(one, named("b", "csr.key.bits > 1"));
    assert_ne!(one, named("a", "csr.key.bits > 2"));
    let functions = super::expression_functions();
    assert!(["size", "matches", "isIP", "all"].iter().all(|name| functions.contains(name)), "{functions:?}");
    assert!(!functions.contains(&"_&&_"));
}

#[test]
fn an_expression_sees_the_node_of_a_requestor_that_is_one() {
    let node = |labels| -> Node {
        serde_json::from_value(json!({
            "metadata": { "name": "worker-1", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "Hostname", "address": "w" }] },
        }))
        .unwrap()
    };
    let nodes: Nodes = [node(json!({ "topology.kubernetes.io/zone": "a", "pool": "gpu" }))].into_iter().collect();
    let worker = request("system:node:worker-1", &["system:nodes"]);
    let ask = |source: &str, request: &SigningRequest, nodes: Option<&Nodes>| {
        let expression = Expression::new("test", source).unwrap();
        assert!(expression.reads_node());
        expression.holds(&Bindings::new(request, nodes))
    };
    for source in [
        "node.name == 'worker-1' && requestor.username == 'system:node:' + node.name",
        "node.labels['topology.kubernetes.io/zone'] == 'a' && node.labels.pool == 'gpu' && !has(node.labels.other)",
        "node.addresses.exists(a, a.type == 'InternalIP' && cidr('10.0.0.0/8').containsIP(a.address))",
        "node.addresses.map(a, a.address) == ['10.0.0.1', 'w']",
        "node.?labels[?'pool'].orValue('') == 'gpu'",
        "node.labels[?'pool'].orValue('') == 'gpu'",
        "size(node) == 3",
    ] {
        assert_eq!(ask(source, &worker, Some(&nodes)), Truth::Yes, "{source}");
        assert_eq!(ask(&format!("!({source})"), &worker, Some(&nodes)), Truth::No, "{source}");
    }
    let unreadable: Nodes = [node(json!({ "pool": 1 }))].into_iter().collect();
    let mut earlier = worker.clone();
    earlier.envelope.created = Some("2025-12-31T23:59:59Z".parse().unwrap());
    for (source, request, nodes, why) in [
        ("node.labels.size() > 0", &worker, None, "the Nodes of the cluster are not known here"),
        ("node.labels.size() == 0", &worker, Some(&Nodes::default()), "there is no Node worker-1 (yet)"),
        ("node.?name.orValue('') == ''", &earlier, Some(&nodes), "created after the request was filed"),
        ("node.name != 'x'", &request("system:node:worker-1", &["x"]), Some(&nodes), "the requestor is not a node"),
        ("requestor.uid == '1' || node.name == 'x'", &request("amy", &[]), Some(&nodes), "the requestor is not a node"),
        ("node.labels.other == 'x'", &worker, Some(&nodes), "\"other\" is not there"),
        ("!has(node.labels.pool)", &worker, Some(&unreadable), "the labels of the Node worker-1 cannot be read"),
        ("node.?labels[?'pool'].orValue('') == ''", &worker, Some(&unreadable), "cannot be read"),
        ("!node.?labels[?'pool'].hasValue()", &worker, Some(&unreadable), "cannot be read"),
        ("node.labels.size() == 0 || !('pool' in node.labels)", &worker, Some(&unreadable), "cannot be read"),
    ] {
        let Truth::Unknown(said) = ask(source, request, nodes) else { panic!("{source} is not unknown") };
        assert!(said.contains(why), "{source}: {said}");
    }
    assert!(!Expression::new("test", "requestor.?node.?name.orValue('') == ''").unwrap().reads_node());
    let slip = Expression::new("test", "node.lables.pool == 'x'").unwrap_err();
    assert!(slip.contains("node has no field lables; did you mean labels?"), "{slip}");
}

#[test]
fn what_might_cost_too_much_is_unknown() {
    let crowd = request("amy", &["g"; 300]);
    for source in [
        "requestor.groups.all(a, requestor.groups.all(b, a != b || a == b))",
        "requestor.groups.join('').replace('g', requestor.groups.join('')).size() > 0",
    ] {
        let Truth::Unknown(said) = holds(source, &crowd) else { panic!("{source} is not unknown") };
        assert!(said.contains("on this request it might cost"), "{said}");
        assert_eq!(holds(source, &request("amy", &["g"])), Truth::Yes, "{source}");
    }
}

/// The most hostile expressions are refused or stopped, also on a debug build, and the process lives.
#[test]
fn nothing_takes_long_or_overflows_a_stack() {
    let groups: Vec<String> = (0..2000).map(|index| format!("group-{index:08}")).collect();
    let mut groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let plain = request("amy", &groups);
    groups.push("system:nodes");
    let amy = request("system:node:a", &groups);
    let mut hostile = Node { name: "a".to_owned(), ..Node::default() };
    hostile.labels = Some((0..MAX_LABELS).map(|index| (format!("{index:0300}"), "v".repeat(63))).collect());
    let nodes: Nodes = [hostile].into_iter().collect();
    let many = |item: &str, number: usize, separator: &str| vec![item; number].join(separator);
    let nested = |open: &str, close: &str, depth: usize| format!("{}true{}", open.repeat(depth), close.repeat(depth));
    let sources = [
        many("true", 3000, " && "),
        many("true", 60, " && "),
        many("1", 60, " + ") + " == 60",
        many("csr.dnsNames.size() == 0 ? true : ", 20, "") + "true",
        nested("(", ")", 5000),
        nested("(", ")", 16),
        nested("!", "", 80),
        nested("[", "]", 16),
        nested("-", "", 1000),
        "a".repeat(10_000),
        format!("'{}' == ''", "x".repeat(2000)),
        "requestor.groups.all(a, requestor.groups.all(b, a != b || a == b))".to_owned(),
        "requestor.groups.map(a, requestor.groups.map(b, a + b)).size() > 0".to_owned(),
        "requestor.groups.map(a, requestor.groups.join(a)).size() > 0".to_owned(),
        "requestor.groups.join('').replace('0', requestor.groups.join('')).size() > 0".to_owned(),
        "requestor.groups.distinct().size() > 0".to_owned(),
        "requestor.groups.join('').split('').sort().size() > 0".to_owned(),
        "requestor.groups.join('').matches('(a+)+$') || requestor.groups.join('').matches('(x*)*(x*)*(x*)*y')"
            .to_owned(),
        "requestor.groups.exists(group, group.matches('^(([a-z])+.)+[A-Z]([a-z])+$'))".to_owned(),
        "requestor.groups.all(group, group.startsWith('group-'))".to_owned(),
        format!("[{}].size() > 0", many("requestor.groups", 30, ", ")),
        "node.labels.all(a, node.labels.all(b, a != b || node.labels[a] == node.labels[b]))".to_owned(),
        "node.labels.exists(a, node.labels.map(b, b + a).size() == 0)".to_owned(),
        "[1]".to_owned() + &many(".map(v, {v: v})", 38, "") + ".size() > 0",
        "[1]".to_owned() + &many(".map(v, [v, v])", 38, "") + ".size() > 0",
        many("optional.of(csr)", 1, "") + &many("[?'key'].orValue(csr)", 36, "") + ".?key.hasValue()",
    ];
    for source in sources {
        // The best of a few, since other tests keep this machine busy.
        let run = || {
            let begin = Instant::now();
            let truth =
                Expression::new("test", &source).map(|expression| expression.holds(&Bindings::new(&amy, Some(&nodes))));
            (begin.elapsed(), truth)
        };
        let (took, truth) = (0..4).map(|_| run()).min_by_key(|(took, _)| *took).unwrap();
        let shown: String = source.chars().take(60).collect();
        assert!(took < Duration::from_millis(50), "{took:?}: {shown}: {truth:?}");
    }
    // What people write is not refused for its cost.
    for source in [
        "requestor.groups.all(group, group.startsWith('group-'))",
        "requestor.groups.exists(group, group == 'group-00001999')",
        "csr.subject.organizations.all(name, !(name in requestor.groups))",
    ] {
        assert_eq!(holds(source, &plain), Truth::Yes, "{source}");
    }
}

#[test]
fn a_name_shows_nothing_that_a_terminal_obeys() {
    let request = request("amy", &[]);
    let unknown =
        Expression::new("a\u{1b}[31m", "csr.dnsNames[9] == 'a'").unwrap().holds(&Bindings::new(&request, None));
    assert!(
        matches!(&unknown, Truth::Unknown(why) if why.starts_with("the expression a\\u{1b}[31m (csr")),
        "{unknown:?}"
    );
}
