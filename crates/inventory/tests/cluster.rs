//! The live inventory on a real API server.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::json;
use tokio::time::timeout;
use udp_director_apiserver::{ApiServer, Kubelet, NewPod};
use udp_director_core::Inventory;
use udp_director_inventory::kubernetes::Cluster;
use udp_director_inventory::{Mapping, PortSource, PortsSource, Targets};

/// A cluster that is followed, and the inventory that it gave last.
struct Rig {
    cluster: Cluster,
    inventory: Inventory,
    kubelet: Kubelet,
}

impl Rig {
    fn new(client: Client, namespace: &str) -> Rig {
        let mapping = Mapping {
            resource_type: "lobby".into(),
            group: String::new(),
            version: "v1".into(),
            resource: "pods".into(),
            namespaces: vec![namespace.to_owned()],
            address_path: None,
            address_type: None,
            ports: PortsSource::One(PortSource::Name("game".into())),
            service: None,
            ready_when: Vec::new(),
            trust_addresses: false,
            follow_nodes: false,
            capacity: None,
        };
        let cluster = Cluster::follow(client.clone(), vec![mapping], Targets::default());
        Rig { cluster, inventory: Inventory::default(), kubelet: Kubelet::new(client, namespace) }
    }

    /// A Pod that runs on that address.
    async fn run(&self, name: &str, address: &str) {
        let pod = NewPod { name, ports: &[("game", 7777, "UDP")], ..NewPod::default() };
        self.kubelet.create(&pod).await.expect("a Pod");
        self.kubelet.run(name, &[address]).await.expect("a running Pod");
    }

    /// Assembles what is known until these are the backends: name, address, and `-` if it takes nobody.
    async fn until(&mut self, expected: &[&str]) -> Duration {
        let begun = Instant::now();
        let wait = timeout(Duration::from_secs(60), async {
            while self.shown() != expected {
                self.cluster.changed().await;
                self.inventory = self.cluster.view().assemble(&self.inventory);
            }
        });
        let outcome = wait.await;
        assert!(outcome.is_ok(), "{expected:?}, not {:?}; {:?}", self.shown(), self.cluster.status());
        begun.elapsed()
    }

    fn shown(&self) -> Vec<String> {
        let backends = self.inventory.backends().iter().map(|backend| &backend.spec);
        let sign = |accepting| if accepting { "" } else { "-" };
        backends.map(|spec| format!("{}{} {}", sign(spec.accepting()), spec.name, spec.address)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_appear_change_terminate_go_and_come_back() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    let mut rig = Rig::new(server.admin(), &namespace);
    rig.run("a", "10.1.0.1").await;
    rig.until(&["a 10.1.0.1"]).await;
    let first = rig.inventory.backends()[0].spec.id.clone();
    rig.kubelet.set_ready("a", false).await.expect("a status");
    rig.until(&["-a 10.1.0.1"]).await;
    rig.kubelet.set_ready("a", true).await.expect("a status");
    rig.until(&["a 10.1.0.1"]).await;
    let draining = json!({"metadata": {"labels": {"udp-director.io/draining": "true"}}});
    rig.kubelet.patch("a", &draining).await.expect("a label");
    rig.until(&["-a 10.1.0.1"]).await;
    rig.kubelet.terminate("a").await.expect("a deletion");
    rig.kubelet.remove("a").await.expect("a deletion");
    rig.until(&[]).await;
    rig.run("a", "10.1.0.1").await;
    rig.until(&["a 10.1.0.1"]).await;
    assert_ne!(rig.inventory.backends()[0].spec.id, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_and_an_older_storage_are_got_over() {
    let mut server = ApiServer::start().await;
    let namespace = server.namespace().await;
    let mut rig = Rig::new(server.admin(), &namespace);
    rig.run("old", "10.1.0.1").await;
    rig.until(&["old 10.1.0.1"]).await;
    for _ in 0..2 {
        server.kill();
        server.start_again().await;
        rig.run("new", "10.1.0.2").await;
        let took = rig.until(&["new 10.1.0.2", "old 10.1.0.1"]).await;
        assert!(took < Duration::from_secs(2), "{took:?}: {:?}", rig.cluster.status());
        rig.kubelet.remove("new").await.expect("a deletion");
        rig.until(&["old 10.1.0.1"]).await;
    }
    server.stop().await;
    let snapshot = server.snapshot();
    server.start_again().await;
    for name in ["x", "y"] {
        rig.run(name, "10.1.0.3").await;
    }
    rig.until(&["old 10.1.0.1", "x 10.1.0.3", "y 10.1.0.3"]).await;
    server.stop().await;
    server.restore(&snapshot);
    server.start_again().await;
    let took = rig.until(&["old 10.1.0.1"]).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
}
