//! Waits over WASI 0.3 in a hook that is a plain `func`, or does there what needs no waiting, as the task's metadata says.

wit_bindgen::generate!({ world: "retry-hook", path: "../../../wit", generate_all });

use exports::haul::transfer::retry::{Attempt, Guest, Verdict};
use haul::transfer::types::{Failure, Task};
use wasip3::clocks::monotonic_clock::{now, wait_for};
use wit_bindgen::block_on;

const MILLISECOND: u64 = 1_000_000;

struct Component;

impl Guest for Component {
    fn decide(task: Task, _attempt: Attempt, _failure: Failure) -> Verdict {
        match task.meta_data.as_str() {
            "wait" => block_on(wait_for(MILLISECOND)),
            _ => block_on(write(b"written without waiting\n")),
        }
        Verdict::AfterMs(1_000 + now() % MILLISECOND)
    }
}

async fn write(line: &[u8]) {
    let (mut sender, receiver) = wasip3::wit_stream::new();
    let written = wasip3::cli::stdout::write_via_stream(receiver);
    sender.write_all(line.to_vec()).await;
    drop(sender);
    let _ = written.await;
}

export!(Component);
