//! Whether there was a stdout when the process began: Rust's runtime opens `/dev/null` in the place of a stream that is closed, before
//! `main`, and what is written there is lost without a word. It opens and closes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the C library before anything of Rust's runtime (the list of the ELF format for that).
#[used]
#[allow(unsafe_code)] // there is no other way to come first
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: it asks for flags; a number that is no open file is an answer, too.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        IS_CLOSED.store(flags < 0, Ordering::Relaxed);
    }
    look
};

/// Why nothing can be written to stdout, where it was closed.
pub(crate) fn check() -> std::io::Result<()> {
    match IS_CLOSED.load(Ordering::Relaxed) {
        true => Err(std::io::Error::other("it is closed")),
        false => Ok(()),
    }
}
