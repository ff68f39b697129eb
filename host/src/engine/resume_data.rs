//! Resume data: a document that says all about a partial download, given out and taken in (UR-03 to UR-06, SC-17, SC-19).
//!
//! The document is JSON, has a version, a digest of the bytes that are there and one of itself, and is described in
//! docs/resume-data.md. It holds no bytes: those stay in the part file that it names, and are copied when it is taken in.
//! Whether a task goes on from them is decided when it runs, by the `resume` hook and the server's answer, as always.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::Reply;
use crate::clock;
use crate::digest::{Algorithm, Hasher};
use crate::engine::requests::{admit, find, store_added, tell};
use crate::engine::{Inner, Input};
use crate::error::{Error, Failure, FailureKind, Result};
use crate::hooks::ResumeVerdict;
use crate::sandbox::{Directory, Identity, PartFile, Sandbox, SourceFile};
use crate::store::{Addition, NewTask};
use crate::task::{Pairs, Piece, Problem, Record, ResumeRecord, Status, Task, UploadRecord, json as form};

/// The form of documents that this version writes and reads.
const VERSION: u64 = 1;
/// The members of a document.
const MEMBERS: [&str; 16] = [
    "haulResumeData",
    "task",
    "withheld",
    "place",
    "bytesDone",
    "ranges",
    "totalBytes",
    "validators",
    "rangesKnown",
    "encoded",
    "firstByte",
    "finalName",
    "finalUrl",
    "partFile",
    "digest",
    "integrity",
];
/// Bytes read at once.
const READ: usize = 1 << 20;

/// Gives out the resume data of a task that does not run.
pub(super) async fn export(engine: &Inner, id: &str, with_secrets: bool) -> Result<Reply> {
    let (_, record) = find(engine, id)?;
    let id = record.task.task_id.clone();
    if matches!(record.status, Status::Running | Status::Complete) {
        let mend = if record.status == Status::Running { "pause it first" } else { "nothing is missing" };
        return Err(Error::Refused(format!("`{id}` is {}: {mend}", record.status.name())));
    }
    let Some(resume) = record.resume.clone() else {
        if record.upload.is_some() {
            let why = "is an upload: its server keeps the bytes, and only this home goes on with it";
            return Err(Error::Refused(format!("`{id}` {why}")));
        }
        return Err(Error::Refused(format!("`{id}` has no bytes to go on from")));
    };
    let shared = Arc::clone(&engine.shared);
    let work = move || -> Result<Value> {
        let (directory, ranges) = held(&shared.sandbox, &shared.boot_id, &record, &resume)?;
        let path = directory.path().join(&resume.part_name);
        let file = source(&shared.sandbox, &path)?;
        let digest = digest_of(&file, &ranges)?;
        let mut document = document(&record, &resume, &ranges, with_secrets);
        document["partFile"] = path.to_string_lossy().into();
        document["digest"] = digest.into();
        document["integrity"] = integrity(&document).into();
        Ok(document)
    };
    let document = tokio::task::spawn_blocking(work).await;
    Ok(Reply::ResumeData(document.map_err(|_| Error::Other("reading the part file panicked".into()))??))
}

/// What the document says but for the part file and the digests.
fn document(record: &Record, resume: &ResumeRecord, ranges: &[(u64, u64)], with_secrets: bool) -> Value {
    let (task, withheld) =
        if with_secrets { (form::write(&record.task, false), Vec::new()) } else { withhold(&record.task) };
    json!({
        "haulResumeData": VERSION,
        "task": task,
        "withheld": withheld,
        "place": record.place,
        "bytesDone": ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>(),
        "ranges": ranges,
        "totalBytes": resume.total_bytes,
        "validators": {
            "etag": resume.etag,
            "lastModified": resume.last_modified,
            "date": resume.date,
            "digest": resume.digest,
        },
        "rangesKnown": resume.ranges_known,
        "encoded": resume.encoded,
        "firstByte": resume.first_byte,
        "finalName": resume.final_name,
        "finalUrl": resume.final_url,
    })
}

/// The task without what is masked in it, and the names of what that is, in order.
fn withhold(task: &Task) -> (Value, Vec<String>) {
    let (mut whole, masked) = (form::write(task, false), form::write(task, true));
    let mut withheld = Vec::new();
    let Value::Object(members) = &mut whole else { return (whole, withheld) };
    members.retain(|name, value| {
        let shown = &masked[name];
        if value == shown {
            return true;
        }
        match (name.as_str(), value) {
            ("headers", Value::Object(headers)) => headers.retain(|header, value| {
                let open = *value == shown[header];
                withheld.extend((!open).then(|| format!("header {header}")));
                open
            }),
            // Shown as it is masked: it says where the bytes came from, and another one is given when it is taken in.
            ("url", value) => {
                withheld.push("url".into());
                *value = shown.clone();
            }
            (name, _) => {
                withheld.push(if name == "options" { "auth" } else { name }.into());
                return false;
            }
        }
        true
    });
    withheld.sort_unstable();
    (whole, withheld)
}

/// Where the part file is, and which of its bytes are certainly good: first and last byte of each run, in order.
fn held(
    sandbox: &Sandbox,
    boot_id: &str,
    record: &Record,
    resume: &ResumeRecord,
) -> Result<(Directory, Vec<(u64, u64)>)> {
    let task = &record.task;
    let directory = sandbox.directory(&task.base_directory, record.place.as_deref(), &task.directory);
    let directory = directory.map_err(broken)?;
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    let part = directory.open_part(&resume.part_name, identity).map_err(broken)?;
    let length = part.map_or(0, |part| part.len());
    let same_boot = resume.boot_id == boot_id;
    let ranges: Vec<(u64, u64)> = if resume.pieces.is_empty() {
        let known = if same_boot { record.bytes_done.max(resume.durable_bytes) } else { resume.durable_bytes };
        let good = length.min(known).min(resume.doubtful_from.unwrap_or(u64::MAX));
        (good > 0).then(|| (0, good - 1)).into_iter().collect()
    } else {
        runs(&resume.pieces, same_boot)
    };
    match ranges.last() {
        Some((_, last)) if *last < length => Ok((directory, ranges)),
        _ => Err(Error::Refused(format!("the part file of `{}` is gone or was changed", task.task_id))),
    }
}

/// The runs of bytes that pieces have, in order, neighbours joined.
fn runs(pieces: &[Piece], same_boot: bool) -> Vec<(u64, u64)> {
    let end = |piece: &Piece| if same_boot { piece.next_byte } else { piece.durable_to };
    let mut begun: Vec<&Piece> = pieces.iter().filter(|piece| end(piece) > piece.first_byte).collect();
    begun.sort_by_key(|piece| piece.first_byte);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for piece in begun {
        let (first, last) = (piece.first_byte, end(piece) - 1);
        match runs.last_mut() {
            Some((_, before)) if *before + 1 == first => *before = last,
            _ => runs.push((first, last)),
        }
    }
    runs
}

/// Takes resume data in: copies the bytes that are there, and adds the task. `url` replaces the document's, `place` is the
/// directory that is granted now (the document grants none), and `part_file` says where the bytes are now.
pub(super) async fn import(
    engine: &Inner,
    document: Value,
    (url, headers): (Option<String>, Pairs),
    place: Option<PathBuf>,
    part_file: Option<PathBuf>,
) -> Result<Reply> {
    let elsewhere = url.is_some();
    let mut taken = read(&document, url, part_file)?;
    taken.task.set_headers(headers);
    let id = &taken.task.task_id;
    if engine.shared.store.record(id)?.is_some() {
        let at = if elsewhere { " --url URL" } else { "" };
        return Err(Error::Refused(format!(
            "a task with the id `{id}` exists already: `haul resume {id}{at}` goes on with it"
        )));
    }
    let mut additions = vec![Addition { task: taken.task, place, paused: false }];
    let now = clock::unix_ms();
    admit(engine, &mut additions, now).await?;
    let Some(Addition { mut task, place, .. }) = additions.pop() else { return Err(Error::Other("no task".into())) };
    let (shared, mut resume, ranges) = (Arc::clone(&engine.shared), taken.resume, taken.ranges);
    let (part_file, expected) = (taken.part_file, taken.digest);
    let work = move || -> Result<NewTask> {
        let file = source(&shared.sandbox, &part_file)?;
        if digest_of(&file, &ranges)? != expected {
            let path = part_file.display();
            return Err(Error::FileSystem(format!("`{path}` no longer has the bytes that the resume data is about")));
        }
        let directory = shared.sandbox.directory(&task.base_directory, place.as_deref(), &task.directory);
        let directory = directory.map_err(broken)?;
        let mut part = new_part(&directory, &mut task, &mut resume)?;
        copy(&directory, &resume.part_name, &mut part, &file, &ranges)?;
        (resume.part_dev, resume.part_ino) = (part.identity().dev, part.identity().ino);
        resume.part_born_ns = part.born_ns();
        resume.durable_bytes = ranges.iter().map(|(first, last)| last - first + 1).sum();
        resume.boot_id.clone_from(&shared.boot_id);
        resume.pieces = pieces_of(&ranges, resume.total_bytes);
        Ok(NewTask { task: Arc::new(task), place, paused: false, resume: Some(Box::new(resume)) })
    };
    let new = tokio::task::spawn_blocking(work).await;
    let new = new.map_err(|_| Error::Other("copying the part file panicked".into()))??;
    let (directory, part) = (place_of(engine, &new)?, new.resume.as_ref().map(|resume| resume.part_name.clone()));
    let id = new.task.task_id.clone();
    match store_added(engine, vec![new], now).await {
        Ok(waking) => {
            tell(engine, Input::Added { asker: 0, tasks: waking, work: false })?;
            Ok(Reply::Added { ids: vec![id], ended: Vec::new() })
        }
        Err(error) => {
            part.iter().for_each(|part| directory.remove_part(part));
            Err(error)
        }
    }
}

fn place_of(engine: &Inner, new: &NewTask) -> Result<Directory> {
    let task = &new.task;
    engine.shared.sandbox.directory(&task.base_directory, new.place.as_deref(), &task.directory).map_err(broken)
}

/// What a document says.
struct Taken {
    task: Task,
    resume: ResumeRecord,
    ranges: Vec<(u64, u64)>,
    part_file: PathBuf,
    digest: String,
}

/// Reads a document; each error says what is wrong with it.
fn read(document: &Value, url: Option<String>, part_file: Option<PathBuf>) -> Result<Taken> {
    let refuse = |why: &str| Error::Usage(format!("this is no resume data that can be used: {why}"));
    match document["haulResumeData"].as_u64() {
        Some(VERSION) => {}
        Some(_) => return Err(refuse("it is of a later version of haul")),
        None => return Err(refuse("`haulResumeData` is missing")),
    }
    if document["integrity"].as_str() != Some(integrity(document).as_str()) {
        return Err(refuse("it was changed or damaged (its `integrity` does not fit)"));
    }
    let Some(mut given) = document["task"].as_object().cloned() else {
        return Err(refuse("`task` must be an object"));
    };
    match url {
        Some(url) => drop(given.insert("url".into(), url.into())),
        None if document["withheld"].as_array().is_some_and(|names| names.iter().any(|name| name == "url")) => {
            return Err(Error::Usage("its URL has secrets that were left out: give it with --url".into()));
        }
        None => {}
    }
    let task = form::read(&Value::Object(given), &form::Defaults::default()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
        refuse(&problems.join(", "))
    })?;
    if task.task_id.is_empty() {
        return Err(refuse("its task has no `taskId`"));
    }
    if let Some(wrong) = misfit(document) {
        return Err(refuse(&wrong));
    }
    let text = |name: &str| document["validators"][name].as_str().map(str::to_owned);
    let total_bytes = document["totalBytes"].as_u64();
    let ranges: Vec<(u64, u64)> =
        serde_json::from_value(document["ranges"].clone()).map_err(|_| refuse("`ranges` cannot be read"))?;
    let in_order = ranges.is_sorted_by(|one, next| one.1 < next.0) && ranges.iter().all(|(first, last)| first <= last);
    let within = ranges.last().is_some_and(|(_, last)| *last < total_bytes.unwrap_or(u64::MAX));
    let from_zero = total_bytes.is_some() || ranges.as_slice().iter().all(|(first, _)| *first == 0);
    if !(in_order && within && from_zero) {
        return Err(refuse("`ranges` do not fit the length"));
    }
    let done = ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>();
    if document["bytesDone"].as_u64().is_some_and(|said| said != done) {
        return Err(refuse(&format!("`bytesDone` is not the {done} of its `ranges`")));
    }
    let resume = ResumeRecord {
        total_bytes,
        etag: text("etag"),
        last_modified: text("lastModified"),
        date: text("date"),
        digest: text("digest"),
        ranges_known: document["rangesKnown"].as_bool().unwrap_or(false),
        encoded: document["encoded"].as_bool().unwrap_or(true),
        first_byte: document["firstByte"].as_u64(),
        final_name: document["finalName"].as_str().unwrap_or_default().to_owned(),
        final_url: document["finalUrl"].as_str().unwrap_or_default().to_owned(),
        ..ResumeRecord::default()
    };
    crate::hooks::check_name(&resume.final_name).map_err(|why| refuse(&format!("`finalName`: {why}")))?;
    let named = document["partFile"].as_str().map(PathBuf::from);
    Ok(Taken {
        part_file: part_file.or(named).ok_or_else(|| refuse("`partFile` is missing"))?,
        digest: document["digest"].as_str().unwrap_or_default().to_owned(),
        task,
        resume,
        ranges,
    })
}

/// What a document has that this version does not write: members, numbers, the digest's algorithm.
fn misfit(document: &Value) -> Option<String> {
    let unknown = |value: &Value, known: &[&str]| {
        let mut names = value.as_object()?.keys();
        names.find(|name| !known.contains(&name.as_str())).map(|name| format!("`{name}` is unknown"))
    };
    let is_number = |name: &str| document[name].is_null() || document[name].as_u64().is_some();
    let odd = ["totalBytes", "firstByte", "bytesDone"].into_iter().find(|name| !is_number(name));
    let digest = document["digest"].as_str().filter(|digest| !digest.starts_with("sha-256="));
    unknown(document, &MEMBERS)
        .or_else(|| unknown(&document["validators"], &["etag", "lastModified", "date", "digest"]))
        .or_else(|| odd.map(|name| format!("`{name}` is no number of bytes")))
        .or_else(|| digest.map(|_| "`digest` is no `sha-256=`".into()))
}

/// A file by its absolute path, which its owner has named in person.
fn source(sandbox: &Sandbox, path: &Path) -> Result<SourceFile> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(std::ffi::OsStr::to_str)) else {
        return Err(Error::Usage(format!("`{}` is no file", path.display())));
    };
    sandbox.source("", Some(parent), "", name).map_err(|failure| match failure.kind {
        FailureKind::Policy => Error::FileSystem(format!(
            "part file is a symbolic link to another directory: `{}`; name the file that it leads to",
            path.display()
        )),
        // Otherwise, these are files to upload.
        _ => Error::FileSystem(failure.description.replacen("file to upload", "part file", 1)),
    })
}

/// SHA-256 of the runs of a file one after the other.
fn digest_of(file: &SourceFile, ranges: &[(u64, u64)]) -> Result<String> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    each(file, ranges, |_, bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(format!("sha-256={}", hasher.finish()))
}

fn each(
    file: &SourceFile,
    ranges: &[(u64, u64)],
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<()> {
    for (first, last) in ranges {
        let mut at = *first;
        while at <= *last {
            if at >= file.len() {
                return Err(Error::FileSystem(format!("`{}` is shorter than its resume data says", file.path())));
            }
            let limit = usize::try_from(last - at + 1).unwrap_or(READ).min(READ);
            let bytes = file.read(at, limit).map_err(broken)?;
            take(at, &bytes).map_err(broken)?;
            at += bytes.len() as u64;
        }
    }
    Ok(())
}

/// A part file that was not there: where another one has its name, perhaps the very one that is imported and another home's,
/// the task gets a new id.
fn new_part(directory: &Directory, task: &mut Task, resume: &mut ResumeRecord) -> Result<PartFile> {
    loop {
        resume.part_name = crate::sandbox::part_name(&resume.final_name, &task.task_id);
        if let Some(part) = directory.create_new_part(&resume.part_name, resume.total_bytes).map_err(broken)? {
            return Ok(part);
        }
        task.task_id = clock::new_uuid().to_string();
    }
}

/// Copies runs of bytes into a part file, durably; removes it when that fails.
fn copy(
    directory: &Directory,
    name: &str,
    part: &mut PartFile,
    file: &SourceFile,
    ranges: &[(u64, u64)],
) -> Result<()> {
    let copied = each(file, ranges, |at, bytes| part.write_at(bytes, at));
    let synced = copied.and_then(|()| part.syncer().and_then(|syncer| syncer.sync()).map_err(broken));
    if synced.is_err() {
        directory.remove_part(name);
    }
    synced
}

/// The pieces that have these runs, and miss the rest; none where the one run begins at the first byte.
fn pieces_of(ranges: &[(u64, u64)], total: Option<u64>) -> Vec<Piece> {
    let (Some(total), false) = (total, matches!(ranges, [(0, _)])) else { return Vec::new() };
    let mut pieces = Vec::new();
    if let Some((first, _)) = ranges.first().filter(|(first, _)| *first > 0) {
        pieces.push(Piece { first_byte: 0, last_byte: first - 1, next_byte: 0, durable_to: 0 });
    }
    for (index, (first, last)) in ranges.iter().enumerate() {
        let last_byte = ranges.get(index + 1).map_or(total, |(next, _)| *next) - 1;
        pieces.push(Piece { first_byte: *first, last_byte, next_byte: last + 1, durable_to: last + 1 });
    }
    pieces
}

/// SHA-256 of a document without its `integrity`: compact JSON, members in the order of their names.
fn integrity(document: &Value) -> String {
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut() {
        members.remove("integrity");
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(canonical(&document).to_string().as_bytes());
    format!("sha-256={}", hasher.finish())
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, Value> =
                members.iter().map(|(name, value)| (name, canonical(value))).collect();
            sorted.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(values) => values.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

fn broken(failure: Failure) -> Error {
    Error::FileSystem(failure.description)
}

/// What would become of a task's bytes.
pub(super) struct Outlook {
    /// Its next attempt would go on from them, or nothing is missing (background_downloader's taskCanResume).
    pub(super) goes_on: bool,
    /// The same in words, with the conditions that decide it (UR-06).
    pub(super) json: Value,
}

/// Whether a task that has no file yet would go on from its bytes; `None`: there are none.
pub(super) async fn outlook(engine: &Inner, record: &Record) -> Option<Outlook> {
    if matches!(record.status, Status::Complete | Status::Canceled) {
        return None;
    }
    if let Some(upload) = &record.upload {
        return Some(outlook_of_upload(engine, record, upload));
    }
    let resume = record.resume.as_ref()?;
    let there = held(&engine.shared.sandbox, &engine.shared.boot_id, record, resume);
    let bytes = there.as_ref().map_or(0, |(_, runs)| runs.iter().map(|(first, last)| last - first + 1).sum());
    let chain = crate::transfer::chain_of(&engine.shared, &engine.transport, &record.task).await.ok()?;
    let chain = chain.for_a_look();
    let (verdict, conditions) = chain.resume(&chain.prepare(&record.task), bytes, resume).await.ok()?;
    let mut named: serde_json::Map<String, Value> =
        conditions.into_iter().map(|(name, holds)| (name, holds.into())).collect();
    named.insert("part-file".into(), there.is_ok().into());
    let goes_on = matches!(verdict, ResumeVerdict::GoOn { .. } | ResumeVerdict::NothingMissing) && there.is_ok();
    let verdict = match (there.is_ok(), verdict) {
        (false, _) => "starts afresh (restarted-part-lost)".into(),
        (_, ResumeVerdict::GoOn { from_bytes, if_range }) => {
            let more = if has_doubtful(record, resume) {
                ", or later where what is stored beyond it matches the server's"
            } else {
                ""
            };
            format!("goes on at byte {from_bytes} if it is still {if_range}{more}")
        }
        (_, ResumeVerdict::NothingMissing) => "nothing is missing".into(),
        (_, ResumeVerdict::StartAfresh(note)) => format!("starts afresh ({note})"),
        (_, ResumeVerdict::Refuse(why)) => format!("refused: {why}"),
    };
    Some(Outlook { goes_on, json: json!({"verdict": verdict, "bytes": bytes, "conditions": named}) })
}

/// Whether a kill left bytes beyond the durable ones: they are compared with the server's before anything is joined to them.
fn has_doubtful(record: &Record, resume: &ResumeRecord) -> bool {
    resume.doubtful_from.is_some_and(|from| record.bytes_done > from)
}

/// An upload goes on while its server keeps it open, which only the server knows, and its file is the same.
fn outlook_of_upload(engine: &Inner, record: &Record, upload: &UploadRecord) -> Outlook {
    let task = &record.task;
    let name = task.filename.as_deref().unwrap_or_default();
    let source = engine.shared.sandbox.source(&task.base_directory, record.place.as_deref(), &task.directory, name);
    let unchanged = source.is_ok_and(|source| source.mark() == upload.source);
    let UploadRecord { offset, length, .. } = upload;
    let verdict = match unchanged {
        true => format!("goes on where the server says; it was last known to have {offset} of {length} bytes"),
        false => "starts afresh (restarted-changed)".into(),
    };
    let json = json!({"verdict": verdict, "bytes": offset, "conditions": {"source-unchanged": unchanged}});
    Outlook { goes_on: unchanged, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_runs_say_the_same() {
        for ranges in [vec![(5, 9)], vec![(0, 4), (10, 14)], vec![(3, 4), (6, 6), (19, 19)]] {
            let pieces = pieces_of(&ranges, Some(20));
            assert_eq!(runs(&pieces, true), ranges, "{pieces:?}");
            let covered: u64 = pieces.iter().map(|piece| piece.last_byte - piece.first_byte + 1).sum();
            assert_eq!(covered, 20, "{pieces:?}");
        }
        assert_eq!(pieces_of(&[(0, 7)], Some(20)), []);
    }

    #[test]
    fn a_task_without_an_id_is_refused() {
        let mut document = json!({"haulResumeData": VERSION, "task": {"url": "http://h/f", "taskId": "t"},
            "ranges": [[0, 4]], "totalBytes": 9, "finalName": "f", "partFile": "/p"});
        let taken = |document: &mut Value| {
            document["integrity"] = integrity(document).into();
            read(document, None, None).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(taken(&mut document), Ok(()));
        document["task"]["taskId"] = "".into();
        assert!(taken(&mut document).unwrap_err().contains("`taskId`"));
    }

    #[test]
    fn what_a_document_does_not_have_is_refused_by_name() {
        let whole = json!({"haulResumeData": VERSION, "task": {"url": "http://h/f", "taskId": "t"}, "bytesDone": 5,
            "ranges": [[0, 4]], "totalBytes": 9, "validators": {"etag": null}, "firstByte": null, "finalName": "f",
            "partFile": "/p", "digest": "sha-256=00"});
        let refused = |name: &str, value: Value| {
            let mut document = whole.clone();
            document[name] = value;
            document["integrity"] = integrity(&document).into();
            read(&document, None, None).map(drop).map_err(|error| error.to_string()).unwrap_err()
        };
        for (name, value, why) in [
            ("totalBytes", json!(-1), "`totalBytes` is no number of bytes"),
            ("firstByte", json!(1.5), "`firstByte` is no number of bytes"),
            ("bytesDone", json!(6), "`bytesDone` is not the 5 of its `ranges`"),
            ("digest", json!("md5=abc"), "`digest` is no `sha-256=`"),
            ("total", json!(9), "`total` is unknown"),
            ("validators", json!({"md5": ""}), "`md5` is unknown"),
        ] {
            let said = refused(name, value);
            assert!(said.ends_with(why), "{name}: {said}");
        }
    }

    #[test]
    fn whatever_a_document_says_it_is_read_or_refused() {
        let whole = json!({"haulResumeData": VERSION, "task": {"url": "http://h/f", "taskId": "t"}, "withheld": [],
            "ranges": [[0, 4]], "totalBytes": 9, "validators": {"etag": "\"e\""}, "firstByte": 1, "rangesKnown": true,
            "encoded": false, "finalName": "f", "finalUrl": "http://h/f", "partFile": "/p", "digest": "sha-256=00"});
        let names: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
        let mut documents = vec![json!(null), json!("x"), json!([1])];
        for name in names {
            for odd in
                [json!(null), json!("ä"), json!([1]), json!([[9, 2]]), json!(-1), json!(u64::MAX), json!({"x": 1})]
            {
                let mut document = whole.clone();
                document[&name] = odd;
                document["integrity"] = integrity(&document).into();
                documents.push(document);
            }
        }
        for document in documents {
            for url in [None, Some("http://h/new".to_owned())] {
                let taken = read(&document, url, None);
                assert!(taken.is_err() || document["task"].is_object(), "{document}");
            }
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter_and_their_values_do() {
        let one: Value = serde_json::from_str(r#"{"a":{"x":1,"y":[2]},"b":3,"integrity":"?"}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"b":3,"a":{"y":[2],"x":1}}"#).unwrap();
        assert_eq!(integrity(&one), integrity(&other));
        assert_ne!(integrity(&one), integrity(&json!({"a": {"x": 1, "y": [3]}, "b": 3})));
    }
}
