//! Compiled components, kept on disk so that a process starts in milliseconds (reliability.md E.3).
//!
//! Compiled code is code: whoever can write a file here could run anything as us. So the directory and its files belong
//! to us alone, links are not followed, and each file ends with a keyed BLAKE3 hash whose key lies apart, in our state
//! directory. A file is mapped, not read: it is proved once, and as long as it is the very same file (`known.rs`) it need not
//! be again. A file that is not provably ours is not an error: the component is compiled again. What has not been used for
//! long is removed where something is added (`sweep.rs`). What took its limits to be refused is remembered for an hour
//! (reliability.md E.2).

mod sweep;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::known::{Identity, Known};
use crate::clock;
use crate::error::Error;
use crate::private;

pub(super) use sweep::usage;

const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const KEY_NAME: &str = "aot.key";
/// A refusal is found out again after so long; by then `sweep` may have taken it away, too.
const REFUSED_S: u64 = 60 * 60;
/// What is known of files lies here, in the cache's directory.
const KNOWN_NAME: &str = "known";

/// The cache of one home. Without a usable key or directory it compiles every time.
#[derive(Debug)]
pub(super) struct Cache {
    place: Option<Place>,
    /// One compiles at a time.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
    known: Known,
}

impl Cache {
    pub(super) fn new(directory: &Path, key_dir: &Path) -> Self {
        let place = private::directory(directory).and_then(|()| {
            let key = key(key_dir)?;
            let known = Known::new(directory.join(KNOWN_NAME), &key);
            Ok(Place { directory: directory.to_path_buf(), key, known })
        });
        if let Err(error) = &place {
            tracing::debug!("compiled components are not kept: {error}");
        }
        Self { place: place.ok(), turn: Mutex::default() }
    }

    /// The component of this [`digest`]; `compile` makes its code where the cache has none, for one component at a time.
    pub(super) fn component(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        compile: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Component, Error> {
        let place = self.place.as_ref().map(|place| (place, place.name(engine, digest)));
        let kept = || place.as_ref().and_then(|(place, name)| place.read(engine, name));
        if let Some(component) = kept() {
            return Ok(component);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = kept() {
            return Ok(component); // made by whose turn it was before
        }
        let code = compile()?;
        if let Some((place, name)) = &place
            && let Err(error) = place.write(name, &code)
        {
            tracing::debug!("cannot keep a compiled component: {error}");
        }
        deserialize(engine, &code)
            .map_err(|error| Error::Component(format!("code that was compiled just now cannot be used: {error:#}")))
    }

    /// Why a component of this digest was refused lately, when that took long to find out within these limits.
    pub(super) fn refusal(&self, engine: &Engine, digest: &[u8; 32], limits: &str) -> Option<String> {
        let place = self.place.as_ref()?;
        let name = place.refusal_name(engine, digest, limits);
        let path = place.directory.join(&name);
        let is_lately = private::modified_s(&path)? + REFUSED_S > clock::unix_ms() / 1000;
        let bytes = private::read(&path).ok().filter(|_| is_lately)?;
        let (reason, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let is_ours = place.hasher(&name).update(reason).finalize() == *<&[u8; MAC_BYTES]>::try_from(mac).ok()?;
        String::from_utf8(reason.to_vec()).ok().filter(|_| is_ours)
    }

    /// Remembers that for a while.
    pub(super) fn refuse(&self, engine: &Engine, digest: &[u8; 32], limits: &str, reason: &str) {
        let Some(place) = &self.place else { return };
        let name = place.refusal_name(engine, digest, limits);
        let mac = place.hasher(&name).update(reason.as_bytes()).finalize();
        let written = private::write(&place.directory.join(&name), &[reason.as_bytes(), mac.as_bytes()], false);
        if let Err(error) = written {
            tracing::debug!("a refusal is not remembered: {error}");
        }
    }

    /// What was remembered of a component's file that is still the same.
    pub(super) fn known<const N: usize>(&self, path: &Path, identity: &Identity) -> Option<[u8; N]> {
        self.place.as_ref()?.known.facts(path, identity)
    }

    /// Remembers facts about a component's file.
    pub(super) fn remember(&self, path: &Path, identity: &Identity, facts: &[u8]) {
        if let Some(place) = &self.place {
            place.known.remember(path, identity, facts);
        }
    }
}

/// What tells components apart: BLAKE3, because it is computed at every start and SHA-256 takes 5 ms a megabyte where the
/// processor does not help.
pub(super) fn digest(wasm: &[u8]) -> [u8; 32] {
    blake3::hash(wasm).into()
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Place {
    /// Names the component, what compiled it, and the key: users of several keys do not take turns in overwriting.
    fn name(&self, engine: &Engine, digest: &[u8; 32]) -> String {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let key = blake3::derive_key("haul 2026-11-22 name of the key of compiled components", &self.key);
        format!("{}-{:016x}-{}.{}", hex(digest), hasher.finish(), hex(&key[..4]), sweep::EXTENSION)
    }

    fn refusal_name(&self, engine: &Engine, digest: &[u8; 32], limits: &str) -> String {
        format!("{}.{limits}.refused", self.name(engine, digest))
    }

    /// Code that is ours for certain: proved when it was this very file, or proved now.
    fn read(&self, engine: &Engine, name: &str) -> Option<Component> {
        let path = self.directory.join(name);
        let file = private::open(&path).ok()?;
        let identity = Identity::of(&file).ok()?;
        let is_known = self.known.facts::<0>(&path, &identity).is_some();
        if !is_known && !self.is_proved(name, &file) {
            return None;
        }
        let component = deserialize_mapped(engine, &file).ok()?;
        // Whoever wrote to it meanwhile has changed it before the code was used.
        if Identity::of(&file).ok()? != identity {
            return None;
        }
        if !is_known {
            self.known.remember(&path, &identity, &[]);
        }
        Some(component)
    }

    /// Reads the whole file, to see that it ends with the hash of what is before.
    fn is_proved(&self, name: &str, file: &File) -> bool {
        let Some(code_bytes) = file.metadata().ok().and_then(|file| file.len().checked_sub(MAC_BYTES as u64)) else {
            return false;
        };
        let mut hasher = self.hasher(name);
        let mut mac = [0; MAC_BYTES];
        let mut all = file;
        let read = hasher.update_reader(all.take(code_bytes)).and_then(|_| all.read_exact(&mut mac));
        read.is_ok() && hasher.finalize() == mac // takes the same time for all
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mut hasher = self.hasher(name);
        let mac = hasher.update(code).finalize();
        private::write(&self.directory.join(name), &[code, mac.as_bytes()], true)?;
        let now_s = clock::unix_ms() / 1000;
        sweep::code(&self.directory, now_s, |path| self.known.used_s(path));
        sweep::facts(&self.directory.join(KNOWN_NAME), now_s);
        Ok(())
    }

    /// The name is covered too, so that one component's code cannot stand in for another's.
    fn hasher(&self, name: &str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(b"\0");
        hasher
    }
}

/// Makes code of bytes that were compiled just now.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` gave under an engine of the same hash, here or in a process
    // that nobody else can write to.
    unsafe { Component::deserialize(engine, code) }
}

/// Makes code of a file that [`Place::read`] has proved to be written by this home: of the file that is open, wherever its
/// name leads now.
#[allow(unsafe_code)]
fn deserialize_mapped(engine: &Engine, file: &File) -> wasmtime::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the file is what `Engine::precompile_component` gave under an engine of the same hash, as its hash proves. It is
    // ours alone in a directory of ours alone, and we never write to a file that has its name.
    unsafe { Component::deserialize_file(engine, path) }
}

fn key(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = directory.join(KEY_NAME);
    let stored = || private::read(&path).ok().and_then(|bytes| bytes.try_into().ok());
    if let Some(key) = stored() {
        return Ok(key);
    }
    private::directory(directory)?;
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let temporary = directory.join(format!("{KEY_NAME}.{}", std::process::id()));
    private::create(&temporary)?.write_all(&key)?;
    // Whole or not at all, and the first of several processes wins.
    let linked = fs::hard_link(&temporary, &path).or_else(|error| match stored() {
        Some(theirs) => {
            key = theirs;
            Ok(())
        }
        // Somebody else's, or broken: a new one takes its place; at worst code is compiled again.
        None if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path)?;
            fs::hard_link(&temporary, &path)
        }
        None => Err(error),
    });
    let _ = fs::remove_file(&temporary);
    linked.map(|()| key)
}
