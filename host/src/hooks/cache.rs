//! Compiled components, kept on disk so that a process starts in milliseconds (reliability.md E.3).
//!
//! Compiled code is code: whoever can write a file here could run anything as us. So the directory and its files belong
//! to us alone, links are not followed, and each file begins with a keyed BLAKE3 hash whose key lives apart, in our state
//! directory. It is checked over the very bytes that are used. A file that is not provably ours is not an error: the
//! component is compiled again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const KEY_NAME: &str = "aot.key";

/// The cache of one home. Without a usable key or directory it compiles every time.
#[derive(Debug)]
pub(super) struct Cache {
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    pub(super) fn new(directory: &Path, key_dir: &Path) -> Self {
        let place = private_directory(directory).and_then(|()| {
            let key = key(key_dir)?;
            Ok(Place { directory: directory.to_path_buf(), key })
        });
        if let Err(error) = &place {
            tracing::debug!("compiled components are not kept: {error}");
        }
        Self { place: place.ok() }
    }

    /// The component of this [`digest`]; `compile` makes its code where the cache has none.
    pub(super) fn component(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        compile: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<Component, String> {
        let place = self.place.as_ref().map(|place| (place, place.name(engine, digest)));
        let kept = place.as_ref().and_then(|(place, name)| place.read(engine, name));
        if let Some(component) = kept {
            return Ok(component);
        }
        let code = compile()?;
        if let Some((place, name)) = place
            && let Err(error) = place.write(&name, &code)
        {
            tracing::debug!("cannot keep a compiled component: {error}");
        }
        deserialize(engine, &code).map_err(|error| format!("cannot be used as compiled: {error:#}"))
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
        format!("{}-{:016x}-{}.cwasm", hex(digest), hasher.finish(), hex(&key[..4]))
    }

    fn read(&self, engine: &Engine, name: &str) -> Option<Component> {
        let bytes = read_private(&self.directory.join(name)).ok()?;
        let (mac, code) = bytes.split_at_checked(MAC_BYTES)?;
        let proved = self.mac(name, code) == *<&[u8; MAC_BYTES]>::try_from(mac).ok()?; // takes the same time for all
        if proved { deserialize(engine, code).ok() } else { None }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(name, code);
        let temporary = self.directory.join(format!("{name}.{}", std::process::id()));
        let written = create_private(&temporary, true).and_then(|mut file| {
            file.write_all(mac.as_bytes())?;
            file.write_all(code)?;
            #[allow(clippy::disallowed_methods)] // a cache entry, whole or not at all, in a directory of ours
            fs::rename(&temporary, self.directory.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// The name is covered too, so that one component's code cannot stand in for another's.
    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(b"\0").update(code);
        hasher.finalize()
    }
}

/// Makes code of bytes that [`Place::read`] has proved to be written by this home, or that were compiled just now.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are what `Engine::precompile_component` gave under an engine of the same hash: they carry our mark,
    // or come from our own compiler, here or in a process that nobody else can write to.
    unsafe { Component::deserialize(engine, code) }
}

fn key(directory: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = directory.join(KEY_NAME);
    let stored = || read_private(&path).ok().and_then(|bytes| bytes.try_into().ok());
    if let Some(key) = stored() {
        return Ok(key);
    }
    private_directory(directory)?;
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let temporary = directory.join(format!("{KEY_NAME}.{}", std::process::id()));
    create_private(&temporary, true)?.write_all(&key)?;
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

/// Makes a directory that only we can enter, or closes one of ours that others can.
fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || !is_ours(&metadata) {
        return Err(io::Error::other(format!("{} is not our directory", path.display())));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads a file that belongs to us and that nobody else can write or read.
fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_ours(&metadata) || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} is not ours alone", path.display())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn create_private(path: &Path, anew: bool) -> io::Result<File> {
    if anew {
        let _ = fs::remove_file(path);
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
