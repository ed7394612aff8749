//! A small text file that is replaced as a whole, so it is always the old one or the new
//! one, and ends with the checksum of its lines.

use std::io;
use std::path::Path;

use crate::error::StoreError;

use super::disk::{Disk, read_up_to, write_all_at};

const BYTES_MAX: u64 = 64 << 20;

/// The lines of the file; none if there is no such file.
///
/// # Errors
/// [`StoreError::Damaged`]: it cannot be read, or is not what was written.
pub(super) fn read(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let path = folder.join(name);
    let damaged = |why: String| StoreError::Damaged(format!("{}: {why}", path.display()));
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let size = file.size().map_err(|error| damaged(error.to_string()))?;
    let mut bytes = vec![0; size.min(BYTES_MAX) as usize];
    let read = read_up_to(&*file, &mut bytes, 0).map_err(|error| damaged(error.to_string()))?;
    bytes.truncate(read);
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text".into()))?;
    let body = unsealed(&text).map_err(damaged)?;
    Ok(Some(body.to_owned()))
}

/// Replaces it, durably.
///
/// # Errors
/// The disk's; the old one is still there.
pub(super) fn write(disk: &dyn Disk, folder: &Path, name: &str, lines: String) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let file = disk.create(&new)?;
    write_all_at(&*file, sealed(lines).as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&new, &folder.join(name))?;
    disk.sync_folder(folder)
}

/// The lines, and behind them their checksum.
pub(super) fn sealed(mut lines: String) -> String {
    let crc = crc32c::crc32c(lines.as_bytes());
    lines.push_str(&format!("crc32c {crc:08x}\n"));
    lines
}

/// The lines before the checksum, if it is right.
pub(super) fn unsealed(text: &str) -> Result<&str, String> {
    let (body, last) = text
        .strip_suffix('\n')
        .and_then(|text| text.rfind('\n'))
        .and_then(|at| Some((text.get(..=at)?, text.get(at + 1..)?)))
        .ok_or("it is cut short")?;
    let crc = last.trim_end().strip_prefix("crc32c ");
    if crc != Some(&format!("{:08x}", crc32c::crc32c(body.as_bytes()))) {
        return Err("its checksum is wrong".into());
    }
    Ok(body)
}
