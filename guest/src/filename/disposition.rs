//! Content-Disposition (RFC 6266), read as leniently as browsers read it.
//!
//! A missing type, spaces, stray semicolons, unclosed quotes and names with spaces are forgiven. `filename*` is not:
//! either it follows RFC 8187 or it is ignored. Nothing else is decoded: no `%XX` in `filename`, no RFC 2047, no
//! continuations (`filename*0`), which browsers leave alone as well. The names come as they are sent, unsafe.

use crate::http;
use alloc::{string::String, vec::Vec};

/// The names that a header suggests: first that of `filename*`, whatever the order (RFC 6266 4.3), then that of
/// `filename`. Of several with one name, the first counts.
pub(super) fn names(header: &str) -> Vec<String> {
    let mut plain = None;
    let mut extended = None;
    let mut rest = header;
    while !rest.is_empty() {
        let end = rest.find(['=', ';']).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().trim();
        let after = rest.get(end..).unwrap_or_default();
        let Some(after) = after.strip_prefix('=') else {
            rest = after.strip_prefix(';').unwrap_or_default(); // The type, or a parameter without value.
            continue;
        };
        let (value, after) = value(after);
        rest = after;
        if name.eq_ignore_ascii_case("filename") {
            plain = plain.or(Some(value.text));
        } else if name.eq_ignore_ascii_case("filename*") && !value.quoted {
            extended = extended.or_else(|| decode_extended(&value.text));
        }
    }
    extended.into_iter().chain(plain).collect()
}

/// A parameter's value.
struct Value {
    text: String,
    quoted: bool,
}

/// Reads a value up to the next semicolon, and what follows that.
fn value(text: &str) -> (Value, &str) {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix('"') else {
        let (token, rest) = text.split_once(';').unwrap_or((text, ""));
        return (Value { text: token.trim_end().into(), quoted: false }, rest);
    };
    let (text, rest) = quoted(inner);
    let rest = rest.split_once(';').map_or("", |(_, rest)| rest); // What stands behind a closing quote is dropped.
    (Value { text, quoted: true }, rest)
}

/// Reads a quoted string after its first quote (RFC 9110 5.6.4): `\x` stands for `x`. One that is never closed ends with
/// the header.
fn quoted(text: &str) -> (String, &str) {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => out.extend(characters.next()),
            _ => out.push(character),
        }
    }
    (out, characters.as_str())
}

/// Decodes `charset'language'value` (RFC 8187 3.2). UTF-8 and ISO-8859-1 are understood; an escape that is none, bytes
/// that are no UTF-8, and characters that would have to be escaped make the whole value void.
fn decode_extended(text: &str) -> Option<String> {
    let mut fields = text.splitn(3, '\'');
    let (charset, _language, value) = (fields.next()?, fields.next()?, fields.next()?);
    if !value.bytes().all(|byte| byte == b' ' || (byte.is_ascii_graphic() && byte != b'"')) {
        return None;
    }
    let bytes = http::unescape(value, false)?;
    let name = if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()?
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        bytes.into_iter().map(char::from).collect()
    } else {
        return None;
    };
    (!name.is_empty()).then_some(name)
}
