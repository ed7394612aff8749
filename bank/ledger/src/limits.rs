//! Every limit of the ledger, by name.

/// Entries in one call.
pub const ENTRIES_PER_BATCH_MAX: usize = 8_192;
/// Legs of one entry.
pub const LEGS_PER_ENTRY_MAX: usize = 128;
/// Entries of one linked chain: they are one commit.
pub const ENTRIES_PER_CHAIN_MAX: usize = 512;
/// Addresses of one account.
pub const ADDRESSES_PER_ACCOUNT_MAX: usize = 64;
/// Characters of an account id.
pub const ACCOUNT_ID_CHARS_MAX: usize = 64;
/// Characters of an address, "namespace/name".
pub const ADDRESS_CHARS_MAX: usize = 96;
/// Characters of a reference (ISO 20022 remittance information, unstructured: Max140Text).
pub const REFERENCE_CHARS_MAX: usize = 140;
/// Characters of an actor.
pub const ACTOR_CHARS_MAX: usize = 128;
/// Pairs of metadata.
pub const METADATA_PAIRS_MAX: usize = 16;
/// Bytes of all keys and values of metadata.
pub const METADATA_BYTES_MAX: usize = 1_024;
/// Open holds of one account.
pub const OPEN_HOLDS_PER_ACCOUNT_MAX: u32 = 1_000;
/// Holds that expire in one commit; more wait for the next.
pub const EXPIRIES_PER_COMMIT_MAX: usize = 128;
/// Rows or accounts of one page.
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Rows or accounts of a page where the caller did not say.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Changes of accounts' terms that are entered and not over. Where there are more, every account
/// is looked at again for every entry.
pub const CHANGES_OF_TERMS_MAX: usize = 256;
/// Processes that work on one keyspace, those included that are gone and not yet taken over.
pub const PROCESSES_MAX: usize = 64;
