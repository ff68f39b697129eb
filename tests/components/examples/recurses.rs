//! Calls itself until there is no stack.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, attempt: Attempt, _failure: Failure) -> Verdict {
        Verdict::AfterMs(deeper(u64::from(attempt.number)))
    }
}

#[inline(never)]
fn deeper(number: u64) -> u64 {
    if number == 0 { 0 } else { std::hint::black_box(deeper(number + 1)) + number }
}

export!(Component);
