//! The ports: the data ports, and that no two listen on the same one.

use udp_director_core::Protocol;

use super::Resolver;
use crate::config::DataPort;
use crate::config::document::{self, Document, ProxyProtocol};

impl Resolver<'_> {
    /// The data ports; none where that is a problem that was noted.
    pub(super) fn data_ports(&mut self, document: &Document) -> Vec<DataPort> {
        let ports = match (document.data_port, &document.data_ports) {
            (Some(port), None) => vec![DataPort {
                name: "default".into(),
                port,
                protocol: Protocol::Udp,
                proxy_protocol: false,
            }],
            (None, Some(ports)) => ports.iter().map(data_port).collect(),
            (Some(_), Some(_)) => {
                self.refuse("dataPort", "\"dataPorts\" is given too; give one of them");
                return Vec::new();
            }
            (None, None) => {
                self.refuse("", "a data port is missing; give \"dataPort\" or \"dataPorts\"");
                return Vec::new();
            }
        };
        self.check_names(&ports);
        self.check_ports(document, &ports);
        ports
    }

    fn check_names(&mut self, ports: &[DataPort]) {
        for (index, port) in ports.iter().enumerate() {
            if let Some(first) = ports[..index].iter().position(|other| other.name == port.name) {
                let text = format!("\"{}\" is the name of dataPorts[{first}] already", port.name);
                self.refuse(&format!("dataPorts[{index}].name"), &text);
            }
        }
    }

    /// All ports listen on one address. Port 0 is another free one each time.
    fn check_ports(&mut self, document: &Document, data_ports: &[DataPort]) {
        let mut ports = vec![
            ("queryPort".to_owned(), Protocol::Tcp, document.query_port),
            ("adminPort".to_owned(), Protocol::Tcp, document.admin_port),
        ];
        for (index, port) in data_ports.iter().enumerate() {
            ports.push((format!("dataPorts[{index}].port"), port.protocol, port.port));
        }
        for (index, (key, protocol, port)) in ports.iter().enumerate().filter(|(_, (.., port))| *port != 0) {
            let same = |(_, other, number): &&(String, Protocol, u16)| other == protocol && number == port;
            if let Some((other, ..)) = ports[..index].iter().find(same) {
                self.refuse(key, &format!("{port} is given for {other} already, by the same protocol"));
            }
        }
    }
}

fn data_port(written: &document::DataPort) -> DataPort {
    DataPort {
        name: written.name.as_str().into(),
        port: written.port,
        protocol: match written.protocol {
            document::Protocol::Udp => Protocol::Udp,
            document::Protocol::Tcp => Protocol::Tcp,
        },
        proxy_protocol: matches!(written.proxy_protocol, Some(ProxyProtocol::V2)),
    }
}
