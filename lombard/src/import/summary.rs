//! What came of an import, for people and for programs.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::berka::{CURRENCY, Direction, Transaction};
use super::file::Checked;
use super::order::Journal;
use super::send::Sent;
use crate::failure::Failure;
use crate::output::{self, amount, count, grouped};

/// Of the currency of the data set.
const DECIMALS: u32 = 2;

/// What came of an import. Its JSON is what programs rely on.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// The file.
    pub file: String,
    /// Lines that are transactions.
    pub transactions: u64,
    /// Lines that are not, and were left out.
    pub lines_broken: u64,
    /// Transactions without an amount.
    pub without_amount: u64,
    /// Customers' accounts in the file.
    pub accounts: u64,
    /// Of these, those that were not in the ledger before.
    pub accounts_new: u64,
    /// Accounts of the bank that took part.
    pub bank_accounts: u64,
    /// Of these, those that were not in the ledger before.
    pub bank_accounts_new: u64,
    /// Entries in the ledger now because of this run.
    pub entries_new: u64,
    /// Entries that were there already.
    pub entries_already_there: u64,
    /// Entries that the ledger did not take.
    pub entries_refused: u64,
    /// The currency of all amounts.
    pub currency: &'static str,
    /// What was paid to customers, by the file.
    pub credits_minor: i64,
    /// What was taken from customers, by the file.
    pub debits_minor: i64,
    /// Customers' accounts whose balance in the ledger is the exact sum of the file's amounts.
    pub accounts_as_in_file: u64,
    /// Customers' accounts whose exact sum is the balance that the bank recorded.
    pub accounts_as_recorded: u64,
    /// The greatest distance between our exact balance and the bank's recorded one.
    pub distance_max_minor: i64,
    /// The account where that is.
    pub distance_max_account: String,
    /// The sum of all distances, without their signs.
    pub distance_total_minor: i64,
    /// The first line whose date is before that of the line before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_line_out_of_order: Option<u64>,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    /// Nothing is in yet.
    pub fn begin(file: &Path, checked: &Checked) -> Self {
        Self {
            file: file.display().to_string(),
            lines_broken: checked.broken_count,
            first_line_out_of_order: checked.out_of_order,
            currency: CURRENCY,
            ..Self::default()
        }
    }

    /// Counts a transaction.
    pub fn transaction(&mut self, transaction: &Transaction) {
        self.transactions += 1;
        let sum = match transaction.direction {
            Direction::In => &mut self.credits_minor,
            Direction::Out => &mut self.debits_minor,
        };
        *sum = sum.saturating_add(transaction.amount_minor);
    }

    /// Takes over what came of the entries.
    pub fn sent(&mut self, sent: &Sent) {
        self.without_amount = sent.empty;
        self.accounts_new = sent.customer_accounts_new;
        self.bank_accounts = sent.bank_accounts;
        self.bank_accounts_new = sent.bank_accounts_new;
        self.entries_new = sent.new;
        self.entries_already_there = sent.already;
        self.entries_refused = sent.refused_count;
    }

    /// Compares the file's sums with the recorded balances, and with what the ledger holds.
    pub fn balances(&mut self, journal: &Journal, held: &HashMap<u64, i64>) {
        for (account_id, running) in journal.accounts() {
            self.accounts += 1;
            if held.get(&account_id) == Some(&running.exact_minor) {
                self.accounts_as_in_file += 1;
            }
            let distance = running.distance_minor().saturating_abs();
            if distance == 0 {
                self.accounts_as_recorded += 1;
            }
            if distance > self.distance_max_minor {
                self.distance_max_minor = distance;
                self.distance_max_account = format!("berka-{account_id}");
            }
            self.distance_total_minor = self.distance_total_minor.saturating_add(distance);
        }
    }

    /// For a person.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn print(&self) -> Result<(), Failure> {
        let money = |minor| format!("{} {CURRENCY}", amount(minor, DECIMALS));
        let total = self.entries_new + self.entries_already_there;
        output::line(format!(
            "{} from {} in {:.2} s",
            count(total, "entry", "entries"),
            self.file,
            self.seconds
        ))?;
        let news = if self.entries_new == 0 && self.entries_refused == 0 && total > 0 {
            "nothing new: all of it was there already".to_owned()
        } else {
            format!(
                "{} new, {} there already",
                grouped(self.entries_new),
                grouped(self.entries_already_there)
            )
        };
        output::line(format!("  entries    {news}"))?;
        if self.entries_refused > 0 {
            output::line(format!(
                "             {} refused",
                grouped(self.entries_refused)
            ))?;
        }
        if self.lines_broken > 0 {
            output::line(format!(
                "             {} left out",
                count(self.lines_broken, "broken line", "broken lines")
            ))?;
        }
        if self.without_amount > 0 {
            output::line(format!(
                "             {} without an amount, nothing to book",
                grouped(self.without_amount)
            ))?;
        }
        output::line(format!(
            "  accounts   {} of customers ({} new), {} of the bank ({} new)",
            grouped(self.accounts),
            grouped(self.accounts_new),
            grouped(self.bank_accounts),
            grouped(self.bank_accounts_new)
        ))?;
        output::line(format!(
            "  sums       {} in, {} out, {} left with customers",
            money(self.credits_minor),
            money(self.debits_minor),
            money(self.credits_minor.saturating_sub(self.debits_minor))
        ))?;
        let as_in_file = if self.accounts_as_in_file == self.accounts {
            "every account holds in the ledger exactly what the file's amounts add up to".to_owned()
        } else {
            format!(
                "{} of {} accounts hold exactly what the file's amounts add up to; the others have other entries too, or miss refused ones",
                grouped(self.accounts_as_in_file),
                grouped(self.accounts)
            )
        };
        output::line(format!("  balances   {as_in_file}"))?;
        let furthest = if self.distance_max_minor == 0 {
            String::new()
        } else {
            format!(
                ", {} at most (on {})",
                money(self.distance_max_minor),
                self.distance_max_account
            )
        };
        output::line(format!(
            "  recorded   distance to the balances that the bank recorded: none for {} of {} accounts{furthest}",
            grouped(self.accounts_as_recorded),
            grouped(self.accounts)
        ))?;
        if let Some(line) = self.first_line_out_of_order {
            output::note(format!(
                "note: line {line} is of an earlier day than the line before it; distances to recorded balances suppose days in order"
            ))
        }
        Ok(())
    }
}
