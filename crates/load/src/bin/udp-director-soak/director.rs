//! The director under test: a child process with its log, its metrics and its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::files::Files;
use crate::proc::{Usage, usage};

/// A director that runs; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Director {
    child: Child,
    log: Log,
    ports: Ports,
}

/// Where a director answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// Queries.
    pub(crate) query: SocketAddr,
    /// Metrics.
    pub(crate) admin: SocketAddr,
}

/// All samples of one scrape, by name with labels as the page has them, without the common prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

/// What the log said since it was last read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// How often a file was refused, at level ERROR.
    pub(crate) refusals: u64,
    /// Every other line at level ERROR, and every line that is no log line, such as a panic's.
    pub(crate) alarms: Vec<String>,
    /// Where it serves, once it has said so.
    pub(crate) ports: Option<Ports>,
}

#[derive(Debug)]
struct Log {
    file: File,
    /// The beginning of a line that is not all there yet.
    rest: String,
}

impl Director {
    /// Starts the program on these files and waits until it serves.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not serve within [`PATIENCE`].
    pub(crate) async fn start(program: &Path, files: &Files) -> anyhow::Result<Director> {
        let log = File::create(files.log()).context("the director's log")?;
        let mut command = Command::new(program);
        command.args(["--log-format", "json", "--log", "info", "serve", "--config"]).arg(files.config());
        // A group of its own: an interrupt at the terminal is for the soak, which then ends its child.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let file = File::open(files.log()).context("the director's log")?;
        let nowhere = Ports { query: NOWHERE, admin: NOWHERE };
        let log = Log { file, rest: String::new() };
        let mut director = Director { child, log, ports: nowhere };
        director.ports = director.serving().await?;
        Ok(director)
    }

    async fn serving(&mut self) -> anyhow::Result<Ports> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let news = self.news()?;
            anyhow::ensure!(news.alarms.is_empty(), "the director did not start: {}", news.alarms.join("; "));
            if let Some(ports) = news.ports {
                return Ok(ports);
            }
            anyhow::ensure!(self.ended()?.is_none(), "the director ended at once");
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the director does not serve after {PATIENCE:?}")
    }

    /// Where it answers.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// What it uses.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        usage(self.child.id())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged since the last call.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn news(&mut self) -> io::Result<News> {
        self.log.news()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system cannot say.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to stop (SIGTERM), and waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub(crate) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.child.id().to_string();
        // std cannot send SIGTERM.
        Command::new("kill").args(["-TERM", &pid]).status().context("cannot run kill")?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the director runs on {PATIENCE:?} after SIGTERM")
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ports {
    /// Reads the metrics.
    ///
    /// # Errors
    /// When the admin port does not answer within [`PATIENCE`].
    pub(crate) async fn metrics(self) -> anyhow::Result<Metrics> {
        let page = timeout(PATIENCE, self.page("/metrics")).await.context("the admin port is silent")?;
        Ok(Metrics::parse(&page.context("the admin port")?))
    }

    async fn page(self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    }
}

impl Metrics {
    fn parse(page: &str) -> Metrics {
        let sample = |line: &str| {
            let (name, value) = line.strip_prefix("udp_director_")?.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Metrics(page.lines().filter_map(sample).collect())
    }

    /// The sample of that name, labels included; 0 where there is none.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |&value| value as u64)
    }

    /// What was dropped, by reason.
    pub(crate) fn drops(&self) -> BTreeMap<String, u64> {
        self.labelled("drops_total{reason=\"")
    }

    /// What has happened to sessions, by event.
    pub(crate) fn events(&self) -> BTreeMap<String, u64> {
        self.labelled("session_events_total{event=\"")
    }

    fn labelled(&self, prefix: &str) -> BTreeMap<String, u64> {
        let label = |(name, &value): (&String, &f64)| {
            let label = name.strip_prefix(prefix)?.strip_suffix("\"}")?;
            Some((label.to_owned(), value as u64))
        };
        self.0.iter().filter_map(label).collect()
    }
}

impl Log {
    fn news(&mut self) -> io::Result<News> {
        self.file.read_to_string(&mut self.rest)?;
        let whole = self.rest.rfind('\n').map_or(0, |at| at + 1);
        let lines: String = self.rest.drain(..whole).collect();
        let mut news = News::default();
        lines.lines().for_each(|line| news.add(line));
        Ok(news)
    }
}

impl News {
    fn add(&mut self, line: &str) {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            return self.alarms.push(line.to_owned());
        };
        let message = entry["message"].as_str().unwrap_or_default();
        match entry["level"].as_str() {
            Some("ERROR") if message.contains("refused, the old") => self.refusals += 1,
            Some("ERROR") => self.alarms.push(line.to_owned()),
            _ if message == "serving" => self.ports = ports(&entry),
            _ => {}
        }
    }
}

fn ports(entry: &Value) -> Option<Ports> {
    let addr = |key: &str| entry[key].as_str()?.parse().ok();
    Some(Ports { query: addr("query")?, admin: addr("admin")? })
}

/// How long the director may take for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Stands in until the director has said where it serves.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_by_name_and_by_label() {
        let page = "# TYPE udp_director_active_sessions gauge\nudp_director_active_sessions 12.0\n\
                    udp_director_drops_total{reason=\"late_reply\"} 3\nother 1\n";
        let metrics = Metrics::parse(page);
        assert_eq!((metrics.of("active_sessions"), metrics.of("nothing")), (12, 0));
        assert_eq!(metrics.drops(), [("late_reply".to_owned(), 3)].into());
        assert!(metrics.events().is_empty());
    }

    #[test]
    fn refused_files_are_counted_and_other_errors_and_panics_are_alarms() {
        let mut news = News::default();
        news.add(r#"{"level":"ERROR","message":"configuration refused, the old one stays in force"}"#);
        news.add(r#"{"level":"INFO","message":"serving","query":"127.0.0.1:1","admin":"127.0.0.1:2"}"#);
        assert_eq!((news.refusals, news.alarms.len()), (1, 0));
        assert_eq!(news.ports.expect("it serves").query.port(), 1);
        news.add(r#"{"level":"ERROR","message":"something else"}"#);
        news.add("thread 'worker' panicked at src/worker.rs:1");
        assert_eq!(news.alarms.len(), 2);
    }
}
