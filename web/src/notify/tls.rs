//! TLS with rustls and the roots of Mozilla, or those of `SSL_CERT_FILE`.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Shakes hands; the name in the certificate must be that of the address.
pub async fn handshake(stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(config).clone()?;
    let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
    let name = name.map_err(|_| "no certificate can have this name".to_owned())?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    secured.map_err(|error| match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => format!("its certificate {}", words(why)),
        _ => "the TLS handshake failed".to_owned(),
    })
}

fn words(why: &CertificateError) -> &'static str {
    use CertificateError as E;
    match why {
        E::Expired | E::ExpiredContext { .. } => "has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "is not valid yet",
        E::NotValidForName | E::NotValidForNameContext { .. } => "is for another name",
        E::UnknownIssuer => "is of an issuer that is not trusted; SSL_CERT_FILE names others to trust",
        E::Revoked => "was revoked",
        _ => "is not accepted",
    }
}

fn config() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match std::env::var_os("SSL_CERT_FILE") {
        Some(file) => {
            let unreadable = "the certificates of SSL_CERT_FILE cannot be read";
            let found = CertificateDer::pem_file_iter(file).map_err(|_| unreadable)?;
            let (added, _) = roots.add_parsable_certificates(found.filter_map(Result::ok));
            if added == 0 {
                return Err(unreadable.to_owned());
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|_| "TLS cannot be set up".to_owned())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
