//! TLS, which the API server asks of those behind it; with a certificate that nobody checks.

use std::sync::Arc;

use rcgen::{KeyPair, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Accepts TLS.
pub(super) fn acceptor() -> TlsAcceptor {
    let signed = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key: &KeyPair = &signed.signing_key;
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocols of the provider")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}
