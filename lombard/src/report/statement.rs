//! `lombard report statement`: what happened on an account.

use jiff::civil::Date;
use lombard_contracts::bank::ledger::v1;
use serde::Serialize;

use super::csv::Csv;
use super::{PAGE_SIZE, decimals, refused, time};
use crate::Global;
use crate::bank::Bank;
use crate::failure::Failure;
use crate::output::{self, Align, Table, amount};

/// What happened on an account.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard report statement berka-576
  lombard report statement berka-576 --value-from 1993-02-01 --value-to 1993-03-01
  lombard report statement alice --address customer/held --newest --limit 20")]
pub struct Statement {
    /// The account
    pub account: String,
    /// One address only, e.g. customer/main
    #[arg(long)]
    pub address: Option<String>,
    /// One currency only
    #[arg(long)]
    pub currency: Option<String>,
    /// Booked at this moment or later
    #[arg(long, value_name = "TIME", value_parser = time::booked)]
    pub from: Option<i64>,
    /// Booked before this moment
    #[arg(long, value_name = "TIME", value_parser = time::booked)]
    pub to: Option<i64>,
    /// Value date on this day or later
    #[arg(long, value_name = "DAY")]
    pub value_from: Option<Date>,
    /// Value date before this day
    #[arg(long, value_name = "DAY")]
    pub value_to: Option<Date>,
    /// Newest first
    #[arg(long)]
    pub newest: bool,
    /// At most so many lines
    #[arg(long)]
    pub limit: Option<u64>,
    /// Comma-separated values
    #[arg(long)]
    pub csv: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no such account, or the ledger cannot be read.
pub async fn run(global: &Global, options: &Statement, bank: &Bank) -> Result<(), Failure> {
    let ledger = bank.ledger()?;
    let day = |day: &Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let mut request = v1::ListPostingsRequest {
        account: options.account.clone(),
        address: options.address.clone().unwrap_or_default(),
        currency: options.currency.clone().unwrap_or_default(),
        booked_from_us: options.from.unwrap_or(0),
        booked_to_us: options.to.unwrap_or(0),
        value_from: day(&options.value_from),
        value_to: day(&options.value_to),
        descending: options.newest,
        page_size: PAGE_SIZE,
        ..Default::default()
    };
    let mut left = options.limit.unwrap_or(u64::MAX);
    let mut writer = StatementWriter::start(global, options)?;
    while left > 0 {
        let page = ledger
            .list_postings(request.clone())
            .await
            .map_err(refused)?
            .into_owned();
        for posting in page
            .postings
            .into_iter()
            .take(usize::try_from(left).unwrap_or(usize::MAX))
        {
            left -= 1;
            writer.posting(posting)?;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    writer.finish(&options.account)
}

/// One line of a statement, as programs get it.
#[derive(Debug, Serialize)]
struct StatementLine {
    booked: String,
    booked_us: i64,
    value_date: String,
    address: String,
    currency: String,
    amount_minor: i64,
    balance_minor: i64,
    reference: String,
    entry_id: String,
}

enum StatementWriter {
    Json(Vec<StatementLine>),
    Csv(Csv),
    Table { table: Table, lines: u64 },
}

impl StatementWriter {
    fn start(global: &Global, options: &Statement) -> Result<Self, Failure> {
        if global.json {
            return Ok(Self::Json(Vec::new()));
        }
        if options.csv {
            return Ok(Self::Csv(Csv::start(&[
                "booked",
                "value_date",
                "address",
                "currency",
                "amount_minor",
                "balance_minor",
                "reference",
                "entry_id",
            ])?));
        }
        let table = Table::new(&[
            ("BOOKED (UTC)", Align::Left),
            ("VALUE DATE", Align::Left),
            ("ADDRESS", Align::Left),
            ("REFERENCE", Align::Left),
            ("AMOUNT", Align::Right),
            ("BALANCE", Align::Right),
            ("", Align::Left),
        ]);
        Ok(Self::Table { table, lines: 0 })
    }

    fn posting(&mut self, posting: v1::Posting) -> Result<(), Failure> {
        let booked = time::text(posting.booked_us);
        match self {
            Self::Json(lines) => lines.push(StatementLine {
                booked,
                booked_us: posting.booked_us,
                value_date: posting.value_date,
                address: posting.address,
                currency: posting.currency,
                amount_minor: posting.amount_minor,
                balance_minor: posting.balance_minor,
                reference: posting.reference,
                entry_id: posting.entry_id,
            }),
            Self::Csv(csv) => csv.row(&[
                &booked,
                &posting.value_date,
                &posting.address,
                &posting.currency,
                &posting.amount_minor.to_string(),
                &posting.balance_minor.to_string(),
                &posting.reference,
                &posting.entry_id,
            ])?,
            Self::Table { table, lines } => {
                *lines += 1;
                let places = decimals(&posting.currency);
                table.row([
                    booked,
                    posting.value_date,
                    posting.address,
                    posting.reference,
                    amount(posting.amount_minor, places),
                    amount(posting.balance_minor, places),
                    posting.currency,
                ]);
            }
        }
        Ok(())
    }

    fn finish(self, account: &str) -> Result<(), Failure> {
        match self {
            Self::Json(lines) => output::json(&lines),
            Self::Csv(csv) => csv.finish(),
            Self::Table { table, lines } => {
                table.print()?;
                output::line(format!(
                    "\n{} on {account}",
                    output::count(lines, "posting", "postings")
                ))
            }
        }
    }
}
