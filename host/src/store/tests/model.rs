//! Random changes: whatever happens, the counters equal a scan, each run has at most one final event, and the log agrees
//! with what was told.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// A change as numbers: what, and to which of a few tasks.
type Step = (u8, i64);

fn change((what, which): Step) -> Change {
    let key = which + 1;
    let at = 10;
    let select = match which % 3 {
        0 => Selection::All,
        1 => Selection::Group("g1".into()),
        _ => Selection::Ids(vec![which.to_string(), "7".into()]),
    };
    let finish = |status| Change::Finish {
        key,
        status,
        details: std::sync::Arc::new(broken()),
        bytes_done: 1,
        keep_resume: which % 2 == 0,
        at,
    };
    match what {
        0..=2 => Change::Start { key, at },
        3 => finish(Status::Complete),
        4 => finish(if which % 4 < 2 { Status::Failed } else { Status::NotFound }),
        5 => finish(Status::Canceled),
        6 => Change::Wait {
            key,
            ready_at: 8 + which.unsigned_abs(),
            retries_remaining: 1,
            details: std::sync::Arc::new(broken()),
            bytes_done: 1,
            at,
        },
        7 | 8 => Change::Requeue {
            key,
            ready_at: (which % 2 == 0).then_some(20),
            retries_remaining: None,
            bytes_done: None,
            at,
        },
        9 => Change::Pause { key, bytes_done: 2, by: None, at },
        10 => resumable(key),
        11 => Change::Publishing { key, publish: publish_row() },
        12 => Change::CancelWaiting { select, details: Arc::default(), at },
        13 => Change::PauseWaiting { select, at },
        14 => Change::WakeDue { limit: 2, at: 15 },
        15 => Change::Remove { keys: vec![key] },
        16 => Change::Clean { before: 11, key: 0, limit: 1 },
        17 => Change::Consumer { name: "c".into() },
        18 => Change::Ack { consumer: "c".into(), seq: which.unsigned_abs() * 3 },
        _ => {
            let task = Task { group: format!("g{}", which % 2), ..task(&which.to_string()) };
            let if_exists = match which % 3 {
                0 => IfExists::Reject,
                1 => IfExists::ReturnExisting,
                _ => IfExists::Replace,
            };
            Change::Add {
                tasks: vec![NewTask { paused: false, resume: None, task: std::sync::Arc::new(task), place: None }],
                if_exists,
                asked: false,
                at,
            }
        }
    }
}

fn holds(home: &Home) {
    let conn = Connection::open(home.directory.path().join("haul.db")).unwrap();
    let mut scanned = [0; 8];
    let mut statement = conn.prepare("SELECT status, count(*) FROM task GROUP BY status").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let status: u8 = row.get(0).unwrap();
        let count: i64 = row.get(1).unwrap();
        scanned[usize::from(status)] = count.unsigned_abs();
    }
    assert_eq!(home.store.counts().unwrap(), scanned);

    let none = |sql: &str| {
        let count: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{sql}");
    };
    none("SELECT count(*) FROM publishing WHERE task NOT IN (SELECT key FROM task WHERE status = 1)");
    none("SELECT count(*) FROM task WHERE ready_at IS NOT NULL AND status NOT IN (0, 6)");
    none("SELECT count(*) FROM task WHERE (ended_at IS NOT NULL) <> (status BETWEEN 2 AND 5)");
    none("SELECT count(*) FROM task WHERE closed <> (status IN (2, 5))");
    none("SELECT count(*) FROM resume WHERE task NOT IN (SELECT key FROM task WHERE status NOT IN (2, 5))");
    none("SELECT count(*) FROM event WHERE kept = 0 AND task NOT IN (SELECT key FROM task)");
    none("SELECT count(*) FROM (SELECT 1 FROM event WHERE final = 1 GROUP BY task, run HAVING count(*) > 1)");
    assert_eq!(home.store.check().unwrap()[1..], ["ok"]);

    let told = home.told.lock().unwrap();
    assert!(told.is_sorted_by_key(|update| update.seq));
    let told: HashMap<u64, &StatusUpdate> = told.iter().map(|update| (update.seq, update)).collect();
    for event in home.events() {
        assert_eq!(Some(&&event), told.get(&event.seq));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn counters_and_events_agree_with_the_tasks(steps in prop::collection::vec((0u8..24, 0i64..8), 1..120)) {
        let home = home();
        let pending: Vec<Pending> = steps.into_iter().map(|step| home.store.write(change(step))).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
        holds(&home);
    }
}
