//! Which credentials go with a request, and how they are renewed when no component knows better.
//!
//! The rules are background_downloader's (its rule B.19): the token is renewed ten seconds before it expires, by a POST
//! to `refresh-url`; tokens replace `{accessToken}` and `{refreshToken}` in headers and parameters, renewed or not.
//!
//! It keeps no secrets out of requests: that is what they are for. It keeps them out of every sentence it writes. Sharing
//! one refresh among several tasks, and asking again after a 401, is the host's part.

use crate::bindings::exports::haul::transfer::authorize::{Credentials, Situation, Verdict};
use crate::bindings::haul::transfer::types::{Auth, Request, Response};
use crate::http;
use crate::json::{self, Value};
use alloc::{format, string::String, vec::Vec};

#[cfg(test)]
mod tests;

/// Longest refresh token, and most that access headers come to: nobody sends longer ones.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A token that expires so soon may be refused by the time it arrives.
const EXPIRY_BUFFER_MS: u64 = 10_000;

/// Judges an auth block at a time.
///
/// The parameters of `ready` are names and values as they are meant; the host encodes them when it puts them into a URL.
pub(crate) fn decide(auth: Auth, situation: &Situation, now_at_ms: u64) -> Verdict {
    match situation {
        Situation::BeforeRequest if expires_soon(&auth, now_at_ms) => Verdict::RefreshFirst,
        Situation::BeforeRequest | Situation::AsItIs => Verdict::Ready(Credentials {
            headers: expand_all(&auth.access_headers, &auth),
            query: expand_all(&auth.access_query, &auth),
        }),
        Situation::RefreshWanted(_) => match refresh_request(&auth) {
            Ok(request) => Verdict::Send(request),
            Err(reason) => Verdict::Impossible(reason.into()),
        },
        Situation::RefreshAnswered(response) => match refreshed(auth, response, now_at_ms) {
            Ok(auth) => Verdict::Refreshed(auth),
            Err(reason) => Verdict::Impossible(reason),
        },
        Situation::Other(name) => Verdict::Impossible(format!("this policy does not know the situation `{name}`")),
    }
}

fn expires_soon(auth: &Auth, now_at_ms: u64) -> bool {
    auth.access_token_expires_at_ms
        .is_some_and(|expires_at_ms| now_at_ms.saturating_add(EXPIRY_BUFFER_MS) > expires_at_ms)
}

/// The default refresh (OAuth 2.0, RFC 6749 6, with a JSON body).
fn refresh_request(auth: &Auth) -> Result<Request, &'static str> {
    let url = auth.refresh_url.as_deref().filter(|url| !url.is_empty());
    let url = url.ok_or("the task names no URL that renews its token")?;
    let token = auth.refresh_token.as_deref().filter(|token| !token.is_empty());
    let token = token.ok_or("the task has no refresh token")?;

    let mut headers = expand_all(&auth.refresh_headers, auth);
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    headers.push(("Content-type".into(), "application/json".into()));
    let mut body = String::from(r#"{"grant_type":"refresh_token","refresh_token":"#);
    json::push_string(&mut body, token);
    body.push('}');
    Ok(Request {
        method: "POST".into(),
        url: with_query(url, &expand_all(&auth.refresh_query, auth)),
        headers,
        body: body.into_bytes(),
        extra: Vec::new(),
    })
}

/// Reads the answer to the default refresh. Without `expires_in` the new token is used until a server refuses it.
fn refreshed(mut auth: Auth, response: &Response, now_at_ms: u64) -> Result<Auth, String> {
    if response.status != 200 {
        return Err(format!("the token server answered {}", response.status));
    }
    let text = core::str::from_utf8(&response.body).unwrap_or_default();
    let members = json::members(text).ok_or("the token server's answer is not a JSON object")?;
    let find = |name: &str| members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value);

    match find("access_token") {
        Some(Value::Text(token)) if is_usable(token) => auth.access_token = Some(token.clone()),
        Some(Value::Text(_)) => {
            return Err("the token server's answer holds an unusable access token".into());
        }
        _ => return Err("the token server's answer holds no access token".into()),
    }
    if let Some(Value::Text(token)) = find("refresh_token")
        && is_usable(token)
    {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("the token server's answer holds a refresh token of more than 16 KiB".into());
        }
        auth.refresh_token = Some(token.clone());
    }
    let is_too_long = |token: &String| token.len() > TOKEN_BYTES_MAX;
    let headers = expand_all(&auth.access_headers, &auth);
    let length: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if auth.access_token.as_ref().is_some_and(is_too_long) || length > TOKEN_BYTES_MAX {
        return Err("the token server's answer holds an access token too long for headers (16 KiB)".into());
    }
    auth.access_token_expires_at_ms = match find("expires_in") {
        Some(Value::Number(text) | Value::Text(text)) => {
            whole_seconds(text).map(|seconds| now_at_ms.saturating_add(seconds.saturating_mul(1_000)))
        }
        _ => None,
    };
    Ok(auth)
}

/// A token goes into headers: no line ends, nothing invisible.
fn is_usable(token: &str) -> bool {
    !token.is_empty() && http::is_field_value(token)
}

/// Seconds without their fraction; some servers send `3600.0`.
fn whole_seconds(text: &str) -> Option<u64> {
    http::number(text.split_once('.').map_or(text, |(whole, _)| whole))
}

fn expand_all(pairs: &[(String, String)], auth: &Auth) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.clone(), expand(value, auth))).collect()
}

/// Puts the tokens into a template, in one pass: a token that looks like a template is not expanded again. The template
/// of a token that is not there stays as it is.
fn expand(template: &str, auth: &Auth) -> String {
    let tokens = [("{accessToken}", auth.access_token.as_deref()), ("{refreshToken}", auth.refresh_token.as_deref())];
    let mut out = String::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        let found = tokens.iter().find_map(|(name, token)| Some((rest.strip_prefix(name)?, (*token)?)));
        if let Some((after, token)) = found {
            out.push_str(token);
            rest = after;
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Adds parameters to a URL, or replaces those of the same name, percent-encoded. A fragment is dropped.
fn with_query(url: &str, pairs: &[(String, String)]) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    if pairs.is_empty() {
        return url.into();
    }
    let encoded: Vec<(String, String)> = pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let kept = query.split('&').filter(|parameter| {
        let name = parameter.split_once('=').map_or(*parameter, |(name, _)| name);
        !parameter.is_empty() && !encoded.iter().any(|(other, _)| other == name)
    });
    let added = encoded.iter().map(|(name, value)| format!("{name}={value}"));
    let parameters: Vec<String> = kept.map(String::from).chain(added).collect();
    format!("{address}?{}", parameters.join("&"))
}

/// Percent-encodes all but unreserved characters (RFC 3986 2.3).
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            http::push_escaped(&mut out, byte);
        }
    }
    out
}
