//! Every `allow` and `expect` of a lint says why.

use super::Finding;
use super::source::Source;

const OPENINGS: [&str; 4] = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];

/// Lint attributes without a reason.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let rust = sources.iter().filter(|source| source.is_rust());
    rust.flat_map(|source| {
        attributes(&source.text)
            .filter(|(_, attribute)| !attribute.contains("reason"))
            .map(|(line, _)| {
                Finding::new(
                    source.path.as_str(),
                    line,
                    "a lint is set aside without a reason: add `reason = \"…\"`",
                )
            })
    })
    .collect()
}

/// Each lint attribute with the number of its first line, from 1.
fn attributes(text: &str) -> impl Iterator<Item = (usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let found: Vec<(usize, String)> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| {
            OPENINGS
                .iter()
                .any(|opening| line.trim_start().starts_with(opening))
        })
        .map(|(place, _)| {
            let mut attribute = String::new();
            for line in lines.iter().skip(place) {
                attribute.push_str(line);
                if line.trim_end().ends_with(")]") {
                    break;
                }
            }
            (place + 1, attribute)
        })
        .collect();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lint_set_aside_needs_a_reason_also_over_many_lines() {
        let text = "\
§![allow(dead_code)]
§[expect(unused, reason = \"why\")]
§[allow(
    unused,
    reason = \"why\"
)]
§[allow(
    unused
)]
fn a() {}
";
        // Written so that this file passes its own rule.
        let text = text.replace('§', "#");
        let found = check(&[Source::of("a.rs", &text)]);
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 7]);
    }
}
