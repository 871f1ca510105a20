//! Backends by the handle that sealed tokens have for them.

use crate::seal::Handle;

/// The handle and position of each backend, ordered by handle.
#[derive(Debug, Default)]
pub(super) struct Handles(Vec<(Handle, u32)>);

impl Handles {
    /// Those of backends with these ids, in their order.
    pub(super) fn of<'a>(ids: impl Iterator<Item = &'a str>) -> Handles {
        let mut handles: Vec<_> = (0..).zip(ids).map(|(position, id)| (Handle::of(id), position)).collect();
        handles.sort_unstable();
        Handles(handles)
    }

    /// Where the backend with that handle is; `None` where none or more than one has it.
    pub(super) fn only(&self, handle: Handle) -> Option<u32> {
        let start = self.0.partition_point(|(other, _)| *other < handle);
        let mut alike = self.0[start..].iter().take_while(|(other, _)| *other == handle);
        match (alike.next(), alike.next()) {
            (Some((_, position)), None) => Some(*position),
            _ => None,
        }
    }
}
