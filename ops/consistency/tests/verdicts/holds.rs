//! Holds: captured and given back once, and at their end.

use lombard_consistency::end::EventKind;
use lombard_consistency::history::{Balances, Call, OpenHold};
use lombard_consistency::violation::ViolationKind;

use crate::story::{BEGAN_US, HELD, MAIN, Story, id};

/// Ends ten seconds into the story.
const END_US: i64 = BEGAN_US + 10_000_000;

/// "a" holds 40 of its 100 until then.
fn holding() -> Story {
    let mut story = Story::funded();
    let call = Call::PlaceHold {
        id: id(1),
        account: "a".to_owned(),
        currency: "GBP".to_owned(),
        amount_minor: 40,
        expires_us: END_US,
    };
    story.sends(1, call);
    let legs = step(&mut story, 1, EventKind::Posted, &[(MAIN, -40), (HELD, 40)]);
    story.gets_posted(1, legs);
    story
}

fn step(
    story: &mut Story,
    operation: u64,
    kind: EventKind,
    moves: &[(&str, i64)],
) -> lombard_consistency::history::Posted {
    let legs = story.books("a", kind, &id(operation), Some(&id(1)), moves);
    lombard_consistency::history::Posted {
        home: "a".to_owned(),
        booked_us: legs[0].booked_us,
        legs,
        replayed: false,
    }
}

/// Captures `amount` to the bank; what it releases beside it goes back.
fn captures(story: &mut Story, operation: u64, amount: i64, released: i64, last: bool) {
    let call = Call::CaptureHold {
        id: id(operation),
        account: "a".to_owned(),
        hold: id(1),
        amount_minor: amount,
        to: "bank".to_owned(),
        last,
    };
    story.sends(operation, call);
    let mut moves = vec![(HELD, -amount)];
    if released > 0 {
        moves.extend([(HELD, -released), (MAIN, released)]);
    }
    let mut posted = step(story, operation, EventKind::Posted, &moves);
    let to = story.books(
        "bank",
        EventKind::Posted,
        &id(operation),
        None,
        &[(MAIN, amount)],
    );
    posted.legs.extend(to);
    story.gets_posted(operation, posted);
}

fn expires(story: &mut Story, remaining: i64) {
    let moves = [(HELD, -remaining), (MAIN, remaining)];
    story.books("a", EventKind::Expired, &id(1), Some(&id(1)), &moves);
}

#[test]
fn a_hold_is_captured_in_parts_and_the_rest_is_given_back() {
    let mut story = holding();
    captures(&mut story, 2, 10, 0, false);
    captures(&mut story, 3, 20, 10, true);
    story.lists_hold("a", &id(1), [40, 30, 10, 0], END_US);
    story.is_consistent();
}

#[test]
fn no_more_is_captured_than_was_held() {
    let mut story = holding();
    captures(&mut story, 2, 41, 0, false);
    story.lists_hold("a", &id(1), [40, 41, 0, -1], END_US);
    story.shows(ViolationKind::HoldWrong);
}

#[test]
fn nothing_is_captured_after_the_end() {
    let mut story = holding();
    captures(&mut story, 2, 30, 10, true);
    captures(&mut story, 3, 1, 0, false);
    story.lists_hold("a", &id(1), [40, 30, 10, 0], END_US);
    story.shows(ViolationKind::HoldWrong);
}

#[test]
fn what_the_ledger_says_of_a_hold_follows_from_its_events() {
    let mut story = holding();
    story.lists_hold("a", &id(1), [40, 0, 0, 40], END_US);
    story.is_consistent();
    let mut story = holding();
    story.lists_hold("a", &id(1), [40, 10, 0, 30], END_US);
    story.shows(ViolationKind::HoldWrong);
    // A hold that is not listed at all.
    holding().shows(ViolationKind::HoldWrong);
}

#[test]
fn an_expired_hold_gives_back_what_remains() {
    let mut story = holding();
    captures(&mut story, 2, 10, 0, false);
    story.wait(11_000_000);
    expires(&mut story, 30);
    story.lists_hold("a", &id(1), [40, 10, 30, 0], END_US);
    story.is_consistent();
}

fn read_of(main: i64, held: i64, event_number: u64, open: bool) -> Balances {
    let balance = |address: &str, balance_minor| lombard_consistency::history::Balance {
        address: address.to_owned(),
        currency: "GBP".to_owned(),
        balance_minor,
    };
    let holds = open.then(|| OpenHold {
        hold: id(1),
        remaining_minor: 40,
    });
    Balances {
        event_number,
        balances: vec![balance(MAIN, main), balance(HELD, held)],
        holds: Some(holds.into_iter().collect()),
    }
}

#[test]
fn a_hold_that_is_over_shows_so_before_its_event_is_booked() {
    let mut story = holding();
    story.reads(2, "a", read_of(60, 40, 2, true));
    story.wait(11_000_000);
    story.reads(3, "a", read_of(100, 0, 3, false));
    // Another event takes the number that the read expected for the end.
    story.pay(4, &[("bank", -1), ("a", 1)]);
    expires(&mut story, 40);
    story.reads(5, "a", read_of(101, 0, 4, false));
    story.lists_hold("a", &id(1), [40, 0, 40, 0], END_US);
    story.is_consistent();
    // Long after its end it must not show as open.
    story.reads(6, "a", read_of(61, 40, 3, true));
    story.shows(ViolationKind::ReadImpossible);
}

#[test]
fn a_hold_that_is_not_over_does_not_show_as_if_it_were() {
    let mut story = holding();
    story.reads(2, "a", read_of(100, 0, 3, false));
    story.lists_hold("a", &id(1), [40, 0, 0, 40], END_US);
    story.breaks(ViolationKind::ReadImpossible);
}

#[test]
fn the_open_holds_of_a_read_are_those_of_its_place() {
    let mut story = holding();
    let mut wrong = read_of(60, 40, 2, true);
    wrong.holds = Some(Vec::new());
    story.reads(2, "a", wrong);
    story.lists_hold("a", &id(1), [40, 0, 0, 40], END_US);
    story.breaks(ViolationKind::ReadImpossible);
}
