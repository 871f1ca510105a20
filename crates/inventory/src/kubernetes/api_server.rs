//! Where the API server itself listens: no backend can be there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::backoff::{Backoff, jittered};
use std::time::Duration;

/// Tells what addresses the API server has, as soon as it can be asked: those that it names itself, and
/// that of the `kubernetes` Service, which every Pod finds in its environment.
pub(super) async fn ask(client: Client, told: watch::Sender<Option<Arc<[IpAddr]>>>) {
    let mut backoff = Backoff::default();
    let named = loop {
        match timeout(ANSWER, client.list_core_api_versions()).await {
            Ok(Ok(versions)) => {
                let named = versions.server_address_by_client_cidrs;
                break named.into_iter().map(|entry| entry.server_address).collect();
            }
            // It does not tell; it has answered.
            Ok(Err(Error::Api(_) | Error::SerdeError(_))) => break Vec::new(),
            Ok(Err(_)) => sleep(backoff.after_failure()).await,
            Err(_) => sleep(jittered(ANSWER)).await,
        }
    };
    let of_service = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let addresses = named.iter().chain(&of_service).filter_map(|text| address(text));
    told.send_replace(Some(addresses.collect()));
}

/// The address in `address`, `address:port` or `[address]:port`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let address = bare.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

const ANSWER: Duration = Duration::from_secs(5);
