//! The allocator's one setting: how long it keeps freed memory before it gives it back.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What mimalloc calls it.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Longer than from one checkpoint to the next, and than any of the moments in which
/// load is short: what one frees, the next one takes. Giving memory back and taking it
/// again cost a twelfth of the processor.
const PURGE_DELAY_MS: &str = "60000";

/// Starts this program again, as the same process, with the setting; returns where it
/// is set already, or where that cannot be done.
///
/// mimalloc reads it from the environment before `main`, and no safe function sets it.
pub fn keep_freed_memory() {
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    // It is the same with other figures then.
    let _ = Command::new(&program)
        .arg0(name.as_deref().unwrap_or(OsStr::new("lombard")))
        .args(arguments)
        .env(PURGE_DELAY, PURGE_DELAY_MS)
        .exec();
}
