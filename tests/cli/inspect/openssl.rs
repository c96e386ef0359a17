//! What `inspect` says about a certificate is what openssl says.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::{CLIENT, P256, Pki, RSA, codes, openssl};

/// The names of key usages, ours and openssl's.
const USAGES: [(&str, &str); 13] = [
    ("digital signature", "Digital Signature"),
    ("content commitment", "Non Repudiation"),
    ("key encipherment", "Key Encipherment"),
    ("data encipherment", "Data Encipherment"),
    ("key agreement", "Key Agreement"),
    ("cert sign", "Certificate Sign"),
    ("crl sign", "CRL Sign"),
    ("server auth", "TLS Web Server Authentication"),
    ("client auth", "TLS Web Client Authentication"),
    ("code signing", "Code Signing"),
    ("email protection", "E-mail Protection"),
    ("any", "Any Extended Key Usage"),
    ("microsoft sgc", "Microsoft Server Gated Crypto"),
];

/// Compares what `inspect` says about a certificate with what openssl says, field by field.
#[track_caller]
pub fn agrees_with_openssl(certificate: &Value, path: &Path) {
    let directory = path.parent().unwrap();
    let file = path.to_str().unwrap();
    let options = ["-subject", "-issuer", "-serial", "-dates", "-fingerprint", "-sha256", "-dateopt", "iso_8601"];
    let names = ["-nameopt", "sep_comma_plus,sname,utf8,esc_2253"];
    let short = openssl(directory, &[&["x509", "-noout", "-in", file], &options[..], &names].concat());
    let field = |name: &str| {
        let line = short.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {short}")).to_owned()
    };
    assert_eq!(certificate["subject"]["name"], field("subject"));
    assert_eq!(certificate["issuer"]["name"], field("issuer"));
    assert_eq!(certificate["serial"], field("serial"));
    for (name, theirs) in [("notBefore", "notBefore"), ("notAfter", "notAfter")] {
        assert_eq!(certificate[name].as_str().unwrap().replace('T', " "), field(theirs), "{name}");
    }
    let print = certificate["sha256"].as_str().unwrap().to_uppercase();
    assert_eq!(print, field("sha256 Fingerprint").replace(':', ""));

    let long = openssl(directory, &["x509", "-noout", "-text", "-in", file]);
    let bits = long.split("Public-Key: (").nth(1).map(|rest| rest.split(' ').next().unwrap());
    if let Some(bits) = bits {
        let ours = certificate["key"]["bits"].as_u64().unwrap();
        // For Ed25519 openssl counts otherwise, and shows no bits.
        assert_eq!(ours.to_string(), bits, "{long}");
    }
    if let Some(curve) = long.split("NIST CURVE: P-").nth(1) {
        assert_eq!(certificate["key"]["curve"], format!("P{}", curve.lines().next().unwrap()));
    }
    let signature = long.split("Signature Algorithm: ").nth(1).unwrap().lines().next().unwrap();
    let known = [
        ("sha256WithRSAEncryption", "SHA-256 with RSA"),
        ("sha384WithRSAEncryption", "SHA-384 with RSA"),
        ("sha1WithRSAEncryption", "SHA-1 with RSA"),
        ("md5WithRSAEncryption", "MD5 with RSA"),
        ("rsassaPss", "RSASSA-PSS"),
        ("ecdsa-with-SHA256", "SHA-256 with ECDSA"),
        ("ecdsa-with-SHA384", "SHA-384 with ECDSA"),
        ("ecdsa-with-SHA1", "SHA-1 with ECDSA"),
        ("ED25519", "Ed25519"),
    ];
    let ours = known.iter().find(|(theirs, _)| *theirs == signature).unwrap_or_else(|| panic!("{signature}")).1;
    assert_eq!(certificate["signatureAlgorithm"], ours);

    // The line below the heading of an extension.
    let extension = |name: &str| -> BTreeSet<String> {
        let below = long.split(&format!("X509v3 {name}:")).nth(1).and_then(|rest| rest.lines().nth(1));
        let values = below.map(|line| line.trim().split(", ").map(str::to_owned).collect());
        values.unwrap_or_default()
    };
    let list = |name: &str| -> Vec<&str> {
        certificate[name].as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect()
    };
    let theirs: BTreeSet<String> = &extension("Key Usage") | &extension("Extended Key Usage");
    let ours: BTreeSet<String> = list("usages")
        .into_iter()
        .map(|usage| USAGES.iter().find(|(ours, _)| *ours == usage).map_or(usage, |(_, theirs)| theirs).to_owned())
        .collect();
    assert_eq!(ours, theirs);
    let sans: BTreeSet<String> = extension("Subject Alternative Name")
        .into_iter()
        .map(|san| match san.strip_prefix("IP Address:") {
            Some(address) => format!("IP Address:{}", address.parse::<IpAddr>().unwrap()),
            None => san,
        })
        .collect();
    let kinds = [("dnsNames", "DNS:"), ("ipAddresses", "IP Address:"), ("uris", "URI:"), ("emailAddresses", "email:")];
    let ours: BTreeSet<String> = kinds
        .into_iter()
        .flat_map(|(name, kind)| list(name).into_iter().map(move |value| format!("{kind}{value}")))
        .collect();
    assert_eq!(ours, sans);
    assert_eq!(!certificate["ca"].is_null(), long.contains("CA:TRUE"), "{long}");
    let most = long.split("pathlen:").nth(1).map(|rest| rest.split_whitespace().next().unwrap());
    assert_eq!(certificate["ca"]["pathLength"].as_u64().map(|most| most.to_string()).as_deref(), most);
}

type Case<'a> = (&'a str, &'a [&'a str], &'a str, &'a str, &'a [&'a str]);

#[test]
fn every_field_is_what_openssl_says() {
    let pki = Pki::new();
    let many: Vec<String> = (0..200).map(|number| format!("DNS:host-{number}.example.com")).collect();
    let many = format!("subjectAltName={}\nextendedKeyUsage=serverAuth\n", many.join(","));
    let sans = "subjectAltName=DNS:*.example.com,IP:10.0.0.1,IP:2001:db8::1,URI:spiffe://example.com/x,email:a@example.com\n\
                keyUsage=digitalSignature,keyEncipherment,nonRepudiation,keyAgreement\n\
                extendedKeyUsage=serverAuth,clientAuth,codeSigning,emailProtection,anyExtendedKeyUsage,msSGC\n";
    let p384 = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..];
    let p521 = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"][..];
    let long = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"][..];
    let deep = "basicConstraints=critical,CA:TRUE,pathlen:2\nkeyUsage=keyCertSign,cRLSign\n";
    // Name, key, subject, extensions, and what else openssl is told.
    let cases: [Case<'_>; 14] = [
        ("rsa", RSA, "/O=developers/CN=amy", CLIENT, &[]),
        ("rsa-3072", long, "/CN=amy", CLIENT, &["-sha384"]),
        ("p256", P256, "/CN=amy/O=a/O=b/OU=c", CLIENT, &[]),
        ("p384", p384, "/CN=amy", CLIENT, &["-sha384"]),
        ("p521", p521, "/CN=amy", CLIENT, &[]),
        ("ed25519", &["-algorithm", "ED25519"], "/CN=amy", CLIENT, &[]),
        ("multi", P256, "/CN=amy+O=developers/OU=x+L=y", CLIENT, &[]),
        ("utf8", P256, "/CN=zo\u{eb} \u{1f600}/O=\u{7528}\u{6237}", CLIENT, &[]),
        ("escapes", P256, "/CN=a,b\\+c\\\\d\"e<f>g;h/O=#x/O= y ", CLIENT, &[]),
        (
            "types",
            P256,
            "/C=NL/ST=x/L=y/street=z/DC=example/DC=com/emailAddress=a@example.com/UID=7/CN=amy",
            CLIENT,
            &[],
        ),
        ("many", P256, "/CN=amy", &many, &[]),
        ("sans", P256, "/CN=amy", sans, &[]),
        ("nothing", P256, "/CN=amy", "subjectKeyIdentifier=hash\n", &["-set_serial", "0"]),
        ("deep", P256, "/CN=intermediate", deep, &["-set_serial", "0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"]),
    ];
    for (name, key, subject, extensions, more) in cases {
        pki.key(name, key);
        pki.issue(name, subject, "ca", extensions, more);
        let file = format!("{name}.crt");
        let item = pki.item(&file, &[], &[&file, "ca.crt", &format!("{name}.key")]);
        agrees_with_openssl(&item["certificate"], &pki.path(&file));
        assert_eq!(item["certificate"]["signedBy"]["how"], "verified", "{name}");
        assert_eq!(item["certificate"]["privateKeys"][0], pki.path(&format!("{name}.key")).to_str().unwrap(), "{name}");
    }
    for (name, dates) in [
        ("ancient", ["19500101000000Z", "19700101000000Z"]),
        ("never", ["20260101000000Z", "99991231235959Z"]),
        ("later", ["20500101000000Z", "20510101000000Z"]),
        ("backwards", ["20300101000000Z", "20200101000000Z"]),
    ] {
        pki.issue_dated(name, "/CN=amy", dates);
        let file = format!("{name}.crt");
        agrees_with_openssl(&pki.item(&file, &[], &[&file])["certificate"], &pki.path(&file));
    }
    // What Kubernetes makes of a subject.
    let subject = &pki.item("p256.crt", &[], &["p256.crt"])["certificate"]["subject"];
    assert_eq!((&subject["commonName"], &subject["organizations"]), (&"amy".into(), &serde_json::json!(["a", "b"])));
}

#[test]
fn signatures_of_other_algorithms_are_verified_or_said_not_to_be() {
    for (key, more, how) in [
        (RSA, &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"][..], "verified"),
        (RSA, &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"], "unverified"),
        (&["-algorithm", "ED25519"][..], &[], "verified"),
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], &[], "unverified"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], &[], "unverified"),
    ] {
        let pki = Pki::new();
        pki.key("root", key);
        pki.openssl(&[
            "req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=root", "-days", "99", "-out", "root.crt",
        ]);
        pki.issue("leaf", "/CN=amy", "root", CLIENT, more);
        let item = pki.item("leaf.crt", &[], &["leaf.crt", "root.crt"]);
        assert_eq!(item["certificate"]["signedBy"]["how"], how, "{key:?} {more:?}");
        assert!(!codes(&item).contains(&"chain-invalid".to_owned()), "{item:#}");
    }
}
