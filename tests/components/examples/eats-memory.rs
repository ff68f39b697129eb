//! Takes memory until there is none.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        loop {
            eaten.push(std::hint::black_box(vec![1; 1 << 20]));
        }
    }
}

export!(Component);
