//! Writes requests as Rust's rcgen makes them into the directory that is its argument.

use std::path::Path;

use anyhow::Context;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
};

fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).context("usage: requests DIRECTORY")?;
    let write = |name: &str, params: &CertificateParams, key: &KeyPair| -> anyhow::Result<()> {
        let path = Path::new(&directory).join(format!("rcgen-{name}.csr"));
        Ok(std::fs::write(path, params.serialize_request(key)?.pem()?)?)
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "developers");
    subject.push(DnType::OrganizationalUnitName, DnValue::PrintableString(PrintableString::try_from("payments")?));
    subject.push(DnType::CommonName, "amy");
    for (name, algorithm) in
        [("p256", &PKCS_ECDSA_P256_SHA256), ("p384", &PKCS_ECDSA_P384_SHA384), ("ed25519", &PKCS_ED25519)]
    {
        let key = KeyPair::generate_for(algorithm)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject.clone();
        write(name, &params, &key)?;
        params.subject_alt_names = vec![
            SanType::DnsName(Ia5String::try_from("vpn.example.com")?),
            SanType::DnsName(Ia5String::try_from("*.dev.example.com")?),
            SanType::IpAddress([10, 0, 0, 7].into()),
            SanType::IpAddress([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into()),
            SanType::URI(Ia5String::try_from("spiffe://example.com/ns/a/sa/b")?),
            SanType::Rfc822Name(Ia5String::try_from("amy@example.com")?),
        ];
        write(&format!("{name}-sans"), &params, &key)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        write(&format!("{name}-usages"), &params, &key)?;
    }
    Ok(())
}
