//! Waits for an hour in a call to the host, which uses no time on the CPU.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        std::thread::sleep(std::time::Duration::from_secs(3600));
        Verdict::GiveUp
    }
}

export!(Component);
