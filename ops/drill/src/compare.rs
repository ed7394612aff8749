//! Everything that was acknowledged, against what the ledger holds at the end: balances,
//! and events.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{StreamExt, TryStreamExt, iter};
use lombard_consistency::collect;
use lombard_consistency::end::{AccountEnd, EventKind};
use lombard_consistency::wire::Wire;
use lombard_service::Host;
use serde::Serialize;

use crate::DrillError;
use crate::judge::Verdict;
use crate::load::{ADDRESS, Account, Book, CURRENCY};

/// Accounts that are read at the same time.
const READS_MAX: usize = 8;
/// Contradictions that are kept.
const FINDINGS_MAX: usize = 50;

/// What came of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Compared {
    /// Accounts that were compared.
    pub accounts: u64,
    /// Entries that were acknowledged, each of which has its event in each of its accounts.
    pub entries: u64,
    /// Events that were read.
    pub events: u64,
    /// Entries of which nobody knows whether they were meant to be in.
    pub in_doubt: u64,
    /// Contradictions.
    pub findings_count: u64,
    /// The first of them.
    pub findings: Vec<String>,
}

/// Reads every account of the book, and compares.
///
/// # Errors
/// An account could not be read, again and again.
pub async fn compare(
    host: &Host,
    wire: &Wire,
    address: &str,
    book: &Book,
) -> Result<Compared, DrillError> {
    let reads = book.accounts.iter().map(async |account| {
        let read = collect::read(host, wire, address, &account.id).await;
        let end = read.map_err(|error| DrillError::Ledger {
            doing: format!("reading {} at the end", account.id),
            why: error.to_string(),
        })?;
        Ok::<_, DrillError>((account, end))
    });
    let ends: Vec<(&Account, AccountEnd)> = iter(reads).buffered(READS_MAX).try_collect().await?;
    Ok(judged(book, &ends))
}

/// Compares what was read.
fn judged(book: &Book, ends: &[(&Account, AccountEnd)]) -> Compared {
    let mut of_account: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in &book.entries {
        for account in [&entry.payment.from, &entry.payment.to] {
            let entries = of_account.entry(account).or_default();
            entries.insert(&entry.payment.id);
        }
    }
    let in_doubt = book.in_doubt.iter().map(|payment| payment.id.as_str());
    let in_doubt: BTreeSet<&str> = in_doubt.collect();
    let mut compared = Compared {
        accounts: ends.len() as u64,
        entries: book.entries.len() as u64,
        in_doubt: book.in_doubt.len() as u64,
        ..Compared::default()
    };
    let none = BTreeSet::new();
    for (account, end) in ends {
        compared.events += end.events.len() as u64;
        let acknowledged = of_account.get(account.id.as_str()).unwrap_or(&none);
        for finding in of_one(account, end, acknowledged, &in_doubt) {
            compared.findings_count += 1;
            if compared.findings.len() < FINDINGS_MAX {
                compared.findings.push(finding);
            }
        }
    }
    compared
}

/// What of an account contradicts what was acknowledged.
fn of_one(
    account: &Account,
    end: &AccountEnd,
    acknowledged: &BTreeSet<&str>,
    in_doubt: &BTreeSet<&str>,
) -> Vec<String> {
    let id = &account.id;
    if let Some(why) = &end.unreadable {
        return vec![format!("{id}: it cannot be read: {why}")];
    }
    let mut findings = Vec::new();
    let ours = |address: &str, currency: &str| address == ADDRESS && currency == CURRENCY;
    let balance = end
        .balances
        .iter()
        .find(|balance| ours(&balance.address, &balance.currency))
        .map(|balance| balance.balance_minor);
    if let Verdict::Wrong(wrong) = account.standing.judge(id, balance) {
        findings.push(wrong.what);
    }
    for (event, number) in end.events.iter().zip(1..) {
        if event.number != number {
            findings.push(format!(
                "{id}: event {} stands where {number} must",
                event.number
            ));
            break;
        }
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut moved_minor = 0_i64;
    for event in &end.events {
        let postings = event.postings.iter();
        let here = postings.filter(|moved| ours(&moved.address, &moved.currency));
        moved_minor += here.map(|moved| moved.amount_minor).sum::<i64>();
        let Some(entry) = event
            .entry
            .as_deref()
            .filter(|_| event.kind == EventKind::Posted)
        else {
            continue;
        };
        if !seen.insert(entry) {
            findings.push(format!("{id}: entry {entry} has two events"));
        }
        if !acknowledged.contains(entry) && !in_doubt.contains(entry) {
            findings.push(format!(
                "{id}: an event of entry {entry}, which nobody acknowledged"
            ));
        }
    }
    for entry in acknowledged.iter().filter(|entry| !seen.contains(**entry)) {
        findings.push(format!(
            "{id}: entry {entry} was acknowledged and has no event"
        ));
    }
    if balance.is_some_and(|balance| balance != moved_minor) {
        findings.push(format!(
            "{id}: its events move {moved_minor}, its balance is {balance:?}"
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use lombard_consistency::end::{Event, Moved};
    use lombard_consistency::history::{Balance, Posted};

    use super::*;
    use crate::judge::Standing;
    use crate::load::{Acknowledged, Payment};

    fn account(id: &str, acknowledged_minor: i64) -> Account {
        Account {
            id: id.to_owned(),
            opened_us: 1,
            standing: Standing {
                acknowledged_minor,
                in_doubt_minor: None,
            },
        }
    }

    fn entry(id: &str) -> Acknowledged {
        Acknowledged {
            payment: Payment {
                id: id.to_owned(),
                from: "a".to_owned(),
                to: "b".to_owned(),
                amount_minor: 7,
                asked_us: 1,
            },
            first: Posted {
                home: "a".to_owned(),
                booked_us: 1,
                legs: Vec::new(),
                replayed: false,
            },
            acknowledged_us: 2,
            phase: None,
        }
    }

    fn event(number: u64, entry: Option<&str>, amount_minor: i64) -> Event {
        Event {
            number,
            kind: if entry.is_some() {
                EventKind::Posted
            } else {
                EventKind::Other
            },
            name: "E".to_owned(),
            booked_us: 1,
            entry: entry.map(str::to_owned),
            home: "a".to_owned(),
            hold: None,
            postings: entry
                .map(|_| Moved {
                    address: ADDRESS.to_owned(),
                    currency: CURRENCY.to_owned(),
                    amount_minor,
                    balance_minor: 0,
                })
                .into_iter()
                .collect(),
            balances: Vec::new(),
        }
    }

    fn end(id: &str, balance_minor: i64, events: Vec<Event>) -> AccountEnd {
        AccountEnd {
            account: id.to_owned(),
            event_number: events.len() as u64,
            events,
            balances: vec![Balance {
                address: ADDRESS.to_owned(),
                currency: CURRENCY.to_owned(),
                balance_minor,
            }],
            ..AccountEnd::default()
        }
    }

    fn findings(acknowledged_minor: i64, entries: &[&str], end: AccountEnd) -> Vec<String> {
        let book = Book {
            accounts: vec![account("a", acknowledged_minor)],
            entries: entries.iter().map(|id| entry(id)).collect(),
            in_doubt: Vec::new(),
        };
        judged(&book, &[(&book.accounts[0], end)]).findings
    }

    #[test]
    fn what_was_acknowledged_is_there_once_with_its_event() {
        let opened = || event(1, None, 0);
        let right = end("a", -7, vec![opened(), event(2, Some("e"), -7)]);
        assert_eq!(findings(-7, &["e"], right.clone()), [""; 0]);
        // A lost entry: no event, another balance.
        let lost = findings(-7, &["e"], end("a", 0, vec![opened()]));
        assert_eq!(lost.len(), 2, "{lost:?}");
        assert!(lost[1].contains("has no event"), "{lost:?}");
        // One that nobody was told of.
        let invented = findings(0, &[], right.clone());
        assert!(
            invented.iter().any(|text| text.contains("nobody")),
            "{invented:?}"
        );
        let twice = vec![opened(), event(2, Some("e"), -7), event(3, Some("e"), -7)];
        let twice = findings(-14, &["e"], end("a", -14, twice));
        assert_eq!(twice, ["a: entry e has two events"]);
        let gap = vec![opened(), event(3, Some("e"), -7)];
        let gap = findings(-7, &["e"], end("a", -7, gap));
        assert_eq!(gap, ["a: event 3 stands where 2 must"]);
        // A balance that does not follow from the events.
        let other = findings(-8, &["e"], end("a", -8, right.events.clone()));
        assert_eq!(other.len(), 1, "{other:?}");
        let gone = AccountEnd {
            unreadable: Some("ACCOUNT_NOT_FOUND".to_owned()),
            ..AccountEnd::default()
        };
        assert_eq!(findings(0, &["e"], gone).len(), 1);
    }

    #[test]
    fn what_is_in_doubt_may_be_there_or_not() {
        let mut book = Book {
            accounts: vec![account("a", 0)],
            entries: Vec::new(),
            in_doubt: vec![entry("e").payment],
        };
        book.accounts[0].standing.in_doubt_minor = Some(-7);
        for (balance, events) in [
            (0, vec![event(1, None, 0)]),
            (-7, vec![event(1, None, 0), event(2, Some("e"), -7)]),
        ] {
            let end = end("a", balance, events);
            let compared = judged(&book, &[(&book.accounts[0], end)]);
            assert_eq!(compared.findings, [""; 0]);
            assert_eq!((compared.in_doubt, compared.accounts), (1, 1));
        }
    }
}
