//! Reads the clocks many times, and answers the number of readings that tell more than milliseconds.

wit_bindgen::generate!({ world: "retry-hook", path: "../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};

const READINGS: usize = 500;
const MILLISECOND: u64 = 1_000_000;

struct Component;

impl Guest for Component {
    fn decide(_task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        use wasip2::clocks::{monotonic_clock, wall_clock};
        let fine = |nanoseconds: u64| u64::from(!nanoseconds.is_multiple_of(MILLISECOND));
        let readings = (0..READINGS).map(|_| fine(monotonic_clock::now()) + fine(wall_clock::now().nanoseconds.into()));
        let coarse = monotonic_clock::resolution() >= MILLISECOND;
        // In seconds: what is less than 100 ms is waited for as long as that.
        Verdict::AfterMs(1_000 * (readings.sum::<u64>() + u64::from(!coarse)))
    }
}

export!(Component);
