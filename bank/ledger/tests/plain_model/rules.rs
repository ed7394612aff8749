//! The ledger as a map of balances: what each request must come to.

use std::collections::{BTreeMap, BTreeSet};

use lombard_contracts::bank::ledger::v1::*;

/// Where a balance is: account, address (pounds only).
type Place = (String, String);

/// What a request must come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Accepted, with these legs: account, address, amount, before, after.
    In { legs: Vec<Leg5>, replayed: bool },
    /// Refused for one of these reasons.
    Refused(BTreeSet<&'static str>),
}

/// Account, address, amount, before, after.
pub type Leg5 = (String, String, i64, i64, i64);

#[derive(Debug, Clone, Default)]
pub struct Account {
    pub floors: BTreeMap<String, Option<i64>>,
    pub entity: String,
    pub debits_frozen: bool,
    pub credits_frozen: bool,
}

#[derive(Debug, Clone)]
pub struct Hold {
    pub account: String,
    pub remaining: i64,
    pub expires_us: i64,
    pub state: &'static str,
}

#[derive(Debug, Clone)]
struct Decided {
    request: Request,
    legs: Vec<Leg5>,
    /// The mirror image; none for what cannot be reversed.
    mirror: Option<Vec<Leg>>,
    reversed: bool,
}

/// A request that commits an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Entry(Entry),
    Place(PlaceHoldRequest),
    Capture(CaptureHoldRequest),
    Release(ReleaseHoldRequest),
    Reverse(ReverseEntryRequest),
}

impl Request {
    pub fn id(&self) -> &str {
        match self {
            Self::Entry(entry) => &entry.id,
            Self::Place(hold) => &hold.id,
            Self::Capture(capture) => &capture.id,
            Self::Release(release) => &release.id,
            Self::Reverse(reverse) => &reverse.id,
        }
    }

    pub fn home(&self) -> String {
        match self {
            Self::Entry(entry) => {
                let first = entry.legs.iter().find(|leg| leg.amount_minor < 0);
                first.map(|leg| leg.account.clone()).unwrap_or_default()
            }
            Self::Place(hold) => hold.account.clone(),
            Self::Capture(capture) => capture.account.clone(),
            Self::Release(release) => release.account.clone(),
            Self::Reverse(reverse) => reverse.home.clone(),
        }
    }
}

/// Accounts, balances, holds, entries: nothing else.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub accounts: BTreeMap<String, Account>,
    pub balances: BTreeMap<Place, i64>,
    pub holds: BTreeMap<String, Hold>,
    entries: BTreeMap<(String, String), Decided>,
}

impl Model {
    pub fn open(&mut self, id: &str, entity: &str, floors: &[(&str, Option<i64>)]) {
        let floors = floors
            .iter()
            .map(|(address, floor)| ((*address).to_owned(), *floor))
            .collect();
        let account = Account {
            floors,
            entity: entity.to_owned(),
            ..Account::default()
        };
        for address in account.floors.keys() {
            self.balances.insert((id.to_owned(), address.clone()), 0);
        }
        self.accounts.insert(id.to_owned(), account);
    }

    /// What expires at its second.
    pub fn expire(&mut self, now_us: i64) {
        for hold in self.holds.values_mut() {
            if hold.state == "OPEN" && hold.expires_us != 0 && hold.expires_us <= now_us {
                for (address, amount) in [(HELD, -hold.remaining), (MAIN, hold.remaining)] {
                    *self
                        .balances
                        .get_mut(&(hold.account.clone(), address.to_owned()))
                        .unwrap() += amount;
                }
                hold.remaining = 0;
                hold.state = "HOLD_EXPIRED";
            }
        }
    }

    /// All or none.
    pub fn chain(&mut self, requests: &[Request], now_us: i64) -> Vec<Expected> {
        let before = self.clone();
        let all: Vec<Expected> = requests
            .iter()
            .map(|request| self.commit(request, now_us))
            .collect();
        if all.iter().all(|one| matches!(one, Expected::In { .. })) {
            return all;
        }
        *self = before;
        let linked = |one: &Expected| match one {
            Expected::Refused(reasons) => {
                Expected::Refused(reasons.iter().copied().chain([LINKED]).collect())
            }
            Expected::In { .. } => Expected::Refused([LINKED].into()),
        };
        all.iter().map(linked).collect()
    }

    /// What the request must come to, and what it then changes.
    pub fn commit(&mut self, request: &Request, now_us: i64) -> Expected {
        self.expire(now_us);
        let key = (request.home(), request.id().to_owned());
        if let Some(earlier) = self.entries.get(&key) {
            return if earlier.request == *request {
                Expected::In {
                    legs: earlier.legs.clone(),
                    replayed: true,
                }
            } else {
                Expected::Refused(["ENTRY_ID_REUSED"].into())
            };
        }
        let mut reasons = BTreeSet::new();
        let legs = self.legs(request, &mut reasons);
        self.check(request, &legs, &mut reasons);
        if let Request::Place(hold) = request
            && hold.expires_us != 0
            && hold.expires_us <= now_us
        {
            reasons.insert("HOLD_EXPIRES_IN_PAST");
        }
        if !reasons.is_empty() {
            return Expected::Refused(reasons);
        }
        let moved = self.apply(&key.0, &legs);
        self.note_hold(request);
        let mirror = self.mirror(request, &legs);
        if let Request::Reverse(reverse) = request {
            self.entries
                .get_mut(&(key.0.clone(), reverse.entry_id.clone()))
                .unwrap()
                .reversed = true;
        }
        let decided = Decided {
            request: request.clone(),
            legs: moved.clone(),
            mirror,
            reversed: false,
        };
        self.entries.insert(key, decided);
        Expected::In {
            legs: moved,
            replayed: false,
        }
    }

    /// The legs as they would be posted.
    fn legs(&self, request: &Request, reasons: &mut BTreeSet<&'static str>) -> Vec<Leg> {
        let leg = |account: &str, address: &str, amount_minor| Leg {
            account: account.to_owned(),
            address: address.to_owned(),
            currency: "GBP".to_owned(),
            amount_minor,
            ..Leg::default()
        };
        match request {
            Request::Entry(entry) => {
                let mut legs = entry.legs.clone();
                for leg in &mut legs {
                    if leg.address.is_empty() {
                        MAIN.clone_into(&mut leg.address);
                    }
                }
                if entry.up_to_available {
                    self.reduce(&mut legs, reasons);
                }
                legs
            }
            Request::Place(hold) => {
                vec![
                    leg(&hold.account, MAIN, -hold.amount_minor),
                    leg(&hold.account, HELD, hold.amount_minor),
                ]
            }
            Request::Capture(capture) => {
                let Some(rest) = self.open_hold(&capture.account, &capture.hold_id, reasons) else {
                    return Vec::new();
                };
                let over = capture.amount_minor - rest;
                if over > 0 && !capture.allow_over {
                    reasons.insert("CAPTURE_EXCEEDS_HOLD");
                }
                let mut legs = vec![leg(&capture.account, HELD, -rest.min(capture.amount_minor))];
                if over > 0 {
                    legs.push(leg(&capture.account, MAIN, -over));
                }
                legs.push(leg(&capture.to_account, MAIN, capture.amount_minor));
                if capture.r#final && over < 0 {
                    legs.push(leg(&capture.account, HELD, over));
                    legs.push(leg(&capture.account, MAIN, -over));
                }
                legs
            }
            Request::Release(release) => {
                let Some(rest) = self.open_hold(&release.account, &release.hold_id, reasons) else {
                    return Vec::new();
                };
                let amount = if release.amount_minor == 0 {
                    rest
                } else {
                    release.amount_minor
                };
                if amount > rest {
                    reasons.insert("RELEASE_EXCEEDS_HOLD");
                }
                vec![
                    leg(&release.account, HELD, -amount),
                    leg(&release.account, MAIN, amount),
                ]
            }
            Request::Reverse(reverse) => match self
                .entries
                .get(&(reverse.home.clone(), reverse.entry_id.clone()))
            {
                None => {
                    reasons.insert("ENTRY_NOT_FOUND");
                    Vec::new()
                }
                Some(decided) => {
                    if decided.reversed {
                        reasons.insert("ALREADY_REVERSED");
                    }
                    decided.mirror.clone().unwrap_or_else(|| {
                        reasons.insert("HOLD_NOT_REVERSIBLE");
                        Vec::new()
                    })
                }
            },
        }
    }

    fn reduce(&self, legs: &mut [Leg], reasons: &mut BTreeSet<&'static str>) {
        let Some(taken) = legs.iter().find(|leg| leg.amount_minor < 0) else {
            return;
        };
        let Some(Some(floor)) = self.accounts[&taken.account].floors.get(&taken.address) else {
            return;
        };
        let available = self.balances[&(taken.account.clone(), taken.address.clone())] - floor;
        let amount = available.min(-taken.amount_minor);
        if amount <= 0 {
            reasons.insert("FLOOR_BROKEN");
            return;
        }
        for leg in legs {
            leg.amount_minor = leg.amount_minor.signum() * amount;
        }
    }

    fn open_hold(
        &self,
        account: &str,
        id: &str,
        reasons: &mut BTreeSet<&'static str>,
    ) -> Option<i64> {
        match self.holds.get(id).filter(|hold| hold.account == account) {
            None => {
                reasons.insert("HOLD_NOT_FOUND");
                None
            }
            Some(hold) if hold.state == "OPEN" => Some(hold.remaining),
            Some(hold) => {
                // Before the expiry is booked, what was asked may be too much for what remained.
                reasons.extend([hold.state, "CAPTURE_EXCEEDS_HOLD"]);
                None
            }
        }
    }

    /// Everything that forbids the legs.
    fn check(&self, request: &Request, legs: &[Leg], reasons: &mut BTreeSet<&'static str>) {
        let home = request.home();
        let mut entities: BTreeMap<&str, i64> = BTreeMap::new();
        for leg in legs {
            let Some(account) = self.accounts.get(&leg.account) else {
                reasons.insert("ACCOUNT_NOT_FOUND");
                continue;
            };
            *entities.entry(&account.entity).or_default() += leg.amount_minor;
            if !account.floors.contains_key(&leg.address) {
                reasons.insert("ADDRESS_NOT_FOUND");
            }
            let own = leg.account == home;
            // Money that was held before a freeze may still be captured and released.
            let debits = match request {
                Request::Release(_) => !own,
                Request::Capture(_) => !own || leg.address == MAIN,
                _ => true,
            };
            let credits = !own
                || !matches!(
                    request,
                    Request::Release(_) | Request::Capture(_) | Request::Place(_)
                );
            if leg.amount_minor < 0 && account.debits_frozen && debits {
                reasons.insert("DEBITS_FROZEN");
            }
            if leg.amount_minor > 0 && account.credits_frozen && credits {
                reasons.insert("CREDITS_FROZEN");
            }
        }
        if entities.values().any(|sum| *sum != 0) {
            reasons.insert("ENTRY_UNBALANCED");
        }
        // Home nets its legs; elsewhere all that is taken from a floor must be there before anything comes.
        let mut net: BTreeMap<Place, i64> = BTreeMap::new();
        for leg in legs
            .iter()
            .filter(|leg| leg.account == home || leg.amount_minor < 0)
        {
            *net.entry((leg.account.clone(), leg.address.clone()))
                .or_default() += leg.amount_minor;
        }
        for (place, moved) in net {
            let floor = self
                .accounts
                .get(&place.0)
                .and_then(|account| account.floors.get(&place.1))
                .copied()
                .flatten();
            if let (Some(floor), Some(balance)) = (floor, self.balances.get(&place))
                && moved < 0
                && balance + moved < floor
            {
                reasons.insert("FLOOR_BROKEN");
            }
        }
    }

    /// Moves the money. Elsewhere, what a floor is lowered by moves first: it was reserved.
    fn apply(&mut self, home: &str, legs: &[Leg]) -> Vec<Leg5> {
        let reserved = |leg: &Leg| {
            let floor = self.accounts[&leg.account].floors[&leg.address];
            leg.account != home && leg.amount_minor < 0 && floor.is_some()
        };
        let mut order: Vec<usize> = (0..legs.len()).collect();
        order.sort_by_key(|index| !reserved(&legs[*index]));
        let mut moved = vec![Leg5::default(); legs.len()];
        for index in order {
            let leg = &legs[index];
            let balance = self
                .balances
                .get_mut(&(leg.account.clone(), leg.address.clone()))
                .unwrap();
            let before = *balance;
            *balance += leg.amount_minor;
            moved[index] = (
                leg.account.clone(),
                leg.address.clone(),
                leg.amount_minor,
                before,
                *balance,
            );
        }
        moved
    }

    fn note_hold(&mut self, request: &Request) {
        let (id, captured, released) = match request {
            Request::Place(hold) => {
                let row = Hold {
                    account: hold.account.clone(),
                    remaining: hold.amount_minor,
                    expires_us: hold.expires_us,
                    state: "OPEN",
                };
                self.holds.insert(hold.id.clone(), row);
                return;
            }
            Request::Capture(capture) => (&capture.hold_id, capture.amount_minor, capture.r#final),
            Request::Release(release) => (&release.hold_id, 0, release.amount_minor == 0),
            Request::Entry(_) | Request::Reverse(_) => return,
        };
        let part = if let Request::Release(release) = request {
            release.amount_minor
        } else {
            0
        };
        let hold = self.holds.get_mut(id).unwrap();
        hold.remaining = if released {
            0
        } else {
            hold.remaining - part - captured.min(hold.remaining)
        };
        if hold.remaining == 0 {
            let was_captured = captured > 0 || self.captured(id);
            let hold = self.holds.get_mut(id).unwrap();
            hold.state = if was_captured {
                "HOLD_CAPTURED"
            } else {
                "HOLD_RELEASED"
            };
        }
    }

    /// Whether some of the hold was captured earlier.
    fn captured(&self, hold: &str) -> bool {
        let captures = |decided: &Decided| matches!(&decided.request, Request::Capture(capture) if capture.hold_id == hold);
        self.entries.values().any(captures)
    }

    /// The mirror image of what was posted: what was held goes back to where it came from.
    fn mirror(&self, request: &Request, legs: &[Leg]) -> Option<Vec<Leg>> {
        let mut legs = legs.to_vec();
        if matches!(request, Request::Place(_) | Request::Release(_)) {
            return None;
        }
        if let Request::Capture(capture) = request {
            let mut net: Vec<Leg> = Vec::new();
            for mut leg in legs {
                if leg.account == capture.account && leg.address == HELD {
                    MAIN.clone_into(&mut leg.address);
                }
                match net
                    .iter_mut()
                    .find(|other| other.account == leg.account && other.address == leg.address)
                {
                    Some(other) => other.amount_minor += leg.amount_minor,
                    None => net.push(leg),
                }
            }
            net.retain(|leg| leg.amount_minor != 0);
            legs = net;
        }
        for leg in &mut legs {
            leg.amount_minor = -leg.amount_minor;
        }
        Some(legs)
    }
}

pub const MAIN: &str = "customer/main";
pub const HELD: &str = "customer/held";
const LINKED: &str = "LINKED_ENTRY_REFUSED";
