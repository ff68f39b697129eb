//! What can be asked of an engine, in this process or over the control socket: one vocabulary for both.
//!
//! Every command of the command line is one or more of these requests. [`Session`] is the way in: it becomes the home's
//! engine, or joins the one that runs.

use serde_json::Value;

use crate::engine::{Settings, Work};
use crate::error::Result;
use crate::event::Update;
use crate::store::{Addition, IfExists, Selection};
use crate::task::Status;

/// A request to an engine.
#[derive(Clone, Debug)]
pub enum Request {
    /// Validates and stores tasks. With `continue_same`, an unfinished or failed task of the same URL, place, directory and
    /// given name (or id) is gone on with instead. With `work`, these tasks are also asked to be worked by this engine.
    /// Answer: [`Reply::Ids`].
    Add { tasks: Vec<Addition>, if_exists: IfExists, continue_same: bool, work: bool },
    /// Works these tasks (by id), or with `None` every task, for as long as the asking connection lives. Answer: `Done`.
    Work { ids: Option<Vec<String>> },
    /// Pauses, resumes, cancels or tries again. Ids may be unique prefixes. Answer: [`Reply::Changed`].
    Control { action: Action, select: Selection },
    /// Records. Answer: [`Reply::Records`], at most 1,000, and where to go on.
    List { status: Option<Status>, group: Option<String>, after: i64 },
    /// One record, by id or unique prefix, with why it waits. Answer: [`Reply::Records`].
    Show { id: String },
    /// Forgets final tasks. Answer: [`Reply::Count`].
    Remove { ids: Vec<String> },
    /// Forgets final tasks older than this many milliseconds. Answer: [`Reply::Count`].
    Clean { older_than_ms: u64 },
    /// Stored updates after `after`, at most 1,000. With a consumer's name, after its position. Answer: [`Reply::Events`].
    Events { after: Option<u64>, consumer: Option<String> },
    /// Moves a consumer forward. Answer: [`Reply::Count`] with its position.
    Ack { consumer: String, seq: u64 },
    /// Number of tasks per status that this engine still has to work (for `until idle`). Answer: [`Reply::Counts`].
    Counts,
    /// What `doctor` shows of a running engine: version, pid, limits, components. Answer: [`Reply::Info`].
    Info,
}

/// What [`Request::Control`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stop and keep the bytes.
    Pause,
    /// Go on with paused (or failed) tasks.
    Resume,
    /// End for good; the bytes are removed.
    Cancel,
    /// Try failed, not-found and canceled tasks again, and waiting ones at once.
    Retry,
}

/// An answer of an engine.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Done.
    Done,
    /// Ids in the order of the tasks given.
    Ids(Vec<String>),
    /// Ids of the tasks that changed, and for each task that could not be changed its id and why.
    Changed { changed: Vec<String>, refused: Vec<(String, String)> },
    /// Records as JSON (secrets masked), and the key to go on after when there are more.
    Records { records: Vec<Value>, more: Option<i64> },
    /// Updates as JSON (secrets masked), oldest first, and the last sequence number of the log.
    Events { events: Vec<Value>, last: u64 },
    /// A number.
    Count(u64),
    /// Tasks per status, indexed by [`Status`]; and how many this engine still works on.
    Counts { by_status: [u64; 8], working: u64 },
    /// JSON.
    Info(Value),
}

/// A way to an engine.
#[derive(Debug)]
pub enum Session {
    /// This process is the engine.
    Engine(crate::engine::Engine),
    /// Another process is.
    Joined(crate::control::Client),
}

impl Session {
    /// Becomes the engine of the home, with control socket, or joins the one that is. Waits up to 5 s for a holder that is
    /// just starting or ending. `work` says which tasks to start when this process becomes the engine.
    pub async fn open(_settings: Settings, _work: Work) -> Result<Self> {
        todo!()
    }
    /// Asks. On a joined session whose engine ends this is [`crate::Error::HomeLocked`]; open a new session then.
    pub async fn call(&self, _request: Request) -> Result<Reply> {
        todo!()
    }
    /// Updates from now on; the channel ends when the engine does.
    pub async fn watch(&self) -> Result<tokio::sync::mpsc::Receiver<Update>> {
        todo!()
    }
    /// Ends: an engine stops its transfers and keeps their bytes; a joined session just leaves.
    pub async fn close(self) {
        todo!()
    }
}
