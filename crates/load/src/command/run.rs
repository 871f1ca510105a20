//! `run`: clients that open sessions and play.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args};
use ipnet::Ipv4Net;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use udp_director_load::{
    Asked, Asking, Beat, Crowd, Flow, Game, Magic, Opened, Played, Progress, Query, RunReport, Setup, Swarm,
};

use super::Failure;

/// Lets clients open sessions and play, and says how long round trips took and what was lost.
///
/// Every client sends its token first, then numbered datagrams, which a server is to give back
/// (`udp-director-load echo`). With --duration 0 it only opens the sessions.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("entry").required(true).args(["director", "no_token"]))]
pub(super) struct RunArgs {
    /// Where clients play: the director's data port, or a server itself with --no-token.
    #[arg(value_name = "HOST:PORT", value_parser = super::parse_addr)]
    data: SocketAddr,
    /// The director's query port, where each client asks for its token.
    #[arg(long, value_name = "HOST:PORT", value_parser = super::parse_addr, requires = "query")]
    director: Option<SocketAddr>,
    /// What to ask, as JSON: {"resourceType": "gameserver"}.
    #[arg(long, value_name = "JSON", value_parser = super::parse_query, requires = "director")]
    query: Option<Query>,
    /// Come without tokens: to the director's default endpoint, or to a server itself.
    #[arg(long)]
    no_token: bool,
    /// Ask for all tokens from one address. The director must have `tokens.bindClientIp: false`.
    #[arg(long, requires = "director")]
    ask_from_one: bool,
    /// How many connections ask for tokens at a time.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ask_connections: u32,
    /// The director's magic bytes, in hexadecimal.
    #[arg(long, value_name = "HEX", default_value_t = Magic::default())]
    magic: Magic,
    #[command(flatten)]
    crowd: CrowdArgs,
    #[command(flatten)]
    game: GameArgs,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct CrowdArgs {
    /// How many clients.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    clients: u32,
    /// Take the clients' addresses from this IPv4 network, all of which must be this host's: 127.0.0.0/8,
    /// or one that `ip route add local NET dev lo` makes so. Left out, each client has a socket at the
    /// host's own address.
    #[arg(long, value_name = "NET")]
    client_net: Option<Ipv4Net>,
    /// With --client-net: how many clients share an address, each with a port of its own.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ports: u32,
    /// Threads to play in.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
}

#[derive(Clone, Copy, Debug, Args)]
struct GameArgs {
    /// How many clients open their sessions at a time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    at_a_time: u32,
    /// Datagrams a second, over all clients, whatever comes back.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = super::parse_rate)]
    rate: f64,
    /// In place of a rate: so many datagrams without a reply, over all clients.
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    in_flight: Option<u32>,
    /// The length of a datagram, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(Beat::LEN as i64..=65_507))]
    size: u16,
    /// For how many seconds to play before anything counts.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::parse_seconds)]
    warm_up: Duration,
    /// For how many seconds to play then.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::parse_seconds)]
    duration: Duration,
}

impl RunArgs {
    pub(super) fn run(self, runtime: &Runtime) -> Result<(), Failure> {
        let crowd = self.crowd();
        self.check(&crowd).map_err(Failure::Usage)?;
        raise_descriptor_limit()?;
        let asked = match (self.director, &self.query) {
            (Some(director), Some(query)) => Some(runtime.block_on(self.ask(director, query, &crowd))?),
            _ => None,
        };
        Ok(self.play(crowd, asked.as_ref())?)
    }

    fn play(&self, crowd: Crowd, asked: Option<&Asked>) -> anyhow::Result<()> {
        let tokens = asked.map(|asked| asked.tokens.clone()).unwrap_or_default();
        let (target, magic) = (self.data, self.magic);
        let setup = Setup { target, crowd, tokens, magic, datagram_bytes: self.game.size.into() };
        let mut swarm = Swarm::new(&setup)?;
        let opened = watched(&swarm.progress(), || swarm.open(self.game.at_a_time as usize))??;
        self.judge_opening(&opened)?;
        eprintln!("{} sessions opened in {:.1?}", opened.opened, opened.elapsed);
        let played = match self.game.duration.is_zero() {
            true => None,
            false => Some(watched(&swarm.progress(), || swarm.play(&self.game()))??),
        };
        super::print(&RunReport::new(asked, &opened, played.as_ref()), self.json)?;
        judge_game(played.as_ref())
    }

    fn crowd(&self) -> Crowd {
        let CrowdArgs { clients, client_net: net, ports, threads } = self.crowd;
        Crowd { clients, net, ports, threads: threads.min(clients) }
    }

    fn game(&self) -> Game {
        let GameArgs { rate, in_flight, warm_up, duration, .. } = self.game;
        let flow = in_flight.map_or(Flow::Rate(rate), |count| Flow::InFlight(count as usize));
        Game { flow, warm_up, duration }
    }

    /// Says what makes these arguments impossible together.
    fn check(&self, crowd: &Crowd) -> Result<(), String> {
        if crowd.net.is_some() && !self.data.is_ipv4() {
            return Err(format!(
                "--client-net is an IPv4 network, and {} is not reached from there",
                self.data
            ));
        }
        let sockets = if crowd.net.is_some() { crowd.ports * crowd.threads } else { crowd.clients };
        let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| error.to_string())?;
        if u64::from(sockets) + SPARE_DESCRIPTORS > limit {
            return Err(format!(
                "{sockets} sockets are more than this process may open ({limit}); \
                 --client-net lets clients share them"
            ));
        }
        crowd.sources().map(drop).map_err(|error| error.to_string())
    }

    async fn ask(&self, director: SocketAddr, query: &Query, crowd: &Crowd) -> anyhow::Result<Asked> {
        let asking = Asking { director, query: query.clone(), connections: self.ask_connections as usize };
        let source = |source: Option<_>| source.filter(|_| !self.ask_from_one).map(IpAddr::V4);
        let sources: Vec<_> = crowd.sources()?.into_iter().map(source).collect();
        let asked = asking.tokens(&sources).await.with_context(|| format!("asking {director} for tokens"))?;
        eprintln!("{} tokens in {:.1?}", asked.tokens.len(), asked.elapsed);
        Ok(asked)
    }

    fn judge_opening(&self, opened: &Opened) -> anyhow::Result<()> {
        let data = self.data;
        if let Some((reason, count)) = opened.refused.first_key_value() {
            bail!("{data} refused {count} of {} clients: {reason}", self.crowd.clients);
        }
        ensure!(
            opened.unanswered == 0,
            "{} of {} clients got no reply from {data} within {:?}: is a server behind it that echoes?",
            opened.unanswered,
            self.crowd.clients,
            Opened::DEADLINE
        );
        ensure!(opened.misdelivered == 0, "{} replies reached another client", opened.misdelivered);
        Ok(())
    }
}

fn raise_descriptor_limit() -> anyhow::Result<()> {
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).context("cannot raise the limit of descriptors")
}

fn judge_game(played: Option<&Played>) -> anyhow::Result<()> {
    let Some(played) = played else { return Ok(()) };
    ensure!(played.answered > 0, "no datagram was answered");
    ensure!(played.misdelivered == 0, "{} replies reached another client", played.misdelivered);
    Ok(())
}

/// Does something, and meanwhile shows each second how far it has come.
fn watched<T>(progress: &Arc<Progress>, act: impl FnOnce() -> T) -> anyhow::Result<T> {
    let (done, over) = channel::<()>();
    let watcher = thread::Builder::new().name("progress".to_owned());
    thread::scope(|scope| {
        watcher.spawn_scoped(scope, move || {
            let start = Instant::now();
            let mut before = (progress.sent(), progress.answered());
            while over.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                before = show(start, progress, before);
            }
        })?;
        let outcome = act();
        drop(done);
        Ok(outcome)
    })
}

fn show(start: Instant, progress: &Progress, before: (u64, u64)) -> (u64, u64) {
    let now = (progress.sent(), progress.answered());
    eprintln!(
        "{:4} s  {} sessions  sent {}  answered {}",
        start.elapsed().as_secs(),
        progress.opened(),
        now.0 - before.0,
        now.1 - before.1
    );
    now
}

/// What else is open: standard streams, epoll, timer, connections that ask.
const SPARE_DESCRIPTORS: u64 = 16;
