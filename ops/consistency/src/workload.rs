//! What clients ask for: drawn from a seed, and from what they have learned.

use lombard_service::Host;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::history::{Account, Address, Answer, Call, Leg};
use crate::{HELD, MAIN};

/// What all entries are in, and what a few exchange it for.
const CURRENCY: &str = "GBP";
const OTHER_CURRENCY: &str = "EUR";
/// The most that an entry moves, in minor units.
const AMOUNT_MAX: i64 = 300;
/// What each customer is given to begin with.
const FUNDS_MINOR: i64 = 1_000;
/// One customer may overdraw so much.
const OVERDRAFT_MINOR: i64 = 300;
/// Holds, entries and moments that are remembered, the newest of them.
const REMEMBERED_MAX: usize = 64;
/// How far back a read as of a moment looks, in microseconds.
const AS_OF_BACK_US: i64 = 3_000_000;
/// How long a hold lasts that ends by itself, in microseconds.
const HOLD_US: std::ops::Range<i64> = 100_000..2_000_000;

/// Draws calls. Shared by all clients.
pub struct Workload {
    host: Host,
    /// Customers: with floors.
    customers: Vec<String>,
    /// Everybody pays it and is paid by it; no floor.
    hot: String,
    /// Where all money comes from; no floor.
    bank: String,
    learned: Mutex<Learned>,
}

/// What answers have told.
#[derive(Default)]
struct Learned {
    /// Account, hold, amount.
    holds: Vec<(String, String, i64)>,
    /// Entry, home.
    entries: Vec<(String, String)>,
    /// Booked moments.
    moments: Vec<i64>,
}

impl Workload {
    /// Over this many customers, in accounts whose names begin with `tag`.
    pub fn new(host: &Host, tag: &str, customers: u32) -> Self {
        Self {
            host: host.clone(),
            customers: (0..customers.max(2))
                .map(|number| format!("{tag}-c{number}"))
                .collect(),
            hot: format!("{tag}-hot"),
            bank: format!("{tag}-bank"),
            learned: Mutex::default(),
        }
    }

    /// The accounts to be opened.
    pub fn accounts(&self) -> Vec<Account> {
        let address = |address: &str, currency: &str, floor_minor| Address {
            address: address.to_owned(),
            currency: currency.to_owned(),
            floor_minor,
        };
        let customers = self.customers.iter().enumerate().map(|(index, id)| {
            let floor = if index == 1 { -OVERDRAFT_MINOR } else { 0 };
            Account {
                id: id.clone(),
                addresses: vec![
                    address(MAIN, CURRENCY, Some(floor)),
                    address(HELD, CURRENCY, Some(0)),
                    address(MAIN, OTHER_CURRENCY, Some(0)),
                ],
            }
        });
        let others = [&self.hot, &self.bank].map(|id| Account {
            id: id.clone(),
            addresses: vec![
                address(MAIN, CURRENCY, None),
                address(MAIN, OTHER_CURRENCY, None),
            ],
        });
        customers.chain(others).collect()
    }

    /// The entries that give every customer money.
    pub fn funding(&self) -> Vec<Call> {
        self.customers
            .iter()
            .map(|customer| Call::Entry {
                id: self.id(),
                legs: vec![
                    leg(&self.bank, CURRENCY, -FUNDS_MINOR),
                    leg(customer, CURRENCY, FUNDS_MINOR),
                ],
                up_to_available: false,
            })
            .collect()
    }

    /// The next call of a client with these dice.
    pub fn next(&self, dice: &mut SmallRng) -> Call {
        match dice.random_range(0..100) {
            0..30 => self.payment(dice),
            30..42 => self.of_several_legs(dice),
            42..47 => self.exchange(dice),
            47..52 => self.up_to_available(dice),
            52..60 => self.hold(dice),
            60..66 => self.capture(dice).unwrap_or_else(|| self.hold(dice)),
            66..70 => self.release(dice).unwrap_or_else(|| self.hold(dice)),
            70..73 => self.reversal(dice).unwrap_or_else(|| self.payment(dice)),
            73..89 => Call::Balances {
                account: self.any(dice),
            },
            89..97 => Call::BalancesAsOf {
                account: self.any(dice),
                booked_us: self.moment(dice),
            },
            _ => Call::TrialBalance,
        }
    }

    /// Remembers what was answered, for later calls.
    pub fn learn(&self, call: &Call, answer: &Answer) {
        let Answer::Posted(posted) = answer else {
            return;
        };
        let mut learned = self.learned.lock();
        remember(&mut learned.moments, posted.booked_us);
        match call {
            Call::PlaceHold {
                id,
                account,
                amount_minor,
                ..
            } => remember(
                &mut learned.holds,
                (account.clone(), id.clone(), *amount_minor),
            ),
            Call::Entry { id, .. } => {
                remember(&mut learned.entries, (id.clone(), posted.home.clone()));
            }
            _ => {}
        }
    }

    fn id(&self) -> String {
        self.host.id().to_string()
    }

    fn customer(&self, dice: &mut SmallRng) -> &str {
        pick(&self.customers, dice).map_or(self.bank.as_str(), String::as_str)
    }

    /// Two customers that are not one.
    fn two(&self, dice: &mut SmallRng) -> (&str, &str) {
        let first = self.customer(dice);
        loop {
            let second = self.customer(dice);
            if second != first {
                return (first, second);
            }
        }
    }

    fn any(&self, dice: &mut SmallRng) -> String {
        match dice.random_range(0..10) {
            0 => self.bank.clone(),
            1 | 2 => self.hot.clone(),
            _ => self.customer(dice).to_owned(),
        }
    }

    fn payment(&self, dice: &mut SmallRng) -> Call {
        let amount = dice.random_range(1..=AMOUNT_MAX);
        let (from, to) = match dice.random_range(0..10) {
            0..2 => (self.customer(dice), self.hot.as_str()),
            2..4 => (self.hot.as_str(), self.customer(dice)),
            4 => (self.bank.as_str(), self.customer(dice)),
            _ => self.two(dice),
        };
        self.entry(vec![
            leg(from, CURRENCY, -amount),
            leg(to, CURRENCY, amount),
        ])
    }

    /// Two customers pay together, so that one is reserved while the other decides.
    fn of_several_legs(&self, dice: &mut SmallRng) -> Call {
        let (first, second) = self.two(dice);
        let amounts = [
            dice.random_range(1..=AMOUNT_MAX),
            dice.random_range(1..=AMOUNT_MAX),
        ];
        let to = if dice.random_bool(0.5) {
            self.hot.as_str()
        } else {
            self.customer(dice)
        };
        let all = amounts.iter().sum();
        self.entry(vec![
            leg(first, CURRENCY, -amounts[0]),
            leg(second, CURRENCY, -amounts[1]),
            leg(to, CURRENCY, all),
        ])
    }

    fn exchange(&self, dice: &mut SmallRng) -> Call {
        let customer = self.customer(dice);
        let (sold, bought) = (
            dice.random_range(1..=AMOUNT_MAX),
            dice.random_range(1..=AMOUNT_MAX),
        );
        let (sells, buys) = if dice.random_bool(0.5) {
            (CURRENCY, OTHER_CURRENCY)
        } else {
            (OTHER_CURRENCY, CURRENCY)
        };
        self.entry(vec![
            leg(customer, sells, -sold),
            leg(&self.bank, sells, sold),
            leg(&self.bank, buys, -bought),
            leg(customer, buys, bought),
        ])
    }

    fn up_to_available(&self, dice: &mut SmallRng) -> Call {
        let amount = dice.random_range(1..=4 * AMOUNT_MAX);
        let (from, to) = self.two(dice);
        Call::Entry {
            id: self.id(),
            legs: vec![leg(from, CURRENCY, -amount), leg(to, CURRENCY, amount)],
            up_to_available: true,
        }
    }

    fn entry(&self, legs: Vec<Leg>) -> Call {
        Call::Entry {
            id: self.id(),
            legs,
            up_to_available: false,
        }
    }

    fn hold(&self, dice: &mut SmallRng) -> Call {
        let expires_us = if dice.random_bool(0.5) {
            self.host.now_us() + dice.random_range(HOLD_US)
        } else {
            0
        };
        Call::PlaceHold {
            id: self.id(),
            account: self.customer(dice).to_owned(),
            currency: CURRENCY.to_owned(),
            amount_minor: dice.random_range(1..=AMOUNT_MAX),
            expires_us,
        }
    }

    fn capture(&self, dice: &mut SmallRng) -> Option<Call> {
        let (account, hold, amount) = pick(&self.learned.lock().holds, dice)?.clone();
        let to = if dice.random_bool(0.5) {
            self.hot.clone()
        } else {
            self.customer(dice).to_owned()
        };
        Some(Call::CaptureHold {
            id: self.id(),
            account,
            hold,
            // Sometimes more than there is: that must be refused.
            amount_minor: dice.random_range(1..=amount + amount / 4 + 1),
            to,
            last: dice.random_bool(0.4),
        })
    }

    fn release(&self, dice: &mut SmallRng) -> Option<Call> {
        let (account, hold, amount) = pick(&self.learned.lock().holds, dice)?.clone();
        let amount_minor = if dice.random_bool(0.5) {
            0
        } else {
            dice.random_range(1..=amount)
        };
        Some(Call::ReleaseHold {
            id: self.id(),
            account,
            hold,
            amount_minor,
        })
    }

    fn reversal(&self, dice: &mut SmallRng) -> Option<Call> {
        let (entry, home) = pick(&self.learned.lock().entries, dice)?.clone();
        Some(Call::Reversal {
            id: self.id(),
            entry,
            home,
        })
    }

    /// A moment at which something was booked, so that it is asked for again and again, or any.
    fn moment(&self, dice: &mut SmallRng) -> i64 {
        let booked = pick(&self.learned.lock().moments, dice).copied();
        match booked {
            Some(booked) if dice.random_bool(0.7) => booked - dice.random_range(0..2),
            _ => self.host.now_us() - dice.random_range(0..AS_OF_BACK_US),
        }
    }
}

fn leg(account: &str, currency: &str, amount_minor: i64) -> Leg {
    Leg {
        account: account.to_owned(),
        address: MAIN.to_owned(),
        currency: currency.to_owned(),
        amount_minor,
    }
}

fn pick<'a, T>(from: &'a [T], dice: &mut SmallRng) -> Option<&'a T> {
    if from.is_empty() {
        return None;
    }
    from.get(dice.random_range(0..from.len()))
}

fn remember<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= REMEMBERED_MAX {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;
    use crate::history::Posted;

    #[test]
    fn every_kind_of_call_is_drawn_and_entries_are_in_balance() {
        let (host, _clock) = Host::simulated(1, 1_767_603_600_000_000);
        let workload = Workload::new(&host, "t", 3);
        let mut dice = SmallRng::seed_from_u64(1);
        let mut kinds = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for _ in 0..2_000 {
            let call = workload.next(&mut dice);
            kinds.insert(call.kind());
            if let Some(id) = call.entry_id() {
                assert!(ids.insert(id.to_owned()), "{id} twice");
                let posted = Posted {
                    home: "t-c0".to_owned(),
                    booked_us: host.now_us(),
                    legs: Vec::new(),
                    replayed: false,
                };
                workload.learn(&call, &Answer::Posted(posted));
            }
            if let Call::Entry { legs, .. } = &call {
                for currency in [CURRENCY, OTHER_CURRENCY] {
                    let sum: i64 = legs
                        .iter()
                        .filter(|leg| leg.currency == currency)
                        .map(|leg| leg.amount_minor)
                        .sum();
                    assert_eq!(sum, 0, "{call:?}");
                }
                assert!(legs.iter().all(|leg| leg.amount_minor != 0));
            }
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
        let learned = workload.learned.lock();
        assert!(learned.holds.len() <= REMEMBERED_MAX);
        assert!(learned.entries.len() <= REMEMBERED_MAX);
        assert!(learned.moments.len() <= REMEMBERED_MAX);
    }
}
