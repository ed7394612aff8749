//! The order in which a day's balances run, and how far the bank's recorded
//! balances are from the exact sums.
//!
//! Within one day the journal is not always in the order in which the bank
//! booked. Each line carries the balance after it, so the order can be found
//! again: what comes next is the line whose recorded balance is nearest to the
//! balance so far plus its own amount. Nearest and not equal, because the bank
//! rounded interest.

use std::collections::HashMap;

use super::berka::Transaction;

/// What is known of an account so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Running {
    /// The exact sum of the amounts read, in minor units.
    pub exact_minor: i64,
    /// The balance that the bank recorded after the last of them.
    pub recorded_minor: i64,
    /// How many were read.
    pub transactions: u64,
}

impl Running {
    /// Our exact balance less the bank's recorded one.
    pub fn distance_minor(&self) -> i64 {
        self.exact_minor.saturating_sub(self.recorded_minor)
    }
}

/// Follows all accounts through a journal, a day at a time.
#[derive(Debug, Default)]
pub struct Journal {
    accounts: HashMap<u64, Running>,
}

impl Journal {
    /// Puts the transactions of one day into the order in which the balances of
    /// each account run, and moves the accounts on. Accounts stay in the order of
    /// their first line of the day.
    pub fn day(&mut self, transactions: Vec<Transaction>) -> Vec<Transaction> {
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut groups: Vec<Vec<Transaction>> = Vec::new();
        for transaction in transactions {
            let place = *places.entry(transaction.account_id).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(transaction);
        }
        let mut ordered = Vec::new();
        for mut group in groups {
            let Some(account_id) = group.first().map(|first| first.account_id) else {
                continue;
            };
            let running = self.accounts.entry(account_id).or_default();
            while !group.is_empty() {
                let before = running.recorded_minor;
                let next = group
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, transaction)| {
                        let expected = i128::from(before) + i128::from(transaction.signed_minor());
                        (expected - i128::from(transaction.balance_minor)).abs()
                    })
                    .map_or(0, |(place, _)| place);
                let transaction = group.remove(next);
                running.exact_minor = running
                    .exact_minor
                    .saturating_add(transaction.signed_minor());
                running.recorded_minor = transaction.balance_minor;
                running.transactions += 1;
                ordered.push(transaction);
            }
        }
        ordered
    }

    /// All accounts by their id, in its order.
    pub fn accounts(&self) -> Vec<(u64, Running)> {
        let mut all: Vec<(u64, Running)> = self
            .accounts
            .iter()
            .map(|(id, running)| (*id, *running))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::berka::{Line, parse_line};
    use super::*;

    fn lines(text: &str) -> Vec<Transaction> {
        text.lines()
            .zip(2..)
            .map(
                |(line, number)| match parse_line(number, line.as_bytes()).unwrap() {
                    Line::Transaction(transaction) => transaction,
                    Line::Nothing => panic!("no transaction"),
                },
            )
            .collect()
    }

    #[test]
    fn a_day_is_put_into_the_order_in_which_its_balances_run() {
        let mut journal = Journal::default();
        let ordered = journal.day(lines(concat!(
            "3;1;930101;\"VYDAJ\";\"VYBER\";50.00;60.10;\"\";;\n",
            "8;2;930101;\"PRIJEM\";\"VKLAD\";5.00;5.00;\"\";;\n",
            "2;1;930101;\"PRIJEM\";\"\";10.00;110.10;\"UROK\";;\n",
            "1;1;930101;\"PRIJEM\";\"VKLAD\";100.00;100.00;\"\";;\n",
        )));
        let ids: Vec<u64> = ordered
            .iter()
            .map(|transaction| transaction.trans_id)
            .collect();
        assert_eq!(ids, [1, 2, 3, 8]);
        let accounts = journal.accounts();
        assert_eq!(accounts[0].1.exact_minor, 6_000);
        assert_eq!(accounts[0].1.recorded_minor, 6_010);
        assert_eq!(accounts[0].1.distance_minor(), -10);
        assert_eq!(accounts[1].1.distance_minor(), 0);
    }

    #[test]
    fn the_public_journal_is_within_thirty_hellers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/data/berka/trans.asc"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: the public data set is not beside the checkout");
            return;
        };
        let mut journal = Journal::default();
        let mut day: Vec<Transaction> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if let Line::Transaction(transaction) = parse_line(number, line.as_bytes()).unwrap() {
                if day
                    .first()
                    .is_some_and(|first| first.date != transaction.date)
                {
                    journal.day(std::mem::take(&mut day));
                }
                day.push(transaction);
            }
        }
        journal.day(day);
        let accounts = journal.accounts();
        let exact = accounts
            .iter()
            .filter(|(_, running)| running.distance_minor() == 0)
            .count();
        let furthest = accounts
            .iter()
            .map(|(_, running)| running.distance_minor().abs())
            .max();
        assert_eq!((accounts.len(), exact, furthest), (858, 577, Some(30)));
    }
}
