//! What the demo plays on: two echo servers, and the files that a director finds them by.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use udp_director_client::{LabelSelector, Query};
use udp_director_load::{EchoServer, ServerId};
use uuid::Uuid;

/// The game servers and the directory with the director's files, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) alpha: EchoServer,
    pub(super) beta: EchoServer,
    dir: PathBuf,
    config: PathBuf,
}

/// Which server is asked for, by a label that both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// Alpha's.
    Canyon,
    /// Beta's.
    Harbor,
}

impl Stage {
    /// Starts the servers and writes the files; `keep` asks for the director's default ports.
    pub(super) fn set(keep: bool) -> anyhow::Result<Stage> {
        let alpha = server("alpha", ALPHA)?;
        let beta = server("beta", BETA)?;
        let dir = std::env::temp_dir().join(format!("udp-director-demo-{}", Uuid::new_v4()));
        // Only this user may look into it, and it must not be there already.
        let made = fs::DirBuilder::new().mode(0o700).create(&dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
        let stage = Stage { alpha, beta, config: dir.join("config.yaml"), dir };
        stage.write(keep)?;
        Ok(stage)
    }

    pub(super) fn config_file(&self) -> &Path {
        &self.config
    }

    pub(super) fn inventory_file(&self) -> PathBuf {
        self.dir.join("objects.yaml")
    }

    fn write(&self, keep: bool) -> anyhow::Result<()> {
        let servers = [(&self.alpha, Map::Canyon), (&self.beta, Map::Harbor)];
        let objects = servers.map(|(server, map)| game_server(server, map)).join("---\n");
        for (file, text) in [(&self.config, config(keep)), (&self.inventory_file(), objects)] {
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary directory, and harms nobody there.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Map {
    /// The label's value.
    pub(super) fn name(self) -> &'static str {
        match self {
            Map::Canyon => "canyon",
            Map::Harbor => "harbor",
        }
    }

    /// Asks for a server with this map.
    pub(super) fn query(self) -> Query {
        let labels = [("map".to_owned(), self.name().to_owned())];
        Query {
            resource_type: "gameserver".into(),
            label_selector: Some(LabelSelector::Pairs(labels.into())),
            ..Query::default()
        }
    }
}

fn server(name: &str, id: ServerId) -> anyhow::Result<EchoServer> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    EchoServer::start(any, name, id).with_context(|| format!("cannot start the game server {name}"))
}

fn config(keep: bool) -> String {
    let [query, data, admin] = if keep { [9000, 7777, ADMIN_PORT] } else { [0; 3] };
    format!(
        "queryPort: {query}
dataPorts:
  - {{name: {LISTENER}, port: {data}, protocol: udp}}
  - {{name: {LISTENER}-tcp, port: {data}, protocol: tcp}}
adminPort: {admin}
bindAddress: 127.0.0.1
inventory: {{file: objects.yaml}}
allowedTargetCidrs: [127.0.0.0/8]
resourceQueryMapping:
  gameserver:
    group: agones.dev
    version: v1
    resource: gameservers
    namespaces: [demo]
    addressPath: status.addresses
    addressType: PodIP
    portName: default
"
    )
}

fn game_server(server: &EchoServer, map: Map) -> String {
    format!(
        "apiVersion: agones.dev/v1
kind: GameServer
metadata:
  name: {name}
  namespace: demo
  uid: {uid}
  labels: {{map: {map}}}
status:
  state: Ready
  address: {ip}
  addresses:
    - {{type: PodIP, address: {ip}}}
  ports:
    - {{name: default, port: {port}}}
",
        name = server.name(),
        uid = Uuid::new_v4(),
        map = map.name(),
        ip = server.addr().ip(),
        port = server.addr().port(),
    )
}

/// What alpha signs beats with.
pub(super) const ALPHA: ServerId = ServerId(1);
/// What beta signs beats with.
pub(super) const BETA: ServerId = ServerId(2);
/// The name of the director's UDP listener.
pub(super) const LISTENER: &str = "game";
/// The director's default admin port.
pub(super) const ADMIN_PORT: u16 = 9090;
