//! What tus 1.0.0 and Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload, interop versions 8 and 3 to 6) say in
//! their three requests, and what the answers mean. Sans-io: headers and a status in, a meaning out.
//!
//! Of tus: core and creation, with `Upload-Length` known. Of the draft: an upload that is created empty ("careful"), so that
//! the early 104 answer, which is passed over, is not needed to know where it is. Its versions differ in this in their number,
//! and the third says what is not complete; what the older ones do not know (`Upload-Length`, the media type) they pass over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::task::{Pairs, Resumable};

const TUS_VERSION: &str = "1.0.0";

/// What is known of an upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Bytes of the whole.
    pub(super) length: u64,
    /// Bytes that the server has said it has.
    pub(super) offset: u64,
    /// Bytes that may have been sent: it cannot have more.
    pub(super) sent: u64,
}

/// What an answer says about an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It has begun, and is here.
    Created(String),
    /// The server has so many bytes.
    Has(u64),
    /// The server has all.
    Complete,
    /// What the server has must be asked.
    Unclear,
    /// The server does not know it, or no more.
    Gone,
    /// Something that cannot be: the end of a sentence.
    Impossible(String),
    /// Nothing: it is the answer to a request like any other.
    Refused,
}

/// Headers of the request that begins an upload. `given`: those of the task and its file. `fields` become tus' metadata,
/// beside `filename` and `filetype`.
pub(super) fn creation(protocol: Resumable, length: u64, fields: &Pairs, given: &Pairs, filename: &str) -> Pairs {
    let is_ours = |name: &str| {
        let name = name.to_ascii_lowercase();
        name == "tus-resumable" || (name.starts_with("upload-") && name != "upload-metadata")
    };
    let mut headers: Pairs = given.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    headers.extend(spoken(protocol));
    headers.push(("Upload-Length".into(), length.to_string()));
    match protocol {
        Resumable::Tus => {
            let of_body = |name: &str| name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"));
            headers.retain(|(name, _)| !of_body(name));
            if value(given, "upload-metadata").is_none() {
                let kind = value(given, "content-type").unwrap_or_default();
                headers.push(("Upload-Metadata".into(), metadata(fields, filename, kind)));
            }
        }
        _ => headers.push(completeness(protocol, false)),
    }
    headers
}

/// Headers of the question what the server has.
pub(super) fn question(protocol: Resumable) -> Pairs {
    spoken(protocol)
}

/// Headers of the request that sends bytes from `offset` on.
pub(super) fn append(protocol: Resumable, offset: u64, is_last: bool) -> Pairs {
    let mut headers = spoken(protocol);
    headers.push(("Upload-Offset".into(), offset.to_string()));
    match protocol {
        Resumable::Tus => headers.push(("Content-Type".into(), "application/offset+octet-stream".into())),
        _ => {
            headers.push(("Content-Type".into(), "application/partial-upload".into()));
            headers.push(completeness(protocol, is_last));
        }
    }
    headers
}

fn spoken(protocol: Resumable) -> Pairs {
    let version = match protocol {
        Resumable::Tus => return vec![("Tus-Resumable".into(), TUS_VERSION.into())],
        Resumable::Ietf => "8",
        Resumable::Ietf6 => "6",
        Resumable::Ietf5 => "5",
        Resumable::Ietf4 => "4",
        Resumable::Ietf3 => "3",
    };
    vec![("Upload-Draft-Interop-Version".into(), version.into())]
}

/// The draft's header for whether these bytes are the last, and its structured boolean (RFC 9651 section 3.3.6).
fn completeness(protocol: Resumable, is_complete: bool) -> (String, String) {
    let (name, is_true) = match protocol {
        Resumable::Ietf3 => ("Upload-Incomplete", !is_complete),
        _ => ("Upload-Complete", is_complete),
    };
    (name.into(), if is_true { "?1" } else { "?0" }.into())
}

/// tus' Upload-Metadata: each name once, with its value in base64.
fn metadata(fields: &Pairs, filename: &str, filetype: &str) -> String {
    let own = [("filename".to_owned(), filename.to_owned()), ("filetype".to_owned(), filetype.to_owned())];
    let is_given = |name: &str| fields.iter().any(|(known, _)| known == name);
    let own = own.into_iter().filter(|(name, value)| !is_given(name) && !value.is_empty());
    let all = own.chain(fields.iter().cloned());
    let pairs: Vec<String> = all.map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).collect();
    pairs.join(",")
}

/// What the answer to [`creation`] says.
pub(super) fn of_creation(protocol: Resumable, status: u16, headers: &Pairs) -> Said {
    match (status, value(headers, "location")) {
        (200..=299, Some(location)) => Said::Created(location.to_owned()),
        (200..=299, None) => Said::Impossible(format!("it answered {status} without a Location")),
        (412, _) if protocol == Resumable::Tus => {
            let versions = value(headers, "tus-version").unwrap_or("another version");
            Said::Impossible(format!("it speaks tus {versions}, and not {TUS_VERSION}"))
        }
        _ => Said::Refused,
    }
}

/// What the answer to [`question`] says.
pub(super) fn of_question(protocol: Resumable, status: u16, headers: &Pairs, known: Known) -> Said {
    match status {
        200..=299 => {}
        404 | 410 => return Said::Gone,
        _ => return Said::Refused,
    }
    let Some(offset) = number(headers, "upload-offset") else {
        return Said::Impossible("its Upload-Offset is missing, or no number".into());
    };
    if let Some(length) = number(headers, "upload-length").filter(|length| *length != known.length) {
        return Said::Impossible(format!("its length is {length}, and not {}", known.length));
    }
    if offset > known.length {
        return Said::Impossible(format!("it has {offset} bytes of {}", known.length));
    }
    if offset > known.sent {
        return Said::Impossible(format!("it has {offset} bytes, and was sent {}", known.sent));
    }
    if offset < known.offset {
        return Said::Impossible(format!("it has {offset} bytes, and had {} before", known.offset));
    }
    let complete = match protocol {
        Resumable::Tus => offset == known.length,
        _ => is_complete(protocol, headers) == Some(true),
    };
    match (complete, offset == known.length) {
        (true, true) => Said::Complete,
        (true, false) => Said::Impossible(format!("it is complete with {offset} bytes of {}", known.length)),
        (false, _) => Said::Has(offset),
    }
}

/// What the answer to [`append`] says, which sent so many bytes from an offset on.
pub(super) fn of_append(
    protocol: Resumable,
    status: u16,
    headers: &Pairs,
    known: Known,
    (from, sent): (u64, u64),
) -> Said {
    let (offset, is_last) = (number(headers, "upload-offset"), from + sent == known.length);
    let complete = is_complete(protocol, headers);
    if (200..300).contains(&status) && known.sent < from + sent {
        return Said::Unclear; // it has answered before it was sent all that it says it has
    }
    match status {
        404 | 410 if complete != Some(true) => Said::Gone,
        409 if complete != Some(true) => Said::Unclear,
        200..=299 => match (protocol, offset, complete) {
            (Resumable::Tus, Some(offset), _) if offset == known.length && is_last => Said::Complete,
            (_, _, Some(true)) if is_last && protocol != Resumable::Tus => Said::Complete,
            (_, offset, None)
                if is_last && protocol != Resumable::Tus && offset.is_none_or(|at| at == known.length) =>
            {
                Said::Complete
            }
            (_, Some(offset), _) if (from..=from + sent).contains(&offset) => Said::Has(offset),
            (_, Some(offset), _) => {
                Said::Impossible(format!("it has {offset} bytes after those up to {}", from + sent))
            }
            (_, None, _) => Said::Unclear,
        },
        // The resource itself has answered, once it had all.
        _ if protocol != Resumable::Tus && complete == Some(true) => Said::Complete,
        _ => Said::Refused,
    }
}

/// Whether a tus server says that uploads may be deleted.
pub(super) fn terminates(headers: &Pairs) -> bool {
    let extensions = value(headers, "tus-extension").unwrap_or_default();
    extensions.split(',').any(|extension| extension.trim() == "termination")
}

/// Most bytes of an upload, and of one request of it, where the server says so.
pub(super) fn limits(protocol: Resumable, headers: &Pairs) -> (Option<u64>, Option<u64>) {
    let limit = |name: &str| integer(value(headers, "upload-limit")?, name).filter(|most| *most > 0);
    match protocol {
        Resumable::Tus => (number(headers, "tus-max-size"), None),
        _ => (limit("max-size"), limit("max-append-size")),
    }
}

/// An integer of a dictionary (RFC 9651 section 3.2): of a key that comes twice the last member counts, and what its parameters say
/// is nobody's business here.
fn integer(dictionary: &str, key: &str) -> Option<u64> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let members = dictionary.split(|character| {
        match (std::mem::take(&mut is_escaped), character) {
            (false, '\\') => is_escaped = is_quoted,
            (false, '"') => is_quoted = !is_quoted,
            _ => {}
        }
        character == ',' && !is_quoted
    });
    let named = members.map(str::trim).map(|member| member.split_at(member.find(['=', ';']).unwrap_or(member.len())));
    let (_, value) = named.filter(|(name, _)| *name == key).last()?;
    value.strip_prefix('=')?.split(';').next()?.trim().parse().ok()
}

/// What the draft's header says, where there is one.
fn is_complete(protocol: Resumable, headers: &Pairs) -> Option<bool> {
    let said = |is_complete| {
        let (name, boolean) = completeness(protocol, is_complete);
        value(headers, &name) == Some(boolean.as_str())
    };
    [true, false].into_iter().find(|is_complete| said(*is_complete))
}

fn number(headers: &Pairs, name: &str) -> Option<u64> {
    let text = value(headers, name)?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn value<'a>(headers: &'a Pairs, name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Resumable::{Ietf, Tus};

    const KNOWN: Known = Known { length: 100, offset: 40, sent: 100 };

    fn pairs(text: &str) -> Pairs {
        let lines = text.split("; ").filter_map(|line| line.split_once(": "));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn is_impossible(said: &Said) -> bool {
        matches!(said, Said::Impossible(_))
    }

    #[test]
    fn metadata_is_names_and_base64_each_name_once() {
        let fields = pairs("album: été; filename: other");
        assert_eq!(
            metadata(&fields, "a.txt", "text/plain"),
            "filetype dGV4dC9wbGFpbg==,album w6l0w6k=,filename b3RoZXI="
        );
        assert_eq!(metadata(&Pairs::new(), "a", ""), "filename YQ==");
    }

    #[test]
    fn what_a_server_has_is_believed_where_it_can_be() {
        for (text, said) in [
            ("upload-offset: 40", Said::Has(40)),
            ("upload-offset: 70; upload-length: 100", Said::Has(70)),
            ("upload-offset: 100", Said::Complete),
        ] {
            assert_eq!(of_question(Tus, 200, &pairs(text), KNOWN), said, "{text}");
        }
        for text in
            ["", "upload-offset: x", "upload-offset: 101", "upload-offset: 39", "upload-offset: 50; upload-length: 99"]
        {
            assert!(is_impossible(&of_question(Tus, 200, &pairs(text), KNOWN)), "{text}");
        }
        for (status, said) in [(404, Said::Gone), (410, Said::Gone), (403, Said::Refused), (423, Said::Refused)] {
            assert_eq!(of_question(Tus, status, &Pairs::new(), KNOWN), said, "{status}");
        }
        assert_eq!(of_question(Ietf, 204, &pairs("upload-offset: 100; upload-complete: ?0"), KNOWN), Said::Has(100));
        assert_eq!(of_question(Ietf, 204, &pairs("upload-offset: 100; upload-complete: ?1"), KNOWN), Said::Complete);
        let early = of_question(Ietf, 204, &pairs("upload-offset: 60; upload-complete: ?1"), KNOWN);
        assert!(is_impossible(&early), "{early:?}");
    }

    #[test]
    fn an_append_ends_the_upload_only_when_all_of_it_was_sent_and_taken() {
        let tus = |status, text: &str, sent| of_append(Tus, status, &pairs(text), KNOWN, (40, sent));
        assert_eq!(tus(204, "upload-offset: 100", 60), Said::Complete);
        assert_eq!(tus(204, "upload-offset: 80", 60), Said::Has(80));
        assert_eq!(tus(204, "", 60), Said::Unclear);
        assert!(is_impossible(&tus(204, "upload-offset: 30", 60)));
        assert!(is_impossible(&tus(204, "upload-offset: 100", 10)));
        assert_eq!(tus(409, "upload-offset: 30", 60), Said::Unclear);
        assert_eq!((tus(404, "", 60), tus(410, "", 60)), (Said::Gone, Said::Gone));
        assert_eq!(tus(500, "", 60), Said::Refused);
        let ietf = |status, text: &str, sent| of_append(Ietf, status, &pairs(text), KNOWN, (40, sent));
        assert_eq!(ietf(200, "upload-complete: ?1", 60), Said::Complete);
        assert_eq!(ietf(200, "", 60), Said::Complete);
        assert_eq!(ietf(204, "upload-offset: 100", 60), Said::Complete);
        assert_eq!(ietf(204, "upload-complete: ?0; upload-offset: 50", 10), Said::Has(50));
        assert_eq!(ietf(204, "upload-complete: ?0", 60), Said::Unclear);
        assert_eq!(ietf(422, "upload-complete: ?1", 60), Said::Complete);
        assert_eq!(ietf(404, "upload-complete: ?1", 60), Said::Complete);
    }

    #[test]
    fn the_versions_of_the_draft_say_the_same_in_their_words() {
        for (protocol, version, name, last, more) in [
            (Ietf, "8", "Upload-Complete", "?1", "?0"),
            (Resumable::Ietf6, "6", "Upload-Complete", "?1", "?0"),
            (Resumable::Ietf5, "5", "Upload-Complete", "?1", "?0"),
            (Resumable::Ietf4, "4", "Upload-Complete", "?1", "?0"),
            (Resumable::Ietf3, "3", "Upload-Incomplete", "?0", "?1"),
        ] {
            let begun = creation(protocol, 100, &Pairs::new(), &Pairs::new(), "f");
            assert_eq!(value(&begun, "upload-draft-interop-version"), Some(version));
            assert_eq!(value(&begun, name), Some(more), "{version}");
            assert_eq!(value(&append(protocol, 40, true), name), Some(last), "{version}");
            assert_eq!(value(&append(protocol, 40, false), name), Some(more), "{version}");
            let told = |boolean: &str| pairs(&format!("upload-offset: 100; {name}: {boolean}"));
            assert_eq!(of_question(protocol, 204, &told(last), KNOWN), Said::Complete, "{version}");
            assert_eq!(of_question(protocol, 204, &told(more), KNOWN), Said::Has(100), "{version}");
            assert_eq!(of_append(protocol, 204, &told(last), KNOWN, (40, 60)), Said::Complete, "{version}");
        }
    }

    #[test]
    fn limits_are_read_from_their_dictionary() {
        assert_eq!(limits(Ietf, &pairs("upload-limit: max-size=500, max-append-size=64")), (Some(500), Some(64)));
        assert_eq!(limits(Ietf, &pairs("upload-limit: max-append-size=0")), (None, None));
        assert_eq!(limits(Tus, &pairs("tus-max-size: 9")), (Some(9), None));
        let append = |text: &str| limits(Ietf, &vec![("upload-limit".into(), text.to_owned())]).1;
        for (text, most) in [
            ("max-append-size=7;x=1, a", Some(7)),
            ("max-append-size=1, max-append-size=2;y", Some(2)),
            ("max-append-size=1, max-append-size", None),
            (r#"a="x, max-append-size=3", max-append-size=4"#, Some(4)),
            (r#"a="\\", max-append-size=5"#, Some(5)),
            (r#"a="\", max-append-size=6""#, None),
            ("a;max-append-size=8", None),
        ] {
            assert_eq!(append(text), most, "{text}");
        }
    }
}
