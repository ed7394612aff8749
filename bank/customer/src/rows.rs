//! What is stored: a partition for each customer, under his id.

use buffa::Message;
use lombard_store::{Fault, Rows, StoreError};

pub use lombard_contracts::bank::customer::rows::v1::{CustomerRow, EventRow};

/// The key of the customer's row.
pub const CUSTOMER_KEY: &[u8] = b"c";

/// The key of an event.
pub fn event_key(number: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The customer, if there is one.
///
/// # Errors
/// [`StoreError::Damaged`] where the row cannot be read.
pub fn load(rows: &Rows<'_>) -> Result<Option<CustomerRow>, Fault> {
    let Some(value) = rows.get(CUSTOMER_KEY)? else {
        return Ok(None);
    };
    let row = CustomerRow::decode_from_slice(&value).map_err(|error| {
        StoreError::Damaged(format!(
            "customer row {}: {error}",
            CUSTOMER_KEY.escape_ascii()
        ))
    })?;
    Ok(Some(row))
}

/// Writes the customer and what happened to him. The event takes the next number.
pub fn store(rows: &mut Rows<'_>, mut customer: CustomerRow, mut event: EventRow) -> CustomerRow {
    customer.event_number += 1;
    event.number = customer.event_number;
    event.customer = customer.clone().into();
    rows.put(CUSTOMER_KEY, customer.encode_to_vec());
    rows.append(event_key(event.number).to_vec(), event.encode_to_vec());
    customer
}
