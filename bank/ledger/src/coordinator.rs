//! Finishes what was decided and not carried: it follows the journal from the
//! last place where everything was carried, and does every step again.
//!
//! The place (the watermark) is a row of the ledger's own; it is behind every
//! request that runs, so a crash loses sight of nothing.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_store::{EventRow, Keyspace, Position, Rows, Stop, StoreError};

use crate::apply::load_marker;
use crate::flow::Flow;
use crate::in_flight::InFlight;
use crate::refusal::Refusal;
use crate::rows::{self, Journal, JournalKind};
use crate::types::EntryId;

/// The partition of the coordinator's own rows; no account can have its name.
pub const PARTITION: &[u8] = b"~coordinator";
const WATERMARK: &[u8] = b"w";
/// Events that are looked at in one go; after each the watermark moves.
const EVENTS_PER_PAGE: usize = 1_024;
/// Events of a page that are looked at at the same time.
const AT_ONCE: usize = 64;

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Journal rows looked at.
    pub events: u64,
    /// Entries carried (again).
    pub resumed: u64,
    /// Reservations settled.
    pub settled: u64,
    /// Reservations that home may still decide.
    pub waiting: u64,
}

/// What looking at one event came to.
#[derive(Debug, Default)]
struct Looked {
    resumed: bool,
    settled: bool,
    /// Not yet possible.
    waits: bool,
    /// What must be durable for it.
    position: Position,
}

/// Finishes what others left.
pub struct Coordinator {
    keyspace: Keyspace,
    flow: Flow,
    in_flight: Arc<InFlight>,
    reservation_timeout_us: i64,
    /// The position of the last watermark's own commit.
    saved: Position,
}

impl Coordinator {
    /// Takes up where the last process left: everything behind the stored
    /// watermark counts as left half carried until the first pass has seen it.
    ///
    /// # Errors
    /// The store's failure; a damaged watermark.
    pub async fn open(
        keyspace: Keyspace,
        flow: Flow,
        in_flight: Arc<InFlight>,
        reservation_timeout_us: i64,
    ) -> Result<Self, StoreError> {
        let read = keyspace
            .read(PARTITION, |rows: &Rows<'_>| {
                Ok::<_, Stop<Refusal>>(rows.get(WATERMARK)?)
            })
            .await?;
        let position = match read.value {
            Ok(Some(value)) => {
                let bytes = value.as_ref().try_into();
                let bytes = bytes
                    .map_err(|_| StoreError::Damaged("the coordinator's watermark".to_owned()))?;
                Position(u64::from_be_bytes(bytes))
            }
            Ok(None) | Err(_) => Position::default(),
        };
        in_flight.orphan(position);
        Ok(Self {
            keyspace,
            flow,
            in_flight,
            reservation_timeout_us,
            saved: Position::default(),
        })
    }

    /// Finishes what was left up to now, and moves the watermark, page by page of events as
    /// long as `goes_on` says so; what is left then is for the next pass.
    ///
    /// # Errors
    /// The store's failure: what was not finished is tried again in the next pass.
    pub async fn pass(
        &mut self,
        now_us: i64,
        goes_on: impl Fn() -> bool + Send,
    ) -> Result<Pass, StoreError> {
        let mut pass = Pass::default();
        if let Some(from) = self.in_flight.follow() {
            let mut again = Some(from);
            let followed = self.follow(from, now_us, goes_on, &mut again, &mut pass);
            let followed = followed.await;
            self.in_flight.followed(again);
            followed?;
        }
        self.save().await?;
        Ok(pass)
    }

    /// Looks at every event behind `from`. `again` is the place behind which there is
    /// something to be looked at again.
    async fn follow(
        &mut self,
        from: Position,
        now_us: i64,
        goes_on: impl Fn() -> bool + Send,
        again: &mut Option<Position>,
        pass: &mut Pass,
    ) -> Result<(), StoreError> {
        // What is sequenced now is durable then, and only durable events are listed.
        let until = self.keyspace.position();
        self.keyspace.durable(until).await?;
        let mut after = from;
        let mut waiting = None;
        loop {
            let page = self.keyspace.events(after, EVENTS_PER_PAGE).await?;
            let looks = page.events.iter().map(|event| self.look(event, now_us));
            let looks: Vec<BoxFuture<'_, _>> = looks.map(FutureExt::boxed).collect();
            let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
            let looked: Vec<Looked> = looks.try_collect().await?;
            let mut last = Position::default();
            pass.events += page.events.len() as u64;
            for looked in &looked {
                pass.resumed += u64::from(looked.resumed);
                pass.settled += u64::from(looked.settled);
                pass.waiting += u64::from(looked.waits);
                last = last.max(looked.position);
            }
            self.keyspace.durable(last).await?;
            if waiting.is_none() && looked.iter().any(|looked| looked.waits) {
                waiting = Some(after);
            }
            if !page.more || page.next >= until {
                *again = waiting;
                return Ok(());
            }
            after = page.next;
            let place = waiting.unwrap_or(after);
            *again = Some(place);
            // A long way is not gone twice, whatever happens on it.
            self.in_flight.follows_from(place);
            self.save().await?;
            if !goes_on() {
                return Ok(());
            }
        }
    }

    /// Does again what the event's commit leaves to be done.
    async fn look(&self, event: &EventRow, now_us: i64) -> Result<Looked, StoreError> {
        if event.key.first() != Some(&rows::JOURNAL) {
            return Ok(Looked::default());
        }
        let account = event.partition.key.as_ref();
        let journal: Journal = match rows::decode("journal", &event.key, &event.value) {
            Ok(journal) => journal,
            Err(fault) => {
                return Err(StoreError::Damaged(format!(
                    "account {}: {fault}",
                    account.escape_ascii()
                )));
            }
        };
        let Some(id) = EntryId::from_slice(&journal.entry_id) else {
            return Ok(Looked::default());
        };
        match journal.kind.as_known() {
            Some(JournalKind::Posted) if journal.home.as_bytes() == account => Ok(Looked {
                resumed: true,
                position: self.flow.resume(&journal.home, id, now_us).await?,
                ..Looked::default()
            }),
            Some(JournalKind::Reserved) => {
                let account = String::from_utf8_lossy(account).into_owned();
                let reserved = (id, journal.content.as_slice());
                self.settle_reservation(&account, &journal.home, reserved, now_us)
                    .await
            }
            _ => Ok(Looked::default()),
        }
    }

    /// Settles what waits in an account for an entry of another home.
    async fn settle_reservation(
        &self,
        account: &str,
        home: &str,
        (id, digest): (EntryId, &[u8]),
        now_us: i64,
    ) -> Result<Looked, StoreError> {
        let key = rows::reservation_key(id, home, digest);
        let look = |rows: &Rows<'_>| Ok::<_, Stop<Refusal>>(load_marker(rows, &key)?);
        let found = self.keyspace.read(account.as_bytes(), look).await?.value;
        let Some(marker) = found.ok().flatten().filter(|marker| marker.reserved) else {
            return Ok(Looked::default());
        };
        if now_us - marker.reserved_us < self.reservation_timeout_us {
            return Ok(Looked {
                waits: true,
                ..Looked::default()
            });
        }
        let settled = self
            .flow
            .settle_reservation(account, home, id, digest, now_us);
        Ok(Looked {
            settled: true,
            position: settled.await?,
            ..Looked::default()
        })
    }

    /// Stores the watermark where it has moved by more than its own last commit.
    async fn save(&mut self) -> Result<(), StoreError> {
        let watermark = self.in_flight.watermark(|| self.keyspace.position());
        if watermark <= self.saved {
            return Ok(());
        }
        let value = watermark.0.to_be_bytes().to_vec();
        let saved = self.keyspace.update(PARTITION, |rows| {
            rows.put(WATERMARK, value.clone());
            Ok::<_, Stop<Refusal>>(())
        });
        self.saved = saved.await?.position;
        Ok(())
    }
}
