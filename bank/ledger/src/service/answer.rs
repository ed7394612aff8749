//! Answers and refusals, as callers see them.

use lombard_contracts::bank::ledger::v1::{self as proto, EntryResult};
use lombard_rpc::{Code, Error};

use super::Failure;
use crate::flow::Posted;
use crate::reads;
use crate::refusal::{Refusal, RefusalCode};

/// The ledger's name in errors.
const DOMAIN: &str = "ledger";

/// An entry's result; `brief` leaves its legs out.
pub fn posted(posted: &Posted, brief: bool) -> EntryResult {
    let legs = if brief { &[] } else { posted.legs.as_slice() };
    reads::entry::result(
        posted.id,
        &posted.home,
        posted.booked_us,
        posted.value_day,
        legs,
        posted.replayed,
    )
}

/// A refusal inside an answer that is not one as a whole.
pub fn refusal(refusal: &Refusal) -> proto::Refusal {
    proto::Refusal {
        code: refusal.code().as_str().to_owned(),
        reason: refusal.reason().to_owned(),
        message: refusal.to_string(),
        metadata: refusal
            .metadata()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        retryable: false,
        ..proto::Refusal::default()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let mut error = match failure {
            Failure::Refused(refusal) => from_refusal(&refusal),
            // Every operation may be sent again: ids tell what is in already.
            Failure::Store(error) => lombard_service::store_error(error),
        };
        error.domain = DOMAIN.into();
        error
    }
}

fn from_refusal(refusal: &Refusal) -> Error {
    let code = match refusal.code() {
        RefusalCode::InvalidArgument => Code::InvalidArgument,
        RefusalCode::NotFound => Code::NotFound,
        RefusalCode::AlreadyExists => Code::AlreadyExists,
        RefusalCode::FailedPrecondition => Code::FailedPrecondition,
        RefusalCode::ResourceExhausted => Code::ResourceExhausted,
    };
    // The same request against the same state is refused again: not for machines to repeat.
    let error = Error::new(code, refusal.reason().to_owned(), refusal.to_string()).retryable(false);
    refusal
        .metadata()
        .into_iter()
        .fold(error, |error, (key, value)| error.with(key, value))
}
