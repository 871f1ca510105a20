//! Where the configuration comes from: a file, or a ConfigMap that is followed through the API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;
use tracing::warn;
use udp_director_inventory::FileWatch;
use udp_director_inventory::kubernetes::{self, ConfigMapWatch};

/// How long the first text of a ConfigMap is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration's source.
#[derive(Debug)]
pub enum ConfigSource {
    /// A file.
    File(FileWatch),
    /// A ConfigMap.
    ConfigMap(Box<ConfigMap>),
}

/// A ConfigMap that is followed, and told what comes of it.
pub struct ConfigMap {
    watch: ConfigMapWatch,
    /// `namespace/name`.
    path: PathBuf,
    reference: ObjectReference,
    recorder: Recorder,
}

impl ConfigSource {
    /// A file at that path.
    pub fn file(path: impl Into<PathBuf>) -> ConfigSource {
        ConfigSource::File(FileWatch::new(path))
    }

    /// A ConfigMap, and the text that it has now.
    ///
    /// # Errors
    /// There is no cluster, or the ConfigMap cannot be read within 30 s.
    pub async fn config_map(namespace: &str, name: &str) -> anyhow::Result<(ConfigSource, String)> {
        let client = kubernetes::client().await.context("--config-map")?;
        let mut watch = ConfigMapWatch::new(client.clone(), namespace, name);
        let text = timeout(PATIENCE, watch.changed())
            .await
            .with_context(|| {
                format!("ConfigMap {namespace}/{name}: no answer within {} s", PATIENCE.as_secs())
            })?
            .with_context(|| format!("ConfigMap {namespace}/{name}"))?;
        let reporter = Reporter { controller: "udp-director".to_owned(), instance: None };
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        let (path, recorder) = (Path::new(namespace).join(name), Recorder::new(client, reporter));
        Ok((ConfigSource::ConfigMap(Box::new(ConfigMap { watch, path, reference, recorder })), text))
    }

    /// What stands for the source in messages, and where relative paths begin.
    pub fn path(&self) -> &Path {
        match self {
            ConfigSource::File(watch) => watch.path(),
            ConfigSource::ConfigMap(map) => &map.path,
        }
    }

    /// Waits for another text. Can be dropped while it waits, at no loss.
    ///
    /// # Errors
    /// The file or the ConfigMap cannot be read. A failure that lasts is reported once.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<String> {
        match self {
            ConfigSource::File(watch) => {
                watch.changed().await.context("the configuration file cannot be read")
            }
            ConfigSource::ConfigMap(map) => map.watch.changed().await.context("the ConfigMap cannot be read"),
        }
    }

    /// Tells whoever looks at the source what has come of it: by an Event on a ConfigMap. `Err` is why
    /// it was refused.
    pub(crate) fn announce(&self, outcome: Result<u64, &str>) {
        let ConfigSource::ConfigMap(map) = self else { return };
        let (type_, reason, mut note) = match outcome {
            Ok(generation) => {
                (EventType::Normal, "ConfigurationInForce", format!("generation {generation} is in force"))
            }
            Err(fault) => (EventType::Warning, "ConfigurationRefused", fault.to_owned()),
        };
        note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reload".to_owned(),
            secondary: None,
        };
        let (recorder, reference) = (map.recorder.clone(), map.reference.clone());
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                warn!(%error, "no Event could be written on the ConfigMap");
            }
        });
    }
}

impl std::fmt::Debug for ConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConfigMap").field(&self.path).finish()
    }
}

/// What an Event's note may have (`events.k8s.io/v1`).
const MAX_NOTE_BYTES: usize = 1_024;
