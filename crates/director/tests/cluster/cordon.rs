//! A Node that is cordoned takes no new players, and loses those who are there where they may go.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use udp_director_apiserver::{ApiServer, Kubelet, NewPod};

use crate::rig::{Director, Server, pods_of, whereabouts};
use crate::{ANY, run};

#[tokio::test(flavor = "multi_thread")]
async fn cordoned_node_takes_no_new_players_and_is_left_by_those_who_may_go() {
    let server = ApiServer::shared().await;
    let namespace = server.namespace().await;
    // A ClusterRole has the account's name, and other tests have one too.
    let account = server.service_account(&namespace, "follows-nodes").await;
    let kubelet = Kubelet::new(server.admin(), &namespace);
    let nodes: Api<Node> = Api::all(server.admin());
    let node = format!("node-of-{namespace}");
    let object = serde_json::from_value(json!({"metadata": {"name": node}})).expect("a Node");
    nodes.create(&PostParams::default(), &object).await.expect("a Node");

    let (one, two) = (Server::start("one", [127, 0, 21, 1]), Server::start("two", [127, 0, 21, 2]));
    let config = pods_of(&namespace, "", ", followNodes: true, whenLost: migrate");
    let director = Director::start(server, &account, &config).await;
    let ports = [("game", one.port, "UDP")];
    let on_node = NewPod { name: "one", node: Some(&node), ports: &ports, ..NewPod::default() };
    kubelet.create(&on_node).await.expect("a Pod");
    kubelet.run("one", &[&one.address.to_string()]).await.expect("its status");
    let player = director.player(ANY).await;
    assert_eq!(whereabouts(&player).await, "one");

    let cordon = async |unschedulable: bool| {
        let patch = Patch::Merge(json!({"spec": {"unschedulable": unschedulable}}));
        nodes.patch(&node, &PatchParams::default(), &patch).await.expect("it is cordoned or not");
    };
    cordon(true).await;
    director.until_no_match(ANY).await;
    assert_eq!(whereabouts(&player).await, "one", "he has nowhere to go");
    cordon(false).await;
    director.token(ANY).await;
    run(&kubelet, "two", &[], &two).await;
    cordon(true).await;
    director.until("he is moved", async || whereabouts(&player).await == "two").await;
    nodes.delete(&node, &DeleteParams::default()).await.expect("the Node goes");
}
