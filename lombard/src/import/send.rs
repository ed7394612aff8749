//! Accounts and entries on their way to the ledger.
//!
//! Entries go out in batches, several in flight. All of one customer account
//! take the same lane, and a lane has one batch in flight, so that each account
//! is booked in the order of its journal.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use indicatif::ProgressBar;
use lombard_contracts::bank::ledger::v1;
use lombard_contracts::bank::ledger::v1::entry_outcome::Outcome;

use super::OnError;
use super::berka::Transaction;
use super::entries;
use super::order::Journal;
use crate::bank::{Bank, Ledger};
use crate::failure::Failure;

/// Batches in flight.
const LANES: usize = 4;
/// Batches that wait for their lane, over all lanes.
const WAITING_MAX: usize = LANES;
/// Accounts that are opened, or read, at the same time.
const ACCOUNTS_IN_FLIGHT: usize = 128;
/// How often an entry is sent that was refused "for now".
const ATTEMPTS_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Reasons that are kept; all refusals are counted.
const REFUSED_KEPT_MAX: usize = 1_000;

/// An entry that the ledger did not take.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Of the file.
    pub line: u64,
    /// In the ledger's words.
    pub reason: String,
}

/// What came of all entries.
#[derive(Debug, Default)]
pub struct Sent {
    /// Entries that were not in the ledger before.
    pub new: u64,
    /// Entries that were.
    pub already: u64,
    /// Transactions without an amount: nothing to book.
    pub empty: u64,
    /// The first of those that were refused.
    pub refused: Vec<Refused>,
    /// All of them.
    pub refused_count: u64,
    /// Customers' accounts that were not in the ledger before.
    pub customer_accounts_new: u64,
    /// Accounts of the bank that took part.
    pub bank_accounts: u64,
    /// Of these, those that were not in the ledger before.
    pub bank_accounts_new: u64,
}

#[derive(Debug, Default)]
struct Batch {
    entries: Vec<v1::Entry>,
    lines: Vec<u64>,
    /// Accounts that nobody opened yet when the entry came.
    accounts: Vec<v1::CreateAccountRequest>,
}

#[derive(Debug, Default)]
struct Lane {
    filling: Batch,
    waiting: VecDeque<Batch>,
    busy: bool,
}

struct Arrived {
    lane: usize,
    sent: Result<Sent, Failure>,
}

/// Takes transactions, and sends them as entries.
pub struct Sender {
    ledger: Ledger,
    batch: usize,
    on_error: OnError,
    lanes: Vec<Lane>,
    in_flight: FuturesUnordered<BoxFuture<'static, Arrived>>,
    waiting: usize,
    known: HashSet<String>,
    sent: Sent,
    bar: ProgressBar,
}

impl Sender {
    /// Begins with nothing sent.
    ///
    /// # Errors
    /// The ledger's address is not known.
    pub fn start(
        bank: &Bank,
        batch: usize,
        on_error: OnError,
        bar: ProgressBar,
    ) -> Result<Self, Failure> {
        Ok(Self {
            ledger: bank.ledger()?,
            batch,
            on_error,
            lanes: (0..LANES).map(|_| Lane::default()).collect(),
            in_flight: FuturesUnordered::new(),
            waiting: 0,
            known: HashSet::new(),
            sent: Sent::default(),
            bar,
        })
    }

    /// Whether an entry was refused and the import stops at that.
    pub fn stopped(&self) -> bool {
        self.on_error == OnError::Stop && self.sent.refused_count > 0
    }

    /// Takes a transaction; false: an entry was refused, take no more.
    ///
    /// # Errors
    /// The ledger cannot be reached, or will not open an account.
    pub async fn add(&mut self, transaction: &Transaction) -> Result<bool, Failure> {
        if self.stopped() {
            return Ok(false);
        }
        let Some(entry) = entries::entry(transaction) else {
            self.sent.empty += 1;
            self.bar.inc(1);
            return Ok(true);
        };
        // The remainder is below LANES.
        let number = (transaction.account_id % LANES as u64) as usize;
        let lane = &mut self.lanes[number];
        for account in entries::accounts(transaction) {
            if self.known.insert(account.id.clone()) {
                lane.filling.accounts.push(account);
            }
        }
        lane.filling.entries.push(entry);
        lane.filling.lines.push(transaction.line);
        if lane.filling.entries.len() >= self.batch {
            self.ship(number).await?;
        }
        Ok(true)
    }

    /// Sends what is left, and waits for all answers.
    ///
    /// # Errors
    /// The ledger cannot be reached, or will not open an account.
    pub async fn finish(mut self) -> Result<Sent, Failure> {
        for number in 0..LANES {
            if !self.stopped() && !self.lanes[number].filling.entries.is_empty() {
                self.ship(number).await?;
            }
        }
        while !self.in_flight.is_empty() {
            self.arrive().await?;
        }
        Ok(self.sent)
    }

    /// Closes the batch that the lane fills, and sends it when the lane is free.
    async fn ship(&mut self, number: usize) -> Result<(), Failure> {
        // Another lane may carry entries of an account that this one found first:
        // all accounts found so far are opened before anything goes out.
        let accounts: Vec<v1::CreateAccountRequest> = self
            .lanes
            .iter_mut()
            .flat_map(|lane| std::mem::take(&mut lane.filling.accounts))
            .collect();
        self.open(accounts).await?;
        while self.waiting >= WAITING_MAX {
            self.arrive().await?;
        }
        let lane = &mut self.lanes[number];
        let batch = std::mem::take(&mut lane.filling);
        if lane.busy {
            lane.waiting.push_back(batch);
            self.waiting += 1;
        } else {
            lane.busy = true;
            self.in_flight
                .push(Box::pin(send(self.ledger.clone(), number, batch)));
        }
        Ok(())
    }

    /// Waits for one batch's answer.
    async fn arrive(&mut self) -> Result<(), Failure> {
        let Some(Arrived { lane: number, sent }) = self.in_flight.next().await else {
            return Ok(());
        };
        let sent = sent?;
        self.bar.inc(sent.new + sent.already + sent.refused_count);
        self.sent.new += sent.new;
        self.sent.already += sent.already;
        self.sent.refused_count += sent.refused_count;
        let room = REFUSED_KEPT_MAX.saturating_sub(self.sent.refused.len());
        self.sent
            .refused
            .extend(sent.refused.into_iter().take(room));
        let stopped = self.stopped();
        let lane = &mut self.lanes[number];
        match lane.waiting.pop_front() {
            Some(batch) => {
                self.waiting -= 1;
                if stopped {
                    lane.busy = false;
                } else {
                    self.in_flight
                        .push(Box::pin(send(self.ledger.clone(), number, batch)));
                }
            }
            None => lane.busy = false,
        }
        Ok(())
    }

    async fn open(&mut self, accounts: Vec<v1::CreateAccountRequest>) -> Result<(), Failure> {
        let ledger = &self.ledger;
        let mut opening = stream::iter(accounts)
            .map(|account| async move {
                let of_bank = account.id.starts_with("bank-");
                let id = account.id.clone();
                match ledger.create_account(account).await {
                    Ok(answer) => Ok((of_bank, answer.into_owned().replayed)),
                    Err(error) => Err(not_opened(&id, &lombard_rpc::Error::from_connect(&error))),
                }
            })
            .buffer_unordered(ACCOUNTS_IN_FLIGHT);
        while let Some(opened) = opening.next().await {
            let (of_bank, replayed) = opened?;
            if of_bank {
                self.sent.bank_accounts += 1;
            }
            match (replayed, of_bank) {
                (true, _) => {}
                (false, true) => self.sent.bank_accounts_new += 1,
                (false, false) => self.sent.customer_accounts_new += 1,
            }
        }
        Ok(())
    }
}

fn not_opened(id: &str, error: &lombard_rpc::Error) -> Failure {
    let failure = Failure::failed(format!("cannot open account {id}: {error}"));
    if error.code == lombard_rpc::Code::AlreadyExists {
        failure.advise("an account of this name was opened by somebody else, with other addresses; import into another ledger")
    } else {
        failure
    }
}

/// Sends one batch, and what was refused "for now" again.
async fn send(ledger: Ledger, lane: usize, batch: Batch) -> Arrived {
    Arrived {
        lane,
        sent: attempts(&ledger, batch).await,
    }
}

async fn attempts(ledger: &Ledger, batch: Batch) -> Result<Sent, Failure> {
    let mut sent = Sent::default();
    let (mut entries, mut lines) = (batch.entries, batch.lines);
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS_MAX {
        let request = v1::CreateEntriesRequest {
            entries: entries.clone(),
            brief: true,
            ..Default::default()
        };
        let answer = ledger.create_entries(request).await.map_err(|error| {
            Failure::failed(format!(
                "the ledger did not take a batch of {} entries: {}",
                entries.len(),
                lombard_rpc::Error::from_connect(&error)
            ))
            .advise("the same command goes on from where it stopped")
        })?;
        let outcomes = answer.into_owned().outcomes;
        if outcomes.len() != entries.len() {
            return Err(Failure::failed(format!(
                "the ledger gave {} answers to {} entries",
                outcomes.len(),
                entries.len()
            )));
        }
        let (mut entries_again, mut lines_again) = (Vec::new(), Vec::new());
        for ((entry, line), outcome) in entries.into_iter().zip(lines).zip(outcomes) {
            match outcome.outcome {
                Some(Outcome::Accepted(result)) if result.replayed => sent.already += 1,
                Some(Outcome::Accepted(_)) => sent.new += 1,
                Some(Outcome::Refused(refusal)) if refusal.retryable && attempt < ATTEMPTS_MAX => {
                    entries_again.push(entry);
                    lines_again.push(line);
                }
                Some(Outcome::Refused(refusal)) => {
                    sent.refused_count += 1;
                    sent.refused.push(Refused {
                        line,
                        reason: format!("{}: {}", refusal.reason, refusal.message),
                    });
                }
                None => {
                    sent.refused_count += 1;
                    sent.refused.push(Refused {
                        line,
                        reason: "the ledger gave no outcome".to_owned(),
                    });
                }
            }
        }
        if entries_again.is_empty() {
            break;
        }
        (entries, lines) = (entries_again, lines_again);
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(sent)
}

/// What the ledger holds now on the accounts of the journal, by account id.
///
/// # Errors
/// The ledger cannot be reached.
pub async fn balances(bank: &Bank, journal: &Journal) -> Result<HashMap<u64, i64>, Failure> {
    let ledger = bank.ledger()?;
    let ledger = &ledger;
    let mut reading = stream::iter(journal.accounts())
        .map(|(account_id, _)| async move {
            let request = v1::GetBalancesRequest {
                account: format!("berka-{account_id}"),
                ..Default::default()
            };
            match ledger.get_balances(request).await {
                Ok(answer) => Ok(Some((account_id, main_balance(&answer.into_owned())))),
                Err(error) => match lombard_rpc::Error::from_connect(&error) {
                    // None of its entries came in.
                    error if error.code == lombard_rpc::Code::NotFound => Ok(None),
                    error => Err(Failure::failed(format!(
                        "cannot read the balance of berka-{account_id}: {error}"
                    ))),
                },
            }
        })
        .buffer_unordered(ACCOUNTS_IN_FLIGHT);
    let mut found = HashMap::new();
    while let Some(read) = reading.next().await {
        if let Some((account_id, balance_minor)) = read? {
            found.insert(account_id, balance_minor);
        }
    }
    Ok(found)
}

fn main_balance(answer: &v1::GetBalancesResponse) -> i64 {
    answer
        .balances
        .iter()
        .filter(|balance| balance.address == entries::CUSTOMER_ADDRESS)
        .map(|balance| balance.balance_minor)
        .sum()
}
