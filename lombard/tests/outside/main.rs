//! What parses input from outside, fed with valid input that was damaged by chance.
//!
//! The same targets run under the fuzzer for as long as one likes: see `fuzz/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by its panic"
)]

mod targets;

use buffa::Message;
use lombard_contracts::bank::ledger::v1::{
    CreateEntriesRequest, CreateEntryRequest, Entry, Leg, PlaceHoldRequest,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Inputs to each target.
const INPUTS: u32 = 100_000;
/// Most damages to one input.
const DAMAGES_MAX: u32 = 6;

fn legs(amounts: &[i64]) -> Vec<Leg> {
    let leg = |(place, amount): (usize, &i64)| Leg {
        account: format!("account-{place}"),
        address: "customer/main".to_owned(),
        currency: "GBP".to_owned(),
        amount_minor: *amount,
        ..Leg::default()
    };
    amounts.iter().enumerate().map(leg).collect()
}

fn entry(amounts: &[i64]) -> Entry {
    Entry {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        legs: legs(amounts),
        value_date: "2026-02-28".to_owned(),
        reference: "rent".to_owned(),
        actor: "test".to_owned(),
        ..Entry::default()
    }
}

/// Valid inputs of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let single = |amounts: &[i64]| CreateEntryRequest {
        entry: Some(entry(amounts)).into(),
        ..CreateEntryRequest::default()
    };
    let amounts: [&[i64]; 3] = [&[-5, 5], &[-5, -7, 12], &[i64::MAX, -i64::MAX]];
    let text = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "entry_json" => amounts
            .iter()
            .map(|amounts| serde_json::to_vec(&single(amounts)).unwrap())
            .collect(),
        "entry_proto" => amounts
            .iter()
            .map(|amounts| single(amounts).encode_to_vec())
            .collect(),
        "batch_proto" => {
            let mut entries: Vec<Entry> = amounts.iter().map(|amounts| entry(amounts)).collect();
            entries[0].linked = true;
            let batch = CreateEntriesRequest {
                entries,
                ..CreateEntriesRequest::default()
            };
            vec![batch.encode_to_vec()]
        }
        "request_proto" => {
            let hold = PlaceHoldRequest {
                id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
                account: "alice".to_owned(),
                currency: "GBP".to_owned(),
                amount_minor: 5,
                expires_us: 1_900_000_000_000_000,
                ..PlaceHoldRequest::default()
            };
            vec![hold.encode_to_vec()]
        }
        "berka_line" => text(&[
            "695247;2378;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;",
            "207401;704;930101;\"PRIJEM\";\"PREVOD Z UCTU\";5298.00;6298.00;\"DUCHOD\";\"YZ\";62457513",
            "3530438;576;930228;\"VYDAJ\";\"\";14.60;21000.30;\"SLUZBY\";;",
        ]),
        "bank_details" => text(&[
            "GB29 NWBK 6016 1331 9268 19",
            "DE89370400440532013000",
            "12-34-56 12345678",
        ]),
        "amount" => text(&[
            "\u{1}-1234.56",
            "\u{7}0",
            "\u{30}12.34 GBP",
            "\u{2}9223372036854775807",
        ]),
        "modulus_table" => text(&[
            "089000 089999 MOD10    0    0    0    0    0    0    7    1    3    7    1    3    7    1\n\0938173 938017\n",
            "134012 134020 MOD11    0    0    0    7    5    9    8    4    6    3    5    2    0    0   4\n",
        ]),
        other => panic!("{other} has no seeds"),
    }
}

/// Damages bytes: flips, cuts, repeats, puts in what is often mishandled.
fn damage(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    const NASTY: [&[u8]; 12] = [
        b"0",
        b"-",
        b"9223372036854775808",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff",
        b"\0",
        b"\"",
        b"{",
        b"]",
        b"\xe2\x80\xae",
        b"1e309",
        b";",
    ];
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..6) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => {
            let end = random.random_range(at..=bytes.len());
            bytes.drain(at..end.min(at + 16));
        }
        4 => {
            let end = random.random_range(at..=bytes.len()).min(at + 64);
            let copy = bytes.get(at..end).unwrap().to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        _ => {
            let nasty = NASTY[random.random_range(0..NASTY.len())];
            bytes.splice(at..at, nasty.iter().copied());
        }
    }
}

#[test]
fn nothing_from_outside_breaks_what_reads_it() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        let mut random = SmallRng::seed_from_u64(7);
        seeds.iter().for_each(|seed| target(seed));
        for number in 0..INPUTS {
            let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
            for _ in 0..random.random_range(1..=DAMAGES_MAX) {
                damage(&mut random, &mut bytes);
            }
            let broke = std::panic::catch_unwind(|| target(&bytes)).is_err();
            assert!(!broke, "{name}, input {number}: {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn the_seeds_are_valid_so_that_damage_has_something_to_damage() {
    for bytes in seeds("entry_json") {
        assert!(serde_json::from_slice::<CreateEntryRequest>(&bytes).is_ok());
    }
    let table = seeds("modulus_table");
    let (weights, rest) = std::str::from_utf8(&table[0])
        .unwrap()
        .split_once('\0')
        .unwrap();
    assert!(lombard_money::modulus::ModulusTable::parse(weights, rest).is_ok());
    for bytes in seeds("bank_details").iter().take(2) {
        assert!(lombard_money::Iban::parse(std::str::from_utf8(bytes).unwrap()).is_ok());
    }
}
