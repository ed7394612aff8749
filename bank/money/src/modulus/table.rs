//! The industry's table of weights, as it is published.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::SortCode;

/// The weights and sort code substitutions that the check works by.
///
/// The industry publishes them several times a year (valacdos.txt and
/// scsubtab.txt); the operator keeps the files. They do not say their version
/// themselves: whoever reads them says it with [`ModulusTable::with_version`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModulusTable {
    /// By sort code range; within one range in the file's order: first and second check.
    rules: Vec<Rule>,
    substitutions: BTreeMap<SortCode, SortCode>,
    version: Option<String>,
}

/// One line of the table of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) from: SortCode,
    pub(super) to: SortCode,
    pub(super) method: Method,
    /// For the digits u to h.
    pub(super) weights: [i16; 14],
    /// 1 to 14, or 0: none.
    pub(super) exception: u8,
}

/// How the products are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// MOD10: the products.
    Mod10,
    /// MOD11: the products.
    Mod11,
    /// DBLAL: the digits of the products, modulo 10.
    DoubleAlternate,
}

impl Method {
    pub(super) const fn modulus(self) -> i64 {
        match self {
            Self::Mod10 | Self::DoubleAlternate => 10,
            Self::Mod11 => 11,
        }
    }
}

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFile {
    /// valacdos.txt
    Weights,
    /// scsubtab.txt
    Substitutions,
}

impl fmt::Display for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => "weights (valacdos)",
            Self::Substitutions => "substitutions (scsubtab)",
        })
    }
}

/// A table that cannot be used, and where it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}, line {line}: {problem}")]
pub struct TableError {
    /// In which file.
    pub file: TableFile,
    /// In which line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: TableProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableProblem {
    /// The file has no line.
    #[error("the file is empty")]
    Empty,
    /// The line has other columns than the format.
    #[error("{found} columns; the format has {expected}")]
    Columns {
        /// How many there are.
        found: usize,
        /// How many there should be, in words.
        expected: &'static str,
    },
    /// Not a sort code of six digits.
    #[error("{0:?} is no sort code")]
    SortCode(String),
    /// The range ends before it begins.
    #[error("the range ends before it begins")]
    Range,
    /// Neither MOD10, MOD11 nor DBLAL.
    #[error("{0:?} is no method (MOD10, MOD11, DBLAL)")]
    Method(String),
    /// Not a whole number from -999 to 999.
    #[error("{0:?} is no weight")]
    Weight(String),
    /// Not 1 to 14.
    #[error("{0:?} is no exception that the specification has (1 to 14)")]
    Exception(String),
    /// The range covers sort codes of another range that is not the same.
    #[error("the range overlaps another")]
    Overlap,
    /// More than two checks of one range.
    #[error("a third line for one range")]
    ThirdCheck,
    /// The sort code is substituted twice.
    #[error("the sort code has a substitute already")]
    Duplicate,
}

/// Weights beyond this are a damaged file.
const WEIGHT_MAX: i16 = 999;
/// The columns of a line of weights.
const COLUMNS: &str = "17, or 18 with an exception";
/// The most of a wrong word that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 16;

impl ModulusTable {
    /// Reads the two files as they are published: a line of `valacdos` is a range
    /// of sort codes, a method, fourteen weights and an exception or none; a line
    /// of `scsubtab` is a sort code and its substitute. Empty lines and line
    /// endings of any kind are fine.
    ///
    /// # Errors
    /// [`TableError`] names the first line that is not of this form.
    pub fn parse(valacdos: &str, scsubtab: &str) -> Result<Self, TableError> {
        let mut rules = Vec::new();
        for (line, words) in lines(valacdos) {
            let rule = rule(&words).map_err(|problem| TableError {
                file: TableFile::Weights,
                line,
                problem,
            })?;
            rules.push((line, rule));
        }
        if rules.is_empty() {
            return Err(TableError {
                file: TableFile::Weights,
                line: 0,
                problem: TableProblem::Empty,
            });
        }
        // Stable: the lines of one range stay in the file's order.
        rules.sort_by_key(|(_, rule)| rule.from);
        for (at, pair) in rules.windows(2).enumerate() {
            let [(_, before), (line, after)] = pair else {
                continue;
            };
            let problem = if (before.from, before.to) != (after.from, after.to) {
                (after.from <= before.to).then_some(TableProblem::Overlap)
            } else {
                let third = at > 0
                    && rules
                        .get(at - 1)
                        .is_some_and(|(_, rule)| rule.from == after.from);
                third.then_some(TableProblem::ThirdCheck)
            };
            if let Some(problem) = problem {
                return Err(TableError {
                    file: TableFile::Weights,
                    line: *line,
                    problem,
                });
            }
        }

        let mut substitutions = BTreeMap::new();
        for (line, words) in lines(scsubtab) {
            let error = |problem| TableError {
                file: TableFile::Substitutions,
                line,
                problem,
            };
            let [from, to] = words.as_slice() else {
                return Err(error(TableProblem::Columns {
                    found: words.len(),
                    expected: "2",
                }));
            };
            let to = sort_code(to).map_err(error)?;
            if substitutions
                .insert(sort_code(from).map_err(error)?, to)
                .is_some()
            {
                return Err(error(TableProblem::Duplicate));
            }
        }
        Ok(Self {
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            substitutions,
            version: None,
        })
    }

    /// Notes which version of the industry's files this is: "7.90".
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The version, where whoever read the files said it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// How many lines of weights there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no line. A table that was read has some.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The lines for a sort code: none, one or two, in order.
    pub(super) fn rules(&self, sort_code: SortCode) -> &[Rule] {
        let start = self.rules.partition_point(|rule| rule.to < sort_code);
        let rest = self.rules.get(start..).unwrap_or_default();
        let count = rest
            .iter()
            .take_while(|rule| rule.from <= sort_code)
            .count();
        rest.get(..count).unwrap_or_default()
    }

    /// What stands for the sort code under exception 5.
    pub(super) fn substitute(&self, sort_code: SortCode) -> Option<SortCode> {
        self.substitutions.get(&sort_code).copied()
    }
}

/// The lines that are not empty, by number, in words.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.split_ascii_whitespace().collect::<Vec<_>>()))
        .filter(|(_, words)| !words.is_empty())
}

fn rule(words: &[&str]) -> Result<Rule, TableProblem> {
    let (from, to, method, rest) = match words {
        [from, to, method, rest @ ..] if matches!(rest.len(), 14 | 15) => (from, to, method, rest),
        _ => {
            return Err(TableProblem::Columns {
                found: words.len(),
                expected: COLUMNS,
            });
        }
    };
    let mut weights = [0; 14];
    for (weight, word) in weights.iter_mut().zip(rest) {
        *weight = word
            .parse()
            .ok()
            .filter(|weight| (-WEIGHT_MAX..=WEIGHT_MAX).contains(weight))
            .ok_or_else(|| TableProblem::Weight(shown(word)))?;
    }
    let exception = match rest.get(14) {
        None => 0,
        Some(word) => word
            .parse()
            .ok()
            .filter(|exception| (1..=14).contains(exception))
            .ok_or_else(|| TableProblem::Exception(shown(word)))?,
    };
    let rule = Rule {
        from: sort_code(from)?,
        to: sort_code(to)?,
        method: match *method {
            "MOD10" => Method::Mod10,
            "MOD11" => Method::Mod11,
            "DBLAL" => Method::DoubleAlternate,
            other => return Err(TableProblem::Method(shown(other))),
        },
        weights,
        exception,
    };
    if rule.from <= rule.to {
        Ok(rule)
    } else {
        Err(TableProblem::Range)
    }
}

fn sort_code(word: &str) -> Result<SortCode, TableProblem> {
    SortCode::parse(word).map_err(|_| TableProblem::SortCode(shown(word)))
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "100000 100009 MOD11 0 0 0 0 0 0 8 7 6 5 4 3 2 1";

    fn weights_error(text: &str) -> (usize, TableProblem) {
        let error = ModulusTable::parse(text, "").unwrap_err();
        assert_eq!(error.file, TableFile::Weights);
        (error.line, error.problem)
    }

    #[test]
    fn any_line_ending_reads() {
        for text in [
            LINE.to_owned(),
            format!("{LINE}\n"),
            format!("\u{feff}{LINE}  14\r\n\r\n"),
            format!("\n  {LINE}"),
        ] {
            let table = ModulusTable::parse(&text, "").unwrap();
            assert_eq!(
                (table.len(), table.is_empty(), table.version()),
                (1, false, None)
            );
        }
    }

    #[test]
    fn a_broken_table_says_where_and_why() {
        let replaced = |from: &str, to: &str| LINE.replace(from, to);
        let columns = |found| TableProblem::Columns {
            found,
            expected: COLUMNS,
        };
        for (text, line, problem) in [
            (String::new(), 0, TableProblem::Empty),
            (format!("{LINE}\n100010"), 2, columns(1)),
            (format!("{LINE} 1 2"), 1, columns(19)),
            (
                replaced("100000", "10000"),
                1,
                TableProblem::SortCode("10000".into()),
            ),
            (replaced("100009", "099999"), 1, TableProblem::Range),
            (
                replaced("MOD11", "MOD12"),
                1,
                TableProblem::Method("MOD12".into()),
            ),
            (
                replaced("8", "1000"),
                1,
                TableProblem::Weight("1000".into()),
            ),
            (replaced("8", "x"), 1, TableProblem::Weight("x".into())),
            (
                format!("{LINE} 15"),
                1,
                TableProblem::Exception("15".into()),
            ),
            (format!("{LINE} 0"), 1, TableProblem::Exception("0".into())),
            (
                format!("{LINE}\n{}", replaced("100000", "100009")),
                2,
                TableProblem::Overlap,
            ),
            (
                format!("{LINE}\n{}", replaced("100009", "100008")),
                2,
                TableProblem::Overlap,
            ),
            (
                format!("{LINE}\n{LINE}\n\n{LINE}"),
                4,
                TableProblem::ThirdCheck,
            ),
        ] {
            assert_eq!(weights_error(&text), (line, problem), "{text}");
        }
        for (text, line, problem) in [
            (
                "100000",
                1,
                TableProblem::Columns {
                    found: 1,
                    expected: "2",
                },
            ),
            ("100000 100001\n100000 100002", 2, TableProblem::Duplicate),
            ("100000 10000", 1, TableProblem::SortCode("10000".into())),
        ] {
            let error = ModulusTable::parse(LINE, text).unwrap_err();
            assert_eq!(
                error,
                TableError {
                    file: TableFile::Substitutions,
                    line,
                    problem
                }
            );
        }
        let error = ModulusTable::parse(LINE, "100000").unwrap_err();
        assert_eq!(
            error.to_string(),
            "substitutions (scsubtab), line 1: 1 columns; the format has 2"
        );
    }

    #[test]
    fn a_sort_code_finds_its_lines_in_the_file_s_order() {
        let text = format!(
            "200000 200000 MOD10{0}\n{LINE}\n{LINE} 3\n",
            " 1".repeat(14)
        );
        let table = ModulusTable::parse(&text, "").unwrap();
        let found = |sort_code: &str| {
            let rules = table.rules(SortCode::parse(sort_code).unwrap());
            rules.iter().map(|rule| rule.exception).collect::<Vec<_>>()
        };
        assert_eq!(found("099999"), []);
        assert_eq!(found("100000"), [0, 3]);
        assert_eq!(found("100009"), [0, 3]);
        assert_eq!(found("100010"), []);
        assert_eq!(found("200000"), [0]);
        assert_eq!(found("200001"), []);
    }

    proptest! {
        #[test]
        fn any_text_is_a_table_or_an_error_with_a_line(
            weights in "(\\PC{0,40}\n|[0-9]{6} [0-9]{6} (MOD10|MOD11|DBLAL)( -?[0-9]{1,3}){13,16}\r?\n){0,6}",
            substitutions in "(\\PC{0,20}\n|[0-9]{6} [0-9]{6}\n){0,4}",
        ) {
            match ModulusTable::parse(&weights, &substitutions) {
                Ok(table) => prop_assert!(!table.is_empty()),
                Err(error) => {
                    let text = if error.file == TableFile::Weights { &weights } else { &substitutions };
                    prop_assert!(error.line <= text.lines().count());
                }
            }
        }
    }
}
