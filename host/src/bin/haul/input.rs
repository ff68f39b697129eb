//! Lists that commands read: URLs for `get`, task JSON for `add`. Task JSON is read as it goes, and twice where it is long: a list
//! of a million tasks is never held in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use haul::task::json::{self, Defaults};
use haul::task::{Problem, Task};
use haul::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use parsed::Parsed;

mod parsed;

/// Longest task in bytes.
const TASK_BYTES_MAX: u64 = 16 << 20;
/// Longest list of URLs in bytes: all of it is held in memory.
const URLS_BYTES_MAX: u64 = 256 << 20;

/// Where a task stands in an input.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    source: Arc<str>,
    position: Position,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    /// Line, from 1.
    Line(usize),
    /// Element of an array, from 1.
    Element(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position {
            Position::Line(line) => write!(f, "{}:{line}", self.source),
            Position::Element(element) => write!(f, "{}: task {element}", self.source),
        }
    }
}

/// What an input gives, in order.
#[derive(Debug)]
pub(crate) enum Item {
    /// A task as far as it could be read: where it stands, and what is wrong with it. A problem with the field `task` means
    /// that nothing could be read. Reading goes on.
    Task(Box<Task>, Place, Vec<Problem>),
    /// The input cannot be read further.
    Broken(Error),
}

/// The URLs of the command line, `-` replaced by the list on stdin; and the line of each in there, 0 where it was typed.
pub(crate) fn urls(typed: &[String]) -> Result<(Vec<String>, Vec<u32>)> {
    let (mut urls, mut lines) = (Vec::with_capacity(typed.len()), Vec::with_capacity(typed.len()));
    let mut stdin_read = false;
    for url in typed {
        if url != "-" {
            urls.push(url.clone());
            lines.push(0);
        } else if !stdin_read {
            stdin_read = true;
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(URLS_BYTES_MAX + 1)
                .read_to_string(&mut text)
                .map_err(|error| Error::FileSystem(format!("cannot read stdin: {error}")))?;
            if text.len() as u64 > URLS_BYTES_MAX {
                let instead = "divide it, or give `haul add -` tasks, of which a list may have any length";
                return Err(Error::Usage(format!("the list on stdin is longer than 256 MiB: {instead}")));
            }
            for (url, line) in url_list(&text) {
                urls.push(url);
                lines.push(line);
            }
        }
    }
    Ok((urls, lines))
}

/// One URL a line, with the line's number; blank lines and those that begin with `#` mean nothing.
fn url_list(text: &str) -> impl Iterator<Item = (String, u32)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim).zip(1..);
    lines.filter(|(url, _)| !url.is_empty() && !url.starts_with('#')).map(|(url, line)| (url.to_owned(), line))
}

/// Task JSON that can be read again: a file, or a pipe that is copied while it is read for the first time.
pub(crate) struct List {
    source: Source,
    file: File,
    pipe: Option<Box<dyn Read + Send>>,
}

impl List {
    /// Opens a file, or stdin for `-`. `now_ms` is what `+DUR` counts from; a copy lies in `dir`, without a name.
    pub(crate) fn open(typed: &Path, now_ms: u64, dir: &Path) -> Result<Self> {
        let defaults = Defaults { now_ms, ..Defaults::default() };
        let copy = || nameless(dir).map_err(|error| copying(dir, &error));
        if typed == Path::new("-") {
            let source = Source { name: "stdin".into(), defaults };
            return Ok(Self { source, file: copy()?, pipe: Some(Box::new(io::stdin())) });
        }
        let opened = File::open(typed).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let cannot = |error| Error::FileSystem(format!("cannot open `{}`: {error}", typed.display()));
        let (is_file, file) = opened.map_err(cannot)?;
        let source = Source { name: typed.to_string_lossy().into(), defaults };
        if is_file {
            return Ok(Self { source, file, pipe: None });
        }
        Ok(Self { source, file: copy()?, pipe: Some(Box::new(file)) })
    }

    /// Reads it from the beginning, and hands over what it finds until `sink` says no.
    pub(crate) fn read(&mut self, sink: &mut dyn FnMut(Item) -> bool) {
        if let Err(error) = self.file.rewind() {
            sink(Item::Broken(unreadable(&self.source, &error)));
            return;
        }
        let reader: Box<dyn Read + '_> = match self.pipe.take() {
            Some(from) => Box::new(Copying { from, to: &self.file }),
            None => Box::new(&self.file),
        };
        read(&self.source, BufReader::with_capacity(1 << 18, reader), sink);
    }
}

/// What is read from one is written to the other.
struct Copying<'a> {
    from: Box<dyn Read + Send>,
    to: &'a File,
}

impl Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// A file that is gone when it is closed.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("list-{}", haul::new_uuid()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn copying(dir: &Path, error: &io::Error) -> Error {
    Error::FileSystem(format!("cannot keep what is read in `{}`: {error}", dir.display()))
}

/// What is read, and what its tasks begin from.
struct Source {
    name: Arc<str>,
    defaults: Defaults,
}

impl Source {
    fn item(&self, read: Result<Parsed, String>, position: Position) -> Item {
        let place = Place { source: self.name.clone(), position };
        let problem = |field: String, reason: String| Problem { field, reason };
        match read {
            Ok(Parsed { json, repeated }) => {
                let (task, mut problems) = json::read_as_far(json::task_in(&json), &self.defaults);
                let twice = repeated.into_iter().map(|key| problem(key, "is given more than once".into()));
                problems.extend(twice);
                if let Some(ended) = json::status_of(&json).filter(|status| status.is_final()) {
                    let over = "so the task is over: leave it out for the task to be done once more";
                    problems.push(problem("status".into(), format!("is {}, {over}", ended.name())));
                }
                Item::Task(Box::new(task), place, problems)
            }
            Err(reason) => Item::Task(Box::default(), place, vec![problem("task".into(), reason)]),
        }
    }
}

fn read(source: &Source, mut reader: impl BufRead, sink: &mut dyn FnMut(Item) -> bool) {
    let begun = match skip_space(&mut reader) {
        Ok(begun) => begun,
        Err(error) => {
            sink(Item::Broken(unreadable(source, &error)));
            return;
        }
    };
    match begun {
        (Some(b'['), _) => read_array(source, reader, sink),
        (Some(_), line) => read_lines(source, reader, line, sink),
        (None, _) => {}
    }
}

/// Skips a byte order mark and white space: the first byte after it, not consumed, and its line.
fn skip_space(reader: &mut impl BufRead) -> std::io::Result<(Option<u8>, usize)> {
    let mut line = 1;
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    loop {
        let buffer = reader.fill_buf()?;
        let Some(first) = buffer.first().copied() else {
            return Ok((None, line));
        };
        if !first.is_ascii_whitespace() {
            return Ok((Some(first), line));
        }
        line += usize::from(first == b'\n');
        reader.consume(1);
    }
}

/// One object a line; an object may also go over several lines.
fn read_lines(source: &Source, mut reader: impl BufRead, first_line: usize, sink: &mut dyn FnMut(Item) -> bool) {
    let mut text = Vec::new();
    let mut begun = first_line;
    let mut next = first_line;
    loop {
        let is_end = match append_line(&mut reader, &mut text) {
            Ok(count) => count == 0,
            Err(error) => {
                sink(Item::Broken(unreadable(source, &error)));
                return;
            }
        };
        if text.len() as u64 > TASK_BYTES_MAX {
            let text = format!("{}:{begun}: a task is longer than 16 MiB", source.name);
            sink(Item::Broken(Error::Usage(text)));
            return;
        }
        next += 1;
        match value(&text, is_end, next - begun > 1) {
            Line::GoesOn => continue,
            Line::Blank => {}
            Line::Value(read) => {
                if !sink(source.item(read, Position::Line(begun))) {
                    return;
                }
            }
        }
        if is_end {
            return;
        }
        text.clear();
        begun = next;
    }
}

fn append_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> std::io::Result<usize> {
    let room = (TASK_BYTES_MAX + 1).saturating_sub(text.len() as u64);
    reader.by_ref().take(room).read_until(b'\n', text)
}

/// What the lines read so far are.
enum Line {
    Blank,
    /// The beginning of an object.
    GoesOn,
    Value(Result<Parsed, String>),
}

fn value(text: &[u8], is_end: bool, several_lines: bool) -> Line {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        return Line::Blank;
    }
    // Parsing anew after each line of a long object would take for ever; only a brace can end it.
    if several_lines && !is_end && !trimmed.ends_with(b"}") {
        return Line::GoesOn;
    }
    match serde_json::from_slice(trimmed) {
        Ok(value) => Line::Value(Ok(value)),
        Err(error) if error.is_eof() && !is_end => Line::GoesOn,
        Err(error) => Line::Value(Err(syntax(&error))),
    }
}

fn read_array(source: &Source, reader: impl Read, sink: &mut dyn FnMut(Item) -> bool) {
    let mut stopped = false;
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let elements = Elements { source, sink: &mut *sink, stopped: &mut stopped };
    let read = elements.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Err(error) = read
        && !stopped
    {
        let what = if error.is_io() {
            unreadable(source, &error.into())
        } else {
            let text = format!("{}:{}: the list {}", source.name, error.line(), syntax(&error));
            Error::Usage(text)
        };
        sink(Item::Broken(what));
    }
}

/// Hands over the elements of an array one by one.
struct Elements<'a> {
    source: &'a Source,
    sink: &'a mut dyn FnMut(Item) -> bool,
    stopped: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of tasks")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut element = 0;
        while let Some(json) = elements.next_element::<Parsed>()? {
            element += 1;
            if !(self.sink)(self.source.item(Ok(json), Position::Element(element))) {
                *self.stopped = true;
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// What is wrong with the JSON, to follow a name, without serde's line number: places are told in front.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("is not JSON: {what} (column {})", error.column())
}

fn unreadable(source: &Source, error: &std::io::Error) -> Error {
    Error::FileSystem(format!("cannot read {}: {error}", source.name))
}

#[cfg(test)]
mod tests;
