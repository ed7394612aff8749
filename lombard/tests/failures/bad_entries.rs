//! Entries that outsiders get wrong: each is a typed error with its reason, and changes nothing.

use serde_json::{Value, json};

use crate::ledger::{entry, id, leg};
use crate::town::Town;

fn main(account: &str, amount: i64) -> Value {
    leg(account, "customer/main", amount)
}

fn with(mut leg: Value, field: &str, value: &str) -> Value {
    leg[field] = json!(value);
    leg
}

#[test]
fn an_entry_that_is_wrong_is_refused_with_its_reason() {
    let mut town = Town::new();
    let good = [main("alice", -5), main("bob", 5)];

    let refused = town.refuses_legs(
        &[main("alice", -5), main("bob", 4)],
        "invalid_argument",
        "ENTRY_UNBALANCED",
    );
    assert_eq!(refused.metadata["sum_minor"], "-1", "{refused:?}");
    town.refuses_legs(
        &[main("alice", 0), main("bob", 0)],
        "invalid_argument",
        "ZERO_LEG",
    );
    town.refuses_legs(
        &[main("alice", -5), main("bob", 5), main("funder", 0)],
        "invalid_argument",
        "ZERO_LEG",
    );
    town.refuses_legs(
        &[main("alice", -5)],
        "invalid_argument",
        "LEG_COUNT_INVALID",
    );
    town.refuses_legs(&[], "invalid_argument", "LEG_COUNT_INVALID");
    let many: Vec<Value> = (0..129)
        .map(|n| main("funder", if n % 2 == 0 { -1 } else { 1 }))
        .collect();
    town.refuses_legs(&many, "invalid_argument", "LEG_COUNT_INVALID");
    // Each currency by itself.
    let mixed = [main("alice", -5), with(main("bob", 5), "currency", "EUR")];
    town.refuses_legs(&mixed, "invalid_argument", "ENTRY_UNBALANCED");
    let elsewhere = [
        with(main("alice", -5), "currency", "EUR"),
        with(main("bob", 5), "currency", "EUR"),
    ];
    let refused = town.refuses_legs(&elsewhere, "not_found", "ADDRESS_NOT_FOUND");
    assert_eq!(refused.metadata["currency"], "EUR", "{refused:?}");

    let unknown = [main("alice", -5), with(main("bob", 5), "currency", "QQQ")];
    town.refuses_legs(&unknown, "invalid_argument", "UNKNOWN_CURRENCY");
    let refused = town.refuses_legs(
        &[main("alice", -5), main("nobody", 5)],
        "not_found",
        "ACCOUNT_NOT_FOUND",
    );
    assert_eq!(refused.metadata["account"], "nobody", "{refused:?}");
    town.refuses_legs(
        &[main("nobody", -5), main("alice", 5)],
        "not_found",
        "ACCOUNT_NOT_FOUND",
    );
    let elsewhere = [main("alice", -5), leg("bob", "customer/pot:none", 5)];
    town.refuses_legs(&elsewhere, "not_found", "ADDRESS_NOT_FOUND");
    town.refuses_legs(
        &[main("alice", -5), leg("bob", "no address", 5)],
        "invalid_argument",
        "ADDRESS_INVALID",
    );
    town.refuses_legs(
        &[main("alice", -5), main("no account!", 5)],
        "invalid_argument",
        "ACCOUNT_ID_INVALID",
    );

    for (field, value, reason) in [
        ("id", "", "ENTRY_ID_INVALID"),
        ("id", "not-a-uuid", "ENTRY_ID_INVALID"),
        // In the year 10889.
        (
            "id",
            "ffffffff-ffff-7000-8000-000000000000",
            "ENTRY_ID_IN_FUTURE",
        ),
        ("valueDate", "2026-02-30", "VALUE_DATE_INVALID"),
        ("reference", &"x".repeat(141), "REFERENCE_INVALID"),
        ("actor", &"x".repeat(129), "ACTOR_INVALID"),
    ] {
        let mut entry = json!({"id": id(), "legs": good});
        entry[field] = json!(value);
        town.refuses(
            "CreateEntry",
            &json!({"entry": entry}),
            "invalid_argument",
            reason,
        );
    }
    town.refuses("CreateEntry", &json!({}), "invalid_argument", "NO_ENTRY");
    town.bank.check();
}

#[test]
fn amounts_beyond_64_bits_are_refused_and_never_wrap() {
    let mut town = Town::new();
    town.refuses_legs(
        &[main("funder", -1), main("rich", 1)],
        "failed_precondition",
        "BALANCE_OVERFLOW",
    );
    // i64::MIN has no opposite.
    let least = [
        main("funder", i64::MIN),
        main("alice", i64::MAX),
        main("alice", 1),
    ];
    town.refuses_legs(&least, "invalid_argument", "AMOUNT_OUT_OF_RANGE");
    for beyond in [
        "9223372036854775808",
        "-9223372036854775809",
        "1e30",
        "0.5",
        "",
        "ten",
    ] {
        let legs = [
            with(main("alice", -5), "amountMinor", beyond),
            main("bob", 5),
        ];
        town.refuses_legs(&legs, "invalid_argument", "MALFORMED_REQUEST");
    }
    town.bank.check();
}

#[test]
fn a_state_that_forbids_is_named_with_its_figures() {
    let mut town = Town::new();
    let refused = town.refuses_legs(
        &[main("alice", -101), main("bob", 101)],
        "failed_precondition",
        "FLOOR_BROKEN",
    );
    for (figure, value) in [
        ("account", "alice"),
        ("balance_minor", "100"),
        ("asked_minor", "101"),
        ("minimum_minor", "0"),
    ] {
        assert_eq!(refused.metadata[figure], value, "{refused:?}");
    }
    assert!(!refused.retryable, "{refused:?}");
    // Two accounts with floors: the one that is not home has too little.
    let both = [main("alice", -5), main("bob", -5), main("funder", 10)];
    let refused = town.refuses_legs(&both, "failed_precondition", "FLOOR_BROKEN");
    assert_eq!(refused.metadata["account"], "bob", "{refused:?}");

    town.refuses_legs(
        &[main("no-debits", -5), main("bob", 5)],
        "failed_precondition",
        "DEBITS_FROZEN",
    );
    town.refuses_legs(
        &[main("alice", -5), main("no-credits", 5)],
        "failed_precondition",
        "CREDITS_FROZEN",
    );
    let refused = town.refuses_legs(
        &[main("alice", -5), main("closed", 5)],
        "failed_precondition",
        "ACCOUNT_CLOSED",
    );
    assert_eq!(refused.metadata["account"], "closed", "{refused:?}");
    town.refuses_legs(
        &[main("closed", -5), main("bob", 5)],
        "failed_precondition",
        "ACCOUNT_CLOSED",
    );

    town.refuses(
        "CloseAccount",
        &json!({"account": "alice"}),
        "failed_precondition",
        "ACCOUNT_NOT_EMPTY",
    );
    town.refuses(
        "GetAccount",
        &json!({"account": "nobody"}),
        "not_found",
        "ACCOUNT_NOT_FOUND",
    );
    town.refuses(
        "GetEntry",
        &json!({"id": id(), "home": "alice"}),
        "not_found",
        "ENTRY_NOT_FOUND",
    );

    let hold = json!({"id": id(), "account": "alice", "currency": "GBP", "amountMinor": "101"});
    town.refuses("PlaceHold", &hold, "failed_precondition", "FLOOR_BROKEN");
    for amount in ["0", "-5"] {
        let hold =
            json!({"id": id(), "account": "alice", "currency": "GBP", "amountMinor": amount});
        town.refuses(
            "PlaceHold",
            &hold,
            "invalid_argument",
            "AMOUNT_NOT_POSITIVE",
        );
    }
    let capture = json!({"id": id(), "account": "alice", "holdId": id(), "amountMinor": "5", "toAccount": "bob"});
    town.refuses("CaptureHold", &capture, "not_found", "HOLD_NOT_FOUND");
    town.bank.check();
}

#[test]
fn an_id_with_other_content_is_a_conflict_and_with_the_same_the_first_answer() {
    let mut town = Town::new();
    let id = id();
    let request = json!({"entry": entry(&id, &[("alice", -5), ("bob", 5)])});
    let first = town.ledger.call("CreateEntry", &request).ok();
    let mut again = town.ledger.call("CreateEntry", &request).ok();
    assert_eq!(again["result"]["replayed"], true);
    again["result"].as_object_mut().unwrap().remove("replayed");
    assert_eq!(again, first);

    let other = json!({"entry": entry(&id, &[("alice", -6), ("bob", 6)])});
    let refused = town.refuses("CreateEntry", &other, "already_exists", "ENTRY_ID_REUSED");
    assert_eq!(refused.metadata["id"], id.as_str(), "{refused:?}");
    let mut other = request.clone();
    other["entry"]["reference"] = json!("another");
    town.refuses("CreateEntry", &other, "already_exists", "ENTRY_ID_REUSED");

    let other =
        json!({"id": "alice", "addresses": [{"address": "customer/main", "currency": "EUR"}]});
    town.refuses(
        "CreateAccount",
        &other,
        "already_exists",
        "ACCOUNT_ID_REUSED",
    );
    town.bank.check();
}

#[test]
fn a_batch_takes_8192_entries_and_no_more_and_each_has_its_own_result() {
    let mut town = Town::new();
    let batch = |count: usize| {
        let entries: Vec<Value> = (0..count)
            .map(|_| entry(&id(), &[("funder", -1), ("bob", 1)]))
            .collect();
        json!({"entries": entries, "brief": true})
    };
    town.refuses(
        "CreateEntries",
        &batch(8_193),
        "invalid_argument",
        "TOO_MANY_ENTRIES",
    );
    town.refuses("CreateEntries", &batch(0), "invalid_argument", "NO_ENTRIES");
    let answer = town.ledger.call("CreateEntries", &batch(8_192)).ok();
    let outcomes = answer["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 8_192);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.get("accepted").is_some())
    );

    // A bad one among good ones is refused alone.
    let entries = [
        entry(&id(), &[("funder", -1), ("bob", 1)]),
        entry(&id(), &[("funder", -1), ("bob", 2)]),
        entry(&id(), &[("funder", -1), ("bob", 1)]),
    ];
    let answer = town
        .ledger
        .call("CreateEntries", &json!({"entries": entries}))
        .ok();
    let refused = &answer["outcomes"][1]["refused"];
    assert_eq!(
        (&refused["code"], &refused["reason"]),
        (&json!("invalid_argument"), &json!("ENTRY_UNBALANCED"))
    );
    for place in [0, 2] {
        assert!(
            answer["outcomes"][place].get("accepted").is_some(),
            "{answer}"
        );
    }
    // An open chain at the end can have no next.
    let mut linked = entry(&id(), &[("funder", -1), ("bob", 1)]);
    linked["linked"] = json!(true);
    let answer = town
        .ledger
        .call("CreateEntries", &json!({"entries": [linked]}))
        .ok();
    assert_eq!(
        answer["outcomes"][0]["refused"]["reason"], "LINKED_CHAIN_OPEN",
        "{answer}"
    );
    town.bank.check();
}
