//! The watches on a cluster, and when they have something new to tell.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::api_server;
use super::assembly::{Assembly, WatchId};
use super::follower::{Follower, QUIET, Sink};
use super::needed::Needed;
use super::progress::{Progress, WatchStatus};
use super::view::View;
use crate::mapping::Mapping;
use crate::targets::Targets;

/// Follows a cluster by a task for each watch. Dropping it ends them all.
pub struct Cluster {
    client: Client,
    view: Arc<View>,
    /// What the API server's own addresses are, as soon as that is known.
    api_server: watch::Receiver<Option<Arc<[IpAddr]>>>,
    asking: Task,
    watches: BTreeMap<Needed, Running>,
    /// Grows with each change of what is known.
    versions: watch::Sender<u64>,
    /// The version that [`Cluster::changed`] told last.
    told: u64,
    told_at: Option<Instant>,
}

/// How far the watches of a cluster are.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// What has not been listed once, such as `pods in games`, each with the reason it waits for.
    pub awaited: Vec<String>,
    /// The largest time since a watch was last known to be current: by an event, a bookmark, a list or
    /// a check. At rest it stays below 20 s.
    pub age: Duration,
    /// Each watch, in order.
    pub watches: Vec<WatchStatus>,
}

struct Running {
    id: WatchId,
    progress: Arc<Progress>,
    _task: Task,
}

/// A task that ends when this is dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cluster {
    /// Begins to follow what the mappings need. To be called within a tokio runtime.
    pub fn follow(client: Client, mappings: Vec<Mapping>, targets: Targets) -> Cluster {
        let (told, api_server) = watch::channel(None);
        let assembly = Mutex::new(Assembly::new(&mappings, targets.clone()));
        let asking = Task(tokio::spawn(api_server::ask(client.clone(), told)));
        let mut cluster = Cluster {
            client,
            view: Arc::new(View { assembly }),
            api_server,
            asking,
            watches: BTreeMap::new(),
            versions: watch::Sender::new(0),
            told: 0,
            told_at: None,
        };
        cluster.configure(mappings, targets);
        cluster
    }

    /// Takes other mappings and targets. Watches that would read the same go on, others end or begin.
    /// Until a new one has been listed, the backends that it would tell of stay as they are.
    #[expect(clippy::needless_pass_by_value, reason = "what is in force belongs to the cluster")]
    pub fn configure(&mut self, mappings: Vec<Mapping>, targets: Targets) {
        let ids = self.view.with(|assembly| {
            assembly.configure(&mappings, targets);
            assembly.watches()
        });
        self.watches.retain(|_, running| ids.contains(&running.id));
        for id in ids {
            let known = self.watches.contains_key(&id.needed);
            if !known {
                let running = self.begin(id.clone());
                self.watches.insert(id.needed, running);
            }
        }
        self.versions.send_modify(|version| *version += 1);
    }

    /// Waits until there is something to assemble that [`Cluster::changed`] has not told yet; returns
    /// at most every 30 ms. Can be dropped while it waits, at no loss.
    pub async fn changed(&mut self) {
        let mut versions = self.versions.subscribe();
        let told = self.told;
        let _ = versions.wait_for(|version| *version != told).await;
        if let Some(at) = self.told_at {
            sleep_until(at + PACE).await;
        }
        self.told = *versions.borrow();
        self.told_at = Some(Instant::now());
    }

    /// What is known, always as it is when it is asked.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// How far the watches are.
    pub fn status(&self) -> ClusterStatus {
        let watches: Vec<WatchStatus> =
            self.watches.values().map(|running| self.status_of(running)).collect();
        let awaited = |watch: &WatchStatus| match &watch.error {
            Some(error) => format!("{}: {error}", watch.name),
            None => watch.name.clone(),
        };
        ClusterStatus {
            awaited: watches.iter().filter(|watch| !watch.listed).map(awaited).collect(),
            age: watches.iter().map(|watch| watch.age).max().unwrap_or_default(),
            watches,
        }
    }

    fn status_of(&self, running: &Running) -> WatchStatus {
        let state = running.progress.state();
        let (objects, listed) =
            self.view.with(|assembly| (assembly.len(&running.id), assembly.is_listed(&running.id)));
        WatchStatus {
            name: running.id.needed.to_string(),
            objects,
            age: state.current_at.elapsed(),
            listed,
            restarts: state.restarts,
            error: state.error,
        }
    }

    fn begin(&self, id: WatchId) -> Running {
        let progress = Arc::new(Progress::new());
        let needed = id.needed.clone();
        let sink = WatchSink { id: id.clone(), view: self.view(), versions: self.versions.clone() };
        let client = self.client.clone();
        let (progress_there, quiet) = (Arc::clone(&progress), QUIET);
        let follower = Follower { client, needed, name: None, sink, progress: progress_there, quiet };
        let mut api_server = self.api_server.clone();
        let view = self.view();
        let task = tokio::spawn(async move {
            // Nothing is read before it is known what is to be refused.
            if let Ok(addresses) = api_server.wait_for(Option::is_some).await.map(|found| found.clone()) {
                view.with(|assembly| assembly.refuse(addresses.unwrap_or_default().to_vec()));
            }
            follower.run().await;
        });
        Running { id, progress, _task: Task(task) }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asking.0.is_finished();
        f.debug_struct("Cluster")
            .field("status", &self.status())
            .field("asked", &asked)
            .finish_non_exhaustive()
    }
}

/// Where one watch enters what it learns.
struct WatchSink {
    id: WatchId,
    view: Arc<View>,
    versions: watch::Sender<u64>,
}

impl WatchSink {
    fn tell(&self, changed: bool) {
        if changed {
            self.versions.send_modify(|version| *version += 1);
        }
    }
}

impl Sink for WatchSink {
    fn begin_list(&mut self) {
        self.view.with(|assembly| assembly.begin_list(&self.id));
    }

    fn apply(&mut self, object: &Value) {
        let changed =
            self.view.with(|assembly| assembly.apply(&self.id, object) && assembly.is_listed(&self.id));
        self.tell(changed);
    }

    fn end_list(&mut self) {
        let changed = self.view.with(|assembly| assembly.end_list(&self.id));
        self.tell(changed);
    }

    fn delete(&mut self, object: &Value) {
        let changed = self.view.with(|assembly| assembly.delete(&self.id, object));
        self.tell(changed);
    }

    fn len(&self) -> usize {
        self.view.with(|assembly| assembly.len(&self.id))
    }
}

/// How often an inventory is assembled at most.
const PACE: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests;
