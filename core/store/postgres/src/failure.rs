//! What an error of PostgreSQL or of the way to it means for the store.

use lombard_store::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why no connection stands, or why a statement that changes nothing failed.
pub fn unavailable(place: &str, error: &Error) -> StoreError {
    let why = format!("PostgreSQL at {place}: {}", sentence(error));
    // The driver tells this kind of its errors by its text only: a password that the
    // server asks for and nobody has given.
    let incomplete = why.contains("invalid configuration");
    if incomplete || error.code().is_some_and(needs_a_person) {
        return StoreError::Misconfigured(why);
    }
    StoreError::Unavailable(why)
}

/// What became of a statement that commits.
#[derive(Debug)]
pub enum Fate {
    /// Nothing of it is in, and trying again at once may help.
    Again(StoreError),
    /// Nothing of it is in.
    NotIn(StoreError),
    /// The row was said to be new, and is there.
    NotNew,
    /// Nobody knows.
    Unknown(StoreError),
}

/// What became of a statement that commits and was answered like this.
pub fn fate(place: &str, error: &Error) -> Fate {
    let why = format!("PostgreSQL at {place}: {}", sentence(error));
    let Some(answer) = error.as_db_error() else {
        // The way to the server broke, or its answer could not be read.
        return Fate::Unknown(StoreError::Ambiguous(why));
    };
    let code = answer.code();
    if ends_the_session(answer) {
        // The server stopped, perhaps between the commit and its answer.
        return Fate::Unknown(StoreError::Ambiguous(why));
    }
    if *code == SqlState::UNIQUE_VIOLATION {
        return Fate::NotNew;
    }
    if [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
    ]
    .contains(code)
    {
        return Fate::Again(StoreError::Unavailable(why));
    }
    if needs_a_person(code) {
        return Fate::NotIn(StoreError::Misconfigured(why));
    }
    Fate::NotIn(StoreError::Unavailable(why))
}

/// An ERROR rolls its statement back; what is worse ends the session, and the statement
/// may have been committed by then.
fn ends_the_session(answer: &DbError) -> bool {
    let error = answer.parsed_severity() == Some(Severity::Error);
    !error || answer.code().code().starts_with("57P")
}

/// Whether it stays so until somebody changes something: wrong name or password, no
/// right, no such database, schema, table, column or type.
fn needs_a_person(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "28" | "42" | "3D" | "3F")
}

/// What happened, with what lies behind it: the driver's own text says "db error" only.
pub fn sentence(error: &Error) -> String {
    if let Some(answer) = error.as_db_error() {
        let mut text = format!("{} ({})", answer.message(), answer.code().code());
        for more in [answer.detail(), answer.hint()].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
