//! Resource mappings.

use std::collections::BTreeMap;
use std::sync::Arc;

use udp_director_core::Path;
use udp_director_inventory::{Condition, Mapping, PortSource, PortsSource, ServiceSource};

use super::Resolver;
use super::allocate::is_allocated;
use super::balancing::Balancing;
use crate::config::DataPort;
use crate::config::document::{PortMapping, ResourceMapping, StatusQuery};
use crate::config::schema::quoted;

impl Resolver<'_> {
    /// The mappings, by name, without those that have a problem.
    pub(super) fn mappings(
        &mut self,
        written: BTreeMap<String, ResourceMapping>,
        data_ports: &[DataPort],
        mut balancing: BTreeMap<String, Balancing>,
    ) -> Vec<Mapping> {
        let mut one = |(name, mapping): (String, ResourceMapping)| {
            let capacity = balancing.remove(&name).and_then(|balancing| balancing.capacity);
            Some(Mapping { capacity, ..self.mapping(&name, mapping, data_ports)? })
        };
        written.into_iter().filter_map(&mut one).collect()
    }

    fn mapping(&mut self, name: &str, written: ResourceMapping, data_ports: &[DataPort]) -> Option<Mapping> {
        let key = format!("resourceQueryMapping.{name}");
        let service = self.service(&written, &key);
        let ports = self.ports(&written, &key, data_ports);
        self.check_address(&written, &key);
        self.check_nodes(&written, &key);
        let mut ready_when = self.conditions(written.ready_when, &key);
        ready_when.extend(written.allocate.map(|_| is_allocated()));
        Some(Mapping {
            resource_type: Arc::from(name),
            group: written.group,
            version: written.version,
            resource: written.resource,
            namespaces: written.namespaces,
            address_path: written.address_path,
            address_type: written.address_type,
            trust_addresses: written.trust_addresses,
            follow_nodes: written.follow_nodes,
            ports: ports?,
            service,
            ready_when,
            capacity: None,
        })
    }

    fn service(&mut self, written: &ResourceMapping, key: &str) -> Option<ServiceSource> {
        match (&written.service_selector_label, &written.service_target_port_name) {
            (None, None) => None,
            (Some(label), Some(port)) => {
                Some(ServiceSource { selector_label: label.clone(), target_port_name: port.clone() })
            }
            (Some(_), None) => self.refused(key, "\"serviceSelectorLabel\" needs \"serviceTargetPortName\""),
            (None, Some(_)) => self.refused(key, "\"serviceTargetPortName\" needs \"serviceSelectorLabel\""),
        }
    }

    fn check_address(&mut self, written: &ResourceMapping, key: &str) {
        let by_service =
            written.service_selector_label.is_some() || written.service_target_port_name.is_some();
        let known = KNOWN_ADDRESSES.contains(&(&*written.group, &*written.resource));
        match &written.address_path {
            Some(_) if by_service => {
                self.refuse(&format!("{key}.addressPath"), "the address comes from the Service already");
            }
            None if !by_service && !known => {
                self.refuse(key, "needs \"addressPath\", or \"serviceSelectorLabel\"");
            }
            _ => {}
        }
        if written.address_type.is_some() && written.address_path.is_none() && (by_service || !known) {
            self.refuse(&format!("{key}.addressType"), "needs \"addressPath\", where the list stands");
        }
    }

    fn check_nodes(&mut self, written: &ResourceMapping, key: &str) {
        if written.follow_nodes && !ON_NODES.contains(&(&*written.group, &*written.resource)) {
            let text = "is for pods and gameservers: of no other resource is it known on which Node it runs";
            self.refuse(&format!("{key}.followNodes"), text);
        }
    }

    /// Where the ports stand: in exactly one place.
    fn ports(
        &mut self,
        written: &ResourceMapping,
        key: &str,
        data_ports: &[DataPort],
    ) -> Option<PortsSource> {
        let by_service = written.service_target_port_name.as_ref();
        match (&written.port_name, &written.port_path, &written.ports, by_service) {
            (Some(name), None, None, None) | (None, None, None, Some(name)) => {
                Some(PortsSource::One(PortSource::Name(name.clone())))
            }
            (None, Some(path), None, None) => Some(PortsSource::One(PortSource::Path(path.clone()))),
            (None, None, Some(ports), None) => self.named_ports(ports, key, data_ports),
            (None, None, None, None) => self.refused(
                key,
                "needs one of \"portName\", \"portPath\", \"ports\" and \"serviceTargetPortName\"",
            ),
            _ => self.refused(
                key,
                "takes only one of \"portName\", \"portPath\", \"ports\" and \"serviceTargetPortName\"",
            ),
        }
    }

    fn named_ports(
        &mut self,
        written: &[PortMapping],
        key: &str,
        data_ports: &[DataPort],
    ) -> Option<PortsSource> {
        let mut named: Vec<(String, PortSource)> = Vec::new();
        for (index, port) in written.iter().enumerate() {
            let key = format!("{key}.ports[{index}]");
            self.check_is_data_port(&port.name, &key, data_ports);
            if named.iter().any(|(name, _)| *name == port.name) {
                self.refuse(&format!("{key}.name"), &format!("\"{}\" is given twice", port.name));
            }
            let source = match (&port.port_name, &port.port_path) {
                (Some(name), None) => PortSource::Name(name.clone()),
                (None, Some(path)) => PortSource::Path(path.clone()),
                _ => self.refused(&key, "needs either \"portName\" or \"portPath\"")?,
            };
            named.push((port.name.clone(), source));
        }
        Some(PortsSource::Named(named))
    }

    /// Where there are no data ports at all, that was said already.
    fn check_is_data_port(&mut self, name: &str, key: &str, data_ports: &[DataPort]) {
        let known: Vec<&str> = data_ports.iter().map(|port| &*port.name).collect();
        if !known.is_empty() && !known.contains(&name) {
            let text = format!("\"{name}\" is no data port; there are {}", quoted(&known));
            self.refuse(&format!("{key}.name"), &text);
        }
    }

    fn conditions(&mut self, written: Vec<StatusQuery>, key: &str) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (index, query) in written.into_iter().enumerate() {
            let key = format!("{key}.readyWhen[{index}]");
            self.noted(&format!("{key}.jsonPath"), Path::parse(&query.json_path));
            if query.expected_value.is_some() == query.expected_values.is_some() {
                self.refuse(&key, "needs either \"expectedValue\" or \"expectedValues\"");
            }
            let expected = query.expected_values.into_iter().flatten().chain(query.expected_value);
            conditions.push(Condition { json_path: query.json_path, expected: expected.collect() });
        }
        conditions
    }
}

/// The kinds whose address is found without an `addressPath`, by group and resource.
const KNOWN_ADDRESSES: [(&str, &str); 2] = [("", "pods"), ("agones.dev", "gameservers")];

/// The kinds of which the Node is known, by group and resource.
const ON_NODES: [(&str, &str); 4] =
    [("", "pods"), ("", "pod"), ("agones.dev", "gameservers"), ("agones.dev", "gameserver")];
