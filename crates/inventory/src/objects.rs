//! The text of an inventory file to objects: what `kubectl get ... -o yaml` or `-o json` prints.

use serde_json::{Map, Value};
use serde_saphyr::{Spanned, UserMessageFormatter};

/// Why a text is no list of objects. All but one name the line and the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsError {
    /// Nothing but white space, comments and empty documents: what a file reads that somebody is about
    /// to write.
    #[error(
        "it holds no document; where there are no objects, say so: {{apiVersion: v1, kind: List, items: []}}"
    )]
    Empty,
    /// Not YAML, or more of it than is read.
    #[error("{0}")]
    Yaml(String),
    /// YAML, but no Kubernetes object.
    #[error("no Kubernetes object begins at line {line}, column {column}: {problem}")]
    Object {
        /// The line on which the document begins, from 1.
        line: u64,
        /// The column at which the document begins, from 1.
        column: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads the objects of a file: a `List`, several documents, a single object, YAML or JSON. Empty
/// documents are skipped, but not all may be empty; the items of a `List` stand for themselves, and it
/// may have none.
///
/// Bounded: at most 8 million nodes, 64 levels and 64 MiB of scalars. A Pod with all its fields has
/// about 400 nodes, keys included. All aliases together repeat at most as many nodes as the text has
/// bytes (20,000 in a short one, a million in a long one): what a text costs goes by its length.
///
/// # Errors
/// Names the line and column of what is wrong. The text is taken as a whole or not at all, since one
/// that ends early looks just like one with fewer servers.
pub fn read_objects(text: &str) -> Result<Vec<Value>, ObjectsError> {
    let mut objects = Vec::new();
    let documents = documents(text)?;
    if documents.is_empty() {
        return Err(ObjectsError::Empty);
    }
    for document in documents {
        let (line, column) = (document.line, document.column);
        enter(document.value, &mut objects).map_err(|problem| ObjectsError::Object {
            line,
            column,
            problem,
        })?;
    }
    Ok(objects)
}

struct Document {
    line: u64,
    column: u64,
    value: Value,
}

/// JSON goes to the JSON reader first: its keys may be longer than YAML allows, and tabs may indent.
fn documents(text: &str) -> Result<Vec<Document>, ObjectsError> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(vec![Document { line: 1, column: 1, value }]);
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_aliases: MAX_REPEATED,
            // Many aliases of one anchor are well, as long as they repeat little.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: text.len().clamp(MIN_REPEATED, MAX_REPEATED),
        },
    };
    let documents: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| ObjectsError::Yaml(error.render_with_formatter(&UserMessageFormatter)))?;
    let located = |document: Spanned<Value>| Document {
        line: document.referenced.line(),
        column: document.referenced.column(),
        value: document.value,
    };
    Ok(documents.into_iter().map(located).collect())
}

fn enter(document: Value, objects: &mut Vec<Value>) -> Result<(), String> {
    let Value::Object(mut document) = document else {
        return Err("it is no mapping".to_owned());
    };
    let kind = required(&document, "kind")?.to_owned();
    let api_version = required(&document, "apiVersion")?.to_owned();
    let Some(item_kind) = kind.strip_suffix("List") else {
        objects.push(Value::Object(document));
        return Ok(());
    };
    let items = match document.remove("items") {
        Some(Value::Array(items)) => items,
        Some(Value::Null) => Vec::new(),
        _ => return Err(format!("the {kind} has no list of \"items\"")),
    };
    for (position, item) in items.into_iter().enumerate() {
        let item = typed_item(item, &api_version, item_kind)
            .map_err(|problem| format!("items[{position}]: {problem}"))?;
        objects.push(item);
    }
    Ok(())
}

/// The items of a `PodList`, as the API server sends it, leave out what the list says already; those
/// of a plain `List` say it themselves.
fn typed_item(item: Value, api_version: &str, kind: &str) -> Result<Value, String> {
    let Value::Object(mut item) = item else {
        return Err("it is no mapping".to_owned());
    };
    if !kind.is_empty() {
        item.entry("apiVersion").or_insert_with(|| api_version.into());
        item.entry("kind").or_insert_with(|| kind.into());
    }
    required(&item, "kind")?;
    required(&item, "apiVersion")?;
    Ok(Value::Object(item))
}

fn required<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    object.get(key).and_then(Value::as_str).ok_or_else(|| format!("it has no \"{key}\" with a text"))
}

const MAX_DOCUMENTS: usize = 100_000;
const MAX_NODES: usize = 8_000_000;
const MIN_REPEATED: usize = 20_000;
const MAX_REPEATED: usize = 1_000_000;

#[cfg(test)]
mod tests;
