//! The blocks of commands in a Markdown text.
//!
//! A block fenced as `sh` is commands. If the next thing is a block fenced as
//! `text` or `json`, that is what they print. The word after `sh` says how it is run:
//! none is in turn, `interrupt` is until it has printed what is shown and then Ctrl-C,
//! `elsewhere` is not here (the test itself, say).

use crate::chore::Failure;

/// Commands, and what they print.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it starts, from 1.
    pub line: usize,
    /// How it is run.
    pub way: Way,
    /// The commands.
    pub commands: String,
    /// What they print, if that is shown.
    pub shown: Option<String>,
}

/// How a block is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To its end, after those before it.
    InTurn,
    /// Until it has printed what is shown; then it is interrupted and must end well.
    UntilInterrupted,
    /// Not by this runner.
    Elsewhere,
}

/// Finds the blocks.
///
/// # Errors
/// A block that does not end, or a word after `sh` that means nothing.
pub fn find(markdown: &str) -> Result<Vec<Block>, Failure> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = (1..).zip(markdown.lines());
    // Whether a block that shows output would belong to the last one.
    let mut adjacent = false;
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim().strip_prefix("```") else {
            adjacent &= line.trim().is_empty();
            continue;
        };
        let mut body = String::new();
        loop {
            let Some((_, line)) = lines.next() else {
                return Err(format!("line {number}: the block does not end"));
            };
            if line.trim() == "```" {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        let mut words = info.split_whitespace();
        match words.next() {
            Some("sh") => {
                let way = match words.next() {
                    None => Way::InTurn,
                    Some("interrupt") => Way::UntilInterrupted,
                    Some("elsewhere") => Way::Elsewhere,
                    Some(word) => {
                        return Err(format!("line {number}: `{word}` is no way to run a block"));
                    }
                };
                blocks.push(Block {
                    line: number,
                    way,
                    commands: body,
                    shown: None,
                });
                adjacent = true;
            }
            Some("text" | "json") if adjacent => {
                if let Some(block) = blocks.last_mut() {
                    block.shown = Some(body);
                }
                adjacent = false;
            }
            _ => adjacent = false,
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Title
```sh
echo one
echo two
```

```text
one
two
```
Words.
```sh elsewhere
cargo xtask test
```
Words between.
```text
not its output
```
```toml
[not]
```
```sh interrupt
lombard up
```
```text
ready …
```
";

    #[test]
    fn blocks_are_found_with_what_they_show() {
        let blocks = find(TEXT).unwrap();
        let [first, second, third] = blocks.as_slice() else {
            panic!("{blocks:?}")
        };
        assert_eq!(first.line, 2);
        assert_eq!(first.commands, "echo one\necho two\n");
        assert_eq!(first.shown.as_deref(), Some("one\ntwo\n"));
        assert_eq!((second.way, &second.shown), (Way::Elsewhere, &None));
        assert_eq!(third.way, Way::UntilInterrupted);
        assert_eq!(third.shown.as_deref(), Some("ready …\n"));
    }

    #[test]
    fn a_block_without_end_or_with_a_strange_word_is_refused() {
        assert!(find("```sh\necho").unwrap_err().contains("does not end"));
        assert!(
            find("```sh whenever\n```\n")
                .unwrap_err()
                .contains("whenever")
        );
    }
}
