//! Balances as of any moment on both axes, against adding up what was answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::{Bank, SECOND_US, call, id, leg_on};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::types::{DAY_US, day_of, end_of_day_us, parse_day, print_day};
use proptest::prelude::*;

const ACCOUNTS: [&str; 3] = ["alice", "bob", "bank"];
const ADDRESSES: [&str; 3] = ["customer/main", "customer/held", "customer/pot:x"];

#[derive(Debug, Clone)]
enum Step {
    Pay {
        from: usize,
        to: usize,
        from_address: usize,
        amount: i64,
        value_days: Option<i32>,
    },
    Hold {
        account: usize,
        amount: i64,
        expires_seconds: i64,
    },
    Capture {
        hold: usize,
        amount: i64,
        last: bool,
    },
    Release {
        hold: usize,
    },
    Wait {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let account = 0..ACCOUNTS.len();
    let seconds = prop_oneof![1..5_000_i64, 50_000..400_000_i64, 2_000_000..4_000_000_i64];
    let value_days = prop_oneof![2 => Just(None), 3 => (-400..60_i32).prop_map(Some), 1 => (-3..3_i32).prop_map(Some)];
    prop_oneof![
        4 => (account.clone(), account.clone(), 0..ADDRESSES.len(), 1..1_000_i64, value_days)
            .prop_map(|(from, to, from_address, amount, value_days)| Step::Pay { from, to, from_address, amount, value_days }),
        2 => (account, 1..1_000_i64, seconds.clone())
            .prop_map(|(account, amount, expires_seconds)| Step::Hold { account, amount, expires_seconds }),
        1 => (0..8_usize, 1..1_000_i64, any::<bool>()).prop_map(|(hold, amount, last)| Step::Capture { hold, amount, last }),
        1 => (0..8_usize).prop_map(|hold| Step::Release { hold }),
        3 => seconds.prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What was moved: where, how much, when it was booked, from which day it counts.
#[derive(Debug, Clone)]
struct Moved {
    account: String,
    address: String,
    amount: i64,
    booked_us: i64,
    value_day: i32,
}

#[derive(Debug, Clone)]
struct Held {
    id: String,
    account: String,
    remaining: i64,
    expires_us: i64,
}

/// Adds up what it was told: nothing else.
#[derive(Default)]
struct Naive {
    moved: Vec<Moved>,
    holds: Vec<Held>,
}

impl Naive {
    fn answered(&mut self, result: &EntryResult) {
        let value_day = parse_day(&result.value_date).unwrap();
        for outcome in &result.legs {
            self.moved.push(Moved {
                account: outcome.leg.account.clone(),
                address: outcome.leg.address.clone(),
                amount: outcome.leg.amount_minor,
                booked_us: outcome.booked_us,
                value_day,
            });
        }
    }

    fn expire(&mut self, now_us: i64) {
        for hold in self
            .holds
            .iter_mut()
            .filter(|hold| hold.remaining > 0 && hold.expires_us <= now_us)
        {
            for (address, amount) in [
                ("customer/held", -hold.remaining),
                ("customer/main", hold.remaining),
            ] {
                self.moved.push(Moved {
                    account: hold.account.clone(),
                    address: address.to_owned(),
                    amount,
                    booked_us: hold.expires_us,
                    value_day: day_of(hold.expires_us),
                });
            }
            hold.remaining = 0;
        }
    }

    fn sums(&self, account: &str, counts: impl Fn(&Moved) -> bool) -> BTreeMap<String, i64> {
        let mut sums: BTreeMap<String, i64> = ADDRESSES
            .iter()
            .map(|address| ((*address).to_owned(), 0))
            .collect();
        for moved in self
            .moved
            .iter()
            .filter(|moved| moved.account == account && counts(moved))
        {
            *sums.get_mut(&moved.address).unwrap() += moved.amount;
        }
        sums
    }
}

async fn run(steps: &[Step]) -> (Bank, Naive) {
    let bank = Bank::new().await;
    for account in ACCOUNTS {
        bank.open(
            account,
            &ADDRESSES
                .map(|address| format!("{address} GBP"))
                .each_ref()
                .map(String::as_str),
        )
        .await;
    }
    let mut naive = Naive::default();
    for (number, step) in steps.iter().enumerate() {
        // Steps lie apart, and expiries (on a second) never fall onto a booked moment.
        bank.advance_us(1_001);
        naive.expire(bank.now_us());
        let id = id(bank.now_us(), number as u64);
        match step {
            Step::Wait { seconds } => bank.advance_us(seconds * SECOND_US),
            Step::Pay {
                from,
                to,
                from_address,
                amount,
                value_days,
            } => {
                let value_day = value_days.map(|days| day_of(bank.now_us()) + days);
                let entry = Entry {
                    id,
                    legs: vec![
                        leg_on(ACCOUNTS[*from], ADDRESSES[*from_address], "GBP", -amount),
                        leg_on(ACCOUNTS[*to], "", "GBP", *amount),
                    ],
                    value_date: value_day.map(print_day).unwrap_or_default(),
                    ..Default::default()
                };
                let request = CreateEntryRequest {
                    entry: Some(entry).into(),
                    ..Default::default()
                };
                let answer = call!(bank, create_entry(CreateEntryRequest), request).unwrap();
                naive.answered(&answer.result);
            }
            Step::Hold {
                account,
                amount,
                expires_seconds,
            } => {
                let expires_us = (bank.now_us() / SECOND_US + expires_seconds + 1) * SECOND_US;
                let request = PlaceHoldRequest {
                    id: id.clone(),
                    account: ACCOUNTS[*account].to_owned(),
                    currency: "GBP".to_owned(),
                    amount_minor: *amount,
                    expires_us,
                    ..Default::default()
                };
                let answer = call!(bank, place_hold(PlaceHoldRequest), request).unwrap();
                naive.answered(&answer.result);
                naive.holds.push(Held {
                    id,
                    account: ACCOUNTS[*account].to_owned(),
                    remaining: *amount,
                    expires_us,
                });
            }
            Step::Capture { hold, amount, last } => {
                let Some(held) = naive
                    .holds
                    .get_mut(*hold)
                    .filter(|held| held.remaining >= *amount)
                else {
                    continue;
                };
                let request = CaptureHoldRequest {
                    id,
                    account: held.account.clone(),
                    hold_id: held.id.clone(),
                    amount_minor: *amount,
                    to_account: "bank".to_owned(),
                    r#final: *last,
                    ..Default::default()
                };
                held.remaining = if *last { 0 } else { held.remaining - amount };
                let answer = call!(bank, capture_hold(CaptureHoldRequest), request).unwrap();
                naive.answered(&answer.result);
            }
            Step::Release { hold } => {
                let Some(held) = naive.holds.get_mut(*hold).filter(|held| held.remaining > 0)
                else {
                    continue;
                };
                let request = ReleaseHoldRequest {
                    id,
                    account: held.account.clone(),
                    hold_id: held.id.clone(),
                    ..Default::default()
                };
                held.remaining = 0;
                let answer = call!(bank, release_hold(ReleaseHoldRequest), request).unwrap();
                naive.answered(&answer.result);
            }
        }
    }
    naive.expire(bank.now_us());
    (bank, naive)
}

async fn told(bank: &Bank, request: GetBalancesRequest) -> BTreeMap<String, i64> {
    let answer = call!(bank, get_balances(GetBalancesRequest), request).unwrap();
    answer
        .balances
        .into_iter()
        .map(|balance| (balance.address, balance.balance_minor))
        .collect()
}

async fn compare(steps: &[Step]) {
    let (bank, naive) = run(steps).await;
    let moments: BTreeSet<i64> = naive
        .moved
        .iter()
        .flat_map(|moved| [moved.booked_us - 1, moved.booked_us])
        .collect();
    let days: BTreeSet<i32> = naive
        .moved
        .iter()
        .flat_map(|moved| {
            [
                moved.value_day - 1,
                moved.value_day,
                day_of(moved.booked_us),
                day_of(moved.booked_us) + 1,
            ]
        })
        .collect();
    for account in ACCOUNTS {
        let request = || GetBalancesRequest {
            account: account.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            told(&bank, request()).await,
            naive.sums(account, |_| true),
            "{account} now"
        );
        for moment in &moments {
            let as_of = GetBalancesRequest {
                as_of_booked_us: *moment,
                ..request()
            };
            let expected = naive.sums(account, |moved| moved.booked_us <= *moment);
            assert_eq!(
                told(&bank, as_of).await,
                expected,
                "{account} as of {moment}"
            );
        }
        for day in &days {
            let as_of = GetBalancesRequest {
                as_of_value_date: print_day(*day),
                ..request()
            };
            let expected = naive.sums(account, |moved| moved.value_day <= *day);
            assert_eq!(
                told(&bank, as_of).await,
                expected,
                "{account} on value {}",
                print_day(*day)
            );
        }
        // The statement is the same story: its running balances add up, filters leave out what they say.
        let statement = postings(
            &bank,
            ListPostingsRequest {
                account: account.to_owned(),
                ..Default::default()
            },
        )
        .await;
        assert_eq!(
            statement.len(),
            naive
                .moved
                .iter()
                .filter(|moved| moved.account == account)
                .count()
        );
        let mut running: BTreeMap<String, i64> = BTreeMap::new();
        for posting in &statement {
            let balance = running.entry(posting.address.clone()).or_default();
            *balance += posting.amount_minor;
            assert_eq!(posting.balance_minor, *balance);
        }
        let (Some(from), Some(to)) = (days.first(), days.last()) else {
            continue;
        };
        let middle = from + (to - from) / 2;
        let filtered = ListPostingsRequest {
            account: account.to_owned(),
            address: "customer/main".to_owned(),
            value_from: print_day(*from),
            value_to: print_day(middle),
            booked_to_us: end_of_day_us(middle) + 400 * DAY_US,
            descending: true,
            ..Default::default()
        };
        let mut expected: Vec<Posting> = statement;
        expected.retain(|posting| {
            let day = parse_day(&posting.value_date).unwrap();
            posting.address == "customer/main"
                && (*from..middle).contains(&day)
                && posting.booked_us < end_of_day_us(middle) + 400 * DAY_US
        });
        expected.reverse();
        assert_eq!(postings(&bank, filtered).await, expected);
    }
    bank.assert_right("as of any moment").await;
}

/// All pages, three postings each.
async fn postings(bank: &Bank, request: ListPostingsRequest) -> Vec<Posting> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListPostingsRequest {
            page_token,
            page_size: 3,
            ..request.clone()
        };
        let page = call!(bank, list_postings(ListPostingsRequest), request).unwrap();
        assert!(page.postings.len() <= 3);
        all.extend(page.postings);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn both_axes_say_what_was_moved(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(&steps));
    }
}
