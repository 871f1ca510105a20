//! Service accounts with real tokens, and the files that a process in a Pod would have of them.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::endpoint::Endpoint;

/// A service account of a test. RBAC grants it nothing but what every account may do, until the test does.
pub struct Account {
    /// A client with the account's rights.
    pub client: Client,
    /// The name that RBAC and the audit log know it by, `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// A kubeconfig in JSON (which is YAML) that names the two files below, for `KUBECONFIG`.
    pub kubeconfig: PathBuf,
    /// The token, valid for an hour. Asking for the account once more puts a new one in its place.
    pub token_file: PathBuf,
    /// The certificate of the authority that signed the server's, in PEM.
    pub ca_file: PathBuf,
}

/// Creates the account where it is missing, asks for a token, and writes the files into `folder`.
pub(crate) async fn create(
    admin: Client,
    endpoint: &Endpoint,
    folder: &Path,
    (namespace, name): (&str, &str),
) -> Result<Account, kube::Error> {
    let accounts = Api::<ServiceAccount>::namespaced(admin, namespace);
    let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    accounts.patch(name, &PatchParams::apply("udp-director-tests"), &Patch::Apply(&object)).await?;
    let token = accounts.create_token_request(name, &PostParams::default(), &an_hour()).await?;
    let token = token.status.expect("an answer has a status").token;

    let folder = folder.join(format!("accounts/{namespace}/{name}"));
    fs::create_dir_all(&folder).expect("a writable folder");
    let token_file = replace(&folder.join("token"), &token);
    let kubeconfig = replace(&folder.join("kubeconfig"), &endpoint.kubeconfig(namespace, &token_file));
    Ok(Account {
        client: endpoint.client(user_of(&token_file)),
        user: format!("system:serviceaccount:{namespace}:{name}"),
        kubeconfig,
        token_file,
        ca_file: endpoint.ca.clone(),
    })
}

fn an_hour() -> TokenRequest {
    serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}})).expect("a request")
}

fn user_of(token_file: &Path) -> Value {
    json!({"tokenFile": token_file})
}

/// Writes a file in one step, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> PathBuf {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a writable folder");
    fs::rename(&new, path).expect("a file in the same folder");
    path.to_owned()
}
