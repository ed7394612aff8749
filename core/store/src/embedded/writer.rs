//! The log's two threads: one writes frames and makes them durable, the other
//! has the next segment ready before it is needed.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::StoreError;

use super::blocks::BlockWriter;
use super::clock;
use super::disk::is_full;
use super::log::{Frame, Log};
use super::segment::{Segment, SegmentHeader};

/// Pause before a full disk is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Starts a thread of the engine.
///
/// # Errors
/// The system has no more threads.
#[allow(
    clippy::disallowed_methods,
    reason = "the engine's own threads block on the disk; no host's task may"
)]
pub(super) fn thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))
}

/// Ends the log if its thread panics, so that nobody waits for it for ever.
pub(super) struct Watch<'a>(pub(super) &'a Log, pub(super) &'static str);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .fail(&format!("{} stopped by a defect; restart to go on", self.1));
        }
    }
}

/// Writes frames until the log is closed or fails.
pub(super) fn write_frames(log: &Arc<Log>) {
    let _watch = Watch(log, "the log's writer");
    let mut blocks = BlockWriter::new();
    while let Some(frames) = log.take() {
        for frame in frames {
            let (end, bytes) = (frame.end, frame.bytes);
            if let Err(error) = write_frame(log, frame, &mut blocks) {
                log.fail(&error);
                return;
            }
            log.written(end, bytes);
        }
    }
    // Closed, and everything that was sequenced is durable; what is asked for beyond never will be.
    log.durability
        .end(StoreError::Closed("the store is closed".into()));
}

fn write_frame(log: &Log, frame: Frame, blocks: &mut BlockWriter) -> Result<(), String> {
    let started = clock::now();
    let segment = frame.segment;
    let count = frame.records.len() as u64;
    let frame_bytes = frame.records.iter().map(|record| record.len() as u64).sum();
    let start = u64::from(frame.start);
    blocks
        .begin(&*segment.file, segment.number, start)
        .map_err(|error| failed(&segment, "read", &error))?;
    for record in &frame.records {
        let mut rest: &[u8] = record;
        loop {
            rest = &rest[blocks.push(rest)..];
            if rest.is_empty() {
                break;
            }
            write_blocks(log, &segment, blocks)?;
            blocks.next();
        }
    }
    drop(frame.records);
    write_blocks(log, &segment, blocks)?;
    blocks.end(segment.number);
    // After a failed sync the system may have dropped what it could not write and
    // say "done" the next time: it must never be asked again.
    segment
        .file
        .sync_data()
        .map_err(|error| failed(&segment, "make durable", &error))?;
    let figures = &log.figures;
    figures.flushes.add(1);
    figures.flushed_records.add(count);
    figures.flushed_bytes.add(frame_bytes);
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    figures.longest_flush_us.saw(took_us);
    Ok(())
}

/// Up to the end of the disk's block, which holds zeros: a block that is written as a
/// whole need not be read first.
fn write_blocks(log: &Log, segment: &Segment, blocks: &mut BlockWriter) -> Result<(), String> {
    loop {
        match blocks.write(&*segment.file) {
            Ok(()) => return Ok(()),
            Err(error) if is_full(&error) => wait_for_space(log, segment, &error)?,
            Err(error) => return Err(failed(segment, "write", &error)),
        }
    }
}

/// The segment's blocks were written before, so this happens only where a disk
/// copies on write. The frame stays in memory and is tried again at the same place.
fn wait_for_space(log: &Log, segment: &Segment, error: &io::Error) -> Result<(), String> {
    let why = format!(
        "no space on the disk of {}: {error}; writes go on when there is space again",
        log.folder.display()
    );
    log.stalled(&why);
    let patience = Duration::from_millis(log.options.stalled_ms_max);
    if let Some(since) = clock::now().checked_sub(patience) {
        log.durability
            .give_up(since, &StoreError::Ambiguous(why.clone()));
    }
    if log.pause_writer(RETRY_PAUSE) {
        return Ok(());
    }
    Err(failed(segment, "write", error))
}

fn failed(segment: &Segment, what: &str, error: &io::Error) -> String {
    format!(
        "the log could not {what} segment {}: {error}; restart to go on from what is durable",
        segment.name()
    )
}

/// Has the next segment ready, always.
pub(super) fn make_segments(log: &Arc<Log>) {
    let _watch = Watch(log, "the maker of segments");
    while let Some((number, base)) = log.spare_wanted() {
        let header = SegmentHeader {
            number,
            base,
            span: u64::from(log.options.segment_bytes),
            store: log.store,
        };
        let made = make_segment(log, header);
        let failed = made.is_err();
        log.set_spare(made);
        if failed {
            log.pause_spare(RETRY_PAUSE);
        }
    }
}

fn make_segment(log: &Log, header: SegmentHeader) -> Result<Arc<Segment>, String> {
    let cannot = |error: io::Error| {
        format!(
            "no room for more log in {}: {error}; writes go on when there is space again",
            log.folder.display()
        )
    };
    let free = log.disk.free_bytes(&log.folder).map_err(cannot)?;
    let needed = header.span + log.options.disk_reserve_bytes;
    if free < needed {
        return Err(format!(
            "the disk of {} is full: {} MiB are free and {} MiB are needed; reads go on, writes go on when there is space",
            log.folder.display(),
            free >> 20,
            needed.div_ceil(1 << 20)
        ));
    }
    Segment::create(&*log.disk, &log.folder, header)
        .map(Arc::new)
        .map_err(cannot)
}
