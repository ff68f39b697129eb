//! State of components: pairs of keys and values in buckets, each owner's apart and within a quota. Contents are sealed like
//! other secrets, because components keep tokens there. Who may keep how much is decided elsewhere.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::apply::{Batch, number};
use super::fault::Sql;
use super::{Applied, Change, Store};
use crate::error::{Error, Result};

/// What a pair counts beside its bucket's name, its key and its value.
const PAIR_BYTES: u64 = 64;

/// A bucket, and how much its owner may keep in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) quota_bytes: u64,
}

/// A change of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// It has this value from now on.
    Set(Vec<u8>),
    /// It is gone.
    Delete,
    /// Its value, a decimal number (none: 0), grows by this.
    Add(i64),
}

impl Bucket {
    fn place(&self, key: &str) -> String {
        format!("keyvalue\0{}\0{}\0{key}", self.owner, self.name)
    }

    fn bytes(&self, key: &str, value: &[u8]) -> u64 {
        (self.name.len() + key.len() + value.len()) as u64 + PAIR_BYTES
    }
}

impl Store {
    /// The value of a key. Blocks.
    pub(crate) fn value(&self, bucket: &Bucket, key: &str) -> Result<Option<Vec<u8>>> {
        let find = "SELECT content FROM keyvalue WHERE owner = ?1 AND bucket = ?2 AND key = ?3";
        self.read(|conn| {
            let sealed: Option<Vec<u8>> = conn
                .prepare_cached(find)?
                .query_row([&bucket.owner, &bucket.name, key], |row| row.get(0))
                .optional()?;
            Ok(sealed.and_then(|sealed| conn.vault.unseal(&bucket.place(key), &sealed)))
        })
    }

    /// Keys in order, after that one, leaving out the first `skip`; at most `limit`. Blocks.
    pub(crate) fn keys(&self, bucket: &Bucket, after: &str, skip: u64, limit: usize) -> Result<Vec<String>> {
        let find = "SELECT key FROM keyvalue WHERE owner = ?1 AND bucket = ?2 AND key > ?3
                    ORDER BY key LIMIT ?4 OFFSET ?5";
        self.read(|conn| {
            let mut statement = conn.prepare_cached(find)?;
            let given = params![bucket.owner, bucket.name, after, number(limit as u64), number(skip)];
            let rows = statement.query_map(given, |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Changes pairs, all or none; answers the number that an [`Edit::Add`] came to. Blocks until it is committed; must not be
    /// called on a runtime's thread.
    ///
    /// # Errors
    /// [`Error::Usage`] when it would exceed the quota, or the value is no number.
    pub(crate) fn edit(&self, bucket: &Bucket, edits: Vec<(String, Edit)>) -> Result<i64> {
        let change = Change::KeyValue { bucket: bucket.clone(), edits: edits.into_iter().collect() };
        match self.write(change).wait()? {
            Applied::KeyValue(Ok(number)) => Ok(number),
            Applied::KeyValue(Err(why)) => Err(Error::Usage(why)),
            other => Err(Error::Other(format!("the store answered {other:?}"))),
        }
    }
}

/// Whose state there is, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) owner: String,
    /// What counts against the quota.
    pub(crate) bytes: u64,
    pub(crate) pairs: u64,
}

/// A pair without its value: its bucket, its key, and what it counts.
pub(crate) type PairSize = (String, String, u64);

impl Store {
    /// Everybody who keeps state, by name. Blocks.
    pub(crate) fn owners(&self) -> Result<Vec<Kept>> {
        let find = "SELECT owner, sum(bytes), count(*) FROM keyvalue GROUP BY owner ORDER BY owner";
        self.read(|conn| {
            let kept = |row: &rusqlite::Row<'_>| {
                let (bytes, pairs): (i64, i64) = (row.get(1)?, row.get(2)?);
                Ok(Kept { owner: row.get(0)?, bytes: bytes.unsigned_abs(), pairs: pairs.unsigned_abs() })
            };
            conn.prepare_cached(find)?.query_map([], kept)?.collect()
        })
    }

    /// The first pairs of an owner, by bucket and key. Blocks.
    pub(crate) fn pairs(&self, owner: &str, limit: usize) -> Result<Vec<PairSize>> {
        let find = "SELECT bucket, key, bytes FROM keyvalue WHERE owner = ?1 ORDER BY bucket, key LIMIT ?2";
        self.read(|conn| {
            let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()));
            conn.prepare_cached(find)?.query_map(params![owner, number(limit as u64)], pair)?.collect()
        })
    }
}

impl Batch<'_> {
    /// Forgets an owner's pairs: all, those of a bucket, or one.
    pub(super) fn forget_state(&self, owner: &str, bucket: Option<&str>, key: Option<&str>) -> Sql<Applied> {
        let which = "owner = ?1 AND (?2 IS NULL OR bucket = ?2) AND (?3 IS NULL OR key = ?3)";
        let forgotten = self
            .conn
            .prepare_cached(&format!("DELETE FROM keyvalue WHERE {which}"))?
            .execute(params![owner, bucket, key])?;
        let count = "UPDATE keyvalue_used SET bytes = (SELECT coalesce(sum(bytes), 0) FROM keyvalue WHERE owner = ?1)
                     WHERE owner = ?1";
        self.conn.prepare_cached(count)?.execute([owner])?;
        Ok(Applied::KeyValue(Ok(forgotten as i64)))
    }

    /// Looks at everything before it changes anything: what is refused must leave no trace in the transaction.
    pub(super) fn keyvalue(&self, bucket: &Bucket, edits: &BTreeMap<String, Edit>) -> Sql<Applied> {
        let before = self.used(&bucket.owner)?;
        let (mut used, mut sum) = (before, 0);
        let mut values = Vec::with_capacity(edits.len());
        for (key, edit) in edits {
            let old = self.pair(bucket, key)?;
            let value = match edit {
                Edit::Set(value) => Some(value.clone()),
                Edit::Delete => None,
                Edit::Add(delta) => match added(old.as_ref().map(|(value, _)| value.as_slice()), *delta) {
                    Some(number) => {
                        sum = number;
                        Some(number.to_string().into_bytes())
                    }
                    None => {
                        return Ok(Applied::KeyValue(Err(format!(
                            "the value of `{key}` is no number that can grow so"
                        ))));
                    }
                },
            };
            used = used.saturating_sub(old.map_or(0, |(_, bytes)| bytes));
            used += value.as_ref().map_or(0, |value| bucket.bytes(key, value));
            values.push((key, value));
        }
        if used > bucket.quota_bytes && used > before {
            let quota = bucket.quota_bytes;
            return Ok(Applied::KeyValue(Err(format!("the state would take {used} bytes, {quota} are granted"))));
        }
        for (key, value) in values {
            self.put(bucket, key, value.as_deref())?;
        }
        let keep = "INSERT INTO keyvalue_used (owner, bytes) VALUES (?1, ?2)
                    ON CONFLICT (owner) DO UPDATE SET bytes = excluded.bytes";
        self.conn.prepare_cached(keep)?.execute(params![bucket.owner, number(used)])?;
        Ok(Applied::KeyValue(Ok(sum)))
    }

    fn used(&self, owner: &str) -> Sql<u64> {
        let find = "SELECT bytes FROM keyvalue_used WHERE owner = ?1";
        let used: Option<i64> = self.conn.prepare_cached(find)?.query_row([owner], |row| row.get(0)).optional()?;
        Ok(used.map_or(0, i64::unsigned_abs))
    }

    /// A pair's value, and what it counts.
    fn pair(&self, bucket: &Bucket, key: &str) -> Sql<Option<(Vec<u8>, u64)>> {
        let find = "SELECT content, bytes FROM keyvalue WHERE owner = ?1 AND bucket = ?2 AND key = ?3";
        let found: Option<(Vec<u8>, i64)> = self
            .conn
            .prepare_cached(find)?
            .query_row([&bucket.owner, &bucket.name, key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let value = |sealed: Vec<u8>| self.vault.unseal(&bucket.place(key), &sealed).unwrap_or_default();
        Ok(found.map(|(sealed, bytes)| (value(sealed), bytes.unsigned_abs())))
    }

    fn put(&self, bucket: &Bucket, key: &str, value: Option<&[u8]>) -> Sql<()> {
        let Some(value) = value else {
            let forget = "DELETE FROM keyvalue WHERE owner = ?1 AND bucket = ?2 AND key = ?3";
            self.conn.prepare_cached(forget)?.execute([&bucket.owner, &bucket.name, key])?;
            return Ok(());
        };
        let keep = "INSERT INTO keyvalue (owner, bucket, key, content, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
                    ON CONFLICT (owner, bucket, key) DO UPDATE SET content = excluded.content, bytes = excluded.bytes";
        let sealed = self.vault.seal(&bucket.place(key), value);
        let bytes = number(bucket.bytes(key, value));
        self.conn.prepare_cached(keep)?.execute(params![bucket.owner, bucket.name, key, sealed, bytes])?;
        Ok(())
    }
}

fn added(value: Option<&[u8]>, delta: i64) -> Option<i64> {
    let number: i64 = match value {
        None => 0,
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
    };
    number.checked_add(delta)
}
