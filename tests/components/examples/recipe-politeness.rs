//! Recipe: whoever says that it is overloaded has a quarter of a minute of rest, whatever the schedule says.

wit_bindgen::generate!({
    world: "retry-hook",
    path: "../../wit",
    generate_all,
    merge_structurally_equal_types: true,
});

use exports::haul::transfer::retry::{Attempt, Guest};
use haul::transfer::retry::{Verdict, decide as next};
use haul::transfer::types::{Failure, Task};

const REST_MS: u64 = 15_000;

struct Recipe;

impl Guest for Recipe {
    fn decide(task: Task, attempt: Attempt, failure: Failure) -> Verdict {
        match next(&task, &attempt, &failure) {
            Verdict::AfterMs(wait_ms) if matches!(failure.http_status, Some(429 | 503)) => {
                Verdict::AfterMs(wait_ms.max(REST_MS))
            }
            verdict => verdict,
        }
    }
}

export!(Recipe);
