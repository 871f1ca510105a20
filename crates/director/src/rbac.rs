//! Roles for a configuration: what a director may do in the cluster, which is to watch what its
//! mappings need, to allocate where they say so, and nothing else.
//!
//! ```text
//! Needed (group, resource, namespace or all) --\
//! Allocated (namespace, what is given back) ----by namespace--> rules --> Role, ClusterRole, bindings
//! ```
//! The Helm chart does the same in `templates/_helpers.tpl`; a test of the testkit compares them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use udp_director_core::Unclaimed;
use udp_director_inventory::Mapping;
use udp_director_inventory::kubernetes::{Needed, needed};

use crate::config::{Config, InventorySource};

/// A ServiceAccount, or a ConfigMap: a name in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A namespace in which servers are allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The namespace.
    pub namespace: String,
    /// What becomes of those that no player took.
    pub unclaimed: Unclaimed,
}

/// The Roles that a configuration needs, as [`rbac`] writes them.
pub fn roles_for(config: &Config, account: &Named, followed: Option<&Named>) -> String {
    let watched = match config.inventory {
        InventorySource::File(_) => Vec::new(),
        InventorySource::Kubernetes => needed(&config.mappings),
    };
    rbac(&watched, &allocated(config), account, followed)
}

fn allocated(config: &Config) -> Vec<Allocated> {
    let of = |mapping: &Mapping| {
        let unclaimed = config.allocations.get(&mapping.resource_type)?.unclaimed;
        let one = move |namespace: &String| Allocated { namespace: namespace.clone(), unclaimed };
        Some(mapping.namespaces.iter().map(one).collect::<Vec<_>>())
    };
    config.mappings.iter().filter_map(of).flatten().collect()
}

/// The Roles, and the bindings that give them to `account`, as the documents of one YAML text, ordered
/// by namespace. A ClusterRole is among them only where something is watched outside of a namespace.
/// `followed` is the ConfigMap that `--config-map` names, of which the director also tells by Events.
/// Every object has the account's name. Without anything to grant the text is a comment.
pub fn rbac(needed: &[Needed], allocated: &[Allocated], account: &Named, followed: Option<&Named>) -> String {
    let mut texts = Vec::new();
    for (scope, rules) in scopes(needed, allocated, followed) {
        for object in [role(&scope, &rules, account), binding(&scope, account)] {
            texts.push(yaml(&object));
        }
    }
    if texts.is_empty() {
        return "# This configuration watches nothing in the cluster.\n".to_owned();
    }
    texts.join("---\n")
}

/// Where a Role holds: `None` is the whole cluster.
type Scope = Option<String>;

fn scopes(
    needed: &[Needed],
    allocated: &[Allocated],
    followed: Option<&Named>,
) -> BTreeMap<Scope, Vec<Value>> {
    let mut watched: BTreeMap<Scope, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for need in needed {
        let groups = watched.entry(need.namespace.clone()).or_default();
        groups.entry(&need.group).or_default().insert(&need.resource);
    }
    let rules = |groups: BTreeMap<&str, BTreeSet<&str>>| groups.into_iter().map(watch).collect();
    let mut scopes: BTreeMap<Scope, Vec<Value>> =
        watched.into_iter().map(|(scope, groups)| (scope, rules(groups))).collect();
    let mut given_back: BTreeMap<&String, BTreeSet<&str>> = BTreeMap::new();
    for Allocated { namespace, unclaimed } in allocated {
        given_back.entry(namespace).or_default().extend(verb(*unclaimed));
    }
    for (namespace, verbs) in given_back {
        scopes.entry(Some(namespace.clone())).or_default().extend(allocate(&verbs));
    }
    if let Some(map) = followed {
        scopes.entry(Some(map.namespace.clone())).or_default().extend(follow(&map.name));
    }
    scopes
}

fn watch((group, resources): (&str, BTreeSet<&str>)) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]})
}

/// Servers are allocated; those that no player took are given back by these verbs.
fn allocate(verbs: &BTreeSet<&str>) -> Vec<Value> {
    let rule = |group: &str, resource: &str, verbs: Value| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let mut rules = vec![rule("allocation.agones.dev", "gameserverallocations", json!(["create"]))];
    if !verbs.is_empty() {
        rules.push(rule("agones.dev", "gameservers", json!(verbs)));
    }
    rules
}

fn verb(unclaimed: Unclaimed) -> Option<&'static str> {
    match unclaimed {
        Unclaimed::Keep => None,
        Unclaimed::Delete => Some("delete"),
        Unclaimed::Ready => Some("patch"),
    }
}

/// One ConfigMap is listed and watched by its name; a further Event on it is a patch of the first.
fn follow(config_map: &str) -> [Value; 2] {
    [
        json!({
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [config_map],
            "verbs": ["list", "watch"],
        }),
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}),
    ]
}

fn role(scope: &Scope, rules: &[Value], account: &Named) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": role_kind(scope),
        "metadata": metadata(scope, account),
        "rules": rules,
    })
}

fn binding(scope: &Scope, account: &Named) -> Value {
    let kind = role_kind(scope);
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{kind}Binding"),
        "metadata": metadata(scope, account),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": account.name},
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
    })
}

fn role_kind(scope: &Scope) -> &'static str {
    if scope.is_some() { "Role" } else { "ClusterRole" }
}

fn metadata(scope: &Scope, account: &Named) -> Value {
    match scope {
        Some(namespace) => json!({"name": account.name, "namespace": namespace}),
        None => json!({"name": account.name}),
    }
}

fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(object).expect("a tree of texts is YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(group: &str, resource: &str, namespace: Option<&str>) -> Needed {
        Needed {
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    fn named(namespace: &str, name: &str) -> Named {
        Named { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn granted(needed: &[Needed], followed: Option<&Named>) -> Vec<Value> {
        let text = rbac(needed, &[], &named("proxy", "udp-director"), followed);
        serde_saphyr::from_multiple(&text).expect("YAML")
    }

    #[test]
    fn watches_are_granted_by_namespace_and_nothing_else_is() {
        let needed = [
            need("agones.dev", "gameservers", Some("games")),
            need("", "pods", Some("games")),
            need("", "pods", Some("games")),
            need("", "pods", Some("lobby")),
        ];
        let objects = granted(&needed, None);
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["Role", "RoleBinding", "Role", "RoleBinding"]);
        assert_eq!(objects[0]["metadata"], json!({"name": "udp-director", "namespace": "games"}));
        let watch = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]});
        assert_eq!(objects[0]["rules"], json!([watch("", "pods"), watch("agones.dev", "gameservers")]));
        assert_eq!(objects[2]["rules"], json!([watch("", "pods")]));
        let subject = json!({"kind": "ServiceAccount", "name": "udp-director", "namespace": "proxy"});
        assert_eq!(objects[1]["subjects"], json!([subject]));
    }

    #[test]
    fn cluster_role_is_given_only_for_what_has_no_namespace() {
        let objects = granted(&[need("", "nodes", None)], None);
        assert_eq!(
            (&objects[0]["kind"], &objects[1]["kind"]),
            (&json!("ClusterRole"), &json!("ClusterRoleBinding"))
        );
        assert_eq!(objects[0]["metadata"], json!({"name": "udp-director"}));
    }

    #[test]
    fn followed_config_map_is_read_by_name_and_told_of_by_events() {
        let objects = granted(&[], Some(&named("proxy", "settings")));
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["metadata"]["namespace"], "proxy");
        assert_eq!(objects[0]["rules"][0]["resourceNames"], json!(["settings"]));
        assert_eq!(objects[0]["rules"][1]["resources"], json!(["events"]));
    }

    #[test]
    fn allocation_is_granted_by_namespace_and_giving_back_only_as_configured() {
        let allocated = |namespace: &str, unclaimed| Allocated { namespace: namespace.to_owned(), unclaimed };
        let all = [
            allocated("a", Unclaimed::Keep),
            allocated("b", Unclaimed::Delete),
            allocated("c", Unclaimed::Delete),
            allocated("c", Unclaimed::Ready),
        ];
        let needed = [need("agones.dev", "gameservers", Some("a"))];
        let text = rbac(&needed, &all, &named("proxy", "udp-director"), None);
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        let create = json!({"apiGroups": ["allocation.agones.dev"], "resources": ["gameserverallocations"], "verbs": ["create"]});
        let servers = |verbs: &[&str]| json!({"apiGroups": ["agones.dev"], "resources": ["gameservers"], "verbs": verbs});
        let rules: Vec<&Value> = objects.iter().step_by(2).map(|role| &role["rules"]).collect();
        let expected = [
            json!([servers(&["list", "watch"]), create]),
            json!([create, servers(&["delete"])]),
            json!([create, servers(&["delete", "patch"])]),
        ];
        assert_eq!(rules, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_granted_to_a_director_without_a_cluster() {
        assert!(rbac(&[], &[], &named("proxy", "udp-director"), None).starts_with("# "));
    }
}
