//! Asks the next one for a decision by an import that is an `async func`, as no host offers it.

wit_bindgen::generate!({
    inline: "
        package test:components;

        world hooks {
            import haul:transfer/retry@0.1.0;
            export haul:transfer/retry@0.1.0;
        }
    ",
    path: "target/wit-decisions",
    generate_all,
    merge_structurally_equal_types: true,
});

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::retry as next;
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    async fn decide(task: Task, attempt: Attempt, failure: Failure) -> Verdict {
        next::decide(task, attempt, failure).await
    }
}

export!(Component);
