//! Everything that can be wrong with a request: its reason, and that nothing changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is wrong"
)]

mod harness;

use harness::{Bank, MONDAY_US, address, call, create_entries, id, leg, leg_on, payment};
use lombard_contracts::bank::ledger::v1::*;
use lombard_rpc::{Code, Error};

/// Two customers with a floor, a bank without one, and one account for each thing that can be wrong with one.
async fn bank() -> Bank {
    let bank = Bank::new().await;
    bank.open(
        "alice",
        &[
            "customer/main GBP 0",
            "customer/held GBP",
            "customer/main EUR 0",
        ],
    )
    .await;
    bank.open("bob", &["customer/main GBP 0"]).await;
    bank.open("bank", &["customer/main GBP", "customer/main EUR"])
        .await;
    bank.open_in("branch", "abroad", &["customer/main GBP"])
        .await;
    bank.open("frozen-out", &["customer/main GBP"]).await;
    bank.open("frozen-in", &["customer/main GBP"]).await;
    bank.open("closed", &["customer/main GBP"]).await;
    let freeze = |account: &str, debits| FreezeAccountRequest {
        account: account.to_owned(),
        debits,
        credits: !debits,
        ..Default::default()
    };
    call!(
        bank,
        freeze_account(FreezeAccountRequest),
        freeze("frozen-out", true)
    )
    .unwrap();
    call!(
        bank,
        freeze_account(FreezeAccountRequest),
        freeze("frozen-in", false)
    )
    .unwrap();
    let close = CloseAccountRequest {
        account: "closed".to_owned(),
        ..Default::default()
    };
    call!(bank, close_account(CloseAccountRequest), close).unwrap();
    post(&bank, payment(&id(MONDAY_US, 1), "bank", "alice", 1_000))
        .await
        .unwrap();
    bank
}

async fn post(bank: &Bank, entry: Entry) -> Result<CreateEntryResponse, Error> {
    let request = CreateEntryRequest {
        entry: Some(entry).into(),
        ..Default::default()
    };
    call!(bank, create_entry(CreateEntryRequest), request)
}

fn told(error: &Error) -> (Code, &str) {
    assert_eq!(error.domain, "ledger");
    assert!(!error.message.is_empty() && !error.retryable, "{error}");
    (error.code, error.reason.as_ref())
}

async fn everything(bank: &Bank) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in [
        "alice",
        "bob",
        "bank",
        "abroad",
        "frozen-out",
        "frozen-in",
        "closed",
    ] {
        let request = ReadRowsRequest {
            account: account.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        rows.extend(
            call!(bank, read_rows(ReadRowsRequest), request)
                .unwrap()
                .rows,
        );
    }
    rows
}

#[tokio::test]
async fn a_bad_entry_is_refused_with_its_reason_and_changes_nothing() {
    let bank = bank().await;
    let good = || payment(&id(MONDAY_US, 2), "alice", "bob", 100);
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut entry = good();
        change(&mut entry);
        entry
    };
    let legs = |legs: Vec<Leg>| Entry { legs, ..good() };
    let many = |count: usize| {
        (0..count)
            .map(|n| leg("bank", if n % 2 == 0 { -1 } else { 1 }))
            .collect::<Vec<_>>()
    };
    let invalid = Code::InvalidArgument;
    let refused = Code::FailedPrecondition;
    let cases = [
        (
            "no id",
            invalid,
            "ENTRY_ID_INVALID",
            with(&|e| e.id.clear()),
        ),
        (
            "an id that is no UUID",
            invalid,
            "ENTRY_ID_INVALID",
            with(&|e| e.id = "7".to_owned()),
        ),
        (
            "an id of tomorrow",
            invalid,
            "ENTRY_ID_IN_FUTURE",
            with(&|e| e.id = id(MONDAY_US + 86_400_000_000, 2)),
        ),
        ("no legs", invalid, "LEG_COUNT_INVALID", legs(vec![])),
        (
            "one leg",
            invalid,
            "LEG_COUNT_INVALID",
            legs(vec![leg("alice", -1)]),
        ),
        ("129 legs", invalid, "LEG_COUNT_INVALID", legs(many(129))),
        (
            "a leg of zero",
            invalid,
            "ZERO_LEG",
            legs(vec![leg("alice", 0), leg("bob", 0)]),
        ),
        (
            "the amount without an opposite",
            invalid,
            "AMOUNT_OUT_OF_RANGE",
            legs(vec![leg("bank", i64::MIN), leg("bob", i64::MAX)]),
        ),
        (
            "unbalanced",
            invalid,
            "ENTRY_UNBALANCED",
            legs(vec![leg("alice", -100), leg("bob", 99)]),
        ),
        (
            "a sum beyond 64 bits",
            invalid,
            "ENTRY_UNBALANCED",
            legs(vec![
                leg("bank", i64::MAX),
                leg("bob", i64::MAX),
                leg("alice", 2),
            ]),
        ),
        (
            "mixed currencies",
            invalid,
            "ENTRY_UNBALANCED",
            legs(vec![leg("alice", -100), leg_on("bank", "", "EUR", 100)]),
        ),
        (
            "over two legal entities",
            invalid,
            "ENTRY_UNBALANCED",
            legs(vec![leg("bank", -100), leg("abroad", 100)]),
        ),
        (
            "an unknown currency",
            invalid,
            "UNKNOWN_CURRENCY",
            legs(vec![
                leg_on("alice", "", "GBX", -1),
                leg_on("bob", "", "GBX", 1),
            ]),
        ),
        (
            "a currency in small letters",
            invalid,
            "UNKNOWN_CURRENCY",
            legs(vec![
                leg_on("alice", "", "gbp", -1),
                leg_on("bob", "", "gbp", 1),
            ]),
        ),
        (
            "an account id with a space",
            invalid,
            "ACCOUNT_ID_INVALID",
            legs(vec![leg("al ice", -1), leg("bob", 1)]),
        ),
        (
            "an account of the ledger's own",
            invalid,
            "ACCOUNT_ID_INVALID",
            legs(vec![leg("~coordinator", -1), leg("bob", 1)]),
        ),
        (
            "an address without a namespace",
            invalid,
            "ADDRESS_INVALID",
            legs(vec![leg_on("alice", "main", "GBP", -1), leg("bob", 1)]),
        ),
        (
            "an address of the ledger's own",
            invalid,
            "ADDRESS_RESERVED",
            legs(vec![
                leg_on("alice", "internal/reserved", "GBP", -1),
                leg("bob", 1),
            ]),
        ),
        (
            "a value date that is none",
            invalid,
            "VALUE_DATE_INVALID",
            with(&|e| e.value_date = "2026-02-30".to_owned()),
        ),
        (
            "a value date of long ago",
            invalid,
            "VALUE_DATE_INVALID",
            with(&|e| e.value_date = "1899-12-31".to_owned()),
        ),
        (
            "a long reference",
            invalid,
            "REFERENCE_INVALID",
            with(&|e| e.reference = "x".repeat(141)),
        ),
        (
            "a reference of two lines",
            invalid,
            "REFERENCE_INVALID",
            with(&|e| e.reference = "a\nb".to_owned()),
        ),
        (
            "a long actor",
            invalid,
            "ACTOR_INVALID",
            with(&|e| e.actor = "x".repeat(129)),
        ),
        (
            "17 pairs of metadata",
            invalid,
            "METADATA_INVALID",
            with(&|e| e.metadata = (0..17).map(|n| (format!("k{n}"), String::new())).collect()),
        ),
        (
            "more than 1 KiB of metadata",
            invalid,
            "METADATA_INVALID",
            with(&|e| e.metadata = [("k".to_owned(), "v".repeat(1_024))].into_iter().collect()),
        ),
        (
            "linked to nothing",
            invalid,
            "LINKED_CHAIN_OPEN",
            with(&|e| e.linked = true),
        ),
        (
            "up to available over three legs",
            invalid,
            "UP_TO_AVAILABLE_NEEDS_TWO_LEGS",
            Entry {
                up_to_available: true,
                ..legs(vec![leg("alice", -2), leg("bob", 1), leg("bank", 1)])
            },
        ),
        (
            "an unknown account to pay from",
            Code::NotFound,
            "ACCOUNT_NOT_FOUND",
            payment(&id(MONDAY_US, 2), "nobody", "bob", 1),
        ),
        (
            "an unknown account to pay to",
            Code::NotFound,
            "ACCOUNT_NOT_FOUND",
            payment(&id(MONDAY_US, 2), "alice", "nobody", 1),
        ),
        (
            "an unknown address",
            Code::NotFound,
            "ADDRESS_NOT_FOUND",
            legs(vec![
                leg_on("alice", "customer/pot:x", "GBP", -1),
                leg("bob", 1),
            ]),
        ),
        (
            "an address without the currency",
            Code::NotFound,
            "ADDRESS_NOT_FOUND",
            legs(vec![
                leg_on("alice", "", "EUR", -1),
                leg_on("bob", "", "EUR", 1),
            ]),
        ),
        (
            "more than there is",
            refused,
            "FLOOR_BROKEN",
            payment(&id(MONDAY_US, 2), "alice", "bob", 1_001),
        ),
        (
            "more than another account has",
            refused,
            "FLOOR_BROKEN",
            legs(vec![leg("alice", -1), leg("bob", -1), leg("bank", 2)]),
        ),
        (
            "up to what is available where nothing is",
            refused,
            "FLOOR_BROKEN",
            Entry {
                up_to_available: true,
                ..payment(&id(MONDAY_US, 2), "bob", "bank", 1)
            },
        ),
        (
            "from a frozen account",
            refused,
            "DEBITS_FROZEN",
            payment(&id(MONDAY_US, 2), "frozen-out", "bob", 1),
        ),
        (
            "to a frozen account",
            refused,
            "CREDITS_FROZEN",
            payment(&id(MONDAY_US, 2), "bank", "frozen-in", 1),
        ),
        (
            "from a closed account",
            refused,
            "ACCOUNT_CLOSED",
            payment(&id(MONDAY_US, 2), "closed", "bob", 1),
        ),
        (
            "to a closed account",
            refused,
            "ACCOUNT_CLOSED",
            payment(&id(MONDAY_US, 2), "bank", "closed", 1),
        ),
        (
            "an id of before for another amount",
            Code::AlreadyExists,
            "ENTRY_ID_REUSED",
            payment(&id(MONDAY_US, 1), "bank", "alice", 999),
        ),
    ];
    let before = everything(&bank).await;
    for (what, code, reason, entry) in cases {
        let single = post(&bank, entry.clone()).await.expect_err(what);
        assert_eq!(told(&single), (code, reason), "{what}: {single}");
        if entry.linked {
            continue;
        }
        // In a batch it is refused alone.
        let request = CreateEntriesRequest {
            entries: vec![entry],
            ..Default::default()
        };
        let answer = create_entries(&bank.ledger, request).await.expect(what);
        match &answer.outcomes[0].outcome {
            Some(entry_outcome::Outcome::Refused(refusal)) => {
                // Home remembers a refusal that a reservation led to.
                assert_eq!(
                    (refusal.code.as_str(), refusal.reason.as_str()),
                    (code.as_str(), reason),
                    "{what}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    // A refusal that came of a reservation elsewhere is kept at home; no other row changed.
    let after = everything(&bank).await;
    let kept = |rows: &[Row]| {
        rows.iter()
            .filter(|row| !matches!(row.key[0], b'n' | b's'))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(&before), kept(&after));
    bank.assert_right("after bad entries").await;
}

#[tokio::test]
async fn a_broken_floor_says_who_how_much_there_is_and_how_much_was_asked() {
    let bank = bank().await;
    let refused = post(&bank, payment(&id(MONDAY_US, 2), "alice", "bob", 1_001))
        .await
        .unwrap_err();
    let figures = [
        ("account", "alice"),
        ("address", "customer/main"),
        ("currency", "GBP"),
        ("balance_minor", "1000"),
        ("minimum_minor", "0"),
        ("asked_minor", "1001"),
    ];
    for (key, value) in figures {
        assert_eq!(refused.metadata[key], value, "{key}");
    }
}

#[tokio::test]
async fn a_balance_cannot_leave_64_bits() {
    let bank = bank().await;
    let max = i64::MAX;
    bank.open("vault", &["customer/main GBP"]).await;
    bank.open("mint", &["customer/main GBP"]).await;
    post(&bank, payment(&id(MONDAY_US, 3), "mint", "vault", max))
        .await
        .unwrap();
    // Neither that of the account which decides, nor that of another.
    let beyond = [("mint", "bank", max, "mint"), ("bank", "vault", 1, "vault")];
    for (number, (from, to, amount, whose)) in (4..).zip(beyond) {
        let entry = payment(&id(MONDAY_US, number), from, to, amount);
        let refused = post(&bank, entry).await.unwrap_err();
        let overflow = (Code::FailedPrecondition, "BALANCE_OVERFLOW");
        assert_eq!(told(&refused), overflow);
        assert_eq!(refused.metadata["account"], whose);
    }
    bank.assert_right("at the end of 64 bits").await;
}

#[tokio::test]
async fn batches_have_their_limits() {
    let bank = bank().await;
    let send = async |entries: Vec<Entry>| {
        let request = CreateEntriesRequest {
            entries,
            ..Default::default()
        };
        create_entries(&bank.ledger, request).await
    };
    assert_eq!(told(&send(vec![]).await.unwrap_err()).1, "NO_ENTRIES");
    let many = (0..8_193)
        .map(|n| payment(&id(MONDAY_US, 10 + n), "bank", "alice", 1))
        .collect();
    assert_eq!(told(&send(many).await.unwrap_err()).1, "TOO_MANY_ENTRIES");
    let reasons = async |entries: Vec<Entry>| -> Vec<String> {
        let outcomes = send(entries).await.unwrap().outcomes;
        let reason = |outcome: EntryOutcome| match outcome.outcome {
            Some(entry_outcome::Outcome::Refused(refusal)) => refusal.reason,
            Some(entry_outcome::Outcome::Accepted(_)) => "in".to_owned(),
            None => "no outcome".to_owned(),
        };
        outcomes.into_iter().map(reason).collect()
    };
    let link = |n: u64, from: &str, amount, linked| Entry {
        linked,
        ..payment(&id(MONDAY_US, n), from, "alice", amount)
    };
    assert_eq!(
        reasons(vec![link(20, "bank", 1, false), link(21, "bank", 1, true)]).await,
        ["in", "LINKED_CHAIN_OPEN"]
    );
    assert_eq!(
        reasons(vec![
            link(22, "bank", 1, true),
            link(23, "bob", 1, false),
            link(24, "bank", 1, false)
        ])
        .await,
        ["LINKED_ENTRY_REFUSED", "LINKED_HOMES_DIFFER", "in"]
    );
    assert_eq!(
        reasons(vec![link(25, "bank", 1, true), link(26, "bank", 0, false)]).await,
        ["LINKED_ENTRY_REFUSED", "ZERO_LEG"]
    );
    let chain: Vec<Entry> = (0..513)
        .map(|n| link(1_000 + n, "bank", 1, n < 512))
        .collect();
    let refused = reasons(chain).await;
    assert_eq!(
        refused
            .iter()
            .filter(|reason| *reason == "LINKED_CHAIN_TOO_LONG")
            .count(),
        1
    );
    assert_eq!(
        refused
            .iter()
            .filter(|reason| *reason == "LINKED_ENTRY_REFUSED")
            .count(),
        512
    );
    let full = (0..8_192)
        .map(|n| payment(&id(MONDAY_US, 10_000 + n), "bank", "alice", 1))
        .collect();
    assert!(reasons(full).await.iter().all(|reason| reason == "in"));
    assert_eq!(
        bank.balances("alice").await[0],
        format!("customer/main GBP {}", 1_000 + 2 + 8_192)
    );
    bank.assert_right("after batches").await;
}

#[tokio::test]
async fn bad_accounts_are_refused() {
    let bank = bank().await;
    let open = async |request: CreateAccountRequest| {
        told(&call!(bank, create_account(CreateAccountRequest), request).unwrap_err())
            .1
            .to_owned()
    };
    let good = || CreateAccountRequest {
        id: "carol".to_owned(),
        addresses: vec![address("customer/main GBP 0")],
        ..Default::default()
    };
    let same = || vec![address("customer/main GBP 0"), address("customer/main GBP")];
    let many = || {
        (0..65)
            .map(|n| address(&format!("customer/pot:{n} GBP")))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        open(CreateAccountRequest {
            id: String::new(),
            ..good()
        })
        .await,
        "ACCOUNT_ID_INVALID"
    );
    assert_eq!(
        open(CreateAccountRequest {
            id: "~x".to_owned(),
            ..good()
        })
        .await,
        "ACCOUNT_ID_INVALID"
    );
    assert_eq!(
        open(CreateAccountRequest {
            entity: "a b".to_owned(),
            ..good()
        })
        .await,
        "ENTITY_INVALID"
    );
    assert_eq!(
        open(CreateAccountRequest {
            addresses: vec![],
            ..good()
        })
        .await,
        "ADDRESS_COUNT_INVALID"
    );
    assert_eq!(
        open(CreateAccountRequest {
            addresses: many(),
            ..good()
        })
        .await,
        "ADDRESS_COUNT_INVALID"
    );
    assert_eq!(
        open(CreateAccountRequest {
            addresses: same(),
            ..good()
        })
        .await,
        "DUPLICATE_ADDRESS"
    );
    assert_eq!(
        open(CreateAccountRequest {
            id: "alice".to_owned(),
            ..good()
        })
        .await,
        "ACCOUNT_ID_REUSED"
    );
    let get = GetAccountRequest {
        account: "carol".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        told(&call!(bank, get_account(GetAccountRequest), get).unwrap_err()),
        (Code::NotFound, "ACCOUNT_NOT_FOUND")
    );
    let close = CloseAccountRequest {
        account: "alice".to_owned(),
        ..Default::default()
    };
    let refused = call!(bank, close_account(CloseAccountRequest), close).unwrap_err();
    assert_eq!(
        told(&refused),
        (Code::FailedPrecondition, "ACCOUNT_NOT_EMPTY")
    );
}

#[tokio::test]
async fn bad_holds_and_reversals_are_refused() {
    let bank = bank().await;
    let place = |n: u64, amount_minor| PlaceHoldRequest {
        id: id(MONDAY_US, n),
        account: "alice".to_owned(),
        currency: "GBP".to_owned(),
        amount_minor,
        ..Default::default()
    };
    let placed = async |request: PlaceHoldRequest| match call!(
        bank,
        place_hold(PlaceHoldRequest),
        request
    ) {
        Ok(_) => "in".to_owned(),
        Err(error) => told(&error).1.to_owned(),
    };
    assert_eq!(placed(place(30, 0)).await, "AMOUNT_NOT_POSITIVE");
    assert_eq!(placed(place(30, -5)).await, "AMOUNT_NOT_POSITIVE");
    assert_eq!(
        placed(PlaceHoldRequest {
            expires_us: -1,
            ..place(30, 5)
        })
        .await,
        "EXPIRY_INVALID"
    );
    assert_eq!(
        placed(PlaceHoldRequest {
            expires_us: MONDAY_US,
            ..place(30, 5)
        })
        .await,
        "HOLD_EXPIRES_IN_PAST"
    );
    let onto_itself = PlaceHoldRequest {
        held_address: "customer/main".to_owned(),
        ..place(30, 5)
    };
    assert_eq!(placed(onto_itself).await, "HOLD_ADDRESSES_SAME");
    assert_eq!(placed(place(30, 1_001)).await, "FLOOR_BROKEN");
    assert_eq!(
        placed(PlaceHoldRequest {
            account: "bob".to_owned(),
            ..place(30, 1)
        })
        .await,
        "ADDRESS_NOT_FOUND"
    );
    assert_eq!(placed(place(31, 400)).await, "in");
    let capture = |n: u64, hold: u64, amount_minor| CaptureHoldRequest {
        id: id(MONDAY_US, n),
        account: "alice".to_owned(),
        hold_id: id(MONDAY_US, hold),
        amount_minor,
        to_account: "bank".to_owned(),
        ..Default::default()
    };
    let captured = async |request| match call!(bank, capture_hold(CaptureHoldRequest), request) {
        Ok(_) => "in".to_owned(),
        Err(error) => told(&error).1.to_owned(),
    };
    assert_eq!(captured(capture(40, 99, 1)).await, "HOLD_NOT_FOUND");
    assert_eq!(captured(capture(40, 31, 0)).await, "AMOUNT_NOT_POSITIVE");
    assert_eq!(captured(capture(40, 31, 401)).await, "CAPTURE_EXCEEDS_HOLD");
    let beyond = CaptureHoldRequest {
        allow_over: true,
        ..capture(41, 31, 1_001)
    };
    assert_eq!(captured(beyond).await, "FLOOR_BROKEN");
    assert_eq!(captured(capture(42, 31, 400)).await, "in");
    assert_eq!(captured(capture(43, 31, 1)).await, "HOLD_CAPTURED");
    let release = ReleaseHoldRequest {
        id: id(MONDAY_US, 44),
        account: "alice".to_owned(),
        hold_id: id(MONDAY_US, 31),
        amount_minor: -1,
        ..Default::default()
    };
    let refused = call!(bank, release_hold(ReleaseHoldRequest), release.clone()).unwrap_err();
    assert_eq!(told(&refused).1, "AMOUNT_NOT_POSITIVE");
    let release = ReleaseHoldRequest {
        amount_minor: 0,
        ..release
    };
    let refused = call!(bank, release_hold(ReleaseHoldRequest), release).unwrap_err();
    assert_eq!(told(&refused).1, "HOLD_CAPTURED");
    let reverse = |n: u64, entry: u64, home: &str| ReverseEntryRequest {
        id: id(MONDAY_US, n),
        entry_id: id(MONDAY_US, entry),
        home: home.to_owned(),
        ..Default::default()
    };
    let reversed = async |request| match call!(bank, reverse_entry(ReverseEntryRequest), request) {
        Ok(_) => "in".to_owned(),
        Err(error) => told(&error).1.to_owned(),
    };
    assert_eq!(
        reversed(reverse(50, 50, "bank")).await,
        "REVERSAL_OF_ITSELF"
    );
    assert_eq!(reversed(reverse(50, 98, "bank")).await, "ENTRY_NOT_FOUND");
    assert_eq!(reversed(reverse(50, 1, "alice")).await, "ENTRY_NOT_FOUND");
    assert_eq!(
        reversed(reverse(50, 31, "alice")).await,
        "HOLD_NOT_REVERSIBLE"
    );
    assert_eq!(reversed(reverse(51, 42, "alice")).await, "in");
    assert_eq!(reversed(reverse(52, 42, "alice")).await, "ALREADY_REVERSED");
    assert_eq!(
        bank.balances("alice").await,
        [
            "customer/main GBP 1000",
            "customer/held GBP 0",
            "customer/main EUR 0"
        ]
    );
    bank.assert_right("after bad holds").await;
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let bank = bank().await;
    let balances = async |request: GetBalancesRequest| {
        told(&call!(bank, get_balances(GetBalancesRequest), request).unwrap_err())
            .1
            .to_owned()
    };
    let alice = || GetBalancesRequest {
        account: "alice".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        balances(GetBalancesRequest {
            account: "nobody".to_owned(),
            ..alice()
        })
        .await,
        "ACCOUNT_NOT_FOUND"
    );
    assert_eq!(
        balances(GetBalancesRequest {
            as_of_booked_us: -1,
            ..alice()
        })
        .await,
        "AS_OF_INVALID"
    );
    let both = GetBalancesRequest {
        as_of_booked_us: 1,
        as_of_value_date: "2026-01-05".to_owned(),
        ..alice()
    };
    assert_eq!(balances(both).await, "AS_OF_INVALID");
    assert_eq!(
        balances(GetBalancesRequest {
            as_of_booked_us: 1,
            with_holds: true,
            ..alice()
        })
        .await,
        "AS_OF_WITH_HOLDS"
    );
    let postings = async |request: ListPostingsRequest| {
        told(&call!(bank, list_postings(ListPostingsRequest), request).unwrap_err())
            .1
            .to_owned()
    };
    let alice = || ListPostingsRequest {
        account: "alice".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        postings(ListPostingsRequest {
            page_size: 1_001,
            ..alice()
        })
        .await,
        "PAGE_SIZE_TOO_LARGE"
    );
    assert_eq!(
        postings(ListPostingsRequest {
            page_token: "ff".to_owned(),
            ..alice()
        })
        .await,
        "PAGE_TOKEN_INVALID"
    );
    assert_eq!(
        postings(ListPostingsRequest {
            address: "customer/x".to_owned(),
            ..alice()
        })
        .await,
        "ADDRESS_NOT_FOUND"
    );
    let list = ListAccountsRequest {
        page_token: "a b".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        told(&call!(bank, list_accounts(ListAccountsRequest), list).unwrap_err()).1,
        "PAGE_TOKEN_INVALID"
    );
    let entry = GetEntryRequest {
        id: id(MONDAY_US, 99),
        home: "bank".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        told(&call!(bank, get_entry(GetEntryRequest), entry).unwrap_err()),
        (Code::NotFound, "ENTRY_NOT_FOUND")
    );
}
