//! Keys, certificates and tokens of one server, as files in its folder.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use pem::Pem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _};

/// What the server is started with, and what a client needs to trust it.
pub(crate) struct Credentials {
    /// The certificate of the authority that signed the server's, in PEM.
    pub(crate) ca: PathBuf,
    /// The same in DER.
    pub(crate) ca_der: Vec<u8>,
    /// The server's certificate and key, in PEM.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The key that signs tokens of service accounts, and the one that checks them, in PEM.
    pub(crate) account_key: PathBuf,
    pub(crate) account_public_key: PathBuf,
    /// Tokens with their users, as `--token-auth-file` takes them.
    pub(crate) tokens: PathBuf,
}

/// The token of a user who may do everything. It opens a server on loopback that lives for one test.
pub(crate) const ADMIN_TOKEN: &str = "admin-of-this-test";

impl Credentials {
    /// Makes credentials for a server at `address` and writes them into `folder`.
    pub(crate) fn create(folder: &Path, address: IpAddr) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, new_key()).expect("a valid request");
        let names = vec![address.to_string(), "localhost".to_owned(), "kubernetes.default.svc".to_owned()];
        let key = new_key();
        let server = CertificateParams::new(names).expect("valid names");
        let server = server.signed_by(&key, &authority).expect("a valid request");

        let account_key = new_key();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a writable folder");
            path
        };
        Self {
            ca: write("ca.crt", &pem("CERTIFICATE", authority.der())),
            ca_der: authority.der().to_vec(),
            certificate: write("server.crt", &pem("CERTIFICATE", server.der())),
            key: write("server.key", &pem("PRIVATE KEY", key.serialized_der())),
            account_key: write("accounts.key", &pem("PRIVATE KEY", account_key.serialized_der())),
            account_public_key: write(
                "accounts.pub",
                &pem("PUBLIC KEY", &account_key.subject_public_key_info()),
            ),
            tokens: write("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,system:masters\n")),
        }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("random numbers")
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&Pem::new(tag, der))
}
