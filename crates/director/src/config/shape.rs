//! The shape of a configuration: every key known, every value of the right type and in its range.
//!
//! What is checked is what the schema says, so that an editor and `udp-director check` agree. All
//! problems are found, not only the first.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::form::Form;
use super::problem::{Place, Problem};
use super::schema::{Kind, Schema, quoted};
use super::yaml::{Content, Entry, Node};

/// A configuration of the right shape.
#[derive(Debug)]
pub(super) struct Shaped {
    /// The configuration, each key in its first spelling.
    pub value: Value,
    /// Where each part of it stands.
    pub places: Places,
}

/// Where each value stands, by the path of its key, such as `dataPorts[1].name`.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<String, Place>);

/// Brings `root` into the shape that `schema` asks for.
///
/// # Errors
/// Everything that does not fit.
pub(super) fn shape(root: &Node, schema: Schema<'_>) -> Result<Shaped, Vec<Problem>> {
    let mut walk = Walk::default();
    let value = walk.value(root, schema);
    if walk.problems.is_empty() { Ok(Shaped { value, places: walk.places }) } else { Err(walk.problems) }
}

impl Places {
    /// Where the value of `key` stands; for one that is left out, what it was left out of.
    pub(super) fn of(&self, key: &str) -> Option<Place> {
        let outer = || key.rfind(['.', '[']).map_or("", |end| &key[..end]);
        match self.0.get(key) {
            Some(&place) => Some(place),
            None if key.is_empty() => None,
            None => self.of(outer()),
        }
    }
}

#[derive(Debug, Default)]
struct Walk {
    /// Of the value that is being looked at.
    key: String,
    places: Places,
    problems: Vec<Problem>,
}

impl Walk {
    /// The value of `node` as JSON; `null` where a problem was found.
    fn value(&mut self, node: &Node, schema: Schema<'_>) -> Value {
        self.places.0.insert(self.key.clone(), node.place);
        match (schema.kind(), &node.content) {
            (Kind::Fields(fields), Content::Map(entries)) => self.fields(node, entries, schema, fields),
            (Kind::Mapping(keys, values, min, max), Content::Map(entries)) => {
                self.check_count(node, schema, entries.len(), (min, max));
                self.mapping(entries, keys, values)
            }
            (Kind::List(inner, min, max), Content::List(nodes)) => {
                self.check_count(node, schema, nodes.len(), (min, max));
                self.list(nodes, inner)
            }
            (Kind::Anything, Content::Map(entries)) => self.mapping(entries, None, schema),
            (Kind::Anything, Content::List(nodes)) => self.list(nodes, schema),
            (Kind::Either(branches), content) => {
                let scalar = branches.iter().find_map(|branch| scalar(content, &branch.kind()));
                let container = branches.into_iter().find(|branch| contains(content, &branch.kind()));
                match (scalar, container) {
                    (Some(value), _) => value,
                    (None, Some(branch)) => self.value(node, branch),
                    (None, None) => self.refuse(node, schema),
                }
            }
            (kind, content) => scalar(content, &kind).unwrap_or_else(|| self.refuse(node, schema)),
        }
    }

    fn fields(
        &mut self,
        node: &Node,
        entries: &[Entry],
        schema: Schema<'_>,
        fields: &Map<String, Value>,
    ) -> Value {
        let mut seen = BTreeMap::new();
        let mut object = Map::new();
        for entry in entries {
            let Some((name, field)) = schema.field(&entry.key) else {
                self.refuse_key(entry, schema, fields);
                continue;
            };
            if self.is_new(&mut seen, name, entry) {
                let value = self.at(name, |walk| walk.value(&entry.value, field));
                object.insert(name.to_owned(), value);
            }
        }
        for name in schema.required().filter(|name| !seen.contains_key(name)) {
            let meaning = fields.get(name).map(|field| Schema(field).description()).unwrap_or_default();
            self.problem(node.place, format!("the key \"{name}\" is missing. {meaning}"));
        }
        Value::Object(object)
    }

    fn mapping(&mut self, entries: &[Entry], keys: Option<Form>, values: Schema<'_>) -> Value {
        let mut seen = BTreeMap::new();
        let mut object = Map::new();
        for entry in entries {
            if let Some(form) = keys.filter(|form| !form.admits(&entry.key)) {
                self.problem(entry.place, format!("the key {} is not {}", cut(&entry.key), form.words()));
            }
            if self.is_new(&mut seen, &entry.key, entry) {
                let value = self.at(&entry.key, |walk| walk.value(&entry.value, values));
                object.insert(entry.key.clone(), value);
            }
        }
        Value::Object(object)
    }

    fn list(&mut self, nodes: &[Node], inner: Schema<'_>) -> Value {
        let entry = |(index, node)| self.at(&format!("[{index}]"), |walk| walk.value(node, inner));
        nodes.iter().enumerate().map(entry).collect()
    }

    /// Looks at the value of a key below the current one.
    fn at<R>(&mut self, name: &str, look: impl FnOnce(&mut Walk) -> R) -> R {
        let outer = self.key.len();
        if outer > 0 && !name.starts_with('[') {
            self.key.push('.');
        }
        self.key.push_str(name);
        let result = look(self);
        self.key.truncate(outer);
        result
    }

    fn is_new<'a>(&mut self, seen: &mut BTreeMap<&'a str, Place>, name: &'a str, entry: &Entry) -> bool {
        let Some(&first) = seen.get(name) else {
            seen.insert(name, entry.place);
            return true;
        };
        let text =
            format!("the key {} is given twice; it stands on line {} too", cut(&entry.key), first.line);
        self.problem(entry.place, text);
        false
    }

    fn check_count(&mut self, node: &Node, schema: Schema<'_>, count: usize, (min, max): (u64, Option<u64>)) {
        let count = count as u64;
        if count < min || max.is_some_and(|max| count > max) {
            self.problem(node.place, format!("has {count} entries; it must be {schema}"));
        }
    }

    fn refuse_key(&mut self, entry: &Entry, schema: Schema<'_>, fields: &Map<String, Value>) {
        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
        let advice = match (schema.hint(&entry.key), nearest(&entry.key, &known)) {
            (Some(hint), _) => hint.to_owned(),
            (None, Some(name)) => format!("did you mean \"{name}\"?"),
            (None, None) => format!("allowed are {}", quoted(&known)),
        };
        self.problem(entry.place, format!("unknown key {}; {advice}", cut(&entry.key)));
    }

    fn refuse(&mut self, node: &Node, schema: Schema<'_>) -> Value {
        let text = match &node.content {
            Content::Null if self.key.is_empty() => "the file holds no configuration".to_owned(),
            Content::Null => format!("has no value; give {schema}"),
            content => format!("{} is not {schema}{}", shown(content), advice(content, schema)),
        };
        self.problem(node.place, text);
        Value::Null
    }

    fn problem(&mut self, place: Place, text: String) {
        self.problems.push(Problem { place: Some(place), key: self.key.clone(), text });
    }
}

/// The value, where it is of that kind and no container.
fn scalar(content: &Content, kind: &Kind<'_>) -> Option<Value> {
    match (kind, content) {
        (Kind::Boolean, Content::Bool(value)) => Some(Value::Bool(*value)),
        (Kind::Integer(min, max), Content::Number(number)) => {
            let value = number.as_i64()?;
            (*min..=*max).contains(&value).then(|| value.into())
        }
        (Kind::Text(form, shortest), Content::Text(text)) => {
            let admitted =
                form.is_none_or(|form| form.admits(text)) && text.chars().count() as u64 >= *shortest;
            admitted.then(|| text.as_str().into())
        }
        (Kind::Words(words), Content::Text(text)) => {
            words.contains(&text.as_str()).then(|| text.as_str().into())
        }
        (Kind::Anything, Content::Null) => Some(Value::Null),
        (Kind::Anything, Content::Bool(value)) => Some(Value::Bool(*value)),
        (Kind::Anything, Content::Number(number)) => Some(Value::Number(number.clone())),
        (Kind::Anything, Content::Text(text)) => Some(text.as_str().into()),
        _ => None,
    }
}

/// Says whether the value is a container of that kind.
fn contains(content: &Content, kind: &Kind<'_>) -> bool {
    match content {
        Content::List(_) => matches!(kind, Kind::List(..)),
        Content::Map(_) => matches!(kind, Kind::Mapping(..) | Kind::Fields(_)),
        _ => false,
    }
}

/// What to do about a value that is not allowed, where that can be guessed.
fn advice(content: &Content, schema: Schema<'_>) -> String {
    match (schema.kind(), content) {
        (Kind::Text(..) | Kind::Words(_), Content::Number(_) | Content::Bool(_)) => {
            "; put it in quotes".to_owned()
        }
        (Kind::Integer(..), Content::Text(text)) if text.parse::<i64>().is_ok() => {
            "; take the quotes away".to_owned()
        }
        (Kind::Words(words), Content::Text(text)) => match (schema.hint(text), nearest(text, &words)) {
            (Some(hint), _) => format!("; {hint}"),
            (None, Some(word)) => format!("; did you mean \"{word}\"?"),
            (None, None) => String::new(),
        },
        _ => String::new(),
    }
}

/// The name that was probably meant: the only one that begins so, in three letters or more; else the
/// nearest one, of which a third of the letters, and never fewer than two, may be wrong.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > LONGEST_GUESSED {
        return None;
    }
    let name = name.to_lowercase();
    let mut begun = known.iter().filter(|known| name.len() > 2 && known.to_lowercase().starts_with(&name));
    if let (Some(only), None) = (begun.next(), begun.next()) {
        return Some(only);
    }
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_lowercase());
    let nearest = known.iter().min_by_key(|known| distance(known))?;
    let allowed = (nearest.len() / 3).max(2);
    (distance(nearest) <= allowed && distance(nearest) < nearest.len()).then_some(nearest)
}

fn shown(content: &Content) -> String {
    match content {
        Content::Null => "nothing".to_owned(),
        Content::Bool(value) => value.to_string(),
        Content::Number(number) => number.to_string(),
        Content::Text(text) => cut(text),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a mapping".to_owned(),
    }
}

/// The text in quotes, without its tail where it is long.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

const LONGEST_GUESSED: usize = 64;
const LONGEST_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_named_and_a_far_one_is_not() {
        let known = ["sessionTimeoutSeconds", "queryPort", "name", "port", "protocol", "portName"];
        for (name, nearest_name) in [
            ("sesionTimeoutSeconds", Some("sessionTimeoutSeconds")),
            ("QUERYPORT", Some("queryPort")),
            ("nmae", Some("name")),
            ("proto", Some("protocol")),
            ("por", Some("port")),
            ("po", Some("port")),
            ("zzzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), nearest_name, "{name}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), &known), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(61)), format!("\"{}\"...", "ä".repeat(60)));
        assert_eq!(cut("a\"b"), r#""a\"b""#);
    }
}
