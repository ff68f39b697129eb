//! What is known of files while they stay as they are, so that a component of 18 MiB and its code of 35 MiB are not read
//! at every start to be proved the same as last time. Knows nothing of what is in them.
//!
//! A file is the same while its device, inode, size and times are: the kernel sets the time of change whenever anything
//! of a file changes, and lets nobody choose it. Two changes within one tick of a clock look like one: of a file that
//! changed within the last two seconds nothing is remembered. What is remembered carries a keyed hash: who can write here
//! but does not have the key can say nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::cache;
use crate::{clock, private};

const MAC_BYTES: usize = 32;
/// The coarsest clock of a file system in use (FAT's).
const REST_S: u64 = 2;

/// Use of a file is told so often.
const USE_S: u64 = 60 * 60;

/// Which file it is, and in which state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    bytes: [u8; 56],
    changed_s: u64,
}

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let file = file.metadata()?;
        let times = [file.ctime(), file.ctime_nsec(), file.mtime(), file.mtime_nsec()].map(i64::cast_unsigned);
        let [changed_s, changed_ns, modified_s, modified_ns] = times;
        let all = [file.dev(), file.ino(), file.size(), changed_s, changed_ns, modified_s, modified_ns];
        let mut bytes = [0; 56];
        for (place, number) in bytes.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Ok(Self { bytes, changed_s })
    }

    #[cfg(test)]
    pub(super) fn pretend_changed_earlier(&mut self) {
        self.changed_s -= 60;
    }

    /// Whether a change from now on must show.
    fn rests(&self) -> bool {
        clock::unix_ms() / 1000 > self.changed_s.saturating_add(REST_S)
    }
}

/// Facts about files, in a directory of ours.
#[derive(Debug)]
pub(super) struct Known {
    directory: PathBuf,
    key: [u8; 32],
}

impl Known {
    pub(super) fn new(directory: PathBuf, key: &[u8; 32]) -> Self {
        Self { directory, key: blake3::derive_key("haul 2026-11-22 what is known of files", key) }
    }

    /// What was remembered of a file that is still the same. Asking counts as use of the file.
    pub(super) fn facts<const N: usize>(&self, path: &Path, identity: &Identity) -> Option<[u8; N]> {
        let place = self.place(path);
        let bytes = private::read(&place).ok()?;
        let (mac, facts) = bytes.split_at_checked(MAC_BYTES)?;
        let proved = self.mac(path, identity, facts) == *<&[u8; MAC_BYTES]>::try_from(mac).ok()?;
        if !proved {
            return None;
        }
        let now_s = clock::unix_ms() / 1000;
        if private::modified_s(&place).is_some_and(|used| used + USE_S < now_s) {
            private::touch(&place, now_s);
        }
        facts.try_into().ok()
    }

    /// When something was last asked about a file, in seconds since 1970, within [`USE_S`].
    pub(super) fn used_s(&self, path: &Path) -> Option<u64> {
        private::modified_s(&self.place(path))
    }

    /// Remembers facts about a file that was found the same before and after it was read.
    pub(super) fn remember(&self, path: &Path, identity: &Identity, facts: &[u8]) {
        if !identity.rests() {
            return;
        }
        let mac = self.mac(path, identity, facts);
        let written = private::directory(&self.directory)
            .and_then(|()| private::write(&self.place(path), &[mac.as_bytes(), facts], false));
        if let Err(error) = written {
            tracing::debug!("what is known of {} is not kept: {error}", path.display());
        }
    }

    /// One place for each path: what was known of the file before is of no more use.
    fn place(&self, path: &Path) -> PathBuf {
        let hash = blake3::keyed_hash(&self.key, path.as_os_str().as_encoded_bytes());
        self.directory.join(cache::hex(&hash.as_bytes()[..16]))
    }

    /// The path is covered too: its length stands before it, so that no other path and facts are the same bytes.
    fn mac(&self, path: &Path, identity: &Identity, facts: &[u8]) -> blake3::Hash {
        let path = path.as_os_str().as_encoded_bytes();
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&identity.bytes).update(&(path.len() as u64).to_le_bytes()).update(path).update(facts);
        hasher.finalize()
    }
}
