//! Every limit of the service, by name.

/// Characters of an account's or a customer's id.
pub const ID_CHARS_MAX: usize = 64;
/// Characters of an actor.
pub const ACTOR_CHARS_MAX: usize = 128;
/// Accounts or lines of one page.
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Accounts or lines of a page where the caller did not say.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Characters of a page token of the ledger's.
pub const PAGE_TOKEN_CHARS_MAX: usize = 512;
/// Reads in progress for one page.
pub const READS_PER_PAGE_MAX: usize = 32;
/// Numbers that are tried for one account. The strictest sort codes leave one in a hundred.
pub const NUMBERS_TRIED_MAX: u32 = 100_000;
/// Unfinished openings that one pass of the coordinator takes up.
pub const OPENINGS_PER_PASS_MAX: usize = 256;
