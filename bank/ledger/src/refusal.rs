//! Why the ledger says no: one type, each reason with its figures.

use std::fmt;

use crate::types::EntryId;

/// A refusal by the ledger's rules. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A field is wrong in itself.
    Invalid {
        /// SCREAMING_SNAKE.
        reason: &'static str,
        /// For a person.
        message: String,
    },
    /// The account does not exist.
    AccountNotFound {
        /// Its id.
        account: String,
    },
    /// The account has no such address in that currency.
    AddressNotFound {
        /// The account's id.
        account: String,
        /// "namespace/name".
        address: String,
        /// The currency asked for.
        currency: String,
    },
    /// The entry, hold or whatever it names does not exist.
    NotFound {
        /// SCREAMING_SNAKE.
        reason: &'static str,
        /// For a person.
        message: String,
    },
    /// The legs do not sum to zero.
    Unbalanced {
        /// The legal entity whose legs do not.
        entity: String,
        /// The currency whose legs do not.
        currency: String,
        /// What they sum to.
        sum_minor: i128,
    },
    /// The balance would fall below the address's floor.
    FloorBroken {
        /// The account's id.
        account: String,
        /// "namespace/name".
        address: String,
        /// Of the address.
        currency: String,
        /// How much is there.
        balance_minor: i64,
        /// The floor.
        minimum_minor: i64,
        /// How much was asked (positive).
        asked_minor: i64,
    },
    /// A balance or a sum left the range of `i64`.
    Overflow {
        /// The account's id.
        account: String,
        /// "namespace/name".
        address: String,
    },
    /// The account is frozen in the direction of a leg.
    Frozen {
        /// The account's id.
        account: String,
        /// Whether debits (else credits) are frozen.
        debits: bool,
    },
    /// The account is closed.
    Closed {
        /// The account's id.
        account: String,
    },
    /// The account cannot be closed yet.
    NotEmpty {
        /// The account's id.
        account: String,
        /// What stands in the way.
        what: String,
    },
    /// The id was used before, for something else.
    IdReused {
        /// The reused id: of an entry, hold or account.
        id: String,
        /// "entry", "account".
        what: &'static str,
    },
    /// The entry was reversed before, by another.
    AlreadyReversed {
        /// The entry.
        entry: EntryId,
        /// What reversed it.
        by: EntryId,
    },
    /// The hold is not in a state that allows this.
    HoldState {
        /// SCREAMING_SNAKE.
        reason: &'static str,
        /// The hold.
        hold: EntryId,
        /// For a person.
        message: String,
        /// What remains of it.
        remaining_minor: i64,
    },
    /// Another entry of its linked chain was refused.
    Linked {
        /// The place of the refused one in the chain, from 0.
        failed: usize,
    },
    /// A limit of the account or the ledger is reached.
    Limit {
        /// SCREAMING_SNAKE.
        reason: &'static str,
        /// For a person.
        message: String,
    },
    /// Home refused this entry before, for good.
    RefusedBefore {
        /// The first answer's reason.
        reason: String,
        /// The first answer's sentence.
        message: String,
    },
}

/// The kinds of refusal, in the field's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// What it names does not exist.
    NotFound,
    /// The id is taken by other content.
    AlreadyExists,
    /// The state does not allow it now.
    FailedPrecondition,
    /// A limit is reached.
    ResourceExhausted,
}

impl RefusalCode {
    /// As in a Connect error: "failed_precondition".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::FailedPrecondition => "failed_precondition",
            Self::ResourceExhausted => "resource_exhausted",
        }
    }
}

impl Refusal {
    /// A field that is wrong in itself.
    pub fn invalid(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            reason,
            message: message.into(),
        }
    }

    /// How a program should react.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Invalid { .. } | Self::Unbalanced { .. } => RefusalCode::InvalidArgument,
            Self::AccountNotFound { .. } | Self::AddressNotFound { .. } | Self::NotFound { .. } => {
                RefusalCode::NotFound
            }
            Self::IdReused { .. } => RefusalCode::AlreadyExists,
            Self::FloorBroken { .. }
            | Self::Overflow { .. }
            | Self::Frozen { .. }
            | Self::Closed { .. }
            | Self::NotEmpty { .. }
            | Self::AlreadyReversed { .. }
            | Self::HoldState { .. }
            | Self::Linked { .. }
            | Self::RefusedBefore { .. } => RefusalCode::FailedPrecondition,
            Self::Limit { .. } => RefusalCode::ResourceExhausted,
        }
    }

    /// Why, in SCREAMING_SNAKE.
    pub fn reason(&self) -> &str {
        match self {
            Self::Invalid { reason, .. }
            | Self::NotFound { reason, .. }
            | Self::HoldState { reason, .. }
            | Self::Limit { reason, .. } => reason,
            Self::AccountNotFound { .. } => "ACCOUNT_NOT_FOUND",
            Self::AddressNotFound { .. } => "ADDRESS_NOT_FOUND",
            Self::Unbalanced { .. } => "ENTRY_UNBALANCED",
            Self::FloorBroken { .. } => "FLOOR_BROKEN",
            Self::Overflow { .. } => "BALANCE_OVERFLOW",
            Self::Frozen { debits: true, .. } => "DEBITS_FROZEN",
            Self::Frozen { debits: false, .. } => "CREDITS_FROZEN",
            Self::Closed { .. } => "ACCOUNT_CLOSED",
            Self::NotEmpty { .. } => "ACCOUNT_NOT_EMPTY",
            Self::IdReused {
                what: "account", ..
            } => "ACCOUNT_ID_REUSED",
            Self::IdReused { .. } => "ENTRY_ID_REUSED",
            Self::AlreadyReversed { .. } => "ALREADY_REVERSED",
            Self::Linked { .. } => "LINKED_ENTRY_REFUSED",
            Self::RefusedBefore { reason, .. } => reason,
        }
    }

    /// Names and figures, for programs.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AccountNotFound { account } | Self::Closed { account } => {
                vec![("account", account.clone())]
            }
            Self::AddressNotFound {
                account,
                address,
                currency,
            } => vec![
                ("account", account.clone()),
                ("address", address.clone()),
                ("currency", currency.clone()),
            ],
            Self::Unbalanced {
                entity,
                currency,
                sum_minor,
            } => vec![
                ("entity", entity.clone()),
                ("currency", currency.clone()),
                ("sum_minor", sum_minor.to_string()),
            ],
            Self::FloorBroken {
                account,
                address,
                currency,
                balance_minor,
                minimum_minor,
                asked_minor,
            } => vec![
                ("account", account.clone()),
                ("address", address.clone()),
                ("currency", currency.clone()),
                ("balance_minor", balance_minor.to_string()),
                ("minimum_minor", minimum_minor.to_string()),
                ("asked_minor", asked_minor.to_string()),
            ],
            Self::Overflow { account, address } => {
                vec![("account", account.clone()), ("address", address.clone())]
            }
            Self::Frozen { account, debits } => vec![
                ("account", account.clone()),
                (
                    "direction",
                    if *debits { "debits" } else { "credits" }.to_owned(),
                ),
            ],
            Self::NotEmpty { account, what } => {
                vec![("account", account.clone()), ("what", what.clone())]
            }
            Self::IdReused { id, .. } => vec![("id", id.clone())],
            Self::AlreadyReversed { entry, by } => {
                vec![
                    ("entry_id", entry.to_string()),
                    ("reversed_by", by.to_string()),
                ]
            }
            Self::HoldState {
                hold,
                remaining_minor,
                ..
            } => {
                vec![
                    ("hold_id", hold.to_string()),
                    ("remaining_minor", remaining_minor.to_string()),
                ]
            }
            Self::Linked { failed } => vec![("failed_index", failed.to_string())],
            Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::Limit { .. }
            | Self::RefusedBefore { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message, .. }
            | Self::NotFound { message, .. }
            | Self::HoldState { message, .. }
            | Self::Limit { message, .. }
            | Self::RefusedBefore { message, .. } => f.write_str(message),
            Self::AccountNotFound { account } => {
                write!(f, "account {account} does not exist; open it first")
            }
            Self::AddressNotFound {
                account,
                address,
                currency,
            } => {
                write!(
                    f,
                    "account {account} has no address {address} in {currency}; add it first"
                )
            }
            Self::Unbalanced {
                entity,
                currency,
                sum_minor,
            } => {
                // Over all entities, where no account was looked at yet.
                let of_entity = match entity.as_str() {
                    "" => String::new(),
                    entity => format!(" of legal entity {entity}"),
                };
                write!(
                    f,
                    "the legs in {currency}{of_entity} sum to {sum_minor}, not to zero"
                )
            }
            Self::FloorBroken {
                account,
                address,
                currency,
                balance_minor,
                minimum_minor,
                asked_minor,
            } => write!(
                f,
                "account {account}, {address}: balance {balance_minor}, floor {minimum_minor}, asked {asked_minor} ({currency} minor units)"
            ),
            Self::Overflow { account, address } => {
                write!(
                    f,
                    "the balance of account {account}, {address}, would leave the range of 64 bits"
                )
            }
            Self::Frozen { account, debits } => {
                write!(
                    f,
                    "account {account} is frozen for {}",
                    if *debits { "debits" } else { "credits" }
                )
            }
            Self::Closed { account } => write!(f, "account {account} is closed"),
            Self::NotEmpty { account, what } => {
                write!(f, "account {account} cannot be closed: {what}")
            }
            Self::IdReused { id, what } => {
                write!(
                    f,
                    "{what} id {id} was used before with other content; choose a new id"
                )
            }
            Self::AlreadyReversed { entry, by } => {
                write!(f, "entry {entry} was already reversed by {by}")
            }
            Self::Linked { failed } => {
                write!(
                    f,
                    "refused because entry {failed} of its linked chain (from 0) was refused"
                )
            }
        }
    }
}
