//! Backends on Nodes that are cordoned.

use udp_director_core::Withheld;

use super::*;

fn cordoned(name: &str) -> Value {
    with(node(name, "192.0.2.7"), "/spec", json!({"unschedulable": true}))
}

fn open(name: &str) -> Value {
    node(name, "192.0.2.7")
}

/// Pods and the Nodes that they run on.
fn rig_on(nodes: &[Value], placed: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new(&[following_nodes(pods())]);
    rig.reset("nodes", nodes);
    let placed: Vec<Value> = placed.iter().map(|(name, node)| on(pod(name, "10.0.0.1"), node)).collect();
    rig.reset("pods", &placed);
    rig
}

fn on(pod: Value, node: &str) -> Value {
    with(pod, "/spec/nodeName", json!(node))
}

impl Rig {
    /// What withholds each backend of the next inventory.
    fn withheld(&mut self) -> Vec<Option<Withheld>> {
        self.next();
        self.inventory.backends().iter().map(|backend| backend.spec.withheld.clone()).collect()
    }
}

#[test]
fn cordoned_node_takes_no_new_players_until_it_is_open_again() {
    let mut rig = rig_on(&[open("n1"), open("n2")], &[("a", "n1"), ("b", "n2")]);
    assert_eq!(rig.withheld(), [None, None]);
    assert!(rig.apply("nodes", &cordoned("n1")));
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned), None]);
    assert!(rig.apply("nodes", &open("n1")));
    assert_eq!(rig.withheld(), [None, None]);
}

#[test]
fn what_is_elsewhere_is_the_very_same_when_a_node_is_cordoned() {
    let mut rig = rig_on(&[open("n1"), open("n2")], &[("a", "n1"), ("b", "n2")]);
    rig.next();
    let before = rig.inventory.backends().to_vec();
    rig.apply("nodes", &cordoned("n1"));
    rig.next();
    let after = rig.inventory.backends().to_vec();
    assert!(!Arc::ptr_eq(&before[0], &after[0]) && Arc::ptr_eq(&before[1], &after[1]));
    rig.next();
    assert!(after.iter().zip(rig.inventory.backends()).all(|(a, b)| Arc::ptr_eq(a, b)));
}

#[test]
fn node_that_is_gone_or_unknown_withholds_nobody() {
    let mut rig = rig_on(&[cordoned("n1")], &[("a", "n1"), ("b", "elsewhere")]);
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned), None]);
    rig.delete("nodes", &cordoned("n1"));
    assert_eq!(rig.withheld(), [None, None]);
}

#[test]
fn words_of_a_node_that_do_not_matter_are_nothing_new() {
    let mut rig = rig_on(&[cordoned("n1")], &[("a", "n1")]);
    rig.next();
    assert!(!rig.apply("nodes", &with(cordoned("n1"), "/status/conditions", json!([{"type": "Ready"}]))));
    assert!(!rig.apply("pods", &on(pod("a", "10.0.0.1"), "n1")));
    assert!(rig.apply("pods", &on(pod("a", "10.0.0.1"), "n2")));
    assert_eq!(rig.withheld(), [None]);
}

#[test]
fn what_withholds_an_object_otherwise_is_said_instead() {
    let draining =
        with(on(pod("a", "10.0.0.1"), "n1"), "/metadata/labels", json!({"udp-director.io/draining": "true"}));
    let mut rig = rig_on(&[cordoned("n1")], &[]);
    rig.apply("pods", &draining);
    assert_eq!(rig.withheld(), [Some(Withheld::Draining)]);
    rig.apply("pods", &on(pod("a", "10.0.0.1"), "n1"));
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned)]);
}

#[test]
fn game_server_is_on_the_node_that_its_status_names() {
    let mapping = following_nodes(Mapping { trust_addresses: true, ..game_servers() });
    let mut rig = Rig::new(std::slice::from_ref(&mapping));
    rig.reset("nodes", &[cordoned("n1")]);
    rig.reset("gameservers", &[with(game_server("gs", "10.0.0.7"), "/status/nodeName", json!("n1"))]);
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned)]);
}

#[test]
fn backend_behind_a_service_is_withheld_by_its_node_and_moves_with_its_endpoint() {
    let mut rig = Rig::new(&[following_nodes(by_service())]);
    rig.reset("nodes", &[cordoned("n1")]);
    rig.reset("pods", &[on(pod("a", "10.0.0.5"), "n1")]);
    rig.reset("services", &[service("svc", "a")]);
    rig.reset("endpointslices", &[slice("s1", "svc", "10.0.0.5")]);
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned)]);
    let before = Arc::clone(&rig.inventory.backends()[0]);
    assert!(!rig.apply("pods", &on(pod("a", "10.0.0.5"), "n1")));
    rig.next();
    assert!(Arc::ptr_eq(&before, &rig.inventory.backends()[0]));
    rig.apply("nodes", &open("n1"));
    assert_eq!(rig.withheld(), [None]);
}

#[test]
fn mapping_that_does_not_follow_nodes_does_not_look_at_them() {
    let mut rig = Rig::new(&[pods(), following_nodes(Mapping { resource_type: "other".into(), ..pods() })]);
    rig.reset("nodes", &[cordoned("n1")]);
    rig.reset("pods", &[on(pod("a", "10.0.0.1"), "n1")]);
    assert_eq!(rig.withheld(), [None, Some(Withheld::Cordoned)]);
}

#[test]
fn backend_stays_withheld_while_nodes_are_listed_anew() {
    let mut rig = rig_on(&[cordoned("n1")], &[("a", "n1")]);
    rig.next();
    let of_nodes = Mapping { trust_addresses: true, ..mapping("hosts", "", "nodes", &[]) };
    rig.assembly.configure(&[following_nodes(pods()), of_nodes], Targets::default());
    assert_eq!(rig.withheld(), [Some(Withheld::Cordoned)]);
    rig.reset("nodes", &[open("n1")]);
    assert_eq!(rig.withheld(), [None]);
}
