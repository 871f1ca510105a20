//! The form of the rows. Those that there are few of are JSON. Sessions and tokens, of which a busy
//! director writes tens of thousands a second, are packed: a third of the bytes, and of the work.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use udp_director_core::{
    Backend, BackendAddr, BackendId, BackendSpec, Capacity, ClientAddr, Generation, Moment, Ports, Protocol,
    SessionId, SessionRecord, StickyKey, StickyRecord, TokenRecord, UseRecord, View, Withheld, WorkerId,
};
use udp_director_wire::Token;

/// What ties the process's moments to the time of day, which is what a journal can keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Today {
    pub(super) moment: Moment,
    pub(super) time: SystemTime,
}

impl Today {
    /// The time of day at a moment to come, in milliseconds since 1970.
    fn write(&self, moment: Moment) -> u64 {
        self.millis() + (moment - self.moment).as_millis() as u64
    }

    /// The moment at that time of day; the present where it is over.
    fn read(&self, millis: u64) -> Moment {
        self.moment + Duration::from_millis(millis.saturating_sub(self.millis()))
    }

    fn millis(&self) -> u64 {
        self.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackendForm {
    id: String,
    resource_type: String,
    namespace: String,
    name: String,
    address: IpAddr,
    ports: PortsForm,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum PortsForm {
    One(u16),
    Named(BTreeMap<String, u16>),
}

impl BackendForm {
    pub(super) fn of(spec: &BackendSpec) -> BackendForm {
        BackendForm {
            id: spec.id.as_str().to_owned(),
            resource_type: spec.resource_type.to_string(),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
            address: spec.address,
            ports: match &spec.ports {
                Ports::One(port) => PortsForm::One(*port),
                Ports::Named(ports) => PortsForm::Named(ports.clone()),
            },
            labels: spec.labels.clone(),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        bytes(self)
    }

    /// The backend as it was. It takes no new players before somebody else has seen it.
    pub(super) fn spec(self) -> BackendSpec {
        BackendSpec {
            id: BackendId::new(&self.id),
            resource_type: self.resource_type.into(),
            namespace: self.namespace,
            name: self.name,
            address: self.address,
            ports: match self.ports {
                PortsForm::One(port) => Ports::One(port),
                PortsForm::Named(ports) => Ports::Named(ports),
            },
            labels: self.labels,
            annotations: BTreeMap::new(),
            view: View::from(serde_json::Value::Null),
            ends_at: None,
            withheld: Some(Withheld::Unconfirmed),
            capacity: Capacity::default(),
        }
    }
}

/// A session; its number is the row's key. Packed: what a newer version adds comes at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionForm {
    port: u16,
    client: SocketAddr,
    local: IpAddr,
    pub(super) backend: u64,
    backend_addr: SocketAddr,
    worker: u16,
    upstream_port: u16,
    pub(super) token: Option<u64>,
    generation: u32,
    parked: bool,
}

impl SessionForm {
    pub(super) fn to_bytes(record: &SessionRecord, backend: u64, token: Option<u64>) -> Vec<u8> {
        packed(&SessionForm {
            port: record.port,
            client: record.client.socket_addr(),
            local: record.local,
            backend,
            backend_addr: record.backend_addr.socket_addr(),
            worker: record.worker.0,
            upstream_port: record.upstream_port,
            token,
            generation: record.generation.0,
            parked: record.parked,
        })
    }

    /// The record; `None` where a value is impossible.
    pub(super) fn record(
        self,
        id: u64,
        backend: Arc<Backend>,
        token: Option<Token>,
    ) -> Option<SessionRecord> {
        (self.upstream_port != 0).then_some(SessionRecord {
            id: SessionId(id),
            port: self.port,
            client: ClientAddr::new(self.client),
            local: self.local,
            backend,
            backend_addr: BackendAddr::new(self.backend_addr),
            worker: WorkerId(self.worker),
            upstream_port: self.upstream_port,
            token,
            generation: Generation(self.generation),
            parked: self.parked,
        })
    }
}

/// A token, by what stands in for it. Packed: what a newer version adds comes at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TokenForm {
    token: String,
    pub(super) backend: u64,
    seated: bool,
    asked_by: Option<IpAddr>,
    bound: bool,
    pub(super) wanted: Option<u64>,
    sticky_key: Option<String>,
    expires: u64,
    uses: Vec<UseForm>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UseForm {
    tcp: bool,
    port: u16,
    session: u64,
    names: bool,
}

impl TokenForm {
    /// The row of a record whose token is what stands in for it.
    pub(super) fn to_bytes(
        record: &TokenRecord,
        backend: u64,
        wanted: Option<u64>,
        today: &Today,
    ) -> Vec<u8> {
        let used = |used: &UseRecord| UseForm {
            tcp: used.protocol == Protocol::Tcp,
            port: used.port,
            session: used.session.0,
            names: used.names,
        };
        packed(&TokenForm {
            token: record.token.as_str().to_owned(),
            backend,
            seated: record.seated,
            asked_by: record.asked_by,
            bound: record.bound,
            wanted,
            sticky_key: record.sticky_key.as_ref().map(|key| key.text().to_owned()),
            expires: today.write(record.expires),
            uses: record.uses.iter().map(used).collect(),
        })
    }

    /// What stands in for the token; `None` where nothing can.
    pub(super) fn token(&self) -> Option<Token> {
        Token::from_bytes(self.token.as_bytes())
    }

    /// The record, without what was asked for.
    pub(super) fn record(self, token: Token, backend: Arc<Backend>, today: &Today) -> TokenRecord {
        let used = |used: &UseForm| UseRecord {
            protocol: if used.tcp { Protocol::Tcp } else { Protocol::Udp },
            port: used.port,
            session: SessionId(used.session),
            names: used.names,
        };
        TokenRecord {
            token,
            backend,
            seated: self.seated,
            asked_by: self.asked_by,
            bound: self.bound,
            wanted: None,
            sticky_key: self.sticky_key.as_deref().map(StickyKey::from_text),
            expires: today.read(self.expires),
            uses: self.uses.iter().map(used).collect(),
        }
    }
}

/// Where a sticky key led; the key is the row's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StickyForm {
    backend: String,
    until: u64,
}

impl StickyForm {
    pub(super) fn to_bytes(record: &StickyRecord, today: &Today) -> Vec<u8> {
        bytes(&StickyForm { backend: record.backend.as_str().to_owned(), until: today.write(record.until) })
    }

    pub(super) fn record(self, key: &str, today: &Today) -> StickyRecord {
        let (key, backend) = (StickyKey::from_text(key), BackendId::new(&self.backend));
        StickyRecord { key, backend, until: today.read(self.until) }
    }
}

fn packed(form: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(form).expect("a Vec takes all bytes")
}

fn bytes(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("every key is a text")
}
