//! The subcommands.

mod echo;
mod query;
mod run;

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use udp_director_load::Query;

/// Tries a UDP Director: clients that play, queries, and game servers that echo.
#[derive(Debug, Parser)]
#[command(name = "udp-director-load", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Query(query::QueryArgs),
    Echo(echo::EchoArgs),
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is asked for cannot be.
    Usage(String),
    /// Something failed at run time.
    Run(anyhow::Error),
}

impl Cli {
    /// Does what is asked for.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start")?;
        match self.command {
            Command::Run(args) => args.run(&runtime),
            Command::Query(args) => Ok(runtime.block_on(args.run())?),
            Command::Echo(args) => Ok(runtime.block_on(args.run())?),
        }
    }
}

impl Failure {
    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Failure::Usage(text) => (text, 2),
            Failure::Run(error) => (format!("{error:#}"), 1),
        };
        eprintln!("udp-director-load: {text}");
        ExitCode::from(code)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Run(error)
    }
}

/// Prints a report as text, or as one line of JSON.
fn print(report: &(impl Display + Serialize), json: bool) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(report).context("cannot write JSON")?),
        false => println!("{report}"),
    }
    Ok(())
}

/// A query as it stands on the command line.
fn parse_query(text: &str) -> Result<Query, serde_json::Error> {
    serde_json::from_str(text)
}

/// An address, or a name that has one.
fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    let mut addrs = text.to_socket_addrs().map_err(|error| format!("{error}; it is HOST:PORT"))?;
    addrs.next().ok_or_else(|| "the name has no address".to_owned())
}

/// A rate: a number above zero.
fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("a rate is a number above 0, at most 1000000000, a second".to_owned()),
    }
}

/// A time in seconds, fractions allowed.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| *time <= LONGEST).ok_or_else(|| "a time is 0 to 604800 seconds".to_owned())
}

const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
