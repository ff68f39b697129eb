//! Lists that commands read: URLs for `get`, task JSON for `add`. Reads as it goes: a list of a million tasks is never held
//! in memory.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use haul::task::json::{self, Defaults};
use haul::task::{Problem, Task};
use haul::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

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
    /// A task.
    Task(Box<Task>, Place),
    /// Something that should have been one: where, and each thing that is wrong. Reading goes on.
    Bad(Place, Vec<String>),
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

/// Reads task JSON from a file, or from stdin for `-`, and hands over what it finds until `sink` says no.
pub(crate) fn tasks(file: &Path, sink: &mut dyn FnMut(Item) -> bool) {
    if file == Path::new("-") {
        return read("stdin", BufReader::with_capacity(1 << 18, std::io::stdin()), sink);
    }
    match std::fs::File::open(file) {
        Ok(opened) => {
            let name = file.to_string_lossy();
            read(&name, BufReader::with_capacity(1 << 18, opened), sink);
        }
        Err(error) => {
            let text = format!("cannot open `{}`: {error}", file.display());
            sink(Item::Broken(Error::FileSystem(text)));
        }
    }
}

fn read(name: &str, mut reader: impl BufRead, sink: &mut dyn FnMut(Item) -> bool) {
    let source: Arc<str> = name.into();
    let begun = match skip_space(&mut reader) {
        Ok(begun) => begun,
        Err(error) => {
            sink(Item::Broken(unreadable(&source, &error)));
            return;
        }
    };
    match begun {
        (Some(b'['), _) => read_array(&source, reader, sink),
        (Some(_), line) => read_lines(&source, reader, line, sink),
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
fn read_lines(source: &Arc<str>, mut reader: impl BufRead, first_line: usize, sink: &mut dyn FnMut(Item) -> bool) {
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
            let text = format!("{source}:{begun}: a task is longer than 16 MiB");
            sink(Item::Broken(Error::Usage(text)));
            return;
        }
        next += 1;
        match value(&text, is_end, next - begun > 1) {
            Line::GoesOn => continue,
            Line::Blank => {}
            Line::Value(read) => {
                let place = Place { source: source.clone(), position: Position::Line(begun) };
                if !sink(read.map_or_else(|bad| Item::Bad(place.clone(), vec![bad]), |json| item(&json, place.clone())))
                {
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
    Value(Result<Value, String>),
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

fn read_array(source: &Arc<str>, reader: impl Read, sink: &mut dyn FnMut(Item) -> bool) {
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
            let text = format!("{source}:{}: {}", error.line(), syntax(&error));
            Error::Usage(text)
        };
        sink(Item::Broken(what));
    }
}

/// Hands over the elements of an array one by one.
struct Elements<'a> {
    source: &'a Arc<str>,
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
        while let Some(json) = elements.next_element::<Value>()? {
            element += 1;
            let place = Place { source: self.source.clone(), position: Position::Element(element) };
            if !(self.sink)(item(&json, place)) {
                *self.stopped = true;
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

fn item(json: &Value, place: Place) -> Item {
    match json::read(json, &Defaults::default()) {
        Ok(task) => Item::Task(Box::new(task), place),
        Err(problems) => Item::Bad(place, problems.iter().map(Problem::to_string).collect()),
    }
}

/// What is wrong with the JSON, without serde's line number: places are told in front.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("this is not a task in JSON: {what} (column {})", error.column())
}

fn unreadable(source: &str, error: &std::io::Error) -> Error {
    Error::FileSystem(format!("cannot read {source}: {error}"))
}

#[cfg(test)]
mod tests;
