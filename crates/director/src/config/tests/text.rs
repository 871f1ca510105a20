//! What YAML is read, and where problems are said to stand.

use proptest::prelude::*;

use super::*;
use crate::config::Place;

#[test]
fn what_is_no_configuration_is_refused_with_its_place() {
    for (text, error) in [
        ("", "config.yaml:1:1: the file holds no configuration"),
        ("# nothing yet\n", "config.yaml:2:1: the file holds no configuration"),
        ("[1]", "config.yaml:1:1: a list is not a mapping of keys"),
        ("7777", "config.yaml:1:1: 7777 is not a mapping of keys"),
        ("a: [", "config.yaml:1:4: unclosed bracket '['"),
        ("a: 1\n---\nb: 2\n", "config.yaml:3:1: only single YAML document expected but multiple found"),
        ("x: !secret y", "config.yaml:1:12: unsupported tag `!secret`"),
        ("? [a]\n: b", "config.yaml:1:3: expected string scalar"),
    ] {
        assert_eq!(errors(text), error, "{text}");
    }
}

#[test]
fn all_problems_are_named_in_the_order_of_their_lines() {
    let text = "\
queryPort: many
tokens: {kind: seeled, bindClientIp: yes}
sesionTimeoutSeconds: 3
loadBalancing: {strategy: {type: first}}
bindAddress:
adminPort: '90'
controlPacketMagicBytes: 5245534554
dataPorts: []
inventory: {kubernets: {}}
mapLabel: map
resourceQueryMapping: {a/b: {group: '', resource: pods}}
";
    let expected = "\
config.yaml:1:12: queryPort: \"many\" is not a whole number from 0 to 65535
config.yaml:2:16: tokens.kind: \"seeled\" is not one of \"random\", \"sealed\"; did you mean \"sealed\"?
config.yaml:2:38: tokens.bindClientIp: \"yes\" is not true or false
config.yaml:3:1: unknown key \"sesionTimeoutSeconds\"; did you mean \"sessionTimeoutSeconds\"?
config.yaml:4:17: loadBalancing: unknown key \"strategy\"; its keys stand directly under loadBalancing
config.yaml:5:12: bindAddress: has no value; give an IP address, such as \"0.0.0.0\"
config.yaml:6:12: adminPort: \"90\" is not a whole number from 0 to 65535; take the quotes away
config.yaml:7:26: controlPacketMagicBytes: 5245534554 is not 4 to 16 bytes in hexadecimal (8 to 32 digits), \
such as \"FFFFFFFF5245534554\"; put it in quotes
config.yaml:8:12: dataPorts: has 0 entries; it must be a list of 1 to 64 entries
config.yaml:9:13: inventory: unknown key \"kubernets\"; did you mean \"kubernetes\"?
config.yaml:10:1: unknown key \"mapLabel\"; clients name labels in \"labelSelector\" of their query
config.yaml:11:24: resourceQueryMapping: the key \"a/b\" is not a name of 1 to 253 letters, digits, \"-\", \
\"_\" and \".\"
config.yaml:11:29: resourceQueryMapping.a/b: the key \"version\" is missing. The API version, such as `v1`.";
    assert_eq!(errors(text), expected);
}

#[test]
fn key_given_twice_is_refused_in_every_spelling() {
    for (twice, error) in [
        ("dataPort: 1", "config.yaml:6:1: the key \"dataPort\" is given twice; it stands on line 1 too"),
        ("data_port: 1", "config.yaml:6:1: the key \"data_port\" is given twice; it stands on line 1 too"),
        (
            "tokenTtlSeconds: 1\ntokenTTLSeconds: 1",
            "config.yaml:7:1: the key \"tokenTTLSeconds\" is given twice; it stands on line 6 too",
        ),
        (
            "defaultEndpoint: {resourceType: pods, namespace: a, labelSelector: {x: a, x: b}}",
            "config.yaml:6:75: defaultEndpoint.labelSelector: the key \"x\" is given twice; it stands on line 6 too",
        ),
    ] {
        assert_eq!(errors(&format!("{LEAST}{twice}")), error);
    }
}

#[test]
fn every_key_may_be_written_in_snake_case() {
    let snake = "\
query_port: 1
data_ports: [{name: a, port: 2, protocol: udp, proxy_protocol: v2}]
token_ttl_seconds: 3
load_balancing: {type: labelArithmetic, current_label: now, max_label: most}
inventory: {file: f}
default_endpoint: {resource_type: my_type, namespace: n, status_query: {json_path: a, expected_values: [b]}}
resource_query_mapping:
  my_type: {group: '', version: v1, resource: pods, address_path: a, port_name: p}
";
    let camel = "\
queryPort: 1
dataPorts: [{name: a, port: 2, protocol: udp, proxyProtocol: v2}]
tokenTtlSeconds: 3
loadBalancing: {type: labelArithmetic, currentLabel: now, maxLabel: most}
inventory: {file: f}
defaultEndpoint: {resourceType: my_type, namespace: n, statusQuery: {jsonPath: a, expectedValues: [b]}}
resourceQueryMapping:
  my_type: {group: '', version: v1, resource: pods, addressPath: a, portName: p}
";
    assert_eq!(config(snake), config(camel));
}

#[test]
fn anchors_and_merge_keys_are_read() {
    let text = "\
dataPort: 7777
inventory: {file: f}
resourceQueryMapping:
  a: &pods {group: '', version: v1, resource: pods, addressPath: status.podIP, portName: game}
  b: *pods
  c: {<<: *pods, portName: other}
";
    assert_eq!(config(text).mappings.len(), 3);
}

#[test]
fn what_would_grow_without_bound_is_refused() {
    let lol = |n: u32| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(","));
    let laughs = "l0: &l0 [ha]\n".to_owned() + &(1..10).map(lol).collect::<String>();
    for text in [laughs, "[".repeat(100_000), "- ".repeat(100_000), "a: [".to_owned() + &"1,".repeat(100_000)]
    {
        assert_eq!(problems(&text).len(), 1, "{}", &text[..20]);
    }
    let long = " ".repeat(Config::MAX_LEN + 1);
    assert_eq!(errors(&long), "config.yaml: is longer than 1048576 bytes");
    assert!(Config::parse(&format!("{LEAST}{}", &long[LEAST.len() + 1..]), Path::new("c")).is_ok());
}

#[test]
fn many_problems_are_counted_and_not_all_printed() {
    let text: String = (0..60).map(|n| format!("zzzzzzzz{n}: 1\n")).collect();
    let errors = errors(&text);
    assert_eq!(errors.lines().count(), 51);
    assert!(errors.ends_with("\nconfig.yaml: 11 more problems"), "{errors}");
}

#[test]
fn file_is_read_and_one_that_cannot_be_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.yaml");
    let error = || Config::read(&path).expect_err("refused").to_string();
    assert!(error().starts_with(&format!("{}: cannot be read: ", path.display())));
    std::fs::write(&path, [b'a', 0xff]).expect("a file");
    assert!(error().contains("cannot be read: "));
    std::fs::write(&path, " ".repeat(2 * Config::MAX_LEN)).expect("a file");
    assert!(error().contains("longer than 1048576 bytes"));
    std::fs::write(&path, LEAST).expect("a file");
    assert_eq!(Config::read(&path).expect("a configuration").query_port, 9000);
}

#[test]
fn place_of_a_problem_inside_a_list_is_that_of_the_value() {
    let text = LEAST.replace(
        "dataPort: 7777",
        "dataPorts: [{name: a, port: 1, protocol: udp}, {name: b, port: x, protocol: udp}]",
    );
    let [problem] = &problems(&text)[..] else { panic!("one problem") };
    assert_eq!(problem.place, Some(Place { line: 1, column: 64 }));
    assert_eq!(problem.key, "dataPorts[1].port");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        problems(&text);
    }

    #[test]
    fn no_yaml_makes_it_panic(text in "[a-z\\[\\]{}:, \n\t&*!?|>'\"#%@`~<0-9.-]{0,200}") {
        problems(&text);
    }

    #[test]
    fn no_edit_of_a_configuration_makes_it_panic(
        start in 0..EXAMPLE.len(),
        length in 0..40_usize,
        patch in "[a-zA-Z\\[\\]{}:, \n&*0-9.'-]{0,20}",
    ) {
        let end = (start + length).min(EXAMPLE.len());
        let (head, tail) = (EXAMPLE.get(..start), EXAMPLE.get(end..));
        if let (Some(head), Some(tail)) = (head, tail) {
            problems(&format!("{head}{patch}{tail}"));
        }
    }
}

const EXAMPLE: &str = include_str!("../../../../../examples/full.yaml");
