//! `lombard report`: what accountants ask for.

mod csv;
mod statement;
pub mod time;
mod trial_balance;

use lombard_money::Currency;

use self::statement::Statement;
use self::trial_balance::TrialBalance;
use crate::Global;
use crate::bank::Bank;
use crate::failure::Failure;

/// Accounts or postings in one call.
const PAGE_SIZE: u32 = 1_000;

/// What accountants ask for.
#[derive(Debug, clap::Subcommand)]
pub enum Report {
    /// Every account and address with its balance; sums to zero
    TrialBalance(TrialBalance),
    /// What happened on an account, with the running balance
    Statement(Statement),
}

/// Runs the command.
///
/// # Errors
/// A time that cannot be read, no ledger, no such account, or a trial balance that does not balance.
pub async fn run(global: &Global, report: Report) -> Result<(), Failure> {
    let bank = Bank::reach(global, &["ledger"]).await?;
    let done = match &report {
        Report::TrialBalance(options) => trial_balance::run(global, options, &bank).await,
        Report::Statement(options) => statement::run(global, options, &bank).await,
    };
    bank.leave().await;
    done
}

fn refused(error: connectrpc::ConnectError) -> Failure {
    Failure::failed(lombard_rpc::Error::from_connect(&error).to_string())
}

/// Minor digits of a currency; what is not a currency is shown in minor units.
fn decimals(currency: &str) -> u32 {
    Currency::parse(currency).map_or(0, |currency| u32::from(currency.minor_units()))
}
