//! What a real API server says to the manifests and to the objects of the examples.

use std::fs;
use std::path::{Path, PathBuf};

use udp_director_apiserver::{ApiServer, GameServers, Mode, apply};

/// The YAML files of a folder of the repository that have this name, or all.
fn files(folder: &str, name: Option<&str>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = match name {
        Some(name) => entries.map(|path| path.join(name)).filter(|path| path.is_file()).collect(),
        None => entries.collect(),
    };
    files.sort_unstable();
    assert!(!files.is_empty());
    files
}

/// An object's UID is the server's to give.
fn without_uids(yaml: &str) -> String {
    let lines = yaml.lines().filter(|line| !line.starts_with("  uid: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn api_server_accepts_every_manifest_and_every_example_object() {
    let server = ApiServer::shared().await;
    let client = server.admin();
    for name in ["udp-director", "games", "network"] {
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        apply(&client, "default", &namespace, Mode::Keep).await.expect("a namespace");
    }
    GameServers::install(&client, "games").await.expect("the GameServers' definition");
    let manifests = files("deploy/manifests", None);
    for file in manifests.into_iter().chain(files("examples/kubernetes", Some("objects.yaml"))) {
        let text = without_uids(&fs::read_to_string(&file).expect("a file"));
        let answers = apply(&client, "udp-director", &text, Mode::DryRun).await;
        let answers = answers.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!answers.is_empty(), "{}", file.display());
    }
}
