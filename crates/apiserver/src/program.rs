//! Where the program is: an environment variable names it, or else the project's script builds it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, str};

/// The program's path.
///
/// # Panics
/// When the script fails: a test must not pass because there was no server.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| env::var_os(VARIABLE).map_or_else(build, PathBuf::from))
}

const VARIABLE: &str = "UDP_DIRECTOR_KUBE_APISERVER";

fn build() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kube-apiserver");
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(output.status.success(), "{} failed: {}", script.display(), output.status);
    PathBuf::from(str::from_utf8(&output.stdout).expect("a path in UTF-8").trim_end())
}
