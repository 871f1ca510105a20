//! Plays Agones: its GameServer resource, and the objects of one namespace.

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::apply::{Mode, apply};

/// Writes the GameServers of one namespace. Every method returns the object as the server has it then.
pub struct GameServers {
    api: Api<DynamicObject>,
}

impl GameServers {
    /// The definition of the resource, `gameservers.agones.dev`, reduced to what UDP Director reads.
    pub const DEFINITION: &'static str = include_str!("../objects/gameserver.yaml");

    /// Installs the resource where it is missing, and waits until it is served.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn install(client: &Client, namespace: &str) -> Result<Self, kube::Error> {
        apply(client, namespace, Self::DEFINITION, Mode::Keep).await?;
        Ok(Self { api: Api::namespaced_with(client.clone(), namespace, &Self::resource()) })
    }

    /// The resource, for clients of a test's own.
    pub fn resource() -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("agones.dev", "v1", "GameServer"),
            "gameservers",
        )
    }

    /// Creates a GameServer with these `metadata` (labels, annotations; may be `{}`) and `status`, as in
    /// `{"state": "Ready", "address": "10.1.2.3", "ports": [{"name": "default", "port": 7777}]}`, or changes
    /// it to them. Applying keeps what [`GameServers::patch`] has set, and fields that are left out go.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn write(
        &self,
        name: &str,
        metadata: &Value,
        status: &Value,
    ) -> Result<DynamicObject, kube::Error> {
        let mut object = json!({
            "apiVersion": "agones.dev/v1", "kind": "GameServer", "metadata": metadata, "status": status,
            "spec": {"ports": [{"name": "default", "containerPort": 7777, "protocol": "UDP"}]},
        });
        object["metadata"]["name"] = json!(name);
        let params = PatchParams::apply("udp-director-tests").force();
        self.api.patch(name, &params, &Patch::Apply(object)).await
    }

    /// Changes part of a GameServer: a JSON merge patch, as in `{"status": {"state": "Allocated"}}`.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<DynamicObject, kube::Error> {
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Removes a GameServer; one with finalizers stays, with a time of deletion, until they are gone.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn remove(&self, name: &str) -> Result<(), kube::Error> {
        self.api.delete(name, &DeleteParams::default()).await.map(drop)
    }
}
