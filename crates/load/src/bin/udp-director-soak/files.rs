//! The director's two files: what is in them, and how they are replaced.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fleet::{GameServer, Standing};

/// The folder with the configuration, the inventory and the log of the director.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
}

/// The configuration: the keys that change while the director runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `tokenTTLSeconds`.
    pub(crate) token_ttl: u64,
    /// `sessionTimeoutSeconds`.
    pub(crate) session_timeout: u64,
    /// `migrationGraceMs`.
    pub(crate) migration_grace: u64,
    /// `tokenGraceMs`.
    pub(crate) token_grace: u64,
    /// `loadBalancing`.
    pub(crate) strategy: &'static str,
    /// Whether the data port `extra` is there.
    pub(crate) extra: bool,
}

impl Files {
    /// Makes a new folder in the system's temporary directory, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new() -> io::Result<Files> {
        let folder = std::env::temp_dir().join(format!("udp-director-soak-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Files { folder })
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("config.yaml")
    }

    /// The inventory file.
    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("objects.yaml")
    }

    /// What the director logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("director.log")
    }

    /// Removes the folder with all that is in it.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(self.folder)
    }
}

/// Replaces a file by rename, as a whole.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, text)?;
    fs::rename(next, file)
}

impl Config {
    /// The one that the soak begins and ends with.
    pub(crate) const PLAIN: Config = Config {
        token_ttl: 10,
        session_timeout: 10,
        migration_grace: 250,
        token_grace: 500,
        strategy: "leastSessions",
        extra: false,
    };

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        let Config { token_ttl, session_timeout, migration_grace, token_grace, .. } = self;
        let strategy = match self.strategy {
            "labelArithmetic" => {
                format!("{{type: labelArithmetic, currentLabel: {CURRENT}, maxLabel: {MAX}}}")
            }
            plain => format!("{{type: {plain}}}"),
        };
        let (port, mapped) = match self.extra {
            true => ("\n  - {name: extra, port: 0, protocol: udp}", ", {name: extra, portName: game}"),
            false => ("", ""),
        };
        format!(
            "queryPort: 0
adminPort: 0
dataPorts:
  - {{name: game, port: 0, protocol: udp}}
  - {{name: stream, port: 0, protocol: tcp}}{port}
bindAddress: 127.0.0.1
workers: 2
exposeBackend: true
tokenTTLSeconds: {token_ttl}
sessionTimeoutSeconds: {session_timeout}
migrationGraceMs: {migration_grace}
tokenGraceMs: {token_grace}
loadBalancing: {strategy}
inventory: {{file: objects.yaml}}
allowedTargetCidrs: [127.0.0.0/8]
defaultEndpoint: {{resourceType: gameserver, labelSelector: {{role: lobby}}}}
resourceQueryMapping:
  gameserver:
    group: agones.dev
    version: v1
    resource: gameservers
    namespaces: [soak]
    addressPath: status.address
    ports: [{{name: game, portName: game}}, {{name: stream, portName: game}}{mapped}]
    readyWhen: [{{jsonPath: status.state, expectedValue: Ready}}]
"
        )
    }
}

/// The inventory file's text. With `seats`, the servers' labels say that there are so many.
pub(crate) fn objects(servers: &[Arc<GameServer>], seats: usize) -> String {
    servers.iter().map(|server| object(server, seats)).collect()
}

fn object(server: &GameServer, seats: usize) -> String {
    let state = if server.standing() == Standing::Open { "Ready" } else { "Shutdown" };
    format!(
        "apiVersion: agones.dev/v1
kind: GameServer
metadata:
  name: {name}
  namespace: soak
  uid: 00000000-0000-4000-8000-{id:012}
  labels: {{role: {role}, server: {name}, {CURRENT}: \"0\", {MAX}: \"{seats}\"}}
status:
  state: {state}
  address: {ip}
  ports: [{{name: game, port: {port}}}]
---
",
        name = server.name(),
        id = server.id().0,
        role = server.role().name(),
        ip = server.addr().ip(),
        port = server.addr().port(),
    )
}

/// The part of an inventory file that is there when its writer stops in the middle of a line.
pub(crate) fn half(objects: &str) -> &str {
    let middle = objects.rfind("}]").unwrap_or_default();
    &objects[..middle]
}

/// The label that the director's label arithmetic reads as players that are there.
const CURRENT: &str = "soak/current";
/// The label that it reads as players that fit.
const MAX: &str = "soak/max";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Fleet, Role};

    #[test]
    fn extra_port_is_opened_and_mapped_together() {
        let named = |config: &Config| config.text().matches("extra").count();
        assert_eq!(named(&Config::PLAIN), 0);
        assert_eq!(named(&Config { extra: true, ..Config::PLAIN }), 2);
    }

    #[test]
    fn half_an_inventory_ends_within_a_bracket() {
        let fleet = Fleet::default();
        fleet.open(Role::Arena).expect("a free port");
        let whole = objects(&fleet.listed(), 4);
        assert!(half(&whole).contains("[{name: game, port: ") && !half(&whole).contains("}]"));
    }
}
