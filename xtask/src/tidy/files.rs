//! File sizes.

use super::lists::Lists;
use super::source::Source;
use super::{Finding, lists};

/// The most lines of a Rust file.
pub const LINES_MAX: usize = 500;

/// Rust files of more than 500 lines.
pub fn sizes(lists: &Lists, sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.is_rust())
        .filter(|source| lists.long_file.iter().all(|place| place.path != source.path))
        .filter_map(|source| {
            let lines = source.text.lines().count();
            (lines > LINES_MAX).then(|| {
                Finding::new(
                    source.path.as_str(),
                    0,
                    format!(
                        "{lines} lines, at most {LINES_MAX}: it is usually two ideas; split it, or give a reason in {}",
                        lists::PATH
                    ),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_unless_it_has_a_reason() {
        let long = "//\n".repeat(LINES_MAX + 1);
        let sources = [
            Source::of("a.rs", &long),
            Source::of("b.rs", &long),
            Source::of("c.rs", &"//\n".repeat(LINES_MAX)),
            Source::of("d.md", &long),
        ];
        let lists = Lists {
            long_file: vec![lists::Place {
                path: "b.rs".to_owned(),
                reason: "a table".to_owned(),
            }],
            ..Lists::default()
        };
        let found = sizes(&lists, &sources);
        let paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["a.rs"]);
    }
}
