//! The way to the API server.

use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, KubeconfigError};
use kube::{Client, Config};

/// Why there is no way to an API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not in a Pod, and no usable kubeconfig.
    #[error(
        "this is no Pod with a service account ({in_cluster}), and there is no kubeconfig ({kubeconfig})"
    )]
    NoConfig {
        /// What a Pod would have and is missing.
        in_cluster: InClusterError,
        /// What is wrong with the kubeconfig.
        kubeconfig: Box<KubeconfigError>,
    },
    /// The credentials or certificates cannot be used.
    #[error("the Kubernetes client cannot be built: {0}")]
    Client(#[from] Box<kube::Error>),
}

/// A client by the Pod's service account, else by the kubeconfig (`KUBECONFIG`, or the default path).
/// Does not call the API server yet.
///
/// # Errors
/// Says what is missing for either way.
pub async fn client() -> Result<Client, ClientError> {
    let config = match Config::incluster() {
        Ok(config) => config,
        Err(in_cluster) => Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .map_err(|kubeconfig| ClientError::NoConfig { in_cluster, kubeconfig: Box::new(kubeconfig) })?,
    };
    of_config(config)
}

/// A client that leaves retries to the followers, which know what to retry and when.
pub(super) fn of_config(mut config: Config) -> Result<Client, ClientError> {
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ClientError::Client(Box::new(error)))
}

const CONNECT: Duration = Duration::from_secs(5);
