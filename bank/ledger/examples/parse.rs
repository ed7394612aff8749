//! What it costs to read a full batch, from its bytes to entries that can be tried.
//!
//! `cargo run --release -p lombard-ledger --example parse`

use std::time::Instant;

use buffa::{HasMessageView, Message};
use lombard_contracts::bank::ledger::v1::{CreateEntriesRequest, Entry, Leg};
use lombard_ledger::limits::ENTRIES_PER_BATCH_MAX;
use lombard_ledger::parse::{Batch, Bounds, Chain};

const ROUNDS: u32 = 100;

fn main() {
    let leg = |account: String, amount_minor| Leg {
        account,
        currency: "GBP".to_owned(),
        amount_minor,
        ..Leg::default()
    };
    let entry = |number: usize| Entry {
        id: format!("019b8d62-7a80-7000-8000-{number:012x}"),
        legs: vec![
            leg(format!("account-{number}"), -100),
            leg(format!("account-{}", number + 1), 100),
        ],
        reference: "a transfer".to_owned(),
        ..Entry::default()
    };
    let entries = (0..ENTRIES_PER_BATCH_MAX).map(entry).collect();
    let body = CreateEntriesRequest {
        entries,
        ..CreateEntriesRequest::default()
    }
    .encode_to_vec();
    let bounds = Bounds {
        latest_id_ms: i64::MAX,
    };
    #[expect(clippy::disallowed_methods, reason = "an example that measures")]
    let started = Instant::now();
    let mut read = 0;
    for _ in 0..ROUNDS {
        let Ok(view) = CreateEntriesRequest::decode_view(&body) else {
            return;
        };
        let Ok(mut batch) = Batch::new(&view.entries, bounds) else {
            return;
        };
        while let Some(Chain::Entries(entries)) = batch.next_chain() {
            read += entries.len();
        }
    }
    let each = started.elapsed().as_nanos() / u128::try_from(read.max(1)).unwrap_or(1);
    println!("{} bytes a batch, {each} ns an entry", body.len());
}
