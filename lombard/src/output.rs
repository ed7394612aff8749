//! Results go to stdout, everything else to stderr.

use std::fmt::Display;
use std::io::{BufWriter, IsTerminal, Write};
use std::time::Duration;

use anstyle::Style;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Headings of tables.
pub const HEADING: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();

/// One line of result.
///
/// # Errors
/// The output is closed or full.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// A result as JSON on one line, or over many lines on a terminal.
///
/// # Errors
/// The output is closed or full.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = if std::io::stdout().is_terminal() {
        serde_json::to_writer_pretty(&mut out, value)
    } else {
        serde_json::to_writer(&mut out, value)
    };
    written.map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// A result as JSON on one line, wherever it goes: others read line by line.
///
/// # Errors
/// The output is closed or full.
pub fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(std::io::Error::from)?;
    line(text)
}

/// A line for a person, not part of the result.
pub fn note(text: impl Display) {
    anstream::eprintln!("{text}");
}

/// A bar that is drawn on a terminal only.
pub fn progress(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    // A template that cannot be read leaves the library's own, which says as much.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Which side of a column its text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table for people.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: one text for each column.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Writes it to stdout.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn print(&self) -> Result<(), Failure> {
        let mut out = BufWriter::new(anstream::stdout().lock());
        self.write(&mut out)?;
        out.flush()?;
        Ok(())
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(place));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
                    .max(name.chars().count())
            })
            .collect();
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        write!(out, "{HEADING}")?;
        self.write_row(out, &names, &widths)?;
        write!(out, "{HEADING:#}")?;
        for row in &self.rows {
            self.write_row(out, row, &widths)?;
        }
        Ok(())
    }

    fn write_row(
        &self,
        out: &mut impl Write,
        cells: &[String],
        widths: &[usize],
    ) -> std::io::Result<()> {
        let mut text = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            if !text.is_empty() {
                text.push_str("  ");
            }
            match align {
                Align::Left => text.push_str(&format!("{cell:<width$}")),
                Align::Right => text.push_str(&format!("{cell:>width$}")),
            }
        }
        writeln!(out, "{}", text.trim_end())
    }
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount in minor units as people write it: `-1,234.50`. `decimals` is the
/// currency's number of minor digits.
pub fn amount(minor: i64, decimals: u32) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let unit = 10_u64.saturating_pow(decimals).max(1);
    let magnitude = minor.unsigned_abs();
    let whole = grouped(magnitude / unit);
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    format!(
        "{sign}{whole}.{:0width$}",
        magnitude % unit,
        width = decimals as usize
    )
}

/// One of several, in words: `1 line`, `2 lines`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { many }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let table = [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (123_456_789, 2, "1,234,567.89"),
            (1_234, 0, "1,234"),
            (1_234, 3, "1.234"),
            (i64::MIN, 2, "-92,233,720,368,547,758.08"),
        ];
        for (minor, decimals, text) in table {
            assert_eq!(amount(minor, decimals), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("account", Align::Left), ("balance", Align::Right)]);
        table.row(["berka-1".to_owned(), "1.00".to_owned()]);
        table.row(["a".to_owned(), "-123,456.00".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_start_matches("\u{1b}[0m"))
            .collect();
        assert!(lines[0].ends_with("account      balance"), "{text}");
        assert_eq!(lines[1], "berka-1         1.00");
        assert_eq!(lines[2], "a        -123,456.00");
    }
}
