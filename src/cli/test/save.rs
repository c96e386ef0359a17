//! Requests that tests make, as manifests to file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::request::Envelope;

/// Where they are written.
#[derive(Debug)]
pub(super) struct Save {
    directory: PathBuf,
    /// The names of the files of this run.
    written: BTreeSet<String>,
}

impl Save {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, written: BTreeSet::new() }
    }

    /// Writes the request as a manifest, under the name of the test; the directory is made if it is not there.
    pub(super) fn request(&mut self, envelope: &Envelope, pem: &str) -> Result<(), String> {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = envelope.name.chars().map(word).collect();
        let name = name.trim_matches('-');
        let path = self.directory.join(format!("{name}.json"));
        let shown = path.display();
        if !self.written.insert(name.to_owned()) {
            return Err(format!("{shown} is written by another test already: give one of them another name"));
        }
        let manifest = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": { "name": name },
            "spec": {
                "request": STANDARD.encode(pem),
                "signerName": envelope.signer_name,
                "usages": envelope.usages,
                "expirationSeconds": envelope.expiration_seconds,
                // The API server writes these over with whoever files it.
                "username": envelope.username,
                "uid": envelope.user_uid,
                "groups": envelope.groups,
                "extra": envelope.extra,
            },
        });
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| std::fs::write(&path, format!("{manifest:#}\n")))
            .map_err(|error| format!("cannot write {shown}: {error}"))
    }
}
