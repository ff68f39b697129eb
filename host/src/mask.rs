//! Masking of secrets in everything that leaves the engine: headers, query parameters, userinfo.
//!
//! Works on text: what is no URL, or a broken one, is masked as far as it looks like one. It masks rather too much than too
//! little, and masking twice changes nothing. Of bodies it looks into URL-encoded forms only.

mod secrets;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::task::{Body, FilePart, Pairs, Task};

pub(crate) use secrets::{Secrets, as_texts, encoded};

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Headers whose values are secrets, in lower case (interface, "Masked everywhere").
const SECRET_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"];

/// Headers whose values are one URL, whatever stands in it. Those of others are looked for word by word.
const URL_HEADERS: [&str; 3] = ["location", "content-location", "referer"];

/// Query parameters whose values are secrets, in lower case (interface, "Masked everywhere").
const SECRET_PARAMETERS: [&str; 5] = ["key", "api_key", "apikey", "api-key", "sig"];

/// Parts of a parameter's name that make its value a secret: `access_token`, `X-Amz-Security-Token`, `client_secret`, ...
const SECRET_PARTS: [&str; 4] = ["token", "secret", "signature", "password"];

/// Whether a header's value is a secret: Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key, and any whose
/// name contains `token` or `secret`.
pub fn is_secret_header(name: &str) -> bool {
    let name = name.trim();
    let has = |part: &str| name.as_bytes().windows(part.len()).any(|at| at.eq_ignore_ascii_case(part.as_bytes()));
    SECRET_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) || has("token") || has("secret")
}

/// Whether the value of a query parameter or form field of that name (percent-encoded or not) is a secret.
pub fn is_secret_parameter(name: &str) -> bool {
    let name = percent_decoded(name.trim()).to_ascii_lowercase();
    SECRET_PARAMETERS.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// What an auth block says beside its secrets, in lower case.
const OF_AUTH: [&str; 8] =
    ["accept", "accept-encoding", "accept-language", "content-type", "user-agent", "grant_type", "client_id", "scope"];

/// Whether a header or parameter of an auth block is a secret: all are but those that only say how to ask, and those that say
/// where a token goes (`Bearer {accessToken}`).
pub fn is_secret_of_auth(name: &str, value: &str) -> bool {
    let mut rest = value.to_owned();
    for place in ["{accessToken}", "{refreshToken}"] {
        rest = rest.replace(place, "");
    }
    let says_where = rest.len() < value.len() && rest.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ');
    let is_handle = value.contains("{credential:");
    !says_where && !is_handle && !OF_AUTH.contains(&name.trim().to_ascii_lowercase().as_str())
}

/// The URL with secret query parameters and userinfo replaced; other texts that merely contain URLs are not touched.
///
/// Relative references (`/p?token=…`, `//user:pw@host/`) are understood too. A secret in the fragment is masked like one in
/// the query (OAuth puts tokens there).
pub fn url(url: &str) -> String {
    url_and(url, &[])
}

/// The same, where the parameters of these names are secrets too.
pub(crate) fn url_and(url: &str, names: &[&str]) -> String {
    let (rest, fragment) = split_before(url, '#');
    let (place, query) = split_before(rest, '?');
    let mut masked = match userinfo(place) {
        Some((start, end)) => format!("{}{MASK}{}", &place[..start], &place[end..]),
        None => place.to_string(),
    };
    for part in [query, fragment] {
        if let Some(mark) = part.chars().next() {
            masked.push(mark);
            mask_parameters(&part[1..], names, &mut masked);
        }
    }
    masked
}

/// Headers with secrets replaced, and those of URLs in other headers too.
pub fn headers(headers: &Pairs) -> Pairs {
    headers.iter().map(|(name, value)| (name.clone(), header(name, value))).collect()
}

/// One header's value as it may be shown.
pub fn header(name: &str, value: &str) -> String {
    if is_secret_header(name) {
        MASK.into()
    } else if URL_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        url(value)
    } else {
        urls_in(value).into_owned()
    }
}

/// A header's value with the secrets of the URLs in it replaced: those of a list of links, say.
fn urls_in(value: &str) -> Cow<'_, str> {
    if !value.contains(['?', '#']) && !value.contains("//") {
        return Cow::Borrowed(value);
    }
    let value = without_logins(value);
    let is_url = |word: &str| word.contains(['?', '#']) || word.starts_with("//");
    Cow::Owned(by_words(&value, |word| if is_url(word) { url(word) } else { word.into() }))
}

/// The text without the userinfo of each absolute URL in it.
fn without_logins(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(colon) = rest.find("://") {
        let (before, after) = rest.split_at(colon + 3);
        masked.push_str(before);
        let authority = after.split(['/', '\\', '?', '#']).next().unwrap_or("");
        rest = match authority.rfind('@') {
            Some(end) => {
                masked.push_str(MASK);
                &after[end..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    masked
}

/// Query parameters or form fields with the values of secret ones replaced.
pub fn parameters(parameters: &Pairs) -> Pairs {
    parameters
        .iter()
        .map(|(name, value)| match is_secret_parameter(name) {
            true => (name.clone(), MASK.into()),
            false => (name.clone(), value.clone()),
        })
        .collect()
}

/// Parts of a form: their headers as [`headers`] has them, and what a part of a secret field's name brings along itself.
pub(crate) fn parts(parts: &[FilePart]) -> Vec<FilePart> {
    let masked = |part: &FilePart| FilePart {
        headers: headers(&part.headers),
        content: part.content.as_ref().map(|content| match is_secret_parameter(&part.field) {
            true => MASK.into(),
            false => content.clone(),
        }),
        ..part.clone()
    };
    parts.iter().map(masked).collect()
}

/// The body of a task with the values of secret fields replaced; `None` when it is no URL-encoded form, or has none.
pub(crate) fn form(task: &Task) -> Option<Vec<u8>> {
    let form = form_of(task)?;
    let shown = |field| secret_field(field).map_or_else(|| field.to_owned(), |(name, _)| format!("{name}={MASK}"));
    let masked = form.split('&').map(shown).collect::<Vec<_>>().join("&");
    (masked != form).then(|| masked.into_bytes())
}

/// What a task sends as an URL-encoded form. Bytes that are not UTF-8 do not belong in one.
fn form_of(task: &Task) -> Option<Cow<'_, str>> {
    let Body::Bytes(bytes) = &task.body else { return None };
    let header = task.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let given = header.map(|(_, value)| value).or(task.content_type.as_ref())?;
    let media_type = given.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded").then(|| String::from_utf8_lossy(bytes))
}

/// Name and value of a form's field, as they stand there, when the value is a secret.
fn secret_field(field: &str) -> Option<(&str, &str)> {
    field.split_once('=').filter(|(name, _)| is_secret_parameter(name))
}

/// A sentence with the query and userinfo of every URL in it removed.
///
/// A URL ends at white space, `"`, `<`, `>` or a backtick. In words that are no absolute URL but have a query (`/p?token=…`)
/// the secret parameters are masked.
pub fn text(text: &str) -> String {
    by_words(text, |word| match word {
        _ if word.contains("://") => without_query(word),
        _ if word.contains('?') => url(word),
        _ => word.into(),
    })
}

/// The text with each word that may be a URL as it is shown.
fn by_words(text: &str, shown: impl Fn(&str) -> String) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends_url).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        masked.push_str(&shown(word));
        let mark = after.chars().next().map_or(0, char::len_utf8);
        masked.push_str(&after[..mark]);
        rest = &after[mark..];
    }
    masked
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`')
}

/// A word without query, fragment and userinfo; punctuation that ends the sentence or closes a bracket stays.
fn without_query(word: &str) -> String {
    let place = word.split(['?', '#']).next().unwrap_or("");
    let mut kept = match userinfo(place) {
        Some((start, end)) => format!("{}{}", &place[..start], place[end..].trim_start_matches('@')),
        None => place.to_string(),
    };
    if place.len() < word.len() {
        let body = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'']);
        kept.push_str(&word[body.len().max(place.len())..]);
    }
    kept
}

/// Where the userinfo of a URL without query and fragment stands, the `@` excluded.
fn userinfo(place: &str) -> Option<(usize, usize)> {
    let start = match place.find("://") {
        Some(colon) => colon + 3,
        None if place.starts_with("//") => 2,
        None => return None,
    };
    let authority = place[start..].split(['/', '\\']).next().unwrap_or("");
    let end = start + authority.rfind('@')?;
    Some((start, end))
}

/// The userinfo of a URL, as it stands there.
pub(crate) fn login_in(url: &str) -> Option<&str> {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    userinfo(place).map(|(start, end)| &place[start..end])
}

/// The text before the first `mark`, and the text from it on (empty when there is none).
fn split_before(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

/// Appends a query with secrets replaced. Parameters end at `&`; `;` and `?` (of a URL that is itself a value) end one too,
/// but never a secret one, since a secret may contain them.
fn mask_parameters(query: &str, names: &[&str], masked: &mut String) {
    let is_secret = |name: &str| is_secret_parameter(name) || names.contains(&&*percent_decoded(name));
    for (index, parameter) in query.split('&').enumerate() {
        if index > 0 {
            masked.push('&');
        }
        let mut rest = parameter;
        while let Some(equals) = rest.find('=') {
            let mark = rest.find([';', '?']).unwrap_or(rest.len());
            if mark < equals {
                masked.push_str(&rest[..=mark]);
                rest = &rest[mark + 1..];
            } else if is_secret(&rest[..equals]) {
                masked.push_str(&rest[..=equals]);
                masked.push_str(MASK);
                rest = "";
            } else {
                let end = (mark + 1).min(rest.len());
                masked.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
        masked.push_str(rest);
    }
}

/// The name with `%XX` decoded, so that `%74oken` hides nothing.
fn percent_decoded(name: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy()
}
