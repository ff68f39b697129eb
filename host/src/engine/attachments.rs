//! What is attached to an engine: components of the configuration, then those of the home, then those of a command's flags.
//!
//! Those of the home are attached by requests and last: their files lie in the home under their SHA-256, and which they are
//! stands in the database, sealed, because settings may be secrets. A component that takes another's place is asked from the
//! next call on; calls in progress end on the old one. Nothing here asks a component.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::Reply;
use crate::clock;
use crate::engine::Inner;
use crate::error::{Error, Result};
use crate::hooks::{self, Component, ComponentSource, Grants, Hook};
use crate::private;
use crate::store::Store;
use crate::task::{Pairs, json as task_json};

/// Name of the secret that holds the list of a home.
const LIST: &str = "components";
/// Folder of the home that holds their files.
const FOLDER: &str = "components";
/// Earlier versions of a component that are kept.
const PREVIOUS: usize = 8;
/// Components that a home attaches at most.
const ATTACHED: usize = 64;

/// Who attached a component; they are asked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    /// The configuration.
    Configuration,
    /// A request, for good.
    Home,
    /// The flags of a command.
    Flags,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Configuration => "configuration",
            By::Home => "home",
            By::Flags => "flags",
        }
    }
}

/// The components that are attached to tasks of all groups or of one, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Attached(RwLock<Vec<Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    by: By,
    source: ComponentSource,
    component: Arc<Component>,
}

impl Attached {
    /// Those that tasks of a group ask; `None`: those that every task asks.
    pub(crate) fn of_group(&self, group: Option<&str>) -> Vec<Arc<Component>> {
        let list = self.list();
        list.iter().filter(|entry| entry.source.is_for(group)).map(|entry| Arc::clone(&entry.component)).collect()
    }

    /// Whether any of them answers a hook.
    pub(super) fn answer(&self, hook: Hook) -> bool {
        self.list().iter().any(|entry| entry.component.hooks().contains(&hook))
    }

    /// The components of which hooks are left alone after too many failures, as JSON: of each hook the seconds that are left.
    pub(super) fn left_alone(&self) -> Value {
        let list = self.list();
        let told = list.iter().filter_map(|entry| {
            let left = entry.component.left_alone();
            let hooks: Map<_, _> = left.iter().map(|(hook, left)| (hook.name().to_owned(), (*left).into())).collect();
            let Entry { by, source, .. } = entry;
            let json = || json!({"name": source.name, "group": source.group, "attachedBy": by.name(), "hooks": hooks});
            (!hooks.is_empty()).then(json)
        });
        told.collect()
    }

    /// The component of that name that a task of a group names: `Some(None)` when tasks of that group ask it anyway.
    pub(crate) fn named(&self, name: &str, group: &str) -> Option<Option<Arc<Component>>> {
        let list = self.list();
        let mut of_that_name = list.iter().filter(|entry| entry.source.name == name).peekable();
        let other = Arc::clone(&of_that_name.peek()?.component);
        Some(if of_that_name.any(|entry| entry.source.is_for(Some(group))) { None } else { Some(other) })
    }

    /// Attaches a component of the home, in the place of one of the same name and group. Answers the one replaced.
    fn put(&self, source: &ComponentSource, component: &Arc<Component>) -> Option<Arc<Component>> {
        let mut list = self.list_mut();
        let same =
            |entry: &&mut Entry| entry.by == By::Home && is(&entry.source, &source.name, source.group.as_deref());
        let Some(entry) = list.iter_mut().find(same) else {
            let place = list.partition_point(|entry| entry.by <= By::Home);
            let entry = Entry { by: By::Home, source: source.clone(), component: Arc::clone(component) };
            list.insert(place, entry);
            return None;
        };
        entry.source = source.clone();
        let old = std::mem::replace(&mut entry.component, Arc::clone(component));
        (!Arc::ptr_eq(&old, component)).then_some(old)
    }

    /// Takes a component of the home away.
    fn take(&self, name: &str, group: Option<&str>) -> Option<Arc<Component>> {
        let mut list = self.list_mut();
        let place = list.iter().position(|entry| entry.by == By::Home && is(&entry.source, name, group))?;
        Some(list.remove(place).component)
    }

    fn list(&self) -> RwLockReadGuard<'_, Vec<Entry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_mut(&self) -> RwLockWriteGuard<'_, Vec<Entry>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is(source: &ComponentSource, name: &str, group: Option<&str>) -> bool {
    source.name == name && source.group.as_deref() == group
}

/// A component that a home attaches, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    name: String,
    group: Option<String>,
    sha256: String,
    allow_hosts: Vec<String>,
    config: Pairs,
    /// SHA-256 of earlier versions, the last one first.
    previous: Vec<String>,
    /// When this version was attached, in milliseconds since 1970.
    at: u64,
}

impl Kept {
    fn is(&self, name: &str, group: Option<&str>) -> bool {
        self.name == name && self.group.as_deref() == group
    }

    fn source(&self, folder: &Path) -> ComponentSource {
        ComponentSource {
            name: self.name.clone(),
            path: file_of(folder, &self.sha256),
            grants: Grants { allow_hosts: self.allow_hosts.clone(), config: self.config.clone(), ..Grants::default() },
            group: self.group.clone(),
            sha256: Some(self.sha256.clone()),
        }
    }

    /// Takes up another version; the present one becomes the last of the earlier ones.
    fn turn_to(&mut self, sha256: &str, at: u64) {
        if self.sha256 == sha256 {
            return;
        }
        let old = std::mem::replace(&mut self.sha256, sha256.to_owned());
        self.previous.retain(|earlier| earlier != sha256);
        self.previous.insert(0, old);
        self.previous.truncate(PREVIOUS);
        self.at = at;
    }

    /// As JSON: settings by their names only.
    fn json(&self, folder: &Path) -> Value {
        let settings: Vec<&String> = self.config.iter().map(|(name, _)| name).collect();
        json!({
            "name": self.name,
            "group": self.group,
            "sha256": self.sha256,
            "path": file_of(folder, &self.sha256).to_string_lossy(),
            "allowHosts": self.allow_hosts,
            "config": settings,
            "previous": self.previous,
            "attachedAt": task_json::time(self.at),
        })
    }
}

fn file_of(folder: &Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.wasm"))
}

/// Loads everything that is attached. Blocks.
pub(super) fn load(engine: &LoadFrom) -> Result<()> {
    let kept = read(&engine.store)?;
    let home = kept.iter().map(|kept| (By::Home, kept.source(&engine.folder)));
    let sources = engine.configured.iter().map(|source| (By::Configuration, source.clone()));
    let sources = sources.chain(home).chain(engine.flags.iter().map(|source| (By::Flags, source.clone())));
    let load = |(by, source): (By, ComponentSource)| {
        let component = engine.hooks.load(&source).map_err(|error| told_how_to_mend(error, by, &source))?;
        Ok(Entry { by, source, component })
    };
    let entries = sources.map(load).collect::<Result<Vec<_>>>()?;
    *engine.attached.list_mut() = entries;
    Ok(())
}

fn told_how_to_mend(error: Error, by: By, source: &ComponentSource) -> Error {
    let Error::Component(why) = error else { return error };
    if by != By::Home {
        return Error::Component(why);
    }
    let group = source.group.as_ref().map_or(String::new(), |group| format!(" --group {group}"));
    let name = &source.name;
    Error::Component(format!("{why}; attach `{name}` again, or `haul callbacks detach {name}{group}`"))
}

/// What loading needs of an engine, on a thread of its own.
pub(super) struct LoadFrom {
    pub(super) configured: Vec<ComponentSource>,
    pub(super) flags: Vec<ComponentSource>,
    pub(super) folder: PathBuf,
    pub(super) store: Store,
    pub(super) hooks: hooks::Hooks,
    pub(super) attached: Arc<Attached>,
}

impl LoadFrom {
    pub(super) fn new(engine: &Inner) -> Self {
        let shared = &engine.shared;
        Self {
            configured: engine.components.clone(),
            flags: engine.component_flags.clone(),
            folder: engine.home.join(FOLDER),
            store: shared.store.clone(),
            hooks: shared.hooks.clone(),
            attached: Arc::clone(&shared.components),
        }
    }
}

/// Attaches a file to every task, or to those of a group: for good, and at once.
pub(super) async fn attach(engine: &Inner, path: PathBuf, new: NewAttachment) -> Result<Reply> {
    let _turn = engine.attaching.lock().await;
    ComponentSource::check_name(&new.name).map_err(|why| Error::Refused(why.into()))?;
    if engine.components.iter().any(|source| source.name == new.name) {
        let text = format!("the configuration attaches a component `{}` already: choose another name", new.name);
        return Err(Error::Refused(text));
    }
    let folder = engine.home.join(FOLDER);
    let mut all = read(&engine.shared.store)?;
    let (sha256, at) = (keep(path.clone(), folder.clone()).await?, clock::unix_ms());
    let place = all.iter().position(|kept| kept.is(&new.name, new.group.as_deref()));
    let NewAttachment { name, group, allow_hosts, config } = new;
    let (place, change) = match place {
        Some(place) => {
            let kept = &mut all[place];
            let before = kept.clone();
            kept.turn_to(&sha256, at);
            (kept.allow_hosts, kept.config) = (allow_hosts, config);
            let same_file = before.sha256 == kept.sha256;
            let change = if *kept == before {
                "unchanged"
            } else if same_file {
                "granted"
            } else {
                "swapped"
            };
            (place, change)
        }
        None if all.len() >= ATTACHED => {
            tidy(&folder, &all);
            return Err(Error::Refused(format!("{ATTACHED} components are attached already, which is the most")));
        }
        None => {
            all.push(Kept { name, group, sha256, allow_hosts, config, previous: Vec::new(), at });
            (all.len() - 1, "attached")
        }
    };
    // The copy is gone when it cannot be loaded: told is the file that was given.
    let copy = all.get(place).map(|kept| file_of(&folder, &kept.sha256).display().to_string()).unwrap_or_default();
    take_up(engine, &folder, &all, place, change).await.map_err(|error| match error {
        Error::Component(why) => Error::Component(why.replace(&copy, &path.display().to_string())),
        error => error,
    })
}

/// A component to attach to a home.
#[derive(Clone, Debug)]
pub(super) struct NewAttachment {
    pub(super) name: String,
    pub(super) group: Option<String>,
    pub(super) allow_hosts: Vec<String>,
    pub(super) config: Pairs,
}

/// Goes back to the version before, or to another one that is kept.
pub(super) async fn roll_back(engine: &Inner, name: &str, group: Option<&str>, to: Option<&str>) -> Result<Reply> {
    let _turn = engine.attaching.lock().await;
    let mut all = read(&engine.shared.store)?;
    let place = find(&all, name, group)?;
    let kept = &mut all[place];
    let earlier: Vec<&String> = kept.previous.iter().filter(|sha256| sha256.starts_with(to.unwrap_or(""))).collect();
    let sha256 = match (to, earlier.as_slice()) {
        (None, [last, ..]) | (Some(_), [last]) => (*last).clone(),
        (None, []) => return Err(Error::Refused(format!("there is no earlier version of `{name}`"))),
        (Some(to), []) => return Err(Error::Refused(format!("no earlier version of `{name}` begins with `{to}`"))),
        (Some(to), _) => return Err(Error::Refused(format!("several versions of `{name}` begin with `{to}`"))),
    };
    kept.turn_to(&sha256, clock::unix_ms());
    take_up(engine, &engine.home.join(FOLDER), &all, place, "rolledBack").await
}

/// Takes a component away from the home. That it is broken does not matter.
pub(super) async fn detach(engine: &Inner, name: &str, group: Option<&str>) -> Result<Reply> {
    let _turn = engine.attaching.lock().await;
    let folder = engine.home.join(FOLDER);
    let mut all = read(&engine.shared.store)?;
    let gone = all.remove(find(&all, name, group)?);
    write(&engine.shared.store, &all).await?;
    if let Some(old) = engine.shared.components.take(name, group) {
        engine.shared.hooks.forget(&old);
        old.replace(None);
    }
    tidy(&folder, &all);
    Ok(described(&gone, &folder, "detached"))
}

/// What the home attaches, in order.
pub(super) fn list(engine: &Inner) -> Result<Reply> {
    let folder = engine.home.join(FOLDER);
    Ok(Reply::Info(read(&engine.shared.store)?.iter().map(|kept| kept.json(&folder)).collect()))
}

/// Loads the component at a place of the list, stores the list, and has tasks ask the component from now on.
async fn take_up(engine: &Inner, folder: &Path, all: &[Kept], place: usize, change: &str) -> Result<Reply> {
    let Some(kept) = all.get(place) else { return Err(Error::Other("no such attachment".into())) };
    let source = kept.source(folder);
    let (hooks, given) = (engine.shared.hooks.clone(), source.clone());
    let loaded = tokio::task::spawn_blocking(move || hooks.load(&given)).await;
    let loaded = loaded.unwrap_or_else(|_| Err(Error::Other("loading a component panicked".into())));
    let component = match loaded {
        Ok(component) => component,
        Err(error) => {
            tidy(folder, &read(&engine.shared.store)?);
            return Err(error);
        }
    };
    write(&engine.shared.store, all).await?;
    if component.hooks().contains(&Hook::OnTaskFinished) {
        super::hear_of_ends(&engine.shared).await?;
    }
    // Where nothing is loaded yet, the list is read when it is.
    if engine.loading.initialized()
        && let Some(old) = engine.shared.components.put(&source, &component)
    {
        engine.shared.hooks.forget(&old);
        old.replace(Some(component));
    }
    tidy(folder, all);
    Ok(described(kept, folder, change))
}

fn described(kept: &Kept, folder: &Path, change: &str) -> Reply {
    let mut json = kept.json(folder);
    json["change"] = change.into();
    Reply::Info(json)
}

fn find(all: &[Kept], name: &str, group: Option<&str>) -> Result<usize> {
    if let Some(place) = all.iter().position(|kept| kept.is(name, group)) {
        return Ok(place);
    }
    let elsewhere = all.iter().find(|kept| kept.name == name).map(|kept| match &kept.group {
        Some(group) => format!("; it is attached to the group `{group}`: say --group {group}"),
        None => "; it is attached to every task: leave --group out".into(),
    });
    let place = group.map_or("this home".into(), |group| format!("the group `{group}` of this home"));
    let hint = elsewhere.unwrap_or_else(|| "; `haul callbacks list` tells which are".into());
    Err(Error::Refused(format!("no component `{name}` is attached to {place}{hint}")))
}

fn read(store: &Store) -> Result<Vec<Kept>> {
    let broken = |error| Error::Other(format!("the list of attached components cannot be read: {error}"));
    let list = store.secret(LIST)?.map(|text| serde_json::from_slice(&text)).transpose();
    Ok(list.map_err(broken)?.unwrap_or_default())
}

async fn write(store: &Store, all: &[Kept]) -> Result<()> {
    let content = serde_json::to_vec(all)
        .map_err(|error| Error::Other(format!("the list of attached components cannot be written: {error}")))?;
    store.keep_secret(LIST, &content, clock::unix_ms()).await.map(drop)
}

/// Copies a component's file into the home, under its SHA-256, which it answers.
async fn keep(path: PathBuf, folder: PathBuf) -> Result<String> {
    let kept = tokio::task::spawn_blocking(move || {
        let wasm = hooks::read(&path)?;
        let sha256 = hooks::sha256(&wasm);
        let failed = |error: std::io::Error| {
            Error::FileSystem(format!("cannot keep the component in `{}`: {error}", folder.display()))
        };
        copy(&folder, &file_of(&folder, &sha256), &wasm).map_err(failed)?;
        Ok(sha256)
    });
    kept.await.unwrap_or_else(|_| Err(Error::Other("copying a component panicked".into())))
}

/// The file is whole or not there, and on the disk before the list names it.
fn copy(folder: &Path, to: &Path, wasm: &[u8]) -> std::io::Result<()> {
    private::make(folder)?;
    let beside = to.with_extension(format!("{}.new", std::process::id()));
    let mut file = private::create(&beside)?;
    file.write_all(wasm)?;
    file.sync_all()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a component's file is no transfer's, and is the same under the same name"
    )]
    fs::rename(&beside, to).inspect_err(|_| drop(fs::remove_file(&beside)))?;
    fs::File::open(folder)?.sync_all()
}

/// Removes files that no version of an attached component is in.
fn tidy(folder: &Path, all: &[Kept]) {
    let needed = |name: &str| {
        let sha256 = name.strip_suffix(".wasm").unwrap_or("");
        all.iter().any(|kept| kept.sha256 == sha256 || kept.previous.iter().any(|earlier| earlier == sha256))
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !needed(&entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path()); // next time
        }
    }
}
