//! Tests of the store: real SQLite in a temporary home. No time is asserted.

mod add;
mod events;
mod files;
mod keyvalue;
mod life;
mod model;
mod queue;
mod secrets;
mod sweep;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::error::{Failure, FailureKind};
use crate::task::AnswerHead;

/// A store in a home of its own, and what it told.
struct Home {
    store: Store,
    told: Arc<Mutex<Vec<StatusUpdate>>>,
    /// How often it told: once after each commit.
    tellings: Arc<AtomicUsize>,
    directory: tempfile::TempDir,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    open_in(directory)
}

fn open_in(directory: tempfile::TempDir) -> Home {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tellings = Arc::new(AtomicUsize::new(0));
    let (sink, counter) = (told.clone(), tellings.clone());
    let tell = Box::new(move |updates: Vec<Committed>| {
        counter.fetch_add(1, Ordering::Relaxed);
        sink.lock().unwrap().extend(updates.into_iter().map(|committed| committed.update));
    });
    let store = Store::open(directory.path(), tell).unwrap();
    Home { store, told, tellings, directory }
}

impl Home {
    fn write(&self, change: Change) -> Applied {
        self.store.write(change).wait().unwrap()
    }

    /// Adds a task and gives its key.
    fn add(&self, task: Task) -> TaskKey {
        let tasks = vec![NewTask { paused: false, resume: None, task: std::sync::Arc::new(task), place: None }];
        let if_exists = IfExists::Reject;
        let change = Change::Add { tasks, if_exists, asked: false, at: 1 };
        match self.write(change) {
            Applied::Added(added) => added[0].0,
            other => panic!("{other:?}"),
        }
    }

    fn add_many(&self, tasks: Vec<Task>) -> Vec<TaskKey> {
        let tasks = tasks
            .into_iter()
            .map(|task| NewTask { paused: false, resume: None, task: std::sync::Arc::new(task), place: None })
            .collect();
        let if_exists = IfExists::Reject;
        let change = Change::Add { tasks, if_exists, asked: false, at: 1 };
        match self.write(change) {
            Applied::Added(added) => added.into_iter().map(|(key, _)| key).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn start(&self, key: TaskKey) -> Applied {
        self.write(Change::Start { key, at: 2 })
    }

    fn finish(&self, key: TaskKey, status: Status) -> Applied {
        self.write(Change::Finish { key, status, details: Arc::default(), bytes_done: 9, keep_resume: false, at: 5 })
    }

    fn pause(&self, key: TaskKey) -> Applied {
        self.write(Change::Pause { key, bytes_done: 3, by: None, at: 4 })
    }

    fn requeue(&self, key: TaskKey) -> Applied {
        self.write(Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: None, at: 6 })
    }

    fn wait(&self, key: TaskKey, ready_at: u64) -> Applied {
        self.write(Change::Wait {
            key,
            ready_at,
            retries_remaining: 2,
            details: Arc::new(broken()),
            bytes_done: 7,
            at: 3,
        })
    }

    fn status(&self, key: TaskKey) -> Option<Status> {
        self.record(key).map(|record| record.status)
    }

    fn record(&self, key: TaskKey) -> Option<Record> {
        self.store.record_of(key).unwrap()
    }

    /// The statuses told of a task so far.
    fn told_of(&self, task_id: &str) -> Vec<Status> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|update| update.task_id == task_id).map(|update| update.status).collect()
    }

    fn events(&self) -> Vec<StatusUpdate> {
        self.store.events_after(0, usize::MAX).unwrap()
    }

    /// Closes the store and opens it anew.
    fn reopen(self) -> Home {
        self.store.close();
        open_in(self.directory)
    }
}

fn task(id: &str) -> Task {
    Task { task_id: id.into(), creation_time: 1, ..Task::download(format!("http://example.org/{id}")) }
}

/// Details of an attempt whose connection broke.
fn broken() -> Details {
    Details {
        exception: Some(Failure::new(FailureKind::Connection, "it broke")),
        retry_at: Some(100),
        ..Details::default()
    }
}

fn resume_record() -> ResumeRecord {
    ResumeRecord {
        pieces: vec![crate::task::Piece { first_byte: 0, last_byte: 999, next_byte: 600, durable_to: 500 }],
        part_name: ".a.part".into(),
        part_dev: u64::MAX,
        part_ino: 7,
        part_born_ns: 8,
        durable_bytes: 10,
        doubtful_from: Some(9),
        boot_id: "boot".into(),
        total_bytes: Some(1000),
        etag: Some("\"e\"".into()),
        last_modified: None,
        date: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
        digest: Some("sha-256=ab".into()),
        ranges_known: true,
        encoded: false,
        first_byte: Some(70),
        final_name: "a".into(),
        final_url: "http://example.org/a".into(),
        answer: Some(AnswerHead { status: 200, headers: vec![("etag".into(), "\"e\"".into())] }),
    }
}

fn resumable(key: TaskKey) -> Change {
    Change::Resumable { key, record: Box::new(resume_record()) }
}

fn publish_row() -> Publish {
    Publish {
        part_name: ".a.part".into(),
        final_name: "a".into(),
        dev: u64::MAX,
        ino: 8,
        size: 1000,
        details: std::sync::Arc::new(Details {
            response_status_code: Some(200),
            file_size: Some(1000),
            ..Details::default()
        }),
    }
}
