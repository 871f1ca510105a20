//! Plays the scheduler and the kubelet for the Pods of one namespace.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

/// A Pod to be created. Without more it has one container and is on the node `node`.
#[derive(Clone, Debug)]
pub struct NewPod<'a> {
    /// Its name.
    pub name: &'a str,
    /// The node that it has been scheduled to. A Pod without one goes at once when it is deleted.
    pub node: Option<&'a str>,
    /// Its labels, as pairs.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its annotations, as pairs.
    pub annotations: &'a [(&'a str, &'a str)],
    /// The ports of its container: name, number, `UDP` or `TCP`.
    pub ports: &'a [(&'a str, u16, &'a str)],
}

impl Default for NewPod<'_> {
    fn default() -> Self {
        Self { name: "pod", node: Some("node"), labels: &[], annotations: &[], ports: &[] }
    }
}

/// Writes Pods and their status. Every method returns the Pod as the server has it then.
pub struct Kubelet {
    pods: Api<Pod>,
}

impl Kubelet {
    /// The kubelet of a namespace, with the rights of `client`.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { pods: Api::namespaced(client, namespace) }
    }

    /// Creates a Pod. It is Pending and has no address.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn create(&self, pod: &NewPod<'_>) -> Result<Pod, kube::Error> {
        let ports = pod.ports.iter().map(
            |(name, number, protocol)| json!({"name": name, "containerPort": number, "protocol": protocol}),
        );
        let object = json!({
            "metadata": {"name": pod.name, "labels": map(pod.labels), "annotations": map(pod.annotations)},
            "spec": {
                "nodeName": pod.node,
                "containers": [{"name": "game", "image": "game", "ports": ports.collect::<Vec<_>>()}],
            },
        });
        let object = serde_json::from_value(object).expect("a Pod");
        self.pods.create(&PostParams::default(), &object).await
    }

    /// Lets a Pod run: Running, Ready, with its addresses (one of each family at most).
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn run(&self, name: &str, addresses: &[&str]) -> Result<Pod, kube::Error> {
        let all: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
        let mut status = json!({"phase": "Running", "podIPs": all, "conditions": ready(true)});
        if let Some(first) = addresses.first() {
            status["podIP"] = json!(first);
        }
        self.write_status(name, &status).await
    }

    /// Sets the condition Ready, and ContainersReady with it.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn set_ready(&self, name: &str, is_ready: bool) -> Result<Pod, kube::Error> {
        self.write_status(name, &json!({"conditions": ready(is_ready)})).await
    }

    /// Changes the status through its subresource: a strategic merge, where conditions go by their type.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn write_status(&self, name: &str, status: &Value) -> Result<Pod, kube::Error> {
        let patch = Patch::Strategic(json!({"status": status}));
        self.pods.patch_status(name, &PatchParams::default(), &patch).await
    }

    /// Changes anything but the status, for example labels: a JSON merge patch.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn patch(&self, name: &str, patch: &Value) -> Result<Pod, kube::Error> {
        self.pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Asks a Pod to end. It stays, Terminating, until [`Kubelet::remove`]: there is nobody to end it.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn terminate(&self, name: &str) -> Result<(), kube::Error> {
        self.pods.delete(name, &DeleteParams::default()).await.map(drop)
    }

    /// Removes a Pod now.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn remove(&self, name: &str) -> Result<(), kube::Error> {
        self.pods.delete(name, &DeleteParams::default().grace_period(0)).await.map(drop)
    }
}

fn ready(is_ready: bool) -> Value {
    let status = if is_ready { "True" } else { "False" };
    json!([{"type": "ContainersReady", "status": status}, {"type": "Ready", "status": status}])
}

fn map(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}
