//! `docs/configuration.md`, written from the schema.

use std::fmt::Write;

use super::reload::fixed_keys;
use super::schema::{Kind, Schema, annotated};

/// The page that documents every key, in Markdown.
pub fn reference() -> String {
    let schema = annotated();
    let mut page = INTRODUCTION.replace("EXAMPLE", EXAMPLE);
    for section in sections(Schema(&schema)) {
        write_section(&mut page, &section);
    }
    page.push_str(&reload_section());
    page.push_str(INVENTORY);
    page
}

struct Section<'a> {
    /// The path of the keys' mapping; empty for the whole document.
    path: String,
    /// What the mapping is.
    meaning: String,
    schema: Schema<'a>,
}

/// The document and every mapping in it that has keys of its own, the outer ones first.
fn sections(root: Schema<'_>) -> Vec<Section<'_>> {
    let mut sections = vec![Section { path: String::new(), meaning: String::new(), schema: root }];
    let mut next = 0;
    while let Some(Section { path, schema, .. }) = sections.get(next) {
        let Kind::Fields(fields) = schema.kind() else { break };
        let inner: Vec<_> = fields
            .iter()
            .filter_map(|(name, field)| inner_section(&joined(path, name), Schema(field)))
            .collect();
        sections.extend(inner);
        next += 1;
    }
    sections
}

fn inner_section<'a>(path: &str, field: Schema<'a>) -> Option<Section<'a>> {
    let (path, schema) = match field.kind() {
        Kind::Fields(_) => (path.to_owned(), field),
        Kind::List(inner, ..) => (format!("{path}[]"), inner),
        Kind::Mapping(_, inner, ..) => (format!("{path}.NAME"), inner),
        _ => return None,
    };
    let meaning = field.description();
    matches!(schema.kind(), Kind::Fields(_)).then_some(Section { path, meaning, schema })
}

fn write_section(page: &mut String, section: &Section<'_>) {
    let Kind::Fields(fields) = section.schema.kind() else { return };
    let title = if section.path.is_empty() { "Keys".to_owned() } else { format!("`{}`", section.path) };
    let meaning = if section.meaning.is_empty() { String::new() } else { format!("{}\n\n", section.meaning) };
    let required: Vec<&str> = section.schema.required().collect();
    page.push_str(&format!(
        "## {title}\n\n{meaning}| Key | Value | Default | Meaning |\n|---|---|---|---|\n"
    ));
    for (name, field) in fields {
        let field = Schema(field);
        let default =
            if required.contains(&name.as_str()) { "required".to_owned() } else { default_of(field) };
        let row = format!(
            "| `{name}` | {} | {default} | {} |\n",
            cell(&field.to_string()),
            cell(&field.description())
        );
        page.push_str(&row);
    }
    page.push('\n');
}

/// The default in one cell; a mapping's stand in its own section.
fn default_of(field: Schema<'_>) -> String {
    match (field.kind(), field.default()) {
        (Kind::Fields(_), _) | (_, None) => String::new(),
        (_, Some(value)) => format!("`{value}`"),
    }
}

fn reload_section() -> String {
    let mut section = RELOAD.to_owned();
    for key in fixed_keys() {
        let _ = writeln!(section, "- `{key}`");
    }
    section
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const EXAMPLE: &str = include_str!("../../../../examples/full.yaml");

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from crates/director/src/config/document.rs; `UPDATE_DOCS=1 make test` writes it anew. -->

One YAML file, given to `udp-director serve --config FILE`. `udp-director check FILE` names everything
that is wrong with it, with line and column. `udp-director schema` prints the JSON Schema, with which
editors complete and check the keys as they are typed.

- Unknown keys, keys given twice and keys without a value are errors.
- Every key may also be written in snake_case: `query_port` is `queryPort`.
- Files over 1 MiB are refused.

## Example

```yaml
EXAMPLE```

`resourceQueryMapping`, `inventory` and one data port are needed; everything else has a default. A
mapping with one `portName` or `portPath` serves the first data port of each protocol; with `ports`, each
data port by its name.

";

const RELOAD: &str = "\
## What a reload changes

The file is watched. A new version is read and checked as a whole, then taken over as a whole; one with an
error changes nothing, and is counted and logged. Sessions survive every reload. A data port that appears
is opened; one that goes takes no new sessions and lets the old ones end. A version that is refused because
a data port is taken is taken over once the port is free.

Every key takes effect at once, except those below: a new version that changes one of them is refused as a
whole until the process is started anew.

";

const INVENTORY: &str = "
## What a new inventory file changes

The inventory file is watched as well, and taken over as a whole or not at all. One without any object is
refused, since it is what a file reads that is about to be written; `{apiVersion: v1, kind: List, items: []}`
says that there is none.

Players of a backend that is no longer there, or has another address, go to another that matches what they
asked for; where none does, or another object has taken its name or address, their sessions end. `whenLost`
says what becomes of them before. The same holds for a cluster's objects.
";
