//! Target: JSONPath.

use serde_json::Value;
use udp_director_core::Path;

use super::stock;

/// How often a path may lead to one value: two selectors in each of [`Path::MAX_FAN_OUTS`] brackets.
const MOST_VISITS: usize = 1 << Path::MAX_FAN_OUTS;

/// The bytes are a path, followed on every object of the stock.
pub fn json_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Path::parse(text) {
        Ok(path) => stock::objects().iter().for_each(|object| check(&path, object)),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
}

fn check(path: &Path, object: &Value) {
    let values = path.values(object);
    assert!(values.len() <= MOST_VISITS * nodes(object), "a path leads to a bounded number of values");
    assert_eq!(path.first(object), values.first().copied(), "the first of the values is the first");
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}
