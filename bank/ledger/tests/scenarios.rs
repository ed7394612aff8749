//! Scenarios that read like a bank's own papers: see `scenarios/`.
//!
//! A line is an order, an expectation, or the time. Amounts are in major
//! units (`12.50`, pounds unless a currency follows); an order that is to be
//! refused ends with `-> REASON`. At the end of each file the auditor must find
//! nothing.
//!
//! ```text
//! at 2026-01-05 09:00                              the clock
//! open alice  customer/main 0 | customer/held -    addresses with their floors; - is none
//! e1: pay 10.00 alice to shop  value 2026-01-02  ref "tea"  upto
//! e2: entry alice -10.00, shop/fees 1.00, bank 9.00
//! linked e3, e4: pay …                             a chain: lines that begin with + belong to it
//! h1: hold 30.00 alice until 2026-01-12 09:00
//! c1: capture 10.00 of h1 at alice to shop  final  over
//! r1: release 5.00 of h1 at alice                  or: release h1 at alice
//! v1: reverse e1 at alice
//! freeze alice debits | floor alice customer/main -50.00 | close alice
//! alice: main 70.00, held 30.00, available 70.00   balances and definitions, now
//! alice on value 2026-01-02: main 0.00             … by value date
//! alice at 2026-01-05 09:00: main 0.00             … as of a booked moment
//! h1 at alice: open 20.00                          a hold: its state and what remains
//! statement alice [newest first]                   lines that begin with | follow
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use std::collections::HashMap;
use std::path::Path;

use harness::{Bank, SECOND_US, address, call, create_entries, id};
use lombard_contracts::bank::ledger::v1::*;
use lombard_ledger::types::{DAY_US, day_of, parse_day, print_day};
use lombard_money::Currency;

struct Play {
    bank: Bank,
    /// The id behind each label, made at its first use.
    ids: HashMap<String, String>,
}

#[tokio::test]
async fn every_scenario_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "the scenarios are there");
    let mut failed = Vec::new();
    for file in files {
        if let Err(error) = play(&file).await {
            failed.push(error);
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Plays one file up to its end or the first line that does not go as written.
async fn play(file: &Path) -> Done {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut play = Play {
        bank: Bank::new().await,
        ids: HashMap::new(),
    };
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(place, line)| {
            (
                place + 1,
                line.split('#').next().unwrap_or_default().trim_end(),
            )
        })
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let mut at = 0;
    while at < lines.len() {
        let (number, line) = lines[at];
        let follows = |(_, line): &&(usize, &str)| line.trim_start().starts_with(['|', '+']);
        let more: Vec<&str> = lines[at + 1..]
            .iter()
            .take_while(follows)
            .map(|(_, line)| line.trim())
            .collect();
        at += 1 + more.len();
        play.line(line.trim(), &more)
            .await
            .map_err(|error| format!("{name}:{number}: {line}\n  {error}"))?;
    }
    let report = play.bank.check().await;
    if report.findings.is_empty() {
        Ok(())
    } else {
        Err(format!("{name}: {:#?}", report.findings))
    }
}

/// What a line came to: nothing to say, or how it differs from what is written.
type Done = Result<(), String>;

impl Play {
    async fn line(&mut self, line: &str, more: &[&str]) -> Done {
        let (order, refused) = match line.split_once("->") {
            Some((order, reason)) => (order.trim(), Some(reason.trim())),
            None => (line, None),
        };
        let words: Vec<&str> = order.split_whitespace().collect();
        match words.as_slice() {
            ["at", day, time] => self.at(day, time),
            ["wait", amount, unit] => self.wait(amount, unit),
            ["open", ..] => self.open(order).await,
            ["statement", account, order @ ..] => {
                self.statement(account, order == ["newest", "first"], more)
                    .await
            }
            ["freeze" | "floor" | "close", ..] => expect(self.administer(&words).await, refused),
            ["linked", ..] => self.linked(more, refused).await,
            [label, "pay" | "entry", ..] if label.ends_with(':') => {
                let entry = self.entry(order)?;
                let request = CreateEntryRequest {
                    entry: Some(entry).into(),
                    ..Default::default()
                };
                let answer = call!(self.bank, create_entry(CreateEntryRequest), request);
                expect(answer.map(|answer| answer.result.replayed), refused)
            }
            [label, "hold", ..] if label.ends_with(':') => self.hold(&words, refused).await,
            [label, "capture", ..] if label.ends_with(':') => self.capture(&words, refused).await,
            [label, "release", ..] if label.ends_with(':') => self.release(&words, refused).await,
            [label, "reverse", ..] if label.ends_with(':') => self.reverse(&words, refused).await,
            [_, "at", _, "open" | "captured" | "released" | "expired", ..] | [_, "at", _, ..]
                if order
                    .split_once(':')
                    .is_some_and(|(_, rest)| is_hold_state(rest)) =>
            {
                self.hold_is(order).await
            }
            _ if order.contains(':') => self.balances(order).await,
            _ => Err("nobody knows what this line means".to_owned()),
        }
    }

    fn id(&mut self, label: &str) -> String {
        let label = label.trim_end_matches([':', ',']).to_owned();
        let (now_us, number) = (self.bank.now_us(), self.ids.len() as u64);
        self.ids
            .entry(label)
            .or_insert_with(|| id(now_us, number))
            .clone()
    }

    fn at(&mut self, day: &str, time: &str) -> Done {
        let moment = moment(day, time)?;
        let now = self.bank.now_us();
        if moment < now {
            return Err(format!("time only goes on: it is {}", print_moment(now)));
        }
        self.bank.advance_us(moment - now);
        Ok(())
    }

    fn wait(&mut self, amount: &str, unit: &str) -> Done {
        let amount: i64 = amount.parse().map_err(|_| "how long?")?;
        let us = match unit.trim_end_matches('s') {
            "microsecond" => 1,
            "second" => SECOND_US,
            "minute" => 60 * SECOND_US,
            "hour" => 3_600 * SECOND_US,
            "day" => DAY_US,
            _ => return Err("which unit?".to_owned()),
        };
        self.bank.advance_us(amount * us);
        Ok(())
    }

    async fn open(&mut self, order: &str) -> Done {
        let rest = order.strip_prefix("open").unwrap_or_default().trim();
        let (account, addresses) = rest.split_once(' ').ok_or("open NAME ADDRESSES")?;
        let mut request = CreateAccountRequest {
            id: account.to_owned(),
            ..Default::default()
        };
        for text in addresses.split('|') {
            let words: Vec<&str> = text.split_whitespace().collect();
            let (name, floor, currency) = match words.as_slice() {
                [name, floor] => (name, floor, "GBP"),
                [name, floor, currency] => (name, floor, *currency),
                ["entity", _, name, floor] => (name, floor, "GBP"),
                _ => return Err(format!("{text}: ADDRESS FLOOR [CURRENCY]")),
            };
            if let ["entity", entity, ..] = words.as_slice() {
                request.entity = (*entity).to_owned();
            }
            let floor = if *floor == "-" {
                String::new()
            } else {
                format!(" {}", minor(floor, currency)?)
            };
            request
                .addresses
                .push(address(&format!("{name} {currency}{floor}")));
        }
        call!(self.bank, create_account(CreateAccountRequest), request)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    async fn administer(&mut self, words: &[&str]) -> Result<bool, lombard_rpc::Error> {
        let account = words[1].to_owned();
        match words {
            ["freeze", _, what @ ..] => {
                let (debits, credits) = (what.contains(&"debits"), what.contains(&"credits"));
                let request = FreezeAccountRequest {
                    account,
                    debits,
                    credits,
                    ..Default::default()
                };
                call!(self.bank, freeze_account(FreezeAccountRequest), request).map(|_| false)
            }
            ["floor", _, address, floor] => {
                let floor = (*floor != "-").then(|| Floor {
                    minimum_minor: minor(floor, "GBP").unwrap(),
                    ..Default::default()
                });
                let request = SetFloorRequest {
                    account,
                    address: (*address).to_owned(),
                    currency: "GBP".to_owned(),
                    floor: floor.into(),
                    ..Default::default()
                };
                call!(self.bank, set_floor(SetFloorRequest), request).map(|_| false)
            }
            _ => {
                let request = CloseAccountRequest {
                    account,
                    ..Default::default()
                };
                call!(self.bank, close_account(CloseAccountRequest), request).map(|_| false)
            }
        }
    }

    /// `e1: pay 10.00 [CUR] alice to shop …` or `e1: entry alice -10.00, shop 10.00 …`.
    fn entry(&mut self, order: &str) -> Result<Entry, String> {
        let (order, reference) = match order.split_once("ref \"") {
            Some((order, rest)) => (order, rest.trim_end_matches('"').to_owned()),
            None => (order, String::new()),
        };
        let mut words: Vec<&str> = order.split_whitespace().collect();
        let mut entry = Entry {
            id: self.id(words[0]),
            reference,
            ..Default::default()
        };
        if let Some(place) = words.iter().position(|word| *word == "value") {
            entry.value_date = words[place + 1].to_owned();
            words.drain(place..place + 2);
        }
        if let Some(place) = words.iter().position(|word| *word == "upto") {
            entry.up_to_available = true;
            words.remove(place);
        }
        entry.legs = match words.as_slice() {
            [_, "pay", amount, from, "to", to] => two_legs(amount, "GBP", from, to)?,
            [_, "pay", amount, currency, from, "to", to] => two_legs(amount, currency, from, to)?,
            [_, "entry", legs @ ..] => {
                let legs = legs.join(" ");
                legs.split(',')
                    .map(one_leg)
                    .collect::<Result<_, String>>()?
            }
            _ => return Err("pay AMOUNT FROM to TO, or entry ACCOUNT AMOUNT, …".to_owned()),
        };
        Ok(entry)
    }

    async fn linked(&mut self, lines: &[&str], refused: Option<&str>) -> Done {
        let mut entries = Vec::new();
        for line in lines {
            entries.push(Entry {
                linked: true,
                ..self.entry(line.trim_start_matches('+').trim())?
            });
        }
        if let Some(last) = entries.last_mut() {
            last.linked = false;
        }
        let request = CreateEntriesRequest {
            entries,
            ..Default::default()
        };
        let answer = create_entries(&self.bank.ledger, request)
            .await
            .map_err(|error| error.to_string())?;
        let reasons: Vec<String> = answer
            .outcomes
            .into_iter()
            .map(|outcome| match outcome.outcome {
                Some(entry_outcome::Outcome::Refused(refusal)) => refusal.reason,
                _ => "in".to_owned(),
            })
            .collect();
        same(
            &refused.unwrap_or("in"),
            &if reasons.iter().all(|r| r == "in") {
                "in".to_owned()
            } else {
                reasons.join(", ")
            }
            .as_str(),
        )
    }

    async fn hold(&mut self, words: &[&str], refused: Option<&str>) -> Done {
        let (amount, account, expires_us) = match words {
            [_, _, amount, account] => (amount, account, 0),
            [_, _, amount, account, "until", day, time] => (amount, account, moment(day, time)?),
            _ => return Err("hold AMOUNT ACCOUNT [until DAY TIME]".to_owned()),
        };
        let (account, address) = place(account);
        let request = PlaceHoldRequest {
            id: self.id(words[0]),
            account,
            address,
            currency: "GBP".to_owned(),
            amount_minor: minor(amount, "GBP")?,
            expires_us,
            ..Default::default()
        };
        let answer = call!(self.bank, place_hold(PlaceHoldRequest), request);
        expect(answer.map(|answer| answer.result.replayed), refused)
    }

    async fn capture(&mut self, words: &[&str], refused: Option<&str>) -> Done {
        let [
            label,
            _,
            amount,
            "of",
            hold,
            "at",
            account,
            "to",
            to,
            how @ ..,
        ] = words
        else {
            return Err("capture AMOUNT of HOLD at ACCOUNT to ACCOUNT [final] [over]".to_owned());
        };
        let (to_account, to_address) = place(to);
        let request = CaptureHoldRequest {
            id: self.id(label),
            account: (*account).to_owned(),
            hold_id: self.id(hold),
            amount_minor: minor(amount, "GBP")?,
            to_account,
            to_address,
            r#final: how.contains(&"final"),
            allow_over: how.contains(&"over"),
            ..Default::default()
        };
        let answer = call!(self.bank, capture_hold(CaptureHoldRequest), request);
        expect(answer.map(|answer| answer.result.replayed), refused)
    }

    async fn release(&mut self, words: &[&str], refused: Option<&str>) -> Done {
        let (label, amount, hold, account) = match words {
            [label, _, hold, "at", account] => (label, "0", hold, account),
            [label, _, amount, "of", hold, "at", account] => (label, *amount, hold, account),
            _ => return Err("release [AMOUNT of] HOLD at ACCOUNT".to_owned()),
        };
        let request = ReleaseHoldRequest {
            id: self.id(label),
            account: (*account).to_owned(),
            hold_id: self.id(hold),
            amount_minor: minor(amount, "GBP")?,
            ..Default::default()
        };
        let answer = call!(self.bank, release_hold(ReleaseHoldRequest), request);
        expect(answer.map(|answer| answer.result.replayed), refused)
    }

    async fn reverse(&mut self, words: &[&str], refused: Option<&str>) -> Done {
        let (label, entry, home, value_date) = match words {
            [label, _, entry, "at", home] => (label, entry, home, ""),
            [label, _, entry, "at", home, "value", day] => (label, entry, home, *day),
            _ => return Err("reverse ENTRY at HOME [value DAY]".to_owned()),
        };
        let request = ReverseEntryRequest {
            id: self.id(label),
            entry_id: self.id(entry),
            home: (*home).to_owned(),
            value_date: value_date.to_owned(),
            ..Default::default()
        };
        let answer = call!(self.bank, reverse_entry(ReverseEntryRequest), request);
        expect(answer.map(|answer| answer.result.replayed), refused)
    }

    async fn hold_is(&mut self, order: &str) -> Done {
        let (who, expected) = order
            .split_once(':')
            .ok_or("HOLD at ACCOUNT: STATE REMAINING")?;
        let [hold, "at", account] = who.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err("HOLD at ACCOUNT: STATE REMAINING".to_owned());
        };
        let request = GetHoldRequest {
            account: account.to_owned(),
            hold_id: self.id(hold),
            ..Default::default()
        };
        let answer = call!(self.bank, get_hold(GetHoldRequest), request)
            .map_err(|error| error.to_string())?;
        let hold = answer.hold.into_option().ok_or("no hold")?;
        let state = match hold.state.as_known() {
            Some(HoldState::HOLD_STATE_OPEN) => "open",
            Some(HoldState::HOLD_STATE_CAPTURED) => "captured",
            Some(HoldState::HOLD_STATE_RELEASED) => "released",
            Some(HoldState::HOLD_STATE_EXPIRED) => "expired",
            _ => "?",
        };
        same(
            &expected.trim(),
            &format!("{state} {}", major(hold.remaining_minor, "GBP")).as_str(),
        )
    }

    /// `alice [on value DAY | at DAY TIME]: main 1.00, available 1.00, …`
    async fn balances(&mut self, order: &str) -> Done {
        let (who, expected) = order.rsplit_once(": ").ok_or("ACCOUNT: BALANCES")?;
        let mut request = GetBalancesRequest::default();
        match who.split_whitespace().collect::<Vec<_>>().as_slice() {
            [account] => request.account = (*account).to_owned(),
            [account, "on", "value", day] => {
                request.account = (*account).to_owned();
                request.as_of_value_date = (*day).to_owned();
            }
            [account, "at", day, time] => {
                request.account = (*account).to_owned();
                request.as_of_booked_us = moment(day, time)?;
            }
            _ => return Err("ACCOUNT [on value DAY | at DAY TIME]: BALANCES".to_owned()),
        }
        let answer = call!(self.bank, get_balances(GetBalancesRequest), request)
            .map_err(|error| error.to_string())?;
        for text in expected.split(',') {
            let (name, amount, currency) = match text.split_whitespace().collect::<Vec<_>>()[..] {
                [name, amount] => (name, amount, "GBP"),
                [name, amount, currency] => (name, amount, currency),
                _ => return Err(format!("{text}: NAME AMOUNT")),
            };
            let full = if name.contains('/') {
                name.to_owned()
            } else {
                format!("customer/{name}")
            };
            let address = answer
                .balances
                .iter()
                .find(|b| b.address == full && b.currency == currency);
            let defined = answer
                .definitions
                .iter()
                .find(|b| b.definition == name && b.currency == currency);
            // "held" is an address and a definition: both must say so.
            let found = [
                address.map(|b| b.balance_minor),
                defined.map(|b| b.balance_minor),
            ];
            let found: Vec<String> = found
                .into_iter()
                .flatten()
                .map(|minor| major(minor, currency))
                .collect();
            if found.is_empty() {
                return Err(format!("there is no {name} in {currency}"));
            }
            for balance in found {
                same(&amount, &balance.as_str()).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        Ok(())
    }

    async fn statement(&mut self, account: &str, descending: bool, expected: &[&str]) -> Done {
        let mut lines = Vec::new();
        let mut page_token = String::new();
        loop {
            // Pages of two: what holds for a page holds over its edge.
            let request = ListPostingsRequest {
                account: account.to_owned(),
                descending,
                page_token,
                page_size: 2,
                ..Default::default()
            };
            let page = call!(self.bank, list_postings(ListPostingsRequest), request)
                .map_err(|error| error.to_string())?;
            lines.extend(page.postings.iter().map(|posting| {
                format!(
                    "| {} | {} | {} | {} | {} | {}",
                    print_moment(posting.booked_us),
                    posting.value_date,
                    posting.address,
                    major(posting.amount_minor, &posting.currency),
                    major(posting.balance_minor, &posting.currency),
                    posting.reference
                )
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let squeezed = |line: &str| {
            line.split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" | ")
                .trim()
                .to_owned()
        };
        let expected: Vec<String> = expected.iter().map(|line| squeezed(line)).collect();
        let lines: Vec<String> = lines.iter().map(|line| squeezed(line)).collect();
        if expected == lines {
            Ok(())
        } else {
            Err(format!("the statement is\n{}", lines.join("\n")))
        }
    }
}

fn is_hold_state(text: &str) -> bool {
    let state = text.split_whitespace().next().unwrap_or_default();
    matches!(state, "open" | "captured" | "released" | "expired")
}

fn expect(answer: Result<bool, lombard_rpc::Error>, refused: Option<&str>) -> Done {
    match (answer, refused) {
        (Ok(false), None) | (Ok(true), Some("replayed")) => Ok(()),
        (Err(error), Some(reason)) if error.reason == reason => Ok(()),
        (Ok(replayed), _) => Err(format!(
            "it was accepted{}",
            if replayed { " and replayed" } else { "" }
        )),
        (Err(error), _) => Err(format!("it was refused: {error}")),
    }
}

fn same<T: PartialEq + std::fmt::Display>(expected: &T, found: &T) -> Done {
    if expected == found {
        Ok(())
    } else {
        Err(format!("it is {found}"))
    }
}

/// `alice` or `alice/customer/pot:x`; `alice/fees` is `alice` on `customer/fees`.
fn place(text: &str) -> (String, String) {
    match text.split_once('/') {
        None => (text.to_owned(), String::new()),
        Some((account, address)) if address.contains('/') => {
            (account.to_owned(), address.to_owned())
        }
        Some((account, name)) => (account.to_owned(), format!("customer/{name}")),
    }
}

fn one_leg(text: &str) -> Result<Leg, String> {
    let (at, amount, currency) = match text.split_whitespace().collect::<Vec<_>>()[..] {
        [at, amount] => (at, amount, "GBP"),
        [at, amount, currency] => (at, amount, currency),
        _ => return Err(format!("{text}: ACCOUNT AMOUNT [CURRENCY]")),
    };
    let (account, address) = place(at);
    Ok(harness::leg_on(
        &account,
        &address,
        currency,
        minor(amount, currency)?,
    ))
}

fn two_legs(amount: &str, currency: &str, from: &str, to: &str) -> Result<Vec<Leg>, String> {
    Ok(vec![
        one_leg(&format!("{from} -{amount} {currency}"))?,
        one_leg(&format!("{to} {amount} {currency}"))?,
    ])
}

fn units(currency: &str) -> usize {
    Currency::parse(currency).map_or(2, |currency| usize::from(currency.minor_units()))
}

fn minor(text: &str, currency: &str) -> Result<i64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part:0<width$}", width = units(currency));
    digits.parse().map_err(|_| format!("{text} is no amount"))
}

fn major(minor: i64, currency: &str) -> String {
    let units = units(currency);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = units + 1);
    let (whole, part) = digits.split_at(digits.len() - units);
    let sign = if minor < 0 { "-" } else { "" };
    if units == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part}")
    }
}

fn moment(day: &str, time: &str) -> Result<i64, String> {
    let day = parse_day(day).ok_or("DAY as 2026-01-05")?;
    let mut parts = time.split(':').map(|part| part.parse::<i64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    Ok(i64::from(day) * DAY_US + (next() * 3_600 + next() * 60 + next()) * SECOND_US)
}

fn print_moment(us: i64) -> String {
    let seconds = us.rem_euclid(DAY_US) / SECOND_US;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{} {hours:02}:{minutes:02}", print_day(day_of(us)))
}
