//! A file of transactions, read line by line and day by day.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::berka::{Broken, Line, Transaction, parse_line};
use crate::failure::Failure;

/// A line longer than this is not one of a journal.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Reasons that are kept; all broken lines are counted.
const BROKEN_KEPT_MAX: usize = 1_000;

/// What a first look at the file found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Transactions.
    pub lines: u64,
    /// The first of the broken lines.
    pub broken: Vec<Broken>,
    /// All of them.
    pub broken_count: u64,
    /// The first line whose date is before that of the line before it.
    pub out_of_order: Option<u64>,
}

/// Reads all lines, and keeps none.
///
/// # Errors
/// The file cannot be read.
pub fn check(path: &Path) -> Result<Checked, Failure> {
    let mut checked = Checked::default();
    let mut lines = Lines::open(path)?;
    let mut last = None;
    while let Some(line) = lines.next_line()? {
        match line {
            Ok(transaction) => {
                checked.lines += 1;
                if last.is_some_and(|last| transaction.date < last) {
                    checked.out_of_order.get_or_insert(transaction.line);
                }
                last = Some(transaction.date);
            }
            Err(broken) => {
                checked.broken_count += 1;
                if checked.broken.len() < BROKEN_KEPT_MAX {
                    checked.broken.push(broken);
                }
            }
        }
    }
    Ok(checked)
}

/// The transactions of one day.
#[derive(Debug)]
pub struct Day {
    /// In the order of the file.
    pub transactions: Vec<Transaction>,
}

/// The days of a file. Broken lines are left out: [`check`] told of them.
#[derive(Debug)]
pub struct Days {
    lines: Lines,
    next: Option<Transaction>,
}

/// Opens a file to be read day by day.
///
/// # Errors
/// The file cannot be read.
pub fn days(path: &Path) -> Result<Days, Failure> {
    Ok(Days {
        lines: Lines::open(path)?,
        next: None,
    })
}

impl Days {
    /// The transactions up to the next line of another date.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_day(&mut self) -> Result<Option<Day>, Failure> {
        let mut transactions: Vec<Transaction> = self.next.take().into_iter().collect();
        while let Some(line) = self.lines.next_line()? {
            let Ok(transaction) = line else { continue };
            if transactions
                .first()
                .is_some_and(|first| first.date != transaction.date)
            {
                self.next = Some(transaction);
                break;
            }
            transactions.push(transaction);
        }
        Ok((!transactions.is_empty()).then_some(Day { transactions }))
    }
}

/// The lines of a file that are transactions, or should be.
#[derive(Debug)]
struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path)
            .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 18, file),
            path: path.to_owned(),
            number: 0,
            line: Vec::new(),
        })
    }

    fn next_line(&mut self) -> Result<Option<Result<Transaction, Broken>>, Failure> {
        loop {
            self.line.clear();
            if !self.read()? {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() > LINE_BYTES_MAX {
                return Ok(Some(Err(Broken {
                    line: self.number,
                    reason: format!("is longer than {LINE_BYTES_MAX} bytes"),
                })));
            }
            match parse_line(self.number, &self.line) {
                Ok(Line::Nothing) => {}
                Ok(Line::Transaction(transaction)) => return Ok(Some(Ok(transaction))),
                Err(broken) => return Ok(Some(Err(broken))),
            }
        }
    }

    /// The next line without its end; of one that is too long, its beginning.
    fn read(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        loop {
            let available = self.reader.fill_buf().map_err(|error| {
                Failure::failed(format!("cannot read {}: {error}", self.path.display()))
            })?;
            if available.is_empty() {
                return Ok(any);
            }
            any = true;
            let (part, used, ended) = match available.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&available[..end], end + 1, true),
                None => (available, available.len(), false),
            };
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.reader.consume(used);
            if ended {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn days_follow_the_file_and_broken_lines_are_told_of() {
        let file = file(
            b"\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\"k_symbol\";\"bank\";\"account\"\n\
              1;1;930101;\"PRIJEM\";\"VKLAD\";1.00;1.00;\"\";;\r\n\
              nonsense\n\
              2;1;930101;\"PRIJEM\";\"VKLAD\";1.00;2.00;\"\";;\n\
              3;1;930102;\"PRIJEM\";\"VKLAD\";1.00;3.00;\"\";;",
        );
        let checked = check(file.path()).unwrap();
        assert_eq!(
            (checked.lines, checked.broken_count, checked.out_of_order),
            (3, 1, None)
        );
        assert_eq!(checked.broken[0].line, 3);
        let mut days = days(file.path()).unwrap();
        let mut found = Vec::new();
        while let Some(day) = days.next_day().unwrap() {
            found.push(
                day.transactions
                    .iter()
                    .map(|t| t.trans_id)
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(found, [vec![1, 2], vec![3]]);
    }

    #[test]
    fn a_line_without_an_end_is_not_swallowed_whole() {
        let mut content = vec![b'x'; 3 << 20];
        content.extend_from_slice(b"\n1;1;930101;\"PRIJEM\";\"VKLAD\";1.00;1.00;\"\";;\n");
        let file = file(&content);
        let checked = check(file.path()).unwrap();
        assert_eq!((checked.lines, checked.broken_count), (1, 1));
        assert!(checked.broken[0].reason.contains("longer"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = check(Path::new("/no/such/file")).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"));
    }
}
