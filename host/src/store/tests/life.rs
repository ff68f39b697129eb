//! The life of one task: each change where it fits and where it does not.

use super::*;

fn refused(status: Status) -> Applied {
    Applied::Refused(Some(status))
}

/// A task in each status, made the way the engine makes them.
fn in_status(home: &Home, status: Status) -> TaskKey {
    let key = home.add(task(status.name()));
    match status {
        Status::Enqueued => {}
        Status::Running => drop(home.start(key)),
        Status::WaitingToRetry => {
            home.start(key);
            home.wait(key, 100);
        }
        Status::Paused => drop(home.pause(key)),
        Status::Complete | Status::NotFound | Status::Failed | Status::Canceled => {
            home.start(key);
            home.finish(key, status);
        }
    }
    assert_eq!(home.status(key), Some(status));
    key
}

/// In which statuses a change is done; in all others it must be refused, leave the record alone and tell nothing.
fn fits(change: impl Fn(TaskKey) -> Change, where_it_fits: &[Status]) {
    for status in Status::ALL {
        let home = home();
        let key = in_status(&home, status);
        let before = home.record(key);
        let seq = home.store.last_seq().unwrap();
        let applied = home.write(change(key));
        if where_it_fits.contains(&status) {
            assert_eq!(applied, Applied::Done, "{status:?}");
        } else {
            assert_eq!(applied, refused(status));
            assert_eq!(home.record(key), before);
            assert_eq!(home.store.last_seq().unwrap(), seq);
        }
        assert_eq!(home.write(change(999)), Applied::Refused(None));
    }
}

fn finish(key: TaskKey, status: Status) -> Change {
    Change::Finish { key, status, details: std::sync::Arc::default(), bytes_done: 0, keep_resume: false, at: 9 }
}

#[test]
fn only_an_enqueued_task_starts() {
    fits(|key| Change::Start { key, at: 9 }, &[Status::Enqueued]);
}

#[test]
fn only_a_running_task_waits_resumes_and_publishes() {
    let running = [Status::Running];
    fits(resumable, &running);
    let wait = |key| Change::Wait {
        key,
        ready_at: 9,
        retries_remaining: 0,
        details: std::sync::Arc::default(),
        bytes_done: 0,
        at: 9,
    };
    fits(wait, &running);
    let publish = |key| Change::Publishing { key, publish: publish_row() };
    fits(publish, &running);
}

#[test]
fn a_task_ends_once() {
    let open = [Status::Enqueued, Status::Running, Status::WaitingToRetry, Status::Paused];
    fits(|key| finish(key, Status::Canceled), &open);
    fits(|key| finish(key, Status::Failed), &open);
    fits(|key| finish(key, Status::Complete), &open[..3]);
    fits(|key| finish(key, Status::NotFound), &open[..3]);
    fits(|key| finish(key, Status::Paused), &[]);
}

#[test]
fn notes_of_a_running_task_stay_until_it_waits_or_is_over() {
    let home = home();
    let key = in_status(&home, Status::Running);
    let notes = || home.record(key).map(|record| record.notes).unwrap_or_default();
    let change = |key| Change::Note { key, notes: vec!["a".into()] };
    fits(change, &[Status::Running]);
    home.write(change(key));
    assert_eq!(notes(), ["a"]);
    home.write(Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: None, at: 9 });
    assert_eq!(notes(), ["a"], "as after a kill");
    home.write(finish(key, Status::Failed));
    assert_eq!(notes(), Vec::<String>::new());
}

#[test]
fn what_is_paused_or_final_is_not_paused() {
    let change = |key| Change::Pause { key, bytes_done: 0, by: None, at: 9 };
    let open = [Status::Enqueued, Status::Running, Status::WaitingToRetry];
    fits(change, &open);
}

#[test]
fn what_is_not_enqueued_is_queued_again() {
    let others: Vec<Status> = Status::ALL[1..].to_vec();
    let change = |key| Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: None, at: 9 };
    fits(change, &others);
}

#[test]
fn a_download_leaves_its_trail() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    let durable_bytes = 600;
    let durable = Change::Durable { key, durable_bytes };
    assert_eq!(home.write(durable), Applied::Done);
    let record = home.record(key).unwrap();
    assert_eq!((record.attempt, record.bytes_done), (1, 600));
    assert_eq!(record.expected_file_size, Some(1000));
    let expected = ResumeRecord { durable_bytes: 600, ..resume_record() };
    assert_eq!(record.resume, Some(expected));

    home.write(Change::Publishing { key, publish: publish_row() });
    assert_eq!(home.status(key), Some(Status::Running));
    let unfinished = home.store.unfinished().unwrap();
    assert_eq!(unfinished[0].publish, Some(publish_row()));
    assert_eq!(home.pause(key), refused(Status::Running));

    let details = Details {
        file_path: Some("/d/a".into()),
        response_status_code: Some(200),
        notes: vec!["resumed".into()],
        ..Details::default()
    };
    home.write(Change::Finish {
        key,
        status: Status::Complete,
        details: std::sync::Arc::new(details.clone()),
        bytes_done: 1000,
        keep_resume: false,
        at: 5,
    });
    let record = home.record(key).unwrap();
    assert_eq!(record.resume, None);
    assert_eq!(record.bytes_done, 1000);
    assert_eq!(record.expected_file_size, Some(1000));
    assert_eq!(record.file_path, Some("/d/a".into()));
    assert_eq!(record.response_status_code, Some(200));
    assert_eq!(record.notes, ["resumed"]);
    assert!(home.store.unfinished().unwrap().is_empty());
    let trail = [Status::Enqueued, Status::Running, Status::Complete];
    assert_eq!(home.told_of("a"), trail);
    let last = home.events().pop().unwrap();
    assert_eq!(last.details, Some(std::sync::Arc::new(details)));
}

#[test]
fn a_failed_download_may_keep_its_bytes() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    home.write(Change::Finish {
        key,
        status: Status::Failed,
        details: std::sync::Arc::new(broken()),
        bytes_done: 10,
        keep_resume: true,
        at: 5,
    });
    let record = home.record(key).unwrap();
    assert_eq!(record.resume, Some(resume_record()));
    assert_eq!(record.exception, broken().exception);
}

#[test]
fn waiting_keeps_the_failure_and_the_bytes() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    home.wait(key, 100);
    let record = home.record(key).unwrap();
    assert_eq!(record.status, Status::WaitingToRetry);
    assert_eq!((record.ready_at, record.retries_remaining), (Some(100), 2));
    assert_eq!(record.task.retries_remaining, 2);
    assert_eq!(record.exception, broken().exception);
    assert_eq!(record.resume, Some(resume_record()));
    assert_eq!(home.store.next_ready_at().unwrap(), Some(100));
    assert_eq!(home.events()[2].details, Some(std::sync::Arc::new(broken())));
}

#[test]
fn a_final_task_queued_again_begins_a_new_run() {
    let home = home();
    let key = home.add(task("a"));
    for _ in 0..2 {
        home.start(key);
        assert_eq!(home.finish(key, Status::Failed), Applied::Done);
        assert_eq!(home.finish(key, Status::Complete), refused(Status::Failed));
        home.write(Change::Requeue { key, ready_at: Some(50), retries_remaining: Some(4), bytes_done: None, at: 6 });
        let record = home.record(key).unwrap();
        assert_eq!((record.attempt, record.bytes_done), (0, 0));
        assert_eq!((record.retries_remaining, record.ready_at), (4, Some(50)));
        assert_eq!(record.exception, None);
    }
    let finals = home.events();
    let finals = finals.iter().filter(|event| event.status.is_final());
    assert_eq!(finals.count(), 2);
}

#[test]
fn the_first_start_of_a_run_is_known_until_the_next_run() {
    let home = home();
    let key = home.add(task("a"));
    let first = || home.store.first_start(key).unwrap();
    let start = |at| home.write(Change::Start { key, at });
    assert_eq!(first(), None, "it was only added");
    start(20);
    home.requeue(key);
    start(30);
    assert_eq!(first(), Some(20));
    home.finish(key, Status::Failed);
    home.requeue(key);
    assert_eq!(first(), None, "a run of its own");
    start(40);
    assert_eq!(first(), Some(40));
}

#[test]
fn a_time_that_has_come_is_no_reason_to_wait() {
    let home = home();
    let key = home.add(Task { not_before: Some(1), ..task("a") });
    assert_eq!(home.record(key).unwrap().ready_at, None);
    home.start(key);
    home.write(Change::Requeue { key, ready_at: Some(6), retries_remaining: None, bytes_done: None, at: 6 });
    assert_eq!(home.record(key).unwrap().ready_at, None);
}

#[test]
fn after_a_crash_the_durable_bytes_count() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    home.requeue(key);
    let record = home.record(key).unwrap();
    assert_eq!((record.bytes_done, record.attempt), (10, 1));
    assert_eq!(record.resume, Some(resume_record()));
}

#[test]
fn what_a_task_had_when_it_stopped_is_what_it_has_when_it_is_queued_again() {
    let home = home();
    let paused = home.add(task("a"));
    let failed = home.add(task("b"));
    for key in [paused, failed] {
        home.start(key);
        home.write(resumable(key)); // of which 10 are durable
    }
    home.write(Change::Pause { key: paused, bytes_done: 30, by: None, at: 5 });
    let details = std::sync::Arc::default();
    let status = Status::Failed;
    home.write(Change::Finish { key: failed, status, details, bytes_done: 30, keep_resume: true, at: 5 });

    for key in [paused, failed] {
        home.requeue(key);
        assert_eq!(home.record(key).unwrap().bytes_done, 30);
    }
}

#[test]
fn requeueing_what_was_publishing_forgets_the_rename() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(Change::Publishing { key, publish: publish_row() });
    home.requeue(key);
    home.start(key);
    assert_eq!(home.store.unfinished().unwrap()[0].publish, None);
    assert_eq!(home.pause(key), Applied::Done);
}

#[test]
fn forgetting_the_part_file_forgets_its_bytes() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    home.pause(key);
    assert_eq!(home.record(key).unwrap().bytes_done, 3);
    assert_eq!(home.write(Change::ForgetResume { key }), Applied::Done);
    let record = home.record(key).unwrap();
    assert_eq!((record.resume, record.bytes_done), (None, 0));
    let unknown = Change::ForgetResume { key: 99 };
    assert_eq!(home.write(unknown), Applied::Refused(None));
}

#[test]
fn bytes_of_a_task_that_does_not_run_are_refused() {
    let home = home();
    let key = home.add(task("a"));
    let durable = |durable_bytes| Change::Durable { key, durable_bytes };
    assert_eq!(home.write(durable(1)), refused(Status::Enqueued));
    home.start(key);
    assert_eq!(home.write(durable(1)), refused(Status::Running));
    home.write(resumable(key));
    home.pause(key);
    assert_eq!(home.write(durable(50)), refused(Status::Paused));
    let resume = home.record(key).unwrap().resume.unwrap();
    assert_eq!(resume.durable_bytes, 10);
}

#[test]
fn a_replaced_task_keeps_its_id_state_and_attempts_left() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.wait(key, 100);
    let changed =
        Task { task_id: "other".into(), url: "http://elsewhere.org/b".into(), retries_remaining: 9, ..task("a") };
    home.write(Change::Replace { key, task: Box::new(changed) });
    let record = home.record(key).unwrap();
    assert_eq!(record.task.task_id, "a");
    assert_eq!(record.task.url, "http://elsewhere.org/b");
    assert_eq!(record.status, Status::WaitingToRetry);
    assert_eq!(record.retries_remaining, 2);
    let unknown = Change::Replace { key: 99, task: Box::new(task("b")) };
    assert_eq!(home.write(unknown), Applied::Refused(None));
}
