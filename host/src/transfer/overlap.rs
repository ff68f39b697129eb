//! Whether bytes that came from one URL are those of another: the last of them are asked for once more at the new one, and
//! must be equal, before anything is joined.
//!
//! Where a redirect leads elsewhere than before, a task has mirrors, or a component has given it another URL. At the same URL a
//! strong validator is asked for, always. An equal validator is proof enough where only the URL's query is another one (a new
//! signature), and not at another path or origin: validators tell the versions of one resource apart, not resources (RFC 9110
//! section 8.8.1).

use std::ops::Range;

use crate::error::Failure;
use crate::hooks::HookHead;
use crate::transfer::Held;
use crate::transport::Answer;

/// How many bytes are asked for once more, at most.
const MOST: u64 = 1 << 20;
/// With fewer bytes than this a fresh start costs less than the doubt. So many are enough where the validator is the same.
const LEAST: u64 = 64 << 10;

/// How many bytes would prove it; 0: nothing is to be proved, or nothing can be. The length of the whole must be known: it is
/// compared, too. Of a range that a task wants itself it is not.
pub(super) fn of(held: &Held) -> u64 {
    let is_whole = held.resume.pieces.is_empty() && held.resume.first_byte.is_none();
    let can_be = is_whole && held.resume.total_bytes.is_some() && !held.resume.encoded;
    match held.bytes_done() {
        bytes if held.has_moved() && can_be && bytes >= LEAST => bytes.min(MOST),
        _ => 0,
    }
}

/// Whether an equal validator is proof enough at the URL that is asked, because it is that of the resource that the stored bytes
/// came from: where the task has one URL only, that or where it led; or one that they were proved for.
pub(super) fn is_known(held: &Held, only: Option<&str>, asked: &str) -> bool {
    let proved = held.changes.as_ref().filter(|changes| changes.is_joined).and_then(|changes| changes.url.as_deref());
    let known = [only, Some(held.resume.final_url.as_str()), proved];
    known.into_iter().flatten().any(|known| is_same_resource(known, asked))
}

/// Which stored bytes of a divided download are compared: the end of its longest piece. Empty: nothing is stored.
pub(super) fn sample(held: &Held) -> Range<u64> {
    let longest = held.resume.pieces.iter().max_by_key(|piece| piece.bytes_done());
    longest.map_or(0..0, |piece| piece.next_byte - piece.bytes_done().min(LEAST)..piece.next_byte)
}

/// Whether that many bytes prove it as well as any.
pub(super) fn is_enough(sample: &Range<u64>) -> bool {
    sample.end - sample.start >= LEAST
}

/// Whether an answer came from elsewhere than the stored bytes, by a redirect or because a component sent the request there.
pub(super) fn is_moved(held: &Held, answer: &Answer) -> bool {
    !is_same_resource(&held.resume.final_url, &answer.url)
}

/// How many bytes are proof enough under the same validator.
pub(super) fn least(held: &Held) -> u64 {
    held.bytes_done().min(LEAST)
}

/// Whether two URLs differ in nothing but their queries.
pub(super) fn is_same_resource(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (url::Url::parse(one), url::Url::parse(other)) else { return false };
    one.origin() == other.origin() && one.path() == other.path()
}

/// Whether an answer that begins with these bytes of the part file brings the same ones, of a resource of that length. Then what
/// follows is the rest.
pub(super) async fn is_equal(
    held: &Held,
    answer: &mut Answer,
    head: &HookHead,
    stored: Range<u64>,
) -> Result<bool, Failure> {
    if !has_form(held, head) {
        return Ok(false);
    }
    let ours = read(held, stored)?;
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
    Ok(!ours.is_empty())
}

/// Whether an answer is of a resource of that length and coding.
pub(super) fn has_form(held: &Held, head: &HookHead) -> bool {
    !has_other_coding(held, head) && total_of(head) == held.resume.total_bytes
}

/// Whether a part is encoded, and the stored bytes are not. (The other way round tells nothing: a 206 to If-Range leaves such
/// headers out, RFC 9110 section 15.3.7.)
pub(super) fn has_other_coding(held: &Held, head: &HookHead) -> bool {
    is_encoded(head) && !held.resume.encoded
}

/// Whether the content is encoded.
pub(super) fn is_encoded(head: &HookHead) -> bool {
    head.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// The length of the whole that a part names; `None`: it does not.
pub(super) fn total_of(head: &HookHead) -> Option<u64> {
    head.header("content-range")?.rsplit('/').next()?.trim().parse().ok()
}

/// These bytes of the part file; none if they are not all there.
pub(super) fn read(held: &Held, stored: Range<u64>) -> Result<Vec<u8>, Failure> {
    let Some(part) = &held.part else { return Ok(Vec::new()) };
    let length = usize::try_from(stored.end - stored.start).unwrap_or(usize::MAX);
    let mut bytes = part.read_at(stored.start, length)?;
    if bytes.len() != length {
        bytes.clear();
    }
    Ok(bytes)
}
