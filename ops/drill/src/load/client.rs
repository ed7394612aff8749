//! One client: what it asks, and what it knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lombard_consistency::history::Posted;
use lombard_consistency::wire::{self, Ledger};
use lombard_contracts::bank::ledger::v1 as proto;
use lombard_rpc::Error;
use lombard_service::Host;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{
    ADDRESS, Account, Acknowledged, Book, CURRENCY, FUNDS_MINOR, PAUSE_MAX, Payment, SentAgain,
    TREASURY,
};
use crate::DrillError;
use crate::judge::{self, Standing, Truth, Verdict, WrongKind};
use crate::observed::{Answer, Observed, Operation};

/// The most that an entry moves, in minor units.
const AMOUNT_MAX_MINOR: i64 = 100;
/// How often it is tried to open an account or give it money.
const OPEN_ATTEMPTS_MAX: u32 = 40;
/// Between two attempts of that, and of what is in doubt at the end.
const AGAIN_PAUSE: Duration = Duration::from_millis(250);
/// How often two accounts are drawn until both may be used.
const DRAWS_MAX: u32 = 16;
/// How often an entry in doubt is sent again rather than something new is done.
const IN_DOUBT_FIRST: f64 = 0.3;

/// One client.
pub struct Client {
    host: Host,
    ledger: Ledger,
    observed: Arc<Observed>,
    dice: SmallRng,
    accounts: Vec<Account>,
    entries: Vec<Acknowledged>,
    in_doubt: Vec<InDoubt>,
}

/// An entry in doubt, and which accounts of the client it is between.
#[derive(Debug, Clone)]
struct InDoubt {
    payment: Payment,
    from: usize,
    to: usize,
}

impl Client {
    /// One that has no accounts yet.
    pub fn new(
        number: u32,
        host: &Host,
        ledger: &Ledger,
        seed: u64,
        observed: &Arc<Observed>,
    ) -> Self {
        Self {
            host: host.clone(),
            ledger: ledger.clone(),
            observed: Arc::clone(observed),
            dice: SmallRng::seed_from_u64(seed ^ (u64::from(number) + 1).rotate_left(32)),
            accounts: Vec::new(),
            entries: Vec::new(),
            in_doubt: Vec::new(),
        }
    }

    /// Opens an account, gives it money, and keeps it for itself.
    ///
    /// # Errors
    /// One of the two could not be done.
    pub async fn take(&mut self, id: &str) -> Result<(), DrillError> {
        let opened_us = self.open(id, Some(0)).await?;
        let payment = Payment {
            id: self.host.id().to_string(),
            from: TREASURY.to_owned(),
            to: id.to_owned(),
            amount_minor: FUNDS_MINOR,
            asked_us: self.host.now_us(),
        };
        let first = self
            .until_done(&format!("giving {id} its money"), async |client| {
                client.post(&payment).await
            })
            .await?;
        self.entries.push(Acknowledged {
            payment,
            first,
            acknowledged_us: self.host.now_us(),
            phase: None,
        });
        self.accounts.push(Account {
            id: id.to_owned(),
            opened_us,
            standing: Standing {
                acknowledged_minor: FUNDS_MINOR,
                in_doubt_minor: None,
            },
        });
        Ok(())
    }

    /// Opens an account; when it was opened.
    ///
    /// # Errors
    /// It could not be done.
    pub async fn open(&self, id: &str, floor_minor: Option<i64>) -> Result<i64, DrillError> {
        let (opened_us, _) = self
            .until_done(&format!("opening {id}"), async |client| {
                client.create(id, floor_minor, false).await
            })
            .await?;
        Ok(opened_us)
    }

    async fn until_done<T>(
        &self,
        doing: &str,
        mut work: impl AsyncFnMut(&Self) -> Result<T, Error>,
    ) -> Result<T, DrillError> {
        let mut attempt = 1;
        loop {
            match work(self).await {
                Ok(done) => return Ok(done),
                Err(error) if !error.retryable || attempt >= OPEN_ATTEMPTS_MAX => {
                    return Err(DrillError::Ledger {
                        doing: doing.to_owned(),
                        why: error.to_string(),
                    });
                }
                Err(_) => attempt += 1,
            }
            self.host.sleep(AGAIN_PAUSE).await;
        }
    }

    /// From now on it calls this ledger.
    pub fn reach(&mut self, ledger: &Ledger) {
        self.ledger = ledger.clone();
    }

    /// Sends every entry again that was acknowledged, in their order. One that is not there
    /// any more gets in, and has another first answer from then on.
    ///
    /// # Errors
    /// One is refused, or not answered again and again.
    pub async fn send_again(&mut self) -> Result<SentAgain, DrillError> {
        let mut sent = SentAgain::default();
        let mut entries = std::mem::take(&mut self.entries);
        for entry in &mut entries {
            let payment = &entry.payment;
            let doing = format!("sending entry {} again", payment.id);
            let again = self
                .until_done(&doing, async |client| client.post(payment).await)
                .await?;
            if again.replayed {
                if let Verdict::Wrong(wrong) = judge::replayed(&payment.id, &entry.first, &again) {
                    sent.wrong.push(wrong.what);
                }
                sent.were_in.push(payment.id.clone());
            } else {
                sent.got_in.push(payment.id.clone());
                entry.first = again;
            }
        }
        self.entries = entries;
        Ok(sent)
    }

    /// Works until it is over.
    pub async fn work(&mut self, over: &AtomicBool) {
        let pause_max_us = u64::try_from(PAUSE_MAX.as_micros()).unwrap_or(u64::MAX);
        while !over.load(Ordering::Relaxed) {
            self.one().await;
            let pause_us = self.dice.random_range(0..=pause_max_us);
            self.host.sleep(Duration::from_micros(pause_us)).await;
        }
    }

    async fn one(&mut self) {
        if !self.in_doubt.is_empty() && self.dice.random_bool(IN_DOUBT_FIRST) {
            let place = self.dice.random_range(0..self.in_doubt.len());
            self.again_in_doubt(place).await;
            return;
        }
        match self.dice.random_range(0..100) {
            0..45 => self.pay().await,
            45..72 => self.read().await,
            72..84 => self.again_acknowledged().await,
            84..92 => self.open_again(false).await,
            92..98 => self.open_again(true).await,
            // Few: a bank may raise its alert when much is asked for that never was.
            _ => self.read_absent().await,
        }
    }

    /// Sends what is in doubt again until nothing is, at most for so long. How many are left.
    pub async fn settle(&mut self, patience: Duration) -> usize {
        let patience_us = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let until_us = self.host.monotonic_us().saturating_add(patience_us);
        while !self.in_doubt.is_empty() && self.host.monotonic_us() < until_us {
            for place in (0..self.in_doubt.len()).rev() {
                self.again_in_doubt(place).await;
            }
            if !self.in_doubt.is_empty() {
                self.host.sleep(AGAIN_PAUSE).await;
            }
        }
        self.in_doubt.len()
    }

    /// Adds what it knows.
    pub fn tell(&self, book: &mut Book) {
        book.accounts.extend(self.accounts.iter().cloned());
        book.entries.extend(self.entries.iter().cloned());
        let in_doubt = self.in_doubt.iter().map(|entry| entry.payment.clone());
        book.in_doubt.extend(in_doubt);
    }

    async fn pay(&mut self) {
        let Some((from, to)) = self.two() else {
            return self.read().await;
        };
        let (payer, payee) = (&self.accounts[from], &self.accounts[to]);
        let most = payer.standing.acknowledged_minor.min(AMOUNT_MAX_MINOR);
        let payment = Payment {
            id: self.host.id().to_string(),
            from: payer.id.clone(),
            to: payee.id.clone(),
            amount_minor: self.dice.random_range(1..=most),
            asked_us: self.host.now_us(),
        };
        self.send(InDoubt { payment, from, to }, Operation::Entry)
            .await;
    }

    /// Two of its accounts that are in no doubt, the first with money.
    fn two(&mut self) -> Option<(usize, usize)> {
        let count = self.accounts.len();
        for _ in 0..DRAWS_MAX {
            if count < 2 {
                return None;
            }
            let from = self.dice.random_range(0..count);
            let to = self.dice.random_range(0..count);
            let certain = |place: usize| self.accounts[place].standing.in_doubt_minor.is_none();
            let has_money = self.accounts[from].standing.acknowledged_minor > 0;
            if from != to && certain(from) && certain(to) && has_money {
                return Some((from, to));
            }
        }
        None
    }

    async fn again_in_doubt(&mut self, place: usize) {
        if place < self.in_doubt.len() {
            let entry = self.in_doubt.swap_remove(place);
            self.send(entry, Operation::EntryInDoubt).await;
        }
    }

    /// Sends an entry; it is acknowledged then, in doubt, or not in.
    async fn send(&mut self, entry: InDoubt, operation: Operation) {
        let began_us = self.host.monotonic_us();
        let answer = self.post(&entry.payment).await;
        let sent_before = operation == Operation::EntryInDoubt;
        let amount = entry.payment.amount_minor;
        let after = |place: usize, amount: i64| {
            let account = &self.accounts[place];
            (
                account.id.as_str(),
                account.standing.acknowledged_minor + amount,
            )
        };
        let verdict = match &answer {
            Ok(posted) => {
                let expected = [after(entry.from, -amount), after(entry.to, amount)];
                judge::posted(posted, &expected, sent_before)
            }
            Err(error) => judge::failure(error, Truth::There),
        };
        self.answered(operation, began_us, answer.as_ref().err(), verdict.clone());
        let stands = |client: &mut Self, acknowledged: i64, in_doubt: Option<i64>| {
            for (place, sign) in [(entry.from, -1), (entry.to, 1)] {
                let standing = &mut client.accounts[place].standing;
                standing.acknowledged_minor += sign * acknowledged;
                standing.in_doubt_minor = in_doubt.map(|amount| sign * amount);
            }
        };
        match (answer, verdict) {
            (Ok(first), _) => {
                stands(self, amount, None);
                self.entries.push(Acknowledged {
                    payment: entry.payment,
                    first,
                    acknowledged_us: self.host.now_us(),
                    phase: Some(self.observed.phase_now()),
                });
            }
            // The first time it was said that nothing was done; a refusal by a rule too.
            (Err(_), Verdict::Refused) if !sent_before => {}
            (Err(_), Verdict::Wrong(wrong)) if !sent_before && wrong.kind != WrongKind::Other => {}
            _ => {
                stands(self, 0, Some(amount));
                self.in_doubt.push(entry);
            }
        }
    }

    async fn again_acknowledged(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let place = self.dice.random_range(0..self.entries.len());
        let Acknowledged { payment, first, .. } = self.entries[place].clone();
        let began_us = self.host.monotonic_us();
        let answer = self.post(&payment).await;
        let verdict = match &answer {
            Ok(again) => judge::replayed(&payment.id, &first, again),
            Err(error) => judge::failure(error, Truth::There),
        };
        self.answered(
            Operation::EntryAgain,
            began_us,
            answer.as_ref().err(),
            verdict,
        );
    }

    async fn read(&mut self) {
        if self.accounts.is_empty() {
            return;
        }
        let place = self.dice.random_range(0..self.accounts.len());
        let Account { id, standing, .. } = self.accounts[place].clone();
        let began_us = self.host.monotonic_us();
        let answer = self.balance(&id).await;
        let verdict = match &answer {
            Ok(read) => standing.judge(&id, *read),
            Err(error) => judge::failure(error, Truth::There),
        };
        self.answered(Operation::Read, began_us, answer.as_ref().err(), verdict);
    }

    async fn read_absent(&mut self) {
        let id = format!("drill-none-{:08x}", self.dice.random::<u32>());
        let began_us = self.host.monotonic_us();
        let answer = self.balance(&id).await;
        let verdict = match &answer {
            Ok(read) => judge::wrong(
                WrongKind::Invented,
                format!("{id} never was, and was read: {read:?}"),
            ),
            Err(error) => judge::failure(error, Truth::Absent),
        };
        self.answered(
            Operation::ReadAbsent,
            began_us,
            answer.as_ref().err(),
            verdict,
        );
    }

    async fn open_again(&mut self, otherwise: bool) {
        if self.accounts.is_empty() {
            return;
        }
        let place = self.dice.random_range(0..self.accounts.len());
        let (id, first_us) = {
            let account = &self.accounts[place];
            (account.id.clone(), account.opened_us)
        };
        let began_us = self.host.monotonic_us();
        let answer = self.create(&id, Some(0), otherwise).await;
        let (operation, truth) = if otherwise {
            (Operation::OpenOtherwise, Truth::ThereOtherwise)
        } else {
            (Operation::OpenAgain, Truth::There)
        };
        let verdict = match &answer {
            Ok((opened_us, _)) if otherwise => judge::wrong(
                WrongKind::OpenedTwice,
                format!("{id}: opened at {first_us}, and again with other content at {opened_us}"),
            ),
            Ok((opened_us, replayed)) => judge::opened_again(&id, first_us, *opened_us, *replayed),
            Err(error) => judge::failure(error, truth),
        };
        self.answered(operation, began_us, answer.as_ref().err(), verdict);
    }

    fn answered(
        &self,
        operation: Operation,
        began_us: u64,
        error: Option<&Error>,
        verdict: Verdict,
    ) {
        self.observed.count(Answer {
            operation,
            code: error.map_or("ok", |error| error.code.as_str()),
            reason: error.map_or(String::new(), |error| error.reason.clone().into_owned()),
            message: error.map_or(String::new(), |error| error.message.clone()),
            verdict,
            took_us: self.host.monotonic_us().saturating_sub(began_us),
        });
    }

    async fn post(&self, payment: &Payment) -> Result<Posted, Error> {
        let leg = |account: &str, amount_minor| proto::Leg {
            account: account.to_owned(),
            address: ADDRESS.to_owned(),
            currency: CURRENCY.to_owned(),
            amount_minor,
            ..Default::default()
        };
        let entry = proto::Entry {
            id: payment.id.clone(),
            legs: vec![
                leg(&payment.from, -payment.amount_minor),
                leg(&payment.to, payment.amount_minor),
            ],
            ..Default::default()
        };
        let request = proto::CreateEntryRequest {
            entry: Some(entry).into(),
            ..Default::default()
        };
        let answer = self.ledger.create_entry(request).await;
        let answer = answer.map_err(|error| Error::from_connect(&error))?;
        wire::posted(answer.into_owned().result)
    }

    /// When the account was opened, and whether it is said that it was before.
    async fn create(
        &self,
        id: &str,
        floor_minor: Option<i64>,
        otherwise: bool,
    ) -> Result<(i64, bool), Error> {
        let address = |currency: &str| proto::Address {
            address: ADDRESS.to_owned(),
            currency: currency.to_owned(),
            floor: floor_minor
                .map(|minimum_minor| proto::Floor {
                    minimum_minor,
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        };
        let request = proto::CreateAccountRequest {
            id: id.to_owned(),
            addresses: if otherwise {
                vec![address(CURRENCY), address("EUR")]
            } else {
                vec![address(CURRENCY)]
            },
            actor: "drill".to_owned(),
            ..Default::default()
        };
        let answer = self.ledger.create_account(request).await;
        let answer = answer.map_err(|error| Error::from_connect(&error))?;
        let answer = answer.into_owned();
        let opened_us = answer.account.into_option().unwrap_or_default().opened_us;
        Ok((opened_us, answer.replayed))
    }

    /// The balance of an account; none: the answer has none.
    async fn balance(&self, id: &str) -> Result<Option<i64>, Error> {
        let read = wire::balances(&self.ledger, id.to_owned(), 0).await?;
        let ours = |balance: &&lombard_consistency::history::Balance| {
            balance.address == ADDRESS && balance.currency == CURRENCY
        };
        Ok(read
            .balances
            .iter()
            .find(ours)
            .map(|balance| balance.balance_minor))
    }
}
