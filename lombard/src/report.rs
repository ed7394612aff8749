//! `lombard report`: what accountants ask for.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use lombard_contracts::bank::ledger::v1;
use lombard_money::Currency;
use serde::Serialize;

use crate::Global;
use crate::bank::{Bank, Ledger};
use crate::failure::Failure;
use crate::output::{self, Align, Table, amount};

/// Accounts or postings in one call.
const PAGE_SIZE: u32 = 1_000;
/// The account that a line of money in flight is shown under.
const IN_FLIGHT: &str = "in-flight";

/// What accountants ask for.
#[derive(Debug, clap::Subcommand)]
pub enum Report {
    /// Every account and address with its balance; sums to zero
    TrialBalance(TrialBalance),
    /// What happened on an account, with the running balance
    Statement(Statement),
}

/// Every account and address with its balance.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lombard report trial-balance
  lombard report trial-balance --as-of 2026-01-31T12:00:00Z
  lombard report trial-balance --value-date 1993-06-30 --csv

--as-of goes by when entries were booked, --value-date by the day from which the
money counts. As of a moment, money that had left one account and not yet
reached the other is a line of its own: in-flight.")]
pub struct TrialBalance {
    /// As of this moment: RFC 3339, or a day (its end, UTC), or `now`
    #[arg(long, value_name = "TIME", conflicts_with = "value_date")]
    pub as_of: Option<String>,
    /// By value date, up to and with this day (YYYY-MM-DD)
    #[arg(long, value_name = "DAY")]
    pub value_date: Option<Date>,
    /// Comma-separated values
    #[arg(long)]
    pub csv: bool,
    /// Leave out addresses whose balance is zero
    #[arg(long)]
    pub nonzero: bool,
}

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
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Booked before this moment
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
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
/// A time that cannot be read, no ledger, no such account, or a trial balance that does not balance.
pub async fn run(global: &Global, report: Report) -> Result<(), Failure> {
    let bank = Bank::reach(global, &["ledger"]).await?;
    let done = match &report {
        Report::TrialBalance(options) => trial_balance(global, options, &bank).await,
        Report::Statement(options) => statement(global, options, &bank).await,
    };
    bank.leave().await;
    done
}

/// One line of a trial balance, as programs get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    account: String,
    address: String,
    currency: String,
    balance_minor: i64,
}

async fn trial_balance(
    global: &Global,
    options: &TrialBalance,
    bank: &Bank,
) -> Result<(), Failure> {
    let now_us = bank.host().now_us();
    let as_of_us = match &options.as_of {
        None => 0,
        Some(text) if text == "now" => now_us,
        Some(text) => moment(text, DayEnd::Last)?,
    };
    let value_date = options.value_date.map(|day| day.to_string());
    let ledger = bank.ledger()?;
    let mut balances = Balances::read(&ledger, as_of_us, value_date.as_deref()).await?;
    let mut as_of_us = as_of_us;
    if as_of_us == 0 && value_date.is_none() && !balances.in_flight().is_empty() {
        // Money moved while the pages were read. As of one moment they fit together.
        as_of_us = bank.host().now_us();
        balances = Balances::read(&ledger, as_of_us, None).await?;
    }
    let mut lines = balances.lines.clone();
    if options.nonzero {
        lines.retain(|line| line.balance_minor != 0);
    }
    lines.extend(balances.in_flight());
    if global.json {
        return output::json(&lines);
    }
    if options.csv {
        let mut csv = Csv::start(&["account", "address", "currency", "balance_minor"])?;
        for line in &lines {
            csv.row(&[
                &line.account,
                &line.address,
                &line.currency,
                &line.balance_minor.to_string(),
            ])?;
        }
        return csv.finish();
    }
    let mut table = Table::new(&[
        ("ACCOUNT", Align::Left),
        ("ADDRESS", Align::Left),
        ("CURRENCY", Align::Left),
        ("BALANCE", Align::Right),
    ]);
    for line in &lines {
        let text = amount(line.balance_minor, decimals(&line.currency));
        table.row([
            line.account.clone(),
            line.address.clone(),
            line.currency.clone(),
            text,
        ]);
    }
    table.print()?;
    balances.tell(as_of_us, value_date.as_deref())
}

/// All balances of the ledger, and what they add up to.
struct Balances {
    lines: Vec<Line>,
    /// By legal entity and currency.
    sums: BTreeMap<(String, String), Sum>,
    accounts: u64,
}

#[derive(Default)]
struct Sum {
    positive: i128,
    negative: i128,
}

impl Balances {
    async fn read(
        ledger: &Ledger,
        as_of_us: i64,
        value_date: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut balances = Self {
            lines: Vec::new(),
            sums: BTreeMap::new(),
            accounts: 0,
        };
        let mut last_account = String::new();
        let mut page_token = String::new();
        loop {
            let request = v1::TrialBalanceRequest {
                page_token,
                page_size: PAGE_SIZE,
                as_of_booked_us: as_of_us,
                as_of_value_date: value_date.unwrap_or_default().to_owned(),
                ..Default::default()
            };
            let page = ledger
                .trial_balance(request)
                .await
                .map_err(refused)?
                .into_owned();
            for line in page.lines {
                if line.account != last_account {
                    balances.accounts += 1;
                    last_account.clone_from(&line.account);
                }
                let sum = balances
                    .sums
                    .entry((line.entity, line.currency.clone()))
                    .or_default();
                if line.balance_minor > 0 {
                    sum.positive += i128::from(line.balance_minor);
                } else {
                    sum.negative += i128::from(line.balance_minor);
                }
                balances.lines.push(Line {
                    account: line.account,
                    address: line.address,
                    currency: line.currency,
                    balance_minor: line.balance_minor,
                });
            }
            if page.next_page_token.is_empty() {
                return Ok(balances);
            }
            page_token = page.next_page_token;
        }
    }

    /// What had left one account and not yet reached the other, by entity and currency.
    fn in_flight(&self) -> Vec<Line> {
        self.sums
            .iter()
            .filter(|(_, sum)| sum.positive + sum.negative != 0)
            .map(|((entity, currency), sum)| Line {
                account: IN_FLIGHT.to_owned(),
                address: format!("entity/{entity}"),
                currency: currency.clone(),
                balance_minor: i64::try_from(-(sum.positive + sum.negative)).unwrap_or(i64::MAX),
            })
            .collect()
    }

    /// The summary under the table, for people.
    fn tell(&self, as_of_us: i64, value_date: Option<&str>) -> Result<(), Failure> {
        let when = match (as_of_us, value_date) {
            (0, None) => "now".to_owned(),
            (0, Some(day)) => format!("by value date up to {day}"),
            (us, _) => format!("as of {}", time_text(us)),
        };
        output::line(format!(
            "\n{}, {when}",
            output::count(self.accounts, "account", "accounts")
        ))?;
        for ((entity, currency), sum) in &self.sums {
            let places = decimals(currency);
            let text = |wide: i128| amount(i64::try_from(wide).unwrap_or(i64::MAX), places);
            let rest = sum.positive + sum.negative;
            let balanced = if rest == 0 {
                "balanced"
            } else {
                "with what was in flight balanced"
            };
            output::line(format!(
                "  {entity}  {currency}  positive {}  negative {}  {balanced}",
                text(sum.positive),
                text(sum.negative)
            ))?;
        }
        Ok(())
    }
}

async fn statement(global: &Global, options: &Statement, bank: &Bank) -> Result<(), Failure> {
    let ledger = bank.ledger()?;
    let booked = |text: &Option<String>| {
        text.as_deref()
            .map_or(Ok(0), |text| moment(text, DayEnd::First))
    };
    let day = |day: &Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let mut request = v1::ListPostingsRequest {
        account: options.account.clone(),
        address: options.address.clone().unwrap_or_default(),
        currency: options.currency.clone().unwrap_or_default(),
        booked_from_us: booked(&options.from)?,
        booked_to_us: booked(&options.to)?,
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
        let booked = time_text(posting.booked_us);
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

/// Comma-separated values (RFC 4180) on stdout.
struct Csv(BufWriter<std::io::StdoutLock<'static>>);

impl Csv {
    fn start(columns: &[&str]) -> Result<Self, Failure> {
        let mut csv = Self(BufWriter::new(std::io::stdout().lock()));
        csv.row(columns)?;
        Ok(csv)
    }

    fn row(&mut self, cells: &[&str]) -> Result<(), Failure> {
        let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
        write!(self.0, "{}\r\n", cells.join(","))?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.0.flush()?;
        Ok(())
    }
}

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn refused(error: connectrpc::ConnectError) -> Failure {
    Failure::failed(lombard_rpc::Error::from_connect(&error).to_string())
}

/// Minor digits of a currency; what is not a currency is shown in minor units.
fn decimals(currency: &str) -> u32 {
    Currency::parse(currency).map_or(0, |currency| u32::from(currency.minor_units()))
}

/// What a day without a time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayEnd {
    /// Its first moment.
    First,
    /// Its last microsecond.
    Last,
}

/// Reads a time: RFC 3339, the same without a zone (UTC), or a day. Microseconds since the epoch.
fn moment(text: &str, day_end: DayEnd) -> Result<i64, Failure> {
    let utc = |time: DateTime| {
        time.to_zoned(TimeZone::UTC)
            .map(|zoned| zoned.timestamp().as_microsecond())
    };
    if let Ok(day) = text.parse::<Date>()
        && text.len() == "2026-01-31".len()
    {
        let time = match day_end {
            DayEnd::First => day.to_datetime(jiff::civil::Time::midnight()),
            DayEnd::Last => day.at(23, 59, 59, 999_999_000),
        };
        return utc(time).map_err(|error| Failure::usage(format!("`{text}`: {error}")));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    text.parse::<DateTime>().and_then(utc).map_err(|_| {
        Failure::usage(format!("`{text}` is not a time"))
            .advise("write it as 2026-01-31T12:00:00Z, or as a day: 2026-01-31")
    })
}

/// 2026-01-31 12:00:00.123456, UTC.
fn time_text(us: i64) -> String {
    match Timestamp::from_microsecond(us) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        Err(_) => format!("{us} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let table = [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
            ("1970-01-01T00:00:01", 1_000_000),
            ("1970-01-01 00:00:01.5", 1_500_000),
        ];
        for (text, us) in table {
            assert_eq!(moment(text, DayEnd::Last).unwrap(), us, "{text}");
        }
        assert_eq!(moment("1970-01-02", DayEnd::First).unwrap(), 86_400_000_000);
        assert_eq!(moment("1970-01-01", DayEnd::Last).unwrap(), 86_399_999_999);
        assert!(matches!(
            moment("yesterday", DayEnd::First),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(csv_cell("plain"), "plain");
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn what_is_in_flight_balances_the_rest() {
        let mut balances = Balances {
            lines: Vec::new(),
            sums: BTreeMap::new(),
            accounts: 2,
        };
        balances.sums.insert(
            ("default".to_owned(), "GBP".to_owned()),
            Sum {
                positive: 5,
                negative: -7,
            },
        );
        balances.sums.insert(
            ("default".to_owned(), "EUR".to_owned()),
            Sum {
                positive: 7,
                negative: -7,
            },
        );
        let in_flight = balances.in_flight();
        assert_eq!(in_flight.len(), 1);
        assert_eq!(
            (in_flight[0].currency.as_str(), in_flight[0].balance_minor),
            ("GBP", 2)
        );
    }
}
