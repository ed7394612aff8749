//! The witness: for each account the order in which everything happened there,
//! and what the account was like after each of it.

use std::collections::BTreeMap;

use crate::end::{AccountEnd, Event, EventKind};
use crate::history::{Account, Balance, OpenHold};
use crate::operations::Operations;
use crate::{HELD, MAIN};

/// An account's events in order, and the states between them.
///
/// A *prefix* is a number of events: 0 is before the first, and prefix `k` is the
/// account after its events 1 to `k`.
#[derive(Debug)]
pub struct Line<'e> {
    /// The account as it was opened.
    pub terms: &'e Account,
    /// The account as it was read at the end.
    pub end: &'e AccountEnd,
    addresses: Vec<(&'e str, &'e str)>,
    /// For each prefix, the balance of each address.
    states: Vec<Vec<i64>>,
    holds: BTreeMap<&'e str, HoldLine>,
}

/// What became of a hold.
#[derive(Debug)]
struct HoldLine {
    expires_us: i64,
    currency: String,
    /// From which prefix on how much remains.
    steps: Vec<(usize, i64)>,
}

impl HoldLine {
    fn remaining(&self, prefix: usize) -> i64 {
        let after = self.steps.partition_point(|(from, _)| *from <= prefix);
        after
            .checked_sub(1)
            .and_then(|last| self.steps.get(last))
            .map_or(0, |(_, remaining)| *remaining)
    }
}

/// A hold that may be over at a moment of which no event tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Wall time in microseconds.
    pub expires_us: i64,
    /// Its id.
    pub hold: String,
    /// ISO 4217.
    pub currency: String,
    /// What is given back at its end, in minor units.
    pub remaining_minor: i64,
}

/// Between which wall times (microseconds) a read was made.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// What is over before this is surely given back; none: nothing must be.
    pub from_us: Option<i64>,
    /// What is over after this is surely not.
    pub to_us: i64,
}

impl<'e> Line<'e> {
    /// Puts the states together from the postings alone.
    pub fn new(terms: &'e Account, end: &'e AccountEnd, operations: &Operations<'_>) -> Self {
        let mut line = Self {
            terms,
            end,
            addresses: Vec::new(),
            states: Vec::with_capacity(end.events.len() + 1),
            holds: BTreeMap::new(),
        };
        let mut state: Vec<i64> = Vec::new();
        line.states.push(state.clone());
        for (index, event) in end.events.iter().enumerate() {
            for moved in &event.postings {
                let slot = line.slot(&moved.address, &moved.currency);
                if state.len() <= slot {
                    state.resize(slot + 1, 0);
                }
                state[slot] = state[slot].saturating_add(moved.amount_minor);
            }
            line.states.push(state.clone());
            line.follow_hold(index + 1, event, operations);
        }
        line
    }

    fn slot(&mut self, address: &'e str, currency: &'e str) -> usize {
        let place = (address, currency);
        match self.addresses.iter().position(|known| *known == place) {
            Some(slot) => slot,
            None => {
                self.addresses.push(place);
                self.addresses.len() - 1
            }
        }
    }

    fn follow_hold(&mut self, prefix: usize, event: &'e Event, operations: &Operations<'_>) {
        let Some(hold) = event.hold.as_deref() else {
            return;
        };
        let moved: i64 = event
            .postings
            .iter()
            .filter(|moved| moved.address == HELD)
            .map(|moved| moved.amount_minor)
            .sum();
        let currency = event.postings.first().map(|moved| moved.currency.clone());
        let line = self.holds.entry(hold).or_insert_with(|| HoldLine {
            expires_us: match operations.entry(hold).map(|operation| operation.call) {
                Some(crate::history::Call::PlaceHold { expires_us, .. }) => *expires_us,
                _ => 0,
            },
            currency: currency.unwrap_or_default(),
            steps: Vec::new(),
        });
        let before = line.steps.last().map_or(0, |(_, remaining)| *remaining);
        line.steps.push((prefix, before.saturating_add(moved)));
    }

    /// How many events there are: the last prefix.
    pub fn last(&self) -> usize {
        self.end.events.len()
    }

    /// The event that leads to a prefix.
    pub fn event(&self, prefix: usize) -> Option<&'e Event> {
        prefix
            .checked_sub(1)
            .and_then(|index| self.end.events.get(index))
    }

    /// The balance of an address at a prefix.
    pub fn balance(&self, prefix: usize, address: &str, currency: &str) -> i64 {
        let slot = self
            .addresses
            .iter()
            .position(|known| *known == (address, currency));
        slot.and_then(|slot| self.states.get(prefix)?.get(slot))
            .copied()
            .unwrap_or(0)
    }

    /// The last prefix whose events were booked at or before this moment.
    pub fn booked_at(&self, moment_us: i64) -> usize {
        self.end
            .events
            .partition_point(|event| event.booked_us <= moment_us)
    }

    /// What remains of each hold at a prefix, where something does.
    pub fn open_holds(&self, prefix: usize) -> impl Iterator<Item = (&str, i64)> {
        self.holds.iter().filter_map(move |(id, hold)| {
            let remaining = hold.remaining(prefix);
            (remaining != 0).then_some((*id, remaining))
        })
    }

    /// Holds that are open at a prefix and over by this moment, in the order of their ends.
    pub fn due(&self, prefix: usize, by_us: i64) -> Vec<Due> {
        let mut due: Vec<Due> = self
            .holds
            .iter()
            .filter(|(_, hold)| hold.expires_us != 0 && hold.expires_us <= by_us)
            .filter_map(|(id, hold)| {
                let remaining_minor = hold.remaining(prefix);
                (remaining_minor > 0).then(|| Due {
                    expires_us: hold.expires_us,
                    hold: (*id).to_owned(),
                    currency: hold.currency.clone(),
                    remaining_minor,
                })
            })
            .collect();
        due.sort();
        due
    }

    /// Whether the account shows these balances (and holds, where they were read) at a
    /// prefix with the first `expired` of its due holds given back.
    ///
    /// A hold gives its money back at its second, whether or not an event has been
    /// booked: a read that comes between shows it so.
    pub fn shows(
        &self,
        prefix: usize,
        expired: usize,
        moment: Moment,
        balances: &[Balance],
        holds: Option<&[OpenHold]>,
    ) -> bool {
        if prefix > self.last() {
            return false;
        }
        let due = self.due(prefix, moment.to_us);
        let Some((given_back, left)) = due.split_at_checked(expired) else {
            return false;
        };
        if moment
            .from_us
            .is_some_and(|from_us| left.iter().any(|due| due.expires_us < from_us))
        {
            return false;
        }
        let expected = |address: &str, currency: &str| {
            let back: i64 = given_back
                .iter()
                .filter(|due| due.currency == currency)
                .map(|due| due.remaining_minor)
                .sum();
            let there = self.balance(prefix, address, currency);
            match address {
                MAIN => there + back,
                HELD => there - back,
                _ => there,
            }
        };
        let named_right = balances
            .iter()
            .all(|seen| expected(&seen.address, &seen.currency) == seen.balance_minor);
        let all_named = self.addresses.iter().all(|(address, currency)| {
            expected(address, currency) == 0
                || balances
                    .iter()
                    .any(|seen| seen.address == *address && seen.currency == *currency)
        });
        named_right
            && all_named
            && holds.is_none_or(|seen| {
                let is_back = |id: &str| given_back.iter().any(|due| due.hold == id);
                let open: BTreeMap<&str, i64> = self
                    .open_holds(prefix)
                    .filter(|(id, _)| !is_back(id))
                    .collect();
                open.len() == seen.len()
                    && seen
                        .iter()
                        .all(|hold| open.get(hold.hold.as_str()) == Some(&hold.remaining_minor))
            })
    }

    /// The prefix nearest below `from` (itself included) at which the account shows this.
    pub fn shown_at_or_before(
        &self,
        from: usize,
        moment: Moment,
        balances: &[Balance],
    ) -> Option<usize> {
        let any_time = Moment {
            from_us: None,
            ..moment
        };
        (0..=from.min(self.last()))
            .rev()
            .find(|prefix| self.shows(*prefix, 0, any_time, balances, None))
    }

    /// The balances at a prefix, for people.
    pub fn text(&self, prefix: usize) -> String {
        let lines = self
            .addresses
            .iter()
            .map(|(address, currency)| (*address, *currency))
            .filter(|(address, currency)| self.balance(prefix, address, currency) != 0)
            .map(|(address, currency)| {
                let amount = self.balance(prefix, address, currency);
                format!("{address} {amount} {currency}")
            })
            .collect::<Vec<_>>();
        if lines.is_empty() {
            "nothing".to_owned()
        } else {
            lines.join(", ")
        }
    }

    /// The floor of an address.
    pub fn floor(&self, address: &str, currency: &str) -> Option<i64> {
        self.terms
            .addresses
            .iter()
            .find(|terms| terms.address == address && terms.currency == currency)?
            .floor_minor
    }

    /// Events that move money because a client's entry asked for it.
    pub fn caused(&self) -> impl Iterator<Item = (usize, &'e Event, &'e str)> {
        self.end
            .events
            .iter()
            .enumerate()
            .filter(|(_, event)| matches!(event.kind, EventKind::Posted | EventKind::Reserved))
            .filter_map(|(index, event)| Some((index + 1, event, event.entry.as_deref()?)))
    }
}
