//! The vault: encrypts what is secret in the database, by a key that lies beside it in the home (0600).
//!
//! It protects copies of the database (backups, a file attached to a report) and what SQLite leaves in free pages and in
//! the log. Who can read the whole home can read the secrets: haul must be able to go on by itself after a reboot.
//! AES-256-GCM with random nonces; each secret is bound to its place, so that none can be moved to another task.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rusqlite::{Connection, OptionalExtension};

use super::codec;
use super::fault::{self, Sql};
use crate::error::{Error, Result};
use crate::regular;
use crate::task::Auth;

/// Name of the key's file in the home.
pub(super) const FILE: &str = "secret.key";
const KEY_LEN: usize = 32;
/// First byte of everything sealed: the form of what follows.
const FORM: u8 = 1;
/// What the row `check` says.
const CHECK: &[u8] = b"haul";

/// Seals and opens.
pub(super) struct Vault {
    key: RandomizedNonceKey,
    /// For names of secrets that must not be told from other secrets of the same content.
    naming: [u8; KEY_LEN],
}

impl Vault {
    /// The vault of a home. A home without secrets gets a key; one with secrets must have the key they were sealed with.
    pub(super) fn open(home: &Path, conn: &Connection) -> Result<Self> {
        let path = home.join(FILE);
        let database = home.join(super::open::FILE);
        let read = || conn.query_row("SELECT content FROM secret WHERE name = 'check'", [], |row| row.get(0));
        let check: Option<Vec<u8>> = read().optional().map_err(|error| fault::error(&database, &error))?;
        let key = match regular::read(&path) {
            Ok(key) => <[u8; KEY_LEN]>::try_from(key).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::FileSystem(format!("cannot read the key `{}`: {error}", path.display()))),
        };
        match (key, check) {
            (Some(key), Some(check)) => {
                close_to_others(&path)?;
                let vault = Self::new(key);
                let fits = vault.unseal("check", &check).is_some_and(|text| text == CHECK);
                if fits { Ok(vault) } else { Err(lost(&path, &database, "does not belong to")) }
            }
            (None, Some(_)) => Err(lost(&path, &database, "is missing or cut short; it opens the secrets of")),
            (key, None) => {
                let vault = Self::new(match key {
                    Some(key) => key,
                    None => fresh_key(&path)?,
                });
                let sealed = vault.seal("check", CHECK);
                let change = "INSERT INTO secret (name, content, at) VALUES ('check', ?1, 0)";
                conn.execute(change, [sealed]).map_err(|error| fault::error(&database, &error))?;
                Ok(vault)
            }
        }
    }

    fn new(bytes: [u8; KEY_LEN]) -> Self {
        #[expect(clippy::expect_used, reason = "32 bytes are what it takes")]
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).expect("a key of the right length");
        Self { key, naming: blake3::derive_key("haul 2026 names of secrets", &bytes) }
    }

    /// Encrypts, bound to a place.
    pub(super) fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        #[expect(clippy::expect_used, reason = "fails for texts beyond 64 GiB only")]
        let nonce = self.key.seal_in_place_append_tag(Aad::from(place), &mut sealed).expect("a text of bounded length");
        [&[FORM], nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Decrypts what was sealed for that place by this key; `None` for anything else.
    pub(super) fn unseal(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (form, rest) = sealed.split_first()?;
        let (nonce, content) = rest.split_at_checked(NONCE_LEN).filter(|_| *form == FORM)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(place), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }

    /// A name that tells nothing of what it is made from, and is the same for the same.
    pub(super) fn name(&self, kind: &str, content: &[u8]) -> String {
        format!("{kind}:{}", blake3::keyed_hash(&self.naming, content).to_hex())
    }
}

impl super::Store {
    /// A secret that belongs to no task.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let find = "SELECT content FROM secret WHERE name = ?1";
        let read = |conn: &super::Reading<'_>| -> Sql<Option<Vec<u8>>> {
            conn.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()
        };
        Ok(self.read(read)?.and_then(|sealed| self.shared.vault.unseal(name, &sealed)))
    }

    /// Stores a secret under a name, in the place of what was there.
    pub(crate) fn keep_secret(&self, name: &str, content: &[u8], at: u64) -> super::Pending {
        let content = self.shared.vault.seal(name, content);
        self.write(super::Change::Secret { name: name.into(), content, at })
    }

    /// The name of a credential in this home, which tells nothing of what it is made from.
    pub(crate) fn credential_name(&self, identity: &[u8]) -> String {
        self.shared.vault.name("credential", identity)
    }

    /// What a credential was last refreshed to: the block that was asked about, and the fresh one.
    pub(crate) fn credential(&self, name: &str) -> Result<Option<(Auth, Auth)>> {
        Ok(self.secret(name)?.as_deref().and_then(codec::decode_renewal))
    }

    /// Stores what a credential was refreshed to.
    pub(crate) fn keep_credential(&self, name: &str, asked: &Auth, fresh: &Auth, at: u64) -> super::Pending {
        self.keep_secret(name, &codec::encode_renewal(asked, fresh), at)
    }
}

/// A key on the disk before anything is sealed with it.
fn fresh_key(path: &Path) -> Result<[u8; KEY_LEN]> {
    let failed =
        |error: std::io::Error| Error::FileSystem(format!("cannot make the key `{}`: {error}", path.display()));
    let mut key = [0; KEY_LEN];
    getrandom::fill(&mut key).map_err(|error| Error::Other(format!("the system gives no randomness: {error}")))?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    close_to_others(path)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    let directory = path.parent().unwrap_or(path);
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(key)
}

fn close_to_others(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| Error::FileSystem(format!("cannot close the key `{}` to others: {error}", path.display())))
}

fn lost(key: &Path, database: &Path, what: &str) -> Error {
    let (name, mend) = (key.display(), fault::how_to_mend(database));
    Error::Damaged(format!(
        "the key `{name}` {what} `{}`: put the right one back, or go without; {mend}",
        database.display()
    ))
}
