//! Waits until the server serves everything, watches of custom resources included.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client};

/// The longest that a start, or a change in what is served, may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `attempt` gives a value; `lost` says early that there is no hope.
///
/// # Panics
/// When that takes longer than [`LIMIT`], or with what `lost` says.
pub(crate) async fn until<T>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
    mut lost: impl FnMut() -> Option<String>,
) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        if let Some(why) = lost() {
            panic!("{what}: {why}");
        }
        assert!(Instant::now() < deadline, "{what}: not after {LIMIT:?}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// True once `/readyz` is ok and every established custom resource can be watched: for a while after the
/// first, such watches get 429 "storage is (re)initializing".
pub(crate) async fn is_ready(client: &Client) -> bool {
    if !is_success(client, "/readyz").await {
        return false;
    }
    let Ok(list) = Api::<CustomResourceDefinition>::all(client.clone()).list(&ListParams::default()).await
    else {
        return false;
    };
    for resource in list.items.iter().filter(|resource| is_established(resource)) {
        if !can_be_watched(client, resource).await {
            return false;
        }
    }
    true
}

/// True when the custom resource of this name, `PLURAL.GROUP`, is served and can be watched.
pub(crate) async fn is_served(client: &Client, name: &str) -> bool {
    let found = Api::<CustomResourceDefinition>::all(client.clone()).get_opt(name).await;
    match found {
        Ok(Some(resource)) => is_established(&resource) && can_be_watched(client, &resource).await,
        _ => false,
    }
}

fn is_established(resource: &CustomResourceDefinition) -> bool {
    let conditions = resource.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

async fn can_be_watched(client: &Client, resource: &CustomResourceDefinition) -> bool {
    let (group, plural) = (&resource.spec.group, &resource.spec.names.plural);
    for version in resource.spec.versions.iter().filter(|version| version.served) {
        let path = format!("/apis/{group}/{}/{plural}?watch=1&timeoutSeconds=1", version.name);
        if !is_success(client, &path).await {
            return false;
        }
    }
    true
}

/// True when the answer to a GET begins with a status of success. The rest is not waited for.
async fn is_success(client: &Client, path: &str) -> bool {
    let request = http_get(path).map(Body::from);
    client.send(request).await.is_ok_and(|response| response.status().is_success())
}

/// A GET request as [`Client::request_text`] takes it.
pub(crate) fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("a valid path")
}
