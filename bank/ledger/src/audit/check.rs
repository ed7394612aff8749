//! The walk over all accounts.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;

use super::account::{AccountAudit, Auditor};
use super::finding::{FindingKind, Findings};
use super::suspect::{Suspects, Verdict};
use super::tally::Tally;

/// Accounts that are named in one go.
const ACCOUNTS_PER_PAGE: usize = 256;
/// How often an account is read again because it changed between its pages.
const READINGS_MAX: u32 = 4;

/// Rows of one account, in key order.
#[derive(Debug, Clone, Default)]
pub struct RowsPage {
    /// Keys and values.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Whether there are more behind them.
    pub more: bool,
    /// How many commits the account has seen.
    pub version: u64,
}

/// Where a check reads: a running bank, or a stopped one's folder.
pub trait Source {
    /// Why reading failed.
    type Error;

    /// Names of accounts behind `after` (empty: from the first), at most `limit`, in an order that stays.
    fn accounts(
        &self,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// Rows of an account behind a key (empty: from the first).
    fn rows(
        &self,
        account: &str,
        after_key: &[u8],
    ) -> impl Future<Output = Result<RowsPage, Self::Error>> + Send;
}

/// How far a check is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Accounts done.
    pub accounts: u64,
    /// Rows read.
    pub rows: u64,
    /// Postings recomputed.
    pub postings: u64,
    /// Whether suspected entries are being looked at, in a second walk.
    pub second: bool,
}

/// What a check came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What is wrong; empty: the bank is right.
    pub findings: Findings,
    /// Accounts checked.
    pub accounts: u64,
    /// Rows read.
    pub rows: u64,
    /// Events (journal rows), whose chain holds.
    pub events: u64,
    /// Postings recomputed.
    pub postings: u64,
    /// Entries decided.
    pub entries: u64,
    /// Entries decided and not yet in all their accounts.
    pub in_flight: u64,
    /// Reservations that wait.
    pub reserved: u64,
    /// Sums of all postings, by legal entity and currency: zero but for what is in flight.
    pub sums: BTreeMap<(String, String), i128>,
}

impl Report {
    fn take(&mut self, audit: AccountAudit, tally: &mut Tally) {
        self.accounts += 1;
        self.rows += audit.rows;
        self.events += audit.events;
        self.postings += audit.postings;
        self.entries += audit.entries;
        for (currency, sum) in audit.settled {
            *self
                .sums
                .entry((audit.entity.clone(), currency))
                .or_default() += sum;
        }
        tally.merge(&audit.tally);
        self.findings.extend(audit.findings);
    }

    fn conclude(&mut self, verdict: Verdict) {
        self.findings.extend(verdict.findings);
        self.in_flight = verdict.in_flight;
        self.reserved = verdict.reserved;
        for ((entity, currency), sum) in &self.sums {
            let unapplied = verdict
                .unapplied
                .get(&(entity.clone(), currency.clone()))
                .copied()
                .unwrap_or(0);
            if sum + unapplied != 0 {
                let message = format!(
                    "all postings of legal entity {entity} in {currency} sum to {sum}, {unapplied} are on their way"
                );
                self.findings.add(FindingKind::SumNotZero, "", b"", message);
            }
        }
    }
}

/// Checks everything. `cutoff_us`: on a running bank the moment at which the
/// check begins, on a stopped one `i64::MAX`; entries decided later are not
/// compared between accounts. Reads each account once, and a second time only
/// if something does not come to zero.
///
/// # Errors
/// The source's.
pub async fn check<S: Source>(
    source: &S,
    cutoff_us: i64,
    mut progress: impl FnMut(Progress),
) -> Result<Report, S::Error> {
    let mut report = Report::default();
    let mut tally = Tally::default();
    let mut after = String::new();
    loop {
        let accounts = source.accounts(&after, ACCOUNTS_PER_PAGE).await?;
        let Some(last) = accounts.last() else { break };
        after.clone_from(last);
        for account in &accounts {
            let audit = audit(source, account, cutoff_us).await?;
            report.take(audit, &mut tally);
            progress(Progress {
                accounts: report.accounts,
                rows: report.rows,
                postings: report.postings,
                second: false,
            });
        }
    }
    if let Some(suspects) = Suspects::of(&tally, cutoff_us) {
        let verdict = look_again(source, suspects, &mut progress).await?;
        // Accounts may have gone on since the first walk: sums and what is on its way must be
        // of the same one.
        report.sums.clone_from(&verdict.sums);
        report.conclude(verdict);
    } else {
        report.conclude(Verdict::default());
    }
    Ok(report)
}

/// Audits one account, from pages of one version if that can be had.
async fn audit<S: Source>(
    source: &S,
    account: &str,
    cutoff_us: i64,
) -> Result<AccountAudit, S::Error> {
    for reading in 1..=READINGS_MAX {
        let moving = reading == READINGS_MAX;
        let mut auditor = Auditor::new(account, cutoff_us, moving);
        let mut version = None;
        let mut moved = false;
        each_page(source, account, |page| {
            moved |= version.is_some_and(|version| version != page.version);
            version = Some(page.version);
            for (key, value) in &page.rows {
                auditor.row(key, value);
            }
            !moved || moving
        })
        .await?;
        if !moved || moving {
            return Ok(auditor.finish());
        }
    }
    Ok(AccountAudit {
        account: account.to_owned(),
        ..AccountAudit::default()
    })
}

async fn look_again<S: Source>(
    source: &S,
    mut suspects: Suspects,
    progress: &mut impl FnMut(Progress),
) -> Result<Verdict, S::Error> {
    let mut done = Progress {
        second: true,
        ..Progress::default()
    };
    let mut after = String::new();
    loop {
        let accounts = source.accounts(&after, ACCOUNTS_PER_PAGE).await?;
        let Some(last) = accounts.last() else {
            return Ok(suspects.verdict());
        };
        after.clone_from(last);
        for account in &accounts {
            suspects.begin(account);
            each_page(source, account, |page| {
                suspects.page(page.version);
                for (key, value) in &page.rows {
                    suspects.row(key, value);
                }
                done.rows += page.rows.len() as u64;
                true
            })
            .await?;
            done.accounts += 1;
            progress(done);
        }
    }
}

/// Reads an account page by page while `take` wants more.
async fn each_page<S: Source>(
    source: &S,
    account: &str,
    mut take: impl FnMut(&RowsPage) -> bool,
) -> Result<(), S::Error> {
    let mut after_key = Bytes::new();
    loop {
        let page = source.rows(account, &after_key).await?;
        if !take(&page) || !page.more {
            return Ok(());
        }
        match page.rows.last() {
            Some((key, _)) => after_key = key.clone(),
            None => return Ok(()),
        }
    }
}
