//! An object as Kubernetes writes it, read with care: any field can be missing or of a wrong type.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use udp_director_core::ObjectRef;

use crate::reason::Reason;

/// An object and what tells it from others. What is missing or no text reads as the empty text.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) value: &'a Value,
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    /// `default` where the object has none.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Object<'a> {
    pub(crate) fn new(value: &'a Value) -> Object<'a> {
        let metadata = &value["metadata"];
        let namespace = match &metadata["namespace"] {
            Value::Null => "default",
            namespace => text(namespace),
        };
        Object {
            value,
            api_version: text(&value["apiVersion"]),
            kind: text(&value["kind"]),
            namespace,
            name: text(&metadata["name"]),
        }
    }

    pub(crate) fn to_ref(self) -> ObjectRef {
        ObjectRef { kind: self.kind.into(), namespace: self.namespace.into(), name: self.name.into() }
    }

    /// Refuses an object that cannot be told from others.
    pub(crate) fn check_names(self) -> Result<(), Reason> {
        for (field, value) in [("metadata.name", self.name), ("metadata.namespace", self.namespace)] {
            if value.is_empty() {
                return Err(Reason::NotAText(field));
            }
        }
        Ok(())
    }

    /// The UID; for an object that nobody created in a cluster, a text that stands for it and no UID
    /// can equal.
    pub(crate) fn uid(self) -> String {
        match text(&self.value["metadata"]["uid"]) {
            "" => format!("{}/{}/{}", self.kind, self.namespace, self.name),
            uid => uid.to_owned(),
        }
    }

    pub(crate) fn is_pod(self) -> bool {
        self.api_version == "v1" && self.kind == "Pod"
    }

    pub(crate) fn is_node(self) -> bool {
        self.api_version == "v1" && self.kind == "Node"
    }

    pub(crate) fn is_game_server(self) -> bool {
        self.api_version.starts_with("agones.dev/") && self.kind == "GameServer"
    }

    pub(crate) fn label(self, key: &str) -> &'a str {
        text(&self.value["metadata"]["labels"][key])
    }

    pub(crate) fn annotation(self, key: &str) -> &'a str {
        text(&self.value["metadata"]["annotations"][key])
    }

    pub(crate) fn labels(self) -> Result<BTreeMap<String, String>, Reason> {
        texts(&self.value["metadata"]["labels"], "metadata.labels")
    }

    /// All annotations but those longer than 4 KiB, which nobody selects by, and the one that holds the
    /// object's whole `spec`, environment variables included.
    pub(crate) fn annotations(self) -> Result<BTreeMap<String, String>, Reason> {
        let what = "metadata.annotations";
        let mut annotations = texts(&self.value["metadata"]["annotations"], what)?;
        let bytes = |annotations: &BTreeMap<String, String>| -> usize {
            annotations.iter().map(|(key, value)| key.len() + value.len()).sum()
        };
        check_size(what, bytes(&annotations), MOST_ANNOTATIONS)?;
        annotations.retain(|key, value| key != LAST_APPLIED && value.len() <= LONGEST_ANNOTATION);
        check_size("what is kept of metadata.annotations", bytes(&annotations), MOST_ANNOTATIONS_KEPT)?;
        Ok(annotations)
    }

    /// What a status query sees.
    pub(crate) fn view(
        self,
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Value, Reason> {
        let status = self.status();
        check_size("status", weight(&status), MOST_STATUS)?;
        Ok(json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": labels,
                "annotations": annotations,
            },
            "status": status,
        }))
    }

    /// The status, without what no player chooses by and what takes most of the room: what is empty,
    /// what kubelet notes of a Pod's containers, when and why its conditions came about, and a
    /// GameServer's addresses, of which the backend has the right one.
    fn status(self) -> Value {
        let Value::Object(status) = &self.value["status"] else { return self.value["status"].clone() };
        let is_kept = |key: &str| match (self.is_pod(), self.is_game_server()) {
            (true, _) => !key.ends_with("ontainerStatuses"),
            (_, true) => key != "addresses",
            _ => true,
        };
        let kept = status.iter().filter(|(key, _)| is_kept(key));
        Value::Object(kept.filter_map(|(key, value)| Some((key.clone(), pruned(value)?))).collect())
    }
}

/// The value without its empty parts, and without the times and texts of conditions; `None` where
/// nothing is left.
fn pruned(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(entries) if entries.is_empty() => None,
        Value::Object(map) if map.is_empty() => None,
        // Places count in a list, so entries stay.
        Value::Array(entries) => {
            Some(entries.iter().map(|entry| pruned(entry).unwrap_or(Value::Null)).collect())
        }
        Value::Object(map) => {
            let is_condition = map.contains_key("type") && map.contains_key("lastTransitionTime");
            let is_kept = |key: &str| !is_condition || ["type", "status", "reason"].contains(&key);
            let kept = map.iter().filter(|(key, _)| is_kept(key));
            Some(kept.filter_map(|(key, value)| Some((key.clone(), pruned(value)?))).collect())
        }
        scalar => Some(scalar.clone()),
    }
}

/// The text of a value; empty where it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value, field: &'static str) -> Result<BTreeMap<String, String>, Reason> {
    let object = match value {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(object) => object,
        _ => return Err(Reason::NotTexts(field)),
    };
    let pair = |(key, value): (&String, &Value)| match value {
        Value::String(value) => Ok((key.clone(), value.clone())),
        _ => Err(Reason::NotAQuotedText { field, key: key.clone() }),
    };
    object.iter().map(pair).collect()
}

fn check_size(what: &'static str, bytes: usize, most: usize) -> Result<(), Reason> {
    if bytes > most { Err(Reason::TooLarge { what, bytes, most }) } else { Ok(()) }
}

/// About how many bytes of JSON a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(entries) => entries.iter().map(|entry| weight(entry) + 1).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value) + 4).sum::<usize>() + 2,
        _ => 8,
    }
}

/// What the API server itself takes.
const MOST_ANNOTATIONS: usize = 256 << 10;
const MOST_ANNOTATIONS_KEPT: usize = 32 << 10;
const LONGEST_ANNOTATION: usize = 4 << 10;
const MOST_STATUS: usize = 64 << 10;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
