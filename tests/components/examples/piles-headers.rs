//! Adds headers to a request that it never sends.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        let fields = wasip2::http::types::Fields::new();
        loop {
            fields.append("x-pile", &[b'a'; 1024]).expect("there is a limit");
        }
    }
}

export!(Component);
