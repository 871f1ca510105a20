use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::kubernetes::fake::{Fake, Verb};

const PATH: &str = "/api/v1/namespaces/games/configmaps";

fn config_map(data: &Value) -> Value {
    json!({"metadata": {"name": "director", "namespace": "games"}, "data": data})
}

async fn rig() -> (Fake, ConfigMapWatch) {
    let fake = Fake::start().await;
    fake.serve(PATH, "ConfigMap");
    let watch = ConfigMapWatch::new(fake.client(), "games", "director");
    (fake, watch)
}

async fn next(watch: &mut ConfigMapWatch) -> Result<String, ConfigMapError> {
    timeout(Duration::from_secs(10), watch.changed()).await.expect("a change in time")
}

#[tokio::test]
async fn text_is_told_when_it_changes() {
    let (fake, mut watch) = rig().await;
    assert_eq!(next(&mut watch).await, Err(ConfigMapError::Missing("games/director".into())));
    fake.put(PATH, &config_map(&json!({"director.yaml": "one"})));
    assert_eq!(next(&mut watch).await, Ok("one".into()));
    fake.put(PATH, &config_map(&json!({"director.yaml": "one"})));
    fake.put(PATH, &config_map(&json!({"other": "x", "config.yaml": "two"})));
    assert_eq!(next(&mut watch).await, Ok("two".into()));
    fake.put(PATH, &config_map(&json!({"a": "x", "b": "y"})));
    assert_eq!(next(&mut watch).await, Err(ConfigMapError::NoKey("games/director".into())));
    fake.delete(PATH, "director");
    assert_eq!(next(&mut watch).await, Err(ConfigMapError::Missing("games/director".into())));
}

#[tokio::test]
async fn cut_connection_tells_nothing() {
    let (fake, mut watch) = rig().await;
    fake.put(PATH, &config_map(&json!({"config.yaml": "one"})));
    while next(&mut watch).await.is_err() {}
    fake.asked(Verb::Watch, 1).await;
    fake.cut();
    fake.asked(Verb::Watch, 2).await;
    fake.put(PATH, &config_map(&json!({"config.yaml": "two"})));
    assert_eq!(next(&mut watch).await, Ok("two".into()));
}
