//! The rules as a table: what is done, what is answered, what is then there.

use super::*;
use crate::memory::Partition;

/// Columns: operation and what it carries (customer, currency, overdraft; the ledger's event
/// number and what is set: d debits frozen, c credits frozen, x closed), the answer, the account's
/// state after it, and the event that it left, if any.
const SCENARIOS: &[(&str, &str)] = &[
    (
        "an account opens once",
        "
        request ada GBP 0              | ok                          | opening   | 1 AccountRequested
        request ada GBP 0              | ok                          | opening   |
        confirm ada GBP 0   1 -        | ok                          | open      | 2 AccountOpened
        confirm ada GBP 0   1 -        | ok                          | open      |
        request ada GBP 0              | ok                          | open      |
        ",
    ),
    (
        "the same id with other content is a conflict at every stage",
        "
        request ada GBP 500            | ok                          | opening   | 1 AccountRequested
        request bob GBP 500            | differs customer_id         | opening   |
        request ada EUR 500            | differs currency            | opening   |
        request ada GBP 501            | differs overdraft_minor     | opening   |
        confirm ada GBP 501 1 -        | differs overdraft_minor     | opening   |
        confirm ada GBP 500 1 -        | ok                          | open      | 2 AccountOpened
        request bob GBP 500            | differs customer_id         | open      |
        ",
    ),
    (
        "what the ledger refuses leaves the id free, and the events go on",
        "
        confirm ada GBP 0   1 -        | not found                   | none      |
        request ada GBP 0              | ok                          | opening   | 1 AccountRequested
        refuse  bob GBP 0              | ok                          | opening   |
        refuse  ada GBP 0              | ok                          | none      | 2 AccountRefused
        refuse  ada GBP 0              | ok                          | none      |
        get                            | not found                   | none      |
        request bob EUR 0              | ok                          | opening   | 3 AccountRequested
        confirm ada GBP 0   1 -        | differs customer_id         | opening   |
        confirm bob EUR 0   1 -        | ok                          | open      | 4 AccountOpened
        refuse  bob EUR 0              | ok                          | open      |
        ",
    ),
    (
        "freezing, thawing and closing follow the ledger",
        "
        record  2 d                    | not found                   | none      |
        request ada GBP 0              | ok                          | opening   | 1 AccountRequested
        record  2 d                    | not open                    | opening   |
        confirm ada GBP 0   1 -        | ok                          | open      | 2 AccountOpened
        record  2 d                    | ok                          | frozen    | 3 AccountFrozen
        record  3 dc                   | ok                          | frozen    | 4 AccountFrozen
        record  4 -                    | ok                          | open      | 5 AccountThawed
        record  5 c                    | ok                          | frozen    | 6 AccountFrozen
        record  6 x                    | ok                          | closed    | 7 AccountClosed
        record  6 x                    | ok                          | closed    |
        ",
    ),
    (
        "an answer that was overtaken changes nothing",
        "
        request ada GBP 0              | ok                          | opening   | 1 AccountRequested
        confirm ada GBP 0   1 -        | ok                          | open      | 2 AccountOpened
        record  7 -                    | ok                          | open      |
        record  9 -                    | ok                          | open      |
        record  8 d                    | ok                          | open      |
        record  12 d                   | ok                          | frozen    | 3 AccountFrozen
        record  10 -                   | ok                          | frozen    |
        record  12 -                   | ok                          | frozen    |
        record  13 -                   | ok                          | open      | 4 AccountThawed
        ",
    ),
    (
        "a retried confirmation tells what the ledger says now",
        "
        request ada GBP 0              | ok                          | opening   | 1 AccountRequested
        confirm ada GBP 0   4 d        | ok                          | frozen    | 2 AccountOpened
        ",
    ),
];

#[test]
fn scenarios() {
    for (name, table) in SCENARIOS {
        let mut partition = Partition::default();
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let columns: Vec<_> = line.split('|').map(str::trim).collect();
            let [operation, answer, state, event] = columns.as_slice() else {
                panic!("{name}: {line}");
            };
            let before = partition.events.len();
            assert_eq!(&run(&mut partition, operation), answer, "{name}: {line}");
            assert_eq!(&state_of(&mut partition), state, "{name}: {line}");
            let told: Vec<_> = partition.events[before..]
                .iter()
                .map(|event| format!("{} {}", event.number, event.r#type))
                .collect();
            assert_eq!(&told.join(", "), event, "{name}: {line}");
        }
    }
}

fn run(partition: &mut Partition, operation: &str) -> String {
    let words: Vec<_> = operation.split_ascii_whitespace().collect();
    let cause = Cause {
        now_us: 7,
        actor: "clerk".to_owned(),
        trace: "t".to_owned(),
    };
    let opening = || Opening {
        id: "a1".to_owned(),
        customer_id: words[1].to_owned(),
        currency: words[2].to_owned(),
        overdraft_minor: words[3].parse().unwrap(),
    };
    let ledger = |number: &str, set: &str| LedgerState {
        debits_frozen: set.contains('d'),
        credits_frozen: set.contains('c'),
        closed: set.contains('x'),
        event_number: number.parse().unwrap(),
    };
    let answer = partition.update(|rows| match words[0] {
        "request" => {
            let numbering = Numbering::new("00-04-04", "LMBD", 10_000_000, None).unwrap();
            let reservation = ReservationRow {
                account_number: 10_000_007,
                modulus_check: "form only".to_owned(),
                ..ReservationRow::default()
            };
            request(rows, &opening(), &numbering, &reservation, &cause).map(|_| ())
        }
        "confirm" => confirm(rows, &opening(), ledger(words[4], words[5]), &cause).map(|_| ()),
        "refuse" => refuse(rows, &opening(), "ACCOUNT_EXISTS", &cause),
        "record" => record(rows, "a1", ledger(words[1], words[2]), &cause).map(|_| ()),
        "get" => get(rows, "a1").map(|_| ()),
        other => panic!("{other}"),
    });
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(Error::ExistsDifferent { field, .. }) => format!("differs {field}"),
        Err(Error::NotFound { .. }) => "not found".to_owned(),
        Err(Error::NotOpen { .. }) => "not open".to_owned(),
        Err(other) => panic!("{other}"),
    }
}

fn state_of(partition: &mut Partition) -> &'static str {
    let found = partition.update(|rows| find(rows)).unwrap();
    match found {
        None => "none",
        Some(row) if row.opening == OpeningState::Opening => "opening",
        Some(row) if row.closed => "closed",
        Some(row) if row.debits_frozen || row.credits_frozen => "frozen",
        Some(_) => "open",
    }
}

#[test]
fn an_event_tells_the_account_after_it_and_who_did_it() {
    let mut partition = Partition::default();
    run(&mut partition, "request ada GBP 500");
    run(&mut partition, "confirm ada GBP 500 1 -");
    let [requested, opened] = partition.events.as_slice() else {
        panic!("{:?}", partition.events);
    };
    let account = requested.account.as_option().unwrap();
    assert_eq!(account.iban, "GB97LMBD00040410000007");
    assert_eq!(
        (account.sort_code, account.account_number),
        (404, 10_000_007)
    );
    assert_eq!(
        (account.opened_us, account.opened_by.as_str()),
        (7, "clerk")
    );
    assert_eq!(account.opening, OpeningState::Opening);
    assert_eq!(
        (
            opened.actor.as_str(),
            opened.trace.as_str(),
            opened.occurred_us
        ),
        ("clerk", "t", 7)
    );
    let account = opened.account.as_option().unwrap();
    assert_eq!(account.opening, OpeningState::Open);
    assert_eq!((account.event_number, account.overdraft_minor), (2, 500));
}
