//! A component's file: opened once, and read only where it is not known yet what it is, or where it must be compiled.
//! Understands nothing of it but the first eight bytes.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::cache::{self, Cache};
use super::known::Identity;
use crate::error::Error;
use crate::regular;

/// Largest file. Components of interpreted languages carry their interpreter: 12 to 18 MiB.
const BYTES_MAX: u64 = 64 << 20;

/// What tells components apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    /// BLAKE3: names it among compiled components.
    pub(super) blake3: [u8; 32],
    /// SHA-256: what people know it by.
    pub(super) sha256: [u8; 32],
}

impl Digests {
    fn of(wasm: &[u8]) -> Self {
        Self { blake3: cache::digest(wasm), sha256: Sha256::digest(wasm).into() }
    }

    fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.blake3);
        bytes[32..].copy_from_slice(&self.sha256);
        bytes
    }

    fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut digests = Self { blake3: [0; 32], sha256: [0; 32] };
        digests.blake3.copy_from_slice(&bytes[..32]);
        digests.sha256.copy_from_slice(&bytes[32..]);
        digests
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct ComponentFile<'a> {
    path: &'a Path,
    file: File,
    digests: Digests,
    bytes: OnceCell<Vec<u8>>,
}

impl<'a> ComponentFile<'a> {
    /// Opens a file; reads it where the cache does not know it as it is now.
    pub(super) fn open(path: &'a Path, cache: &Cache) -> Result<Self, Error> {
        let file = regular::open(path, 0).map_err(|error| unreadable(path, &error))?;
        let identity = Identity::of(&file).map_err(|error| unreadable(path, &error))?;
        if let Some(digests) = cache.known(path, &identity).as_ref().map(Digests::from_bytes) {
            return Ok(Self { path, file, digests, bytes: OnceCell::new() });
        }
        let wasm = read_from(&file, path)?;
        let digests = Digests::of(&wasm);
        if Identity::of(&file).is_ok_and(|now| now == identity) {
            cache.remember(path, &identity, &digests.to_bytes());
        }
        Ok(Self { path, file, digests, bytes: wasm.into() })
    }

    pub(super) fn path(&self) -> &Path {
        self.path
    }

    pub(super) fn digests(&self) -> &Digests {
        &self.digests
    }

    /// SHA-256 in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        cache::hex(&self.digests.sha256)
    }

    /// What is in it: that which has these digests.
    pub(super) fn bytes(&self) -> Result<&[u8], Error> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let wasm = read_from(&self.file, self.path)?;
        if Digests::of(&wasm) != self.digests {
            let shown = self.path.display();
            return Err(Error::Component(format!("{shown} was changed while it was read: load it again")));
        }
        Ok(self.bytes.get_or_init(|| wasm))
    }
}

/// Reads a component's file, within its limits. The error says what is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let file = regular::open(path, 0).map_err(|error| unreadable(path, &error))?;
    read_from(&file, path)
}

fn read_from(file: &File, path: &Path) -> Result<Vec<u8>, Error> {
    let refuse = |why: &str| Err(Error::Component(format!("{} {why}", path.display())));
    let mut wasm = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut wasm).map_err(|error| unreadable(path, &error))?;
    if wasm.is_empty() {
        return refuse("is empty");
    }
    if wasm.len() as u64 > BYTES_MAX {
        return refuse("is larger than 64 MiB, the most a component may have");
    }
    match wasm.get(..8) {
        // Magic number, then version and layer: 1 and 0 for core modules, 13 and 1 for components.
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(wasm),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => refuse(
            "is a core WebAssembly module, not a component: build it for wasm32-wasip2, or wrap it with \
             `wasm-tools component new`",
        ),
        _ => refuse("is not a WebAssembly component"),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Component(format!("cannot read component {}: {error}", path.display()))
}
