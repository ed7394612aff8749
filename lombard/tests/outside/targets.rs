//! What parses bytes from outside, and what must hold of it whatever the bytes are.
//!
//! Each target is a function over bytes. The fuzzer (`fuzz/`) and the seeded test
//! beside this file run the same ones.

use std::collections::BTreeMap;

use buffa::{Message, MessageView};
use lombard_contracts::bank::ledger::v1::__buffa::view::{
    CaptureHoldRequestView, CreateAccountRequestView, CreateEntriesRequestView,
    CreateEntryRequestView, PlaceHoldRequestView, ReleaseHoldRequestView, ReverseEntryRequestView,
};
use lombard_contracts::bank::ledger::v1::{CreateEntriesRequest, CreateEntryRequest};
use lombard_ledger::limits;
use lombard_ledger::parse::{self, Bounds};
use lombard_ledger::refusal::{Refusal, RefusalCode};
use lombard_ledger::types::Entry;
use lombard_money::modulus::ModulusTable;
use lombard_money::{Amount, Currency, Iban, UkAccount};

#[path = "../../src/import/berka.rs"]
#[allow(
    dead_code,
    reason = "the importer's own file: here only what reads a line is used"
)]
mod berka;

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Target); 8] = [
    ("entry_json", entry_json),
    ("entry_proto", entry_proto),
    ("batch_proto", batch_proto),
    ("request_proto", request_proto),
    ("berka_line", berka_line),
    ("bank_details", bank_details),
    ("amount", amount),
    ("modulus_table", modulus_table),
];

const BOUNDS: Bounds = Bounds {
    latest_id_ms: i64::MAX,
};

/// `CreateEntry` as JSON: what is read can be written and read again, and is then
/// what its protobuf form is.
pub fn entry_json(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<CreateEntryRequest>(data) else {
        return;
    };
    let json = serde_json::to_vec(&request).unwrap();
    let again: CreateEntryRequest = serde_json::from_slice(&json).unwrap();
    assert_eq!(again, request);
    entry_proto(&request.encode_to_vec());
}

/// `CreateEntry` as protobuf: an entry that is let through is a sound one.
pub fn entry_proto(data: &[u8]) {
    let Ok(view) = CreateEntryRequestView::decode_view(data) else {
        return;
    };
    let owned = CreateEntryRequest::decode_from_slice(data).unwrap();
    let again = CreateEntryRequest::decode_from_slice(&owned.encode_to_vec()).unwrap();
    assert_eq!(again, owned);
    if let Some(entry) = view.entry.as_option() {
        match parse::entry(entry, &BOUNDS) {
            Ok(entry) => sound(&entry),
            Err(refusal) => said(&refusal),
        }
    }
}

/// `CreateEntries` as protobuf: each entry is in one chain or refused, and none twice.
pub fn batch_proto(data: &[u8]) {
    let Ok(view) = CreateEntriesRequestView::decode_view(data) else {
        return;
    };
    assert!(CreateEntriesRequest::decode_from_slice(data).is_ok());
    match parse::Batch::new(&view.entries, BOUNDS) {
        Err(refusal) => said(&refusal),
        Ok(mut batch) => {
            let mut answered = 0;
            while let Some(chain) = batch.next_chain() {
                answered += match chain {
                    parse::Chain::Entries(entries) => {
                        assert!(entries.iter().all(|entry| entry.home == entries[0].home));
                        entries.iter().for_each(sound);
                        entries.len()
                    }
                    parse::Chain::Refused(refusals) => {
                        refusals.iter().for_each(said);
                        refusals.len()
                    }
                };
            }
            assert_eq!(answered, view.entries.len());
        }
    }
}

/// Every other request that changes something.
pub fn request_proto(data: &[u8]) {
    if let Ok(view) = CreateAccountRequestView::decode_view(data) {
        match parse::open_account(&view) {
            Ok(account) => assert!(account.id.len() <= limits::ACCOUNT_ID_CHARS_MAX),
            Err(refusal) => said(&refusal),
        }
    }
    let steps = [
        PlaceHoldRequestView::decode_view(data).map(|view| parse::place(&view, &BOUNDS)),
        CaptureHoldRequestView::decode_view(data).map(|view| parse::capture(&view, &BOUNDS)),
        ReleaseHoldRequestView::decode_view(data).map(|view| parse::release(&view, &BOUNDS)),
        ReverseEntryRequestView::decode_view(data).map(|view| parse::reversal(&view, &BOUNDS)),
    ];
    for parsed in steps.into_iter().flatten() {
        match parsed {
            Ok(entry) => assert!(!entry.home.is_empty()),
            Err(refusal) => said(&refusal),
        }
    }
}

/// A line of the Berka journal: what is read makes an entry that the ledger takes.
pub fn berka_line(data: &[u8]) {
    match berka::parse_line(2, data) {
        Ok(berka::Line::Nothing) => {}
        Ok(berka::Line::Transaction(transaction)) => {
            assert!(transaction.amount_minor >= 0, "{transaction:?}");
            let (counter, address) = transaction.counter_account();
            for account in [transaction.customer_account(), counter] {
                assert!(parse::account_id(&account).is_ok(), "{account}");
            }
            assert!(parse::address(&address).is_ok(), "{address}");
            let reference = transaction.reference();
            assert!(
                reference.chars().count() <= limits::REFERENCE_CHARS_MAX,
                "{reference}"
            );
            assert!(!reference.contains(char::is_control), "{reference:?}");
        }
        Err(broken) => assert!(broken.line == 2 && !broken.reason.is_empty()),
    }
}

/// IBANs, sort codes and account numbers: what is read is printed so that it is read again.
pub fn bank_details(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(iban) = Iban::parse(text) {
        assert_eq!(Iban::parse(&iban.to_string()), Ok(iban.clone()));
        assert_eq!(Iban::parse(iban.as_str()), Ok(iban));
    }
    let (sort_code, number) = text.split_once(' ').unwrap_or((text, ""));
    if let Ok(account) = UkAccount::parse(sort_code, number) {
        let again = UkAccount::parse(&account.sort_code.to_string(), &account.number.to_string());
        assert_eq!(again, Ok(account));
    }
}

/// An amount in the currency that its first byte chooses.
pub fn amount(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let currencies: Vec<Currency> = Currency::all().collect();
    let currency = currencies[usize::from(*first) % currencies.len()];
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    if let Ok(amount) = Amount::parse(text, currency) {
        let printed = amount.to_string();
        assert_eq!(printed.parse(), Ok(amount), "{printed}");
    }
    if let Ok(amount) = text.parse::<Amount>() {
        assert_eq!(amount.to_string().parse(), Ok(amount));
    }
}

/// The industry's modulus table: two files, parted by a zero byte.
pub fn modulus_table(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (weights, substitutions) = text.split_once('\0').unwrap_or((&text, ""));
    if let Ok(table) = ModulusTable::parse(weights, substitutions) {
        let account = UkAccount::parse("089999", "66374958").unwrap();
        // Whatever the table says, checking ends.
        let _checked = table.check(account.sort_code, account.number);
    }
}

fn sound(entry: &Entry) {
    assert!((2..=limits::LEGS_PER_ENTRY_MAX).contains(&entry.legs.len()));
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for leg in &entry.legs {
        assert_ne!(leg.amount_minor, 0);
        *sums.entry(leg.currency.code()).or_default() += i128::from(leg.amount_minor);
    }
    assert!(sums.values().all(|sum| *sum == 0), "{entry:?}");
    let first = entry.legs.iter().find(|leg| leg.amount_minor < 0).unwrap();
    assert_eq!(entry.home, first.account);
}

fn said(refusal: &Refusal) {
    // One of a chain is refused for what another got wrong.
    if !matches!(refusal, Refusal::Linked { .. }) {
        assert_eq!(refusal.code(), RefusalCode::InvalidArgument, "{refusal:?}");
    }
    let reason = refusal.reason();
    assert!(
        !reason.is_empty()
            && reason
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    );
    assert!(!refusal.to_string().is_empty());
}
