//! The life of a server that a test has alone: stop, kill, start again, go back.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ListParams, PostParams, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use udp_director_apiserver::{ApiServer, GameServers, Settings};

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

/// The process of the test below: prints its server's folder, and waits to be killed.
#[test]
#[ignore = "run by the test below"]
fn process_that_is_killed() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(ApiServer::start());
    let account = runtime.block_on(server.service_account("default", "director"));
    let folder = account.ca_file.parent().expect("a folder").to_owned();
    fs::write(
        env::var_os("FOLDER_FILE").expect("set by the test below"),
        folder.to_string_lossy().as_bytes(),
    )
    .expect("a writable file");
    loop {
        thread::park();
    }
}

#[test]
fn test_that_is_killed_leaves_neither_processes_nor_files() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("folder");
    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "process_that_is_killed"])
        .env("FOLDER_FILE", &file)
        .stdout(Stdio::null())
        .spawn()
        .expect("this program");
    poll(|| fs::read_to_string(&file).is_ok_and(|text| !text.is_empty()));
    let folder = PathBuf::from(fs::read_to_string(&file).expect("a folder's name"));
    assert_eq!(processes_that_name(&folder), 3, "the API server, etcd and the keeper of the folder");

    child.kill().expect("a child");
    assert_eq!(child.wait().expect("a child").signal(), Some(9));

    poll(|| processes_that_name(&folder) == 0 && !folder.exists());
}

fn poll(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        thread::sleep(Duration::from_millis(20));
    }
}

fn processes_that_name(folder: &std::path::Path) -> usize {
    let folder = folder.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let commands = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands.filter(|command| String::from_utf8_lossy(command).contains(&folder)).count()
}
