//! Writes what hooks are asked and what they answer, one JSON object a line, so that it can be tried again with another
//! component (docs/workshop.md). Secrets are masked before they are written; but for the end of a file that is there, it reads nothing.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::workshop::Call;
use crate::error::Error;
use crate::mask::{self, MASK, Secrets};

/// What one engine writes at most; what comes after it is left out.
const BYTES_MAX: usize = 64 << 20;

/// A file that calls are appended to.
pub(super) struct Recorder {
    open: Mutex<Open>,
}

struct Open {
    file: File,
    left: usize,
}

impl Recorder {
    /// Opens the file, or creates it; either way it is for its owner alone, and what is written begins on a line of its own.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed =
            |error: io::Error| Error::FileSystem(format!("cannot write the record {}: {error}", path.display()));
        // To be read as well: so a pipe that nobody reads is opened at once, to be refused.
        let mut how = OpenOptions::new();
        how.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
        let mut file = how.open(path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        if !known.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        if known.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        }
        if known.len() > 0 && !ends_with_a_line(&file, known.len()).map_err(failed)? {
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok(Self { open: Mutex::new(Open { file, left: BYTES_MAX }) })
    }

    /// Appends a call, masked. What cannot be written is told in the log; the transfer goes on.
    ///
    /// `secrets`: what is masked wherever it stands, beside what a place has for secrets.
    pub(super) fn write(&self, mut call: Call, secrets: &Secrets) {
        for value in std::iter::once(&mut call.input).chain(&mut call.verdict) {
            mask_known(secrets, value);
            mask_value("", value);
        }
        if let Some(failure) = &mut call.failure {
            secrets.mask(failure);
            *failure = mask::text(failure);
        }
        let line = format!("{}\n", call.write());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.left == 0 {
            return;
        }
        if line.len() > open.left {
            open.left = 0;
            tracing::warn!("the record of hooks has reached 64 MiB: nothing more is written to it");
            return;
        }
        open.left -= line.len();
        if let Err(error) = open.file.write_all(line.as_bytes()) {
            open.left = 0;
            tracing::warn!("the record of hooks cannot be written any more: {error}");
        }
    }
}

/// Whether the last line is whole: a process that was killed may have written a part of it.
fn ends_with_a_line(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, len - 1)?;
    Ok(last == *b"\n")
}

/// Cases of a task's body that hold no bytes.
const BODY_CASES: [&str; 3] = ["none", "file", "multipart"];

/// Masks what is known to be secret in all texts of a value.
fn mask_known(secrets: &Secrets, value: &mut Value) {
    match value {
        Value::String(text) => secrets.mask(text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_known(secrets, item)),
        Value::Object(members) => members.values_mut().for_each(|value| mask_known(secrets, value)),
        _ => {}
    }
}

/// Members of an auth block that are lists of names and values.
const OF_AUTH: [&str; 4] = ["accessHeaders", "accessQuery", "refreshHeaders", "refreshQuery"];

/// Masks a value in the form of [`super::words`]. `name`: the member it is the value of.
pub(super) fn mask_value(name: &str, value: &mut Value) {
    match value {
        Value::String(text) => *text = masked_text(name, text),
        Value::Array(items) if is_pairs(items) => {
            items.iter_mut().for_each(|item| mask_pair(OF_AUTH.contains(&name), item));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(name, item)),
        // Bytes that are no text: nobody can say what is in them.
        Value::Object(members) if is_body(name) && members.contains_key("base64") => {
            *value = Value::String(String::new());
        }
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| mask_value(name, value)),
        _ => {}
    }
}

fn masked_text(name: &str, text: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if text.is_empty() {
        String::new()
    } else if ["token", "secret", "password"].iter().any(|part| lower.contains(part)) {
        MASK.into()
    } else if is_body(name) && !BODY_CASES.contains(&text) {
        masked_body(text)
    } else if text.contains("://") && !text.contains(char::is_whitespace) {
        mask::url(text)
    } else {
        mask::text(text)
    }
}

/// Whether a member holds what somebody has sent.
fn is_body(name: &str) -> bool {
    matches!(name, "body" | "bytes" | "firstBytes" | "responseBody")
}

/// JSON and forms without the values of their secret members; any other text is left out, since nobody can say where in it
/// a secret is.
fn masked_body(text: &str) -> String {
    if let Ok(mut json) = serde_json::from_str::<Value>(text) {
        mask_json(&mut json);
        return json.to_string();
    }
    let is_form = text.contains('=') && !text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '{'));
    if is_form { mask::url(&format!("?{text}")).split_off(1) } else { String::new() }
}

fn mask_json(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if mask::is_secret_parameter(name) || mask::is_secret_header(name) {
                    *value = Value::String(MASK.into());
                } else {
                    mask_json(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_json),
        Value::String(text) => *text = mask::text(text),
        _ => {}
    }
}

/// Whether a list is one of names and values.
fn is_pairs(items: &[Value]) -> bool {
    let is_pair =
        |item: &Value| item.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_string));
    !items.is_empty() && items.iter().all(is_pair)
}

fn mask_pair(of_auth: bool, pair: &mut Value) {
    let Some([Value::String(name), Value::String(value)]) = pair.as_array_mut().map(Vec::as_mut_slice) else { return };
    *value = match of_auth {
        true if mask::is_secret_of_auth(name, value) => MASK.into(),
        true => return, // it says where a token goes
        false if mask::is_secret_parameter(name) => MASK.into(),
        false => mask::header(name, &masked_text("", value)),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_that_was_cut_goes_on_with_a_line_of_its_own_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        std::fs::write(&path, "{\"hook\": \"ret").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        for _ in 0..2 {
            drop(Recorder::open(&path).unwrap());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"hook\": \"ret\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_file_is_refused_as_a_record_without_waiting_for_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/null")] {
            let error = Recorder::open(path).map(drop).unwrap_err();
            assert!(error.to_string().contains("is not a regular file"), "{error}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_the_contract_has_a_place_for_them() {
        let mut value = json!({
            "task": {
                "url": "https://user:pw@example.org/f?token=canary&page=2",
                "headers": [["Authorization", "Bearer canary"], ["X-Api-Key", "canary"], ["Accept", "*/*"]],
                "query": [["access_token", "canary"], ["page", "2"]],
                "auth": {"accessToken": "canary", "refreshToken": "canary", "accessTokenExpiresAtMs": 7,
                    "accessHeaders": [["X-Tok", "Bearer {accessToken}"], ["Authorization", "Bearer {accessToken}"]], "refreshHeaders": [["X-Client", "canary"]],
                    "refreshUrl": "https://example.org/t?client_secret=canary"},
                "body": {"bytes": "password=canary&a=b"},
                "metaData": "see https://example.org/?key=canary",
            },
            "situation": {"refreshAnswered": {"status": 200, "body": "{\"access_token\":\"canary\",\"expires_in\":60}"}},
            "page": {"body": "<Token>canary</Token>"},
            "octets": {"body": {"base64": "Y2FuYXJ5"}},
            "finished": {"firstBytes": "-----BEGIN canary-----"},
            "binary": {"firstBytes": {"base64": "Y2FuYXJ5"}},
        });

        mask_value("", &mut value);

        let text = value.to_string();
        assert!(!text.contains("canary") && !text.contains("pw@") && !text.contains("Y2FuYXJ5"), "{text}");
        assert_eq!(value["task"]["url"], "https://***@example.org/f?token=***&page=2");
        assert_eq!(value["task"]["headers"][2], json!(["Accept", "*/*"]));
        assert_eq!(value["task"]["query"][1], json!(["page", "2"]));
        assert_eq!(value["task"]["body"]["bytes"], "password=***&a=b");
        assert_eq!(value["task"]["auth"]["accessTokenExpiresAtMs"], 7);
        for field in value["task"]["auth"]["accessHeaders"].as_array().unwrap() {
            assert_eq!(field[1], "Bearer {accessToken}", "it says where, not what");
        }
        assert!(value["situation"]["refreshAnswered"]["body"].as_str().unwrap().contains("expires_in"));
    }
}
