//! Makes one harmless path segment of any text (reliability C.2). Applying it twice changes nothing more.
//!
//! The result is safe, portable and in normalisation form C, so that names that look alike are alike. Whether a file of
//! that name exists is not looked at.

use super::split_extension;
use crate::http;
use alloc::{format, string::String};
use unicode_normalization::UnicodeNormalization as _;

/// Bytes of a name from a server, at most. Leaves room for ` (1)` and for the engine's own suffixes.
const NAME_BYTES_MAX: usize = 200;

/// Longer extensions are not worth keeping when a name has to be cut.
const EXTENSION_BYTES_MAX: usize = 16;

/// Suffixes that the engine keeps to itself.
const OWN_SUFFIXES: [&str; 2] = [".part", ".journal"];

/// Names that are devices on Windows, with or without an extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The harmless name, or `None` when nothing is left of it.
pub(super) fn sanitize(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|character| !is_invisible(*character)).map(portable).nfc().collect();

    let name = trim_end(name.trim_start());
    if name.is_empty() {
        return None;
    }
    let name = match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"), // No hidden files.
        None if is_device(name) => format!("_{name}"),
        None => name.into(),
    };
    Some(without_own_suffix(fitted(&name)))
}

/// The start of a text that fits into so many bytes, without cutting a character in two.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text)
}

/// Control characters, marks that turn the direction of writing, and what takes no room: all fit to make a name look like
/// another one.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Characters that Windows and its shares refuse become `_`.
fn portable(character: char) -> char {
    if matches!(character, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { character }
}

fn trim_end(name: &str) -> &str {
    name.trim_end_matches(|character: char| character == '.' || character.is_whitespace())
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((port, number)) = stem.split_at_checked(3) else {
        return false;
    };
    let mut characters = number.chars();
    let is_number = matches!(characters.next(), Some('0'..='9' | '¹' | '²' | '³'));
    is_number && characters.next().is_none() && (port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"))
}

/// Cuts a name that is too long, and keeps its extension if that is a short one.
fn fitted(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.into();
    }
    let (stem, extension) = split_extension(name);
    if extension.len() > EXTENSION_BYTES_MAX + 1 || extension.is_empty() {
        return trim_end(cut(name, NAME_BYTES_MAX)).into();
    }
    let mut name: String = cut(stem, NAME_BYTES_MAX - extension.len()).into();
    name.push_str(extension);
    name
}

fn without_own_suffix(mut name: String) -> String {
    let is_own = OWN_SUFFIXES.iter().any(|suffix| http::ends_with_ignoring_case(&name, suffix));
    if is_own {
        if name.len() >= NAME_BYTES_MAX {
            name.pop();
        }
        name.push('_');
    }
    name
}
