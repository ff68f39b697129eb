//! Batches and questions about all tasks, against a server of a few lines.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::batch::BatchProgress;
use crate::engine::{Settings, Work};
use crate::store::{Addition, IfExists};
use crate::task::{Task, Updates};
use crate::transmit::Told;

/// A server of five bytes under any path but `/none`; its address.
#[allow(clippy::disallowed_methods)] // it ends with the test's runtime
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
    let session = Session::open(Settings::new(home.path()), Work::Asked).await.unwrap();
    let address = server().await;
    let addition = |path: &str, updates| {
        let task = Task { updates, group: "b".into(), ..Task::download(format!("{address}/{path}")) };
        Addition { task, place: Some(place.path().to_owned()), paused: false }
    };
    let tasks = vec![
        addition("1", Updates::None),
        addition("none", Updates::Status),
        addition("2", Updates::StatusAndProgress),
    ];

    let mut told: Vec<BatchProgress> = Vec::new();
    let keep = |what: Told<'_>| match what {
        Told::Batch(progress) => told.push(progress),
        Told::Update(_) | Told::Elapsed(_) => {}
    };
    let records = session.transmit(tasks, std::time::Duration::ZERO, keep).await.unwrap();

    assert_eq!(told.first(), Some(&BatchProgress { total: 3, ..BatchProgress::default() }));
    let end = BatchProgress { succeeded: 2, failed: 1, total: 3, bytes_done: 10, bytes_total: Some(10) };
    assert_eq!(told.last(), Some(&end));
    let statuses: Vec<_> = records.iter().map(|record| record["status"].as_str().unwrap_or_default()).collect();
    assert_eq!(statuses, ["complete", "notFound", "complete"]);
    assert!(session.tasks_finished(Some("b"), None).await.unwrap());
    session.close().await;
}

#[tokio::test]
async fn questions_about_all_tasks_know_groups_and_one_to_leave_out() {
    let home = tempfile::tempdir().unwrap();
    let session = Session::open(Settings::new(home.path()), Work::Nothing).await.unwrap();
    let addition = |id: &str, group: &str| {
        let task = Task { task_id: id.into(), group: group.into(), ..Task::download("http://127.0.0.1:9/x") };
        Addition { task, place: Some(home.path().to_owned()), paused: false }
    };
    let tasks = vec![addition("1", "a"), addition("2", "b"), addition("3", "a")];
    let request = Request::Add { tasks, if_exists: IfExists::Reject, continue_same: false, work: false };
    session.call(request).await.unwrap();

    assert_eq!(session.all_task_ids(Some("a")).await.unwrap(), ["1", "3"]);
    assert_eq!(session.all_tasks(None).await.unwrap().len(), 3);
    assert!(!session.tasks_finished(Some("b"), Some("1")).await.unwrap());
    assert!(session.tasks_finished(Some("b"), Some("2")).await.unwrap());
    assert!(session.tasks_finished(Some("c"), None).await.unwrap());
    assert!(!session.task_can_resume("1").await.unwrap());
    session.close().await;
}
