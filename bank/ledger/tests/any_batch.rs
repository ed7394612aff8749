//! Batches of any content: each entry is answered in its place, and no bytes do harm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

use buffa::{HasMessageView, Message};
use lombard_contracts::bank::ledger::v1::{CreateEntriesRequest, Entry, Leg};
use lombard_ledger::parse::{Batch, Bounds, Chain};
use lombard_ledger::types::EntryId;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds {
    latest_id_ms: i64::MAX,
};

fn leg() -> impl Strategy<Value = Leg> {
    let currency = prop_oneof![Just("GBP".to_owned()), Just("JPY".to_owned()), ".{0,4}"];
    (".{0,70}", ".{0,100}", currency, any::<i64>()).prop_map(
        |(account, address, currency, amount_minor)| Leg {
            account,
            address,
            currency,
            amount_minor,
            ..Default::default()
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let legs = proptest::collection::vec(leg(), 0..6);
    (
        ".{0,40}",
        legs,
        ".{0,12}",
        ".{0,150}",
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(id, legs, value_date, reference, linked, up_to_available)| Entry {
                id,
                legs,
                value_date,
                reference,
                linked,
                up_to_available,
                ..Default::default()
            },
        )
}

proptest! {
    /// Whatever is sent, each entry is either to be tried or refused, once, in its place.
    #[test]
    fn each_entry_of_any_batch_is_tried_or_refused(entries in proptest::collection::vec(entry(), 1..8)) {
        let request = CreateEntriesRequest { entries, ..Default::default() };
        let body = request.encode_to_vec();
        let view = CreateEntriesRequest::decode_view(&body).unwrap();
        let mut batch = Batch::new(&view.entries, BOUNDS).unwrap();
        // A chain is what is linked, and the one behind it.
        let mut chains = request.entries.split_inclusive(|entry| !entry.linked);
        while let Some(chain) = batch.next_chain() {
            let asked = chains.next().unwrap();
            match chain {
                Chain::Entries(entries) => {
                    let read = entries.iter().map(|entry| Some(entry.id));
                    let sent = asked.iter().map(|entry| EntryId::parse(&entry.id));
                    prop_assert!(read.eq(sent));
                }
                Chain::Refused(refusals) => prop_assert_eq!(refusals.len(), asked.len()),
            }
        }
        prop_assert!(chains.next().is_none());
    }

    /// Bytes that are no request are refused by the decoder or by the rules, and break nothing.
    #[test]
    fn any_bytes_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(view) = CreateEntriesRequest::decode_view(&body)
            && let Ok(mut batch) = Batch::new(&view.entries, BOUNDS)
        {
            let mut answered = 0;
            while let Some(chain) = batch.next_chain() {
                answered += match chain {
                    Chain::Entries(entries) => entries.len(),
                    Chain::Refused(refusals) => refusals.len(),
                };
            }
            prop_assert_eq!(answered, view.entries.len());
        }
    }
}
