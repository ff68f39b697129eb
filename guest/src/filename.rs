//! What a downloaded file is called: the name the task gives, else the server's, else the URL's, else `download`; and
//! ` (1)` where that name is taken.
//!
//! What a server says is never trusted: `sanitize` makes one harmless path segment of it. What the task says is kept as it
//! is: `admit` has looked at it. Directories are not decided here, and whether a name is taken is known only to the host.

mod disposition;
mod sanitize;

use crate::bindings::haul::transfer::types::{Response, Task};
use crate::http;
use alloc::{format, string::String};

#[cfg(test)]
mod tests;

/// The name when nothing else gives one.
const FALLBACK: &str = "download";

/// Bytes of a name, at most: what Linux file systems take.
const NAME_BYTES_MAX: usize = 255;

/// Answers a name that is none of `taken`, compared as they are written, capitals and all.
pub(crate) fn decide(task: &Task, response: &Response, taken: &[String]) -> String {
    let given = task.filename.as_deref().filter(|name| !name.is_empty() && *name != "?");
    let name = match given {
        Some(name) => name.into(),
        None => suggested(task, response),
    };
    unique(&name, taken)
}

/// The name by Content-Disposition, or by the URL of the task: not by that which answered, whose name after a redirect is
/// often a number in somebody's storage.
fn suggested(task: &Task, response: &Response) -> String {
    http::values(&response.headers, "content-disposition")
        .find_map(|header| disposition::names(header).into_iter().find_map(|name| sanitize::sanitize(&name)))
        .or_else(|| sanitize::sanitize(&last_segment(&task.url)?))
        .unwrap_or_else(|| FALLBACK.into())
}

/// The last path segment of a URL that is not empty, percent-decoded.
fn last_segment(url: &str) -> Option<String> {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (_, rest) = url.get(..end)?.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    let segment = path.split('/').rfind(|segment| !segment.is_empty())?;
    Some(http::text(http::unescape(segment, true)?))
}

/// The name itself where it is free, else with a number before its last extension: `f.txt`, `f (1).txt`, `f (2).txt`. A
/// number that is there already is counted on (background_downloader B.9, without its defect F22). Of two extensions the
/// second counts, as there: `a.tar (1).gz`.
fn unique(name: &str, taken: &[String]) -> String {
    let is_free = |name: &str| !taken.iter().any(|other| other == name);
    if is_free(name) {
        return name.into();
    }
    let (stem, extension) = split_extension(name);
    let (stem, last) = numbered(stem).unwrap_or((stem, 0));
    // One of so many names is free, since they all differ.
    let numbers = (1..).take(taken.len() + 1).map(|step: u64| u64::from(last).saturating_add(step));
    numbers
        .map(|number| shortened(stem, &format!(" ({number}){extension}")))
        .find(|name| is_free(name))
        .unwrap_or_else(|| name.into())
}

/// Splits `a.b.c` into `a.b` and `.c`. A dot at the start or the end begins no extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => name.split_at_checked(dot).unwrap_or((name, "")),
        _ => (name, ""),
    }
}

/// Splits `f (12)` into `f` and 12.
fn numbered(stem: &str) -> Option<(&str, u32)> {
    let (before, digits) = stem.strip_suffix(')')?.rsplit_once(" (")?;
    if before.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((before, digits.parse().ok()?))
}

/// Joins the two, with so much cut off the first that a file system takes the whole.
fn shortened(stem: &str, end: &str) -> String {
    let room = NAME_BYTES_MAX.saturating_sub(end.len());
    let mut name: String = sanitize::cut(stem, room).into();
    name.push_str(end);
    name
}
