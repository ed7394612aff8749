//! SIGTERM under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bank::{Bank, folder};
use crate::ledger::Ledger;
use crate::load::{Client, open_accounts};

const CLIENTS: u64 = 8;
const ROUNDS: u32 = 3;

/// A request that met the closing of its connection gets no answer; then it was not
/// accepted either: nothing of it may be there.
#[test]
fn on_sigterm_every_accepted_call_is_answered_and_the_process_ends_with_0() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut clients: Vec<Client> = (100..100 + CLIENTS).map(Client::new).collect();
    let mut bank = Bank::start(&data);
    open_accounts(&mut Ledger::of(&bank));
    let (mut answered, mut accepted) = (0, 0);
    for _ in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let address = bank.address("ledger").to_owned();
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.run(&address, &stop));
            }
            std::thread::sleep(Duration::from_millis(400));
            bank.stop();
            stop.store(true, Ordering::Relaxed);
        });
        bank = Bank::start(&data);
        let mut ledger = Ledger::of(&bank);
        for sent in clients
            .iter_mut()
            .flat_map(|client| std::mem::take(&mut client.sent))
        {
            let Some(answer) = &sent.answer else {
                for asked in &sent.asked {
                    let found = ledger.carried(&asked.id, &asked.home);
                    assert_eq!(found, None, "accepted, and not answered: {}", sent.request);
                }
                continue;
            };
            answered += 1;
            for (asked, result) in sent.asked.iter().zip(sent.results()) {
                let found = ledger.carried(&asked.id, &asked.home);
                assert_eq!(found.is_some(), result.is_some(), "told {answer}");
                accepted += u32::from(result.is_some());
            }
        }
        ledger.settle();
        bank.check();
    }
    assert!(
        answered > 200 && accepted > 200,
        "{answered} answers, {accepted} entries: that is no load"
    );
}

#[test]
fn a_drain_tells_new_calls_on_open_connections_that_another_replica_will_answer() {
    let folder = folder();
    let data = folder.path().join("data");
    let bank = Bank::start(&data);
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    bank.stop();
    // Either is right: refused with a typed error, or the connection is closed.
    if let Ok(answer) = ledger.try_call("GetAccount", &serde_json::json!({"account": "a"})) {
        assert!(answer.refused().retryable);
    }
}

/// `timeout` and some supervisors tell a process and its group: it hears it twice.
#[test]
fn a_word_to_stop_that_is_told_twice_is_one() {
    let folder = folder();
    let bank = Bank::start(&folder.path().join("data"));
    let mut ledger = Ledger::of(&bank);
    ledger.open("a", false);
    bank.terminate();
    bank.terminate();
    assert!(bank.wait().success());
}
