//! The log's head: puts records in order, hands out their positions, and gives
//! the writer whole frames to make durable.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::StoreError;

use super::disk::Disk;
use super::durable::Durability;
use super::figures::Figures;
use super::moment::Moments;
use super::options::EmbeddedOptions;
use super::record::{Draft, HEADER_BYTES, Kind, encode_end};
use super::segment::{HEADER_PAGE_BYTES, Segment, TAIL_BYTES};
use super::segments::Segments;

/// A frame of this size is written even if nobody waits for it.
const FRAME_BYTES: usize = 1 << 20;
/// How long commits that nobody waits for are left to gather.
const LINGER: Duration = Duration::from_millis(5);

/// The log of one store.
pub(super) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    /// The folder that the segments are in.
    pub(super) folder: PathBuf,
    /// The store's number, in every segment's header.
    pub(super) store: u64,
    pub(super) options: EmbeddedOptions,
    pub(super) durability: Durability,
    pub(super) figures: Arc<Figures>,
    sequencer: Mutex<Sequencer>,
    /// There is something to write.
    work: Condvar,
    /// There is room again, or there never will be.
    room: Condvar,
    /// The next segment is wanted.
    spare_wanted: Condvar,
    segments: Arc<Segments>,
}

struct Sequencer {
    head: Arc<Segment>,
    /// Where in the head the next record goes.
    offset: u32,
    /// Where the frame that is being gathered begins.
    frame_start: u32,
    frame: Vec<Bytes>,
    /// Frames that end a segment, before this one.
    sealed: Vec<Frame>,
    /// Bytes that are sequenced and not yet durable.
    pending_bytes: usize,
    /// The position of the last commit.
    last_commit: u64,
    /// The segment after the head.
    spare: Option<Arc<Segment>>,
    /// Why there is no spare, if making one failed.
    spare_failed: Option<String>,
    /// Why nothing is taken just now (disk takes no writes) or any more (closed).
    refusing: Option<StoreError>,
    /// Somebody waits for this position.
    wanted: u64,
    writer: WriterState,
    closing: bool,
    closing_mark_written: bool,
    moments: Moments,
}

/// What the writer is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// It looks for more by itself before it waits.
    Busy,
    /// There was nothing to write.
    Idle,
    /// There is something that nobody waits for yet.
    Lingering,
}

/// What is written and made durable together, in one segment.
pub(super) struct Frame {
    pub(super) segment: Arc<Segment>,
    pub(super) start: u32,
    pub(super) records: Vec<Bytes>,
    pub(super) bytes: usize,
    /// Durable up to here once it is written.
    pub(super) end: u64,
}

/// Where a record went.
pub(super) struct Appended {
    pub(super) segment: u32,
    /// Where in the segment it begins.
    pub(super) offset: u32,
    /// Where in the log it ends.
    pub(super) position: u64,
    /// All of it.
    pub(super) bytes: Bytes,
}

/// Where a log goes on.
pub(super) struct Head {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u32,
    pub(super) spare: Option<Arc<Segment>>,
    pub(super) last_commit: u64,
    pub(super) moments: Moments,
}

impl Log {
    /// A log that goes on at `head`; everything before it is durable.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        store: u64,
        options: EmbeddedOptions,
        figures: Arc<Figures>,
        segments: Arc<Segments>,
        head: Head,
    ) -> Self {
        let durability = Durability::default();
        durability.publish(head.segment.base + u64::from(head.offset));
        Self {
            disk,
            folder,
            store,
            options,
            durability,
            figures,
            sequencer: Mutex::new(Sequencer {
                offset: head.offset,
                frame_start: head.offset,
                head: head.segment,
                frame: Vec::new(),
                sealed: Vec::new(),
                pending_bytes: 0,
                last_commit: head.last_commit,
                spare: head.spare,
                spare_failed: None,
                refusing: None,
                wanted: 0,
                writer: WriterState::Busy,
                closing: false,
                closing_mark_written: false,
                moments: head.moments,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            spare_wanted: Condvar::new(),
            segments,
        }
    }

    /// Puts a commit behind everything before it.
    ///
    /// # Errors
    /// It was not taken: too large, no room in time, disk full, closed.
    pub(super) fn append(&self, draft: Draft) -> Result<Appended, StoreError> {
        let len = draft.len();
        let max = self.options.record_bytes_max();
        let (true, Ok(record_bytes)) = (len <= max, u32::try_from(len)) else {
            return Err(StoreError::LimitExceeded(format!(
                "a commit of {len} bytes does not fit in the log: at most {max}"
            )));
        };
        let mut sequencer = self.sequencer.lock();
        self.make_room(&mut sequencer, record_bytes)?;
        let offset = sequencer.offset;
        sequencer.offset = offset + record_bytes;
        let position = sequencer.head.base + u64::from(sequencer.offset);
        let bytes = draft.finish(position);
        sequencer.frame.push(bytes.clone());
        sequencer.pending_bytes += len;
        sequencer.last_commit = position;
        let segment = sequencer.head.number;
        let wake = match sequencer.writer {
            WriterState::Busy => false,
            WriterState::Idle => true,
            WriterState::Lingering => sequencer.pending_bytes >= FRAME_BYTES,
        };
        if wake {
            sequencer.writer = WriterState::Busy;
        }
        drop(sequencer);
        if wake {
            self.work.notify_one();
        }
        Ok(Appended {
            segment,
            offset,
            position,
            bytes,
        })
    }

    /// Has everything before it written now, and behind it a mark, even if there is nothing
    /// to write: says how things stand at this moment. The mark's end.
    ///
    /// # Errors
    /// It was not taken, as a commit would not be.
    pub(super) fn mark(&self) -> Result<u64, StoreError> {
        let mut sequencer = self.sequencer.lock();
        self.make_room(&mut sequencer, HEADER_BYTES as u32)?;
        sequencer.end_frame(Kind::Mark);
        sequencer.writer = WriterState::Busy;
        let end = sequencer.head.base + u64::from(sequencer.frame_start);
        drop(sequencer);
        self.work.notify_one();
        Ok(end)
    }

    /// Waits until so many bytes fit at the head, in this segment or the next.
    fn make_room(
        &self,
        sequencer: &mut MutexGuard<'_, Sequencer>,
        len: u32,
    ) -> Result<(), StoreError> {
        let deadline = Duration::from_millis(self.options.wait_for_room_ms);
        loop {
            if let Some(error) = &sequencer.refusing {
                return Err(error.clone());
            }
            let buffered = sequencer.pending_bytes + len as usize;
            let why = if buffered > self.options.log_buffer_bytes_max && sequencer.pending_bytes > 0
            {
                "the disk does not keep up with what is to be written"
            } else {
                let needed = u64::from(sequencer.offset) + u64::from(len + TAIL_BYTES);
                if needed <= sequencer.head.span {
                    return Ok(());
                }
                if self.next_segment(sequencer) {
                    continue;
                }
                if let Some(why) = &sequencer.spare_failed {
                    return Err(StoreError::Unavailable(why.clone()));
                }
                "the log's next segment is not ready"
            };
            // A seal may wait to be written, of which nobody has told the writer yet.
            sequencer.wanted = u64::MAX;
            self.work.notify_one();
            if self.room.wait_for(sequencer, deadline).timed_out() {
                return Err(StoreError::Unavailable(why.into()));
            }
        }
    }

    /// Seals the head and goes on in the spare, if there is one.
    fn next_segment(&self, sequencer: &mut Sequencer) -> bool {
        let Some(next) = sequencer.spare.take() else {
            return false;
        };
        self.spare_wanted.notify_one();
        sequencer.end_frame(Kind::Seal);
        sequencer.offset = HEADER_PAGE_BYTES;
        sequencer.frame_start = HEADER_PAGE_BYTES;
        self.segments.insert(next.clone());
        sequencer.head = next;
        true
    }

    /// Waits until the position is durable.
    ///
    /// # Errors
    /// It never will be, or nobody knows.
    pub(super) async fn durable(&self, position: u64) -> Result<(), StoreError> {
        if self.durability.position() < position {
            self.want(position);
        }
        self.durability.wait(position).await
    }

    /// Has the writer write now what is before the position.
    fn want(&self, position: u64) {
        let wake = {
            let mut sequencer = self.sequencer.lock();
            sequencer.wanted = sequencer.wanted.max(position);
            let wake = sequencer.writer == WriterState::Lingering;
            if wake {
                sequencer.writer = WriterState::Busy;
            }
            wake
        };
        if wake {
            self.work.notify_one();
        }
    }

    /// For the writer: waits for frames to write. None: it is done.
    ///
    /// What nobody waits for is left to gather for a moment: a flush costs the
    /// same for one commit as for thousands.
    pub(super) fn take(&self) -> Option<Vec<Frame>> {
        let mut sequencer = self.sequencer.lock();
        let mut lingered = false;
        loop {
            if sequencer.frame.is_empty() && sequencer.sealed.is_empty() {
                if sequencer.closing {
                    let fits = u64::from(sequencer.offset + TAIL_BYTES) <= sequencer.head.span;
                    if sequencer.closing_mark_written || !fits {
                        return None;
                    }
                    // Says that all before it is durable: after a clean end, a bad record is damage.
                    sequencer.closing_mark_written = true;
                    break;
                }
                sequencer.writer = WriterState::Idle;
                self.work.wait(&mut sequencer);
                continue;
            }
            // Everything before the frame is durable.
            let durable = sequencer.head.base + u64::from(sequencer.frame_start);
            if lingered
                || sequencer.closing
                || !sequencer.sealed.is_empty()
                || sequencer.wanted > durable
                || sequencer.pending_bytes >= FRAME_BYTES
            {
                break;
            }
            sequencer.writer = WriterState::Lingering;
            lingered = self.work.wait_for(&mut sequencer, LINGER).timed_out();
        }
        sequencer.writer = WriterState::Busy;
        if sequencer.wanted == u64::MAX {
            sequencer.wanted = 0;
        }
        if !sequencer.frame.is_empty() || sequencer.sealed.is_empty() {
            sequencer.end_frame(Kind::Mark);
        }
        Some(std::mem::take(&mut sequencer.sealed))
    }

    /// For the writer: a frame is durable.
    pub(super) fn written(&self, end: u64, bytes: usize) {
        {
            let mut sequencer = self.sequencer.lock();
            sequencer.pending_bytes = sequencer.pending_bytes.saturating_sub(bytes);
            if matches!(sequencer.refusing, Some(StoreError::Unavailable(_))) && !sequencer.closing
            {
                sequencer.refusing = None;
            }
        }
        self.durability.publish(end);
        self.room.notify_all();
    }

    /// For the writer: the disk takes no writes just now.
    pub(super) fn stalled(&self, why: &str) {
        let mut sequencer = self.sequencer.lock();
        sequencer.refusing = Some(StoreError::Unavailable(why.into()));
        self.room.notify_all();
    }

    /// The log has failed for good: nothing that is not durable now ever will be, as far as anyone knows.
    pub(super) fn fail(&self, why: &str) {
        {
            let mut sequencer = self.sequencer.lock();
            sequencer.closing = true;
            sequencer.closing_mark_written = true;
            sequencer.refusing = Some(StoreError::Closed(why.into()));
        }
        self.durability.end(StoreError::Ambiguous(why.into()));
        self.room.notify_all();
        self.spare_wanted.notify_all();
    }

    /// Takes nothing more; the writer ends when all is written.
    pub(super) fn close(&self) {
        {
            let mut sequencer = self.sequencer.lock();
            sequencer.closing = true;
            if !matches!(sequencer.refusing, Some(StoreError::Closed(_))) {
                sequencer.refusing = Some(StoreError::Closed("the store is closed".into()));
            }
        }
        self.work.notify_all();
        self.room.notify_all();
        self.spare_wanted.notify_all();
    }

    /// Whether it is closing or has failed.
    pub(super) fn is_closing(&self) -> bool {
        self.sequencer.lock().closing
    }

    /// Why nothing is taken just now, if so.
    pub(super) fn refusing(&self) -> Option<StoreError> {
        self.sequencer.lock().refusing.clone()
    }

    /// The position of the last commit that was sequenced.
    pub(super) fn position(&self) -> u64 {
        self.sequencer.lock().last_commit
    }

    /// The newest moment that a mark said.
    pub(super) fn newest_us(&self) -> u64 {
        self.sequencer.lock().moments.newest_us()
    }

    /// For whoever makes segments: waits until one is wanted; its number and base. None: closing.
    pub(super) fn spare_wanted(&self) -> Option<(u32, u64)> {
        let mut sequencer = self.sequencer.lock();
        loop {
            if sequencer.closing {
                return None;
            }
            if sequencer.spare.is_none() {
                return Some((sequencer.head.number + 1, sequencer.head.end()));
            }
            self.spare_wanted.wait(&mut sequencer);
        }
    }

    /// The segment after the head, or why there is none.
    pub(super) fn set_spare(&self, made: Result<Arc<Segment>, String>) {
        {
            let mut sequencer = self.sequencer.lock();
            match made {
                Ok(segment) => {
                    sequencer.spare = Some(segment);
                    sequencer.spare_failed = None;
                }
                Err(why) => sequencer.spare_failed = Some(why),
            }
        }
        self.room.notify_all();
    }

    /// Waits a little before a spare is tried again. Ends early when closing.
    pub(super) fn pause_spare(&self, time: Duration) {
        let mut sequencer = self.sequencer.lock();
        if !sequencer.closing {
            self.spare_wanted.wait_for(&mut sequencer, time);
        }
    }

    /// Waits a little before a write is tried again. False: the log is closing.
    pub(super) fn pause_writer(&self, time: Duration) -> bool {
        let mut sequencer = self.sequencer.lock();
        if !sequencer.closing {
            self.work.wait_for(&mut sequencer, time);
        }
        !sequencer.closing
    }
}

impl Sequencer {
    /// Ends the frame that is being gathered with a mark or a seal, for which
    /// every record left room.
    fn end_frame(&mut self, kind: Kind) {
        let start = self.frame_start;
        self.offset += HEADER_BYTES as u32;
        let end = self.head.base + u64::from(self.offset);
        let last = encode_end(
            kind,
            end,
            self.head.base + u64::from(start),
            self.moments.next(),
        );
        self.frame.push(Bytes::copy_from_slice(&last));
        // The next one will be about as long.
        let next = Vec::with_capacity(self.frame.len());
        self.pending_bytes += last.len();
        self.sealed.push(Frame {
            segment: self.head.clone(),
            start,
            records: std::mem::replace(&mut self.frame, next),
            bytes: (self.offset - start) as usize,
            end,
        });
        self.frame_start = self.offset;
    }
}
