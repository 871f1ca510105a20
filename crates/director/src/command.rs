//! The subcommands, and the exit codes that scripts use: 0 for success, 2 for bad usage or a bad
//! configuration, 1 for a failure at run time.

mod admin;
mod drain;
mod token;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::info;
use tracing_subscriber::EnvFilter;
use udp_director_director::config::{Config, ConfigErrors, json_schema};
use udp_director_director::config_source::ConfigSource;
use udp_director_director::demo::{Demo, DemoArgs};
use udp_director_director::process::{Director, StartError};
use udp_director_director::rbac::{Named, roles_for};
use udp_director_wire::{Request, parse_request};

use drain::Signals;
use token::TokenCommand;

/// How long `query` waits for the director, beside the time that the document itself asks for.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);

/// Routes game clients to game servers: query for one, connect by token, move while playing.
#[derive(Debug, Parser)]
#[command(name = "udp-director", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// What is logged: error, warn, info, debug, or a filter such as `info,udp_director_dataplane=debug`.
    #[arg(long, global = true, default_value = "info", env = "UDP_DIRECTOR_LOG")]
    log: String,
    /// How it is logged, to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the director until SIGTERM or SIGINT; then running sessions go on until they end, for
    /// drainSeconds at most, or until a second signal.
    Serve {
        /// The configuration file; it is watched and reloaded.
        #[arg(long, value_name = "FILE", required_unless_present = "config_map")]
        config: Option<PathBuf>,
        /// The ConfigMap that holds the configuration as `config.yaml`; it is followed through the API
        /// and reloaded, and what comes of that is told by Events on it.
        #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "config", value_parser = namespaced)]
        config_map: Option<(String, String)>,
    },
    /// Plays a whole game on this machine, with two game servers and eight players, and shows it.
    Demo(DemoArgs),
    /// Checks a configuration file.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Prints the Roles that a configuration needs in the cluster, and their bindings.
    Rbac {
        /// The configuration file.
        file: PathBuf,
        /// The namespace of the director's service account.
        #[arg(long, default_value = "default")]
        namespace: String,
        /// The name of the director's service account, and of each Role.
        #[arg(long, default_value = "udp-director", value_name = "NAME")]
        service_account: String,
        /// The ConfigMap that `serve --config-map` names.
        #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced)]
        config_map: Option<(String, String)>,
    },
    /// Prints the JSON Schema of the configuration.
    Schema,
    /// Makes keys for sealed tokens, and opens tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Lets a director take no new sessions, and end with the last one or after drainSeconds: as SIGTERM.
    Drain {
        /// The director's admin port.
        #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
        admin: String,
    },
    /// Sends one document to the query port and prints the answer.
    Query {
        /// The document, such as '{"resourceType": "gameserver"}'; `-` reads standard input.
        document: String,
        /// The director's query port.
        #[arg(long, default_value = "127.0.0.1:9000", value_name = "HOST:PORT")]
        server: String,
    },
    #[command(flatten)]
    Admin(admin::AdminCommand),
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong, or help was asked for.
    Usage(clap::Error),
    /// The configuration, or what it names, is wrong.
    Config(String),
    /// Something failed at run time.
    Run(anyhow::Error),
    /// The outcome has been printed and is no success.
    Shown,
}

impl Failure {
    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Usage(error) => {
                // Help and version go to standard output; whether that is open is not our affair.
                let _ = error.print();
                ExitCode::from(error.exit_code() as u8)
            }
            Failure::Config(text) => {
                eprintln!("{text}");
                ExitCode::from(2)
            }
            Failure::Run(error) => {
                eprintln!("udp-director: {error:#}");
                ExitCode::from(1)
            }
            Failure::Shown => ExitCode::from(1),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        Failure::Config(errors.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        match error {
            StartError::Inventory(error) | StartError::Keys(error) => Failure::Config(format!("{error:#}")),
            StartError::Run(error) => Failure::Run(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve { config, config_map } => {
            log_to_stderr(&cli.log)?;
            runtime()?.block_on(serve(config, config_map))
        }
        Command::Demo(args) => runtime()?.block_on(demo(args)),
        Command::Check { file } => check(&file),
        Command::Rbac { file, namespace, service_account, config_map } => {
            let account = Named { namespace, name: service_account };
            let followed = config_map.map(|(namespace, name)| Named { namespace, name });
            let config = Config::read(&file)?;
            print(roles_for(&config, &account, followed.as_ref()).trim_end())
        }
        Command::Schema => print(&serde_json::to_string_pretty(&json_schema()).map_err(anyhow::Error::from)?),
        Command::Token(command) => print(&command.run()?),
        Command::Drain { admin } => print(&runtime()?.block_on(drain::ask(&admin))?),
        Command::Query { document, server } => runtime()?.block_on(query(document, &server)),
        Command::Admin(command) => admin::run(command),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime cannot start").map_err(Failure::Run)
}

fn log_to_stderr(args: &LogArgs) -> Result<(), Failure> {
    // Of each request that fails it tells anew; the control task tells once of each watch.
    let filter = EnvFilter::try_new(format!("kube_client=off,{}", args.log))
        .map_err(|error| Failure::Config(format!("--log {:?}: {error}", args.log)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Takes `namespace/name` apart.
fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if is_dns_name(namespace) && is_dns_name(name) => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err("it has the form NAMESPACE/NAME, of lower case letters, digits, \"-\" and \".\"".to_owned()),
    }
}

fn is_dns_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=253).contains(&bytes.len())
        && bytes.iter().all(|&byte| plain(byte) || matches!(byte, b'-' | b'.'))
        && plain(bytes[0])
        && plain(bytes[bytes.len() - 1])
}

/// The configuration to begin with, and where others come from.
async fn configuration(
    file: Option<PathBuf>,
    config_map: Option<(String, String)>,
) -> Result<(Config, ConfigSource), Failure> {
    match (file, config_map) {
        (_, Some((namespace, name))) => {
            let (source, text) = ConfigSource::config_map(&namespace, &name).await?;
            Ok((Config::parse(&text, source.path())?, source))
        }
        (Some(file), None) => Ok((Config::read(&file)?, ConfigSource::file(file))),
        (None, None) => unreachable!("clap requires one of the two"),
    }
}

async fn serve(file: Option<PathBuf>, config_map: Option<(String, String)>) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // Elsewhere it means to reload; here files are watched, and it must not end every session.
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let started = async {
        let (config, source) = configuration(file, config_map).await?;
        Ok::<_, Failure>(Director::start(config, Some(source)).await?)
    };
    let mut director = tokio::select! {
        director = started => director?,
        _ = signals.next() => return Ok(()),
    };
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break Some(signal),
            () = director.drains() => break None,
            _ = hangup.recv() => info!("SIGHUP changes nothing: the files are watched"),
            failure = director.failed() => return Err(Failure::Run(failure)),
        }
    };
    info!(by = signal.unwrap_or("the admin port"), "asked to end");
    drain::drain(&mut director, &mut signals, signal.is_some()).await?;
    director.stop().await.map_err(Failure::Run)
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let demo = Demo::prepare(args)?;
    let config = Config::read(demo.config_file())?;
    let director = Director::start(config, Some(ConfigSource::file(demo.config_file()))).await?;
    let passed = demo.run(director.bound().query, &mut io::stdout()).await;
    director.stop().await?;
    if passed? { Ok(()) } else { Err(Failure::Shown) }
}

fn check(file: &std::path::Path) -> Result<(), Failure> {
    Config::read(file)?;
    print(&format!("{}: ok", file.display()))
}

/// Prints a line; a reader that has gone is no failure.
fn print(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Run(error.into())),
        _ => Ok(()),
    }
}

/// The document itself, or what standard input holds where it is `-`.
fn document(given: String) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    Ok(text)
}

async fn query(given: String, server: &str) -> Result<(), Failure> {
    let text = document(given)?;
    let deadline = QUERY_DEADLINE + asked_wait(&text);
    let answer = timeout(deadline, ask(&text, server))
        .await
        .map_err(|_| anyhow::anyhow!("{server} has not answered within {} s", deadline.as_secs()))??;
    print(answer.trim_end())?;
    let failed = serde_json::from_str::<serde_json::Value>(&answer)
        .map_or(true, |answer| answer.get("error").is_some());
    if failed { Err(Failure::Shown) } else { Ok(()) }
}

/// For how long the document asks to be held.
fn asked_wait(document: &str) -> Duration {
    let seconds = match parse_request(document.trim().as_bytes()) {
        Ok(Request::Query(query)) => query.wait_seconds.unwrap_or(0),
        _ => 0,
    };
    Duration::from_secs(seconds.into())
}

async fn ask(document: &str, server: &str) -> anyhow::Result<String> {
    let mut stream =
        TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
    stream.write_all(document.trim().as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    anyhow::ensure!(!answer.is_empty(), "{server} closed the connection without an answer");
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_waits_longer_for_a_document_that_asks_to_be_held() {
        for (document, seconds) in [
            (r#"{"resourceType": "lobby"}"#, 0),
            (r#"{"resourceType": "lobby", "waitSeconds": 60}"#, 60),
            (" {\"resource_type\": \"lobby\", \"wait_seconds\": 5}\n", 5),
            (r#"{"resourceType": "lobby", "waitSeconds": 61}"#, 0),
            ("nonsense", 0),
        ] {
            assert_eq!(asked_wait(document), Duration::from_secs(seconds), "{document}");
        }
    }
}
