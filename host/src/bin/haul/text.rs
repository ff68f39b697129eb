//! Texts for people: sizes, times, and foreign strings made harmless for a terminal.

use haul::terminal::is_hostile;

/// A size with three digits at most: `999 B`, `1.2 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 99.95 { 1 } else { 0 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number with separators: `3,145,728`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A wait: `2 s`, `1 min 30 s`, `2 h 5 min`.
pub(crate) fn wait(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn tasks(count: u64) -> String {
    format!("{} {}", number(count), plural(count, "task"))
}

/// The noun, with an s unless there is one of it.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.into() } else { format!("{noun}s") }
}

/// Characters of a URL in a sentence: enough to tell it from others.
const URL_SHOWN_MAX: usize = 200;

/// A URL to be named in a sentence: the beginning of a very long one.
pub(crate) fn shortened(url: &str) -> std::borrow::Cow<'_, str> {
    match url.char_indices().nth(URL_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &url[..end]).into(),
        None => url.into(),
    }
}

/// A foreign text without anything that steers a terminal, turns the direction of writing or cannot be seen.
pub(crate) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(is_hostile) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean.into()
}

/// Makes a foreign text that comes in pieces harmless, but for its lines and tabs. What is not UTF-8 reads `\u{fffd}`.
#[derive(Default)]
pub(crate) struct Escaper {
    /// The beginning of a character, or of a line break, whose rest has not come.
    begun: Vec<u8>,
    /// There was something to be escaped.
    pub(crate) has_escaped: bool,
}

impl Escaper {
    /// The next piece; an empty one is the end.
    pub(crate) fn take(&mut self, piece: &[u8]) -> String {
        let is_end = piece.is_empty();
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        if !is_end {
            self.begun = bytes.split_off(bytes.len() - unfinished(&bytes));
        }
        let mut clean = String::with_capacity(bytes.len());
        let text = String::from_utf8_lossy(&bytes);
        self.has_escaped |= matches!(text, std::borrow::Cow::Owned(_));
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let ends_line = character == '\r' && characters.peek() == Some(&'\n');
            if ends_line || matches!(character, '\n' | '\t') || !is_hostile(character) {
                clean.push(character);
            } else {
                clean.extend(character.escape_default());
                self.has_escaped = true;
            }
        }
        clean
    }
}

/// How many bytes at the end mean nothing without the next ones.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    let ends =
        bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80).map(|at| (at + 1, bytes[bytes.len() - at - 1]));
    match ends {
        Some((have, 0xc0..=0xdf)) if have < 2 => have,
        Some((have, 0xe0..=0xef)) if have < 3 => have,
        Some((have, 0xf0..=0xf7)) if have < 4 => have,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
