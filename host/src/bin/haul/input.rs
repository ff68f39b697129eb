//! Lists that commands read: URLs for `get`, task JSON for `add`. Reads as it goes: a list of a million tasks is never held
//! in memory.

use std::io::{BufRead, BufReader, Read};
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

/// The URLs of the command line, `-` replaced by the list on stdin.
pub(crate) fn urls(typed: &[String]) -> Result<Vec<String>> {
    let mut urls = Vec::with_capacity(typed.len());
    let mut stdin_read = false;
    for url in typed {
        if url != "-" {
            urls.push(url.clone());
        } else if !stdin_read {
            stdin_read = true;
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map_err(|error| Error::FileSystem(format!("cannot read stdin: {error}")))?;
            urls.extend(url_list(&text));
        }
    }
    Ok(urls)
}

/// One URL a line; blank lines and those that begin with `#` mean nothing.
fn url_list(text: &str) -> impl Iterator<Item = String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
}

/// Reads task JSON from a file, or from stdin for `-`, and hands over what it finds until `sink` says no. `now_ms` is what
/// `+DUR` counts from.
pub(crate) fn tasks(file: &Path, now_ms: u64, sink: &mut dyn FnMut(Item) -> bool) {
    let source = |name: &str| Source { name: name.into(), defaults: Defaults { now_ms, ..Defaults::default() } };
    if file == Path::new("-") {
        return read(&source("stdin"), BufReader::with_capacity(1 << 18, std::io::stdin()), sink);
    }
    match std::fs::File::open(file) {
        Ok(opened) => {
            let name = file.to_string_lossy();
            read(&source(&name), BufReader::with_capacity(1 << 18, opened), sink);
        }
        Err(error) => {
            let text = format!("cannot open `{}`: {error}", file.display());
            sink(Item::Broken(Error::FileSystem(text)));
        }
    }
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
