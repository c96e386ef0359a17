//! The certificates of one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate authority in a directory of its own.
#[derive(Debug)]
pub(crate) struct Pki {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        fs::write(directory.join("ca.crt"), params.self_signed(&key)?.pem())?;
        fs::write(directory.join("ca.key"), key.serialize_pem())?;
        // Service account tokens are signed with a key of their own.
        let tokens = KeyPair::generate()?;
        fs::write(directory.join("sa.key"), tokens.serialize_pem())?;
        fs::write(directory.join("sa.pub"), tokens.public_key_pem())?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(params, key) })
    }

    pub(crate) fn server(&self, name: &str) -> anyhow::Result<()> {
        let names = ["localhost", "127.0.0.1", "kubernetes.default.svc", "10.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, params, "kube-apiserver", &[])
    }

    /// A client certificate of `user`, in the files `NAME.crt` and `NAME.key`; for ever unless it has an end.
    pub(crate) fn client(
        &self,
        name: &str,
        user: &str,
        groups: &[&str],
        end: Option<SystemTime>,
    ) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(end) = end {
            params.not_after = end.into();
        }
        self.issue(name, params, user, groups)
    }

    fn issue(&self, name: &str, mut params: CertificateParams, user: &str, groups: &[&str]) -> anyhow::Result<()> {
        params.distinguished_name.push(DnType::CommonName, user);
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.directory.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(self.directory.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }
}
