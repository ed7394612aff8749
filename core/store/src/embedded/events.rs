//! Following the log: events in the order of their commits.

use bytes::Bytes;

use crate::error::StoreError;
use crate::port::{EventPage, EventRow, KeyspaceId, Position};

use super::core::Core;
use super::reader::{Reader, Step};
use super::record::{Kind, Record, RowKind};

/// Where in a segment the records behind a position begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed {
    segment: u32,
    position: Position,
    offset: u32,
}

impl Core {
    /// See [`crate::Engine::events`].
    pub(super) fn events(
        &self,
        keyspace: KeyspaceId,
        after: Position,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let durable = self.log.durability.position();
        let mut page = EventPage {
            events: Vec::new(),
            next: after,
            more: false,
        };
        let mut budget = self.tables.options.events_scan_bytes_max;
        for segment in self.tables.stored.segments.in_order() {
            if segment.end() <= page.next.0 || segment.base >= durable {
                continue;
            }
            let (start, until) = if segment.is_rewritten() {
                // Positions do not tell where in the file to look; the last page does.
                let known = self.followed.lock().get(&keyspace).copied();
                let start = known
                    .filter(|known| known.segment == segment.number && known.position == page.next);
                (start.map_or(0, |known| known.offset), segment.until())
            } else {
                let start = page.next.0.saturating_sub(segment.base);
                let until = (durable - segment.base).min(segment.span);
                (start as u32, until as u32)
            };
            let mut reader = Reader::new(segment.clone(), start, until);
            loop {
                let offset = reader.offset();
                match reader.next()? {
                    Step::Record(record) => {
                        budget = budget.saturating_sub(u64::from(record.header.len));
                        let fits = record.header.position <= page.next.0
                            || take(&mut page, &record, keyspace, limit);
                        if !fits || page.events.len() >= limit || budget == 0 {
                            page.more = page.next.0 < durable;
                            let next = if fits { reader.offset() } else { offset };
                            let followed = Followed {
                                segment: segment.number,
                                position: page.next,
                                offset: next,
                            };
                            self.followed.lock().insert(keyspace, followed);
                            return Ok(page);
                        }
                    }
                    // To the end of the segment, or of what is durable.
                    Step::End => {
                        page.next = Position(segment.end().min(durable));
                        break;
                    }
                    Step::Bad(why) => return Err(segment.damaged(u64::from(offset), why)),
                }
            }
        }
        page.next = Position(page.next.0.max(durable));
        Ok(page)
    }
}

/// Adds the record's events, unless they would make the page too long: a commit's events are never parted.
fn take(page: &mut EventPage, record: &Record, keyspace: KeyspaceId, limit: usize) -> bool {
    let header = &record.header;
    if header.kind == Kind::Commit && header.has_events && header.keyspace == keyspace.0 {
        let events = || {
            record
                .rows()
                .flatten()
                .filter(|row| row.kind == RowKind::Event)
        };
        if !page.events.is_empty() && page.events.len() + events().count() > limit {
            return false;
        }
        let mut partition = record.partition();
        partition.key = Bytes::copy_from_slice(&partition.key);
        page.events.extend(events().map(|row| EventRow {
            partition: partition.clone(),
            // Copies: a follower may keep one event of a large piece of log.
            key: Bytes::copy_from_slice(&row.key),
            value: Bytes::copy_from_slice(&row.value),
            position: Position(header.position),
        }));
    }
    page.next = Position(header.position);
    true
}
