//! The licences of all that we are made of, as the packages state them.

use cargo_metadata::Metadata;

use super::Finding;
use super::lists::{self, Lists};

/// Dependencies whose licence the list does not allow.
pub fn check(lists: &Lists, metadata: &Metadata) -> Vec<Finding> {
    metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter_map(|package| {
            let what = match package.license.as_deref() {
                None => "states no licence".to_owned(),
                Some(licence) => match allows(licence, &lists.licences.allowed) {
                    Some(true) => return None,
                    Some(false) => {
                        format!("is under {licence}, which {} does not allow", lists::PATH)
                    }
                    None => format!("states a licence that cannot be read: {licence}"),
                },
            };
            Some(Finding::new(
                "Cargo.lock",
                0,
                format!("{} {} {what}", package.name, package.version),
            ))
        })
        .collect()
}

/// Whether an SPDX expression can be met with the licences allowed; nothing where
/// it is not one. The older `MIT/Apache-2.0` means OR.
fn allows(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any_of(&mut words, allowed)?;
    words.next().is_none().then_some(met)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut met = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed)?;
    }
    Some(met)
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed)?;
    }
    Some(met)
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words, allowed)?;
        return words.next_if_eq(&")").map(|_| met);
    }
    let mut name = words
        .next_if(|word| !["OR", "AND", "WITH", ")"].contains(word))?
        .to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next()?);
    }
    Some(allowed.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> Option<bool> {
        allows(
            expression,
            &[
                "MIT".to_owned(),
                "Unicode-3.0".to_owned(),
                "Apache-2.0 WITH LLVM-exception".to_owned(),
            ],
        )
    }

    #[test]
    fn an_expression_is_met_as_spdx_reads_it() {
        for expression in [
            "MIT",
            "Apache-2.0 OR MIT",
            "Apache-2.0/MIT",
            "GPL-2.0-only OR (MIT AND Unicode-3.0)",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            // AND binds closer than OR.
            "MIT OR GPL-2.0-only AND Apache-2.0",
        ] {
            assert_eq!(met(expression), Some(true), "{expression}");
        }
        for expression in [
            "GPL-3.0-or-later",
            "MIT AND GPL-2.0-only",
            "Apache-2.0",
            "MIT WITH Own-exception",
        ] {
            assert_eq!(met(expression), Some(false), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_said_to_be_none() {
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "AND", "MIT)"] {
            assert_eq!(met(expression), None, "{expression}");
        }
    }
}
