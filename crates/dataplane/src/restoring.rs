//! Restoring: upstream sockets on the ports of before a restart, and the sessions on them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use udp_director_core::{
    Context, Forwarder, Moment, SessionRecord, SharedLedger, UpstreamIndex, UpstreamSocket,
};

use crate::udp::Upstream;

/// What has become of the sessions that were to be restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions that go on.
    pub sessions: usize,
    /// Lost: another process has their upstream port.
    pub port_taken: usize,
    /// Lost: no more upstream sockets may be open, or the system refuses one.
    pub no_socket: usize,
    /// Lost: no listener is on their public port any more, or the record is at odds with another.
    pub no_place: usize,
}

impl Restored {
    /// Adds what another worker has done.
    pub(crate) fn add(&mut self, other: Restored) {
        self.sessions += other.sessions;
        self.port_taken += other.port_taken;
        self.no_socket += other.no_socket;
        self.no_place += other.no_place;
    }
}

/// An upstream port: whether it is one of IPv6, and its number.
type Port = (bool, u16);

/// What one worker is to restore.
#[derive(Debug)]
pub(crate) struct Restoring {
    pub(crate) ports: BTreeMap<Port, Vec<SessionRecord>>,
    pub(crate) done: oneshot::Sender<Restored>,
}

/// What a worker has restored, yet to be told.
pub(crate) struct Outcome(Restored, oneshot::Sender<Restored>);

impl Outcome {
    pub(crate) fn tell(self) {
        // Who asked may have gone.
        let _ = self.1.send(self.0);
    }
}

/// The sessions of each worker, by upstream port: a port belongs to the worker that had it, as long as
/// there are as many.
pub(crate) fn divided(
    records: Vec<SessionRecord>,
    workers: usize,
) -> Vec<BTreeMap<Port, Vec<SessionRecord>>> {
    let mut divided = vec![BTreeMap::<Port, Vec<SessionRecord>>::new(); workers];
    let mut owners = BTreeMap::new();
    for record in records {
        let port = (record.backend_addr.ip().is_ipv6(), record.upstream_port);
        let owner = *owners.entry(port).or_insert(usize::from(record.worker.0) % workers);
        divided[owner].entry(port).or_default().push(record);
    }
    divided
}

impl Restoring {
    /// Opens the ports, lets `put` have each socket read, and restores the sessions on them.
    pub(crate) fn carry_out(
        self,
        forwarder: &mut Forwarder,
        ledger: &SharedLedger,
        now: Moment,
        put: &mut dyn FnMut(UpstreamIndex, Arc<Upstream>) -> io::Result<()>,
    ) -> Outcome {
        let mut restored = Restored::default();
        let mut none = |_: bool, _: UpstreamIndex| -> Option<Arc<dyn UpstreamSocket>> { None };
        let mut cx = Context { now, ledger, open: &mut none };
        for ((v6, port), records) in self.ports {
            match open(forwarder, (v6, port), put) {
                Ok(index) => {
                    let there =
                        records.iter().filter(|record| forwarder.restore(index, record, &mut cx)).count();
                    restored.sessions += there;
                    restored.no_place += records.len() - there;
                    forwarder.settle(index, now);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    restored.port_taken += records.len();
                }
                Err(_) => restored.no_socket += records.len(),
            }
        }
        Outcome(restored, self.done)
    }
}

fn open(
    forwarder: &mut Forwarder,
    (v6, port): Port,
    put: &mut dyn FnMut(UpstreamIndex, Arc<Upstream>) -> io::Result<()>,
) -> io::Result<UpstreamIndex> {
    let socket = Arc::new(Upstream::open_at(v6, port)?);
    let adopted = forwarder.adopt(v6, Arc::clone(&socket) as Arc<dyn UpstreamSocket>);
    let index = adopted.ok_or_else(|| io::Error::other("as many upstream sockets as may be are open"))?;
    put(index, socket)?;
    Ok(index)
}
