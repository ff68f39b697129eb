//! Recipe: a file must be the one that the `.sha256` beside it describes.

wit_bindgen::generate!({
    inline: "
        package recipe:checksum-sidecar;
        package wasi:keyvalue@0.2.0-draft2 {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                }
            }
        }
        world w {
            import haul:transfer/fetch@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft2;
            export haul:transfer/on-task-start@0.1.0;
            export haul:transfer/verify@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::{on_task_start, verify};
use haul::transfer::fetch::fetch;
use haul::transfer::types::{Request, Task};
use wasi::keyvalue::store::{Bucket, Error, open};

struct Recipe;

impl on_task_start::Guest for Recipe {
    fn handle(task: Task) -> Option<on_task_start::Changes> {
        // In its state, not in a variable: haul has up to two instances of a component, and may be another process then.
        let kept = open("expected").and_then(|expected| match sidecar(&task) {
            Some(digest) => expected.set(&task.id, digest.as_bytes()),
            None => expected.delete(&task.id),
        });
        if let Err(error) = kept {
            println!("cannot keep what is expected (is `keyvalue` granted?): {error:?}");
        }
        None
    }
}

impl verify::Guest for Recipe {
    fn handle(task: Task, finished: verify::Finished) -> Result<(), String> {
        let expected = open("expected").and_then(|expected: Bucket| {
            let digest = expected.get(&task.id)?;
            expected.delete(&task.id)?;
            Ok::<_, Error>(digest)
        });
        let expected = expected.map_err(|error| format!("what is expected of it is not known: {error:?}"))?;
        let found = finished.digests.into_iter().find(|(name, _)| name == "sha-256").map(|(_, hex)| hex.into_bytes());
        match expected.is_none() || expected == found {
            true => Ok(()),
            false => Err("it is not the file that the .sha256 beside it describes".into()),
        }
    }
}

/// The digest in the file beside the task's, which begins with it, as `sha256sum` writes; none: there is no such file.
fn sidecar(task: &Task) -> Option<String> {
    let url = format!("{}.sha256", task.url.split(['?', '#']).next()?);
    let request = Request { method: "GET".into(), url, headers: vec![], body: vec![], extra: vec![] };
    let answer = fetch(&request).inspect_err(|failure| println!("no checksum: {}", failure.description)).ok()?;
    let digest = String::from_utf8(answer.body).ok()?.split_whitespace().next()?.to_ascii_lowercase();
    let is_one = answer.status == 200 && digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then_some(digest)
}

export!(Recipe);
