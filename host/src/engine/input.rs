//! What can happen to an engine: the one enum of the loop's inputs, and what they carry. Nothing is decided here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::api::Action;
use crate::engine::machine::ready_of;
use crate::engine::publisher::Outcome;
use crate::error::Error;
use crate::event::{Details, StatusUpdate};
use crate::limits::{Limits, Network};
use crate::scheduler::{Ready, Why};
use crate::store::{Selection, TaskKey};
use crate::task::{Record, Status, Task};
use crate::transfer::{End, Job};

/// Everything that can happen to an engine.
pub(crate) enum Input {
    /// Tasks were added, or are ready again; `work`: the asker wants them worked.
    Added { asker: u64, tasks: Vec<Waking>, work: bool },
    /// An asker wants every task worked.
    WorkAll { asker: u64 },
    /// An asker has left.
    Gone { asker: u64 },
    /// Running tasks among these are paused or cancelled; answers what to wait for.
    Stop { action: Action, keys: Stopping, details: Arc<Details>, reply: oneshot::Sender<Vec<Settling>> },
    /// These tasks were paused or cancelled in the store. One that was started meanwhile stops.
    Left { action: Action, keys: Vec<TaskKey> },
    /// An attempt of a request that nothing is recorded of.
    Send { job: Box<Job>, reply: oneshot::Sender<End> },
    /// A task waits for a component: others may have its slot meanwhile.
    Lent { key: TaskKey },
    /// It wants to go on; answered when there is a slot.
    Back { key: TaskKey, reply: oneshot::Sender<()> },
    /// The server of this host wants no requests for so long.
    Silence { host: String, wait: Duration },
    /// Somebody wants requests to these hosts now.
    EndSilence { hosts: Vec<String> },
    /// An attempt has ended.
    Ended { key: TaskKey, end: End },
    /// The publisher is done with a download.
    Published { key: TaskKey, outcome: Outcome },
    /// What an ended attempt led to is committed; `again`: when the task is ready again.
    Settled { key: TaskKey, status: Status, again: Option<u64> },
    /// The clock was set back, and these tasks wait for their retries anew.
    WaitAnew { keys: Vec<TaskKey> },
    /// What became of a task cannot be written.
    Unwritten { key: TaskKey, error: Error },
    /// A final update is committed that components want to hear of.
    Final { update: Box<StatusUpdate> },
    /// Components have heard of it.
    Told { seq: u64 },
    /// A server was asked to delete the upload of a cancelled task; `is_written`: that is known for good.
    Forsaken { key: TaskKey, is_written: bool },
    /// Closing waits no longer for that.
    LeaveForsaken,
    /// Somebody waits until components have heard of all ends up to now.
    WhenTold { reply: oneshot::Sender<()> },
    /// These limits count from now on.
    Limits { limits: Box<Limits> },
    /// What NetworkManager says.
    Network { found: Option<Network> },
    /// It is time to ask NetworkManager again.
    AskNetwork,
    /// A task's own speed limit is another one.
    TaskRate { key: TaskKey, limit_rate: Option<u64> },
    /// Why each of these ready tasks waits; `None`: nobody works the queue.
    Why { tasks: Vec<Ready>, reply: oneshot::Sender<Vec<Option<Waits>>> },
    /// Which tasks are running and how many are still to be worked.
    Working { reply: oneshot::Sender<Working> },
    /// Stop everything and end.
    Close { reply: oneshot::Sender<()> },
    /// Closing has taken long enough.
    CloseNow,
}

impl Input {
    /// Whether it only tells what attempts have come to: nobody waits for an answer, and it may be taken with others.
    pub(crate) fn can_wait(&self) -> bool {
        use Input::{Ended, Final, Published, Settled, Told};
        matches!(self, Ended { .. } | Published { .. } | Settled { .. } | Final { .. } | Told { .. })
    }
}

/// Comes when a task that was asked to stop has settled: its key, id and status then.
pub(crate) type Settling = oneshot::Receiver<(TaskKey, String, Status)>;

/// Why a ready task does not run.
#[derive(Debug)]
pub(crate) enum Waits {
    /// The queue.
    Queue(Why),
    /// There is no network.
    Offline,
}

/// Which tasks are stopped.
#[derive(Clone, Debug)]
pub(crate) enum Stopping {
    /// These.
    Keys(Vec<TaskKey>),
    /// Those of a selection.
    Selected(Selection),
}

/// What an engine is busy with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Working {
    /// Every task of the home is worked.
    pub(crate) all: bool,
    /// Tasks asked for that are not final or paused.
    pub(crate) asked: u64,
    /// Tasks that have started and are not settled.
    pub(crate) busy: u64,
}

/// A task that may start, now or later.
#[derive(Clone, Debug)]
pub(crate) struct Waking {
    pub(crate) ready: Ready,
    /// Milliseconds since 1970; `None`: now.
    pub(crate) at: Option<u64>,
    /// When it fails if it has not begun by then, in milliseconds since 1970.
    pub(crate) not_after: Option<u64>,
    /// What the store has of it, where that is known already.
    pub(crate) record: Option<Box<Record>>,
}

impl Waking {
    pub(crate) fn of(key: TaskKey, task: &Task, at: Option<u64>) -> Self {
        Self { ready: ready_of(key, task), at, not_after: task.not_after, record: None }
    }

    /// No task that is known: the scheduler asks the store for the tasks of a host and group.
    pub(crate) fn any_of(host: String, group: String, at: Option<u64>) -> Self {
        let ready = Ready { position: (0, 0, 0), host, group, is_upload: false };
        Self { ready, at, not_after: None, record: None }
    }
}
