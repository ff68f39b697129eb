//! Decides on a file's name, after a while.

wit_bindgen::generate!({ world: "filename-hook", path: "target/wit-decisions", generate_all });

use exports::haul::transfer::filename::Guest;
use haul::transfer::types::{Response, Task};

struct Component;

impl Guest for Component {
    async fn decide(_task: Task, _response: Response, _taken: Vec<String>) -> String {
        wasip3::clocks::monotonic_clock::wait_for(1_000_000).await;
        "waited.txt".into()
    }
}

export!(Component);
