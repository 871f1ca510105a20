//! How many players an object says that it takes.

use std::fmt;

use serde_json::Value;
use udp_director_core::{Capacity, Path};

use crate::mapping::{CapacitySource, MappingError, NumberSource};
use crate::object::Object;
use crate::reason::Brief;

/// A [`CapacitySource`] ready to be read.
pub(crate) struct CapacityRule {
    max: NumberRule,
    current: Option<NumberRule>,
    overlap: u32,
}

enum NumberRule {
    Fixed(u32),
    Label(String),
    Annotation(String),
    Path { path: Path, text: String },
}

impl CapacityRule {
    pub(crate) fn new(source: &CapacitySource) -> Result<CapacityRule, MappingError> {
        Ok(CapacityRule {
            max: NumberRule::new(&source.max)?,
            current: source.current.as_ref().map(NumberRule::new).transpose()?,
            overlap: source.overlap,
        })
    }

    /// What the object says. One that does not say it as a whole number from 0 on is no candidate, but
    /// stays a backend: its sessions go on.
    pub(crate) fn read(&self, object: Object<'_>) -> Capacity {
        let current = self.current.as_ref().map_or(Ok(0), |current| current.read(object));
        match self.max.read(object).and_then(|max| Ok((max, current?))) {
            Ok((max, current)) => Capacity::of(max, current, self.overlap),
            Err(fault) => Capacity::Unknown(fault.into()),
        }
    }
}

impl NumberRule {
    fn new(source: &NumberSource) -> Result<NumberRule, MappingError> {
        Ok(match source {
            NumberSource::Fixed(number) => NumberRule::Fixed(*number),
            NumberSource::Label(key) => NumberRule::Label(key.clone()),
            NumberSource::Annotation(key) => NumberRule::Annotation(key.clone()),
            NumberSource::Path(text) => NumberRule::Path {
                path: Path::parse(text)
                    .map_err(|error| MappingError::CapacityPath { path: text.clone(), error })?,
                text: text.clone(),
            },
        })
    }

    fn read(&self, object: Object<'_>) -> Result<u32, String> {
        let metadata = &object.value["metadata"];
        let value = match self {
            NumberRule::Fixed(number) => return Ok(*number),
            NumberRule::Label(key) => metadata["labels"].get(key),
            NumberRule::Annotation(key) => metadata["annotations"].get(key),
            NumberRule::Path { path, .. } => path.first(object.value),
        };
        let Some(value) = value else { return Err(format!("{self} is missing")) };
        number(value).ok_or_else(|| {
            format!("{self} is {}, not a whole number from 0 to {}", Brief::new(value), u32::MAX)
        })
    }
}

impl fmt::Display for NumberRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberRule::Fixed(number) => number.fmt(f),
            NumberRule::Label(key) => write!(f, "the label {key}"),
            NumberRule::Annotation(key) => write!(f, "the annotation {key}"),
            NumberRule::Path { text, .. } => f.write_str(text),
        }
    }
}

fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(source: &CapacitySource, object: &Value) -> Capacity {
        CapacityRule::new(source).expect("right paths").read(Object::new(object))
    }

    fn of(max: NumberSource, current: Option<NumberSource>) -> CapacitySource {
        CapacitySource { max, current, overlap: 0 }
    }

    fn label(key: &str) -> NumberSource {
        NumberSource::Label(key.to_owned())
    }

    #[test]
    fn numbers_stand_in_labels_annotations_and_paths() {
        let object = json!({
            "metadata": {"labels": {"max": "10"}, "annotations": {"now": "4"}},
            "status": {"counters": {"players": {"capacity": 12, "count": 3}}},
        });
        let path = |text: &str| NumberSource::Path(text.to_owned());
        for (source, seats, current) in [
            (of(NumberSource::Fixed(5), None), 5, 0),
            (of(label("max"), None), 10, 0),
            (of(label("max"), Some(NumberSource::Annotation("now".to_owned()))), 6, 4),
            (of(path("status.counters.players.capacity"), Some(path("status.counters.players.count"))), 9, 3),
            (CapacitySource { overlap: 4, ..of(label("max"), None) }, 6, 0),
            (CapacitySource { overlap: 40, ..of(label("max"), None) }, 0, 0),
        ] {
            assert_eq!(read(&source, &object), Capacity::Seats { seats, current }, "{source:?}");
        }
    }

    #[test]
    fn max_below_current_is_full_and_not_an_error() {
        let object = json!({"metadata": {"labels": {"max": "3", "now": "5"}}});
        let capacity = read(&of(label("max"), Some(label("now"))), &object);
        assert_eq!(capacity, Capacity::Seats { seats: 0, current: 5 });
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (value, fault) in [
            (json!("ten"), "the label max is \"ten\", not a whole number from 0 to 4294967295"),
            (json!("-1"), "the label max is \"-1\", not a whole number from 0 to 4294967295"),
            (json!("+1"), "the label max is \"+1\", not a whole number from 0 to 4294967295"),
            (json!(""), "the label max is \"\", not a whole number from 0 to 4294967295"),
            (json!("4294967296"), "the label max is \"4294967296\", not a whole number from 0 to 4294967295"),
            (json!(1.5), "the label max is 1.5, not a whole number from 0 to 4294967295"),
        ] {
            let object = json!({"metadata": {"labels": {"max": value}}});
            assert_eq!(read(&of(label("max"), None), &object), Capacity::Unknown(fault.into()));
        }
        let nowhere =
            read(&of(label("max"), Some(label("now"))), &json!({"metadata": {"labels": {"max": "3"}}}));
        assert_eq!(nowhere, Capacity::Unknown("the label now is missing".into()));
    }
}
