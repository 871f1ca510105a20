//! Where the objects come from that become backends: a file, or a cluster.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use udp_director_core::Inventory;
use udp_director_inventory::kubernetes::{Cluster, ClusterStatus, View};
use udp_director_inventory::{FileWatch, Mapping, ObjectsError, Targets, snapshot};

use crate::config::Config;

/// A source, and what is known of it.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file, as it was last read and found to be right.
    File { watch: FileWatch, objects: Arc<str> },
    /// A cluster.
    Cluster(Cluster),
}

/// What has changed.
#[derive(Debug)]
pub(crate) enum Change {
    /// The file reads so now, or cannot be read.
    File(std::io::Result<String>),
    /// The cluster's objects are others.
    Cluster,
}

/// What an inventory is made of; taken from a source, and good without it.
#[derive(Clone, Debug)]
pub(crate) enum Objects {
    Text(Arc<str>, Vec<Mapping>, Targets),
    View(Arc<View>),
}

impl Source {
    /// Waits for a change. Can be dropped while it waits, at no loss.
    pub(crate) async fn changed(&mut self) -> Change {
        match self {
            Source::File { watch, .. } => Change::File(watch.changed().await),
            Source::Cluster(cluster) => {
                cluster.changed().await;
                Change::Cluster
            }
        }
    }

    /// Another configuration says what is followed.
    pub(crate) fn configure(&mut self, config: &Config) {
        if let Source::Cluster(cluster) = self {
            cluster.configure(config.mappings.clone(), targets(config));
        }
    }

    /// What there is now. A file is read as that configuration says; a cluster, as the one that it was
    /// last given.
    pub(crate) fn objects(&self, config: &Config) -> Objects {
        match self {
            Source::File { objects, .. } => {
                Objects::Text(Arc::clone(objects), config.mappings.clone(), targets(config))
            }
            Source::Cluster(cluster) => Objects::View(cluster.view()),
        }
    }

    /// The state of the cluster's watches; `None` for a file.
    pub(crate) fn status(&self) -> Option<ClusterStatus> {
        match self {
            Source::File { .. } => None,
            Source::Cluster(cluster) => Some(cluster.status()),
        }
    }
}

impl Objects {
    /// The inventory that follows another, on a thread of its own: a large one takes seconds.
    pub(crate) fn assemble(self, previous: Arc<Inventory>) -> JoinHandle<Result<Inventory, ObjectsError>> {
        spawn_blocking(move || match self {
            Objects::Text(text, mappings, targets) => snapshot(&text, &mappings, &targets, &previous),
            Objects::View(view) => Ok(view.assemble(&previous)),
        })
    }
}

pub(crate) fn targets(config: &Config) -> Targets {
    Targets::new(config.allowed_target_cidrs.clone())
}
