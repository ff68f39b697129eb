//! Changes of many tasks at once.

use super::*;

fn moved(applied: Applied) -> Vec<TaskKey> {
    match applied {
        Applied::Moved(keys) => keys,
        other => panic!("{other:?}"),
    }
}

/// One task in each status that is not final, one complete; in two groups. Keys 1 to 6.
fn assorted() -> Home {
    let home = home();
    for (id, group) in
        [("enqueued", "g"), ("running", "g"), ("waiting", "g"), ("paused", "h"), ("complete", "h"), ("fixed", "h")]
    {
        home.add(Task { group: group.into(), allow_pause: id != "fixed", ..task(id) });
    }
    for key in [2, 3, 4, 5] {
        home.start(key);
    }
    home.write(resumable(3));
    home.write(resumable(4));
    home.wait(3, 100);
    home.pause(4);
    home.finish(5, Status::Complete);
    home
}

fn cancel(select: Selection) -> Change {
    Change::CancelWaiting { select, details: Arc::default(), at: 7 }
}

#[test]
fn cancelling_spares_what_runs_and_what_is_final() {
    let home = assorted();
    let mut keys = moved(home.write(cancel(Selection::All)));
    keys.sort_unstable();
    assert_eq!(keys, [1, 3, 4, 6]);
    assert_eq!(home.status(2), Some(Status::Running));
    assert_eq!(home.status(5), Some(Status::Complete));
    let record = home.record(4).unwrap();
    assert_eq!((record.status, record.resume), (Status::Canceled, None));
    assert_eq!(home.told_of("waiting").last(), Some(&Status::Canceled));
    assert_eq!(home.store.next_ready_at().unwrap(), None);
    assert!(moved(home.write(cancel(Selection::All))).is_empty());
    assert_eq!(home.store.counts().unwrap(), [0, 1, 1, 0, 0, 4, 0, 0]);
}

#[test]
fn cancelling_goes_by_group_and_by_id() {
    let home = assorted();
    let group = Selection::Group("g".into());
    assert_eq!(moved(home.write(cancel(group))), [1, 3]);
    let ids = ["fixed", "running", "no", "fixed"].map(String::from);
    let ids = Selection::Ids(ids.to_vec());
    assert_eq!(moved(home.write(cancel(ids))), [6]);
}

#[test]
fn pausing_spares_what_may_not_be_paused() {
    let home = assorted();
    let select = Selection::All;
    let keys = moved(home.write(Change::PauseWaiting { select, at: 7 }));
    assert_eq!(keys, [1, 3]);
    assert_eq!(home.status(6), Some(Status::Enqueued));
    let record = home.record(3).unwrap();
    assert_eq!(record.resume, Some(resume_record()));
    assert_eq!((record.status, record.ready_at), (Status::Paused, None));
}

#[test]
fn what_is_due_becomes_ready() {
    let home = assorted();
    let not_before = Some(50);
    let later = home.add(Task { not_before, ..task("later") });
    let wake = |at, limit| moved(home.write(Change::WakeDue { limit, at }));
    assert_eq!(home.store.next_ready_at().unwrap(), Some(50));
    assert!(wake(49, 9).is_empty());
    assert_eq!(wake(100, 1), [later]);
    assert_eq!(wake(100, 9), [3]);
    assert_eq!(home.told_of("later"), [Status::Enqueued]);
    assert_eq!(home.told_of("waiting").last(), Some(&Status::Enqueued));
    assert_eq!(home.record(3).unwrap().ready_at, None);
    assert_eq!(home.store.next_ready_at().unwrap(), None);
}

#[test]
fn part_files_of_waiting_tasks_are_listed() {
    let home = assorted();
    let parts = |select| -> Vec<TaskKey> {
        let parts = home.store.parts_of(&select).unwrap();
        parts.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(parts(Selection::All), [3, 4]);
    assert_eq!(parts(Selection::Group("h".into())), [4]);
    let ids = ["waiting", "enqueued"].map(String::from).to_vec();
    assert_eq!(parts(Selection::Ids(ids)), [3]);
}

#[test]
fn a_removal_with_a_task_that_is_not_final_removes_nothing() {
    let home = assorted();
    let remove = |keys| home.write(Change::Remove { keys });
    let refused = Applied::Refused(Some(Status::Paused));
    assert_eq!(remove(vec![5, 4]), refused);
    assert_eq!(home.status(5), Some(Status::Complete));
    assert_eq!(remove(vec![5, 99]), Applied::Done);
    assert_eq!(home.status(5), None);
    assert_eq!(home.store.counts().unwrap()[2], 0);
}

#[test]
fn cleaning_takes_the_oldest_final_tasks() {
    let home = home();
    home.add_many((0..5).map(|n| task(&n.to_string())).collect());
    for (key, at) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        home.write(Change::Finish {
            key,
            status: Status::Canceled,
            details: std::sync::Arc::default(),
            bytes_done: 0,
            keep_resume: false,
            at,
        });
    }
    let clean = |before, key, limit| moved(home.write(Change::Clean { before, key, limit }));
    assert_eq!(clean(30, 0, 1), [2]);
    assert_eq!(clean(30, 0, 9), [3]);
    assert_eq!(clean(40, 0, 9), [1]);
    assert!(clean(40, 4, 9).is_empty());
    assert_eq!(clean(40, 5, 9), [4]);
    assert_eq!(home.status(5), Some(Status::Enqueued));
}

/// More tasks than two slices hold.
const MANY: usize = crate::store::sweep::SLICE * 2 + 1;

#[test]
fn a_sweep_over_several_slices_reaches_every_task() {
    let home = home();
    let tasks = |prefix: &str| (0..MANY).map(|n| task(&format!("{prefix}{n}"))).collect();
    home.add_many(tasks("a"));
    home.start(1);
    let select = Selection::All;
    let paused = moved(home.write(Change::PauseWaiting { select, at: 7 }));
    assert_eq!(paused.len(), MANY - 1);
    home.requeue(9);
    assert_eq!(moved(home.write(cancel(Selection::All))).len(), MANY - 1);
    assert_eq!(home.store.counts().unwrap()[5] as usize, MANY - 1);
    let before = u64::MAX;
    let limit = MANY - 2;
    let cleaned = moved(home.write(Change::Clean { before, key: 0, limit }));
    assert_eq!(cleaned.len(), limit);
    assert_eq!(home.store.counts().unwrap()[5], 1);

    let keys = home.add_many(tasks("b"));
    let ids = (0..MANY).map(|n| format!("b{n}")).collect();
    assert_eq!(moved(home.write(cancel(Selection::Ids(ids)))).len(), MANY);
    assert_eq!(home.write(Change::Remove { keys }), Applied::Done);
    assert_eq!(home.store.counts().unwrap(), [0, 1, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn many_due_tasks_wake_in_slices_up_to_the_limit() {
    let home = home();
    let not_before = Some(50);
    let later = |n: usize| Task { not_before, ..task(&n.to_string()) };
    home.add_many((0..MANY).map(later).collect());
    let wake = |limit| moved(home.write(Change::WakeDue { limit, at: 50 }));
    assert_eq!(wake(MANY - 1).len(), MANY - 1);
    assert_eq!(wake(MANY).len(), 1);
}

#[test]
fn a_task_added_after_a_cancel_is_not_meant_by_it() {
    let home = home();
    home.add_many((0..MANY).map(|n| task(&n.to_string())).collect());
    let pending = home.store.write(cancel(Selection::All));
    let key = home.add(task("new"));
    assert_eq!(moved(pending.wait().unwrap()).len(), MANY);
    assert_eq!(home.status(key), Some(Status::Enqueued));
}
