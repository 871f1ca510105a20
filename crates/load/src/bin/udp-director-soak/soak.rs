//! The soak from its first process to its verdict.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use udp_director_client::{ErrorCode, QueryError};

use crate::changes::Changes;
use crate::director::Director;
use crate::files::{Config, Files, objects, replace};
use crate::findings::Findings;
use crate::fleet::{Fleet, Role};
use crate::patience;
use crate::player::{MAIN, Player};
use crate::proc::usage;
use crate::random::Random;
use crate::sample::{Reading, Sample, words};
use crate::stream::Streamer;
use crate::verdict::{Growth, RULES, unexplained};
use crate::visitor::Visitor;
use crate::world::World;

/// What a soak is to be like.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The director's program.
    pub(crate) director: PathBuf,
    /// How long players play.
    pub(crate) span: Duration,
    /// How many play.
    pub(crate) players: u32,
    /// What chance follows from.
    pub(crate) seed: u64,
    /// Where samples go as JSON, a line each.
    pub(crate) json: Option<PathBuf>,
}

/// A soak that runs.
#[derive(Debug)]
pub(crate) struct Soak {
    plan: Plan,
    director: Director,
    files: Arc<Files>,
    world: World,
    closing: watch::Sender<bool>,
    json: Option<File>,
    last: Reading,
    samples: Vec<Sample>,
}

impl Soak {
    /// Starts the game servers and the director.
    ///
    /// # Errors
    /// Says what cannot be started.
    pub(crate) async fn begin(plan: Plan) -> anyhow::Result<Soak> {
        let json = plan.json.as_ref().map(File::create).transpose().context("the file for --json")?;
        let files = Files::new().context("a folder for the director's files")?;
        let fleet = Fleet::default();
        for role in STEADY {
            fleet.open(role).context("a game server")?;
        }
        replace(&files.config(), &Config::PLAIN.text())?;
        replace(&files.objects(), &objects(&fleet.listed(), PLENTY))?;
        let director = match Director::start(&plan.director, &files).await {
            Ok(director) => director,
            Err(error) => {
                // The error says all that the log does; a folder that stays harms nobody.
                let _ = files.remove();
                return Err(error);
            }
        };
        let (closing, closed) = watch::channel(false);
        let findings = Findings::new();
        let world = World { director: director.ports(), fleet, findings, closing: closed };
        let (files, last, samples) = (Arc::new(files), Reading::default(), Vec::new());
        Ok(Soak { plan, director, files, world, closing, json, last, samples })
    }

    /// Runs it to its end, which an `interrupt` brings about early; says whether it has passed.
    ///
    /// # Errors
    /// When the director is gone, or cannot be asked.
    pub(crate) async fn run(mut self, interrupt: impl Future<Output = ()>) -> anyhow::Result<bool> {
        println!("{RULES}\n\nseed {}, {} players\n{}", self.plan.seed, self.plan.players, Sample::HEAD);
        let before = self.look().await?;
        let mut tasks = self.everybody();
        // It ends with the director, of which others tell.
        tokio::spawn(patience::watch(self.director.pid(), self.world.findings.clone()));
        tokio::select! {
            outcome = self.watch(self.plan.span) => outcome?,
            () = interrupt => println!("interrupted: everybody leaves"),
        }
        self.closing.send_replace(true);
        if timeout(LEAVING, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            self.world.findings.fault(format!("not everybody has left within {LEAVING:?}"));
        }
        let played = self.samples.len();
        self.come_to_rest(&before).await?;
        self.count_seats().await?;
        self.stop().await?;
        Ok(self.conclude(played))
    }

    /// Sets everybody and everything going. A task that panics fails the soak by the panic's own
    /// message and by what it no longer does.
    fn everybody(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let mut random = Random::new(self.plan.seed);
        for id in 1..=self.plan.players {
            let (world, rate) = (self.world.clone(), random.one_of(RATES));
            let random = random.fork();
            match id % 20 {
                0 => drop(tasks.spawn(Streamer { id, random, world }.run())),
                1..=3 => drop(tasks.spawn(Visitor { id, rate, random, world }.run())),
                n => {
                    let listener = if n < 7 { "extra" } else { MAIN };
                    tasks.spawn(Player { id, rate, listener, random, world }.run());
                }
            }
        }
        let mut changes =
            || Changes { files: Arc::clone(&self.files), random: random.fork(), world: self.world.clone() };
        tasks.spawn(changes().reconfigure());
        tasks.spawn(changes().restock());
        tasks
    }

    /// Takes samples for that long.
    async fn watch(&mut self, span: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < span {
            sleep(INTERVAL).await;
            self.look().await?;
        }
        Ok(())
    }

    /// Takes one sample, and reads the director's log.
    async fn look(&mut self) -> anyhow::Result<Sample> {
        self.read_log()?;
        if let Some(status) = self.director.ended()? {
            anyhow::bail!("the director has ended: {status}; its log is {}", self.files.log().display());
        }
        let now = self.reading().await?;
        let sample = now.since(&self.last);
        println!("{}", sample.line());
        if let Some(json) = &mut self.json {
            writeln!(json, "{}", serde_json::to_string(&sample)?).context("the file for --json")?;
        }
        self.last = now;
        self.samples.push(sample.clone());
        Ok(sample)
    }

    async fn reading(&self) -> anyhow::Result<Reading> {
        let metrics = self.world.director.metrics().await?;
        let mut reading = Reading {
            elapsed: self.world.findings.begun().elapsed(),
            sums: self.world.findings.take(),
            metrics,
            director: self.director.usage().context("what the director uses")?,
            soak: usage(std::process::id()).context("what the soak uses")?,
            starved: 0,
        };
        reading.follow(&self.last);
        Ok(reading)
    }

    fn read_log(&mut self) -> anyhow::Result<()> {
        let news = self.director.news().context("the director's log")?;
        for alarm in news.alarms {
            self.world.findings.fault(format!("the director's log: {alarm}"));
        }
        *self.world.findings.sums().acts.entry(REFUSED).or_default() += news.refusals;
        Ok(())
    }

    /// Waits until nothing is left of the players.
    async fn come_to_rest(&mut self, before: &Sample) -> anyhow::Result<()> {
        println!("everybody has left; waiting for the timeouts");
        let deadline = Instant::now() + REST;
        loop {
            sleep(INTERVAL).await;
            let sample = self.look().await?;
            let left = left(&sample, before);
            if left.is_empty() {
                println!("nothing is left");
                return Ok(());
            }
            if Instant::now() > deadline {
                self.world.findings.fault(format!("left after {REST:?}: {}", left.join(", ")));
                return Ok(());
            }
        }
    }

    /// A server that says it has so many seats gives out so many tokens and no more, if every seat
    /// that the players held was given back.
    async fn count_seats(&mut self) -> anyhow::Result<()> {
        let arithmetic = Config { strategy: "labelArithmetic", ..Config::PLAIN };
        let servers = self.world.fleet.listed();
        replace(&self.files.objects(), &objects(&servers, SEATS))?;
        replace(&self.files.config(), &arithmetic.text())?;
        sleep(SETTLED_AFTER).await;
        for server in &servers {
            let seats = self.seats(server.name()).await?;
            if seats != SEATS {
                let name = server.name();
                self.world.findings.fault(format!("{name} has {seats} of {SEATS} seats free at the end"));
            }
        }
        println!("every server's seats are counted");
        Ok(())
    }

    async fn seats(&self, server: &str) -> anyhow::Result<usize> {
        for taken in 0..=SEATS {
            match self.world.ask(&format!("server={server}")).await {
                Ok(_) => {}
                Err(QueryError::Refused { code: ErrorCode::NoMatchingResources, .. }) => return Ok(taken),
                Err(error) => return Err(error).context("a query at the end"),
            }
        }
        Ok(SEATS + 1)
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.director.stop().await?;
        if !status.success() {
            self.world.findings.fault(format!("the director stopped with {status}"));
        }
        self.read_log()
    }

    /// Prints the summary and says whether the soak has passed.
    fn conclude(self, played: usize) -> bool {
        let loss = self.last.loss();
        let growth = Growth::of(&self.samples[..played]);
        let sums = self.world.findings.sums().clone();
        println!(
            "\n{} beats sent, {} answered; {} bytes on streams",
            sums.sent, sums.answered, sums.stream_bytes
        );
        println!("done: {}", words(&sums.acts));
        println!("events: {}", words(&self.last.metrics.events()));
        println!("drops: {}", words(&self.last.metrics.drops()));
        println!("{loss:?}\n{growth:?}");
        let mut reasons = sums.faults;
        reasons.extend(unexplained(loss));
        reasons.extend(growth.map(Growth::leaks).unwrap_or_default());
        reasons.extend(refusals_missed(&sums.acts));
        for reason in &reasons {
            println!("- {reason}");
        }
        let passed = reasons.is_empty();
        println!("{}", if passed { "PASSED" } else { "FAILED" });
        self.leave(passed);
        passed
    }

    /// The files of a soak that has failed stay for who looks into it.
    fn leave(self, passed: bool) {
        if !passed {
            return println!("the director's log is {}", self.files.log().display());
        }
        // A folder that cannot be removed stays in the temporary directory, and harms nobody there.
        let _ = Arc::into_inner(self.files).map(Files::remove);
    }
}

/// What a sample shows that should be gone when everybody is.
fn left(sample: &Sample, before: &Sample) -> Vec<String> {
    let counts = [
        ("sessions", sample.sessions, 0),
        ("tokens", sample.waiting_tokens, 0),
        ("upstream sockets", sample.upstream_sockets, before.upstream_sockets),
        ("descriptors", sample.descriptors, before.descriptors),
    ];
    let more = counts.iter().filter(|(_, now, before)| now > before);
    more.map(|(what, now, before)| format!("{now} {what} ({before} at the start)")).collect()
}

/// Every bad file is refused with one line in the log.
fn refusals_missed(acts: &std::collections::BTreeMap<&'static str, u64>) -> Option<String> {
    let count = |name| acts.get(name).copied().unwrap_or_default();
    let written = count("write a bad configuration") + count("leave an inventory half-written");
    let refused = count(REFUSED);
    (written != refused).then(|| format!("{written} bad files were written and {refused} refused"))
}

/// The act that counts the refusals in the log.
const REFUSED: &str = "bad file refused";
/// The servers that are there from the beginning to the end.
const STEADY: [Role; 6] = [Role::Arena, Role::Arena, Role::Arena, Role::Arena, Role::Lobby, Role::Lobby];
/// Beats a second; most games send 20 or 30.
const RATES: [u32; 5] = [20, 20, 20, 30, 60];
const INTERVAL: Duration = Duration::from_secs(10);
/// The longest that anybody needs to leave: a server that is being emptied, and what follows.
const LEAVING: Duration = Duration::from_secs(120);
/// Idle sessions end, their upstream ports rest, and unused upstream sockets close after a minute.
const REST: Duration = Duration::from_secs(150);
/// The director has long followed its files by then.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// Seats while nobody counts them.
const PLENTY: usize = 100_000;
/// Seats of each server when they are counted.
const SEATS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_more_than_at_the_start_is_left() {
        let before = Sample { descriptors: 30, ..Sample::default() };
        assert!(left(&before, &before).is_empty());
        let after = Sample { descriptors: 31, sessions: 1, ..Sample::default() };
        assert_eq!(left(&after, &before).len(), 2);
    }

    #[test]
    fn bad_file_that_is_taken_is_told() {
        let acts = [("write a bad configuration", 2), (REFUSED, 1)].into();
        assert!(refusals_missed(&acts).is_some());
        let acts = [("write a bad configuration", 1), ("leave an inventory half-written", 1), (REFUSED, 2)];
        assert_eq!(refusals_missed(&acts.into()), None);
    }
}
