//! The text of a multipart form (RFC 7578): what stands before, between and behind the bytes of its files.
//!
//! The rules are background_downloader's B.10, which are a browser's: fields before files, names escaped and nothing else,
//! JSON, text beyond ASCII and empty values announced as such. It opens no files and knows no lengths but those it is told.

use crate::task::Pairs;

/// A file of a form, or a field among the files, as its part's head names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHead {
    /// Name of the form field.
    pub(crate) field: String,
    /// The name sent; `None`: it is no file.
    pub(crate) name: Option<String>,
    /// The headers behind Content-Disposition, whole lines.
    pub(crate) lines: String,
}

/// Header lines of a part with these headers.
pub(crate) fn lines(mime_type: &str, headers: &Pairs) -> String {
    let further = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    std::iter::once(format!("Content-Type: {mime_type}\r\n")).chain(further).collect()
}

/// Header lines of a field that says nothing of its type.
pub(crate) fn field_lines(value: &[u8], headers: &Pairs) -> String {
    let kind = match std::str::from_utf8(value) {
        Ok(text) => kind_of(text),
        Err(_) => "Content-Type: application/octet-stream\r\n",
    };
    let further = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    std::iter::once(kind.to_owned()).chain(further).collect()
}

/// What is wrong with a part's headers, as the end of a sentence.
pub(crate) fn wrong_header(headers: &Pairs) -> Option<String> {
    let is_own = |name: &str| ["content-disposition", "content-type", "content-length"].contains(&name);
    headers.iter().find_map(|(name, value)| {
        let known = http::HeaderName::from_bytes(name.as_bytes());
        let fits = value.chars().all(|character| character == '\t' || !character.is_control());
        match known {
            Ok(known) if is_own(known.as_str()) => {
                Some(format!("has the header `{name}`, which is made of its other fields"))
            }
            Ok(_) if fits => None,
            _ => Some("has a header that cannot be sent".into()),
        }
    })
}

/// The texts of a form: one before each file, and one behind the last. All files together stand between them.
pub(crate) fn texts(boundary: &str, fields: &Pairs, files: &[FileHead]) -> Vec<String> {
    let mut texts = Vec::with_capacity(files.len() + 1);
    let mut text = String::new();
    for (name, value) in fields {
        for value in values(value) {
            text.push_str(&field(boundary, name, value));
        }
    }
    for file in files {
        let field = escaped(&file.field);
        let name = file.name.as_ref().map_or(String::new(), |name| format!("; filename=\"{}\"", escaped(name)));
        text.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"{name}\r\n{}\r\n",
            file.lines
        ));
        texts.push(std::mem::replace(&mut text, "\r\n".into()));
    }
    text.push_str(&format!("--{boundary}--\r\n"));
    texts.push(text);
    texts
}

/// Whether a text can be a boundary (RFC 2046 section 5.1.1), without the characters that would need quotes.
pub(crate) fn is_boundary(text: &str) -> bool {
    (1..=70).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+'".contains(&byte))
}

fn field(boundary: &str, name: &str, value: &str) -> String {
    let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n", escaped(name));
    format!("{head}{}\r\n{value}\r\n", kind_of(value))
}

/// Header lines that tell what a field's text is, where it is not plain (B.10; an empty one is plain: F24).
fn kind_of(value: &str) -> &'static str {
    if looks_like_json(value) {
        "Content-Type: application/json; charset=utf-8\r\n"
    } else if value.is_ascii() {
        ""
    } else {
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: binary\r\n"
    }
}

/// A name as browsers write it: a line break becomes `%0D%0A` and a quote `%22`, the rest stays.
fn escaped(name: &str) -> String {
    name.replace("\r\n", "\n").replace(['\r', '\n'], "%0D%0A").replace('"', "%22")
}

fn looks_like_json(value: &str) -> bool {
    let value = value.trim();
    let within = |open, close| value.len() >= 2 && value.starts_with(open) && value.ends_with(close);
    within('{', '}') || within('[', ']')
}

/// `"a", "b"` means a part for each; any other value means itself.
pub(crate) fn values(value: &str) -> Vec<&str> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner.filter(|_| value.len() > 2) else { return vec![value] };
    // Between the outer quotes quotes come in pairs around a comma: text, separator, text, ...
    let pieces: Vec<&str> = inner.split('"').collect();
    let good = pieces.len() > 2
        && pieces.iter().enumerate().all(|(index, piece)| match index % 2 {
            0 => !piece.is_empty(),
            _ => piece.trim() == ",",
        });
    if good { pieces.into_iter().step_by(2).collect() } else { vec![value] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_form_is_fields_then_files_then_the_end() {
        let file = |field: &str, name: &str| FileHead {
            field: field.into(),
            name: Some(name.into()),
            lines: lines("text/plain", &Pairs::new()),
        };
        let texts = texts("B", &pairs(&[("a", "1")]), &[file("f", "x.txt"), file("g", "y.txt")]);
        assert_eq!(
            texts,
            [
                "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; \
                 name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n",
                "\r\n--B\r\nContent-Disposition: form-data; name=\"g\"; filename=\"y.txt\"\r\n\
                 Content-Type: text/plain\r\n\r\n",
                "\r\n--B--\r\n",
            ]
        );
        assert_eq!(super::texts("B", &Pairs::new(), &[]), ["--B--\r\n"]);
    }

    #[test]
    fn names_are_escaped_as_browsers_do_and_no_further() {
        assert_eq!(escaped("a\"b\r\nc\rd\ne%é'\\"), "a%22b%0D%0Ac%0D%0Ad%0D%0Ae%é'\\");
    }

    #[test]
    fn json_and_text_beyond_ascii_are_announced() {
        let kind = |value: &str| field("B", "n", value).split("\r\n").skip(2).take_while(|l| !l.is_empty()).count();
        for (value, lines) in
            [("", 0), ("plain", 0), ("{\"a\":1}", 1), ("[1,\n2]", 1), (" {} ", 1), ("{", 0), ("a {}", 0), ("✓", 2)]
        {
            assert_eq!(kind(value), lines, "{value}");
        }
    }

    #[test]
    fn two_or_more_quoted_values_are_parts_of_their_own() {
        for (value, expected) in [
            ("\"a\", \"b\"", vec!["a", "b"]),
            ("\"a\",\"b c\" ,  \"d\"", vec!["a", "b c", "d"]),
            ("\"a\"", vec!["\"a\""]),
            ("\"\", \"b\"", vec!["\"\", \"b\""]),
            ("\"a\" \"b\"", vec!["\"a\" \"b\""]),
            ("a, b", vec!["a, b"]),
            ("\"", vec!["\""]),
            ("", vec![""]),
        ] {
            assert_eq!(values(value), expected, "{value}");
        }
    }

    #[test]
    fn only_characters_that_need_no_quotes_make_a_boundary() {
        assert!(is_boundary("haul-0123456789abcdef"));
        for bad in ["", "a b", "a;b", "a\"b", "ä", &"x".repeat(71)] {
            assert!(!is_boundary(bad), "{bad}");
        }
    }
}
