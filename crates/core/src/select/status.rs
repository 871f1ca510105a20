//! Conditions on what an object says.

use serde_json::{Number, Value};

use super::path::Path;

/// A path that must lead to one of the expected values.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusMatch {
    /// Where to look.
    pub path: Path,
    /// What one of the values there must be.
    pub expected: Vec<Value>,
}

impl StatusMatch {
    /// Whether the object says so. A path that leads nowhere matches nothing.
    pub fn matches(&self, object: &Value) -> bool {
        self.path
            .values(object)
            .into_iter()
            .any(|value| self.expected.iter().any(|expected| same(expected, value)))
    }
}

/// Equal as JSON, where numbers count by value (`1` is `1.0`) and a string equals a number or boolean
/// with the same text: clients and annotations often carry these as strings.
fn same(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::Number(a), Value::Number(b)) => a == b || same_float(a, b),
        (Value::String(text), other) | (other, Value::String(text)) => text_of(other, text),
        (a, b) => a == b,
    }
}

/// Whole numbers are never compared as floats: those above 2^53 would run together.
fn same_float(a: &Number, b: &Number) -> bool {
    (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
}

fn text_of(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text,
        Value::Bool(flag) => text == if *flag { "true" } else { "false" },
        Value::Number(number) => number.to_string() == text,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(path: &str, expected: &[Value], object: &Value) -> bool {
        let path = Path::parse(path).expect("a path");
        StatusMatch { path, expected: expected.to_vec() }.matches(object)
    }

    #[test]
    fn one_value_of_several_is_enough() {
        let object = json!({"status": {"conditions": [{"type": "A"}, {"type": "B"}]}});
        assert!(matches("status.conditions[*].type", &[json!("B")], &object));
        assert!(matches("status.conditions[*].type", &[json!("X"), json!("A")], &object));
        assert!(!matches("status.conditions[*].type", &[json!("X")], &object));
    }

    #[test]
    fn path_that_leads_nowhere_matches_nothing() {
        assert!(!matches("status.state", &[json!(null)], &json!({"status": {}})));
    }

    #[test]
    fn text_and_number_of_the_same_spelling_match() {
        for (expected, value, equal) in [
            (json!("5"), json!(5), true),
            (json!(5), json!("5"), true),
            (json!("true"), json!(true), true),
            (json!(false), json!("false"), true),
            (json!("05"), json!(5), false),
            (json!(1), json!(1.0), true),
            (json!(u64::MAX), json!(u64::MAX), true),
            (json!(9007199254740993_u64), json!(9007199254740992_u64), false),
            (json!("null"), json!(null), false),
            (json!(null), json!(null), true),
            (json!({"a": [1]}), json!({"a": [1]}), true),
            (json!("True"), json!(true), false),
        ] {
            assert_eq!(same(&expected, &value), equal, "{expected} and {value}");
        }
    }
}
