//! Reads: each has a place in its account's order that agrees with time.

use lombard_consistency::history::{AccountBalances, Answer, Balances, Call, Outcome};
use lombard_consistency::violation::ViolationKind;

use crate::story::{Story, entry, unknown};

const PAYMENT: [(&str, i64); 2] = [("a", -30), ("b", 30)];

#[test]
fn a_read_shows_all_that_was_acknowledged_before_it_began() {
    let mut story = Story::funded();
    let before = story.balances("a");
    story.pay(1, &PAYMENT);
    let after = story.balances("a");
    story.reads(2, "a", after);
    story.is_consistent();
    story.reads(3, "a", before);
    let found = story.breaks(ViolationKind::ReadStale);
    // It names the read that had shown more, and itself.
    assert_eq!(found.operations, [1, 3]);
    assert_eq!(found.event_number, Some(1));
}

#[test]
fn while_an_entry_is_on_its_way_a_read_may_show_it_or_not() {
    for shows_it in [false, true] {
        let mut story = Story::funded();
        let before = story.balances("a");
        story.sends(1, entry(1, &PAYMENT));
        let posted = story.posts(1, &PAYMENT);
        let after = story.balances("a");
        story.reads(2, "a", if shows_it { after } else { before });
        story.gets_posted(1, posted);
        story.is_consistent();
    }
}

#[test]
fn reads_do_not_go_backwards() {
    let mut story = Story::funded();
    let before = story.balances("a");
    story.sends(1, entry(1, &PAYMENT));
    story.posts(1, &PAYMENT);
    let after = story.balances("a");
    story.gets(1, unknown());
    // Nobody knows of the entry, but one read has shown it.
    story.reads(2, "a", before.clone());
    story.reads(3, "a", after.clone());
    story.is_consistent();
    story.reads(4, "a", before.clone());
    let found = story.breaks(ViolationKind::ReadStale);
    assert_eq!(found.operations, [3, 4]);

    // Reads that overlap may be told in any order.
    let mut story = Story::funded();
    story.sends(1, entry(1, &PAYMENT));
    story.posts(1, &PAYMENT);
    story.gets(1, unknown());
    let read = |account: &str| Call::Balances {
        account: account.to_owned(),
    };
    story.sends(2, read("a"));
    story.sends(3, read("a"));
    story.sees(3, after);
    story.sees(2, before);
    story.is_consistent();
}

#[test]
fn a_read_shows_nothing_that_was_sent_after_it_had_ended() {
    let mut story = Story::funded();
    let mut later = Story::funded();
    later.pay(1, &PAYMENT);
    let ahead = later.balances("a");
    story.reads(2, "a", ahead);
    story.pay(1, &PAYMENT);
    let found = story.breaks(ViolationKind::ReadAhead);
    assert_eq!(found.operations, [1, 2]);
}

#[test]
fn a_read_that_nothing_explains_is_impossible() {
    let mut story = Story::funded();
    let mut shown = story.balances("a");
    shown.balances[0].balance_minor = 99;
    story.reads(1, "a", shown.clone());
    story.breaks(ViolationKind::ReadImpossible);
    // An event that there is not.
    let mut story = Story::funded();
    shown.balances[0].balance_minor = 100;
    shown.event_number = 9;
    story.reads(1, "a", shown.clone());
    story.breaks(ViolationKind::ReadImpossible);
    // Half of the addresses.
    let mut story = Story::funded();
    shown.event_number = 1;
    shown.balances.clear();
    story.reads(1, "a", shown);
    story.breaks(ViolationKind::ReadImpossible);
    // Below the floor.
    let mut story = Story::funded();
    let mut shown = story.balances("a");
    shown.balances[0].balance_minor = -1;
    story.reads(1, "a", shown);
    story.breaks(ViolationKind::FloorBroken);
}

fn as_of(story: &mut Story, operation: u64, booked_us: i64, shown: Balances) {
    let account = "a".to_owned();
    let call = Call::BalancesAsOf { account, booked_us };
    story.sends(operation, call);
    story.sees(operation, shown);
}

#[test]
fn a_read_as_of_a_moment_shows_what_was_booked_by_then_each_time() {
    let mut story = Story::funded();
    let before = story.balances("a");
    let first = story.pay(1, &PAYMENT);
    let after = story.balances("a");
    let nothing = Balances {
        event_number: 0,
        balances: Vec::new(),
        holds: None,
    };
    as_of(&mut story, 2, first.booked_us, after.clone());
    as_of(&mut story, 3, first.booked_us - 1, before.clone());
    as_of(&mut story, 4, 1, nothing);
    as_of(&mut story, 5, i64::MAX, after.clone());
    story.is_consistent();
    as_of(&mut story, 6, first.booked_us, before);
    story.breaks(ViolationKind::ReadStale);
    let mut story = Story::funded();
    let first = story.pay(1, &PAYMENT);
    as_of(&mut story, 2, first.booked_us - 1, after);
    story.breaks(ViolationKind::ReadAhead);
}

#[test]
fn a_read_as_of_a_moment_may_miss_what_is_booked_there_later() {
    let mut story = Story::funded();
    let before = story.balances("a");
    story.sends(1, entry(1, &PAYMENT));
    as_of(&mut story, 2, i64::MAX, before);
    let posted = story.posts(1, &PAYMENT);
    story.gets_posted(1, posted);
    story.is_consistent();
}

fn trial(story: &mut Story, operation: u64, lines: &[(&str, Balances)]) {
    story.sends(operation, Call::TrialBalance);
    let accounts = lines
        .iter()
        .map(|(account, shown)| AccountBalances {
            account: (*account).to_owned(),
            balances: shown.balances.clone(),
        })
        .collect();
    let answer = Answer::TrialBalance { accounts };
    story.gets(operation, Outcome::Ok { answer });
}

#[test]
fn a_trial_balance_may_show_an_entry_in_part_while_it_is_on_its_way_only() {
    let mut story = Story::funded();
    let (a_before, b_before) = (story.balances("a"), story.balances("b"));
    let lines = [("a", a_before), ("b", b_before.clone())];
    trial(&mut story, 5, &lines);
    story.sends(1, entry(1, &PAYMENT));
    let posted = story.posts(1, &PAYMENT);
    let a_after = story.balances("a");
    let in_part = [("a", a_after), ("b", b_before)];
    trial(&mut story, 6, &in_part);
    story.gets_posted(1, posted);
    story.is_consistent();
    trial(&mut story, 7, &in_part);
    let found = story.breaks(ViolationKind::ReadStale);
    assert_eq!(found.account.as_deref(), Some("b"));
    assert_eq!(found.operations, [1, 7]);
}

#[test]
fn a_trial_balance_takes_the_first_place_that_fits() {
    // The balance of "a" is 100 twice: before the payment and after it came back.
    let mut story = Story::funded();
    let first = story.balances("a");
    story.sends(1, entry(1, &PAYMENT));
    story.sends(2, entry(2, &[("b", -30), ("a", 30)]));
    story.posts(1, &PAYMENT);
    let between = story.balances("a");
    story.posts(2, &[("b", -30), ("a", 30)]);
    story.gets(1, unknown());
    story.gets(2, unknown());
    trial(&mut story, 5, &[("a", first)]);
    // Had the second place been taken, this would be stale.
    trial(&mut story, 6, &[("a", between)]);
    story.is_consistent();
}
