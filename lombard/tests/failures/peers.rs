//! Peers that are slow, silent or gone: the others must not notice.

use crate::bank::{Bank, folder};
use crate::http::Connection;
use crate::ledger::{Ledger, path};

const SLOW_PEERS: usize = 200;

#[test]
fn peers_that_send_half_a_request_do_not_stop_others() {
    let folder = folder();
    let bank = Bank::start(&folder.path().join("data"));
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    ledger.open("b", false);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: bank\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n",
        path("CreateEntry")
    );
    let mut slow = Vec::new();
    for number in 0..SLOW_PEERS {
        let mut peer = Connection::open(bank.address("ledger")).unwrap();
        match number % 3 {
            // In the middle of the head, of the body, or before anything.
            0 => peer.send_raw(head.as_bytes()).unwrap(),
            1 => peer
                .send_raw(format!("{head}\r\n{{\"entry\":").as_bytes())
                .unwrap(),
            _ => {}
        }
        slow.push(peer);
    }
    for _ in 0..100 {
        ledger.post(&[("a", -1), ("b", 1)]);
    }
    // A connection that is opened now is served too.
    let mut late = Ledger::of(&bank);
    late.post(&[("a", -1), ("b", 1)]);
    drop(slow);
    assert_eq!(
        late.balances("b")[&("b".to_owned(), "customer/main".to_owned())],
        101
    );
    bank.stop();
}

#[test]
fn a_peer_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let folder = folder();
    let bank = Bank::start(&folder.path().join("data"));
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    ledger.open("b", false);
    let before = ledger.all_balances();
    for cut in [1, 20, 60, 100] {
        let id = crate::ledger::id();
        let body = serde_json::json!({"entry": crate::ledger::entry(&id, &[("a", -5), ("b", 5)])})
            .to_string();
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: bank\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            path("CreateEntry"),
            body.len()
        );
        let mut peer = Connection::open(bank.address("ledger")).unwrap();
        peer.send_raw(request.as_bytes().get(..request.len() - cut).unwrap())
            .unwrap();
        drop(peer);
        assert_eq!(ledger.carried(&id, "a"), None);
    }
    assert_eq!(ledger.all_balances(), before);
    bank.check();
}
