//! The pieces of HTTP's grammar that several decisions share: header fields, entity tags, byte ranges, methods.
//!
//! It reads and never guesses: what does not follow the grammar is `None`. It knows nothing of tasks' meaning, and keeps
//! away from dates: reading them is the host's part, which has a clock to compare them with.

use crate::bindings::haul::transfer::types::{Body, Task, TaskKind};
use alloc::{string::String, vec::Vec};

#[cfg(test)]
mod tests;

/// All values of a header, in order. Names are compared without regard to case (RFC 9110 5.1).
pub(crate) fn values<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_matches([' ', '\t']))
}

/// The protocol by which an upload goes on where it was interrupted; `extra` names it.
pub(crate) fn resumable(task: &Task) -> Option<&str> {
    task.extra.iter().find(|(name, _)| name == "haul.resumable").map(|(_, value)| value.as_str())
}

/// Whether the content of a file, by its number from 0, is in the task and not on the disk; `extra` names those.
pub(crate) fn is_in_task(task: &Task, file: usize) -> bool {
    let named = task.extra.iter().find(|(name, _)| name == "haul.files-in-task");
    let numbers = named.map_or("", |(_, value)| value.as_str());
    numbers.split(',').any(|number| number.parse() == Ok(file))
}

/// Whether a header is there at all.
pub(crate) fn has(headers: &[(String, String)], name: &str) -> bool {
    values(headers, name).next().is_some()
}

/// The value of a header that must not be repeated. `None` when it is absent, or repeated with another value.
pub(crate) fn single<'a>(headers: &'a [(String, String)], name: &'a str) -> Option<&'a str> {
    let mut all = values(headers, name);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// A token (RFC 9110 5.6.2), which is what names of headers are.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What may be sent as a header's value (RFC 9110 5.5): visible characters, spaces, tabs, and anything beyond ASCII.
pub(crate) fn is_field_value(text: &str) -> bool {
    text.chars().all(|character| character == '\t' || !character.is_control())
}

/// A number as HTTP writes it: digits and nothing else (`1*DIGIT`). `None` too when it does not fit.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A Content-Length. The same number several times over counts as one (RFC 9110 8.6).
pub(crate) fn content_length(text: &str) -> Option<u64> {
    let mut all = text.split(',').map(|one| number(one.trim_matches([' ', '\t'])));
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// Whether this is an entity tag that identifies bytes (RFC 9110 8.8.3): quoted, not weak, and not empty. The grammar allows the
/// empty one, but servers that send it send it for everything.
pub(crate) fn is_strong_etag(text: &str) -> bool {
    is_opaque_tag(text)
}

/// Whether this is an entity tag of either kind.
pub(crate) fn is_etag(text: &str) -> bool {
    is_opaque_tag(text.strip_prefix("W/").unwrap_or(text))
}

fn is_opaque_tag(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| {
        !inner.is_empty()
            && inner.chars().all(|character| character != '"' && character != ' ' && !character.is_control())
    })
}

/// A Content-Range (RFC 9110 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes first-last/complete`, with `first <= last < complete`; no `complete` for `*`.
    Part { first: u64, last: u64, complete: Option<u64> },
    /// `bytes */complete`, which only a 416 has.
    Unsatisfied { complete: u64 },
}

/// Reads a Content-Range; `None` when it is not valid, which forbids to use the body at all (RFC 9110 14.4).
pub(crate) fn content_range(text: &str) -> Option<ContentRange> {
    let (unit, rest) = text.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, complete) = rest.trim_start_matches(' ').split_once('/')?;
    if range == "*" {
        return Some(ContentRange::Unsatisfied { complete: number(complete)? });
    }
    let complete = if complete == "*" { None } else { Some(number(complete)?) };
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let fits = first <= last && complete.is_none_or(|complete| last < complete);
    fits.then_some(ContentRange::Part { first, last, complete })
}

/// What a `Range` header of a task asks for. Only one range of bytes is understood (RFC 9110 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedRange {
    /// `bytes=first-last` or `bytes=first-`.
    From { first: u64, last: Option<u64> },
    /// `bytes=-length`.
    Last { length: u64 },
}

/// Reads a `Range` header.
pub(crate) fn asked_range(text: &str) -> Option<AskedRange> {
    let (unit, range) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    if first.is_empty() {
        let length = number(last)?;
        return (length > 0).then_some(AskedRange::Last { length });
    }
    let first = number(first)?;
    let last = if last.is_empty() { None } else { Some(number(last)?) };
    last.is_none_or(|last| first <= last).then_some(AskedRange::From { first, last })
}

/// Whether a task is a plain GET without a body, the only thing ranges can be asked of (RFC 9110 14.2).
pub(crate) fn is_plain_get(task: &Task) -> bool {
    (task.method.is_empty() || task.method.eq_ignore_ascii_case("GET")) && matches!(task.body, Body::None)
}

/// Whether doing it twice comes to the same by the method alone (RFC 9110 9.2.2, and the safe ones of other standards). Of a
/// method that is not known, nobody can say so. The host's transport has the same list; a test there compares the two.
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH"
    )
}

/// Whether the response's body becomes a file.
pub(crate) fn is_download(task: &Task) -> bool {
    matches!(task.kind, TaskKind::Download | TaskKind::ParallelDownload | TaskKind::Other(_))
}

/// Appends a byte as `%XX`.
pub(crate) fn push_escaped(out: &mut String, byte: u8) {
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
    }
}

/// Resolves `%XX` into bytes. An escape that is none stays as it is when `lenient`, else the result is `None`.
pub(crate) fn unescape(text: &str, lenient: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match escaped_byte(after) {
            Some(value) if byte == b'%' => {
                bytes.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None if byte == b'%' && !lenient => return None,
            _ => bytes.push(byte),
        }
    }
    Some(bytes)
}

/// The byte that the first two characters spell in hexadecimal.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*text.get(index)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// Text of bytes: UTF-8 where they are that, else ISO-8859-1, which anything is.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Compares the start without regard to the case of ASCII letters.
pub(crate) fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Compares the end without regard to the case of ASCII letters.
pub(crate) fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|start| text.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}
