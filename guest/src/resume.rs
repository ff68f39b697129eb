//! May a task go on from the bytes it has?
//!
//! Bytes of two versions of a resource are never joined: without something that identifies the bytes themselves, the
//! answer is to start afresh (RFC 9110 13.1.5, 15.3.7.3). That also differs from background_downloader, which asks for
//! the range first and fails afterwards (its rule B.5).
//!
//! It judges what is stored, not what the server will say: that is `classify`. It never refuses: a fresh start is always
//! possible.

use crate::bindings::exports::haul::transfer::resume::{Answer, Condition, Stored, Terms, Verdict};
use crate::bindings::haul::transfer::types::Task;
use crate::http;
use alloc::string::String;

#[cfg(test)]
mod tests;

/// A date identifies bytes only when the resource had not been changed for so long before it was sent. RFC 9110 8.8.2.2
/// asks for one second at least; clocks of servers behind one name differ by more.
const DATE_AGE_MS_MIN: u64 = 60_000;

/// Judges what is stored. Told are the conditions that decide, in the same order: of all of them, that of `not-encoded` only
/// where a date would have to do.
pub(crate) fn decide(task: &Task, stored: &Stored) -> Answer {
    let validator = validator(stored);
    let within_size = stored.total_bytes.is_none_or(|total| stored.bytes_done <= total);
    let plain_get = http::is_plain_get(task);
    let is_whole = stored.total_bytes == Some(stored.bytes_done);
    let needs_date = !stored.etag.as_deref().is_some_and(http::is_etag) && stored.last_modified.is_some();
    let conditions = [
        (!is_whole, "strong-validator", validator.is_some()),
        (!is_whole && needs_date, "not-encoded", !stored.encoded),
        (true, "within-size", within_size),
        (!is_whole, "method-get", plain_get),
    ];
    let verdict = if !within_size {
        Verdict::StartAfresh("restarted-changed".into())
    } else if is_whole {
        Verdict::NothingMissing
    } else if !plain_get {
        Verdict::StartAfresh("restarted-method".into())
    } else if let Some(if_range) = validator {
        Verdict::GoOn(Terms { from_bytes: stored.bytes_done, if_range })
    } else {
        Verdict::StartAfresh("restarted-no-validator".into())
    };
    let deciding = conditions.into_iter().filter(|(decides, ..)| *decides);
    let conditions = deciding.map(|(_, name, holds)| Condition { name: name.into(), holds }).collect();
    Answer { verdict, conditions }
}

/// What goes into If-Range: the strong entity tag, or a date where there is no tag at all and the date is strong.
///
/// A weak tag rules the date out too (RFC 9110 13.1.5). An encoded body needs a tag: its date is that of the file which
/// was encoded, and says nothing about how (8.8.1).
fn validator(stored: &Stored) -> Option<String> {
    if let Some(etag) = stored.etag.as_deref().filter(|etag| http::is_etag(etag)) {
        return http::is_strong_etag(etag).then(|| etag.into());
    }
    if stored.encoded {
        return None;
    }
    let last_modified = stored.last_modified.as_deref().map(|text| text.trim_matches([' ', '\t']))?;
    let age_ms = stored.date_at_ms?.checked_sub(stored.last_modified_at_ms?)?;
    let strong = age_ms >= DATE_AGE_MS_MIN && !last_modified.is_empty();
    strong.then(|| last_modified.into())
}
