//! Target: the configuration file.

use std::collections::HashSet;
use std::path::Path;

use udp_director_director::config::{Config, restart_needed};

/// The bytes are a configuration file.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new("/etc/udp-director/config.yaml")) {
        Ok(config) => check(&config, text),
        Err(errors) => {
            let report = errors.to_string();
            assert!(report.contains("config.yaml"), "errors name the file: {report}");
        }
    }
}

fn check(config: &Config, text: &str) {
    let names: HashSet<_> = config.data_ports.iter().map(|port| &port.name).collect();
    assert!(
        !names.is_empty() && names.len() == config.data_ports.len(),
        "data ports have names of their own"
    );
    let types: HashSet<_> = config.mappings.iter().map(|mapping| &mapping.resource_type).collect();
    assert!(!types.is_empty() && types.len() == config.mappings.len(), "mappings have names of their own");
    if let Some(endpoint) = &config.default_endpoint {
        assert!(types.iter().any(|name| ***name == *endpoint.resource_type()), "the default endpoint exists");
    }
    let again = Config::parse(text, Path::new("/etc/udp-director/config.yaml"));
    assert_eq!(again.as_ref().ok(), Some(config), "the same text is the same configuration");
    assert!(restart_needed(config, config).is_empty(), "no change needs no restart");
}
