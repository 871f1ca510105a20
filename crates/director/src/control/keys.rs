//! Token keys as the control task follows them.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::Context;
use tracing::{error, info};
use udp_director_core::{Key, KeyRing};

use super::Control;
use crate::config::Config;
use crate::keys::{KeyFolder, KeysFault};

/// The token keys in force, by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeysStatus {
    /// The key that seals.
    pub(crate) current: String,
    /// The keys that only open.
    pub(crate) older: Vec<String>,
}

impl KeysStatus {
    fn of(ring: &KeyRing) -> KeysStatus {
        let older = ring.older().iter().map(|key| key.id().to_owned()).collect();
        KeysStatus { current: ring.current().id().to_owned(), older }
    }
}

/// The folder of keys that a configuration names, if it names one.
pub(crate) fn open_keys(config: &Config) -> anyhow::Result<Option<KeyFolder>> {
    let Some(dir) = &config.tokens.keys else { return Ok(None) };
    let folder = KeyFolder::open(dir).with_context(|| format!("tokens.keys.dir {}", dir.display()))?;
    Ok(Some(folder))
}

/// Waits until the folder holds something else; for ever where there is none.
pub(super) async fn keys_changed(keys: &mut Option<KeyFolder>) -> Result<(), KeysFault> {
    match keys {
        Some(folder) => folder.changed().await,
        None => std::future::pending().await,
    }
}

impl Control {
    /// Another folder of keys where the configuration names one; `None` where it stays the same.
    ///
    /// # Errors
    /// Its keys cannot be taken over.
    pub(super) fn other_keys(&self, config: &Config) -> anyhow::Result<Option<Option<KeyFolder>>> {
        let followed = self.keys.as_ref().map(KeyFolder::path);
        if followed == config.tokens.keys.as_deref() {
            return Ok(None);
        }
        open_keys(config).map(Some)
    }

    /// Follows another folder, or none.
    pub(super) fn follow_keys(&mut self, keys: Option<KeyFolder>) {
        self.keys = keys;
        self.note_key_fault(String::new());
    }

    /// Puts new keys in force, or says why the old ones stay.
    pub(super) fn conclude_keys(&mut self, outcome: Result<(), KeysFault>) {
        let Err(fault) = outcome else {
            self.configure();
            self.note_key_fault(String::new());
            let ids = self.keys.iter().flat_map(|folder| folder.ring().keys());
            let ids: Vec<&str> = ids.map(Key::id).collect();
            info!(keys = %ids.join(" "), "token keys in force, the first one seals");
            return;
        };
        self.status.key_rejections.fetch_add(1, Ordering::Relaxed);
        error!(%fault, "token keys refused, the old ones stay in force");
        self.note_key_fault(fault.to_string());
    }

    fn note_key_fault(&self, fault: String) {
        *self.status.key_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Tells which keys are in force.
    pub(super) fn note_keys(&self) {
        let keys = self.keys.as_ref().map(|folder| KeysStatus::of(folder.ring()));
        *self.status.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}
