//! Whether an object takes new players.

use std::time::SystemTime;

use serde_json::Value;
use udp_director_core::StatusMatch;

use crate::object::{Object, text};

/// Whether the object is ready by its kind's own signs, does not end or drain, and meets the
/// mapping's conditions. One that does not still is a backend: its running sessions go on.
pub(crate) fn accepts(object: Object<'_>, conditions: &[StatusMatch]) -> bool {
    object.value["metadata"]["deletionTimestamp"].is_null()
        && !is_draining(object)
        && (!object.is_pod() || pod_is_ready(object))
        && (!object.is_game_server() || game_server_is_ready(object))
        && conditions.iter().all(|condition| condition.matches(object.value))
}

/// Whether the object is a Pod whose containers have all ended for good: its address may be another
/// Pod's by now.
pub(crate) fn has_ended(object: Object<'_>) -> bool {
    object.is_pod() && ["Succeeded", "Failed"].contains(&text(&object.value["status"]["phase"]))
}

/// When the time is over that the object has been given to end: what the API server writes as
/// `metadata.deletionTimestamp`. What is no time has been written by somebody else, and means now.
pub(crate) fn ends_at(object: Object<'_>) -> Option<SystemTime> {
    match &object.value["metadata"]["deletionTimestamp"] {
        Value::Null => None,
        written => {
            let time = written.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            Some(time.map_or(SystemTime::UNIX_EPOCH, SystemTime::from))
        }
    }
}

fn is_draining(object: Object<'_>) -> bool {
    object.label(DRAINING) == "true" || object.annotation(DRAINING) == "true"
}

/// A file written by hand may leave phase and conditions out; a cluster never does.
fn pod_is_ready(object: Object<'_>) -> bool {
    let status = &object.value["status"];
    let is_ready =
        |condition: &Value| text(&condition["type"]) != "Ready" || text(&condition["status"]) == "True";
    let conditions = status["conditions"].as_array();
    (status["phase"].is_null() || text(&status["phase"]) == "Running")
        && conditions.is_none_or(|conditions| conditions.iter().all(is_ready))
}

fn game_server_is_ready(object: Object<'_>) -> bool {
    let state = &object.value["status"]["state"];
    state.is_null() || state.as_str().is_some_and(|state| !NOT_SERVING.contains(&state))
}

const DRAINING: &str = "udp-director.io/draining";

/// The states of an Agones GameServer in which no game runs: before Ready, and at its end.
const NOT_SERVING: [&str; 8] =
    ["PortAllocation", "Creating", "Starting", "Scheduled", "RequestReady", "Shutdown", "Error", "Unhealthy"];
