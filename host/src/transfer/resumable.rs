//! Uploads that go on where they were interrupted: begin one, ask what the server has, send it the rest.
//!
//! tus and Resumable Uploads for HTTP are the same three steps in other words; the words are in `dialect`. The upload's URL is
//! committed before the first byte of the file goes out, and what the server has is asked in every attempt: nothing that was
//! not heard from it counts. Bytes of two states of a file are never joined: a changed file begins another upload. An upload
//! that was given up stays with its server, which forgets it in its own time; only that of a cancelled task is deleted there,
//! afterwards (`deleting`).

mod deleting;
mod dialect;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub(crate) use self::deleting::delete_upload;
use self::dialect::{Known, Said};
use super::{authorize, callbacks, request, response, upload};
use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::Details;
use crate::mask::MASK;
use crate::store::{Change, Pending};
use crate::task::{Resumable, Status, UploadRecord};
use crate::transfer::download::{Wire, plain_call};
use crate::transfer::request::Of;
use crate::transfer::request_body::{RequestBody, Segment};
use crate::transfer::{Context, Finished, Held, Stopped, headers_for, with_login};
use crate::transport::{Answer, Call, Payload, Source, Trail};

/// Uploads begun afresh in one attempt.
const RESTARTS: u32 = 1;
/// How often in one attempt the rest may be sent without the server having more of it afterwards.
const IN_VAIN: u32 = 3;
/// The first wait for a server that is still busy with an upload; each one after is twice as long.
const LOCKED: Duration = Duration::from_millis(100);
/// Noted when the server does not have an upload any more, or says of it what cannot be.
const LOST: &str = "restarted-upload-lost";

/// The next request.
enum Step {
    /// Begins an upload.
    Create,
    /// Asks what the server has.
    Ask,
    /// Sends the bytes from here on.
    Append(u64),
    /// The server has all: this is its answer.
    Judge(Box<Answer>),
}

/// Makes an attempt. What ends the task is [`Stopped::Final`], as with other requests.
pub(super) async fn run(
    cx: &Context<'_>,
    protocol: Resumable,
    mut wire: Wire,
    held: &mut Held,
) -> Result<Finished, Stopped> {
    let stretch = upload::opened(cx, &mut wire.headers)?;
    if upload::is_changed(cx.task, &[stretch.part(0, stretch.length)]) {
        held.note("source-changed");
    }
    response::look(cx, std::iter::once(&*stretch.file))?;
    let is_same = |known: &UploadRecord| known.source == stretch.file.mark() && known.length == stretch.length;
    if held.upload.as_ref().is_some_and(|known| !is_same(known)) {
        forget(cx, held, "restarted-changed");
    }
    let mut step = if held.upload.is_some() { Step::Ask } else { Step::Create };
    let known = held.upload.as_ref();
    let (sent, append_at_most) = known.map_or((0, None), |known| (known.sent, known.append_at_most));
    let mut attempt = Attempt { cx, protocol, wire, stretch, append_at_most, restarts: 0, in_vain: 0, sent };
    loop {
        if !matches!(step, Step::Judge(_)) {
            authorize::look_ahead(cx).await?;
        }
        step = match step {
            Step::Create => attempt.create(held).await?,
            Step::Ask => attempt.ask(held).await?,
            Step::Append(offset) => attempt.append(held, offset).await?,
            Step::Judge(answer) => return attempt.judge(held, *answer).await,
        };
    }
}

/// Gives an upload up: what comes next begins another one.
fn forget(cx: &Context<'_>, held: &mut Held, note: &str) {
    cx.shared.store.write_later(Change::Upload { key: cx.key, upload: None });
    (held.upload, held.stored, held.resumed_from) = (None, 0, 0);
    held.note(note);
}

struct Attempt<'a> {
    cx: &'a Context<'a>,
    protocol: Resumable,
    wire: Wire,
    stretch: upload::Stretch,
    /// Most bytes that the server takes in one request, where it says so.
    append_at_most: Option<u64>,
    restarts: u32,
    in_vain: u32,
    /// Bytes of the upload that have been sent, at most.
    sent: u64,
}

impl Attempt<'_> {
    async fn create(&mut self, held: &mut Held) -> Result<Step, Stopped> {
        let task = self.cx.task;
        let mut call = plain_call(self.cx, &self.wire);
        call.keep_body = true; // a redirect that makes another request of it creates nothing
        let (length, name) = (self.stretch.length, task.sent_name());
        call.headers = dialect::creation(self.protocol, length, &task.fields, &self.wire.headers, &name);
        let answer = self.send(held, call, Vec::new(), 0).await.0?;
        let answer = self.heed_limits(held, answer).await?;
        match dialect::of_creation(self.protocol, answer.status, &answer.headers) {
            Said::Created(location) => {
                let url = match target(&answer.url, &location) {
                    Ok(url) => url,
                    Err(failure) => return Err(self.unusable(held, answer, failure).await),
                };
                let (length, source) = (self.stretch.length, self.stretch.file.mark());
                // Killed while it sends, nobody will know how much.
                let append_at_most = self.append_at_most;
                held.upload = Some(UploadRecord::default());
                self.sent = 0;
                let upload = UploadRecord { url, length, offset: 0, sent: length, source, append_at_most };
                committed(self.know(held, |known| *known = upload)).await?;
                // One of an empty file is complete as it begins, unless the draft is to be told so.
                Ok(if length == 0 && self.protocol == Resumable::Tus { Step::Ask } else { Step::Append(0) })
            }
            Said::Impossible(why) => {
                let text = format!("the server does not take uploads by {}: {why}", self.protocol.name());
                let failure = Failure::new(FailureKind::HttpResponse, text).with(FailureDetail::Protocol);
                Err(self.unusable(held, answer, failure).await)
            }
            _ => self.refused(held, answer).await,
        }
    }

    async fn ask(&mut self, held: &mut Held) -> Result<Step, Stopped> {
        let mut call = self.call_to_upload(held, "HEAD");
        call.headers.extend(dialect::question(self.protocol));
        let before = held.stored;
        let answer = self.send_hidden(held, call, Vec::new(), before).await.0?;
        let answer = self.heed_limits(held, answer).await?;
        let append_at_most = self.append_at_most;
        self.know(held, |known| known.append_at_most = append_at_most);
        let said = dialect::of_question(self.protocol, answer.status, &answer.headers, self.known(held));
        let known = match said {
            Said::Has(offset) => offset,
            Said::Complete => self.stretch.length,
            _ => 0,
        };
        if held.resumed_from == 0 && known > 0 {
            held.resumed_from = known;
            held.note("resumed");
        }
        self.heed(held, said, answer).await
    }

    async fn append(&mut self, held: &mut Held, offset: u64) -> Result<Step, Stopped> {
        let rest = self.stretch.length - offset;
        let length = self.append_at_most.map_or(rest, |most| rest.min(most));
        let mut call = self.call_to_upload(held, "PATCH");
        call.headers.extend(dialect::append(self.protocol, offset, length == rest));
        call.keep_body = true;
        let segments = vec![self.stretch.part(offset, length)];
        let is_first = self.sent == 0;
        // Before they are sent, the store knows that these bytes may be.
        committed(self.know(held, |known| known.sent = known.sent.max(offset + length))).await?;
        let (answer, taken) = self.send_hidden(held, call, segments, offset).await;
        self.sent = self.sent.max(offset + taken);
        self.know(held, |known| known.sent = self.sent);
        let answer = answer?;
        let known = self.known(held);
        let said = dialect::of_append(self.protocol, answer.status, &answer.headers, known, (offset, length));
        self.in_vain += 1;
        if let Said::Has(now) = said
            && now > offset
        {
            self.in_vain = 0;
        }
        if self.in_vain > IN_VAIN {
            let text = format!("the server took nothing of the upload {IN_VAIN} times, and stays at byte {offset}");
            return Err(self.kept(held, answer, Failure::new(FailureKind::Connection, text)).await);
        }
        if answer.status == 409 && said == Said::Unclear {
            if is_first {
                self.sent = 0; // it has refused them: what it has is somebody else's
            }
            // Perhaps it has not noticed yet that the connection before this one is gone.
            clock::sleep(LOCKED * (1 << (self.in_vain - 1))).await;
        }
        self.heed(held, said, answer).await
    }

    /// What follows from what the server has said about the upload.
    async fn heed(&mut self, held: &mut Held, said: Said, answer: Answer) -> Result<Step, Stopped> {
        let why = match said {
            Said::Has(offset) => {
                self.has(held, offset);
                return Ok(Step::Append(offset));
            }
            Said::Complete => {
                self.has(held, self.stretch.length);
                return Ok(Step::Judge(Box::new(answer)));
            }
            Said::Unclear => return Ok(Step::Ask),
            Said::Refused | Said::Created(_) => return self.refused(held, answer).await,
            Said::Gone => format!("the server answers {} about the upload", answer.status),
            Said::Impossible(why) => format!("the server says of the upload what cannot be: {why}"),
        };
        tracing::info!("{}: {why}", self.cx.task.task_id);
        forget(self.cx, held, LOST);
        self.restarts += 1;
        if self.restarts > RESTARTS {
            return Err(self.kept(held, answer, Failure::new(FailureKind::Resume, why)).await);
        }
        Ok(Step::Create)
    }

    /// Changes what is known of the upload, and makes the store know it where that is news.
    fn know(&self, held: &mut Held, change: impl FnOnce(&mut UploadRecord)) -> Option<Pending> {
        let upload = held.upload.as_mut()?;
        let before = upload.clone();
        change(upload);
        let upload = Some(Box::new(upload.clone())).filter(|upload| **upload != before)?;
        Some(self.cx.shared.store.write(Change::Upload { key: self.cx.key, upload: Some(upload) }))
    }

    fn known(&self, held: &Held) -> Known {
        let upload = held.upload.as_ref();
        let (length, offset) = upload.map_or((0, 0), |upload| (upload.length, upload.offset));
        Known { length, offset, sent: self.sent }
    }

    /// The server has so many bytes.
    fn has(&self, held: &mut Held, offset: u64) {
        held.stored = offset;
        self.know(held, |known| known.offset = offset);
    }

    /// The answer to the whole upload. One that is no success leaves nothing to go on with.
    async fn judge(&self, held: &mut Held, answer: Answer) -> Result<Finished, Stopped> {
        let judged = request::judge(self.cx, held, answer, &|| Some(self.stretch.length)).await;
        if !matches!(judged, Err(Stopped::Final(Status::Complete, _))) {
            self.cx.shared.store.write_later(Change::Upload { key: self.cx.key, upload: None });
            held.upload = None;
        }
        judged
    }

    /// An answer that is about no upload, for the hooks to judge. A success would be none of the upload.
    async fn refused(&self, held: &mut Held, answer: Answer) -> Result<Step, Stopped> {
        let status = answer.status;
        let early = || {
            let text = format!("the server answered {status} before it had the upload");
            with_status(Failure::new(FailureKind::HttpResponse, text).with(FailureDetail::Protocol), status)
        };
        match request::judge(self.cx, held, answer, &|| Some(self.stretch.length)).await {
            Err(Stopped::Final(Status::Complete, details)) => {
                Err(Stopped::Failure(early(), Some(Box::new(Details { file_size: None, ..*details }))))
            }
            Err(stopped) => Err(stopped),
            Ok(_) => Err(early().into()),
        }
    }

    /// An answer that nothing can be done with, for this reason.
    async fn unusable(&self, held: &mut Held, answer: Answer, failure: Failure) -> Stopped {
        let failure = with_status(failure, answer.status);
        self.kept(held, answer, failure).await
    }

    /// A failure that has an answer: what is kept of one.
    async fn kept(&self, held: &mut Held, mut answer: Answer, failure: Failure) -> Stopped {
        let head = callbacks::head_as_it_came(&answer);
        let mut details = request::refused(self.cx, held, &mut answer, &head).await;
        if (200..300).contains(&answer.status) {
            details.response_headers.retain(|(name, _)| name != "location"); // where the upload is
        }
        Stopped::Failure(failure, Some(Box::new(details)))
    }

    fn call_to_upload(&self, held: &Held, method: &str) -> Call {
        let url = held.upload.as_ref().map(|upload| upload.url.clone()).unwrap_or_default();
        call_to(self.cx, &self.wire, &url, method)
    }

    /// Sends a request to the upload's own URL. Its path is a key to the upload: nobody is shown it.
    async fn send_hidden(
        &self,
        held: &mut Held,
        mut call: Call,
        segments: Vec<Segment>,
        before: u64,
    ) -> (Result<Answer, Stopped>, u64) {
        let trail = Trail::default();
        call.trail = Some(trail.clone());
        let sent = self.send(held, call, segments, before).await;
        let mut hops = trail.take();
        hops.iter_mut().for_each(|hop| hop.url = without_path(&hop.url));
        self.cx.trail.extend(hops);
        self.cx.trail.carries(trail.secrets());
        sent
    }

    /// Sends a request with a part of the file, and tells how many bytes of that went out. No doubt is left by any: the next
    /// attempt asks what the server has.
    async fn send(
        &self,
        held: &mut Held,
        mut call: Call,
        segments: Vec<Segment>,
        before: u64,
    ) -> (Result<Answer, Stopped>, u64) {
        let cx = self.cx;
        let body = Arc::new(RequestBody::new(cx.shared, segments, cx.rate, &cx.task.group));
        call.body = Payload::Source(Arc::clone(&body) as Arc<dyn Source>);
        let is_upload = held.upload.is_some();
        let of = Of { before, total: Some(self.stretch.length), shown: is_upload.then(|| without_path(&call.url)) };
        let sent = request::send(cx, held, call, &body, of).await;
        let sent = sent.map_err(|mut failure| {
            failure.outcome_unknown = false;
            Stopped::from(failure)
        });
        let answer = match sent {
            Ok(answer) => followed(cx, held, answer, is_upload).await,
            failed => failed,
        };
        (answer, body.taken())
    }

    /// Gives the answer back, unless it is a success of a server that does not take so much. What a refusal says counts for itself.
    async fn heed_limits(&mut self, held: &mut Held, answer: Answer) -> Result<Answer, Stopped> {
        let (whole, append) = dialect::limits(self.protocol, &answer.headers);
        let is_success = (200..300).contains(&answer.status);
        if let Some(most) = whole.filter(|most| is_success && *most < self.stretch.length) {
            let text = format!("the upload has {} bytes, and the server takes at most {most}", self.stretch.length);
            return Err(self.kept(held, answer, Failure::new(FailureKind::Policy, text)).await);
        }
        self.append_at_most = append.or(self.append_at_most);
        Ok(answer)
    }
}

/// The answer, unless it is a redirect that may not be followed. One of an upload's own URL does not show its way.
async fn followed(cx: &Context<'_>, held: &mut Held, mut answer: Answer, is_upload: bool) -> Result<Answer, Stopped> {
    if is_upload {
        answer.url = without_path(&answer.url);
        answer.hops.iter_mut().for_each(|hop| *hop = without_path(hop));
    }
    let Some(mut failure) = answer.refused.take() else { return Ok(answer) };
    failure.outcome_unknown = false;
    let head = callbacks::head_as_it_came(&answer);
    let details = request::refused(cx, held, &mut answer, &head).await;
    Err(Stopped::Failure(*failure, Some(Box::new(details))))
}

/// Waits until the store has what is known of an upload.
async fn committed(known: Option<Pending>) -> Result<(), Failure> {
    let Some(pending) = known else { return Ok(()) };
    pending.await.map(drop).map_err(|error| Failure::new(FailureKind::FileSystem, error.to_string()))
}

fn with_status(mut failure: Failure, status: u16) -> Failure {
    failure.http_status = Some(status);
    failure
}

/// A URL as it may be shown.
fn without_path(url: &str) -> String {
    Url::parse(url).map_or(String::new(), |url| format!("{}/{MASK}", url.origin().ascii_serialization()))
}

/// A request to an upload's own URL. Headers of the task and its login go to their own origin only, as with redirects.
fn call_to(cx: &Context<'_>, wire: &Wire, url: &str, method: &str) -> Call {
    let headers = headers_for(url, wire).into_iter().filter(|(name, _)| !is_of_body(name)).collect();
    let own_url = with_login(url, &wire.url);
    let wire = Wire { url: own_url.clone(), own_url, headers, guard: wire.guard.clone() };
    let mut call = plain_call(cx, &wire);
    call.method = method.to_owned();
    call
}

/// Whether a header says something about the task's own request, or is the protocols' business.
fn is_of_body(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let own = ["range", "idempotency-key", "digest", "repr-digest", "tus-resumable"];
    own.contains(&name.as_str()) || name.starts_with("content-") || name.starts_with("upload-")
}

/// Where an upload's bytes go, by the `Location` of the answer from `base`: never from https to unprotected http.
fn target(base: &str, location: &str) -> Result<String, Failure> {
    let refuse = |why: &str| {
        let text = format!("the server put the upload at {why}");
        Failure::new(FailureKind::HttpResponse, text).with(FailureDetail::Protocol)
    };
    let base = Url::parse(base).map_err(|_| refuse("a place that cannot be named"))?;
    let mut url = base.join(location.trim()).map_err(|_| refuse("something that is no URL"))?;
    match (base.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(refuse("an unprotected http URL, and was asked by https")),
        (_, scheme) => return Err(refuse(&format!("a `{scheme}` URL"))),
    }
    // Both can't fail: an http URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_where_the_answer_says_and_never_less_protected() {
        let at = |base, location| target(base, location).ok();
        assert_eq!(at("http://h/files/", "a1").as_deref(), Some("http://h/files/a1"));
        assert_eq!(at("http://h/files?x=1", "/u/2?s=3#f").as_deref(), Some("http://h/u/2?s=3"));
        assert_eq!(at("http://h/", "https://u:p@other/u").as_deref(), Some("https://other/u"));
        for (base, location) in [("https://h/", "http://h/u"), ("http://h/", "ftp://h/u"), ("http://h/", "http://")] {
            assert_eq!(at(base, location), None, "{location}");
        }
    }
}
