//! The auditor finds what is wrong: every row that is changed, lost or invented.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use buffa::Message;
use bytes::Bytes;
use harness::{Bank, MONDAY_US, SECOND_US, Stored, call, id, leg, payment};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::audit::{FindingKind, Report, RowsPage, Source, check};
use lombard_ledger::rows::{self, EntryRow, Head, HoldRow, Journal, MarkerRow, ShiftRow};
use lombard_ledger::service::Failure;
use lombard_ledger::types::{DAY_US, EntryId};

/// All rows of a bank, to be tampered with. Its pages are of one row: edges are where streaming goes wrong.
#[derive(Clone, Default)]
struct Copy(BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Source for Copy {
    type Error = std::convert::Infallible;

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<String>, Self::Error> {
        let behind = self.0.keys().filter(|account| account.as_str() > after);
        Ok(behind.take(limit.min(2)).cloned().collect())
    }

    async fn rows(&self, account: &str, after_key: &[u8]) -> Result<RowsPage, Self::Error> {
        let mut behind = self.0[account]
            .iter()
            .filter(|(key, _)| key.as_slice() > after_key);
        let rows = behind
            .next()
            .map(|(key, value)| (Bytes::from(key.clone()), Bytes::from(value.clone())));
        Ok(RowsPage {
            rows: rows.into_iter().collect(),
            more: behind.next().is_some(),
            version: 1,
        })
    }
}

impl Copy {
    async fn of(bank: &Bank) -> Self {
        let stored = Stored(&bank.ledger);
        let mut copy = Self::default();
        for account in stored.accounts("", 256).await.unwrap() {
            let rows = copy.0.entry(account.clone()).or_default();
            loop {
                let after = rows.keys().next_back().cloned().unwrap_or_default();
                let page = stored.rows(&account, &after).await.unwrap();
                rows.extend(
                    page.rows
                        .iter()
                        .map(|(key, value)| (key.to_vec(), value.to_vec())),
                );
                if !page.more {
                    break;
                }
            }
        }
        copy
    }

    async fn check(&self) -> Report {
        check(self, i64::MAX, |_| {}).await.unwrap()
    }

    async fn kinds(&self) -> Vec<FindingKind> {
        let mut kinds: Vec<FindingKind> = self
            .check()
            .await
            .findings
            .first
            .iter()
            .map(|finding| finding.kind)
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    fn change<M: buffa::Message>(
        &mut self,
        account: &str,
        key: &[u8],
        change: impl FnOnce(&mut M),
    ) {
        let value = self.0.get_mut(account).unwrap().get_mut(key).unwrap();
        let mut row = M::decode_from_slice(value).unwrap();
        change(&mut row);
        *value = row.encode_to_vec();
    }

    /// Changes the account's last journal row, and links it again as a forger would.
    fn last(&mut self, account: &str, change: impl FnOnce(&mut Journal)) {
        let last = self.keys(account, b'j').pop().unwrap();
        self.change::<Journal>(account, &last, change);
        self.forge_chain(account);
    }

    fn remove(&mut self, account: &str, key: &[u8]) -> Vec<u8> {
        self.0.get_mut(account).unwrap().remove(key).unwrap()
    }

    /// Keys of the account that begin with this byte.
    fn keys(&self, account: &str, first: u8) -> Vec<Vec<u8>> {
        self.0[account]
            .keys()
            .filter(|key| key[0] == first)
            .cloned()
            .collect()
    }

    /// Writes an account's chain anew over its journal as it is now: a forger who knows how.
    fn forge_chain(&mut self, account: &str) {
        let rows = self.0.get_mut(account).unwrap();
        let mut chain = Vec::new();
        for (_, value) in rows.iter_mut().filter(|(key, _)| key[0] == b'j') {
            let mut journal = Journal::decode_from_slice(value).unwrap();
            journal.chain.clear();
            let (chained, link) = rows::chain(&chain, rows::encode(&journal));
            *value = chained;
            chain = link.to_vec();
        }
    }
}

/// A bank in which everything has happened.
async fn bank() -> Bank {
    let bank = Bank::new().await;
    bank.open("bank", &["customer/main GBP"]).await;
    bank.open("alice", &["customer/main GBP 0", "customer/held GBP 0"])
        .await;
    bank.open("bob", &["customer/main GBP 0"]).await;
    bank.open("shop", &["customer/main GBP"]).await;
    let post = async |entry: Entry| {
        let request = CreateEntryRequest {
            entry: Some(entry).into(),
            ..Default::default()
        };
        call!(bank, create_entry(CreateEntryRequest), request)
    };
    post(payment(&id(MONDAY_US, 1), "bank", "alice", 10_000))
        .await
        .unwrap();
    post(payment(&id(MONDAY_US, 2), "bank", "bob", 10_000))
        .await
        .unwrap();
    let legs = vec![leg("alice", -100), leg("bob", -200), leg("shop", 300)];
    post(Entry {
        id: id(MONDAY_US, 3),
        legs,
        ..Default::default()
    })
    .await
    .unwrap();
    let dated = Entry {
        value_date: "2025-12-31".to_owned(),
        ..payment(&id(MONDAY_US, 4), "alice", "shop", 50)
    };
    post(dated).await.unwrap();
    let legs = vec![leg("alice", -50_000), leg("bob", -1), leg("shop", 50_001)];
    post(Entry {
        id: id(MONDAY_US, 5),
        legs,
        ..Default::default()
    })
    .await
    .unwrap_err();
    for (number, expires_us) in [(10, 0), (11, MONDAY_US + DAY_US), (12, MONDAY_US + 1_000)] {
        let hold = PlaceHoldRequest {
            id: id(MONDAY_US, number),
            account: "alice".to_owned(),
            currency: "GBP".to_owned(),
            amount_minor: 1_000,
            expires_us,
            ..Default::default()
        };
        call!(bank, place_hold(PlaceHoldRequest), hold).unwrap();
    }
    bank.advance_us(2_000);
    let capture = CaptureHoldRequest {
        id: id(MONDAY_US, 13),
        account: "alice".to_owned(),
        hold_id: id(MONDAY_US, 10),
        amount_minor: 400,
        to_account: "shop".to_owned(),
        ..Default::default()
    };
    call!(bank, capture_hold(CaptureHoldRequest), capture).unwrap();
    let reverse = ReverseEntryRequest {
        id: id(MONDAY_US, 14),
        entry_id: id(MONDAY_US, 4),
        home: "alice".to_owned(),
        ..Default::default()
    };
    call!(bank, reverse_entry(ReverseEntryRequest), reverse).unwrap();
    bank
}

fn entry_id(number: u64) -> EntryId {
    EntryId::parse(&id(MONDAY_US, number)).unwrap()
}

#[tokio::test]
async fn a_right_bank_is_found_right() {
    let bank = bank().await;
    let report = bank.assert_right("a right bank").await;
    assert_eq!((report.accounts, report.entries), (4, 9));
    assert_eq!(Copy::of(&bank).await.check().await.findings.count, 0);
    // Two payments, a reservation and its entry, a dated one, a reservation that was given back,
    // three holds, an expiry, a capture, a reversal.
    assert_eq!(report.postings, 4 + 5 + 2 + 4 + 6 + 2 + 2 + 2);
}

#[tokio::test]
async fn every_row_that_is_lost_is_found() {
    let whole = Copy::of(&bank().await).await;
    let mut looked_at = 0;
    for account in ["bank", "alice", "bob", "shop"] {
        for key in whole.0[account].keys() {
            let mut copy = whole.clone();
            copy.remove(account, key);
            let findings = copy.check().await.findings;
            assert!(!findings.is_empty(), "{account} {}", key.escape_ascii());
            looked_at += 1;
        }
    }
    assert!(looked_at > 40, "{looked_at}");
}

#[tokio::test]
async fn every_byte_that_is_flipped_in_the_journal_is_found() {
    let whole = Copy::of(&bank().await).await;
    for account in ["alice", "bob"] {
        for key in whole.keys(account, b'j') {
            for place in 0..whole.0[account][&key].len() {
                let mut copy = whole.clone();
                copy.0.get_mut(account).unwrap().get_mut(&key).unwrap()[place] ^= 0x01;
                assert!(
                    !copy.check().await.findings.is_empty(),
                    "{account} {} {place}",
                    key.escape_ascii()
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_changed_is_found_and_named() {
    use FindingKind::*;
    let whole = Copy::of(&bank().await).await;
    type Tamper = fn(&mut Copy);
    let cases: &[(&str, Tamper, FindingKind)] = &[
        (
            "the last balance",
            |c| c.last("bob", |j| j.balances[0] += 1),
            BalanceWrong,
        ),
        (
            "the last number",
            |c| c.last("bob", |j| j.number += 1),
            NumberGap,
        ),
        (
            "the newest id",
            |c| {
                c.last("bob", |j| {
                    j.standing.get_or_insert_default().newest_entry_id = vec![0; 16]
                })
            },
            StateWrong,
        ),
        (
            "the count of holds",
            |c| {
                c.last("alice", |j| {
                    j.standing.get_or_insert_default().open_holds += 1
                })
            },
            HoldWrong,
        ),
        (
            "the next expiry",
            |c| {
                c.last("alice", |j| {
                    j.standing.get_or_insert_default().next_expiry_us += 1
                })
            },
            ExpiryWrong,
        ),
        (
            "an end that is cut off",
            |c| {
                let last = c.keys("bob", b'j').pop().unwrap();
                c.remove("bob", &last);
            },
            EntryWrong,
        ),
        (
            "a change of the account that is cut off",
            |c| {
                for key in c.keys("bank", b'j').into_iter().skip(1) {
                    c.remove("bank", &key);
                }
                c.change::<Head>("bank", rows::HEAD, |head| head.number = 2);
            },
            StateWrong,
        ),
        (
            "what remains of a hold",
            |c| {
                c.change::<HoldRow>("alice", &rows::hold_key(entry_id(10)), |h| {
                    h.captured_minor -= 1
                })
            },
            HoldWrong,
        ),
        (
            "the state of a hold",
            |c| c.change::<HoldRow>("alice", &rows::hold_key(entry_id(12)), |h| h.state = 1),
            HoldWrong,
        ),
        (
            "what value dating moved",
            |c| {
                let key = c.keys("alice", b'v')[0].clone();
                c.change::<ShiftRow>("alice", &key, |shift| shift.amount_minor += 1);
            },
            ValueShiftWrong,
        ),
        (
            "a leg of an entry",
            |c| {
                c.change::<EntryRow>("bank", &rows::entry_key(entry_id(1)), |e| {
                    e.legs[1].amount_minor += 1
                })
            },
            EntryUnbalanced,
        ),
        (
            "the account of a leg",
            |c| {
                c.change::<EntryRow>("bank", &rows::entry_key(entry_id(1)), |e| {
                    e.legs[1].account = "bob".to_owned()
                })
            },
            LegWrong,
        ),
        (
            "when an entry was decided",
            |c| c.change::<EntryRow>("bank", &rows::entry_key(entry_id(1)), |e| e.booked_us += 1),
            EntryWrong,
        ),
        (
            "when a leg was applied",
            |c| {
                c.change::<MarkerRow>("alice", &rows::marker_key(entry_id(1), "bank"), |m| {
                    m.booked_us += 1
                })
            },
            EntryWrong,
        ),
        (
            "what reversed an entry",
            |c| {
                c.change::<EntryRow>("alice", &rows::entry_key(entry_id(4)), |e| {
                    e.reversed_by.clear()
                })
            },
            EntryWrong,
        ),
    ];
    for (what, tamper, kind) in cases {
        let mut copy = whole.clone();
        tamper(&mut copy);
        let kinds = copy.kinds().await;
        assert!(kinds.contains(kind), "{what}: {kinds:?}");
    }
}

/// Who can write every row of an account, its chain too, still cannot make money.
#[tokio::test]
async fn a_forged_account_does_not_fit_the_others() {
    let whole = Copy::of(&bank().await).await;
    let mut copy = whole.clone();
    let first = copy.keys("alice", b'j')[1].clone();
    for key in copy.keys("alice", b'j').into_iter().skip(1) {
        copy.change::<Journal>("alice", &key, |journal| {
            journal.balances[0] += 1;
            if key == first {
                journal.postings[0].amount_minor += 1;
            }
        });
    }
    copy.forge_chain("alice");
    let report = copy.check().await;
    let kinds: Vec<FindingKind> = report
        .findings
        .first
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(
        kinds,
        [FindingKind::LegWrong, FindingKind::SumNotZero],
        "{:#?}",
        report.findings
    );
    assert!(report.findings.first[0].message.contains(&id(MONDAY_US, 1)));
}

/// An entry that is on its way is no defect: it is counted, and the sums say what it still moves.
#[tokio::test]
async fn what_is_on_its_way_is_counted_and_not_found() {
    let whole = Copy::of(&bank().await).await;
    let mut copy = whole.clone();
    // As if the process had died before the leg of the last payment to the shop was applied.
    let last = copy.keys("shop", b'j').pop().unwrap();
    let value = copy.remove("shop", &last);
    let journal = Journal::decode_from_slice(&value).unwrap();
    let entry = EntryId::from_slice(&journal.entry_id).unwrap();
    copy.remove("shop", &rows::marker_key(entry, &journal.home));
    let report = copy.check().await;
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.in_flight, 1);
    assert_eq!(
        report.sums.values().sum::<i128>(),
        -i128::from(journal.postings[0].amount_minor)
    );
}

/// A bank that goes on while it is checked: when its accounts are looked at for the second
/// time, between the first two pages of alice's, what was on its way to bob arrives, and more
/// is paid.
struct GoesOn<'a> {
    bank: &'a Bank,
    walks: AtomicU64,
}

/// So many entries are on their way, and so many are paid meanwhile, that some of these share
/// a bucket with some of those.
const LEFT: u64 = 3_000;
const PAID: u64 = 200;

impl Source for GoesOn<'_> {
    type Error = Failure;

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<String>, Failure> {
        Stored(&self.bank.ledger).accounts(after, limit).await
    }

    async fn rows(&self, account: &str, after_key: &[u8]) -> Result<RowsPage, Failure> {
        let page = Stored(&self.bank.ledger).rows(account, after_key).await?;
        let begins = account == "alice" && after_key.is_empty();
        if begins && self.walks.fetch_add(1, Ordering::Relaxed) == 1 {
            self.bank.pass().await.unwrap();
            for number in LEFT + 1..=LEFT + PAID {
                let request = CreateEntryRequest {
                    entry: Some(payment(&id(MONDAY_US, number), "alice", "bob", 7)).into(),
                    ..Default::default()
                };
                call!(self.bank, create_entry(CreateEntryRequest), request).unwrap();
            }
        }
        Ok(page)
    }
}

#[tokio::test]
async fn a_bank_that_goes_on_while_it_is_checked_is_not_called_wrong() {
    let mut bank = Bank::new().await;
    for account in ["alice", "bob"] {
        bank.open(account, &["customer/main GBP"]).await;
    }
    for number in 1..=LEFT {
        bank.decide_only(number, "alice", "bob", 100).await;
    }
    // The next process has not begun to carry them.
    bank.crash().await;
    bank.advance_us(SECOND_US);
    let cutoff_us = bank.now_us();
    bank.advance_us(SECOND_US);
    let goes_on = GoesOn {
        bank: &bank,
        walks: AtomicU64::new(0),
    };
    let report = check(&goes_on, cutoff_us, |_| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.entries, LEFT);
    let report = bank.assert_right("after all").await;
    assert_eq!(report.entries, LEFT + PAID);
}
