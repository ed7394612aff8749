//! The ledger's own auditor, over its calls.

use bytes::Bytes;
use lombard_consistency::end::Audit;
use lombard_contracts::bank::ledger::v1::{
    LedgerServiceClient, ListAccountsRequest, ReadRowsRequest,
};
use lombard_ledger::audit::{RowsPage, Source, check};
use lombard_rpc::Error;
use lombard_rpc::client::{Channel, ChannelOptions};
use lombard_service::Host;

struct Calls(LedgerServiceClient<Channel>);

impl Source for Calls {
    type Error = Error;

    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<String>, Error> {
        let request = ListAccountsRequest {
            page_token: after.to_owned(),
            page_size: u32::try_from(limit).unwrap().min(1_000),
            ..Default::default()
        };
        let page = self.0.list_accounts(request).await;
        let page = page.map_err(|error| Error::from_connect(&error))?;
        let accounts = page.into_owned().accounts.into_iter();
        Ok(accounts.map(|account| account.id).collect())
    }

    async fn rows(&self, account: &str, after_key: &[u8]) -> Result<RowsPage, Error> {
        let request = ReadRowsRequest {
            account: account.to_owned(),
            after_key: after_key.to_vec(),
            page_size: 1_000,
            ..Default::default()
        };
        let page = self.0.read_rows(request).await;
        let page = page
            .map_err(|error| Error::from_connect(&error))?
            .into_owned();
        let rows = page.rows.into_iter();
        Ok(RowsPage {
            rows: rows
                .map(|row| (Bytes::from(row.key), Bytes::from(row.value)))
                .collect(),
            more: page.more,
            version: page.version,
        })
    }
}

/// What the auditor says of the ledger at this address.
pub async fn audit(host: &Host, address: &str) -> Result<Audit, String> {
    let channel = host
        .channel("audit", [address], ChannelOptions::default())
        .map_err(|error| error.to_string())?;
    let calls = Calls(LedgerServiceClient::new(channel.clone(), channel.config()));
    let report = check(&calls, i64::MAX, |_| {})
        .await
        .map_err(|error| error.to_string())?;
    let mut findings: Vec<String> = report
        .findings
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    if report.in_flight > 0 || report.reserved > 0 {
        findings.push(format!(
            "{} in flight, {} reserved",
            report.in_flight, report.reserved
        ));
    }
    Ok(Audit { findings })
}
