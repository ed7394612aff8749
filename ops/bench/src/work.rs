//! The stream of work of one client, the same for the same seed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::shape::Shape;
use crate::wire::{self, EntryId, Movement};

/// The greatest amount of one entry, in pence.
const AMOUNT_MAX_MINOR: i64 = 10_000;
/// About what an entry takes in a batch.
const BYTES_PER_ENTRY: usize = 112;

/// One request: the method's name and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The last part of the path.
    pub method: &'static str,
    /// Protobuf.
    pub body: Bytes,
    /// How many entries it asks for.
    pub entries: u32,
}

/// A hold that was placed and waits for its end.
#[derive(Debug, Clone, Copy)]
struct Placed {
    id: EntryId,
    account: usize,
    amount_minor: i64,
}

/// What one client asks for, one request after the other.
#[derive(Debug)]
pub struct Work {
    random: SmallRng,
    accounts: Arc<Vec<String>>,
    batch: u32,
    hot: f64,
    holds: f64,
    placed: Option<Placed>,
}

impl Work {
    /// The work of the given client over these accounts (at least two); the first is the hot one.
    pub fn new(shape: &Shape, client: u32, accounts: Arc<Vec<String>>) -> Self {
        // Golden ratio: clients of neighbouring seeds do not share their streams.
        let seed = shape
            .seed
            .wrapping_add(u64::from(client).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            random: SmallRng::seed_from_u64(seed),
            accounts,
            batch: shape.batch,
            hot: shape.hot,
            holds: shape.holds,
            placed: None,
        }
    }

    /// The next request, whose ids carry this time; of at most `limit` entries.
    pub fn next(&mut self, unix_ms: u64, limit: u64) -> Request {
        if self.batch > 1 {
            let entries = u64::from(self.batch).min(limit).max(1) as u32;
            let mut body = BytesMut::with_capacity(entries as usize * BYTES_PER_ENTRY + 16);
            for _ in 0..entries {
                let (id, debtor, creditor, amount_minor) = self.draw(unix_ms);
                let movement = self.movement(id, debtor, creditor, amount_minor);
                wire::add_to_batch(&mut body, &movement);
            }
            return Request {
                method: "CreateEntries",
                body: wire::finish_batch(body),
                entries,
            };
        }
        let (id, debtor, creditor, amount_minor) = self.draw(unix_ms);
        let (method, body) = if let Some(hold) = self.placed.take() {
            let account = &self.accounts[hold.account];
            if self.random.random_ratio(2, 3) {
                let to = &self.accounts[if creditor == hold.account {
                    debtor
                } else {
                    creditor
                }];
                let body = wire::capture_hold(id, account, hold.id, hold.amount_minor, to);
                ("CaptureHold", body)
            } else {
                ("ReleaseHold", wire::release_hold(id, account, hold.id))
            }
        } else if self.holds > 0.0 && self.random.random_bool(self.holds) {
            self.placed = Some(Placed {
                id,
                account: debtor,
                amount_minor,
            });
            let body = wire::place_hold(id, &self.accounts[debtor], amount_minor);
            ("PlaceHold", body)
        } else {
            let movement = self.movement(id, debtor, creditor, amount_minor);
            ("CreateEntry", wire::create_entry(&movement))
        };
        Request {
            method,
            body,
            entries: 1,
        }
    }

    /// Forgets the hold that the last request placed: it was not accepted.
    pub fn not_placed(&mut self) {
        self.placed = None;
    }

    fn movement(
        &self,
        id: EntryId,
        debtor: usize,
        creditor: usize,
        amount_minor: i64,
    ) -> Movement<'_> {
        Movement {
            id,
            debtor: &self.accounts[debtor],
            creditor: &self.accounts[creditor],
            amount_minor,
        }
    }

    /// Two different accounts, an amount and an id.
    fn draw(&mut self, unix_ms: u64) -> (EntryId, usize, usize, i64) {
        let id = EntryId::new(unix_ms, self.random.random());
        let amount_minor = self.random.random_range(1..=AMOUNT_MAX_MINOR);
        let count = self.accounts.len();
        let mut debtor = self.random.random_range(0..count);
        // The others without the debtor: one fewer, and a step over it.
        let mut creditor = self.random.random_range(0..count - 1);
        if creditor >= debtor {
            creditor += 1;
        }
        if self.hot > 0.0 && debtor != 0 && creditor != 0 && self.random.random_bool(self.hot) {
            if self.random.random() {
                debtor = 0;
            } else {
                creditor = 0;
            }
        }
        (id, debtor, creditor, amount_minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffa::Message;
    use lombard_contracts::bank::ledger::v1;

    fn accounts(count: usize) -> Arc<Vec<String>> {
        Arc::new((0..count).map(|number| format!("a{number}")).collect())
    }

    fn entries(work: &mut Work) -> Vec<v1::Entry> {
        v1::CreateEntriesRequest::decode_from_slice(&work.next(1, u64::MAX).body)
            .unwrap()
            .entries
    }

    #[test]
    fn the_same_seed_makes_the_same_work() {
        let shape = Shape {
            batch: 100,
            ..Shape::default()
        };
        let work = |client| Work::new(&shape, client, accounts(10)).next(1, u64::MAX);
        assert_eq!(work(0), work(0));
        assert_ne!(work(0), work(1));
    }

    #[test]
    fn entries_balance_between_two_accounts() {
        let shape = Shape {
            batch: 1_000,
            ..Shape::default()
        };
        for entry in entries(&mut Work::new(&shape, 0, accounts(2))) {
            assert_ne!(entry.legs[0].account, entry.legs[1].account);
            assert_eq!(entry.legs[0].amount_minor + entry.legs[1].amount_minor, 0);
            assert!(entry.legs[0].amount_minor < 0);
        }
    }

    #[test]
    fn the_hot_share_touches_the_first_account() {
        let touched = |hot| {
            let shape = Shape {
                batch: 8_192,
                hot,
                ..Shape::default()
            };
            entries(&mut Work::new(&shape, 0, accounts(1_000)))
                .iter()
                .filter(|entry| entry.legs.iter().any(|leg| leg.account == "a0"))
                .count()
        };
        assert_eq!(touched(1.0), 8_192);
        assert!((3_800..4_400).contains(&touched(0.5)), "{}", touched(0.5));
        assert!(touched(0.0) < 60);
    }

    #[test]
    fn the_last_batch_is_cut_to_what_is_left() {
        let shape = Shape {
            batch: 100,
            ..Shape::default()
        };
        assert_eq!(Work::new(&shape, 0, accounts(2)).next(1, 7).entries, 7);
    }

    #[test]
    fn every_hold_is_followed_by_its_end() {
        let shape = Shape {
            holds: 0.5,
            ..Shape::default()
        };
        let mut work = Work::new(&shape, 0, accounts(5));
        let mut open = false;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let method = work.next(1, 1).method;
            assert_eq!(open, matches!(method, "CaptureHold" | "ReleaseHold"));
            open = method == "PlaceHold";
            seen.insert(method);
        }
        assert_eq!(seen.len(), 4);
        while work.next(1, 1).method != "PlaceHold" {}
        work.not_placed();
        assert!(!matches!(
            work.next(1, 1).method,
            "CaptureHold" | "ReleaseHold"
        ));
    }
}
