//! Words that must not stand in the project, or not in a part of it.

use super::Finding;
use super::lists::{self, Lists};
use super::source::Source;

/// Banned words anywhere; unspoken ones in the code of their folder.
pub fn check(lists: &Lists, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path != lists::PATH) {
        for (number, line) in (1..).zip(source.text.lines()) {
            for banned in &lists.banned {
                for word in banned
                    .words
                    .iter()
                    .filter(|word| line.contains(word.as_str()))
                {
                    findings.push(Finding::new(
                        source.path.as_str(),
                        number,
                        format!("`{word}`: {}", banned.reason),
                    ));
                }
            }
        }
        for unspoken in &lists.unspoken {
            let inside = |folder: &str| source.path.starts_with(&format!("{folder}/"));
            if !source.is_rust()
                || !inside(&unspoken.under)
                || unspoken.except.iter().any(|folder| inside(folder))
            {
                continue;
            }
            for (number, line) in source.code() {
                let line = line.to_lowercase();
                for word in unspoken
                    .words
                    .iter()
                    .filter(|word| line.contains(&word.to_lowercase()))
                {
                    findings.push(Finding::new(
                        source.path.as_str(),
                        number,
                        format!("`{word}`: {}", unspoken.reason),
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        Lists::parse(
            r#"
            layers = []
            services = []
            [[banned]]
            words = ["Bogus("]
            reason = "finish it"
            [[unspoken]]
            under = "bank"
            except = ["bank/free"]
            words = ["enginename"]
            reason = "no engine here"
            "#,
        )
        .unwrap()
    }

    fn places(sources: &[Source]) -> Vec<(String, usize)> {
        check(&lists(), sources)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect()
    }

    #[test]
    fn a_banned_word_is_found_in_every_kind_of_file_but_the_list_itself() {
        let text = "fine\nBogus()\n";
        let found = places(&[
            Source::of("a.md", text),
            Source::of("bank/b.rs", text),
            Source::of(lists::PATH, text),
        ]);
        assert_eq!(found, [("a.md".to_owned(), 2), ("bank/b.rs".to_owned(), 2)]);
    }

    #[test]
    fn an_unspoken_word_is_found_in_code_of_its_folder_only() {
        let code = "use EngineName;\n";
        let found = places(&[
            Source::of("bank/a.rs", code),
            Source::of(
                "bank/b.rs",
                "// EngineName\n#[cfg(test)]\nmod tests {\n  use EngineName;\n}\n",
            ),
            Source::of("bank/free/c.rs", code),
            Source::of("core/d.rs", code),
            Source::of("bank/e.toml", code),
        ]);
        assert_eq!(found, [("bank/a.rs".to_owned(), 1)]);
    }
}
