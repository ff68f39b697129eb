//! Wants 64 MiB of randomness at once.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        Verdict::AfterMs(wasip2::random::random::get_random_bytes(64 << 20).len() as u64)
    }
}

export!(Component);
