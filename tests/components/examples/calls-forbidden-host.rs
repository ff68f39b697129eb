//! Fetches the task's URL by the host's `fetch`, five times, and tells what became of it in headers; or panics, where the task's
//! metadata is `panic`.

wit_bindgen::generate!({ world: "on-task-start-hook", path: "../../wit", generate_all });

use exports::haul::transfer::on_task_start::{Changes, Guest};
use haul::transfer::fetch::fetch;
use haul::transfer::types::{FailureKind, Request, Task};

struct Component;

impl Guest for Component {
    fn handle(task: Task) -> Option<Changes> {
        let outcomes = (1..=5).map(|number| {
            let request =
                Request { method: "GET".into(), url: task.url.clone(), headers: vec![], body: vec![], extra: vec![] };
            let outcome = match fetch(&request) {
                Ok(response) => response.status.to_string(),
                Err(failure) if matches!(failure.kind, FailureKind::Policy) => "policy".into(),
                Err(_) => "failed".into(),
            };
            (format!("x-outcome-{number}"), outcome)
        });
        let headers = outcomes.collect();
        assert_ne!(task.meta_data, "panic");
        Some(Changes { url: None, headers, remove_headers: vec![] })
    }
}

export!(Component);
