//! Whether bytes that came from one URL are those of another: the last of them are asked for once more at the new one, and
//! must be equal, before anything is joined.
//!
//! Only where a component has given a download another URL. At the same URL a strong validator is asked for, always.

use crate::error::Failure;
use crate::hooks::HookHead;
use crate::transfer::Held;
use crate::transport::Answer;

/// How many bytes are asked for once more, at most.
const MOST: u64 = 1 << 20;
/// With fewer bytes than this a fresh start costs less than the doubt.
const LEAST: u64 = 64 << 10;

/// How many bytes would prove it; 0: nothing is to be proved, or nothing can be. The length must be known: it is compared, too.
pub(super) fn of(held: &Held) -> u64 {
    let can_be = held.resume.pieces.is_empty() && held.resume.total_bytes.is_some() && !held.resume.encoded;
    match held.bytes_done() {
        bytes if held.has_moved() && can_be && bytes >= LEAST => bytes.min(MOST),
        _ => 0,
    }
}

/// Whether an answer that begins so many bytes before the end of the part file brings those, of a resource of that length.
/// Then what follows is the rest.
pub(super) async fn is_equal(held: &Held, answer: &mut Answer, head: &HookHead, overlap: u64) -> Result<bool, Failure> {
    let Some(part) = &held.part else { return Ok(false) };
    let is_encoded = head.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
    let total = head.header("content-range").and_then(|range| range.rsplit('/').next()?.trim().parse::<u64>().ok());
    if is_encoded || total != held.resume.total_bytes {
        return Ok(false);
    }
    let length = usize::try_from(overlap).unwrap_or(usize::MAX);
    let ours = part.read_at(part.len().saturating_sub(overlap), length)?;
    let mut left = ours.as_slice();
    while !left.is_empty() {
        let Some(piece) = answer.body.next().await? else { return Ok(false) };
        let same = piece.len().min(left.len());
        if piece[..same] != left[..same] {
            return Ok(false);
        }
        left = &left[same..];
        answer.body.put_back(&piece[same..]);
    }
    Ok(ours.len() == length)
}
