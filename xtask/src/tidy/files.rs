//! File sizes.

use super::lists::Lists;
use super::source::Source;
use super::{Finding, lists};

/// The most lines of a Rust file.
pub const LINES_MAX: usize = 500;
/// The most lines of a file of tests: a list of cases is read from anywhere.
pub const TEST_LINES_MAX: usize = 900;

/// The most lines of the file at `path`.
fn lines_max(path: &str) -> usize {
    let tests = path.starts_with("tests/") || path.contains("/tests/");
    if tests { TEST_LINES_MAX } else { LINES_MAX }
}

/// Rust files that have grown too long.
pub fn sizes(lists: &Lists, sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.is_rust())
        .filter(|source| lists.long_file.iter().all(|place| place.path != source.path))
        .filter_map(|source| {
            let lines = source.text.lines().count();
            let max = lines_max(&source.path);
            (lines > max).then(|| {
                Finding::new(
                    source.path.as_str(),
                    0,
                    format!(
                        "{lines} lines, at most {max}: it is usually two ideas; split it, or give a reason in {}",
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
            Source::of("x/tests/e.rs", &long),
            Source::of("x/tests/f.rs", &"//\n".repeat(TEST_LINES_MAX + 1)),
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
        assert_eq!(paths, ["a.rs", "x/tests/f.rs"]);
    }
}
