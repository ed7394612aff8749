//! Entries: once, whole, as asked, in an order that agrees with time.

use lombard_consistency::end::EventKind;
use lombard_consistency::history::{Call, FloorSeen, Outcome, Posted};
use lombard_consistency::violation::ViolationKind;

use crate::story::{MAIN, Story, entry, id, unknown};

const PAYMENT: [(&str, i64); 2] = [("a", -30), ("b", 30)];

fn refused(floor: Option<FloorSeen>) -> Outcome {
    Outcome::Refused {
        reason: "FLOOR_BROKEN".to_owned(),
        message: "no".to_owned(),
        floor,
    }
}

fn floor_of_a(balance_minor: i64, asked_minor: i64) -> FloorSeen {
    FloorSeen {
        account: "a".to_owned(),
        address: MAIN.to_owned(),
        currency: "GBP".to_owned(),
        balance_minor,
        minimum_minor: 0,
        asked_minor,
    }
}

#[test]
fn payments_that_are_there_can_be_true() {
    let mut story = Story::funded();
    story.pay(1, &PAYMENT);
    story.pay(2, &[("b", -5), ("bank", 5)]);
    story.is_consistent();
}

#[test]
fn an_acknowledged_entry_that_is_not_there_is_lost() {
    let mut story = Story::funded();
    let mut elsewhere = Story::funded();
    let posted = elsewhere.pay(1, &PAYMENT);
    story.sends(1, entry(1, &PAYMENT));
    story.gets_posted(1, posted);
    let found = story.breaks(ViolationKind::EntryLost);
    assert_eq!(
        (found.account.as_deref(), found.operations.as_slice()),
        (Some("a"), &[1][..])
    );
    // It shows where it was acknowledged.
    assert_eq!(found.place, story.history.records.len() - 1);
}

#[test]
fn an_entry_that_is_there_twice_is_doubled() {
    let mut story = Story::funded();
    story.pay(1, &PAYMENT);
    story.posts(1, &PAYMENT);
    story.breaks(ViolationKind::EntryDoubled);
}

#[test]
fn what_nobody_sent_is_invented() {
    let mut story = Story::funded();
    story.posts(77, &PAYMENT);
    story.breaks(ViolationKind::EntryInvented);
}

#[test]
fn a_refused_entry_is_not_there() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    story.gets(1, refused(None));
    story.is_consistent();
    story.posts(1, &PAYMENT);
    story.breaks(ViolationKind::RefusedButThere);
}

#[test]
fn what_failed_without_a_change_is_not_there() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    let failed = Outcome::Failed {
        reason: "STORE_UNAVAILABLE".to_owned(),
        message: String::new(),
    };
    story.gets(1, failed);
    story.is_consistent();
    story.posts(1, &PAYMENT);
    story.breaks(ViolationKind::RefusedButThere);
}

#[test]
fn an_unknown_entry_may_be_there_or_not_but_not_in_part() {
    for there in [false, true] {
        let mut story = Story::funded();
        story.sends(1, entry(1, &PAYMENT));
        if there {
            story.posts(1, &PAYMENT);
        }
        story.gets(1, unknown());
        story.is_consistent();
    }
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    story.gets(1, unknown());
    story.books("a", EventKind::Posted, &id(1), None, &[(MAIN, -30)]);
    story.shows(ViolationKind::EntryInPart);
    story.shows(ViolationKind::TotalWrong);
}

#[test]
fn an_attempt_that_nobody_knows_of_may_come_in_after_a_later_one_was_refused() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    story.gets(1, unknown());
    story.sends(1, entry(1, &PAYMENT));
    story.gets(1, refused(None));
    story.posts(1, &PAYMENT);
    story.is_consistent();
}

#[test]
fn what_was_reserved_and_given_back_has_moved_nothing() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    let reserved = "internal/reserved";
    let there = [(MAIN, -30), (reserved, 30)];
    story.books("a", EventKind::Reserved, &id(1), None, &there);
    story.gets(1, unknown());
    story.shows(ViolationKind::EntryInPart);
    let back = [(reserved, -30), (MAIN, 30)];
    story.books("a", EventKind::Released, &id(1), None, &back);
    story.is_consistent();
}

#[test]
fn an_entry_moves_what_was_asked_for_and_answered() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    let posted = story.posts(1, &[("a", -31), ("b", 31)]);
    story.gets_posted(1, posted);
    story.breaks(ViolationKind::EntryWrong);

    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    let mut posted = story.posts(1, &PAYMENT);
    posted.legs[1].after_minor += 1;
    posted.legs[1].before_minor += 1;
    story.gets_posted(1, posted);
    story.breaks(ViolationKind::EntryWrong);
}

#[test]
fn up_to_what_is_available_is_at_most_what_was_asked() {
    let call = Call::Entry {
        id: id(1),
        legs: match entry(1, &PAYMENT) {
            Call::Entry { legs, .. } => legs,
            other => panic!("{other:?}"),
        },
        up_to_available: true,
    };
    for (amount, right) in [(30, true), (7, true), (31, false)] {
        let mut story = Story::funded();
        story.sends(1, call.clone());
        let posted = story.posts(1, &[("a", -amount), ("b", amount)]);
        story.gets_posted(1, posted);
        if right {
            story.is_consistent();
        } else {
            story.breaks(ViolationKind::EntryWrong);
        }
    }
}

#[test]
fn a_reversal_is_the_mirror_image() {
    for (amount, right) in [(30, true), (29, false)] {
        let mut story = Story::funded();
        let first = story.pay(1, &PAYMENT);
        let call = Call::Reversal {
            id: id(2),
            entry: id(1),
            home: first.home,
        };
        story.sends(2, call);
        let posted = story.posts(2, &[("b", -amount), ("a", amount)]);
        story.gets_posted(2, posted);
        if right {
            story.is_consistent();
        } else {
            story.breaks(ViolationKind::EntryWrong);
        }
    }
}

#[test]
fn the_same_entry_gets_the_first_answer_again() {
    let mut story = Story::funded();
    let posted = story.pay(1, &PAYMENT);
    let again = Posted {
        replayed: true,
        ..posted.clone()
    };
    story.sends(1, entry(1, &PAYMENT));
    story.gets_posted(1, again.clone());
    story.is_consistent();
    let other = Posted {
        booked_us: again.booked_us + 1,
        ..again
    };
    story.sends(1, entry(1, &PAYMENT));
    story.gets_posted(1, other);
    story.breaks(ViolationKind::AnswerChanged);

    let mut story = Story::funded();
    story.pay(1, &PAYMENT);
    story.sends(1, entry(1, &PAYMENT));
    story.gets(1, refused(None));
    story.breaks(ViolationKind::AnswerChanged);
}

#[test]
fn what_was_acknowledged_first_is_booked_first() {
    let mut story = Story::funded();
    // In the ledger the second stands before the first.
    story.sends(1, entry(1, &PAYMENT));
    let second = story.posts(2, &[("a", -1), ("bank", 1)]);
    let first = story.posts(1, &PAYMENT);
    story.gets_posted(1, first.clone());
    story.sends(2, entry(2, &[("a", -1), ("bank", 1)]));
    story.gets_posted(2, second.clone());
    story.breaks(ViolationKind::OrderAgainstTime);

    // While both are on their way, either order can be true.
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    story.sends(2, entry(2, &[("a", -1), ("bank", 1)]));
    let second = story.posts(2, &[("a", -1), ("bank", 1)]);
    let first = story.posts(1, &PAYMENT);
    story.gets_posted(1, first);
    story.gets_posted(2, second);
    story.is_consistent();
}

#[test]
fn balances_follow_from_postings_and_floors_hold() {
    let mut story = Story::funded();
    story.pay(1, &PAYMENT);
    story.end_of("a").events[1].postings[0].balance_minor += 1;
    story.shows(ViolationKind::BalanceWrong);

    let mut story = Story::funded();
    story.pay(1, &[("a", -101), ("b", 101)]);
    story.breaks(ViolationKind::FloorBroken);

    let mut story = Story::funded();
    story.end_of("b").events[0].number = 2;
    story.shows(ViolationKind::OrderWrong);

    let mut story = Story::funded();
    story.end_of("b").postings.clear();
    story.shows(ViolationKind::BalanceWrong);
}

#[test]
fn a_refusal_tells_of_a_balance_that_was_there() {
    let mut story = Story::funded();
    story.sends(1, entry(1, &[("a", -101), ("b", 101)]));
    story.gets(1, refused(Some(floor_of_a(100, 101))));
    story.is_consistent();
    // It was there while the call was on its way: before or after another entry.
    for balance in [100, 70] {
        let mut story = Story::funded();
        story.sends(1, entry(1, &[("a", -101), ("b", 101)]));
        story.pay(2, &PAYMENT);
        story.gets(1, refused(Some(floor_of_a(balance, 101))));
        story.is_consistent();
    }
    // It was there before, and no longer.
    let mut story = Story::funded();
    story.pay(2, &PAYMENT);
    story.sends(1, entry(1, &[("a", -101), ("b", 101)]));
    story.gets(1, refused(Some(floor_of_a(100, 101))));
    let found = story.breaks(ViolationKind::RefusalWrong);
    assert_eq!(found.operations, [2, 1]);
    // It was there, and enough.
    let mut story = Story::funded();
    story.sends(1, entry(1, &[("a", -50), ("b", 50)]));
    story.gets(1, refused(Some(floor_of_a(100, 50))));
    story.breaks(ViolationKind::RefusalWrong);
}

#[test]
fn what_is_said_at_the_end_counts() {
    let mut story = Story::funded();
    story.end.unquiet = Some("1 request".to_owned());
    story.breaks(ViolationKind::NeverQuiet);
    let mut story = Story::funded();
    story.end.steady = false;
    story.breaks(ViolationKind::NeverSteady);
    let mut story = Story::funded();
    story.end_of("bank").unreadable = Some("DATA_DAMAGED".to_owned());
    story.breaks(ViolationKind::Unreadable);
    let mut story = Story::funded();
    story.end.audit = Some(lombard_consistency::end::Audit {
        findings: vec!["ChainBroken: account a".to_owned()],
    });
    story.breaks(ViolationKind::Audit);
}
