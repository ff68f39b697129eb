//! Names below an open directory: what may be used at all, and what part files are called.
//!
//! Cleaning names that servers suggest is the `filename` hook's; here a bad name is refused.

use sha2::{Digest, Sha256};

use crate::error::{Failure, FailureKind};

/// Bytes of the final name, and of the task id, that go into a part file's name.
const BASE_BYTES: usize = 100;
const ID_BYTES: usize = 64;

/// Whether `name` is one component of a path and nothing else.
pub(super) fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if is_component(name) {
        return Ok(());
    }
    let text = format!("{name:?} is not the name of a file");
    Err(Failure::new(FailureKind::Policy, text))
}

/// The name of a task's part file: `.<name, at most 100 bytes>.<task id, at most 64 bytes>.part`. An id that has other
/// characters than `A-Za-z0-9_-`, or is too long, is replaced by what is left of it and the beginning of its SHA-256, so
/// that two tasks never share a name.
pub(crate) fn part_name(final_name: &str, task_id: &str) -> String {
    let base = cut(final_name, BASE_BYTES).replace(['/', '\0'], "_");
    let safe = task_id.len() <= ID_BYTES && is_id(task_id);
    if safe {
        return format!(".{base}.{task_id}.part");
    }
    let digest = Sha256::digest(task_id.as_bytes());
    let hash: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let left = task_id.replace(|c: char| !is_id_character(c), "_");
    let left = cut(&left, ID_BYTES - 1 - hash.len());
    format!(".{base}.{left}-{hash}.part")
}

/// Whether [`part_name`] may have made the name.
pub(super) fn is_part_name(name: &str) -> bool {
    let inside = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".part"));
    let Some((base, id)) = inside.and_then(|inside| inside.rsplit_once('.')) else {
        return false;
    };
    base.len() <= BASE_BYTES && id.len() <= ID_BYTES && is_id(id) && is_component(name)
}

/// What a name and its numbered variants begin with: the text before ` (n)` and before the first dot that is not its first
/// character.
pub(super) fn stem(name: &str) -> &str {
    let first = name.chars().next().map_or(0, char::len_utf8);
    let end = name[first..].find('.').map_or(name.len(), |at| first + at);
    let stem = &name[..end];
    let number = stem.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    match number {
        Some((before, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => before,
        _ => stem,
    }
}

/// What a name becomes when it is taken: `f (1).txt`, `f (2).txt`, and so on; `f (4).txt` becomes `f (5).txt`.
pub(crate) fn numbered(name: &str) -> impl Iterator<Item = String> {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let (stem, last) = counted(stem).unwrap_or((stem, 0));
    (u64::from(last) + 1..).map(move |number: u64| format!("{stem} ({number}){extension}"))
}

/// Splits `f (12)` into `f` and 12.
fn counted(stem: &str) -> Option<(&str, u32)> {
    let (before, digits) = stem.strip_suffix(')')?.rsplit_once(" (")?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if before.is_empty() || !is_number { None } else { Some((before, digits.parse().ok()?)) }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(is_id_character)
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// At most `bytes` bytes of the text, ending between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
