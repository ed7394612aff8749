//! Finishes what was decided and not carried: it follows the journal from the
//! last place where everything was carried, and does every step again.
//!
//! Each process that works on the keyspace keeps that place in a row (module [`processes`]);
//! it is behind every request that runs, so a crash loses sight of nothing. What a process
//! left that is gone, another one takes over.

mod place;
pub mod processes;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{self, BoxFuture, Either};
use futures::stream::{self, StreamExt, TryStreamExt};
use lombard_service::Host;
use lombard_store::{EventPage, EventRow, Keyspace, Position, Rows, Stop, StoreError};

use crate::apply::load_marker;
use crate::flow::Flow;
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::rows::{self, Journal, JournalKind};
use crate::types::EntryId;

use place::Place;

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
    /// Processes that are gone, whose work was taken over.
    pub taken_over: u64,
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
    carrier: Carrier,
    in_flight: Arc<InFlight>,
    place: Place,
}

/// What carries what an event's commit left to be done.
struct Carrier {
    keyspace: Keyspace,
    flow: Flow,
    host: Host,
    reservation_timeout_us: i64,
}

impl Coordinator {
    /// Takes up what nobody has in hand: where no other process can be working on the
    /// keyspace, all that others left. It counts as left half carried until the first pass
    /// has seen it.
    ///
    /// # Errors
    /// The store's failure; a damaged row of the coordinator's.
    pub async fn open(
        flow: Flow,
        in_flight: Arc<InFlight>,
        host: Host,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let keyspace = flow.keyspace().clone();
        let place = Place::open(
            (keyspace.clone(), flow.process()),
            in_flight.clone(),
            host.clone(),
            options,
        );
        let reservation_timeout_us = options.reservation_timeout_ms.saturating_mul(1_000);
        Ok(Self {
            place: place.await?,
            in_flight,
            carrier: Carrier {
                keyspace,
                flow,
                host,
                reservation_timeout_us: i64::try_from(reservation_timeout_us).unwrap_or(i64::MAX),
            },
        })
    }

    /// Finishes what was left up to now, by this process or by one that is gone, and says up to
    /// where everything is carried, page by page of events as long as `goes_on` says so; what
    /// is left then is for the next pass.
    ///
    /// # Errors
    /// The store's failure: what was not finished is tried again in the next pass.
    pub async fn pass(&mut self, goes_on: impl Fn() -> bool + Send) -> Result<Pass, StoreError> {
        let mut pass = Pass {
            taken_over: self.place.look_around().await? as u64,
            ..Pass::default()
        };
        if let Some(from) = self.in_flight.follow() {
            let mut again = Some(from);
            let followed = self.follow(from, goes_on, &mut again, &mut pass);
            let followed = followed.await;
            self.in_flight.followed(again);
            followed?;
        }
        self.place.save().await?;
        Ok(pass)
    }

    /// The process ends: if it has carried all that it began, nobody need look for it.
    ///
    /// # Errors
    /// The store's failure: whoever comes next looks for it then.
    pub async fn leave(&mut self) -> Result<(), StoreError> {
        self.place.leave().await
    }

    /// Looks at every event behind `from`. `again` is the place behind which there is
    /// something to be looked at again.
    async fn follow(
        &mut self,
        from: Position,
        goes_on: impl Fn() -> bool + Send,
        again: &mut Option<Position>,
        pass: &mut Pass,
    ) -> Result<(), StoreError> {
        // What is sequenced now is durable then, and only durable events are listed.
        let keyspace = self.carrier.keyspace.clone();
        let until = keyspace.position();
        keyspace.durable(until).await?;
        let mut after = from;
        let mut waiting = None;
        loop {
            let page = keyspace.events(after, EVENTS_PER_PAGE).await?;
            let looked = self.look_at(&page).await?;
            let mut last = Position::default();
            pass.events += page.events.len() as u64;
            for looked in &looked {
                pass.resumed += u64::from(looked.resumed);
                pass.settled += u64::from(looked.settled);
                pass.waiting += u64::from(looked.waits);
                last = last.max(looked.position);
            }
            keyspace.durable(last).await?;
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
            self.place.save().await?;
            if !goes_on() {
                return Ok(());
            }
        }
    }

    /// Looks at a page of events, which may take long: others are told meanwhile that this
    /// process is alive.
    async fn look_at(&mut self, page: &EventPage) -> Result<Vec<Looked>, StoreError> {
        let carrier = &self.carrier;
        let looks = page.events.iter().map(|event| carrier.look(event));
        let looks: Vec<BoxFuture<'_, _>> = looks.map(FutureExt::boxed).collect();
        let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let mut looks = looks.try_collect::<Vec<Looked>>();
        loop {
            let beat = carrier.host.sleep(self.place.until_beat());
            match future::select(looks, beat).await {
                Either::Left((looked, _)) => return looked,
                Either::Right(((), rest)) => looks = rest,
            }
            self.place.save().await?;
        }
    }
}

impl Carrier {
    /// Does again what the event's commit leaves to be done.
    async fn look(&self, event: &EventRow) -> Result<Looked, StoreError> {
        let now_us = self.host.now_us();
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
}
