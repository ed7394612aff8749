//! The auditor: recomputes everything that an account's rows say, from its postings.
//!
//! Pure and streaming. [`check()`] walks over all accounts of a [`Source`] (a
//! running bank's calls, or a stopped one's folder) and gives a [`Report`].
//! Below it:
//!
//! - [`Auditor`] takes the rows of one account in key order and checks all that
//!   one account can show by itself: balances and running balances from
//!   postings, numbers without a gap, chain links, booked order, where it stands,
//!   holds and their expiry index, what value dating moved.
//! - [`Tally`] compares what entries say with what accounts did, in bounded
//!   memory: sums of hashes in buckets by entry id that must come to zero.
//!   Each decided leg counts once; each applied one takes it away. Whatever was
//!   lost, doubled or invented leaves its bucket unequal.
//! - [`Suspects`] then looks at the entries of unequal buckets only, exactly, and
//!   tells a defect from an entry that is on its way.
//!
//! On a running bank only entries that were decided before the check began are
//! compared, so that what happens meanwhile is not taken for a defect.

mod account;
mod check;
mod finding;
mod hold;
mod suspect;
mod tally;

pub use account::{AccountAudit, Auditor, Balance};
pub use check::{Progress, Report, RowsPage, Source, check};
pub use finding::{Finding, FindingKind, Findings};
pub use suspect::{Suspects, Verdict};
pub use tally::Tally;
