//! A disk that changes nothing: for looking into the folder of a stopped store.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, RealDisk};

/// Opens files to read, pretends to remove, and refuses everything else.
pub(super) struct ReadOnly;

struct ReadOnlyFile(std::fs::File);

fn refuse<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnly {
    fn create(&self, _path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refuse()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadOnlyFile(std::fs::File::open(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refuse()
    }

    /// Finding segments removes what no one needs; here it is left alone.
    fn remove(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        refuse()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(folder)
    }
}

impl DiskFile for ReadOnlyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        refuse()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        self.0.read_at(into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        refuse()
    }
}
