//! Backends: where they are, who plays there, and how many more may come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use udp_director_core::{Backend, BackendId, Capacity, Inventory, Ledger, Ports, Withheld};

use super::problem::Problem;
use super::{Api, Params, json, uid_of};

/// A backend as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    uid: String,
    resource_type: String,
    namespace: String,
    name: String,
    address: IpAddr,
    /// By data port; the empty name is the one port that serves the first of each protocol.
    ports: BTreeMap<String, u16>,
    accepting: bool,
    /// Why it takes no new players, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<String>,
    /// The same, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld_reason: Option<&'static str>,
    /// How many seats there are; left out where nothing bounds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u32>,
    /// Why the capacity is not known: it gets no players.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_fault: Option<String>,
    /// Seats taken: by players, and by tokens that wait to be redeemed.
    seats: u32,
    players: usize,
    sessions: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    backends: Vec<View>,
    /// The `after` of the next page; left out on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How a request names a backend.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Named {
    uid: Option<String>,
    resource_type: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["resourceType", "namespace", "limit", "after"])?;
    let limit = params.limit()?;
    let inventory = api.inventory()?;
    let is_meant = |backend: &&Arc<Backend>| {
        let spec = &backend.spec;
        params.text("resourceType").is_none_or(|wanted| wanted == &*spec.resource_type)
            && params.text("namespace").is_none_or(|wanted| wanted == spec.namespace)
            && params.text("after").is_none_or(|after| after < key(backend).as_str())
    };
    let mut page: Vec<_> = inventory.backends().iter().filter(is_meant).collect();
    page.sort_by_cached_key(|backend| key(backend));
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|backend| key(backend));
    // The lock is let go in between: there may be a hundred players on each.
    let view = |backend: &Arc<Backend>| View::new(backend, &api.ledger().lock());
    let backends = page.into_iter().map(view).collect();
    Ok(json(StatusCode::OK, &Page { backends, next }))
}

pub(super) async fn by_name(
    State(api): State<Arc<Api>>,
    Path((resource_type, namespace, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let named =
        Named { uid: None, resource_type: Some(resource_type), namespace: Some(namespace), name: Some(name) };
    show(&api, &named)
}

pub(super) async fn by_uid(
    State(api): State<Arc<Api>>,
    Path(uid): Path<String>,
) -> Result<Response, Problem> {
    show(&api, &Named { uid: Some(uid), resource_type: None, namespace: None, name: None })
}

fn show(api: &Api, named: &Named) -> Result<Response, Problem> {
    let inventory = api.inventory()?;
    let backend = named.find(&inventory)?;
    let view = View::new(backend, &api.ledger().lock());
    Ok(json(StatusCode::OK, &view))
}

impl Named {
    /// Reads `type/namespace/name`, or a UID.
    pub(super) fn parse(text: &str) -> Named {
        match text.split('/').collect::<Vec<_>>()[..] {
            [resource_type, namespace, name] => Named {
                uid: None,
                resource_type: Some(resource_type.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
            },
            _ => Named { uid: Some(text.to_owned()), resource_type: None, namespace: None, name: None },
        }
    }

    /// The backend that is meant.
    pub(super) fn find<'a>(&self, inventory: &'a Inventory) -> Result<&'a Arc<Backend>, Problem> {
        let is_meant = self.test()?;
        let mut found = inventory.backends().iter().filter(|backend| is_meant(backend));
        match (found.next(), found.next()) {
            (Some(backend), None) => Ok(backend),
            (Some(_), Some(_)) => Err(Problem::bad_request(
                "several resource types have an object of that UID; name the backend by \"resourceType\", \
                 \"namespace\" and \"name\"",
            )),
            (None, _) => Err(Problem::not_found("no backend of that name or UID is in the inventory")),
        }
    }

    /// The backend that is meant, also one that is gone and on which somebody still plays.
    pub(super) fn find_id(&self, inventory: &Inventory, ledger: &Ledger) -> Result<BackendId, Problem> {
        let is_meant = self.test()?;
        let seat_of = |id: &BackendId| {
            let session = ledger.sessions_of(id).next().and_then(|id| ledger.session(id))?;
            Some(Arc::clone(session.seat.backend()))
        };
        let played = ledger.played().find(|id| seat_of(id).is_some_and(|backend| is_meant(&backend)));
        match played {
            Some(id) => Ok(id.clone()),
            None => self.find(inventory).map(|backend| backend.spec.id.clone()),
        }
    }

    fn test(&self) -> Result<impl Fn(&Backend) -> bool + '_, Problem> {
        match self {
            Named { uid: Some(_), resource_type: None, namespace: None, name: None }
            | Named { uid: None, resource_type: Some(_), namespace: Some(_), name: Some(_) } => {}
            _ => {
                return Err(Problem::bad_request(
                    "a backend is named by \"uid\", or by \"resourceType\", \"namespace\" and \"name\"",
                ));
            }
        }
        Ok(move |backend: &Backend| {
            let spec = &backend.spec;
            self.uid.as_ref().is_none_or(|uid| uid == uid_of(backend))
                && self.resource_type.as_ref().is_none_or(|wanted| **wanted == *spec.resource_type)
                && self.namespace.as_ref().is_none_or(|wanted| *wanted == spec.namespace)
                && self.name.as_ref().is_none_or(|wanted| *wanted == spec.name)
        })
    }
}

impl View {
    fn new(backend: &Backend, ledger: &Ledger) -> View {
        let spec = &backend.spec;
        let capacity = &spec.capacity;
        View {
            uid: uid_of(backend).to_owned(),
            resource_type: spec.resource_type.to_string(),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
            address: spec.address,
            ports: match &spec.ports {
                Ports::One(port) => BTreeMap::from([(String::new(), *port)]),
                Ports::Named(ports) => ports.clone(),
            },
            accepting: spec.accepting(),
            withheld: spec.withheld.as_ref().map(ToString::to_string),
            withheld_reason: spec.withheld.as_ref().map(Withheld::reason),
            capacity: Some(capacity.seats()).filter(|_| matches!(capacity, Capacity::Seats { .. })),
            capacity_fault: match capacity {
                Capacity::Unknown(fault) => Some(fault.to_string()),
                _ => None,
            },
            seats: backend.load.seats(),
            players: ledger.players_on(&spec.id).len(),
            sessions: ledger.sessions_of(&spec.id).len(),
        }
    }
}

/// What pages are in the order of.
fn key(backend: &Backend) -> String {
    crate::jobs::name_of(backend)
}
