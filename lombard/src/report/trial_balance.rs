//! `lombard report trial-balance`: every account and address with its balance.

use std::collections::BTreeMap;

use jiff::civil::Date;
use lombard_contracts::bank::ledger::v1;
use serde::Serialize;

use super::csv::Csv;
use super::time::{self, AsOf};
use super::{PAGE_SIZE, decimals, refused};
use crate::Global;
use crate::bank::{Bank, Ledger};
use crate::failure::Failure;
use crate::output::{self, Align, Table, amount};

/// The account that a line of money in flight is shown under.
const IN_FLIGHT: &str = "in-flight";

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
    #[arg(long, value_name = "TIME", conflicts_with = "value_date", value_parser = time::as_of)]
    pub as_of: Option<AsOf>,
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

/// One line of a trial balance, as programs get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    account: String,
    address: String,
    currency: String,
    balance_minor: i64,
}

/// Runs the command.
///
/// # Errors
/// The ledger cannot be read.
pub async fn run(global: &Global, options: &TrialBalance, bank: &Bank) -> Result<(), Failure> {
    let as_of_us = match options.as_of {
        None => 0,
        Some(AsOf::Now) => bank.host().now_us(),
        Some(AsOf::Moment(us)) => us,
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
            (us, _) => format!("as of {}", time::text(us)),
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

#[cfg(test)]
mod tests {
    use super::*;

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
