//! Writes a line that tries to steer the terminal, and then 200 KB more.

wit_bindgen::generate!({ world: "on-task-finished-hook", path: "../../wit", generate_all });

use exports::haul::transfer::on_task_finished::Guest;
use haul::transfer::types::{Task, Update};

struct Component;

impl Guest for Component {
    fn handle(_task: Task, _update: Update) {
        println!("\u{1b}[2Jcleared");
        for number in 0..2_000 {
            println!("{number}: {}", "a".repeat(90));
        }
    }
}

export!(Component);
