//! Alerts in a bank's log: lines, as text or JSON, that have the field `alert`.

use serde_json::Value;

/// The field by which an alert is told.
const FIELD: &str = "alert";

/// What the alert of this line says, if it is one.
pub fn alert_of(line: &str) -> Option<String> {
    match serde_json::from_str::<Value>(line) {
        Ok(value) => found(&value),
        Err(_) => in_text(line),
    }
}

fn found(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    if let Some(text) = object.get(FIELD) {
        return Some(
            text.as_str()
                .map_or_else(|| text.to_string(), str::to_owned),
        );
    }
    // Some formats put an event's fields into an object of their own.
    object.values().find_map(found)
}

/// `… alert="cassandra: cluster main: …" …`, or without quotation marks, to the end.
fn in_text(line: &str) -> Option<String> {
    let plain = without_colours(line);
    let (before, after) = plain.split_once(&format!("{FIELD}="))?;
    if before.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
        return None;
    }
    let Some(quoted) = after.strip_prefix('"') else {
        return Some(after.trim_end().to_owned());
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    Some(text)
}

/// Without the escape sequences (ECMA-48, SGR) that make text coloured.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
            continue;
        }
        for inside in characters.by_ref() {
            if inside.is_ascii_alphabetic() {
                break;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_in_every_form_of_the_log() {
        let says = "cassandra: cluster main: 127.1.2.4 owns ranges";
        for line in [
            r#"{"time":"t","level":"ERROR","target":"x","alert":"cassandra: cluster main: 127.1.2.4 owns ranges","message":"m"}"#,
            r#"{"fields":{"alert":"cassandra: cluster main: 127.1.2.4 owns ranges"}}"#,
            r#"2026-01-01 ERROR x: m alert="cassandra: cluster main: 127.1.2.4 owns ranges" nodes=3"#,
            "ERROR m alert=cassandra: cluster main: 127.1.2.4 owns ranges\n",
            "ERROR m \u{1b}[3malert\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"cassandra: cluster main: 127.1.2.4 owns ranges\"",
        ] {
            assert_eq!(alert_of(line).as_deref(), Some(says), "{line}");
        }
        assert_eq!(
            alert_of(r#"x alert="a \"b\" c""#).as_deref(),
            Some(r#"a "b" c"#)
        );
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "INFO x: an alert is not raised",
            "INFO x: last_alert=none",
            r#"{"level":"ERROR","message":"alert=no field"}"#,
            "{\"level\":",
        ] {
            assert_eq!(alert_of(line), None, "{line}");
        }
    }
}
