//! The service itself: requests in, GameServers updated, answers out.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::rules::{allocate, choose, invalid};
use super::{Shared, Without, tls};
use crate::agones::GameServers;
use crate::credentials::ADMIN_TOKEN;

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, url: &str, shared: Arc<Shared>) {
    let acceptor = tls::acceptor();
    let service = Arc::new(Service { client: client(url), shared });
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, service) = (acceptor.clone(), Arc::clone(&service));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|request| {
                let service = Arc::clone(&service);
                async move { service.answer(request).await }
            });
            // An answer that is an error cuts the connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn client(url: &str) -> Client {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.accept_invalid_certs = true;
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({"token": ADMIN_TOKEN})).expect("a user");
    Client::try_from(config).expect("a valid configuration")
}

struct Service {
    client: Client,
    shared: Arc<Shared>,
}

/// The answer is not given.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Lost {}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (status, body) = match (request.method(), &parts[..]) {
            (&Method::POST, ["apis", _, _, "namespaces", namespace, "gameserverallocations"]) => {
                let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
                self.allocation(namespace, &body).await?
            }
            (&Method::GET, ["apis", group, version]) => (200, resources(group, version)),
            (&Method::GET, _) => (200, json!({})),
            _ => (405, failure(405, "method not allowed")),
        };
        let response = Response::builder()
            .status(StatusCode::from_u16(status).expect("a status"))
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .expect("a response");
        Ok(response)
    }

    async fn allocation(&self, namespace: &str, body: &[u8]) -> Result<(u16, Value), Lost> {
        let Ok(mut allocation) = serde_json::from_slice::<Value>(body) else {
            return Ok((400, failure(400, "no JSON")));
        };
        let faults = self.shared.with(namespace, |namespace| {
            namespace.requests.push(allocation["spec"].clone());
            let faults = namespace.faults.clone();
            let uses = [
                &mut namespace.faults.conflicts,
                &mut namespace.faults.contentions,
                &mut namespace.faults.busy,
                &mut namespace.faults.failing,
                &mut namespace.faults.lost,
            ];
            if let Some(first) = uses.into_iter().find(|uses| **uses > 0) {
                *first -= 1;
            }
            faults
        });
        match () {
            () if faults.conflicts > 0 => return Ok((409, failure(409, "another was faster"))),
            () if faults.contentions > 0 => return Ok((201, answered(allocation, "Contention", None))),
            () if faults.busy > 0 => return Ok((429, failure(429, "too many requests"))),
            () if faults.failing > 0 => return Ok((500, failure(500, "out of order"))),
            () => {}
        }
        if let Some(why) = invalid(&allocation["spec"]) {
            return Ok((422, failure(422, &why)));
        }
        let found = self.find(namespace, &allocation["spec"]).await;
        if let (Found::Allocated(server), true) = (&found, faults.deletes) {
            let name = server["metadata"]["name"].as_str().unwrap_or_default();
            let _ = self.servers(namespace).delete(name, &DeleteParams::default()).await;
        }
        tokio::time::sleep(faults.slow).await;
        if faults.lost > 0 {
            return Err(Lost);
        }
        allocation = match found {
            Found::Allocated(server) => answered(allocation, "Allocated", Some((&server, faults.without))),
            Found::Nothing => answered(allocation, "UnAllocated", None),
            Found::Contention => answered(allocation, "Contention", None),
        };
        Ok((201, allocation))
    }

    /// Chooses a server and updates it; one after another in a namespace, so that two allocations never
    /// want the same. Another writer may still be faster.
    async fn find(&self, namespace: &str, spec: &Value) -> Found {
        let turn = self.shared.with(namespace, |namespace| Arc::clone(&namespace.turn));
        let _turn = turn.lock().await;
        let servers = self.servers(namespace);
        for _ in 0..ATTEMPTS {
            let Ok(list) = servers.list(&ListParams::default()).await else { return Found::Contention };
            let list: Vec<Value> = list.items.iter().map(|server| json!(server)).collect();
            let Some(chosen) = choose(spec, &list) else { return Found::Nothing };
            let updated = allocate(spec, chosen);
            let name = updated["metadata"]["name"].as_str().expect("a name").to_owned();
            let object: DynamicObject = serde_json::from_value(updated.clone()).expect("an object");
            if servers.replace(&name, &PostParams::default(), &object).await.is_ok() {
                return Found::Allocated(updated);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Found::Contention
    }

    fn servers(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &GameServers::resource())
    }
}

/// What comes of a search.
enum Found {
    Allocated(Value),
    Nothing,
    Contention,
}

fn answered(mut allocation: Value, state: &str, server: Option<(&Value, Option<Without>)>) -> Value {
    let mut status = json!({"state": state, "gameServerName": "", "source": ""});
    if let Some((server, without)) = server {
        let name = &server["metadata"]["name"];
        allocation["metadata"]["name"] = name.clone();
        status = json!({"state": state, "gameServerName": name, "address": server["status"]["address"],
            "ports": server["status"]["ports"], "nodeName": server["status"]["nodeName"], "source": "local"});
        match without {
            Some(Without::Name) => status["gameServerName"] = json!(""),
            Some(Without::Address) => status["address"] = Value::Null,
            None => {}
        }
    }
    allocation["status"] = status;
    allocation
}

fn resources(group: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": format!("{group}/{version}"),
        "resources": [{"name": "gameserverallocations", "singularName": "gameserverallocation",
            "namespaced": true, "kind": "GameServerAllocation", "verbs": ["create"], "shortNames": ["gsa"]}]})
}

fn failure(code: u16, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message, "code": code})
}

/// As often as Agones tries.
const ATTEMPTS: usize = 5;
