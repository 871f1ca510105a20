//! Answers as tables.

use serde_json::Value;

/// A column: its title, and where its value stands in each row (RFC 6901).
pub(super) type Column = (&'static str, &'static str);

/// A title line, and a line for each row.
pub(super) fn table<'a>(columns: &[Column], rows: impl IntoIterator<Item = &'a Value>) -> String {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let line = |row: &Value| columns.iter().map(|(_, at)| cell(row.pointer(at))).collect();
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(rows.into_iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    lines.iter().map(|line| aligned(line, &widths)).collect()
}

fn aligned(line: &[String], widths: &[usize]) -> String {
    let cells = line.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}

/// A value in words. What is missing, empty or `false` is a dash, so that the eye finds the rest.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => "-".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::String(text)) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        Some(Value::Number(number)) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or(0.0)),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Object(pairs)) if pairs.is_empty() => "-".to_owned(),
        Some(Value::Object(pairs)) => {
            let pair = |(key, value): (&String, &Value)| format!("{key} {}", cell(Some(value)));
            pairs.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [json!({"name": "a", "of": {"n": 12}}), json!({"name": "längst", "why": "it\ndrains"})];
        let columns = [("NAME", "/name"), ("N", "/of/n"), ("WHY", "/why")];
        assert_eq!(table(&columns, &rows), "NAME    N   WHY\na       12  -\nlängst  -   it?drains\n");
        assert_eq!(table(&columns, &[]), "NAME  N  WHY\n");
    }

    #[test]
    fn value_is_told_in_words() {
        for (value, text) in [
            (json!(null), "-"),
            (json!(false), "-"),
            (json!(true), "yes"),
            (json!(12), "12"),
            (json!(0.34), "0.3"),
            (json!({}), "-"),
            (json!({"full": 2, "label": 1}), "full 2, label 1"),
            (json!([1, "b"]), "1, b"),
        ] {
            assert_eq!(cell(Some(&value)), text, "{value}");
        }
        assert_eq!(cell(None), "-");
    }
}
