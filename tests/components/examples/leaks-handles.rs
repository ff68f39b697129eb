//! Takes handles of the host and never gives one back: as many as the task's metadata says, else without end.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        for _ in 0..task.meta_data.parse().unwrap_or(usize::MAX) {
            std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(1));
        }
        Verdict::GiveUp
    }
}

export!(Component);
