//! `wasi:keyvalue`: state that a component keeps in the home's database, apart from every other's and within a quota.
//!
//! Two drafts are in use: `0.2.0-draft` (wasmtime) and `0.2.0-draft2` (Spin). Of both: store, batch, and `increment` of
//! atomics; not compare-and-swap. Everything waits on a thread that may block, never on one that moves bytes.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};

use super::host::State;
use crate::error::{Error, Result};
use crate::store::{Bucket, Edit, Store};

/// What a call is refused that has no state.
const NOT_GRANTED: &str =
    "state, which is not granted (grant it with `keyvalue = \"64K\"` in [[callbacks]] or [[grants]])";
const BUCKET_NAME_BYTES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 1 << 10;
/// Keys of one page of `list-keys`, and of one `get-many`.
const KEYS_MAX: usize = 256;
/// Bytes that one `get-many` brings.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The contract's `error`.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "any name is a store here")]
enum Refused {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

type Answer<T> = wasmtime::Result<(std::result::Result<T, Refused>,)>;
type Opened = Resource<Bucket>;
type Pair = (String, Vec<u8>);
type Caller<'a> = StoreContextMut<'a, State>;

/// `key-response` of `0.2.0-draft`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Numbered {
    keys: Vec<String>,
    cursor: Option<u64>,
}

/// `key-response` of `0.2.0-draft2`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Named {
    keys: Vec<String>,
    cursor: Option<String>,
}

/// Links both drafts.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for version in ["0.2.0-draft", "0.2.0-draft2"] {
        let mut store = linker.instance(&format!("wasi:keyvalue/store@{version}"))?;
        link_store(&mut store)?;
        if version == "0.2.0-draft" {
            link_keys_by_number(&mut store)?;
        } else {
            link_keys_by_name(&mut store)?;
        }
        link_batch(&mut linker.instance(&format!("wasi:keyvalue/batch@{version}"))?)?;
        let mut atomics = linker.instance(&format!("wasi:keyvalue/atomics@{version}"))?;
        if version == "0.2.0-draft" {
            link_increment::<u64>(&mut atomics)?;
        } else {
            link_increment::<i64>(&mut atomics)?;
        }
    }
    Ok(())
}

fn link_store(linker: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    linker.resource("bucket", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table.delete(Opened::new_own(rep))?;
        Ok(())
    })?;
    linker.func_wrap("open", |mut store: Caller<'_>, (name,): (String,)| {
        let state = store.data_mut();
        let (Some(grant), true) = (&state.keyvalue, has_store(state)) else {
            if state.keyvalue.is_none() {
                state.reach.denied().add(NOT_GRANTED);
            }
            return Ok((Err(Refused::AccessDenied),));
        };
        if name.len() > BUCKET_NAME_BYTES_MAX {
            return Ok((Err(Refused::Other(format!("a bucket's name has at most {BUCKET_NAME_BYTES_MAX} bytes"))),));
        }
        let bucket = Bucket { owner: grant.owner.clone(), name, quota_bytes: grant.quota_bytes };
        Ok((Ok(state.table.push(bucket)?),))
    })?;
    linker.func_wrap_async("[method]bucket.get", |store: Caller<'_>, (bucket, key): (Opened, String)| {
        Box::new(work(store, bucket, move |store, bucket| store.value(&bucket, &key)))
    })?;
    linker.func_wrap_async("[method]bucket.exists", |store: Caller<'_>, (bucket, key): (Opened, String)| {
        Box::new(work(store, bucket, move |store, bucket| Ok(store.value(&bucket, &key)?.is_some())))
    })?;
    linker.func_wrap_async(
        "[method]bucket.set",
        |store: Caller<'_>, (bucket, key, value): (Opened, String, Vec<u8>)| {
            Box::new(work(store, bucket, move |store, bucket| edit(store, &bucket, vec![(key, Edit::Set(value))])))
        },
    )?;
    linker.func_wrap_async("[method]bucket.delete", |store: Caller<'_>, (bucket, key): (Opened, String)| {
        Box::new(work(store, bucket, move |store, bucket| edit(store, &bucket, vec![(key, Edit::Delete)])))
    })
}

fn link_keys_by_number(linker: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    linker.func_wrap_async("[method]bucket.list-keys", |store: Caller<'_>, (bucket, cursor): (Opened, Option<u64>)| {
        let skip = cursor.unwrap_or(0);
        Box::new(work(store, bucket, move |store, bucket| {
            let keys = store.keys(&bucket, "", skip, KEYS_MAX)?;
            let cursor = (keys.len() == KEYS_MAX).then_some(skip.saturating_add(KEYS_MAX as u64));
            Ok(Numbered { keys, cursor })
        }))
    })
}

fn link_keys_by_name(linker: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        "[method]bucket.list-keys",
        |store: Caller<'_>, (bucket, cursor): (Opened, Option<String>)| {
            Box::new(work(store, bucket, move |store, bucket| {
                let keys = store.keys(&bucket, cursor.as_deref().unwrap_or_default(), 0, KEYS_MAX)?;
                let cursor = keys.last().filter(|_| keys.len() == KEYS_MAX).cloned();
                Ok(Named { keys, cursor })
            }))
        },
    )
}

fn link_batch(linker: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    linker.func_wrap_async("get-many", |store: Caller<'_>, (bucket, keys): (Opened, Vec<String>)| {
        Box::new(work(store, bucket, move |store, bucket| get_many(store, &bucket, keys)))
    })?;
    linker.func_wrap_async("set-many", |store: Caller<'_>, (bucket, pairs): (Opened, Vec<(String, Vec<u8>)>)| {
        let edits = pairs.into_iter().map(|(key, value)| (key, Edit::Set(value))).collect();
        Box::new(work(store, bucket, move |store, bucket| edit(store, &bucket, edits)))
    })?;
    linker.func_wrap_async("delete-many", |store: Caller<'_>, (bucket, keys): (Opened, Vec<String>)| {
        let edits = keys.into_iter().map(|key| (key, Edit::Delete)).collect();
        Box::new(work(store, bucket, move |store, bucket| edit(store, &bucket, edits)))
    })
}

/// `increment`, whose numbers are unsigned in the first draft.
fn link_increment<N>(linker: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()>
where
    N: ComponentType + wasmtime::component::Lift + Lower + TryInto<i64> + TryFrom<i64> + Send + Sync + 'static,
{
    linker.func_wrap_async("increment", |store: Caller<'_>, (bucket, key, delta): (Opened, String, N)| {
        Box::new(work(store, bucket, move |store, bucket| {
            let wrong = || Error::Usage("the number is too large".into());
            let delta = delta.try_into().map_err(|_| wrong())?;
            check_keys([&key])?;
            N::try_from(store.edit(&bucket, vec![(key, Edit::Add(delta))])?).map_err(|_| wrong())
        }))
    })
}

fn get_many(store: &Store, bucket: &Bucket, keys: Vec<String>) -> Result<Vec<Option<Pair>>> {
    if keys.len() > KEYS_MAX {
        return Err(Error::Usage(format!("at most {KEYS_MAX} values are read at once")));
    }
    let mut bytes = 0;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let value = store.value(bucket, &key)?;
        bytes += value.as_ref().map_or(0, Vec::len);
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::Usage(format!("at most {BATCH_BYTES_MAX} bytes are read at once")));
        }
        found.push(value.map(|value| (key, value)));
    }
    Ok(found)
}

fn edit(store: &Store, bucket: &Bucket, edits: Vec<(String, Edit)>) -> Result<()> {
    check_keys(edits.iter().map(|(key, _)| key))?;
    store.edit(bucket, edits).map(|_| ())
}

fn check_keys<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<()> {
    match keys.into_iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        true => Err(Error::Usage(format!("a key has 1 to {KEY_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

fn has_store(state: &State) -> bool {
    state.running.as_ref().is_some_and(|running| running.chain.store().is_some())
}

/// Does something with a bucket on a thread that may block. A bucket that is kept from call to call stays usable.
async fn work<T: Send + 'static>(
    store: Caller<'_>,
    bucket: Opened,
    run: impl FnOnce(&Store, Bucket) -> Result<T> + Send + 'static,
) -> Answer<T> {
    let bucket = store.data().table.get(&bucket)?.clone();
    let home = store.data().running.as_ref().and_then(|running| running.chain.store().cloned());
    let Some(home) = home else { return Ok((Err(Refused::AccessDenied),)) };
    let done = tokio::task::spawn_blocking(move || run(&home, bucket)).await;
    Ok((match done {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Refused::Other(error.to_string())),
        Err(_) => Err(Refused::Other("the store's reader panicked".into())),
    },))
}
