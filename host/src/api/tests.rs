//! What programs do with a session, against a server of a few lines.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::batch::BatchProgress;
use crate::clock;
use crate::engine::{Settings, Work};
use crate::error::{Error, FailureKind};
use crate::event::Update;
use crate::limits::Network;
use crate::store::{Addition, Filter};
use crate::task::{Status, Task, Updates};
use crate::transmit::Told;

/// A server of five bytes under any path but `/none`; its address.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let size = stream.read(&mut head).await.unwrap_or(0);
            let found = !head[..size].starts_with(b"GET /none");
            let answer =
                if found { "200 OK\r\nContent-Length: 5\r\n\r\nbytes" } else { "404 No\r\nContent-Length: 0\r\n\r\n" };
            let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_batch_ends_with_all_of_its_tasks_and_begins_at_nothing() {
    let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || Session::open(Settings::new(home.path()), Work::Asked);
    let (engine, joined) = (open().await.unwrap(), open().await.unwrap());
    let address = server().await;
    let addition = |path: &str, updates| {
        let task = Task { updates, group: "b".into(), ..Task::download(format!("{address}/{path}")) };
        Addition::new(task, place.path())
    };
    for session in [&engine, &joined] {
        let tasks = vec![
            addition("1", Updates::None),
            addition("none", Updates::Status),
            addition("2", Updates::StatusAndProgress),
            addition("none", Updates::Progress),
        ];
        let (mut batches, mut statuses): (Vec<BatchProgress>, usize) = (Vec::new(), 0);
        let keep = |what: Told<'_>| match what {
            Told::Batch(progress) => batches.push(progress),
            Told::Update(update) => statuses += usize::from(matches!(update, Update::Status(_))),
            Told::Elapsed(_) => {}
        };
        let records = session.transmit(tasks, std::time::Duration::ZERO, keep).await.unwrap();

        assert_eq!(batches.first(), Some(&BatchProgress { total: 4, ..BatchProgress::default() }));
        let end = BatchProgress { succeeded: 2, failed: 2, total: 4, bytes_done: 10, bytes_total: Some(10) };
        assert_eq!((batches.last(), batches.len()), (Some(&end), 5));
        assert_eq!(statuses, 6, "enqueued, running and the end of those two that send them");
        let ends: Vec<_> = records.iter().map(|record| record.status).collect();
        assert_eq!(ends, [Status::Complete, Status::NotFound, Status::Complete, Status::NotFound]);
        assert!(session.tasks_finished(Some("b"), None).await.unwrap());
    }
    drop(joined);
    engine.close().await;
}

#[tokio::test]
async fn questions_about_all_tasks_know_groups_and_one_to_leave_out() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::open(Settings::new(home.path()), Work::Nothing).await.unwrap();
    let addition = |id: &str, group: &str| {
        let task = Task { task_id: id.into(), group: group.into(), ..Task::download("http://127.0.0.1:9/x") };
        Addition::new(task, home.path())
    };
    let tasks = vec![addition("1", "a"), addition("2", "b"), addition("3", "a")];
    session.add_with(tasks, AddOptions { work: false, ..AddOptions::default() }).await.unwrap();

    assert_eq!(session.all_task_ids(Some("a")).await.unwrap(), ["1", "3"]);
    assert_eq!(session.all_tasks(None).await.unwrap().len(), 3);
    assert!(!session.tasks_finished(Some("b"), Some("1")).await.unwrap());
    assert!(session.tasks_finished(Some("b"), Some("2")).await.unwrap());
    assert!(session.tasks_finished(Some("c"), None).await.unwrap());
    assert!(!session.task_can_resume("1").await.unwrap());
    session.close().await;
}

/// Everything that a program asks about the life of one task.
async fn ask_all(session: &Session, consumer: &str, place: &std::path::Path) {
    let later = Some(clock::unix_ms() + 3_600_000);
    let task = Task { not_before: later, ..Task::download("http://127.0.0.1:9/x?token=secret") };
    let never = Task { not_after: Some(u64::MAX), ..task.clone() };
    assert!(session.add(vec![Addition::new(never, place)]).await.is_err(), "nobody can write that time");
    let ids = session.add(vec![Addition::new(task, place)]).await.unwrap();
    let [id] = &ids[..] else { panic!("{ids:?}") };

    let record = session.show(id).await.unwrap();
    let (url, waiting) = (record.task.url.as_str(), record.waiting.unwrap());
    assert_eq!(
        (record.status, url, record.place.as_deref()),
        (Status::Enqueued, "http://127.0.0.1:9/x?token=***", Some(place))
    );
    assert_eq!((waiting.reason.as_str(), waiting.until), ("not-before", later));
    assert_eq!(session.pause(id.as_str()).await.unwrap().ids, ids);
    assert_eq!(session.show(&id[..30]).await.unwrap().status, Status::Paused);
    let twice = session.pause(ids.clone()).await.unwrap();
    assert_eq!((twice.count, twice.refused.len()), (0, 1));
    assert_eq!(session.resume(Selection::Ids(ids.clone())).await.unwrap().count, 1);
    assert!(matches!(session.remove(&[id]).await, Err(Error::Refused(_))));
    assert_eq!(session.cancel(id.as_str(), Some("no room")).await.unwrap().count, 1);

    let events = session.events(consumer).await.unwrap();
    let of_task: Vec<_> = events.iter().filter(|event| event.task_id == *id).collect();
    let statuses: Vec<_> = of_task.iter().map(|event| event.status).collect();
    assert_eq!(statuses, [Status::Enqueued, Status::Paused, Status::Enqueued, Status::Canceled]);
    let failure = of_task[3].details.as_ref().unwrap().exception.as_ref().unwrap();
    assert_eq!(
        (failure.kind, failure.description.as_str()),
        (FailureKind::Canceled, "the task was cancelled: no room")
    );
    let last = events.last().unwrap().seq;
    assert_eq!(session.acknowledge(consumer, last).await.unwrap(), last);
    assert_eq!(session.events(consumer).await.unwrap(), []);

    let exception = session.show(id).await.unwrap().exception.unwrap();
    assert_eq!(&exception, failure);
    assert_eq!(session.remove(&[id]).await.unwrap(), 1);
    assert!(matches!(session.show(id).await, Err(Error::UnknownTask(_))));
    assert_eq!(session.tasks(Filter::default()).await.unwrap(), []);
}

#[tokio::test]
async fn a_program_is_told_the_same_whether_it_is_the_engine_or_has_joined_one() {
    let home = tempfile::tempdir().unwrap();
    let open = || Session::open(Settings::new(home.path()), Work::Asked);
    let (engine, joined) = (open().await.unwrap(), open().await.unwrap());
    assert!(matches!((&engine, &joined), (Session::Engine(_), Session::Joined(_))));

    ask_all(&engine, "one", home.path()).await;
    ask_all(&joined, "two", home.path()).await;

    let changes = LimitChanges { total: Some(3), network: Some(Network::Metered), ..LimitChanges::default() };
    let changed = joined.change_limits(changes).await.unwrap();
    assert_eq!((changed.queue.total, changed.queue.per_host, changed.network), (3, 0, Network::Metered));
    assert_eq!(engine.limits().await.unwrap(), changed);
    drop(joined);
    engine.close().await;
}

#[tokio::test]
async fn a_request_is_answered_by_its_final_update_and_a_failure_is_one_too() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::open(Settings::new(home.path()), Work::Asked).await.unwrap();
    let address = server().await;

    let answered = session.send(Task::data(format!("{address}/api"))).await.unwrap();
    assert_eq!(
        (answered.status, answered.details.unwrap().response_body.as_deref()),
        (Status::Complete, Some("bytes"))
    );
    let failed = session.send(Task::data(format!("{address}/none"))).await.unwrap();
    assert_eq!(failed.status, Status::NotFound);
    assert!(matches!(session.send(Task::download(address)).await, Err(Error::Invalid(_))));
    session.close().await;
}

#[tokio::test]
async fn what_a_program_resumes_or_tries_again_is_worked_for_it() {
    let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || Session::open(Settings::new(home.path()), Work::Asked);
    let (engine, joined) = (open().await.unwrap(), open().await.unwrap());
    let address = server().await;
    for (number, session) in [&engine, &joined].into_iter().enumerate() {
        let (paused, canceled) = (format!("paused {number}"), format!("canceled {number}"));
        let tasks = [&paused, &canceled].map(|id| {
            let task = Task { task_id: id.clone(), ..Task::download(format!("{address}/{number}")) };
            Addition::new(task, place.path())
        });
        session.add_with(tasks.into(), AddOptions { work: false, ..AddOptions::default() }).await.unwrap();
        session.pause(paused.as_str()).await.unwrap();
        session.cancel(canceled.as_str(), None).await.unwrap();

        let mut updates = session.watch().await.unwrap();
        assert_eq!(session.resume(paused.as_str()).await.unwrap().count, 1);
        assert_eq!(session.retry(canceled.as_str()).await.unwrap().count, 1);
        let mut complete = Vec::new();
        while complete.len() < 2 {
            if let Update::Status(update) = updates.recv().await.unwrap()
                && update.status == Status::Complete
            {
                complete.push(update.task_id);
            }
        }
        complete.sort();
        assert_eq!(complete, [canceled, paused]);
    }
    drop(joined);
    engine.close().await;
}
