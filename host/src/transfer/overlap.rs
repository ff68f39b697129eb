//! Whether bytes that came from one URL are those of another: the last of them are asked for once more at the new one, and
//! must be equal, before anything is joined.
//!
//! Where a redirect leads elsewhere than before, a task has mirrors, or a component has given it another URL. At the same URL a
//! strong validator is asked for, always. An equal entity tag is proof enough where only parameters that sign the URL are others,
//! and not at another path or origin, nor where a component has changed what else the query says: validators tell the versions of
//! one resource apart, not resources (RFC 9110 section 8.8.1).

use std::ops::Range;

use crate::error::Failure;
use crate::hooks::HookHead;
use crate::task::Task;
use crate::transfer::{Context, Held};
use crate::transport::Answer;

/// How many bytes are asked for once more, at most.
const MOST: u64 = 1 << 20;
/// With fewer bytes than this a fresh start costs less than the doubt. So many are enough where the validator is the same.
const LEAST: u64 = 64 << 10;

/// Query parameters that sign a URL, and say nothing of what is there: of S3, Google, CloudFront, Azure, Akamai, OSS and others. In
/// lower case.
const SIGNING: [&str; 29] = [
    "access_token",
    "auth_key",
    "awsaccesskeyid",
    "expires",
    "googleaccessid",
    "hdnea",
    "hdnts",
    "hmac",
    "jwt",
    "key-pair-id",
    "ossaccesskeyid",
    "policy",
    "se",
    "security-token",
    "sig",
    "signature",
    "sip",
    "ske",
    "skoid",
    "sks",
    "skt",
    "sktid",
    "skv",
    "sp",
    "spr",
    "sr",
    "st",
    "sv",
    "token",
];
/// With what the names of others begin.
const SIGNING_PREFIXES: [&str; 2] = ["x-amz-", "x-goog-"];

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
/// came from: where the task has one URL only, that or where it led, unless a component has led an earlier run of it; or one that they
/// were proved for. What is secret in where it
/// led is not known any more.
pub(super) fn is_known(held: &Held, only: Option<&str>, asked: &str) -> bool {
    let changes = held.changes.as_ref();
    let proved = changes.filter(|changes| changes.is_joined).and_then(|changes| changes.url.as_deref());
    let only = only.filter(|_| !changes.is_some_and(|changes| changes.is_over && changes.has_moved()));
    let known = [only, Some(held.resume.final_url.as_str()), proved];
    known.into_iter().flatten().any(|known| is_same_link(held, known, asked))
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
pub(super) fn is_moved(cx: &Context<'_>, held: &Held, answer: &Answer) -> bool {
    !is_same_place(cx, held, &held.resume.final_url, &answer.url)
}

/// Whether two answers came from the same place. A server changes queries of its own redirects as it likes; where a component has
/// changed a URL, its query counts.
pub(super) fn is_same_place(cx: &Context<'_>, held: &Held, one: &str, other: &str) -> bool {
    let has_led = cx.interceptors.as_ref().is_some_and(|interceptors| interceptors.has_led());
    if has_led { is_same_link(held, one, other) } else { is_same_resource(one, other) }
}

/// Whether two URLs are the same but for how they are signed. A date tells too little for that: one script may give all its
/// files the same.
pub(super) fn is_same_link(held: &Held, one: &str, other: &str) -> bool {
    let query =
        |url: &str| url::Url::parse(url).ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default();
    let (first, second) = (query(one), query(other));
    let has_tag = || strong_tag(held.resume.etag.as_deref()).is_some();
    let differ_in_signature = || has_tag() && unsigned(&first) == unsigned(&second);
    is_same_resource(one, other) && (first == second || differ_in_signature())
}

/// What a query says beside what signs it.
fn unsigned(query: &str) -> Vec<&str> {
    let signs = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
        SIGNING.contains(&name.as_str()) || SIGNING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    query.split('&').filter(|parameter| !parameter.is_empty() && !signs(parameter)).collect()
}

/// Whether an answer is of another version by both sides' own words: two strong entity tags that differ. No comparison of some
/// bytes is proof against that; a checksum of the whole, which the task gives, will be.
pub(super) fn is_other_version(task: &Task, held: &Held, head: &HookHead) -> bool {
    let tags = strong_tag(held.resume.etag.as_deref()).zip(strong_tag(head.header("etag")));
    task.checksum.is_none() && tags.is_some_and(|(ours, theirs)| ours != theirs)
}

/// Whether a part does not say of which version it is: asked for under a date, a server may leave that out (RFC 9110 section
/// 15.3.7), some leave out the tag, and one that takes no notice of If-Range looks just so.
pub(super) fn is_unnamed(if_range: &str, head: &HookHead) -> bool {
    let name = if strong_tag(Some(if_range)).is_some() { "etag" } else { "last-modified" };
    !if_range.is_empty() && head.header(name).is_none()
}

/// An entity tag that identifies bytes (RFC 9110 section 8.8.3).
fn strong_tag(text: Option<&str>) -> Option<&str> {
    text.filter(|text| text.len() > 2 && text.starts_with('"') && text.ends_with('"'))
}

/// The length that a resource is known to have, where an answer does not say its own and names the same version at the same
/// place.
pub(super) fn known_length(cx: &Context<'_>, held: &Held, answer: &Answer, head: &HookHead) -> Option<u64> {
    let tag = strong_tag(head.header("etag"));
    let is_version = tag.is_some() && tag == held.resume.etag.as_deref() && held.resume.encoded == is_encoded(head);
    let is_same = is_version && held.resume.first_byte.is_none() && !is_moved(cx, held, answer);
    held.resume.total_bytes.filter(|_| is_same)
}

/// How many bytes are proof enough under the same validator.
pub(super) fn least(held: &Held) -> u64 {
    least_of(held.bytes_done())
}

/// The same of so many stored bytes.
pub(super) fn least_of(bytes: u64) -> u64 {
    bytes.min(LEAST)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_the_same_where_only_what_signs_them_differs_and_there_is_an_entity_tag() {
        let mut tagged = Held::default();
        tagged.resume.etag = Some("\"1\"".into());
        let is_same =
            |one: &str, other: &str| is_same_link(&tagged, &format!("http://h/f{one}"), &format!("http://h/f{other}"));
        assert!(is_same("?X-Amz-Date=1&X-Amz-Signature=2&v=1", "?v=1&x-amz-signature=3"));
        assert!(is_same("?sv=1&sig=***", "?sv=1&sig=a%2Bb&se=9") && is_same("", "?Expires=1&Signature=2"));
        assert!(!is_same("?id=A&sig=1", "?id=B&sig=2") && !is_same("?key=***", "?key=b") && !is_same("", "?id=B"));
        assert!(!is_same("", "/g"));
        let dated = Held::default();
        assert!(!is_same_link(&dated, "http://h/f?sig=1", "http://h/f?sig=2"));
        assert!(is_same_link(&dated, "http://h/f?sig=1", "http://h/f?sig=1"));
        let mut empty = Held::default();
        empty.resume.etag = Some("\"\"".into());
        assert!(!is_same_link(&empty, "http://h/f?sig=1", "http://h/f?sig=2"), "an empty tag is none");
    }
}
