//! What is kept of the answer to an upload or a request: its first bytes as text with the task, or all of it in a file.
//!
//! The file's place is looked at before anything is sent: afterwards the request is done, and where the answer cannot be stored
//! all the same, its first bytes are kept with the task.

use std::iter;
use std::path::Path;

use crate::engine::Durability;
use crate::error::{Failure, FailureKind};
use crate::event::Details;
use crate::sandbox::{Directory, PartFile, Published, SourceFile, in_the_way, numbered, part_name};
use crate::task::OnConflict;
use crate::transfer::{Context, Held, exists_already, sweep_later};
use crate::transport::{Answer, Framing};

/// Bytes of an answer's body that are kept with the task.
const KEPT: usize = 64 * 1024;
/// Names tried at most, where the task's own is taken.
const NAMES: usize = 10_000;

/// The first bytes of a body, as they come.
#[derive(Default)]
pub(super) struct First {
    bytes: Vec<u8>,
    is_truncated: bool,
}

impl First {
    fn add(&mut self, piece: &[u8]) {
        let room = piece.len().min(KEPT - self.bytes.len());
        self.bytes.extend_from_slice(&piece[..room]);
        self.is_truncated |= room < piece.len();
    }

    /// Reads on as far as they are kept.
    pub(super) async fn read(&mut self, answer: &mut Answer) -> Result<(), Failure> {
        while !self.is_truncated {
            match answer.body.next().await? {
                Some(piece) => self.add(&piece),
                None => break,
            }
        }
        Ok(())
    }

    /// Keeps them as text.
    pub(super) fn keep(self, held: &mut Held, answer: &Answer, details: &mut Details) {
        if self.is_truncated {
            held.note("response-truncated");
        }
        let mut kept = answer.body.masked(self.bytes, KEPT);
        if self.is_truncated {
            kept.truncate(kept.len() - begun(&kept));
        }
        details.response_body = (!kept.is_empty()).then(|| text(&kept, details.char_set.as_deref()));
        note_encoding(held, details);
    }
}

/// Says of an answer that came encoded, which nobody has asked for, that it is kept as it came.
pub(super) fn note_encoding(held: &mut Held, details: &Details) {
    let is_encoding = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("content-encoding") && !value.trim().eq_ignore_ascii_case("identity")
    };
    let has_body = details.response_body.is_some() || details.file_path.is_some();
    if has_body && details.response_headers.iter().any(is_encoding) {
        held.note("response-encoded");
    }
}

/// How many bytes at the end are the beginning of a character (UTF-8).
fn begun(bytes: &[u8]) -> usize {
    let is_begun = |size: &usize| {
        let end = bytes.len().checked_sub(*size).map(|at| std::str::from_utf8(&bytes[at..]));
        end.is_some_and(|end| end.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none()))
    };
    (1..4).find(is_begun).unwrap_or(0)
}

/// Text of bytes: by ISO-8859-1 where the server says so, else as UTF-8, with marks in place of what is none.
fn text(bytes: &[u8], char_set: Option<&str>) -> String {
    let latin = char_set.is_some_and(|name| ["iso-8859-1", "latin1"].iter().any(|l| name.eq_ignore_ascii_case(l)));
    match std::str::from_utf8(bytes) {
        Err(_) if latin => bytes.iter().copied().map(char::from).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A part file that is removed unless it got its name.
struct Unnamed<'a> {
    directory: &'a Directory,
    part_name: &'a str,
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        self.directory.remove_part(self.part_name);
    }
}

/// Where the file goes: its directory, and its name in there.
fn place<'a>(cx: &Context<'_>, path: &'a str) -> Result<(Directory, &'a str), Failure> {
    let (below, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = cx.shared.sandbox.directory(&cx.task.base_directory, cx.record.place.as_deref(), below)?;
    sweep_later(cx.shared, &directory);
    Ok((directory, name))
}

/// Finds out before anything is sent whether the answer can be stored, and that it takes the place of none of the files that are
/// sent.
pub(super) fn look<'a>(cx: &Context<'_>, mut sent: impl Iterator<Item = &'a SourceFile>) -> Result<(), Failure> {
    let Some(path) = &cx.task.response_file else { return Ok(()) };
    let (directory, name) = place(cx, path)?;
    match (cx.task.on_conflict, directory.obstacle(name)) {
        (Some(OnConflict::Fail), _) if directory.exists(name) => return Err(exists_already(name)),
        (Some(OnConflict::Unique), _) => {}
        (_, Some(obstacle)) => return Err(in_the_way(name, obstacle)),
        (_, None) => {
            let present = directory.identity(name);
            if present.is_some() && sent.any(|file| Some(file.identity()) == present) {
                let text = format!("`{name}` is a file that is sent, and the response would take its place");
                return Err(Failure::new(FailureKind::FileSystem, text));
            }
        }
    }
    let part_name = part_name(name, &cx.task.task_id);
    let _unnamed = Unnamed { directory: &directory, part_name: &part_name };
    directory.create_part(&part_name, None).map(drop)
}

/// Stores the whole body in a file, whose absolute path `details` get. Of a body that breaks off there is a file only where it
/// waits to be printed: a command prints what came, byte for byte, and the text that is kept with the task is not that.
pub(super) async fn store(
    cx: &Context<'_>,
    answer: &mut Answer,
    path: &str,
    first: &mut First,
    details: &mut Details,
) -> Result<(), Failure> {
    let (directory, name) = place(cx, path)?;
    let part_name = part_name(name, &cx.task.task_id);
    let length = match answer.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let mut part = directory.create_part(&part_name, length)?;
    let unnamed = Unnamed { directory: &directory, part_name: &part_name };
    let stored = |named: String| directory.path().join(named).to_string_lossy().into_owned();
    let publish =
        |part: &PartFile, name: &str, replace: bool| directory.publish(&part_name, part.identity(), name, replace);
    if let Err(failure) = fill(&mut part, answer, first).await {
        if is_to_be_printed(cx) && part.finish().is_ok() && matches!(publish(&part, name, true), Ok(Published::Done)) {
            details.file_path = Some(stored(name.to_owned()));
        }
        return Err(failure);
    }
    part.finish()?;
    if cx.shared.durability == Durability::Full {
        let syncer = part.syncer()?;
        let synced = tokio::task::spawn_blocking(move || syncer.sync()).await;
        synced.map_err(|_| Failure::new(FailureKind::General, "the response could not be synced"))??;
    }
    let on_conflict = cx.task.on_conflict;
    let named = match on_conflict {
        Some(OnConflict::Unique) => first_free(name, |name| publish(&part, name, false))?,
        on_conflict => {
            let replace = on_conflict != Some(OnConflict::Fail);
            match publish(&part, name, replace)? {
                Published::Done => name.to_owned(),
                Published::Taken => return Err(exists_already(name)),
                Published::Missing => return Err(missing(name)),
            }
        }
    };
    directory.sync()?;
    drop(unnamed);
    details.file_path = Some(stored(named));
    Ok(())
}

/// Appends all of a body, as it comes.
async fn fill(part: &mut PartFile, answer: &mut Answer, first: &mut First) -> Result<(), Failure> {
    while let Some(piece) = answer.body.next().await? {
        first.add(&piece);
        part.append(&piece)?;
    }
    Ok(())
}

/// Whether the response's file is that of a command which prints it, and removes it then.
fn is_to_be_printed(cx: &Context<'_>) -> bool {
    let found = |path: &Path| path.canonicalize().ok();
    cx.record
        .place
        .as_deref()
        .is_some_and(|place| found(place).is_some() && found(place) == found(&cx.shared.responses))
}

/// Gives the first free one of a name's numbered variants.
fn first_free(name: &str, publish: impl Fn(&str) -> Result<Published, Failure>) -> Result<String, Failure> {
    for name in iter::once(name.to_owned()).chain(numbered(name).take(NAMES)) {
        match publish(&name)? {
            Published::Done => return Ok(name),
            Published::Taken => {}
            Published::Missing => return Err(missing(&name)),
        }
    }
    Err(exists_already(name))
}

fn missing(name: &str) -> Failure {
    Failure::new(FailureKind::FileSystem, format!("the part file of `{name}` is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_at_the_border_of_a_character() {
        for (bytes, ends) in [
            (&b"ab"[..], 0),
            (b"", 0),
            (b"a\xc3", 1),
            ("a€".as_bytes(), 0),
            (&"a€".as_bytes()[..3], 2),
            (&"a😀".as_bytes()[..4], 3),
            (b"a\xff", 0),
            (b"\xa9\xa9", 0),
        ] {
            assert_eq!(begun(bytes), ends, "{bytes:?}");
        }
    }
}
