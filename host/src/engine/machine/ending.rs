//! What follows from how an attempt ended: a change of the store, and, once that is committed, what becomes of the task.

use std::sync::Arc;

use super::{FORGET_AFTER, Machine, Running, ready_of};
use crate::clock;
use crate::engine::input::Input;
use crate::engine::lanes::Work;
use crate::engine::publisher::Outcome;
use crate::engine::recovery::answer_of;
use crate::engine::sweep_spool;
use crate::error::{Error, Failure, FailureDetail, FailureKind};
use crate::event::{Details, IN_DOUBT};
use crate::hooks::RetryVerdict;
use crate::sandbox::in_the_way;
use crate::store::{Change, Pending, TaskKey};
use crate::task::{OnConflict, ResumeRecord, Status};
use crate::transfer::{End, Failed, Finished, Reason};

/// How long a task waits before it looks for room on a full disk again.
const DISK_PAUSE_MS: u64 = 10_000;
/// How long it waits for others to close files.
const FILES_PAUSE_MS: u64 = 1_000;

impl Machine {
    pub(super) fn ended(&mut self, key: TaskKey, end: End) {
        let at = clock::unix_ms();
        self.lent.remove(&key);
        if let (Some(running), Some(bytes_done)) = (self.running.get(&key), end.bytes_done()) {
            self.shared.hub.bytes_done(&running.task.task_id, bytes_done);
        }
        match end {
            End::Bytes(finished) => {
                self.scheduler.ended(key);
                if let Some(running) = self.running.get_mut(&key) {
                    self.publishing += usize::from(!running.publishing);
                    running.publishing = true;
                }
                let _ = self.publisher.send(*finished);
            }
            End::Final { status, details, bytes_done } => {
                let (details, keep_resume) = (details.into(), status == Status::NotFound && bytes_done > 0);
                let change = Change::Finish { key, status, details, bytes_done, keep_resume, at };
                self.settle(key, change, status, None);
            }
            End::Stopped { reason, bytes_done, is_out } => self.stopped(key, reason, bytes_done, (is_out, at)),
            End::Failed(failed) => self.failed(key, *failed, at),
        }
    }

    /// `is_out`: the task's request is sent once, and may be out.
    fn stopped(&mut self, key: TaskKey, reason: Reason, bytes_done: u64, (is_out, at): (bool, u64)) {
        match reason {
            Reason::Cancel => {
                let mut details = self.running.get(&key).map(why_canceled).unwrap_or_default();
                if is_out {
                    Arc::make_mut(&mut details).notes.push(IN_DOUBT.into());
                }
                let status = Status::Canceled;
                let change = Change::Finish { key, status, details, bytes_done, keep_resume: false, at };
                self.settle(key, change, status, None);
            }
            Reason::Pause => {
                let by = self.running.get(&key).and_then(|running| running.stop.by()).map(str::to_owned);
                self.settle(key, Change::Pause { key, bytes_done, by, at }, Status::Paused, None);
            }
            Reason::Later => {
                let change =
                    Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: Some(bytes_done), at };
                self.settle(key, change, Status::Enqueued, Some(0));
            }
        }
    }

    fn failed(&mut self, key: TaskKey, failed: Failed, at: u64) {
        let Failed { failure, verdict, wanted, changes, mut details, bytes_done, is_over } = failed;
        if let Some(changes) = changes {
            // Before what follows: whoever goes on, goes on with them.
            self.shared.store.write_later(Change::Changes { key, changes: Some(Box::new(changes)) });
        }
        let remaining = self.running.get(&key).map_or(0, |running| running.retries_remaining);
        // What the task can do nothing about, and what will pass.
        let pause = match failure.detail {
            _ if is_over => None,
            FailureDetail::DiskFull if self.wait_for_disk => Some(DISK_PAUSE_MS),
            FailureDetail::OpenFiles if self.wait_for_disk || self.running.len() > 1 => Some(FILES_PAUSE_MS),
            _ => None,
        };
        let free = failure.kind == FailureKind::Checksum || pause.is_some();
        let retries_remaining = if free && !wanted { remaining } else { (remaining - 1).max(0) };
        let wait = match verdict {
            _ if pause.is_some() => pause,
            RetryVerdict::AfterMs(ms) | RetryVerdict::AfreshAfterMs(ms) => Some(ms),
            RetryVerdict::GiveUp => None,
        };
        let ready_at = wait.map(|ms| at + ms).filter(|ready_at| !self.is_too_late(key, *ready_at, &mut details));
        details.retry_at = ready_at;
        let details: Arc<Details> = details.into();
        match ready_at {
            Some(ready_at) => {
                let change = Change::Wait { key, ready_at, retries_remaining, details, bytes_done, at };
                self.settle(key, change, Status::WaitingToRetry, Some(ready_at));
            }
            None => {
                let status = Status::Failed;
                let keep_resume = bytes_done > 0 || details.file_path.is_some(); // which is empty, and has its name
                let change = Change::Finish { key, status, details, bytes_done, keep_resume, at };
                self.settle(key, change, status, None);
            }
        }
    }

    /// Whether an attempt at that time would come after the task's `notAfter`. What it failed with is told with that.
    fn is_too_late(&self, key: TaskKey, at: u64, details: &mut Details) -> bool {
        let not_after = self.running.get(&key).and_then(|running| running.task.not_after);
        let too_late = not_after.is_some_and(|not_after| not_after <= at);
        if let Some(exception) = details.exception.as_mut().filter(|_| too_late) {
            exception.description.push_str("; its notAfter comes before another attempt could begin");
        }
        too_late
    }

    pub(super) fn published(&mut self, key: TaskKey, outcome: Outcome) {
        let at = clock::unix_ms();
        match outcome {
            Outcome::Complete => self.settled(key, Status::Complete, None),
            Outcome::Unwritten(error) => self.unwritten(key, error),
            Outcome::Overtaken(finished, status) => {
                finished.directory.remove_part(&finished.part_name);
                self.settled(key, status.unwrap_or(Status::Canceled), None);
            }
            Outcome::Failed(finished, failure) => self.not_published(key, *finished, failure, at),
            Outcome::Taken(finished) => match finished.task.on_conflict {
                Some(OnConflict::Skip) => match finished.directory.obstacle(&finished.final_name) {
                    // What is there is no file that could be kept.
                    Some(obstacle) => {
                        let failure = in_the_way(&finished.final_name, obstacle);
                        self.not_published(key, *finished, failure, at);
                    }
                    None => {
                        let details = crate::transfer::skipped(&finished.directory, &finished.final_name);
                        self.without_file(key, *finished, Status::Complete, details, at);
                    }
                },
                Some(OnConflict::Fail) => {
                    let exception = Some(crate::transfer::exists_already(&finished.final_name));
                    self.without_file(key, *finished, Status::Failed, Details { exception, ..Details::default() }, at);
                }
                _ => self.lane(Work::Rename(finished)),
            },
        }
    }

    /// What is left of the file stays, and is gone on with like that of any failed attempt.
    fn not_published(&mut self, key: TaskKey, finished: Finished, failure: Failure, at: u64) {
        let bytes_done = finished.size;
        if bytes_done > 0 || finished.details.file_path.is_some() {
            let answer = answer_of(&finished.details);
            let record = Box::new(ResumeRecord { answer, ..finished.resume });
            self.shared.store.write_later(Change::Resumable { key, record });
        } else {
            self.shared.store.write_later(Change::ForgetResume { key });
            finished.directory.remove_part(&finished.part_name);
        }
        self.shared.hub.bytes_done(&finished.task.task_id, bytes_done);
        let mut details = Box::new(Arc::unwrap_or_clone(finished.details));
        details.exception = Some(failure.clone());
        let verdict = RetryVerdict::GiveUp;
        self.failed(
            key,
            Failed { failure, verdict, wanted: false, changes: None, details, bytes_done, is_over: false },
            at,
        );
    }

    /// A finished download ends without its file, because the name is taken and that is what the task says.
    fn without_file(&mut self, key: TaskKey, finished: Finished, status: Status, details: Details, at: u64) {
        finished.directory.remove_part(&finished.part_name);
        let details = Arc::new(details);
        let change = Change::Finish { key, status, details, bytes_done: 0, keep_resume: false, at };
        self.settle(key, change, status, None);
    }

    /// Writes what an ended attempt leads to, and hears of its commit as [`Input::Settled`].
    fn settle(&mut self, key: TaskKey, change: Change, status: Status, again: Option<u64>) {
        self.scheduler.ended(key);
        let pending = self.shared.store.write(change);
        self.after(key, pending, Input::Settled { key, status, again });
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "owned by the loop: it ends with the commit, and comes back as an input"
    )]
    pub(super) fn after(&self, key: TaskKey, pending: Pending, input: Input) {
        let sender = self.input.clone();
        tokio::task::spawn_local(async move {
            let written = pending.await;
            let _ = sender.send(written.map_or_else(|error| Input::Unwritten { key, error }, |_| input));
        });
    }

    /// For the store the task goes on running, and the next engine finds it so: nothing more is done about it. Nothing else can
    /// be written either then, so every transfer stops and keeps its bytes, and whoever asks is told why.
    pub(super) fn unwritten(&mut self, key: TaskKey, error: Error) {
        self.scheduler.settled(key);
        if let Some(running) = self.running.remove(&key) {
            tracing::error!(
                "{}: how it ended cannot be recorded; the next engine finds that out",
                running.task.task_id
            );
            self.publishing -= usize::from(running.publishing);
        }
        let _ = self.shared.broken.set(error); // the first one counts
        self.asks.clear();
        self.running.values().for_each(|running| running.stop.ask(Reason::Later));
        self.shared.hub.close();
    }

    pub(super) fn settled(&mut self, key: TaskKey, status: Status, again: Option<u64>) {
        self.scheduler.settled(key);
        self.overdue.remove(&key);
        let Some(running) = self.running.remove(&key) else { return };
        self.publishing -= usize::from(running.publishing);
        for waiter in running.waiters {
            let _ = waiter.send((key, running.task.task_id.clone(), status));
        }
        if running.spooled && matches!(status, Status::Complete | Status::Canceled) {
            drop(sweep_spool(&self.shared));
        }
        self.may_forsake |= status == Status::Canceled;
        if status.is_final() {
            self.forget_within(FORGET_AFTER);
        }
        if status.is_final() || status == Status::Paused {
            for asks in self.asks.values_mut() {
                asks.keys.remove(&key);
            }
        }
        let Some(again) = again else { return };
        self.expires_at(key, running.task.not_after);
        if self.works_all() {
            if again == 0 {
                self.scheduler.may_have(&running.host, &running.task.group);
            } else {
                self.due = Some(self.due.map_or(again, |due| due.min(again)));
            }
        } else if self.is_asked(key) {
            if again == 0 {
                self.scheduler.add(&ready_of(key, &running.task));
            } else {
                self.sleeping.insert((again, key));
            }
        }
    }
}

/// What the final update of a cancelled task says: who cancelled it, or the component that did.
fn why_canceled(running: &Running) -> Arc<Details> {
    match running.stop.by() {
        Some(by) if *running.canceled == Details::default() => {
            let text = format!("the task was cancelled: {by}");
            let exception = Some(Failure::new(FailureKind::Canceled, text));
            Arc::new(Details { exception, ..Details::default() })
        }
        _ => Arc::clone(&running.canceled),
    }
}
