//! What happens to the director's files while players play: reloads, servers that come and go, and
//! files that must be refused.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::director::{Metrics, PATIENCE};
use crate::files::{Config, Files, half, objects, replace};
use crate::fleet::{GameServer, Role, Standing};
use crate::random::Random;
use crate::world::World;

/// Rewrites one of the director's files again and again, and sees that it is followed.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The files.
    pub(crate) files: Arc<Files>,
    /// What is done when.
    pub(crate) random: Random,
    /// Whom it happens to.
    pub(crate) world: World,
}

/// How one more server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// It goes unready, its players move away, and then it is removed.
    Gentle,
    /// It is removed with its players on it.
    Rough,
}

impl Changes {
    /// Rewrites the configuration every 20 s until everybody is to leave, and then once more, to what
    /// the soak began with.
    pub(crate) async fn reconfigure(mut self) {
        let mut config = Config::PLAIN;
        while self.wait(17_000..23_000).await {
            if self.random.chance(0.3) {
                self.refused_config(&config).await;
            } else {
                config = self.other(&config);
                self.write_config(&config).await;
            }
        }
        if config != Config::PLAIN {
            self.write_config(&Config::PLAIN).await;
        }
    }

    /// Rewrites the inventory every 10 s until everybody is to leave: servers appear, go unready and
    /// disappear.
    pub(crate) async fn restock(mut self) {
        let mut guests: Vec<Arc<GameServer>> = Vec::new();
        let mut round = 0_u32;
        while self.wait(7_000..10_000).await {
            round += 1;
            match round % 4 {
                1 | 2 => guests.extend(self.appear().await),
                3 => self.half_written().await,
                _ if guests.is_empty() => {}
                _ => {
                    let guest = guests.remove(0);
                    self.disappear(&guest).await;
                }
            }
            if guests.len() > MAX_GUESTS {
                let guest = guests.remove(0);
                self.disappear(&guest).await;
            }
        }
    }

    /// Pauses; `false` when everybody is to leave.
    async fn wait(&mut self, millis: std::ops::Range<u64>) -> bool {
        let pause = self.random.millis(millis);
        tokio::select! {
            () = sleep(pause) => true,
            () = self.world.closed() => false,
        }
    }

    fn other(&mut self, config: &Config) -> Config {
        let random = &mut self.random;
        Config {
            token_ttl: random.one_of([8, 10, 15]),
            session_timeout: random.one_of([10, 12, 15]),
            migration_grace: random.one_of([250, 400, 600]),
            token_grace: random.one_of([200, 350, 500]),
            strategy: random.one_of(["leastSessions", "roundRobin", "random"]),
            extra: !config.extra,
        }
    }

    async fn write_config(&self, config: &Config) {
        self.world.findings.act("change the configuration");
        self.follow("config_generation", || replace(&self.files.config(), &config.text())).await;
    }

    /// Writes a configuration that must be refused, and the good one again.
    async fn refused_config(&mut self, config: &Config) {
        self.world.findings.act("write a bad configuration");
        let bad = bad_config(config, self.random.one_of([0, 1, 2, 3]), self.world.director.query.port());
        self.follow("config_loads_total{outcome=\"rejected\"}", || replace(&self.files.config(), &bad)).await;
        sleep(SETTLED_AFTER).await;
        self.write(|| replace(&self.files.config(), &config.text()));
        sleep(SETTLED_AFTER).await;
    }

    async fn appear(&mut self) -> Option<Arc<GameServer>> {
        self.world.findings.act("add a server");
        let role = self.random.one_of([Role::Arena, Role::Arena, Role::Lobby]);
        let opened = self.world.fleet.open(role);
        let server = opened.inspect_err(|error| self.cannot("start a game server", error)).ok()?;
        self.write_objects().await;
        Some(server)
    }

    async fn disappear(&mut self, server: &Arc<GameServer>) {
        match self.random.one_of([Farewell::Gentle, Farewell::Gentle, Farewell::Rough]) {
            Farewell::Gentle => self.empty(server).await,
            Farewell::Rough => self.world.findings.act("remove a server with its players"),
        }
        self.world.fleet.mark(server, Standing::Removed);
        // Those who are on it take note before the director can.
        sleep(NOTICE).await;
        self.write_objects().await;
        sleep(SETTLED_AFTER).await;
        self.world.fleet.close(server);
    }

    /// Waits until a server's players have moved away, and for those of the default endpoint, of whom
    /// nobody keeps count, as long as they can take.
    async fn empty(&self, server: &Arc<GameServer>) {
        self.world.findings.act("empty and remove a server");
        self.world.fleet.mark(server, Standing::Leaving);
        self.write_objects().await;
        let begun = Instant::now();
        while server.players() > 0 || (server.role() == Role::Lobby && begun.elapsed() < LONGEST_STAY) {
            sleep(Duration::from_millis(200)).await;
            if begun.elapsed() > LONGEST_STAY * 2 {
                return self.world.findings.fault(format!("{} is not left by its players", server.name()));
            }
        }
        sleep(LAST_REPLIES).await;
    }

    /// Leaves the inventory half-written for a while: that must be refused and cost nobody anything.
    async fn half_written(&self) {
        self.world.findings.act("leave an inventory half-written");
        let whole = objects(&self.world.fleet.listed(), SEATS);
        let rejections = "inventory_loads_total{outcome=\"rejected\"}";
        self.follow(rejections, || std::fs::write(self.files.objects(), half(&whole))).await;
        sleep(SETTLED_AFTER).await;
        self.follow("inventory_generation", || std::fs::write(self.files.objects(), &whole)).await;
    }

    /// Writes the inventory as the fleet is now.
    async fn write_objects(&self) {
        let text = objects(&self.world.fleet.listed(), SEATS);
        self.follow("inventory_generation", || replace(&self.files.objects(), &text)).await;
    }

    /// Writes, and waits until the director counts it.
    async fn follow(&self, counter: &str, write: impl Fn() -> io::Result<()>) {
        let before = self.count(counter).await;
        self.write(write);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            sleep(Duration::from_millis(300)).await;
            if self.count(counter).await > before {
                return;
            }
        }
        self.world.findings.fault(format!("{counter} did not grow within {PATIENCE:?}"));
    }

    fn write(&self, write: impl Fn() -> io::Result<()>) {
        if let Err(error) = write() {
            self.cannot("write the director's files", &error);
        }
    }

    async fn count(&self, counter: &str) -> u64 {
        match self.world.director.metrics().await {
            Ok(metrics) => Metrics::of(&metrics, counter),
            Err(error) => {
                self.world.findings.fault(format!("{error:#}"));
                0
            }
        }
    }

    fn cannot(&self, what: &str, error: &io::Error) {
        self.world.findings.fault(format!("the soak cannot {what}: {error}"));
    }
}

/// A configuration that is wrong: in its form, by a key, by what needs a restart, by a port that is
/// taken.
fn bad_config(config: &Config, kind: u8, taken: u16) -> String {
    let text = config.text();
    match kind {
        0 => format!("{text}\nqueryPort: [\n"),
        1 => format!("{text}\nsessionTimeout: 5\n"),
        2 => text.replace("workers: 2", "workers: 3"),
        _ => text.replace(
            "bindAddress",
            &format!("  - {{name: taken, port: {taken}, protocol: tcp}}\nbindAddress"),
        ),
    }
}

/// Servers that come and go at one time.
const MAX_GUESTS: usize = 3;
/// What servers' labels say while nobody counts by them.
const SEATS: usize = 100_000;
/// How long players are given to take note.
const NOTICE: Duration = Duration::from_millis(300);
/// The director has long followed a file by then.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// What the last player sent to a server has come back by then, on a busy machine too.
const LAST_REPLIES: Duration = Duration::from_secs(6);
/// Streams and visitors stay no longer with a server that they are to leave.
const LONGEST_STAY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_configuration_differs_from_the_good_one() {
        for kind in 0..4 {
            assert_ne!(bad_config(&Config::PLAIN, kind, 9000), Config::PLAIN.text(), "{kind}");
        }
    }
}
