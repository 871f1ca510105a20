use std::sync::Mutex;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::kubernetes::fake::{self, Fake, Verb};
use crate::kubernetes::needed::PODS;

const PATH: &str = "/api/v1/namespaces/games/pods";

/// Keeps the names that are known.
#[derive(Clone)]
struct Names {
    known: watch::Sender<Vec<String>>,
    named: Arc<Mutex<Vec<String>>>,
}

impl Names {
    async fn until(&self, expected: &[&str]) {
        let mut known = self.known.subscribe();
        let wait = known.wait_for(|names| names == expected);
        timeout(Duration::from_secs(20), wait).await.expect("in time").expect("a follower");
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("a name").to_owned()
}

impl Sink for Names {
    fn begin_list(&mut self) {
        self.named.lock().expect("no panic").clear();
    }

    fn apply(&mut self, object: &Value) {
        self.named.lock().expect("no panic").push(name(object));
        self.known.send_modify(|known| {
            known.retain(|known| *known != name(object));
            known.push(name(object));
        });
    }

    fn end_list(&mut self) {
        let named = self.named.lock().expect("no panic").clone();
        self.known.send_modify(|known| known.retain(|known| named.contains(known)));
    }

    fn delete(&mut self, object: &Value) {
        self.known.send_modify(|known| known.retain(|known| *known != name(object)));
    }

    fn len(&self) -> usize {
        self.known.borrow().len()
    }
}

struct Rig {
    fake: Fake,
    names: Names,
    progress: Arc<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rig {
    /// Follows Pods, of which there is `a`, and asks after 50 ms of quiet.
    async fn new() -> Rig {
        let fake = Fake::start().await;
        fake.serve(PATH, "Pod");
        fake.put(PATH, &object("a"));
        let names = Names { known: watch::Sender::new(Vec::new()), named: Arc::default() };
        let progress = Arc::new(Progress::new());
        let follower = Follower {
            client: fake.client(),
            needed: Needed::of(PODS, Some("games")),
            name: None,
            sink: names.clone(),
            progress: Arc::clone(&progress),
            quiet: Duration::from_millis(50),
        };
        let rig = Rig { fake, names, progress, task: tokio::spawn(follower.run()) };
        rig.names.until(&["a"]).await;
        rig.fake.asked(Verb::Watch, 1).await;
        rig
    }

    fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.progress.state().restarts.into_iter().collect()
    }
}

fn object(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "games"}})
}

#[tokio::test]
async fn watch_that_has_gone_deaf_is_found_by_a_version_that_went_back() {
    let rig = Rig::new().await;
    rig.fake.restore(PATH, 50, &[object("a"), object("old")]);
    rig.names.until(&["a", "old"]).await;
    assert_eq!(rig.restarts(), [("went_back", 1)]);
}

#[tokio::test]
async fn watch_that_has_gone_deaf_is_found_by_another_number_of_objects() {
    let rig = Rig::new().await;
    rig.fake.restore(PATH, 100_000, &[object("a"), object("old")]);
    rig.names.until(&["a", "old"]).await;
    assert_eq!(rig.restarts(), [("miscounted", 1)]);
}

#[tokio::test]
async fn bookmark_says_where_to_go_on() {
    let rig = Rig::new().await;
    rig.fake.write_elsewhere(900);
    rig.fake.bookmark(PATH);
    rig.fake.put(PATH, &object("b"));
    rig.names.until(&["a", "b"]).await;
    rig.fake.cut();
    rig.fake.asked(Verb::Watch, 2).await;
    assert_eq!(rig.fake.watched_from(), "1002");
}

#[tokio::test]
async fn version_of_a_bookmark_that_went_back_takes_a_list() {
    let rig = Rig::new().await;
    rig.fake.restore(PATH, 50, &[object("b")]);
    rig.fake.bookmark(PATH);
    rig.names.until(&["b"]).await;
    assert_eq!(rig.restarts(), [("went_back", 1)]);
}

#[tokio::test]
async fn quiet_watch_is_asked_after_and_never_listed_again() {
    let rig = Rig::new().await;
    rig.fake.asked(Verb::Newest, 5).await;
    assert_eq!((rig.fake.count(Verb::List), rig.fake.count(Verb::Watch)), (1, 1));
    assert_eq!(rig.restarts(), []);
}

#[tokio::test]
async fn check_that_fails_begins_the_watch_anew() {
    let rig = Rig::new().await;
    rig.fake.fail(Verb::Newest, PATH, fake::Fault::Cut);
    rig.fake.asked(Verb::Watch, 2).await;
    assert_eq!(rig.fake.count(Verb::List), 1);
}

#[tokio::test]
async fn list_whose_pages_are_gone_begins_anew() {
    let fake = Fake::start().await;
    fake.serve(PATH, "Pod");
    fake.put(PATH, &object("a"));
    fake.fail(Verb::List, PATH, fake::Fault::Status(410));
    let names = Names { known: watch::Sender::new(Vec::new()), named: Arc::default() };
    let progress = Arc::new(Progress::new());
    let follower = Follower {
        client: fake.client(),
        needed: Needed::of(PODS, Some("games")),
        name: None,
        sink: names.clone(),
        progress,
        quiet: QUIET,
    };
    let task = tokio::spawn(follower.run());
    names.until(&["a"]).await;
    task.abort();
}
