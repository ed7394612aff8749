//! Histories by hand: what clients do and see, and beside it what the ledger has.

use std::collections::BTreeMap;

use lombard_consistency::History;
use lombard_consistency::check::{Evidence, check};
use lombard_consistency::end::{AccountEnd, End, Event, EventKind, Hold, Moved, Posting};
use lombard_consistency::history::{
    Account, Address, Answer, Balance, Balances, Call, FORM, Header, Leg, LegPosted, Outcome,
    Posted, Record,
};
use lombard_consistency::violation::{Violation, ViolationKind};

pub const MAIN: &str = "customer/main";
pub const HELD: &str = "customer/held";
/// When every story begins.
pub const BEGAN_US: i64 = 1_767_603_600_000_000;

/// A story: accounts "a" and "b" with a floor of 0, "bank" without.
pub struct Story {
    pub history: History,
    pub end: End,
    now_us: u64,
}

impl Story {
    pub fn new() -> Self {
        let account = |id: &str, floor_minor| Account {
            id: id.to_owned(),
            addresses: [MAIN, HELD]
                .map(|address| Address {
                    address: address.to_owned(),
                    currency: "GBP".to_owned(),
                    floor_minor,
                })
                .to_vec(),
        };
        let accounts = vec![
            account("a", Some(0)),
            account("b", Some(0)),
            account("bank", None),
        ];
        let end = End {
            accounts: accounts
                .iter()
                .map(|account| AccountEnd {
                    account: account.id.clone(),
                    ..AccountEnd::default()
                })
                .collect(),
            steady: true,
            ..End::default()
        };
        let header = Header {
            form: FORM,
            system: "a story".to_owned(),
            seed: 0,
            began_us: BEGAN_US,
            tag: String::new(),
            accounts,
        };
        let history = History {
            header,
            records: Vec::new(),
        };
        Self {
            history,
            end,
            now_us: 0,
        }
    }

    /// A story in which "a" and "b" have 100 each.
    pub fn funded() -> Self {
        let mut story = Self::new();
        story.pay(901, &[("bank", -100), ("a", 100)]);
        story.pay(902, &[("bank", -100), ("b", 100)]);
        story
    }

    pub fn wait(&mut self, us: u64) {
        self.now_us += us;
    }

    /// Wall time.
    pub fn now_us(&self) -> i64 {
        BEGAN_US + i64::try_from(self.now_us).unwrap()
    }

    /// The next attempt of an operation leaves.
    pub fn sends(&mut self, operation: u64, call: Call) {
        self.now_us += 1_000;
        let attempt = self.attempts(operation) + 1;
        self.history.records.push(Record::Invoked {
            at_us: self.now_us,
            process: u32::try_from(operation % 10).unwrap(),
            operation,
            attempt,
            call,
        });
    }

    fn attempts(&self, of: u64) -> u32 {
        let invoked = self.history.records.iter().filter(
            |record| matches!(record, Record::Invoked { operation, .. } if *operation == of),
        );
        u32::try_from(invoked.count()).unwrap()
    }

    /// The last attempt of an operation ends.
    pub fn gets(&mut self, operation: u64, outcome: Outcome) {
        self.now_us += 1_000;
        let attempt = self.attempts(operation);
        self.history.records.push(Record::Completed {
            at_us: self.now_us,
            process: u32::try_from(operation % 10).unwrap(),
            operation,
            attempt,
            outcome,
        });
    }

    pub fn gets_posted(&mut self, operation: u64, posted: Posted) {
        let answer = Answer::Posted(posted);
        self.gets(operation, Outcome::Ok { answer });
    }

    pub fn end_of(&mut self, account: &str) -> &mut AccountEnd {
        let mut accounts = self.end.accounts.iter_mut();
        accounts.find(|end| end.account == account).unwrap()
    }

    /// The ledger books something in one account: amounts on its addresses.
    pub fn books(
        &mut self,
        account: &str,
        kind: EventKind,
        entry: &str,
        hold: Option<&str>,
        moves: &[(&str, i64)],
    ) -> Vec<LegPosted> {
        let now_us = self.now_us();
        let end = self.end_of(account);
        let mut balances: BTreeMap<String, i64> = end
            .balances
            .iter()
            .map(|balance| (balance.address.clone(), balance.balance_minor))
            .collect();
        let number = end.events.len() as u64 + 1;
        let booked_us = now_us.max(end.events.last().map_or(0, |event| event.booked_us + 1));
        let mut postings = Vec::new();
        let mut legs = Vec::new();
        for (address, amount_minor) in moves {
            let balance = balances.entry((*address).to_owned()).or_default();
            let before_minor = *balance;
            *balance += amount_minor;
            postings.push(Moved {
                address: (*address).to_owned(),
                currency: "GBP".to_owned(),
                amount_minor: *amount_minor,
                balance_minor: *balance,
            });
            legs.push(LegPosted {
                leg: leg(account, address, *amount_minor),
                before_minor,
                after_minor: *balance,
                booked_us,
            });
        }
        end.balances = balances
            .into_iter()
            .map(|(address, balance_minor)| Balance {
                address,
                currency: "GBP".to_owned(),
                balance_minor,
            })
            .collect();
        end.event_number = number;
        for moved in &postings {
            end.postings.push(Posting {
                entry: entry.to_owned(),
                event_number: number,
                hold: hold.map(ToOwned::to_owned),
                booked_us,
                moved: moved.clone(),
            });
        }
        end.events.push(Event {
            number,
            kind,
            name: format!("{kind:?}"),
            booked_us,
            entry: Some(entry.to_owned()),
            home: String::new(),
            hold: hold.map(ToOwned::to_owned),
            postings,
            balances: end.balances.clone(),
        });
        legs
    }

    /// The ledger books an entry on main addresses, in each account.
    pub fn posts(&mut self, operation: u64, legs: &[(&str, i64)]) -> Posted {
        let id = id(operation);
        let mut posted = Vec::new();
        for (account, amount) in legs {
            posted.extend(self.books(account, EventKind::Posted, &id, None, &[(MAIN, *amount)]));
        }
        Posted {
            home: legs[0].0.to_owned(),
            booked_us: posted[0].booked_us,
            legs: posted,
            replayed: false,
        }
    }

    /// An entry, from sending to the acknowledgement.
    pub fn pay(&mut self, operation: u64, legs: &[(&str, i64)]) -> Posted {
        self.sends(operation, entry(operation, legs));
        let posted = self.posts(operation, legs);
        self.gets_posted(operation, posted.clone());
        posted
    }

    /// What the account is like now.
    pub fn balances(&mut self, account: &str) -> Balances {
        let end = self.end_of(account);
        Balances {
            event_number: end.event_number,
            balances: end.balances.clone(),
            holds: None,
        }
    }

    /// A read that shows this.
    pub fn reads(&mut self, operation: u64, account: &str, shown: Balances) {
        let account = account.to_owned();
        self.sends(operation, Call::Balances { account });
        self.sees(operation, shown);
    }

    pub fn sees(&mut self, operation: u64, shown: Balances) {
        let answer = Answer::Balances(shown);
        self.gets(operation, Outcome::Ok { answer });
    }

    /// What the ledger says of a hold at the end.
    pub fn lists_hold(&mut self, account: &str, id: &str, amounts: [i64; 4], expires_us: i64) {
        let [
            amount_minor,
            captured_minor,
            released_minor,
            remaining_minor,
        ] = amounts;
        self.end_of(account).holds.push(Hold {
            id: id.to_owned(),
            currency: "GBP".to_owned(),
            amount_minor,
            captured_minor,
            released_minor,
            remaining_minor,
            open: remaining_minor > 0,
            expires_us,
        });
    }

    pub fn violations(&self) -> Vec<Violation> {
        let evidence = Evidence::new(&self.history, &self.end);
        check(&evidence).1
    }

    #[track_caller]
    pub fn is_consistent(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// This is found first.
    #[track_caller]
    pub fn breaks(&self, kind: ViolationKind) -> Violation {
        let violations = self.violations();
        let first = violations.first().expect("nothing was found");
        assert_eq!(first.kind, kind, "{violations:#?}");
        first.clone()
    }

    /// This is among what is found.
    #[track_caller]
    pub fn shows(&self, kind: ViolationKind) {
        let violations = self.violations();
        let found = violations.iter().any(|violation| violation.kind == kind);
        assert!(found, "{violations:#?}");
    }
}

pub fn id(operation: u64) -> String {
    format!("00000000-0000-7000-8000-{operation:012}")
}

pub fn leg(account: &str, address: &str, amount_minor: i64) -> Leg {
    Leg {
        account: account.to_owned(),
        address: address.to_owned(),
        currency: "GBP".to_owned(),
        amount_minor,
    }
}

pub fn entry(operation: u64, legs: &[(&str, i64)]) -> Call {
    Call::Entry {
        id: id(operation),
        legs: legs
            .iter()
            .map(|(account, amount)| leg(account, MAIN, *amount))
            .collect(),
        up_to_available: false,
    }
}

pub fn unknown() -> Outcome {
    Outcome::Unknown {
        reason: "OUTCOME_UNKNOWN".to_owned(),
        message: String::new(),
    }
}
