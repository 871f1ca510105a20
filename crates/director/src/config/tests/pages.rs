//! The files that users read: the examples, and the page of all keys.

use std::path::PathBuf;

use udp_director_core::Protocol;

use super::*;
use crate::config::reference;

#[test]
fn example_of_every_key_is_accepted_as_it_stands() {
    let config = Config::read(&root("examples/full.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let ports: Vec<_> =
        config.data_ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
    assert_eq!(ports, [("game-udp", 7777, Protocol::Udp), ("game-tcp", 7777, Protocol::Tcp)]);
    let types: Vec<_> = config.mappings.iter().map(|mapping| &*mapping.resource_type).collect();
    assert_eq!(types, ["gameserver", "lobby"]);
    let query = config.default_endpoint.expect("a default endpoint");
    assert_eq!((query.resource_type(), query.namespace()), ("lobby", Some("games")));
}

#[test]
fn local_example_is_accepted_and_its_inventory_is_there() {
    let config = Config::read(&root("examples/local.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let crate::config::InventorySource::File(objects) = config.inventory else { panic!("a file") };
    assert!(objects.is_file(), "{}", objects.display());
}

/// `UPDATE_DOCS=1` in the environment writes the page anew instead.
#[test]
fn page_of_all_keys_says_what_the_schema_says() {
    let path = root("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).expect("the page");
    assert!(page == reference(), "docs/configuration.md is out of date: run the tests with UPDATE_DOCS=1");
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
