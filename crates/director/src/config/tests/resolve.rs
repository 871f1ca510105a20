//! Defaults, and the rules that span several keys.

use std::time::Duration;

use udp_director_core::{Protocol, Strategy};
use udp_director_inventory::{CapacitySource, NumberSource, PortSource, PortsSource};

use super::*;
use crate::config::{InventorySource, Workers};

const PODS: &str = "group: '', version: v1, resource: pods, addressPath: status.podIP, portName: game";

#[test]
fn the_least_configuration_has_every_default() {
    let config = config(LEAST);
    assert_eq!((config.query_port, config.admin_port), (9000, 9090));
    let [port] = &config.data_ports[..] else { panic!("one data port") };
    assert_eq!((&*port.name, port.port, port.protocol), ("default", 7777, Protocol::Udp));
    assert_eq!(config.bind_address.to_string(), "::");
    assert_eq!(config.workers, Workers::Auto);
    assert_eq!(config.token_ttl, Duration::from_secs(30));
    assert_eq!(config.session_timeout, Duration::from_secs(300));
    assert_eq!(config.magic.as_bytes(), b"\xff\xff\xff\xffRESET");
    assert_eq!(config.migration_grace, Duration::from_millis(250));
    assert_eq!(config.token_grace, Duration::from_millis(500));
    assert!(config.tokens.bind_client_ip && !config.tokens.sealed && !config.expose_backend);
    assert_eq!(config.inventory, InventorySource::File("dir/objects.yaml".into()));
    assert_eq!(config.allowed_target_cidrs, []);
    assert_eq!(config.strategy_of("pods"), Strategy::LeastSessions);
    assert_eq!(config.default_endpoint, None);
    let limits = config.limits;
    assert_eq!((limits.max_sessions, limits.max_pending_tokens), (100_000, 100_000));
    assert_eq!((limits.query_connections, limits.query_connections_per_source), (4096, 1024));
    assert_eq!(limits.tcp_connections, 10_000);
}

#[test]
fn configuration_of_the_original_needs_an_inventory_and_nothing_else() {
    let original = "\
queryPort: 9000
dataPort: 7777
tokenTtlSeconds: 45
sessionTimeoutSeconds: 600
controlPacketMagicBytes: \"FFFFFFFF5245534554\"
loadBalancing: {type: labelArithmetic, currentLabel: users, maxLabel: capacity, overlap: 2}
defaultEndpoint:
  resourceType: gameserver
  namespace: games
  labelSelector: {agones.dev/fleet: arena}
  annotationSelector: {region: north}
  statusQuery: {jsonPath: status.state, expectedValues: [Ready, Allocated]}
resourceQueryMapping:
  gameserver: {group: agones.dev, version: v1, resource: gameservers, addressPath: status.address, portName: default}
  match: {group: example.com, version: v1, resource: matches, serviceSelectorLabel: match, serviceTargetPortName: udp}
";
    let config = config(original);
    assert_eq!(config.inventory, InventorySource::Kubernetes);
    assert_eq!(config.token_ttl, Duration::from_secs(45));
    assert_eq!(config.mappings.len(), 2);
}

#[test]
fn inventory_file_begins_at_the_directory_of_the_configuration() {
    for (path, file, found) in [
        ("config.yaml", "o.yaml", "o.yaml"),
        ("/etc/d/config.yaml", "o.yaml", "/etc/d/o.yaml"),
        ("/etc/d/config.yaml", "/o.yaml", "/o.yaml"),
    ] {
        let text = LEAST.replace("objects.yaml", file);
        let config = Config::parse(&text, Path::new(path)).expect("a configuration");
        assert_eq!(config.inventory, InventorySource::File(found.into()));
    }
}

#[test]
fn inventory_is_a_file_or_the_cluster() {
    let with = |inventory: &str| LEAST.replace("{file: objects.yaml}", inventory);
    assert_eq!(config(&with("{kubernetes: {}}")).inventory, InventorySource::Kubernetes);
    for wrong in ["{}", "{file: o.yaml, kubernetes: {}}"] {
        let errors = errors(&with(wrong));
        assert!(errors.contains("inventory: needs either \"file\" or \"kubernetes\""), "{errors}");
    }
}

fn label(key: &str) -> NumberSource {
    NumberSource::Label(key.to_owned())
}

#[test]
fn label_arithmetic_counts_room_by_its_labels() {
    let text = "loadBalancing: {type: labelArithmetic, currentLabel: now, maxLabel: most, overlap: 2}";
    for text in
        [text.to_owned(), text.replace("currentLabel", "current_label").replace("maxLabel", "max_label")]
    {
        let mut config = config(&format!("{LEAST}{text}"));
        assert_eq!(config.strategy_of("pods"), Strategy::LabelArithmetic);
        let capacity = CapacitySource { max: label("most"), current: Some(label("now")), overlap: 2 };
        assert_eq!(config.mappings.remove(0).capacity, Some(capacity));
    }
}

#[test]
fn mapping_has_a_strategy_and_a_capacity_of_its_own() {
    let with = |own: &str| {
        let text = LEAST.replace("portName: game", &format!("portName: game, {own}"));
        let mut config = config(&format!("{text}loadBalancing: {{type: random}}"));
        (config.strategy_of("pods"), config.mappings.remove(0).capacity)
    };
    let source = |max, current| Some(CapacitySource { max, current, overlap: 0 });
    let (path, annotation) = (
        NumberSource::Path("status.counters.players.capacity".to_owned()),
        NumberSource::Annotation("now".to_owned()),
    );
    for (own, strategy, capacity) in [
        ("namespaces: [a]", Strategy::Random, None),
        ("capacity: {max: 8}", Strategy::Random, source(NumberSource::Fixed(8), None)),
        (
            "capacity: {maxLabel: most}, loadBalancing: {type: packed}",
            Strategy::Packed,
            source(label("most"), None),
        ),
        (
            "capacity: {maxPath: status.counters.players.capacity, currentAnnotation: now}",
            Strategy::Random,
            source(path, Some(annotation)),
        ),
        (
            "capacity: {max: 3}, loadBalancing: {type: labelArithmetic}",
            Strategy::LabelArithmetic,
            source(NumberSource::Fixed(3), None),
        ),
    ] {
        assert_eq!(with(own), (strategy, capacity), "{own}");
    }
}

#[test]
fn capacity_stands_in_one_place() {
    for (own, error) in [
        ("capacity: {}", "capacity: needs one of \"max\", \"maxLabel\", \"maxAnnotation\" and \"maxPath\""),
        ("capacity: {max: 3, maxLabel: a}", "capacity: takes either \"max\" or a place where it stands"),
        ("capacity: {maxLabel: a, maxPath: b}", "capacity.maxPath: \"max\" is said to stand in two places"),
        ("capacity: {max: 3, currentLabel: a, currentPath: b}", "\"current\" is said to stand in two places"),
        (
            "loadBalancing: {type: labelArithmetic}",
            "pods.loadBalancing: the type labelArithmetic needs \"maxLabel\"",
        ),
        (
            "loadBalancing: {type: first, maxPath: a}",
            "loadBalancing.maxPath: is for the type labelArithmetic alone",
        ),
    ] {
        let errors = errors(&LEAST.replace("portName: game", &format!("portName: game, {own}")));
        assert!(errors.contains(error), "{own}: {errors}");
    }
}

#[test]
fn default_endpoint_takes_the_only_namespace_of_its_mapping() {
    let text = LEAST.replace("portName: game", "portName: game, namespaces: [games]");
    let config =
        config(&format!("{text}defaultEndpoint: {{resourceType: pods, labelSelector: 'app in (a,b)'}}"));
    let query = config.default_endpoint.expect("a default endpoint");
    assert_eq!((query.resource_type(), query.namespace()), ("pods", Some("games")));
}

#[test]
fn port_zero_may_be_given_for_several_ports() {
    let ports = "dataPorts: [{name: a, port: 0, protocol: udp}, {name: b, port: 0, protocol: udp}]";
    let text = LEAST.replace("dataPort: 7777", &format!("{ports}\nqueryPort: 0\nadminPort: 0"));
    assert_eq!(config(&text).data_ports.len(), 2);
}

#[test]
fn udp_and_tcp_may_share_a_port() {
    let text = LEAST.replace("dataPort: 7777", "dataPort: 9000");
    assert_eq!(config(&text).data_ports[0].port, 9000);
}

#[test]
fn ports_of_a_mapping_stand_where_it_says() {
    let ports = |written: &str| config(&LEAST.replace("portName: game", written)).mappings.remove(0).ports;
    assert_eq!(ports("portName: game"), PortsSource::One(PortSource::Name("game".to_owned())));
    assert_eq!(ports("portPath: status.port"), PortsSource::One(PortSource::Path("status.port".to_owned())));
    let named = vec![("default".to_owned(), PortSource::Path("a.b".to_owned()))];
    assert_eq!(ports("ports: [{name: default, portPath: a.b}]"), PortsSource::Named(named));
}

#[test]
fn service_gives_address_and_port() {
    let by_service = "serviceSelectorLabel: game, serviceTargetPortName: udp";
    let text = LEAST.replace("addressPath: status.podIP, portName: game", by_service);
    let mapping = config(&text).mappings.remove(0);
    let service = mapping.service.expect("a Service");
    assert_eq!((&*service.selector_label, &*service.target_port_name), ("game", "udp"));
    assert_eq!(mapping.ports, PortsSource::One(PortSource::Name("udp".to_owned())));
}

#[test]
fn listeners_that_collide_are_refused() {
    for (ports, error) in [
        (
            "dataPorts: [{name: a, port: 1, protocol: udp}]\ndataPort: 2",
            "2:11: dataPort: \"dataPorts\" is given too; give one of them",
        ),
        ("workers: 1", "1:1: a data port is missing; give \"dataPort\" or \"dataPorts\""),
        (
            "dataPorts: [{name: a, port: 1, protocol: udp}, {name: a, port: 2, protocol: udp}]",
            "1:55: dataPorts[1].name: \"a\" is the name of dataPorts[0] already",
        ),
        (
            "dataPorts: [{name: a, port: 1, protocol: udp}, {name: b, port: 1, protocol: udp}]",
            "1:64: dataPorts[1].port: 1 is given for dataPorts[0].port already, by the same protocol",
        ),
        (
            "dataPorts: [{name: a, port: 9090, protocol: tcp}]",
            "1:29: dataPorts[0].port: 9090 is given for adminPort already, by the same protocol",
        ),
        (
            "dataPort: 1\nadminPort: 9000",
            "2:12: adminPort: 9000 is given for queryPort already, by the same protocol",
        ),
    ] {
        let text = LEAST.replace("dataPort: 7777", ports);
        assert_eq!(errors(&text), format!("config.yaml:{error}"), "{ports}");
    }
}

/// What a template leaves whose value is missing must not open every namespace.
#[test]
fn empty_list_of_namespaces_is_refused() {
    let text = LEAST.replace("portName: game", "portName: game, namespaces: []");
    let problem = "namespaces: has 0 entries; it must be a list of 1 to 1024 entries";
    assert!(errors(&text).contains(problem), "{}", errors(&text));
}

#[test]
fn mapping_that_says_too_little_or_too_much_is_refused() {
    for (written, error) in [
        (
            "addressPath: a",
            "needs one of \"portName\", \"portPath\", \"ports\" and \"serviceTargetPortName\"",
        ),
        (
            "addressPath: a, portName: a, portPath: b",
            "takes only one of \"portName\", \"portPath\", \"ports\" and \"serviceTargetPortName\"",
        ),
        ("serviceSelectorLabel: a, portName: b", "\"serviceSelectorLabel\" needs \"serviceTargetPortName\""),
        ("serviceTargetPortName: b", "\"serviceTargetPortName\" needs \"serviceSelectorLabel\""),
        (
            "serviceSelectorLabel: a, serviceTargetPortName: b, addressPath: c",
            "addressPath: the address comes from the Service already",
        ),
        (
            "serviceSelectorLabel: a, serviceTargetPortName: b, addressType: c",
            "addressType: needs \"addressPath\", where the list stands",
        ),
        (
            "addressPath: a, ports: [{name: other, portName: b}]",
            "ports[0].name: \"other\" is no data port; there are \"default\"",
        ),
        (
            "addressPath: a, ports: [{name: default, portName: b}, {name: default, portName: b}]",
            "ports[1].name: \"default\" is given twice",
        ),
        ("addressPath: a, ports: [{name: default}]", "ports[0]: needs either \"portName\" or \"portPath\""),
        (
            "addressPath: a, portName: b, readyWhen: [{jsonPath: '$..*..*', expectedValue: 1}]",
            "readyWhen[0].jsonPath: it has more than one '..'",
        ),
        (
            "addressPath: a, portName: b, readyWhen: [{jsonPath: a}]",
            "readyWhen[0]: needs either \"expectedValue\" or \"expectedValues\"",
        ),
    ] {
        let text = LEAST.replace(PODS, &format!("group: '', version: v1, resource: pods, {written}"));
        let [problem] = &problems(&text)[..] else { panic!("{written}: {:?}", problems(&text)) };
        let key = problem.key.strip_prefix("resourceQueryMapping.pods").expect("a key of the mapping");
        let key = key.strip_prefix('.').map_or_else(String::new, |key| format!("{key}: "));
        assert_eq!(format!("{key}{}", problem.text), error, "{written}");
        assert_eq!(problem.place.expect("a place").line, 5);
    }
}

#[test]
fn nodes_are_followed_for_the_kinds_whose_node_is_known() {
    for (resource, error) in [
        ("group: '', version: v1, resource: pods", None),
        ("group: agones.dev, version: v1, resource: gameservers", None),
        (
            "group: example.com, version: v1, resource: matches, addressPath: status.ip",
            Some("is for pods and gameservers: of no other resource is it known on which Node it runs"),
        ),
    ] {
        let text = LEAST.replace(PODS, &format!("{resource}, portName: game, followNodes: true"));
        let found = problems(&text);
        assert_eq!(found.first().map(|problem| &*problem.text), error, "{resource}");
        if error.is_none() {
            assert!(config(&text).mappings[0].follow_nodes);
        }
    }
}

#[test]
fn address_path_may_be_left_out_for_the_kinds_whose_address_is_known() {
    for (group, resource, error) in [
        ("''", "pods", None),
        ("agones.dev", "gameservers", None),
        ("''", "services", Some("needs \"addressPath\", or \"serviceSelectorLabel\"")),
        ("example.com", "gameservers", Some("needs \"addressPath\", or \"serviceSelectorLabel\"")),
    ] {
        let written = format!("group: {group}, version: v1, resource: {resource}, portName: game");
        let problems = problems(&LEAST.replace(PODS, &written));
        assert_eq!(problems.first().map(|problem| &*problem.text), error, "{written}");
    }
}

#[test]
fn default_endpoint_that_can_match_nothing_is_refused() {
    for (written, error) in [
        (
            "resourceType: lobby",
            "6:33: defaultEndpoint.resourceType: \"lobby\" is no key of resourceQueryMapping; there are \"pods\"",
        ),
        (
            "resourceType: pdos",
            "6:33: defaultEndpoint.resourceType: \"pdos\" is no key of resourceQueryMapping; did you mean \"pods\"?",
        ),
        ("resourceType: pods", "6:18: defaultEndpoint: needs \"namespace\": its mapping has not just one"),
        (
            "resourceType: pods, namespace: n, labelSelector: 'a in b'",
            "6:68: defaultEndpoint.labelSelector: at character 6, \"b\" stands where '(' is due",
        ),
        (
            "resourceType: pods, namespace: n, statusQuery: {jsonPath: 'a[', expectedValue: 1}",
            "6:77: defaultEndpoint.statusQuery.jsonPath: it is no JSONPath (RFC 9535)",
        ),
        (
            "resourceType: pods, namespace: n, statusQuery: {jsonPath: a}",
            "6:18: defaultEndpoint: statusQuery takes either expectedValue, or expectedValues",
        ),
    ] {
        let errors = errors(&format!("{LEAST}defaultEndpoint: {{{written}}}"));
        assert!(errors.starts_with(&format!("config.yaml:{error}")), "{written}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let text = LEAST.replace("portName: game", "portName: game, namespaces: [a, b]");
    let errors = errors(&format!("{text}defaultEndpoint: {{resourceType: pods, namespace: c}}"));
    assert_eq!(
        errors,
        "config.yaml:6:50: defaultEndpoint.namespace: \"c\" is none of the mapping's namespaces"
    );
}

#[test]
fn settings_of_another_strategy_are_refused() {
    for (written, expected) in [
        ("type: first, overlap: 1", "6:39: loadBalancing.overlap: is for the type labelArithmetic alone"),
        ("maxLabel: a", "6:27: loadBalancing.maxLabel: is for the type labelArithmetic alone"),
        (
            "type: labelArithmetic, maxLabel: a",
            "6:16: loadBalancing: the type labelArithmetic needs \"currentLabel\"",
        ),
        (
            "type: leastSesions",
            "6:23: loadBalancing.type: \"leastSesions\" is not one of \"first\", \"random\", \"roundRobin\", \
             \"leastSessions\", \"leastLoaded\", \"labelArithmetic\", \"packed\", \"stickyKey\"; did you mean \"leastSessions\"?",
        ),
    ] {
        let errors = errors(&format!("{LEAST}loadBalancing: {{{written}}}"));
        assert_eq!(errors, format!("config.yaml:{expected}"));
    }
}
