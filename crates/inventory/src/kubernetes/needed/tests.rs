use super::*;
use crate::kubernetes::fixtures::{by_service, game_servers, mapping, pods};

fn names(mappings: &[Mapping]) -> Vec<String> {
    needed(mappings).iter().map(ToString::to_string).collect()
}

#[test]
fn mapping_needs_no_more_than_its_addresses_take() {
    let with_type = |wanted: &str| Mapping { address_type: Some(wanted.into()), ..game_servers() };
    let with_path = |path: &str| Mapping { address_path: Some(path.into()), ..game_servers() };
    let servers = "gameservers.agones.dev in games";
    for (mapping, expected) in [
        (pods(), vec!["pods in games"]),
        (Mapping { follow_nodes: true, ..pods() }, vec!["nodes", "pods in games"]),
        (game_servers(), vec!["nodes", "pods in games", servers]),
        (with_type("PodIP"), vec!["pods in games", servers]),
        (with_type("InternalIP"), vec!["nodes", servers]),
        (with_path("status.address"), vec!["nodes", servers]),
        (with_path("status.addresses[?@.type=='PodIP'].address"), vec!["pods in games", servers]),
        (Mapping { trust_addresses: true, ..game_servers() }, vec![servers]),
        (mapping("x", "games.io", "matches", &["games"]), vec!["pods in games", "matches.games.io in games"]),
        (
            by_service(),
            vec!["pods in games", "services in games", "endpointslices.discovery.k8s.io in games"],
        ),
    ] {
        assert_eq!(names(std::slice::from_ref(&mapping)), expected, "{mapping:?}");
    }
}

#[test]
fn watch_on_all_namespaces_stands_for_those_on_single_ones() {
    let everywhere = Mapping { resource_type: "all".into(), namespaces: vec![], ..pods() };
    let two = Mapping { namespaces: vec!["a".into(), "b".into(), "a".into()], ..pods() };
    assert_eq!(names(std::slice::from_ref(&two)), ["pods in a", "pods in b"]);
    assert_eq!(names(&[two, everywhere]), ["pods"]);
    assert_eq!(names(&[]), Vec::<String>::new());
}
