//! Follows one resource: lists it, watches it, and begins anew by what went wrong.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::api::{Event, Resource};
use super::backoff::{Backoff, jittered};
use super::fault::Fault;
use super::needed::Needed;
use super::progress::Progress;
use super::version::went_back;

/// Takes in what a follower learns.
pub(super) trait Sink: Send {
    /// A list begins: what it does not name is gone when it ends.
    fn begin_list(&mut self);
    /// An object, new or changed or the same.
    fn apply(&mut self, object: &Value);
    /// The list is complete.
    fn end_list(&mut self);
    /// An object is gone.
    fn delete(&mut self, object: &Value);
    /// How many objects are known.
    fn len(&self) -> usize;
}

/// Follows one resource for as long as it runs.
pub(super) struct Follower<S> {
    pub(super) client: Client,
    pub(super) needed: Needed,
    /// The one object that is meant; `None` for all.
    pub(super) name: Option<String>,
    pub(super) sink: S,
    pub(super) progress: Arc<Progress>,
    /// How long a watch may be quiet, at most, before the newest version is asked for.
    pub(super) quiet: Duration,
}

/// Where a follower is.
#[derive(Default)]
struct Position {
    /// What discovery said.
    resource: Option<Resource>,
    /// The last version that was seen; `None` means that a list is due.
    version: Option<String>,
    /// When a fault last took a list, or will: they are paced.
    forced_at: Option<Instant>,
    /// Whether nothing was missed since the version was read in a list.
    fresh: bool,
}

impl<S: Sink> Follower<S> {
    /// Never ends by itself.
    pub(super) async fn run(mut self) {
        let mut position = Position::default();
        let mut backoff = Backoff::default();
        loop {
            let Err(fault) = self.step(&mut position).await else {
                backoff.reset();
                continue;
            };
            self.progress.restart(fault.cause());
            self.progress.failed(fault.to_string());
            let wait = position.after(&fault, &mut backoff);
            sleep(wait).await;
        }
    }

    async fn step(&mut self, position: &mut Position) -> Result<(), Fault> {
        let Some(resource) = position.resource.clone() else {
            let found = Resource::discover(&self.client, &self.needed, self.name.as_deref()).await?;
            position.resource = Some(found);
            return Ok(());
        };
        match position.version.take() {
            None => {
                position.version = Some(self.list(&resource).await?);
                position.fresh = true;
                Ok(())
            }
            Some(version) => {
                let mut watch = Watch { resource, version, suspected: false };
                let fresh = std::mem::take(&mut position.fresh);
                let outcome = self.watch(&mut watch, fresh).await;
                position.version = Some(watch.version);
                outcome
            }
        }
    }

    /// Lists everything. Gives the version that the list is of.
    async fn list(&mut self, resource: &Resource) -> Result<String, Fault> {
        self.sink.begin_list();
        let mut next = String::new();
        loop {
            let page = resource.page(&next).await?;
            for (count, item) in page.items.iter().enumerate() {
                self.sink.apply(item);
                if count % BATCH == BATCH - 1 {
                    tokio::task::yield_now().await;
                }
            }
            next = page.metadata.next;
            if next.is_empty() {
                self.sink.end_list();
                self.progress.is_current();
                let version = page.metadata.resource_version;
                let missing = || Fault::Answer("a list without a resourceVersion".to_owned());
                return if version.is_empty() { Err(missing()) } else { Ok(version) };
            }
        }
    }

    /// Takes in what happens until the watch ends.
    ///
    /// A watch that tells nothing may have nothing to tell, or be deaf: after a restore of the storage
    /// an API server waits for a version that it will reach some day. So whenever a watch begins again,
    /// and whenever it has been quiet for a while, the newest version is asked for. A consistent read
    /// never gives a version below one that was told before, so one that does is proof. Where versions
    /// have overtaken the old one in the meantime, another number of objects tells.
    async fn watch(&mut self, watch: &mut Watch, fresh: bool) -> Result<(), Fault> {
        if !fresh {
            let newest = watch.resource.clone().newest().await?;
            self.compare(watch, newest)?;
        }
        let begun = Instant::now();
        let mut events = pin!(watch.resource.watch(&watch.version).await?);
        let mut heard = begun;
        let mut check = pin!(check(watch.resource.clone(), begun + jittered(self.quiet)));
        loop {
            tokio::select! {
                biased;
                event = events.next() => {
                    let Some(event) = event else {
                        return if begun.elapsed() < SHORTEST_WATCH { Err(Fault::Cut) } else { Ok(()) };
                    };
                    self.take(&event?, &mut watch.version)?;
                    watch.suspected = false;
                    heard = Instant::now();
                    check.set(self::check(watch.resource.clone(), heard + jittered(self.quiet)));
                }
                newest = &mut check => {
                    self.compare(watch, newest?)?;
                    if heard.elapsed() > SILENT {
                        self.progress.restart("silent");
                        return Ok(());
                    }
                    let pause = if watch.suspected { SECOND_LOOK.min(self.quiet) } else { jittered(self.quiet) };
                    check.set(self::check(watch.resource.clone(), Instant::now() + pause));
                }
            }
        }
    }

    fn take(&mut self, event: &Event, version: &mut String) -> Result<(), Fault> {
        let told = match event {
            Event::Applied(object) | Event::Deleted(object) => {
                object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
            }
            Event::Bookmark(version) => version.clone(),
        };
        match event {
            Event::Applied(object) => self.sink.apply(object),
            Event::Deleted(object) => self.sink.delete(object),
            Event::Bookmark(_) => {}
        }
        if went_back(version, &told) && !matches!(event, Event::Deleted(_)) {
            return Err(Fault::WentBack);
        }
        if !told.is_empty() {
            *version = told;
        }
        self.progress.is_current();
        Ok(())
    }

    /// Compares what the watch has told with what a consistent read says.
    fn compare(&self, watch: &mut Watch, (newest, count): (String, Option<u64>)) -> Result<(), Fault> {
        if went_back(&watch.version, &newest) {
            return Err(Fault::WentBack);
        }
        let here = self.sink.len() as u64;
        match count.filter(|there| *there != here) {
            Some(there) if watch.suspected => Err(Fault::Miscounted { there, here }),
            Some(_) => {
                // The event that makes them equal can be on its way.
                watch.suspected = true;
                Ok(())
            }
            None => {
                watch.suspected = false;
                self.progress.is_current();
                Ok(())
            }
        }
    }
}

/// One watch that goes on.
struct Watch {
    resource: Resource,
    /// The last version that was told.
    version: String,
    /// Whether the last look found another number of objects, and nothing was told since.
    suspected: bool,
}

impl Position {
    /// What to do after a fault: where to go on, and after how long.
    fn after(&mut self, fault: &Fault, backoff: &mut Backoff) -> Duration {
        if fault.takes_a_list() {
            self.version = None;
            // At once, but not over and over.
            let now = Instant::now();
            let due = self.forced_at.map_or(now, |before| now.max(before + LIST_PACE));
            self.forced_at = Some(due);
            return due - now;
        }
        match fault {
            // It may come back as something else. What is known of it stays until then: a resource
            // that is only being set up anew reads the same.
            Fault::NotFound(_) => {
                self.resource = None;
                self.version = None;
                jittered(DISCOVERY_PACE)
            }
            Fault::Forbidden(_) | Fault::Name(_) => jittered(FORBIDDEN_PACE),
            Fault::Busy { wait, .. } => jittered(*wait * 2),
            _ => backoff.after_failure(),
        }
    }
}

async fn check(resource: Resource, at: Instant) -> Result<(String, Option<u64>), Fault> {
    sleep_until(at).await;
    resource.newest().await
}

/// Objects of a list that are taken in before others get a turn.
const BATCH: usize = 25;
/// How long a watch may be quiet where nothing else is asked for: a deaf one is due within 30 s.
pub(super) const QUIET: Duration = Duration::from_secs(20);
/// When to look again where the count differs.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// Bookmarks come about once a minute: a watch that is silent for longer may hang on a dead connection.
const SILENT: Duration = Duration::from_secs(90);
/// A watch that ends sooner was not worth a connection.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
const LIST_PACE: Duration = Duration::from_secs(1);
const DISCOVERY_PACE: Duration = Duration::from_secs(3);
const FORBIDDEN_PACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
