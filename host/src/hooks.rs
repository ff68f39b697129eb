//! The WebAssembly boundary: components, chains, grants, limits, deadlines. Only `hooks*` names wasmtime and the types that are
//! generated from the contract: everybody else gives and gets the types of this file and of the public model, and `convert`
//! makes one of the other.
//!
//! Asks the first component of a chain that answers a hook, and the default policy last; a component's own import of the
//! hook goes to the next one in the chain. Every answer is checked before it is handed on. It acts on nothing: what
//! follows from an answer is the engine's and the attempt's business.

mod bindings;
mod cache;
mod chain;
mod check;
mod compile;
mod component;
mod computing;
mod convert;
mod denied;
mod file;
mod functions;
mod grants;
mod health;
mod host;
mod http;
mod interfaces;
mod keyvalue;
mod known;
mod loaded;
mod log;
mod masked;
mod policy;
mod quota;
mod record;
mod requested;
mod runtime;
mod sense;
mod shape;
#[cfg(test)]
mod tests;
mod turns;
mod verdicts;
mod wall;
mod words;
pub mod workshop;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use self::chain::{Decision, Heard};
use self::denied::Denied;
use self::file::ComponentFile;
use self::loaded::{Begun, Loaded};
use crate::error::{Error, Failure};
use crate::store::Store;
use crate::task::{Auth, Pairs};
use crate::transport::{Guard, Transport};

#[doc(hidden)] // this and what else is hidden here is what bench/ and the workshop call: no promise to anybody
pub use chain::Chain;
pub(crate) use check::RESTARTS;
pub use compile::{Compiler, compile_as_child};
pub use component::Component;
pub use grants::{CallLimits, FailMode, GrantRule, Grantee, Grants, KeyValueGrant};
pub use requested::Requested;
#[doc(hidden)]
pub use verdicts::{
    FinishedFile, OnError, OnProgress, OnRedirect, OnRequest, OnResponse, ProgressSample, RedirectHop, RequestHead,
    RetryChanges,
};

/// The hooks that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // their meaning is in the WIT
pub enum Hook {
    Admit,
    Classify,
    Filename,
    Resume,
    Authorize,
    Retry,
    Parts,
    BeforeTaskStart,
    OnAuth,
    OnTaskStart,
    OnRequest,
    OnRedirect,
    OnResponse,
    OnError,
    OnProgress,
    Verify,
    OnTaskFinished,
}

/// A component to attach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentSource {
    /// Name in logs and messages; by default the file's stem.
    pub name: String,
    /// The `.wasm` file.
    pub path: PathBuf,
    /// What it may do.
    pub grants: Grants,
    /// Only tasks of this group ask it; `None`: every task does. `admit` is asked of those that every task asks.
    pub group: Option<String>,
    /// SHA-256 that the file must have, in lower-case hexadecimal; `None`: whatever is there.
    pub sha256: Option<String>,
}

impl ComponentSource {
    /// A file that replaces the default policy: a pure function, without any grants.
    pub fn policy(path: PathBuf) -> Self {
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path, ..Self::default() }
    }

    /// Whether a component can have this name. The error is a phrase that says what would be right.
    pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
        let fits = !name.is_empty() && name.len() <= 100 && !name.contains('/') && !name.chars().any(char::is_control);
        fits.then_some(()).ok_or("a component's name has 1 to 100 characters, no `/` and no control characters")
    }

    /// Whether tasks of a group ask it; `None`: tasks of any group.
    pub(crate) fn is_for(&self, group: Option<&str>) -> bool {
        self.group.is_none() || self.group.as_deref() == group
    }
}

/// Where hooks keep their things.
#[derive(Clone, Debug)]
pub struct HooksSettings {
    /// Compiled components (`$XDG_CACHE_HOME/haul`).
    pub cache_dir: PathBuf,
    /// Holds the key that authenticates them (0700).
    pub key_dir: PathBuf,
    /// Each line a component writes to its log or streams: component's name, line (control characters escaped).
    pub log: LogSink,
    /// Grants to components however they are attached, beside those that a [`ComponentSource`] brings.
    pub rules: Vec<GrantRule>,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// File that calls are recorded in, secrets masked ([`workshop::Call`], one a line).
    pub record: Option<PathBuf>,
}

/// Receives log lines of components.
#[derive(Clone)]
pub struct LogSink(pub Arc<WriteLine>);

/// Takes a component's name and a line.
pub type WriteLine = dyn Fn(&str, &str) + Send + Sync;

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogSink")
    }
}

/// Whether a text can be the name of a finished file, as for an answer of the `filename` hook. The error is a phrase.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    check::file_name(name, &[])
}

/// What `callbacks check` prints.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// SHA-256 of the file in hexadecimal.
    pub digest: String,
    /// Size of the file.
    pub size: u64,
    /// Hooks it answers.
    pub hooks: Vec<String>,
    /// Version of the contract it was built for.
    pub contract: Option<String>,
    /// Every import: its name, and whether it is linked, granted, refused, with a reason.
    pub imports: Vec<(String, String)>,
    /// Exports that mean nothing to haul.
    pub other_exports: Vec<String>,
    /// Those of them that look like hooks, e.g. of a misspelt name: nobody ever asks them.
    pub no_hooks: Vec<String>,
    /// What it asks for in its section `haul:grants`.
    pub requested: Option<Requested>,
    /// What of that is not granted, one item a line.
    pub missing: Vec<String>,
}

/// The wasm engine, the default policy, and what is loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hooks {
    shared: Arc<Shared>,
}

struct Shared {
    engine: wasmtime::Engine,
    /// What the engine's code is compiled for.
    space: runtime::Space,
    ticker: runtime::Ticker,
    cache: cache::Cache,
    policy: policy::Policy,
    /// What components can import; made when the first one is loaded.
    linker: OnceLock<wasmtime::component::Linker<host::State>>,
    loaded: Mutex<Loaded>,
    rules: Vec<GrantRule>,
    compiler: Compiler,
    refused: compile::Refused,
    /// Where components keep their state; none where there is no home.
    store: OnceLock<Store>,
    /// Who is on the processor, of all components.
    turns: turns::Turns,
    log: LogSink,
    recorder: Option<record::Recorder>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

impl Hooks {
    /// Loads the default policy (from the cache when it can be proved ours, else compiled).
    pub fn new(settings: HooksSettings) -> Result<Self, Error> {
        let space = runtime::Space::of_process();
        let engine = runtime::engine(space)?;
        let cache = cache::Cache::new(&settings.cache_dir, &settings.key_dir);
        let compile = || policy::compile(space, &settings.compiler);
        let component = cache.component(&engine, &cache::digest(policy::WASM), compile)?;
        let shared = Shared {
            space,
            ticker: runtime::Ticker::start(&engine)?,
            policy: policy::Policy::new(&engine, &component)?,
            engine,
            cache,
            linker: OnceLock::new(),
            loaded: Mutex::default(),
            rules: settings.rules,
            compiler: settings.compiler,
            refused: compile::Refused::default(),
            store: OnceLock::new(),
            turns: turns::Turns::new(),
            log: settings.log,
            recorder: settings.record.as_deref().map(record::Recorder::open).transpose()?,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Loads a component: compiles it or takes it from the cache, checks its version, imports and exports by
    /// instantiating it once. Loading the same file from the same source again answers the same component.
    ///
    /// Blocks: compiling takes 0.1 s for Rust and C, seconds for components that carry an interpreter. Compiling, one at a
    /// time, and starting delay nobody who loads a component that is loaded.
    pub fn load(&self, source: &ComponentSource) -> Result<Arc<Component>, Error> {
        let ComponentSource { name, path, grants, sha256, .. } = source;
        let file = ComponentFile::open(path, &self.shared.cache)?;
        if let Some(pinned) = sha256 {
            check_pin(name, &file, pinned)?;
        }
        let digest = file.digests().blake3;
        // With the rules as they are: another configuration may grant something else to the same file.
        let grants = self.granted(name, &file, grants);
        let shown = match self.loaded().begin(source, &digest, || file.sha256()) {
            Begun::Loaded(component) => return Ok(component),
            Begun::Named(shown) => shown,
        };
        let component = self.make(name, shown, &file, grants).map(Arc::new);
        self.loaded().end(source, &digest, component)
    }

    /// Compiles and starts a component.
    fn make(&self, name: &str, shown: String, file: &ComponentFile<'_>, grants: Grants) -> Result<Component, Error> {
        let shared = &*self.shared;
        let what = format!("component `{name}`");
        let compiled = component::compile(shared, file, &what)?;
        let interfaces = interfaces::Interfaces::of(&shared.engine, &compiled);
        interfaces.check(&what)?;
        let pre = self.linker()?.instantiate_pre(&compiled).map_err(|error| {
            // From the import down to the type that does not fit.
            let why: Vec<String> = error.chain().map(ToString::to_string).collect();
            let mut why = check::text(why.join(": "));
            if let Some(at) = why.find("type mismatch with async") {
                why.truncate(at);
                why.push_str(
                    "it is an `async func`, which of the contract only hooks may be (docs/callbacks.md, WASI)",
                );
            }
            Error::Component(format!("component `{name}` cannot be linked: {why}"))
        })?;
        Component::new(shown, grants, &interfaces, pre, shared.log.clone(), &shared.ticker)
    }

    /// Loads a component that is to replace the default policy: it must answer every decision.
    ///
    /// # Errors
    /// As [`Hooks::load`], and [`Error::Component`] that names the decisions it does not answer.
    pub fn load_policy(&self, source: &ComponentSource) -> Result<Arc<Component>, Error> {
        let policy = self.load(source)?;
        let answers = |hook: &Hook| policy.hooks().contains(hook);
        let missing = Hook::ALL.into_iter().filter(|hook| hook.is_decision() && !answers(hook));
        let missing: Vec<String> = missing.map(|hook| format!("`{}`", hook.name())).collect();
        if missing.is_empty() {
            return Ok(policy);
        }
        Err(Error::Component(format!(
            "the policy {} does not answer {}: a policy answers every decision (attach it by --callbacks to replace some)",
            source.path.display(),
            missing.join(", ")
        )))
    }

    /// What a component of that name has: what is granted beside it and by the rules.
    fn granted(&self, name: &str, file: &ComponentFile<'_>, grants: &Grants) -> Grants {
        grants.with_rules(&self.shared.rules, name, file.path(), || file.sha256())
    }

    /// What a component has: what its source grants, and what rules grant its file, path or name besides.
    ///
    /// # Errors
    /// [`Error::Component`]: its file cannot be read.
    pub fn grants_of(&self, source: &ComponentSource) -> Result<Grants, Error> {
        let file = ComponentFile::open(&source.path, &self.shared.cache)?;
        Ok(self.granted(&source.name, &file, &source.grants))
    }

    /// Components keep their state in this store from now on.
    pub(crate) fn keep_state_in(&self, store: &Store) {
        let _ = self.shared.store.set(store.clone()); // once, by the engine that owns both
    }

    /// Lets go of a component that is attached no more; calls in progress go on.
    pub(crate) fn forget(&self, component: &Arc<Component>) {
        self.loaded().forget(component);
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a component file is, without attaching it. Compiles and runs nothing of it, unless to say why it cannot be read.
    pub fn inspect(&self, path: &Path, grants: &Grants) -> Result<Inspection, Error> {
        let file = ComponentFile::open(path, &self.shared.cache)?;
        let wasm = file.bytes()?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let grants = &self.granted(&name, &file, grants);
        let requested = Requested::of(wasm, path)?;
        let shared = &*self.shared;
        let interfaces = match interfaces::Interfaces::read(wasm) {
            Some(interfaces) => interfaces,
            None => interfaces::Interfaces::of(&shared.engine, &component::compile(shared, &file, "it")?),
        };
        let describe = |name: String| {
            let becomes = interfaces::judge(&name, grants).to_string();
            (name, becomes)
        };
        Ok(Inspection {
            digest: file.sha256(),
            size: wasm.len() as u64,
            hooks: interfaces.hooks.iter().map(|hook| hook.name().to_owned()).collect(),
            contract: interfaces.contract,
            imports: interfaces.imports.into_iter().map(describe).collect(),
            no_hooks: interfaces.other_exports.iter().filter(|name| interfaces::is_no_hook(name)).cloned().collect(),
            other_exports: interfaces.other_exports,
            missing: requested.as_ref().map_or(Vec::new(), |requested| requested.missing(grants)),
            requested,
        })
    }

    fn linker(&self) -> Result<&wasmtime::component::Linker<host::State>, Error> {
        if let Some(linker) = self.shared.linker.get() {
            return Ok(linker);
        }
        let linker = host::linker(&self.shared.engine)?;
        Ok(self.shared.linker.get_or_init(|| linker))
    }

    fn ticker(&self) -> &runtime::Ticker {
        &self.shared.ticker
    }

    /// A chain: these components in order, then the default policy. HTTP of the components goes over `transport`.
    pub fn chain(&self, components: &[Arc<Component>], transport: &Transport) -> Chain {
        Chain::new(self, components, transport)
    }

    fn policy<A: functions::Ask>(&self, params: A::Params) -> Result<A::Answer, Failure> {
        self.shared.policy.ask::<A>(&self.shared.ticker, params)
    }
}

fn check_pin(name: &str, file: &ComponentFile<'_>, pinned: &str) -> Result<(), Error> {
    let found = file.sha256();
    if found == pinned {
        return Ok(());
    }
    Err(Error::Component(format!(
        "component `{name}`: {} is not the file that was attached: its SHA-256 is {found}, not {pinned}",
        file.path().display()
    )))
}

/// SHA-256 of a component's bytes in hexadecimal: what people know it by.
pub(crate) fn sha256(wasm: &[u8]) -> String {
    cache::hex(&Sha256::digest(wasm))
}

/// Reads a component's file, within its limits. The error says what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read(path)
}

/// How many compiled components a cache directory holds ([`HooksSettings::cache_dir`]), and how many bytes they take.
pub fn cache_usage(directory: &Path) -> (usize, u64) {
    cache::usage(directory)
}

/// A task in the form that hooks take, converted once per attempt.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct HookTask {
    /// Bytes that an answer may repeat of it.
    weight: usize,
    /// Names of the credentials that it has handles of.
    handles: Arc<[String]>,
    wit: Arc<bindings::haul::transfer::types::Task>,
}

impl HookTask {
    /// The task's URL.
    pub fn url(&self) -> &str {
        &self.wit.url
    }
}

/// A response's head in the form that hooks take, converted once per answer. Cheap to clone.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct HookHead {
    wit: Arc<bindings::haul::transfer::types::Response>,
}

impl From<Head> for HookHead {
    fn from(head: Head) -> Self {
        Self { wit: Arc::new(convert::response(head)) }
    }
}

impl HookHead {
    /// The status, 100 to 599.
    pub fn status(&self) -> u16 {
        self.wit.status
    }

    /// Headers, names in lower case.
    pub fn headers(&self) -> &Pairs {
        &self.wit.headers
    }

    /// First value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.wit.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How a request was made, for `classify`.
#[derive(Clone, Debug, Default)]
#[doc(hidden)]
pub struct Asked {
    /// First byte asked for, to join stored bytes.
    pub range_from: Option<u64>,
    /// Last byte asked for, included, where the range has one.
    pub range_to: Option<u64>,
    /// Length of the whole resource according to the resume record.
    pub total_bytes: Option<u64>,
    /// As sent in If-Range.
    pub if_range: Option<String>,
    /// The task's own `Range` header.
    pub own_range: bool,
    /// Times asked again from zero in this attempt.
    pub restarts: u32,
}

/// A response's head as hooks see it.
#[derive(Clone, Debug, Default)]
#[doc(hidden)]
pub struct Head {
    /// 100 to 599.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Pairs,
    /// URL that answered.
    pub url: String,
    /// Body, where a hook gets one.
    pub body: Vec<u8>,
    /// The component that has made it up, and where; `None`: a server gave it.
    pub by: Option<String>,
}

/// Verdict of `classify`. `bad-range` and the like are notes: `restarted-changed`, ...
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum Classified {
    Success,
    Continues(u64),
    AlreadyComplete,
    UseFromZero(String),
    AskFromZero(String),
    /// The component that says so, and where; `None`: the default policy does.
    NotFound(Option<String>),
    Failed(Failure),
}

/// Verdict of `resume`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum ResumeVerdict {
    GoOn { from_bytes: u64, if_range: String },
    NothingMissing,
    StartAfresh(String),
    Refuse(String),
}

/// Verdict of `parts`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum PartsVerdict {
    /// These parts, in order, without gaps or overlaps.
    Divide(Vec<Part>),
    /// One stream, for this reason.
    OneStream(String),
}

/// A part of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Part {
    /// Index into the task's URL (0) and mirrors (1 and on).
    pub place: usize,
    /// First byte.
    pub first_byte: u64,
    /// Last byte, included.
    pub last_byte: u64,
}

/// Situation of `authorize`.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum Situation {
    BeforeRequest,
    RefreshWanted(AuthReason),
    RefreshAnswered(Head),
    AsItIs,
}

/// Why a refresh is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[doc(hidden)]
pub enum AuthReason {
    Expiring,
    Unauthorized,
    ProxyUnauthorized,
}

/// Verdict of `authorize`.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum AuthorizeVerdict {
    Ready { headers: Pairs, query: Pairs },
    RefreshFirst,
    Send { method: String, url: String, headers: Pairs, body: Vec<u8> },
    Refreshed(Auth),
    Impossible(String),
}

/// What `retry` is told.
#[derive(Clone, Copy, Debug, Default)]
#[doc(hidden)]
pub struct Attempt {
    /// Attempts made so far, at least 1.
    pub number: u32,
    /// Attempts left.
    pub retries_remaining: u32,
    /// Time since the first of these attempts began, waits included.
    pub elapsed_ms: u64,
    /// Bytes that the next attempt can go on from.
    pub bytes_done: u64,
    /// Bytes that this attempt brought.
    pub bytes_gained: u64,
    /// Random bits, each as likely as the other.
    pub jitter_seed: u64,
    /// Spread the waits.
    pub jitter: bool,
    /// One fresh start is left for a failure that deserves it.
    pub fresh_start_left: bool,
}

/// Verdict of `retry`. Waits are at most 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum RetryVerdict {
    AfterMs(u64),
    AfreshAfterMs(u64),
    GiveUp,
}

/// Verdict of `on-auth`.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // their meaning is in the WIT
#[doc(hidden)]
pub enum OnAuthVerdict {
    Refreshed(Auth),
    Unchanged,
    Failed(String),
}

/// Changes by `on-task-start`: checked (URL absolute http(s), headers legal).
#[derive(Clone, Debug, Default, PartialEq)]
#[doc(hidden)]
pub struct StartChanges {
    /// Another URL.
    pub url: Option<String>,
    /// Headers that replace those of the same name.
    pub headers: Pairs,
    /// Headers to leave out.
    pub remove_headers: Vec<String>,
    /// Which addresses the other URL may lead to.
    pub(crate) guard: Guard,
}
