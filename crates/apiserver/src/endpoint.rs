//! How clients reach the server: its address, what they trust, and files that say so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};

/// A server's address with the authority that signed its certificate.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// The authority's certificate, as a PEM file and in DER.
    pub(crate) ca: PathBuf,
    pub(crate) ca_der: Vec<u8>,
}

impl Endpoint {
    /// Where the server is, for a browser or a client.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A client that authenticates as `user` says: an object like those under `users` in a kubeconfig.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn client(&self, user: Value) -> Client {
        let user: AuthInfo = serde_json::from_value(user).expect("a user of a kubeconfig");
        let mut config = Config::new(self.url().parse().expect("a URL"));
        config.root_cert = Some(vec![self.ca_der.clone()]);
        config.auth_info = user;
        Client::try_from(config).expect("a valid configuration")
    }

    /// The text of a kubeconfig with one user, whose token stands in a file.
    pub(crate) fn kubeconfig(&self, namespace: &str, token_file: &Path) -> String {
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url(), "certificate-authority": self.ca}}],
            "users": [{"name": "test", "user": {"tokenFile": token_file}}],
            "contexts": [{"name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        });
        document.to_string()
    }
}
