wit_bindgen::generate!({ world: "filename-hook", path: "../../wit", generate_all });

use exports::haul::transfer::filename::Guest;
use haul::transfer::types::{Response, Task};

struct Component;

impl Guest for Component {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        let next = haul::transfer::filename::decide(&task, &response, &taken);
        format!("{next}{LETTER}")
    }
}

export!(Component);
