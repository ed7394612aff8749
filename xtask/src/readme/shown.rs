//! Whether an output is what a document shows.
//!
//! `…` stands for any text within a line; a line that is only `…` stands for any
//! number of lines. Space at the ends of lines and empty lines at the end do not count.

/// Whether `output` is what `shown` shows.
pub fn matches(shown: &str, output: &str) -> bool {
    let shown: Vec<&str> = lines(shown);
    let output: Vec<&str> = lines(output);
    lines_match(&shown, &output)
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

fn lines_match(shown: &[&str], output: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return output.is_empty();
    };
    if first.trim() == "…" {
        return (0..=output.len())
            .any(|skip| lines_match(rest, output.get(skip..).unwrap_or_default()));
    }
    match output.split_first() {
        Some((line, others)) => line_matches(first, line) && lines_match(rest, others),
        None => false,
    }
}

/// The parts between the gaps stand in the line in order, the first at its start and
/// the last at its end.
fn line_matches(shown: &str, line: &str) -> bool {
    let Some((first, rest)) = shown.split_once('…') else {
        return shown == line;
    };
    let Some(mut left) = line.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn text_is_compared_and_gaps_are_not() {
        assert!(matches("one\ntwo\n", "one  \ntwo\n\n"));
        assert!(matches("ready in … ms", "ready in 120 ms"));
        assert!(matches("{\"a\":…,\"b\":2}", "{\"a\":17,\"b\":2}"));
        assert!(matches("… of …!", "one of two!"));
        assert!(matches("one\n…\nfour", "one\ntwo\nthree\nfour"));
        assert!(matches("one\n…\n", "one\n"));
        assert!(matches("…\nlast", "last"));
    }

    #[test]
    fn what_is_not_shown_does_not_match() {
        assert!(!matches("one", "one\ntwo"));
        assert!(!matches("one\ntwo", "one"));
        assert!(!matches("ready in … ms", "ready in 120 s"));
        assert!(!matches("{\"a\":…,\"b\":2}", "{\"a\":17,\"b\":3}"));
        assert!(!matches("one\n…\nfour", "one\ntwo\nfour\nfive"));
    }
}
