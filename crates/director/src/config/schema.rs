//! The JSON Schema of the configuration, and the reading of it that checks and documents the keys.

use std::fmt;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::form::Form;

/// The JSON Schema (draft 2020-12) of a configuration file, for editors.
///
/// It knows every key in its first spelling, `tokenTtlSeconds`, and the snake_case spellings, marked as
/// deprecated so that editors do not propose them; but no rule that spans several keys other than
/// "`dataPort` or `dataPorts`", and of the formats no more than their names.
pub fn json_schema() -> Value {
    let mut schema = annotated();
    spell_out_aliases(&mut schema);
    spell_in_snake_case(&mut schema, "#");
    each_object(&mut schema, &mut require_either_spelling);
    strip_annotations(&mut schema);
    schema
}

/// The schema with two keywords of our own: `x-alias`, another spelling of a key, and `x-hints`, what to
/// say of names that are not allowed. No key takes `null`: one without a value is a mistake or a file
/// that is still being written.
pub(super) fn annotated() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Document>().to_value();
    forbid_null(&mut schema);
    schema
}

/// A part of the annotated schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'a>(pub &'a Value);

/// What a [`Schema`] allows.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    Anything,
    Boolean,
    /// From the first to the second, both included.
    Integer(i64, i64),
    /// A text of that form, or of at least so many characters.
    Text(Option<Form>, u64),
    /// One of these texts.
    Words(Vec<&'a str>),
    /// A list with such entries, so many of them at least and at most.
    List(Schema<'a>, u64, Option<u64>),
    /// A mapping with these keys and no other.
    Fields(&'a Map<String, Value>),
    /// A mapping with keys of that form, such values, and so many of them at least and at most.
    Mapping(Option<Form>, Schema<'a>, u64, Option<u64>),
    /// Any of these.
    Either(Vec<Schema<'a>>),
}

impl<'a> Schema<'a> {
    /// What is allowed.
    pub(super) fn kind(self) -> Kind<'a> {
        if let Some(branches) = self.0["anyOf"].as_array() {
            return Kind::Either(branches.iter().map(Schema).collect());
        }
        match self.0["type"].as_str() {
            Some("boolean") => Kind::Boolean,
            Some("integer") => Kind::Integer(
                self.0["minimum"].as_i64().unwrap_or(i64::MIN),
                self.0["maximum"].as_i64().unwrap_or(i64::MAX),
            ),
            Some("string") => self.text(),
            Some("array") => {
                Kind::List(Schema(&self.0["items"]), self.count("minItems"), self.most("maxItems"))
            }
            Some("object") => self.object(),
            _ => Kind::Anything,
        }
    }

    /// The key of that spelling in a [`Kind::Fields`], as it is spelt first, and what it takes.
    pub(super) fn field(self, spelling: &str) -> Option<(&'a str, Schema<'a>)> {
        let camel = camel_case(spelling);
        let properties = self.0["properties"].as_object()?;
        properties
            .iter()
            .find(|(name, field)| **name == spelling || **name == camel || field["x-alias"] == camel)
            .map(|(name, field)| (name.as_str(), Schema(field)))
    }

    /// The keys that must be there.
    pub(super) fn required(self) -> impl Iterator<Item = &'a str> {
        self.0["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// What to say of a name that is not allowed here.
    pub(super) fn hint(self, name: &str) -> Option<&'a str> {
        self.0["x-hints"].get(name)?.as_str()
    }

    /// The doc comment, on one line; empty where there is none.
    pub(super) fn description(self) -> String {
        let text = self.0["description"].as_str().unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What holds when the key is left out, if anything does.
    pub(super) fn default(self) -> Option<&'a Value> {
        self.0.get("default")
    }

    fn text(self) -> Kind<'a> {
        let words = match (&self.0["enum"], &self.0["const"]) {
            (Value::Array(words), _) => words.iter().filter_map(Value::as_str).collect(),
            (_, Value::String(word)) => vec![word.as_str()],
            _ => return Kind::Text(Form::by_name(&self.0["format"]), self.count("minLength")),
        };
        Kind::Words(words)
    }

    fn object(self) -> Kind<'a> {
        if let Some(fields) = self.0["properties"].as_object() {
            return Kind::Fields(fields);
        }
        let keys = Form::by_name(&self.0["propertyNames"]["format"]);
        let values = Schema(&self.0["additionalProperties"]);
        Kind::Mapping(keys, values, self.count("minProperties"), self.most("maxProperties"))
    }

    fn count(self, keyword: &str) -> u64 {
        self.most(keyword).unwrap_or(0)
    }

    fn most(self, keyword: &str) -> Option<u64> {
        self.0[keyword].as_u64()
    }
}

/// What is allowed in words, to follow "is".
impl fmt::Display for Schema<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Kind::Anything => f.write_str("any value"),
            Kind::Boolean => f.write_str("true or false"),
            Kind::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Kind::Text(Some(form), _) => f.write_str(form.words()),
            Kind::Text(None, 0) => f.write_str("a text"),
            Kind::Text(None, _) => f.write_str("a text that is not empty"),
            Kind::Words(words) if words.len() == 1 => write!(f, "{}", quoted(&words)),
            Kind::Words(words) => write!(f, "one of {}", quoted(&words)),
            Kind::List(inner, min, max) => write!(f, "a list{}{}", entries(min, max), each(inner)),
            Kind::Fields(_) => f.write_str("a mapping of keys"),
            Kind::Mapping(_, inner, min, max) => write!(f, "a mapping{}{}", entries(min, max), each(inner)),
            Kind::Either(branches) => {
                let words: Vec<_> = branches.iter().map(Schema::to_string).collect();
                f.write_str(&words.join(" or "))
            }
        }
    }
}

/// Texts in quotes, with commas between them.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn entries(min: u64, max: Option<u64>) -> String {
    match (min, max) {
        (0, None) => String::new(),
        (min, None) => format!(" of at least {min} entries"),
        (0, Some(max)) => format!(" of at most {max} entries"),
        (min, Some(max)) => format!(" of {min} to {max} entries"),
    }
}

/// The entries of a container, where they are none themselves.
fn each(inner: Schema<'_>) -> String {
    match inner.kind() {
        Kind::Anything | Kind::Fields(_) | Kind::List(..) | Kind::Mapping(..) => String::new(),
        _ => format!(", each {inner}"),
    }
}

/// `token_ttl_seconds` as `tokenTtlSeconds`.
fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// An `Option` in the document means that the key may be left out, not that it may be `null`.
fn forbid_null(schema: &mut Value) {
    each_object(schema, &mut |object| {
        for keyword in ["type", "enum", "anyOf"] {
            let Some(Value::Array(choices)) = object.get_mut(keyword) else { continue };
            choices
                .retain(|choice| !choice.is_null() && choice != "null" && *choice != json!({"type": "null"}));
            if keyword == "type" && choices.len() == 1 {
                let only = choices.remove(0);
                object.insert(keyword.to_owned(), only);
            }
        }
        lift_only_branch(object);
    });
}

/// `{anyOf: [X], ...}` as `{X, ...}`.
fn lift_only_branch(object: &mut Map<String, Value>) {
    let Some([Value::Object(branch)]) = object.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return;
    };
    let branch = branch.clone();
    object.remove("anyOf");
    for (keyword, value) in branch {
        object.entry(keyword).or_insert(value);
    }
}

fn spell_out_aliases(root: &mut Value) {
    let Some(properties) = root["properties"].as_object_mut() else { return };
    let aliases: Vec<_> = properties
        .iter()
        .filter_map(|(name, field)| Some((field["x-alias"].as_str()?.to_owned(), name.clone())))
        .collect();
    for (alias, name) in aliases {
        properties.insert(alias, json!({"$ref": format!("#/properties/{name}")}));
    }
}

/// Adds every key once more, in snake_case. `pointer` says where `schema` stands.
fn spell_in_snake_case(schema: &mut Value, pointer: &str) {
    match schema {
        Value::Array(branches) => branches
            .iter_mut()
            .enumerate()
            .for_each(|(index, branch)| spell_in_snake_case(branch, &format!("{pointer}/{index}"))),
        Value::Object(object) => {
            for keyword in ["items", "additionalProperties", "anyOf"] {
                if let Some(inner) = object.get_mut(keyword) {
                    spell_in_snake_case(inner, &format!("{pointer}/{keyword}"));
                }
            }
            if let Some(Value::Object(fields)) = object.get_mut("properties") {
                let pointer = format!("{pointer}/properties");
                fields
                    .iter_mut()
                    .for_each(|(name, field)| spell_in_snake_case(field, &format!("{pointer}/{name}")));
                let twins: Vec<_> = fields.keys().filter_map(|name| twin(name, &pointer)).collect();
                fields.extend(twins);
            }
        }
        _ => {}
    }
}

/// The snake_case spelling of a key, and its schema.
fn twin(name: &str, pointer: &str) -> Option<(String, Value)> {
    Some((snake_case(name)?, json!({"$ref": format!("{pointer}/{name}"), "deprecated": true})))
}

/// `{required: [inventory, dataPort]}` as `{required: [inventory], allOf: [dataPort or data_port]}`.
fn require_either_spelling(object: &mut Map<String, Value>) {
    let Some(Value::Array(required)) = object.get_mut("required") else { return };
    let spelling = |name: &Value| snake_case(name.as_str()?).map(|snake| (name.clone(), snake));
    let twice: Vec<_> = required.iter().filter_map(spelling).collect();
    required.retain(|name| !twice.iter().any(|(camel, _)| camel == name));
    if required.is_empty() {
        object.remove("required");
    }
    let either =
        |(camel, snake): (Value, String)| json!({"anyOf": [{"required": [camel]}, {"required": [snake]}]});
    if !twice.is_empty() {
        object.insert("allOf".to_owned(), twice.into_iter().map(either).collect());
    }
}

/// `queryPort` as `query_port`; `None` for one word, and for abbreviations in capitals, which have an
/// alias without.
fn snake_case(key: &str) -> Option<String> {
    let capitals = key.bytes().filter(u8::is_ascii_uppercase).count();
    let abbreviates = key.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_uppercase));
    if capitals == 0 || abbreviates {
        return None;
    }
    let mut snake = String::with_capacity(key.len() + capitals);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    Some(snake)
}

fn strip_annotations(schema: &mut Value) {
    each_object(schema, &mut |object| object.retain(|keyword, _| !keyword.starts_with("x-")));
}

/// Visits every object of a JSON value, the inner ones first.
fn each_object(value: &mut Value, visit: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|entry| each_object(entry, visit)),
        Value::Object(object) => {
            object.values_mut().for_each(|entry| each_object(entry, visit));
            visit(object);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_reads_as_camel_case() {
        for (snake, camel) in
            [("query_port", "queryPort"), ("queryPort", "queryPort"), ("_a__b_", "AB"), ("", "")]
        {
            assert_eq!(camel_case(snake), camel);
        }
    }

    #[test]
    fn published_schema_knows_every_key_in_snake_case() {
        let schema = json_schema();
        let keys = [
            "/properties/query_port",
            "/properties/token_ttl_seconds",
            "/properties/default_endpoint",
            "/properties/dataPorts/items/properties/proxy_protocol",
            "/properties/defaultEndpoint/properties/statusQuery/properties/json_path",
            "/properties/resourceQueryMapping/additionalProperties/properties/ports/items/properties/port_name",
        ];
        for key in keys {
            let field = schema.pointer(key).unwrap_or_else(|| panic!("{key} is missing"));
            let target = field["$ref"].as_str().and_then(|target| schema.pointer(target.strip_prefix('#')?));
            assert!(target.is_some_and(Value::is_object), "{key} leads nowhere: {field}");
        }
        assert_eq!(schema.get("required"), None);
        let mapping = json!([{"anyOf": [{"required": ["resourceQueryMapping"]}, {"required": ["resource_query_mapping"]}]}]);
        assert_eq!(schema["allOf"], mapping);
        assert!(schema["oneOf"][0].to_string().contains("data_port"));
    }

    #[test]
    fn published_schema_names_its_draft_and_keeps_our_own_keywords_to_itself() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(!schema.to_string().contains("\"x-"));
        assert_eq!(schema["properties"]["tokenTtlSeconds"]["$ref"], "#/properties/tokenTTLSeconds");
        assert!(!schema.to_string().contains("null"));
    }

    #[test]
    fn every_key_has_a_text_and_every_number_two_bounds() {
        fn look(name: &str, schema: Schema<'_>) {
            match schema.kind() {
                Kind::Integer(min, max) => assert!(min > i64::MIN && max < i64::MAX, "{name} has no range"),
                Kind::Fields(fields) => fields.iter().for_each(|(name, field)| {
                    assert!(!Schema(field).description().is_empty(), "{name} has no text");
                    look(name, Schema(field));
                }),
                Kind::List(inner, ..) | Kind::Mapping(_, inner, ..) => look(name, inner),
                Kind::Either(branches) => branches.into_iter().for_each(|branch| look(name, branch)),
                _ => {}
            }
        }
        look("", Schema(&annotated()));
    }
}
