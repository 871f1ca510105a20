//! The state of inventory and configuration, in words.

use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::metrics::Sources;

/// A few lines for an operator who wonders why nothing happens.
pub(super) struct Report<'a>(pub(super) &'a Sources);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.configuration(f)?;
        self.keys(f)?;
        self.inventory(f)
    }
}

impl Report<'_> {
    fn configuration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = &self.0.control;
        let generation = control.config_generation.load(Ordering::Relaxed);
        let rejections = control.config_rejections.load(Ordering::Relaxed);
        writeln!(f, "configuration: generation {generation}, {rejections} refused since the start")?;
        let fault = control.config_fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.as_str() {
            "" => Ok(()),
            fault => writeln!(f, "the file as it is now is refused: {fault}"),
        }
    }

    /// The token keys, by their ids: replicas have the same.
    fn keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = &self.0.control;
        let rejections = control.key_rejections.load(Ordering::Relaxed);
        let keys = control.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = &*keys else { return Ok(()) };
        let older = if keys.older.is_empty() { "none".to_owned() } else { keys.older.join(", ") };
        writeln!(
            f,
            "token keys: {} seals, older ones: {older}, {rejections} refused since the start",
            keys.current
        )?;
        let fault = control.key_fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.as_str() {
            "" => Ok(()),
            fault => writeln!(f, "the keys as they are now are refused: {fault}"),
        }
    }

    fn inventory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let control = &self.0.control;
        let generation = control.inventory_generation.load(Ordering::Relaxed);
        let rejections = control.inventory_rejections.load(Ordering::Relaxed);
        let age = self.0.inventory_age().as_secs();
        self.cluster(f)?;
        let inventory = Arc::clone(self.0.ledger.lock().inventory());
        let (backends, refused) = (inventory.backends().len(), inventory.refused());
        writeln!(
            f,
            "inventory: generation {generation}, found current {age} s ago, {rejections} refused since the start"
        )?;
        writeln!(f, "backends: {backends}, objects that are none: {}", refused.len())?;
        refused
            .iter()
            .take(MAX_REFUSED)
            .try_for_each(|object| writeln!(f, "{}: {}", object.object, object.reason))
    }

    /// What is followed in the cluster, and what has not been listed once.
    fn cluster(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = self.0.control.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cluster) = &*cluster else { return Ok(()) };
        cluster.awaited.iter().try_for_each(|awaited| writeln!(f, "not listed yet: {awaited}"))?;
        cluster.watches.iter().try_for_each(|watch| {
            let restarts: u64 = watch.restarts.values().sum();
            let (age, error) = (watch.age.as_secs(), watch.error.as_deref().unwrap_or("none"));
            writeln!(
                f,
                "{}: {} objects, found current {age} s ago, begun anew {restarts} times, last error: {error}",
                watch.name, watch.objects
            )
        })
    }
}

/// How many objects are listed at most.
const MAX_REFUSED: usize = 50;
