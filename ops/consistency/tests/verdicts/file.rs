//! A history as a file.

use lombard_consistency::History;
use lombard_consistency::history::{FaultMark, HistoryError, Record};

use crate::story::{Story, entry, unknown};

fn written(history: &History) -> Vec<u8> {
    let mut file = Vec::new();
    history.write(&mut file).unwrap();
    file
}

#[test]
fn what_was_written_is_read_and_judged_the_same() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &[("a", -101), ("b", 101)]));
    story.gets(1, unknown());
    let before = story.balances("a");
    story.pay(2, &[("a", -1), ("b", 1)]);
    story.reads(3, "a", before);
    story.history.records.push(Record::Fault {
        at_us: 1,
        mark: FaultMark::Begun,
        what: "kill".to_owned(),
    });
    let file = written(&story.history);
    let lines = file.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, story.history.records.len() + 1);
    let read = History::read(&file[..]).unwrap();
    assert_eq!(read, story.history);
    let violations = story.violations();
    assert_eq!(violations.len(), 1);
    story.history = read;
    assert_eq!(story.violations(), violations);
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let mut file = written(&Story::funded().history);
    file.extend(b"{\"record\":\"guess\"}\n");
    let error = History::read(&file[..]).unwrap_err();
    assert!(error.to_string().starts_with("line 6 "), "{error}");
    let error = History::read(&b""[..]).unwrap_err();
    assert!(matches!(error, HistoryError::Empty), "{error}");
    let text = String::from_utf8(written(&Story::new().history)).unwrap();
    let other = text.replacen("\"form\":1", "\"form\":9", 1);
    let error = History::read(other.as_bytes()).unwrap_err();
    assert!(matches!(error, HistoryError::Form { found: 9 }), "{error}");
}
