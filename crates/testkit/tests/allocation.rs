//! Nothing is allocated for a datagram of a running session.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use udp_director_core::{
    Arrival, BackendAddr, Context, Counters, Forwarder, Inventory, Issue, Moment, Seat, SharedLedger,
    UpstreamIndex, UpstreamSocket, Verdict, WorkerId,
};
use udp_director_testkit::sim::{GAME, backend, client, settings};
use udp_director_wire::Token;

const DATAGRAMS: u64 = 10_000;

#[derive(Debug)]
struct NoSocket;

impl UpstreamSocket for NoSocket {
    fn handle(&self) -> i32 {
        7
    }
}

/// A worker with one session on it.
struct Playing {
    ledger: SharedLedger,
    forwarder: Forwarder,
    arrival: Arrival,
    upstream: UpstreamIndex,
    backend: BackendAddr,
}

#[test]
fn datagram_from_a_client_is_forwarded_without_an_allocation() {
    let mut playing = Playing::begin();
    for len in [0, 36, 37, 45, 1200, 65_507] {
        let payload = vec![b'x'; len];
        let arrival = playing.arrival;
        let counted = measure(|| {
            for number in 0..DATAGRAMS {
                let verdict = playing.client_datagram(&arrival, &payload, at(number));
                assert!(matches!(verdict, Verdict::Forward { .. }));
            }
        });
        assert_eq!(counted, AllocationInfo::default(), "{len} bytes");
    }
}

#[test]
fn reply_of_a_backend_is_returned_without_an_allocation() {
    let mut playing = Playing::begin();
    let (index, source) = (playing.upstream, playing.backend);
    let counted = measure(|| {
        for number in 0..DATAGRAMS {
            assert!(playing.forwarder.backend_datagram(index, source, 1200, at(number)).is_ok());
        }
    });
    assert_eq!(counted, AllocationInfo::default());
}

#[test]
fn stranger_is_dropped_without_an_allocation() {
    let mut playing = Playing::begin();
    let stranger = Arrival { client: client("203.0.113.66:4000"), ..playing.arrival };
    let token = [b'0'; 36];
    let counted = measure(|| {
        for number in 0..DATAGRAMS {
            for payload in
                [&b"hello"[..], &token, b"\xFF\xFF\xFF\xFFRESET000000000000000000000000000000000000"]
            {
                let verdict = playing.client_datagram(&stranger, payload, at(number));
                assert!(matches!(verdict, Verdict::Drop(_)));
            }
        }
    });
    assert_eq!(counted, AllocationInfo::default());
}

impl Playing {
    fn begin() -> Playing {
        let settings = Arc::new(settings());
        let inventory = Arc::new(Inventory::default().next(vec![backend("alpha", 1)], Vec::new()));
        let ledger = SharedLedger::new(Arc::clone(&settings), Arc::clone(&inventory));
        let arrival = Arrival {
            listener: GAME,
            client: client("192.0.2.1:5000"),
            local: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let token = Token::from_bytes(b"0b6f2c1e-8f3a-4c55-9d0e-3f6a1b2c4d5e").expect("a token");
        let seat = Seat::take(&inventory.backends()[0]).expect("a seat");
        let issue =
            Issue { token, seat, asked_by: arrival.client.ip(), bound: true, wanted: None, sticky_key: None };
        ledger.lock().issue(issue, at(0)).expect("room for a token");
        let forwarder = Forwarder::new(WorkerId(0), settings, 1, Arc::new(Counters::default()), 1);
        let (upstream, backend) = (UpstreamIndex(0), BackendAddr::new(([10, 0, 0, 1], 7000).into()));
        let mut playing = Playing { ledger, forwarder, arrival, upstream, backend };
        assert_eq!(playing.client_datagram(&arrival, token.as_bytes(), at(0)), Verdict::Consumed);
        playing
    }

    fn client_datagram(&mut self, arrival: &Arrival, payload: &[u8], now: Moment) -> Verdict {
        let mut open = |_, _| Some(Arc::new(NoSocket) as Arc<dyn UpstreamSocket>);
        let mut cx = Context { now, ledger: &self.ledger, open: &mut open };
        self.forwarder.client_datagram(arrival, payload, &mut cx)
    }
}

fn at(number: u64) -> Moment {
    Moment::since_epoch(Duration::from_micros(number))
}
