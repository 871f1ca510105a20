//! Follows one ConfigMap, for a configuration that is read through the API.

use std::sync::Arc;

use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::follower::{Follower, QUIET, Sink};
use super::needed::Needed;
use super::progress::Progress;

/// Follows one ConfigMap. Takes `list` and `watch` on `configmaps` with that one `resourceName`.
#[derive(Debug)]
pub struct ConfigMapWatch {
    found: watch::Receiver<Option<Found>>,
    task: JoinHandle<()>,
}

type Found = Result<Arc<str>, ConfigMapError>;

/// Why a ConfigMap holds no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigMapError {
    /// It does not exist, or exists no longer.
    #[error("there is no ConfigMap {0}")]
    Missing(String),
    /// It has no key `config.yaml`, and not exactly one other key.
    #[error("the ConfigMap {0} has neither a key config.yaml nor just one key")]
    NoKey(String),
}

impl ConfigMapWatch {
    /// Begins to follow it. To be called within a tokio runtime.
    pub fn new(client: Client, namespace: &str, name: &str) -> ConfigMapWatch {
        let (told, found) = watch::channel(None);
        let of = format!("{namespace}/{name}");
        let sink = ConfigMapSink { of, told, known: false, named: false };
        let needed = Needed::of(("", "v1", "configmaps"), Some(namespace));
        let progress = Arc::new(Progress::new());
        let name = Some(name.to_owned());
        let follower = Follower { client, needed, name, sink, progress, quiet: QUIET };
        ConfigMapWatch { found, task: tokio::spawn(follower.run()) }
    }

    /// Waits for its text: the first one, then each that differs. It is that of the key `config.yaml`,
    /// or of the only key. Can be dropped while it waits, at no loss.
    ///
    /// # Errors
    /// It is missing or holds no such text; that is told once.
    pub async fn changed(&mut self) -> Result<String, ConfigMapError> {
        loop {
            if self.found.changed().await.is_err() {
                // Its follower never ends by itself.
                return std::future::pending().await;
            }
            if let Some(found) = self.found.borrow_and_update().clone() {
                return found.map(|text| text.to_string());
            }
        }
    }
}

impl Drop for ConfigMapWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct ConfigMapSink {
    /// Namespace and name.
    of: String,
    told: watch::Sender<Option<Found>>,
    known: bool,
    /// Whether the list that goes on has named it.
    named: bool,
}

impl ConfigMapSink {
    fn tell(&self, found: Found) {
        self.told.send_if_modified(|told| {
            let differs = told.as_ref() != Some(&found);
            *told = Some(found);
            differs
        });
    }

    fn read(&self, object: &Value) -> Found {
        let keys = object["data"].as_object().into_iter().flatten();
        let texts: Vec<(&String, &str)> =
            keys.filter_map(|(key, value)| Some((key, value.as_str()?))).collect();
        let named = texts.iter().find(|(key, _)| *key == KEY);
        let only = if let [only] = &texts[..] { Some(only) } else { None };
        let found = named.or(only).map(|(_, text)| Arc::from(*text));
        found.ok_or_else(|| ConfigMapError::NoKey(self.of.clone()))
    }

    fn miss(&mut self) {
        self.known = false;
        self.tell(Err(ConfigMapError::Missing(self.of.clone())));
    }
}

impl Sink for ConfigMapSink {
    fn begin_list(&mut self) {
        self.named = false;
    }

    fn apply(&mut self, object: &Value) {
        (self.known, self.named) = (true, true);
        self.tell(self.read(object));
    }

    fn end_list(&mut self) {
        if !self.named {
            self.miss();
        }
    }

    fn delete(&mut self, _: &Value) {
        self.miss();
    }

    fn len(&self) -> usize {
        usize::from(self.known)
    }
}

const KEY: &str = "config.yaml";

#[cfg(test)]
mod tests;
