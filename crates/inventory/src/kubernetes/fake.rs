//! A scripted API server for tests, over plain HTTP: lists in pages, watches with bookmarks, and the
//! faults that a real one cannot be made to show when a test wants them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// A running server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    /// Grows with everything that happens.
    happened: watch::Sender<u64>,
    addr: SocketAddr,
}

#[derive(Default)]
struct State {
    version: u64,
    /// By path, such as `/api/v1/namespaces/games/pods`.
    resources: BTreeMap<String, Resource>,
    faults: VecDeque<(Verb, String, Fault)>,
    /// Every request so far: what, where, and from which version.
    requests: Vec<(Verb, String, String)>,
    /// Grows when all connections are to be cut.
    cuts: u64,
    /// Whether nobody is answered.
    away: bool,
}

#[derive(Default)]
struct Resource {
    kind: String,
    objects: BTreeMap<String, Value>,
    /// Version, type and object of each event.
    events: Vec<(u64, &'static str, Value)>,
    forbidden: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Discover,
    /// A list in pages.
    List,
    /// A list of one, for its version.
    Newest,
    Watch,
}

/// What a request gets instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// That HTTP status.
    Status(u16),
    /// A watch that tells that status as an event.
    Event(u16),
    /// The connection is cut.
    Cut,
}

impl Fake {
    pub(crate) async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { version: 100, ..State::default() }));
        let fake = Fake { state, happened: watch::Sender::new(0), addr };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.connection(stream).await });
            }
        });
        fake
    }

    pub(crate) fn client(&self) -> Client {
        let mut config = Config::new(format!("http://{}", self.addr).parse().expect("a URL"));
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    /// Serves a resource from now on.
    pub(crate) fn serve(&self, path: &str, kind: &str) {
        self.with(|state| {
            state.resources.entry(path.to_owned()).or_default().kind = kind.to_owned();
        });
    }

    /// Writes an object.
    pub(crate) fn put(&self, path: &str, object: &Value) {
        self.with(|state| state.put(path, object.clone()));
    }

    pub(crate) fn delete(&self, path: &str, name: &str) {
        self.with(|state| state.delete(path, name));
    }

    /// Goes back to an older state, in which these are all objects of the resource, and tells nobody.
    pub(crate) fn restore(&self, path: &str, version: u64, objects: &[Value]) {
        self.with(|state| {
            state.version = version;
            let resource = state.resources.entry(path.to_owned()).or_default();
            resource.events.clear();
            resource.objects = objects.iter().map(|object| (name(object), object.clone())).collect();
        });
    }

    /// Lets the next such requests fail.
    pub(crate) fn fail(&self, verb: Verb, path: &str, fault: Fault) {
        self.with(|state| state.faults.push_back((verb, path.to_owned(), fault)));
    }

    pub(crate) fn forbid(&self, path: &str, forbidden: bool) {
        self.with(|state| state.resources.entry(path.to_owned()).or_default().forbidden = forbidden);
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.with(|state| state.cuts += 1);
    }

    /// Cuts every connection and answers nobody, until it is back.
    pub(crate) fn away(&self, away: bool) {
        self.with(|state| {
            state.away = away;
            state.cuts += 1;
        });
    }

    /// Tells every watch the version of now.
    pub(crate) fn bookmark(&self, path: &str) {
        self.with(|state| {
            let version = state.version;
            let bookmark = json!({"kind": "Bookmark", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}});
            let resource = state.resources.entry(path.to_owned()).or_default();
            resource.events.push((version, "BOOKMARK", bookmark));
        });
    }

    /// Writes something that nobody watches.
    pub(crate) fn write_elsewhere(&self, writes: u64) {
        self.with(|state| state.version += writes);
    }

    pub(crate) fn count(&self, verb: Verb) -> usize {
        self.lock().requests.iter().filter(|(asked, ..)| *asked == verb).count()
    }

    /// The version from which the last watch was to go on.
    pub(crate) fn watched_from(&self) -> String {
        let state = self.lock();
        let mut watches = state.requests.iter().rev().filter(|(verb, ..)| *verb == Verb::Watch);
        watches.next().map(|(.., version)| version.clone()).unwrap_or_default()
    }

    /// Every path that was asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.lock().requests.iter().map(|(_, path, _)| path.clone()).collect()
    }

    /// Waits until that many such requests have come.
    pub(crate) async fn asked(&self, verb: Verb, times: usize) {
        let mut happened = self.happened.subscribe();
        let enough = happened.wait_for(|_| self.count(verb) >= times);
        timeout(Duration::from_secs(30), enough).await.expect("a request in time").expect("a server");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let done = work(&mut self.lock());
        self.happened.send_modify(|happened| *happened += 1);
        done
    }

    async fn connection(&self, stream: TcpStream) {
        let mut happened = self.happened.subscribe();
        let cuts = self.lock().cuts;
        tokio::select! {
            _ = self.serve_requests(stream) => {}
            _ = happened.wait_for(|_| self.lock().cuts != cuts) => {}
        }
    }

    async fn serve_requests(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (path, query) = read_request(&mut stream).await?;
            if self.lock().away {
                return None;
            }
            let verb = match () {
                () if query.contains_key("watch") => Verb::Watch,
                () if query.get("limit").is_some_and(|limit| limit == "1") => Verb::Newest,
                () if query.contains_key("limit") => Verb::List,
                () => Verb::Discover,
            };
            let fault = self.with(|state| state.begin(verb, &path, &query));
            match fault {
                Some(Fault::Cut) => return None,
                Some(Fault::Status(code)) => respond(&mut stream, code, &status(code)).await?,
                Some(Fault::Event(code)) => {
                    begin_stream(&mut stream).await?;
                    let event = json!({"type": "ERROR", "object": status(code)});
                    chunk(&mut stream, &event).await?;
                    return None;
                }
                None if verb == Verb::Watch => self.watch(&mut stream, &path, &query).await?,
                None => {
                    let (code, answer) = self.lock().answer(verb, &path, &query);
                    respond(&mut stream, code, &answer).await?;
                }
            }
        }
    }

    async fn watch(&self, stream: &mut BufReader<TcpStream>, path: &str, query: &Query) -> Option<()> {
        let mut happened = self.happened.subscribe();
        let mut told: u64 = query.get("resourceVersion")?.parse().ok()?;
        let mut position = 0;
        begin_stream(stream).await?;
        loop {
            happened.borrow_and_update();
            let events: Vec<_> = {
                let state = self.lock();
                let all = &state.resources.get(path)?.events;
                position = position.min(all.len());
                let new = all[position..]
                    .iter()
                    .filter(|(version, kind, _)| *version > told || *kind == "BOOKMARK");
                let new = new.cloned().collect();
                position = all.len();
                new
            };
            for (version, kind, object) in events {
                told = told.max(version);
                chunk(stream, &json!({"type": kind, "object": object})).await?;
            }
            happened.changed().await.ok()?;
        }
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let resource = self.resources.entry(path.to_owned()).or_default();
        let kind = if resource.objects.contains_key(&name(&object)) { "MODIFIED" } else { "ADDED" };
        resource.objects.insert(name(&object), object.clone());
        resource.events.push((self.version, kind, object));
    }

    fn delete(&mut self, path: &str, name: &str) {
        self.version += 1;
        let Some(resource) = self.resources.get_mut(path) else { return };
        let Some(mut object) = resource.objects.remove(name) else { return };
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        resource.events.push((self.version, "DELETED", object));
    }

    /// Notes the request. Says what fault it gets.
    fn begin(&mut self, verb: Verb, path: &str, query: &Query) -> Option<Fault> {
        let version = query.get("resourceVersion").cloned().unwrap_or_default();
        self.requests.push((verb, path.to_owned(), version));
        if verb != Verb::Discover && self.resources.get(path).is_some_and(|resource| resource.forbidden) {
            return Some(Fault::Status(403));
        }
        let at = self.faults.iter().position(|(of, at, _)| *of == verb && at == path)?;
        self.faults.remove(at).map(|(_, _, fault)| fault)
    }

    fn answer(&self, verb: Verb, path: &str, query: &Query) -> (u16, Value) {
        match (verb, path) {
            (_, "/api") => {
                let server = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": "203.0.113.1:6443"});
                (
                    200,
                    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [server]}),
                )
            }
            (Verb::Discover, path) => self.discovery(path),
            (_, path) => match self.resources.get(path) {
                Some(resource) => (200, self.list(resource, query)),
                None => (404, status(404)),
            },
        }
    }

    fn discovery(&self, root: &str) -> (u16, Value) {
        let below = |path: &String| path.strip_prefix(root).map(str::to_owned);
        let entry = |(path, resource): (&String, &Resource)| {
            let rest = below(path)?;
            let name = rest.rsplit('/').next()?.to_owned();
            let namespaced = rest.contains("/namespaces/");
            Some(
                json!({"name": name, "singularName": "", "kind": resource.kind, "namespaced": namespaced, "verbs": ["list", "watch"]}),
            )
        };
        let found: Vec<Value> = self.resources.iter().filter_map(entry).collect();
        if found.is_empty() {
            return (404, status(404));
        }
        (200, json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": found}))
    }

    fn list(&self, resource: &Resource, query: &Query) -> Value {
        let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
        let (limit, start) = (number("limit").unwrap_or(usize::MAX), number("continue").unwrap_or(0));
        let items: Vec<&Value> = resource.objects.values().skip(start).take(limit).collect();
        let end = start + items.len();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end < resource.objects.len() {
            metadata["continue"] = end.to_string().into();
            metadata["remainingItemCount"] = (resource.objects.len() - end).into();
        }
        json!({"kind": format!("{}List", resource.kind), "apiVersion": "v1", "metadata": metadata, "items": items})
    }
}

type Query = BTreeMap<String, String>;

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Query)> {
    let mut first = String::new();
    stream.read_line(&mut first).await.ok().filter(|bytes| *bytes > 0)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
    }
    let target = first.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Some((path.trim_end_matches('/').to_owned(), pairs.collect()))
}

async fn respond(stream: &mut BufReader<TcpStream>, code: u16, body: &Value) -> Option<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()
}

async fn begin_stream(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()
}

async fn chunk(stream: &mut BufReader<TcpStream>, value: &Value) -> Option<()> {
    let line = format!("{value}\n");
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    stream.write_all(chunk.as_bytes()).await.ok()
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": format!("scripted {code}"), "code": code})
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
