//! Whether an object takes new players.

use std::time::SystemTime;

use serde_json::Value;
use udp_director_core::{StatusMatch, Withheld};

use crate::object::{Object, text};
use crate::reason::Brief;

/// A condition of a mapping, ready to be looked at.
pub(crate) struct ReadyWhen {
    pub(crate) path: String,
    pub(crate) holds: StatusMatch,
}

/// Why the object takes no new players: it ends, drains, is not ready by its kind's own signs, or a
/// condition of the mapping does not hold. One that takes none still is a backend: its running sessions
/// go on.
pub(crate) fn withheld(object: Object<'_>, conditions: &[ReadyWhen]) -> Option<Withheld> {
    if !object.value["metadata"]["deletionTimestamp"].is_null() {
        return Some(Withheld::Terminating);
    }
    if is_draining(object) {
        return Some(Withheld::Draining);
    }
    let unready = match () {
        () if object.is_pod() => pod_is_not_ready(object),
        () if object.is_game_server() => game_server_is_not_ready(object),
        () => None,
    };
    let failing = || conditions.iter().find(|condition| !condition.holds.matches(object.value));
    unready
        .map(|says| Withheld::NotReady(says.into()))
        .or_else(|| failing().map(|condition| Withheld::Condition(condition.path.as_str().into())))
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
fn pod_is_not_ready(object: Object<'_>) -> Option<String> {
    let status = &object.value["status"];
    if !status["phase"].is_null() && text(&status["phase"]) != "Running" {
        return Some(format!("its phase is {}", Brief::new(&status["phase"])));
    }
    let is_unready =
        |condition: &&Value| text(&condition["type"]) == "Ready" && text(&condition["status"]) != "True";
    let unready = status["conditions"].as_array()?.iter().find(is_unready)?;
    Some(match text(&unready["reason"]) {
        "" => "its condition Ready is not True".to_owned(),
        _ => format!("its condition Ready is not True ({})", Brief::new(&unready["reason"])),
    })
}

fn game_server_is_not_ready(object: Object<'_>) -> Option<String> {
    let state = &object.value["status"]["state"];
    let serves = state.is_null() || state.as_str().is_some_and(|state| !NOT_SERVING.contains(&state));
    (!serves).then(|| format!("its state is {}", Brief::new(state)))
}

const DRAINING: &str = "udp-director.io/draining";

/// The states of an Agones GameServer in which no game runs: before Ready, and at its end.
const NOT_SERVING: [&str; 8] =
    ["PortAllocation", "Creating", "Starting", "Scheduled", "RequestReady", "Shutdown", "Error", "Unhealthy"];
