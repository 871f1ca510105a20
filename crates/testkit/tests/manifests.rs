//! Holds the examples for Kubernetes and the rendered manifests to the director's own rules: every
//! configuration is accepted and matches its objects, and what the chart makes of it is what the
//! director needs. That the manifests are what the chart renders is the affair of `scripts/manifests`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use udp_director_core::{BackendSpec, Inventory, Ports, Protocol};
use udp_director_director::config::{Config, InventorySource};
use udp_director_director::rbac::{Named, roles_for};
use udp_director_inventory::{Targets, snapshot};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The folders of `examples/kubernetes` that hold a configuration.
fn examples() -> Vec<String> {
    let entries = fs::read_dir(root("examples/kubernetes")).expect("the examples");
    let folders = entries.map(|entry| entry.expect("an entry").path());
    let with_config = folders.filter(|folder| folder.join("config.yaml").is_file());
    let mut names: Vec<String> = with_config
        .map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

fn config(path: &str) -> Config {
    Config::read(&root(path)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn example_config(example: &str) -> Config {
    config(&format!("examples/kubernetes/{example}/config.yaml"))
}

/// Each manifest, with the path of the configuration that it was rendered from.
fn manifests() -> Vec<(String, String)> {
    let of = |manifest: &str, example: &str| {
        let manifest = format!("deploy/manifests/{manifest}.yaml");
        (manifest, format!("examples/kubernetes/{example}/config.yaml"))
    };
    let mut all: Vec<_> = examples().iter().map(|example| of(example, example)).collect();
    all.push(of("udp-director", "agones-gameservers"));
    all
}

fn objects(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn one(path: &str, kind: &str, name: &str) -> Value {
    let is_it = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects(path).into_iter().find(is_it).unwrap_or_else(|| panic!("{path} has no {kind} {name}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_example_watches_the_cluster_and_matches_its_objects() {
    let one = |port: u16| Ports::One(port);
    let named = |ports: &[(&str, u16)]| {
        Ports::Named(ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect())
    };
    let expected: BTreeMap<&str, Vec<(&str, &str, Ports)>> = BTreeMap::from([
        (
            "single-port-pods",
            vec![("arena-1", "10.244.1.11", one(7000)), ("arena-2", "10.244.1.12", one(7000))],
        ),
        (
            "multi-port-pods",
            vec![("arena-1", "10.244.1.21", named(&[("game", 7000), ("console", 7001), ("voice", 7002)]))],
        ),
        (
            "agones-gameservers",
            vec![("arena-1", "10.244.1.31", one(7654)), ("arena-2", "10.244.1.32", one(7654))],
        ),
        (
            "agones-allocation",
            vec![("arena-1", "10.244.1.71", one(7654)), ("arena-2", "10.244.1.72", one(7654))],
        ),
        ("agones-services", vec![("arena-1", "10.244.1.41", one(7654))]),
        (
            "dns-and-ntp",
            vec![
                ("dns-1", "10.244.1.51", named(&[("dns", 5353), ("dns-tcp", 5353)])),
                ("ntp-1", "10.244.1.52", named(&[("ntp", 1123)])),
            ],
        ),
        (
            "annotations-with-capacity",
            vec![("arena-1", "10.244.1.61", one(7000)), ("arena-2", "10.244.1.62", one(7000))],
        ),
    ]);
    assert_eq!(
        examples().iter().map(String::as_str).collect::<Vec<_>>(),
        Vec::from_iter(expected.keys().copied())
    );
    for (example, expected) in expected {
        let config = example_config(example);
        assert_eq!(config.inventory, InventorySource::Kubernetes, "{example}");
        let text = read(&format!("examples/kubernetes/{example}/objects.yaml"));
        let inventory = snapshot(&text, &config.mappings, &Targets::default(), &Inventory::default());
        let inventory = inventory.unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(inventory.refused(), [], "{example}");
        let specs: Vec<_> = inventory.backends().iter().map(|backend| backend.spec.share()).collect();
        let found: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.address.to_string(), spec.ports.clone()))
            .collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(name, address, ports)| (name, address.to_owned(), ports)).collect();
        assert_eq!(found, expected, "{example}");
        // Of those that are to be allocated only those take players that are.
        let is_ready =
            |spec: &BackendSpec| spec.accepting() || config.allocations.contains_key(&spec.resource_type);
        assert!(
            specs.iter().all(|spec| is_ready(spec)) && specs.iter().any(|spec| spec.accepting()),
            "{example}"
        );
    }
}

#[test]
fn every_manifest_holds_its_configuration() {
    for (manifest, config) in manifests() {
        let map = one(&manifest, "ConfigMap", "udp-director");
        assert_eq!(map["data"], json!({"config.yaml": read(&config)}), "{manifest}");
    }
}

/// Roles and bindings, without labels.
fn roles(objects: Vec<Value>) -> Vec<Value> {
    let of_rbac = |object: &Value| object["apiVersion"] == "rbac.authorization.k8s.io/v1";
    let mut roles: Vec<Value> = objects.into_iter().filter(of_rbac).collect();
    for role in &mut roles {
        role["metadata"].as_object_mut().expect("metadata").remove("labels");
    }
    // Helm orders by kind.
    roles.sort_by_key(|role| format!("{} {}", role["kind"], role["metadata"]));
    roles
}

#[test]
fn chart_grants_what_rbac_prints() {
    let tests = "crates/testkit/tests/manifests";
    let mut all = manifests();
    all.push((format!("{tests}/every-proof.roles.yaml"), format!("{tests}/every-proof.yaml")));
    let account = Named { namespace: "udp-director".to_owned(), name: "udp-director".to_owned() };
    for (manifest, path) in all {
        let printed = roles_for(&config(&path), &account, None);
        let printed = serde_saphyr::from_multiple(&printed).expect("YAML");
        let granted = roles(objects(&manifest));
        assert_eq!(granted, roles(printed), "{manifest}");
        assert!(!granted.is_empty(), "{manifest}");
    }
}

/// Protocol and port of each data port and of the query port.
fn public_ports(config: &Config) -> Vec<(&'static str, u64)> {
    let data = config.data_ports.iter().map(|port| match port.protocol {
        Protocol::Udp => ("UDP", port.port.into()),
        Protocol::Tcp => ("TCP", port.port.into()),
    });
    data.chain([("TCP", config.query_port.into())]).collect()
}

#[test]
fn public_service_leads_to_every_public_port_and_to_no_other() {
    for (manifest, path) in manifests() {
        let config = config(&path);
        let deployment = one(&manifest, "Deployment", "udp-director");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let of_container = |name: &Value| {
            let port = list(&container["ports"]).iter().find(|port| port["name"] == *name);
            port.and_then(|port| Some((port["protocol"].as_str()?, port["containerPort"].as_u64()?)))
        };
        let service = one(&manifest, "Service", "udp-director");
        let reached: Vec<_> =
            list(&service["spec"]["ports"]).iter().map(|port| of_container(&port["targetPort"])).collect();
        let expected: Vec<_> = public_ports(&config).into_iter().map(Some).collect();
        assert_eq!(reached, expected, "{manifest}");
        assert_eq!(of_container(&json!("admin")), Some(("TCP", config.admin_port.into())), "{manifest}");
        let open = &one(&manifest, "NetworkPolicy", "udp-director")["spec"]["ingress"][0];
        let open: Vec<_> = list(&open["ports"]).iter().map(|port| of_container(&port["port"])).collect();
        assert_eq!(open, expected, "{manifest}");
    }
}

#[test]
fn token_keys_are_mounted_as_a_folder_where_the_configuration_looks_for_them() {
    let tests = "crates/testkit/tests/manifests";
    let keys = config(&format!("{tests}/sealed-tokens.yaml")).tokens.keys.expect("a folder of keys");
    let deployment = one(&format!("{tests}/sealed-tokens.deployment.yaml"), "Deployment", "udp-director");
    let pod = &deployment["spec"]["template"]["spec"];
    let mounts = list(&pod["containers"][0]["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == "token-keys").expect("a mount");
    assert_eq!(*mount, json!({"name": "token-keys", "mountPath": keys, "readOnly": true}));
    let volume =
        list(&pod["volumes"]).iter().find(|volume| volume["name"] == "token-keys").expect("a volume");
    assert_eq!(volume["secret"], json!({"secretName": "token-keys"}));
    assert_eq!(deployment["spec"]["replicas"], 2);
    for (manifest, _) in manifests() {
        let pod = &one(&manifest, "Deployment", "udp-director")["spec"]["template"]["spec"];
        let keys = list(&pod["volumes"]).iter().filter(|volume| volume["name"] == "token-keys");
        assert_eq!(keys.count(), 0, "no keys where none are asked for: {manifest}");
    }
}

#[test]
fn pod_may_take_longer_to_end_than_its_drain_and_has_a_volume_for_its_journal() {
    for (manifest, file) in manifests() {
        let pod = &one(&manifest, "Deployment", "udp-director")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let config = config(&file);
        let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(grace >= sleep + config.drain_for.as_secs() + 10, "{manifest}: {grace}");
        let mounts = list(&container["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == "journal");
        let dir = mount.map(|mount| mount["mountPath"].as_str().expect("a path").into());
        assert_eq!(dir, config.journal, "{manifest}");
    }
}

#[test]
fn container_has_no_rights_that_it_does_not_need() {
    for (manifest, _) in manifests() {
        let pod = &one(&manifest, "Deployment", "udp-director")["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{manifest}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{manifest}");
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(pod["containers"][0]["securityContext"], expected, "{manifest}");
        assert_eq!(pod["hostNetwork"], Value::Null, "{manifest}");
        let ports = list(&pod["containers"][0]["ports"]);
        assert!(ports.iter().all(|port| port["containerPort"].as_u64() >= Some(1024)), "{manifest}");
    }
}

#[test]
fn network_policy_lets_out_to_the_namespaces_of_the_mappings() {
    for (manifest, path) in manifests() {
        let mut namespaces: Vec<String> =
            config(&path).mappings.into_iter().flat_map(|mapping| mapping.namespaces).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let selector = |name: &String| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
        let expected: Vec<Value> = namespaces.iter().map(selector).collect();
        let policy = one(&manifest, "NetworkPolicy", "udp-director");
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{manifest}");
        assert_eq!(policy["spec"]["egress"][0], json!({"to": expected}), "{manifest}");
    }
}
