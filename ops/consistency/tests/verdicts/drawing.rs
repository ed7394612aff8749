//! What a person reads of a violation.

use lombard_consistency::Report;
use lombard_consistency::history::{FaultMark, Record};
use lombard_consistency::nemesis::{FaultDone, FaultKind};
use lombard_consistency::timeline::Styles;

use crate::story::Story;

/// A read that misses a payment, with a kill between.
fn stale() -> Story {
    let mut story = Story::funded();
    let before = story.balances("a");
    story.pay(1, &[("a", -30), ("b", 30)]);
    story.history.records.push(Record::Fault {
        at_us: 6_500,
        mark: FaultMark::Begun,
        what: "kill".to_owned(),
    });
    story.reads(2, "a", before);
    story
}

#[test]
fn a_timeline_shows_lanes_faults_and_the_order_that_counts() {
    let story = stale();
    let report = Report::of(&story.history, &story.end, Vec::new());
    let timeline = report.timeline.unwrap();
    let expected = "\
broken: a read shows all that was acknowledged or read before it began (account a)
  expected  event 2 or later, known since operation 1 ended: customer/main 70 GBP
  seen      event 1: customer/main 100 GBP

          ms   1  2
       1.000   ┌  ·  1 → #901 entry …000901: bank -100 GBP, a +100 GBP
       2.000   └  ·  1 ← #901 in at 1767603600001000: a customer/main 0 → 100
       5.000   ┌  · ▶1 → #1 entry …000001: a -30 GBP, b +30 GBP
       6.000   └  · ▶1 ← #1 in at 1767603600005000: a customer/main 100 → 70
       6.500 ══════  fault: kill
       7.000   ·  ┌ ▶2 → #2 balances of a
       8.000   ·  └ ▶2 ← #2 event 1: customer/main 100 GBP

  booked, ms events of a at the end
       1.000 ▶    1  Posted #901 …000901  customer/main +100 GBP  customer/main 100 GBP
       5.000 ▶    2  Posted #1 …000001  customer/main -30 GBP  customer/main 70 GBP
";
    assert_eq!(timeline.text(&Styles::plain()), expected);
}

#[test]
fn a_report_counts_and_gives_its_verdict() {
    let story = stale();
    let fault = FaultDone {
        kind: FaultKind::Kill,
        what: "killed node 2".to_owned(),
        begun_us: 6_500,
        healed_us: 9_500,
    };
    let report = Report::of(&story.history, &story.end, vec![fault]);
    let text = report.text(&Styles::plain());
    for line in [
        "a story, seed 0, 0.008 s",
        "balances                             1        0       0        0         1",
        "entry                                3        0       0        0         3",
        "        6 ms  killed node 2, for 3 ms",
        "not consistent: 1 contradictions; the first:",
    ] {
        assert!(text.lines().any(|there| there == line), "{line:?}: {text}");
    }
    assert_eq!(report.violation_count, 1);
    let story = Story::funded();
    let report = Report::of(&story.history, &story.end, Vec::new());
    assert!(report.consistent && report.timeline.is_none());
}
