//! The callback hooks on a request's way: every component that answers one is asked, in order, until one says something
//! else than "go on". That order is the same for requests, responses and errors.

use super::Chain;
use crate::error::Failure;
use crate::hooks::functions as asks;
use crate::hooks::{
    FinishedFile, Head, Hook, HookTask, OnError, OnProgress, OnRedirect, OnRequest, OnResponse, ProgressSample,
    RedirectHop, RequestHead, check, convert,
};
use crate::task::Pairs;

impl Chain {
    /// Hook `on-request`: each component is asked with what the one before it has made of the request.
    pub async fn on_request(&self, task: &HookTask, mut request: RequestHead) -> Result<OnRequest, Failure> {
        let mut from = 0;
        while let Some(position) = self.next(from, Hook::OnRequest) {
            self.tells(|secrets| secrets.add_request(&request.url, &request.headers));
            let weight = task.weight + convert::weight_of(&request.headers, &request.url);
            let params = (task.wit.clone(), convert::request(&request));
            let answer = self.call_unless_passed::<asks::OnRequest>(position, weight, params).await?;
            from = position + 1;
            let Some((verdict,)) = answer else { continue };
            let verdict = convert::to_on_request(verdict).and_then(|verdict| check::on_request(&request, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                let answered = match &mut verdict {
                    OnRequest::Next(changed) => {
                        self.may_take(position, task, &request.url, Some(&changed.url))?;
                        changed.guard = self.leads(position, task, &request, changed);
                        handles_of(Some(&changed.url), &changed.headers)
                    }
                    _ => Vec::new(),
                };
                let asked = handles_of(Some(&request.url), &request.headers);
                self.may_use(Some(position), &answered, &asked).map(|()| verdict)
            });
            match self.usable(Some(position), Hook::OnRequest, verdict)? {
                OnRequest::Next(changed) => request = changed,
                last => return Ok(last),
            }
        }
        Ok(OnRequest::Next(request))
    }

    /// Hook `on-redirect`: the first verdict other than `follow` counts.
    pub async fn on_redirect(&self, task: &HookTask, hop: &RedirectHop) -> Result<OnRedirect, Failure> {
        let mut from = 0;
        self.tells(|secrets| {
            secrets.add_url(&hop.from_url);
            secrets.add_request(&hop.next.url, &hop.next.headers);
        });
        while let Some(position) = self.next(from, Hook::OnRedirect) {
            let weight = task.weight + 2 * convert::weight_of(&hop.next.headers, &hop.next.url);
            let params = (task.wit.clone(), convert::redirect(hop));
            let answer = self.call_unless_passed::<asks::OnRedirect>(position, weight, params).await?;
            from = position + 1;
            let Some((verdict,)) = answer else { continue };
            let verdict = convert::to_on_redirect(verdict).and_then(|verdict| check::on_redirect(&hop.next, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                let answered = match &mut verdict {
                    OnRedirect::FollowWith(next) => {
                        self.may_take(position, task, &hop.next.url, Some(&next.url))?;
                        next.guard = self.leads(position, task, &hop.next, next);
                        handles_of(Some(&next.url), &next.headers)
                    }
                    _ => Vec::new(),
                };
                let asked = handles_of(Some(&hop.next.url), &hop.next.headers);
                self.may_use(Some(position), &answered, &asked).map(|()| verdict)
            });
            match self.usable(Some(position), Hook::OnRedirect, verdict)? {
                OnRedirect::Follow => {}
                last => return Ok(last),
            }
        }
        Ok(OnRedirect::Follow)
    }

    /// Hook `on-response`: each component is asked with what the one before it has made of the response, whose body is that
    /// of an error, up to a limit, or empty.
    pub async fn on_response(&self, task: &HookTask, mut head: Head) -> Result<OnResponse, Failure> {
        let (mut from, mut resolved) = (0, false);
        self.tells(|secrets| secrets.add_url(&head.url));
        while let Some(position) = self.next(from, Hook::OnResponse) {
            let weight = task.weight + convert::weight_of(&head.headers, &head.url) + 2 * head.body.len();
            let params = (task.wit.clone(), convert::response(head.clone()));
            let answer = self.call_unless_passed::<asks::OnResponse>(position, weight, params).await?;
            from = position + 1;
            let Some((verdict,)) = answer else { continue };
            let verdict = convert::to_on_response(verdict).and_then(|verdict| check::on_response(&head, verdict));
            let verdict = verdict.and_then(|mut verdict| {
                let answered = match &mut verdict {
                    convert::Responded::Retry(changes) => {
                        self.may_take(position, task, &task.wit.url, changes.url.as_deref())?;
                        changes.by = self.component(position, Hook::OnResponse).name().to_owned();
                        handles_of(changes.url.as_ref(), &changes.headers)
                    }
                    _ => Vec::new(),
                };
                self.may_use(Some(position), &answered, &task.handles).map(|()| verdict)
            });
            match self.usable(Some(position), Hook::OnResponse, verdict)? {
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
        let mut from = 0;
        while let Some(position) = self.next(from, Hook::OnError) {
            let params = (task.wit.clone(), convert::failure_of_part(failure, part), attempt);
            let answer = self.call::<asks::OnError>(position, task.weight, params).await;
            let verdict = answer.and_then(|(verdict,)| {
                let verdict = check::on_error(convert::to_on_error(verdict)).and_then(|mut verdict| {
                    let answered = match &mut verdict {
                        OnError::Retry(changes) => {
                            self.may_take(position, task, &task.wit.url, changes.url.as_deref())?;
                            changes.by = self.component(position, Hook::OnError).name().to_owned();
                            handles_of(changes.url.as_ref(), &changes.headers)
                        }
                        _ => Vec::new(),
                    };
                    self.may_use(Some(position), &answered, &task.handles).map(|()| verdict)
                });
                self.usable(Some(position), Hook::OnError, verdict)
            });
            match verdict {
                Ok(OnError::Next) | Err(_) => from = position + 1, // the failure of a component is logged and counted
                Ok(last) => return last,
            }
        }
        OnError::Next
    }

    /// Hook `on-progress`: the first verdict other than `go-on` counts, and `pause` only where the task may be paused. A
    /// component that fails here has said nothing.
    pub async fn on_progress(&self, task: &HookTask, sample: ProgressSample) -> OnProgress {
        let mut from = 0;
        while let Some(position) = self.next(from, Hook::OnProgress) {
            let params = (task.wit.clone(), convert::progress(sample));
            if let Ok((verdict,)) = self.call::<asks::OnProgress>(position, task.weight, params).await {
                let component = self.component(position, Hook::OnProgress);
                component.well(Hook::OnProgress);
                match convert::to_on_progress(&verdict, component.place(Hook::OnProgress)) {
                    OnProgress::GoOn => {}
                    OnProgress::Pause(_) if !task.wit.allow_pause => {
                        let name = component.name();
                        tracing::info!(
                            "component `{name}` answers `pause` in `on-progress` about a task that may not be paused \
                             (`allowPause`): it goes on"
                        );
                    }
                    last => return last,
                }
            }
            from = position + 1;
        }
        OnProgress::GoOn
    }

    /// Hook `verify`: every component must agree. The inner error says who refuses the file, and why.
    pub async fn verify(&self, task: &HookTask, file: &FinishedFile) -> Result<Result<(), String>, Failure> {
        let mut from = 0;
        while let Some(position) = self.next(from, Hook::Verify) {
            let params = (task.wit.clone(), convert::finished(file));
            let answer = self.call_unless_passed::<asks::Verify>(position, task.weight, params).await?;
            from = position + 1;
            let Some((verdict,)) = answer else { continue };
            if let Err(why) = self.usable(Some(position), Hook::Verify, Ok(verdict.map_err(check::text)))? {
                let name = self.component(position, Hook::Verify).name();
                return Ok(Err(format!("component `{name}` refuses the file: {why}")));
            }
        }
        Ok(Ok(()))
    }
}

/// The credentials that a request names by handle.
fn handles_of(url: Option<&String>, headers: &Pairs) -> Vec<String> {
    check::handles(url.map_or(&[], std::slice::from_ref), headers)
}
