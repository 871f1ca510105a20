//! Which addresses Pods and Nodes have.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::address::parse;
use crate::object::Object;
use crate::ready::has_ended;

/// How many known Pods or Nodes have an address, by namespace; Nodes are in the empty one.
#[derive(Debug, Default)]
pub(super) struct AddressIndex {
    counts: HashMap<String, HashMap<IpAddr, u32>>,
}

impl AddressIndex {
    pub(super) fn add(&mut self, namespace: &str, addresses: &[IpAddr]) {
        for address in addresses {
            if !self.counts.contains_key(namespace) {
                self.counts.insert(namespace.to_owned(), HashMap::new());
            }
            let counts = self.counts.get_mut(namespace).expect("inserted above");
            *counts.entry(*address).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, namespace: &str, addresses: &[IpAddr]) {
        let Some(counts) = self.counts.get_mut(namespace) else { return };
        for address in addresses {
            if let Some(count) = counts.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(address);
                }
            }
        }
        if counts.is_empty() {
            self.counts.remove(namespace);
        }
    }

    pub(super) fn has(&self, namespace: &str, address: IpAddr) -> bool {
        self.counts.get(namespace).is_some_and(|counts| counts.contains_key(&address))
    }
}

/// The addresses that a Pod has by its own status. None where it has ended: they can be another's.
pub(super) fn of_pod(pod: Object<'_>) -> Vec<IpAddr> {
    if has_ended(pod) {
        return Vec::new();
    }
    let status = &pod.value["status"];
    let listed = status["podIPs"].as_array().into_iter().flatten().map(|entry| &entry["ip"]);
    unique(listed.chain([&status["podIP"]]))
}

/// The addresses of the Node that a Pod runs on.
pub(super) fn of_host(pod: Object<'_>) -> Vec<IpAddr> {
    let status = &pod.value["status"];
    let listed = status["hostIPs"].as_array().into_iter().flatten().map(|entry| &entry["ip"]);
    unique(listed.chain([&status["hostIP"]]))
}

/// The addresses of a Node.
pub(super) fn of_node(node: Object<'_>) -> Vec<IpAddr> {
    let listed = node.value["status"]["addresses"].as_array().into_iter().flatten();
    unique(listed.map(|entry| &entry["address"]))
}

fn unique<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = values.filter_map(parse).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shrink_to_fit();
    addresses
}
