//! Whether an answer makes sense, hook by hook, for a call of the workshop: the rules by which a chain judges answers before
//! they are acted on ([`super::check`]). Acts on nothing.

use super::bindings::haul::transfer as wit;
use super::functions::{self as hooks, Ask};
use super::{AuthorizeVerdict, Classified, OnAuthVerdict, PartsVerdict, ResumeVerdict, check, convert};
use wit::types::{Request, Response};

/// A hook whose answers can be judged.
pub(super) trait Sense: Ask {
    /// Why an answer to this question cannot be acted on.
    fn sense(asked: &Self::Params, answer: Self::Answer) -> Result<(), String>;
}

type Checked = Result<(), String>;

/// Headers that the host alone writes may be handed back: they stay as they were.
fn request(request: &Request) -> Checked {
    let headers = request.headers.iter().filter(|(name, _)| !check::is_ours(name)).cloned().collect();
    check::request(&request.method, &request.url, &headers, &request.body)
}

fn response(response: &Response) -> Checked {
    const BODY_BYTES_MAX: usize = 256 << 10;
    if !(100..=599).contains(&response.status) {
        return Err("a response status outside 100 to 599".into());
    }
    if response.body.len() > BODY_BYTES_MAX {
        return Err(format!("a body of {} bytes, at most {BODY_BYTES_MAX} are taken", response.body.len()));
    }
    Ok(())
}

fn failure(failure: wit::types::Failure) -> Checked {
    check::failure(convert::to_failure(failure)).map(drop)
}

fn changes(changes: &wit::on_response::Changes) -> Checked {
    changes.url.as_deref().map_or(Ok(()), check::url)?;
    check::headers(&changes.headers)
}

impl Sense for hooks::Admit {
    fn sense((tasks, _): &Self::Params, (answer,): Self::Answer) -> Checked {
        check::admitted(tasks.iter().map(|task| (&*task.id, &*task.callbacks)), &answer)
    }
}

impl Sense for hooks::BeforeTaskStart {
    fn sense((task,): &Self::Params, (answer,): Self::Answer) -> Checked {
        let Some(update) = answer else { return Ok(()) };
        convert::to_update(update, task).and_then(check::final_update).map(drop)
    }
}

impl Sense for hooks::Authorize {
    fn sense((_, _, situation, _): &Self::Params, (verdict,): Self::Answer) -> Checked {
        let verdict = convert::to_authorize(verdict)?;
        check::authorized_in(situation, &verdict)?;
        match verdict {
            AuthorizeVerdict::Ready { headers, query } => check::headers(&headers).and(check::query(&query)),
            AuthorizeVerdict::Send { method, url, headers, body } => check::request(&method, &url, &headers, &body),
            AuthorizeVerdict::Refreshed(auth) => check::auth(&auth),
            AuthorizeVerdict::RefreshFirst | AuthorizeVerdict::Impossible(_) => Ok(()),
        }
    }
}

impl Sense for hooks::OnAuth {
    fn sense(_: &Self::Params, (verdict,): Self::Answer) -> Checked {
        match convert::to_on_auth(verdict)? {
            OnAuthVerdict::Refreshed(auth) => check::auth(&auth),
            OnAuthVerdict::Unchanged | OnAuthVerdict::Failed(_) => Ok(()),
        }
    }
}

impl Sense for hooks::OnTaskStart {
    fn sense(_: &Self::Params, (answer,): Self::Answer) -> Checked {
        let Some(changes) = answer else { return Ok(()) };
        changes.url.as_deref().map_or(Ok(()), check::url)?;
        check::headers(&changes.headers)?;
        check::header_names(&changes.remove_headers)
    }
}

impl Sense for hooks::Resume {
    fn sense((_, stored): &Self::Params, (answer,): Self::Answer) -> Checked {
        match convert::to_resume(answer).0 {
            ResumeVerdict::GoOn { from_bytes, .. } if from_bytes > stored.bytes_done => {
                Err(format!("`go-on` from byte {from_bytes}, but only {} are stored", stored.bytes_done))
            }
            ResumeVerdict::GoOn { if_range, .. }
                if if_range.is_empty() || http::HeaderValue::from_str(&if_range).is_err() =>
            {
                Err("`go-on` without a usable `if-range`".into())
            }
            _ => Ok(()),
        }
    }
}

impl Sense for hooks::OnRequest {
    fn sense(_: &Self::Params, (verdict,): Self::Answer) -> Checked {
        match verdict {
            wit::on_request::Verdict::Next(changed) => request(&changed),
            wit::on_request::Verdict::Resolve((answered, _)) => response(&answered),
            wit::on_request::Verdict::Reject((why, _)) => failure(why),
            wit::on_request::Verdict::Other(verdict) => Err(check::unknown("verdict", &verdict)),
        }
    }
}

impl Sense for hooks::OnRedirect {
    fn sense(_: &Self::Params, (verdict,): Self::Answer) -> Checked {
        match verdict {
            wit::on_redirect::Verdict::FollowWith(changed) => request(&changed),
            wit::on_redirect::Verdict::Reject(why) => failure(why),
            _ => Ok(()),
        }
    }
}

impl Sense for hooks::OnResponse {
    fn sense(_: &Self::Params, (verdict,): Self::Answer) -> Checked {
        match verdict {
            wit::on_response::Verdict::Next(answered) => response(&answered),
            wit::on_response::Verdict::Reject((why, _)) => failure(why),
            wit::on_response::Verdict::Retry(wanted) => changes(&wanted),
            wit::on_response::Verdict::Resolve(_) => Ok(()),
            wit::on_response::Verdict::Other(verdict) => Err(check::unknown("verdict", &verdict)),
        }
    }
}

impl Sense for hooks::Classify {
    fn sense((task, asked, _): &Self::Params, (verdict,): Self::Answer) -> Checked {
        let verdict = convert::to_classified(verdict)?;
        check::fits_task(&verdict, asked.restarts, task)?;
        match verdict {
            Classified::Continues(from) if asked.range_from_bytes != Some(from) => {
                Err(format!("`continues({from})`, which is not the byte that was asked for"))
            }
            Classified::Failed(failure) => check::failure(failure).map(drop),
            _ => Ok(()),
        }
    }
}

impl Sense for hooks::Filename {
    fn sense((task, _, taken): &Self::Params, (name,): Self::Answer) -> Checked {
        check::file_name(&name, taken)?;
        check::chosen_name(&name, task.filename.as_deref())
    }
}

impl Sense for hooks::Parts {
    fn sense((task, known): &Self::Params, (verdict,): Self::Answer) -> Checked {
        match convert::to_parts(verdict) {
            PartsVerdict::Divide(parts) => check::parts(&parts, known.total_bytes, 1 + task.mirrors.len()),
            PartsVerdict::OneStream(_) => Ok(()),
        }
    }
}

impl Sense for hooks::OnProgress {
    fn sense(_: &Self::Params, _: Self::Answer) -> Checked {
        Ok(())
    }
}

impl Sense for hooks::OnError {
    fn sense(_: &Self::Params, (verdict,): Self::Answer) -> Checked {
        match verdict {
            wit::on_error::Verdict::Resolve(answered) => response(&answered),
            wit::on_error::Verdict::Reject(why) => failure(why),
            wit::on_error::Verdict::Retry(wanted) => changes(&wanted),
            wit::on_error::Verdict::Next | wit::on_error::Verdict::Other(_) => Ok(()),
        }
    }
}

impl Sense for hooks::Retry {
    fn sense(_: &Self::Params, _: Self::Answer) -> Checked {
        Ok(()) // waits are cut to 24 hours, and what is unknown gives up
    }
}

impl Sense for hooks::Verify {
    fn sense(_: &Self::Params, _: Self::Answer) -> Checked {
        Ok(())
    }
}

impl Sense for hooks::OnTaskFinished {
    fn sense(_: &Self::Params, (): Self::Answer) -> Checked {
        Ok(())
    }
}
