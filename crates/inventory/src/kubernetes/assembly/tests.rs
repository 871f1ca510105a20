mod cordon;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use udp_director_core::{BackendSpec, Inventory, Ports, Refused};

use super::*;
use crate::backends;
use crate::kubernetes::fixtures::*;
use crate::kubernetes::needed::{ENDPOINT_SLICES, PODS};

/// An assembly, and the inventory that it gave last.
struct Rig {
    assembly: Assembly,
    inventory: Inventory,
}

impl Rig {
    fn new(mappings: &[Mapping]) -> Rig {
        Rig { assembly: Assembly::new(mappings, Targets::default()), inventory: Inventory::default() }
    }

    fn watch(&self, resource: &str) -> WatchId {
        let mut watches = self.assembly.watches().into_iter();
        watches.find(|watch| watch.needed.resource == resource).expect("a watch on that resource")
    }

    /// All objects of one resource.
    fn reset(&mut self, resource: &str, objects: &[Value]) {
        let watch = self.watch(resource);
        self.assembly.begin_list(&watch);
        for object in objects {
            self.assembly.apply(&watch, object);
        }
        self.assembly.end_list(&watch);
    }

    fn apply(&mut self, resource: &str, object: &Value) -> bool {
        let watch = self.watch(resource);
        self.assembly.apply(&watch, object)
    }

    fn delete(&mut self, resource: &str, object: &Value) -> bool {
        let watch = self.watch(resource);
        self.assembly.delete(&watch, object)
    }

    /// The next inventory, as `type/uid address ports`, and why others are not in it.
    fn next(&mut self) -> (Vec<String>, Vec<String>) {
        let collected = self.assembly.collect(&self.inventory);
        let refused: Vec<Refused> = collected.refused.iter().map(|refused| Refused::clone(refused)).collect();
        self.inventory = self.inventory.next_shared(collected.specs, refused.into());
        let backends = self.inventory.backends().iter();
        let shown = backends.map(|backend| format!("{} {}", backend.spec.id, backend.spec.address));
        (shown.collect(), self.inventory.refused().iter().map(|refused| refused.reason.clone()).collect())
    }

    fn backends(&mut self) -> Vec<String> {
        self.next().0
    }

    fn refusal(&mut self) -> String {
        let (backends, mut refused) = self.next();
        assert_eq!(backends, Vec::<String>::new());
        refused.pop().expect("a refusal")
    }
}

fn rig_of_pods(objects: &[Value]) -> Rig {
    let mut rig = Rig::new(&[pods()]);
    rig.reset("pods", objects);
    rig
}

fn rig_of_game_servers(
    mapping: &Mapping,
    objects: &[Value],
    known_pods: &[Value],
    known_nodes: &[Value],
) -> Rig {
    let mut rig = Rig::new(std::slice::from_ref(mapping));
    rig.reset("gameservers", objects);
    for (resource, objects) in [("pods", known_pods), ("nodes", known_nodes)] {
        if rig.assembly.watches().iter().any(|watch| watch.needed.resource == resource) {
            rig.reset(resource, objects);
        }
    }
    rig
}

#[test]
fn unchanged_backend_is_the_very_same_in_the_next_snapshot() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2")]);
    rig.next();
    let before = rig.inventory.backends().to_vec();
    assert!(rig.apply("pods", &with(pod("b", "10.0.0.2"), "/status/phase", json!("Pending"))));
    rig.next();
    let after = rig.inventory.backends();
    assert!(Arc::ptr_eq(&before[0], &after[0]));
    assert!(!Arc::ptr_eq(&before[1], &after[1]) && !after[1].spec.accepting());
}

#[test]
fn object_that_says_the_same_again_is_nothing_new() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1")]);
    let touched = with(pod("a", "10.0.0.1"), "/metadata/resourceVersion", json!("7"));
    assert!(!rig.apply("pods", &with(touched, "/metadata/managedFields", json!([{"manager": "kubelet"}]))));
    assert!(rig.apply("pods", &pod("a", "10.0.0.9")));
}

#[test]
fn object_goes_when_it_is_deleted_or_a_list_leaves_it_out() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3")]);
    assert!(rig.delete("pods", &pod("a", "10.0.0.1")));
    assert!(!rig.delete("pods", &pod("a", "10.0.0.1")));
    assert_eq!(rig.backends(), ["lobby/uid-b 10.0.0.2", "lobby/uid-c 10.0.0.3"]);
    rig.reset("pods", &[pod("c", "10.0.0.3")]);
    assert_eq!(rig.backends(), ["lobby/uid-c 10.0.0.3"]);
}

#[test]
fn list_that_breaks_off_takes_nothing_away() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2")]);
    let watch = rig.watch("pods");
    rig.assembly.begin_list(&watch);
    rig.assembly.apply(&watch, &pod("b", "10.0.0.2"));
    assert_eq!(rig.backends().len(), 2);
    rig.assembly.begin_list(&watch);
    rig.assembly.apply(&watch, &pod("a", "10.0.0.1"));
    rig.assembly.end_list(&watch);
    assert_eq!(rig.backends(), ["lobby/uid-a 10.0.0.1"]);
}

#[test]
fn other_uid_under_the_same_name_is_another_backend() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1")]);
    rig.next();
    rig.apply("pods", &with(pod("a", "10.0.0.1"), "/metadata/uid", json!("new")));
    assert_eq!(rig.backends(), ["lobby/new 10.0.0.1"]);
}

#[test]
fn terminating_pod_stays_and_accepts_nobody_until_it_has_ended() {
    let terminating =
        with(pod("a", "10.0.0.1"), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    let mut rig = rig_of_pods(std::slice::from_ref(&terminating));
    assert_eq!(rig.backends(), ["lobby/uid-a 10.0.0.1"]);
    assert!(!rig.inventory.backends()[0].spec.accepting());
    rig.apply("pods", &with(terminating, "/status/phase", json!("Succeeded")));
    assert_eq!(rig.refusal(), "lobby: the Pod has ended, and its address may be another's");
}

#[test]
fn pod_proves_its_own_addresses_alone() {
    let by_annotation = Mapping { address_path: Some("metadata.annotations.address".into()), ..pods() };
    for (address, proven) in [("10.0.0.1", true), ("192.0.2.1", true), ("10.0.0.2", false)] {
        let object = with(pod("a", "10.0.0.1"), "/metadata/annotations", json!({"address": address}));
        let mut rig = Rig::new(std::slice::from_ref(&by_annotation));
        rig.reset("pods", &[object, pod("b", "10.0.0.2")]);
        let found = rig.next();
        assert_eq!(found.0.len(), usize::from(proven), "{address}: {found:?}");
    }
}

#[test]
fn address_of_a_game_server_is_that_of_a_pod_in_its_namespace() {
    let mapping = Mapping { address_type: Some("PodIP".into()), ..game_servers() };
    let elsewhere = with(pod("gs", "10.0.0.7"), "/metadata/namespace", json!("other"));
    let ended = with(pod("gs", "10.0.0.7"), "/status/phase", json!("Failed"));
    let objects = [game_server("gs", "10.0.0.7")];
    for pods in [vec![], vec![elsewhere], vec![ended], vec![pod("gs", "10.0.0.8")]] {
        assert_eq!(
            rig_of_game_servers(&mapping, &objects, &pods, &[]).refusal(),
            "match: 10.0.0.7 is no address of a running Pod in that namespace that the API knows; \
             trustAddresses would do without"
        );
    }
    let mut rig = rig_of_game_servers(&mapping, &objects, &[pod("gs", "10.0.0.7")], &[]);
    assert_eq!(rig.backends(), ["match/uid-gs 10.0.0.7"]);
    rig.delete("pods", &pod("gs", "10.0.0.7"));
    assert!(rig.refusal().contains("is no address of"));
}

#[test]
fn address_of_a_node_is_proven_by_a_node() {
    let of_node = Mapping { address_path: Some("status.address".into()), ..game_servers() };
    let objects = [game_server("gs", "10.0.0.7")];
    assert!(rig_of_game_servers(&of_node, &objects, &[], &[]).refusal().contains("no address of a Node"));
    let known = [node("n", "192.0.2.7")];
    assert_eq!(rig_of_game_servers(&of_node, &objects, &[], &known).backends(), ["match/uid-gs 192.0.2.7"]);
    let old = [with(game_server("gs", "10.0.0.7"), "/status/addresses", json!([]))];
    let either = game_servers();
    assert_eq!(rig_of_game_servers(&either, &old, &[], &known).backends(), ["match/uid-gs 192.0.2.7"]);
}

#[test]
fn trust_and_listed_cidrs_need_no_proof() {
    let trusting = Mapping { trust_addresses: true, ..game_servers() };
    let objects = [game_server("gs", "10.0.0.7")];
    assert_eq!(rig_of_game_servers(&trusting, &objects, &[], &[]).backends(), ["match/uid-gs 10.0.0.7"]);
    let mut rig = rig_of_game_servers(&game_servers(), &objects, &[], &[]);
    rig.assembly.configure(&[game_servers()], Targets::new(vec!["10.0.0.0/24".parse().expect("a CIDR")]));
    assert_eq!(rig.backends(), ["match/uid-gs 10.0.0.7"]);
}

#[test]
fn addresses_that_are_no_server_are_refused_even_where_trusted() {
    let trusting = Mapping { trust_addresses: true, ..game_servers() };
    for (address, what) in [
        ("169.254.169.254", "a link-local or metadata address"),
        ("127.0.0.1", "a loopback address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("10.96.0.1", "an address of the API server"),
    ] {
        let mut rig =
            rig_of_game_servers(&trusting, &[game_server("gs", address)], &[pod("gs", address)], &[]);
        rig.assembly.refuse(vec!["10.96.0.1".parse().expect("an address")]);
        assert!(rig.refusal().contains(what), "{address}");
        let all = vec!["0.0.0.0/0".parse().expect("a CIDR"), "::/0".parse().expect("a CIDR")];
        rig.assembly.configure(std::slice::from_ref(&trusting), Targets::new(all));
        assert_eq!(rig.backends().len(), 1, "{address}");
    }
}

#[test]
fn bad_input_is_no_backend_with_a_reason() {
    for (pointer, value, reason) in [
        ("/status/podIP", json!("10.0.0.1/24"), "an IP address is due"),
        ("/status/podIP", json!("fe80::1%eth0"), "an IP address is due"),
        ("/status/podIP", json!("[2001:db8::1]"), "an IP address is due"),
        ("/status/podIP", json!("node.example.com"), "an IP address is due"),
        ("/status/podIP", json!("0x7f.1"), "an IP address is due"),
        ("/status/podIP", json!({"ip": 7}), "an IP address is due"),
        ("/status/podIP", json!("::ffff:169.254.169.254"), "metadata"),
        ("/status/podIP", json!("64:ff9b::a9fe:a9fe"), "metadata"),
        ("/status", json!("Running"), "no address"),
        ("/spec/containers/0/ports/0/containerPort", json!(65536), "a port from 1 to 65535"),
        ("/spec/containers/0/ports/0/containerPort", json!(-1), "a port from 1 to 65535"),
        ("/metadata/labels", json!([]), "metadata.labels is no mapping"),
        ("/metadata/annotations", json!({"a": "x".repeat(1 << 20)}), "metadata.annotations takes"),
    ] {
        let mut rig = rig_of_pods(&[with(pod("a", "10.0.0.1"), pointer, value.clone())]);
        let found = rig.refusal();
        assert!(found.contains(reason) && found.len() < 300, "{pointer} {value}: {found}");
    }
}

#[test]
fn service_and_its_slices_name_the_place() {
    let mut rig = Rig::new(&[by_service()]);
    rig.reset("pods", &[pod("a", "10.0.0.1"), pod("backend", "10.0.0.5"), pod("other", "10.0.0.6")]);
    rig.reset("services", &[service("svc", "a")]);
    rig.reset("endpointslices", &[slice("s1", "svc", "10.0.0.5")]);
    assert_eq!(rig.backends(), ["served/uid-a 10.0.0.5"]);
    assert_eq!(rig.inventory.backends()[0].spec.ports, Ports::One(7100));
    let before = Arc::clone(&rig.inventory.backends()[0]);
    rig.next();
    assert!(Arc::ptr_eq(&before, &rig.inventory.backends()[0]));
    assert!(rig.apply("endpointslices", &slice("s1", "svc", "10.0.0.6")));
    assert_eq!(rig.backends(), ["served/uid-a 10.0.0.6"]);
    rig.apply("endpointslices", &slice("s1", "svc", "10.0.0.99"));
    assert!(rig.next().1.iter().any(|reason| reason.contains("10.0.0.99 is no address of a running Pod")));
    rig.delete("services", &service("svc", "a"));
    assert!(rig.next().1.iter().any(|reason| reason.contains("no Service with the label server=a")));
}

#[test]
fn backends_stay_while_what_tells_of_them_is_listed_anew() {
    let mut rig = rig_of_pods(&[pod("a", "10.0.0.1"), pod("b", "10.0.0.2")]);
    rig.next();
    let before = rig.inventory.backends().to_vec();
    let everywhere = Mapping { namespaces: vec![], ..pods() };
    rig.assembly.configure(std::slice::from_ref(&everywhere), Targets::default());
    rig.next();
    assert!(before.iter().zip(rig.inventory.backends()).all(|(a, b)| Arc::ptr_eq(a, b)));
    rig.reset("pods", &[pod("a", "10.0.0.1")]);
    assert_eq!(rig.backends(), ["lobby/uid-a 10.0.0.1"]);
    rig.assembly.configure(&[], Targets::default());
    assert_eq!(rig.backends(), Vec::<String>::new());
}

#[test]
fn backend_stays_while_its_proof_is_listed_anew() {
    let mapping = Mapping { address_type: Some("PodIP".into()), ..game_servers() };
    let mut rig =
        rig_of_game_servers(&mapping, &[game_server("gs", "10.0.0.7")], &[pod("gs", "10.0.0.7")], &[]);
    assert_eq!(rig.backends(), ["match/uid-gs 10.0.0.7"]);
    rig.assembly.configure(&[mapping, pods()], Targets::default());
    assert_eq!(rig.backends(), ["match/uid-gs 10.0.0.7"]);
    rig.reset("pods", &[]);
    assert!(rig.refusal().contains("is no address of"));
}

#[test]
fn watch_goes_on_when_nothing_changes_for_it() {
    let mut rig = Rig::new(&[pods(), game_servers()]);
    let before = rig.assembly.watches();
    let other = Mapping { ports: by_service().ports, trust_addresses: true, ..game_servers() };
    rig.assembly.configure(&[pods(), other], Targets::default());
    let after = rig.assembly.watches();
    let went_on: Vec<String> =
        before.iter().filter(|id| after.contains(id)).map(|id| id.needed.to_string()).collect();
    assert_eq!(went_on, Vec::<String>::new(), "pods prove nothing any longer");
    let again = rig.assembly.watches();
    rig.assembly
        .configure(&[pods(), Mapping { trust_addresses: true, ..game_servers() }], Targets::default());
    assert_eq!(rig.assembly.watches(), again);
}

#[test]
fn late_words_of_a_watch_that_has_ended_are_not_heard() {
    let mut rig = rig_of_pods(&[]);
    let old = rig.watch("pods");
    let other = Mapping { address_path: Some("status.podIPs".into()), ..pods() };
    rig.assembly.configure(&[other], Targets::default());
    assert!(!rig.assembly.apply(&old, &pod("a", "10.0.0.1")) && !rig.assembly.end_list(&old));
    assert_eq!(rig.assembly.len(&rig.watch("pods")), 0);
}

/// One thing that happens to one object.
#[derive(Clone, Debug)]
enum Act {
    Apply(usize, Value),
    Delete(usize, Value),
    Reset(usize),
    Assemble,
}

const RESOURCES: [&str; 5] = ["pods", "gameservers", "nodes", "services", "endpointslices"];

fn any_object(resource: usize) -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let address =
        prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "192.0.2.7", "127.0.0.1", "nonsense", ""]);
    let oddity = prop::sample::select(vec!["", "", "/metadata/uid", "/metadata/labels", "/status", "/spec"]);
    (name, address, oddity, any::<bool>()).prop_map(move |(name, address, oddity, flag)| {
        let object = match resource {
            0 => with(placed_pod(name, address), "/metadata/uid", json!(format!("{name}{flag}"))),
            1 => game_server(name, address),
            2 => with(node(name, address), "/spec", json!({"unschedulable": flag})),
            3 => service(name, if flag { "a" } else { "b" }),
            _ => slice(name, if flag { "a" } else { "b" }, address),
        };
        if oddity.is_empty() { object } else { with(object, oddity, json!(["odd"])) }
    })
}

fn following_nodes(mapping: Mapping) -> Mapping {
    Mapping { follow_nodes: true, ..mapping }
}

/// Runs on the Node of its own name.
fn placed_pod(name: &str, address: &str) -> Value {
    with(pod(name, address), "/spec/nodeName", json!(name))
}

fn any_act() -> impl Strategy<Value = Act> {
    let of = |resource: usize| (Just(resource), any_object(resource));
    let object = || (0..RESOURCES.len()).prop_flat_map(of);
    prop_oneof![
        6 => object().prop_map(|(resource, object)| Act::Apply(resource, object)),
        2 => object().prop_map(|(resource, object)| Act::Delete(resource, object)),
        1 => (0..RESOURCES.len()).prop_map(Act::Reset),
        2 => Just(Act::Assemble),
    ]
}

/// The objects there are, as a test remembers them.
type Objects = Vec<BTreeMap<String, Value>>;

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn act(rig: &mut Rig, objects: &mut Objects, act: Act) {
    match act {
        Act::Apply(resource, object) => {
            rig.apply(RESOURCES[resource], &object);
            objects[resource].insert(name(&object), object);
        }
        Act::Delete(resource, object) => {
            rig.delete(RESOURCES[resource], &object);
            objects[resource].remove(&name(&object));
        }
        Act::Reset(resource) => {
            let half = objects[resource].len() / 2;
            objects[resource] = std::mem::take(&mut objects[resource]).into_iter().skip(half).collect();
            let listed: Vec<Value> = objects[resource].values().cloned().collect();
            rig.reset(RESOURCES[resource], &listed);
        }
        Act::Assemble => drop(rig.next()),
    }
}

fn specs(inventory: &Inventory) -> Vec<BackendSpec> {
    inventory.backends().iter().map(|backend| backend.spec.clone()).collect()
}

fn sorted(mut refused: Vec<Refused>) -> Vec<Refused> {
    refused.sort_by(|a, b| (&a.object, &a.reason).cmp(&(&b.object, &b.reason)));
    refused
}

proptest! {
    #[test]
    fn increments_come_to_what_a_reading_from_scratch_gives(acts in prop::collection::vec(any_act(), 0..60)) {
        let mappings = [pods(), game_servers(), by_service()].map(following_nodes);
        let (mut rig, mut scratch) = (Rig::new(&mappings), Rig::new(&mappings));
        let mut objects: Objects = vec![BTreeMap::new(); RESOURCES.len()];
        RESOURCES.iter().for_each(|resource| rig.reset(resource, &[]));
        acts.into_iter().for_each(|next| act(&mut rig, &mut objects, next));
        for (resource, objects) in RESOURCES.iter().zip(&objects) {
            scratch.reset(resource, &objects.values().cloned().collect::<Vec<_>>());
        }
        rig.next();
        scratch.next();
        prop_assert_eq!(specs(&rig.inventory), specs(&scratch.inventory));
        prop_assert_eq!(rig.inventory.refused(), scratch.inventory.refused());
    }

    #[test]
    fn cluster_reads_what_a_file_of_the_same_objects_reads(acts in prop::collection::vec(any_act(), 0..40)) {
        let trusting = |mapping| following_nodes(Mapping { trust_addresses: true, ..mapping });
        let mappings = [pods(), game_servers(), by_service()].map(trusting);
        let mut rig = Rig::new(&mappings);
        let mut objects: Objects = vec![BTreeMap::new(); RESOURCES.len()];
        RESOURCES.iter().for_each(|resource| rig.reset(resource, &[]));
        acts.into_iter().for_each(|next| act(&mut rig, &mut objects, next));
        rig.next();
        let all: Vec<Value> = objects.iter().flat_map(|objects| objects.values().cloned()).collect();
        let (read, refused) = backends(&all, &mappings, &Targets::default());
        prop_assert_eq!(specs(&rig.inventory), specs(&Inventory::default().next(read, Vec::new())));
        prop_assert_eq!(sorted(rig.inventory.refused().to_vec()), sorted(refused));
    }
}

#[test]
fn endpoint_slices_and_pods_are_the_builtin_ones() {
    let watches = Assembly::new(&[by_service()], Targets::default()).watches();
    assert!(watches.iter().any(|watch| watch.needed.is(ENDPOINT_SLICES)));
    assert!(watches.iter().any(|watch| watch.needed.is(PODS)));
}
