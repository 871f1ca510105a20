//! Whether clients can be served, and what is missing for it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The conditions under which clients are sent here. Ready when none is unmet.
#[derive(Debug)]
pub(crate) struct Readiness {
    /// The names of what is missing; there are only as many as the program text has.
    unmet: Mutex<BTreeSet<&'static str>>,
}

impl Readiness {
    /// Not ready before all of these are met, such as `"inventory"`.
    pub(crate) fn awaiting(conditions: impl IntoIterator<Item = &'static str>) -> Readiness {
        Readiness { unmet: Mutex::new(conditions.into_iter().collect()) }
    }

    /// The condition holds from now on.
    pub(crate) fn meet(&self, condition: &'static str) {
        self.lock().remove(condition);
    }

    /// The condition does not hold any more. A new one may be named, such as `"draining"`.
    pub(crate) fn fail(&self, condition: &'static str) {
        self.lock().insert(condition);
    }

    /// What is missing, in alphabetical order.
    pub(crate) fn unmet(&self) -> Vec<&'static str> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.unmet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_while_nothing_is_unmet() {
        let readiness = Readiness::awaiting(["listeners", "inventory"]);
        assert_eq!(readiness.unmet(), ["inventory", "listeners"]);
        readiness.meet("inventory");
        readiness.meet("listeners");
        readiness.meet("listeners");
        assert!(readiness.unmet().is_empty());
        readiness.fail("draining");
        assert_eq!(readiness.unmet(), ["draining"]);
    }
}
