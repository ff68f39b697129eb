//! What can be asked of an engine, in this process or over the control socket: one vocabulary for both.
//!
//! [`Session`] is the way in: it becomes the home's engine, or joins the one that runs. What programs mostly want is a method of
//! it; every command of the command line, and every such method, is one or more [`Request`]s.

mod answers;
mod methods;
mod queries;

use serde_json::Value;

use crate::control::{self, Entered, Home};
use crate::engine::{Settings, Work};
use crate::error::Result;
use crate::event::Update;
use crate::limits::LimitChanges;
use crate::store::{Addition, Filter, IfExists, Selection};
use crate::task::Pairs;

pub use self::answers::{Added, Changed};
pub use self::methods::AddOptions;
pub use crate::control::{Client, Host};

/// A request to an engine, for what [`Session`] has no method for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Validates and stores tasks. With `continue_same`, an unfinished, failed or not-found task of the same URL, place, directory and
    /// given name (or id) is gone on with instead; without a place only an id finds one. With `work`, these tasks are also asked to be worked by this engine.
    /// Answer: [`Reply::Added`].
    Add {
        /// The tasks, all or none of which are stored. Ids may be empty.
        tasks: Vec<Addition>,
        /// What happens when an id is taken.
        if_exists: IfExists,
        /// Go on with the same task where there is one.
        continue_same: bool,
        /// Work them too, for as long as the asking connection lives.
        work: bool,
        /// Of a list that is added in several requests, with `continue_same`: how many tasks of earlier requests each of
        /// these equals, so that as many stored ones are not meant. Empty: none.
        twins: Vec<usize>,
    },
    /// Judges tasks as `Add` would, and stores nothing. Answer: `Done`, or, `told`, [`Reply::Records`] of the tasks as they would
    /// be stored (JSON, secrets masked; without id where none was given); or [`crate::Error::Invalid`] with all problems, or
    /// [`crate::Error::Refused`] where a scope is cancelled or an id is taken that must not be.
    Check {
        /// The tasks. Ids may be empty.
        tasks: Vec<Addition>,
        /// What would happen when an id is taken.
        if_exists: IfExists,
        /// Whether to answer what would be stored.
        told: bool,
    },
    /// Sends a request at once, beside the queue and its limits, again as its `retries` allow, and keeps nothing of it: what
    /// background_downloader calls a Request. Answer: [`Reply::Answered`].
    Send {
        /// A task of type `Data` or `Request`, and where its `responseFile` goes. Its id and `notBefore` mean nothing.
        addition: Box<Addition>,
    },
    /// Asks by HEAD what a download of this task would bring. Answer: [`Reply::Probed`].
    Probe {
        /// The task, and where its file would go.
        addition: Box<Addition>,
        /// The name must be free there.
        unique: bool,
    },
    /// Works these tasks (by id), or with `None` every task, for as long as the asking connection lives. Answer: `Done`.
    Work {
        /// Exact ids; `None`: every task.
        ids: Option<Vec<String>>,
    },
    /// The ends of these tasks (added with `continue_same`) have been told: the same tasks would be new ones from now on.
    /// Answer: `Done`.
    Told {
        /// Exact ids; unknown ones are passed over.
        ids: Vec<String>,
    },
    /// Pauses, resumes, cancels or tries again. Ids may be unique prefixes. With `work`, tasks that are started again are also
    /// asked to be worked by this engine; otherwise only where it is at work. Answer: [`Reply::Changed`].
    Control {
        /// What to do.
        action: Action,
        /// With which tasks.
        select: Selection,
        /// Why, for those who read the tasks' final updates; told of cancels.
        reason: Option<String>,
        /// Have what is started again worked for this asker.
        work: bool,
    },
    /// Goes on with a download at another URL, such as a link that was signed anew: from the bytes it has where the server
    /// proves that they are of the same version, else from the first. Answer: [`Reply::Changed`].
    ResumeAt {
        /// Id or unique prefix of a task that is paused, failed or not found.
        id: String,
        /// In the place of its URL and its mirrors.
        url: String,
        /// In the place of its headers of the same names.
        headers: Pairs,
        /// As of [`Request::Control`].
        work: bool,
    },
    /// Records. Answer: [`Reply::Records`], at most 1,000, and where to go on.
    List {
        /// Which tasks.
        filter: Filter,
        /// Where to go on: 0, or `more` of the last answer.
        after: i64,
    },
    /// One record, by id or unique prefix, with why it waits. Answer: [`Reply::Records`].
    Show {
        /// Id or unique prefix.
        id: String,
    },
    /// All about a partial download, as a document: what iOS calls resume data. Answer: [`Reply::ResumeData`].
    ExportResume {
        /// Id or unique prefix of a task that neither runs nor is complete.
        id: String,
        /// Secrets are in it; otherwise they are left out, and named.
        with_secrets: bool,
    },
    /// Adds the task of such a document with the bytes it has, which are copied. Answer: [`Reply::Added`].
    ImportResume {
        /// What `ExportResume` gave.
        document: Value,
        /// Instead of the document's URL.
        url: Option<String>,
        /// Headers that the document has not, or in the place of its own: secrets were left out of it.
        headers: Pairs,
        /// Absolute directory that is granted for the file: the document grants none.
        place: Option<std::path::PathBuf>,
        /// Where the part file is now.
        part_file: Option<std::path::PathBuf>,
    },
    /// Forgets final tasks. Answer: [`Reply::Count`].
    Remove {
        /// Ids or unique prefixes.
        ids: Vec<String>,
    },
    /// Forgets final tasks older than this many milliseconds. Answer: [`Reply::Count`].
    Clean {
        /// Time since the task ended, in milliseconds; 0: all of them, whatever the clock says.
        older_than_ms: u64,
    },
    /// Stored updates after `after`, at most 1,000. With a consumer's name, after its position. Answer: [`Reply::Events`].
    Events {
        /// Sequence number of the last one known; `None`: from the beginning, or the consumer's position.
        after: Option<u64>,
        /// Name of a consumer; it becomes known by this.
        consumer: Option<String>,
    },
    /// Moves a consumer forward. Answer: [`Reply::Count`] with its position.
    Ack {
        /// Its name.
        consumer: String,
        /// The last sequence number that it is done with.
        seq: u64,
    },
    /// Who reads the log, and what waits for whom. Answer: [`Reply::Info`], a list of `{"consumer", "position", "waiting", "kept",
    /// "oldest"}`: the last event that it has acknowledged, how many come after it (100,000 at most), how many of these are there for
    /// consumers alone, since their tasks are forgotten, and when the first of them happened (or null).
    Consumers,
    /// Forgets a consumer: nothing is kept for it any more. Answer: `Done`. Errors: [`crate::Error::Refused`] where there is none of that
    /// name, or it is one of haul's own (`haul.…`).
    ForgetConsumer {
        /// Its name.
        name: String,
    },
    /// Number of tasks per status that this engine still has to work (for `until idle`). Answer: [`Reply::Counts`].
    Counts,
    /// Changes limits, now and for as long as the home lives, and answers those that count and those that are stored
    /// ([`Reply::Info`], `{"current": …, "stored": …}` in the form of [`LimitChanges`], and `sources`: of each that counts `flag`,
    /// `home`, `configuration` or `default`).
    Limits {
        /// What changes; nothing: only answers.
        changes: Box<LimitChanges>,
        /// Forget first what the home has stored, and the flags of the present engine: the configuration counts again.
        reset: bool,
    },
    /// Changes the speed limit of a task that is not final, now and for its later attempts. Answer: `Done`.
    LimitTask {
        /// Id or unique prefix.
        id: String,
        /// Bytes per second, at least 1; `None`: no limit of its own.
        limit_rate: Option<u64>,
    },
    /// Which scopes are cancelled. Answer: [`Reply::Info`], a list of `{"scope": …, "canceledAt": …, "reason": …}`.
    Scopes,
    /// Lets a cancelled scope, and those below it, take tasks again. Answer: `Done`.
    ReopenScope {
        /// Its name.
        name: String,
    },
    /// Attaches a component to the home: for good, and at once, in the place of one of the same name and group. Its file is
    /// copied into the home. Answer: [`Reply::Info`] as of `Attached`, with `change`: `attached`, `swapped`, `granted` (the
    /// same file, other grants) or `unchanged`. Errors: [`crate::Error::Component`] when it cannot be loaded; what was
    /// attached before stays then.
    Attach {
        /// The `.wasm` file, absolute.
        path: std::path::PathBuf,
        /// Its name in logs and later requests: 1 to 100 characters, no `/`, not one of the configuration.
        name: String,
        /// Only tasks of this group ask it; `None`: every task does.
        group: Option<String>,
        /// Hosts that its HTTP may reach.
        allow_hosts: Vec<String>,
        /// Settings that it can read.
        config: crate::task::Pairs,
    },
    /// Takes an attached component away, at once. Answer: [`Reply::Info`] with what it was.
    Detach {
        /// Its name.
        name: String,
        /// Its group.
        group: Option<String>,
    },
    /// Goes back to the version before, whose place this one takes; up to 8 versions are kept. Answer: as of `Attach`.
    RollBack {
        /// The component's name.
        name: String,
        /// Its group.
        group: Option<String>,
        /// The version: a unique beginning of its SHA-256; `None`: the last one.
        to: Option<String>,
    },
    /// What the home attaches. Answer: [`Reply::Info`], a list of `{"name", "group", "sha256", "path", "allowHosts", "config":
    /// [names], "previous": [SHA-256, ...], "attachedAt"}`.
    Attached,
    /// What components keep by `wasi:keyvalue`. Answer: [`Reply::Info`]: a list of `{"owner", "bytes", "pairs"}`, or of one owner
    /// `{"owner", "bytes", "pairs", "keys": [{"bucket", "key", "bytes"}, ...]}` with the first 1,000 keys. Values are secrets
    /// and stay where they are. Errors: [`crate::Error::Refused`] where nobody of that name keeps anything.
    State {
        /// To whom it was granted: `name:NAME`, `path:PATH`, `sha256:DIGEST`, or a bare name; `None`: everybody.
        owner: Option<String>,
    },
    /// Forgets what a component keeps. Answer: [`Reply::Info`], `{"owner", "forgotten": pairs}`. Errors: as of `State`.
    ForgetState {
        /// As of `State`.
        owner: String,
        /// Only of this bucket.
        bucket: Option<String>,
        /// Only this key.
        key: Option<String>,
    },
    /// What `doctor` shows of a running engine: version, pid, limits, tasks, and components with hooks that are left alone
    /// (`leftAlone`: `{"name", "group", "attachedBy", "hooks": {hook: seconds}}` each). Answer: [`Reply::Info`].
    Info,
}

/// What [`Request::Control`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop and keep the bytes.
    Pause,
    /// Go on with paused tasks, and with failed and not-found ones where they are selected by their ids.
    Resume,
    /// End for good; the bytes are removed.
    Cancel,
    /// Try failed and not-found tasks again, and waiting ones at once; canceled ones where they are selected by their ids.
    Retry,
}

/// An answer of an engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Done.
    Done,
    /// Tasks were added or found.
    Added {
        /// Ids in the order of the tasks given.
        ids: Vec<String>,
        /// Those that are complete already: an earlier command was killed before it could tell.
        ended: Vec<String>,
    },
    /// The final update of a request that is not recorded, as JSON (secrets masked); its `seq` is 0.
    Answered(Value),
    /// What is known of a file before it is downloaded.
    Probed {
        /// Status of the answer; `None`: there was none.
        status: Option<u16>,
        /// Its length in bytes, by the answer, the task's `Range`, or its `Known-Content-Length`.
        expected_file_size: Option<u64>,
        /// What it would be called.
        filename: String,
        /// Why there was no answer, in one sentence.
        why: Option<String>,
    },
    /// Tasks that changed, and for each task that could not be changed its id and why.
    Changed {
        /// How many changed.
        count: u64,
        /// Their ids, the first 10,000.
        changed: Vec<String>,
        /// Id and why.
        refused: Vec<(String, String)>,
    },
    /// Records as JSON (secrets masked), and the key to go on after when there are more.
    Records {
        /// At most 1,000, in order of addition.
        records: Vec<Value>,
        /// What to give as `after` next.
        more: Option<i64>,
    },
    /// Updates as JSON (secrets masked), oldest first, and the last sequence number of the log.
    Events {
        /// At most 1,000.
        events: Vec<Value>,
        /// The last sequence number given out.
        last: u64,
    },
    /// Resume data.
    ResumeData(Value),
    /// A number.
    Count(u64),
    /// Tasks per status, indexed by [`Status`](crate::Status); and how many this engine still works on.
    Counts {
        /// Number of tasks in each status.
        by_status: [u64; 8],
        /// How many of them this engine still works on.
        working: u64,
    },
    /// JSON.
    Info(Value),
}

/// A way to an engine.
#[derive(Debug)]
pub enum Session {
    /// This process is the engine.
    Engine(Host),
    /// Another process is.
    Joined(Client),
}

impl Session {
    /// Becomes the engine of the home, with control socket, or joins the one that is. Waits up to 5 s for a holder that is
    /// just starting or ending. `work` says which tasks to start when this process becomes the engine.
    ///
    /// Errors: [`Error::HomeLocked`](crate::Error::HomeLocked) naming the holder when it cannot be joined (another user,
    /// another protocol, no answer); [`Error::FileSystem`](crate::Error::FileSystem) and
    /// [`Error::Damaged`](crate::Error::Damaged) when the home cannot be used. A component that cannot be loaded is an error
    /// of the first request that adds or works tasks. With [`Work::Nothing`], a home on a full disk is opened
    /// all the same: requests that only read are answered, the others come to [`Error::FileSystem`](crate::Error::FileSystem)
    /// until there is room.
    pub async fn open(settings: Settings, work: Work) -> Result<Self> {
        let home = Home::create(&settings.home)?;
        match control::enter(&home).await? {
            Entered::Joined(client) => Ok(Session::Joined(client)),
            Entered::Ours(lock, listener) => {
                let host = Host::open(home, lock, listener, settings, work).await?;
                Ok(Session::Engine(host))
            }
        }
    }

    /// Asks anything. On a joined session whose engine ends this is [`crate::Error::HomeLocked`]; open a new session then.
    pub async fn call(&self, request: Request) -> Result<Reply> {
        match self {
            Session::Engine(host) => host.engine().call(request).await,
            Session::Joined(client) => client.call(request).await,
        }
    }

    /// Updates from now on; the channel ends when the engine does.
    pub async fn watch(&self) -> Result<tokio::sync::mpsc::Receiver<Update>> {
        match self {
            Session::Engine(host) => Ok(host.engine().watch()),
            Session::Joined(client) => client.watch().await,
        }
    }

    /// Changes of status that [`Session::watch`] does not tell, for their tasks send none, from now on.
    pub(crate) async fn watch_silent(&self) -> Result<tokio::sync::mpsc::Receiver<Update>> {
        match self {
            Session::Engine(host) => Ok(host.engine().watch_silent()),
            Session::Joined(client) => client.watch_silent().await,
        }
    }

    /// Waits until components have heard of all ends so far (`on-task-finished`), each for as long as its call may take: who
    /// has nothing more to do waits for that before [`Session::close`]. A joined session leaves it to its engine.
    pub async fn all_told(&self) {
        if let Session::Engine(host) = self {
            host.engine().all_told().await;
        }
    }

    /// Ends: an engine stops its transfers and keeps their bytes; a joined session just leaves, and what it alone asked to
    /// be worked is not worked any more. What components have not heard of an end within 5 s the next engine tells them.
    pub async fn close(self) {
        match self {
            Session::Engine(host) => host.close().await,
            Session::Joined(client) => drop(client),
        }
    }
}

#[cfg(test)]
mod tests;
