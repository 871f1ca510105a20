//! Removes a server's folder once the test's process has ended, however that was.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use std::os::unix::process::CommandExt;

/// A shell that waits for the end of its input, which is the end of the process that has started it.
pub(crate) struct Keeper {
    shell: Child,
}

/// The servers end at the same time; until they have, they may still write.
const SCRIPT: &str = r#"
cat >/dev/null
for _ in $(seq 100); do
    rm -rf "$0" 2>/dev/null && [ ! -e "$0" ] && exit
    sleep 0.1
done"#;

impl Keeper {
    /// Watches over `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let shell = Command::new("sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self { shell: shell.expect("a shell") }
    }
}

impl Drop for Keeper {
    /// Waits until the folder is gone.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().expect("a child");
    }
}
