//! Which requests each service account has made, read from the server's audit log.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// What the server is told to write down: the requests of service accounts, when they are answered; a watch
/// when it begins and when it ends.
pub(crate) const POLICY: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;

/// One request of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `list`, `get`, `watch`, `patch`..., as RBAC has it.
    pub verb: String,
    /// `RESOURCE[.GROUP][/SUBRESOURCE]`, or the path where it is about no resource.
    pub resource: String,
    /// The namespace; empty when it is about all, or a resource that has none.
    pub namespace: String,
    /// The HTTP status of the answer: 403 when RBAC refuses.
    pub code: u64,
    /// False when a watch has only begun.
    pub is_complete: bool,
}

/// The requests of a user, in the order of their answers. A last line that is half written does not count.
pub(crate) fn read(log: &Path, user: &str) -> Vec<Request> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["user"]["username"] == user).map(|event| request(&event)).collect()
}

fn request(event: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let part = |separator: &str, key: &str| object[key].as_str().map(|value| format!("{separator}{value}"));
    let resource = part("", "resource").map(|name| {
        name + &part(".", "apiGroup").unwrap_or_default() + &part("/", "subresource").unwrap_or_default()
    });
    Request {
        verb: text(&event["verb"]),
        resource: resource.unwrap_or_else(|| text(&event["requestURI"])),
        namespace: text(&object["namespace"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        is_complete: event["stage"] == "ResponseComplete",
    }
}
