//! Target: the objects of an inventory, and what several mappings make of them.

use std::collections::HashSet;
use std::net::IpAddr;

use udp_director_core::{Backend, Inventory, Ports};
use udp_director_inventory::{Targets, snapshot};

use super::stock;

/// The bytes are an inventory file.
pub fn objects(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match snapshot(text, &stock::mappings(), &Targets::default(), stock::inventory()) {
        Ok(inventory) => check(&inventory, text),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
}

fn check(inventory: &Inventory, text: &str) {
    let ids: HashSet<_> = inventory.backends().iter().map(|backend| &backend.spec.id).collect();
    assert_eq!(ids.len(), inventory.backends().len(), "an id is one backend's");
    inventory.backends().iter().for_each(|backend| check_backend(backend));
    for refused in inventory.refused() {
        assert!(!refused.reason.is_empty(), "a refusal says why: {}", refused.object);
    }
    let again = snapshot(text, &stock::mappings(), &Targets::default(), inventory).expect("as before");
    let specs = |of: &Inventory| of.backends().iter().map(|backend| backend.spec.clone()).collect::<Vec<_>>();
    assert_eq!(specs(&again), specs(inventory), "the same text is the same inventory");
}

fn check_backend(backend: &Backend) {
    let spec = &backend.spec;
    assert!(may_be_a_server(spec.address), "{} is no address of a server", spec.address);
    assert!(spec.view.get("spec").is_none(), "queries see no spec");
    assert!(!spec.name.is_empty() && !spec.namespace.is_empty(), "a backend has a name");
    let has_port = match &spec.ports {
        Ports::One(port) => *port > 0,
        Ports::Named(ports) => !ports.is_empty() && ports.values().all(|port| *port > 0),
    };
    assert!(has_port, "a backend has ports");
}

/// What is refused in any case, said in another way than where it is decided.
fn may_be_a_server(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(special || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}
