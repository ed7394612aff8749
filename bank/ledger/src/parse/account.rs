//! Accounts: opening them, their addresses and metadata.

use std::collections::BTreeMap;

use lombard_contracts::bank::ledger::v1::__buffa::view::{AddressView, CreateAccountRequestView};

use super::text;
use crate::admin::{NewAddress, OpenAccount};
use crate::limits::ADDRESSES_PER_ACCOUNT_MAX;
use crate::refusal::Refusal;

/// Reads what opens an account.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn open_account(view: &CreateAccountRequestView<'_>) -> Result<OpenAccount, Refusal> {
    Ok(OpenAccount {
        id: text::account_id(view.id)?.to_owned(),
        entity: text::entity(view.entity)?.to_owned(),
        addresses: addresses(&view.addresses)?,
        metadata: account_metadata(&view.metadata)?,
        actor: text::actor(view.actor)?.to_owned(),
    })
}

/// Reads 1 to 64 addresses.
///
/// # Errors
/// The first thing that is wrong with them.
pub fn addresses(views: &[AddressView<'_>]) -> Result<Vec<NewAddress>, Refusal> {
    if !(1..=ADDRESSES_PER_ACCOUNT_MAX).contains(&views.len()) {
        return Err(Refusal::invalid(
            "ADDRESS_COUNT_INVALID",
            format!(
                "name 1 to {ADDRESSES_PER_ACCOUNT_MAX} addresses, not {}",
                views.len()
            ),
        ));
    }
    views
        .iter()
        .map(|view| {
            Ok(NewAddress {
                address: text::address(view.address)?.to_owned(),
                currency: text::currency(view.currency)?.code().to_owned(),
                floor: view.floor.as_option().map(|floor| floor.minimum_minor),
            })
        })
        .collect()
}

/// Reads the metadata of an account.
///
/// # Errors
/// `METADATA_INVALID`.
pub fn account_metadata(
    pairs: &buffa::MapView<'_, &str, &str>,
) -> Result<BTreeMap<String, String>, Refusal> {
    super::entry::metadata(pairs)
}
