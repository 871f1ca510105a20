//! The configuration as its users see it: what is accepted, what is refused, and with which words.

mod allocate;
mod every_key;
mod pages;
mod reload;
mod resolve;
mod text;

use std::path::Path;

use super::{Config, Problem};

/// The least that is a configuration; whatever is put behind it begins on line 6.
const LEAST: &str = "\
dataPort: 7777
inventory: {file: objects.yaml}
resourceQueryMapping:
  pods:
    {group: '', version: v1, resource: pods, addressPath: status.podIP, portName: game}
";

/// What a text is read as, which must be right.
fn config(text: &str) -> Config {
    Config::parse(text, Path::new("dir/config.yaml")).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// What is said of a text, which must be wrong.
fn errors(text: &str) -> String {
    match Config::parse(text, Path::new("config.yaml")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors.to_string(),
    }
}

fn problems(text: &str) -> Vec<Problem> {
    Config::parse(text, Path::new("config.yaml"))
        .map_or_else(|errors| errors.problems().to_vec(), |_| Vec::new())
}
