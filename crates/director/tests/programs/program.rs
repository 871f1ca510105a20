//! Programs: those that run while they are needed, and those that run to their end.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing in these tests takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in that folder, which is its home too. `name` is its log's.
    pub(crate) fn start(folder: &Path, name: &str, program: &str, args: &[&str]) -> Running {
        let log = folder.join(name);
        let out = File::create(&log).expect("a log");
        // It ends with this process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program])
            .args(args)
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a descriptor"))
            .stderr(out)
            .spawn();
        Running { child: child.expect("setpriv is part of every Debian"), log }
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).expect("a log");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes to its standard input.
    pub(crate) fn say(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until it has printed that.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(|log| log.contains(text));
    }

    /// Tries, with what it has printed, until that succeeds.
    pub(crate) fn wait_until(&mut self, is_ready: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_ready(&self.log()) {
            let ended = self.child.try_wait().expect("a child");
            let waits = ended.is_none() && begun.elapsed() < PATIENCE;
            assert!(waits, "in vain, {ended:?}; {}: {}", self.log.display(), self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().expect("a child that has not been waited for");
        self.child.wait().expect("a child");
    }
}

/// Runs a program to its end, and gives what it prints to standard output.
///
/// # Panics
/// When it is not installed, fails, or takes too long.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = attempt(program, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}\n{text}\n{errors}", output.status);
    text
}

/// Runs a program to its end, or until it takes too long.
///
/// # Panics
/// When it is not installed.
pub(crate) fn attempt(program: &str, args: &[&str]) -> Output {
    let seconds = PATIENCE.as_secs().to_string();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", &seconds, program]).args(args).stdin(Stdio::null());
    let output = command.output().expect("timeout is part of every Debian");
    assert_ne!(output.status.code(), Some(127), "{program} is not installed; scripts/test installs it");
    output
}
