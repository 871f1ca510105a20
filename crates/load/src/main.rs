//! The `udp-director-load` program. Exit codes: 0 for a run that measured something, 2 for bad usage,
//! 1 for a failure at run time.
#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

use clap::Parser;

use command::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
