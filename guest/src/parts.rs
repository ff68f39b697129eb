//! How a parallel download is divided.
//!
//! The arithmetic is background_downloader's (its rule B.7) without its defects: parts are never empty, never smaller
//! than what pays for a connection, and only asked for where they can be joined safely (RFC 9110 15.3.7.3).
//!
//! It does not look at speeds, and does not divide again when one place is slow.

use crate::bindings::exports::haul::transfer::parts::{Known, Part, Verdict};
use crate::bindings::haul::transfer::types::Task;
use crate::http;
use alloc::vec::Vec;

#[cfg(test)]
mod tests;

/// Smaller parts cost more in round trips than they gain. The last part has what is left, a few bytes less.
const PART_BYTES_MIN: u64 = 1024 * 1024;

/// As many parts as a host is ready to follow, however many places and connections a task names.
const PARTS_MAX: u64 = 1024;

/// Divides the resource into `(1 + mirrors) * chunks` parts of equal size, dealt to the places in turn; fewer where they
/// would get too small.
pub(crate) fn decide(task: &Task, what: &Known) -> Verdict {
    let places = 1 + task.mirrors.len() as u64;
    let wanted = places.saturating_mul(u64::from(task.chunks)).min(PARTS_MAX);
    let count = wanted.min(what.total_bytes / PART_BYTES_MIN);
    let reason = if wanted < 2 {
        "one connection was asked for"
    } else if !http::is_plain_get(task) {
        "only a plain GET can be divided"
    } else if http::has(&task.headers, "range") {
        "the task asks for a range of its own"
    } else if count < 2 {
        "it is too small to gain from more connections"
    } else if !what.strong_validator {
        "the server gives no strong validator, so that parts could be of different versions"
    } else if !what.ranges_known {
        "the server is not known to answer ranges"
    } else {
        return Verdict::Divide(divide(what.total_bytes, count, places));
    };
    Verdict::OneStream(reason.into())
}

fn divide(total_bytes: u64, count: u64, places: u64) -> Vec<Part> {
    let size = total_bytes.div_ceil(count.max(1)).max(1);
    let mut parts = Vec::new();
    let mut first_byte = 0;
    while first_byte < total_bytes {
        let end = first_byte.saturating_add(size).min(total_bytes);
        let place = (parts.len() as u64 % places.max(1)) as u32;
        parts.push(Part { place, first_byte, last_byte: end - 1 });
        first_byte = end;
    }
    parts
}
