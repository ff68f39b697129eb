//! The queue's order, its parts, and the other listings.

use super::*;

fn of(id: &str, host: &str, group: &str, priority: i32, created: u64) -> Task {
    Task {
        task_id: id.into(),
        url: format!("http://{host}/{id}"),
        group: group.into(),
        priority,
        creation_time: created,
        ..Task::default()
    }
}

fn ids(home: &Home, queue: Vec<QueuePosition>) -> Vec<String> {
    let record = |key| home.store.record_of(key).unwrap().unwrap();
    queue.into_iter().map(|(_, _, key)| record(key).task.task_id.clone()).collect()
}

fn key_of(host: Option<&str>, group: Option<&str>) -> QueueKey {
    QueueKey { host: host.map(Into::into), group: group.map(Into::into), uploads: None }
}

/// Six ready tasks in a deliberate disorder, and one for each reason not to be in the queue.
fn mixed() -> Home {
    let home = home();
    home.add_many(vec![
        of("e", "two", "x", 5, 20),
        of("c", "one", "x", 5, 10),
        of("f", "two", "y", 9, 1),
        of("d", "one", "y", 5, 10),
        of("a", "one", "x", 0, 99),
        of("b", "three", "", 5, 9),
        of("runs", "one", "x", 0, 0),
        of("paused", "one", "x", 0, 0),
        Task { not_before: Some(1000), ..of("later", "one", "z", 0, 0) },
    ]);
    home.start(7);
    home.pause(8);
    home
}

#[test]
fn the_queue_goes_by_priority_then_age_then_addition() {
    let home = mixed();
    let all = home.store.queue(&QueueKey::default(), None, 100).unwrap();
    assert_eq!(ids(&home, all), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn the_queue_can_be_read_in_pieces_of_any_size() {
    let home = mixed();
    for part in
        [QueueKey::default(), key_of(Some("one"), None), key_of(None, Some("x")), key_of(Some("one"), Some("x"))]
    {
        let whole = ids(&home, home.store.queue(&part, None, 100).unwrap());
        for limit in 1..4 {
            let mut pieces = Vec::new();
            let mut after = None;
            loop {
                let piece = home.store.queue(&part, after, limit).unwrap();
                let Some(last) = piece.last() else { break };
                after = Some(*last);
                pieces.extend(ids(&home, piece));
            }
            assert_eq!(pieces, whole, "{part:?} by {limit}");
        }
    }
}

#[test]
fn a_part_of_the_queue_has_the_tasks_of_its_host_and_group() {
    let home = mixed();
    let part = |host, group| ids(&home, home.store.queue(&key_of(host, group), None, 100).unwrap());
    assert_eq!(part(Some("one"), None), ["a", "c", "d"]);
    assert_eq!(part(None, Some("x")), ["a", "c", "e"]);
    assert_eq!(part(None, Some("")), ["b"]);
    assert_eq!(part(Some("two"), Some("y")), ["f"]);
    assert_eq!(part(Some("one"), Some("z")), Vec::<String>::new());
}

#[test]
fn the_pairs_of_host_and_group_are_those_with_ready_tasks() {
    let home = mixed();
    let pairs = home.store.queue_keys(100).unwrap();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(h, g)| (&**h, &**g)).collect();
    let expected = [("one", "x"), ("one", "y"), ("three", ""), ("two", "x"), ("two", "y")];
    assert_eq!(pairs, expected);
    assert_eq!(home.store.queue_keys(2).unwrap().len(), 2);
    assert_eq!(super::home().store.queue_keys(2).unwrap(), []);
}

#[test]
fn a_task_without_host_and_group_is_a_pair_of_its_own() {
    let home = home();
    home.add(Task { url: String::new(), group: String::new(), ..task("a") });
    home.add(task("b"));
    let pairs = home.store.queue_keys(9).unwrap();
    assert_eq!(pairs[0], (String::new(), String::new()));
    assert_eq!(pairs.len(), 2);
}

#[test]
fn ahead_of_counts_what_starts_earlier() {
    let home = mixed();
    let ahead = |position| home.store.ahead_of(position, 100).unwrap();
    assert_eq!(ahead((0, 99, 5)), 0); // a
    assert_eq!(ahead((5, 10, 4)), 3); // d
    assert_eq!(ahead((9, 1, 3)), 5); // f
    assert_eq!(ahead((10, 0, 0)), 6);
    assert_eq!(home.store.ahead_of((10, 0, 0), 4).unwrap(), 4);
}

#[test]
fn records_are_listed_by_status_and_group_in_order_of_addition() {
    let home = mixed();
    let list = |status, group: Option<&str>, after, limit| -> Vec<TaskKey> {
        let group = group.map(str::to_owned);
        let statuses = Option::<Status>::into_iter(status).collect();
        let filter = Filter { statuses, group, ..Filter::default() };
        let (records, more) = home.store.records(&filter, after, limit).unwrap();
        assert_eq!(more.is_some(), records.len() == limit);
        records.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(list(None, None, 0, 3), [1, 2, 3]);
    assert_eq!(list(None, None, 7, 3), [8, 9]);
    assert_eq!(list(Some(Status::Running), None, 0, 9), [7]);
    assert_eq!(list(Some(Status::Enqueued), None, 5, 9), [6, 9]);
    assert_eq!(list(None, Some("x"), 0, 4), [1, 2, 5, 7]);
    assert_eq!(list(None, Some("x"), 5, 4), [7, 8]);
    assert_eq!(list(Some(Status::Paused), Some("x"), 0, 4), [8]);
}

#[test]
fn a_selection_names_tasks_by_id_group_or_all() {
    let home = mixed();
    let select = |select: Selection, statuses: &[Status], limit| -> Vec<TaskKey> {
        let found = home.store.select(&select, statuses, 0, limit).unwrap();
        found.into_iter().map(|(key, _, _)| key).collect()
    };
    let named = Selection::Ids(vec!["d".into(), "c".into(), "c".into(), "no".into()]);
    assert_eq!(select(named.clone(), &Status::ALL, 9), [2, 4]);
    assert!(select(named, &[Status::Running], 9).is_empty());
    let open = [Status::Paused, Status::Running];
    assert_eq!(select(Selection::Group("x".into()), &open, 9), [7, 8]);
    assert_eq!(select(Selection::All, &Status::ALL, 3), [1, 2, 3]);
}

#[test]
fn ids_are_found_by_their_beginning() {
    let home = home();
    for id in ["ab", "abc", "ac", "a\u{10FFFF}", "b", "ab%", "AB"] {
        home.add(task(id));
    }
    let find = |prefix, limit| home.store.ids_with_prefix(prefix, limit).unwrap();
    assert_eq!(find("ab", 9), ["ab", "ab%", "abc"]);
    assert_eq!(find("ab", 2), ["ab", "ab%"]);
    assert_eq!(find("a", 9).len(), 5);
    assert_eq!(find("", 9).len(), 7);
    assert_eq!(find("c", 9), Vec::<String>::new());
}

#[test]
fn get_finds_the_unfinished_and_failed_tasks_of_a_url() {
    let home = home();
    let long = format!("http://example.org/{}", "x".repeat(300));
    let add = |id: &str, url: &str, place: Option<&str>| {
        let tasks = vec![NewTask {
            paused: false,
            resume: None,
            task: std::sync::Arc::new(Task { url: url.into(), ..task(id) }),
            place: place.map(Into::into),
        }];
        home.write(Change::Add { tasks, if_exists: IfExists::Reject, asked: false, at: 1 });
    };
    add("old", &long, Some("/a"));
    add("similar", &format!("{long}y"), Some("/a"));
    add("failed", &long, Some("/a"));
    add("complete", &long, Some("/a"));
    add("of no place", &long, None);
    home.finish(3, Status::Failed);
    home.finish(4, Status::Complete);
    let with_url = |url: &str, limit| home.store.with_urls([url].into_iter(), limit).unwrap().remove(0);
    let found = with_url(&long, 9);
    let keys: Vec<TaskKey> = found.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [3, 1]);
    assert_eq!(with_url(&long, 1).len(), 1);
    home.requeue(4);
    assert_eq!(with_url(&long, 9).len(), 3);
    let both = home.store.with_urls(["http://no/", &long].into_iter(), 9).unwrap();
    assert_eq!(both.iter().map(Vec::len).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_complete_task_is_found_until_its_end_was_told() {
    let home = home();
    let tasks =
        vec![NewTask { paused: false, resume: None, task: std::sync::Arc::new(task("a")), place: Some("/a".into()) }];
    home.write(Change::Add { tasks, if_exists: IfExists::Reject, asked: false, at: 1 });
    let found = || home.store.with_urls([task("a").url.as_str()].into_iter(), 9).unwrap()[0].len();
    let asked = |asked| home.write(Change::Asked { ids: vec!["a".into(), "unknown".into()], asked });
    asked(true);
    home.start(1);
    home.finish(1, Status::Complete);
    assert_eq!((found(), home.store.is_asked(1).unwrap()), (1, true));
    asked(false);
    assert_eq!((found(), home.store.is_asked(1).unwrap()), (0, false));
}

#[test]
fn after_the_clock_was_set_back_a_retry_waits_as_long_as_it_was_told_to() {
    let home = home();
    home.add_many(vec![of("a", "one", "x", 5, 1)]);
    home.start(1);
    home.wait(1, 1_003); // since 3, by the event
    let ready_at = || home.store.record_of(1).unwrap().unwrap().ready_at;

    assert_eq!((home.write(Change::WaitAnew { at: 3 }), ready_at()), (Applied::Moved(vec![]), Some(1_003)));
    assert_eq!((home.write(Change::WaitAnew { at: 1 }), ready_at()), (Applied::Moved(vec![1]), Some(1_001)));
}

#[test]
fn what_waits_beyond_its_not_after_is_found_without_what_runs_is_paused_or_is_over() {
    let home = home();
    let of = |id: &str, at| Task { not_after: Some(at), ..task(id) };
    let keys = home.add_many(vec![of("b", 20), of("a", 10), of("runs", 5), of("paused", 5), task("no"), of("c", 30)]);
    home.start(keys[2]);
    home.pause(keys[3]);

    assert_eq!(home.store.next_not_after(0).unwrap(), Some(10));
    assert_eq!(home.store.next_not_after(20).unwrap(), Some(30));
    assert_eq!(home.store.expired(20, 10).unwrap(), [keys[1], keys[0]]);
    assert_eq!(home.store.expired(20, 1).unwrap(), [keys[1]]);

    home.finish(keys[1], Status::Failed);
    home.write(Change::Hold { key: keys[0] });
    home.write(Change::Replace { key: keys[5], task: Box::new(of("c", 15)) });
    assert_eq!(home.store.expired(20, 10).unwrap(), [keys[5], keys[0]]);
}
