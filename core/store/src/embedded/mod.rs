//! The embedded engine: one append-only log is the truth, memory and an index
//! are how it is read.
//!
//! A commit is a record of the log ([`record`]). It is put in order and given
//! its position at once ([`log`]), shows in memory at once ([`memtable`]), and is
//! durable when its frame was written ([`writer`]); who must know waits
//! ([`durable`]). In the background what is in memory goes into the index
//! ([`checkpoint`], [`index`]). Opening reads the log behind the last checkpoint
//! ([`recover`]). `LOG_FORMAT.md` beside this crate's manifest documents the files.
//!
//! A failed `fdatasync` ends the engine: nobody knows then what is durable, and
//! asking again would not tell. A full disk makes writes fail, with a sentence,
//! while reads go on; when there is space again, so do writes. Because a segment
//! is written full of zeros before it comes into use, what was sequenced has
//! its room already, and a full disk is noticed before anything is sequenced.

mod archive;
mod backup;
mod blocks;
mod catalog;
mod checkpoint;
mod clock;
mod core;
mod disk;
mod durable;
mod events;
mod figures;
mod index;
mod index_key;
mod inspect;
mod key;
mod known;
mod lock;
mod log;
mod manifest;
mod memtable;
mod moment;
mod open;
mod options;
mod ranges;
mod reader;
mod readonly;
mod record;
mod recover;
mod restore;
mod rewrite;
mod segment;
mod segments;
mod sorted;
mod table;
mod tail;
mod text_file;
mod tiers;
mod verify;
mod view;
mod writer;

pub use archive::{
    Archive, ArchiveError, ArchivePass, ArchiveProgress, ArchiveRange, Follower, NewBase, Point,
    Pruned, Restored, Until,
};
pub use backup::BackupReport;
pub use disk::{Disk, DiskFile, RealDisk};
pub use inspect::{Inspect, Inspected, InspectedCommit, InspectedRow, inspect};
pub use moment::WallClock;
pub use open::Embedded;
pub use options::{EmbeddedOptions, OpenReport, TornTail};
pub use record::RowKind;
pub use restore::restore;
pub use verify::verify_backup;
