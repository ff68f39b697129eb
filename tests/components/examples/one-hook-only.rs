//! Answers one hook, properly: the smallest useful component.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        Verdict::AfterMs(1234)
    }
}

export!(Component);
