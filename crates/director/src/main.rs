//! The `udp-director` command line.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

use clap::Parser;

use command::{Cli, Failure};

fn main() -> ExitCode {
    udp_director_dataplane::share_malloc_arena();
    let outcome = Cli::try_parse().map_err(Failure::Usage).and_then(command::run);
    outcome.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}
