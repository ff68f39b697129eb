//! Answers with a name of 8 MiB, and with 200,000 headers that are all the same few bytes of its memory.

wit_bindgen::generate!({
    inline: "
        package test:huge;
        world w {
            export haul:transfer/filename@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::{filename, on_task_start};
use haul::transfer::types::{Response, Task};

struct Component;

impl filename::Guest for Component {
    fn decide(_task: Task, _response: Response, _taken: Vec<String>) -> String {
        "a".repeat(8 << 20)
    }
}

impl on_task_start::Guest for Component {
    fn handle(_task: Task) -> Option<on_task_start::Changes> {
        let text: &'static mut [u8] = vec![b'a'; 4096].leak();
        // Never freed: each of them is the same memory, which is what costs the host and not the guest.
        let same = || unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) };
        let headers = (0..200_000).map(|_| (same(), same())).collect();
        Some(on_task_start::Changes { url: None, headers, remove_headers: vec![] })
    }
}

export!(Component);
