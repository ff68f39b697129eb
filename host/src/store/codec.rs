//! The store's own JSON for what has no column: a task's rest, failures, details and outcomes.
//!
//! Short keys; what has its default value is left out. It is versioned by the schema and read by nobody else: the JSON that
//! people see is in `task::json`. Not here: fields with columns of their own (id, URL, group, priority, creation time,
//! retries left) and a body's bytes.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::vault::Vault;
use super::{Publish, TaskKey};
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, Hop, Protocol};
use crate::mask;
use crate::task::{
    AnswerHead, Auth, Body, Changes, FilePart, OnConflict, Pairs, Piece, Task, TaskType, Timeouts, Updates,
    UploadRecord,
};

type Json<T> = serde_json::Result<T>;

/// A task as it is stored.
pub(super) struct Coded<'a> {
    /// Without its secrets.
    pub(super) url: Cow<'a, str>,
    /// What has no column, without its secrets.
    pub(super) spec: String,
    /// The bytes of a body that is bytes, without its secrets.
    pub(super) body: Option<Cow<'a, [u8]>>,
    /// The secrets.
    pub(super) sealed: Option<Vec<u8>>,
}

/// Encodes a task. Its secrets are sealed together: credentials, secret headers and fields, and URLs with secrets in them.
/// Not sealed is what nobody can know to be a secret: bodies that are no URL-encoded forms, and what the owner writes into
/// `metaData` and `extra`.
pub(super) fn encode_task<'a>(key: TaskKey, task: &'a Task, vault: &Vault) -> Json<Coded<'a>> {
    let hidden = Hidden::of(task);
    if hidden == Hidden::default() {
        let (url, body) = (Cow::Borrowed(task.url.as_str()), bytes_of(task).map(Cow::Borrowed));
        return Ok(Coded { url, spec: encode_spec(task)?, body, sealed: None });
    }
    let body = mask::form(task).map(Cow::Owned).or(bytes_of(task).map(Cow::Borrowed));
    let sealed = vault.seal(&place(key), &serde_json::to_vec(&hidden)?);
    let mut shown = task.clone();
    shown.auth = None;
    shown.headers = mask::headers(&task.headers);
    shown.fields = mask::parameters(&task.fields);
    shown.url_query_parameters = mask::parameters(&task.url_query_parameters);
    shown.files = mask::parts(&task.files);
    shown.mirrors = task.mirrors.iter().map(|url| mask::url(url)).collect();
    Ok(Coded { url: shown_url(&task.url), spec: encode_spec(&shown)?, body, sealed: Some(sealed) })
}

/// The bytes of a body that is bytes.
fn bytes_of(task: &Task) -> Option<&[u8]> {
    match &task.body {
        Body::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn encode_spec(task: &Task) -> Json<String> {
    let mut out = Vec::with_capacity(128);
    TaskDef::serialize(task, &mut serde_json::Serializer::new(&mut out))?;
    String::from_utf8(out).map_err(serde_json::Error::custom)
}

/// A URL as its column has it.
pub(super) fn shown_url(url: &str) -> Cow<'_, str> {
    // Most have none of what secrets are set apart by.
    if url.contains(['?', '@', '#']) { Cow::Owned(mask::url(url)) } else { Cow::Borrowed(url) }
}

/// Where a task's secrets belong: they open nowhere else.
fn place(key: TaskKey) -> String {
    format!("task:{key}")
}

/// Puts a task's secrets back.
pub(super) fn reveal(key: TaskKey, sealed: &[u8], vault: &Vault, task: &mut Task) -> Json<()> {
    let plain = vault.unseal(&place(key), sealed);
    let plain = plain.ok_or_else(|| serde_json::Error::custom("it was not sealed by this home's key"))?;
    let hidden: Hidden = serde_json::from_slice(&plain)?;
    task.auth = hidden.auth.or(task.auth.take());
    task.url = hidden.url.unwrap_or(std::mem::take(&mut task.url));
    task.headers = hidden.headers.unwrap_or(std::mem::take(&mut task.headers));
    task.fields = hidden.fields.unwrap_or(std::mem::take(&mut task.fields));
    task.url_query_parameters = hidden.query.unwrap_or(std::mem::take(&mut task.url_query_parameters));
    if let Some(form) = hidden.form {
        task.body = Body::Bytes(STANDARD.decode(form).map_err(serde_json::Error::custom)?);
    }
    task.mirrors = hidden.mirrors.unwrap_or(std::mem::take(&mut task.mirrors));
    let of_parts = hidden.part_headers.into_iter().flatten();
    task.files.iter_mut().zip(of_parts).for_each(|(part, headers)| part.headers = headers);
    let of_parts = hidden.part_contents.into_iter().flatten();
    for (part, content) in task.files.iter_mut().zip(of_parts) {
        let content = content.map(|text| STANDARD.decode(text)).transpose();
        part.content = content.map_err(serde_json::Error::custom)?;
    }
    Ok(())
}

/// The secrets of a task: each field whole, if it holds any.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Hidden {
    #[serde(rename = "a", with = "auth", skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    headers: Option<Pairs>,
    #[serde(rename = "fd", skip_serializing_if = "Option::is_none")]
    fields: Option<Pairs>,
    #[serde(rename = "q", skip_serializing_if = "Option::is_none")]
    query: Option<Pairs>,
    #[serde(rename = "ml", skip_serializing_if = "Option::is_none")]
    mirrors: Option<Vec<String>>,
    #[serde(rename = "ph", skip_serializing_if = "Option::is_none")]
    part_headers: Option<Vec<Pairs>>,
    /// What parts bring along themselves, in base64.
    #[serde(rename = "pc", skip_serializing_if = "Option::is_none")]
    part_contents: Option<Vec<Option<String>>>,
    /// A body that is a form, in base64.
    #[serde(rename = "fm", skip_serializing_if = "Option::is_none")]
    form: Option<String>,
}

impl Hidden {
    fn of(task: &Task) -> Self {
        let is_hidden = |url: &String| shown_url(url) != *url;
        let headers_of_parts = || task.files.iter().map(|part| part.headers.clone()).collect();
        let in_base64 = |part: &FilePart| part.content.as_ref().map(|content| STANDARD.encode(content));
        let contents_of_parts = || task.files.iter().map(in_base64).collect();
        let masked_parts = mask::parts(&task.files);
        let differ = |differs: fn(&FilePart, &FilePart) -> bool| {
            task.files.iter().zip(&masked_parts).any(|(part, masked)| differs(part, masked))
        };
        Self {
            auth: task.auth.clone(),
            url: Some(&task.url).filter(|url| is_hidden(url)).cloned(),
            headers: (mask::headers(&task.headers) != task.headers).then(|| task.headers.clone()),
            fields: (mask::parameters(&task.fields) != task.fields).then(|| task.fields.clone()),
            query: Some(&task.url_query_parameters).filter(|query| mask::parameters(query) != **query).cloned(),
            mirrors: task.mirrors.iter().any(is_hidden).then(|| task.mirrors.clone()),
            part_headers: differ(|part, masked| part.headers != masked.headers).then(headers_of_parts),
            part_contents: differ(|part, masked| part.content != masked.content).then(contents_of_parts),
            form: mask::form(task).and(bytes_of(task)).map(|form| STANDARD.encode(form)),
        }
    }
}

/// What components have changed about a task's requests, sealed.
pub(super) fn encode_changes(key: TaskKey, changes: &Changes, vault: &Vault) -> Json<Vec<u8>> {
    let Changes { url, headers, is_joined, by, is_over } = changes.clone();
    let changes = ChangesDef { url, headers, joined: is_joined, by, over: is_over };
    Ok(vault.seal(&place_of_changes(key), &serde_json::to_vec(&changes)?))
}

/// The opposite of [`encode_changes`].
pub(super) fn decode_changes(key: TaskKey, sealed: &[u8], vault: &Vault) -> Json<Changes> {
    let plain = vault.unseal(&place_of_changes(key), sealed);
    let plain = plain.ok_or_else(|| serde_json::Error::custom("it was not sealed by this home's key"))?;
    let ChangesDef { url, headers, joined, by, over } = serde_json::from_slice(&plain)?;
    Ok(Changes { url, headers, is_joined: joined, by, is_over: over })
}

fn place_of_changes(key: TaskKey) -> String {
    format!("changes:{key}")
}

/// An upload that a server keeps open, sealed.
pub(super) fn encode_upload(key: TaskKey, upload: &UploadRecord, vault: &Vault) -> Json<Vec<u8>> {
    Ok(vault.seal(&place_of_upload(key), &serde_json::to_vec(&UploadDef::of(upload))?))
}

/// The opposite of [`encode_upload`].
pub(super) fn decode_upload(key: TaskKey, sealed: &[u8], vault: &Vault) -> Json<UploadRecord> {
    let plain = vault.unseal(&place_of_upload(key), sealed);
    let plain = plain.ok_or_else(|| serde_json::Error::custom("it was not sealed by this home's key"))?;
    let UploadDef(url, length, offset, sent, source, append_at_most) = serde_json::from_slice(&plain)?;
    Ok(UploadRecord { url, length, offset, sent, source, append_at_most })
}

/// The fields of an [`UploadRecord`] in their order; the last was not always there.
#[derive(Serialize, Deserialize)]
struct UploadDef(String, u64, u64, u64, String, #[serde(default)] Option<u64>);

impl UploadDef {
    fn of(upload: &UploadRecord) -> Self {
        let UploadRecord { url, length, offset, sent, source, append_at_most } = upload.clone();
        Self(url, length, offset, sent, source, append_at_most)
    }
}

fn place_of_upload(key: TaskKey) -> String {
    format!("upload:{key}")
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ChangesDef {
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    headers: Pairs,
    #[serde(rename = "j", skip_serializing_if = "std::ops::Not::not")]
    joined: bool,
    #[serde(rename = "b", skip_serializing_if = "String::is_empty")]
    by: String,
    #[serde(rename = "o", skip_serializing_if = "std::ops::Not::not")]
    over: bool,
}

/// A refreshed auth block, and the one it came of.
pub(super) fn encode_renewal(asked: &Auth, fresh: &Auth) -> Vec<u8> {
    let renewal = Renewal { asked: Some(asked.clone()), fresh: Some(fresh.clone()) };
    serde_json::to_vec(&renewal).unwrap_or_default() // texts and numbers: cannot fail
}

/// The opposite of [`encode_renewal`].
pub(super) fn decode_renewal(json: &[u8]) -> Option<(Auth, Auth)> {
    let Renewal { asked, fresh } = serde_json::from_slice(json).ok()?;
    asked.zip(fresh)
}

#[derive(Serialize, Deserialize)]
struct Renewal {
    #[serde(with = "auth")]
    asked: Option<Auth>,
    #[serde(with = "auth")]
    fresh: Option<Auth>,
}

/// The opposite of [`encode_task`], but for the secrets: the fields with columns have their defaults, a body of bytes is
/// empty.
pub(super) fn decode_task(json: &str) -> Json<Task> {
    TaskDef::deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// Encodes the details of an update.
pub(super) fn encode_details(details: &Details) -> Json<String> {
    let mut out = Vec::with_capacity(512); // of a usual download they take 400
    DetailsDef::serialize(details, &mut serde_json::Serializer::new(&mut out))?;
    String::from_utf8(out).map_err(serde_json::Error::custom)
}

/// The opposite of [`encode_details`].
pub(super) fn decode_details(json: &str) -> Json<Details> {
    DetailsDef::deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// Encodes what is renamed to what.
pub(super) fn encode_publish(publish: &Publish) -> Json<String> {
    let mut out = Vec::with_capacity(768);
    PublishDef::serialize(publish, &mut serde_json::Serializer::new(&mut out))?;
    String::from_utf8(out).map_err(serde_json::Error::custom)
}

/// The opposite of [`encode_publish`].
pub(super) fn decode_publish(json: &str) -> Json<Publish> {
    PublishDef::deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// Encodes the pieces of a divided download; `None` when there are none.
pub(super) fn encode_pieces(pieces: &[Piece]) -> Json<Option<String>> {
    if pieces.is_empty() {
        return Ok(None);
    }
    let row = |piece: &Piece| [piece.first_byte, piece.last_byte, piece.next_byte, piece.durable_to];
    serde_json::to_string(&pieces.iter().map(row).collect::<Vec<_>>()).map(Some)
}

/// The opposite of [`encode_pieces`].
pub(super) fn decode_pieces(json: Option<&str>) -> Json<Vec<Piece>> {
    let rows: Vec<[u64; 4]> = json.map_or_else(|| Ok(Vec::new()), serde_json::from_str)?;
    let piece = |[first_byte, last_byte, next_byte, durable_to]: [u64; 4]| Piece {
        first_byte,
        last_byte,
        next_byte,
        durable_to,
    };
    Ok(rows.into_iter().map(piece).collect())
}

/// Encodes the answer that stored bytes began with.
pub(super) fn encode_answer(answer: Option<&AnswerHead>) -> Json<Option<String>> {
    answer.map(|answer| serde_json::to_string(&(answer.status, &answer.headers))).transpose()
}

/// The opposite of [`encode_answer`].
pub(super) fn decode_answer(json: Option<&str>) -> Json<Option<AnswerHead>> {
    let answer: Option<(u16, Pairs)> = json.map(serde_json::from_str).transpose()?;
    Ok(answer.map(|(status, headers)| AnswerHead { status, headers }))
}

/// What a record keeps of the details of the last attempt.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Outcome {
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub(super) file_path: Option<String>,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub(super) response_status_code: Option<u16>,
    #[serde(rename = "e", with = "failure", skip_serializing_if = "Option::is_none")]
    pub(super) exception: Option<Failure>,
    #[serde(rename = "n", skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// Of an attempt that failed.
    #[serde(rename = "o", with = "hops", skip_serializing_if = "Vec::is_empty")]
    pub(super) hops: Vec<Hop>,
}

/// Encodes the outcome within details; `None` when it says nothing.
pub(super) fn encode_outcome(details: &Details) -> Json<Option<String>> {
    let outcome = Outcome {
        file_path: details.file_path.clone(),
        response_status_code: details.response_status_code,
        exception: details.exception.clone(),
        notes: details.notes.clone(),
        hops: details.exception.as_ref().map_or_else(Vec::new, |_| details.hops.clone()),
    };
    if outcome == Outcome::default() {
        return Ok(None);
    }
    serde_json::to_string(&outcome).map(Some)
}

/// The opposite of [`encode_outcome`].
pub(super) fn decode_outcome(json: Option<&str>) -> Json<Outcome> {
    json.map_or_else(|| Ok(Outcome::default()), serde_json::from_str)
}

/// An outcome with one note more.
pub(super) fn with_note(json: Option<&str>, note: &str) -> Json<String> {
    let mut outcome = decode_outcome(json)?;
    outcome.notes.push(note.to_owned());
    serde_json::to_string(&outcome)
}

/// Mirror of [`Task`]. Keys in use are never given another meaning.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Task", default = "Task::default")]
struct TaskDef {
    #[serde(skip)]
    task_id: String,
    #[serde(rename = "t", with = "task_type", skip_serializing_if = "is_download")]
    task_type: TaskType,
    #[serde(skip)]
    url: String,
    #[serde(rename = "ml", skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
    #[serde(rename = "q", skip_serializing_if = "Vec::is_empty")]
    url_query_parameters: Pairs,
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    headers: Pairs,
    #[serde(rename = "m", skip_serializing_if = "String::is_empty")]
    http_request_method: String,
    #[serde(rename = "b", with = "body", skip_serializing_if = "is_bodiless")]
    body: Body,
    #[serde(rename = "ct", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(rename = "d", skip_serializing_if = "String::is_empty")]
    directory: String,
    #[serde(rename = "bd", skip_serializing_if = "is_downloads")]
    base_directory: String,
    #[serde(skip)]
    group: String,
    #[serde(rename = "u", with = "updates", skip_serializing_if = "is_status")]
    updates: Updates,
    #[serde(rename = "w", skip_serializing_if = "is_false")]
    requires_wifi: bool,
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    retries: i32,
    #[serde(skip)]
    retries_remaining: i32,
    #[serde(rename = "ap", skip_serializing_if = "is_true")]
    allow_pause: bool,
    #[serde(skip)]
    priority: i32,
    #[serde(rename = "md", skip_serializing_if = "String::is_empty")]
    meta_data: String,
    #[serde(rename = "dn", skip_serializing_if = "String::is_empty")]
    display_name: String,
    #[serde(skip)]
    creation_time: u64,
    #[serde(rename = "cs", skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    #[serde(rename = "ch", skip_serializing_if = "is_one")]
    chunks: u32,
    #[serde(rename = "oc", with = "on_conflict", skip_serializing_if = "Option::is_none")]
    on_conflict: Option<OnConflict>,
    #[serde(rename = "nb", skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(rename = "na", skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
    #[serde(rename = "lr", skip_serializing_if = "Option::is_none")]
    limit_rate: Option<u64>,
    #[serde(rename = "to", with = "TimeoutsDef", skip_serializing_if = "is_default_timeouts")]
    timeouts: Timeouts,
    #[serde(rename = "mr", skip_serializing_if = "is_ten")]
    max_redirects: u32,
    #[serde(rename = "as", skip_serializing_if = "Vec::is_empty")]
    accept_status: Vec<(u16, u16)>,
    #[serde(rename = "cb", skip_serializing_if = "Vec::is_empty")]
    callbacks: Vec<String>,
    #[serde(rename = "sc", skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(rename = "ff", skip_serializing_if = "is_file")]
    file_field: String,
    #[serde(rename = "mt", skip_serializing_if = "String::is_empty")]
    mime_type: String,
    #[serde(rename = "fd", skip_serializing_if = "Vec::is_empty")]
    fields: Pairs,
    #[serde(rename = "fs", with = "files", skip_serializing_if = "Vec::is_empty")]
    files: Vec<FilePart>,
    #[serde(rename = "rf", skip_serializing_if = "Option::is_none")]
    response_file: Option<String>,
    #[serde(rename = "a", with = "auth", skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
    #[serde(rename = "rp", skip_serializing_if = "is_false")]
    repeatable: bool,
    #[serde(rename = "x", skip_serializing_if = "Vec::is_empty")]
    extra: Pairs,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Timeouts", default = "Timeouts::default")]
struct TimeoutsDef {
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    connect_ms: Option<u64>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    send_ms: Option<u64>,
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    head_ms: Option<u64>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    total_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Auth", default = "Auth::default")]
struct AuthDef {
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    access_headers: Pairs,
    #[serde(rename = "q", skip_serializing_if = "Vec::is_empty")]
    access_query_params: Pairs,
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    access_token_expiry_time: Option<u64>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(rename = "rh", skip_serializing_if = "Vec::is_empty")]
    refresh_headers: Pairs,
    #[serde(rename = "rq", skip_serializing_if = "Vec::is_empty")]
    refresh_query_params: Pairs,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    refresh_url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Failure")]
struct FailureDef {
    #[serde(rename = "k", with = "failure_kind")]
    kind: FailureKind,
    #[serde(rename = "d", with = "failure_detail", default, skip_serializing_if = "is_plain")]
    detail: FailureDetail,
    #[serde(rename = "t")]
    description: String,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(rename = "u", default, skip_serializing_if = "is_false")]
    outcome_unknown: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Details", default = "Details::default")]
struct DetailsDef {
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    file_path: Option<String>,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    response_headers: Pairs,
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    response_body: Option<String>,
    #[serde(rename = "ru", skip_serializing_if = "Option::is_none")]
    response_url: Option<String>,
    #[serde(rename = "rd", skip_serializing_if = "Vec::is_empty")]
    redirects: Vec<String>,
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(rename = "cs", skip_serializing_if = "Option::is_none")]
    char_set: Option<String>,
    #[serde(rename = "e", with = "failure", skip_serializing_if = "Option::is_none")]
    exception: Option<Failure>,
    #[serde(rename = "f", skip_serializing_if = "is_nothing")]
    resumed_from: u64,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(rename = "n", skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(rename = "o", with = "hops", skip_serializing_if = "Vec::is_empty")]
    hops: Vec<Hop>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    retry_at: Option<u64>,
    #[serde(rename = "pb", skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
}

/// A hop in a row: URL, status, place of its protocol in the list, address, whether proxied and reused, the four times.
type HopRow<'a> = (Cow<'a, str>, Option<u16>, Option<usize>, Option<std::net::SocketAddr>, u8, [u64; 4]);

mod hops {
    use super::*;
    pub(super) fn serialize<S: Serializer>(hops: &[Hop], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(hops.iter().map(|hop| -> HopRow<'_> {
            let protocol = hop.protocol.and_then(|it| Protocol::ALL.iter().position(|known| *known == it));
            let flags = u8::from(hop.proxied) | u8::from(hop.reused) << 1;
            let times = [hop.lookup_us, hop.connect_us, hop.tls_us, hop.answer_us];
            (Cow::Borrowed(&hop.url), hop.status, protocol, hop.remote_address, flags, times)
        }))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Hop>, D::Error> {
        let rows = Vec::<HopRow<'static>>::deserialize(from)?;
        let hop = |(url, status, protocol, remote_address, flags, times): HopRow<'static>| {
            let [lookup_us, connect_us, tls_us, answer_us] = times;
            Hop {
                url: url.into_owned(),
                status,
                protocol: protocol.and_then(|place| Protocol::ALL.get(place).copied()),
                remote_address,
                proxied: flags & 1 != 0,
                reused: flags & 2 != 0,
                lookup_us,
                connect_us,
                tls_us,
                answer_us,
            }
        };
        Ok(rows.into_iter().map(hop).collect())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Publish")]
struct PublishDef {
    #[serde(rename = "p")]
    part_name: String,
    #[serde(rename = "n")]
    final_name: String,
    #[serde(rename = "v")]
    dev: u64,
    #[serde(rename = "i")]
    ino: u64,
    #[serde(rename = "s")]
    size: u64,
    #[serde(rename = "d", with = "details")]
    details: Arc<Details>,
}

/// A module for `#[serde(with)]` that writes a fieldless choice as its place in a list.
macro_rules! numbered {
    ($name:ident, $type:ty, [$($number:literal => $value:pat => $made:expr),+ $(,)?]) => {
        mod $name {
            use super::*;
            pub(super) fn serialize<S: Serializer>(value: &$type, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_u8(match value { $($value => $number),+ })
            }
            pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                match u8::deserialize(from)? {
                    $($number => Ok($made),)+
                    other => Err(D::Error::custom(format!("unknown {} {other}", stringify!($name)))),
                }
            }
        }
    };
}

numbered!(task_type, TaskType, [
    0 => TaskType::Download => TaskType::Download,
    1 => TaskType::Upload => TaskType::Upload,
    2 => TaskType::MultiUpload => TaskType::MultiUpload,
    3 => TaskType::Data => TaskType::Data,
    4 => TaskType::ParallelDownload => TaskType::ParallelDownload,
    5 => TaskType::Request => TaskType::Request,
]);
numbered!(updates, Updates, [
    0 => Updates::None => Updates::None,
    1 => Updates::Status => Updates::Status,
    2 => Updates::Progress => Updates::Progress,
    3 => Updates::StatusAndProgress => Updates::StatusAndProgress,
]);
numbered!(on_conflict, Option<OnConflict>, [
    0 => None => None,
    1 => Some(OnConflict::Unique) => Some(OnConflict::Unique),
    2 => Some(OnConflict::Replace) => Some(OnConflict::Replace),
    3 => Some(OnConflict::Fail) => Some(OnConflict::Fail),
    4 => Some(OnConflict::Skip) => Some(OnConflict::Skip),
]);
numbered!(body, Body, [
    0 => Body::None => Body::None,
    1 => Body::Bytes(_) => Body::Bytes(Vec::new()),
    2 => Body::File => Body::File,
    3 => Body::Multipart => Body::Multipart,
]);

mod failure_kind {
    use super::*;
    pub(super) fn serialize<S: Serializer>(kind: &FailureKind, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(kind.name())
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FailureKind, D::Error> {
        String::deserialize(from).map(|name| FailureKind::from_name(&name))
    }
}

mod failure_detail {
    use super::*;
    pub(super) fn serialize<S: Serializer>(detail: &FailureDetail, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(detail.name())
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FailureDetail, D::Error> {
        String::deserialize(from).map(|name| FailureDetail::from_name(&name))
    }
}

mod failure {
    use super::*;
    #[derive(Serialize)]
    struct Given<'a>(#[serde(with = "FailureDef")] &'a Failure);
    #[derive(Deserialize)]
    struct Taken(#[serde(with = "FailureDef")] Failure);

    pub(super) fn serialize<S: Serializer>(failure: &Option<Failure>, out: S) -> Result<S::Ok, S::Error> {
        failure.as_ref().map(Given).serialize(out)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Failure>, D::Error> {
        Ok(Option::<Taken>::deserialize(from)?.map(|taken| taken.0))
    }
}

mod auth {
    use super::*;
    #[derive(Serialize)]
    struct Given<'a>(#[serde(with = "AuthDef")] &'a Auth);
    #[derive(Deserialize)]
    struct Taken(#[serde(with = "AuthDef")] Auth);

    pub(super) fn serialize<S: Serializer>(auth: &Option<Auth>, out: S) -> Result<S::Ok, S::Error> {
        auth.as_ref().map(Given).serialize(out)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Auth>, D::Error> {
        Ok(Option::<Taken>::deserialize(from)?.map(|taken| taken.0))
    }
}

mod details {
    use super::*;
    pub(super) fn serialize<S: Serializer>(details: &Arc<Details>, out: S) -> Result<S::Ok, S::Error> {
        DetailsDef::serialize(details, out)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Details>, D::Error> {
        DetailsDef::deserialize(from).map(Arc::new)
    }
}

mod files {
    use super::*;
    /// A file on the disk, or a part with headers and content in base64.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Row {
        Plain(String, String, String),
        Whole((String, String, String), Pairs, Option<String>),
    }

    fn part(row: Row) -> Option<FilePart> {
        let ((field, filename, mime_type), headers, content) = match row {
            Row::Plain(field, filename, mime_type) => ((field, filename, mime_type), Pairs::new(), None),
            Row::Whole(names, headers, content) => (names, headers, content),
        };
        let content = content.map(|text| STANDARD.decode(text)).transpose().ok()?;
        Some(FilePart { field, filename, mime_type, headers, content })
    }

    pub(super) fn serialize<S: Serializer>(files: &[FilePart], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(files.iter().map(|file| match (file.headers.is_empty(), &file.content) {
            (true, None) => Row::Plain(file.field.clone(), file.filename.clone(), file.mime_type.clone()),
            _ => Row::Whole(
                (file.field.clone(), file.filename.clone(), file.mime_type.clone()),
                file.headers.clone(),
                file.content.as_deref().map(|content| STANDARD.encode(content)),
            ),
        }))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FilePart>, D::Error> {
        let rows = Vec::<Row>::deserialize(from)?;
        let parts: Option<Vec<FilePart>> = rows.into_iter().map(part).collect();
        parts.ok_or_else(|| D::Error::custom("the content of a part is not base64"))
    }
}

// What is left out: the defaults of `Task::default`. serde hands over references.

fn is_download(task_type: &TaskType) -> bool {
    *task_type == TaskType::Download
}
fn is_bodiless(body: &Body) -> bool {
    *body == Body::None
}
fn is_downloads(text: &str) -> bool {
    text == "downloads"
}
fn is_file(text: &str) -> bool {
    text == "file"
}
/// What watchers get of a task, as its column has it.
pub(super) fn updates_of(task: &Task) -> u8 {
    u8::from(task.sends_status()) + 2 * u8::from(task.sends_progress())
}
/// Whether a task sends its status, by its column.
pub(super) fn sends_status(updates: u8) -> bool {
    matches!(updates, 1 | 3)
}
/// Whether a task sends progress, by the same.
pub(super) fn sends_progress(updates: u8) -> bool {
    matches!(updates, 2 | 3)
}

fn is_status(updates: &Updates) -> bool {
    *updates == Updates::Status
}
fn is_plain(detail: &FailureDetail) -> bool {
    *detail == FailureDetail::None
}
fn is_default_timeouts(timeouts: &Timeouts) -> bool {
    *timeouts == Timeouts::default()
}
fn is_true(value: &bool) -> bool {
    *value
}
fn is_false(value: &bool) -> bool {
    !*value
}
fn is_zero(value: &i32) -> bool {
    *value == 0
}
fn is_nothing(value: &u64) -> bool {
    *value == 0
}
fn is_one(value: &u32) -> bool {
    *value == 1
}
fn is_ten(value: &u32) -> bool {
    *value == 10
}
