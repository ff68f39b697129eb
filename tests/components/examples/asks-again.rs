//! Asks the next one in the chain without end.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::retry as next;
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(task: Task, attempt: Attempt, failure: Failure) -> Verdict {
        let attempt = next::Attempt {
            number: attempt.number,
            retries_remaining: attempt.retries_remaining,
            elapsed_ms: attempt.elapsed_ms,
            bytes_done: attempt.bytes_done,
            bytes_gained: attempt.bytes_gained,
            jitter_seed: attempt.jitter_seed,
            jitter: attempt.jitter,
            fresh_start_left: attempt.fresh_start_left,
            extra: attempt.extra,
        };
        loop {
            std::hint::black_box(next::decide(&task, &attempt, &failure));
        }
    }
}

export!(Component);
