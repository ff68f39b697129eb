//! What components write for people: sentences, notes, made-up headers, without the secrets of the task that they are about.
//! They stand in events and records, where nobody asks who wrote them.
//!
//! What of that is a reason says who gives it, too: nobody should take a component's refusal for the server's.
//!
//! Does not touch what is acted on: URLs, headers of requests, credentials; nor a made-up response's body, which is content.

use std::sync::Arc;

use super::convert::Responded;
use super::{
    AuthorizeVerdict, Classified, Head, OnAuthVerdict, OnError, OnRedirect, OnRequest, PartsVerdict, ResumeVerdict,
    RetryVerdict, StartChanges, check,
};
use crate::error::{Failure, FailureKind};
use crate::event::StatusUpdate;
use crate::mask::Secrets;
use crate::task::{Problem, Status, Task};

/// An answer that may have texts for people in it.
pub(super) trait Masked {
    /// Masks these wherever such a text repeats one.
    fn mask(&mut self, secrets: &Secrets);

    /// Writes before a reason who gives it, and where: "component `x` in `on-request`".
    fn credit(&mut self, _who: &str) {}
}

impl Masked for () {
    fn mask(&mut self, _: &Secrets) {}
}

impl Masked for RetryVerdict {
    fn mask(&mut self, _: &Secrets) {}
}

impl Masked for StartChanges {
    fn mask(&mut self, _: &Secrets) {}
}

impl Masked for Task {
    fn mask(&mut self, _: &Secrets) {}
}

impl Masked for String {
    fn mask(&mut self, secrets: &Secrets) {
        secrets.mask(self);
    }
}

impl<T: Masked> Masked for Option<T> {
    fn mask(&mut self, secrets: &Secrets) {
        self.iter_mut().for_each(|it| it.mask(secrets));
    }

    fn credit(&mut self, who: &str) {
        self.iter_mut().for_each(|it| it.credit(who));
    }
}

impl<T: Masked> Masked for Vec<T> {
    fn mask(&mut self, secrets: &Secrets) {
        self.iter_mut().for_each(|it| it.mask(secrets));
    }

    fn credit(&mut self, who: &str) {
        self.iter_mut().for_each(|it| it.credit(who));
    }
}

impl<T: Masked, E: Masked> Masked for Result<T, E> {
    fn mask(&mut self, secrets: &Secrets) {
        match self {
            Ok(it) => it.mask(secrets),
            Err(it) => it.mask(secrets),
        }
    }

    fn credit(&mut self, who: &str) {
        match self {
            Ok(it) => it.credit(who),
            Err(it) => it.credit(who),
        }
    }
}

impl Masked for Problem {
    fn mask(&mut self, secrets: &Secrets) {
        self.field.mask(secrets);
        self.reason.mask(secrets);
    }

    /// Behind it: it follows the field's name.
    fn credit(&mut self, who: &str) {
        self.reason.push_str(&format!(" ({who})"));
    }
}

impl Masked for Failure {
    fn mask(&mut self, secrets: &Secrets) {
        self.description.mask(secrets);
    }

    fn credit(&mut self, who: &str) {
        credit(&mut self.description, who);
    }
}

fn credit(reason: &mut String, who: &str) {
    *reason = match reason.as_str() {
        "" => format!("{who} gives no reason"),
        given => format!("{who}: {given}"),
    };
}

impl Masked for Head {
    fn mask(&mut self, secrets: &Secrets) {
        self.headers.iter_mut().for_each(|(_, value)| value.mask(secrets));
    }

    fn credit(&mut self, who: &str) {
        self.by = Some(who.into());
    }
}

/// The final update that a component ends a task with; all of it is for people.
impl Masked for StatusUpdate {
    fn mask(&mut self, secrets: &Secrets) {
        let Some(details) = self.details.as_mut().map(Arc::make_mut) else { return };
        details.response_headers.iter_mut().for_each(|(_, value)| value.mask(secrets));
        details.response_body.mask(secrets);
        details.notes.mask(secrets);
        details.exception.mask(secrets);
    }

    /// One that is no success always has a reason then: the body tells it, where no failure does.
    fn credit(&mut self, who: &str) {
        if self.status == Status::Complete {
            return;
        }
        let mut details = self.details.as_deref().cloned().unwrap_or_default();
        let told = || details.response_body.as_deref().and_then(|body| body.lines().next()).map(str::to_owned);
        let kind = if self.status == Status::Canceled { FailureKind::Canceled } else { FailureKind::General };
        let mut reason =
            details.exception.clone().unwrap_or_else(|| Failure::new(kind, check::text(told().unwrap_or_default())));
        reason.credit(who);
        details.exception = Some(reason);
        self.details = Some(Arc::new(details));
    }
}

impl Masked for Classified {
    fn mask(&mut self, secrets: &Secrets) {
        match self {
            Classified::Failed(failure) => failure.mask(secrets),
            Classified::UseFromZero(note) | Classified::AskFromZero(note) => note.mask(secrets),
            Classified::Success | Classified::Continues(_) | Classified::AlreadyComplete | Classified::NotFound(_) => {}
        }
    }

    fn credit(&mut self, who: &str) {
        match self {
            Classified::Failed(failure) => failure.credit(who),
            Classified::NotFound(by) => *by = Some(who.into()),
            _ => {}
        }
    }
}

/// With the conditions that led to it.
impl Masked for (ResumeVerdict, Vec<(String, bool)>) {
    fn mask(&mut self, secrets: &Secrets) {
        let (verdict, conditions) = self;
        conditions.iter_mut().for_each(|(name, _)| name.mask(secrets));
        match verdict {
            ResumeVerdict::StartAfresh(text) | ResumeVerdict::Refuse(text) => text.mask(secrets),
            ResumeVerdict::GoOn { .. } | ResumeVerdict::NothingMissing => {}
        }
    }

    fn credit(&mut self, who: &str) {
        if let ResumeVerdict::Refuse(why) = &mut self.0 {
            credit(why, who);
        }
    }
}

impl Masked for AuthorizeVerdict {
    fn mask(&mut self, secrets: &Secrets) {
        if let AuthorizeVerdict::Impossible(why) = self {
            why.mask(secrets);
        }
    }
}

impl Masked for OnAuthVerdict {
    fn mask(&mut self, secrets: &Secrets) {
        if let OnAuthVerdict::Failed(why) = self {
            why.mask(secrets);
        }
    }

    fn credit(&mut self, who: &str) {
        if let OnAuthVerdict::Failed(why) = self {
            credit(why, who);
        }
    }
}

impl Masked for PartsVerdict {
    fn mask(&mut self, secrets: &Secrets) {
        if let PartsVerdict::OneStream(why) = self {
            why.mask(secrets);
        }
    }
}

impl Masked for OnRequest {
    fn mask(&mut self, secrets: &Secrets) {
        match self {
            OnRequest::Resolve { response, .. } => response.mask(secrets),
            OnRequest::Reject { failure, .. } => failure.mask(secrets),
            OnRequest::Next(_) => {}
        }
    }

    fn credit(&mut self, who: &str) {
        match self {
            OnRequest::Resolve { response, .. } => response.credit(who),
            OnRequest::Reject { failure, .. } => failure.credit(who),
            OnRequest::Next(_) => {}
        }
    }
}

impl Masked for OnRedirect {
    fn mask(&mut self, secrets: &Secrets) {
        if let OnRedirect::Reject(failure) = self {
            failure.mask(secrets);
        }
    }

    fn credit(&mut self, who: &str) {
        if let OnRedirect::Reject(failure) = self {
            failure.credit(who);
        }
    }
}

/// Headers that it has changed are masked where those given are known.
impl Masked for Responded {
    fn mask(&mut self, secrets: &Secrets) {
        if let Responded::Reject { failure, .. } = self {
            failure.mask(secrets);
        }
    }

    fn credit(&mut self, who: &str) {
        if let Responded::Reject { failure, .. } = self {
            failure.credit(who);
        }
    }
}

impl Masked for OnError {
    fn mask(&mut self, secrets: &Secrets) {
        match self {
            OnError::Resolve(response) => response.mask(secrets),
            OnError::Reject(failure) => failure.mask(secrets),
            OnError::Next | OnError::Retry(_) => {}
        }
    }

    fn credit(&mut self, who: &str) {
        match self {
            OnError::Resolve(response) => response.credit(who),
            OnError::Reject(failure) => failure.credit(who),
            OnError::Next | OnError::Retry(_) => {}
        }
    }
}
