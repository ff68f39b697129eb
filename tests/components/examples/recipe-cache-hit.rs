//! Recipe: what is known already is not asked for.

wit_bindgen::generate!({ world: "on-request-hook", path: "../../wit", generate_all });

use exports::haul::transfer::on_request::{Guest, Verdict};
use haul::transfer::types::{Request, Response, Task};

/// End of the URL, and what it has.
const KNOWN: [(&str, &str); 1] = [("/robots.txt", "User-agent: *\nDisallow:\n")];

struct Recipe;

impl Guest for Recipe {
    fn handle(_task: Task, request: Request) -> Verdict {
        let Some((_, content)) = KNOWN.iter().find(|(end, _)| request.url.ends_with(end)) else {
            return Verdict::Next(request);
        };
        let response = Response {
            status: 200,
            headers: vec![("content-type".into(), "text/plain".into())],
            url: request.url,
            body: content.as_bytes().to_vec(),
            extra: vec![],
        };
        Verdict::Resolve((response, false)) // nobody else needs to look at it
    }
}

export!(Recipe);
