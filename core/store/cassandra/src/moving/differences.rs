//! What a copy lacks: the rows of both sides, read side by side in the order of their keys.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use lombard_store::StoreError;
use scylla::response::PagingState;

use super::batch::StoredRow;
use crate::fault;
use crate::keyspace::Keyspace;
use crate::value;

/// Behind every key: keys have at most 512 bytes.
const BEHIND_ALL: [u8; 513] = [0xff; 513];
/// Rows in a batch, at most.
const BATCH_ROWS_MAX: usize = 1_000;

/// Why the rows of a state cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The source is in another state by now.
    SourceMoved,
    /// The copy is.
    TargetMoved,
    Failed(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// One side's rows as they are stored, all of one state.
struct Side<'a> {
    keyspace: &'a Keyspace,
    partition: &'a [u8],
    /// The version that each row must be of, as it is stored.
    stored: i64,
    rows: VecDeque<(Bytes, Bytes)>,
    /// None: all were read.
    next: Option<PagingState>,
}

impl<'a> Side<'a> {
    fn new(keyspace: &'a Keyspace, partition: &'a [u8], stored: i64) -> Self {
        Self {
            keyspace,
            partition,
            stored,
            rows: VecDeque::new(),
            next: (stored != 0).then(PagingState::start),
        }
    }

    /// Has the next row at hand, if there is one; false if the state is another by now.
    async fn fetch(&mut self) -> Result<bool, StoreError> {
        let what = "reading a partition that moves";
        while self.rows.is_empty()
            && let Some(from) = self.next.take()
        {
            let statement = &self.keyspace.statements.ascending;
            let values = (self.partition, &[0_u8][..], &BEHIND_ALL[..], i32::MAX);
            let read = self.keyspace.cluster.page(statement, values, from).await;
            let (page, next) = read.map_err(|error| fault::of_read(what, &error))?;
            let page = page
                .into_rows_result()
                .map_err(|error| fault::of_answer(what, &error))?;
            let page = page
                .rows::<(Bytes, Option<Bytes>, Option<i64>, Option<i64>)>()
                .map_err(|error| fault::of_answer(what, &error))?;
            for row in page {
                let (key, stored, version, _) =
                    row.map_err(|error| fault::of_answer(what, &error))?;
                if version != Some(self.stored) {
                    return Ok(false);
                }
                self.rows.push_back((key, stored.unwrap_or_default()));
            }
            if let ControlFlow::Continue(next) = next.into_paging_control_flow() {
                self.next = Some(next);
            }
        }
        Ok(true)
    }
}

/// What must be written to a copy for it to be as its source.
pub(super) struct Differences<'a> {
    source: Side<'a>,
    target: Side<'a>,
}

impl<'a> Differences<'a> {
    /// Between a partition on two clusters, in the states with these versions as they are
    /// stored; zero for none.
    pub fn new(
        partition: &'a [u8],
        (source, source_stored): (&'a Keyspace, i64),
        (target, target_stored): (&'a Keyspace, i64),
    ) -> Self {
        Self {
            source: Side::new(source, partition, source_stored),
            target: Side::new(target, partition, target_stored),
        }
    }

    /// The copy's version was changed, by the one who reads this, and no row of it.
    pub fn claimed(&mut self, stored: i64) {
        self.target.stored = stored;
        // What had nothing still has nothing but what is written from here on, in order.
    }

    /// The next differences, up to so many bytes, and whether that is all.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn batch(&mut self, bytes_max: usize) -> Result<(Vec<StoredRow>, bool), Trouble> {
        let mut batch: Vec<StoredRow> = Vec::new();
        let mut bytes = 0;
        loop {
            let Some((key, value)) = self.next().await? else {
                return Ok((batch, true));
            };
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            batch.push((key, value));
            if bytes >= bytes_max || batch.len() >= BATCH_ROWS_MAX {
                return Ok((batch, false));
            }
        }
    }

    async fn next(&mut self) -> Result<Option<StoredRow>, Trouble> {
        loop {
            let (source, target) = futures::try_join!(self.source.fetch(), self.target.fetch())?;
            if !source {
                return Err(Trouble::SourceMoved);
            }
            if !target {
                return Err(Trouble::TargetMoved);
            }
            let (is, has) = (&mut self.source.rows, &mut self.target.rows);
            let compared = match (is.front(), has.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((is, _)), Some((has, _))) => is.cmp(has),
            };
            let is = compared.is_le().then(|| is.pop_front()).flatten();
            let has = compared.is_ge().then(|| has.pop_front()).flatten();
            match (is, has) {
                (Some((key, stored)), has) => {
                    if has.is_some_and(|(_, has)| has == stored) {
                        continue;
                    }
                    // Damage is not copied.
                    value::open(self.source.partition, &key, &stored)?;
                    return Ok(Some((key, Some(stored))));
                }
                (None, Some((key, _))) => return Ok(Some((key, None))),
                (None, None) => return Ok(None),
            }
        }
    }
}
