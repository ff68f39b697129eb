//! Fills 16 MiB again and again by instructions that each do all of it.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        let mut bytes = vec![0u8; 16 << 20];
        for number in 0u64.. {
            bytes.fill(number as u8);
            std::hint::black_box(&mut bytes);
        }
        Verdict::GiveUp
    }
}

export!(Component);
