//! The default policy of haul: every decision about a task, as pure functions.
//!
//! Built as a component (world `policy` of `../wit`), it answers all decision hooks; built natively, it is a library for
//! its own tests. This file holds all the WIT glue there is: the generated types and one delegation for each hook. The
//! decisions stand in the modules, and use the types of the contract as they are.
//!
//! What it does not do: input and output, reading clocks, drawing randomness, keeping state between calls. Equal
//! arguments give equal answers. No input makes it panic; should one do so all the same, the component traps.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;
#[cfg(not(target_family = "wasm"))]
extern crate std;

mod admit;
mod authorize;
mod classify;
mod filename;
mod http;
mod json;
mod parts;
mod resume;
mod retry;
#[cfg(test)]
mod samples;
#[cfg(target_family = "wasm")]
mod wasm;

/// What wit-bindgen makes of `../wit`. The documentation stands there.
#[allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        world: "policy",
        path: "../wit",
        generate_all,
        additional_derives: [PartialEq, Eq],
    });

    #[cfg(target_family = "wasm")]
    export!(Policy with_types_in self);
    #[cfg(target_family = "wasm")]
    use super::Policy;
}

use alloc::{string::String, vec::Vec};
use bindings::exports::haul::transfer as hooks;
use bindings::haul::transfer::types::{Auth, Failure, Response, Task};

/// The policy as the component exports it.
#[derive(Debug)]
pub struct Policy;

impl hooks::admit::Guest for Policy {
    fn decide(tasks: Vec<Task>, context: hooks::admit::Context) -> Vec<Result<Task, Vec<hooks::admit::Problem>>> {
        admit::decide(tasks, &context)
    }
}

impl hooks::classify::Guest for Policy {
    fn decide(task: Task, asked: hooks::classify::Asked, response: Response) -> hooks::classify::Verdict {
        classify::decide(&task, &asked, &response)
    }
}

impl hooks::filename::Guest for Policy {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        filename::decide(&task, &response, &taken)
    }
}

impl hooks::resume::Guest for Policy {
    fn decide(task: Task, stored: hooks::resume::Stored) -> hooks::resume::Answer {
        resume::decide(&task, &stored)
    }
}

impl hooks::authorize::Guest for Policy {
    fn decide(
        _task: Task,
        auth: Auth,
        situation: hooks::authorize::Situation,
        now_at_ms: u64,
    ) -> hooks::authorize::Verdict {
        authorize::decide(auth, &situation, now_at_ms)
    }
}

impl hooks::retry::Guest for Policy {
    fn decide(task: Task, attempt: hooks::retry::Attempt, failure: Failure) -> hooks::retry::Verdict {
        retry::decide(&task, &attempt, &failure)
    }
}

impl hooks::parts::Guest for Policy {
    fn decide(task: Task, what: hooks::parts::Known) -> hooks::parts::Verdict {
        parts::decide(&task, &what)
    }
}
