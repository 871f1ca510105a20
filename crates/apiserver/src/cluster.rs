//! Plays the controllers that write Nodes, Services and EndpointSlices.

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Writes Nodes. They are the cluster's: tests that share a server give theirs names of their own.
pub struct Nodes {
    api: Api<Node>,
}

impl Nodes {
    /// All nodes, with the rights of `client`.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }

    /// Creates a node with its addresses: pairs of a type (`InternalIP`, `ExternalIP`, `Hostname`) and the
    /// address.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn create(&self, name: &str, addresses: &[(&str, &str)]) -> Result<Node, kube::Error> {
        let node = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a Node");
        self.api.create(&PostParams::default(), &node).await?;
        self.set_addresses(name, addresses).await
    }

    /// Puts other addresses in the place of those that a node has.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_addresses(&self, name: &str, addresses: &[(&str, &str)]) -> Result<Node, kube::Error> {
        let addresses = addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address}));
        let status = json!({"status": {"addresses": addresses.collect::<Vec<_>>()}});
        self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await
    }

    /// Removes a node.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn remove(&self, name: &str) -> Result<(), kube::Error> {
        self.api.delete(name, &DeleteParams::default()).await.map(drop)
    }
}

/// Writes the Services and EndpointSlices of one namespace.
pub struct Services {
    services: Api<Service>,
    slices: Api<EndpointSlice>,
}

impl Services {
    /// The services of a namespace, with the rights of `client`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            services: Api::namespaced(client.clone(), namespace),
            slices: Api::namespaced(client, namespace),
        }
    }

    /// Creates a service, or changes it to this `spec`.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn write(&self, name: &str, spec: &Value) -> Result<Service, kube::Error> {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
        self.services.patch(name, &as_controller(), &Patch::Apply(object)).await
    }

    /// Gives a service of type LoadBalancer the addresses that it is reached at.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_load_balancer(&self, name: &str, addresses: &[&str]) -> Result<Service, kube::Error> {
        let ingress: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        self.services.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await
    }

    /// Creates an EndpointSlice of the service, or changes it to this content: `endpoints` and `ports`, as
    /// in `discovery.k8s.io/v1`. Addresses are IPv4 unless `addressType` in it says otherwise; the server
    /// refuses those in 127.0.0.0/8.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn write_slice(
        &self,
        name: &str,
        service: &str,
        content: &Value,
    ) -> Result<EndpointSlice, kube::Error> {
        let mut object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
        });
        for (key, value) in content.as_object().expect("an object") {
            object[key] = value.clone();
        }
        self.slices.patch(name, &as_controller(), &Patch::Apply(object)).await
    }

    /// Removes an EndpointSlice.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn remove_slice(&self, name: &str) -> Result<(), kube::Error> {
        self.slices.delete(name, &DeleteParams::default()).await.map(drop)
    }

    /// Removes a service. Its EndpointSlices stay.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn remove(&self, name: &str) -> Result<(), kube::Error> {
        self.services.delete(name, &DeleteParams::default()).await.map(drop)
    }
}

fn as_controller() -> PatchParams {
    PatchParams::apply("udp-director-tests").force()
}
