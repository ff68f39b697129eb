//! The end of a download whose bytes are all there: the digest is compared, hook `verify` asked, the part file handed over. What
//! follows is the publisher's business.

use std::sync::Arc;

use percent_encoding::NON_ALPHANUMERIC;

use super::{Wire, own_range};
use crate::digest::{self, Algorithm, Checksum, Hasher};
use crate::error::{Failure, FailureKind};
use crate::event::Details;
use crate::hooks::{Head, Hook, HookHead};
use crate::sandbox::Directory;
use crate::task::{AnswerHead, Pairs, Task};
use crate::transfer::{Context, Finished, Held, Stopped, callbacks, details_of};

/// The digest to check: the task's, else what this answer states, else what the first one has stated.
pub(in crate::transfer) fn expected_digest(task: &Task, held: &Held, head: &HookHead) -> Option<Checksum> {
    if let Some(text) = &task.checksum {
        return Checksum::parse(text).ok();
    }
    let kept = || held.resume.digest.as_deref().and_then(|text| Checksum::parse(text).ok());
    stated_digest(task, head).or_else(kept)
}

/// The digest of the whole that an answer states: its `Repr-Digest`, else the `Content-Digest` of a 200.
pub(super) fn stated_digest(task: &Task, head: &HookHead) -> Option<Checksum> {
    // `Repr-Digest` is of the whole resource, in a 206 too, and `Content-Digest` of what one message has of it; an answer to
    // HEAD states them and has nothing (RFC 9530 sections 2, 3).
    if own_range(task) || task.http_request_method.eq_ignore_ascii_case("HEAD") {
        return None;
    }
    let stated = |field: &str| digest::from_headers(head.headers(), field);
    let of_all = || stated("content-digest").filter(|_| head.status() == 200);
    stated("repr-digest").or_else(of_all)
}

/// Nothing was missing: no question is asked, but the checks are made. What the update says of an answer is what the bytes began
/// with.
pub(super) async fn finish_stored(
    cx: &Context<'_>,
    held: &mut Held,
    directory: Directory,
    wire: &Wire,
) -> Result<Finished, Stopped> {
    let known = held.resume.answer.clone();
    let is_known = known.is_some();
    let AnswerHead { status, headers } = known.unwrap_or_else(|| {
        let suggested = ("content-disposition".to_owned(), disposition(&held.resume.final_name));
        AnswerHead { status: 200, headers: vec![suggested] }
    });
    let head = HookHead::from(Head { status, url: wire.url.clone(), headers, ..Head::default() });
    let told = if is_known { details_of(status, &head) } else { Details::default() };
    let details = Details { resumed_from: held.resumed_from, ..told };
    Ok(finish(cx, held, &directory, details, head, None).await?)
}

/// What suggests this name (RFC 6266 section 4.3): where it is taken by now, the file's next name is made of it, and not of the
/// URL's.
fn disposition(name: &str) -> String {
    format!("attachment; filename*=UTF-8''{}", percent_encoding::utf8_percent_encode(name, NON_ALPHANUMERIC))
}

pub(super) async fn finish(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    details: Details,
    head: HookHead,
    digest: Option<String>,
) -> Result<Finished, Failure> {
    let expected = expected_digest(cx.task, held, &head);
    finish_with(cx, held, directory, details, head, digest, expected).await
}

/// Checks the digest and hands the part file over.
pub(in crate::transfer) async fn finish_with(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    mut details: Details,
    head: HookHead,
    digest: Option<String>,
    expected: Option<Checksum>,
) -> Result<Finished, Failure> {
    if let Some(checksum) = &expected {
        compare(held, checksum, digest.clone()).await?;
        held.notes.retain(|note| note != "integrity-unverified");
    }
    if cx.chain.has(Hook::Verify) {
        let known = known_digests(held, expected, digest).await?;
        callbacks::verify(cx, held, known).await?;
    }
    let gone = || Failure::new(FailureKind::General, "the part file is gone");
    let part = held.part.as_mut().ok_or_else(gone)?;
    let finished = match held.resume.total_bytes.filter(|total| *total != part.len()) {
        Some(total) => {
            let text = format!("the part file has {} bytes, and not the {total} of the whole", part.len());
            Err(Failure::new(FailureKind::Checksum, text))
        }
        None => part.finish(),
    };
    held.part_was_changed = finished.as_ref().is_err_and(|failure| failure.kind == FailureKind::Checksum);
    finished?;
    let part = held.part.take().ok_or_else(gone)?;
    if held.resumed_from > 0 {
        held.note("resumed");
    }
    details.notes.clone_from(&held.notes);
    details.file_size = Some(part.len());
    details.resumed_from = held.resumed_from;
    details.hops = cx.trail.take();
    let mut resume = std::mem::take(&mut held.resume);
    resume.total_bytes = Some(part.len());
    resume.boot_id.clone_from(&cx.shared.boot_id);
    Ok(Finished {
        key: cx.key,
        task: Arc::clone(cx.task),
        directory: directory.clone(),
        part_name: resume.part_name.clone(),
        identity: part.identity(),
        size: part.len(),
        final_name: resume.final_name.clone(),
        resume,
        head,
        details: Arc::new(details),
    })
}

/// The digests of the file that hook `verify` sees. `expected`: what the file has been compared with; `digest`: what was
/// computed while it came.
async fn known_digests(held: &Held, expected: Option<Checksum>, digest: Option<String>) -> Result<Pairs, Failure> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut known = Pairs::new();
    let sha256 = match expected {
        Some(checksum) if checksum.algorithm() == Algorithm::Sha256 => Some(checksum.hex().to_owned()),
        Some(checksum) => {
            known.push(pair(checksum.name(), checksum.hex().to_owned()));
            None
        }
        None => digest,
    };
    let sha256 = match sha256 {
        Some(digest) => digest,
        None => digest_of(held, Hasher::new(Algorithm::Sha256)).await?,
    };
    known.insert(0, pair(Algorithm::Sha256.name(), sha256));
    Ok(known)
}

/// Reads the whole part file.
async fn digest_of(held: &Held, hasher: Hasher) -> Result<String, Failure> {
    let gone = || Failure::new(FailureKind::General, "the part file is gone");
    let reader = held.part.as_ref().ok_or_else(gone)?.reader()?;
    let read = tokio::task::spawn_blocking(move || hasher.read_all(reader)).await;
    let read = read.map_err(|_| Failure::new(FailureKind::General, "the digest could not be computed"))?;
    read.map_err(|error| Failure::file_system("cannot read the part file", &error))
}

/// Compares the digest of the whole file, reading it again when some of it came in an earlier attempt.
async fn compare(held: &Held, checksum: &Checksum, digest: Option<String>) -> Result<(), Failure> {
    let found = match digest {
        Some(digest) => digest,
        None => digest_of(held, checksum.hasher()).await?,
    };
    if checksum.matches(&found) {
        return Ok(());
    }
    let text = format!("the file's {} is {found}, not {}", checksum.name(), checksum.hex());
    Err(Failure::new(FailureKind::Checksum, text))
}
