//! The ledger against a plain model of it, over the simulated engine with every fault.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod concurrent;
#[path = "../harness/mod.rs"]
mod harness;
mod rules;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::task::Poll;

use harness::{Bank, SECOND_US, call, create_entries, id, leg, leg_on};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::Options;
use lombard_rpc::Error;
use lombard_store::simulated::{Faults, Kind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rules::{Expected, HELD, Leg5, MAIN, Model, Request};

const SEEDS: u64 = 2_000;
const STEPS: u64 = 60;
/// Every kind of engine that the simulated one can be.
pub const KINDS: [Kind; 3] = [Kind::OneLog, Kind::OneLogShared, Kind::Replicated];

/// The seeds of a test; `SEED=21 cargo test …` runs that one alone.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let one = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok());
    one.map_or(0..count, |seed| seed..seed + 1)
}

/// One client, a bank that fails as its seed says, and what it should do.
struct Run {
    seed: u64,
    bank: Bank,
    model: Model,
    dice: SmallRng,
    number: u64,
    sent: Vec<Request>,
    /// Homes and ids of others that they used too. A refusal may be for good: never twice.
    reused: BTreeSet<(String, String)>,
}

#[test]
fn one_client_gets_the_models_answers_whatever_fails() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in seeds(SEEDS) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let run = runtime.block_on(Run::through(seed));
        accepted += run.0;
        refused += run.1;
    }
    // Most of what is tried means something, and enough is refused.
    let seeds = seeds(SEEDS).count() as u64;
    assert!(
        seeds == 1 || (accepted > seeds * STEPS / 3 && refused > seeds * STEPS / 10),
        "{accepted} {refused}"
    );
}

impl Run {
    async fn through(seed: u64) -> (u64, u64) {
        let kind = KINDS[usize::try_from(seed % 3).unwrap()];
        let mut run = Self {
            seed,
            bank: Bank::with(kind, seed, Options::default()).await,
            model: Model::default(),
            dice: SmallRng::seed_from_u64(seed),
            number: 0,
            sent: Vec::new(),
            reused: BTreeSet::new(),
        };
        for (account, entity, floor) in [
            ("a", "", Some(0)),
            ("b", "", Some(0)),
            ("c", "", Some(-500)),
            ("bank", "", None),
            ("x", "other", None),
        ] {
            let main = floor.map_or(format!("{MAIN} GBP"), |floor| format!("{MAIN} GBP {floor}"));
            run.bank
                .open_in(entity, account, &[&main, &format!("{HELD} GBP 0")])
                .await;
            run.model.open(
                account,
                if entity.is_empty() { "default" } else { entity },
                &[(MAIN, floor), (HELD, Some(0))],
            );
        }
        run.bank.engine.set_faults(match kind {
            Kind::Replicated => Faults::replicated(),
            _ => Faults {
                flush_failure: 0.01,
                ..Faults::one_log()
            },
        });
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..STEPS {
            if run.step().await {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
        run.bank.settle().await;
        run.compare_balances().await;
        let report = run.bank.check().await;
        assert!(
            report.findings.is_empty(),
            "seed {seed}: {:#?}",
            report.findings
        );
        assert_eq!((report.in_flight, report.reserved), (0, 0), "seed {seed}");
        (accepted, refused)
    }

    /// Sends something and compares. Whether it was accepted.
    async fn step(&mut self) -> bool {
        let pause = self.dice.random_range(1_000..3 * SECOND_US);
        self.bank.advance_us(pause);
        match self.dice.random_range(0..20) {
            0 => return self.administer().await,
            1 => return self.chain().await,
            2 => {
                self.pass().await;
                return true;
            }
            3 => {
                self.model.expire(self.bank.now_us());
                self.compare_balances().await;
                return true;
            }
            _ => {}
        }
        let request = match self.sent.len() {
            // What was sent before comes again, now and then with other content.
            sent if sent > 0 && self.dice.random_bool(0.1) => {
                let mut request = self.sent[self.dice.random_range(0..sent)].clone();
                if let Request::Entry(entry) = &mut request
                    && self.dice.random_bool(0.3)
                {
                    for leg in &mut entry.legs {
                        leg.amount_minor *= 2;
                    }
                }
                request
            }
            _ => {
                let request = self.request();
                self.with_an_id_of_another_home(request)
            }
        };
        let now_us = self.bank.now_us();
        let answer = self.send(&request).await;
        let before = self.model.clone();
        let expected = self.model.commit(&request, now_us);
        let accepted = self.compare(&request, &answer, &expected);
        if !accepted {
            self.model = before;
            self.model.expire(now_us);
        }
        // A refusal that came of a reservation is for good, one that did not is not: such ids are not used again.
        if accepted {
            self.sent.push(request);
        }
        accepted
    }

    fn compare(
        &self,
        request: &Request,
        answer: &Result<EntryResult, Error>,
        expected: &Expected,
    ) -> bool {
        let seed = self.seed;
        match (answer, expected) {
            (Ok(result), Expected::In { legs, replayed }) => {
                let answered: Vec<Leg5> = result.legs.iter().map(leg5).collect();
                assert_eq!(&answered, legs, "seed {seed}: {request:#?}");
                // A first answer that was lost on the way is told as a replay.
                assert!(result.replayed || !replayed, "seed {seed}: {request:#?}");
                true
            }
            (Err(error), Expected::Refused(reasons)) => {
                let known = reasons.contains(error.reason.as_ref());
                assert!(
                    known || late(request, error),
                    "seed {seed}: {error}, not {reasons:?}: {request:#?}"
                );
                false
            }
            // A reservation that a crash left behind may have been settled before the client came again.
            (Err(error), Expected::In { .. }) if late(request, error) => false,
            _ => panic!("seed {seed}: {answer:#?}, not {expected:#?}: {request:#?}"),
        }
    }

    fn next_id(&mut self) -> String {
        self.number += 1;
        id(self.bank.now_us(), self.number)
    }

    /// Ids are unique at a home: now and then another home has used the same before.
    fn with_an_id_of_another_home(&mut self, mut request: Request) -> Request {
        let home = request.home();
        if let Request::Entry(entry) = &mut request
            && !self.sent.is_empty()
            && self.dice.random_bool(0.3)
        {
            let other = &self.sent[self.dice.random_range(0..self.sent.len())];
            if other.home() != home && self.reused.insert((home, other.id().to_owned())) {
                entry.id = other.id().to_owned();
            }
        }
        request
    }

    fn request(&mut self) -> Request {
        let id = self.next_id();
        let amount = self.dice.random_range(1..400);
        match self.dice.random_range(0..12) {
            0 | 1 => {
                let account = self.customer();
                let expires_us = match self.dice.random_range(0..3) {
                    0 => 0,
                    1 => {
                        (self.bank.now_us() / SECOND_US + self.dice.random_range(1..20)) * SECOND_US
                    }
                    _ => self.bank.now_us() - self.dice.random_range(0..5),
                };
                Request::Place(PlaceHoldRequest {
                    id,
                    account,
                    currency: "GBP".to_owned(),
                    amount_minor: amount,
                    expires_us,
                    ..Default::default()
                })
            }
            2 | 3 if !self.model.holds.is_empty() => {
                let (hold_id, account) = self.hold();
                let to_account = if account == "bank" { "c" } else { "bank" };
                Request::Capture(CaptureHoldRequest {
                    id,
                    account,
                    hold_id,
                    amount_minor: self.dice.random_range(1..300),
                    to_account: to_account.to_owned(),
                    r#final: self.dice.random_bool(0.4),
                    allow_over: self.dice.random_bool(0.4),
                    ..Default::default()
                })
            }
            4 if !self.model.holds.is_empty() => {
                let (hold_id, account) = self.hold();
                let amount_minor = if self.dice.random_bool(0.5) {
                    0
                } else {
                    self.dice.random_range(1..300)
                };
                Request::Release(ReleaseHoldRequest {
                    id,
                    account,
                    hold_id,
                    amount_minor,
                    ..Default::default()
                })
            }
            5 if !self.sent.is_empty() => {
                let reversed = &self.sent[self.dice.random_range(0..self.sent.len())];
                let (entry_id, home) = (reversed.id().to_owned(), reversed.home());
                Request::Reverse(ReverseEntryRequest {
                    id,
                    entry_id,
                    home,
                    ..Default::default()
                })
            }
            6 | 7 => {
                // A reservation, most of the time: two customers pay.
                let (first, second, to) = (self.customer(), self.customer(), self.any());
                let more = self.dice.random_range(1..200);
                let legs = vec![
                    leg(&first, -amount),
                    leg(&second, -more),
                    leg(&to, amount + more),
                ];
                let value_date = if self.dice.random_bool(0.2) {
                    "2025-12-30"
                } else {
                    ""
                };
                Request::Entry(Entry {
                    id,
                    legs,
                    value_date: value_date.to_owned(),
                    ..Default::default()
                })
            }
            8 => {
                let from = self.customer();
                let legs = vec![leg(&from, -amount), leg("bank", amount)];
                Request::Entry(Entry {
                    id,
                    legs,
                    up_to_available: true,
                    ..Default::default()
                })
            }
            9 => {
                let (from, to) = (self.any(), self.any());
                let legs = vec![leg_on(&from, HELD, "GBP", -amount), leg(&to, amount)];
                Request::Entry(Entry {
                    id,
                    legs,
                    ..Default::default()
                })
            }
            10 => {
                let to = self.customer();
                Request::Entry(Entry {
                    id,
                    legs: vec![leg("bank", -amount), leg(&to, amount)],
                    ..Default::default()
                })
            }
            _ => {
                let (from, to) = (self.any(), self.any());
                let value_date = if self.dice.random_bool(0.2) {
                    "2025-12-30"
                } else {
                    ""
                };
                let legs = vec![leg(&from, -amount), leg(&to, amount)];
                Request::Entry(Entry {
                    id,
                    legs,
                    value_date: value_date.to_owned(),
                    ..Default::default()
                })
            }
        }
    }

    fn customer(&mut self) -> String {
        ["a", "b", "c"][self.dice.random_range(0..3)].to_owned()
    }

    fn any(&mut self) -> String {
        ["a", "b", "c", "a", "b", "c", "bank", "bank", "x", "nobody"][self.dice.random_range(0..10)]
            .to_owned()
    }

    fn hold(&mut self) -> (String, String) {
        let at = self.dice.random_range(0..self.model.holds.len());
        let (id, hold) = self.model.holds.iter().nth(at).unwrap();
        (id.clone(), hold.account.clone())
    }

    async fn chain(&mut self) -> bool {
        let home = self.customer();
        let len = self.dice.random_range(2..5);
        let mut entries = Vec::new();
        for _ in 0..len {
            let amount = self.dice.random_range(1..200);
            let to = if self.dice.random_bool(0.1) {
                "nobody"
            } else {
                "bank"
            };
            let id = self.next_id();
            entries.push(Entry {
                id,
                legs: vec![leg(&home, -amount), leg(to, amount)],
                linked: true,
                ..Default::default()
            });
        }
        entries.last_mut().unwrap().linked = false;
        let request = CreateEntriesRequest {
            entries: entries.clone(),
            ..Default::default()
        };
        let now_us = self.bank.now_us();
        let answer = loop {
            match self
                .until_crash(async |bank| create_entries(&bank.ledger, request.clone()).await)
                .await
            {
                Some(Ok(answer)) => break answer,
                Some(Err(error)) => self.failed(&error).await,
                None => self.bank.crash().await,
            }
        };
        let requests: Vec<Request> = entries.into_iter().map(Request::Entry).collect();
        let expected = self.model.chain(&requests, now_us);
        let mut all = true;
        for ((request, outcome), expected) in
            requests.into_iter().zip(answer.outcomes).zip(&expected)
        {
            let answer = match outcome.outcome {
                Some(entry_outcome::Outcome::Accepted(result)) => Ok(*result),
                Some(entry_outcome::Outcome::Refused(refusal)) => {
                    Err(Error::failed_precondition(refusal.reason, refusal.message))
                }
                None => panic!("no outcome"),
            };
            all &= self.compare(&request, &answer, expected);
        }
        all
    }

    async fn administer(&mut self) -> bool {
        let account = self.customer();
        let (debits, credits) = (self.dice.random_bool(0.2), self.dice.random_bool(0.2));
        let request = FreezeAccountRequest {
            account: account.clone(),
            debits,
            credits,
            ..Default::default()
        };
        loop {
            match self
                .until_crash(async |bank| {
                    call!(bank, freeze_account(FreezeAccountRequest), request.clone())
                })
                .await
            {
                Some(Ok(_)) => break,
                Some(Err(error)) => self.failed(&error).await,
                None => self.bank.crash().await,
            }
        }
        let account = self.model.accounts.get_mut(&account).unwrap();
        (account.debits_frozen, account.credits_frozen) = (debits, credits);
        true
    }

    /// Sends it until there is an answer that is not a failure.
    async fn send(&mut self, request: &Request) -> Result<EntryResult, Error> {
        let mut in_doubt = self.sent.iter().any(|sent| sent.id() == request.id());
        loop {
            match self
                .until_crash(async |bank| post(bank, request).await)
                .await
            {
                Some(Err(error)) if error.retryable => {
                    self.failed(&error).await;
                    in_doubt |= error.reason != "STORE_UNAVAILABLE";
                    if !in_doubt {
                        self.assert_nothing_is_in(request).await;
                    }
                }
                Some(answer) => return answer,
                None => {
                    self.bank.crash().await;
                    in_doubt = true;
                }
            }
        }
    }

    /// What was refused as unavailable has changed nothing, whoever looks.
    async fn assert_nothing_is_in(&mut self, request: &Request) {
        let ask = GetEntryRequest {
            id: request.id().to_owned(),
            home: request.home(),
            ..Default::default()
        };
        match call!(self.bank, get_entry(GetEntryRequest), ask) {
            Ok(found) => panic!("seed {}: unavailable, and there: {found:?}", self.seed),
            // It may be unavailable as well; and some requests name nobody's account.
            Err(error) => assert!(
                error.retryable
                    || ["ENTRY_NOT_FOUND", "ACCOUNT_NOT_FOUND"].contains(&error.reason.as_ref()),
                "seed {}: {error}",
                self.seed
            ),
        }
    }

    /// The engine failed: it may have to be started again.
    async fn failed(&mut self, error: &Error) {
        assert!(error.retryable, "seed {}: {error}", self.seed);
        if matches!(error.reason.as_ref(), "STORE_CLOSED" | "OUTCOME_UNKNOWN") {
            self.bank.crash().await;
        }
    }

    /// Runs until it answers, or until the plug is pulled some turns after it began.
    async fn until_crash<T>(&mut self, work: impl AsyncFnOnce(&Bank) -> T) -> Option<T> {
        let turns = self
            .dice
            .random_bool(0.05)
            .then(|| self.dice.random_range(0..40));
        let mut work = std::pin::pin!(work(&self.bank));
        let mut turn = 0;
        poll_fn(|context| {
            if turns.is_some_and(|turns| turn >= turns) {
                return Poll::Ready(None);
            }
            turn += 1;
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// The coordinator and the sweeper look around, as they do between calls.
    async fn pass(&mut self) {
        let now_us = self.bank.now_us();
        // What fails is done again by the next pass.
        let _ = self.bank.pass().await;
        let _ = self.bank.ledger.sweeper().scan().await;
        let _ = self.bank.ledger.sweeper().sweep(now_us).await;
    }

    async fn compare_balances(&mut self) {
        for account in ["a", "b", "c", "bank", "x"] {
            let request = GetBalancesRequest {
                account: account.to_owned(),
                ..Default::default()
            };
            let now_us = self.bank.now_us();
            let answer = loop {
                match call!(self.bank, get_balances(GetBalancesRequest), request.clone()) {
                    Ok(answer) => break answer,
                    Err(error) => self.failed(&error).await,
                }
            };
            self.model.expire(now_us);
            for balance in answer.balances {
                let place = (account.to_owned(), balance.address.clone());
                let expected = self.model.balances.get(&place).copied().unwrap_or(0);
                assert_eq!(
                    balance.balance_minor, expected,
                    "seed {}: {place:?}",
                    self.seed
                );
            }
        }
    }
}

fn leg5(outcome: &LegResult) -> Leg5 {
    let leg = &outcome.leg;
    (
        leg.account.clone(),
        leg.address.clone(),
        leg.amount_minor,
        outcome.before_minor,
        outcome.after_minor,
    )
}

/// Whether the entry was refused because its reservation was settled before the decision.
fn late(request: &Request, error: &Error) -> bool {
    matches!(
        request,
        Request::Entry(_) | Request::Reverse(_) | Request::Capture(_)
    ) && error.reason == "RESERVATION_EXPIRED"
}

async fn post(bank: &Bank, request: &Request) -> Result<EntryResult, Error> {
    let result = match request {
        Request::Entry(entry) => {
            let request = CreateEntryRequest {
                entry: Some(entry.clone()).into(),
                ..Default::default()
            };
            call!(bank, create_entry(CreateEntryRequest), request)?.result
        }
        Request::Place(request) => {
            call!(bank, place_hold(PlaceHoldRequest), request.clone())?.result
        }
        Request::Capture(request) => {
            call!(bank, capture_hold(CaptureHoldRequest), request.clone())?.result
        }
        Request::Release(request) => {
            call!(bank, release_hold(ReleaseHoldRequest), request.clone())?.result
        }
        Request::Reverse(request) => {
            call!(bank, reverse_entry(ReverseEntryRequest), request.clone())?.result
        }
    };
    Ok(result.into_option().unwrap())
}
