//! Events, who is told when, and consumers.

use std::sync::mpsc;

use super::*;

fn consumer(home: &Home, name: &str) -> Applied {
    home.write(Change::Consumer { name: name.into() })
}

fn ack(home: &Home, name: &str, seq: u64) -> Applied {
    home.write(Change::Ack { consumer: name.into(), seq })
}

#[test]
fn what_is_told_is_what_is_stored_and_in_order() {
    let home = home();
    home.add_many((0..50).map(|n| task(&n.to_string())).collect());
    for key in 1..=50 {
        home.start(key);
        home.wait(key, 100);
    }
    let told = home.told.lock().unwrap().clone();
    assert_eq!(told, home.events());
    let seqs: Vec<u64> = told.iter().map(|update| update.seq).collect();
    assert_eq!(seqs, (1..=150).collect::<Vec<u64>>());
    let some = home.store.events_after(7, 2).unwrap();
    assert_eq!((some[0].seq, some.len()), (8, 2));
}

#[test]
fn an_update_is_told_after_its_commit_and_before_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let slot: Arc<Mutex<Option<Store>>> = Arc::default();
    let seen = slot.clone();
    let (sender, receiver) = mpsc::channel();
    let tell = Box::new(move |updates: Vec<Committed>| {
        let store = seen.lock().unwrap().clone().unwrap();
        for Committed { update, .. } in updates {
            let stored = store.record(&update.task_id).unwrap();
            sender.send(stored.is_some()).unwrap();
        }
    });
    let store = Store::open(directory.path(), tell).unwrap();
    *slot.lock().unwrap() = Some(store.clone());
    let tasks = vec![NewTask { paused: false, resume: None, task: std::sync::Arc::new(task("a")), place: None }];
    let change = Change::Add { tasks, if_exists: IfExists::Reject, asked: false, at: 1 };
    store.write(change).wait().unwrap();
    assert_eq!(receiver.try_recv(), Ok(true));
    *slot.lock().unwrap() = None;
    store.close();
}

#[test]
fn a_consumer_begins_at_the_beginning_and_goes_forward_only() {
    let home = home();
    home.add_many((0..9).map(|n| task(&n.to_string())).collect());
    assert_eq!(ack(&home, "c", 1), Applied::Refused(None));
    assert_eq!(consumer(&home, "c"), Applied::Position(0));
    assert_eq!(ack(&home, "c", 5), Applied::Position(5));
    assert_eq!(ack(&home, "c", 3), Applied::Position(5));
    assert_eq!(ack(&home, "c", 10), Applied::BeyondEnd(9));
    assert_eq!(ack(&home, "c", u64::MAX), Applied::BeyondEnd(9));
    assert_eq!(consumer(&home, "c"), Applied::Position(5));
    consumer(&home, "b");
    let home = home.reopen();
    let known = home.store.consumers().unwrap();
    assert_eq!(known, [("b".into(), 0), ("c".into(), 5)]);
}

#[test]
fn final_events_of_removed_tasks_wait_for_every_consumer() {
    let home = home();
    consumer(&home, "fast");
    consumer(&home, "slow");
    let key = home.add(task("a"));
    home.start(key);
    home.finish(key, Status::Complete);
    let seq = home.store.last_seq().unwrap();
    assert_eq!(home.write(Change::Remove { keys: vec![key] }), Applied::Done);
    let left = home.events();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].seq, &*left[0].task_id), (seq, "a"));
    ack(&home, "fast", seq);
    assert_eq!(home.events().len(), 1);
    ack(&home, "slow", seq);
    assert_eq!(home.events(), []);
    assert_eq!(home.store.last_seq().unwrap(), seq);
}

#[test]
fn acknowledged_events_go_with_their_task_and_others_stay() {
    let home = home();
    consumer(&home, "c");
    let (a, b) = (home.add(task("a")), home.add(task("b")));
    home.finish(a, Status::Canceled);
    home.finish(b, Status::Canceled);
    ack(&home, "c", 3);
    assert_eq!(home.events().len(), 4); // an acknowledged event stays as long as its task
    home.write(Change::Remove { keys: vec![a, b] });
    let left: Vec<u64> = home.events().iter().map(|event| event.seq).collect();
    assert_eq!(left, [4]);
}

#[test]
fn without_consumers_events_go_with_their_task() {
    let home = home();
    let key = home.add(task("a"));
    home.finish(key, Status::Canceled);
    home.write(Change::Remove { keys: vec![key] });
    assert_eq!(home.events(), []);
}
