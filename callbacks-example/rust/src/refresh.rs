//! A token refresh over wasi:http: POST the refresh token to the task's refresh URL, read the new token from the answer.
//!
//! The same in five lines: `import haul:transfer/fetch`, which haul offers for languages without good wasi:http bindings.

use std::io::{Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

use crate::haul::transfer::types::Auth;

pub struct Renewed {
    pub access_token: String,
    pub expires_at_ms: Option<u64>,
}

pub fn renew(auth: &Auth) -> Result<Renewed, String> {
    let url = auth.refresh_url.as_deref().ok_or("the task has no refresh URL")?;
    let token = auth.refresh_token.as_deref().ok_or("the task has no refresh token")?;
    let request = serde_json::json!({ "grant_type": "refresh_token", "refresh_token": token });
    let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
    for (name, template) in &auth.refresh_headers {
        headers.push((name.clone(), template.replace("{refreshToken}", token).into_bytes()));
    }
    let answer = post(url, headers, request.to_string().as_bytes())?;
    let answer: serde_json::Value =
        serde_json::from_slice(&answer).map_err(|_| "the token server did not answer JSON")?;
    let access_token = answer["access_token"].as_str().ok_or("the token server gave no token")?;
    let expires_at_ms = answer["expires_in"].as_u64().map(|seconds| now_ms() + seconds * 1000);
    Ok(Renewed { access_token: access_token.to_owned(), expires_at_ms })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Errors are told without the URL, which may hold secrets.
fn post(url: &str, headers: Vec<(String, Vec<u8>)>, body: &[u8]) -> Result<Vec<u8>, String> {
    let (scheme, rest) = url.split_once("://").ok_or("the refresh URL is not absolute")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };

    let headers = Fields::from_list(&headers).map_err(|error| error.to_string())?;
    let request = OutgoingRequest::new(headers);
    let set = request.set_method(&Method::Post).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(&path)).is_ok();
    if !set {
        return Err("the refresh URL cannot be used".into());
    }
    let outgoing = request.body().map_err(|()| "the request has no body")?;
    let pending = outgoing_handler::handle(request, None).map_err(|error| error.to_string())?;
    let mut stream = outgoing.write().map_err(|()| "the request's body cannot be written")?;
    stream.write_all(body).map_err(|error| error.to_string())?;
    drop(stream); // before the body it belongs to
    OutgoingBody::finish(outgoing, None).map_err(|error| error.to_string())?;

    pending.subscribe().block();
    let response =
        pending.get().and_then(Result::ok).ok_or("there is no response")?.map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("the token server answered {}", response.status()));
    }
    let incoming = response.consume().map_err(|()| "the response has no body")?;
    let mut answer = Vec::new();
    let mut stream = incoming.stream().map_err(|()| "the response's body cannot be read")?;
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}
