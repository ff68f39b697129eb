//! A strict reader of multipart forms (RFC 7578, RFC 2046): what a careful server makes of an upload, or a panic that says
//! what is wrong with it. It forgives nothing: not a missing line end, not bytes before or behind, not an unknown header.

use super::origin::Seen;

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// Of a file.
    pub filename: Option<String>,
    pub content_type: Option<String>,
    pub transfer_encoding: Option<String>,
    /// Headers that begin with `X-`, in lower case.
    pub own: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Part {
    /// Its body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The boundary that a request announces.
#[track_caller]
pub fn boundary_of(request: &Seen) -> String {
    let content_type = request.header("content-type").expect("a Content-Type");
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
    let fits = (1..=70).contains(&boundary.len());
    let plain = boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte));
    assert!(fits && plain && !boundary.contains(['(', ')', ',', '/', ':', '=', '?']), "needs quotes: {boundary}");
    boundary.to_owned()
}

/// The parts of a request's form, in order.
#[track_caller]
pub fn form_of(request: &Seen) -> Vec<Part> {
    let length: usize = request.header("content-length").expect("a length").parse().unwrap();
    assert_eq!(length, request.body.len());
    assert!(request.header("transfer-encoding").is_none());
    parts_of(request)
}

/// The same of a form that came in chunks, too.
#[track_caller]
pub fn parts_of(request: &Seen) -> Vec<Part> {
    let boundary = boundary_of(request);
    let delimiter = format!("--{boundary}");
    let mut rest = request.body.strip_prefix(delimiter.as_bytes()).expect("the form begins with its boundary");
    let between = format!("\r\n{delimiter}").into_bytes();
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            assert_eq!(end, b"\r\n", "behind the last boundary");
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a line end behind the boundary");
        let end = find(rest, &between).expect("a boundary behind the part");
        parts.push(part(&rest[..end]));
        rest = &rest[end + between.len()..];
    }
}

fn part(bytes: &[u8]) -> Part {
    let end = find(bytes, b"\r\n\r\n").expect("an empty line behind the part's head");
    let head = std::str::from_utf8(&bytes[..end]).expect("UTF-8");
    let mut part = Part {
        name: String::new(),
        filename: None,
        content_type: None,
        transfer_encoding: None,
        own: Vec::new(),
        body: bytes[end + 4..].to_vec(),
    };
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ").expect("a header");
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" => {
                let mut words = quoted(value.strip_prefix("form-data").expect("form-data"));
                assert_eq!(words.first().map(|(name, _)| name.as_str()), Some("name"), "{line}");
                part.name = words.remove(0).1;
                if let Some((name, value)) = words.pop() {
                    assert_eq!(name, "filename");
                    part.filename = Some(value);
                }
                assert!(words.is_empty(), "{line}");
            }
            "content-type" => part.content_type = Some(value.to_owned()),
            "content-transfer-encoding" => part.transfer_encoding = Some(value.to_owned()),
            own if own.starts_with("x-") => part.own.push((own.to_owned(), value.to_owned())),
            other => panic!("unknown header {other}"),
        }
    }
    part
}

/// `; name="value"`, with the three escapes of HTML undone.
fn quoted(mut text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.strip_prefix("; ").expect("a semicolon").split_once("=\"").expect("a quote");
        let (value, rest) = rest.split_once('"').expect("a closing quote");
        assert!(!value.contains(['\r', '\n']), "{value}");
        let value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
        pairs.push((name.to_owned(), value));
        text = rest;
    }
    pairs
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
