//! Batches.

use haul::Task;

use super::*;

#[tokio::test]
async fn a_batch_holds_a_thousand_tasks_and_the_last_one_the_rest() {
    let (sender, mut receiver) = channel(READ_AHEAD);
    let places = place_samples(2);
    for number in 0..2500 {
        let task = Box::new(Task::download(format!("http://h/{number}")));
        sender.send(Item::Task(task, places[number % 2].clone(), Vec::new())).await.unwrap();
    }
    drop(sender);
    let mut sizes = Vec::new();
    while let Some(batch) = next_batch(&mut receiver).await {
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [1000, 1000, 500]);
}

#[test]
fn a_batch_with_a_bad_task_is_refused_with_all_that_is_wrong() {
    let places = place_samples(3);
    let problem = |field: &str| Problem { field: field.into(), reason: "is bad".into() };
    let mut batch = Batch::default();
    batch.take(Item::Task(Box::default(), places[0].clone(), vec![problem("task")]));
    batch.take(Item::Task(Box::default(), places[1].clone(), Vec::new()));
    assert!(batch.is_refused());
    batch.take(Item::Task(Box::default(), places[2].clone(), vec![problem("foo"), problem("headers.A")]));
    let judged = vec![
        (0, vec![problem("url")]),
        (1, vec![problem("priority")]),
        (2, vec![problem("headers"), problem("retries")]),
    ];
    let refusal = batch.refusal(Err(Error::Invalid(judged))).to_string();
    let lines = [(0, "task"), (1, "priority"), (2, "foo"), (2, "headers.A"), (2, "retries")];
    let lines = lines.map(|(place, field)| format!("{}: `{field}` is bad", places[place]));
    assert_eq!(refusal, lines.join("\n"));
}

#[test]
fn refusals_of_the_engine_name_the_line() {
    let places = place_samples(2);
    let problem = Problem { field: "url".into(), reason: "is empty".into() };
    let error = at_places(Error::Invalid(vec![(1, vec![problem])]), &places);
    assert_eq!(error.to_string(), format!("{}: `url` is empty", places[1]));
}

/// Places come only from reading.
fn place_samples(count: usize) -> Vec<Place> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list");
    std::fs::write(&file, "nonsense\n".repeat(count)).unwrap();
    let mut places = Vec::new();
    List::open(&file, 0, dir.path()).unwrap().read(&mut |item| {
        if let Item::Task(_, place, _) = item {
            places.push(place);
        }
        true
    });
    places
}
