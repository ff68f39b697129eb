//! Keeps a MiB more with each call, as a garbage collector that is late does.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        std::hint::black_box(vec![1u8; 1 << 20].leak());
        Verdict::GiveUp
    }
}

export!(Component);
