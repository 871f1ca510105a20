//! The four requests that following a resource takes: discover, list, watch, and ask for the newest
//! version.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::Client;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use serde::Deserialize;
use serde_json::Value;

use super::backoff::jittered;
use super::fault::Fault;
use super::needed::Needed;

/// One resource of the API server, in one namespace or all.
#[derive(Clone)]
pub(super) struct Resource {
    client: Client,
    path: String,
    api_version: String,
    kind: String,
    /// The one object that is meant; `None` for all.
    name: Option<String>,
}

/// A part of a list.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) metadata: PageMeta,
    #[serde(default)]
    pub(super) items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(super) next: String,
    remaining_item_count: Option<u64>,
}

/// What a watch tells.
pub(super) enum Event {
    Applied(Value),
    Deleted(Value),
    /// Nothing happened up to that version.
    Bookmark(String),
}

impl Resource {
    /// Asks what the API server calls the resource.
    pub(super) async fn discover(
        client: &Client,
        needed: &Needed,
        name: Option<&str>,
    ) -> Result<Resource, Fault> {
        let Needed { group, version, resource, namespace } = needed;
        for part in [group, version, resource].into_iter().chain(namespace) {
            check_name(part)?;
        }
        let (root, api_version) = match group.as_str() {
            "" => ("/api".to_owned(), version.clone()),
            group => (format!("/apis/{group}"), format!("{group}/{version}")),
        };
        let listing = match group.as_str() {
            "" => answer(client.list_core_api_resources(version)).await?,
            _ => answer(client.list_api_group_resources(&api_version)).await?,
        };
        let is_meant = |name: &str, singular: &str, kind: &str| {
            name == resource || singular == resource || kind.eq_ignore_ascii_case(resource)
        };
        let mut found = listing.resources.into_iter().filter(|known| !known.name.contains('/'));
        let found = found
            .find(|known| is_meant(&known.name, &known.singular_name, &known.kind))
            .ok_or_else(|| Fault::NotFound(format!("{api_version} has no {resource}")))?;
        check_name(&found.name)?;
        let within = match namespace {
            Some(namespace) if found.namespaced => format!("/namespaces/{namespace}"),
            _ => String::new(),
        };
        Ok(Resource {
            client: client.clone(),
            path: format!("{root}/{version}{within}/{}", found.name),
            api_version,
            kind: found.kind,
            name: name.map(str::to_owned),
        })
    }

    /// Up to 500 objects, from the beginning or from where the page before ended.
    pub(super) async fn page(&self, next: &str) -> Result<Page, Fault> {
        let params = ListParams {
            limit: Some(PAGE),
            continue_token: (!next.is_empty()).then(|| next.to_owned()),
            field_selector: self.field_selector(),
            ..ListParams::default()
        };
        let mut page = self.list(&params).await?;
        page.items.iter_mut().for_each(|item| self.say_kind(item));
        Ok(page)
    }

    /// The newest version that the resource's storage has, and how many objects, where the API server
    /// tells. A read of one object that is as consistent as a list can be, and costs as little.
    pub(super) async fn newest(self) -> Result<(String, Option<u64>), Fault> {
        let field_selector = self.field_selector();
        let params = ListParams { limit: Some(1), field_selector, ..ListParams::default() };
        let page = self.list(&params).await?;
        let here = page.items.len() as u64;
        let count = match (page.metadata.next.is_empty(), page.metadata.remaining_item_count) {
            (true, _) => Some(here),
            (false, remaining) => remaining.map(|remaining| here + remaining),
        };
        Ok((page.metadata.resource_version, count))
    }

    /// What happens after that version. Ends by itself within five minutes.
    pub(super) async fn watch(
        &self,
        version: &str,
    ) -> Result<impl Stream<Item = Result<Event, Fault>> + use<>, Fault> {
        let params = WatchParams {
            timeout: Some(jittered(LONGEST_WATCH).as_secs() as u32),
            field_selector: self.field_selector(),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = self.request().watch(&params, version).map_err(kube::Error::BuildRequest)?;
        let events = answer(self.client.request_events::<Value>(request)).await?;
        let resource = self.clone();
        Ok(events.map(move |event| resource.event(event?)))
    }

    fn event(&self, event: WatchEvent<Value>) -> Result<Event, Fault> {
        let said = |mut object: Value| {
            self.say_kind(&mut object);
            object
        };
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(Event::Applied(said(object))),
            WatchEvent::Deleted(object) => Ok(Event::Deleted(said(object))),
            WatchEvent::Bookmark(bookmark) => Ok(Event::Bookmark(bookmark.metadata.resource_version)),
            WatchEvent::Error(status) => Err(Fault::of_status(&status)),
        }
    }

    async fn list(&self, params: &ListParams) -> Result<Page, Fault> {
        let request = self.request().list(params).map_err(kube::Error::BuildRequest)?;
        answer(self.client.request(request)).await
    }

    fn request(&self) -> Request {
        Request::new(self.path.clone())
    }

    fn field_selector(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("metadata.name={name}"))
    }

    /// The items of a list leave out what the list says already.
    fn say_kind(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.entry("apiVersion").or_insert_with(|| self.api_version.as_str().into());
            object.entry("kind").or_insert_with(|| self.kind.as_str().into());
        }
    }
}

/// The answer, if it comes in time.
async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Fault> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::Late(ANSWER)),
    }
}

/// Whether a text is safe in a URL: what Kubernetes allows in a group, a version, a resource or a
/// namespace (RFC 1123).
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    let plain = name.len() <= 253 && name.chars().all(allowed) && !name.starts_with('.');
    if plain { Ok(()) } else { Err(Fault::Name(name.chars().take(64).collect())) }
}

const PAGE: u32 = 500;
/// For the answer to begin; a list for its whole page.
const ANSWER: Duration = Duration::from_secs(10);
/// A watch takes between a half of that and the whole.
const LONGEST_WATCH: Duration = Duration::from_secs(290);
