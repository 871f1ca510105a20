//! Applies any YAML, as `kubectl apply --server-side` does.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, Resource as _};
use serde_json::Value;

use crate::readiness;

/// Whether the server keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Keep,
    /// It checks, fills defaults in and answers, but keeps nothing.
    DryRun,
}

/// Applies every object of a YAML text and returns them as the server answers, in the text's order.
/// Objects without a namespace go to `namespace`. Waits until a CustomResourceDefinition is served, so that
/// the next object may be one of it; fields that the schema does not know are refused.
///
/// # Errors
/// The server's refusal of the first object that it refuses; those before it stay.
///
/// # Panics
/// When the text is not YAML, or an object has no kind or name.
pub async fn apply(
    client: &Client,
    namespace: &str,
    yaml: &str,
    mode: Mode,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    let mut answers = Vec::new();
    for document in documents.iter().filter(|document| !document.is_null()) {
        answers.push(apply_one(client, namespace, document, mode).await?);
    }
    Ok(answers)
}

async fn apply_one(
    client: &Client,
    namespace: &str,
    document: &Value,
    mode: Mode,
) -> Result<DynamicObject, kube::Error> {
    let types: TypeMeta = serde_json::from_value(document.clone()).expect("apiVersion and kind");
    let kind = GroupVersionKind::try_from(&types).expect("a group and a version");
    let name = document["metadata"]["name"].as_str().expect("a name");
    let namespace = document["metadata"]["namespace"].as_str().unwrap_or(namespace);

    let (resource, capabilities) = pinned_kind(client, &kind).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
        Scope::Cluster => Api::all_with(client.clone(), &resource),
    };
    let mut params = PatchParams::apply("udp-director-tests").force();
    params.field_validation = Some(kube::api::ValidationDirective::Strict);
    params.dry_run = mode == Mode::DryRun;
    let answer = api.patch(name, &params, &Patch::Apply(document)).await?;
    if mode == Mode::Keep && kind.kind == CustomResourceDefinition::kind(&()) {
        readiness::until(name, async || readiness::is_served(client, name).await.then_some(()), || None)
            .await;
    }
    Ok(answer)
}
