//! Every example of `examples/kubernetes`, with its own configuration and objects: a player gets where
//! the example says that he gets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use udp_director_apiserver::{Agones, GameServers, Kubelet, Mode, apply};
use udp_director_client::Session;

use crate::namespace;
use crate::rig::{Director, Server, free_port, whereabouts};

const CANYON: &str = r#"{"resourceType": "gameserver", "labelSelector": {"map": "canyon"}}"#;
const HARBOR: &str = r#"{"resourceType": "gameserver", "labelSelector": {"map": "harbor"}}"#;

/// A director with an example's configuration, in a cluster with its objects.
struct Example {
    director: Director,
    /// The data ports that stand for those of the configuration.
    ports: BTreeMap<u16, u16>,
}

impl Example {
    /// `swaps` are the texts of the objects that have to be others here.
    async fn start(name: &str, swaps: &[(&str, &str)]) -> Example {
        let (server, namespace, account, kubelet) = namespace().await;
        let (config, ports) = config(name, &namespace);
        GameServers::install(&server.admin(), &namespace).await.expect("the resource");
        let director = Director::start(server, &account, &config).await;
        for object in objects(name, swaps) {
            let text = object.to_string();
            apply(&server.admin(), &namespace, &text, Mode::Keep).await.expect("an object");
            if object["kind"] == "Pod" {
                run(&kubelet, &object).await;
            }
        }
        Example { director, ports }
    }

    fn data(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[&port]).into()
    }

    /// Where a player gets by a token for what is asked for.
    async fn by_token(&self, document: &str, port: u16) -> String {
        let token = self.director.token(document).await;
        whereabouts(&Session::connect(self.data(port), token).await.expect("a session")).await
    }

    /// Where a player gets who sends nothing but his own datagrams, as soon as he gets anywhere.
    async fn by_default(&self, port: u16) -> String {
        let mut answer = String::new();
        self.director
            .until("somebody answers", async || {
                answer = ask(self.data(port)).await.unwrap_or_default();
                !answer.is_empty()
            })
            .await;
        answer
    }
}

/// The example's configuration with the test's ports and namespace, and which ports stand for which.
fn config(name: &str, namespace: &str) -> (String, BTreeMap<u16, u16>) {
    let mut config: Value = serde_saphyr::from_str(&text(name, "config.yaml")).expect("YAML");
    let mut ports = BTreeMap::new();
    let mut other = |port: &Value| {
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        *ports.entry(port).or_insert_with(free_port)
    };
    if config["dataPort"].is_number() {
        config["dataPorts"] = json!([{"name": "default", "port": config["dataPort"], "protocol": "udp"}]);
    }
    for port in config["dataPorts"].as_array_mut().expect("data ports") {
        port["port"] = json!(other(&port["port"]));
    }
    for mapping in config["resourceQueryMapping"].as_object_mut().expect("mappings").values_mut() {
        mapping["namespaces"] = json!([namespace]);
    }
    config["allowedTargetCidrs"] = json!(["127.0.0.0/8"]);
    let keys = config.as_object().expect("keys").iter();
    let own =
        keys.filter(|(key, _)| !["queryPort", "adminPort", "dataPort", "journal"].contains(&key.as_str()));
    (own.map(|(key, value)| format!("{key}: {value}\n")).collect(), ports)
}

/// The example's objects, in the test's namespace, with Pods that have loopback addresses.
fn objects(name: &str, swaps: &[(&str, &str)]) -> Vec<Value> {
    let mut text = text(name, "objects.yaml");
    for (from, to) in swaps {
        text = text.replace(from, to);
    }
    text = text.replace("10.244.1.", "127.244.1.");
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        metadata.remove("namespace");
        metadata.remove("uid");
    }
    objects
}

fn text(example: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kubernetes");
    std::fs::read_to_string(folder.join(example).join(file)).expect("a file of the example")
}

async fn run(kubelet: &Kubelet, pod: &Value) {
    let name = pod["metadata"]["name"].as_str().expect("a name");
    kubelet.write_status(name, &pod["status"]).await.expect("its status");
}

/// A game server where an example's Pod is.
fn pod(name: &'static str, last: u8, port: u16) -> Server {
    Server::start_at(name, Ipv4Addr::new(127, 244, 1, last), port)
}

/// A TCP server that says its name to everybody who has said something.
fn tcp_server(name: &'static str, address: Ipv4Addr, port: u16) {
    let listener = TcpListener::bind((address, port)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(name.as_bytes()).await;
        }
    });
}

async fn ask(director: SocketAddr) -> Option<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.set_nonblocking(true).ok()?;
    let socket = tokio::net::UdpSocket::from_std(socket).ok()?;
    socket.send_to(b"where am I?", director).await.ok()?;
    let mut buf = [0; 64];
    let answer = tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut buf)).await;
    Some(String::from_utf8_lossy(&buf[..answer.ok()?.ok()?]).into_owned())
}

async fn ask_by_tcp(director: SocketAddr, first: &str) -> String {
    let mut stream = TcpStream::connect(director).await.expect("a data port");
    stream.write_all(first.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// The address that this machine has beside loopback: EndpointSlices take no loopback address.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.connect("192.0.2.1:9").expect("this test needs a network interface with an IPv4 route");
    match socket.local_addr().expect("a connected socket") {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(_) => unreachable!("bound to IPv4"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_port_pods_are_told_apart_by_their_labels() {
    let _pods = [pod("arena-1", 11, 7000), pod("arena-2", 12, 7000)];
    let example = Example::start("single-port-pods", &[]).await;
    assert_eq!(example.by_token(CANYON, 7777).await, "arena-1");
    assert_eq!(example.by_token(HARBOR, 7777).await, "arena-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_opens_every_port_of_multi_port_pods() {
    let _pod = [pod("game", 21, 7000), pod("voice", 21, 7002)];
    tcp_server("console", Ipv4Addr::new(127, 244, 1, 21), 7001);
    let example = Example::start("multi-port-pods", &[]).await;
    let token = example.director.token(CANYON).await;
    for (port, name) in [(7777, "game"), (7778, "voice")] {
        let player = Session::connect(example.data(port), token).await.expect("a session");
        assert_eq!(whereabouts(&player).await, name);
    }
    let first = format!("{}\nwho?", String::from_utf8_lossy(token.as_bytes()));
    assert_eq!(ask_by_tcp(example.data(7777), &first).await, "console");
}

#[tokio::test(flavor = "multi_thread")]
async fn agones_game_servers_are_reached_on_their_pods() {
    let _pods = [pod("arena-1", 31, 7654), pod("arena-2", 32, 7654)];
    let example = Example::start("agones-gameservers", &[]).await;
    assert_eq!(example.by_token(CANYON, 7777).await, "arena-1");
    assert_eq!(example.by_token(HARBOR, 7777).await, "arena-2", "an allocated one takes players too");
}

#[tokio::test(flavor = "multi_thread")]
async fn agones_game_servers_are_allocated_for_those_who_ask() {
    Agones::shared().await;
    let _pods = [pod("arena-1", 71, 7654), pod("arena-2", 72, 7654)];
    let example = Example::start("agones-allocation", &[]).await;
    assert_eq!(example.by_token(HARBOR, 7777).await, "arena-2", "it was allocated before and has room");
    assert_eq!(example.by_token(CANYON, 7777).await, "arena-1", "it is allocated now");
    let second = example.director.query(CANYON).await;
    assert!(second["token"].is_string(), "and takes three more: {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agones_game_servers_are_reached_through_their_services() {
    let server = Server::start_at("arena-1", own_address(), 0);
    let (address, port) = (server.address.to_string(), server.port.to_string());
    let swaps = [("10.244.1.41", address.as_str()), ("7654", &port)];
    let example = Example::start("agones-services", &swaps).await;
    assert_eq!(example.by_token(CANYON, 7777).await, "arena-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_and_ntp_are_reached_without_a_token() {
    let _pods = [pod("dns", 51, 7353), pod("ntp", 52, 1123)];
    tcp_server("dns over tcp", Ipv4Addr::new(127, 244, 1, 51), 7353);
    // 5353 is often taken on all addresses, by mDNS.
    let example = Example::start("dns-and-ntp", &[("5353", "7353")]).await;
    assert_eq!(example.by_default(5300).await, "dns");
    assert_eq!(example.by_default(5123).await, "ntp");
    assert_eq!(ask_by_tcp(example.data(5300), "who?").await, "dns over tcp");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_pod_gets_nobody_and_the_build_is_chosen_by_annotation() {
    let _pods = [pod("arena-1", 61, 7000), pod("arena-2", 62, 7000)];
    let example = Example::start("annotations-with-capacity", &[]).await;
    assert_eq!(example.by_default(7777).await, "arena-1");
    for _ in 0..3 {
        assert_eq!(example.by_token(r#"{"resourceType": "gameserver"}"#, 7777).await, "arena-1");
    }
}
