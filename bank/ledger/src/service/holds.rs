//! Holds: placed, captured, released, read.

use lombard_contracts::bank::ledger::v1::{
    CaptureHoldResponse, EntryResult, GetHoldResponse, Hold, ListHoldsResponse, PlaceHoldResponse,
    ReleaseHoldResponse,
};

use super::{Failure, Ledger, answer};
use crate::book::Book;
use crate::flow::in_doubt;
use crate::reads;
use crate::types::{Entry, EntryId};

impl Ledger {
    /// Places a hold.
    ///
    /// # Errors
    /// The refusal; the store's failure.
    pub async fn place_hold(&self, entry: &Entry) -> Result<PlaceHoldResponse, Failure> {
        let (hold, result) = self.step(entry).await?;
        Ok(PlaceHoldResponse {
            hold: hold.into(),
            result: Some(result).into(),
            ..PlaceHoldResponse::default()
        })
    }

    /// Captures a hold, in part or finally.
    ///
    /// # Errors
    /// The refusal; the store's failure.
    pub async fn capture_hold(&self, entry: &Entry) -> Result<CaptureHoldResponse, Failure> {
        let (hold, result) = self.step(entry).await?;
        Ok(CaptureHoldResponse {
            hold: hold.into(),
            result: Some(result).into(),
            ..CaptureHoldResponse::default()
        })
    }

    /// Releases a hold, in part or all that remains.
    ///
    /// # Errors
    /// The refusal; the store's failure.
    pub async fn release_hold(&self, entry: &Entry) -> Result<ReleaseHoldResponse, Failure> {
        let (hold, result) = self.step(entry).await?;
        Ok(ReleaseHoldResponse {
            hold: hold.into(),
            result: Some(result).into(),
            ..ReleaseHoldResponse::default()
        })
    }

    async fn step(&self, entry: &Entry) -> Result<(Option<Hold>, EntryResult), Failure> {
        let posted = self.post(entry, false).await?;
        let result = answer::posted(&posted, false);
        let Some((id, row)) = posted.hold.map(|hold| *hold) else {
            return Ok((None, result));
        };
        // Only the names of the addresses are read: they never change.
        let head = self
            .read(&entry.home, |rows| Book::require(rows, &entry.home))
            .await
            .map_err(|failure| match failure {
                Failure::Store(error) => in_doubt(error).into(),
                refused @ Failure::Refused(_) => refused,
            })?;
        Ok((Some(reads::holds::message(&head, id, &row)), result))
    }

    /// A hold as it is now.
    ///
    /// # Errors
    /// `ACCOUNT_NOT_FOUND`, `HOLD_NOT_FOUND`; the store's failure.
    pub async fn hold(&self, account: &str, id: EntryId) -> Result<GetHoldResponse, Failure> {
        let now_us = self.now_us();
        let hold = self
            .read(account, |rows| reads::holds::get(rows, account, id, now_us))
            .await?;
        Ok(GetHoldResponse {
            hold: Some(hold).into(),
            ..GetHoldResponse::default()
        })
    }

    /// A page of holds.
    ///
    /// # Errors
    /// `ACCOUNT_NOT_FOUND`, `PAGE_TOKEN_INVALID`; the store's failure.
    pub async fn holds(
        &self,
        account: &str,
        open_only: bool,
        page_token: &str,
        page_size: usize,
    ) -> Result<ListHoldsResponse, Failure> {
        let now_us = self.now_us();
        self.read_now(account, now_us, |rows| {
            reads::holds::list(rows, account, open_only, page_token, page_size, now_us)
        })
        .await
    }
}
