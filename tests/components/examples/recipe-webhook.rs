//! Recipe: somebody is told of each end, as one line of text.

wit_bindgen::generate!({ world: "on-task-finished-hook", path: "../../wit", generate_all });

use exports::haul::transfer::on_task_finished::Guest;
use haul::transfer::fetch::fetch;
use haul::transfer::types::{Request, Status, Task, Update};

struct Recipe;

impl Guest for Recipe {
    fn handle(task: Task, update: Update) {
        let end = if matches!(update.status, Status::Complete) { "is here" } else { "did not work out" };
        // At least once: the number of the event tells a repetition.
        let body = format!("{}: {} {end}", update.seq, task.url).into_bytes();
        // The task's metadata says who wants to know; `--allow-host` must grant that host.
        let request = Request { method: "POST".into(), url: task.meta_data, headers: vec![], body, extra: vec![] };
        if let Err(failure) = fetch(&request) {
            println!("nobody was told: {}", failure.description);
        }
    }
}

export!(Recipe);
