//! What earlier attempts have left of a download, and whether it is gone on with: hook `resume`, and what is certainly good of a part
//! file.

use super::{Question, Wire, own_range};
use crate::error::{Failure, FailureKind};
use crate::hooks::ResumeVerdict;
use crate::sandbox::{Directory, Identity, PartFile};
use crate::task::Task;
use crate::transfer::{Context, Held, Stopped, overlap};

/// Whether the file is whole and has its name, which an earlier attempt could not make durable. Takes it for the part file.
pub(super) fn is_named(cx: &Context<'_>, held: &mut Held, directory: &Directory) -> Result<bool, Failure> {
    let Some(resume) = cx.record.resume.as_ref().filter(|_| !held.gave_up && held.part.is_none()) else {
        return Ok(false);
    };
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    if directory.identity(&resume.final_name) != Some(identity) {
        return Ok(false);
    }
    let part = directory.open_part(&resume.final_name, identity)?;
    let Some(part) = part.filter(|part| Some(part.len()) == resume.total_bytes) else { return Ok(false) };
    (held.resume, held.recorded, held.resumed_from) = (resume.clone(), true, part.len());
    held.part = Some(part);
    Ok(true)
}

pub(super) enum Stored {
    Nothing,
    All,
    GoOn(Question),
}

/// Asks the `resume` hook about what an earlier attempt, or an earlier place of this one, has left.
pub(super) async fn what_is_stored(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    wire: &Wire,
) -> Result<Stored, Stopped> {
    if !open_stored(cx, held, directory).await? {
        return Ok(Stored::Nothing);
    }
    let bytes = held.bytes_done();
    let is_known = overlap::is_known(held, only_url(cx.task, wire), &wire.url);
    let is_doubtful = |held: &Held| held.resume.doubtful_from.is_some_and(|from| held.bytes_done() > from);
    let least = |held: &Held| if is_known && !is_doubtful(held) { 0 } else { overlap::least(held) };
    if own_range(cx.task) != is_within_range(held) || (own_range(cx.task) && least(held) > 0) {
        return Ok(instead(cx, held, "restarted-own-range").await?);
    }
    let (verdict, _) = cx.chain.resume(cx.hook_task, bytes, &held.resume).await?;
    let id = &cx.task.task_id;
    match verdict {
        ResumeVerdict::GoOn { from_bytes, if_range } => {
            let from = from_bytes.min(bytes);
            tracing::info!("{id}: {bytes} bytes are stored: goes on at byte {from} if it is still {if_range}");
            if !held.resume.pieces.is_empty() && from < bytes {
                held.give_up(cx.shared, cx.key).await?; // its pieces have no common end to cut at
                return Ok(Stored::Nothing);
            }
            if let Some(part) = held.part.as_mut().filter(|part| part.len() > from && held.resume.pieces.is_empty()) {
                part.truncate(from)?;
            }
            held.resumed_from = from;
            let offset = held.resume.first_byte.unwrap_or(0);
            let to = held.resume.total_bytes.filter(|_| is_within_range(held)).map(|total| offset + total - 1);
            let overlap = least(held);
            Ok(Stored::GoOn(Question { from: Some(from), to, if_range, offset, overlap, ..Question::default() }))
        }
        ResumeVerdict::NothingMissing => Ok(Stored::All),
        ResumeVerdict::StartAfresh(note) if note == "restarted-no-validator" && overlap::of(held) > 0 => {
            held.resumed_from = bytes;
            Ok(Stored::GoOn(Question { from: Some(bytes), overlap: overlap::of(held), ..Question::default() }))
        }
        ResumeVerdict::StartAfresh(note) => {
            tracing::info!("{id}: {bytes} bytes are stored and will be given up ({note})");
            Ok(instead(cx, held, &note).await?)
        }
        ResumeVerdict::Refuse(why) => Err(Stopped::Over(Failure::new(FailureKind::Resume, why), None)),
    }
}

/// The URL of a task that has no mirrors: what is stored of it came from there.
pub(in crate::transfer) fn only_url<'a>(task: &Task, wire: &'a Wire) -> Option<&'a str> {
    task.mirrors.is_empty().then_some(&wire.own_url)
}

/// What is stored will not do. It stays until a whole file comes in its place: a refusal takes nothing away. A divided file
/// goes at once.
async fn instead(cx: &Context<'_>, held: &mut Held, note: &str) -> Result<Stored, Failure> {
    if held.resume.pieces.is_empty() {
        return Ok(Stored::GoOn(Question { instead: Some(note.to_owned()), ..Question::default() }));
    }
    held.note(note);
    held.give_up(cx.shared, cx.key).await?;
    Ok(Stored::Nothing)
}

/// Opens the stored part file and cuts it to what is certainly good. False: there is nothing to go on from.
async fn open_stored(cx: &Context<'_>, held: &mut Held, directory: &Directory) -> Result<bool, Failure> {
    if held.part.is_some() {
        return Ok(held.bytes_done() > 0); // of an earlier place of this attempt
    }
    let Some(resume) = cx.record.resume.clone().filter(|_| !held.gave_up) else { return Ok(false) };
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    let is_it = |part: &PartFile| resume.part_born_ns == 0 || resume.part_born_ns == part.born_ns();
    let part = directory.open_part(&resume.part_name, identity)?.filter(is_it);
    let durable = resume.durable_bytes;
    let same_boot = !resume.boot_id.is_empty() && resume.boot_id == cx.shared.boot_id;
    // What the store does not know of is another program's.
    let known = if same_boot { durable.max(cx.record.bytes_done) } else { durable };
    (held.resume, held.recorded) = (resume, true);
    if !held.resume.pieces.is_empty() {
        return open_pieces(cx, held, part, same_boot).await;
    }
    if let Some(mut part) = part.filter(|part| part.len() >= durable) {
        if part.len() > known {
            part.truncate(known)?;
        }
        held.part = Some(part);
        prepare_comparison(cx, held)?;
    }
    held.resumed_from = held.part.as_ref().map_or(0, PartFile::len);
    if held.resumed_from == 0 {
        tracing::info!("{}: the stored bytes are gone or were changed: starts afresh", cx.task.task_id);
        held.note("restarted-part-lost");
        held.give_up(cx.shared, cx.key).await?;
    }
    Ok(held.resumed_from > 0)
}

/// Bytes that may be another program's are compared with the server's before anything is joined to them: there must be something
/// left to ask for behind them. Where they cannot be compared they are cut off.
fn prepare_comparison(cx: &Context<'_>, held: &mut Held) -> Result<(), Failure> {
    let (Some(from), Some(part)) = (held.resume.doubtful_from, held.part.as_mut()) else { return Ok(()) };
    let total = held.resume.total_bytes.filter(|total| part.len() <= *total && !own_range(cx.task));
    if total == Some(part.len()) {
        part.truncate(from.max(part.len() - overlap::least_of(part.len())))?;
    }
    if part.len() <= from {
        held.resume.doubtful_from = None;
    } else if total.is_none() {
        held.cut_doubtful()?;
    }
    Ok(())
}

/// Opens a divided part file: of each piece, what has certainly been written.
async fn open_pieces(
    cx: &Context<'_>,
    held: &mut Held,
    part: Option<PartFile>,
    same_boot: bool,
) -> Result<bool, Failure> {
    for piece in &mut held.resume.pieces {
        if !same_boot {
            piece.next_byte = piece.durable_to;
        }
    }
    let begun = held.resume.pieces.iter().filter(|piece| piece.bytes_done() > 0);
    let end = begun.map(|piece| piece.next_byte).max().unwrap_or(0);
    match part.filter(|part| end > 0 && part.len() >= end) {
        Some(mut part) => {
            if let Some(total) = held.resume.total_bytes.filter(|total| part.len() > *total) {
                part.truncate(total)?; // each piece is written to its place, and nothing behind the last one
            }
            held.part = Some(part);
            held.resumed_from = held.bytes_done();
            Ok(true)
        }
        None => {
            held.note("restarted-part-lost");
            held.give_up(cx.shared, cx.key).await?;
            Ok(false)
        }
    }
}

/// Whether what is stored is the range that the task asks for, from its first byte on, and where that ends is known.
fn is_within_range(held: &Held) -> bool {
    held.resume.first_byte.is_some() && held.resume.total_bytes.is_some_and(|total| total > 0)
}
