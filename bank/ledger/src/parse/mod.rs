//! What outsiders send becomes what the rules speak of, or a refusal with its reason.
//!
//! Everything that is wrong whatever the state is found here, before any
//! account is looked at. Requests are read in place (views): a batch of 8,192
//! entries costs its strings and little else.

mod account;
mod batch;
mod entry;
mod hold;
mod text;

pub use account::{account_metadata, addresses, open_account};
pub use batch::{Batch, Chain};
pub use entry::{entry, reversal};
pub use hold::{capture, place, release};
pub use text::{
    account_id, account_token, actor, address, address_name, currency, entry_id, value_date,
};

use crate::options::Options;
use crate::refusal::Refusal;

/// What parsing needs to know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Ids of later milliseconds are from the future.
    pub latest_id_ms: i64,
}

impl Bounds {
    /// What holds at that moment.
    pub fn at(now_us: i64, options: &Options) -> Self {
        let skew_ms = i64::try_from(options.clock_skew_ms).unwrap_or(i64::MAX);
        Self {
            latest_id_ms: now_us.div_euclid(1_000).saturating_add(skew_ms),
        }
    }
}

/// How many of a page the caller gets: what was asked for, the default for 0, at most the limit.
///
/// # Errors
/// `PAGE_SIZE_TOO_LARGE`.
pub fn page_size(asked: u32) -> Result<usize, Refusal> {
    use crate::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
    match asked {
        0 => Ok(PAGE_SIZE_DEFAULT as usize),
        size if size <= PAGE_SIZE_MAX => Ok(size as usize),
        size => Err(Refusal::invalid(
            "PAGE_SIZE_TOO_LARGE",
            format!("a page has at most {PAGE_SIZE_MAX} items, {size} were asked for"),
        )),
    }
}
