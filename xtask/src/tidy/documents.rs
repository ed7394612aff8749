//! The documents say where everything is, and their links lead somewhere.

use super::Finding;
use super::imports::Crate;
use super::source::Source;

const MAP: &str = "ARCHITECTURE.md";

/// Each crate stands in ARCHITECTURE.md, by its folder in code marks.
pub fn crates_in_map(crates: &[Crate], sources: &[Source]) -> Vec<Finding> {
    let Some(map) = sources.iter().find(|source| source.path == MAP) else {
        return vec![Finding::new(MAP, 0, "there is none")];
    };
    crates
        .iter()
        .filter(|member| {
            let path = &member.path;
            !map.text.contains(&format!("`{path}`")) && !map.text.contains(&format!("`{path}/`"))
        })
        .map(|member| {
            Finding::new(
                MAP,
                0,
                format!("`{}` does not stand in the code map: say what it is for and what it must not know", member.path),
            )
        })
        .collect()
}

/// Links to files that are not there.
pub fn links(sources: &[Source], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let folder = source
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        for (number, line) in (1..).zip(source.text.lines()) {
            for target in targets(line) {
                let path = target.split('#').next().unwrap_or_default();
                let elsewhere =
                    path.is_empty() || path.contains("://") || path.starts_with("mailto:");
                let path = if folder.is_empty() {
                    path.to_owned()
                } else {
                    format!("{folder}/{path}")
                };
                if !elsewhere && !exists(&path) {
                    findings.push(Finding::new(
                        source.path.as_str(),
                        number,
                        format!("the link leads nowhere: {target}"),
                    ));
                }
            }
        }
    }
    findings
}

/// What stands in the round brackets of `[…](…)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_is_not_in_the_map_is_named() {
        let crates = [
            Crate::of("core/store"),
            Crate::of("core/rpc"),
            Crate::of("core/lost"),
        ];
        let map = Source::of(
            MAP,
            "- `core/store`: partitions\n- `core/rpc/`: calls\ncore/lost",
        );
        let found = crates_in_map(&crates, &[map]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("core/lost"));
        assert_eq!(crates_in_map(&crates, &[]).len(), 1);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](b.md) [web](https://example.org/x) [here](#there)\n[c](gone.md#part)";
        let found = links(&[Source::of("docs/x.md", text)], &|path| {
            path == "docs/b.md"
        });
        let lines: Vec<usize> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2]);
    }
}
