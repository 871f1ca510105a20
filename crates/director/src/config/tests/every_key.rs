//! Every key of the schema with values of the wrong type, out of range and of the wrong form. The cases
//! follow from the schema, so that a new key is covered without a line here.

use serde_json::{Map, Value, json};

use crate::config::form::Form;
use crate::config::problem::Problem;
use crate::config::schema::{Kind, Schema, annotated};
use crate::config::shape::shape;
use crate::config::yaml;

#[test]
fn document_with_every_key_is_accepted() {
    each_key(|_, _, document| assert_eq!(problems(document), []));
}

#[test]
fn value_of_the_wrong_type_is_refused_with_its_key() {
    each_key(|key, schema, document| {
        for wrong in [
            json!(null),
            json!(true),
            json!(-5_000_000),
            json!(1.5),
            json!("\u{1}"),
            json!([[]]),
            json!({"": 1}),
        ] {
            if !fits(&wrong, schema) {
                assert_refused(key, &with(document, key, wrong));
            }
        }
    });
}

#[test]
fn number_is_accepted_at_its_bounds_and_refused_beyond() {
    each_key(|key, schema, document| {
        for (min, max) in ranges(schema) {
            for right in [min, max] {
                assert_eq!(problems(&with(document, key, right.into())), [], "{key}: {right}");
            }
            for wrong in
                [json!(min - 1), json!(max + 1), json!(min as f64 + 0.5), json!(u64::MAX), json!(f64::MAX)]
            {
                assert_refused(key, &with(document, key, wrong));
            }
        }
    });
}

#[test]
fn list_and_mapping_are_refused_beyond_their_bounds() {
    each_key(|key, schema, document| {
        let many = |count: u64, value: &Value| match schema.kind() {
            Kind::List(..) => (0..count).map(|_| value.clone()).collect::<Value>(),
            _ => Value::Object((0..count).map(|n| (format!("k{n}"), value.clone())).collect()),
        };
        let (Kind::List(inner, min, max) | Kind::Mapping(_, inner, min, max)) = schema.kind() else { return };
        let value = sample(inner);
        if min > 0 {
            assert_refused(key, &with(document, key, many(min - 1, &value)));
        }
        if let Some(max) = max {
            assert_eq!(problems(&with(document, key, many(max, &value))), [], "{key}");
            assert_refused(key, &with(document, key, many(max + 1, &value)));
        }
    });
}

#[test]
fn text_of_the_wrong_form_is_refused_and_every_word_accepted() {
    each_key(|key, schema, document| match schema.kind() {
        Kind::Text(Some(_), _) => assert_refused(key, &with(document, key, json!("no\nform"))),
        Kind::Text(None, 1..) => assert_refused(key, &with(document, key, json!(""))),
        Kind::Words(words) => {
            for word in words {
                assert_eq!(problems(&with(document, key, json!(word))), []);
                assert_refused(key, &with(document, key, json!(word.to_uppercase())));
            }
        }
        _ => {}
    });
}

#[test]
fn misspelt_key_is_refused_and_the_right_one_named() {
    each_mapping(|key, schema, document| {
        let Kind::Fields(fields) = schema.kind() else { return };
        for name in fields.keys() {
            let last = if name.ends_with('x') { 'y' } else { 'x' };
            let misspelt = format!("{}{last}", &name[..name.len() - 1]);
            let found = problems(&with(document, &joined(key, &misspelt), json!(1)));
            let [problem] = &found[..] else { panic!("{misspelt}: {found:?}") };
            assert_eq!(problem.key, key);
            let text = format!("unknown key \"{misspelt}\"; did you mean \"");
            assert!(problem.text.starts_with(&text), "{problem:?}");
        }
    });
}

#[test]
fn required_key_is_missed_by_name() {
    each_mapping(|key, schema, document| {
        for name in schema.required() {
            let found = problems(&without(document, key, name));
            let [problem] = &found[..] else { panic!("{name}: {found:?}") };
            assert!(problem.text.starts_with(&format!("the key \"{name}\" is missing. ")), "{problem:?}");
        }
    });
}

fn assert_refused(key: &str, document: &Value) {
    let found = problems(document);
    assert!(found.iter().any(|problem| problem.key.starts_with(key)), "{key}: {found:?}\n{document}");
    assert!(found.iter().all(|problem| problem.place.is_some()), "{key}: {found:?}");
}

/// JSON is YAML.
fn problems(document: &Value) -> Vec<Problem> {
    let schema = annotated();
    let root = yaml::read(&document.to_string()).expect("YAML");
    shape(&root, Schema(&schema)).err().unwrap_or_default()
}

/// Calls with the path of each key, what it takes, and a document that has every key.
fn each_key(mut look: impl FnMut(&str, Schema<'_>, &Value)) {
    each_mapping(|path, schema, document| {
        let Kind::Fields(fields) = schema.kind() else { return };
        fields.iter().for_each(|(name, field)| look(&joined(path, name), Schema(field), document));
    });
}

/// Calls with the path of each mapping that has keys of its own.
fn each_mapping(mut look: impl FnMut(&str, Schema<'_>, &Value)) {
    let schema = annotated();
    let document = sample(Schema(&schema));
    let mut rest = vec![(String::new(), Schema(&schema))];
    while let Some((path, schema)) = rest.pop() {
        match schema.kind() {
            Kind::Fields(fields) => {
                look(&path, schema, &document);
                rest.extend(fields.iter().map(|(name, field)| (joined(&path, name), Schema(field))));
            }
            Kind::List(inner, ..) => rest.push((format!("{path}[0]"), inner)),
            Kind::Mapping(_, inner, ..) => rest.push((joined(&path, "k0"), inner)),
            _ => {}
        }
    }
}

/// A value that fits, with every key there is.
fn sample(schema: Schema<'_>) -> Value {
    match schema.kind() {
        Kind::Anything => json!("any"),
        Kind::Boolean => json!(true),
        Kind::Integer(min, _) => json!(min),
        Kind::Text(Some(Form::Ip), _) => json!("192.0.2.1"),
        Kind::Text(Some(Form::Cidr), _) => json!("192.0.2.0/24"),
        Kind::Text(Some(Form::Magic), _) => json!("00112233"),
        Kind::Text(Some(Form::HttpPath), _) => json!("/path"),
        Kind::Text(..) => json!("text"),
        Kind::Words(words) => json!(words[0]),
        Kind::List(inner, ..) => json!([sample(inner)]),
        Kind::Mapping(_, inner, ..) => json!({"k0": sample(inner)}),
        Kind::Either(branches) => sample(branches[0]),
        Kind::Fields(fields) => fields
            .iter()
            .map(|(name, field)| (name.clone(), sample(Schema(field))))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// Says whether a value of that type may stand there.
fn fits(value: &Value, schema: Schema<'_>) -> bool {
    match schema.kind() {
        Kind::Anything => true,
        Kind::Boolean => value.is_boolean(),
        Kind::Text(None, _) => value.is_string(),
        Kind::List(inner, ..) => {
            value.as_array().is_some_and(|list| list.iter().all(|value| fits(value, inner)))
        }
        Kind::Either(branches) => branches.into_iter().any(|branch| fits(value, branch)),
        _ => false,
    }
}

fn ranges(schema: Schema<'_>) -> Vec<(i64, i64)> {
    match schema.kind() {
        Kind::Integer(min, max) => vec![(min, max)],
        Kind::Either(branches) => branches.into_iter().flat_map(ranges).collect(),
        _ => Vec::new(),
    }
}

fn with(document: &Value, key: &str, value: Value) -> Value {
    let mut changed = document.clone();
    let (outer, name) = key.rsplit_once('.').unwrap_or(("", key));
    object_at(&mut changed, outer).insert(name.to_owned(), value);
    changed
}

fn without(document: &Value, path: &str, name: &str) -> Value {
    let mut changed = document.clone();
    object_at(&mut changed, path).remove(name);
    changed
}

fn object_at<'a>(document: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let pointer: String =
        path.split('.').filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
    let pointer = pointer.replace("[0]", "/0");
    document.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("a mapping")
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
