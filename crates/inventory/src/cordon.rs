//! Cordoned Nodes: which of them take no new Pods, and what that means for a backend there.

use std::sync::Arc;

use udp_director_core::{BackendSpec, Withheld};

use crate::object::{Object, text};

/// The name of the Node on which a Pod or a GameServer runs, once it has been put on one.
pub(crate) fn node_of(object: Object<'_>) -> Option<&str> {
    let name = match () {
        () if object.is_pod() => text(&object.value["spec"]["nodeName"]),
        () if object.is_game_server() => text(&object.value["status"]["nodeName"]),
        () => "",
    };
    (!name.is_empty()).then_some(name)
}

/// Whether the object is a Node that `kubectl cordon`, or whoever else means to empty it, has closed to
/// new Pods.
pub(crate) fn is_cordoned(object: Object<'_>) -> bool {
    object.is_node() && object.value["spec"]["unschedulable"] == true
}

/// Says of a backend that its Node is cordoned, or no longer. What withholds it otherwise is said
/// instead. A spec that says so already stays the very same.
pub(crate) fn cordon(spec: &mut Arc<BackendSpec>, is_cordoned: bool) {
    let withheld = match (&spec.withheld, is_cordoned) {
        (None, true) => Some(Withheld::Cordoned),
        (Some(Withheld::Cordoned), false) => None,
        _ => return,
    };
    *spec = Arc::new(BackendSpec { withheld, ..BackendSpec::clone(spec) });
}
