//! One of the server's processes: ends when it is dropped, and when the test's process ends in any way.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A running program, in a process group of its own: Ctrl-C at the test ends it by way of its input.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// The program ends when this closes, which the kernel does when the test's process is killed.
    _lifeline: ChildStdin,
}

impl Process {
    /// Starts `program` in `folder`; what it prints goes to the end of `folder/NAME.log`, where NAME is the
    /// first argument.
    ///
    /// # Panics
    /// When it cannot be started.
    pub(crate) fn start(program: &Path, folder: &Path, args: &[String]) -> Self {
        let log = folder.join(format!("{}.log", args[0]));
        let file = File::options().create(true).append(true).open(&log).expect("a writable folder");
        let child = Command::new(program)
            .args(args)
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("another descriptor"))
            .stderr(file)
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lifeline = child.stdin.take().expect("standard input is a pipe");
        Self { child, log, _lifeline: lifeline }
    }

    /// Asks the process to end (SIGTERM), unless it has. Its children are its own to tell: a server that is
    /// told twice ends at once.
    pub(crate) fn terminate(&mut self) {
        if self.ended().is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)
                .expect("a child that has not been waited for");
        }
    }

    /// Sends a signal to the process and its children, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let group = Pid::from_child(&self.child);
            kill_process_group(group, signal).expect("a child that has not been waited for");
        }
    }

    /// Kills the process and its children, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child");
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub(crate) async fn wait(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() {
            assert!(Instant::now() < deadline, "still runs after {limit:?}:\n{}", self.log_end());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines that it has printed, for a panic's message.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
