//! The text of an inventory file to the next inventory.

use udp_director_core::Inventory;

use crate::backends::backends;
use crate::mapping::Mapping;
use crate::objects::{ObjectsError, read_objects};
use crate::targets::Targets;

/// The inventory that follows `previous` when the inventory file reads `text`. To be called again
/// with the same text when mappings or targets change.
///
/// # Errors
/// Says where the text is no list of objects; the previous inventory then stays in force. An object
/// that cannot be a backend is no error: it is found in [`Inventory::refused`].
pub fn snapshot(
    text: &str,
    mappings: &[Mapping],
    targets: &Targets,
    previous: &Inventory,
) -> Result<Inventory, ObjectsError> {
    let (specs, refused) = backends(&read_objects(text)?, mappings, targets);
    Ok(previous.next(specs, refused))
}
