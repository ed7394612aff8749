//! Ledger entries from transactions of another bank.

use jiff::tz::TimeZone;
use lombard_contracts::bank::ledger::v1;
use sha2::{Digest, Sha256};

use super::berka::{CURRENCY, Direction, Transaction};

/// Who did it, in the ledger's words.
pub const ACTOR: &str = "import:berka";
/// Where a customer's money is.
pub const CUSTOMER_ADDRESS: &str = "customer/main";

/// The entry that says what the transaction said; none where no money moved.
pub fn entry(transaction: &Transaction) -> Option<v1::Entry> {
    if transaction.amount_minor == 0 {
        return None;
    }
    let (counter_account, counter_address) = transaction.counter_account();
    let customer = leg(
        transaction.customer_account(),
        CUSTOMER_ADDRESS.to_owned(),
        transaction.signed_minor(),
    );
    let counter = leg(
        counter_account,
        counter_address,
        -transaction.signed_minor(),
    );
    let mut metadata = vec![("trans_id".to_owned(), transaction.trans_id.to_string())];
    if let Some(bank) = &transaction.bank {
        metadata.push(("bank".to_owned(), bank.clone()));
    }
    if let Some(account) = transaction.account {
        metadata.push(("account".to_owned(), account.to_string()));
    }
    Some(v1::Entry {
        id: entry_id(transaction),
        legs: match transaction.direction {
            Direction::In => vec![counter, customer],
            Direction::Out => vec![customer, counter],
        },
        value_date: transaction.date.to_string(),
        reference: transaction.reference(),
        metadata: metadata.into_iter().collect(),
        actor: ACTOR.to_owned(),
        ..Default::default()
    })
}

fn leg(account: String, address: String, amount_minor: i64) -> v1::Leg {
    v1::Leg {
        account,
        address,
        currency: CURRENCY.to_owned(),
        amount_minor,
        ..Default::default()
    }
}

/// A UUID of version 8 (RFC 9562 section 5.8): the milliseconds of the
/// transaction's day in front, as of version 7, and behind them a digest of the
/// foreign key. The key alone: a line that comes again with another amount must
/// meet the first one, and be refused as a conflict.
fn entry_id(transaction: &Transaction) -> String {
    let mut digest = Sha256::new();
    digest.update(b"berka/trans_id/");
    digest.update(transaction.trans_id.to_be_bytes());
    let digest = digest.finalize();
    // Midnight of a day of the twentieth century in UTC always exists; those before
    // 1970 share the id's first moment.
    let ms = transaction
        .date
        .to_zoned(TimeZone::UTC)
        .map_or(0, |day| day.timestamp().as_millisecond())
        .max(0);
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// The accounts of an entry as they are to be opened, the customer's first.
pub fn accounts(transaction: &Transaction) -> [v1::CreateAccountRequest; 2] {
    let (counter, address) = transaction.counter_account();
    [
        account(transaction.customer_account(), CUSTOMER_ADDRESS.to_owned()),
        account(counter, address),
    ]
}

/// An account with one address and no floor: what happened elsewhere has happened.
fn account(id: String, address: String) -> v1::CreateAccountRequest {
    v1::CreateAccountRequest {
        id,
        addresses: vec![v1::Address {
            address,
            currency: CURRENCY.to_owned(),
            ..Default::default()
        }],
        actor: ACTOR.to_owned(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::berka::{Line, parse_line};
    use super::*;

    fn read(text: &str) -> Transaction {
        match parse_line(2, text.as_bytes()).unwrap() {
            Line::Transaction(transaction) => transaction,
            Line::Nothing => panic!("no transaction"),
        }
    }

    #[test]
    fn money_in_comes_from_the_bank_and_money_out_goes_there() {
        let paid_in = entry(&read(r#"1;9;930131;"PRIJEM";"VKLAD";7.00;7.00;"";;"#)).unwrap();
        assert_eq!(
            paid_in.legs[0],
            leg("bank-cash".to_owned(), "bank/cash".to_owned(), -700)
        );
        assert_eq!(
            paid_in.legs[1],
            leg("berka-9".to_owned(), "customer/main".to_owned(), 700)
        );
        assert_eq!(paid_in.value_date, "1993-01-31");
        let sent = entry(&read(
            r#"2;9;930131;"VYDAJ";"PREVOD NA UCET";7.00;0.00;"SIPO";"EF";77"#,
        ))
        .unwrap();
        assert_eq!(
            sent.legs[0],
            leg("berka-9".to_owned(), "customer/main".to_owned(), -700)
        );
        assert_eq!(sent.legs[1].address, "bank/interbank:EF");
        assert_eq!(sent.metadata.get("trans_id").map(String::as_str), Some("2"));
        assert_eq!(sent.metadata.get("bank").map(String::as_str), Some("EF"));
        assert_eq!(sent.metadata.get("account").map(String::as_str), Some("77"));
    }

    #[test]
    fn an_id_is_made_from_day_and_foreign_key_alone() {
        let first = entry(&read(r#"1;9;930131;"PRIJEM";"VKLAD";7.00;7.00;"";;"#)).unwrap();
        let other_amount = entry(&read(r#"1;9;930131;"PRIJEM";"VKLAD";8.00;8.00;"";;"#)).unwrap();
        let other_key = entry(&read(r#"2;9;930131;"PRIJEM";"VKLAD";7.00;7.00;"";;"#)).unwrap();
        assert_eq!(first.id, other_amount.id);
        assert_ne!(first.id, other_key.id);
        let id = uuid::Uuid::parse_str(&first.id).unwrap();
        assert_eq!(id.get_version_num(), 8);
        let ms = id.as_u128() >> 80;
        assert_eq!(ms, 728_438_400_000);
    }

    #[test]
    fn nothing_moved_is_no_entry() {
        assert_eq!(
            entry(&read(r#"1;9;930131;"PRIJEM";"VKLAD";0.00;7.00;"";;"#)),
            None
        );
    }
}
