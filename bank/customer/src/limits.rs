//! Every limit of the service, by name.

/// Characters of a customer's id.
pub const ID_CHARS_MAX: usize = 64;
/// Characters of a name (ISO 20022 party name: Max140Text).
pub const NAME_CHARS_MAX: usize = 140;
/// Characters of an e-mail address (RFC 5321, section 4.5.3.1.3, without the brackets).
pub const EMAIL_CHARS_MAX: usize = 254;
/// Characters of an actor.
pub const ACTOR_CHARS_MAX: usize = 128;
/// Customers of one page.
pub const PAGE_SIZE_MAX: u32 = 1_000;
/// Customers of a page where the caller did not say.
pub const PAGE_SIZE_DEFAULT: u32 = 100;
/// Reads in progress for one page.
pub const READS_PER_PAGE_MAX: usize = 32;
