//! Recipe: files are named by the day they were last changed on the server.

wit_bindgen::generate!({
    world: "filename-hook",
    path: "../../wit",
    generate_all,
    merge_structurally_equal_types: true,
});

use exports::haul::transfer::filename::Guest;
use haul::transfer::filename::decide as next;
use haul::transfer::types::{Response, Task};

struct Recipe;

impl Guest for Recipe {
    fn decide(task: Task, response: Response, taken: Vec<String>) -> String {
        let Some(day) = day_of(&response) else { return next(&task, &response, &taken) };
        let prefix = format!("{day} ");
        // The next one must not answer a name that is taken once the day is before it.
        let taken: Vec<String> = taken.iter().filter_map(|name| name.strip_prefix(&prefix).map(String::from)).collect();
        format!("{prefix}{}", next(&task, &response, &taken))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as `1994-11-06`.
fn day_of(response: &Response) -> Option<String> {
    let (_, date) = response.headers.iter().find(|(name, _)| name == "last-modified")?;
    let mut words = date.split(' ').skip(1);
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = 1 + months.iter().position(|known| *known == month)?;
    Some(format!("{}-{month:02}-{:02}", year.parse::<u16>().ok()?, day.parse::<u8>().ok()?))
}

export!(Recipe);
