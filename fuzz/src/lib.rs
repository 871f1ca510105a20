//! Fuzz targets: one for every parser that meets bytes from outside.
//!
//! A target is a function that takes any bytes, gives them to the parser, and panics when a rule does
//! not hold: libFuzzer (`fuzz/run TARGET SECONDS`) looks for such bytes, and the test `fuzz_corpus`
//! replays the ones of interest that it has found, in `fuzz/corpus`, with each test run.
#![forbid(unsafe_code)]

mod config;
mod control;
mod datagrams;
mod json_path;
mod objects;
mod preamble;
mod query;
mod script;
mod sealed;
mod selector;
mod stock;

pub use config::config;
pub use control::control;
pub use datagrams::datagrams;
pub use json_path::json_path;
pub use objects::objects;
pub use preamble::preamble;
pub use query::query;
pub use sealed::sealed;
pub use selector::selector;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also the name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics when a rule does not hold for these bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target { name: "config", run: config },
    Target { name: "control", run: control },
    Target { name: "datagrams", run: datagrams },
    Target { name: "json_path", run: json_path },
    Target { name: "objects", run: objects },
    Target { name: "preamble", run: preamble },
    Target { name: "query", run: query },
    Target { name: "sealed", run: sealed },
    Target { name: "selector", run: selector },
];
