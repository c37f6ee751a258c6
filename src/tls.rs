//! TLS to PostgreSQL: one configuration, by rustls, for the connection that replicates and for every
//! other one. Sockets are not here but for the handshake of the former (`handshake`).

mod certificate;
mod clear_text;
mod error;
mod handshake;
mod make;
mod verifier;

use std::path::Path;
use std::sync::Arc;

use replication::{ConnectInfo, Host, Roots, Tls, Verify};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

pub(crate) use certificate::server_end_point;
pub(crate) use clear_text::NeverClearText;
pub(crate) use error::TlsError;
pub(crate) use handshake::handshake;
pub(crate) use make::MakeTls;
use verifier::Verifier;

/// The protocol's name in a handshake (ALPN). Servers before 17 ignore it; from 17 on, who begins with
/// TLS directly has to say it.
const PROTOCOL: &[u8] = b"postgresql";

/// How TLS is spoken with one server.
#[derive(Clone)]
pub(crate) struct ServerTls {
    config: Arc<ClientConfig>,
    /// The name that the certificate is to have, and that is said at the beginning (SNI).
    name: ServerName<'static>,
    /// Whether it begins at once, without asking for it.
    direct: bool,
}

impl ServerTls {
    /// Reads the roots and makes a configuration; `None` where the connection has no TLS. May read
    /// files, every time, so that roots that were renewed count from the next connection on.
    ///
    /// # Errors
    ///
    /// Where the roots cannot be had, or the host cannot be named in a handshake.
    pub(crate) fn new(info: &ConnectInfo) -> Result<Option<Self>, TlsError> {
        let (
            Tls::On {
                verify,
                roots,
                direct,
            },
            Host::Tcp(host),
        ) = (&info.tls, &info.host)
        else {
            return Ok(None);
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| TlsError::Name)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let (store, named) = match (verify, roots) {
            (Verify::Nothing, _) => (RootCertStore::empty(), Vec::new()),
            (_, Roots::System) => (system_roots()?, Vec::new()),
            (_, Roots::File(path)) => roots_of(path)?,
        };
        let verifier = Verifier::new(*verify, store, named, algorithms);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks every version of TLS that rustls does")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Some(Self {
            config: Arc::new(config),
            name,
            direct: *direct,
        }))
    }
}

/// TLS as a client of whoever has a certificate of the system's authorities; without any, of nobody.
/// Reads files.
pub(crate) fn system_client() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = system_roots().unwrap_or_else(|_| RootCertStore::empty());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs speaks every version of TLS that rustls does")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // What one of them is not is no reason not to trust the others.
    store.add_parsable_certificates(found.certs);
    match store.is_empty() {
        true => Err(TlsError::NoSystemRoots),
        false => Ok(store),
    }
}

/// The authorities of a file, and every certificate in it as it stands.
fn roots_of(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let unreadable = |why: String| TlsError::Roots {
        path: path.to_owned(),
        why,
    };
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let named = read().map_err(|error| unreadable(error.to_string()))?;
    let mut store = RootCertStore::empty();
    for certificate in &named {
        let added = store.add(certificate.clone());
        added.map_err(|error| unreadable(error.to_string()))?;
    }
    match named.is_empty() {
        true => Err(unreadable("there is no certificate in it".to_owned())),
        false => Ok((store, named)),
    }
}
