//! TLS to and from the API server, with the certificates of one run.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

/// Makes TLS connections to the API server at `port`.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    port: u16,
}

impl Connector {
    /// Trusts `ca.crt` of `directory`; `identity` names the client certificate, if there is to be one.
    pub(crate) fn new(directory: &Path, port: u16, identity: Option<&str>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(directory.join("ca.crt"))? {
            roots.add(certificate?)?;
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = identity_of(directory, name)?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), port })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(ServerName::try_from("localhost")?, stream).await?)
    }
}

/// Answers as the API server does: with the certificate `server.crt` of `directory`, and HTTP/1.1.
pub(crate) fn acceptor(directory: &Path) -> anyhow::Result<TlsAcceptor> {
    let (chain, key) = identity_of(directory, "server")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn identity_of(directory: &Path, name: &str) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(directory.join(format!("{name}.crt")))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key")))
        .with_context(|| format!("the key of {name}"))?;
    Ok((chain, key))
}
