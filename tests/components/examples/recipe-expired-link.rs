//! Recipe: a link that has expired gets a new one, and the bytes that are there stay.

wit_bindgen::generate!({ world: "on-error-hook", path: "../../wit", generate_all });

use exports::haul::transfer::on_error::{Changes, Guest, Verdict};
use haul::transfer::fetch::fetch;
use haul::transfer::types::{Failure, Request, Task};

struct Recipe;

impl Guest for Recipe {
    fn handle(task: Task, failure: Failure, _attempt: u32) -> Verdict {
        if !matches!(failure.http_status, Some(403 | 410)) {
            return Verdict::Next;
        }
        // The task's metadata says where links are given out; `--allow-host` must grant that host.
        let request =
            Request { method: "POST".into(), url: task.meta_data, headers: vec![], body: vec![], extra: vec![] };
        match fetch(&request) {
            Ok(answer) if answer.status == 200 => {
                let url = String::from_utf8_lossy(&answer.body).trim().to_owned();
                Verdict::Retry(Changes { after_ms: 0, url: Some(url), headers: vec![] })
            }
            _ => Verdict::Next,
        }
    }
}

export!(Recipe);
