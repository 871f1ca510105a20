//! Resource versions, as far as they can be compared.

/// Whether `now` is older than `before`, although the API server told it later: its storage was
/// restored from an older state.
///
/// Versions are revisions of one storage and grow with each write (KEP-5504 makes that a promise).
/// Those that are no numbers are never older.
pub(super) fn went_back(before: &str, now: &str) -> bool {
    match (before.parse::<u64>(), now.parse::<u64>()) {
        (Ok(before), Ok(now)) => now < before,
        _ => false,
    }
}
