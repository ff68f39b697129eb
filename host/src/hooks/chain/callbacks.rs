//! The callback hooks on a request's way: every component that answers one is asked, in order, until one says something
//! else than "go on". That order is the same for requests, responses and errors.

use super::Chain;
use super::leading::Given;
use crate::error::Failure;
use crate::hooks::functions as asks;
use crate::hooks::{
    FinishedFile, Head, HookTask, OnError, OnProgress, OnRedirect, OnRequest, OnResponse, ProgressSample, RedirectHop,
    RequestHead, check, convert,
};
use crate::mask::as_texts;
use crate::task::Pairs;

impl Chain {
    /// Hook `on-request`: each component is asked with what the one before it has made of the request.
    pub async fn on_request(&self, task: &HookTask, mut request: RequestHead) -> Result<OnRequest, Failure> {
        let question = |request: &RequestHead| {
            self.tells(|secrets| secrets.add_request(&request.url, as_texts(&request.headers)));
            let weight = task.weight + convert::weight_of(&request.headers, &request.url);
            (weight, (task.wit.clone(), convert::request(request)))
        };
        let mut walk = self.walk::<asks::OnRequest>();
        while let Some((who, (verdict,))) = walk.next(|| question(&request)).await? {
            let verdict = convert::to_on_request(verdict).and_then(|verdict| check::on_request(&request, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                if let OnRequest::Next(changed) = &mut verdict {
                    who.lead(task, &Given::request(&request), changed)?;
                }
                Ok(verdict)
            });
            match who.usable(verdict)? {
                OnRequest::Next(changed) => request = changed,
                last => return Ok(last),
            }
        }
        Ok(OnRequest::Next(request))
    }

    /// Hook `on-redirect`: the first verdict other than `follow` counts.
    pub async fn on_redirect(&self, task: &HookTask, hop: &RedirectHop) -> Result<OnRedirect, Failure> {
        self.tells(|secrets| {
            secrets.add_url(&hop.from_url);
            secrets.add_request(&hop.next.url, as_texts(&hop.next.headers));
        });
        let question = || {
            let weight = task.weight + 2 * convert::weight_of(&hop.next.headers, &hop.next.url);
            (weight, (task.wit.clone(), convert::redirect(hop)))
        };
        let mut walk = self.walk::<asks::OnRedirect>();
        while let Some((who, (verdict,))) = walk.next(question).await? {
            let verdict = convert::to_on_redirect(verdict).and_then(|verdict| check::on_redirect(&hop.next, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                if let OnRedirect::FollowWith(next) = &mut verdict {
                    who.lead(task, &Given::request(&hop.next), next)?;
                }
                Ok(verdict)
            });
            match who.usable(verdict)? {
                OnRedirect::Follow => {}
                last => return Ok(last),
            }
        }
        Ok(OnRedirect::Follow)
    }

    /// Hook `on-response`: each component is asked with what the one before it has made of the response, whose body is that
    /// of an error, up to a limit, or empty.
    pub async fn on_response(&self, task: &HookTask, mut head: Head) -> Result<OnResponse, Failure> {
        self.tells(|secrets| secrets.add_answer(&head.url, &head.headers));
        let question = |head: &Head| {
            let weight = task.weight + convert::weight_of(&head.headers, &head.url) + 2 * head.body.len();
            (weight, (task.wit.clone(), convert::response(head.clone())))
        };
        let mut resolved = false;
        let mut walk = self.walk::<asks::OnResponse>();
        while let Some((who, (verdict,))) = walk.next(|| question(&head)).await? {
            let verdict = convert::to_on_response(verdict).and_then(|verdict| check::on_response(&head, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                if let convert::Responded::Retry(changes) = &mut verdict {
                    who.lead(task, &Given::task(task), changes)?;
                }
                Ok(verdict)
            });
            match who.usable(verdict)? {
                convert::Responded::Next(mut changed) => {
                    self.mask_added(&mut changed.headers, &head.headers);
                    head = changed;
                }
                convert::Responded::Resolve(follow) => {
                    resolved = true;
                    if !follow {
                        break;
                    }
                }
                convert::Responded::Reject { failure, follow } => return Ok(OnResponse::Reject { failure, follow }),
                convert::Responded::Retry(changes) => return Ok(OnResponse::Retry(changes)),
            }
        }
        Ok(OnResponse::Next { head, resolved })
    }

    /// Masks the headers that a component has added to those given, which are the server's.
    fn mask_added(&self, headers: &mut Pairs, given: &Pairs) {
        let secrets = self.secrets();
        for field in headers.iter_mut().filter(|field| !given.contains(field)) {
            secrets.mask(&mut field.1);
        }
    }

    /// Hook `on-error`. `attempt`: 1 for the first. `part`: first and last byte of the part that failed. A component that
    /// fails here has said nothing: the next one is asked.
    pub async fn on_error(
        &self,
        task: &HookTask,
        failure: &Failure,
        attempt: u32,
        part: Option<(u64, u64)>,
    ) -> OnError {
        let question = || (task.weight, (task.wit.clone(), convert::failure_of_part(failure, part), attempt));
        let mut walk = self.walk::<asks::OnError>();
        while let Some((who, (verdict,))) = walk.next_that_answers(question).await {
            let verdict = check::on_error(convert::to_on_error(verdict)).and_then(|mut verdict| {
                if let OnError::Retry(changes) = &mut verdict {
                    who.lead(task, &Given::task(task), changes)?;
                }
                Ok(verdict)
            });
            match who.usable(verdict) {
                Ok(OnError::Next) | Err(_) => {} // the failure of a component is logged and counted
                Ok(last) => return last,
            }
        }
        OnError::Next
    }

    /// Hook `on-progress`: the first verdict other than `go-on` counts, and `pause` only where the task may be paused. A
    /// component that fails here has said nothing.
    pub async fn on_progress(&self, task: &HookTask, sample: ProgressSample) -> OnProgress {
        let mut walk = self.walk::<asks::OnProgress>();
        let question = || (task.weight, (task.wit.clone(), convert::progress(sample)));
        while let Some((who, (verdict,))) = walk.next_that_answers(question).await {
            who.well();
            match convert::to_on_progress(&verdict, who.place()) {
                OnProgress::GoOn => {}
                OnProgress::Pause(_) if !task.wit.allow_pause => {
                    let name = who.component().name();
                    tracing::info!(
                        "component `{name}` answers `pause` in `on-progress` about a task that may not be paused \
                         (`allowPause`): it goes on"
                    );
                }
                last => return last,
            }
        }
        OnProgress::GoOn
    }

    /// Hook `verify`: every component must agree. The inner error says who refuses the file, and why.
    pub async fn verify(&self, task: &HookTask, file: &FinishedFile) -> Result<Result<(), String>, Failure> {
        let mut walk = self.walk::<asks::Verify>();
        let question = || (task.weight, (task.wit.clone(), convert::finished(file)));
        while let Some((who, (verdict,))) = walk.next(question).await? {
            if let Err(why) = who.usable(Ok(verdict.map_err(check::text)))? {
                return Ok(Err(format!("{}: {why}", who.place())));
            }
        }
        Ok(Ok(()))
    }
}
