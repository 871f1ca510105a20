//! The life of a server that a test has alone: stop, kill, start again, go back.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ListParams, PostParams, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use udp_director_apiserver::{ApiServer, GameServers, Settings};

const LIMIT: Duration = Duration::from_secs(60);

fn maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

async fn write(server: &ApiServer, name: &str) -> u64 {
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a ConfigMap");
    let created = maps(server.admin()).create(&PostParams::default(), &object).await.expect("a ConfigMap");
    version(&created.resource_version())
}

fn version(text: &Option<String>) -> u64 {
    text.as_ref().expect("a version").parse().expect("a number")
}

async fn names(server: &ApiServer) -> Vec<String> {
    let list = maps(server.admin()).list(&ListParams::default()).await.expect("a list");
    list.items.iter().map(ResourceExt::name_any).filter(|name| !name.starts_with("kube-")).collect()
}

#[tokio::test]
async fn server_that_is_killed_keeps_its_objects_and_its_accounts() {
    let mut server = ApiServer::start().await;
    let games = GameServers::install(&server.admin(), "default").await.expect("the resource");
    games.write("match-1", &json!({}), &json!({"state": "Ready"})).await.expect("a GameServer");
    let account = server.service_account("default", "director").await;
    write(&server, "kept").await;
    let url = server.url();

    server.kill();
    assert!(maps(server.admin()).list(&ListParams::default()).await.is_err());
    server.start_again().await;

    assert_eq!((server.url(), names(&server).await), (url, vec!["kept".to_owned()]));
    let refusal = maps(account.client).list(&ListParams::default()).await.expect_err("nothing is granted");
    assert!(matches!(refusal, kube::Error::Api(status) if status.code == 403), "the token is still good");
    let api = Api::<DynamicObject>::all_with(server.admin(), &GameServers::resource());
    let watch = api.watch(&WatchParams::default(), "0").await;
    assert!(watch.is_ok(), "custom resources can be watched at once: {:?}", watch.err());
}

#[tokio::test]
async fn watches_end_when_the_server_stops_with_a_grace() {
    let settings = Settings { watch_grace: Duration::from_secs(1), ..Settings::default() };
    let mut server = ApiServer::start_with(settings).await;
    let events = maps(server.admin()).watch(&WatchParams::default(), "0").await.expect("a watch");

    server.stop().await;

    tokio::time::timeout(LIMIT, events.count()).await.expect("the watch ends");
}

#[tokio::test]
async fn restore_goes_back_to_an_older_resource_version() {
    let mut server = ApiServer::start().await;
    let kept = write(&server, "kept").await;
    server.stop().await;
    let snapshot = server.snapshot();
    server.start_again().await;
    for name in ["lost-1", "lost-2", "lost-3"] {
        write(&server, name).await;
    }
    let last = write(&server, "lost-4").await;

    server.stop().await;
    server.restore(&snapshot);
    server.start_again().await;

    assert_eq!(names(&server).await, ["kept"]);
    let kept_now = maps(server.admin()).get("kept").await.expect("the object that was kept");
    assert_eq!(version(&kept_now.resource_version()), kept);
    assert!(kept < last);
}

#[tokio::test]
async fn two_servers_know_nothing_of_each_other() {
    let settings = Settings { watch_grace: Duration::ZERO, ..Settings::default() };
    let (one, other) = tokio::join!(ApiServer::start(), ApiServer::start_with(settings));
    assert_ne!(one.address(), other.address());
    write(&one, "of-one").await;
    write(&other, "of-other").await;
    assert_eq!(
        (names(&one).await, names(&other).await),
        (vec!["of-one".to_owned()], vec!["of-other".to_owned()])
    );
}

#[tokio::test]
async fn server_that_is_held_answers_late_but_loses_nothing() {
    let mut server = ApiServer::start().await;
    let client = server.admin();
    server.hold();
    let asked = tokio::spawn(async move { maps(client).list(&ListParams::default()).await.is_ok() });
    let early = tokio::time::timeout(Duration::from_millis(300), async { names(&server).await }).await;
    assert!(early.is_err(), "an answer from a server that is held");
    server.go_on();
    assert!(asked.await.expect("no panic"));
}

/// The test runs itself a second time, as the one that is killed: with this variable set to a file's name.
const FOLDER_FILE: &str = "UDP_DIRECTOR_FOLDER_FILE";

#[test]
fn test_that_is_killed_leaves_neither_processes_nor_files() {
    if let Some(file) = env::var_os(FOLDER_FILE) {
        return start_and_wait_for_death(Path::new(&file));
    }
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("folder");
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "test_that_is_killed_leaves_neither_processes_nor_files"])
        .env(FOLDER_FILE, &file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("this program");
    poll(|| file.exists());
    let folder = PathBuf::from(fs::read_to_string(&file).expect("a folder's name"));
    let running = processes_that_name(&folder);

    child.kill().expect("a child");

    assert_eq!(child.wait().expect("a child").signal(), Some(9));
    assert!(running >= 3, "the API server, etcd and the keeper of the folder: {running}");
    poll(|| processes_that_name(&folder) == 0 && !folder.exists());
}

/// Starts a server, tells the name of its folder, and waits: for the end of the other test at the longest.
fn start_and_wait_for_death(file: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(ApiServer::start());
    let account = runtime.block_on(server.service_account("default", "director"));
    let folder = account.ca_file.parent().expect("a folder").to_string_lossy().into_owned();
    let unfinished = file.with_extension("unfinished");
    fs::write(&unfinished, folder).expect("a writable folder");
    fs::rename(unfinished, file).expect("a file in the same folder");
    io::copy(&mut io::stdin(), &mut io::sink()).expect("a pipe");
}

fn poll(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        thread::sleep(Duration::from_millis(20));
    }
}

fn processes_that_name(folder: &Path) -> usize {
    let folder = folder.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands.filter(|command| String::from_utf8_lossy(command).contains(&folder)).count()
}
