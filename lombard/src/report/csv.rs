//! Comma-separated values (RFC 4180).

use std::io::{BufWriter, Write};

use crate::failure::Failure;

/// On stdout.
pub struct Csv(BufWriter<std::io::StdoutLock<'static>>);

impl Csv {
    /// Begins with the names of the columns.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn start(columns: &[&str]) -> Result<Self, Failure> {
        let mut csv = Self(BufWriter::new(std::io::stdout().lock()));
        csv.row(columns)?;
        Ok(csv)
    }

    /// A row: one text for each column.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn row(&mut self, cells: &[&str]) -> Result<(), Failure> {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        write!(self.0, "{}\r\n", cells.join(","))?;
        Ok(())
    }

    /// All is written.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.0.flush()?;
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
