//! Recipe: a file that must not be there never gets its name.

wit_bindgen::generate!({ world: "verify-hook", path: "../../wit", generate_all });

use exports::haul::transfer::verify::{Finished, Guest};
use haul::transfer::types::Task;

/// SHA-256 of files that are known to be bad.
const BAD: [&str; 1] = ["055c03396a71f6b49c3f26e11c8b7bdf29d18082160bec476e36eaa73a72d9f7"];
/// How programs begin: for Windows, for Linux, scripts.
const PROGRAMS: [&[u8]; 3] = [b"MZ", b"\x7fELF", b"#!"];

struct Recipe;

impl Guest for Recipe {
    fn handle(_task: Task, finished: Finished) -> Result<(), String> {
        let is_bad = |(name, value): &(String, String)| name == "sha-256" && BAD.contains(&value.as_str());
        if finished.digests.iter().any(is_bad) {
            return Err("it is on the list of bad files".into());
        }
        if PROGRAMS.iter().any(|program| finished.first_bytes.starts_with(program)) {
            return Err("it is a program, and only documents are wanted here".into());
        }
        Ok(())
    }
}

export!(Recipe);
