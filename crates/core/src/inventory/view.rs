//! What a status query sees of an object.

use std::ops::Deref;
use std::sync::OnceLock;

use serde_json::Value;

/// An object as a status query sees it; reads like the JSON value. Kept as text until somebody looks:
/// a value takes five to ten times the memory, and most objects are never looked at.
#[derive(Clone, Debug)]
pub struct View {
    text: Box<str>,
    value: OnceLock<Box<Value>>,
}

impl From<Value> for View {
    fn from(value: Value) -> View {
        View { text: value.to_string().into(), value: OnceLock::new() }
    }
}

impl Deref for View {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| {
            // What a value has been written as can be read; a nesting too deep for that shows nothing.
            Box::new(serde_json::from_str(&self.text).unwrap_or_default())
        })
    }
}

impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn view_reads_as_the_value_that_it_was_made_of() {
        let value = json!({"status": {"players": 3, "of": [1.5, null, "a\"b"]}});
        let view = View::from(value.clone());
        assert_eq!(*view, value);
        assert_eq!(view["status"]["players"], 3);
        assert_eq!(view, View::from(value));
        assert_ne!(view, View::from(json!({})));
    }
}
