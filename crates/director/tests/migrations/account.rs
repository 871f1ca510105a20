//! The account of a game: where each datagram went, and what came back of it.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use udp_director_core::SLOT_REST;
use udp_director_load::ServerId;

use crate::players::{Echo, PERIOD, Stream};
use crate::servers::Seen;
use crate::stage::socket_address;

/// What a game came to.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) sent: usize,
    pub(crate) echoed: usize,
    /// How many datagrams reached no game server.
    pub(crate) missing: usize,
    /// Which, where: from the fewest in a row to the most.
    pub(crate) holes: Vec<(usize, String)>,
    /// The answers that did not reach their player: stream, number, server.
    pub(crate) unechoed: Vec<(u32, u64, ServerId)>,
    /// Control packets that were refused.
    pub(crate) refused: u64,
    /// How often a stream's datagrams have gone to another server than the one before it, closed ports
    /// counted as one.
    pub(crate) switches: u64,
    /// Between an echo by one server and the next, by another one.
    pub(crate) gaps: Vec<Duration>,
    /// Between two echoes in a row by one server.
    pub(crate) other_gaps: Vec<Duration>,
    /// A gap at a migration that was longer than a tick beyond what others waited at that moment.
    pub(crate) waits: Vec<String>,
}

/// Where each datagram of a stream went: `None` where it reached nobody.
type Stays = Vec<Option<ServerId>>;

impl Account {
    /// Checks the game datagram by datagram.
    ///
    /// # Panics
    /// When a datagram reached two servers, or one twice, or out of order, or another than it was sent
    /// to, and when two players had one place at a server.
    pub(crate) fn of(streams: &[Stream], seen: &[Seen]) -> Account {
        let stays = stays(streams, seen);
        assert_places_are_of_one_player_at_a_time(seen);
        let mut account = Account::default();
        for (stream, stays) in streams.iter().zip(&stays) {
            account.refused += stream.refused.len() as u64;
            assert_follows_moves(stream, stays);
            account.sent += stays.len();
            account.echoed += stream.echoes.len();
            account.missing += stays.iter().filter(|stay| stay.is_none()).count();
            account.switches += stays.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64;
        }
        account.holes = streams.iter().zip(&stays).flat_map(|(stream, stays)| holes(stream, stays)).collect();
        account.holes.sort_unstable();
        account.unechoed = unechoed(streams, seen);
        account.measure(streams);
        account
    }

    /// One line of the table.
    pub(crate) fn print(&self, cause: &str, migrations: u64, unclaimed: u64) {
        println!(
            "| {cause} | {migrations} | {} + {} | {unclaimed} | {} | {} | {} |",
            self.sent,
            self.echoed,
            self.missing as u64 - unclaimed + self.unechoed.len() as u64,
            spread(&self.gaps),
            spread(&self.other_gaps),
        );
    }

    fn measure(&mut self, streams: &[Stream]) {
        let mut switches = Vec::new();
        let mut others = Vec::new();
        for stream in streams {
            for pair in stream.echoes.windows(2) {
                let is_next = pair[1].number == pair[0].number + 1;
                match (is_next, pair[0].by == pair[1].by) {
                    (true, false) => switches.push((stream.name(), pair[0], pair[1])),
                    (true, true) => others.push((pair[0].at, pair[1].at)),
                    (false, _) => {}
                }
            }
        }
        others.sort_unstable();
        for (name, last, first) in switches {
            self.gaps.push(first.at - last.at);
            let longest = longest_around(&others, &last, &first);
            if first.at - last.at > longest + PERIOD {
                self.waits.push(format!(
                    "{name}: {:?} from {} by {} to {} by {}; others waited {longest:?}",
                    first.at - last.at,
                    last.number,
                    last.by,
                    first.number,
                    first.by
                ));
            }
        }
        self.other_gaps = others.into_iter().map(|(from, to)| to - from).collect();
    }
}

/// The longest wait, of anybody who was not moved, that touches that gap; at least a tick.
fn longest_around(others: &[(Duration, Duration)], last: &Echo, first: &Echo) -> Duration {
    let from = others.partition_point(|(begin, _)| *begin + Duration::from_secs(1) < last.at);
    let near = others[from..].iter().take_while(|(begin, _)| *begin <= first.at);
    let touching = near.filter(|(_, end)| *end >= last.at);
    touching.map(|(begin, end)| *end - *begin).max().unwrap_or_default().max(PERIOD)
}

impl Stream {
    pub(crate) fn name(&self) -> String {
        format!("stream {} ({})", self.id, self.listener)
    }
}

fn stays(streams: &[Stream], seen: &[Seen]) -> Vec<Stays> {
    let mut stays: Vec<Stays> = streams.iter().map(|stream| vec![None; stream.sent as usize]).collect();
    let mut last: HashMap<(u32, SocketAddr), u64> = HashMap::new();
    for arrived in seen {
        let stream = &streams[arrived.stream as usize];
        let (name, number) = (stream.name(), arrived.number);
        assert_eq!(arrived.at, socket_address(arrived.server, stream.listener), "{name}: {arrived:?}");
        let before = stays[arrived.stream as usize][number as usize].replace(arrived.server);
        assert_eq!(before, None, "{name}: datagram {number} reached a server before it reached {arrived:?}");
        let last = last.insert((arrived.stream, arrived.at), number);
        assert!(
            last.is_none_or(|last| last < number),
            "{name}: {number} behind {last:?} at {}",
            arrived.server
        );
    }
    stays
}

/// Where a control packet says where to, each datagram behind it goes there, up to the next one.
fn assert_follows_moves(stream: &Stream, stays: &Stays) {
    let ends = stream.moves.iter().skip(1).map(|(from, _)| *from).chain([stream.sent]);
    for ((from, to), end) in stream.moves.iter().zip(ends) {
        let Some(to) = to else { continue };
        let to = (!is_closed(*to)).then_some(*to);
        for number in *from..end {
            let reached = stays[number as usize];
            assert_eq!(reached, to, "{}: datagram {number}, sent there from {from} on", stream.name());
        }
    }
}

/// No two players are one to a game server, by the director's socket that it sees them at: before another
/// comes to such a place, it has rested.
fn assert_places_are_of_one_player_at_a_time(seen: &[Seen]) {
    let mut last: HashMap<(SocketAddr, SocketAddr), Seen> = HashMap::new();
    for arrived in seen {
        let before = last.insert((arrived.at, arrived.peer), *arrived);
        if let Some(before) = before.filter(|before| before.stream != arrived.stream) {
            let rested = arrived.when - before.when;
            assert!(rested >= SLOT_REST, "{arrived:?} {rested:?} after {before:?}");
        }
    }
}

/// How many in a row have reached no game server, and between which others.
fn holes(stream: &Stream, stays: &Stays) -> Vec<(usize, String)> {
    let mut holes = Vec::new();
    let mut at = 0_usize;
    for run in stays.chunk_by(|a, b| a == b) {
        let behind = at + run.len();
        if run[0].is_none() {
            let server = |at: Option<usize>| at.and_then(|at| stays.get(at).copied().flatten());
            let between = [server(at.checked_sub(1)), server(Some(behind))];
            holes
                .push((run.len(), format!("{}: {at} to {}, between {between:?}", stream.name(), behind - 1)));
        }
        at = behind;
    }
    holes
}

/// The answers that have not reached their player. Nobody may get one twice, or another's.
fn unechoed(streams: &[Stream], seen: &[Seen]) -> Vec<(u32, u64, ServerId)> {
    let answered = seen.iter().filter(|seen| seen.answered);
    let mut due: BTreeSet<(u32, u64, ServerId)> =
        answered.map(|seen| (seen.stream, seen.number, seen.server)).collect();
    for stream in streams {
        for echo in &stream.echoes {
            let was_due = due.remove(&(stream.id, echo.number, echo.by));
            assert!(was_due, "{}: {echo:?} came twice, or was never sent", stream.name());
        }
    }
    due.into_iter().collect()
}

/// Median, 99th percentile and maximum, in milliseconds.
fn spread(spans: &[Duration]) -> String {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize);
    let shown =
        |share| at(share).map_or("-".to_owned(), |span| format!("{:.1}", span.as_secs_f64() * 1000.0));
    [0.5, 0.99, 1.0].map(shown).join(" / ")
}

/// Servers of these numbers have no socket on their ports.
pub(crate) fn is_closed(server: ServerId) -> bool {
    server.0 > 100
}
