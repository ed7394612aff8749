//! A bank with accounts in every state that refuses something.

use serde_json::{Value, json};

use crate::bank::{Bank, folder};
use crate::http::Refused;
use crate::ledger::{Balances, Ledger, id};

/// A bank with accounts in every state that refuses.
pub struct Town {
    /// Its process.
    pub bank: Bank,
    /// A connection to its ledger.
    pub ledger: Ledger,
    _folder: tempfile::TempDir,
}

impl Town {
    /// Opens it.
    pub fn new() -> Self {
        let folder = folder();
        let bank = Bank::start(&folder.path().join("data"));
        let mut ledger = Ledger::of(&bank);
        for (account, floor) in [
            ("funder", false),
            ("alice", true),
            ("bob", true),
            ("closed", true),
            ("rich", false),
            ("mint", false),
        ] {
            ledger.open(account, floor);
        }
        ledger.post(&[("funder", -100), ("alice", 100)]);
        ledger.post(&[("mint", -i64::MAX), ("rich", i64::MAX)]);
        ledger
            .call("CloseAccount", &json!({"account": "closed"}))
            .ok();
        for (account, debits, credits) in [("no-debits", true, false), ("no-credits", false, true)]
        {
            ledger.open(account, false);
            ledger
                .call(
                    "FreezeAccount",
                    &json!({"account": account, "debits": debits, "credits": credits}),
                )
                .ok();
        }
        Self {
            bank,
            ledger,
            _folder: folder,
        }
    }

    /// Everything that could change: balances, and each account with its event number.
    pub fn state(&mut self) -> (Balances, Value) {
        let balances = self.ledger.all_balances();
        let accounts = self
            .ledger
            .call("ListAccounts", &json!({"pageSize": 1000}))
            .ok();
        (balances, accounts)
    }

    /// The call is refused so, and nothing has changed.
    pub fn refuses(&mut self, method: &str, request: &Value, code: &str, reason: &str) -> Refused {
        let before = self.state();
        let refused = self.ledger.call(method, request).refused();
        assert_eq!(
            (refused.code.as_str(), refused.reason.as_str()),
            (code, reason),
            "{refused:?} to {request:.300}"
        );
        assert!(refused.message.len() > 10, "a sentence? {refused:?}");
        assert_eq!(self.state(), before, "{request}");
        refused
    }

    /// An entry of these legs is refused so.
    pub fn refuses_legs(&mut self, legs: &[Value], code: &str, reason: &str) -> Refused {
        let request = json!({"entry": {"id": id(), "legs": legs}});
        self.refuses("CreateEntry", &request, code, reason)
    }
}
