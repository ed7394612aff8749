//! `lombard up --demo`: customers with accounts, and money that moves.
//!
//! The outside world (employers, shops) is played by accounts of the ledger
//! without a floor. Everything goes through RPC, as it would from outside.
//! Started again, it finds its people and their money where they were.

mod cast;
mod script;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use hdrhistogram::Histogram;
use lombard_contracts::bank::account::v1 as account;
use lombard_contracts::bank::customer::v1 as customer;
use lombard_contracts::bank::ledger::v1 as ledger;
use lombard_service::Host;

use self::cast::{Company, Person};
use self::script::Scene;
use crate::bank::{Bank, Ledger};
use crate::failure::Failure;
use crate::output::{self, grouped};

const ACTOR: &str = "demo";
const CURRENCY: &str = "GBP";
const MAIN: &str = "customer/main";
/// People and accounts that are opened at the same time.
const OPENING_MAX: usize = 16;
/// Calls in flight; what the rate asks for beyond is left out.
const IN_FLIGHT_MAX: usize = 256;
/// A shop takes this long from authorisation to capture.
const CAPTURE_AFTER: Duration = Duration::from_millis(1_500);
/// Captures that wait for their time.
const CAPTURES_MAX: usize = 10_000;
const FIGURES_EVERY: Duration = Duration::from_millis(500);
/// Without a terminal a line is written this often.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// What the demonstration looks like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Scenes a second, about.
    pub rate: f64,
    /// At least 2.
    pub customers: u32,
    /// No lines for people.
    pub quiet: bool,
}

/// Plays until it is dropped.
///
/// # Errors
/// The people cannot be opened.
pub async fn run(bank: &Bank, options: &Options) -> Result<(), Failure> {
    let people = cast::people(options.customers);
    open(bank, &people).await?;
    if !options.quiet {
        output::note(format!(
            "demo: {} with accounts, about {} payments a second; `lombard report statement {}` shows one",
            output::count(people.len() as u64, "customer", "customers"),
            options.rate,
            people
                .first()
                .map_or("", |person| person.account_id.as_str()),
        ));
    }
    let stage = Stage {
        host: bank.host().clone(),
        ledger: bank.ledger()?,
    };
    play(&stage, &people, options).await
}

/// Opens everybody; who is there already stays as he is.
async fn open(bank: &Bank, people: &[Person]) -> Result<(), Failure> {
    let ledger = bank.ledger()?;
    let (customers, accounts) = (bank.customers()?, bank.accounts()?);
    let companies = cast::EMPLOYERS
        .into_iter()
        .chain(cast::SHOPS.into_iter().map(|shop| shop.company));
    for company in companies {
        let request = ledger::CreateAccountRequest {
            id: company.account_id.to_owned(),
            addresses: vec![ledger::Address {
                address: MAIN.to_owned(),
                currency: CURRENCY.to_owned(),
                ..Default::default()
            }],
            metadata: [("name".to_owned(), company.name.to_owned())]
                .into_iter()
                .collect(),
            actor: ACTOR.to_owned(),
            ..Default::default()
        };
        ledger
            .create_account(request)
            .await
            .map_err(|error| not_opened(company.account_id, &error))?;
    }
    let (customers, accounts, ledger) = (&customers, &accounts, &ledger);
    let opening = stream::iter(people.iter().enumerate())
        .map(|(number, person)| async move {
            let request = customer::CreateCustomerRequest {
                id: person.customer_id.clone(),
                name: person.name.clone(),
                email: person.email.clone(),
                date_of_birth: person.date_of_birth.clone(),
                actor: ACTOR.to_owned(),
                ..Default::default()
            };
            customers
                .create_customer(request)
                .await
                .map_err(|error| not_opened(&person.customer_id, &error))?;
            let request = account::OpenAccountRequest {
                id: person.account_id.clone(),
                customer_id: person.customer_id.clone(),
                currency: CURRENCY.to_owned(),
                overdraft_minor: person.overdraft_minor,
                actor: ACTOR.to_owned(),
                ..Default::default()
            };
            accounts
                .open_account(request)
                .await
                .map_err(|error| not_opened(&person.account_id, &error))?;
            // The first salary: its id is the person's number, so it is paid once for ever.
            let employer = cast::EMPLOYERS[number % cast::EMPLOYERS.len()];
            let id = uuid::Builder::from_custom_bytes(first_id(number))
                .into_uuid()
                .to_string();
            let entry = transfer(
                id,
                employer.account_id,
                &person.account_id,
                150_000,
                "First salary",
            );
            let request = ledger::CreateEntryRequest {
                entry: entry.into(),
                ..Default::default()
            };
            ledger
                .create_entry(request)
                .await
                .map_err(|error| not_opened(&person.account_id, &error))?;
            Ok::<(), Failure>(())
        })
        .buffer_unordered(OPENING_MAX);
    let mut opening = std::pin::pin!(opening);
    while let Some(opened) = opening.next().await {
        opened?;
    }
    Ok(())
}

/// 2024-01-01 in milliseconds, then the person's number.
fn first_id(number: usize) -> [u8; 16] {
    const FIRST_OF_2024_MS: u64 = 1_704_067_200_000;
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&FIRST_OF_2024_MS.to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

fn not_opened(id: &str, error: &connectrpc::ConnectError) -> Failure {
    Failure::failed(format!(
        "the demonstration cannot open {id}: {}",
        lombard_rpc::Error::from_connect(error)
    ))
}

fn transfer(id: String, from: &str, to: &str, amount_minor: i64, reference: &str) -> ledger::Entry {
    let leg = |account: &str, amount_minor| ledger::Leg {
        account: account.to_owned(),
        address: MAIN.to_owned(),
        currency: CURRENCY.to_owned(),
        amount_minor,
        ..Default::default()
    };
    ledger::Entry {
        id,
        legs: vec![leg(from, -amount_minor), leg(to, amount_minor)],
        reference: reference.to_owned(),
        actor: ACTOR.to_owned(),
        ..Default::default()
    }
}

struct Stage {
    host: Host,
    ledger: Ledger,
}

/// A hold that its shop will capture or give up.
struct Authorised {
    due_us: u64,
    account: String,
    hold_id: String,
    shop: Company,
    captured_minor: Option<i64>,
}

/// How one call ended.
struct Played {
    took_us: u64,
    /// The entry is in, or the bank said no (too little money), which is life.
    outcome: Result<bool, lombard_rpc::Error>,
    authorised: Option<Authorised>,
}

async fn play(stage: &Stage, people: &[Person], options: &Options) -> Result<(), Failure> {
    let random = stage.host.random().clone();
    let mut draw = || random.next_u64();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut owed = 0.0_f64;
    let mut last_us = stage.host.monotonic_us();
    let mut in_flight = FuturesUnordered::new();
    let mut captures: VecDeque<Authorised> = VecDeque::new();
    let mut figures = Figures::new(stage.host.monotonic_us(), options.quiet);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let now_us = stage.host.monotonic_us();
                owed += options.rate * now_us.saturating_sub(last_us) as f64 / 1e6;
                last_us = now_us;
                while owed >= 1.0 {
                    owed -= 1.0;
                    if in_flight.len() < IN_FLIGHT_MAX {
                        let scene = script::next(people, &mut draw);
                        in_flight.push(futures::future::Either::Left(act(stage, people, scene)));
                    }
                }
                while captures.front().is_some_and(|next| next.due_us <= now_us) && in_flight.len() < IN_FLIGHT_MAX {
                    if let Some(authorised) = captures.pop_front() {
                        in_flight.push(futures::future::Either::Right(finish(stage, authorised)));
                    }
                }
                figures.show(now_us);
            }
            Some(played) = in_flight.next(), if !in_flight.is_empty() => {
                let Played { took_us, outcome, authorised } = played;
                figures.count(took_us, outcome);
                if let Some(authorised) = authorised && captures.len() < CAPTURES_MAX {
                    captures.push_back(authorised);
                }
            }
        }
    }
}

/// Begins a scene.
async fn act(stage: &Stage, people: &[Person], scene: Scene) -> Played {
    let id = stage.host.id().to_string();
    let began_us = stage.host.monotonic_us();
    let mut authorised = None;
    let account_of = |place: usize| {
        people
            .get(place)
            .map_or("", |person| person.account_id.as_str())
    };
    let answer = match scene {
        Scene::Salary {
            from,
            to,
            amount_minor,
        } => {
            let reference = format!("Salary {}", from.name);
            create(
                stage,
                transfer(
                    id,
                    from.account_id,
                    account_of(to),
                    amount_minor,
                    &reference,
                ),
            )
            .await
        }
        Scene::Payment {
            from,
            to,
            amount_minor,
            reference,
        } => {
            create(
                stage,
                transfer(
                    id,
                    account_of(from),
                    account_of(to),
                    amount_minor,
                    reference,
                ),
            )
            .await
        }
        Scene::Card {
            person,
            shop,
            amount_minor,
            captured_minor,
        } => {
            let request = ledger::PlaceHoldRequest {
                id: id.clone(),
                account: account_of(person).to_owned(),
                address: MAIN.to_owned(),
                currency: CURRENCY.to_owned(),
                amount_minor,
                // A week, as cards have it.
                expires_us: stage.host.now_us().saturating_add(7 * 86_400_000_000),
                reference: shop.name.to_owned(),
                actor: ACTOR.to_owned(),
                ..Default::default()
            };
            let placed = stage.ledger.place_hold(request).await.map(|_| ());
            if placed.is_ok() {
                authorised = Some(Authorised {
                    due_us: began_us.saturating_add(CAPTURE_AFTER.as_micros() as u64),
                    account: account_of(person).to_owned(),
                    hold_id: id,
                    shop,
                    captured_minor,
                });
            }
            placed
        }
    };
    Played {
        took_us: stage.host.monotonic_us().saturating_sub(began_us),
        outcome: outcome(answer),
        authorised,
    }
}

async fn create(stage: &Stage, entry: ledger::Entry) -> Result<(), connectrpc::ConnectError> {
    let request = ledger::CreateEntryRequest {
        entry: entry.into(),
        ..Default::default()
    };
    stage.ledger.create_entry(request).await.map(|_| ())
}

/// Captures a hold, or gives it up.
async fn finish(stage: &Stage, authorised: Authorised) -> Played {
    let id = stage.host.id().to_string();
    let began_us = stage.host.monotonic_us();
    let answer = match authorised.captured_minor {
        Some(amount_minor) => {
            let request = ledger::CaptureHoldRequest {
                id,
                account: authorised.account,
                hold_id: authorised.hold_id,
                amount_minor,
                to_account: authorised.shop.account_id.to_owned(),
                r#final: true,
                reference: authorised.shop.name.to_owned(),
                actor: ACTOR.to_owned(),
                ..Default::default()
            };
            stage.ledger.capture_hold(request).await.map(|_| ())
        }
        None => {
            let request = ledger::ReleaseHoldRequest {
                id,
                account: authorised.account,
                hold_id: authorised.hold_id,
                actor: ACTOR.to_owned(),
                ..Default::default()
            };
            stage.ledger.release_hold(request).await.map(|_| ())
        }
    };
    Played {
        took_us: stage.host.monotonic_us().saturating_sub(began_us),
        outcome: outcome(answer),
        authorised: None,
    }
}

fn outcome(answer: Result<(), connectrpc::ConnectError>) -> Result<bool, lombard_rpc::Error> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) => match lombard_rpc::Error::from_connect(&error) {
            error if error.code == lombard_rpc::Code::FailedPrecondition => Ok(false),
            error => Err(error),
        },
    }
}

/// The line of live figures.
struct Figures {
    quiet: bool,
    terminal: bool,
    latency_us: Option<Histogram<u64>>,
    entries: u64,
    declined: u64,
    failed: u64,
    last_error: String,
    shown_us: u64,
    shown_entries: u64,
}

impl Figures {
    fn new(now_us: u64, quiet: bool) -> Self {
        Self {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            // Constant bounds; without a histogram the line has no p99.
            latency_us: Histogram::new_with_bounds(1, 60_000_000, 2).ok(),
            entries: 0,
            declined: 0,
            failed: 0,
            last_error: String::new(),
            shown_us: now_us,
            shown_entries: 0,
        }
    }

    fn count(&mut self, took_us: u64, outcome: Result<bool, lombard_rpc::Error>) {
        if let Some(latency_us) = &mut self.latency_us {
            latency_us.saturating_record(took_us.max(1));
        }
        match outcome {
            Ok(true) => self.entries += 1,
            Ok(false) => self.declined += 1,
            Err(error) => {
                self.failed += 1;
                self.last_error = error.to_string();
            }
        }
    }

    fn show(&mut self, now_us: u64) {
        let every = if self.terminal {
            FIGURES_EVERY
        } else {
            LINE_EVERY
        };
        let since_us = now_us.saturating_sub(self.shown_us);
        if self.quiet || since_us < every.as_micros() as u64 {
            return;
        }
        let rate = (self.entries - self.shown_entries) as f64 / (since_us as f64 / 1e6);
        let p99_ms = self
            .latency_us
            .as_ref()
            .map_or(0.0, |latency| latency.value_at_quantile(0.99) as f64 / 1e3);
        let mut line = format!(
            "demo: {rate:.0} entries/s, {} in all, {} declined, p99 {p99_ms:.1} ms",
            grouped(self.entries),
            grouped(self.declined)
        );
        if self.failed > 0 {
            line.push_str(&format!(
                ", {} failed ({})",
                grouped(self.failed),
                self.last_error
            ));
        }
        if self.terminal {
            // Over the line before, and the rest of it away.
            anstream::eprint!("\r{line}\x1b[K");
        } else {
            output::note(line);
        }
        if let Some(latency_us) = &mut self.latency_us {
            latency_us.reset();
        }
        self.shown_us = now_us;
        self.shown_entries = self.entries;
    }
}
