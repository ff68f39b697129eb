//! Whether an answer can be acted on: the rules for what components hand back (reliability.md E.6). Each refusal is a
//! phrase that follows "gave an unusable answer in `HOOK`: ": what was answered, and what may be answered there. Changes
//! nothing but texts for people, which lose control characters.

mod admitted;
mod verdicts;

use std::sync::Arc;

use super::bindings::haul::transfer as wit;
use super::{AuthorizeVerdict, Classified, Part, ResumeVerdict};
use crate::error::Failure;
use crate::event::StatusUpdate;
use crate::task::{Auth, Pairs, Task};
use crate::terminal::is_hostile;
use crate::transport::credential_names;

pub(super) use admitted::{admitted, within};
pub(super) use verdicts::{RESPONSE_BODY_BYTES_MAX, on_error, on_redirect, on_request, on_response};

const HEADERS_MAX: usize = 32;
const HEADERS_BYTES_MAX: usize = 16 << 10;
const URL_BYTES_MAX: usize = 8 << 10;
const QUERY_BYTES_MAX: usize = 8 << 10;
const NAME_BYTES_MAX: usize = 255;
pub(super) const TEXT_BYTES_MAX: usize = 1 << 10;
/// Shortest wait before a retry by a component's `retry`: one that never waits floods nobody.
pub(super) const WAIT_MS_MIN: u64 = 100;
/// Longest wait before a retry: 24 hours.
pub(super) const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Fresh starts in one attempt of a download.
pub(crate) const RESTARTS: u32 = 2;
/// Longest body of a request that a component makes up.
pub(super) const REQUEST_BODY_BYTES_MAX: usize = 64 << 10;

/// Header fields that the host alone writes: those of one connection (RFC 9110 §7.6.1), of framing, of the target, and
/// those that decide which bytes are joined.
const OURS: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

type Checked<T = ()> = Result<T, String>;

pub(super) fn headers(headers: &Pairs) -> Checked {
    if headers.len() > HEADERS_MAX {
        return Err(format!("{} headers, at most {HEADERS_MAX} are taken", headers.len()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        return Err(format!("{bytes} bytes of headers, at most {HEADERS_BYTES_MAX} are taken"));
    }
    for (name, value) in headers {
        header_name(name)?;
        if http::HeaderValue::from_bytes(value.as_bytes()).is_err() {
            return Err(format!("the value of header `{name}` has control characters, a line break perhaps"));
        }
    }
    Ok(())
}

/// Names of the credentials that URLs and pairs have handles of.
pub(super) fn handles(urls: &[String], pairs: &Pairs) -> Vec<String> {
    urls.iter().chain(pairs.iter().map(|(_, value)| value)).flat_map(|text| credential_names(text)).collect()
}

/// The same of an auth block.
pub(super) fn auth_handles(auth: &Auth) -> Vec<String> {
    let Auth { access_token, refresh_token, refresh_url, .. } = auth;
    let texts: Vec<String> = [access_token, refresh_token, refresh_url].into_iter().flatten().cloned().collect();
    let pairs = [&auth.access_headers, &auth.access_query_params, &auth.refresh_headers, &auth.refresh_query_params];
    pairs.into_iter().flat_map(|pairs| handles(&[], pairs)).chain(handles(&texts, &Vec::new())).collect()
}

/// The same of a task.
pub(super) fn task_handles(task: &Task) -> Vec<String> {
    let urls = [std::slice::from_ref(&task.url), &task.mirrors].concat();
    let query = handles(&[], &task.url_query_parameters);
    let auth = task.auth.as_ref().map_or(Vec::new(), auth_handles);
    [handles(&urls, &task.headers), query, auth].concat()
}

/// Parts of a divided download: at most 1,024, each with bytes and a place of the task, together all bytes in order.
pub(super) fn parts(parts: &[Part], total_bytes: u64, places: usize) -> Checked {
    const PARTS_MAX: usize = 1024;
    if parts.len() > PARTS_MAX {
        return Err(format!("{} parts, at most {PARTS_MAX} are taken", parts.len()));
    }
    let mut next = 0;
    for part in parts {
        if part.first_byte != next || part.last_byte < part.first_byte || part.last_byte >= total_bytes {
            let Part { first_byte, last_byte, .. } = part;
            return Err(format!(
                "the part from byte {first_byte} to {last_byte}, where one from {next} to {} at most belongs",
                total_bytes.saturating_sub(1)
            ));
        }
        if part.place >= places {
            return Err(format!("place {}, but there are {places}: 0 is the URL, mirrors follow", part.place));
        }
        next = part.last_byte + 1;
    }
    if next == total_bytes {
        Ok(())
    } else {
        Err(format!("parts up to byte {next}, which leave out the rest of {total_bytes} bytes"))
    }
}

/// What a component makes of a response, next to what the default policy does: it can be stricter. Bytes are joined, and a file
/// is complete, only where the policy says so too; a part or a refusal to give one is never the whole.
pub(super) fn classified(
    verdict: &Classified,
    usual: Option<&Classified>,
    range_from: Option<u64>,
    status: u16,
) -> Checked {
    use Classified::{AlreadyComplete, Continues, Success, UseFromZero};
    match (verdict, usual) {
        (Continues(from), Some(Continues(usual))) if from == usual => Ok(()),
        (Continues(from), _) => Err(format!(
            "`continues({from})`, but nothing proves that the response continues the stored bytes at {from}"
        )),
        (AlreadyComplete, Some(AlreadyComplete)) => Ok(()),
        (AlreadyComplete, _) => {
            Err(format!("`already-complete`, but a response {status} does not say that the stored bytes are all"))
        }
        (Success, Some(usual)) if range_from.is_some() && *usual != Success => {
            Err("`success` about a request for the rest: `use-from-zero` takes a response as the whole".into())
        }
        (Success | UseFromZero(_), Some(Success | UseFromZero(_))) => Ok(()),
        (verdict @ (Success | UseFromZero(_)), _) if is_of_parts(status) => {
            let verdict = verdict_name(verdict);
            Err(format!("`{verdict}`, but a response {status} does not bring the whole"))
        }
        _ => Ok(()),
    }
}

/// Whether a verdict is one for the kind of task that it is about, and does not ask for ever: only downloads have bytes that are
/// gone on with.
pub(super) fn fits_task(verdict: &Classified, restarts: u32, task: &wit::types::Task) -> Checked {
    use wit::types::TaskKind::{Data, MultiUpload, Request, Upload};
    let name = verdict_name(verdict);
    let is_of_any = matches!(verdict, Classified::Success | Classified::NotFound(_) | Classified::Failed(_));
    if !is_of_any && matches!(task.kind, Upload | MultiUpload | Data | Request) {
        return Err(format!("`{name}`, which is for downloads: here it may be `success`, `not-found` or `failed`"));
    }
    if matches!(verdict, Classified::AskFromZero(_)) && restarts >= RESTARTS {
        return Err(format!("`{name}` after {RESTARTS} fresh starts, the most in one attempt: `failed` ends it"));
    }
    Ok(())
}

/// As the contract calls it.
fn verdict_name(verdict: &Classified) -> &'static str {
    match verdict {
        Classified::Success => "success",
        Classified::Continues(_) => "continues",
        Classified::AlreadyComplete => "already-complete",
        Classified::UseFromZero(_) => "use-from-zero",
        Classified::AskFromZero(_) => "ask-from-zero",
        Classified::NotFound(_) => "not-found",
        Classified::Failed(_) => "failed",
    }
}

/// Whether a verdict about credentials is one for where the host stands.
pub(super) fn authorized_in(situation: &wit::authorize::Situation, verdict: &AuthorizeVerdict) -> Checked {
    use AuthorizeVerdict::{Impossible, Ready, RefreshFirst, Refreshed, Send};
    use wit::authorize::Situation;
    let (stands, may_be): (_, &[&str]) = match situation {
        Situation::BeforeRequest => ("before-request", &["ready", "refresh-first"]),
        Situation::AsItIs => ("as-it-is", &["ready"]),
        Situation::RefreshWanted(_) => ("refresh-wanted", &["send", "impossible"]),
        Situation::RefreshAnswered(_) => ("refresh-answered", &["refreshed", "impossible"]),
        Situation::Other(_) => return Ok(()), // never asked
    };
    let name = match verdict {
        Ready { .. } => "ready",
        RefreshFirst => "refresh-first",
        Send { .. } => "send",
        Refreshed(_) => "refreshed",
        Impossible(_) => "impossible",
    };
    if may_be.contains(&name) {
        return Ok(());
    }
    Err(format!("`{name}` in the situation `{stands}`, where it may be `{}`", may_be.join("` or `")))
}

/// The phrase about a verdict or a status that this version of the contract does not have.
pub(super) fn unknown(what: &str, name: &str) -> String {
    format!("the {what} `{}`, which this version of haul does not know", text(name.into()))
}

/// Whether only a server can give that status: it is about parts (RFC 9110 §15.3.7, §15.5.17).
fn is_of_parts(status: u16) -> bool {
    matches!(status, 206 | 416)
}

/// What a component makes of stored bytes, next to what the default policy does.
pub(super) fn resumes(verdict: &ResumeVerdict, usual: &ResumeVerdict) -> Checked {
    use ResumeVerdict::{GoOn, NothingMissing};
    match (verdict, usual) {
        (GoOn { if_range, .. }, GoOn { if_range: stored, .. }) if if_range == stored => Ok(()),
        (GoOn { .. }, GoOn { if_range: stored, .. }) => {
            Err(format!("`go-on` without the stored validator: its `if-range` must be {stored}"))
        }
        (GoOn { .. }, _) => {
            Err("`go-on`, but nothing identifies the stored bytes: `start-afresh` gives them up".into())
        }
        (NothingMissing, NothingMissing) => Ok(()),
        (NothingMissing, _) => Err("`nothing-missing`, but nothing says that the stored bytes are all".into()),
        _ => Ok(()),
    }
}

fn header_name(name: &str) -> Checked {
    // RFC 9110 §5.6.2 token, which is what the http crate accepts.
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("`{}` is not a header name", text(name.into())));
    }
    if is_ours(name) {
        return Err(format!("header `{name}`, which the host alone writes: leave it out"));
    }
    Ok(())
}

/// Whether a header field is written by the host alone.
pub(super) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

pub(super) fn header_names(names: &[String]) -> Checked {
    if names.len() > HEADERS_MAX {
        return Err(format!("{} header names, at most {HEADERS_MAX} are taken", names.len()));
    }
    names.iter().try_for_each(|name| header_name(name))
}

pub(super) fn url(url: &str) -> Checked {
    if url.len() > URL_BYTES_MAX {
        return Err(format!("a URL of {} bytes, at most {URL_BYTES_MAX} are taken", url.len()));
    }
    let usable = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if usable && !url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Ok(())
    } else {
        Err(format!("the URL `{}`: it must be an absolute one of http or https", text(crate::mask::url(url))))
    }
}

/// Parameters as they are meant: whoever puts them into a URL encodes them.
pub(super) fn query(query: &Pairs) -> Checked {
    let bytes: usize = query.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > QUERY_BYTES_MAX {
        return Err(format!("{bytes} bytes of query, at most {QUERY_BYTES_MAX} are taken"));
    }
    let mut characters = query.iter().flat_map(|(name, value)| name.chars().chain(value.chars()));
    if characters.any(char::is_control) {
        return Err("a query parameter with control characters, a line break perhaps".into());
    }
    Ok(())
}

pub(super) fn request(method: &str, target: &str, fields: &Pairs, body: &[u8]) -> Checked {
    if method.is_empty() || http::Method::from_bytes(method.as_bytes()).is_err() {
        return Err(format!("`{}` is not an HTTP method", text(method.into())));
    }
    url(target)?;
    headers(fields)?;
    if body.len() > REQUEST_BODY_BYTES_MAX {
        return Err(format!("a body of {} bytes, at most {REQUEST_BODY_BYTES_MAX} are taken", body.len()));
    }
    Ok(())
}

pub(super) fn auth(auth: &Auth) -> Checked {
    headers(&auth.access_headers)?;
    headers(&auth.refresh_headers)?;
    query(&auth.access_query_params)?;
    query(&auth.refresh_query_params)?;
    if let Some(refresh_url) = &auth.refresh_url {
        url(refresh_url)?;
    }
    for token in [&auth.access_token, &auth.refresh_token].into_iter().flatten() {
        if token.len() > HEADERS_BYTES_MAX || token.chars().any(char::is_control) {
            return Err("a token with control characters, or of more than 16 KiB, which no header can carry".into());
        }
    }
    Ok(())
}

/// Whether a component has renewed a credential and changed nothing of how it is renewed, which counts for all tasks that share
/// it, and longer than the component is there; nor sends the refresh token along with requests that it was not sent with.
pub(super) fn renewed(fresh: &Auth, given: &Auth) -> Checked {
    if (&fresh.refresh_url, &fresh.refresh_headers, &fresh.refresh_query_params)
        != (&given.refresh_url, &given.refresh_headers, &given.refresh_query_params)
    {
        return Err(
            "another `refreshUrl`, `refreshHeaders` or `refreshQueryParams` than the task has: hand back those of the question"
                .into(),
        );
    }
    let sends = |auth: &Auth| {
        let mut pairs = auth.access_headers.iter().chain(&auth.access_query_params);
        pairs.any(|(_, value)| {
            value.contains("{refreshToken}")
                || given.refresh_token.as_ref().is_some_and(|token| value.contains(&**token))
        })
    };
    if sends(fresh) && !sends(given) {
        return Err("the refresh token in access headers or parameters, which go along with each request".into());
    }
    Ok(())
}

pub(super) fn file_name(name: &str, taken: &[String]) -> Checked {
    let refused = if name.is_empty() || name == "." || name == ".." {
        "is not a file name"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 255 bytes"
    } else if name.contains('/') {
        "has a directory in it"
    } else if name.chars().any(char::is_control) {
        "has control characters in it"
    } else if name.starts_with('.') && name.ends_with(".part") {
        "is a name of the host's own part files"
    } else if taken.iter().any(|other| other == name) {
        "is taken"
    } else {
        return Ok(());
    };
    Err(format!("the name `{}` {refused}", text(name.into())))
}

/// Names that are devices on Windows, with or without an extension; `COM1` and `LPT1` to 9 are others.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Whether a character of a file's name ends lines or turns the direction of writing. Servers do give names with those that cannot
/// be seen.
fn turns(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a name fits that nobody but a server or a component has chosen: no hidden file, no device. `given`: the task's
/// own, which may be what its owner likes.
pub(super) fn chosen_name(name: &str, given: Option<&str>) -> Checked {
    let refused = |is: fn(&str) -> bool| is(name) && !given.is_some_and(is);
    if refused(|name| name.trim().is_empty() || name.chars().any(turns)) {
        return Err(format!("the name `{}` cannot be read as it is, which only its task may want", text(name.into())));
    }
    if refused(|name| name.starts_with('.')) {
        return Err(format!("the name `{}` would hide the file, which only its task may ask for", text(name.into())));
    }
    if refused(is_device) {
        return Err(format!("the name `{}` is that of a device, which only its task may ask for", text(name.into())));
    }
    Ok(())
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let is_port = |port: &str| {
        let number =
            stem.get(..port.len()).filter(|start| start.eq_ignore_ascii_case(port)).map(|_| &stem[port.len()..]);
        number.is_some_and(|number| matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9"))
    };
    DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) || is_port("COM") || is_port("LPT")
}

pub(super) fn final_update(mut update: StatusUpdate) -> Checked<StatusUpdate> {
    if !update.status.is_final() {
        return Err(format!(
            "a task cannot end as `{}`, but as `complete`, `not-found`, `failed` or `canceled`",
            update.status.name()
        ));
    }
    let Some(details) = update.details.as_mut().map(Arc::make_mut) else {
        return Ok(update);
    };
    if details.response_status_code.is_some_and(|code| !(100..=599).contains(&code)) {
        return Err("a response's status outside 100 to 599".into());
    }
    if details.response_headers.len() > HEADERS_MAX {
        return Err(format!("{} headers, at most {HEADERS_MAX} are taken", details.response_headers.len()));
    }
    if details.response_body.as_ref().is_some_and(|body| body.len() > REQUEST_BODY_BYTES_MAX) {
        return Err(format!("a body of more than {REQUEST_BODY_BYTES_MAX} bytes"));
    }
    details.notes.truncate(HEADERS_MAX);
    for note in &mut details.notes {
        *note = text(std::mem::take(note));
    }
    if let Some(failure) = details.exception.take() {
        details.exception = Some(self::failure(failure)?);
    }
    Ok(update)
}

pub(super) fn failure(mut failure: Failure) -> Checked<Failure> {
    if failure.http_status.is_some_and(|code| !(100..=599).contains(&code)) {
        return Err("a failure with a status outside 100 to 599".into());
    }
    failure.retry_after_ms = failure.retry_after_ms.map(|wait| wait.min(WAIT_MS_MAX));
    failure.description = text(failure.description);
    Ok(failure)
}

/// A sentence of a component, fit to be stored and shown: one line, at most 1 KiB, no character that steers a terminal.
pub(super) fn text(sentence: String) -> String {
    text_within(sentence, TEXT_BYTES_MAX)
}

/// The same, of so many bytes at most.
pub(super) fn text_within(sentence: String, bytes: usize) -> String {
    let clean = sentence.len() <= bytes && !sentence.chars().any(is_hostile);
    if clean {
        return sentence;
    }
    let mut short = String::with_capacity(bytes);
    for c in sentence.chars() {
        let c = if is_hostile(c) { ' ' } else { c };
        if short.len() + c.len_utf8() > bytes {
            break;
        }
        short.push(c);
    }
    short
}
